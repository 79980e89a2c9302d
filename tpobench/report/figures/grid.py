"""Panels on a page: a facet each under one scale, or rows of different panels under one legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from tpobench.report.figures.facets import Facets
from tpobench.report.figures.layout import COLUMN, PAGE, legend, name_lines, named_lines
from tpobench.report.figures.panel import Line, Panel, missing, with_runs
from tpobench.report.figures.scales import decades, ends_of, log_axis
from tpobench.report.figures.style import GREY
from tpobench.scores.options import ReportOptions

TOP = 0.55  # inches: legend and the labels of the lowest axes
HEIGHT = 1.9  # inches of a row


def scale_score(axes: Sequence[Axes], lines: Iterable[Line]) -> None:
    """The scale that panels of one score share, once everything is drawn: one of its ends is its best value.

    Logarithmic where that is zero, and lines span decades and never get there; bars begin at zero.
    """
    reporting = next(line.cell.reporting for line in lines if line.cell)
    drawn = [line.get_ydata() for ax in axes if named_lines(ax) for line in ax.get_lines()]
    if reporting.sign > 0 and drawn and decades(drawn):
        log_heights(axes)
    else:
        axes[0].set_ylim(*ends_of(reporting))


def log_heights(axes: Sequence[Axes]) -> None:
    """A log axis for the lines of all panels that share it."""
    log_axis(axes[0], [h for ax in axes for line in named_lines(ax) for h in np.asarray(line.get_ydata())])


def facet_figure(
    panels: Sequence[Panel],
    facets: Facets,
    names: Sequence[str],
    options: ReportOptions,
    scale: Callable[[Sequence[Axes]], None] | None = None,
) -> Figure:
    """Panels of one kind under one y axis, which `scale` sets once they are drawn; the lines bear `names`.

    scale: where it is left out, that of a score.
    """
    figure, axes = facets.figure()
    for ax, panel in zip(axes, panels, strict=True):
        panel.draw(ax, options)
    if scale is None:
        scale_score(axes, [line for panel in panels for line in panel.lines])
    else:
        scale(axes)
    facets.name(axes, panels[0].x, panels[0].y)
    name_lines(figure, axes, names)
    return figure


@dataclass(frozen=True)
class PanelGrid:
    """Rows of panels, of any kinds; what is seen, in words, for the caption."""

    rows: Sequence[Sequence[Panel]]
    says: str
    labels: Sequence[str] = ()  # of the rows
    shared: bool = False  # whether panels of a row whose y axes have one name share it, and columns their titles
    height: float = HEIGHT

    @property
    def panels(self) -> list[Panel]:
        """All panels, row by row."""
        return [panel for row in self.rows for panel in row]

    @property
    def labelled(self) -> list[tuple[Sequence[Panel], str]]:
        """Rows with their labels."""
        return list(zip(self.rows, self.labels or [""] * len(self.rows), strict=True))


def grid_figure(grid: PanelGrid, options: ReportOptions) -> Figure:
    """On one page width, or one column where it is a single panel.

    A panel without runs says so; a row of such panels is left out, and is for the caption to name.
    """
    rows = [(row, label) for row, label in grid.labelled if with_runs(row)]
    width = PAGE if sum(len(row) for row, _ in rows) > 1 else COLUMN
    figure = Figure(figsize=(width, TOP + grid.height * len(rows)), layout="constrained")
    spec = figure.add_gridspec(len(rows), math.lcm(*(len(row) for row, _ in rows)))
    for i, (row, label) in enumerate(rows):
        axes = _row(figure, spec, i, row, shared=grid.shared)
        for ax, panel in zip(axes, row, strict=True):
            panel.draw(ax, options)
        for ax, panel in zip(axes, row, strict=True):  # shared axes: only once everything is drawn
            _finish(ax, panel)
            _name(ax, panel, label, left=not grid.shared or next(p for p in row if p.y == panel.y) is panel,
                  top=not grid.shared or i == 0, bottom=not grid.shared or i == len(rows) - 1)  # fmt: skip
    legend(figure)
    return figure


def _row(figure: Figure, spec: GridSpec, i: int, panels: Sequence[Panel], *, shared: bool) -> list[Axes]:
    span, first, axes = spec.ncols // len(panels), dict[str, Axes](), list[Axes]()
    for k, panel in enumerate(panels):
        ax = figure.add_subplot(spec[i, k * span : (k + 1) * span], sharey=first.get(panel.y))
        axes.append(ax)
        if shared:
            first.setdefault(panel.y, ax)
    return axes


def _finish(ax: Axes, panel: Panel) -> None:
    if ax.get_legend_handles_labels()[0]:  # an algorithm is to be seen, not only guides
        if panel.from_zero:
            ax.set_ylim(0, None)
        return
    for note in list(ax.texts):
        note.remove()
    ax.text(0.5, 0.5, missing(panel.lines), transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.grid(visible=False)
    ax.tick_params(left=False, labelleft=False)
    ax.set_xticks([])
    ax.spines[:].set_color(GREY)


def _name(ax: Axes, panel: Panel, label: str, *, left: bool, top: bool, bottom: bool) -> None:
    """Titles once a column, names of y axes once a row, where they are shared; else for every panel."""
    if top:
        ax.set_title(panel.title)
    if left:
        ax.set_ylabel("\n".join(filter(None, [label, panel.y])))
    else:
        ax.tick_params(labelleft=False)
    if bottom:
        ax.set_xlabel(panel.x)
