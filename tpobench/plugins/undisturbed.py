"""What code of others does to the process that runs it is undone: an algorithm may leave its numbers, nothing else."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

Restore = Callable[[], object]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back what the block changes of the process, of torch and of numpy; its output goes to standard error.

    Undone are the working directory, limits, alarm and signal handlers; default type, device and number of threads,
    modes of gradients, determinism, anomalies and denormal numbers; what numpy does with overflows.  A copy of the
    process that the block forked ends with it.  Replaced functions stay replaced; see `functions`.
    """
    process = os.getpid()
    restores = [*_of_process(), *_of_torch()]
    try:
        with _output_to_stderr(), redirect_stdout(sys.stderr):
            yield
    finally:
        if os.getpid() != process:
            os._exit(0)
        for restore in restores:
            with suppress(OSError, ValueError):
                restore()


def functions() -> dict[tuple[str, str], object]:
    """What names of torch stand for; `replaced` tells whether an algorithm has changed any of it."""
    import torch  # noqa: PLC0415 - whoever runs algorithms has it

    owners = (torch, torch.Tensor, torch.nn.functional, torch.autograd)
    return {(o.__name__, name): value for o in owners for name, value in vars(o).items() if callable(value)}


def replaced(before: dict[tuple[str, str], object]) -> bool:
    """Whether a name stands for something else by now; torch itself adds some when they are first used."""
    now = functions()
    return any(now.get(name) is not value for name, value in before.items())


def _of_process() -> Iterator[Restore]:
    with suppress(OSError):  # the folder may be gone already
        yield partial(os.chdir, Path.cwd())
    with suppress(ImportError):  # not on Windows
        import resource  # noqa: PLC0415 - see above

        for name in ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA"):
            kind = getattr(resource, name)
            yield partial(resource.setrlimit, kind, resource.getrlimit(kind))
    if hasattr(signal, "setitimer"):
        yield partial(signal.setitimer, signal.ITIMER_REAL, *signal.getitimer(signal.ITIMER_REAL))
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        yield partial(signal.signal, number, signal.getsignal(number))


def _of_torch() -> Iterator[Restore]:
    import numpy as np  # noqa: PLC0415 - whoever runs algorithms has both
    import torch  # noqa: PLC0415 - see above

    yield partial(np.seterr, **np.geterr())
    yield partial(torch.set_flush_denormal, False)  # noqa: FBT003 - its only argument, without a name
    for get, put in (
        (torch.get_default_device, torch.set_default_device),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ):
        yield partial(_put_back, get, put, get())


def _put_back(get: Callable[[], object], put: Callable[[Any], object], value: object) -> None:
    if get() != value:  # to put it back unasked is slow: some of them import half of torch
        put(value)


@contextmanager
def _output_to_stderr() -> Iterator[None]:
    """File 1 leads where file 2 leads, so that no answer to a script is mixed with words of others."""
    try:
        original = os.dup(1)
        os.fstat(2)
    except OSError:  # one of them is closed
        yield
        return
    sys.stdout.flush()
    os.dup2(2, 1)
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(original, 1)
        os.close(original)
