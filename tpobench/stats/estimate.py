"""Estimates of one arm: means, rates and medians over seeds, each with the interval its sample size allows."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Status = Literal["ok", "single", "pair", "constant", "missing", "not finite", "too few"]
RESAMPLES = 9999


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


def expanded_level(runs: int, confidence: float = 0.95) -> float:
    """Hesterberg's level that widens a bootstrap interval to the t interval's length.

    1 - 2 Phi(-sqrt(n / (n-1)) t_{n-1})      Hesterberg 2015, arXiv:1411.5279, section 5.
    """
    quantile = stats.t.ppf(0.5 + confidence / 2, runs - 1)
    return float(1 - 2 * stats.norm.cdf(-math.sqrt(runs / (runs - 1)) * quantile))


def mean_estimate(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    confidence: float = 0.95,
) -> Estimate:
    """Mean over seeds: both values at n = 2, a t interval below 10 seeds, expanded BCa from there, clipped to range."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n == 0:
        return Estimate(None, None, None, 0, "none", "missing", "missing")
    if not np.isfinite(x).all():
        lost = int((~np.isfinite(x)).sum())
        return Estimate(None, None, None, n, "none", "not finite", f"{lost} of {n} values are not finite")
    if n == 1:
        return Estimate(float(x[0]), None, None, 1, "none", "single", "1 seed: no uncertainty")
    if x.min() == x.max():
        return Estimate(float(x[0]), None, None, n, "none", "constant", f"all {n} seeds identical: no interval")
    mean = float(x.mean())
    if n == 2:
        return Estimate(mean, float(x.min()), float(x.max()), 2, "values", "pair", "2 seeds: the two values")
    interval = _bca(x, rng, confidence) if n >= 10 else None
    method = "t" if interval is None else "bca-expanded"
    low, high = interval or _t_interval(x, confidence)
    return Estimate(mean, max(low, lowest), min(high, highest), n, method)


def _t_interval(x: Floats, confidence: float) -> tuple[float, float]:
    half = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half


def _bca(x: Floats, rng: np.random.Generator, confidence: float) -> tuple[float, float] | None:
    """None where BCa does not exist, as on nearly constant data."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (x,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=expanded_level(len(x), confidence),
            method="BCa",
            rng=rng,
            vectorized=True,
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    # Rounding can put an end of a nearly constant sample's interval one ulp beyond its mean.
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low <= x.mean() <= high else None


def rate_estimate(successes: int, runs: int, confidence: float = 0.95) -> Estimate:
    """A share k / n with Wilson's interval, valid from one seed on."""
    if runs == 0:
        return Estimate(None, None, None, 0, "none", "missing", "missing")
    found = stats.binomtest(successes, runs).proportion_ci(confidence, method="wilson")
    return Estimate(successes / runs, float(found.low), float(found.high), runs, "wilson")


def median_estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Median with its exact order-statistic interval; +inf is a value (never reached)."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0:
        return Estimate(None, None, None, 0, "none", "missing", "missing")
    if np.isnan(x).any():
        return Estimate(None, None, None, len(x), "none", "not finite", f"{int(np.isnan(x).sum())} values are NaN")
    found: Any = stats.quantile_test(x, p=0.5).confidence_interval(confidence)
    middle = float(np.median(x))
    if math.isnan(found.low) or math.isnan(found.high):
        reason = f"{len(x)} seed{'s' if len(x) > 1 else ''}: no {confidence:.0%} interval of a median; need 6"
        return Estimate(middle, None, None, len(x), "none", "too few", reason)
    return Estimate(middle, float(found.low), float(found.high), len(x), "order-statistics")


def final_window(curves: ArrayLike, window: int, worst: float) -> Floats:
    """Mean of the last `window` evaluations of each seed (n, E) -> (n,); a diverged run scores the worst value."""
    x = np.asarray(curves, dtype=np.float64)
    final = np.asarray(x[:, -window:].mean(axis=1))
    return np.where(np.isfinite(x).all(axis=1), final, worst)


def area_under_curve(curves: ArrayLike, steps: ArrayLike, worst: float) -> Floats:
    """Mean of the metric over the steps: trapezoid / step range, (n, E) -> (n,); worst value after divergence."""
    x, t = np.asarray(curves, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    x = np.where(np.isfinite(x), x, worst)
    if len(t) < 2:
        return np.asarray(x.mean(axis=1))
    return np.asarray(((x[:, 1:] + x[:, :-1]) / 2 * np.diff(t)).sum(axis=1) / (t[-1] - t[0]))


def bootstrap_band(
    curves: ArrayLike, rng: np.random.Generator, *, draws: int = 2000, confidence: float = 0.95
) -> tuple[Floats, Floats] | None:
    """Pointwise percentile band of the mean curve, whole seeds resampled: (n, E) -> two (E,); None at one seed."""
    x = np.asarray(curves, dtype=np.float64)
    n = len(x)
    if n < 2:
        return None
    means = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n @ x
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return low, high
