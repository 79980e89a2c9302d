"""The runs behind a figure of the paper, at one scale: cells by suite, and the grid each suite asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpobench.errors import UsageError
from tpobench.scores.cells import Arm, Cell, Results, read_cells
from tpobench.scores.options import Options
from tpobench.scores.unverified import unverified
from tpobench.suites.load import Suite, load_suite

SCALES = ("paper", "quick")
QUICK = "-quick"  # how the name of a suite ends at that scale
Axes = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """The runs of one rule in one cell, where there are any."""

    suite: str
    rule: str
    cell: Cell | None
    lost: bool = False  # whether a run of it failed or was skipped

    @property
    def arm(self) -> Arm | None:
        """Its finished runs."""
        return self.cell.arms.get(self.rule) if self.cell else None


@dataclass(frozen=True)
class Runs:
    """Cells of the suites of one scale, keyed by the suite's name at the paper's scale."""

    scale: str
    cells: Mapping[str, Sequence[Cell]]
    lost: frozenset[tuple[str, str, str]]  # suite, rule and cell of runs that failed or were skipped
    suites: Mapping[str, Suite]  # as they are shipped; none of a suite that is not
    unverified: frozenset[tuple[str, str]]  # suite, and data of which its runs read a copy that is not the published
    tasks: Sequence[tuple[str, Axes, Mapping[str, Any]]]  # suite, cell and task of every record

    def values(self, suite: str, axis: str) -> list[Any]:
        """Values of an axis in the order of the suite's grid, then those that only the records have."""
        shipped = self.suites.get(suite)
        asked = {k.rpartition(".")[2]: v for k, v in shipped.grid.items()}.get(axis, ()) if shipped else ()
        cells = self.cells.get(suite, ())
        found = (c.matching for c in cells) if axis == "matching" else (c.axes[axis] for c in cells if axis in c.axes)
        return list(dict.fromkeys((*asked, *found)))

    def cell(self, suite: str, axes: Axes, matching: str = "") -> Cell | None:
        """The cell at these values of the axes; under any matching where none is named."""
        return next((c for c in self.cells.get(suite, ()) if _is_at(c, axes, matching)), None)

    def most_candidates(self, suite: str) -> float:
        """Answers of a group; rules without groups have one."""
        return float(max((task.get("candidates", 1) for name, _, task in self.tasks if name == suite), default=1))

    def source(self, suite: str, rule: str, cell: Cell | None) -> Source:
        """The runs of a rule in a cell of a suite."""
        where = ", ".join(f"{k}={v}" for k, v in cell.axes.items()) or "-" if cell else ""
        return Source(suite, rule, cell, (suite, rule, where) in self.lost)


def _is_at(cell: Cell, axes: Axes, matching: str) -> bool:
    where = all(cell.axes.get(k) == v for k, v in axes.items())
    return where and (not matching or cell.matching in {matching, "any"})


def runs_by_scale(results: Results, suites: Sequence[str], how: Options) -> list[Runs]:
    """Those of the scales that have a record of one of the suites, the paper's scale first."""
    names = {scale: {s + QUICK * (scale == "quick"): s for s in suites} for scale in SCALES}
    wanted = {n for named in names.values() for n in named}
    found, problems = read_cells((r for r in results.records if r.spec["suite"] in wanted), how)
    latest: dict[str, list[Cell]] = {}
    for name in sorted(found, key=_version):  # several versions of a suite: the last one is shown
        latest[name.partition("@")[0]] = found[name]
    runs, other = [], [(u.data, suite) for u in unverified(results.records) for suite in u.suites]
    for scale, named in names.items():
        cells = {s: latest[n] for n, s in named.items() if n in latest}
        lost = {(named.get(p.suite.partition("@")[0], ""), p.algorithm, p.where) for p in problems}
        if cells:
            data = {(named[name], data) for data, name in other if name in named}
            specs = [r.spec for r in results.records if r.spec["suite"] in named]
            tasks = [(named[x["suite"]], x["cell"], x["task"]) for x in specs]
            runs.append(Runs(scale, cells, frozenset(lost), _shipped(suites, scale), frozenset(data), tasks))
    return runs


def _version(name: str) -> tuple[str, int]:
    suite, _, version = name.partition("@")
    return suite, int(version or 0)


def _shipped(suites: Iterable[str], scale: str) -> dict[str, Suite]:
    found = {}
    for name in suites:
        try:
            found[name] = load_suite(name, scale=scale)
        except UsageError:  # records outlive suites
            continue
    return found
