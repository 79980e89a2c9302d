"""Arms -> one scalar per seed, as claims name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tpobench.paper.claim import Scalar
from tpobench.paper.evidence import NotRun
from tpobench.scores.cells import Arm, Reporting, scalars, scored_curves
from tpobench.scores.sides import Entry
from tpobench.stats.estimate import Floats, area_under_curve, final_window


@dataclass(frozen=True)
class Sample:
    """Scalars by seed; `budget` where they are times, inf being never."""

    values: Mapping[int, float]
    budget: float | None = None
    diverged: int = 0  # seeds scored at the worst value, or left out of a diagnostic
    at_least: frozenset[int] = frozenset()  # seeds whose value is a lower bound: a difference of times, censored
    at_most: frozenset[int] = frozenset()  # seeds whose value is an upper bound


def sample(entry: Entry, scalar: Scalar) -> Sample:
    """The scalar of every seed of an arm; diverged runs score the worst value, and have no diagnostics.

    Raises:
        NotRun: the runs do not hold the metric.
    """
    arm, reporting = entry.arm, entry.cell.reporting
    scored = scalar.metric in {"", reporting.metric}
    if scalar.kind == "steps":
        return Sample(arm.by_seed(_times(arm, reporting, scalar.threshold)), arm.budget, sum(arm.diverged))
    if scored and scalar.kind in {"final", "area"}:
        return Sample(arm.by_seed(arm.final if scalar.kind == "final" else arm.area), None, sum(arm.diverged))
    steps, curves, seeds = measured(arm, scalar.metric or reporting.metric, reporting.worst if scored else None)
    if scalar.kind == "ratio":
        _, over, _ = measured(arm, scalar.over, None)
        at = nearest(steps, scalar.step)
        some = over[:, at] > 0
        values = curves[some, at] / over[some, at]
        seeds = [seed for seed, kept in zip(seeds, some, strict=True) if kept]
    else:
        values = _reduced(scalar, steps, curves, arm.budget, min(reporting.window, len(steps)), reporting.worst)
    return Sample(dict(zip(seeds, map(float, values), strict=True)), None, sum(arm.diverged))


def measured(arm: Arm, metric: str, worst: float | None) -> tuple[Floats, Floats, list[int]]:
    """Steps at which a metric was taken, its curves (n, E) there, and their seeds.

    After divergence the curve is `worst`, or the seed is left out where that is None.

    Raises:
        NotRun: no seed has the metric.
    """
    if worst is not None and metric in arm.curves:
        common, curves = scored_curves(arm, metric, worst)
        return arm.axes["step"][common], curves, list(arm.seeds)
    kept = [i for i, lost in enumerate(arm.diverged) if not lost]
    if metric not in arm.curves or not kept:
        msg = f"all runs of {arm.algorithm} diverged" if not kept else f"the runs do not record {metric}"
        raise NotRun(msg)
    curves = arm.curves[metric][kept]
    taken = np.isfinite(curves).any(axis=0)  # a diagnostic is not taken at the last evaluation
    if not taken.any():
        msg = f"the runs do not record {metric}"
        raise NotRun(msg)
    return arm.axes["step"][taken], curves[:, taken], [arm.seeds[i] for i in kept]


def nearest(steps: Floats, step: float) -> int:
    """The index of the evaluation nearest to a step."""
    return int(np.abs(steps - step).argmin())


def _times(arm: Arm, reporting: Reporting, threshold: float) -> Floats:
    if threshold in arm.times:
        return arm.times[threshold]
    asked = replace(reporting, thresholds=(threshold,))
    return scalars(arm.curves[reporting.metric], arm.axes["step"], np.array(arm.diverged), asked)[2][threshold]


def _reduced(scalar: Scalar, steps: Floats, curves: Floats, budget: float, window: int, worst: float) -> Floats:
    if scalar.kind == "final":
        return final_window(curves, window, worst)
    if scalar.kind == "area":
        return area_under_curve(curves, steps, worst)
    if scalar.kind == "at":
        return np.asarray(curves[:, nearest(steps, scalar.share * budget)])
    if scalar.kind == "late":
        late = steps >= 0.75 * budget
        return np.asarray(curves[:, late if late.any() else [-1]].mean(axis=1))
    return np.asarray(curves.max(axis=1) if scalar.kind == "peak" else steps[curves.argmax(axis=1)])
