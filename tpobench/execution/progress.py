"""How far a run is: a bar on a terminal, a plain line every half minute anywhere else."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from tpobench.execution.job import NEWS
from tpobench.planning.plan import Job
from tpobench.printable import printable
from tpobench.units import duration

INTERVAL_S = 30.0


class Hearing:
    """What is known of the jobs of language models that are in progress, by the ids of their runs."""

    def __init__(self) -> None:
        self._news: dict[tuple[str, ...], dict[str, float]] = {}

    def hear(self, job: Job, news: Mapping[str, float]) -> None:
        """Take note of a job in progress."""
        self._news[tuple(s.run_id for s in job.specs)] = dict(news)

    def forget(self, ended: Collection[str]) -> None:
        """The runs of a job ended."""
        self._news = {ids: news for ids, news in self._news.items() if not {*ids} & {*ended}}

    def __str__(self) -> str:
        """`reward 0.41, 240 tokens a second`: the mean over the jobs, and the sum; empty where nothing is known."""
        news = list(self._news.values())
        rewards, rates = ([n[name] for n in news if name in n] for name in NEWS)
        parts = [f"reward {sum(rewards) / len(rewards):.2f}"] if rewards else []
        return ", ".join(parts + ([f"{sum(rates):.0f} tokens a second"] if rates else []))


class ProgressLines:
    """Plain lines: one at the start, one every `interval` seconds, one at the end."""

    def __init__(self, title: str, total: int, already: int, stream: IO[str], interval: float = INTERVAL_S) -> None:
        self.title, self.total, self.already, self.stream, self.interval = title, total, already, stream, interval
        self.counts: Counter[str] = Counter()
        self._hearing = Hearing()
        self.hear = self._hearing.hear
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
        self._hearing.forget(statuses)

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
            now = f", now {self._hearing}" * bool(str(self._hearing))
            self._say(f"{done}/{self.total} runs after {duration(spent)}{left}{self._by_status()}{now}")

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
        self._hearing = Hearing()
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
        self._hearing.forget(statuses)
        self._bar.update(self._task, advance=len(statuses), counts=self._shown())

    def hear(self, job: Job, news: Mapping[str, float]) -> None:
        """Show what is known of a job in progress."""
        self._hearing.hear(job, news)
        self._bar.update(self._task, counts=self._shown())

    def _shown(self) -> str:
        counts = [f"{n} {status}" for status, n in sorted(self.counts.items())]
        return " ".join([*counts, str(self._hearing)])

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def progress_for(title: str, total: int, already: int, stream: IO[str]) -> ProgressBar | ProgressLines:
    """The display that suits the stream."""
    return (ProgressBar if stream.isatty() else ProgressLines)(printable(title), total, already, stream)
