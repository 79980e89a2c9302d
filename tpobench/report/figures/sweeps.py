"""Sweeps: the final score over an axis of the grid, as points over numbers and as bars over words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from tpobench.report.figures.bars import BARS, Bars, in_bars
from tpobench.report.figures.facets import Facets, in_rows, pages, point_of, point_text
from tpobench.report.figures.grid import facet_figure
from tpobench.report.figures.layout import Picture, algorithms_of, numbered, spelled
from tpobench.report.figures.panel import line_of, lines_of
from tpobench.report.figures.points import Points, final_caption, final_series
from tpobench.report.figures.scales import final_name
from tpobench.scores.cells import Cell
from tpobench.scores.options import ReportOptions

LEAST = {True: 3, False: 2}  # numbers, or words, that make a sweep
Groups = Sequence[list[Cell]]  # the cells of each panel


def sweep_pictures(suite: str, cells: Sequence[Cell], options: ReportOptions) -> list[Picture]:
    """A figure per axis of three numbers or two words, a panel per point of the other axes."""
    pictures = []
    for axis in dict.fromkeys(a for c in cells for a in c.axes):
        run = [c for c in cells if c.arms and axis in c.axes]
        numeric = all(_is_number(c.axes[axis]) for c in run)
        panels = [v for v in _panels(run, axis) if len(v) >= LEAST[numeric]]
        points = [point_of(v[0], axis) for v in panels]
        parts = list(pages(panels, points, list(map(point_text, points))))
        for i, (part, facets) in enumerate(parts):
            shown = [c for v in part for c in v]
            kind = " (log2 axis)" if numeric and _positive(shown, axis) else ""
            caption = f"Final {shown[0].reporting.metric} over {spelled(axis)}{kind}, {final_caption(shown, options)}."
            name, title = numbered(f"{suite}-{axis}", len(parts), i), f"final results over {spelled(axis)}"
            figure = (_points if numeric else _bars)(part, facets, axis, options)
            pictures.append(Picture(name, caption, figure, title))
    return pictures


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _panels(cells: Sequence[Cell], axis: str) -> Groups:
    panels: dict[str, list[Cell]] = {}
    for c in cells:
        panels.setdefault(point_text(point_of(c, axis)), []).append(c)
    return list(panels.values())


def _points(panels: Groups, facets: Facets, axis: str, options: ReportOptions) -> Figure:
    cells = [c for v in panels for c in v]
    algorithms, base, y = algorithms_of(cells), 2.0 * _positive(cells, axis), final_name(cells[0].reporting)
    drawn = []
    for title, several in zip(facets.titles, panels, strict=True):
        positions = [float(c.axes[axis]) for c in several]
        series = [final_series([line_of(c, a) for c in several], positions, options) for a in algorithms]
        ticks = [(p, f"{p:g}") for p in positions]
        drawn.append(Points(title, spelled(axis).capitalize(), y, ticks, series, base=base))
    return facet_figure(drawn, facets, algorithms, options)


def _bars(panels: Groups, facets: Facets, axis: str, options: ReportOptions) -> Figure:
    cells = [c for v in panels for c in v]
    algorithms, y = algorithms_of(cells), final_name(cells[0].reporting)
    drawn = [
        Bars(title, spelled(axis).capitalize(), y, groups)
        for title, several in zip(facets.titles, panels, strict=True)
        for groups in in_bars([(spelled(str(c.axes[axis])), lines_of(c, algorithms)) for c in several])
    ]
    columns = max(1, min(3, BARS // max(len(panel.lines) for panel in drawn)))
    if len(drawn) > len(panels) or facets.shape[1] > columns:
        facets = in_rows([panel.title for panel in drawn], columns)
    return facet_figure(drawn, facets, algorithms, options)


def _positive(cells: Sequence[Cell], axis: str) -> bool:
    """Whether a log axis can hold all values."""
    return all(c.axes[axis] > 0 for c in cells)
