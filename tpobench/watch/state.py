"""What the records of a run in progress say: seeds done, current curves, time left, and what failed and why."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from tpobench.errors import CorruptResults, UsageError
from tpobench.execution.estimate import Costs, Key, expected_seconds, key_of
from tpobench.planning.choice import Choice
from tpobench.planning.design import Design
from tpobench.planning.plan import Plan, RunSpec
from tpobench.records.store import BROKEN, FINISHED, RunRecord
from tpobench.scores.cells import arm_of, final_values, scored_curves
from tpobench.scores.reporting import Reporting
from tpobench.suites.load import Suite, Value

WINDOW_S = 300.0  # in which work is counted for the time left; more where jobs take longer
JOBS_IN_WINDOW = 3


@dataclass(frozen=True)
class ArmState:
    """One algorithm in one cell."""

    cell: Mapping[str, Value]
    matching: str
    algorithm: str
    planned: int
    done: int
    failed: int
    value: float | None  # mean final value of the metric, None where no run has one
    curve: tuple[float, ...]  # mean of the metric over the seeds done, at each evaluation


@dataclass(frozen=True)
class End:
    """A run that ended."""

    at: float  # seconds
    run_s: float  # that it took, alone
    job_s: float  # that the stack took which it was trained in


@dataclass(frozen=True)
class State:
    """How far the runs of a folder have come."""

    reporting: Reporting
    arms: tuple[ArmState, ...]
    broken: tuple[RunRecord, ...]  # planned, and without a result
    diverged: int
    others: int  # records of no planned run
    more: int  # runs that may still be chosen, by what comes of those, at most
    ends: tuple[End, ...]
    work_s: float | None  # seconds that the runs without a record take one process

    @property
    def planned(self) -> int:
        """The runs that were made, or come next."""
        return sum(arm.planned for arm in self.arms)

    @property
    def done(self) -> int:
        """Those with a result."""
        return sum(arm.done for arm in self.arms)

    @property
    def complete(self) -> bool:
        """Whether every planned run has ended, some perhaps without a result."""
        return self.done + len(self.broken) == self.planned

    @property
    def last(self) -> float | None:
        """When the latest run ended."""
        return max((e.at for e in self.ends), default=None)

    def left_s(self, now: float) -> float | None:
        """Seconds until all have ended: work left, over the work per second of the last minutes; None if unknown."""
        if self.complete:
            return 0.0
        if self.work_s is None or not self.ends:
            return None
        now = max(now, *(e.at for e in self.ends))  # the folder's clock may be ahead of ours
        window = max(WINDOW_S, JOBS_IN_WINDOW * median(e.job_s for e in self.ends))
        recent = [e for e in self.ends if e.at > now - window]
        work = sum(e.run_s for e in recent)
        if work == 0:
            return None
        begin = max(now - window, min(e.at - e.job_s for e in recent))
        return self.work_s * (now - begin) / work


def choose(choice: Choice, suite: Suite, algorithms: Sequence[str] | None, records: Iterable[RunRecord]) -> Design:
    """How the runs of a folder are chosen: as asked for, else the suite's algorithms and seeds, and all that ran.

    Raises:
        UsageError: an algorithm is unknown here, such as a plug-in's.
    """
    specs = [r.spec for r in records]
    ran = dict.fromkeys(str(s["algorithm"]) for s in specs)
    seeds = choice.seeds
    if seeds is None:
        seeds = sorted({*range(suite.seeds), *(int(s["seed"]) for s in specs)})
    chosen = Choice(choice.text, seeds, choice.looks)
    return chosen.design(chosen.plan(suite, algorithms or list(dict.fromkeys([*suite.algorithms, *ran]))))


def state_of(design: Design, records: Mapping[str, RunRecord], ended: Mapping[str, float]) -> State:
    """What the records say of the runs that have been chosen so far."""
    plan, known, more = _matched(design, records.values())
    reporting = Reporting.of(plan.suite.reporting)
    planned: dict[Key, list[str]] = defaultdict(list)
    for spec in plan.specs:
        planned[key_of(vars(spec))].append(spec.run_id)
    first = {key_of(vars(s)): s for s in reversed(plan.specs)}
    arms = []
    for key, ids in planned.items():
        runs, spec = [known[i] for i in ids if i in known], first[key]
        finished = [r for r in runs if r.status in FINISHED]
        value, curve = _current(finished, reporting)
        failed = sum(r.status in BROKEN for r in runs)
        arms.append(ArmState(spec.cell, spec.matching, spec.algorithm, len(ids), len(finished), failed, value, curve))
    return State(
        reporting,
        tuple(arms),
        tuple(r for r in known.values() if r.status in BROKEN),
        sum(r.status == "diverged" for r in known.values()),
        sum(r.status != "skipped" for r in records.values()) - len(known),
        more,
        tuple(_end(r, ended[r.id]) for r in known.values() if r.id in ended),
        _work(plan, known),
    )


def _matched(design: Design, records: Iterable[RunRecord]) -> tuple[Plan, dict[str, RunRecord], int]:
    """The runs that were made or come next, the records of those by id, and how many more may follow.

    A run is known by its cell, matching, algorithm and seed: ids also name the device and the kernel, which are those
    of another machine.
    """
    by_run = {(*key_of(r.spec), int(r.spec["seed"])): r for r in records if r.status != "skipped"}
    known: dict[str, RunRecord] = {}
    while True:  # what is chosen next depends on what is known
        state = design.replay(known)
        runs = {s.run_id: by_run.get((*key_of(vars(s)), s.seed)) for s in state.runs.specs}
        matched = {i: r for i, r in runs.items() if r is not None}
        if matched.keys() <= known.keys():
            break
        known = matched

    def missing(specs: Iterable[RunSpec]) -> int:
        return sum(s.run_id not in known for s in specs)

    wanted = {s.run_id for part in state.waiting for s in part.specs} | known.keys()
    plan = replace(state.runs, specs=tuple(s for s in state.runs.specs if s.run_id in wanted))
    return plan, known, int(state.bounds(missing)[1]) - missing(plan.specs)


def _current(finished: Sequence[RunRecord], reporting: Reporting) -> tuple[float | None, tuple[float, ...]]:
    """Mean final value and mean curve; no curve where the runs were measured at steps of their own."""
    if not finished:
        return None, ()
    try:
        arm = arm_of(finished, reporting, scored=True)
    except (CorruptResults, UsageError):
        finals = [v for v in final_values(finished) if v is not None]
        return float(np.mean(finals)) if finals else None, ()
    _, curves = scored_curves(arm, reporting.metric, reporting.worst)
    return float(arm.final.mean()), tuple(curves.mean(axis=0).tolist())


def _end(record: RunRecord, at: float) -> End:
    run_s = float(record.cost.get("wall_s", 0.0))
    return End(at, run_s, run_s * int(record.spec.get("seed_batch", 1)))


def _work(plan: Plan, known: Mapping[str, RunRecord]) -> float | None:
    """Seconds that the runs without a record take one process; None where nothing is known of their cost.

    Where no run of a cell and algorithm has ended, what the suite expects, times what this machine takes longer where
    some have; where the suite expects nothing, the mean of the others.
    """
    costs, took = Costs(plan.suite, known, "wall_s"), {}
    for spec in plan.specs:
        if spec.run_id in known and (wall_s := known[spec.run_id].cost.get("wall_s")):
            took[key_of(vars(spec))] = float(wall_s) / (expected_seconds(plan.suite, spec) or math.nan)
    ratios = [r for r in took.values() if math.isfinite(r)]
    slower = median(ratios) if ratios else 1.0
    prices = [(job, costs.of(job)) for job in plan.jobs(known)]
    priced = [s if key_of(vars(job.specs[0])) in took else s * slower for job, s in prices if s is not None]
    return float(np.mean(priced)) * len(prices) if priced else None if prices else 0.0
