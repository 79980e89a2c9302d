"""The executor of this machine: joblib's threads hand jobs to slots, each of which is a child process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Self, cast

from tpobench.errors import TpobenchError
from tpobench.execution.isolate import train_isolated
from tpobench.execution.machine import job_memory
from tpobench.execution.slots import SlotPool
from tpobench.execution.work import Claim, ClaimedElsewhere, Trained, Work

if TYPE_CHECKING:
    from tpobench.execution.job import Message
    from tpobench.execution.stop import Stop
    from tpobench.planning.plan import Job


class Local:
    """`processes` slots on this machine, kept for all plans that are run with it; `close` ends them.

    memory_limit: bytes of one job.  devices: indices of CUDA devices, given to the slots in turn.
    """

    def __init__(self, processes: int = 1, memory_limit: int | None = None, devices: Sequence[int] = ()) -> None:
        self.processes, self.memory_limit = processes, memory_limit or job_memory(processes)
        self._pool = SlotPool(processes, memory_limit, devices)

    def run(
        self, jobs: Sequence[Job], work: Work, message: Callable[[Job], Message], stop: Stop
    ) -> Generator[Trained | ClaimedElsewhere | TpobenchError]:
        """Take each job when a slot is free for it, and train it there."""
        import joblib  # type: ignore[import-untyped]  # noqa: PLC0415 - `--help` does not need it

        def one(job: Job) -> Trained | ClaimedElsewhere | TpobenchError | None:
            """Nothing may be raised through joblib: it would drop the jobs beside this one."""
            try:
                claim = work.take(job)
                if not isinstance(claim, Claim):
                    return claim
                return claim, train_isolated(self._pool, message(claim.job), claim.timeout_s)
            except TpobenchError as error:
                return error
            except OSError as error:
                return TpobenchError(f"{type(error).__name__}: {error}")

        stop.on_kill.append(self._pool.kill)
        self._pool.tell(work.hear)
        threads = joblib.Parallel(
            n_jobs=self.processes,
            backend="threading",
            batch_size=1,
            pre_dispatch=self.processes,
            return_as="generator_unordered",
        )
        trained = threads(joblib.delayed(one)(job) for job in jobs)
        results = cast("Iterator[Trained | ClaimedElsewhere | TpobenchError | None]", trained)
        try:
            yield from (result for result in results if result is not None)
        except BaseException:
            stop.asked.set()
            self._pool.kill()
            for result in results:  # joblib complains of results that nobody takes
                if isinstance(result, tuple):
                    result[0].lock.release()
            raise

    def start(self) -> None:
        """Start the child processes now instead of at their first job."""
        self._pool.start()

    def close(self) -> None:
        """End the child processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
