"""The jobs that are due: in which order, whose they are, and when to start no more of them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpobench.execution.estimate import Costs, wall_seconds
from tpobench.execution.stop import Stop
from tpobench.planning.plan import Job, Plan
from tpobench.records.store import BROKEN, RunRecord, Store

if TYPE_CHECKING:
    from filelock import FileLock

UNKNOWN_TIMEOUT_S = 86400.0
LEAST_TIMEOUT_S = 600.0
TIMEOUT_FACTOR = 10


@dataclass(frozen=True)
class Claim:
    """A job that this invocation alone may run, until its lock is released."""

    job: Job
    lock: FileLock
    timeout_s: float


@dataclass(frozen=True)
class ClaimedElsewhere:
    """A job that another invocation is running."""

    job: Job


Trained = tuple[Claim, list[RunRecord]]
Hear = Callable[[Job, Mapping[str, float]], None]  # called with what is known of a job in progress


class Work:
    """The jobs of a plan that are due, handed out one at a time to any thread.

    Order: rounds of seeds, so that a run cut short is balanced; within a round the algorithms of one plugin after
    another, to and fro, since each plugin has processes of its own; then the longest first, so that no process idles at
    the end.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        known: Mapping[str, RunRecord],
        jobs: Sequence[Job],
        *,
        processes: int,
        stop: Stop,
        time_budget_s: float | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.costs = Costs(plan.suite, known, "wall_s")
        origins = sorted({tuple(sorted(job.specs[0].origins)) for job in jobs})  # those without plugins first

        def turn(job: Job) -> tuple[int, int, float]:
            place = origins.index(tuple(sorted(job.specs[0].origins)))
            return job.round, place if job.round % 2 == 0 else -place, -(self.costs.of(job) or 0.0)

        self.jobs = sorted(jobs, key=turn)
        self.hear: Hear = lambda *_: None
        self.timed_out = False  # the time budget ended the run
        self.elsewhere: dict[str, RunRecord] = {}  # records that another invocation wrote meanwhile
        self._store, self._stop, self._processes = store, stop, processes
        self._attempts = {i: r.attempts for i, r in known.items() if r.status in BROKEN}
        self._budget, self._timeout = time_budget_s, timeout_s
        self._start = time.monotonic()
        self._admitted: set[int] = set()
        self._lock = threading.Lock()

    def take(self, job: Job) -> Claim | ClaimedElsewhere | None:
        """Claim a job, and look again which of its runs are still due; None where there is nothing to start."""
        with self._lock:
            if self._stop.asked.is_set() or not self._in_time(job):
                return None
        lock = self._store.claim(job.key)
        if lock is None:
            return ClaimedElsewhere(job)
        due = []
        for spec in job.specs:
            record = self._store.read(spec.run_id)
            if record is None or (record.status in BROKEN and record.attempts <= self._attempts.get(record.id, 0)):
                due.append(spec)
            else:
                with self._lock:
                    self.elsewhere[record.id] = record
        if not due:
            lock.release()
            return None
        return Claim(Job(tuple(due), job.seeds), lock, self._timeout_of(job))

    def done(self, claim: Claim, records: Sequence[RunRecord]) -> None:
        """Give a job back, with its records written."""
        with self._lock:
            for record in records:
                self.costs.learn(record)
        claim.lock.release()

    def attempt(self, run_id: str) -> int:
        """The number of the attempt at a run that is being made now."""
        return self._attempts.get(run_id, 0) + 1

    def _timeout_of(self, job: Job) -> float:
        if self._timeout is not None:
            return self._timeout
        with self._lock:
            expected = self.costs.of(job)
        return UNKNOWN_TIMEOUT_S if expected is None else max(LEAST_TIMEOUT_S, TIMEOUT_FACTOR * expected)

    def _in_time(self, job: Job) -> bool:
        """A round of seeds is started only if all of it fits what is left; the first one starts anyway."""
        if self._budget is None:
            return True
        spent = time.monotonic() - self._start
        if job.round not in self._admitted and not self.timed_out:
            costs = [self.costs.of(j) or 0.0 for j in self.jobs if j.round == job.round]
            if not self._admitted or spent + wall_seconds(costs, self._processes) <= self._budget:
                self._admitted.add(job.round)
        if job.round not in self._admitted or spent >= self._budget:
            self.timed_out = True
            return False
        return not self.timed_out


def shard_of(job: Job, shards: int) -> int:
    """Which of `shards` machines takes a job: 1 to `shards`.

    Depends on the job alone, and deals the blocks of each cell and algorithm out in turn, so that every shard gets its
    part of every cell.
    """
    start = int(hashlib.sha256(job.specs[0].group.encode()).hexdigest()[:8], 16)
    return (start + job.round) % shards + 1
