"""The regression gate: exactly equal? screened by a one-sided test beyond a margin? confirmed on fresh seeds?

delta = candidate - baseline in the worse direction; H0: delta <= M. The screen spends no error of the gate: a cell is
called REGRESSED only by Holm over the flagged cells on reserve seeds that had no part in flagging them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tpobench.stats.gate_cells import (
    MARGINS,
    CellEvidence,
    Direction,
    GatePlan,
    GateReport,
    GateVerdict,
    Margin,
    Outcome,
    Status,
    margin_value,
)
from tpobench.stats.gate_tests import (
    Arms,
    arms_of,
    by_interval,
    described,
    exactly_worse,
    is_paired,
    mean_test,
    p_note,
    rate_test,
    regressed_text,
    rng_of,
    seed_range,
    unattainable,
)
from tpobench.stats.guard import Tested
from tpobench.stats.multiplicity import holm, resamples_for

__all__ = [
    "MARGINS",
    "CellEvidence",
    "Direction",
    "GatePlan",
    "GateReport",
    "GateVerdict",
    "Margin",
    "Outcome",
    "Status",
    "confirm_cells",
    "decide",
    "margin_value",
    "outcome_of",
    "refusal",
    "reserve_needed",
    "screen_cells",
]  # fmt: skip


def refusal(plan: GatePlan, cells: Sequence[CellEvidence]) -> str:
    """Why no cell could be called regressed whatever the candidate does; empty where one could."""
    compared = [c for c in cells if not c.incomparable and c.baseline and not c.exact]
    reasons = [_cannot_reject(c, plan, len(compared)) for c in compared]
    return reasons[0] if reasons and all(reasons) else ""


def _cannot_reject(cell: CellEvidence, plan: GatePlan, family: int) -> str:
    """Screen at its own level; then Holm with all cells flagged, as when a bug breaks everything."""
    n, m = len(cell.baseline), len(cell.reserve_baseline)
    level = plan.alpha / family
    if not plan.confirm:
        return unattainable("check", n, level, family, paired=is_paired(cell, n, plan, level))
    if m == 0:
        return "no reserve seeds in the baseline: nothing could be confirmed; record some, or check without confirming"
    screen = unattainable("screen", n, plan.screen_alpha, 1, paired=is_paired(cell, n, plan, plan.screen_alpha))
    return screen or unattainable("confirm", m, level, family, paired=is_paired(cell, m, plan, level))


def screen_cells(cells: Sequence[CellEvidence], plan: GatePlan) -> tuple[GateVerdict, ...]:
    """Comparable, exact and screen stages; `flagged` cells are to be confirmed on reserve seeds."""
    if len({c.name for c in cells}) < len(cells):
        msg = "two cells of the same name: their verdicts could not be told apart"
        raise ValueError(msg)
    settled = [_before_tests(cell, plan) for cell in cells]
    family = max(1, sum(v is None for v in settled))
    level = plan.screen_alpha if plan.confirm else plan.alpha / family
    resamples = resamples_for(family, plan.alpha)
    return tuple(v or _screened(cell, plan, resamples, level) for cell, v in zip(cells, settled, strict=True))


def _before_tests(cell: CellEvidence, plan: GatePlan) -> GateVerdict | None:
    """The verdict of a cell that needs no test, or can have none."""
    missing = sorted(cell.baseline.keys() - cell.candidate.keys())
    n, k = len(cell.baseline), len(missing)
    obstacle: tuple[Status, str] | None = None
    if cell.incomparable:
        obstacle = "not comparable", cell.incomparable
    elif cell.crashed:
        seeds = ", ".join(map(str, sorted(cell.crashed)))
        obstacle = "crashed", f"crashed on seed {seeds}, which passed in the baseline"
    elif not cell.baseline:
        obstacle = "incomplete", "missing in the baseline"
    elif missing:
        obstacle = "incomplete", "missing" if k == n else f"{k} of {n} seeds missing: {', '.join(map(str, missing))}"
    if obstacle:
        return GateVerdict(cell.name, obstacle[0], "comparable", obstacle[1])
    if cell.exact:
        return _by_digits(cell)
    arms = arms_of(cell, plan, reserve=False, level=plan.screen_alpha)
    lost = int((~np.isfinite(arms.x)).sum() + (~np.isfinite(arms.y)).sum())
    if lost:
        return GateVerdict(cell.name, "incomplete", "comparable", f"{lost} values are not finite: score them")
    if np.allclose(arms.x, arms.y, rtol=plan.rtol, atol=0.0):
        equal = "identical (bitwise)" if np.array_equal(arms.x, arms.y) else f"equal within {plan.rtol:g}"
        return replace(described(cell, arms, "exact", reserve=False), status="unchanged", reason=equal)
    return None


def _by_digits(cell: CellEvidence) -> GateVerdict:
    """Nothing is tested where nothing is random."""
    distance = max(cell.candidate.values())
    runs = len(cell.candidate), len(cell.baseline)
    base = GateVerdict(cell.name, "unchanged", "exact", "the same digits", runs=runs)
    if distance <= cell.margin.floor:
        return base
    if cell.redrawn:
        reason = "the untrained policy is another: other random numbers, or another task, so only learning is compared"
        return replace(base, status="redrawn", reason=reason)
    return replace(base, status="changed", difference=distance, margin=cell.margin.floor, reason=cell.where)


def _screened(cell: CellEvidence, plan: GatePlan, resamples: int, level: float) -> GateVerdict:
    """Worse beyond the margin in mean or failure rate: the clearer of the two is what reserve seeds must confirm."""
    arms = arms_of(cell, plan, reserve=False, level=level)
    base = described(cell, arms, "screen", reserve=False)
    mean, rate = mean_test(arms, rng_of(cell, plan, 0), resamples), rate_test(arms, plan)
    tested, hypothesis = mean, "mean"
    if rate is not None and (mean.p is None or (rate.p is not None and rate.p < mean.p)):
        tested, hypothesis = rate, "rate"
    base = replace(base, p=tested.p, test=tested.test, hypothesis="rate" if hypothesis == "rate" else "mean")
    if exactly_worse(mean, base) or (tested.p is not None and tested.p <= plan.screen_alpha):
        on = seed_range(cell.reserve_baseline) if cell.reserve_baseline else "in reserve, of which none are recorded"
        reason = f"flagged on seeds {seed_range(cell.baseline)}{p_note(tested)}; confirm on seeds {on}"
        return replace(base, status="flagged", reason=reason)
    return by_interval(arms, base)


def confirm_cells(
    cells: Sequence[CellEvidence], screened: Sequence[GateVerdict], plan: GatePlan
) -> tuple[GateVerdict, ...]:
    """Flagged cells on reserve seeds, by the hypothesis that flagged them, Holm over all flagged cells.

    Cells whose reserve runs are missing stay flagged and count in the family.
    """
    by_name = {c.name: c for c in cells}
    flagged = [v for v in screened if v.status == "flagged"]
    family = len(flagged)
    ready = {v.name: by_name[v.name] for v in flagged if _ready(by_name[v.name])}
    level, resamples = plan.alpha / max(family, 1), resamples_for(family, plan.alpha)
    arms = {name: arms_of(cell, plan, reserve=True, level=level) for name, cell in ready.items()}
    tests = {v.name: _confirmed(ready[v.name], v, arms[v.name], plan, resamples) for v in flagged if v.name in ready}
    adjusted = holm([tests[v.name].p if v.name in ready else 1.0 for v in flagged])
    confirmed = {
        v.name: _verdict(ready[v.name], v, arms[v.name], tests[v.name], q, family, plan)
        for v, q in zip(flagged, adjusted, strict=True)
        if v.name in ready
    }
    return tuple(confirmed.get(v.name, v) for v in screened)


def _ready(cell: CellEvidence) -> bool:
    reserve = cell.reserve_baseline
    return bool(reserve) and not reserve.keys() - cell.reserve_candidate.keys()


def _confirmed(cell: CellEvidence, v: GateVerdict, arms: Arms, plan: GatePlan, resamples: int) -> Tested:
    if v.hypothesis == "rate":
        return rate_test(arms, plan) or Tested(1.0, "tested", "", "boschloo")
    return mean_test(arms, rng_of(cell, plan, 1), resamples)


def _verdict(
    cell: CellEvidence, v: GateVerdict, arms: Arms, tested: Tested, q: float | None, family: int, plan: GatePlan
) -> GateVerdict:
    base = described(cell, arms, "confirm", reserve=True)
    base = replace(base, p=tested.p, adjusted=q, family=family, test=tested.test, hypothesis=v.hypothesis or "mean")
    if tested.status == "not finite":
        return replace(base, status="incomplete", reason=tested.reason)
    if exactly_worse(tested, base) or (q is not None and q <= plan.alpha and tested.status == "tested"):
        return replace(base, status="regressed", reason=regressed_text(arms, base))
    verdict = by_interval(arms, base)
    cannot = unattainable("confirm", len(arms.x), plan.alpha / family, family, paired=arms.paired)
    if verdict.status == "inconclusive" and cannot and v.hypothesis != "rate":
        return replace(verdict, reason=cannot)
    seeds = seed_range(cell.reserve_baseline)
    return replace(verdict, reason=f"flagged, not confirmed on seeds {seeds}: {verdict.reason}")


def decide(cells: Sequence[CellEvidence], plan: GatePlan | None = None) -> GateReport:
    """Screen, then confirm with the reserve values that are there; without `plan.confirm` Holm over changed cells."""
    plan = plan or GatePlan()
    refused = refusal(plan, cells)
    if refused:
        return GateReport((), "nothing compared", refused)
    verdicts = screen_cells(cells, plan)
    verdicts = confirm_cells(cells, verdicts, plan) if plan.confirm else _one_shot(cells, verdicts, plan)
    return GateReport(verdicts, outcome_of(verdicts))


def _one_shot(
    cells: Sequence[CellEvidence], screened: Sequence[GateVerdict], plan: GatePlan
) -> tuple[GateVerdict, ...]:
    """Holm over every cell that was tested, on the screen seeds; a cell with failures was tested twice."""
    tested = {v.name: (c, v) for c, v in zip(cells, screened, strict=True) if v.stage == "screen"}
    family = max(1, sum(v.p is not None for _, v in tested.values()))
    arms = {name: arms_of(c, plan, reserve=False, level=plan.alpha / len(tested)) for name, (c, _) in tested.items()}
    ps = [
        None if v.p is None else min(1.0, v.p * (2 if any(arms[v.name].failed or ()) else 1))
        for _, v in tested.values()
    ]
    adjusted = dict(zip(tested, holm(ps), strict=True))

    def verdict(v: GateVerdict) -> GateVerdict:
        if v.name not in tested:
            return v
        q, values = adjusted[v.name], arms[v.name]
        base = replace(v, adjusted=q, family=family)
        if v.status == "flagged" and (q is None or q <= plan.alpha):
            return replace(base, status="regressed", reason=regressed_text(values, base))
        return by_interval(values, base)

    return tuple(verdict(v) for v in screened)


def outcome_of(verdicts: Sequence[GateVerdict]) -> Outcome:
    """What the verdicts come to; where nothing was compared that is never `passed`."""
    statuses = {v.status for v in verdicts}
    order: tuple[tuple[Outcome, set[str]], ...] = (
        ("regressed", {"regressed", "crashed", "changed"}),
        ("incomplete", {"incomplete", "not comparable"}),
        ("unconfirmed", {"flagged"}),
        ("inconclusive", {"inconclusive"}),
        ("passed", {"unchanged", "ok", "improved", "redrawn"}),
    )
    compared = statuses - {"incomplete", "not comparable"}
    if not compared:
        return "nothing compared"
    return next(outcome for outcome, of in order if statuses & of)


def reserve_needed(screened: Sequence[GateVerdict]) -> tuple[str, ...]:
    """Names of the cells whose reserve seeds are to be run for the candidate."""
    return tuple(v.name for v in screened if v.status == "flagged")
