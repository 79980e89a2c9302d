"""Two arms or a family of them: difference, P(better), one guarded test, Holm, and the group tied with the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.guard import Floats, Tested, TestStatus, guarded_intervals, guarded_tests, quiet, why_no_tests
from tpobench.stats.intervals import superiority_intervals, t_interval, welch_interval, win_rate, wins
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
    """`compare_pairs` of one pair, (n,) against (m,)."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return compare_pairs(x[None], y[None], rng=rng, paired=paired, resamples=resamples, rank=rank)[0]


def compare_pairs(
    x: Floats,
    y: Floats,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    resamples: int = RESAMPLES,
    rank: bool = False,
) -> list[Comparison]:
    """Each row of `x` (p, n) against the row of `y` (p, m), under labels, signs and resamples common to all.

    Studentized permutation test, sign-flip where paired, Mann-Whitney where `rank` (censored times).
    Whatever a test cannot stand is caught by the guard: no NaN, no infinity, no constant arms ever reach it.
    """
    if paired and x.shape != y.shape:
        msg = f"paired arms need the same seeds, got {x.shape[1]} and {y.shape[1]}"
        raise ValueError(msg)
    refused = why_no_tests([x, y], paired=paired)
    compared = _described(x, y, refused, paired=paired)
    sound = [i for i, reason in enumerate(refused) if reason is None]
    if not sound:
        return compared
    if len(sound) < len(refused):
        x, y = x[sound], y[sound]
    tests = _tests(x, y, rng, paired=paired, resamples=resamples, rank=rank)
    differences = difference_intervals(x, y, paired=paired)
    better = [compared[i].better for i in sound]
    superior = guarded_intervals(
        lambda u, v: superiority_intervals(u, v, rng, 0.95, paired=paired),
        x, y, name="P(better)", lowest=0.0, highest=1.0, around=[math.nan if b is None else b for b in better],
    )  # fmt: skip
    related = _related(x, y) if paired else len(sound) * [(None, None)]
    for i, test, (low, high), share, (r, saved) in zip(sound, tests, differences, superior, related, strict=True):
        compared[i] = replace(
            compared[i], status=test.status, reason=test.reason, low=low, high=high, p=test.p, test=test.test,
            better_low=share.low, better_high=share.high, smallest=test.smallest, correlation=r, saved=saved,
        )  # fmt: skip
    return compared


def _described(x: Floats, y: Floats, refused: Sequence[tuple[Status, str] | None], *, paired: bool) -> list[Comparison]:
    """What holds without a test: runs, difference and P(better), as far as the values allow."""
    runs = x.shape[1], y.shape[1]
    if 0 in runs:
        return [Comparison(*(reason or ("tested", "")), runs) for reason in refused]
    with quiet():  # of values that are not finite
        differences = (x.mean(axis=1) - y.mean(axis=1)).tolist()
    better = win_rate(wins(x, y), paired=paired).tolist()

    def described(row: int, status: Status, reason: str) -> Comparison:
        if status == "not finite":
            return Comparison(status, reason, runs)
        same = status == "identical"
        return Comparison(
            status, reason, runs, 0.0 if same else differences[row], better=better[row], p=1.0 if same else None
        )

    return [described(row, *(reason or ("tested", ""))) for row, reason in enumerate(refused)]


def _tests(x: Floats, y: Floats, rng: np.random.Generator, *, paired: bool, resamples: int, rank: bool) -> list[Tested]:
    n, m = x.shape[1], y.shape[1]
    paired = paired and not rank
    least = smallest_p(n, m, paired=paired)
    if rank and math.comb(n + m, n) > resamples:  # asymptotic with the correction for ties; else exact, as few seeds
        return guarded_tests(mann_whitney, x, y, name="mann-whitney", smallest=least)  # would strain it
    if paired:
        return guarded_tests(
            lambda u, v: sign_flip(u - v, rng, resamples), x, y, name="sign-flip", paired=True, smallest=least
        )
    test, name = (rank_permutation, "rank-permutation") if rank else (studentized_permutation, "perm-t")
    state = rng.bit_generator.state

    def each(u: Floats, v: Floats) -> float:
        rng.bit_generator.state = state  # the same labels for all
        return test(u, v, rng, resamples)

    return guarded_tests(lambda u, v: np.array(list(map(each, u, v))), x, y, name=name, smallest=least)


def probability_better(x: Floats, y: Floats, *, paired: bool = False) -> float:
    """A12 with lower better: P(X < Y) + P(X = Y) / 2 of two seeds drawn apart, where `paired` of different seeds."""
    return float(win_rate(wins(x, y), paired=paired))


def difference_interval(
    x: Floats, y: Floats, *, paired: bool, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """`difference_intervals` of one pair, (n,) against (m,)."""
    return difference_intervals(np.asarray(x)[None], np.asarray(y)[None], paired=paired, confidence=confidence)[0]


def difference_intervals(
    x: Floats, y: Floats, *, paired: bool, confidence: float = 0.95
) -> list[tuple[float | None, float | None]]:
    """Welch's interval of mean(x) - mean(y), or the t interval of the paired differences, of every row.

    None where every pair differs by the same: a zero-width interval would read as certainty.
    """

    def paired_t(u: Floats, v: Floats) -> tuple[Floats, Floats]:
        d = u - v
        rounding = 1e-12 * np.maximum(np.abs(u).max(axis=1), np.abs(v).max(axis=1))
        varies = np.where(d.max(axis=1) - d.min(axis=1) <= rounding, math.nan, 0.0)
        low, high = t_interval(d, confidence)
        return low + varies, high + varies

    method = paired_t if paired else partial(welch_interval, confidence=confidence)
    with quiet():
        around = (x.mean(axis=1) - y.mean(axis=1)).tolist()
    intervals = guarded_intervals(method, x, y, name="t" if paired else "Welch", around=around)
    return [(interval.low, interval.high) for interval in intervals]


def _related(x: Floats, y: Floats) -> list[tuple[float | None, float | None]]:
    """Pearson's r and the share of the variance that pairing took away; None where an arm does not vary."""
    u, v = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    varies = ((x.min(axis=1) < x.max(axis=1)) & (y.min(axis=1) < y.max(axis=1))).tolist()
    saved = (1 - (x - y).var(axis=1) / (x.var(axis=1) + y.var(axis=1))).tolist()

    def correlation(a: Floats, b: Floats) -> float:
        return float(np.clip(a @ b / (math.sqrt(a @ a) * math.sqrt(b @ b)), -1, 1))

    return [
        (correlation(*rows), s) if vary else (None, None) for *rows, vary, s in zip(u, v, varies, saved, strict=True)
    ]


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
