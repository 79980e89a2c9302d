"""Final scores as bars in groups, with their intervals and their values: over an axis whose values have no order."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from tpobench.report.figures.panel import Line, missing
from tpobench.report.figures.points import draw_interval, final_of
from tpobench.report.figures.scales import width_of
from tpobench.report.figures.style import BLACK, GREY, HATCHES
from tpobench.scores.options import ReportOptions
from tpobench.stats.estimate import Estimate
from tpobench.stats.power import two_digits

BARS = 72  # across the width of a page
LETTER = 0.056  # inches of a letter of its name
VALUE = 0.25  # inches of a bar and the gap beside it from which on its value has room above it
Group = tuple[str, Sequence[Line]]


@dataclass(frozen=True)
class Bars:
    """A panel of bars."""

    title: str
    x: str
    y: str
    groups: Sequence[Group]
    from_zero: bool = True

    @property
    def lines(self) -> Sequence[Line]:
        """Every bar."""
        return [line for _, lines in self.groups for line in lines]

    def draw(self, ax: Axes, options: ReportOptions) -> None:
        """The members of a group side by side; what was not run says so in its place."""
        values = width_of(ax) >= VALUE * len(self.lines)
        for at, (_, lines) in enumerate(self.groups):
            width = 0.8 / len(lines)
            for k, line in enumerate(lines):
                place, hatch = at + (k - (len(lines) - 1) / 2) * width, HATCHES[k % len(HATCHES)]
                _draw(ax, line, (place, width), hatch, final_of(line, options), value=values)
        room = int(0.75 * width_of(ax) / len(self.groups) / LETTER)  # letters below a group
        names = ["\n".join(textwrap.wrap(name, max(room, 1), break_long_words=False)) for name, _ in self.groups]
        upright = max(len(word) for name in names for word in name.split("\n")) > room
        ax.set_xticks(range(len(self.groups)), [name for name, _ in self.groups] if upright else names)
        ax.tick_params(axis="x", rotation=90 if upright else 0)
        ax.set_xlim(-0.55, len(self.groups) - 0.45)
        ax.tick_params(axis="x", length=0)
        ax.margins(y=0.14)  # room for the values


def in_bars(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """The groups in as few parts of about one size as keep the bars of a panel from being too thin."""
    size = max(1, BARS // max(len(lines) for _, lines in groups))
    n, parts = len(groups), -(-len(groups) // size)
    return [groups[i * n // parts : (i + 1) * n // parts] for i in range(parts)]


def _draw(ax: Axes, line: Line, at: tuple[float, float], hatch: str, estimate: Estimate | None, *, value: bool) -> None:
    place, width = at
    if estimate is None or estimate.value is None:
        ax.annotate(missing([line]), (place, 0), xytext=(0, 3), textcoords="offset points", ha="center", rotation=90,
                    color=GREY, fontsize=7)  # fmt: skip
        return
    height = estimate.value * line.scale
    ax.bar(place, height, width * 0.88, facecolor=to_rgba(line.style.colour, 0.35), hatch=hatch, linewidth=0.8,
           edgecolor=to_rgba(line.style.colour, 0.7), label=line.label)  # fmt: skip
    draw_interval(ax, place, estimate, line.scale, "white", 2.4 if value else 1.6)  # seen on a dark bar, too
    top = draw_interval(ax, place, estimate, line.scale, BLACK, 1.0 if value else 0.8)
    if value:
        ax.annotate(two_digits(height), (place, top), xytext=(0, 1.5), textcoords="offset points", ha="center",
                    va="bottom", fontsize=7)  # fmt: skip
