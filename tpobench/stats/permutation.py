"""Raw permutation and sign-flip tests; reached through `guard.guarded_test` only."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tpobench.stats.draws import PART, Table, drawn, in_parts
from tpobench.stats.guard import Floats

RESAMPLES = 9999
Alternative = Literal["two-sided", "greater"]


@lru_cache(maxsize=32)
def _all_labellings(total: int, n: int) -> Floats:
    chosen = np.array(list(itertools.combinations(range(total), n)))
    labels = np.zeros((len(chosen), total))
    np.put_along_axis(labels, chosen, 1.0, axis=1)
    labels.flags.writeable = False
    return labels


@lru_cache(maxsize=16)
def _all_signs(n: int) -> Floats:
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=n)))
    signs.flags.writeable = False
    return signs


def random_labellings(total: int, n: int, rng: np.random.Generator, resamples: int) -> Floats:
    """Rows of 0/1 with n ones at random places: (resamples, total)."""
    return label_table(total, n, rng, resamples).astype(np.float64)


def label_table(total: int, n: int, rng: np.random.Generator, resamples: int) -> Table:
    """`random_labellings` in bytes; remembered as bits, as a suite asks for a table per cell."""
    bits = drawn(rng, _random_labels, total, n, resamples)
    return np.unpackbits(bits, count=resamples * total).reshape(resamples, total)


def _random_labels(rng: np.random.Generator, total: int, n: int, resamples: int) -> Table:
    rows = 8 * math.ceil(PART / 64 / total)  # that fit a cache, of whole bytes
    return np.concatenate([_packed(rng, total, n, min(rows, resamples - done)) for done in range(0, resamples, rows)])


def _packed(rng: np.random.Generator, total: int, n: int, rows: int) -> Table:
    places = np.arange(rows * total).reshape(rows, total)  # of this type numpy shuffles fastest
    rng.permuted(places, axis=1, out=places)
    labels = np.zeros(rows * total, dtype=np.uint8)
    labels[places[:, :n].ravel()] = 1
    return np.packbits(labels)


def sign_table(n: int, rng: np.random.Generator, resamples: int) -> Table:
    """Rows of -1 and 1 in bytes, as `rng.choice` draws them; remembered as bits: (resamples, n)."""
    heads = np.unpackbits(drawn(rng, _random_heads, n, resamples), count=resamples * n)
    return 2 * heads.view(np.int8).reshape(resamples, n) - 1


def _random_heads(rng: np.random.Generator, n: int, resamples: int) -> Table:
    count, state = resamples * n, rng.bit_generator.state
    if count % 2 or state.get("has_uint32", True):
        words = rng.integers(2**32, size=count, dtype=np.uint32).view(np.int32)
    else:  # the same, both halves of a draw at once
        words = rng.integers(2**64, size=count // 2, dtype=np.uint64).astype("<u8", copy=False).view("<i4")
    return np.packbits(words < 0)


def labellings(total: int, n: int, rng: np.random.Generator, resamples: int) -> tuple[Floats, bool]:
    """Every labelling where there are at most `resamples`, else a random draw of them; and whether it is all."""
    exact = math.comb(total, n) <= resamples
    return (_all_labellings(total, n) if exact else random_labellings(total, n, rng, resamples)), exact


def welch_t(labels: Table, pooled: Floats) -> Floats:
    """Welch's t of each column of `pooled` (total, ...) for each row of 0/1 labels (l, total): (..., l)."""
    return studentized(*welch_parts(labels, pooled))


def welch_parts(labels: Table, pooled: Floats) -> tuple[Floats, Floats]:
    """The difference of means and its variance s_x^2 / n + s_y^2 / m for each row of labels, from sums alone."""
    parts = [_welch_parts(part, pooled) for part in in_parts(labels)]
    difference, variance = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return difference, variance


def _welch_parts(labels: Table, pooled: Floats) -> tuple[Floats, Floats]:
    n = float(labels[0].sum())
    m = len(pooled) - n
    total, squares = (np.asarray(x.sum(axis=0))[..., None] for x in (pooled, pooled**2))
    moments = np.stack([pooled.T, pooled.T**2])
    sums = moments.reshape(-1, len(pooled)) @ labels.T.astype(np.float64)
    sum_x, squares_x = sums.reshape(*moments.shape[:-1], len(labels))
    mean_x, mean_y = sum_x / n, (total - sum_x) / m
    variance = np.maximum(squares_x / n - mean_x**2, 0) / (n - 1)
    variance += np.maximum((squares - squares_x) / m - mean_y**2, 0) / (m - 1)
    difference, size = mean_x - mean_y, squares / len(pooled)  # what is left of rounding, beside their size, is 0
    variance[variance <= 1e-13 * size] = 0.0
    difference[np.abs(difference) <= 1e-13 * np.sqrt(size)] = 0.0
    return difference, variance


def studentized(difference: Floats, variance: Floats) -> Floats:
    """difference / sqrt(variance): +-inf at perfect separation of two constants, 0 where both are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0, 0.0, difference / np.sqrt(variance)))


def in_order(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Two arms, the shorter first, then the one whose first different value is less: the same for (x, y) and (y, x).

    Labels and resamples are drawn for arms in this order, so that p of A against B is p of B against A.
    """
    return (x, y) if (len(x), x.ravel().tolist()) <= (len(y), y.ravel().tolist()) else (y, x)


def studentized_permutation(
    x: Floats,
    y: Floats,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    alternative: Alternative = "two-sided",
) -> float:
    """P of Welch's t under shuffled labels; exact where there are at most `resamples` labellings."""
    if alternative == "two-sided":
        x, y = in_order(x, y)
    pooled = np.concatenate([x, y])
    pooled = pooled - pooled.mean()  # sums of squares do not cancel
    labels, exact = labellings(len(pooled), len(x), rng, resamples)
    observed = np.zeros((1, len(pooled)))
    observed[0, : len(x)] = 1.0
    t = welch_t(np.concatenate([observed, labels]), pooled)
    return float(tail_p(t[1:], t[0], exact=exact, alternative=alternative))


def curve_permutation(x: Floats, y: Floats, rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """P that two sets of curves (n, E) and (m, E) come from one population: max over E of |Welch's t|, labels shuffled.

    Whole curves change sides, so the evaluations of one seed stay together and their number needs no correction.
    """
    x, y = in_order(x, y)
    pooled = np.concatenate([x, y])
    pooled = pooled - pooled.mean(axis=0)
    labels, exact = labellings(len(pooled), len(x), rng, resamples)
    observed = np.zeros((1, len(pooled)))
    observed[0, : len(x)] = 1.0
    largest = np.abs(welch_t(np.concatenate([observed, labels]), pooled)).max(axis=0)
    return float(tail_p(largest[1:], largest[0], exact=exact, alternative="greater"))


def sign_flip(
    differences: Floats,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    alternative: Alternative = "two-sided",
) -> Floats:
    """P of the mean difference (..., n) under random signs, the same for all; exact where 2^n <= `resamples`."""
    n = differences.shape[-1]
    exact = 2**n <= resamples
    signs = _all_signs(n) if exact else drawn(rng, _random_signs, n, resamples)
    return tail_p(differences @ signs.T, differences.sum(axis=-1), exact=exact, alternative=alternative)


def _random_signs(rng: np.random.Generator, n: int, resamples: int) -> Table:
    return 2.0 * rng.choice(2, size=(resamples, n)) - 1.0


def rank_permutation(x: Floats, y: Floats, rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the rank sum under shuffled labels, ties at their mean rank."""
    x, y = in_order(x, y)
    ranked = ranks(np.concatenate([x, y]))
    labels, exact = labellings(len(ranked), len(x), rng, resamples)
    return float(tail_p(labels @ ranked, ranked[: len(x)].sum(), exact=exact))


def mann_whitney(x: Floats, y: Floats) -> Floats:
    """Two-sided p of U = #{x > y} + #{x = y} / 2 by its normal approximation, of (..., n) and (..., m).

    2 (1 - Phi((max(U, nm - U) - nm/2 - 1/2) / s)), s² = nm/12 (N + 1 - sum_ties (t³ - t) / (N (N - 1))), N = n + m;
    the sum over ties is that of t² - 1 over all values.
    """
    n, m = x.shape[-1], y.shape[-1]
    pooled = np.concatenate([x, y], axis=-1)
    ties = np.count_nonzero(pooled[..., :, None] == pooled[..., None, :], axis=-1)
    variance = n * m / 12 * (n + m + 1 - (ties**2 - 1).sum(axis=-1) / ((n + m) * (n + m - 1)))
    higher, equal = x[..., :, None] > y[..., None, :], x[..., :, None] == y[..., None, :]
    above = np.count_nonzero(higher, axis=(-2, -1)) + np.count_nonzero(equal, axis=(-2, -1)) / 2
    farther = np.maximum(above, n * m - above)
    return np.asarray(np.minimum(1.0, 2 * special.ndtr((n * m / 2 + 0.5 - farther) / np.sqrt(variance))))


def ranks(values: Floats) -> Floats:
    """Ranks from 1, ties at their mean."""
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((ties.cumsum() - (ties - 1) / 2)[place], dtype=np.float64)


def tail_p(null: Floats, observed: ArrayLike, *, exact: bool, alternative: Alternative = "two-sided") -> Floats:
    """The upper tail, or twice the smaller one, of `observed` (...) among `null` (..., resamples).

    A random draw counts the observed arrangement once more.
    """
    middle = np.asarray(observed, dtype=np.float64)[..., None]
    slack = np.where(np.isfinite(middle), 1e-12 * np.maximum(np.abs(middle), 1e-300), 0.0)
    extra = 0 if exact else 1
    above = (np.count_nonzero(null >= middle - slack, axis=-1) + extra) / (null.shape[-1] + extra)
    if alternative == "greater":
        return np.asarray(above)
    below = (np.count_nonzero(null <= middle + slack, axis=-1) + extra) / (null.shape[-1] + extra)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(above, below)))


def smallest_p(n: int, m: int, *, paired: bool = False, alternative: Alternative = "two-sided") -> float:
    """The least p a test can return: 2 / C(n+m, n), or 2 / 2^n for sign flips; half of it one-sided."""
    sides = 2 if alternative == "two-sided" else 1
    return min(1.0, sides / (2**n if paired else math.comb(n + m, n)))


def seeds_needed(level: float, *, paired: bool = False, alternative: Alternative = "two-sided") -> int:
    """Seeds per arm from which a p of `level` can occur at all."""
    return next(
        n for n in itertools.count(2) if smallest_p(n, n, paired=paired, alternative=alternative) <= level * (1 + 1e-12)
    )
