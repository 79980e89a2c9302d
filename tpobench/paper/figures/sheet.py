"""A figure of the paper as rows of panels, drawn: shared axes, one legend on top, `not run` where nothing was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from tpobench.paper.figures.panels import Curves, Panel, missing
from tpobench.report.figures.layout import COLUMN, HANDLE, LETTER, LINE, PAGE
from tpobench.report.figures.style import GREY
from tpobench.scores.options import Options

TOP = 0.55  # inches: legend and the labels of the lowest axes
HEIGHT = 1.9  # inches of a row
NARROW = 4  # panels of a row from which on they have room for few numbers


@dataclass(frozen=True)
class Sheet:
    """Rows of panels; what is seen, in words, for the caption."""

    rows: Sequence[Sequence[Panel]]
    says: str
    shared: bool = False  # whether the panels of a row share their y axis and its label
    height: float = HEIGHT

    @property
    def panels(self) -> list[Panel]:
        """All panels, row by row."""
        return [panel for row in self.rows for panel in row]


def draw(sheet: Sheet, how: Options) -> Figure:
    """The figure, on one page width, or one column where it is a single panel."""
    width = PAGE if len(sheet.panels) > 1 else COLUMN
    figure = Figure(figsize=(width, TOP + sheet.height * len(sheet.rows)), layout="constrained")
    grid = figure.add_gridspec(len(sheet.rows), math.lcm(*(len(row) for row in sheet.rows)))
    for i, row in enumerate(sheet.rows):
        axes = _row(figure, grid, i, sheet)
        for ax, panel in zip(axes, row, strict=True):
            panel.draw(ax, how)
        for ax, panel in zip(axes, row, strict=True):  # shared axes: only once everything is drawn
            _finish(ax, panel)
            if isinstance(panel, Curves) and drawn(ax):
                ax.xaxis.set_major_locator(MaxNLocator(4 if len(row) < NARROW else 2, steps=[1, 2, 2.5, 5, 10]))
        for k, (ax, panel) in enumerate(zip(axes, row, strict=True)):
            _name(ax, panel, sheet, first=k == 0, last=i == len(sheet.rows) - 1)
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """One for all panels, on top, in rows of about equal length."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    wide = sum(HANDLE + LETTER * len(label) for label in handles)
    rows = max(1, math.ceil(wide / figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + LINE * (rows - 1))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=-(-len(handles) // rows),
                  handlelength=2.6, columnspacing=1.2)  # fmt: skip


def _row(figure: Figure, grid: GridSpec, i: int, sheet: Sheet) -> list[Axes]:
    span = grid.ncols // len(sheet.rows[i])
    axes: list[Axes] = []
    for k in range(len(sheet.rows[i])):
        first = axes[0] if axes and sheet.shared else None
        axes.append(figure.add_subplot(grid[i, k * span : (k + 1) * span], sharey=first))
    return axes


def _finish(ax: Axes, panel: Panel) -> None:
    if drawn(ax):
        if panel.from_zero:
            ax.set_ylim(0, None)
        return
    for note in list(ax.texts):
        note.remove()
    ax.text(0.5, 0.5, missing(panel.lines), transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.grid(visible=False)
    ax.set_xticks([])
    if not any(drawn(other) for other in ax.get_shared_y_axes().get_siblings(ax)):
        ax.set_yticks([])


def drawn(ax: Axes) -> bool:
    """Whether a rule is to be seen, not only guides."""
    return bool(ax.get_legend_handles_labels()[0])


def _name(ax: Axes, panel: Panel, sheet: Sheet, *, first: bool, last: bool) -> None:
    ax.set_title(panel.title)
    if first or not sheet.shared:
        ax.set_ylabel(panel.y)
    else:
        ax.tick_params(labelleft=False)
    if last or not sheet.shared:
        ax.set_xlabel(panel.x)
