"""Tables of results from anywhere: files -> rows of (algorithm, task, seed, step, value), or a line on what is wrong.

A name comes from a column, from several that are put together, from the heads of columns that lie side by side (a
column per algorithm, task or seed), or, with several files, from their paths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from tpobench.audit.frames import Source, frame_grid, in_memory
from tpobench.audit.grids import Grid, plain, read_grid, short
from tpobench.audit.layouts import KEYS, Layout, layout_of
from tpobench.audit.names import first_spelling, seed_key, whole
from tpobench.audit.numbers import LARGEST, MEAN_AND_SPREAD, MISSING, NUMBER, Numbers, numbers_of
from tpobench.audit.paths import ONE_TASK, File, files_of, names_from_paths
from tpobench.audit.trackers import Part, finished_only, of_one_metric, parts_of
from tpobench.errors import NothingToDo, UsageError

WITHOUT_UNIT = {*MISSING, "nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}


@dataclass(frozen=True)
class SheetRow:
    """One value; None where it is missing, not finite where the run diverged."""

    place: str  # file and line
    algorithm: str
    task: str
    seed: str
    value: float | None
    step: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # the columns that nobody asked for


@dataclass(frozen=True)
class Sheet:
    """The rows of one file or several, and what was taken for what."""

    path: str  # of the file, or of all of them
    rows: tuple[SheetRow, ...]
    columns: Mapping[str, str]  # role -> name in the header; "value" is the metric
    sources: tuple[str, ...] = ()  # in words, where each name is from
    alike: tuple[tuple[str, ...], ...] = ()  # metrics whose names look like the one that is audited
    percent: bool = False

    @property
    def name(self) -> str:
        """Without the folder that it lies in."""
        return plain((Path(self.path).name or self.path).encode("utf-8", "replace").decode())


def read_sheet(source: Source, chosen: Mapping[str, str], metric: str | None = None) -> Sheet:
    """The rows of a file, of several, of all tables in a folder, or of a table in memory.

    Args:
        source: paths of files and folders; a DataFrame, or a dictionary for each row.
        chosen: column by role (algorithm, task, seed, value, step, metric), where the header does not say; several
            columns, with commas, make one name.
        metric: the column of values, or one of the names in a column of metrics, where there is one.

    Raises:
        UsageError: no such file, no table, no such column, or a cell that is not what it should be.
        NothingToDo: no rows.
    """
    parts, name = _parts(source, chosen, metric)
    files = [part.file for part in parts]
    alone = len(files) == 1 and not files[0].run
    layouts = [finished_only(layout_of(p.grid, {**p.chosen, **chosen}, metric, alone=alone)) for p in parts]
    _require_alike(layouts)
    missing = [role for role in KEYS if any(role in layout.missing for layout in layouts)]
    given = names_from_paths(files, missing, [_seeds_in(y) for y in layouts]) if missing else [{} for _ in files]
    percent = [_percent(layout) for layout in layouts]
    rows = [row for layout, names in zip(layouts, given, strict=True) for row in _rows(layout, names)]
    if not rows:
        msg = f"{layouts[0].grid.path} has a header and no rows: nothing to audit"
        raise NothingToDo(msg)
    if len({p for p in percent if p is not None}) > 1:
        first = next(y for y, p in zip(layouts, percent, strict=True) if p)
        msg = f"{first.grid.path} has values in percent, and other files have none; write all in one way"
        raise UsageError(msg)
    columns = {role: ", ".join(names) for role, names in layouts[0].columns.items()}
    columns["value"] = layouts[0].value or "value"
    return Sheet(
        name, tuple(_one_spelling(rows)), columns, tuple(_sources(layouts, files, missing, given)),
        tuple(dict.fromkeys(y.alike for y in layouts if y.alike)), percent=any(percent),
    )  # fmt: skip


def _parts(source: Source, chosen: Mapping[str, str], metric: str | None) -> tuple[list[Part], str]:
    """Grids of text with the files that they are from, and what to call all of them."""
    if in_memory(source):
        grid = frame_grid(source)
        return parts_of(File(grid.path, grid.path.parent), grid, chosen), str(grid.path)
    arguments = [Path(source)] if isinstance(source, str | Path) else [Path(str(path)) for path in source]
    files = files_of(arguments)
    parts = of_one_metric([p for f in files for p in parts_of(f, read_grid(f.path), chosen)], metric)
    return parts, str(arguments[0]) if len(arguments) == 1 else f"{len({p.file.path for p in parts})} files"


def _require_alike(layouts: Sequence[Layout]) -> None:
    """One metric, and steps in all files or in none."""
    first = layouts[0]
    for other in layouts[1:]:
        if first.value.casefold() != other.value.casefold():
            msg = (
                f"{first.grid.path} has values of {first.value or 'no name'}, {other.grid.path} of "
                f"{other.value or 'no name'}; choose one with --metric"
            )
            raise UsageError(msg)
        if ("step" in first.columns) != ("step" in other.columns):
            a, b = (first, other) if "step" in first.columns else (other, first)
            msg = f"{a.grid.path} has a column of steps, {b.grid.path} has none; name it with --column step=COLUMN"
            raise UsageError(msg)


def _seeds_in(layout: Layout) -> frozenset[Decimal | str]:
    """The seeds that the columns of a file hold."""
    if "seed" not in layout.columns:
        return frozenset()
    return frozenset(seed_key("/".join(cells)) for cells in _cells(layout.grid, layout.columns["seed"]))


def _cells(grid: Grid, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    where = [grid.header.index(n) for n in names]
    return (tuple(row[i] for i in where) for row in grid.rows)


def _percent(layout: Layout) -> bool | None:
    """Whether the values are written in percent; None where there are none.

    Raises:
        UsageError: some are and some are not.
    """
    grid = layout.grid
    places: dict[bool, str] = {}
    for name in layout.columns["value"]:
        for i, cell in enumerate(grid.column(name)):
            if cell.lower() not in WITHOUT_UNIT:
                places.setdefault(cell.endswith("%"), grid.at(i))
    if len(places) > 1:
        msg = f"{places[True]} has a value in percent, {places[False]} one without; write all in one way"
        raise UsageError(msg)
    return next(iter(places), None)


def _rows(layout: Layout, names: Mapping[str, str]) -> Iterator[SheetRow]:
    """The rows of a file, one for each of its columns of values; `names` are those that its path gives."""
    grid, columns = layout.grid, layout.columns
    numbers = numbers_of(grid, [*columns["value"], *columns.get("step", ())])
    where = {role: [grid.header.index(n) for n in heads] for role, heads in columns.items()}
    taken = {name for heads in columns.values() for name in heads}
    others = {n: i for i, n in enumerate(grid.header) if n and n not in taken}
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for row, cells in enumerate(grid.rows):
        place = grid.at(row)
        keys = {}
        for role in KEYS:
            if role in columns:
                keys[role] = _name(place, role, [(grid.header[i], cells[i]) for i in where[role]], known)
            elif role != layout.spread:
                keys[role] = names[role]
        step = None
        if "step" in columns:
            text = cells[where["step"][0]]
            step = _number(place, "step", text, numbers)
            if step is None or not math.isfinite(step):
                msg = f"{place}: step '{short(text)}' is no number"
                raise UsageError(msg)
        more = {n: cells[i] for n, i in others.items()}
        for i in where["value"]:
            if layout.spread:
                keys[layout.spread] = grid.header[i]
            number = _number(place, "value", cells[i], numbers)
            yield SheetRow(place, keys["algorithm"], keys["task"], keys["seed"], number, step, more)


def _name(
    place: str, role: str, parts: Sequence[tuple[str, str]], known: dict[tuple[str, str], tuple[str, ...]]
) -> str:
    """The name that some cells of a row make; two rows whose cells differ never make one."""
    cells = tuple(cell for _, cell in parts)
    for column, cell in parts:
        if not cell or (role == "seed" and cell.lower() in {*MISSING, "nan"}):
            msg = f"{place}: no {role if len(parts) == 1 else column}"
            raise UsageError(msg)
    if len(parts) == 1:
        return cells[0]
    spelled = tuple(map(whole, cells))
    text = "/".join(spelled)
    if known.setdefault((role, text), spelled) != spelled:
        msg = f"{place}: {role} '{short(text)}' is also made of other parts; write them without a slash"
        raise UsageError(msg)
    return text


def _number(place: str, role: str, text: str, numbers: Numbers) -> float | None:
    if text.lower() in MISSING:
        return None
    spelled = numbers.plain(text)
    if not NUMBER.fullmatch(spelled):
        what = "is a mean with its deviation; give one number per trained run"
        msg = f"{place}: {role} '{short(text)}' {what if MEAN_AND_SPREAD.fullmatch(text) else 'is no number'}"
        raise UsageError(msg)
    value = float(spelled)
    if abs(value) > LARGEST and spelled.lstrip("+-")[:1].lower() != "i":
        msg = f"{place}: {role} '{short(text)}' is too large to average; a run that diverged is inf"
        raise UsageError(msg)
    return value


def _one_spelling(rows: Sequence[SheetRow]) -> Iterator[SheetRow]:
    """Tasks and algorithms 2 and 2.0 are one."""
    algorithms: dict[str, str] = {}
    tasks: dict[str, str] = {}
    for row in rows:
        algorithm, task = first_spelling(row.algorithm, algorithms), first_spelling(row.task, tasks)
        same = (algorithm, task) == (row.algorithm, row.task)
        yield row if same else replace(row, algorithm=algorithm, task=task)


def _sources(
    layouts: Sequence[Layout], files: Sequence[File], missing: Sequence[str], given: Sequence[Mapping[str, str]]
) -> Iterator[str]:
    """In words, where each name is from."""
    first = layouts[0]
    for role in (*KEYS, "step", "metric", "value"):
        if role in missing and all(names.get(role) == ONE_TASK for names in given):
            yield f"{role} '{ONE_TASK}', as nothing names one"
        elif role in missing:
            i = next(i for i, layout in enumerate(layouts) if role in layout.missing)
            some = " where no column gives it" if any(role not in layout.missing for layout in layouts) else ""
            what = "names of runs" if files[i].run else "paths"
            yield f"{role} from the {what}{some}, such as '{given[i][role]}' of {files[i].path}"
        elif role == first.spread:
            heads = first.columns["value"]
            some = ", ".join(map(short, heads[:8])) + (f", … ({len(heads)} in all)" if len(heads) > 8 else "")
            yield f"{role} from the heads of columns {some}"
        elif role in first.columns and not (role == "value" and first.spread):
            names = first.columns[role]
            yield f"{role} from column{'s' if len(names) > 1 else ''} {', '.join(names)}"
