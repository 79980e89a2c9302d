"""CUDA devices, asked for in a child process: a parent that initialised CUDA would hold memory of every device."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tpobench.children import last_line, output_of
from tpobench.errors import UsageError

PROBE = """
import json, torch
if not torch.backends.cuda.is_built():
    answer = {"devices": [], "reason": f"torch {torch.__version__} is built without CUDA"}
elif not torch.cuda.is_available():
    answer = {"devices": [], "reason": f"torch {torch.__version__} sees no CUDA device"}
else:
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    answer = {"devices": [{"index": i, "name": p.name, "memory_bytes": p.total_memory} for i, p in enumerate(devices)],
              "reason": ""}
print(json.dumps(answer))
"""
PROBE_S = 300


@dataclass(frozen=True)
class Devices:
    """The CUDA devices of this machine, or why there is none."""

    devices: tuple[dict[str, Any], ...]  # index, name, memory_bytes
    reason: str = ""


@lru_cache(maxsize=1)
def probe() -> Devices:
    """Ask torch, in a process of its own."""
    try:
        done = output_of([sys.executable, "-c", PROBE], PROBE_S)
        if done.returncode:
            return Devices((), f"torch does not work: {last_line(done.stderr, 'no message')}")
        answer = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return Devices((), f"torch does not answer: {error}")
    return Devices(tuple(answer["devices"]), str(answer["reason"]))


def parse_device(text: str) -> tuple[str, tuple[int, ...]]:
    """`cpu`, `cuda`, `cuda:1` or `cuda:0,cuda:1` -> the kind of device, and the indices to use.

    Raises:
        UsageError: anything else, or no such device on this machine.
    """
    parts = [part.strip() for part in text.split(",")]
    if parts == ["cpu"]:
        return "cpu", ()
    matches = [re.fullmatch(r"cuda(?::(\d+))?", part, re.ASCII) for part in parts]
    numbers = [match[1] for match in matches if match]
    if len(numbers) < len(parts) or (len(parts) > 1 and None in numbers):
        msg = f"unknown device '{text}'; valid: cpu, cuda, cuda:1, or several: cuda:0,cuda:1"
        raise UsageError(msg)
    devices = probe()
    present = [int(d["index"]) for d in devices.devices]
    wanted = [int(n) for n in numbers if n is not None] or present
    absent = [i for i in wanted if i not in present]
    if not wanted or absent:
        reason = devices.reason or f"this machine has {', '.join(f'cuda:{i}' for i in present)}"
        msg = f"device {text}: {reason}; use --device cpu"
        raise UsageError(msg)
    return "cuda", tuple(dict.fromkeys(wanted))


def smallest_memory(indices: Sequence[int]) -> int:
    """Bytes of the smallest of the devices named."""
    return min(int(d["memory_bytes"]) for d in probe().devices if d["index"] in indices)
