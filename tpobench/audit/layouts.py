"""Which columns of a table hold what: each by its name, by the user's word, or lying side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tpobench.audit.directions import lower_is_better
from tpobench.audit.grids import MANY, Grid, plain, short
from tpobench.audit.names import SEED, look_alikes
from tpobench.audit.numbers import MEAN_AND_SPREAD, MISSING, NUMBER, Numbers
from tpobench.errors import UsageError, unknown

NAMES: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("algorithm", "algo", "method", "agent", "rule", "optimizer"),
    "task": ("task", "env", "environment", "env_id", "game", "dataset", "benchmark", "cell"),
    "seed": ("seed", "run", "trial", "replicate"),
    "value": ("value", "score", "return", "reward", "error", "loss", "accuracy", "metric", "result"),
    "step": (
        "step",
        "steps",
        "update",
        "iteration",
        "timestep",
        "timesteps",
        "epoch",
        "episode",
        "global_step",
        "_step",
    ),
    "metric": ("metric", "measure", "variable", "metric_name", "quantity"),  # names what the value is
}
KEYS = ("algorithm", "task", "seed")
MEANS = frozenset({"mean", "avg", "average"})
SPREADS = frozenset({"std", "sd", "stddev", "stdev", "stderr", "sem", "se", "ci", "ci95", "deviation"})
# Words in the heads of columns that are no algorithms and no tasks.
SETTINGS = frozenset({
    "lr", "rate", "budget", "batch", "size", "dim", "dimension", "dimensions", "width", "depth", "temperature",
    "gamma", "beta", "alpha", "epsilon", "n", "id", "index", "idx", "time", "seconds", "hours", "wall", "wallclock",
    "minutes", "date", "std", "sd", "var", "variance", "step", "steps", "epoch", "epochs", "episode", "episodes",
    "update", "updates", "iteration", "iterations", "timestep", "timesteps", "length", "memory", "samples",
})  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Which columns of one file hold what."""

    grid: Grid
    columns: Mapping[str, tuple[str, ...]]  # role -> its columns; several make one name
    spread: str = ""  # the role whose names are the heads of the columns of values
    metric: str | None = None  # the one that was chosen from a column of metrics
    alike: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Names that no column gives."""
        return [role for role in KEYS if role not in self.columns and role != self.spread]

    @property
    def value(self) -> str:
        """What the values are called; empty where their columns are named after something else."""
        return self.metric or ("" if self.spread else self.columns["value"][0])


def layout_of(grid: Grid, chosen: Mapping[str, str], metric: str | None, *, alone: bool) -> Layout:
    """What each column holds.

    Raises:
        UsageError: no such column, or none for the value (or, of a file by itself, for a name).
    """
    if metric is not None and metric in grid.header:
        chosen = {"value": metric, **chosen}
    columns = {role: _columns(grid, role, text) for role, text in chosen.items()}
    taken = {name for names in columns.values() for name in names}
    for role in ("metric", *(r for r in NAMES if r != "metric")):
        fitting = [n for alias in NAMES[role] for n in grid.header if n.lower() == alias and n not in taken]
        if role in columns or not fitting:
            continue
        if role == "metric" and (not _names_metrics(grid, fitting[0]) or metric in grid.header):
            continue
        if role == "value" and len(fitting) > 1 and fitting[0].lower() != "value":
            msg = f"{grid.path}: {' and '.join(fitting)} could both be the value; choose one with --metric COLUMN"
            raise UsageError(msg)
        columns[role] = (fitting[0],)
        taken.add(fitting[0])
    layout = Layout(grid, columns)
    if "metric" in columns:
        layout = _of_one_metric(layout, metric)
    if "value" not in columns:
        layout = _side_by_side(layout, alone=alone)
    for role in (*KEYS, "value"):
        if role not in layout.columns and role != layout.spread and not (role == "value" and layout.spread):
            _require(layout, role, alone=alone)
    return layout


def _columns(grid: Grid, role: str, text: str) -> tuple[str, ...]:
    """The column of a role; of a name also several, `function,dimension`."""
    names = [text] if text in grid.header or role not in KEYS else [plain(part) for part in text.split(",")]
    for name in names:
        if name not in grid.header or not name:
            raise unknown("column", name, [n for n in grid.header if n], str(grid.path))
    return tuple(names)


def _names_metrics(grid: Grid, name: str) -> bool:
    return any(not NUMBER.fullmatch(Numbers().plain(cell)) for cell in grid.column(name) if cell.lower() not in MISSING)


def _of_one_metric(layout: Layout, metric: str | None) -> Layout:
    """The rows of one metric, where a column says which of several each value is."""
    grid, (column,) = layout.grid, layout.columns["metric"]
    cells = grid.column(column)
    names = sorted(set(cells))
    if "" in names:
        msg = f"{grid.at(cells.index(''))}: no {column}"
        raise UsageError(msg)
    if not names:
        return layout
    if metric is None and len(names) > 1:
        listed = ", ".join(map(short, names[:MANY])) + (", …" if len(names) > MANY else "")
        msg = f"{grid.path}: column {column} holds several metrics; choose one with --metric: {listed}"
        raise UsageError(msg)
    if metric is not None and metric not in names:
        raise unknown("metric", metric, names, f"column {column} of {grid.path}")
    one = metric or names[0]
    places = [i for i, cell in enumerate(cells) if cell == one]
    some = replace(grid, rows=tuple(grid.rows[i] for i in places), lines=tuple(grid.lines[i] for i in places))
    alike = next((group for group in look_alikes(names) if one in group), ())
    return replace(layout, grid=some, metric=one, alike=alike)


def _side_by_side(layout: Layout, *, alone: bool) -> Layout:
    """Columns of values that lie side by side: one per seed, or one per algorithm or task where the rest is named."""
    grid = layout.grid
    taken = {name for names in layout.columns.values() for name in names}
    free = [n for n in grid.header if n not in taken and n and not re.fullmatch(r"Unnamed: \d+", n)]
    seeds = [n for n in free if SEED.fullmatch(n)]
    if "seed" not in layout.columns and len(seeds) > 1:
        words = {re.sub(r"[ _-]?\d+$", "", n).casefold() for n in seeds}
        in_a_row = any(list(map(str, range(k, k + len(seeds)))) == seeds for k in (0, 1))
        if len(words) > 1 or (words == {""} and not in_a_row):
            some = ", ".join(map(short, seeds[:MANY]))
            msg = f"{grid.path}: columns {some} may be seeds or something else; name seeds like seed_0, seed_1"
            raise UsageError(msg)
        return replace(layout, columns={**layout.columns, "value": tuple(seeds)}, spread="seed")
    if alone:
        _refuse_summaries(layout, free)
    unnamed = [role for role in ("algorithm", "task") if role not in layout.columns]
    numeric = [n for n in free if _is_numeric(grid, n)]
    if not unnamed or len(numeric) < 2 or "metric" in layout.columns:
        return layout
    if len(unnamed) > 1:
        some = ", ".join(map(short, numeric[:MANY]))
        msg = f"{grid.path}: columns {some} may each be an algorithm or a task; add the column that is missing"
        raise UsageError(msg)
    (role,) = unnamed
    if _near(free, role):
        return layout
    doubtful = [n for n in numeric if lower_is_better(n) is not None or SETTINGS & _words(n)]
    if doubtful:
        msg = (
            f"{grid.path} has no column '{role}' (it has {grid.listed}), and its columns of numbers are not one "
            f"{role} each: {short(doubtful[0])} is no {role}; name the column with --column {role}=COLUMN, or leave "
            f"{short(doubtful[0])} out"
        )
        raise UsageError(msg)
    return replace(layout, columns={**layout.columns, "value": tuple(numeric)}, spread=role)


def _is_numeric(grid: Grid, name: str) -> bool:
    """Numbers only, at least one."""
    cells = [cell for cell in grid.column(name) if cell.lower() not in MISSING]
    pattern = re.compile(r"[+\-−]?[\d.,' ’]+([eE][+-]?\d+)?\s*%?", re.ASCII)
    return bool(cells) and all(NUMBER.fullmatch(cell) or pattern.fullmatch(cell) for cell in cells)


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()))


def _near(names: Sequence[str], role: str) -> list[str]:
    """Columns that may be the one of a role under another name, such as `Algo name`."""
    return [n for n in names if set(NAMES[role]) & _words(n) and not {"time", "seconds"} & _words(n)]


def _refuse_summaries(layout: Layout, free: Sequence[str]) -> None:
    """A table of means and deviations, in columns or in cells, has no seeds."""
    grid = layout.grid
    named = [[n for n in grid.header if known & _words(n)] for known in (MEANS, SPREADS)]
    if "seed" in layout.columns:
        return
    cell = next((c for n in free for c in grid.column(n) if MEAN_AND_SPREAD.fullmatch(c)), None)
    if cell is None and not all(named):
        return
    what = f"'{short(cell)}'" if cell is not None else f"columns {named[0][0]} and {named[1][0]}"
    msg = (
        f"{grid.path} is a table of means with their deviations ({what}): it has no seeds, and nothing can be tested "
        "without them; audit the table that it was made from, one value per trained run"
    )
    raise UsageError(msg)


def _require(layout: Layout, role: str, *, alone: bool) -> None:
    """Refuse a file without a column, unless its path can give the name."""
    grid = layout.grid
    taken = {name for names in layout.columns.values() for name in names}
    free = [n for n in grid.header if n and n not in taken]
    if alone:
        _refuse_summaries(layout, [*free, *layout.columns.get("value", ())])
    if role in KEYS and not alone and not _near(free, role):
        return
    msg = (
        f"{grid.path} has no column '{role}' (it has {grid.listed}); name it with --column {role}=COLUMN"
        + (" or --metric COLUMN" if role == "value" else "")
    )  # fmt: skip
    raise UsageError(msg)
