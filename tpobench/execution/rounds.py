"""The one loop over the runs of a design: round after round, until none comes next, or time is up, or a signal came."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from tpobench.execution.due import Options, due, runs_of
from tpobench.execution.engine import Executor, execute
from tpobench.execution.progress import progress_for
from tpobench.execution.stop import Stop
from tpobench.planning.design import Known, Rounds, finished
from tpobench.planning.plan import Plan
from tpobench.records.store import RunRecord, Store

S = TypeVar("S", bound=Rounds)


class Clock:
    """What is left of a budget of time, from now on."""

    def __init__(self, budget_s: float | None) -> None:
        self.budget_s, self._start = budget_s, time.monotonic()

    def left(self) -> float | None:
        """Seconds, None where there is no limit."""
        return None if self.budget_s is None else max(0.0, self.budget_s - self.spent())

    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start


class Place(Protocol):
    """Where the runs of a design are kept."""

    def known(self) -> dict[str, RunRecord]:
        """All records that are there."""

    def store(self, plan: Plan) -> Store:
        """The folder that the runs of a plan go to."""


@dataclass(frozen=True)
class Folder:
    """The runs of one suite in one folder."""

    path: Path

    def known(self) -> dict[str, RunRecord]:
        """All records that are there."""
        return Store(self.path).known()[0]

    def store(self, plan: Plan) -> Store:  # noqa: ARG002 - all go there
        """The folder."""
        return Store(self.path)


@dataclass(frozen=True)
class Machinery:
    """What trains the runs, and how far it goes."""

    executor: Executor
    options: Options
    plugins: Sequence[str]
    stop: Stop
    clock: Clock
    tell: Callable[[str], None]  # takes lines for people


@dataclass
class Invocation:
    """What an invocation did."""

    before: Known  # the records that were there when it began
    known: Known  # those that are there now
    tried: set[str] = field(default_factory=set)  # ids of the runs of all rounds, those with a result before too
    ran: Counter[str] = field(default_factory=Counter)  # runs by status
    elsewhere: int = 0  # runs that another invocation made meanwhile
    quarantined: int = 0
    timed_out: bool = False


def take_rounds(
    replay: Callable[[Known], S],
    place: Place,
    by: Machinery,
    prepared: Callable[[Sequence[Plan]], Sequence[Plan]] = lambda plans: plans,
    known: Known | None = None,
) -> tuple[S, Invocation]:
    """Make the runs that come next until none does; the state after the last of them, and what was done.

    A part of a design whose runs end without a result waits for the next invocation, and the others go on.

    replay: the state after some records.  prepared: what makes the plans of a round ready, before its first run.
    known: the records of `place`, where they were read already.
    """
    known = place.known() if known is None else known
    invocation, number = Invocation(known, known), 0
    state = replay(known)
    while not (by.stop.asked.is_set() or invocation.timed_out) and (todo := state.next(invocation.tried)) is not None:
        number += 1
        if todo.note:
            by.tell(todo.note)
        for plan in prepared(todo.plans):
            if not by.stop.asked.is_set():
                _take(plan, place.store(plan), todo.title, by, invocation)
        invocation.known = place.known()
        before, state = state, replay(invocation.known)
        if news := state.progress(before, number):
            by.tell(news)
    return state, invocation


def _take(plan: Plan, store: Store, title: str, by: Machinery, invocation: Invocation) -> None:
    """The runs of one plan of a round."""
    options = dataclasses.replace(by.options, time_budget_s=by.clock.left(), max_cost_s=None)  # both hold for all
    jobs, _ = due(plan, invocation.known, options)
    done = sum(finished(spec, invocation.known) for spec in plan.specs)
    label = f"{store.folder.name} {title}".strip()
    display = progress_for(label, runs_of(jobs), done, sys.stderr) if plan.specs else nullcontext()
    with display as progress:
        outcome = execute(plan, store, 1, progress, by.plugins, executor=by.executor, options=options, stop=by.stop)
    invocation.tried.update(spec.run_id for spec in plan.specs)
    invocation.ran += outcome.counts
    invocation.elsewhere += len(outcome.elsewhere)
    # each round meets those of a packed file again
    invocation.quarantined = max(invocation.quarantined, outcome.quarantined)
    invocation.timed_out |= outcome.timed_out
