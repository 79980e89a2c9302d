"""The executor of a Dask cluster: every job is a task, which trains in a child of the Dask worker that gets it.

What crosses the network is text: jobs, records and the source of plugins as JSON.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tpobench.errors import TpobenchError, UsageError, WorkersBroken, in_one_line
from tpobench.execution.job import Message, answered, without_result
from tpobench.execution.remote import describe, retire, train_remotely, versions
from tpobench.execution.stop import Stop
from tpobench.execution.work import Claim, ClaimedElsewhere, Trained, Work
from tpobench.planning.plan import Job
from tpobench.records.store import DamagedRecord, RunRecord

WINDOW = 2  # tasks per thread of the cluster: one runs, one waits, so that no thread waits for the network
POLL_S = 0.05
CONNECT_S = 8.0
ANSWER_S = 10.0  # of a worker to a question, and of a cluster's first worker to appear
FETCH_S = 2.0
CLOSE_S = 5.0
RESIZE_S = 2.0

CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)
Answer = tuple[str, str | BaseException]  # the task, and what came of it


@dataclass(frozen=True)
class Flight:
    """A job on its way."""

    key: str
    claim: Claim
    message: Message
    future: Any  # distributed.Future


class Dask:
    """The threads of a Dask cluster, which may grow and shrink.  `close` leaves the cluster as it was.

    scheduler: an address such as tcp://10.0.0.1:8786, or the scheduler's file.
    memory_limit: bytes of one job; default: an equal share of a Dask worker's memory for each of its threads.

    Raises:
        UsageError: `distributed` is missing, nothing answers, or a worker has another tpobench or none.
    """

    def __init__(self, scheduler: str, memory_limit: int | None = None) -> None:
        self._scheduler, self._memory_limit = scheduler, memory_limit
        self._levels = _hush()
        self._token = uuid.uuid4().hex
        self._closed = threading.Event()
        try:
            self._client = _connect(scheduler)
        except UsageError:
            _restore(self._levels)
            raise
        try:
            self._threads = self._await_workers()
            self._require_same_version()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._follow_size, name="tpobench-cluster-size", daemon=True).start()

    @property
    def processes(self) -> int:
        """Threads of all workers: as many jobs run at a time."""
        return max(1, self._threads)

    def run(
        self, jobs: Sequence[Job], work: Work, message: Callable[[Job], Message], stop: Stop
    ) -> Generator[Trained | ClaimedElsewhere | TpobenchError]:
        """Keep a window of jobs on the cluster, and yield each as it ends.

        A lost worker's jobs are run again by the scheduler, elsewhere.

        Raises:
            WorkersBroken: the cluster is gone, or its workers cannot train.
        """
        flying: dict[str, Flight] = {}
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        due = iter(jobs)
        waiting, retired = True, False
        try:
            while (waiting or flying) and not stop.killed.is_set():
                self._require_connection()
                if stop.asked.is_set() and not retired:
                    retired = True
                    self._retire()  # what is queued on the workers comes back at once, without records
                while waiting and len(flying) < WINDOW * self.processes:
                    job = next(due, None)
                    waiting = job is not None
                    claim = None if job is None else _take(work, job)
                    if isinstance(claim, ClaimedElsewhere):
                        yield claim
                    elif claim is not None:
                        flight = self._submit(claim, replace(message(claim.job), checkpoint=""), answers)
                        flying[flight.key] = flight
                if stop.asked.is_set() and self._threads == 0 and self._count_threads() == 0:
                    return  # nothing runs, and nobody is there to give back what waits
                with suppress(queue.Empty):
                    key, answer = answers.get(timeout=POLL_S)
                    flight = flying[key]
                    records = self._records(flight, answer)
                    del flying[key]
                    flight.future.release()
                    yield flight.claim, records
        finally:
            for flight in flying.values():  # there are some after a kill or an error only
                with suppress(Exception):  # a closed client; whatever happens here, a worker ends what nobody waits for
                    flight.future.release()
                flight.claim.lock.release()

    def close(self) -> None:
        """Leave the cluster; slots that were kept for this command end."""
        self._closed.set()
        if self._client.status == "running":
            self._retire(CLOSE_S)
        with suppress(Exception):
            self._client.close(timeout=CLOSE_S)
        _restore(self._levels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _submit(self, claim: Claim, message: Message, answers: queue.SimpleQueue[Answer]) -> Flight:
        spec = claim.job.specs[0]
        key = f"{spec.suite}_{spec.algorithm}-{uuid.uuid4().hex}"  # Dask's dashboard groups by what is before the dash
        arguments = (message.to_json(), claim.timeout_s, self._memory_limit, self._token, describe())
        try:
            future = self._client.submit(train_remotely, *arguments, key=key, pure=False, retries=0)
            _fetch_when_done(future, key, answers)
        except BaseException as error:
            claim.lock.release()
            if isinstance(error, Exception):
                raise self._lost() from error
            raise
        return Flight(key, claim, message, future)

    def _records(self, flight: Flight, answer: str | BaseException) -> list[RunRecord]:
        """The records of a job that ended.

        Raises:
            WorkersBroken: the task did not run as it should.
        """
        from distributed import KilledWorker  # noqa: PLC0415 - an optional dependency

        if isinstance(answer, KilledWorker):
            reason = (
                f"{answer.allowed_failures + 1} Dask workers died while they ran it, the last one at "
                f"{answer.last_worker.address}; their logs may say why"
            )
            return without_result(flight.claim.job, "crashed", reason, flight.message.reporting)
        if isinstance(answer, CANCELLED):
            raise self._lost() from answer
        if isinstance(answer, BaseException):
            msg = f"the Dask cluster at {self._scheduler} cannot train: {in_one_line(answer)}"
            raise WorkersBroken(msg) from answer
        raw = json.loads(answer)
        if "refused" in raw:
            raise WorkersBroken(raw["refused"])
        job, lines = flight.message.job, raw["records"]
        try:
            return answered(lines, job) if lines else []
        except DamagedRecord as error:
            reason = f"the Dask worker gave what is no answer: {in_one_line(error)}"
            return without_result(job, "crashed", reason, flight.message.reporting)

    def _await_workers(self) -> int:
        """Threads of the cluster, as soon as it has any."""
        deadline = time.monotonic() + ANSWER_S
        while not (threads := sum(self._client.nthreads().values())):
            if time.monotonic() > deadline:
                msg = f"the Dask cluster at {self._scheduler} has no worker; start some: dask worker {self._scheduler}"
                raise UsageError(msg)
            time.sleep(POLL_S)
        return int(threads)

    def _require_same_version(self) -> None:
        """Every worker has this tpobench; those that come later are asked with each job."""
        answers = _ask(self._client, ANSWER_S, describe)
        if answers is None:
            msg = f"the Dask cluster at {self._scheduler}: not every worker answers within {ANSWER_S:g} s"
            raise UsageError(msg)
        wrong: dict[str, list[str]] = {}
        for worker, answer in sorted(answers.items()):
            if answer != describe():
                theirs = versions(answer) if isinstance(answer, str) else f"no tpobench ({str(answer).strip()})"
                wrong.setdefault(theirs, []).append(worker)
        if wrong:
            others = "; ".join(f"{', '.join(workers)} has {theirs}" for theirs, workers in wrong.items())
            msg = f"Dask workers need {versions(describe())}, as it is here, but {others}"
            raise UsageError(msg)

    def _follow_size(self) -> None:
        while not self._closed.wait(RESIZE_S):
            self._count_threads()

    def _count_threads(self) -> int:
        with suppress(Exception):  # a lost connection is noticed where it matters
            self._threads = sum(self._client.nthreads().values())
        return self._threads

    def _require_connection(self) -> None:
        if self._client.status != "running":
            raise self._lost()

    def _lost(self) -> WorkersBroken:
        return WorkersBroken(
            f"the connection to the Dask scheduler at {self._scheduler} is lost; finished runs are kept, the same "
            "command goes on when it is back"
        )

    def _retire(self, patience_s: float = 0.0) -> None:
        _ask(self._client, patience_s, retire, self._token)
        self._token = uuid.uuid4().hex


def _take(work: Work, job: Job) -> Claim | ClaimedElsewhere | None:
    try:
        return work.take(job)
    except OSError as error:
        msg = f"{type(error).__name__}: {error}"
        raise TpobenchError(msg) from error


def _fetch_when_done(future: Any, key: str, answers: queue.SimpleQueue[Answer]) -> None:
    """Put what comes of a task into `answers`.  A worker that dies with the result in its hands makes it undone again.

    The callbacks of all tasks share a thread, so none waits long.
    """

    def fetch(done: Any) -> None:
        try:
            answers.put((key, str(done.result(timeout=FETCH_S))))
        except (Exception, *CANCELLED) as error:  # noqa: BLE001 - judged by who waits for it
            if isinstance(error, TimeoutError) and done.status not in {"error", "cancelled"}:
                _fetch_when_done(future, key, answers)
            else:
                answers.put((key, error))

    future.add_done_callback(fetch)


def _connect(scheduler: str) -> Any:
    """A distributed.Client."""
    try:
        distributed: Any = importlib.import_module("distributed")  # an optional dependency, with types here and there
    except ImportError as error:
        msg = f"--executor dask needs the package distributed ({error}); pip install 'tpobench[dask]'"
        raise UsageError(msg) from error
    address = _address_in(scheduler) if scheduler.endswith(".json") else scheduler
    try:
        distributed.comm.get_address_host_port(address)  # what it refuses, the client would chew on for long
        return distributed.Client(address, timeout=CONNECT_S, set_as_default=False, name="tpobench")
    except Exception as error:
        msg = f"no Dask scheduler at {scheduler} ({in_one_line(error)}); an address is like tcp://10.0.0.1:8786"
        raise UsageError(msg) from error


def _address_in(file: str) -> str:
    try:
        return str(json.loads(Path(file).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        msg = f"no scheduler file at {file} ({in_one_line(error)}); `dask scheduler --scheduler-file FILE` writes one"
        raise UsageError(msg) from error


def _ask(client: Any, patience_s: float, function: Callable[..., object], *args: object) -> dict[str, Any] | None:
    """What `function` returns on every worker, or raises there; None where not all answer in time."""
    answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def ask() -> None:
        with suppress(Exception, *CANCELLED):  # a client that is closed meanwhile
            answers.put(client.run(function, *args, on_error="return"))

    threading.Thread(target=ask, name="tpobench-ask", daemon=True).start()
    with suppress(queue.Empty):
        return answers.get(timeout=patience_s)
    return None


def _hush() -> dict[str, int]:
    """Keep Dask's own words off the terminal: what matters is said in one line here.  Returns the levels before."""
    with suppress(ImportError):
        import distributed  # noqa: F401, PLC0415 - sets the levels when it is imported

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    before = {name: logging.getLogger(name).level for name in names}
    for name, level in before.items():
        if level != logging.NOTSET or name == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return before


def _restore(levels: dict[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
