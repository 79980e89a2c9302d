"""The suite as a whole: scores against fixed references over the tasks that every arm has, and every pair tested."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from tpobench.scores.cells import algorithm_order
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import Pair
from tpobench.stats.compare import Comparison, tie_group
from tpobench.stats.guard import Floats
from tpobench.stats.multiplicity import holm
from tpobench.stats.suite_level import (
    RESAMPLES,
    Reference,
    Statistic,
    SuiteComparison,
    SuiteEstimate,
    suite_compare_pairs,
    suite_estimate,
)

Values = Mapping[str, Floats]  # task -> (n,) in the metric's own unit
References = Mapping[str, Reference]
Key = TypeVar("Key")


@dataclass(frozen=True)
class SuiteTest:
    """A against B over all tasks, adjusted by Holm over the `family`; scores are higher better."""

    comparison: SuiteComparison
    adjusted: float | None
    family: int

    def verdict(self, alpha: float = 0.05) -> str:
        """Of A."""
        if self.adjusted is not None and self.adjusted < alpha and self.comparison.difference is not None:
            return "better" if self.comparison.difference > 0 else "worse"
        return "not distinguishable" if self.comparison.p is not None else self.comparison.reason

    @property
    def of_losses(self) -> Comparison:
        """The same as a comparison of two arms, in which lower is better."""
        c = self.comparison
        return Comparison(
            c.status, c.reason, (c.runs, c.runs), None if c.difference is None else -c.difference, better=c.better,
            p=c.p, adjusted=self.adjusted, family=self.family, test=c.test, smallest=c.smallest,
        )  # fmt: skip


def compare_suites(sides: Mapping[Key, tuple[Values, Values, References]]) -> dict[Key, SuiteTest]:
    """One stratified test for each, the family of all adjusted by Holm."""
    bounded = {key: side for key, side in sides.items() if _bounded(side[2])}
    tests = suite_compare_pairs(list(bounded.values()), rng=np.random.default_rng(SEED), resamples=RESAMPLES)
    raw = dict.fromkeys(sides, SuiteComparison("untestable", UNBOUNDED))
    raw |= {key: _drawn(test) for key, test in zip(bounded, tests, strict=True)}
    adjusted, family = holm([c.p for c in raw.values()]), sum(c.p is not None for c in raw.values())
    return {key: SuiteTest(c, q, family) for (key, c), q in zip(raw.items(), adjusted, strict=True)}


UNBOUNDED = "no score: nothing says what the best value is; set report.best"


def _bounded(references: References) -> bool:
    return all(math.isfinite(r.best) and math.isfinite(r.worst) for r in references.values())


def _drawn(test: SuiteComparison) -> SuiteComparison:
    """With the least p of labels that are always drawn."""
    return replace(test, smallest=None if test.smallest is None else max(test.smallest, 2 / (RESAMPLES + 1)))


@dataclass(frozen=True)
class SuiteLevel:
    """Mean and interquartile mean of the scores of every arm, every pair tested, and the group tied with the best."""

    means: Mapping[str, SuiteEstimate]
    iqms: Mapping[str, SuiteEstimate]
    tests: Mapping[Pair, SuiteTest]
    leader: str
    tied: tuple[str, ...]


def suite_level(arms: Mapping[str, Values], references: References, outside: Collection[str] = ()) -> SuiteLevel:
    """Of arms that have the same tasks; those `outside` the ranking are estimated and tested, and never lead."""
    pairs = itertools.combinations(sorted(arms, key=algorithm_order), 2)
    tests = compare_suites({(a, b): (arms[a], arms[b], references) for a, b in pairs})
    means = {n: _estimate(values, references, "mean") for n, values in arms.items()}
    iqms = {n: _estimate(values, references, "iqm") for n, values in arms.items()}
    ranked = {n: (-e.value,) for n, e in means.items() if e.value is not None and n not in outside}
    losses = {pair: test.of_losses for pair, test in tests.items()}
    leader, tied = tie_group(ranked, losses) if len(ranked) > 1 else ("", ())
    return SuiteLevel(means, iqms, tests, leader, tied)


def _estimate(values: Values, references: References, statistic: Statistic) -> SuiteEstimate:
    if not _bounded(references):
        return SuiteEstimate(None, None, None, len(values), 0, statistic, "missing", UNBOUNDED)
    return suite_estimate(values, references, rng=np.random.default_rng(SEED), statistic=statistic)
