"""Estimates as points with their intervals over an axis; algorithms of one position side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from tpobench.report.figures.captions import arms_of, interval_text, seeds_text
from tpobench.report.figures.panel import Line, lines_of
from tpobench.report.figures.style import GREY
from tpobench.scores.cells import Cell
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import ReportOptions
from tpobench.stats.estimate import Estimate

APART = 0.25  # of the way from one position to the next, that lines of one take


@dataclass(frozen=True)
class Series:
    """An algorithm over the axis: its line at each position, and the points of those that have one."""

    lines: Sequence[Line]
    points: Sequence[tuple[float, Estimate]]


@dataclass(frozen=True)
class Points:
    """A panel of points with intervals, joined, over an axis with labelled positions."""

    title: str
    x: str
    y: str
    ticks: Sequence[tuple[float, str]]
    series: Sequence[Series]
    base: float = 0.0  # of a log axis; 0 is a linear one
    aside: float = 0.0  # from line to line at one position: a factor on a log axis; 0 is a sixtieth of the axis
    descending: bool = False
    from_zero: bool = True
    note: str = ""  # what a caption must say of these points

    @property
    def lines(self) -> Sequence[Line]:
        """Every line at every position."""
        return [line for one in self.series for line in one.lines]

    def draw(self, ax: Axes, options: ReportOptions) -> None:  # noqa: ARG002 - the estimates are made
        """Lines side by side at every position; a guide at 0 where the axis goes below it."""
        at = [position for one in self.series for position, _ in one.points]
        if not at:
            return
        if not self.from_zero:
            ax.axhline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        side = self._side(at)
        for k, one in enumerate(self.series):
            place = k - (len(self.series) - 1) / 2
            if one.points:
                _draw(ax, one, [x * side**place if self.base else x + side * place for x, _ in one.points])
        if self.base:
            ax.set_xscale("log", base=self.base)
        ax.margins(x=0.1)
        if self.descending:
            ax.invert_xaxis()
        ax.set_xticks([position for position, _ in self.ticks], [text for _, text in self.ticks])
        ax.minorticks_off()

    def _side(self, at: Sequence[float]) -> float:
        """From line to line at one position; all lines of one together take part of the way to the next."""
        scale = np.unique(np.log(at) if self.base else at)
        side = np.log(self.aside) if self.base and self.aside else self.aside or (scale[-1] - scale[0]) / 60
        if len(scale) > 1:
            side = min(side, APART * np.diff(scale).min() / max(1, len(self.series) - 1))
        return float(np.exp(side) if self.base else side)


def final_series(lines: Sequence[Line], positions: Sequence[float], options: ReportOptions) -> Series:
    """The final score of an algorithm in each cell where it has runs, at the position of the cell."""
    points = [(float(at), e) for at, line in zip(positions, lines, strict=True) if (e := final_of(line, options))]
    return Series(lines, points)


def final_of(line: Line, options: ReportOptions) -> Estimate | None:
    """The mean of the final scores of a line, where it has runs."""
    return mean_of(line.arm.final, options, line.cell.reporting) if line.arm and line.cell else None


def _draw(ax: Axes, series: Series, x: Sequence[float]) -> None:
    line = series.lines[0]
    style, scale = line.style, next(x.scale for x in series.lines if x.arm)
    estimates = [e for _, e in series.points]
    joined = len(set(x)) == len(x)  # two cells at one position are two points, not a line
    ax.plot(
        x, np.array([e.value for e in estimates], dtype=np.float64) * scale, color=style.colour, marker=style.marker,
        linestyle=style.line if joined else "none", label=line.label, clip_on=False, zorder=3,
    )  # fmt: skip
    for at, e in zip(x, estimates, strict=True):
        draw_interval(ax, at, e, scale, style.colour)


def draw_interval(ax: Axes, at: float, estimate: Estimate, scale: float, colour: str, width: float = 0.8) -> float:
    """A line over the interval, where there is one; gives the height of what is drawn."""
    if estimate.low is None or estimate.high is None or estimate.status != "ok":
        return (estimate.value or 0.0) * scale
    ax.plot([at, at], [estimate.low * scale, estimate.high * scale], color=colour, linewidth=width, label="_interval")
    return max(estimate.high, estimate.value or 0.0) * scale


def final_caption(cells: Sequence[Cell], options: ReportOptions) -> str:
    """`mean over 10 seeds with 95% interval (expanded BCa)`."""
    lines = [line for c in cells for line in lines_of(c, c.arms)]
    return f"mean over {seeds_text(arms_of(cells))}{interval_text(lines, options)}"
