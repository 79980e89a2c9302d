"""Metrics: per-seed scalars that get a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tpobench.scores.cells import Arm, Reporting
from tpobench.stats.estimate import Floats

Kind = Literal["final", "steps", "area"]


@dataclass(frozen=True)
class Metric:
    """A per-seed scalar: its name, its title, and how to take it from an arm."""

    name: str
    title: str
    values: Callable[[Arm], Floats]
    kind: Kind = "final"
    threshold: float | None = None  # of censored times


def metrics_of(reporting: Reporting, evaluations: int) -> list[Metric]:
    """Final window, steps to each threshold, area under the curve."""
    m, window = reporting.metric, min(reporting.window, evaluations)
    unit = " (%)" if percent(reporting) else ""
    name = m.capitalize()
    last = "at the end" if window == 1 else f"mean of the last {window} evaluations"
    final = Metric(f"final{window}", f"{name}{unit} ↓, {last}", lambda a: a.final)
    steps = [
        Metric(
            f"steps{t:g}m{reporting.persist}",
            f"Updates to {name.lower()} < {level(t, reporting)} ↓",
            _times(t),
            "steps",
            t,
        )
        for t in reporting.thresholds
    ]
    return [final, *steps, Metric("area", f"{name}{unit} ↓, mean over all updates", lambda a: a.area, "area")]


def _times(threshold: float) -> Callable[[Arm], Floats]:
    return lambda arm: arm.times[threshold]


def level(threshold: float, reporting: Reporting) -> str:
    """`1%` of an error, `0.01` of anything else."""
    return f"{100 * threshold:g}%" if percent(reporting) else f"{threshold:g}"


def percent(reporting: Reporting) -> bool:
    """Errors are shares and shown in percent; other metrics as they are."""
    return reporting.metric == "error"


def scale_of(reporting: Reporting) -> float:
    """100 for shares, 1 for anything else."""
    return 100.0 if percent(reporting) else 1.0
