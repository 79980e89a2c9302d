"""The part of the Dask executor that runs inside a Dask worker: the slots of this worker, and one job in one of them.

A job never runs in the Dask worker itself.  What kills, hangs or swells its process ends a child of the worker, and the
scheduler only ever sees a task that returns.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpobench import __version__
from tpobench.errors import TpobenchError
from tpobench.execution.isolate import train_isolated
from tpobench.execution.job import Message
from tpobench.execution.machine import MEMORY_SHARE, memory_bytes
from tpobench.execution.slots import SlotPool
from tpobench.identity import canonical
from tpobench.records.store import SCHEMA

if TYPE_CHECKING:
    from distributed import Worker

POLL_S = 0.2
IDLE_S = 5.0  # a slot without a job for that long ends: the command that used it is gone, or has little left to do
GONE = {"closing", "closed", "failed"}  # states of a Dask worker


def describe() -> str:
    """Who this worker is, for the command that wants to use it."""
    return canonical({"tpobench": __version__, "schema": SCHEMA})


def train_remotely(text: str, timeout_s: float, memory_limit: int | None, token: str, client: str) -> str:
    """Train the job in `text` (a `Message`) in a child of this Dask worker.  Returns one JSON object.

    {"records": [one line each]}, without any where the command has stopped meanwhile, or {"refused": why}.
    memory_limit: bytes of one job; default: an equal share of this worker's memory for each of its threads.
    token: the command that asks.  client: what `describe` says there.
    """
    from distributed import Reschedule, get_worker  # noqa: PLC0415 - an optional dependency

    worker = get_worker()
    if client != describe():
        return canonical({"refused": f"Dask worker {worker.address} has {versions(describe())}"})
    message = Message.from_json(text)
    spec = message.job.specs[0]
    setting = Setting(token, spec.threads, spec.device, memory_limit or _share(worker), spec.origins)
    try:
        with _slots.lent(setting, _wanted(worker, str(worker.get_current_task()))) as pool:
            records = [] if pool is None else train_isolated(pool, message, timeout_s)
            if pool is not None and pool.killed.is_set():
                raise Reschedule  # this worker is closing; where nobody wants the job any more, nothing hears it
    except (TpobenchError, OSError) as error:
        return canonical({"refused": f"Dask worker {worker.address}: {error}"})
    return canonical({"records": [record.to_line() for record in records]})


def retire(token: str) -> None:
    """Start nothing more for a command that stops or ends, and end its idle slots; running jobs finish."""
    _slots.retire(token)


def versions(description: str) -> str:
    """What `describe` says, for people."""
    raw = json.loads(description)
    return f"tpobench {raw['tpobench']} (records of schema {raw['schema']})"


@dataclass(frozen=True)
class Setting:
    """What jobs must have in common to share a child.  Commands share none: their plugins may clash.

    origins: the plugins that have run in it, by their versions.
    """

    token: str
    threads: int
    device: str
    memory_limit: int
    origins: frozenset[str] = frozenset()


@dataclass
class Lent:
    """One slot: a pool of size 1, which can be killed alone."""

    setting: Setting
    pool: SlotPool
    wanted: Callable[[], bool]
    since: float = 0.0  # idle since


class Slots:
    """The slots of one process, started when they are needed: at most as many as jobs ever ran at the same time.

    A thread ends those whose job nobody wants any more - cancelled, or the command or this worker is gone - and those
    idle for long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Lent] = []
        self._busy: list[Lent] = []
        self._retired: set[str] = set()
        self._has_keeper = False  # whether the thread runs

    @contextmanager
    def lent(self, setting: Setting, wanted: Callable[[], bool]) -> Iterator[SlotPool | None]:
        """A slot for one job, None for a command that has stopped.  It is killed when `wanted` says no."""
        slot = self._take(setting, wanted)
        if slot is None:
            yield None
            return
        try:
            yield slot.pool
        finally:
            self._give_back(slot)

    def retire(self, token: str) -> None:
        """Lend nothing more to a command, and end its idle slots."""
        with self._lock:
            self._retired.add(token)
            ended = [slot for slot in self._idle if slot.setting.token == token]
            self._idle = [slot for slot in self._idle if slot.setting.token != token]
        for slot in ended:
            slot.pool.close()

    def _take(self, setting: Setting, wanted: Callable[[], bool]) -> Lent | None:
        with self._lock:
            if setting.token in self._retired:
                return None
            fitting = [slot for slot in self._idle if slot.setting == setting]
            other = None if fitting or not self._idle else self._idle.pop(0)
            if fitting:
                slot = fitting[-1]
                slot.wanted = wanted
                self._idle.remove(slot)
            else:
                slot = Lent(setting, SlotPool(1, setting.memory_limit), wanted)
            self._busy.append(slot)
            if not self._has_keeper:
                self._has_keeper = True
                threading.Thread(target=self._keep, name="tpobench-keeper", daemon=True).start()
        if other is not None:
            other.pool.close()
        return slot

    def _give_back(self, slot: Lent) -> None:
        with self._lock:
            self._busy.remove(slot)
            stays = slot.setting.token not in self._retired and not slot.pool.killed.is_set()
            if stays:
                slot.since = time.monotonic()
                self._idle.append(slot)
        if not stays:
            slot.pool.close()

    def _keep(self) -> None:
        while True:
            time.sleep(POLL_S)
            with self._lock:
                if not self._idle and not self._busy:
                    self._has_keeper = False
                    return
                unwanted = [slot for slot in self._busy if not slot.wanted()]
                old = [slot for slot in self._idle if time.monotonic() - slot.since > IDLE_S]
                self._idle = [slot for slot in self._idle if slot not in old]
            for slot in unwanted:
                slot.pool.kill()
            for slot in old:
                slot.pool.close()


_slots = Slots()


def _wanted(worker: Worker, key: str) -> Callable[[], bool]:
    """Whether the scheduler still waits for a task.  Dask itself lets a cancelled task run to its end."""

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled" and worker.status.name not in GONE

    return wanted


def _share(worker: Worker) -> int:
    memory = worker.memory_manager.memory_limit or memory_bytes()
    return int(MEMORY_SHARE * memory / worker.state.nthreads)
