"""How far a run is: a bar on a terminal, a plain line every half minute anywhere else."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from tpobench.printable import printable
from tpobench.units import duration

INTERVAL_S = 30.0


class ProgressLines:
    """Plain lines: one at the start, one every `interval` seconds, one at the end."""

    def __init__(self, title: str, total: int, already: int, stream: IO[str], interval: float = INTERVAL_S) -> None:
        self.title, self.total, self.already, self.stream, self.interval = title, total, already, stream, interval
        self.counts: Counter[str] = Counter()
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._say(f"{self.total} runs to do, {self.already} done before")
        self._thread.start()
        return self

    def __call__(self, statuses: dict[str, str]) -> None:
        """Count the runs of a job that ended."""
        self.counts.update(statuses.values())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        done = self.counts.total()
        ended = "stopped at" if kind else "finished"
        self._say(f"{ended} {done}/{self.total} runs in {duration(time.monotonic() - self._start)}{self._by_status()}")

    def _tick(self) -> None:
        while not self._stop.wait(self.interval):
            done, spent = self.counts.total(), time.monotonic() - self._start
            left = f", about {duration(spent / done * (self.total - done))} left" if done else ""
            self._say(f"{done}/{self.total} runs after {duration(spent)}{left}{self._by_status()}")

    def _by_status(self) -> str:
        return "".join(f", {n} {status}" for status, n in sorted(self.counts.items()))

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the runs go on when nobody can hear of them
            print(f"{self.title}: {text}", file=self.stream, flush=True)


class ProgressBar:
    """A bar with the time left."""

    def __init__(self, title: str, total: int, already: int, stream: IO[str]) -> None:
        from rich.console import Console  # noqa: PLC0415 - not needed off a terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        del already  # a bar shows what is left to do
        self.counts: Counter[str] = Counter()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            console=Console(file=stream),
        )
        self._task = self._bar.add_task(title, total=total, counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __call__(self, statuses: dict[str, str]) -> None:
        """Count the runs of a job that ended."""
        self.counts.update(statuses.values())
        shown = " ".join(f"{n} {status}" for status, n in sorted(self.counts.items()))
        self._bar.update(self._task, advance=len(statuses), counts=shown)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def progress_for(title: str, total: int, already: int, stream: IO[str]) -> ProgressBar | ProgressLines:
    """The display that suits the stream."""
    return (ProgressBar if stream.isatty() else ProgressLines)(printable(title), total, already, stream)
