"""Breaking points: the initial success probability p0* at which half of the seeds still learn, and how sure that is.

At each level of difficulty k of n seeds learned.  P(learn) = F(b (log p0 - log p0*)) with F(0) = 1/2 and slope b > 0.

Estimate: logistic regression with Firth's penalty, half the log determinant of the information, which keeps the slope
finite where easy and hard levels are separated (Firth 1993; Heinze & Schemper 2002).
Interval: profile likelihood over p0*, at each of its values the best of three shapes of F (logistic, and the two Gumbel
curves that lean to either side), with the penalty or without.  Shapes, because levels far from p0* would otherwise
decide where it lies by a symmetry that nobody promised; without the penalty too, because it rules out curves so steep
that p0* may lie anywhere between two levels.

That levels are chosen by earlier results does not enter a likelihood; benchmarks/breaking_point.py measures the
coverage under the search that is really made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy
from scipy import special

from tpobench.stats.guard import Floats
from tpobench.stats.multiplicity import holm
from tpobench.stats.success_curve import Level, estimate, interval, profile, shifted, slope_at, within

Status = Literal["estimated", "everywhere", "nowhere", "untestable"]


@dataclass(frozen=True)
class Reversal:
    """A harder level at which more seeds learned than at an easier one, by more than chance."""

    easier: Level
    harder: Level
    p: float  # Fisher's exact test, one-sided, Holm over all pairs of levels


@dataclass(frozen=True)
class BreakingPoint:
    """p0* with its interval; an end is None where the levels that were run do not bound it."""

    status: Status
    levels: tuple[Level, ...]  # hardest first
    value: float | None = None
    low: float | None = None
    high: float | None = None
    slope: float | None = None  # of the logistic curve: logits per unit of log p0
    inversions: int = 0  # neighbouring levels of which the harder has the larger share
    reversal: Reversal | None = None
    reason: str = ""

    @property
    def runs(self) -> int:
        """Seeds at all levels."""
        return sum(level.runs for level in self.levels)


@dataclass(frozen=True)
class PointComparison:
    """Breaking point of A over that of B; below 1, A learns under sparser rewards."""

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    shift: float | None = None  # log ratio that fits best, also where one of the two has no estimate
    p: float | None = None
    adjusted: float | None = None
    family: int = 1
    reason: str = ""

    def verdict(self, alpha: float = 0.05) -> str:
        """`better`: A still learns where B does not; `worse`; `not distinguishable`; or why there is no test."""
        if self.adjusted is None or self.shift is None:
            return self.reason
        if self.adjusted >= alpha:
            return "not distinguishable"
        return "better" if self.shift < 0 else "worse"


def breaking_point(levels: Sequence[Level], confidence: float = 0.95) -> BreakingPoint:
    """Estimate p0* from all levels; those of one p0 are taken together.

    Raises:
        ValueError: a level without runs, more that learned than ran, or a p0 outside (0, 1].
    """
    pooled = _pooled(levels)
    base = BreakingPoint("untestable", pooled, inversions=_inversions(pooled), reversal=reversal(pooled))
    if len(pooled) < 2:
        return replace(base, reason=f"{len(pooled)} level{'s' if len(pooled) != 1 else ''}: no curve without two")
    hardest, easiest = math.log(pooled[0].p0), math.log(pooled[-1].p0)
    best = estimate(pooled)
    low, high = interval(profile(pooled), best, confidence)
    if pooled[0].share >= 0.5 and best <= hardest:
        bound = pooled[0].p0 if high <= hardest else math.exp(high)
        return replace(base, status="everywhere", high=bound if high < easiest else None)
    if pooled[-1].share < 0.5 and best >= easiest:
        bound = pooled[-1].p0 if low >= easiest else math.exp(low)
        return replace(base, status="nowhere", low=bound if low > hardest else None)
    middle = min(max(best, hardest), easiest)
    return replace(
        base,
        status="estimated",
        value=math.exp(middle),
        low=math.exp(low) if low > hardest else None,
        high=math.exp(high) if high < easiest else None,
        slope=slope_at(pooled, middle),
    )


def share_at(point: BreakingPoint, p0: Floats) -> Floats | None:
    """P(learn) at `p0` by the fitted logistic curve; None where there is no estimate."""
    if point.value is None or point.slope is None:
        return None
    return np.asarray(special.expit(point.slope * (np.log(p0) - math.log(point.value))))


def compare_points(a: BreakingPoint, b: BreakingPoint, confidence: float = 0.95) -> PointComparison:
    """Likelihood-ratio test of one common p0* with slopes and shapes of their own, chi-squared with 1 degree.

    Algorithms that share seeds are not independent as the test takes them to be; where that shows, seeds that are easy
    for one are easy for the other, and the test rejects too rarely, not too often.
    """
    for point in (a, b):
        if point.status == "untestable":
            return PointComparison(reason=point.reason)
    if _counts(a) > _counts(b):  # a shift and its opposite can fit equally well: the same one for (b, a)
        c = compare_points(b, a, confidence)
        low, high = (None if end is None else 1 / end for end in (c.high, c.low))
        shift, ratio = (None if c.shift is None else -c.shift), (None if c.ratio is None else 1 / c.ratio)
        return replace(c, ratio=ratio, low=low, high=high, shift=shift)
    shifts, deviance = shifted(profile(a.levels), profile(b.levels))
    low, high = within(shifts, deviance, float(scipy.stats.chi2.ppf(confidence, 1)))
    both = a.value is not None and b.value is not None
    known = both and shifts[0] < low and high < shifts[-1]
    return PointComparison(
        ratio=a.value / b.value if a.value is not None and b.value is not None else None,
        low=math.exp(low) if known else None,
        high=math.exp(high) if known else None,
        shift=float(shifts[np.lexsort((np.abs(shifts), deviance))[0]]),  # the least of those that fit equally well
        p=float(scipy.stats.chi2.sf(deviance[len(deviance) // 2], 1)),
    )


def _counts(point: BreakingPoint) -> list[tuple[float, int, int]]:
    return [(level.p0, level.learned, level.runs) for level in point.levels]


def compare_all_points(points: Mapping[str, BreakingPoint]) -> dict[tuple[str, str], PointComparison]:
    """Every pair, p adjusted by Holm over the pairs that could be tested."""
    raw = {(a, b): compare_points(points[a], points[b]) for a, b in itertools.combinations(points, 2)}
    family = sum(c.p is not None for c in raw.values())
    adjusted = holm([c.p for c in raw.values()])
    return {pair: replace(c, adjusted=q, family=family) for (pair, c), q in zip(raw.items(), adjusted, strict=True)}


def reversal(levels: Sequence[Level], alpha: float = 0.05) -> Reversal | None:
    """The pair of levels that contradicts most that harder is harder, if it does so beyond chance."""
    pooled = _pooled(levels)
    pairs = [(easier, harder) for i, harder in enumerate(pooled) for easier in pooled[i + 1 :]]
    adjusted = holm([_fisher(harder, easier) for easier, harder in pairs])
    worst = min(zip(adjusted, pairs, strict=True), key=lambda pair: pair[0] or 0.0, default=None)
    if worst is None or worst[0] is None or worst[0] >= alpha:
        return None
    return Reversal(worst[1][0], worst[1][1], worst[0])


def _pooled(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Levels of different p0, hardest first."""
    counts: dict[float, tuple[int, int]] = {}
    for level in levels:
        if not (0 < level.p0 <= 1 and 0 <= level.learned <= level.runs and level.runs > 0):
            msg = f"{level.learned} of {level.runs} seeds at p0 = {level.p0:g}: not a level"
            raise ValueError(msg)
        k, n = counts.get(level.p0, (0, 0))
        counts[level.p0] = k + level.learned, n + level.runs
    return tuple(Level(p0, *counts[p0]) for p0 in sorted(counts))


def _inversions(levels: Sequence[Level]) -> int:
    return sum(harder.share > easier.share for harder, easier in itertools.pairwise(levels))


def _fisher(harder: Level, easier: Level) -> float:
    """One-sided: the harder level has the larger share."""
    rows = [[harder.learned, harder.runs - harder.learned], [easier.learned, easier.runs - easier.learned]]
    return float(scipy.stats.fisher_exact(np.array(rows), alternative="greater").pvalue)
