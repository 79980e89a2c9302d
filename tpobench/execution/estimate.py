"""What a plan will cost: runs done and due, rollouts, CPU time, and wall time for a number of processes."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tpobench.identity import canonical
from tpobench.planning.plan import Job, Plan, RunSpec, interactions_of
from tpobench.records.store import BROKEN, FINISHED, RunRecord
from tpobench.suites.load import Suite, Value


@dataclass(frozen=True)
class PlanRow:
    """One cell and algorithm of a plan."""

    cell: Mapping[str, Value]
    matching: str
    algorithm: str
    total: int
    done: int
    todo: int
    failed: int  # runs that ended without a result before
    interactions: int  # of the runs to do
    cpu_s: float | None  # of the runs to do, None where nothing is known of their cost
    reason: str = ""  # why the algorithm is skipped here


Key = tuple[str, str, str]


def key_of(spec: Mapping[str, Any]) -> Key:
    """Cell, matching and algorithm of a spec as plain values."""
    return canonical(dict(spec["cell"])), str(spec["matching"]), str(spec["algorithm"])


class Costs:
    """Seconds of a job by what finished runs of its cell and algorithm took, else by the suite's [cost].

    measure: `cpu_s` or `wall_s` of a record.
    """

    def __init__(self, suite: Suite, known: Mapping[str, RunRecord], measure: str) -> None:
        self._suite, self._measure = suite, measure
        self._times: dict[Key, list[float]] = defaultdict(list)
        for record in known.values():
            self.learn(record)

    def learn(self, record: RunRecord) -> None:
        """Remember what a finished run took."""
        if record.status in FINISHED and self._measure in record.cost:
            self._times[key_of(record.spec)].append(float(record.cost[self._measure]))

    def of(self, job: Job) -> float | None:
        """Seconds of a job on one process: seeds trained times the cost of one; None where nothing is known."""
        spec = job.specs[0]
        times = self._times.get(key_of(vars(spec)))
        each = median(times) if times else expected_seconds(self._suite, spec)
        return None if each is None else each * len(job.seeds)


def plan_table(plan: Plan, known: Mapping[str, RunRecord], jobs: Sequence[Job]) -> list[PlanRow]:
    """One row per cell and algorithm, in plan order; `jobs` are those that are due."""
    groups: dict[Key, list[RunSpec]] = defaultdict(list)
    for spec in plan.specs:
        groups[key_of(vars(spec))].append(spec)
    due: dict[Key, list[Job]] = defaultdict(list)
    for job in jobs:
        due[key_of(vars(job.specs[0]))].append(job)
    costs = Costs(plan.suite, known, "cpu_s")
    rows = []
    for key, specs in groups.items():
        first = specs[0]
        status = Counter(known[s.run_id].status for s in specs if s.run_id in known)
        todo = [s for job in due[key] for s in job.specs]
        rows.append(
            PlanRow(
                first.cell,
                first.matching,
                first.algorithm,
                len(specs),
                sum(status[s] for s in FINISHED),
                len(todo),
                sum(status[s] for s in BROKEN),
                sum(map(interactions_of, todo)),
                total([costs.of(job) for job in due[key]]),
            )
        )
    rows.extend(
        PlanRow(skip.cell, skip.spec.matching, skip.algorithm, 0, 0, 0, 0, 0, 0.0, skip.reason) for skip in plan.skipped
    )
    return rows


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


def total(seconds: Sequence[float | None]) -> float | None:
    """The sum, None where a part of it is unknown."""
    known = [s for s in seconds if s is not None]
    return sum(known) if len(known) == len(seconds) else None
