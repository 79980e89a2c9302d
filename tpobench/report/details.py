"""The long tables: what stands beside a mean or a median, one line per cell and algorithm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import all_steps_of, iqms_of, means_of, medians_of, rate_of, tails_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.scalars import Scalar
from tpobench.scores.text import rate_text
from tpobench.stats.censored import StepsEstimate, step_text
from tpobench.stats.estimate import Estimate
from tpobench.stats.texts import mean_text
from tpobench.tables.model import Table, TableCell, numbers_of

FINAL = ("Cell", "Algorithm", "Seeds", "Mean", "Solved [95% CI]", "Median [95% CI]", "IQM [95% CI]", "CVaR25 [95% CI]")
STEPS = ("Cell", "Algorithm", "Reached [95% CI]", "Median [95% CI]", "Restricted mean [95% CI]", "ERT")

FINAL_NOTE = (
    "IQM: mean of the middle half of the seeds, which hides failures of up to a quarter of them; "
    "CVaR25: mean of the worst quarter"
)
TIMES_NOTE = (
    "Restricted mean: of min(steps, budget); ERT: all steps spent per run that got there. "
    "A mean over the runs that got there alone would be biased and is not offered"
)


def detail_table(cells: Sequence[Cell], metric: Scalar, signature: str, options: ReportOptions) -> Table:
    """Final values with their median, interquartile mean and worst quarter; times with their means and ERT."""
    name, title = f"details-{metric.name}", metric.bare_title
    arms = [(cell, arm) for cell in cells for arm in cell.arms.values()]
    if metric.test == "times":
        steps = all_steps_of((metric.values(arm), arm.budget) for _, arm in arms)
        body = [_times(cell, arm, estimate) for (cell, arm), estimate in zip(arms, steps, strict=True)]
        return Table(name, f"In detail: {title}", STEPS, tuple(body), signature, (TIMES_NOTE,), folded=True)
    values = [(metric.values(arm), cell.reporting) for cell, arm in arms]
    estimates = zip(means_of(values, options), medians_of(values), iqms_of(values), tails_of(values), strict=True)
    body = [_finals(cell, arm, metric, each) for (cell, arm), each in zip(arms, estimates, strict=True)]
    r = cells[0].reporting
    note = f"Solved: {r.side} {r.level(r.solved)}. {FINAL_NOTE}"
    return Table(name, f"In detail: {title}", FINAL, tuple(body), signature, (note,), folded=True)


def _finals(cell: Cell, arm: Arm, metric: Scalar, estimates: Iterable[Estimate]) -> tuple[TableCell, ...]:
    r, values, n = cell.reporting, metric.values(arm), len(arm.seeds)
    scale, k = r.scale, int(r.passed(values, r.solved).sum())
    rate = rate_of(k, n)
    mean, *others = (TableCell(mean_text(e, scale), data={"estimate": numbers_of(e)}) for e in estimates)
    solved = TableCell(f"{k}/{n} {rate_text(rate)}", data={"count": k, "estimate": numbers_of(rate)})
    return TableCell(cell.label), TableCell(arm.algorithm), TableCell(str(n)), mean, solved, *others


def _times(cell: Cell, arm: Arm, estimate: StepsEstimate) -> tuple[TableCell, ...]:
    ert = estimate.expected_running_time
    return (
        TableCell(cell.label),
        TableCell(arm.algorithm),
        _entry(f"{estimate.reached}/{estimate.runs} {rate_text(estimate.rate)}", estimate.rate),
        _entry(_median_text(estimate), estimate.median),
        _entry(mean_text(estimate.restricted_mean), estimate.restricted_mean),
        TableCell("never" if ert is None else f"{ert:.0f}", data={"expected_running_time": ert}),
    )


def _entry(text: str, estimate: Estimate) -> TableCell:
    data: dict[str, Any] = {"estimate": numbers_of(estimate)}
    return TableCell(text, data=data)


def _median_text(estimate: StepsEstimate) -> str:
    m, budget = estimate.median, estimate.budget
    if m.low is None or m.high is None:
        return step_text(m.value, budget) + (f" ({m.reason})" if m.reason else "")
    if m.low == m.high == float("inf"):
        return step_text(m.value, budget)
    return f"{step_text(m.value, budget)} [{step_text(m.low, budget)}, {step_text(m.high, budget)}]"
