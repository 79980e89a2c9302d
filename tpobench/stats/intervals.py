"""Raw intervals of a mean and of what else is resampled; reached through `guard.guarded_interval` only."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tpobench.stats.draws import Table, drawn, in_parts, seeds_again, times_again
from tpobench.stats.guard import Floats
from tpobench.stats.permutation import in_order

RESAMPLES = 9999


def expanded_level(runs: int, confidence: float = 0.95) -> float:
    """Hesterberg's level that widens a bootstrap interval to the t interval's length.

    1 - 2 Phi(-sqrt(n / (n-1)) t_{n-1})      Hesterberg 2015, arXiv:1411.5279, section 5.
    """
    quantile = special.stdtrit(runs - 1, 0.5 + confidence / 2)
    return float(1 - 2 * special.ndtr(-math.sqrt(runs / (runs - 1)) * quantile))


def t_interval(x: Floats, confidence: float) -> tuple[float, float]:
    """x̄ ± t_{n-1} s / sqrt(n)."""
    half = float(special.stdtrit(len(x) - 1, 0.5 + confidence / 2) * x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half


def standard_error(x: Floats, ddof: int = 1) -> float:
    """s / sqrt(n); ddof = 0 is the convention of many papers, 2.5% narrower at 20 seeds."""
    return float(x.std(ddof=ddof) / math.sqrt(len(x)))


def se_interval(x: Floats, ddof: int) -> tuple[float, float]:
    """x̄ ± one standard error: a 68% interval at best, for plots in a paper's style."""
    half = standard_error(x, ddof)
    return float(x.mean()) - half, float(x.mean()) + half


def bca_interval(x: Floats, rng: np.random.Generator, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap of the mean (NaN on nearly constant data).

    Quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled means, z = ±Phi^-1((1 - level) / 2), where
    z0 = Phi^-1(share of them below x̄) and a is a sixth of the skewness of x̄ without one seed.
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, equations 14.9 to 14.15.
    """
    n, value = len(x), x.mean()
    means = over_resamples(x, lambda drawn: np.asarray(drawn.mean(axis=-1)), rng)
    share = (np.count_nonzero(means < value) + np.count_nonzero(means <= value)) / (2 * len(means))
    without = x[_others(n)].mean(axis=-1)
    influence = without.mean() - without
    acceleration = (influence**3).sum() / (influence**2).sum() ** 1.5 / 6
    z0, z = special.ndtri(share), special.ndtri((1 - level) / 2)
    low, high = (z0 + end / (1 - acceleration * end) for end in (z0 + z, z0 - z))
    return quantiles(means, special.ndtr(low), special.ndtr(high))


@lru_cache(4)
def _others(n: int) -> NDArray[np.intp]:
    """For each of n seeds the n - 1 others: (n, n - 1)."""
    return np.nonzero(~np.eye(n, dtype=bool))[1].reshape(n, n - 1)


def quantiles(values: Floats, low: float, high: float) -> tuple[float, float]:
    """Two quantiles as of `np.nanquantile`, which takes ten times as long."""
    values = values[~np.isnan(values)]
    if math.isnan(low) or math.isnan(high) or not len(values):
        return math.nan, math.nan
    last = len(values) - 1
    places = [divmod(float(share) * last, 1) for share in (low, high)]
    ordered = np.partition(values, [min(int(k) + i, last) for k, _ in places for i in (0, 1)])  # there only

    def at(k: float, part: float) -> float:
        a, b = float(ordered[int(k)]), float(ordered[min(int(k) + 1, last)])
        return a + (b - a) * part if part < 0.5 else b - (b - a) * (1 - part)

    return at(*places[0]), at(*places[1])


def resampled_counts(n: int, rng: np.random.Generator, draws: int = RESAMPLES) -> Floats:
    """How often each of n seeds occurs in each bootstrap resample: (draws, n)."""
    return drawn(rng, _counts, n, draws).astype(np.float64)


def _counts(rng: np.random.Generator, n: int, draws: int) -> Table:
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)


def percentile_interval(
    x: Floats, statistic: Callable[[Floats], Floats], rng: np.random.Generator, level: float
) -> tuple[float, float]:
    """Percentiles of a statistic over resampled seeds; `statistic` reduces (draws, n) to (draws,)."""
    return quantiles(over_resamples(x, statistic, rng), (1 - level) / 2, (1 + level) / 2)


def ordered_interval(x: Floats, first: int, last: int, rng: np.random.Generator, level: float) -> tuple[float, float]:
    """Percentiles of the mean of the sorted values first to last - 1 (from 0) over resampled seeds."""
    means = ordered_means(x, times_again(len(x), rng, RESAMPLES), first, last)
    return quantiles(means, (1 - level) / 2, (1 + level) / 2)


def ordered_means(x: Floats, times: Table, first: int, last: int) -> Floats:
    """Mean of the sorted values first to last - 1 (from 0) of resamples that hold each value `times` (n, draws).

    The k-th least value is there min(max(c_k, first), last) - min(max(c_{k-1}, first), last) times, where c_k of the
    resample are among the k least: sorting each resample takes four times as long.
    """
    order = np.argsort(x)
    among = times[order].astype(np.min_scalar_type(len(x)))
    for k in range(1, len(x)):  # np.cumsum takes ten times as long along this axis
        among[k] += among[k - 1]
    among.clip(first, last, out=among)
    among[1:] -= among[:-1].copy()
    among[0] -= first
    return np.asarray(x[order] @ among / (last - first))


def over_resamples(x: Floats, statistic: Callable[[Floats], Floats], rng: np.random.Generator) -> Floats:
    """A statistic, which reduces (draws, n) to (draws,), of seeds resampled with replacement."""
    return np.concatenate([statistic(x.take(part)) for part in in_parts(seeds_again(len(x), rng, RESAMPLES))])


def bootstrap_t_interval(x: Floats, rng: np.random.Generator, confidence: float) -> tuple[float, float]:
    """Bootstrap-t: x̄ - q* se with q* the quantiles of t* = (x̄* - x̄) / se*.

    A resample of equal values has se* = 0 and t* = ±inf (0 where x̄* = x̄ too): ends may be infinite before the clip to
    the metric's range.
    """
    n, centred = len(x), x - x.mean()  # sums of squares below do not cancel
    counts = resampled_counts(n, rng)
    mean = counts @ centred / n
    variance = np.maximum(counts @ centred**2 / n - mean**2, 0.0) / (n - 1)
    variance = np.where(variance <= 1e-12 * centred.var(), 0.0, variance)
    t = np.where(mean == 0, 0.0, mean / np.sqrt(variance))
    low, high = np.quantile(t, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    se = standard_error(x)
    return float(x.mean() - high * se), float(x.mean() - low * se)


def wilson_interval(successes: int, runs: int, confidence: float) -> tuple[float, float]:
    """(p̂ + z²/2n ± z sqrt(p̂ (1 - p̂)/n + z²/4n²)) / (1 + z²/n), 0 and 1 where no run or every run succeeded."""
    share, z2 = successes / runs, float(special.ndtri(0.5 + confidence / 2)) ** 2 / runs
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    low, high = (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)
    return 0.0 if successes == 0 else low, 1.0 if successes == runs else high


def welch_interval(x: Floats, y: Floats, confidence: float) -> tuple[float, float] | None:
    """Welch's interval of mean(x) - mean(y), degrees of freedom after Satterthwaite."""
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if u + v <= 0:
        return None
    freedom = float((u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1)))
    half = float(special.stdtrit(freedom, 0.5 + confidence / 2) * math.sqrt(u + v))
    middle = float(x.mean() - y.mean())
    return middle - half, middle + half


def wins(x: Floats, y: Floats) -> Floats:
    """(n, m): 1 where x is the lower, a half where they are equal."""
    return np.asarray((x[:, None] < y) + (x[:, None] == y) / 2, dtype=np.float64)


def win_rate(won: Floats, *, paired: bool) -> float:
    """Mean of `won` (n, m) over all pairs of seeds; over those of different seeds where `paired`.

    Both estimate P(X < Y) + P(X = Y) / 2 of two seeds drawn apart.  Paired arms share the random numbers of a seed,
    so (x_i, y_i) is no such pair: kept, it pulls the estimate towards the share of seeds on which X is lower.
    """
    if paired and len(won) > 1:
        return float((won.sum() - won.trace()) / (won.size - len(won)))
    return float(won.mean())


def resampled_win_rates(won: Floats, rng: np.random.Generator, draws: int, *, paired: bool) -> Floats:
    """`win_rate` of seeds resampled within each arm, or in pairs: (draws,), NaN where one seed is all that is drawn.

    Its mean is the estimate: copies of one seed in a paired resample are no pair of different seeds either.  Where all
    paired resamples agree, as those of a small shift of evenly spread values do, the arms are resampled apart.
    """
    n, m = won.shape
    rows = resampled_counts(n, rng, draws) / n
    if paired:
        between, different = won - np.diag(won.diagonal()), 1 - (rows**2).sum(axis=1)
        drawn = (rows @ between * rows).sum(axis=1) / np.where(different > 1e-12, different, np.nan)
        if np.nanmax(drawn) - np.nanmin(drawn) > 1e-12:
            return np.asarray(drawn)
    apart = (rows @ won * resampled_counts(m, rng, draws) / m).sum(axis=1)
    return np.asarray(apart + (win_rate(won, paired=True) - won.mean() if paired else 0.0))


def separated(won: Floats, *, paired: bool) -> bool:
    """Whether all pairs of seeds that count agree: each resample would repeat that, and read as certainty."""
    counted = won[~np.eye(len(won), dtype=bool)] if paired and len(won) > 1 else won
    return bool(counted.min() == counted.max())


def superiority_interval(
    x: Floats, y: Floats, rng: np.random.Generator, confidence: float, *, paired: bool, draws: int = 2000
) -> tuple[float, float] | None:
    """Percentile bootstrap of P(X < Y) + P(X = Y) / 2; at the expanded level where paired.  None where separated."""
    first, second = in_order(x, y)
    won = wins(first, second)
    if separated(won, paired=paired):
        return None
    level = expanded_level(len(x), confidence) if paired else confidence
    low, high = quantiles(resampled_win_rates(won, rng, draws, paired=paired), (1 - level) / 2, (1 + level) / 2)
    return (low, high) if first is x else (1 - high, 1 - low)
