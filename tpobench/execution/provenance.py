"""Where and with what a run was made.  Recorded, never part of a run's identity."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tpobench.planning.datasets import needs_of
from tpobench.planning.plan import NATIVE_KERNEL, RunSpec
from tpobench.policies.native.build import processor

WHICH = {"family": "cpu family", "model": "model", "implementer": "CPU implementer", "part": "CPU part"}


def provenance(spec: RunSpec, started_utc: str) -> dict[str, Any]:
    """Versions, machine and start of a run."""
    from tpobench.policies.noise import SEED_SCHEME  # noqa: PLC0415 - imports torch

    return {
        **machine(),
        "threads": spec.threads,
        "device": spec.device,
        "started_utc": started_utc,
        "seed_scheme": SEED_SCHEME,
        **_kernel(spec),
        **_data(spec),
    }


def _kernel(spec: RunSpec) -> dict[str, Any]:
    """What the native kernel was compiled with."""
    if spec.kernel != NATIVE_KERNEL:
        return {}
    from tpobench.policies.native.build import NoKernel  # noqa: PLC0415 - as below
    from tpobench.policies.native.machine import native_kernel  # noqa: PLC0415 - imports torch

    try:
        return {"kernel": native_kernel().origin}
    except NoKernel:  # which the record says in its reason
        return {}


def _data(spec: RunSpec) -> dict[str, Any]:
    """What this process read for the run: file -> {sha256, verified}."""
    from tpobench.data.images import sources  # noqa: PLC0415 - reads numpy only where it must

    read = [sources(*need) for need in needs_of(spec.task).values()]
    files = {name: dict(file) for each in read for name, file in each.items()}
    return {"data": files} if files else {}


@lru_cache(maxsize=1)
def machine() -> dict[str, Any]:
    """Versions and processor."""
    from tpobench import __version__  # noqa: PLC0415 - the package imports this lazily

    return {
        "tpobench": __version__,
        "git": git_commit(Path(__file__).parent),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "cpu": cpu_name(),
    }


def git_commit(folder: Path) -> str | None:
    """The commit of the checkout that holds `folder`, with -dirty where it differs; None outside a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, errors="replace", timeout=10, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def cpu_name() -> str:
    """`AMD EPYC (family 25, model 1, AVX2)`: what rounds alike.  In virtual machines the name alone stands for many."""
    from torch.backends.cpu import get_cpu_capability  # noqa: PLC0415 - as above

    known = processor()
    name = known.get("model name") or platform.machine()
    which = [f"{label} {known[key]}" for label, key in WHICH.items() if key in known]
    return f"{name} ({', '.join((*which, get_cpu_capability()))})"
