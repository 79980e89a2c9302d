"""A plugin is first loaded and what it registers tried in a child process, so that what it does there costs one line.

A plugin that hangs, takes gigabytes, kills its process or prints does so in the child; only one that keeps its
contract is loaded by whoever asked.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from tpobench.children import THREAD_VARIABLES, boot, child_command, die_with, pin_threads, private_pipes, signal_name
from tpobench.errors import UsageError, WorkersBroken
from tpobench.identity import canonical
from tpobench.plugins.load import Plugin, catalogue_kept, load_plugin
from tpobench.plugins.undisturbed import undisturbed
from tpobench.tasks.catalog import TASKS
from tpobench.units import duration, size

if TYPE_CHECKING:
    from tpobench.algorithms.promises import PromiseResult

START_S = 300.0  # importing torch from a cold network disk
CHECK_S = 20.0  # loading the plugins and trying what they register, which takes a second
MEMORY_BYTES = 4 * 2**30
POLL_S = 0.05
LAST_S = 1.0  # for processes and words that are about to end

_passed: set[tuple[str, str]] = set()  # path and version of plugins that were tried in this process's name


@dataclass(frozen=True)
class Examined:
    """What became of a plugin in the child: why it cannot be loaded, or what its algorithms and tasks keep, by name."""

    path: str
    error: str = ""
    algorithms: Mapping[str, tuple[PromiseResult, ...]] = field(default_factory=dict)
    tasks: Mapping[str, tuple[PromiseResult, ...]] = field(default_factory=dict)


def require_contract(plugins: Sequence[Plugin]) -> None:
    """Load plugins in a child process first, and try their algorithms and tasks there.

    Raises:
        UsageError: one cannot be loaded, or what it registers breaks its contract.
        WorkersBroken: the child process cannot start.
    """
    from tpobench.algorithms.promises import refusal  # noqa: PLC0415 - imports torch

    untried = [p for p in plugins if (p.path, p.version) not in _passed]
    if not untried:
        return
    for examined in examine_plugins(untried):
        if examined.error:
            raise UsageError(examined.error)
        for what, registered in (("algorithm", examined.algorithms), ("task", examined.tasks)):
            lines = [line for name, findings in registered.items() for line in refusal(name, findings, what)]
            if lines:
                shown = "`tpobench validate --plugin` shows all of it"
                msg = f"plugin {examined.path} breaks the contract of a {what} ({shown}): {'; '.join(lines)}"
                raise UsageError(msg)
    _passed.update((p.path, p.version) for p in untried)


def examine_plugins(plugins: Sequence[Plugin]) -> list[Examined]:
    """Load plugins in a child process and try what they register there.

    Raises:
        UsageError: one of them hangs, ends the process, or takes too much memory.
        WorkersBroken: the child process cannot start.
    """
    with tempfile.TemporaryFile() as log:
        child = _Child(plugins, log)
        try:
            return child.answer()
        finally:
            child.kill()


class _Child:
    """The child process, and what it says."""

    def __init__(self, plugins: Sequence[Plugin], log: IO[bytes]) -> None:
        self._log, self._token, self._doing = log, secrets.token_hex(8), ""
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                child_command(boot("tpobench.plugins.check")),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
                encoding="utf-8",
                errors="surrogatepass",  # names of files may be no text
            )
        except OSError as error:
            msg = f"a worker process cannot start: {error.strerror or error}"
            raise WorkersBroken(msg) from error
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        message = {"token": self._token, "plugins": [dataclasses.asdict(p) for p in plugins]}
        assert self._process.stdin is not None  # noqa: S101 - a pipe, as asked for
        with suppress(OSError), self._process.stdin as requests:  # a dead child is found below
            requests.write(canonical(message) + "\n")

    def answer(self) -> list[Examined]:
        """What it says in the end.

        Raises:
            UsageError: it says nothing in time, ends, or grows beyond its limit.
            WorkersBroken: it does so before it has started.
        """
        from tpobench.algorithms.promises import finding_of  # noqa: PLC0415 - imports torch

        def findings(raw: Mapping[str, Any]) -> dict[str, tuple[PromiseResult, ...]]:
            return {name: tuple(map(finding_of, each)) for name, each in raw.items()}

        deadline = time.monotonic() + START_S
        while True:
            dead = self._process.poll() is not None
            if dead:
                self._reader.join(LAST_S)  # its last words may still be on their way
            message = self._next()
            if message is None:
                self._require_alive(dead, deadline)
            elif "done" in message:
                return [
                    Examined(raw["path"], raw["error"], findings(raw["algorithms"]), findings(raw["tasks"]))
                    for raw in message["done"]
                ]
            else:
                deadline = min(deadline, time.monotonic() + CHECK_S) if not self._doing else deadline
                self._doing = str(message["doing"])

    def kill(self) -> None:
        """End it and what it has started."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._reader.join(timeout=1)  # what it has started in another group may hold the pipe

    def _require_alive(self, dead: bool, deadline: float) -> None:  # noqa: FBT001 - a fact
        wrong = ""
        if dead:
            wrong = f"it ends the process ({_end(self._process.returncode)})"
        elif time.monotonic() > deadline:
            wrong = f"it takes more than {duration(CHECK_S)}"
        elif self._doing and self._resident() > MEMORY_BYTES:
            wrong = f"it takes more than {size(MEMORY_BYTES)} of memory"
        if not wrong:
            return
        words = self._last_words()
        if not self._doing:
            msg = (
                f"a worker process cannot start: {words or 'it says nothing'}; `tpobench doctor` shows what is missing"
            )
            raise WorkersBroken(msg)
        msg = f"{self._doing}: {wrong}" + (f"; its last words: {words}" if dead and words else "")
        raise UsageError(msg)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as asked for
        with suppress(OSError, ValueError), self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)

    def _next(self) -> dict[str, Any] | None:
        """Its next words, None where there are none yet.  Lines without the token are the plugin's own."""
        with suppress(queue.Empty):
            _, token, text = self._lines.get(timeout=POLL_S).rpartition(f"{self._token} ")
            if token:
                return dict(json.loads(text))
        return None

    def _resident(self) -> int:
        import psutil  # noqa: PLC0415 - `--help` does not need it

        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _last_words(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4000))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _end(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal_name(-code)


def main() -> None:
    """The child: load plugins, try what they register, tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(os.getppid())
    requests, answers = private_pipes()
    message = json.loads(requests.readline())
    pin_threads(1)
    from tpobench.algorithms import contract  # noqa: F401, PLC0415 - torch, before the clock starts

    def say(**words: object) -> None:
        answers.write(f"\n{message['token']} {canonical(words)}\n")
        answers.flush()

    say(done=[_examined(Plugin(**raw), lambda doing: say(doing=doing)) for raw in message["plugins"]])
    os._exit(0)  # whatever threads and handlers a plugin has left


def _left_running() -> str:
    """What would keep a command that loads the plugin from ending, or outlive it."""
    import psutil  # noqa: PLC0415 - `--help` does not need it

    if psutil.wait_procs(psutil.Process().children(), timeout=LAST_S)[1]:
        return "process"
    return "thread" if any(not t.daemon and t is not threading.main_thread() for t in threading.enumerate()) else ""


def _examined(plugin: Plugin, say: Callable[[str], None]) -> dict[str, Any]:
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch
    from tpobench.algorithms.contract import examine  # noqa: PLC0415 - imports torch
    from tpobench.tasks.contract import examine as examine_task  # noqa: PLC0415 - imports torch

    outcome: dict[str, Any] = {"path": plugin.path, "error": "", "algorithms": {}, "tasks": {}}
    try:
        say(f"plugin {plugin.path}: while it is loaded")
        with undisturbed():
            added = load_plugin(plugin)
        if left := _left_running():
            remedy = "end it, or start it where it is used"
            msg = f"plugin {plugin.path}: it leaves a {left} running when it is loaded; {remedy}"
            raise UsageError(msg)
        for name in sorted(added.algorithms):
            say(f"plugin {plugin.path}: while algorithm '{name}' is tried on tiny groups")
            with catalogue_kept(plugin):
                outcome["algorithms"][name] = [dataclasses.asdict(f) for f in examine(ALGORITHMS[name])]
        for kind in sorted(added.kinds):
            say(f"plugin {plugin.path}: while task '{kind}' is tried")
            with catalogue_kept(plugin):
                outcome["tasks"][kind] = [dataclasses.asdict(f) for f in examine_task(TASKS[kind])]
    except UsageError as error:
        outcome["error"] = str(error)
    except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt too: it comes from the plugin
        outcome["error"] = f"plugin {plugin.path}: it raises {type(error).__name__}"
    return outcome
