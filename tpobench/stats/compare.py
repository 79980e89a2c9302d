"""Two arms or a family of them: difference, P(better), one guarded test, Holm, and the group tied with the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tpobench.stats.estimate import RESAMPLES, Floats

Status = Literal["tested", "identical", "deterministic", "untestable", "missing", "not finite"]
PAIRS_NEEDED = 10


@dataclass(frozen=True)
class Comparison:
    """Arm A against arm B, lower is better: difference = A - B, better = P(A < B) with ties counted half."""

    status: Status
    reason: str = ""
    runs: tuple[int, int] = (0, 0)
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    better: float | None = None
    p: float | None = None
    adjusted: float | None = None
    family: int = 1
    test: str = ""
    correlation: float | None = None

    def verdict(self, alpha: float = 0.05) -> str:
        """`better`, `worse`, `not distinguishable`, or why there is no test."""
        if self.adjusted is not None and self.adjusted < alpha and self.difference is not None:
            return "better" if self.difference < 0 else "worse"
        return self.reason or "not distinguishable"


def compare(
    a: ArrayLike,
    b: ArrayLike,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    resamples: int = RESAMPLES,
    rank: bool = False,
) -> Comparison:
    """Studentized permutation test, sign-flip where paired, Mann-Whitney where `rank` (censored times).

    Whatever a test cannot stand is caught here: no NaN, no infinity, no constant arms ever reach it.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if paired and len(x) != len(y):
        msg = f"paired arms need the same seeds, got {len(x)} and {len(y)}"
        raise ValueError(msg)
    guarded = _guarded(x, y)
    if guarded.status != "tested":
        return guarded
    low, high = difference_interval(x, y, paired=paired)
    correlation = _correlation(x, y) if paired else None
    result = replace(guarded, low=low, high=high, correlation=correlation)
    if rank:
        return replace(result, p=float(stats.mannwhitneyu(x, y).pvalue), test="mann-whitney")
    if paired:
        return replace(result, p=sign_flip(x - y, rng, resamples), test="sign-flip")
    return replace(result, p=studentized_permutation(x, y, rng, resamples), test="perm-t")


def _guarded(x: Floats, y: Floats) -> Comparison:
    """The comparison without its test: status `tested` where a test may follow, else the reason why none can."""
    runs = (len(x), len(y))
    lost = int((~np.isfinite(x)).sum() + (~np.isfinite(y)).sum())
    if 0 in runs or lost:
        missing = Comparison("missing", "missing", runs)
        return missing if 0 in runs else Comparison("not finite", f"{lost} values are not finite: score them", runs)
    difference = float(x.mean() - y.mean())
    result = Comparison("tested", "", runs, difference, better=probability_better(x, y))
    both_constant = x.min() == x.max() and y.min() == y.max()
    if min(runs) == 1:
        return replace(result, status="untestable", reason=f"n={min(runs)}: no test with 1 seed")
    if np.array_equal(x, y) or (both_constant and x[0] == y[0]):
        return replace(result, status="identical", reason="identical (bitwise)", difference=0.0, p=1.0)
    if both_constant:
        reason = f"deterministic difference {difference:+.2g}; no sampling variance, no test"
        return replace(result, status="deterministic", reason=reason)
    return result


def probability_better(x: Floats, y: Floats) -> float:
    """A12 with lower better: P(X < Y) + P(X = Y) / 2."""
    return float((x[:, None] < y).mean() + (x[:, None] == y).mean() / 2)


def difference_interval(
    x: Floats, y: Floats, *, paired: bool, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Welch's interval of mean(x) - mean(y), or the t interval of the paired differences."""
    if paired:
        variance, freedom = (x - y).var(ddof=1) / len(x), float(len(x) - 1)
    else:
        u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
        variance = u + v
        freedom = float(variance**2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))) if variance > 0 else 0.0
    if variance <= 0:
        return None, None  # equal differences in every pair: a zero-width interval would read as certainty
    half = float(stats.t.ppf(0.5 + confidence / 2, freedom) * math.sqrt(variance))
    middle = float(x.mean() - y.mean())
    return middle - half, middle + half


def _correlation(x: Floats, y: Floats) -> float | None:
    varied = x.min() < x.max() and y.min() < y.max()
    return float(np.corrcoef(x, y)[0, 1]) if varied else None


def studentized_permutation(x: Floats, y: Floats, rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """Two-sided p of Welch's t under shuffled labels; exact where there are at most `resamples` labellings."""
    pooled = np.concatenate([x, y])
    pooled = pooled - pooled.mean()  # sums of squares below do not cancel
    n, total = len(x), len(pooled)
    exact = math.comb(total, n) <= resamples
    if exact:
        chosen = np.array(list(itertools.combinations(range(total), n)))
    else:
        chosen = rng.permuted(np.tile(np.arange(total), (resamples, 1)), axis=1)[:, :n]
    labels = np.zeros((len(chosen), total))
    np.put_along_axis(labels, chosen, 1.0, axis=1)
    observed = np.zeros((1, total))
    observed[0, :n] = 1.0
    t = _welch_t(np.concatenate([observed, labels]), pooled)
    return _two_sided(t[1:], t[0], exact=exact)


def _welch_t(labels: Floats, pooled: Floats) -> Floats:
    """Welch's t for each row of 0/1 labels, from sums alone; +-inf at perfect separation of two constants."""
    n = labels[0].sum()
    m = len(pooled) - n
    total, squares = pooled.sum(), (pooled**2).sum()
    sum_x, squares_x = labels @ pooled, labels @ pooled**2
    mean_x, mean_y = sum_x / n, (total - sum_x) / m
    var_x = np.maximum(squares_x / n - mean_x**2, 0) / (n - 1)
    var_y = np.maximum((squares - squares_x) / m - mean_y**2, 0) / (m - 1)
    with np.errstate(divide="ignore"):
        return np.asarray((mean_x - mean_y) / np.sqrt(var_x + var_y))


def sign_flip(differences: Floats, rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the mean difference under random signs; exact where 2^n <= `resamples`."""
    n = len(differences)
    exact = 2**n <= resamples
    if exact:
        signs = np.array(list(itertools.product([-1.0, 1.0], repeat=n)))
    else:
        signs = rng.choice([-1.0, 1.0], size=(resamples, n))
    return _two_sided(signs @ differences, float(differences.sum()), exact=exact)


def _two_sided(null: Floats, observed: float, *, exact: bool) -> float:
    """Twice the smaller tail, the observed arrangement counted once."""
    slack = 1e-12 * max(abs(observed), 1e-300) if math.isfinite(observed) else 0.0
    extra = 0 if exact else 1
    above = (int((null >= observed - slack).sum()) + extra) / (len(null) + extra)
    below = (int((null <= observed + slack).sum()) + extra) / (len(null) + extra)
    return min(1.0, 2 * min(above, below))


def smallest_p(n: int, m: int, *, paired: bool = False) -> float:
    """The least p a two-sided test can return: 2 / C(n+m, n), or 2 / 2^n for sign flips."""
    return 2 / 2**n if paired else min(1.0, 2 / math.comb(n + m, n))


def seeds_needed(level: float, *, paired: bool = False) -> int:
    """Seeds per arm from which a p of `level` can occur at all."""
    return next(n for n in itertools.count(2) if smallest_p(n, n, paired=paired) <= level)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p: max_{j <= i} min(1, (m - j + 1) p_(j)); None stays None and is not counted in m."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p))
        adjusted[i] = running
    return adjusted


def compare_all(
    arms: Mapping[str, Mapping[int, float]], *, seed: int = 0, alpha: float = 0.05, rank: bool = False
) -> dict[tuple[str, str], Comparison]:
    """Every pair of a row, adjusted by Holm over the row; arms map seeds to scalars.

    Paired where two arms share at least 10 seeds (the noise streams are common to all rules), on those seeds.
    """
    pairs = list(itertools.combinations(arms, 2))
    resamples = max(RESAMPLES, math.ceil(10 * len(pairs) / alpha))
    found = {}
    for a, b in pairs:
        common = sorted(arms[a].keys() & arms[b].keys())
        paired = len(common) >= PAIRS_NEEDED and not rank
        x = [arms[a][s] for s in (common if paired else sorted(arms[a]))]
        y = [arms[b][s] for s in (common if paired else sorted(arms[b]))]
        found[a, b] = compare(x, y, rng=np.random.default_rng(seed), paired=paired, resamples=resamples, rank=rank)
    adjusted = holm([c.p for c in found.values()])
    family = sum(c.p is not None for c in found.values())
    return {
        pair: _attainable(replace(c, adjusted=q, family=family), alpha)
        for (pair, c), q in zip(found.items(), adjusted, strict=True)
    }


def _attainable(c: Comparison, alpha: float) -> Comparison:
    """Say so where no data could have rejected; at two seeds that is always."""
    if c.status != "tested" or (c.adjusted is not None and c.adjusted < alpha):
        return c
    paired = c.test == "sign-flip"
    least, level = smallest_p(*c.runs, paired=paired), alpha / max(c.family, 1)
    if least <= level:
        return c
    n = str(c.runs[0]) if c.runs[0] == c.runs[1] else f"{c.runs[0]} vs {c.runs[1]}"
    reason = (
        f"n={n}: smallest possible p {_plain(least)} > {_plain(level)} (Holm, {c.family} "
        f"test{'s' if c.family != 1 else ''}): cannot reject; need {seeds_needed(level, paired=paired)} seeds"
    )
    return replace(c, status="untestable", reason=reason)


def _plain(p: float) -> str:
    """.0079, .333 and .00125: no leading zero, no trailing ones."""
    digits = max(3, 1 - math.floor(math.log10(p))) if p >= 0.002 else 5
    return f"{p:.{digits}f}".rstrip("0").lstrip("0")


def tie_group(
    scores: Mapping[str, tuple[float, ...]], comparisons: Mapping[tuple[str, str], Comparison], alpha: float = 0.05
) -> tuple[str, tuple[str, ...]]:
    """The arm of the least score, and with it every arm not distinguishable from it, as far as a test could tell."""
    best = min(scores, key=lambda name: scores[name])
    tied = [best]
    for name in scores:
        c = comparisons.get((best, name)) or comparisons.get((name, best))
        if name != best and c is not None:
            rejected = c.adjusted is not None and c.adjusted < alpha
            if c.status == "identical" or (c.status == "tested" and not rejected):
                tied.append(name)
    return best, tuple(name for name in scores if name in tied)
