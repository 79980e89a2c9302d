"""What the panels show of an arm: mean curves with their band, gains by concentration, final scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tpobench.scores.cells import Arm, Cell, scored_curves
from tpobench.scores.estimates import SEED
from tpobench.scores.options import Options
from tpobench.stats.estimate import Estimate, Floats, bootstrap_band, mean_estimate

POINTS = 201  # of a curve at most
FEW = 50  # of a curve that is noisy from update to update
BINS = 4  # of the wrong-class concentration
MECHANISM_AT = 2200  # updates: the evaluation that the paper labels 2,000 comes after this many


@dataclass(frozen=True)
class Curve:
    """Mean over seeds at `x` updates with its band; every point averages `width` evaluations."""

    x: Floats
    mean: Floats
    band: tuple[Floats, Floats] | None
    width: int


def curve_of(
    cell: Cell, arm: Arm, metric: str | None, how: Options, *, scale: float = 1.0, points: int = POINTS
) -> Curve | None:
    """The score (None; diverged runs at its worst value) or another metric (without them) over the updates."""
    steps = arm.axes["step"]
    if metric is None:
        common, curves = scored_curves(arm, cell.reporting.metric, cell.reporting.worst)
        steps = steps[common]
    elif metric not in arm.curves or all(arm.diverged):
        return None
    else:
        kept = arm.curves[metric][[not d for d in arm.diverged]]
        measured = np.isfinite(kept).all(axis=0)  # not taken at the last evaluation, for one
        if not measured.any():
            return None
        steps, curves = steps[measured], kept[:, measured]
    width = -(-len(steps) // points)
    x, curves = averaged(steps[None], width)[0], averaged(curves, width) * scale
    return Curve(x, curves.mean(axis=0), _band(curves, how), width)


def averaged(rows: Floats, width: int) -> Floats:
    """Means over `width` consecutive columns, (n, E) -> (n, E // width); the last takes what is left over."""
    starts = np.arange(rows.shape[1] // width) * width
    counts = np.diff(np.append(starts, rows.shape[1]))
    return np.asarray(np.add.reduceat(rows, starts, axis=1) / counts)


def _band(curves: Floats, how: Options) -> tuple[Floats, Floats] | None:
    if not how.standard_errors:
        return bootstrap_band(curves, np.random.default_rng(SEED), draws=1000)
    if len(curves) < 2:
        return None
    mean, half = curves.mean(axis=0), curves.std(axis=0, ddof=0 if how.paper_intervals else 1) / np.sqrt(len(curves))
    return mean - half, mean + half


@dataclass(frozen=True)
class Gain:
    """Surplus first-order gain in one bin of concentration: examples of all seeds, and the mean over seeds with any."""

    examples: int
    estimate: Estimate | None


def gains_of(arm: Arm, how: Options) -> tuple[float, list[Gain]] | None:
    """The update nearest to the paper's that was measured, and the gain in every bin; None where nothing was."""
    names = [(f"surplus_sum{i}", f"count{i}") for i in range(BINS)]
    if all(arm.diverged) or any(n not in arm.curves for pair in names for n in pair):
        return None
    lasted = np.array([not d for d in arm.diverged])
    measured = np.isfinite(arm.curves["count0"][lasted]).all(axis=0)
    if not measured.any():
        return None
    at = int(np.where(measured, np.abs(arm.axes["step"] - MECHANISM_AT), np.inf).argmin())
    columns = [(arm.curves[s][lasted, at], arm.curves[n][lasted, at]) for s, n in names]
    return float(arm.axes["step"][at]), [_gain(total, count, how) for total, count in columns]


def _gain(total: Floats, count: Floats, how: Options) -> Gain:
    some = count > 0
    if not some.any():
        return Gain(0, None)
    rng = np.random.default_rng(SEED)
    means = total[some] / count[some]
    return Gain(int(count.sum()), mean_estimate(means, rng=rng, ci=how.ci, paper_compat=how.paper_intervals))
