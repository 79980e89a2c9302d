"""Take a plan's missing runs, train them in this process or in several, and tell the caller of each one that ends."""

from __future__ import annotations

import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tpobench.errors import NothingToDo, UsageError
from tpobench.execution.estimate import key_of
from tpobench.execution.plugins import load_plugins
from tpobench.execution.worker import THREAD_VARIABLES, run_job
from tpobench.plan import Plan
from tpobench.records import FINISHED, RunRecord, Store, canonical

Progress = Callable[[dict[str, str]], None]  # called with the status of every run of a job that ended


@dataclass(frozen=True)
class Outcome:
    """What an invocation did."""

    already: int  # runs that had a result before
    ran: dict[str, str] = field(default_factory=dict)  # run id -> status
    quarantined: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Runs by status."""
        return Counter(self.ran.values())


def execute(
    plan: Plan,
    store: Store | Path | str,
    jobs: int = 1,
    progress: Progress | None = None,
    plugins: Sequence[str | Path] = (),
) -> Outcome:
    """Run what is missing.  Every record is written the moment its run ends; failed runs are due again.

    Raises:
        NothingToDo: no rule of the plan fits the task.
        UsageError: the store holds runs of other settings.
    """
    store = store if isinstance(store, Store) else Store(Path(store))
    if not plan.specs and not plan.skipped:
        msg = "nothing to run: the plan is empty; name at least one rule and one seed"
        raise NothingToDo(msg)
    store.open(plan.suite.as_dict())
    known, quarantined = store.known(quarantine=True)
    _supersede(plan, store, known)
    for skip in plan.skipped:
        if skip.spec.run_id not in known:
            spec, reporting = skip.spec.as_dict(), plan.suite.reporting
            store.write(RunRecord(skip.spec.run_id, spec, "skipped", skip.reason, reporting=reporting))
    if not plan.specs:
        reasons = "; ".join(dict.fromkeys(f"{s.algorithm} {s.reason}" for s in plan.skipped))
        msg = f"nothing to run: {reasons}"
        raise NothingToDo(msg)
    done = {i for i, r in known.items() if r.status in FINISHED}
    attempts = {i: r.attempts for i, r in known.items() if r.status == "failed"}
    files = tuple(str(Path(p).resolve()) for p in plugins)
    load_plugins(files)
    ran: dict[str, str] = {}
    calls = [
        (job, store.folder, plan.suite.reporting, {s.run_id: attempts.get(s.run_id, 0) for s in job.specs}, files)
        for job in plan.jobs(done)
    ]
    with closing(_results(calls, jobs)) as results:
        for statuses in results:
            ran |= statuses
            if progress is not None:
                progress(statuses)
    return Outcome(sum(s.run_id in done for s in plan.specs), ran, quarantined)


def _supersede(plan: Plan, store: Store, known: dict[str, RunRecord]) -> None:
    """One cell and rule has one definition in a folder, or its seeds would not be repetitions of one experiment.

    Failures and skips of an earlier definition are dropped; results of one are not, so they refuse the new.
    """
    planned = {key_of(s): s.as_dict() for s in plan.specs}
    for record in known.values():
        old = record.spec
        new = planned.get((canonical(old["cell"]), old["matching"], old["algorithm"]))
        changed = [] if new is None else [k for k in new if k != "seed" and canonical(new[k]) != canonical(old.get(k))]
        if new is None or not changed:
            continue
        if record.status not in FINISHED:
            store.path_of(record.id).unlink(missing_ok=True)
            continue
        key = changed[0]
        msg = (
            f"{store.folder} holds runs of {old['algorithm']} with {key} = {canonical(old.get(key))}, these would have "
            f"{canonical(new[key])}; keep them apart with --name NAME"
        )
        raise UsageError(msg)


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches the whole process group; a worker that took it would end in a traceback on the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _results(calls: list[Any], jobs: int) -> Generator[dict[str, str]]:
    if jobs <= 1 or len(calls) <= 1:
        for call in calls:
            yield run_job(*call)
        return
    import joblib  # type: ignore[import-untyped]  # noqa: PLC0415 - one process needs no pool

    # The children must start with these: an OpenMP runtime reads them once, when it is loaded.
    before = {k: os.environ.get(k) for k in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(calls[0][0].specs[0].threads)))
    try:
        pool = joblib.Parallel(
            n_jobs=jobs,
            backend="loky",
            batch_size=1,
            return_as="generator_unordered",
            initializer=_leave_interrupts_to_the_parent,
        )
        with warnings.catch_warnings():  # joblib replaces a worker whose memory grew; nothing is lost by it
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
            yield from cast("Generator[dict[str, str]]", pool(joblib.delayed(run_job)(*call) for call in calls))
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
