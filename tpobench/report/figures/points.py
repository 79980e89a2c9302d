"""Final scores as points with intervals over an axis; rules of one position side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from tpobench.report.figures.layout import seeds_text
from tpobench.report.figures.style import style_of
from tpobench.scores.cells import Cell
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import Options
from tpobench.scores.text import interval_name


def draw_points(
    ax: Axes,
    cells: Sequence[Cell],
    positions: Sequence[float],
    rules: Sequence[str],
    how: Options,
    *,
    side: float,
    log: bool = True,
) -> list[tuple[str, float]]:
    """Each rule's means, joined; on a log axis a factor `side` apart, else a distance; returns the lines' ends."""
    ends = []
    for k, name in enumerate(rules):
        place = k - (len(rules) - 1) / 2
        own = zip(cells, positions, strict=True)
        chosen = [(c, x * side**place if log else x + side * place) for c, x in own if name in c.arms]
        if chosen:
            ends.append((name, _draw(ax, chosen, name, how)))
    return ends


def _draw(ax: Axes, chosen: Sequence[tuple[Cell, float]], name: str, how: Options) -> float:
    found = [mean_of(c.arms[name].final, how, c.reporting) for c, _ in chosen]
    x = np.array([at for _, at in chosen], dtype=np.float64)
    scale = chosen[0][0].reporting.scale
    y = np.array([e.value for e in found], dtype=np.float64) * scale
    style = style_of(name)
    joined = len(np.unique(x)) == len(x)  # two cells at one position are two points, not a line
    ax.plot(
        x, y, color=style.colour, linestyle=style.line if joined else "none", marker=style.marker, label=name,
        clip_on=False, zorder=3,
    )  # fmt: skip
    for at, e in zip(x, found, strict=True):
        if e.low is not None and e.high is not None and e.status == "ok":
            ax.plot([at, at], [e.low * scale, e.high * scale], color=style.colour, linewidth=0.8, label="_interval")
    return float(y[-1])


def final_caption(cells: Sequence[Cell], how: Options) -> str:
    """`mean over 10 seeds with 95% interval (expanded BCa)`."""
    found = [mean_of(a.final, how, c.reporting) for c in cells for a in c.arms.values()]
    kinds = interval_name(e.method for e in found if e.status == "ok")
    return f"mean over {seeds_text(cells)}" + (f" with {kinds}" if kinds else ", no interval")
