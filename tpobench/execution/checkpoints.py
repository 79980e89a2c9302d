"""Checkpoints: a long job writes its state now and then, so that what ends its process costs some minutes of it only.

The file lies beside the job's claim: 32 bytes of sha256 over the rest, a line of JSON that says what made it and which
tensors follow, and their bytes.  It is data and runs nothing.  One that is damaged, or was made by something whose
numbers could differ, is not used.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tpobench.execution.provenance import provenance
from tpobench.identity import canonical
from tpobench.planning.plan import Job
from tpobench.records.difference import BITS
from tpobench.records.store import write_atomically
from tpobench.tasks.settings import COMPLETIONS

if TYPE_CHECKING:
    from torch import Tensor

    from tpobench.training.loop import Measurement
    from tpobench.training.state import Snapshot

VERSION = 2
DIGEST = 32  # bytes


class Saved(NamedTuple):
    """What a checkpoint holds."""

    snapshot: Snapshot
    measurements: list[Measurement]
    wall_s: float  # of the job, until then
    cpu_s: float


@dataclass
class Checkpoints:
    """The checkpoint of one job, written at most every `interval_s` seconds; an empty path stands for none."""

    job: Job
    path: str
    interval_s: float
    note: str = ""  # what became of the checkpoint that was there
    _last: float = field(default_factory=time.monotonic)

    @property
    def maker(self) -> dict[str, Any]:
        """Whatever the numbers to come depend on."""
        origin = provenance(self.job.specs[0], "")
        origin = {k: origin.get(k) for k in (*BITS, "tpobench", "git", "kernel")}
        job = {"group": self.job.specs[0].group, "seeds": self.job.seeds, "left": self.job.left}
        plain: dict[str, Any] = json.loads(canonical({"version": VERSION, **job, **origin}))
        return plain

    @property
    def due(self) -> bool:
        """Whether it is time for another one; a job that is only looked into has none."""
        return bool(self.path) and self.job.until is None and time.monotonic() - self._last >= self.interval_s

    def read(self) -> Saved | None:
        """The state that the job goes on from, None where there is none that it can."""
        if not self.path or self.job.until is not None:
            return None
        try:
            content = Path(self.path).read_bytes()
        except OSError:
            return None
        try:
            header, saved = _parsed(content)
        except (ValueError, KeyError, TypeError) as error:
            self.note = f"a checkpoint was not used: it is damaged ({error})"
            return None
        maker = self.maker
        if other := [k for k in maker if header["maker"].get(k) != maker[k]]:
            self.note = f"a checkpoint was not used: made with another {', '.join(other)}"
            return None
        self.note = f"went on from a checkpoint at update {saved.snapshot.step}"
        return saved

    def write(self, saved: Saved) -> None:
        """Replace the checkpoint as a whole; where there is no room the run goes on without one."""
        with suppress(OSError):
            write_atomically(Path(self.path), _content(self.maker, saved))
        self._last = time.monotonic()


def _content(maker: dict[str, Any], saved: Saved) -> bytes:
    import torch  # noqa: PLC0415 - threads are pinned before it is imported

    snapshot, rows = saved.snapshot, saved.measurements
    numbers = [row.value for row in rows if row.metric != COMPLETIONS]
    tensors = {**snapshot.tensors, "measured": torch.tensor(numbers, dtype=torch.float64)}
    stored = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
    header = {
        "maker": maker,
        "counts": [snapshot.step, snapshot.interactions, snapshot.gradient_steps],
        "rows": [list(row if row.metric == COMPLETIONS else row[:4]) for row in rows],  # numbers are a tensor
        "spent": [saved.wall_s, saved.cpu_s],
        "tensors": [[name, str(x.dtype).removeprefix("torch."), list(x.shape)] for name, x in stored.items()],
    }
    body = f"{canonical(header)}\n".encode() + b"".join(_bytes_of(x) for x in stored.values())
    return hashlib.sha256(body).digest() + body


def _bytes_of(x: Tensor) -> bytes:
    import torch  # noqa: PLC0415 - as above

    return x.flatten().view(torch.uint8).numpy().tobytes() if x.numel() else b""


def _parsed(content: bytes) -> tuple[dict[str, Any], Saved]:
    """The header and the state of a whole file.

    Raises:
        ValueError: it is none.
    """
    import torch  # noqa: PLC0415 - as above

    from tpobench.training.loop import Measurement  # noqa: PLC0415 - as above
    from tpobench.training.state import Snapshot  # noqa: PLC0415 - as above

    digest, body = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        msg = "its bytes are not those that were written"
        raise ValueError(msg)
    line, _, rest = body.partition(b"\n")
    header: dict[str, Any] = json.loads(line)
    tensors, offset = {}, 0
    for name, dtype, shape in header["tensors"]:
        empty = torch.empty(shape, dtype=getattr(torch, dtype))
        size = empty.numel() * empty.element_size()
        raw = bytearray(rest[offset : offset + size])
        tensors[name] = torch.frombuffer(raw, dtype=empty.dtype).view(shape) if size else empty
        offset += size
    values = iter(tensors.pop("measured").tolist())
    measured = ([*row[:4], tuple(row[4] if len(row) > 4 else next(values))] for row in header["rows"])
    rows = list(map(Measurement._make, measured))
    return header, Saved(Snapshot._make([*header["counts"], tensors]), rows, *header["spent"])
