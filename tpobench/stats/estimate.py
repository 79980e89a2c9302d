"""Estimates of one arm: means, rates, medians and tails over seeds, each with the interval its sample size allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tpobench.stats.curves import area_under_curve, bootstrap_band, final_window
from tpobench.stats.guard import (
    Floats,
    Interval,
    Status,
    guarded_interval,
    guarded_intervals,
    quiet,
)
from tpobench.stats.intervals import (
    RESAMPLES,
    bca_intervals,
    bootstrap_t_intervals,
    expanded_level,
    ordered_intervals,
    percentile_intervals,
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


def mean_estimate(values: ArrayLike, **choices: Any) -> Estimate:
    """`mean_estimates` of one arm (n,)."""
    return mean_estimates(_row(values), **choices)[0]


def mean_estimates(
    x: Floats,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
    ci: str = "auto",
    paper_compat: bool = False,
) -> list[Estimate]:
    """Means over seeds with intervals, clipped to the range of the metric, under resamples common to all arms.

    Args:
        x: one scalar per seed, an arm a row (p, n).
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
    n = x.shape[1]
    name: str = "se" if paper_compat else ci
    if name == "auto":
        name = "values" if n == 2 else "t" if n < 10 else "bca-expanded"
    values = _means(x)

    def bounded(name: str, rows: Sequence[int]) -> dict[int, tuple[str, Interval]]:
        method, part = _mean_method(name, rng, confidence, paper_compat=paper_compat), x[rows]
        lows, highs = _range(part, lowest, highest)
        intervals = guarded_intervals(
            method, part, name=name, least=LEAST.get(name, 2), lowest=lows, highest=highs,
            around=[values[row] for row in rows],
        )  # fmt: skip
        return {row: (name, interval) for row, interval in zip(rows, intervals, strict=True)}

    made = bounded(name, range(len(x)))
    again = [row for row, (_, interval) in made.items() if interval.status == "not computable"]
    if ci == "auto" and again:
        made |= bounded("t", again)  # BCa does not exist on nearly constant data
    for row in np.flatnonzero((x == x[:, :1]).all(axis=1)).tolist() if n else ():
        values[row] = float(x[row, 0])  # the mean of equal numbers can be off by one ulp
    return [_mean(values[row], *made[row], n, paper_compat=paper_compat) for row in range(len(x))]


def _mean(value: float, name: str, interval: Interval, n: int, *, paper_compat: bool) -> Estimate:
    if name == "values" and interval.status == "ok":
        return Estimate(value, interval.low, interval.high, 2, "values", "pair", "2 seeds: the two values")
    return _estimate(value, interval, n, "se-ddof0" if paper_compat else name)


def _row(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(1, -1)


def _means(x: Floats) -> list[float]:
    """Means of rows (p, n), NaN where a value is not finite or there is none."""
    if not x.shape[1]:
        return len(x) * [math.nan]
    finite = np.asarray(np.isfinite(x).all(axis=1, keepdims=True))
    means: list[float] = np.where(finite[:, 0], np.where(finite, x, 0.0).mean(axis=1), math.nan).tolist()
    return means


def _mean_method(
    name: str, rng: np.random.Generator, confidence: float, *, paper_compat: bool
) -> Callable[[Floats], tuple[Floats, Floats]]:
    return {
        "values": lambda x: (x.min(axis=1), x.max(axis=1)),
        "t": lambda x: t_interval(x, confidence),
        "se": lambda x: se_interval(x, ddof=0 if paper_compat else 1),
        "bca": lambda x: bca_intervals(x, rng, confidence),
        "bca-expanded": lambda x: bca_intervals(x, rng, expanded_level(x.shape[1], confidence)),
        "studentized": lambda x: bootstrap_t_intervals(x, rng, confidence),
        "percentile": lambda x: percentile_intervals(x, rng, confidence),
    }[name]


def _range(x: Floats, lowest: float, highest: float) -> tuple[Floats, Floats]:
    """The ends to which the interval of each row is clipped; an end that a value lies beyond is none."""
    return (
        np.where((x >= lowest).all(axis=1), lowest, -math.inf),
        np.where((x <= highest).all(axis=1), highest, math.inf),
    )


def dominated(values: ArrayLike) -> bool:
    """Whether one seed holds more than half of the sum, where intervals of a mean cover least (use `studentized`)."""
    x = np.abs(np.asarray(values, dtype=np.float64))
    return len(x) > 2 and bool(np.isfinite(x).all()) and bool(x.max() > x.sum() / 2)


def iqm_estimate(values: ArrayLike, **choices: Any) -> Estimate:
    """`iqm_estimates` of one arm (n,)."""
    return iqm_estimates(_row(values), **choices)[0]


def iqm_estimates(
    x: Floats,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
) -> list[Estimate]:
    """Interquartile means of rows (p, n): a quarter of the seeds left out at either end.

    Percentile bootstrap at the expanded level.  It hides failures of up to a quarter of the seeds: report it beside the
    solved rate only.
    """
    n = x.shape[1]
    return _resampled(x, "IQM", 4, slice(n // 4, n - n // 4), rng, (lowest, highest), confidence)


def tail_estimate(values: ArrayLike, **choices: Any) -> Estimate:
    """`tail_estimates` of one arm (n,)."""
    return tail_estimates(_row(values), **choices)[0]


def tail_estimates(
    x: Floats,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
) -> list[Estimate]:
    """CVaR25 of rows (p, n): mean of the worst ceil(n / 4) seeds, lower is better, from 8 seeds on.

    Its interval (percentile bootstrap, expanded level) needs 20, and covers .65 to .89 there (docs/calibration.md).
    """
    n = x.shape[1]
    tails = _resampled(x, "CVaR25", 8, slice(n - math.ceil(n / 4), n), rng, (lowest, highest), confidence)
    reason = f"n<{TAIL_INTERVAL}: no interval"
    return [
        tail if tail.status != "ok" or n >= TAIL_INTERVAL
        else replace(tail, low=None, high=None, method="none", status="too few", reason=reason)
        for tail in tails
    ]  # fmt: skip


def _resampled(
    x: Floats,
    name: str,
    least: int,
    part: slice,
    rng: np.random.Generator,
    bounds: tuple[float, float],
    confidence: float,
) -> list[Estimate]:
    """Mean of a part of the sorted seeds; of fewer than `least` it is not what its name says, so there is no value."""
    n = x.shape[1]

    def method(x: Floats) -> tuple[Floats, Floats]:
        return ordered_intervals(x, part.start, part.stop, rng, expanded_level(n, confidence))

    with quiet():
        values = np.sort(x, axis=1)[:, part].mean(axis=1).tolist() if n else len(x) * [math.nan]
    lowest, highest = _range(x, *bounds)
    intervals = guarded_intervals(method, x, name=name, lowest=lowest, highest=highest, around=values)

    def estimate(value: float, interval: Interval) -> Estimate:
        if interval.status in {"missing", "not finite"}:
            return _estimate(math.nan, interval, n, "none")
        if n < least:
            reason = f"{n} seed{'s' if n > 1 else ''}: no {name}; need {least}"
            return Estimate(None, None, None, n, "none", "too few", reason)
        return _estimate(value, interval, n, "percentile-expanded")

    return list(map(estimate, values, intervals))


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
    """`median_estimates` of one arm (n,)."""
    return median_estimates(_row(values), confidence)[0]


def median_estimates(x: Floats, confidence: float = 0.95) -> list[Estimate]:
    """Medians of rows (p, n) with their exact order-statistic intervals; +inf is a value (never reached)."""
    n = x.shape[1]

    def order_statistics(x: Floats) -> tuple[Floats, Floats]:
        low, high = (np.sort(x, axis=1)[:, ranks].T if (ranks := _median_ranks(n, confidence)) else
                     np.full((2, len(x)), math.nan))  # fmt: skip
        return low, high

    intervals = guarded_intervals(order_statistics, x, name="median", least=1, infinite=True, constant=True)

    def estimate(middle: float, interval: Interval) -> Estimate:
        if interval.status != "not computable":
            return _estimate(middle, interval, n, "order-statistics")
        least = next(k for k in range(1, 100) if 2 * 0.5**k <= 1 - confidence)
        reason = f"{n} seed{'s' if n > 1 else ''}: no {confidence:.0%} interval of a median; need {least}"
        return Estimate(middle, None, None, n, "none", "too few", reason)

    with quiet():
        middles = np.median(x, axis=1).tolist() if n else len(x) * [math.nan]
    return list(map(estimate, middles, intervals))
