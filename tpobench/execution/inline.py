"""The executor without child processes: for a debugger, and for algorithms that exist in this process only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tpobench.children import pin_threads
from tpobench.execution.isolate import train_apart
from tpobench.execution.job import Message, train_job
from tpobench.execution.work import Claim, ClaimedElsewhere, Trained, Work
from tpobench.planning.plan import Job

if TYPE_CHECKING:
    from tpobench.errors import TpobenchError
    from tpobench.execution.stop import Stop


class Inline:
    """Trains in this process, one job after another.  A run that kills its process kills this one."""

    processes = 1

    def run(
        self, jobs: Sequence[Job], work: Work, message: Callable[[Job], Message], stop: Stop
    ) -> Generator[Trained | ClaimedElsewhere | TpobenchError]:
        """Take each job and train it."""
        for job in jobs:
            claim = work.take(job)
            if claim is None:
                continue
            if not isinstance(claim, Claim):
                yield claim
                continue
            pin_threads(claim.job.specs[0].threads)
            try:
                with _interruptible(stop):
                    records = train_apart(train_job, message(claim.job))
            except _Killed:
                claim.lock.release()
                return
            yield claim, records

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
