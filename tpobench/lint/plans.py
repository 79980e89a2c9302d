"""Seeds under a recorded plan: the looks are taken again from the records, and what does not follow them is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tpobench.identity import canonical
from tpobench.lint.codes import CODES
from tpobench.lint.model import CellRuns, Finding, ResultSet, seeds_of
from tpobench.lint.origins import appended
from tpobench.records.store import FINISHED
from tpobench.scores.text import seed_ranges
from tpobench.stats.sequential import SequentialPlan, look_at


def planned(result_set: ResultSet, cells: Sequence[CellRuns]) -> Iterator[Finding]:
    """L044 without a plan; with one, L045 where the seeds depart from it and L046 where it is not finished."""
    if result_set.plan is None:
        yield from appended(result_set)
        return
    suite = str(result_set.plan.get("suite", result_set.name))
    try:
        plans = {_place(c): _plan(result_set.plan, c) for c in result_set.plan["cells"]}
    except (KeyError, TypeError, ValueError):
        yield Finding(CODES["L045"], suite, str(result_set.plan.get("damaged", "plan.json is no seed plan")))
        return
    for cell in cells:
        plan = plans.get((cell.place, cell.matching))
        if plan is None:
            yield cell.finding("L045", "a cell that the plan does not have", cell.finished)
        else:
            yield from _followed(cell, plan)


def _place(cell: Mapping[str, Any]) -> tuple[str, str]:
    return canonical(dict(cell["cell"])), str(cell["matching"])


def _plan(plan: Mapping[str, Any], cell: Mapping[str, Any]) -> SequentialPlan:
    return SequentialPlan(
        tuple(cell["algorithms"]), int(plan["per_look"]), int(plan["looks"]), float(plan["alpha"]), len(plan["cells"]),
        int(plan["rng"]), int(cell["paths"]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Replay:
    """How far the records go: complete looks, seeds that belong to them, and the algorithms that wait for more."""

    look: int = 0
    taken: Mapping[str, int] = field(default_factory=dict)
    active: tuple[str, ...] = ()


def _replay(cell: CellRuns, plan: SequentialPlan) -> _Replay:
    now, losses = _Replay(active=plan.algorithms), cell.losses
    while now.active:
        need = (now.look + 1) * plan.per_look
        if any(set(range(need)) - losses.get(name, {}).keys() for name in now.active):
            return now
        taken = {**now.taken, **dict.fromkeys(now.active, need)}
        values = {name: [losses[name][s] for s in range(k)] for name, k in taken.items()}
        look = look_at(plan, values, worst=float(cell.reporting.loss(cell.reporting.worst)))
        now = _Replay(now.look + 1, taken, look.active)
    return now


def _followed(cell: CellRuns, plan: SequentialPlan) -> Iterator[Finding]:
    now = _replay(cell, plan)
    outside = [n for n in cell.finished if n not in plan.algorithms]
    if outside:
        yield cell.finding("L045", f"algorithms that the plan does not name: {', '.join(outside)}", outside)
    for name in plan.algorithms:
        last = plan.most_seeds if name in now.active else now.taken[name]
        beyond = [s for s in seeds_of(r for r in cell.runs.get(name, ()) if r.status in FINISHED) if s >= last]
        if beyond:
            yield cell.finding("L045", f"{name}: decided at {last} seeds, yet there are {seed_ranges(beyond)}", [name])
    if now.active:
        what = f"{now.look} of at most {plan.looks} looks taken, not decided: {', '.join(now.active)}"
        yield cell.finding("L046", what, now.active)
