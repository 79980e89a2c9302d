"""How this program starts a child of its own, how the child begins, and how the signal that ended one is named."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PR_SET_PDEATHSIG = 1


def boot(module: str) -> str:
    """The script of a child that runs `main()` of a module, with the parent's places to import from."""
    return f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"


def child_command(script: str) -> list[str]:
    """The words that start a child: it imports what its parent would, whatever the working directory holds."""
    return [sys.executable, "-P", "-X", "utf8", "-c", script, json.dumps([str(Path(p).absolute()) for p in sys.path])]


def output_of(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """What a child that is given its words says until it ends.

    Raises:
        subprocess.TimeoutExpired: it does not end in time.
    """
    return subprocess.run(  # noqa: S603 - this interpreter and fixed words
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s, check=False
    )


def last_line(text: str, otherwise: str) -> str:
    """The last line of what a child said."""
    return (text.strip().splitlines() or [otherwise])[-1]


def resident_bytes(process: subprocess.Popen[Any] | None) -> int:
    """Memory that a child holds; none where it is gone."""
    import psutil  # noqa: PLC0415 - `--help` does not need it

    try:
        return 0 if process is None else int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a child that leads a session of its own, and everything it started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the pid is the group
        else:
            process.kill()
    process.wait()


def signal_name(number: int) -> str:
    """`SIGKILL`, or the number of one that has no name here."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def private_pipes() -> tuple[IO[str], IO[str]]:
    """Copies of file descriptors 0 and 1 for the protocol; 0 then reads nothing, and 1 leads to standard error."""
    requests = os.fdopen(os.dup(0), encoding="utf-8", errors="surrogatepass", newline="\n")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogatepass", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def die_with(parent: int) -> None:
    """On Linux the kernel kills this process with its parent, even inside a call that never returns to Python."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before the kernel knew


def pin_threads(threads: int) -> None:
    """Fix the number of threads in every mode: it changes the last bits of every sum, and so whole trajectories."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    import torch  # noqa: PLC0415 - after the environment is set

    torch.set_num_threads(threads)
    with contextlib.suppress(RuntimeError):  # torch takes this once per process, before its first parallel work
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
