"""The options of every verb that trains runs, in one group, and what they amount to."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import NOTICE, DataDirOption, say
from tpobench.cli.data import AllowUnverifiedOption, DataOption
from tpobench.cli.kernel import KernelOption
from tpobench.errors import Stopped, UsageError, unknown
from tpobench.planning.plan import Plan
from tpobench.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from tpobench.execution.due import Options
    from tpobench.execution.engine import Executor
    from tpobench.execution.rounds import Machinery
    from tpobench.execution.stop import Stop

EXECUTORS = ("local", "inline", "dask")

JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one per CPU, or per GPU.")
]
OutOption = Annotated[Path, typer.Option("--out", "--results", help="Folder of all results.")]


@dataclass(frozen=True)
class Training:
    """Where runs are trained, and how far a command goes."""

    jobs: JobsOption = None
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, or several: cuda:0,cuda:1.")] = "cpu"
    kernel: KernelOption = "plain"
    executor: Annotated[
        str, typer.Option("--executor", help="local: isolated processes; inline: this process; dask: a cluster.")
    ] = "local"
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="Address of the Dask scheduler.")] = None
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", help="Stop in time (20m), with balanced seeds.")
    ] = None
    max_cost: Annotated[
        str | None, typer.Option("--max-cost", help="Refuse to start where it may take more CPU time (2h).")
    ] = None
    run_timeout: Annotated[
        str | None,
        typer.Option("--run-timeout", help="Limit of one job; default: 10 times its estimate, at least 10m."),
    ] = None
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="Limit of one job (4G); default: its share of the machine.")
    ] = None
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, help="Attempts at a run that breaks, over all commands.")
    ] = 3
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try broken runs again, however often they broke.")
    ] = False
    data: DataOption = None
    data_dir: DataDirOption = None
    allow_unverified_data: AllowUnverifiedOption = False

    def options(self, shard: str | None = None) -> Options:
        """How far the command goes.

        Raises:
            UsageError: not a duration, or not a shard.
        """
        from tpobench.execution.due import Options

        def seconds(text: str | None, option: str) -> float | None:
            return None if text is None else parse_duration(text, option)

        return Options(
            time_budget_s=seconds(self.time_budget, "--time-budget"),
            max_cost_s=seconds(self.max_cost, "--max-cost"),
            timeout_s=seconds(self.run_timeout, "--run-timeout"),
            max_attempts=self.max_attempts,
            retry_failed=self.retry_failed,
            shard=None if shard is None else parse_shard(shard),
        )

    def workers(self) -> Workers:
        """What trains the runs.

        Raises:
            UsageError: no such device or executor, or options that it cannot follow.
        """
        from tpobench.planning.devices import parse_device

        memory = None if self.memory_limit is None else parse_bytes(self.memory_limit, "--memory-limit")
        return workers_for(self.executor, self.jobs, self.scheduler, memory, parse_device(self.device)[1])


@dataclass(frozen=True)
class Workers:
    """How to make an executor, and how many jobs it runs at a time as far as that is known before it is made."""

    make: Callable[[], Executor]
    processes: int

    @contextmanager
    def begin(self, options: Options, plugins: Sequence[str] = ()) -> Iterator[Machinery]:
        """The executor at work, until it is done or a signal stops it."""
        from tpobench.execution.rounds import Clock, Machinery
        from tpobench.execution.stop import Stop, stopping

        with stopping(Stop(), NOTICE) as stop:
            executor = self.make()
            try:
                yield Machinery(executor, options, plugins, stop, Clock(options.time_budget_s), say)
            finally:
                executor.close()


def workers_for(
    name: str,
    jobs: int | None,
    scheduler: str | None = None,
    memory: int | None = None,
    devices: Sequence[int] = (),
    executors: Sequence[str] = EXECUTORS,
) -> Workers:
    """The executor of a name, one of `executors`.

    Raises:
        UsageError: it is none of them, or cannot follow the other options.
    """
    from tpobench.execution.machine import cores

    if name not in executors:
        raise unknown("executor", name, executors)
    if (name == "dask") != (scheduler is not None):
        msg = "--executor dask needs --scheduler ADDRESS, such as tcp://10.0.0.1:8786, and --scheduler needs it"
        raise UsageError(msg)
    if scheduler is not None:
        from tpobench.execution.cluster import Dask

        if jobs is not None:
            msg = f"--executor dask uses every thread of the cluster, so --jobs {jobs} cannot hold; leave it out"
            raise UsageError(msg)
        return Workers(functools.partial(Dask, scheduler, memory_limit=memory), 1)
    if name == "inline":
        from tpobench.execution.inline import Inline

        if jobs is not None and jobs > 1:
            msg = f"--executor inline trains in this process, so --jobs {jobs} cannot hold; leave it out"
            raise UsageError(msg)
        return Workers(Inline, 1)
    from tpobench.execution.local import Local

    processes = jobs or (len(devices) or cores())
    return Workers(functools.partial(Local, processes, memory, devices), processes)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` is the second of eight parts.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        msg = f"--shard {text}: write k/N with 1 <= k <= N, such as 1/4 for the first of four parts"
        raise UsageError(msg)
    return int(match[1]), int(match[2])


def warn_of_threads(plans: Iterable[Plan], processes: int) -> None:
    """Say so where the jobs would use more threads than there are CPUs."""
    from tpobench.execution.machine import cores

    threads = max((spec.threads for plan in plans for spec in plan.specs), default=1)
    if threads > 1 and threads * processes > cores():
        say(
            f"tpobench: {processes} jobs of {threads} threads share {cores()} CPUs; --jobs {max(1, cores() // threads)}"
        )


def require_not_stopped(folders: Sequence[object], stop: Stop) -> None:
    """Go on unless a signal stopped the runs.

    Raises:
        Stopped: it did.
    """
    if stop.asked.is_set():
        state = f"finished runs are kept in {', '.join(map(str, folders))}" if folders else "nothing was run"
        msg = f"stopped; {state}, the same command goes on from there"
        stopped = Stopped(msg)
        stopped.exit_code = stop.exit_code
        raise stopped
