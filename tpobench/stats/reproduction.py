"""Does a sample agree with a number printed elsewhere, of which nothing but its value and its seeds is known?

A printed number is itself a statistic of a sample: it agrees where it lies in the interval in which that statistic of
as many other seeds is to be expected, given the seeds at hand.  Both samples vary, so this prediction interval is
wider than the confidence interval of the mean.  What none of the seeds at hand shows, such as a kind of failure that
one run in fifty has, cannot be predicted from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tpobench.stats.curves import below_threshold
from tpobench.stats.estimate import expanded_level
from tpobench.stats.guard import Floats, guarded_interval

Bound = Literal["", "above", "below"]
Verdict = Literal["agrees", "differs", "undecided"]
Statistic = Callable[[Floats], Floats]  # mean curves (draws, E) -> (draws,)

DRAWS = 4000
BLOCK = 500  # draws at a time: mean curves of thousands of evaluations are large


@dataclass(frozen=True)
class Printed:
    """A number as it was printed: inf where it says "never reached"; `bound` where it says "more" or "less than"."""

    value: float
    seeds: int
    rounding: float = 0.0  # half a unit of the last digit
    bound: Bound = ""


@dataclass(frozen=True)
class Prediction:
    """Where a statistic of other seeds is to be expected: 95% two-sided [low, high], one-sided `least` and `most`."""

    value: float | None  # the statistic of the sample itself
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    runs: int
    method: str
    reason: str = ""


@dataclass(frozen=True)
class Agreement:
    """What became of a printed number."""

    verdict: Verdict
    prediction: Prediction
    reason: str = ""


def predict_mean(
    values: ArrayLike,
    seeds: int,
    *,
    rng: np.random.Generator,
    lowest: float = -math.inf,
    highest: float = math.inf,
    draws: int = DRAWS,
) -> Prediction:
    """The mean of `seeds` other seeds, studentized: x̄ + q* s with q* the quantiles of (ȳ* - x̄*) / s*.

    x* and y* are independent resamples of the sample, of its own size and of `seeds`.  A plain two-stage bootstrap is
    too narrow where one seed in twenty holds most of the sum, as in final errors under sparse reward.  Where most seeds
    of a bounded metric are equal, resamples of them alone have s* = 0 and the interval can be the whole range, or there
    is none: counts and bounds give it then.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    value = float(x.mean()) if n and np.isfinite(x).all() else None
    if n and value is not None and x.min() == x.max():
        value = float(x[0])  # the mean of equal numbers can be off by one ulp

    @cache
    def drawn() -> Floats:
        return _studentized(x - x.mean(), seeds, rng, draws)

    def ends(x: Floats, confidence: float) -> tuple[float, float]:
        low, high = np.quantile(drawn(), [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
        s = x.std(ddof=1)
        return float(np.clip(x.mean() + low * s, lowest, highest)), float(np.clip(x.mean() + high * s, lowest, highest))

    two, one = (
        guarded_interval(partial(ends, confidence=level), x, name="prediction", infinite=True) for level in (0.95, 0.90)
    )
    if value is None or n < 2:
        return Prediction(value, None, None, None, None, n, "none", two.reason)
    mode, alike = _mode(x)
    whole = two.low is not None and two.high is not None and two.low <= lowest and two.high >= highest
    bounded = math.isfinite(lowest) and math.isfinite(highest)
    if bounded and 2 * alike > n and (whole or two.low is None):
        count_ends = partial(_count_ends, x, mode, seeds, lowest, highest)
        return Prediction(value, *count_ends(0.95), *count_ends(0.90), n, "counts-and-bounds")
    if two.low is None:
        return Prediction(value, None, None, None, None, n, "none", two.reason)
    few = f"{alike} of {n} seeds are alike" if 2 * alike > n else f"{n} seeds"
    reason = f"{few}: any value at all would agree" if whole else ""
    return Prediction(value, two.low, two.high, one.low, one.high, n, "studentized-prediction", reason)


def _mode(x: Floats) -> tuple[float, int]:
    """The most frequent value and how often it occurs."""
    values, times = np.unique(x, return_counts=True)
    return float(values[times.argmax()]), int(times.max())


def _count_ends(
    x: Floats, mode: float, seeds: int, lowest: float, highest: float, confidence: float
) -> tuple[float, float]:
    """Mode - (mode - lowest) j_below / m and mode + (highest - mode) j_above / m, m = `seeds`.

    j bounds how many of m other seeds lie below and above the mode: where they lie there is left open.
    """
    level = (1 - confidence) / 2
    below, above = (most_others(int(k), len(x), seeds, level) / seeds for k in ((x < mode).sum(), (x > mode).sum()))
    return mode - (mode - lowest) * below, mode + (highest - mode) * above


def most_others(k: int, n: int, m: int, level: float) -> int:
    """How many of m other seeds may have what k of n have: largest j with P(K <= k | k + j of n + m) > level.

    Given k + j in both samples together, K is hypergeometric whatever the rate is.
    Thatcher 1964, Journal of the Royal Statistical Society B 26(2), 176-192.
    """
    j = np.arange(m + 1)
    return int(j[scipy.stats.hypergeom.cdf(k, n + m, k + j, n) > level].max())


def _studentized(centred: Floats, seeds: int, rng: np.random.Generator, draws: int) -> Floats:
    """(ȳ* - x̄*) / s*; a resample of equal values has s* = 0 and gives ±inf, or 0 where ȳ* = x̄*."""
    n = len(centred)
    x_star = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    y_star = rng.multinomial(seeds, np.full(n, 1 / n), size=draws) / seeds
    mean = x_star @ centred
    variance = np.maximum(x_star @ centred**2 - mean**2, 0.0) * n / (n - 1)
    variance = np.where(variance <= 1e-12 * centred.var(), 0.0, variance)
    difference = y_star @ centred - mean
    difference = np.where(np.abs(difference) <= 1e-12 * np.abs(centred).max(), 0.0, difference)
    return np.asarray(np.where(difference == 0, 0.0, difference / np.sqrt(variance)))


def predict_step(
    curves: ArrayLike, statistic: Statistic, seeds: int, *, rng: np.random.Generator, draws: int = DRAWS
) -> Prediction:
    """A step of the mean curve of `seeds` other seeds, such as its first below 1%: curves (n, E).

    The hull of two intervals, one of which alone is too narrow where the slowest seed decides.  Two-stage bootstrap:
    the population is drawn (n of the n seeds), then `seeds` from it; its ends are order statistics at the expanded
    level, so that "never" (inf) can be one of them.  Jackknife: log T ± t_{n-1} se sqrt(1 + n / seeds).
    """
    x = np.asarray(curves, dtype=np.float64)
    n = len(x)
    if x.size == 0 or not np.isfinite(x).all():
        reason = "missing" if x.size == 0 else "values are not finite: score them"
        return Prediction(None, None, None, None, None, n, "none", reason)
    value = float(statistic(x.mean(axis=0)[None, :])[0])
    if n == 1:
        return Prediction(value, None, None, None, None, 1, "none", "1 seed: no uncertainty")
    if np.array_equal(x, np.broadcast_to(x[0], x.shape)):
        return Prediction(value, None, None, None, None, n, "none", f"all {n} seeds identical: no interval")
    drawn = np.concatenate([statistic(_two_stage(n, seeds, rng, size) @ x) for size in _blocks(draws)])
    (low, high), (least, most) = (_step_ends(x, value, drawn, statistic, seeds, level) for level in (0.95, 0.90))
    return Prediction(value, low, high, least, most, n, "two-stage+jackknife")


def _step_ends(
    x: Floats, value: float, drawn: Floats, statistic: Statistic, seeds: int, confidence: float
) -> tuple[float, float]:
    n = len(x)
    level = expanded_level(n, confidence)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    without = np.log(np.maximum(statistic((x.sum(axis=0) - x) / (n - 1)), 1.0))
    if math.isinf(value) or not np.isfinite(without).all():
        return min(float(low), value), max(float(high), value)  # the resamples hold "never" too
    se = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, n - 1)) * se * math.sqrt(1 + n / seeds)
    return min(float(low), value * math.exp(-half)), max(float(high), value * math.exp(half))


def _two_stage(n: int, seeds: int, rng: np.random.Generator, draws: int) -> Floats:
    """Weights (draws, n) of `seeds` seeds drawn from n that were drawn from n."""
    population = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    return np.asarray(rng.multinomial(seeds, population) / seeds)


def _blocks(draws: int) -> list[int]:
    return [min(BLOCK, draws - first) for first in range(0, draws, BLOCK)]


def first_below(steps: ArrayLike, threshold: float) -> Statistic:
    """Statistic: the first step at which a mean curve is below the threshold, inf where it never is."""
    t = np.asarray(steps, dtype=np.float64)

    def crossing(means: Floats) -> Floats:
        below = below_threshold(means, threshold)
        return np.where(below.any(axis=1), t[below.argmax(axis=1)], np.inf)

    return crossing


def first_decayed(steps: ArrayLike, share: float) -> Statistic:
    """Statistic: the first step after its peak at which a mean curve is below `share` of the peak, inf for never."""
    t = np.asarray(steps, dtype=np.float64)

    def decayed(means: Floats) -> Floats:
        peak = means.argmax(axis=1)
        below = (means < share * means.max(axis=1, keepdims=True)) & (np.arange(means.shape[1]) > peak[:, None])
        return np.where(below.any(axis=1), t[below.argmax(axis=1)], np.inf)

    return decayed


def agreement(prediction: Prediction, printed: Printed) -> Agreement:
    """Whether the printed number lies where it was to be expected.

    A bound and "never" are statements, not values: they differ where they are false at one-sided 95%.
    """
    if prediction.value is None:
        return Agreement("undecided", prediction, prediction.reason)
    if prediction.low is None or prediction.high is None or prediction.least is None or prediction.most is None:
        same = _inside(prediction.value, prediction.value, prediction.value, prediction.value, printed)
        return Agreement("agrees" if same else "undecided", prediction, prediction.reason)
    if prediction.reason:
        return Agreement("undecided", prediction, prediction.reason)
    inside = _inside(prediction.low, prediction.high, prediction.least, prediction.most, printed)
    return Agreement("agrees" if inside else "differs", prediction)


def _inside(low: float, high: float, least: float, most: float, printed: Printed) -> bool:
    value, slack = printed.value, printed.rounding * (1 + 1e-9)
    if printed.bound == "above" or math.isinf(value):
        return most > value or math.isinf(most)
    if printed.bound == "below":
        return least < value
    return low - slack <= value <= high + slack
