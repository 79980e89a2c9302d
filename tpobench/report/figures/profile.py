"""Final score against sparsity: the initial success probability p0 as the common axis of all suites."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tpobench.report.figures.facets import Facets, pages, point_of
from tpobench.report.figures.grid import facet_figure
from tpobench.report.figures.layout import Picture, algorithms_of, numbered, spelled
from tpobench.report.figures.panel import line_of
from tpobench.report.figures.points import Points, final_caption, final_series
from tpobench.report.figures.scales import P0, final_name
from tpobench.scores.cells import Cell
from tpobench.scores.options import ReportOptions

LEAST = 1.25  # ratio of two success probabilities that are apart


def profile_pictures(suite: str, cells: Sequence[Cell], options: ReportOptions) -> list[Picture]:
    """A panel per reward, matching and value of every axis but the sparsity's; nothing without two sparsities."""
    axis, panels = sparsity_axis(_usable(cells)), profile_panels(cells)
    points = [point_of(v[0], axis) for v in panels.values()]
    parts = list(pages(list(panels.values()), points, list(panels)))
    pictures = []
    for i, (part, facets) in enumerate(parts):
        chosen = [c for v in part for c in v]
        caption = (
            f"Final {chosen[0].reporting.metric} against the success probability p0 of the untrained policy (harder to "
            f"the right), {final_caption(chosen, options)}; a line joins cells that differ in {spelled(axis)} alone, "
            "points of one p0 are set side by side."
        )
        name, title = numbered(f"{suite}-sparsity", len(parts), i), "final results against sparsity"
        pictures.append(Picture(name, caption, _figure(part, facets, options), title))
    return pictures


def _usable(cells: Sequence[Cell]) -> list[Cell]:
    return [c for c in cells if c.success and c.arms]


def profile_panels(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """A panel per reward, matching and value of every axis but the sparsity's, where it has two sparsities."""
    usable = _usable(cells)
    axis, panels = sparsity_axis(usable), dict[str, list[Cell]]()
    for c in usable:
        reward = str(c.task.get("reward", ""))
        others = [f"{k}={v}" for k, v in c.axes.items() if k not in {axis, "reward"}]
        title = ", ".join(filter(None, [reward, *others, c.condition and f"{c.condition} matched"]))
        panels.setdefault(title, []).append(c)
    return {k: sorted(v, key=lambda c: -(c.success or 0)) for k, v in panels.items() if _spans(positions_of(v))}


def _spans(p0: Sequence[float]) -> bool:
    """Whether they differ by more than estimates of one p0 do."""
    return max(p0) >= LEAST * min(p0)


def sparsity_axis(cells: Sequence[Cell]) -> str:
    """The axis of the grid that p0 hangs on: log p0 varies least among cells of one value; "" without an axis.

    A line over p0 joins cells that differ in it alone: joined over two axes it would jump to and fro.
    """

    def within(axis: str) -> float:
        groups: dict[str, list[float]] = {}
        for c in cells:
            groups.setdefault(str(c.axes.get(axis)), []).append(math.log(c.success or 1.0))
        return sum(len(logs) * float(np.var(logs)) for logs in groups.values())

    axes = dict.fromkeys(a for c in cells for a in c.axes)
    return min((a for a in axes if len({str(c.axes.get(a)) for c in cells}) > 1), key=within, default="")


def _figure(panels: Sequence[list[Cell]], facets: Facets, options: ReportOptions) -> Figure:
    cells = [c for v in panels for c in v]
    algorithms, y = algorithms_of(cells), final_name(cells[0].reporting)
    drawn = []
    for title, several in zip(facets.titles, panels, strict=True):
        positions = positions_of(several)
        ticks = [(p, f"{p:.2g}") for p in apart(sorted(set(positions)))]
        series = [final_series([line_of(c, a) for c in several], positions, options) for a in algorithms]
        drawn.append(Points(title, P0, y, ticks, series, base=10, aside=1.04, descending=True))
    return facet_figure(drawn, facets, algorithms, options)


def positions_of(cells: Sequence[Cell]) -> list[float]:
    """The p0 of each cell; those that print alike, as estimates of one p0 do, at one place and not joined."""
    exact = [c.success or 0.0 for c in cells]
    printed = [float(f"{p:.2g}") for p in exact]
    return exact if len(set(printed)) == len(printed) else printed


def apart(values: Sequence[float]) -> list[float]:
    """Ascending values thinned so that labels on a log axis do not touch: a sixth of the range between any two."""
    ticks: list[float] = []
    for value in values:
        if not ticks or value / ticks[-1] >= max(LEAST, (values[-1] / values[0]) ** (1 / 6)):
            ticks.append(value)
    return ticks
