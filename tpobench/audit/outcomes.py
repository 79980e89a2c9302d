"""One task as objects: what every algorithm scored, every pair tested, and who leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tpobench.audit.runs import Runs
from tpobench.scores.cells import Arm
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.pairing import Pair
from tpobench.stats.compare import Comparison, tie_group
from tpobench.stats.estimate import Estimate


@dataclass(frozen=True)
class PairTest:
    """A against B on their seeds; the difference A - B has the sign of the metric, p is also adjusted by Holm."""

    a: str
    b: str
    comparison: Comparison
    verdict: str  # of A


@dataclass(frozen=True)
class Outcome:
    """One task; the leader has the best mean, and nothing tells the tied ones from it."""

    task: str
    finals: Mapping[str, Mapping[int, float]]  # algorithm -> seed -> final value
    means: Mapping[str, Estimate]
    tests: Mapping[Pair, PairTest]
    leader: str
    tied: tuple[str, ...]


def losses_of(arms: Mapping[str, Arm]) -> dict[str, float]:
    """Mean of each algorithm, lower better."""
    return {n: float(a.reporting.loss(a.final).mean()) for n, a in arms.items()}


def lost(arms: Mapping[str, Arm]) -> list[str]:
    """Algorithms of which every run diverged: what they score was set, not measured."""
    return [n for n, a in arms.items() if all(a.diverged)]


def outcome_of(runs: Runs, task: str) -> Outcome:
    """Of one task; one algorithm alone leads nobody."""
    arms, cell = runs.arms(task), runs.cells[task]
    scores = {n: (loss,) for n, loss in losses_of(arms).items()}
    leader, tied = tie_group(scores, cell.tests, failed=lost(arms)) if len(arms) > 1 else ("", ())
    tests = {pair: PairTest(*pair, cell.reporting.comparison(c), c.verdict()) for pair, c in cell.tests.items()}
    means = {n: mean_of(arm.final, ReportOptions(), arm.reporting) for n, arm in arms.items()}
    return Outcome(task, {n: arm.by_seed(arm.final) for n, arm in arms.items()}, means, tests, leader, tied)
