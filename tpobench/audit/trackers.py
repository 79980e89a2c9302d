"""What Weights & Biases and TensorBoard download, taken apart into runs, whose names say what those of files would.

wandb, a chart      "Step","ppo_seed_0 - return","ppo_seed_0 - return__MIN","ppo_seed_0 - return__MAX",...
wandb, the runs     "Name","State","Notes","User","Tags","Created","Runtime","Sweep","seed",...,"return"
TensorBoard         run-ppo_seed_0-tag-return.csv: Wall time,Step,Value;  .json: [[wall time, step, value], ...]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tpobench.audit.grids import MANY, Grid, short
from tpobench.audit.json_grids import SCALARS
from tpobench.audit.layouts import NAMES, Layout
from tpobench.audit.paths import File
from tpobench.errors import UsageError, unknown

OF_TENSORBOARD = re.compile(r"run[-_](?P<run>.+)-tag-(?P<tag>.+)\.(csv|json)(\.gz)?", re.IGNORECASE)
OF_CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<end>__MIN|__MAX)?")
GROUP = re.compile(r"[^:]+: .+")  # `algorithm: ppo`
ABOUT_RUNS = {"Notes", "User", "Tags", "Created", "Runtime", "Sweep"}  # beside Name and State


@dataclass(frozen=True)
class Part:
    """A grid of one run, or of all where its columns tell them apart."""

    file: File
    grid: Grid
    chosen: Mapping[str, str] = field(default_factory=dict)  # column by role, as the tracker writes it

    @property
    def metric(self) -> str:
        """What the values are, where the tracker says it."""
        return self.chosen.get("value", "")


def parts_of(file: File, grid: Grid, chosen: Mapping[str, str]) -> list[Part]:
    """The runs in a file of a tracker; any other file as it is.

    Raises:
        UsageError: a chart of groups, which has no seeds.
    """
    name = OF_TENSORBOARD.fullmatch(file.path.name)
    if grid.header == SCALARS and name is not None:
        named = replace(grid, header=(*SCALARS[:2], name["tag"]))
        return [Part(replace(file, run=name["run"]), named, {"value": name["tag"], "step": "Step"})]
    columns = [OF_CHART.fullmatch(n) for n in grid.header[1:]]
    if any(c is not None and c["end"] for c in columns):
        return [Part(file, grid) if c is None else _line(file, grid, c) for c in columns if c is None or _is_line(c)]
    if is_run_table(grid) and any(_lacks(grid, role, chosen) for role in ("algorithm", "seed")):
        names = grid.column("Name")
        return [
            Part(_run(file, name), replace(grid, rows=(row,), lines=(line,)))
            for name, row, line in zip(names, grid.rows, grid.lines, strict=True)
        ]
    return [Part(file, grid)]


def of_one_metric(parts: Sequence[Part], metric: str | None) -> list[Part]:
    """Those with the values that are asked for, where trackers wrote several.

    Raises:
        UsageError: none is asked for, or there are none of it.
    """
    names = sorted({part.metric for part in parts} - {""})
    if metric is None and len(names) > 1:
        listed = ", ".join(map(short, names[:MANY])) + (", …" if len(names) > MANY else "")
        msg = f"{parts[0].grid.path.parent} holds several metrics; choose one with --metric: {listed}"
        raise UsageError(msg)
    if metric is None or len(names) < 2:
        return list(parts)
    if metric not in names:
        raise unknown("metric", metric, names, str(parts[0].grid.path.parent))
    return [part for part in parts if part.metric in {"", metric}]


def is_run_table(grid: Grid) -> bool:
    """The table of runs of wandb, one row each."""
    return {"Name", "State"} <= set(grid.header) and len(ABOUT_RUNS & set(grid.header)) > 1


def finished_only(layout: Layout) -> Layout:
    """Runs that wandb does not call finished have no result: their values are where they were cut off."""
    grid = layout.grid
    if not is_run_table(grid):
        return layout
    where = {grid.header.index(n) for n in layout.columns["value"]}
    rows = tuple(
        row if state == "finished" else tuple("" if i in where else cell for i, cell in enumerate(row))
        for state, row in zip(grid.column("State"), grid.rows, strict=True)
    )
    return replace(layout, grid=replace(grid, rows=rows))


def _is_line(column: re.Match[str]) -> bool:
    return not column["end"] and not column["metric"].startswith("_")


def _line(file: File, grid: Grid, column: re.Match[str]) -> Part:
    """One line of a chart: its steps, and what was measured there."""
    if GROUP.fullmatch(column["run"]):
        msg = (
            f"{grid.path} is a chart of groups ('{short(column['run'])}'): its values are means, and nothing can be "
            "tested without seeds; turn grouping off and export it again"
        )
        raise UsageError(msg)
    step, i = grid.header[0], grid.header.index(column.string)
    measured = [k for k, row in enumerate(grid.rows) if row[i]] or range(len(grid.rows))
    rows, lines = tuple((grid.rows[k][0], grid.rows[k][i]) for k in measured), tuple(grid.lines[k] for k in measured)
    line = replace(grid, header=(step, column["metric"]), rows=rows, lines=lines)
    return Part(_run(file, column["run"]), line, {"value": column["metric"], "step": step})


def _run(file: File, name: str) -> File:
    return replace(file, root=file.path.parent, run=name)


def _lacks(grid: Grid, role: str, chosen: Mapping[str, str]) -> bool:
    return role not in chosen and not any(n.lower() in NAMES[role] for n in grid.header)
