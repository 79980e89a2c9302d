"""The declared family of tests: every pair of rules in one cell under one metric, adjusted by Holm."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import SEED
from tpobench.scores.metrics import Metric
from tpobench.stats.compare import Comparison, adjust, compare_all
from tpobench.stats.outcomes import compare_rates, compare_times

Pair = tuple[str, str]


def compare_rules(cell: Cell, metric: Metric) -> dict[Pair, Comparison]:
    """Means by sign flips or permutations, times by ranks; what cannot be compared so, by what it can be."""
    arms = cell.arms
    if metric.kind == "steps" and len({arm.budget for arm in arms.values()}) > 1:
        return adjust({(a, b): _log_rank(arms[a], arms[b], metric) for a, b in itertools.combinations(arms, 2)})
    steps = metric.kind == "steps"
    scored = {n: np.minimum(metric.values(a), a.budget) if steps else metric.values(a) for n, a in arms.items()}
    schemes = {n: a.scheme for n, a in arms.items()}
    found = compare_all({n: a.by_seed(scored[n]) for n, a in arms.items()}, seed=SEED, rank=steps, schemes=schemes)
    lost = {(a, b): _rates(arms[a], arms[b], c) for (a, b), c in found.items() if _one_lost(arms[a], arms[b])}
    return adjust(found | lost) if lost else found


def _log_rank(a: Arm, b: Arm, metric: Metric) -> Comparison:
    rng = np.random.default_rng(SEED)
    return compare_times(metric.values(a), metric.values(b), a.budget, b.budget, rng=rng)


def _one_lost(a: Arm, b: Arm) -> bool:
    return all(a.diverged) != all(b.diverged)


def _rates(a: Arm, b: Arm, scored: Comparison) -> Comparison:
    """An arm without any run that lasted has no spread to test with: the counts of diverged runs are compared."""
    found = compare_rates(sum(a.diverged), len(a.seeds), sum(b.diverged), len(b.seeds))
    return replace(found, difference=scored.difference, better=scored.better)
