"""Breaking points: the share of seeds that learn against p0 with the fitted curve, and all intervals side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpobench.report.breaking_point import Searched, searched
from tpobench.report.figures.captions import arms_of, seeds_text
from tpobench.report.figures.facets import in_rows
from tpobench.report.figures.layout import COLUMN, Picture, name_rows, numbered
from tpobench.report.figures.scales import P0
from tpobench.report.figures.style import GREY, style_of
from tpobench.scores.cells import Cell
from tpobench.stats.breaking_point import BreakingPoint, share_at
from tpobench.stats.estimate import rate_estimate
from tpobench.stats.success_curve import Level

ROW = 0.24  # inches of one algorithm
DRAWN = 200  # points of a drawn curve
POINTS = (
    "Breaking points p0*, 95% interval (profile likelihood); further right is a sparser reward. Arrows: no level that "
    "was run bounds it there."
)
LINE = "Line: fitted logistic curve."


def breaking_pictures(suite: str, cells: Sequence[Cell]) -> list[Picture]:
    """Two figures per group of searched cells: curves, and intervals."""
    groups = [g for g in searched(cells) if any(p.levels for p in g.points.values())]
    pictures = []
    for i, group in enumerate(groups):
        place = f" ({group.label})" if group.label else ""
        curves = (
            f"{learn_caption(group)} {LINE.removesuffix('.')} (grey: the other algorithms'), band: 95% interval of the "
            f"breaking point p0*, where half of the seeds learn.{place}"
        )
        points = POINTS + place
        title = "share of seeds that learn" + place
        pictures.append(Picture(numbered(f"{suite}-learn", len(groups), i), curves, _curves(group), title))
        title = "breaking points" + place
        pictures.append(Picture(numbered(f"{suite}-breaking", len(groups), i), points, _intervals(group), title))
    return pictures


def learn_caption(group: Searched) -> str:
    """What a share of seeds at a level is."""
    r = group.cells[0].reporting
    return (
        f"Share of seeds that learn (final {r.metric} {r.side} {r.level(group.search.learned)}) at each level visited, "
        "against the success probability p0 of the untrained policy (harder to the right); "
        f"{seeds_text(arms_of(group.cells))} a level, bars: 95% interval (Wilson)."
    )


def ends_of_levels(points: Iterable[BreakingPoint]) -> tuple[float, float]:
    """The hardest and the easiest p0 that any of them ran."""
    levels = [level.p0 for p in points for level in p.levels]
    return min(levels), max(levels)


def _ends(group: Searched) -> tuple[float, float]:
    return ends_of_levels(group.points.values())


def _around(group: Searched) -> tuple[float, float]:
    """The range of all intervals, as far as the levels go."""
    hardest, easiest = _ends(group)
    known = [p for p in group.points.values() if p.status != "untestable"]
    low = min((p.low or hardest for p in known), default=hardest)
    high = max((p.high or easiest for p in known), default=easiest)
    return low, max(high, low * 1.5)


def sparsity_axis(ax: Axes, hardest: float, easiest: float) -> None:
    """Of p0: harder to the right, ticks at powers of ten, and at 3 times those where there are few."""
    side = max((easiest / hardest) ** 0.05, 1.1)
    low, high = hardest / side, min(easiest * side, 1.5)
    powers = [10.0**k for k in range(math.floor(math.log10(low)), 1)]
    between = [3 * p for p in powers] if sum(low <= p <= high for p in powers) < 3 else []
    ticks = [t for t in sorted(powers + between) if low <= t <= high]
    ax.set_xscale("log")
    ax.set_xlim(high, low)
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()


def _curves(group: Searched) -> Figure:
    points = {name: point for name, point in group.points.items() if point.levels}
    facets = in_rows(list(points))
    figure, axes = facets.figure(height=1.45, single=2.2)
    for ax, (name, point) in zip(axes, points.items(), strict=True):
        sparsity_axis(ax, *_ends(group))
        for other in points.values():
            _curve(ax, group, other, GREY, 0.6)
        _curve(ax, group, point, style_of(name).colour, 1.4)
        for level in point.levels:
            _level(ax, level, name)
        _band(ax, group, point, name)
        ax.axhline(50, color=GREY, linewidth=0.6, linestyle=":")
        ax.set_ylim(-4, 104)
        ax.set_yticks([0, 50, 100])
    facets.name(axes, P0, "Seeds that learn (%)")
    return figure


def _curve(ax: Axes, group: Searched, point: BreakingPoint, colour: str, width: float) -> None:
    hardest, easiest = _ends(group)
    p0 = np.geomspace(hardest, easiest, DRAWN)
    share = share_at(point, p0)
    if share is not None:
        ax.plot(p0, 100 * share, color=colour, linewidth=width, zorder=2)


def _level(ax: Axes, level: Level, name: str) -> None:
    colour = style_of(name).colour
    rate = rate_estimate(level.learned, level.runs)
    if rate.low is not None and rate.high is not None:
        ax.plot(
            [level.p0, level.p0], [100 * rate.low, 100 * rate.high], color=colour, linewidth=0.8, alpha=0.5, zorder=2.5
        )
    ax.plot([level.p0], [100 * level.share], color=colour, marker=style_of(name).marker, linestyle="none", zorder=3)


def _band(ax: Axes, group: Searched, point: BreakingPoint, name: str) -> None:
    if point.value is not None:
        hardest, easiest = _ends(group)
        ax.axvspan(point.low or hardest, point.high or easiest, color=style_of(name).colour, alpha=0.15, linewidth=0)


def _intervals(group: Searched) -> Figure:
    figure = Figure(figsize=(COLUMN, 0.75 + ROW * len(group.points)), layout="constrained")
    ax = figure.subplots()
    sparsity_axis(ax, *_around(group))
    for row, (name, point) in enumerate(group.points.items()):
        draw_interval(ax, point, row, style_of(name).colour, style_of(name).marker)
    name_rows(ax, list(group.points))
    ax.set_xlabel("Breaking point p0*")
    return figure


def draw_interval(ax: Axes, point: BreakingPoint, row: int, colour: str, marker: str) -> None:
    """A marker at the estimate, a line over its interval, an arrowhead at an end that nothing bounds."""
    if point.status == "untestable":
        return
    hardest, easiest = point.levels[0].p0, point.levels[-1].p0
    low, high = point.low or hardest, point.high or easiest
    ax.plot([low, high], [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
    for end, bound, arrow in ((low, point.low, ">"), (high, point.high, "<")):
        if bound is None:
            ax.plot([end], [row], color=colour, marker=arrow, markersize=5, clip_on=False)
    if point.value is not None:
        ax.plot([point.value], [row], color=colour, marker=marker, clip_on=False)
