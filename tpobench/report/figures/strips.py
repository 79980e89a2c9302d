"""Final results: every seed a dot, the mean with its interval beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpobench.report.figures.facets import Facets, pages_of
from tpobench.report.figures.layout import Picture, algorithms_of, name_rows, numbered
from tpobench.report.figures.points import final_caption
from tpobench.report.figures.scales import decades, ends_of, final_name, log_ticks
from tpobench.report.figures.style import style_of
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.stats.estimate import Floats

ROW = 0.19  # inches of one algorithm
BAND = 0.22  # half the height, in rows, over which the dots of an algorithm are laid out


def strip_pictures(name: str, cells: Sequence[Cell], options: ReportOptions) -> list[Picture]:
    """A panel per cell, a row per algorithm."""
    parts = pages_of(cells, _height(cells))
    title = "final results, seed by seed"
    return [
        Picture(numbered(name, len(parts), i), _caption(p, options), _figure(p, facets, options), title)
        for i, (p, facets) in enumerate(parts)
    ]


def _caption(cells: Sequence[Cell], options: ReportOptions) -> str:
    diverged = any(any(a.diverged) for c in cells for a in c.arms.values())
    window = cells[0].reporting.window
    last = "at the end" if window == 1 else f"mean of the last {window} evaluations"
    return (
        f"Final {cells[0].reporting.metric} ({last}): a dot per seed, marker and bar: {final_caption(cells, options)}."
        + " Crosses: diverged runs, scored the worst value." * diverged
        + " Diverged runs are left out." * any(c.dropped for c in cells)
    )


def _height(cells: Sequence[Cell]) -> float:
    return ROW * len(algorithms_of(cells)) + 0.35


def _figure(cells: Sequence[Cell], facets: Facets, options: ReportOptions) -> Figure:
    algorithms, reporting = algorithms_of(cells), cells[0].reporting
    figure, axes = facets.figure(_height(cells), _height(cells) + 0.25, share="xy")
    scale = reporting.scale
    for ax, cell in zip(axes, cells, strict=True):
        for row, name in enumerate(algorithms):
            if name in cell.arms:
                _draw(ax, cell.arms[name], row, scale, reporting, options)
            else:
                ax.annotate("missing", (0.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=7)
        name_rows(ax, algorithms)
    if _logarithmic(cells, options):
        axes[0].set_xscale("log")
        log_ticks(axes[0].xaxis)
    else:
        axes[0].set_xlim(*ends_of(reporting))
    facets.name(axes, final_name(reporting))
    return figure


def _logarithmic(cells: Sequence[Cell], options: ReportOptions) -> bool:
    """Where the means span decades and neither a seed nor the end of an interval is at zero."""
    arms = [(a.final, mean_of(a.final, options, c.reporting)) for c in cells for a in c.arms.values()]
    lows = [e.low for _, e in arms if e.low is not None]
    positive = cells[0].reporting.sign > 0 and all(v.min() > 0 for v, _ in arms) and min(lows, default=1.0) > 0
    return positive and decades([[float(v.mean()) for v, _ in arms]])


def _draw(ax: Axes, arm: Arm, row: int, scale: float, reporting: Reporting, options: ReportOptions) -> None:
    style, lost = style_of(arm.algorithm), np.array(arm.diverged)
    heights = row + BAND * lanes(arm.final)
    ax.plot(
        arm.final[~lost] * scale, heights[~lost], "o", color=style.colour, alpha=0.35, markersize=2.6,
        markeredgewidth=0, clip_on=False, label="_seeds",
    )  # fmt: skip
    if lost.any():
        ax.plot(arm.final[lost] * scale, heights[lost], "x", color=style.colour, markersize=3.2, clip_on=False)
    estimate = mean_of(arm.final, options, reporting)
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None and estimate.status == "ok":
        ax.plot([estimate.low * scale, estimate.high * scale], [row, row], color=style.colour, linewidth=1.6)
    ax.plot(
        [estimate.value * scale], [row], style.marker, color=style.colour, markersize=5.5, markeredgecolor="white",
        markeredgewidth=0.5, clip_on=False, zorder=5, label=arm.algorithm,
    )  # fmt: skip


def lanes(values: Floats) -> Floats:
    """Heights in [-1, 1] that keep dots of neighbouring values apart: a fixed cycle in the order of the values."""
    cycle = np.array([-1.0, 0.2, -0.5, 0.8, -0.15, 0.5, -0.8, 1.0])
    heights = np.empty(len(values))
    heights[np.argsort(values, kind="stable")] = np.resize(cycle, len(values))
    return heights
