"""What commands share that train round after round, each chosen by the results before it: looks and levels."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tpobench.cli.base import say
from tpobench.units import duration

if TYPE_CHECKING:
    from tpobench.execution.engine import Executor, Options
    from tpobench.execution.stop import Stop
    from tpobench.planning.plan import Plan
    from tpobench.records.store import RunRecord, Store


class Rounds:
    """The rounds that one invocation takes, their budget of time, and what they amounted to."""

    ends: str  # what a time budget ends, such as "the run"

    def __init__(self, store: Store, executor: Executor, options: Options, plugins: Sequence[str], stop: Stop) -> None:
        self.store, self.executor, self.options, self.plugins, self.stop = store, executor, options, plugins, stop
        self.ran: Counter[str] = Counter()
        self.elsewhere = self.quarantined = 0
        self._start = time.monotonic()

    def goes_on(self) -> bool:
        """Whether another round may begin: nobody asked to stop, and there is time left."""
        if self.stop.asked.is_set():
            return False
        left = self._left()
        if left is None or left > 0:
            return True
        self.tell_of_time()
        return False

    def train(self, todo: Plan, known: Mapping[str, RunRecord], label: str) -> bool:
        """Train the runs of one round; whether the time budget cut it short."""
        from tpobench.execution.engine import due, execute
        from tpobench.execution.progress import progress_for
        from tpobench.records.store import FINISHED

        options = dataclasses.replace(self.options, time_budget_s=self._left())
        mine, _ = due(todo, dict(known), options)
        done = sum(s.run_id in known and known[s.run_id].status in FINISHED for s in todo.specs)
        total = sum(len(job.specs) for job in mine)
        with progress_for(f"{self.store.folder.name} {label}", total, done, sys.stderr) as progress:
            outcome = execute(
                todo, self.store, 1, progress, self.plugins, executor=self.executor, options=options, stop=self.stop
            )
        self.ran += outcome.counts
        self.elsewhere += len(outcome.elsewhere)
        self.quarantined = max(self.quarantined, outcome.quarantined)  # each round meets those of a packed file again
        return outcome.timed_out

    def tell_of_time(self) -> None:
        """Say that the time budget is why it ends here."""
        say(f"the time budget of {duration(self.options.time_budget_s or 0)} ended {self.ends}")

    @property
    def tally(self) -> dict[str, Any]:
        """For the answer to scripts."""
        return {
            "ran": dict(sorted(self.ran.items())), "elsewhere": self.elsewhere, "quarantined": self.quarantined,
        }  # fmt: skip

    def _left(self) -> float | None:
        budget = self.options.time_budget_s
        return None if budget is None else max(0.0, budget - self._spent())

    def _spent(self) -> float:
        return time.monotonic() - self._start


def tell_of_waiting(
    what: str, whole: int, waiting: Sequence[Plan], known: dict[str, RunRecord], options: Options
) -> None:
    """Say how many are not over, and what goes on with them.

    what: such as "searches are not done".
    waiting: the next runs of each of these.
    """
    from tpobench.execution.engine import due

    if not waiting:
        return
    held = sum(due(todo, known, options)[1] > 0 for todo in waiting)
    why, how = (f", {held} of them because of runs that were given up", " with --retry-failed") if held else ("", "")
    say(f"{len(waiting)} of {whole} {what}{why}; the same command{how} goes on from there")


def least_and_most_text(costs: Mapping[str, Any]) -> tuple[str, str]:
    """What is still to do at least and at most, `30 runs, CPU time 2 min 00 s`; of `least_runs`, `least_cpu_s`, ..."""
    least, most = (
        f"{costs[f'{k}_runs']} runs, CPU time {'unknown' if (s := costs[f'{k}_cpu_s']) is None else duration(s)}"
        for k in ("least", "most")
    )
    return least, most
