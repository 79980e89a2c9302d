"""What this machine lends us: cores and memory, as the scheduler and the container limit them."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMORY_SHARE = 0.9  # of the machine, all jobs together


def cores() -> int:
    """CPUs this process may use: the affinity mask, and the container's quota rounded up."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(mask, _quota()))


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or the container's limit where that is less."""
    import psutil  # noqa: PLC0415 - `--help` does not need it

    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" means no limit
            return min(total, int((CGROUP / name).read_text(encoding="ascii")))
    return total


def job_memory(processes: int) -> int:
    """Memory that one of so many jobs side by side may use, unless it is said otherwise."""
    return int(MEMORY_SHARE * memory_bytes() / processes)


def _quota() -> int:
    """cgroup v2: `200000 100000` is two CPUs."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    return 2**16
