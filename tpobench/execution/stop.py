"""Stopping: the first Ctrl-C lets running jobs finish, the second kills them; SIGTERM and SIGHUP kill at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType


class Flag:
    """As `threading.Event`, without its lock: a signal handler may set it while it interrupts another `set`."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """For good."""
        self._set = True

    def is_set(self) -> bool:
        """Whether it was."""
        return self._set


@dataclass
class Stop:
    """A request to stop, which signal handlers make and the engine heeds."""

    asked: Flag = field(default_factory=Flag)  # start nothing more
    killed: Flag = field(default_factory=Flag)  # end what runs
    signal: int = 0
    on_kill: list[Callable[[], None]] = field(default_factory=list)

    def ask(self, number: int) -> None:
        """Let running jobs finish."""
        self.signal = self.signal or number
        self.asked.set()

    def kill(self, number: int) -> None:
        """End running jobs now."""
        self.ask(number)
        self.killed.set()
        for action in self.on_kill:
            action()

    @property
    def exit_code(self) -> int:
        """As shells have it."""
        return 128 + self.signal


@contextmanager
def stopping(stop: Stop, notice: str) -> Iterator[Stop]:
    """Let Ctrl-C, SIGTERM and SIGHUP act on `stop` while the block runs; `notice` is written at the first Ctrl-C.

    A signal that is ignored stays so: `nohup` ignores SIGHUP, and shells ignore SIGINT for what runs behind a script.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        if stop.asked.is_set():
            stop.kill(number)
        else:
            stop.ask(number)
            with suppress(OSError):
                os.write(2, notice.encode())  # print is not safe here: the handler may interrupt another print

    def terminate(number: int, _: FrameType | None) -> None:
        stop.kill(number)

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: terminate}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = terminate
    heard = {number: handler for number, handler in handlers.items() if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
