"""Arms -> one scalar per seed, as claims name them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tpobench.paper import claim
from tpobench.paper.evidence import NotRun
from tpobench.scores import pairing
from tpobench.scores.cells import Arm, scored_curves
from tpobench.scores.scalars import Scalar
from tpobench.scores.sides import ArmEntry
from tpobench.stats.estimate import Floats


@dataclass(frozen=True)
class Sample(pairing.Sample):
    """A scalar for each seed, and which of them are bounds: differences of times of which one was censored."""

    at_least: frozenset[int] = frozenset()
    at_most: frozenset[int] = frozenset()


def sample(entry: ArmEntry, scalar: claim.Measure) -> Sample:
    """The scalar of every seed of an arm; diverged runs score the worst value, and have no diagnostics.

    Raises:
        NotRun: the runs do not hold the metric.
    """
    arm, reporting = entry.arm, entry.cell.reporting
    metric = "" if scalar.metric == reporting.metric else scalar.metric
    for name in filter(None, (metric, scalar.over)):
        measured(arm, name, None)
    values = Scalar(
        scalar.kind, reporting, threshold=scalar.threshold, metric=metric, share=scalar.share, over=scalar.over,
        step=scalar.step,
    ).values(arm)  # fmt: skip
    by_seed = {seed: v for seed, v in arm.by_seed(values).items() if not math.isnan(v)}
    return Sample(by_seed, arm.budget if scalar.kind == "steps" else None, sum(arm.diverged))


def measured(arm: Arm, metric: str, worst: float | None) -> tuple[Floats, Floats, list[int]]:
    """Steps at which a metric was taken, its curves (n, E) there, and their seeds.

    After divergence the curve is `worst`, or the seed is left out where that is None.

    Raises:
        NotRun: no seed has the metric.
    """
    if worst is not None and metric in arm.curves:
        common, curves = scored_curves(arm, metric, worst)
        return arm.axes["step"][common], curves, list(arm.seeds)
    lasted = [i for i, lost in enumerate(arm.diverged) if not lost]
    if metric not in arm.curves or not lasted:
        msg = f"all runs of {arm.algorithm} diverged" if not lasted else f"the runs do not record {metric}"
        raise NotRun(msg)
    curves = arm.curves[metric][lasted]
    taken = np.isfinite(curves).any(axis=0)  # a diagnostic is not taken at the last evaluation
    if not taken.any():
        msg = f"the runs do not record {metric}"
        raise NotRun(msg)
    return arm.axes["step"][taken], curves[:, taken], [arm.seeds[i] for i in lasted]
