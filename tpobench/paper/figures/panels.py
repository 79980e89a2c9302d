"""Panels: curves over updates, final scores over an axis or as bars, gains by concentration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import LogLocator

from tpobench.paper.figures.numbers import POINTS, Curve, curve_of, gains_of
from tpobench.paper.figures.runs import Source
from tpobench.report.figures.points import draw_points
from tpobench.report.figures.scales import log_ticks
from tpobench.report.figures.style import BLACK, GREY, HATCHES, Style, style_of
from tpobench.scores.cells import Cell
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import Options

FEW_DECADES = 100  # ratio of the ends of a log axis up to which powers of ten alone are too few numbers
CONCENTRATIONS = ("0 to ¼", "¼ to ½", "½ to ¾", "¾ to 1")


@dataclass(frozen=True)
class Line:
    """A rule in a panel: what its runs are, what of them is shown, its name and its looks."""

    source: Source
    label: str
    style: Style
    metric: str | None = None  # None is the suite's score
    times: float = 1.0


def line_of(source: Source, metric: str | None = None, label: str = "", style: Style | None = None) -> Line:
    """A line that is named and looks as its rule does, unless said otherwise."""
    return Line(source, label or source.rule, style or style_of(source.rule), metric)


class Panel(Protocol):
    """One pair of axes."""

    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def x(self) -> str: ...  # noqa: D102
    @property
    def y(self) -> str: ...  # noqa: D102
    @property
    def lines(self) -> Sequence[Line]: ...  # noqa: D102
    @property
    def from_zero(self) -> bool: ...  # noqa: D102

    def draw(self, ax: Axes, how: Options) -> None:
        """Draw what was run; nothing where nothing was."""


def score_scale(line: Line) -> float:
    """100 for a score that is a share, 1 for anything else; as often as the line is taken."""
    cell = line.source.cell
    return line.times * (cell.reporting.scale if cell and line.metric is None else 1.0)


@dataclass(frozen=True)
class Curves:
    """Means over seeds over the updates, with their bands."""

    title: str
    y: str
    lines: Sequence[Line]
    log: bool = False
    floor: float = 0.0  # where a log axis ends at the latest, in units of the axis
    points: int = POINTS  # of a line at most: more evaluations are averaged
    x: str = "Updates"

    @property
    def from_zero(self) -> bool:
        """Shares and norms start at 0, on a linear axis."""
        return not self.log

    def draw(self, ax: Axes, how: Options) -> None:
        """One line for each rule that was run."""
        heights = [h for k, line in enumerate(self.lines) for h in self._draw(ax, line, k, how)]
        ends = [float(line.source.arm.budget) for line in self.lines if line.source.arm]
        ax.set_xlim(0, max(ends, default=1.0))
        above = [h for h in heights if h > 0]
        if self.log and above:
            ax.set_yscale("log", nonpositive="clip")
            bottom, top = min(max(min(above) / 1.3, self.floor), max(above) / 10), max(above) * 1.3
            ax.set_ylim(bottom, top)
            log_ticks(ax.yaxis)
            if top < FEW_DECADES * bottom:
                ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))

    def curve(self, line: Line, how: Options) -> Curve | None:
        """The numbers of a line, where it has any."""
        cell, arm = line.source.cell, line.source.arm
        if not cell or not arm:
            return None
        return curve_of(cell, arm, line.metric, how, scale=score_scale(line), points=self.points)

    def _draw(self, ax: Axes, line: Line, place: int, how: Options) -> Iterator[float]:
        style = line.style
        found = self.curve(line, how)
        if found is None:
            return
        every = max(1, len(found.x) // 5)
        start = (2 * place + 1) * every // (2 * len(self.lines))  # markers of equal curves do not hide each other
        ax.plot(found.x, found.mean, color=style.colour, linestyle=style.line, marker=style.marker,
                markevery=(start, every), label=line.label)  # fmt: skip
        if found.band is not None:
            ax.fill_between(found.x, *found.band, color=style.colour, alpha=0.13, linewidth=0)
        yield from found.mean


@dataclass(frozen=True)
class Sweep:
    """Final scores over a positive axis, with their intervals."""

    title: str
    x: str
    y: str
    points: Sequence[tuple[float, Cell | None]]
    lines: Sequence[Line]  # every rule at every value
    from_zero: bool = True

    def draw(self, ax: Axes, how: Options) -> None:
        """Means of one rule joined, rules side by side; the values as ticks of a log2 axis."""
        run = [(at, cell) for at, cell in self.points if cell]
        if not run:
            return
        positions = [at for at, _ in self.points]
        rules = list(dict.fromkeys(line.source.rule for line in self.lines))
        draw_points(ax, [c for _, c in run], [at for at, _ in run], rules, how, side=1.06)
        ax.set_xscale("log", base=2)
        ax.set_xlim(min(positions) / 1.3, max(positions) * 1.3)
        ax.set_xticks(positions, [f"{p:g}" for p in positions])
        ax.minorticks_off()


@dataclass(frozen=True)
class Bars:
    """Final scores as bars in groups, with their intervals and their values."""

    title: str
    x: str
    y: str
    groups: Sequence[tuple[str, Sequence[Line]]]
    from_zero: bool = True

    @property
    def lines(self) -> Sequence[Line]:
        """Every bar."""
        return [line for _, lines in self.groups for line in lines]

    def draw(self, ax: Axes, how: Options) -> None:
        """The members of a group side by side; what was not run says so in its place."""
        for at, (_, lines) in enumerate(self.groups):
            width = 0.8 / len(lines)
            for k, line in enumerate(lines):
                place = at + (k - (len(lines) - 1) / 2) * width
                if line.source.arm:
                    self._draw(ax, line, place, width, HATCHES[k % len(HATCHES)], how)
                else:
                    ax.annotate(missing([line]), (place, 0), xytext=(0, 3), textcoords="offset points", ha="center",
                                rotation=90, color=GREY, fontsize=7)  # fmt: skip
        ax.set_xticks(range(len(self.groups)), [name for name, _ in self.groups])
        ax.set_xlim(-0.55, len(self.groups) - 0.45)
        ax.tick_params(axis="x", length=0)
        ax.margins(y=0.14)  # room for the values

    @staticmethod
    def _draw(ax: Axes, line: Line, place: float, width: float, hatch: str, how: Options) -> None:
        cell, arm = line.source.cell, line.source.arm
        assert cell is not None and arm is not None  # noqa: PT018, S101 - the caller looked
        found, scale = mean_of(arm.final, how, cell.reporting), score_scale(line)
        if found.value is None:
            return
        ax.bar(place, found.value * scale, width * 0.88, facecolor=to_rgba(line.style.colour, 0.45), hatch=hatch,
               edgecolor=line.style.colour, linewidth=0.8, label=line.label)  # fmt: skip
        top = found.value
        if found.low is not None and found.high is not None and found.status == "ok":
            ax.plot([place, place], [found.low * scale, found.high * scale], color=BLACK, linewidth=1.0,
                    label="_interval")  # fmt: skip
            top = max(top, found.high)
        ax.annotate(f"{found.value * scale:.2g}", (place, top * scale), xytext=(0, 1.5), textcoords="offset points",
                    ha="center", va="bottom", fontsize=7)  # fmt: skip


@dataclass(frozen=True)
class Gains:
    """Surplus gain of misclassified examples by the concentration of their wrong mass."""

    title: str
    lines: Sequence[Line]
    x: str = "Concentration of wrong-class mass"
    y: str = "Surplus gain in $p_y$"
    from_zero: bool = False

    def draw(self, ax: Axes, how: Options) -> None:
        """Means with intervals, rules side by side; examples of a bin below its name."""
        ax.axhline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        shift = ((k - (len(self.lines) - 1) / 2) * 0.08 for k in count())
        examples = np.zeros(len(CONCENTRATIONS), dtype=np.int64)
        for line, aside in zip(self.lines, shift, strict=False):
            found = gains_of(line.source.arm, how) if line.source.arm else None
            if found is None:
                continue
            some = [(i + aside, g.estimate) for i, g in enumerate(found[1]) if g.estimate]
            means = np.array([e.value for _, e in some], dtype=np.float64)
            examples += [g.examples for g in found[1]]
            ax.plot([at for at, _ in some], means, color=line.style.colour,
                    linestyle=line.style.line, marker=line.style.marker, label=line.label)  # fmt: skip
            for at, e in some:
                if e.low is not None and e.high is not None and e.status == "ok":
                    ax.plot([at, at], [e.low, e.high], color=line.style.colour, linewidth=0.9, label="_interval")
        names = [f"{c}\nn = {n:,}" if examples.any() else c for c, n in zip(CONCENTRATIONS, examples, strict=True)]
        ax.set_xticks(range(len(names)), names)
        ax.set_xlim(-0.4, len(names) - 0.6)


def missing(lines: Sequence[Line]) -> str:
    """Why a panel is empty."""
    return "no finished run" if any(line.source.lost for line in lines) else "not run"
