"""Slots: child processes that train one job after another, and the supervision that turns a death into a record.

A slot costs its start (importing torch) once.  Whatever a job does to its process - SIGKILL, a segfault, an endless
loop, too much memory, a silent exit - ends that job with a status and a reason; the slot starts anew for the next one.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tpobench.errors import StorageFull, WorkersBroken
from tpobench.execution.job import Message, without_result
from tpobench.execution.machine import memory_bytes
from tpobench.execution.stop import Flag
from tpobench.execution.units import duration, size
from tpobench.execution.worker import THREAD_VARIABLES
from tpobench.records import FINISHED, RunRecord, canonical

POLL_S = 0.1
LAST_WORDS_S = 1.0
START_S = 300.0  # importing torch from a cold network disk
DAY_S = 86400.0
LOG_LINES = 20
LOG_BYTES = 16 * 2**20
MEMORY_SHARE = 0.9  # of the machine, all slots together

# Linux ties PR_SET_PDEATHSIG to the thread that started the child, so all are started by one thread that lives as long
# as this process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="tpobench-starter")

# A child imports what its parent would import, whatever the working directory holds.
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tpobench.execution.worker import main; main()"


class SlotPool:
    """`size` slots, started when they are first needed.

    memory_limit: bytes of resident memory of one child; default: an equal share of 90 % of the machine.
    devices: indices of CUDA devices, given to the slots in turn.
    """

    def __init__(self, size: int, memory_limit: int | None = None, devices: Sequence[int] = ()) -> None:
        limit = memory_limit or int(MEMORY_SHARE * memory_bytes() / size)
        self.killed = Flag()
        self._slots = [Slot(limit, devices[i % len(devices)] if devices else None, self.killed) for i in range(size)]
        self._idle: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in self._slots:
            self._idle.put(slot)

    def run(self, message: Message, timeout_s: float = DAY_S) -> list[RunRecord]:
        """Train a job in the next free slot.  Empty when the pool was killed meanwhile.

        Raises:
            WorkersBroken: a child process cannot start at all.
        """
        with self._slot() as slot:
            try:
                records = [] if self.killed.is_set() else slot.run(message, timeout_s)
            except WorkersBroken:
                if not self.killed.is_set():  # a child that was killed while it started is not broken
                    raise
        return [] if self.killed.is_set() else records

    @contextmanager
    def _slot(self) -> Iterator[Slot]:
        slot = self._idle.get()
        try:
            yield slot
        finally:
            self._idle.put(slot)

    def start(self) -> None:
        """Start every child, side by side."""
        with ThreadPoolExecutor(len(self._slots)) as threads:
            list(threads.map(lambda slot: slot.start(1, "cpu"), self._slots))

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


class Slot:
    """One child process, and another one after each that dies."""

    def __init__(self, memory_limit: int, device: int | None, killed: Flag) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.memory_limit, self.device = memory_limit, device
        self._killed = killed
        self._setting: tuple[int, str] | None = None
        self._ended: subprocess.Popen[str] | None = None
        self._log = _log_file()
        self._log_start = 0
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._step = ""

    def run(self, message: Message, timeout_s: float) -> list[RunRecord]:
        """Train one job here; a death, a hang or too much memory is its status."""
        spec = message.job.specs[0]
        self.start(spec.threads, spec.device)
        self._log_start = os.fstat(self._log.fileno()).st_size
        self._step = ""
        self._send(message.to_json())
        answer = self._await(time.monotonic() + timeout_s, timeout_s)
        if isinstance(answer, list):
            records = [RunRecord(**raw) for raw in answer]
            if any(r.status == "oom" for r in records) or self._resident() > self.memory_limit / 2:
                self.kill()  # the next job starts in a fresh process, or it would pay for this one's leftovers
        else:
            self.kill()
            status, reason = answer
            reason += f" (last heard of at step {self._step})" if self._step else ""
            records = without_result(message.job, status, reason, message.reporting)
        return [r if r.status in FINISHED else _with_log(r, self._tail()) for r in records]

    def start(self, threads: int, device: str) -> None:
        """Make sure that a child with this setting is ready.

        Raises:
            WorkersBroken: it ends or is silent before it is ready.
        """
        if self.process is not None and self.process.poll() is None and self._setting == (threads, device):
            return
        self.kill()
        self._setting = (threads, device)
        self._lines = queue.SimpleQueue()
        self._log_start = os.fstat(self._log.fileno()).st_size
        try:
            self.process = _starter.submit(self._popen, threads, device).result()
        except OSError as error:
            msg = f"a worker process cannot start: {error.strerror or error}"
            raise WorkersBroken(msg) from error
        if self._killed.is_set():  # whoever set it may have looked for this child before it was there
            self.kill()
        threading.Thread(target=_read, args=(self.process.stdout, self._lines), daemon=True).start()
        self._send(canonical({"threads": threads, "device": device}))
        process, deadline = self.process, time.monotonic() + START_S
        while (line := self._next()) != '{"ready":true}\n':
            if line is None or process.poll() is not None or time.monotonic() > deadline:
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
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: the pid is the group
            else:
                process.kill()
        process.wait()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()

    def close(self) -> None:
        """End the child for good."""
        self.kill()
        self._log.close()

    def _popen(self, threads: int, device: str) -> subprocess.Popen[str]:
        pinned = dict.fromkeys(THREAD_VARIABLES, str(threads))
        if device == "cuda":
            pinned |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
            pinned |= {} if self.device is None else {"CUDA_VISIBLE_DEVICES": str(self.device)}
        return subprocess.Popen(  # noqa: S603 - this interpreter, and a job that is data
            [sys.executable, "-P", "-X", "utf8", "-c", BOOT, json.dumps([str(Path(p).absolute()) for p in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **pinned},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
            encoding="utf-8",
            errors="surrogatepass",  # names of files may be no text
        )

    def _send(self, line: str) -> None:
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError, ValueError):  # a dead child is found by the one who waits for its answer
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()

    def _next(self) -> str | None:
        """The next line, None at the end of the stream, empty where there is none yet."""
        try:
            return self._lines.get(timeout=POLL_S)
        except queue.Empty:
            return ""

    def _await(self, deadline: float, timeout_s: float) -> list[dict[str, Any]] | tuple[str, str]:
        """The records of the job, or the status and reason of a job without an answer."""
        process = self.process
        assert process is not None  # noqa: S101 - started just before
        dead_since = None
        while True:
            line = self._next()
            if line:
                try:
                    message = json.loads(line)
                    if "done" in message:
                        return list(message["done"])
                    self._step = f"{message['step']} of {message['steps']}"
                except (ValueError, TypeError, KeyError):
                    return "crashed", f"the process wrote what is no answer: {line[:80]!r}"
                continue
            if dead_since is None and process.poll() is not None:
                dead_since = time.monotonic()  # its last words may still be in the pipe
            if line is None or (dead_since is not None and time.monotonic() - dead_since > LAST_WORDS_S):
                return "crashed", _death(process)
            if time.monotonic() > deadline:
                return "timeout", f"no result after {duration(timeout_s)}"
            resident = self._resident()
            if resident > self.memory_limit:
                return "oom", f"{size(resident)} of memory, the limit of a job here is {size(self.memory_limit)}"
            if os.fstat(self._log.fileno()).st_size > LOG_BYTES:
                os.ftruncate(self._log.fileno(), 0)
                self._log_start = 0

    def _resident(self) -> int:
        import psutil  # noqa: PLC0415 - `--help` does not need it

        try:
            return int(psutil.Process(self.process.pid).memory_info().rss) if self.process is not None else 0
        except psutil.Error:
            return 0

    def _tail(self) -> list[str]:
        """The last lines that the job wrote to its standard output and error."""
        end = os.fstat(self._log.fileno()).st_size
        start = max(min(self._log_start, end), end - 4000)
        self._log.seek(start)  # the child shares this position, and does not mind: it appends
        return self._log.read(end - start).decode("utf-8", "replace").splitlines()[-LOG_LINES:]


def _log_file() -> IO[bytes]:
    try:
        log = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - lives as long as the slot
    except OSError as error:
        msg = f"the log of a worker cannot be written: {error.strerror or error}; make room, or set TMPDIR"
        raise StorageFull(msg) from error
    with suppress(ImportError):  # not on Windows
        import fcntl  # noqa: PLC0415 - see above

        # a child that writes on after the log was cut must not go on where it was: the gap would count as its log
        fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
    return log


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with suppress(OSError, ValueError), stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _death(process: subprocess.Popen[str]) -> str:
    try:
        code = process.wait(timeout=2 * LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        return "the process closed its output"
    if code >= 0:
        return f"the process exited with code {code} and no result"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = "; if nobody did, the machine ran out of memory" if -code == signal.SIGKILL else ""
    return f"the process was killed by {name}{hint}"


def _with_log(record: RunRecord, lines: list[str]) -> RunRecord:
    if not lines:
        return record
    return RunRecord(**{**record.as_dict(), "provenance": {**record.provenance, "log": lines}})
