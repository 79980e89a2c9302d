"""One job from start to written records.  Runs in this process or in a child; nothing it meets is raised."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.execution.assemble import assemble
from tpobench.execution.plugins import load_plugins
from tpobench.execution.provenance import provenance
from tpobench.plan import Job
from tpobench.records import RunRecord, Store

if TYPE_CHECKING:
    from tpobench.train import Measurement

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
TRACEBACK_LINES = 12


def run_job(
    job: Job, folder: Path, reporting: dict[str, Any], attempts: dict[str, int], plugins: Sequence[str] = ()
) -> dict[str, str]:
    """Train a job and write one record per wanted seed.  Returns the status of each run id."""
    pin_threads(job.specs[0].threads)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        load_plugins(plugins)
        records = assemble(job, collect(job), reporting)
    except Exception as error:  # noqa: BLE001 - whatever breaks in a run is that run's result
        records = [failed(spec.run_id, spec.as_dict(), error, reporting) for spec in job.specs]
    cost = {
        "wall_s": round((time.perf_counter() - wall) / len(job.seeds), 6),
        "cpu_s": round((time.process_time() - cpu) / len(job.seeds), 6),
        "peak_rss_mb": peak_rss_mb(),
    }
    store, origin = Store(folder), provenance(job.specs[0], started)
    for record in records:
        # the traceback names files of this machine, so it belongs to the origin and not to the payload
        written = _with(record, cost, {**record.provenance, **origin}, attempts.get(record.id, 0) + 1)
        store.write(written)
    return {record.id: record.status for record in records}


def collect(job: Job) -> Iterable[Measurement]:
    """The measurements of a job."""
    from tpobench.train import train  # noqa: PLC0415 - imports torch, and threads are pinned first

    return train(job)


def failed(run_id: str, spec: dict[str, Any], error: BaseException, reporting: dict[str, Any]) -> RunRecord:
    """The record of a run that ended in an exception."""
    first = str(error).strip().splitlines()
    tail = traceback.format_exception(error)
    lines = "".join(tail).splitlines()[-TRACEBACK_LINES:]
    reason = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
    return RunRecord(run_id, spec, "failed", reason, reporting=reporting, provenance={"traceback": lines})


def _with(record: RunRecord, cost: dict[str, Any], origin: dict[str, Any], attempts: int) -> RunRecord:
    values = {**record.as_dict(), "cost": cost, "provenance": origin, "attempts": attempts}
    return RunRecord(**values)


def pin_threads(threads: int) -> None:
    """Fix the number of threads in every mode: it changes the last bits of every sum, and so whole trajectories."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    import torch  # noqa: PLC0415 - after the environment is set

    torch.set_num_threads(threads)
    with contextlib.suppress(RuntimeError):  # torch takes this once per process, before its first parallel work
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        import psutil  # noqa: PLC0415 - the fallback

        return float(round(psutil.Process().memory_info().rss / 2**20, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**10 if os.uname().sysname == "Linux" else peak / 2**20, 1)
