"""The C source beside this file as a shared library: compiled once per compiler, flags and processor, then cached.

The only module of the inner layers that writes: a compiler has no other way to hand its result over.  It writes to the
user's cache folder alone, or to a private temporary folder where there is none.  A library is named after the hash of
its bytes, and a key file names the library of a source, compiler, flags and processor; both are moved into place whole,
so processes that compile at the same time do no harm, and a library that was damaged since is compiled anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tpobench.data import files as data

SOURCE = Path(__file__).with_name("kernel.c")
COMPILERS = ("cc", "gcc", "clang")
TUNED = "-march=native" if platform.machine().lower() in {"x86_64", "amd64", "i686"} else "-mcpu=native"
FLAGS = ("-std=gnu11", "-O3", TUNED, "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
TIMEOUT_S = 120.0
# Of /proc/cpuinfo: what decides which instructions there are.  The model's name alone does not, in virtual machines.
PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU implementer",
             "CPU architecture", "CPU variant", "CPU part")  # fmt: skip


class NoKernel(Exception):
    """There is no native kernel here, and why."""


@dataclass(frozen=True)
class Library:
    """A loaded library and what it was made with, as one line: compiler and key."""

    functions: ctypes.CDLL
    origin: str


def load(
    defines: tuple[str, ...] = (),
    compiler: str | None = None,
    flags: tuple[str, ...] = FLAGS,
    folder: Path | None = None,
) -> Library:
    """The library for this compiler (default: the first of COMPILERS), compiled unless the cache has it.

    Raises:
        NoKernel: no compiler, or it fails, or what it makes cannot be loaded.
    """
    path = next(filter(None, map(shutil.which, COMPILERS if compiler is None else (compiler,))), None)
    if path is None:
        msg = f"no C compiler; install one of {', '.join(COMPILERS)}"
        raise NoKernel(msg)
    version = _run([path, "--version"], path)
    options = (*flags, *(f"-D{define}" for define in defines))
    parts = (SOURCE.read_text(encoding="utf-8"), path, version, " ".join(options), *map(": ".join, processor().items()))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    origin = f"{version.splitlines()[0] if version else path} ({key})"
    try:
        cache = data.cache() / "kernels" if folder is None else folder
        return Library(_cached(cache, key, [path, *options]), origin)
    except (OSError, RuntimeError):  # no home, no room, or one from which nothing may be loaded
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as private:  # a loaded library needs no file
                return Library(_cached(Path(private), key, [path, *options]), origin)
        except OSError as error:
            msg = f"the library that {path} makes cannot be kept or loaded: {error}"
            raise NoKernel(msg) from error


def _cached(folder: Path, key: str, command: list[str]) -> ctypes.CDLL:
    """The library under a key of the cache, compiled unless it is there and whole."""
    folder.mkdir(parents=True, exist_ok=True)
    name = folder / f"{key}.sha256"
    if name.is_file():
        digest = name.read_text(encoding="ascii", errors="replace").strip()
        library = folder / f"{digest}.so"
        if digest.isalnum() and library.is_file() and _digest(library) == digest:
            return ctypes.CDLL(str(library))
    with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as new:
        binary = Path(new, "kernel.so")
        _run([*command, str(SOURCE), "-o", str(binary), "-lm"], command[0])
        digest = _digest(binary)
        binary.replace(folder / f"{digest}.so")
        note = Path(new, "key")
        note.write_text(digest, encoding="ascii")
        note.replace(name)
    return ctypes.CDLL(str(folder / f"{digest}.so"))


def _run(command: list[str], compiler: str) -> str:
    """What a compiler says.

    Raises:
        NoKernel: it fails.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the machine's compiler and fixed words
            command, capture_output=True, errors="replace", timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"the C compiler {compiler} does not work: {error}"
        raise NoKernel(msg) from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.strip().splitlines()
        msg = f"the C compiler {compiler} fails: {errors[0] if errors else f'exit code {done.returncode}'}"
        raise NoKernel(msg)
    return done.stdout.strip()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def processor() -> dict[str, str]:
    """What this processor is and can do, as its operating system says: field of PROCESSOR -> value."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {"model name": f"{platform.machine()} {platform.processor()}"}
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines if name.strip() in PROCESSOR}
