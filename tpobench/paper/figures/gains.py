"""The numbers of figure 4b: surplus gain by the concentration of the wrong-class mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tpobench.paper.mechanism import AT, BINS
from tpobench.report.figures.panel import Line
from tpobench.report.figures.points import Points, Series
from tpobench.scores.cells import Arm
from tpobench.scores.estimates import SEED
from tpobench.scores.options import ReportOptions
from tpobench.scores.text import interval_name
from tpobench.stats.estimate import Estimate, Floats, mean_estimate


@dataclass(frozen=True)
class Gains:
    """Surplus first-order gain at one update, by bin: examples of all seeds, and the mean over seeds with any."""

    update: float
    examples: list[int]
    estimates: list[Estimate | None]


def gains_of(arm: Arm, options: ReportOptions) -> Gains | None:
    """At the update nearest to the paper's that was measured; None where nothing was."""
    if all(arm.diverged) or any(metric not in arm.curves for pair in BINS.values() for metric in pair):
        return None
    lasted = np.array([not d for d in arm.diverged])
    (_, first), *_ = BINS.values()
    measured = np.isfinite(arm.curves[first][lasted]).all(axis=0)
    if not measured.any():
        return None
    at = int(np.where(measured, np.abs(arm.axes["step"] - AT), np.inf).argmin())
    columns = [(arm.curves[total][lasted, at], arm.curves[count][lasted, at]) for total, count in BINS.values()]
    examples = [int(count.sum()) for _, count in columns]
    return Gains(float(arm.axes["step"][at]), examples, [_mean(total, count, options) for total, count in columns])


def _mean(total: Floats, count: Floats, options: ReportOptions) -> Estimate | None:
    some = count > 0
    if not some.any():
        return None
    means, rng = total[some] / count[some], np.random.default_rng(SEED)
    return mean_estimate(means, rng=rng, ci=options.ci, paper_compat=options.paper_intervals)


def gain_panel(lines: Sequence[Line], options: ReportOptions) -> Points:
    """Every algorithm over the bins; the examples of all of them stand below the name of a bin."""
    measured = [gains_of(line.arm, options) if line.arm else None for line in lines]
    examples = [sum(n) for n in zip(*(g.examples for g in measured if g), strict=True)]
    names = [f"{text}\nn = {n:,}" for text, n in zip(BINS, examples, strict=False)] or list(BINS)
    series = [
        Series([line], [(i, e) for i, e in enumerate(g.estimates) if e] if g else [])
        for line, g in zip(lines, measured, strict=True)
    ]
    return Points("", "Concentration of wrong-class mass", "Surplus gain in $p_y$", list(enumerate(names)), series,
                  from_zero=False, note=_note([g for g in measured if g]))  # fmt: skip


def _note(measured: Sequence[Gains]) -> str:
    if not measured:
        return ""
    kinds = interval_name(e.method for g in measured for e in g.estimates if e)
    updates = " and ".join(dict.fromkeys(f"{g.update:,.0f}" for g in measured))
    return (f"Measured at update {updates}; means over the seeds that have examples in the bin, n examples in all"
            + f", with {kinds}" * bool(kinds))  # fmt: skip
