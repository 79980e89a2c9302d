"""The long tables: what stands beside a mean or a median, one line per cell and algorithm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import iqm_of, mean_of, median_of, rate_of, steps_of, tail_of
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
    if metric.test == "times":
        body = [_times(cell, arm, metric) for cell, arm in _arms(cells)]
        return Table(name, f"In detail: {title}", STEPS, tuple(body), signature, (TIMES_NOTE,), folded=True)
    body = [_finals(cell, arm, metric, options) for cell, arm in _arms(cells)]
    r = cells[0].reporting
    note = f"Solved: {r.side} {r.solved * r.scale:g}. {FINAL_NOTE}"
    return Table(name, f"In detail: {title}", FINAL, tuple(body), signature, (note,), folded=True)


def _arms(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Arm]]:
    return ((cell, arm) for cell in cells for arm in cell.arms.values())


def _finals(cell: Cell, arm: Arm, metric: Scalar, options: ReportOptions) -> tuple[TableCell, ...]:
    r, values, n = cell.reporting, metric.values(arm), len(arm.seeds)
    scale, k = r.scale, int(r.passed(values, r.solved).sum())
    rate = rate_of(k, n)
    estimates = [mean_of(values, options, r), median_of(values, r), iqm_of(values, r), tail_of(values, r)]
    mean, *others = (TableCell(mean_text(e, scale), data={"estimate": numbers_of(e)}) for e in estimates)
    solved = TableCell(f"{k}/{n} {rate_text(rate)}", data={"count": k, "estimate": numbers_of(rate)})
    return TableCell(cell.label), TableCell(arm.algorithm), TableCell(str(n)), mean, solved, *others


def _times(cell: Cell, arm: Arm, metric: Scalar) -> tuple[TableCell, ...]:
    estimate = steps_of(metric.values(arm), arm.budget)
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
