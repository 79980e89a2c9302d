"""Steps to a threshold: the share of seeds that got there by step t, the never-reached counted in n."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpobench.report.figures.captions import arms_of, seeds_text
from tpobench.report.figures.facets import Facets, pages_of
from tpobench.report.figures.layout import Picture, algorithms_of, name_lines, numbered
from tpobench.report.figures.scales import few_ticks, time_axis, x_name
from tpobench.report.figures.style import style_of
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import rate_of
from tpobench.stats.estimate import Floats


def reached_pictures(name: str, cells: Sequence[Cell]) -> list[Picture]:
    """A figure per threshold, a panel per cell; none for a threshold that nobody reaches."""
    pictures = []
    for t in sorted({t for c in cells for t in c.reporting.thresholds}, reverse=True):
        scored = [c for c in cells if t in c.reporting.thresholds]
        if any(np.isfinite(a.times(t)).any() for c in scored for a in c.arms.values()):
            parts, full = pages_of(scored), f"{name}-{t:g}".replace(".", "_")  # a dot would look like a file's ending
            title = f"seeds {scored[0].reporting.side} {scored[0].reporting.level(t)} over time"
            pictures += [
                Picture(numbered(full, len(parts), i), _caption(p, t), _figure(p, facets, t), title)
                for i, (p, facets) in enumerate(parts)
            ]
    return pictures


def _caption(cells: Sequence[Cell], threshold: float) -> str:
    reporting = cells[0].reporting
    lasting = f" in {reporting.persist} consecutive evaluations" if reporting.persist > 1 else ""
    return (
        f"Share of seeds whose {reporting.metric} was {reporting.side} {reporting.level(threshold)}{lasting} by then; "
        f"{seeds_text(arms_of(cells))} per algorithm, those that never get there included. Band: pointwise 95% Wilson "
        "interval, while some seeds got there and some did not."
    )


def _figure(cells: Sequence[Cell], facets: Facets, threshold: float) -> Figure:
    algorithms = algorithms_of(cells)
    figure, axes = facets.figure()
    ends = []
    for ax, cell in zip(axes, cells, strict=True):
        ends.append([_draw(ax, cell, cell.arms[n], threshold) for n in algorithms if n in cell.arms])
        ax.set_xlim(0, max(float(a.axes[time_axis(cell)][-1]) for a in cell.arms.values()))
        few_ticks(ax)
    axes[0].set_ylim(-2, 102)
    axes[0].set_yticks(range(0, 101, 25))
    facets.name(axes, x_name(cells[0]), f"Seeds {cells[0].reporting.side} {cells[0].reporting.level(threshold)} (%)")
    name_lines(figure, axes, algorithms, ends)
    return figure


def _draw(ax: Axes, cell: Cell, arm: Arm, threshold: float) -> float:
    """The stairs of one algorithm; where its name goes."""
    x, reached = stairs(arm, threshold, time_axis(cell))
    n, style = len(arm.seeds), style_of(arm.algorithm)
    rates = [rate_of(k, n) for k in range(n + 1)]
    low, high = (np.array([getattr(rates[k], end) for k in reached]) * 100 for end in ("low", "high"))
    some = (reached > 0) & (reached < n)  # the bands of nobody and of everybody, one over another, hide the rest
    ax.fill_between(x, low, high, where=_until_next(some), step="post", color=style.colour, alpha=0.1, linewidth=0)
    ax.plot(
        x, reached / n * 100, color=style.colour, linestyle=style.line, marker=style.marker, markersize=3,
        markevery=[len(x) - 1], drawstyle="steps-post", label=arm.algorithm, clip_on=False,
    )  # fmt: skip
    mean_time = float(np.minimum(arm.times(threshold), arm.budget).mean() / arm.budget)
    return float(reached[-1] / n * 100) - 0.1 * mean_time  # names of equal ends in the order of arrival


def _until_next(some: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[bool]:
    """A filled step needs both of its ends."""
    return [bool(here or (i and some[i - 1])) for i, here in enumerate(some)]


def stairs(arm: Arm, threshold: float, axis: str) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Where the count of seeds below the threshold grows, and the count from there on; ends at the budget."""
    times = np.sort(arm.times(threshold)[np.isfinite(arm.times(threshold))])
    at = np.interp(times, arm.axes["step"], arm.axes[axis])
    x = np.concatenate([[arm.axes[axis][0]], at, [arm.axes[axis][-1]]])
    return x, np.concatenate([[0], np.arange(1, len(at) + 1), [len(at)]]).astype(np.int64)
