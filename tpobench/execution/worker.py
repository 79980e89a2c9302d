"""The child process of a slot: jobs in, records out, one JSON line each.

The lines travel on copies of file descriptors 0 and 1; the originals lead to /dev/null and to standard error, so that
a rule that prints, reads or closes them cannot break the protocol.  A line in either direction begins with a token: the
parent draws one for every request, and an answer without it was written by somebody else.  The child holds no state of
the harness: when it dies, nothing is lost but the job in its hands.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from tpobench.records import canonical

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
TOKEN_LENGTH = 32
BEAT_S = 0.5  # how often a job tells its step
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer jobs until the parent hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides: it kills when it means it
        signal.signal(number, signal.SIG_IGN)
    _die_with(os.getppid())
    requests, answers = _private_pipes()
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()

    process = os.getpid()

    def receive() -> tuple[str, str]:
        line = inbox.get()
        return line[:TOKEN_LENGTH], line[TOKEN_LENGTH:]

    def send(token: str, message: dict[str, Any]) -> None:
        if os.getpid() != process:
            os._exit(0)  # a copy that a rule forked and let go on; the original answers
        answers.write(f"{token}{canonical(message)}\n")
        answers.flush()

    token, text = receive()
    first = json.loads(text)
    pin_threads(int(first["threads"]))
    if first["device"] == "cuda":
        _deterministic_kernels()
    import tpobench.train  # noqa: F401, PLC0415 - torch and the tasks, paid once before the first job
    from tpobench.execution.job import Message, train_job  # noqa: PLC0415 - imports plan after the threads are pinned
    from tpobench.execution.undisturbed import functions, replaced  # noqa: PLC0415 - see above

    send(token, {"ready": True})
    original = functions()
    while True:
        token, text = receive()
        message = Message.from_json(text)
        records = train_job(message, beats(partial(send, token), 0.0 if message.watched else BEAT_S))
        spent = bool(message.plugins) and replaced(original)
        send(token, {"done": [record.to_line() for record in records], "spent": spent})


def beats(send: Callable[[dict[str, Any]], None], interval_s: float) -> Callable[[int], None]:
    """Tell the parent now and then which step begins."""
    last = -math.inf

    def tell(step: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= interval_s:
            last = now
            send({"step": step})

    return tell


def _private_pipes() -> tuple[IO[str], IO[str]]:
    requests = os.fdopen(os.dup(0), encoding="utf-8", errors="surrogatepass", newline="\n")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogatepass", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def _listen(requests: IO[str], inbox: queue.SimpleQueue[str]) -> None:
    for line in requests:
        inbox.put(line)
    os._exit(0)  # the parent is gone or has no more work; whatever the main thread does now is of no use


def _die_with(parent: int) -> None:
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


def _deterministic_kernels() -> None:
    """On a GPU equal specs give equal bytes only with kernels that do not race."""
    import torch  # noqa: PLC0415 - on a GPU only

    torch.use_deterministic_algorithms(mode=True)


if __name__ == "__main__":
    main()
