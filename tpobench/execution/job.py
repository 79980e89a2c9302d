"""One job from message to records.  Runs in a child or in this process; nothing that a run raises leaves it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tpobench.data import files as data
from tpobench.errors import in_one_line, words_of
from tpobench.execution.assemble import assemble
from tpobench.execution.checkpoints import Checkpoints, Saved
from tpobench.execution.provenance import provenance
from tpobench.identity import canonical
from tpobench.planning.plan import Job, RunSpec
from tpobench.plugins.load import Plugin, load_plugin
from tpobench.plugins.undisturbed import undisturbed
from tpobench.records.store import DamagedRecord, RunRecord, parse_record
from tpobench.tasks.settings import TOKENS

if TYPE_CHECKING:
    from tpobench.training.loop import Measurement
    from tpobench.training.state import Snapshot

REWARD, RATE = NEWS = ("reward", "tokens_per_s")  # what is said of a job in progress, beside
UPDATE = "update"  # which is about to begin
CHECKPOINT_S = 300.0  # wall-clock time from one checkpoint to the next
TRACEBACK_LINES = 12
LINE_LENGTH = 500
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError")
ALLOCATION = "can't allocate memory"  # how torch's CPU allocator says it, in a bare RuntimeError


@dataclass(frozen=True)
class Message:
    """Everything a process elsewhere needs to train a job, as plain values."""

    job: Job
    reporting: dict[str, Any]
    plugins: tuple[Plugin, ...] = field(default=())  # those that the job needs; see `plugins_for`
    data: Mapping[str, str] = field(default_factory=dict)  # data file -> path on the machine that planned
    watched: bool = False  # the child tells every update before it begins
    checkpoint: str = ""  # where its state is kept; empty: nowhere
    checkpoint_s: float = CHECKPOINT_S

    def to_json(self) -> str:
        """One line."""
        return canonical(
            {
                "specs": [spec.as_dict() for spec in self.job.specs],
                "seeds": self.job.seeds,
                "left": self.job.left,
                "until": self.job.until,
                "reporting": self.reporting,
                "plugins": [dataclasses.asdict(p) for p in self.plugins],
                "data": dict(self.data),
                "watched": self.watched,
                "checkpoint": self.checkpoint,
                "checkpoint_s": self.checkpoint_s,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Message:
        """The message in one line."""
        raw = json.loads(text)
        specs, left = tuple(RunSpec(**spec) for spec in raw["specs"]), tuple((s, update) for s, update in raw["left"])
        job = Job(specs, tuple(raw["seeds"]), left, raw["until"])
        plugins = tuple(Plugin(**p) for p in raw["plugins"])
        rest = {k: raw[k] for k in ("data", "watched", "checkpoint", "checkpoint_s")}
        return cls(job, raw["reporting"], plugins, **rest)

    def of(self, part: Job) -> Message:
        """The same for a part of the job."""
        return dataclasses.replace(self, job=part)


def plugins_for(job: Job, plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """Those that a job's algorithm and task come from.  No other runs in the process that trains it."""
    return tuple(plugin for plugin in plugins if plugin.version in job.specs[0].origins)


def train_job(
    message: Message, tell: Callable[[int], None] = lambda _: None, news: dict[str, float] | None = None
) -> list[RunRecord]:
    """Train a job: one record per wanted seed, `failed` or `oom` where it raised.

    tell: called with each step as it begins.  news: takes what is said of a job in progress (`told_of`).  A job that
    was interrupted goes on from its checkpoint.
    """
    job, reached = message.job, 0
    checkpoints = Checkpoints(job, message.checkpoint, message.checkpoint_s)
    measured: list[Measurement] = []

    def begin(step: int, snapshot: Callable[[], Snapshot | None] = lambda: None) -> None:
        nonlocal reached
        reached = step
        tell(step)
        if checkpoints.due and (state := snapshot()) is not None:
            checkpoints.write(Saved(state, measured, time.perf_counter() - wall, time.process_time() - cpu))

    started = datetime.now(UTC).isoformat(timespec="seconds")
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        with undisturbed():
            for plugin in message.plugins:
                load_plugin(plugin)
        with undisturbed():
            data.prefer(message.data)
            from tpobench.training.loop import train  # noqa: PLC0415 - imports torch, and threads are pinned first

            more: dict[str, Any] = {}
            if (saved := checkpoints.read()) is not None:
                measured += saved.measurements
                wall, cpu, more = wall - saved.wall_s, cpu - saved.cpu_s, {"resume": saved.snapshot}
            for row in train(job, begin, **more):
                measured.append(row)
                if news is not None:
                    news |= told_of(row, time.perf_counter() - wall)
            records = assemble(job, measured, message.reporting)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever breaks in a run is that run's result
        records = _broken(job, error, message.reporting, reached)
    cost = {
        "wall_s": round((time.perf_counter() - wall) / len(job.seeds), 6),
        "cpu_s": round((time.process_time() - cpu) / len(job.seeds), 6),
        "peak_rss_mb": peak_rss_mb(),
    }
    origin = provenance(job.specs[0], started) | ({"checkpoint": checkpoints.note} if checkpoints.note else {})
    return [dataclasses.replace(r, cost=cost, provenance={**r.provenance, **origin}) for r in records]


def told_of(row: Measurement, seconds: float) -> dict[str, float]:
    """What a measurement says of a job in progress: mean reward, and tokens a second of all its seeds."""
    finite = [v for v in row.value if isinstance(v, float) and math.isfinite(v)]
    if row.metric == REWARD and finite:
        return {REWARD: sum(finite) / len(finite)}
    if row.metric == TOKENS.name and row.step and seconds > 0:
        return {RATE: sum(finite) / seconds}
    return {}


def without_result(job: Job, status: str, reason: str, reporting: dict[str, Any], **origin: Any) -> list[RunRecord]:
    """The records of a job that ended without a result."""
    return [RunRecord(s.run_id, s.as_dict(), status, reason, reporting=reporting, provenance=origin) for s in job.specs]


def answered(lines: object, job: Job) -> list[RunRecord]:
    """The records in the answer to a job: one for each of its runs, in their order.

    Raises:
        DamagedRecord: anything else.
    """
    if not isinstance(lines, list) or len(lines) != len(job.specs) or not all(isinstance(x, str) for x in lines):
        where, fault = "the answer", "not one record for each run"
        raise DamagedRecord(where, fault)
    records = [parse_record(line, "the answer", spec.run_id) for line, spec in zip(lines, job.specs, strict=True)]
    for record in records:
        if record.status == "skipped":
            where, fault = "the answer", "a run that was taken is not skipped"
            raise DamagedRecord(where, fault)
    return records


def _broken(job: Job, error: BaseException, reporting: dict[str, Any], step: int) -> list[RunRecord]:
    short = type(error).__name__ in OUT_OF_MEMORY or ALLOCATION in words_of(error)
    # the traceback names files of this machine, so it belongs to the origin and not to the payload
    lines = "".join(traceback.format_exception(error)).splitlines()[-TRACEBACK_LINES:]
    status, frames = "oom" if short else "failed", list(map(_plain, lines))
    return without_result(job, status, _plain(in_one_line(error)), reporting, traceback=frames, step=step)


def _plain(line: str) -> str:
    """What a record can hold of a line: no halves of surrogate pairs, and no megabytes."""
    line = line.encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]}..."


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        import psutil  # noqa: PLC0415 - the fallback

        return float(round(psutil.Process().memory_info().rss / 2**20, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**10 if os.uname().sysname == "Linux" else peak / 2**20, 1)
