"""Estimates of one arm: means, rates, medians and tails over seeds, each with the interval its sample size allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tpobench.stats.curves import area_under_curve, bootstrap_band, final_window
from tpobench.stats.guard import Floats, Interval, IntervalMethod, Status, guarded_interval
from tpobench.stats.intervals import (
    RESAMPLES,
    bca_interval,
    bootstrap_t_interval,
    expanded_level,
    ordered_interval,
    percentile_interval,
    se_interval,
    standard_error,
    t_interval,
    wilson_interval,
)

__all__ = [
    "RESAMPLES", "Estimate", "Floats", "Intervals", "Status", "area_under_curve", "bootstrap_band", "dominated",
    "expanded_level", "final_window", "iqm_estimate", "mean_estimate", "median_estimate", "rate_estimate",
    "standard_error", "tail_estimate",
]  # fmt: skip

Intervals = Literal["auto", "t", "bca", "bca-expanded", "studentized", "percentile", "se"]
TAIL_INTERVAL = 20  # seeds
LEAST = {"bca": 5, "bca-expanded": 5, "studentized": 5, "percentile": 5}


@dataclass(frozen=True)
class Estimate:
    """A value over `runs` seeds; what cannot be computed is None, and `reason` says why."""

    value: float | None
    low: float | None
    high: float | None
    runs: int
    method: str
    status: Status = "ok"
    reason: str = ""


def _estimate(value: float, interval: Interval, runs: int, method: str) -> Estimate:
    if interval.status in {"missing", "not finite"}:
        return Estimate(None, None, None, runs, "none", interval.status, interval.reason)
    if interval.status != "ok":
        return Estimate(value, None, None, runs, "none", interval.status, interval.reason)
    return Estimate(value, interval.low, interval.high, runs, method)


def mean_estimate(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
    ci: str = "auto",
    paper_compat: bool = False,
) -> Estimate:
    """Mean over seeds with an interval, clipped to the range of the metric.

    Args:
        values: one scalar per seed.
        rng: of the resampling methods.
        lowest: of the metric's range.
        highest: of the metric's range; bootstrap-t needs a bounded metric.
        confidence: of the interval (`se` has none).
        ci: auto is both values at n = 2, a t interval below 10 seeds, BCa at the expanded level from there.
        paper_compat: ± one standard error with ddof = 0, as papers print it.
    """
    if ci not in get_args(Intervals):
        msg = f"unknown interval '{ci}'; valid: {', '.join(get_args(Intervals))}"
        raise ValueError(msg)
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    value = float(x.mean()) if n and np.isfinite(x).all() else math.nan
    name: str = "se" if paper_compat else ci
    if name == "auto":
        name = "values" if n == 2 else "t" if n < 10 else "bca-expanded"

    least_value, most_value = _range(x, lowest, highest)

    def bounded(name: str) -> Interval:
        method, least = _mean_method(name, rng, confidence, paper_compat=paper_compat), LEAST.get(name, 2)
        return guarded_interval(method, x, name=name, least=least, lowest=least_value, highest=most_value, around=value)

    interval = bounded(name)
    if n and x.min() == x.max():
        value = float(x[0])  # the mean of equal numbers can be off by one ulp
    if interval.status == "not computable" and ci == "auto":
        name, interval = "t", bounded("t")  # BCa does not exist on nearly constant data
    if name == "values" and interval.status == "ok":
        return Estimate(value, interval.low, interval.high, 2, "values", "pair", "2 seeds: the two values")
    return _estimate(value, interval, n, "se-ddof0" if paper_compat else name)


def _mean_method(name: str, rng: np.random.Generator, confidence: float, *, paper_compat: bool) -> IntervalMethod:
    return {
        "values": lambda x: (float(x.min()), float(x.max())),
        "t": lambda x: t_interval(x, confidence),
        "se": lambda x: se_interval(x, ddof=0 if paper_compat else 1),
        "bca": lambda x: bca_interval(x, rng, confidence),
        "bca-expanded": lambda x: bca_interval(x, rng, expanded_level(len(x), confidence)),
        "studentized": lambda x: bootstrap_t_interval(x, rng, confidence),
        "percentile": lambda x: percentile_interval(x, rng, confidence),
    }[name]


def _range(x: Floats, lowest: float, highest: float) -> tuple[float, float]:
    """The ends to which an interval is clipped; an end that a value lies beyond is none."""
    return (lowest if (x >= lowest).all() else -math.inf), (highest if (x <= highest).all() else math.inf)


def dominated(values: ArrayLike) -> bool:
    """Whether one seed holds more than half of the sum, where intervals of a mean cover least (use `studentized`)."""
    x = np.abs(np.asarray(values, dtype=np.float64))
    return len(x) > 2 and bool(np.isfinite(x).all()) and bool(x.max() > x.sum() / 2)


def iqm_estimate(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
) -> Estimate:
    """Interquartile mean: the lowest and highest quarter of the seeds left out; percentile bootstrap, expanded level.

    It hides failures of up to a quarter of the seeds: report it beside the solved rate only.
    """
    cut = np.size(values) // 4
    return _resampled(values, "IQM", 4, slice(cut, np.size(values) - cut), rng, (lowest, highest), confidence)


def tail_estimate(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
) -> Estimate:
    """CVaR25: mean of the worst ceil(n / 4) seeds, lower is better, from 8 seeds on.

    Its interval (percentile bootstrap, expanded level) needs 20, and covers .65 to .89 there (docs/calibration.md).
    """
    n = np.size(values)
    tail = _resampled(values, "CVaR25", 8, slice(n - math.ceil(n / 4), n), rng, (lowest, highest), confidence)
    if tail.status != "ok" or tail.runs >= TAIL_INTERVAL:
        return tail
    reason = f"n<{TAIL_INTERVAL}: no interval"
    return replace(tail, low=None, high=None, method="none", status="too few", reason=reason)


def _resampled(
    values: ArrayLike,
    name: str,
    least: int,
    part: slice,
    rng: np.random.Generator,
    bounds: tuple[float, float],
    confidence: float,
) -> Estimate:
    """Mean of a part of the sorted seeds; of fewer than `least` it is not what its name says, so there is no value."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)

    def method(x: Floats) -> tuple[float, float]:
        return ordered_interval(x, part.start, part.stop, rng, expanded_level(n, confidence))

    value = float(np.sort(x)[part].mean()) if n else math.nan
    lowest, highest = _range(x, *bounds)
    interval = guarded_interval(method, x, name=name, lowest=lowest, highest=highest, around=value)
    if interval.status in {"missing", "not finite"}:
        return _estimate(math.nan, interval, n, "none")
    if n < least:
        reason = f"{n} seed{'s' if n > 1 else ''}: no {name}; need {least}"
        return Estimate(None, None, None, n, "none", "too few", reason)
    return _estimate(value, interval, n, "percentile-expanded")


def rate_estimate(successes: int, runs: int, confidence: float = 0.95) -> Estimate:
    """A share k / n with Wilson's interval, valid from one seed on."""

    def wilson(x: Floats) -> tuple[float, float]:
        return wilson_interval(int(x.sum()), len(x), confidence)

    outcomes = np.repeat([1.0, 0.0], [successes, runs - successes])
    share = successes / runs if runs else math.nan
    interval = guarded_interval(wilson, outcomes, name="Wilson", least=1, constant=True, around=share)
    return _estimate(share, interval, runs, "wilson")


@lru_cache
def _median_ranks(runs: int, confidence: float) -> tuple[int, int] | None:
    """Which of the sorted values, from 0, are the ends of a median's interval; None where no two are."""
    tails = special.bdtr(np.arange(runs), runs, 0.5)  # P(as many values or fewer lie below the median)
    rank = int((tails <= (1 - confidence) / 2).sum()) - 1
    return (rank, runs - 1 - rank) if rank >= 0 else None


def median_estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Median with its exact order-statistic interval; +inf is a value (never reached)."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)

    def order_statistics(x: Floats) -> tuple[float, float]:
        ranks = _median_ranks(len(x), confidence)
        return (math.nan, math.nan) if ranks is None else (float(np.sort(x)[ranks[0]]), float(np.sort(x)[ranks[1]]))

    interval = guarded_interval(order_statistics, x, name="median", least=1, infinite=True, constant=True)
    middle = float(np.median(x)) if n else math.nan
    if interval.status == "not computable":
        least = next(k for k in range(1, 100) if 2 * 0.5**k <= 1 - confidence)
        reason = f"{n} seed{'s' if n > 1 else ''}: no {confidence:.0%} interval of a median; need {least}"
        return Estimate(middle, None, None, n, "none", "too few", reason)
    return _estimate(middle, interval, n, "order-statistics")
