"""Sweeps: the final score over an axis of the grid, as points over numbers and as bars over words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from tpobench.report.figures.bars import BARS, Bars, in_bars
from tpobench.report.figures.grid import facet_figure
from tpobench.report.figures.layout import Picture, algorithms_of, numbered, paged, spelled
from tpobench.report.figures.panel import line_of, lines_of
from tpobench.report.figures.points import Points, final_caption, final_series
from tpobench.report.figures.scales import final_name
from tpobench.scores.cells import Cell
from tpobench.scores.options import ReportOptions

LEAST = {True: 3, False: 2}  # numbers, or words, that make a sweep
Groups = Mapping[str, list[Cell]]


def sweep_pictures(suite: str, cells: Sequence[Cell], options: ReportOptions) -> list[Picture]:
    """A figure per axis of three numbers or two words, a panel per point of the other axes."""
    pictures = []
    for axis in dict.fromkeys(a for c in cells for a in c.axes):
        run = [c for c in cells if c.arms and axis in c.axes]
        numeric = all(_is_number(c.axes[axis]) for c in run)
        panels = {k: v for k, v in _panels(run, axis).items() if len(v) >= LEAST[numeric]}
        parts = list(map(dict, paged(list(panels.items()))))
        for i, part in enumerate(parts):
            shown = [c for v in part.values() for c in v]
            kind = " (log2 axis)" if numeric and _positive(shown, axis) else ""
            caption = f"Final {shown[0].reporting.metric} over {spelled(axis)}{kind}, {final_caption(shown, options)}."
            name, title = numbered(f"{suite}-{axis}", len(parts), i), f"final results over {spelled(axis)}"
            figure = _points(part, axis, options) if numeric else _bars(part, axis, options)
            pictures.append(Picture(name, caption, figure, title))
    return pictures


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _panels(cells: Sequence[Cell], axis: str) -> dict[str, list[Cell]]:
    panels: dict[str, list[Cell]] = {}
    for c in cells:
        others = [f"{k}={v}" for k, v in c.axes.items() if k != axis]
        others += [f"matching={c.condition}"] if c.condition else []
        panels.setdefault(", ".join(others), []).append(c)
    return panels


def _points(panels: Groups, axis: str, options: ReportOptions) -> Figure:
    cells = [c for v in panels.values() for c in v]
    algorithms, base, y = algorithms_of(cells), 2.0 * _positive(cells, axis), final_name(cells[0].reporting)
    drawn = []
    for title, several in panels.items():
        positions = [float(c.axes[axis]) for c in several]
        series = [final_series([line_of(c, a) for c in several], positions, options) for a in algorithms]
        ticks = [(p, f"{p:g}") for p in positions]
        drawn.append(Points(title, spelled(axis).capitalize(), y, ticks, series, base=base))
    return facet_figure(drawn, algorithms, options)


def _bars(panels: Groups, axis: str, options: ReportOptions) -> Figure:
    cells = [c for v in panels.values() for c in v]
    algorithms, y = algorithms_of(cells), final_name(cells[0].reporting)
    drawn = [
        Bars(title, spelled(axis).capitalize(), y, groups)
        for title, several in panels.items()
        for groups in in_bars([(spelled(str(c.axes[axis])), lines_of(c, algorithms)) for c in several])
    ]
    most = max(len(panel.lines) for panel in drawn)
    return facet_figure(drawn, algorithms, options, columns=max(1, min(3, BARS // most)))


def _positive(cells: Sequence[Cell], axis: str) -> bool:
    """Whether a log axis can hold all values."""
    return all(c.axes[axis] > 0 for c in cells)
