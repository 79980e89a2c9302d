"""Two arms or a family of them: difference, P(better), one guarded test, Holm, and the group tied with the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.guard import Floats, Tested, TestStatus, guarded_interval, guarded_test, why_no_test
from tpobench.stats.intervals import superiority_interval, t_interval, welch_interval, win_rate, wins
from tpobench.stats.multiplicity import RESAMPLES, holm
from tpobench.stats.permutation import (
    mann_whitney,
    rank_permutation,
    seeds_needed,
    sign_flip,
    smallest_p,
    studentized_permutation,
)

__all__ = [
    "PAIRS_NEEDED", "Comparison", "Status", "attainable_text", "compare", "difference_interval", "holm",
    "probability_better", "seeds_needed", "sign_flip", "smallest_p", "studentized_permutation", "tie_group",
]  # fmt: skip

Status = TestStatus
PAIRS_NEEDED = 10
RANKS = ("mann-whitney", "rank-permutation", "logrank")  # tests whose null says nothing of means


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
    better_low: float | None = None
    better_high: float | None = None
    smallest: float | None = None  # the least p that so many seeds can give
    saved: float | None = None  # share of the variance of the difference that pairing took away, negative: added

    def verdict(self, alpha: float = 0.05) -> str:
        """`better`, `worse`, `not distinguishable`, or why there is no test; of ranks and equal means by P(better)."""
        if self.adjusted is None or self.adjusted >= alpha or self.difference is None:
            return self.reason or "not distinguishable"
        if (self.test not in RANKS and self.difference != 0) or self.better is None:
            return "better" if self.difference < 0 else "worse"
        return "better" if self.better > 0.5 else "worse" if self.better < 0.5 else "different, in neither direction"


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

    Whatever a test cannot stand is caught by the guard: no NaN, no infinity, no constant arms ever reach it.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if paired and len(x) != len(y):
        msg = f"paired arms need the same seeds, got {len(x)} and {len(y)}"
        raise ValueError(msg)
    refused = why_no_test([x, y], paired=paired)
    result = _described(x, y, refused, paired=paired)
    if refused:
        return result
    tested = _test(x, y, rng, paired=paired, resamples=resamples, rank=rank)
    low, high = difference_interval(x, y, paired=paired)
    superior = guarded_interval(
        lambda u, v: superiority_interval(u, v, rng, 0.95, paired=paired),
        x,
        y,
        name="P(better)",
        lowest=0.0,
        highest=1.0,
        around=result.better,
    )
    correlation = _correlation(x, y) if paired else None
    return replace(
        result, status=tested.status, reason=tested.reason, low=low, high=high, p=tested.p, test=tested.test,
        better_low=superior.low, better_high=superior.high, smallest=tested.smallest, correlation=correlation,
        saved=None if correlation is None else float(1 - (x - y).var() / (x.var() + y.var())),
    )  # fmt: skip


def _described(x: Floats, y: Floats, refused: tuple[Status, str] | None, *, paired: bool) -> Comparison:
    """What holds without a test: runs, difference and P(better), as far as the values allow."""
    status, reason = refused or ("tested", "")
    runs = (len(x), len(y))
    if status in {"missing", "not finite"}:
        return Comparison(status, reason, runs)
    difference = 0.0 if status == "identical" else float(x.mean() - y.mean())
    p = 1.0 if status == "identical" else None
    return Comparison(status, reason, runs, difference, better=probability_better(x, y, paired=paired), p=p)


def _test(x: Floats, y: Floats, rng: np.random.Generator, *, paired: bool, resamples: int, rank: bool) -> Tested:
    n, m = len(x), len(y)
    paired = paired and not rank
    least = smallest_p(n, m, paired=paired)
    if rank and math.comb(n + m, n) <= resamples:
        return guarded_test(
            lambda u, v: rank_permutation(u, v, rng, resamples), x, y, name="rank-permutation", smallest=least
        )
    if rank:  # asymptotic with the correction for ties; exact above, where few seeds would strain it
        return guarded_test(mann_whitney, x, y, name="mann-whitney", smallest=least)
    if paired:
        return guarded_test(
            lambda u, v: sign_flip(u - v, rng, resamples), x, y, name="sign-flip", paired=True, smallest=least
        )
    return guarded_test(lambda u, v: studentized_permutation(u, v, rng, resamples), x, y, name="perm-t", smallest=least)


def probability_better(x: Floats, y: Floats, *, paired: bool = False) -> float:
    """A12 with lower better: P(X < Y) + P(X = Y) / 2 of two seeds drawn apart, where `paired` of different seeds."""
    return win_rate(wins(x, y), paired=paired)


def difference_interval(
    x: Floats, y: Floats, *, paired: bool, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Welch's interval of mean(x) - mean(y), or the t interval of the paired differences.

    None where every pair differs by the same: a zero-width interval would read as certainty.
    """

    def paired_t(u: Floats, v: Floats) -> tuple[float, float] | None:
        d = u - v
        rounding = 1e-12 * max(float(np.abs(u).max()), float(np.abs(v).max()))
        return None if d.max() - d.min() <= rounding else t_interval(d, confidence)

    def welch(u: Floats, v: Floats) -> tuple[float, float] | None:
        return welch_interval(u, v, confidence)

    around = float(x.mean() - y.mean()) if len(x) and len(y) else None
    interval = guarded_interval(paired_t if paired else welch, x, y, name="t" if paired else "Welch", around=around)
    return interval.low, interval.high


def _correlation(x: Floats, y: Floats) -> float | None:
    """Pearson's r; None where an arm does not vary."""
    if x.min() == x.max() or y.min() == y.max():
        return None
    u, v = x - x.mean(), y - y.mean()
    return float(np.clip(u @ v / (math.sqrt(u @ u) * math.sqrt(v @ v)), -1, 1))


def adjust(comparisons: Mapping[tuple[str, str], Comparison], alpha: float = 0.05) -> dict[tuple[str, str], Comparison]:
    """Holm over a declared family of comparisons; those that could not have rejected say so."""
    adjusted = holm([c.p for c in comparisons.values()])
    family = sum(c.p is not None for c in comparisons.values())
    return {
        pair: _attainable(replace(c, adjusted=q, family=family), alpha)
        for (pair, c), q in zip(comparisons.items(), adjusted, strict=True)
    }


def _attainable(c: Comparison, alpha: float) -> Comparison:
    """Say so where no data could have rejected; at two seeds that is always."""
    if c.status != "tested" or (c.adjusted is not None and c.adjusted < alpha):
        return c
    reason = attainable_text(c.runs, paired=c.test == "sign-flip", family=c.family, alpha=alpha)
    return replace(c, status="untestable", reason=reason) if reason else c


def attainable_text(
    runs: tuple[int, int], *, paired: bool = False, family: int = 1, alpha: float = 0.05, reached: float | None = None
) -> str:
    """`n=5: smallest possible p .0079 > .00125 (Holm, 40 tests): cannot reject; need 7 seeds`; empty where it can.

    `reached` is the least p of a test whose floor is not that of shuffled labels.
    """
    least, level = smallest_p(*runs, paired=paired) if reached is None else reached, alpha / max(family, 1)
    if least <= level:
        return ""
    n = str(runs[0]) if runs[0] == runs[1] else f"{runs[0]} vs {runs[1]}"
    return (
        f"n={n}: smallest possible p {plain(least)} > {plain(level)} (Holm, {family} "
        f"test{'s' if family != 1 else ''}): cannot reject; need {seeds_needed(level, paired=paired)} seeds"
    )


def plain(p: float) -> str:
    """.0079, .333 and .00125: no leading zero, no trailing ones."""
    digits = max(3, 1 - math.floor(math.log10(p))) if p >= 0.002 else 5
    return f"{p:.{digits}f}".rstrip("0").lstrip("0")


def tie_group(
    scores: Mapping[str, tuple[float, ...]],
    comparisons: Mapping[tuple[str, str], Comparison],
    alpha: float = 0.05,
    failed: Collection[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """The arm of the least score, and with it every arm not distinguishable from it, as far as a test could tell.

    `failed` arms, of which no run got anywhere, are not praised for too few runs to tell; ("", ()) where all failed.
    """
    best = min(scores, key=lambda name: scores[name])
    if best in failed:
        return "", ()
    tied = [best]
    for name in scores.keys() - set(failed):
        c = comparisons.get((best, name)) or comparisons.get((name, best))
        if name != best and c is not None:
            rejected = c.adjusted is not None and c.adjusted < alpha
            if c.status == "identical" or (c.status == "tested" and not rejected):
                tied.append(name)
    return best, tuple(name for name in scores if name in tied)
