"""Steps to a threshold, censored at the budget: a run that never gets there is a time above T, not a missing value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.estimate import Estimate, Floats, mean_estimate, median_estimate, rate_estimate


@dataclass(frozen=True)
class StepsEstimate:
    """Median steps over all runs (inf: more than half never reached), with what else censored times allow."""

    median: Estimate
    reached: int
    runs: int
    budget: float
    rate: Estimate
    restricted_mean: Estimate
    expected_running_time: float | None


def first_crossing(curves: ArrayLike, steps: ArrayLike, threshold: float, persist: int) -> Floats:
    """First step with `persist` consecutive evaluations below `threshold`: (n, E) -> (n,).

    inf where there is none, and for every run that diverged (a NaN anywhere).
    """
    x, t = np.asarray(curves, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    if x.shape[1] < persist:
        return np.full(len(x), np.inf)
    below = np.asarray(np.lib.stride_tricks.sliding_window_view(x < threshold, persist, axis=1).all(axis=2))
    first = np.where(below.any(axis=1), t[below.argmax(axis=1)], np.inf)
    return np.where(np.isfinite(x).all(axis=1), first, np.inf)


def expected_running_time(times: ArrayLike, budget: float) -> float | None:
    """ERT = sum_i min(t_i, T) / #reached: steps per success with restarts; None where nobody got there."""
    t = np.asarray(times, dtype=np.float64)
    reached = int(np.isfinite(t).sum())
    return float(np.minimum(t, budget).sum() / reached) if reached else None


def steps_estimate(times: ArrayLike, budget: float, *, rng: np.random.Generator) -> StepsEstimate:
    """Count reached, median with its exact interval, restricted mean E[min(t, T)] and ERT."""
    t = np.asarray(times, dtype=np.float64)
    reached = int(np.isfinite(t).sum())
    return StepsEstimate(
        median=median_estimate(t),
        reached=reached,
        runs=len(t),
        budget=budget,
        rate=rate_estimate(reached, len(t)),
        restricted_mean=mean_estimate(np.minimum(t, budget), rng=rng, lowest=0.0, highest=budget),
        expected_running_time=expected_running_time(t, budget),
    )


def steps_text(found: StepsEstimate) -> str:
    """`642 [444, 1039] (18/20)`, `1427 [865, >2000] (11/20)`, `>2000 (0/20; rate <= .16)`."""
    if found.runs == 0 or found.median.value is None:
        return "missing"
    if found.reached == 0:
        bound = f"{found.rate.high:.2f}".lstrip("0")
        return f">{found.budget:.0f} (0/{found.runs}; rate <= {bound})"
    low, high = found.median.low, found.median.high
    shown = low is not None and high is not None and math.isfinite(low)
    interval = f" [{_step(low, found)}, {_step(high, found)}]" if shown else ""
    return f"{_step(found.median.value, found)}{interval} ({found.reached}/{found.runs})"


def _step(value: float | None, found: StepsEstimate) -> str:
    return f"{value:.0f}" if value is not None and math.isfinite(value) else f">{found.budget:.0f}"
