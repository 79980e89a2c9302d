"""The runs behind a figure of the paper, at one scale: cells by suite, and the grid each suite asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpobench.errors import UsageError
from tpobench.paper.items import Item
from tpobench.records.results import Results
from tpobench.report.figures.panel import Line
from tpobench.report.figures.style import Style, style_of
from tpobench.scores.cells import Cell, algorithm_order, read_cells
from tpobench.scores.options import ReportOptions
from tpobench.scores.unverified import unverified
from tpobench.suites.load import SCALES, Suite, load_suite, scaled

Axes = Mapping[str, Any]


@dataclass(frozen=True)
class Runs:
    """Cells of the suites of an item at one scale, keyed by the suite's name at the paper's scale."""

    item: Item
    scale: str
    options: ReportOptions
    cells: Mapping[str, Sequence[Cell]]
    failed: frozenset[tuple[str, str, str]]  # suite, algorithm and cell of runs that failed or were skipped
    suites: Mapping[str, Suite]  # as they are shipped; none of a suite that is not
    unverified: frozenset[tuple[str, str]]  # suite, and data of which its runs read a copy that is not the published
    tasks: Sequence[tuple[str, Axes, Mapping[str, Any]]]  # suite, cell and task of every record

    def algorithms(self, suite: str) -> list[str]:
        """Of the item in a suite: those that its part names, else all of the suite, in the order of the catalogue."""
        named = [name for part in self.item.parts if part.suite == suite for name in part.algorithms]
        shipped = self.suites[suite].algorithms if suite in self.suites else ()
        run = (name for cell in self.cells.get(suite, ()) for name in cell.arms)
        return sorted(set(named or shipped or run), key=algorithm_order)

    def values(self, suite: str, axis: str) -> list[Any]:
        """Values of an axis in the order of the suite's grid, then those that only the records have."""
        shipped = self.suites.get(suite)
        asked = {k.rpartition(".")[2]: v for k, v in shipped.grid.items()}.get(axis, ()) if shipped else ()
        cells = self.cells.get(suite, ())
        run = (c.matching for c in cells) if axis == "matching" else (c.axes[axis] for c in cells if axis in c.axes)
        return list(dict.fromkeys((*asked, *run)))

    def cell(self, suite: str, axes: Axes, matching: str = "") -> Cell | None:
        """The cell at these values of the axes; under any matching where none is named."""
        return next((c for c in self.cells.get(suite, ()) if _is_at(c, axes, matching)), None)

    def most_candidates(self, suite: str) -> float:
        """Answers of a group; algorithms without groups have one."""
        return float(max((task.get("candidates", 1) for name, _, task in self.tasks if name == suite), default=1))

    def line(self, suite: str, name: str, cell: Cell | None, metric: str | None = None, label: str = "",
             style: Style | None = None) -> Line:  # fmt: skip
        """The runs of an algorithm in a cell of a suite; named and looking as it does, unless said otherwise."""
        where = ", ".join(f"{k}={v}" for k, v in cell.axes.items()) or "-" if cell else ""
        failed = (suite, name, where) in self.failed
        return Line(name, cell, label or name, style or style_of(name), metric, suite=suite, failed=failed)

    def lines(self, suite: str, names: Iterable[str] | None = None, metric: str | None = None, *, matching: str = "",
              **axes: Any) -> list[Line]:  # fmt: skip
        """Those algorithms, or all that the item has, in one cell of a suite."""
        cell = self.cell(suite, axes, matching)
        return [self.line(suite, name, cell, metric) for name in names or self.algorithms(suite)]


def _is_at(cell: Cell, axes: Axes, matching: str) -> bool:
    where = all(cell.axes.get(k) == v for k, v in axes.items())
    return where and (not matching or cell.matching in {matching, "any"})


def runs_by_scale(results: Results, item: Item, options: ReportOptions) -> list[Runs]:
    """Those of the scales that have a record of one of the item's suites, the paper's scale first."""
    suites = list(dict.fromkeys(part.suite for part in item.parts))
    names = {scale: {scaled(s, scale): s for s in suites} for scale in SCALES}
    wanted = {n for named in names.values() for n in named}
    by_suite, problems = read_cells((r for r in results.records if r.spec["suite"] in wanted), options)
    latest: dict[str, list[Cell]] = {}
    for name in sorted(by_suite, key=_version):  # several versions of a suite: the last one is shown
        latest[name.partition("@")[0]] = by_suite[name]
    runs, other = [], [(u.data, suite) for u in unverified(results.records) for suite in u.suites]
    for scale, named in names.items():
        cells = {s: latest[n] for n, s in named.items() if n in latest}
        failed = {(named.get(p.suite.partition("@")[0], ""), p.algorithm, p.where) for p in problems}
        if cells:
            data = {(named[name], data) for data, name in other if name in named}
            specs = [r.spec for r in results.records if r.spec["suite"] in named]
            tasks = [(named[x["suite"]], x["cell"], x["task"]) for x in specs]
            shipped = _shipped(suites, scale)
            runs.append(Runs(item, scale, options, cells, frozenset(failed), shipped, frozenset(data), tasks))
    return runs


def _version(name: str) -> tuple[str, int]:
    suite, _, version = name.partition("@")
    return suite, int(version or 0)


def _shipped(suites: Iterable[str], scale: str) -> dict[str, Suite]:
    shipped = {}
    for name in suites:
        try:
            shipped[name] = load_suite(name, scale=scale)
        except UsageError:  # records outlive suites
            continue
    return shipped
