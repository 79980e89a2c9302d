"""Axes: what time is counted in, and when a value spans decades."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tpobench.scores.cells import Cell
from tpobench.scores.reporting import Reporting

DECADES = 1.5  # a positive quantity that spans more is drawn on a log axis


def time_axis(cell: Cell) -> str:
    """The budget the rules share: rollouts where they are matched by interactions, else updates."""
    return "interactions" if cell.matching == "interactions" else "step"


def x_name(cell: Cell) -> str:
    """The label of that axis."""
    return "Rollouts drawn" if time_axis(cell) == "interactions" else "Updates"


def ends_of(reporting: Reporting) -> tuple[float | None, float | None]:
    """Of an axis of the metric: its best value is one of them, where it has one."""
    best = reporting.best if reporting.bounded else None
    return (best, None) if reporting.sign > 0 else (None, best)


def decades(series: Iterable[Any]) -> bool:
    """Whether everything is positive and its greatest value is more than 30 times the least."""
    values = np.concatenate([np.asarray(s, dtype=np.float64).ravel() for s in series])
    return len(values) > 0 and bool(values.min() > 0) and float(np.log10(values.max() / values.min())) > DECADES


def log_ticks(axis: Axis) -> None:
    """Powers of ten as plain numbers: 100, 1, 0.01."""
    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
