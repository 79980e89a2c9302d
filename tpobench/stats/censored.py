"""Steps to a threshold, censored at the budget: a run that never gets there is a time above T, not a missing value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tpobench.stats.curves import below_threshold
from tpobench.stats.estimate import Estimate, mean_estimates, median_estimates, rate_estimate
from tpobench.stats.guard import Floats, guarded_interval
from tpobench.stats.reproduction import first_below
from tpobench.stats.texts import percent


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
    under = below_threshold(x, threshold)
    below = np.asarray(np.lib.stride_tricks.sliding_window_view(under, persist, axis=1).all(axis=2))
    first = np.where(below.any(axis=1), t[below.argmax(axis=1)], np.inf)
    return np.where(np.isfinite(x).all(axis=1), first, np.inf)


def expected_running_time(times: ArrayLike, budget: float) -> float | None:
    """ERT = sum_i min(t_i, T) / #reached: steps per success with restarts; None where nobody got there."""
    t = np.asarray(times, dtype=np.float64)
    reached = int(np.isfinite(t).sum())
    return float(np.minimum(t, budget).sum() / reached) if reached else None


def steps_estimate(times: ArrayLike, budget: float, **choices: Any) -> StepsEstimate:
    """`steps_estimates` of one arm (n,)."""
    return steps_estimates(np.asarray(times, dtype=np.float64).reshape(1, -1), budget, **choices)[0]


def steps_estimates(times: Floats, budget: float, *, rng: np.random.Generator, ci: str = "auto") -> list[StepsEstimate]:
    """Of rows (p, n): count reached, median with its exact interval, restricted mean E[min(t, T)] and ERT."""
    restricted = mean_estimates(np.minimum(times, budget), rng=rng, lowest=0.0, highest=budget, ci=ci)
    return [
        StepsEstimate(
            median=median,
            reached=(reached := int(np.isfinite(t).sum())),
            runs=len(t),
            budget=budget,
            rate=rate_estimate(reached, len(t)),
            restricted_mean=mean,
            expected_running_time=expected_running_time(t, budget),
        )
        for t, median, mean in zip(times, median_estimates(times), restricted, strict=True)
    ]


def steps_text(estimate: StepsEstimate) -> str:
    """`673 [448, 1039] (18/20)`, `1427 [865, >2000] (11/20)`, `>2000 (0/20; rate <= 16%)`."""
    if estimate.runs == 0 or estimate.median.value is None:
        return "missing"
    if estimate.reached == 0:
        return f">{estimate.budget:.0f} (0/{estimate.runs}; rate <= {percent(estimate.rate.high or 0.0)})"
    low, high = estimate.median.low, estimate.median.high
    shown = low is not None and high is not None and math.isfinite(low)
    interval = f" [{step_text(low, estimate.budget)}, {step_text(high, estimate.budget)}]" if shown else ""
    return f"{step_text(estimate.median.value, estimate.budget)}{interval} ({estimate.reached}/{estimate.runs})"


def step_text(value: float | None, budget: float) -> str:
    """Whole steps, halves up (Python would round 1426.5 to even); `>2000` for never."""
    return f"{math.floor(value + 0.5)}" if value is not None and math.isfinite(value) else f">{budget:.0f}"


def censored(times: Floats, budgets: Floats) -> scipy.stats.CensoredData:
    """Scipy's form: a time beyond its own budget is censored there (scipy refuses inf)."""
    reached = times <= budgets
    return scipy.stats.CensoredData(uncensored=times[reached], right=budgets[~reached])


@dataclass(frozen=True)
class MeanCurveCrossing:
    """First step at which the mean curve is below the threshold (inf: never), as papers report "steps to 1%"."""

    value: float | None
    low: float | None
    high: float | None
    never_share: float | None  # of the resamples that never cross
    runs: int
    budget: float
    reason: str = ""


def mean_curve_crossing(
    curves: ArrayLike,
    steps: ArrayLike,
    threshold: float,
    *,
    rng: np.random.Generator,
    worst: float = 1.0,
    draws: int = 2000,
    confidence: float = 0.95,
) -> MeanCurveCrossing:
    """min {t: mean_seed err_t < threshold}, percentile interval over resampled whole seeds: (n, E).

    The ends are order statistics of the resampled crossings, so that "never" (inf) can be one of them; resampled curves
    are noisier and cross earlier, so the crossing itself may be the upper end. Evaluations that are not finite count as
    the metric's worst value.
    """
    x, t = np.asarray(curves, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    n = len(x)
    budget = float(t[-1]) if len(t) else 0.0
    if x.size == 0:
        return MeanCurveCrossing(None, None, None, None, n, budget, "missing")
    x = np.where(np.isfinite(x), x, worst)
    crossing = first_below(t, threshold)
    value = float(crossing(x.mean(axis=0)[None, :])[0])
    if n == 1:
        return MeanCurveCrossing(value, None, None, None, 1, budget, "1 seed: no uncertainty")
    drawn = np.concatenate(
        [
            crossing(rng.multinomial(n, np.full(n, 1 / n), size=size) / n @ x)
            for size in (draws // 4, draws // 4, draws // 4, draws - 3 * (draws // 4))  # a quarter of the memory
        ]
    )

    def ends(crossings: Floats) -> tuple[float, float]:
        low, high = np.quantile(
            crossings, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf"
        )  # of inf and inf nothing can be interpolated
        return min(float(low), value), max(float(high), value)

    never = float(np.isinf(drawn).mean())
    interval = guarded_interval(ends, drawn, name="percentile", infinite=True)
    reason = "all resamples agree" if interval.reason else ""
    return MeanCurveCrossing(value, interval.low, interval.high, never, n, budget, reason)


def crossing_text(crossing: MeanCurveCrossing) -> str:
    """`1164 [918, >2000] (7% of resamples never)`, `>2000 (100% of resamples never)`, `1164 (n=1)`."""
    if crossing.value is None:
        return crossing.reason
    text = step_text(crossing.value, crossing.budget)
    if crossing.never_share is None:
        return f"{text} (n=1)"
    if crossing.low is not None and not (math.isinf(crossing.value) and math.isinf(crossing.low)):
        text += f" [{step_text(crossing.low, crossing.budget)}, {step_text(crossing.high, crossing.budget)}]"
    return f"{text} ({percent(crossing.never_share)} of resamples never)"
