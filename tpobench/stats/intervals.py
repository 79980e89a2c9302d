"""Raw intervals of a mean and of what else is resampled; reached through `guard.guarded_interval` only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tpobench.stats.curves import Bools
from tpobench.stats.draws import Table, drawn, narrow, seeds_again, times_again
from tpobench.stats.guard import Floats
from tpobench.stats.permutation import in_order

RESAMPLES = 9999


def expanded_level(runs: int, confidence: float = 0.95) -> float:
    """Hesterberg's level that widens a bootstrap interval to the t interval's length.

    1 - 2 Phi(-sqrt(n / (n-1)) t_{n-1})      Hesterberg 2015, arXiv:1411.5279, section 5.
    """
    quantile = special.stdtrit(runs - 1, 0.5 + confidence / 2)
    return float(1 - 2 * special.ndtr(-math.sqrt(runs / (runs - 1)) * quantile))


def t_interval(x: Floats, confidence: float) -> tuple[Floats, Floats]:
    """x̄ ± t_{n-1} s / sqrt(n) of (..., n)."""
    n = x.shape[-1]
    half = special.stdtrit(n - 1, 0.5 + confidence / 2) * x.std(axis=-1, ddof=1) / math.sqrt(n)
    middle = x.mean(axis=-1)
    return middle - half, middle + half


def standard_error(x: Floats, ddof: int = 1) -> float:
    """s / sqrt(n); ddof = 0 is the convention of many papers, 2.5% narrower at 20 seeds."""
    return float(x.std(ddof=ddof) / math.sqrt(len(x)))


def se_interval(x: Floats, ddof: int) -> tuple[Floats, Floats]:
    """x̄ ± one standard error of (..., n): a 68% interval at best, for plots in a paper's style."""
    half, middle = x.std(axis=-1, ddof=ddof) / math.sqrt(x.shape[-1]), x.mean(axis=-1)
    return middle - half, middle + half


def bca_intervals(x: Floats, rng: np.random.Generator, level: float) -> tuple[Floats, Floats]:
    """Bias-corrected and accelerated bootstrap of the means of rows (p, n); NaN on nearly constant data.

    Quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled means, z = ±Phi^-1((1 - level) / 2), where
    z0 = Phi^-1(share of them below x̄) and a is a sixth of the skewness of x̄ without one seed.
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, equations 14.9 to 14.15.
    """
    value, means = x.mean(axis=1, keepdims=True), resampled_means(x, rng)
    share = (np.count_nonzero(means < value, axis=1) + np.count_nonzero(means <= value, axis=1)) / (2 * means.shape[1])
    without = x.take(_others(x.shape[1]), axis=1).mean(axis=-1)  # side by side, as of one row
    influence = without.mean(axis=-1, keepdims=True) - without
    acceleration = (influence**3).sum(axis=-1) / (influence**2).sum(axis=-1) ** 1.5 / 6
    z0, z = special.ndtri(share), special.ndtri((1 - level) / 2)
    low, high = (special.ndtr(z0 + end / (1 - acceleration * end)) for end in (z0 + z, z0 - z))
    return _rows(map(quantiles, means, low.tolist(), high.tolist()))


@lru_cache(4)
def _others(n: int) -> NDArray[np.intp]:
    """For each of n seeds the n - 1 others: (n, n - 1)."""
    return np.nonzero(~np.eye(n, dtype=bool))[1].reshape(n, n - 1)


def _rows(ends: Iterable[tuple[float, float]]) -> tuple[Floats, Floats]:
    """The lower and the upper ends of some intervals."""
    low, high = np.array(list(ends), dtype=np.float64).reshape(-1, 2).T
    return low, high


def quantiles(values: Floats, low: float, high: float) -> tuple[float, float]:
    """Two quantiles as of `np.nanquantile`, which takes four times as long."""
    ordered = values[~np.isnan(values)]
    if math.isnan(low) or math.isnan(high) or not len(ordered):
        return math.nan, math.nan
    last = len(ordered) - 1

    def at(share: float) -> float:
        place, part = divmod(float(share) * last, 1)
        k = int(place)
        ordered.partition(k)  # a place at a time, which numpy has instructions for
        a = float(ordered[k])
        b = float(ordered[k + 1 :].min()) if k < last else a
        return a + (b - a) * part if part < 0.5 else b - (b - a) * (1 - part)

    return at(low), at(high)


def resampled_counts(n: int, rng: np.random.Generator, draws: int = RESAMPLES) -> Floats:
    """How often each of n seeds occurs in each bootstrap resample: (draws, n)."""
    return drawn(rng, _counts, n, draws).astype(np.float64)


def _counts(rng: np.random.Generator, n: int, draws: int) -> Table:
    return narrow(rng.multinomial(n, np.full(n, 1 / n), size=draws), n)


def percentile_intervals(x: Floats, rng: np.random.Generator, level: float) -> tuple[Floats, Floats]:
    """Percentiles of the means of rows (p, n) over resampled seeds."""
    return _rows(quantiles(means, (1 - level) / 2, (1 + level) / 2) for means in resampled_means(x, rng))


def ordered_intervals(
    x: Floats, first: int, last: int, rng: np.random.Generator, level: float
) -> tuple[Floats, Floats]:
    """Of rows (p, n) percentiles of the mean of the sorted values first to last - 1 (from 0) over resampled seeds."""
    times = times_again(x.shape[1], rng, RESAMPLES)
    each = (ordered_means(row, times, first, last) for row in x)
    return _rows(quantiles(means, (1 - level) / 2, (1 + level) / 2) for means in each)


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


def resampled_means(x: Floats, rng: np.random.Generator) -> Floats:
    """Means of rows (p, n) over seeds resampled with replacement, the same for all: (p, draws).

    From how often each seed is drawn; one that rounding could put on either side of x̄ is added up seed by seed, as
    resamples of values from a short scale often have just that mean, and BCa counts those below it.
    """
    n, state = x.shape[1], rng.bit_generator.state
    means = np.asarray(x @ times_again(n, rng, RESAMPLES).astype(np.float64) / n)
    middle, rounding = x.mean(axis=1, keepdims=True), 1e-12 * np.abs(x).max(axis=1, keepdims=True)
    near = (means >= middle - rounding) & (means <= middle + rounding)
    rows, draws = np.divmod(np.flatnonzero(near), RESAMPLES)  # np.nonzero takes long along two axes
    if len(rows):
        rng.bit_generator.state = state
        seeds = seeds_again(n, rng, RESAMPLES)[:, draws].T.copy()  # side by side: sums as of a row of x
        means[rows, draws] = x[rows[:, None], seeds].mean(axis=1)
    return means


def bootstrap_t_intervals(x: Floats, rng: np.random.Generator, confidence: float) -> tuple[Floats, Floats]:
    """Bootstrap-t of rows (p, n): x̄ - q* se with q* the quantiles of t* = (x̄* - x̄) / se*.

    A resample of equal values has se* = 0 and t* = ±inf (0 where x̄* = x̄ too): ends may be infinite before the clip to
    the metric's range.
    """
    counts = resampled_counts(x.shape[1], rng)
    return _rows(_bootstrap_t(row, counts, confidence) for row in x)


def _bootstrap_t(x: Floats, counts: Floats, confidence: float) -> tuple[float, float]:
    n, centred = len(x), x - x.mean()  # sums of squares below do not cancel
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


def welch_interval(x: Floats, y: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Welch's interval of mean(x) - mean(y) (..., n), (..., m) -> (...), degrees of freedom after Satterthwaite.

    NaN where neither arm varies.
    """
    n, m = x.shape[-1], y.shape[-1]
    u, v = x.var(axis=-1, ddof=1) / n, y.var(axis=-1, ddof=1) / m
    freedom = (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1))
    half = np.where(u + v <= 0, np.nan, special.stdtrit(freedom, 0.5 + confidence / 2) * np.sqrt(u + v))
    middle = x.mean(axis=-1) - y.mean(axis=-1)
    return middle - half, middle + half


def wins(x: Floats, y: Floats) -> Floats:
    """(..., n, m): 1 where x (..., n) is lower than y (..., m), a half where they are equal."""
    x, y = x[..., :, None], y[..., None, :]
    return np.asarray((x < y) + (x == y) / 2, dtype=np.float64)


def win_rate(won: Floats, *, paired: bool) -> Floats:
    """Mean of `won` (..., n, m) over all pairs of seeds; over those of different seeds where `paired`.

    Both estimate P(X < Y) + P(X = Y) / 2 of two seeds drawn apart.  Paired arms share the random numbers of a seed,
    so (x_i, y_i) is no such pair: kept, it pulls the estimate towards the share of seeds on which X is lower.
    """
    n, m = won.shape[-2:]
    if paired and n > 1:
        return np.asarray((won.sum(axis=(-2, -1)) - np.trace(won, axis1=-2, axis2=-1)) / (n * m - n))
    return np.asarray(won.mean(axis=(-2, -1)))


def resampled_win_rates(won: Sequence[Floats], rng: np.random.Generator, draws: int, *, paired: bool) -> Floats:
    """`win_rate` of seeds resampled within each arm, or in pairs, of each `won` (n, m), under the same resamples.

    (p, draws), NaN where one seed is all that is drawn.  Its mean is the estimate: copies of one seed in a paired
    resample are no pair of different seeds either.  Where all paired resamples agree, as those of a small shift of
    evenly spread values do, the arms are resampled apart.
    """
    n, m = won[0].shape
    rows = resampled_counts(n, rng, draws) / n
    if not paired:
        columns = resampled_counts(m, rng, draws)
        return np.array([(rows @ w * columns / m).sum(axis=1) for w in won])
    different = 1 - (rows**2).sum(axis=1)
    different[different <= 1e-12] = np.nan
    together = np.array([(rows @ (w - np.diag(w.diagonal())) * rows).sum(axis=1) / different for w in won])
    agree = np.nanmax(together, axis=1) - np.nanmin(together, axis=1) <= 1e-12
    if agree.any():
        columns = resampled_counts(m, rng, draws)
        for i in np.flatnonzero(agree).tolist():
            apart = (rows @ won[i] * columns / m).sum(axis=1)
            together[i] = apart + (win_rate(won[i], paired=True) - won[i].mean())
    return together


def separated(won: Floats, *, paired: bool) -> Bools:
    """Whether all pairs of seeds that count agree, of (..., n, m): each resample would repeat that as a certainty."""
    counted = won[..., ~np.eye(won.shape[-1], dtype=bool)] if paired and won.shape[-1] > 1 else won
    counted = counted.reshape(*won.shape[:-2], -1)
    return np.asarray(counted.min(axis=-1) == counted.max(axis=-1))


def superiority_intervals(
    x: Floats, y: Floats, rng: np.random.Generator, confidence: float, *, paired: bool, draws: int = 2000
) -> tuple[Floats, Floats]:
    """Percentile bootstrap of P(X < Y) + P(X = Y) / 2 of rows (p, n) and (p, m); at the expanded level if paired.

    NaN where separated.
    """
    won = wins(x, y)
    open_ = np.flatnonzero(~separated(won, paired=paired))
    low, high = np.full((2, len(won)), np.nan)
    if not len(open_):
        return low, high
    level = expanded_level(x.shape[1], confidence) if paired else confidence
    pairs = list(zip(x[open_], y[open_], strict=True))
    ordered = [in_order(*pair) for pair in pairs]
    rates = resampled_win_rates([wins(*arms) for arms in ordered], rng, draws, paired=paired)
    for i, pair, (first, _), drawn_rates in zip(open_, pairs, ordered, rates, strict=True):
        ends = quantiles(drawn_rates, (1 - level) / 2, (1 + level) / 2)
        low[i], high[i] = ends if first is pair[0] else (1 - ends[1], 1 - ends[0])
    return low, high
