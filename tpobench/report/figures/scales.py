"""Axes: what time is counted in, when a value spans decades, and how many numbers stand beside an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tpobench.scores.cells import Cell
from tpobench.scores.reporting import Reporting
from tpobench.tasks.settings import TOKENS

DECADES = 1.5  # a positive quantity that spans more is drawn on a log axis
P0 = "Initial success probability p0"  # the axis of sparsity
X_NAMES = {"step": "Updates", "interactions": "Rollouts drawn", TOKENS.name: "Tokens sampled"}
NARROW = 1.7  # inches: up to there a panel has room for few numbers below it


def time_axis(cell: Cell) -> str:
    """The budget the algorithms share: rollouts where they are matched by interactions, else updates."""
    return "interactions" if cell.matching == "interactions" else "step"


def x_name(cell: Cell) -> str:
    """The label of that axis."""
    return X_NAMES[time_axis(cell)]


def final_name(reporting: Reporting) -> str:
    """The label of an axis of final scores, with its unit."""
    return f"Final {reporting.metric}{reporting.unit}"


def ends_of(reporting: Reporting) -> tuple[float | None, float | None]:
    """Of an axis of the metric: its best value is one of them, where it has one."""
    best = reporting.best if reporting.bounded else None
    return (best, None) if reporting.sign > 0 else (None, best)


def decades(series: Iterable[Any]) -> bool:
    """Whether everything is positive and its greatest value is more than 30 times the least."""
    values = np.concatenate([np.asarray(s, dtype=np.float64).ravel() for s in series])
    return len(values) > 0 and bool(values.min() > 0) and float(np.log10(values.max() / values.min())) > DECADES


def log_axis(ax: Axes, heights: Iterable[float], floor: float = 0.0) -> None:
    """A log y axis for what is above zero, ending at `floor` at the latest; linear where nothing is above zero.

    The ends of bands do not count: one that begins at 0 has no lower end.
    """
    above = [h for h in heights if h > 0]
    if not above:
        return
    bottom, top = min(max(min(above) / 1.3, floor), max(above) / 10), max(above) * 1.3
    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(bottom, top)
    log_ticks(ax.yaxis)
    if math.floor(math.log10(top)) - math.ceil(math.log10(bottom)) < 2:  # fewer than three powers of ten
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def log_ticks(axis: Axis) -> None:
    """Powers of ten as plain numbers: 100, 1, 0.01."""
    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def few_ticks(ax: Axes) -> None:
    """Round numbers below the panel, as many as its width has room for."""
    ax.xaxis.set_major_locator(MaxNLocator(2 if width_of(ax) <= NARROW else 4, steps=[1, 2, 2.5, 5, 10]))


def width_of(ax: Axes) -> float:
    """Inches that a panel has on the page, its labels included."""
    place, figure = ax.get_subplotspec(), ax.figure
    share = 1.0 if place is None else len(place.colspan) / place.get_gridspec().ncols
    return share * float(figure.bbox.width / figure.dpi)
