"""What a plan will cost: runs done and due, rollouts, CPU time, and wall time for a number of processes."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tpobench.plan import Plan, RunSpec, interactions_of
from tpobench.records import FINISHED, RunRecord, canonical
from tpobench.suite import Suite, Value


@dataclass(frozen=True)
class PlanRow:
    """One cell and rule of a plan."""

    cell: Mapping[str, Value]
    matching: str
    algorithm: str
    total: int
    done: int
    todo: int
    failed: int  # of the runs to do, those that failed before
    interactions: int  # of the runs to do
    cpu_s: float | None  # of the runs to do, None where nothing is known of their cost
    reason: str = ""  # why the rule is skipped here


Key = tuple[str, str, str]


def key_of(spec: RunSpec) -> Key:
    """Cell, matching and rule."""
    return canonical(dict(spec.cell)), spec.matching, spec.algorithm


def plan_table(plan: Plan, known: Mapping[str, RunRecord]) -> list[PlanRow]:
    """One row per cell and rule, in plan order."""
    groups: dict[Key, list[RunSpec]] = defaultdict(list)
    for spec in plan.specs:
        groups[key_of(spec)].append(spec)
    seconds = job_seconds(plan, known)
    rows = []
    for key, specs in groups.items():
        status = Counter(known[s.run_id].status for s in specs if s.run_id in known)
        due = [s for s in specs if s.run_id not in known or known[s.run_id].status not in FINISHED]
        first = specs[0]
        rows.append(
            PlanRow(
                first.cell,
                first.matching,
                first.algorithm,
                len(specs),
                len(specs) - len(due),
                len(due),
                status["failed"],
                sum(map(interactions_of, due)),
                _sum([s for k, s in seconds if k == key]),
            )
        )
    rows.extend(
        PlanRow(skip.cell, skip.spec.matching, skip.algorithm, 0, 0, 0, 0, 0, 0.0, skip.reason) for skip in plan.skipped
    )
    return rows


def job_seconds(plan: Plan, known: Mapping[str, RunRecord]) -> list[tuple[Key, float | None]]:
    """CPU seconds of every job that is due: seeds trained times the cost of one."""
    finished: dict[str, list[float]] = defaultdict(list)
    for spec in plan.specs:
        record = known.get(spec.run_id)
        if record is not None and record.status in FINISHED and "cpu_s" in record.cost:
            finished[canonical(key_of(spec))].append(float(record.cost["cpu_s"]))
    done = {i for i, r in known.items() if r.status in FINISHED}
    seconds: list[tuple[Key, float | None]] = []
    for job in plan.jobs(done):
        spec = job.specs[0]
        times = finished.get(canonical(key_of(spec)))
        each = median(times) if times else expected_seconds(plan.suite, spec)
        seconds.append((key_of(spec), None if each is None else each * len(job.seeds)))
    return seconds


def expected_seconds(suite: Suite, spec: RunSpec) -> float | None:
    """CPU seconds of one seed by the suite's [cost], None where it says nothing."""
    times = suite.cost.get("ms_per_step", {})
    each = times.get(spec.algorithm, times.get("default"))
    return None if each is None else each * int(spec.training["steps"]) / 1000


def wall_seconds(seconds: Sequence[float], processes: int) -> float:
    """Wall time of jobs handed in this order to the process that is free first."""
    busy = [0.0] * max(processes, 1)
    for each in seconds:
        heapq.heapreplace(busy, busy[0] + each)
    return max(busy)


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [s for s in seconds if s is not None]
    return sum(known) if len(known) == len(seconds) else None
