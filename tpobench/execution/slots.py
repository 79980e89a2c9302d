"""Slots: child processes that train one job after another, and the supervision that turns a death into a record.

A slot costs its start (importing torch) once.  Whatever a job does to its process - SIGKILL, a segfault, an endless
loop, too much memory, a silent exit - ends that job with a status and a reason; the slot starts anew for the next one.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self

from tpobench.children import THREAD_VARIABLES, boot, child_command, end_group, resident_bytes, signal_name
from tpobench.errors import CorruptResults, StorageFull, WorkersBroken
from tpobench.execution.job import NEWS, UPDATE, Message, answered, without_result
from tpobench.execution.machine import job_memory
from tpobench.execution.stop import Flag
from tpobench.execution.work import Hear
from tpobench.execution.worker import TOKEN_LENGTH
from tpobench.identity import canonical
from tpobench.planning.plan import Job
from tpobench.plugins.load import Plugin
from tpobench.records.store import FINISHED, DamagedRecord, RunRecord
from tpobench.units import duration, size

POLL_S = 0.1
LAST_WORDS_S = 1.0
START_S = 300.0  # importing torch from a cold network disk
DAY_S = 86400.0
LOG_LINES = 20
LOG_BYTES = 16 * 2**20
PIECE_BYTES = 2**16  # of a line, whose end may never come
NO_ANSWER = (ValueError, TypeError, KeyError, RecursionError, DamagedRecord, CorruptResults)
BOOT = boot("tpobench.execution.worker")

# Linux ties PR_SET_PDEATHSIG to the thread that started the child, so all are started by one thread that lives as long
# as this process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="tpobench-starter")


class SlotPool:
    """`size` slots, started when they are first needed.

    memory_limit: bytes of resident memory of one child; default: an equal share of 90 % of the machine.
    devices: indices of CUDA devices, given to the slots in turn.
    """

    def __init__(self, size: int, memory_limit: int | None = None, devices: Sequence[int] = ()) -> None:
        limit = memory_limit or job_memory(size)
        self.killed = Flag()
        self._slots = [Slot(limit, devices[i % len(devices)] if devices else None, self.killed) for i in range(size)]
        self._idle = list(self._slots)
        self._given_back = threading.Condition()

    def tell(self, hear: Hear) -> None:
        """Whom the slots tell from now on what they hear of jobs in progress."""
        for slot in self._slots:
            slot.hear = hear

    def run(self, message: Message, timeout_s: float = DAY_S) -> list[RunRecord]:
        """Train a job in the next free slot.  Empty when the pool was killed meanwhile.

        Raises:
            WorkersBroken: a child process cannot start at all.
        """
        with self._slot(Setting.of(message)) as slot:
            try:
                records = [] if self.killed.is_set() else slot.run(message, timeout_s)
            except WorkersBroken:
                if not self.killed.is_set():  # a child that was killed while it started is not broken
                    raise
        return [] if self.killed.is_set() else records

    @contextmanager
    def _slot(self, setting: Setting) -> Iterator[Slot]:
        """The idle slot that is the nearest to this setting."""
        with self._given_back:
            self._given_back.wait_for(lambda: self._idle)
            slot = min(self._idle, key=lambda slot: slot.distance(setting))
            self._idle.remove(slot)
        try:
            yield slot
        finally:
            with self._given_back:
                self._idle.append(slot)
                self._given_back.notify()

    def start(self) -> None:
        """Start every child, side by side."""
        with ThreadPoolExecutor(len(self._slots)) as threads:
            list(threads.map(lambda slot: slot.start(Setting(1, "cpu")), self._slots))

    @property
    def processes(self) -> list[int]:
        """Process ids of the children alive."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def kill(self) -> None:
        """End every child at once; what they were doing is lost."""
        self.killed.set()
        for slot in self._slots:
            slot.kill()

    def close(self) -> None:
        """End every child for good."""
        self.killed.set()
        for slot in self._slots:
            slot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Setting:
    """What a job asks of the process that trains it."""

    threads: int
    device: str
    plugins: tuple[Plugin, ...] = ()  # that have run in it: whatever they did to torch holds for jobs that need them

    @classmethod
    def of(cls, message: Message) -> Setting:
        """The setting of a job."""
        spec = message.job.specs[0]
        return cls(spec.threads, spec.device, message.plugins)

    def serves(self, other: Setting) -> bool:
        """Whether a job with another setting can be trained where this one was."""
        return self == other or self == replace(other, plugins=())


class Slot:
    """One child process, and another one after each that dies."""

    def __init__(self, memory_limit: int, device: int | None, killed: Flag) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.memory_limit, self.device = memory_limit, device
        self._killed = killed
        self.hear: Hear = lambda *_: None
        self._setting: Setting | None = None
        self._ended: subprocess.Popen[bytes] | None = None
        self._log = _log_file()
        self._log_start = 0
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # of lines; None at the end
        self._token = ""
        self._step: int | None = None
        self._spent = False  # an algorithm replaced functions that the next job needs

    def run(self, message: Message, timeout_s: float) -> list[RunRecord]:
        """Train one job here; a death, a hang or too much memory is its status."""
        if not self._pieces.empty():
            self.kill()  # it went on speaking after its last answer
        self.start(Setting.of(message))
        self._log_start = os.fstat(self._log.fileno()).st_size
        self._step = None
        self._request(message.to_json())
        answer = self._await(message.job, time.monotonic() + timeout_s, timeout_s)
        if isinstance(answer, list):
            records = answer
            heavy = any(r.status == "oom" for r in records) or resident_bytes(self.process) > self.memory_limit / 2
            if heavy or self._spent:
                self.kill()  # the next job starts in a fresh process, or it would pay for this one's leftovers
        else:
            self.kill()
            status, reason = answer
            origin: dict[str, int] = {} if self._step is None else {"step": self._step}
            steps = message.job.specs[0].training["steps"]
            reason += "" if self._step is None else f" (last heard of at step {self._step} of {steps})"
            records = without_result(message.job, status, reason, message.reporting, **origin)
        return [r if r.status in FINISHED else _with_log(r, self._tail()) for r in records]

    def distance(self, setting: Setting) -> int:
        """How far this slot is from a job with this setting.

        0: its child is ready for it; 1: once a plugin has run; 2: there is no child yet; 3: it is ready for others.
        """
        if self._setting is None:
            return 2
        return 0 if self._setting == setting else 1 if self._setting.serves(setting) else 3

    def start(self, setting: Setting) -> None:
        """Make sure that a child with this setting is ready.

        Raises:
            WorkersBroken: it ends or is silent before it is ready.
        """
        alive = self.process is not None and self.process.poll() is None
        if alive and self._setting is not None and self._setting.serves(setting):
            self._setting = setting
            return
        self.kill()
        self._setting = setting
        self._pieces = queue.SimpleQueue()
        self._log_start = os.fstat(self._log.fileno()).st_size
        try:
            self.process = _starter.submit(self._popen, setting.threads, setting.device).result()
        except OSError as error:
            msg = f"a worker process cannot start: {error.strerror or error}{_remedy(error)}"
            raise WorkersBroken(msg) from error
        if self._killed.is_set():  # whoever set it may have looked for this child before it was there
            self.kill()
        threading.Thread(target=_read, args=(self.process.stdout, self._pieces), daemon=True).start()
        self._request(canonical({"threads": setting.threads, "device": setting.device}))
        process, deadline = self.process, time.monotonic() + START_S
        ready = f'{self._token}{{"ready":true}}\n'.encode()
        while (piece := self._next()) is None or not piece.endswith(ready):  # a library may speak before
            if piece is None or process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                last = (self._tail() or ["it says nothing"])[-1]
                msg = f"a worker process cannot start: {last}; `tpobench doctor` shows what is missing"
                raise WorkersBroken(msg)

    def kill(self) -> None:
        """End the child and everything it started."""
        process = self.process
        if process is None or process is self._ended:
            return
        self._ended = process
        end_group(process)
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()

    def close(self) -> None:
        """End the child for good."""
        self.kill()
        self._log.close()

    def _popen(self, threads: int, device: str) -> subprocess.Popen[bytes]:
        pinned = dict.fromkeys(THREAD_VARIABLES, str(threads))
        if device == "cuda":
            pinned |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
            pinned |= {} if self.device is None else {"CUDA_VISIBLE_DEVICES": str(self.device)}
        return subprocess.Popen(  # noqa: S603 - this interpreter, and a job that is data
            child_command(BOOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **pinned},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        )

    def _request(self, text: str) -> None:
        """Ask the child; what answers begins with a token that nobody else knows."""
        self._token = secrets.token_hex(TOKEN_LENGTH // 2)
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError, ValueError):  # a dead child is found by the one who waits for its answer
                self.process.stdin.write(
                    f"{self._token}{text}\n".encode(errors="surrogatepass")
                )  # names may be no text
                self.process.stdin.flush()

    def _next(self) -> bytes | None:
        """The next line or piece of one, None at the end of the stream, empty where there is none yet."""
        try:
            return self._pieces.get(timeout=POLL_S)
        except queue.Empty:
            return b""

    def _await(self, job: Job, deadline: float, timeout_s: float) -> list[RunRecord] | tuple[str, str]:
        """The records of the job, or the status and reason of a job without an answer."""
        process = self.process
        assert process is not None  # noqa: S101 - started just before
        dead_since = None
        token, line = self._token.encode(), bytearray()
        checked = time.monotonic()
        while True:
            piece = self._next()
            if piece:
                line += piece
                if not line.startswith(token):  # nobody waits for the end of a line that is none
                    return "crashed", _no_answer(line)
                if line.endswith(b"\n"):
                    try:
                        message = json.loads(line[len(token) :].decode(errors="surrogatepass"))
                        if "done" in message:
                            self._spent = bool(message.get("spent"))
                            return answered(message["done"], job)
                        self._step = int(message["step"])
                        news = {k: float(message[k]) for k in NEWS if k in message}
                        self.hear(job, {UPDATE: self._step, **news})
                    except NO_ANSWER:
                        return "crashed", _no_answer(line[len(token) :])
                    line.clear()
                if time.monotonic() - checked < POLL_S:
                    continue
            checked = time.monotonic()
            if dead_since is None and process.poll() is not None:
                dead_since = time.monotonic()  # its last words may still be in the pipe
            if piece is None or (not piece and dead_since is not None and time.monotonic() - dead_since > LAST_WORDS_S):
                return "crashed", _death(process)
            if time.monotonic() > deadline:
                return "timeout", f"no result after {duration(timeout_s)}"
            resident = resident_bytes(process)
            if resident > self.memory_limit:
                return "oom", f"{size(resident)} of memory, the limit of a job here is {size(self.memory_limit)}"
            if os.fstat(self._log.fileno()).st_size > LOG_BYTES:
                os.ftruncate(self._log.fileno(), 0)
                self._log_start = 0

    def _tail(self) -> list[str]:
        """The last lines that the job wrote to its standard output and error."""
        end = os.fstat(self._log.fileno()).st_size
        start = max(min(self._log_start, end), end - 4000)
        self._log.seek(start)  # the child shares this position, and does not mind: it appends
        return self._log.read(end - start).decode("utf-8", "replace").splitlines()[-LOG_LINES:]


def _remedy(error: OSError) -> str:
    return "; take fewer --jobs, or raise `ulimit -n`" if error.errno == errno.EMFILE else ""


def _log_file() -> IO[bytes]:
    try:
        log = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - lives as long as the slot
    except OSError as error:
        remedy = _remedy(error) or "; make room, or set TMPDIR"
        msg = f"the log of a worker cannot be written: {error.strerror or error}{remedy}"
        raise StorageFull(msg) from error
    with suppress(ImportError):  # not on Windows
        import fcntl  # noqa: PLC0415 - see above

        # a child that writes on after the log was cut must not go on where it was: the gap would count as its log
        fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
    return log


def _read(stream: IO[bytes], pieces: queue.SimpleQueue[bytes | None]) -> None:
    with suppress(OSError, ValueError), stream:
        while piece := stream.readline(PIECE_BYTES):
            pieces.put(piece)
    pieces.put(None)


def _no_answer(words: bytearray) -> str:
    return f"the process wrote what is no answer: {words[:80].decode(errors='replace')!r}"


def _death(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=2 * LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        return "the process closed its output"
    if code >= 0:
        return f"the process exited with code {code} and no result"
    hint = "; if nobody did, the machine ran out of memory" if -code == signal.SIGKILL else ""
    return f"the process was killed by {signal_name(-code)}{hint}"


def _with_log(record: RunRecord, lines: list[str]) -> RunRecord:
    if not lines:
        return record
    return RunRecord(**{**record.as_dict(), "provenance": {**record.provenance, "log": lines}})
