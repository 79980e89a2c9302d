"""The long tables: what stands beside a mean or a median, one line per cell and rule."""

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

FINAL = ("Cell", "Rule", "Seeds", "Mean", "Solved [95% CI]", "Median [95% CI]", "IQM [95% CI]", "CVaR25 [95% CI]")
STEPS = ("Cell", "Rule", "Reached [95% CI]", "Median [95% CI]", "Restricted mean [95% CI]", "ERT")

FINAL_NOTE = (
    "IQM: mean of the middle half of the seeds, which hides failures of up to a quarter of them; "
    "CVaR25: mean of the worst quarter"
)
TIMES_NOTE = (
    "Restricted mean: of min(steps, budget); ERT: all steps spent per run that got there. "
    "A mean over the runs that got there alone would be biased and is not offered"
)


def detail_table(cells: Sequence[Cell], metric: Scalar, signature: str, how: ReportOptions) -> Table:
    """Final values with their median, interquartile mean and worst quarter; times with their means and ERT."""
    name, title = f"details-{metric.name}", metric.bare_title
    if metric.test == "times":
        body = [_times(cell, arm, metric) for cell, arm in _arms(cells)]
        return Table(name, f"In detail: {title}", STEPS, tuple(body), signature, (TIMES_NOTE,), folded=True)
    body = [_finals(cell, arm, metric, how) for cell, arm in _arms(cells)]
    r = cells[0].reporting
    note = f"Solved: {r.side} {r.solved * r.scale:g}. {FINAL_NOTE}"
    return Table(name, f"In detail: {title}", FINAL, tuple(body), signature, (note,), folded=True)


def _arms(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Arm]]:
    return ((cell, arm) for cell in cells for arm in cell.arms.values())


def _finals(cell: Cell, arm: Arm, metric: Scalar, how: ReportOptions) -> tuple[TableCell, ...]:
    r, values, n = cell.reporting, metric.values(arm), len(arm.seeds)
    scale, k = r.scale, int(r.passed(values, r.solved).sum())
    rate = rate_of(k, n)
    found = [mean_of(values, how, r), median_of(values, r), iqm_of(values, r), tail_of(values, r)]
    mean, *others = (TableCell(mean_text(e, scale), data={"estimate": numbers_of(e)}) for e in found)
    solved = TableCell(f"{k}/{n} {rate_text(rate)}", data={"count": k, "estimate": numbers_of(rate)})
    return TableCell(cell.label), TableCell(arm.algorithm), TableCell(str(n)), mean, solved, *others


def _times(cell: Cell, arm: Arm, metric: Scalar) -> tuple[TableCell, ...]:
    found = steps_of(metric.values(arm), arm.budget)
    ert = found.expected_running_time
    return (
        TableCell(cell.label),
        TableCell(arm.algorithm),
        _entry(f"{found.reached}/{found.runs} {rate_text(found.rate)}", found.rate),
        _entry(_median_text(found), found.median),
        _entry(mean_text(found.restricted_mean), found.restricted_mean),
        TableCell("never" if ert is None else f"{ert:.0f}", data={"expected_running_time": ert}),
    )


def _entry(text: str, found: Estimate) -> TableCell:
    data: dict[str, Any] = {"estimate": numbers_of(found)}
    return TableCell(text, data=data)


def _median_text(found: StepsEstimate) -> str:
    m = found.median
    if m.low is None or m.high is None:
        return step_text(m.value, found.budget) + (f" ({m.reason})" if m.reason else "")
    if m.low == m.high == float("inf"):
        return step_text(m.value, found.budget)
    return f"{step_text(m.value, found.budget)} [{step_text(m.low, found.budget)}, {step_text(m.high, found.budget)}]"
