"""The executor without child processes: for a debugger, and for algorithms that exist in this process only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tpobench.children import pin_threads
from tpobench.execution.isolate import train_apart
from tpobench.execution.job import Message, train_job
from tpobench.execution.work import Held, Taken, Work
from tpobench.planning.plan import Job
from tpobench.records.store import RunRecord

if TYPE_CHECKING:
    from tpobench.errors import TpobenchError
    from tpobench.execution.stop import Stop


class Inline:
    """Trains in this process, one job after another.  A run that kills its process kills this one."""

    processes = 1

    def run(
        self, jobs: Sequence[Job], work: Work, message: Callable[[Job], Message], stop: Stop
    ) -> Generator[tuple[Taken, list[RunRecord]] | Held | TpobenchError]:
        """Take each job and train it."""
        for job in jobs:
            taken = work.take(job)
            if taken is None:
                continue
            if not isinstance(taken, Taken):
                yield taken
                continue
            pin_threads(taken.job.specs[0].threads)
            try:
                with _interruptible(stop):
                    records = train_apart(train_job, message(taken.job))
            except _Killed:
                taken.lock.release()
                return
            yield taken, records

    def close(self) -> None:
        """Nothing is held."""


class _Killed(BaseException):
    """No run catches it."""


@contextmanager
def _interruptible(stop: Stop) -> Iterator[None]:
    """The signal handler runs in this thread, so what it raises ends the job."""

    def end() -> None:
        raise _Killed

    stop.on_kill.append(end)
    try:
        yield
    finally:
        stop.on_kill.remove(end)
