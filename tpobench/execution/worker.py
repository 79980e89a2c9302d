"""The child process of a slot: jobs in, records out, one JSON line each.

The lines travel on copies of file descriptors 0 and 1; the originals lead to /dev/null and to standard error, so that
an algorithm that prints, reads or closes them cannot break the protocol.  A line in either direction begins with a
token: the parent draws one for every request, and an answer without it was written by somebody else.  The child holds
no state of the harness: when it dies, nothing is lost but the job in its hands.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import IO, Any

from tpobench.children import die_with, pin_threads, private_pipes
from tpobench.identity import canonical

TOKEN_LENGTH = 32
BEAT_S = 0.5  # how often a job tells its step


def main() -> None:
    """Answer jobs until the parent hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides: it kills when it means it
        signal.signal(number, signal.SIG_IGN)
    die_with(os.getppid())
    requests, answers = private_pipes()
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()

    process = os.getpid()

    def receive() -> tuple[str, str]:
        line = inbox.get()
        return line[:TOKEN_LENGTH], line[TOKEN_LENGTH:]

    def send(token: str, message: dict[str, Any]) -> None:
        if os.getpid() != process:
            os._exit(0)  # a copy that an algorithm forked and let go on; the original answers
        answers.write(f"{token}{canonical(message)}\n")
        answers.flush()

    token, text = receive()
    first = json.loads(text)
    pin_threads(int(first["threads"]))
    if first["device"] == "cuda":
        _deterministic_kernels()
    import tpobench.training.loop  # noqa: F401, PLC0415 - torch and the tasks, paid once before the first job
    from tpobench.execution.job import Message, train_job  # noqa: PLC0415 - imports plan after the threads are pinned
    from tpobench.plugins.undisturbed import functions, replaced  # noqa: PLC0415 - see above

    send(token, {"ready": True})
    original = functions()
    while True:
        token, text = receive()
        message = Message.from_json(text)
        news: dict[str, float] = {}
        records = train_job(message, beats(partial(send, token), 0.0 if message.watched else BEAT_S, news), news)
        spent = bool(message.plugins) and replaced(original)
        send(token, {"done": [record.to_line() for record in records], "spent": spent})


def beats(
    send: Callable[[dict[str, Any]], None], interval_s: float, news: Mapping[str, float] = MappingProxyType({})
) -> Callable[[int], None]:
    """Tell the parent now and then which step begins, and what is known of the job by then."""
    last = -math.inf

    def tell(step: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= interval_s:
            last = now
            send({"step": step, **news})

    return tell


def _listen(requests: IO[str], inbox: queue.SimpleQueue[str]) -> None:
    for line in requests:
        inbox.put(line)
    os._exit(0)  # the parent is gone or has no more work; whatever the main thread does now is of no use


def _deterministic_kernels() -> None:
    """On a GPU equal specs give equal bytes only with kernels that do not race."""
    import torch  # noqa: PLC0415 - on a GPU only

    torch.use_deterministic_algorithms(mode=True)


if __name__ == "__main__":
    main()
