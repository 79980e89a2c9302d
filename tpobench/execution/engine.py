"""Take a plan's missing runs, have them trained, write every record at once, and tell the caller of each."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tpobench.algorithms.catalog import packaged
from tpobench.errors import NothingToDo, TpobenchError, UsageError, WorkersBroken
from tpobench.execution.due import Options, due, require_affordable, require_room
from tpobench.execution.estimate import key_of
from tpobench.execution.heard import Kept
from tpobench.execution.inline import Inline
from tpobench.execution.job import Message, plugins_for
from tpobench.execution.local import Local
from tpobench.execution.stop import Stop
from tpobench.execution.work import Claim, ClaimedElsewhere, Trained, Work
from tpobench.identity import canonical, neutral_defaults
from tpobench.planning.datasets import has_needs, with_data
from tpobench.planning.design import Fixed, finished
from tpobench.planning.plan import Job, Plan, RunSpec
from tpobench.plugins.load import TASK_VERSIONS, VERSIONS, Plugin, load_plugins
from tpobench.records.store import FINISHED, RunRecord, Store, unwritable
from tpobench.tasks.catalog import PACKAGED_KINDS

Progress = Callable[[dict[str, str]], None]  # called with the status of every run of a job that ended
POLL_S = 0.5


class Executor(Protocol):
    """Where jobs are trained."""

    @property
    def processes(self) -> int:
        """Jobs that are trained at the same time."""

    def close(self) -> None:
        """Give back what it holds."""

    def run(
        self, jobs: Sequence[Job], work: Work, message: Callable[[Job], Message], stop: Stop
    ) -> Generator[Trained | ClaimedElsewhere | TpobenchError]:
        """Take each job from `work` and train it.  Yields every job that ended, and those held by others."""


@dataclass(frozen=True)
class Outcome:
    """What an invocation did."""

    already: int  # runs that had a result before
    ran: dict[str, str] = field(default_factory=dict)  # run id -> status
    elsewhere: dict[str, str] = field(default_factory=dict)  # run id -> status, by another invocation meanwhile
    left: int = 0  # runs of this plan (and shard) that are still due
    given_up: int = 0  # runs without a result that are not tried again
    timed_out: bool = False
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
    *,
    executor: Executor | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    stop: Stop | None = None,
) -> Outcome:
    """Run what is missing.  Every record is written the moment its run ends; what broke is due again.

    executor: `Local(jobs)` by default: isolated child processes.  `Inline()` trains in this process, where algorithms
    that are registered in it but in no plugin file are known too.

    Raises:
        NothingToDo: no algorithm of the plan fits the task.
        UsageError: the store holds runs of other settings, or the plan costs more than allowed.
        StorageFull: a record cannot be written; everything before it is kept.
        WorkersBroken: child processes cannot start.
        DataUnavailable: the runs read data that is not here; `datasets.with_data` finds it elsewhere.
    """
    store = store if isinstance(store, Store) else Store(Path(store))
    stop = stop or Stop()
    if not plan.specs and not plan.skipped:
        msg = "nothing to run: the plan is empty; name at least one algorithm and one seed"
        raise NothingToDo(msg)
    if executor is None:
        with Local(jobs) as local:
            return execute(plan, store, jobs, progress, plugins, executor=local, options=options, stop=stop)
    if not plan.data and has_needs(plan) and due(plan, store.known()[0], options)[0]:
        (plan,) = with_data([plan])
    read = load_plugins(
        plugins, algorithms={s.algorithm for s in plan.specs}, kinds={str(s.task["kind"]) for s in plan.specs}
    )
    _require_reachable(plan, executor, read)
    known, quarantined = _prepare(plan, store)
    mine, given_up = due(plan, known, options)
    require_affordable([(Fixed(plan).replay(known), known)], options)
    if isinstance(executor, Local):
        require_room(mine, executor.memory_limit)
    work = Work(
        plan,
        store,
        known,
        mine,
        processes=executor.processes,
        stop=stop,
        time_budget_s=options.time_budget_s,
        timeout_s=options.timeout_s,
    )
    work.hear = Kept(store, getattr(progress, "hear", work.hear))
    ran = _train(work, store, executor, plan, read, stop, progress)
    results = ran.keys() | work.elsewhere.keys()
    left = sum(s.run_id not in results for job in mine for s in job.specs)
    if left and not (stop.asked.is_set() or work.timed_out):
        msg = f"{left} runs ended without a record; finished runs are kept, the same command goes on with the others"
        raise WorkersBroken(msg)
    return Outcome(
        already=sum(finished(s, known) for s in plan.specs),
        ran=ran,
        elsewhere={i: r.status for i, r in work.elsewhere.items() if i not in ran},
        left=left,
        given_up=given_up,
        timed_out=work.timed_out,
        quarantined=quarantined,
    )


def _prepare(plan: Plan, store: Store) -> tuple[dict[str, RunRecord], int]:
    """Make the folder ready, and read what it holds."""
    try:
        store.open(plan.suite.as_dict())
        known, quarantined = store.known(quarantine=True)
        _supersede(plan, store, known)
        for skip in plan.skipped:
            if skip.spec.run_id not in known:
                spec, reporting = skip.spec.as_dict(), plan.suite.reporting
                store.write(RunRecord(skip.spec.run_id, spec, "skipped", skip.reason, reporting=reporting))
    except OSError as error:
        raise unwritable(store.folder, error) from error
    if not plan.specs:
        reasons = "; ".join(dict.fromkeys(f"{s.algorithm} {s.reason}" for s in plan.skipped))
        msg = f"nothing to run: {reasons}"
        raise NothingToDo(msg)
    return known, quarantined


def _train(
    work: Work,
    store: Store,
    executor: Executor,
    plan: Plan,
    plugins: tuple[Plugin, ...],
    stop: Stop,
    progress: Progress | None,
) -> dict[str, str]:
    """Run the jobs, those that other invocations hold last."""

    def message(job: Job) -> Message:
        checkpoint = str(store.checkpoint(job.key))
        return Message(job, plan.suite.reporting, plugins_for(job, plugins), plan.data, checkpoint=checkpoint)

    ran: dict[str, str] = {}
    reported: set[str] = set()
    jobs: Sequence[Job] = work.jobs
    while jobs:
        waiting: list[Job] = []
        with closing(executor.run(jobs, work, message, stop)) as results:
            for result in results:
                if isinstance(result, TpobenchError):
                    raise result
                if isinstance(result, ClaimedElsewhere):
                    waiting.append(result.job)
                    continue
                statuses = _write(store, work, *result)
                ran |= statuses
                if progress is not None and statuses:
                    progress(statuses)
        others = {i: r.status for i, r in work.elsewhere.items() if i not in reported}
        reported |= others.keys()
        if progress is not None and others:
            progress(others)
        if waiting and not stop.asked.is_set():
            time.sleep(POLL_S)  # another invocation has them; when it is done there is nothing to do, or all of it
        jobs = [] if stop.asked.is_set() or work.timed_out else waiting
    return ran


def _write(store: Store, work: Work, claim: Claim, records: Iterable[RunRecord]) -> dict[str, str]:
    """Write the records of a job that ended, then give it back."""
    numbered = [dataclasses.replace(r, attempts=work.attempt(r.id)) for r in records]
    try:
        for record in numbered:
            store.write(record)
        store.heard(claim.job.key).unlink(missing_ok=True)
        if all(record.status in FINISHED for record in numbered):
            store.checkpoint(claim.job.key).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(store.folder, error) from error
    finally:
        work.done(claim, numbered)
    return {r.id: r.status for r in numbered}


def _require_reachable(plan: Plan, executor: Executor, plugins: Sequence[Plugin]) -> None:
    """A child process knows the package and the plugins of its algorithm and task; this one all that ran in it."""
    read = frozenset(plugin.version for plugin in plugins) & {*VERSIONS.values(), *TASK_VERSIONS.values()}
    if isinstance(executor, Inline):
        elsewhere = sorted({s.algorithm for s in plan.specs if s.origins != read})
        if read and elsewhere:
            msg = (
                "the inline executor trains in this process, where plugins may change what other algorithms compute; "
                "train algorithms of one plugin with no other plugin and no other algorithm "
                f"({', '.join(elsewhere)} here), or leave inline out"
            )
            raise UsageError(msg)
        return
    algorithms = sorted(
        {s.algorithm for s in plan.specs if s.algorithm_version not in read and not packaged(s.algorithm)}
    )
    kinds = sorted({str(s.task["kind"]) for s in plan.specs if s.task_version not in read} - PACKAGED_KINDS)
    for what in (*(f"algorithm '{name}'" for name in algorithms), *(f"task kind '{kind}'" for kind in kinds)):
        msg = f"{what} is registered in this process only; use executor=Inline(), or name its file with plugins"
        raise UsageError(msg)


def _supersede(plan: Plan, store: Store, known: dict[str, RunRecord]) -> None:
    """One cell and algorithm has one definition in a folder, or its seeds would not be repetitions of one experiment.

    Failures and skips of an earlier definition are dropped; results of one are not, so they refuse the new.
    """
    defaults = neutral_defaults(RunSpec)
    planned = {key_of(s.as_dict()): {**defaults, **s.as_dict()} for s in plan.specs}
    for record in known.values():
        old = {**defaults, **record.spec}
        new = planned.get(key_of(old))
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
