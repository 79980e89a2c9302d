"""Two arms compared: whether their seeds are paired, one guarded test, and what stands in where none can be made."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tpobench.scores.cells import Arm, algorithm_order
from tpobench.scores.estimates import AT_ONCE, SEED
from tpobench.scores.scalars import Scalar, Test
from tpobench.stats.compare import PAIRS_NEEDED, Comparison, adjust, compare_pairs
from tpobench.stats.estimate import RESAMPLES, rate_estimate
from tpobench.stats.guard import Floats
from tpobench.stats.multiplicity import resamples_for
from tpobench.stats.outcomes import compare_rates, compare_times

Pair = tuple[str, str]
PAIRED = "paired"


@dataclass(frozen=True)
class Sample:
    """A number for each seed, lower is better; with a `budget` they are times, inf where the threshold was not held."""

    values: Mapping[int, float]
    budget: float | None = None
    diverged: int = 0  # seeds scored at the worst value

    @property
    def lost(self) -> bool:
        """Whether no run lasted: what it scores was set, not measured."""
        return self.diverged == len(self.values) > 0


def pairing(a: Arm, b: Arm, test: Test = "mean", common: int | None = None) -> str:
    """`paired`, or why not: decided by the design (one stream, ten common seeds), never by the correlation seen."""
    common = len(set(a.seeds) & set(b.seeds)) if common is None else common
    if test != "mean":
        return "no: ranks and counts are compared unpaired"
    if not a.stream or not b.stream:
        return "no: seed_scheme unknown or mixed"
    if a.stream != b.stream:
        return "no: other seed_scheme or task, so equal seeds share no random numbers"
    return PAIRED if common >= PAIRS_NEEDED else f"no: {common} common seeds, pairing takes {PAIRS_NEEDED}"


def compare_arms(a: Arm, b: Arm, scalar: Scalar, *, resamples: int = RESAMPLES) -> Comparison:
    """A against B by their losses, not yet adjusted; of B against A the same with A and B changed over."""
    return _compare_all([(a, b)], scalar, [resamples])[0]


def _compare_all(pairs: Sequence[tuple[Arm, Arm]], scalar: Scalar, resamples: Sequence[int]) -> list[Comparison]:
    if scalar.test == "rate":
        return [compare_failures(scalar.values(a), scalar.values(b)) for a, b in pairs]
    samples = {id(arm): sample_of(arm, scalar) for arm in itertools.chain.from_iterable(pairs)}
    return compare_all_samples([
        Sides(samples[id(a)], samples[id(b)], pairing(a, b, scalar.test) == PAIRED, count)
        for (a, b), count in zip(pairs, resamples, strict=True)
    ])  # fmt: skip


def sample_of(arm: Arm, scalar: Scalar) -> Sample:
    """The losses of an arm by seed."""
    if scalar.test == "times":
        return Sample(arm.by_seed(scalar.values(arm)), arm.budget, sum(arm.diverged))
    return Sample(arm.by_seed(scalar.losses(arm)), None, sum(arm.diverged))


def compare_samples(a: Sample, b: Sample, *, paired: bool, resamples: int = RESAMPLES) -> Comparison:
    """`compare_all_samples` of one pair."""
    return compare_all_samples([Sides(a, b, paired, resamples)])[0]


class Sides(NamedTuple):
    """Two samples to compare, under as many labels or signs; means of `paired` ones by their common seeds."""

    a: Sample
    b: Sample
    paired: bool
    resamples: int = RESAMPLES


def compare_all_samples(pairs: Sequence[Sides]) -> list[Comparison]:
    """Means by sign flips of the common seeds where `paired`, else by permutations; times by ranks.

    Pairs of as many seeds are computed at once.  An arm without a run that lasted has no spread to test with: the
    counts of diverged runs are compared.
    """
    alike: dict[tuple[int, int, bool, bool, int], list[int]] = defaultdict(list)
    arms, comparisons = [_arms(*sides[:3]) for sides in pairs], {}
    for i, (sides, (x, y, rank)) in enumerate(zip(pairs, arms, strict=True)):
        if rank and sides.a.budget is not None and sides.b.budget is not None and sides.a.budget != sides.b.budget:
            rng = np.random.default_rng(SEED)
            comparisons[i] = compare_times(x, y, sides.a.budget, sides.b.budget, rng=rng, resamples=sides.resamples)
        else:
            alike[len(x), len(y), sides.paired and not rank, rank, sides.resamples].append(i)
    for (_, _, paired, rank, resamples), places in alike.items():
        for part in (places[first : first + AT_ONCE] for first in range(0, len(places), AT_ONCE)):
            x, y = (np.array([arms[i][side] for i in part], dtype=np.float64) for side in (0, 1))
            rng = np.random.default_rng(SEED)
            compared = compare_pairs(x, y, rng=rng, paired=paired, resamples=resamples, rank=rank)
            comparisons |= zip(part, compared, strict=True)
    return [_with_counts(sides.a, sides.b, comparisons[i]) for i, sides in enumerate(pairs)]


def _arms(a: Sample, b: Sample, paired: bool) -> tuple[Floats, Floats, bool]:  # noqa: FBT001 - the fields of Sides
    """Values of the two, of common seeds where means are paired, and whether they are times, which ranks compare."""
    if a.budget is None or b.budget is None:
        common = a.values.keys() & b.values.keys() if paired else None
        return values_of(a.values, common), values_of(b.values, common), False
    x, y = values_of(a.values), values_of(b.values)
    return (x, y, True) if a.budget != b.budget else (np.minimum(x, a.budget), np.minimum(y, b.budget), True)


def values_of(by_seed: Mapping[int, float], seeds: Collection[int] | None = None) -> Floats:
    """The values of some seeds, or of all, in their order: (n,)."""
    return np.array([by_seed[s] for s in sorted(by_seed if seeds is None else seeds)], dtype=np.float64)


def _with_counts(a: Sample, b: Sample, comparison: Comparison) -> Comparison:
    if a.lost == b.lost:
        return comparison
    counts = compare_rates(a.diverged, len(a.values), b.diverged, len(b.values))
    better = (
        comparison.better if comparison.difference else (1 - (counts.difference or 0.0)) / 2
    )  # never got there, or never ended
    return replace(counts, difference=comparison.difference, better=better)


def compare_failures(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Comparison:
    """Shares of failed seeds by Boschloo, their difference with Newcombe's interval, P(better) = (1 - difference) / 2.

    Newcombe 1998, hybrid score interval (method 10): Wilson's limits of the two shares put together.
    """
    k, n, l, m = int(sum(a)), len(a), int(sum(b)), len(b)
    comparison = compare_rates(k, n, l, m)
    x, y = rate_estimate(k, n), rate_estimate(l, m)
    if None in {x.value, x.low, x.high, y.value, y.low, y.high} or x.value is None or y.value is None:
        return comparison
    difference = x.value - y.value
    low = difference - np.hypot(x.value - (x.low or 0.0), (y.high or 0.0) - y.value)
    high = difference + np.hypot((x.high or 0.0) - x.value, y.value - (y.low or 0.0))
    return replace(
        comparison, difference=difference, low=float(low), high=float(high), better=(1 - difference) / 2,
        better_low=float(1 - high) / 2, better_high=float(1 - low) / 2,
    )  # fmt: skip


def compare_family(arms: Mapping[str, Arm], scalar: Scalar) -> dict[Pair, Comparison]:
    """The declared family: every pair of arms of a cell under one scalar, adjusted by Holm."""
    return compare_families([arms], scalar)[0]


def compare_families(cells: Sequence[Mapping[str, Arm]], scalar: Scalar) -> list[dict[Pair, Comparison]]:
    """`compare_family` of each cell, the pairs of all cells at once."""
    families = [list(itertools.combinations(sorted(arms, key=algorithm_order), 2)) for arms in cells]
    pairs = [(arms[a], arms[b]) for arms, family in zip(cells, families, strict=True) for a, b in family]
    resamples = [resamples_for(len(family)) for family in families for _ in family]
    compared = iter(_compare_all(pairs, scalar, resamples))
    return [adjust({pair: next(compared) for pair in family}) for family in families]
