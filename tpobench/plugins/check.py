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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from tpobench.children import (
    THREAD_VARIABLES,
    boot,
    child_command,
    die_with,
    end_group,
    pin_threads,
    private_pipes,
    resident_bytes,
    signal_name,
)  # fmt: skip
from tpobench.errors import UsageError, WorkersBroken
from tpobench.identity import canonical
from tpobench.plugins.installed import ALGORITHMS_OF, GROUPS, TASKS_OF, installed, installed_names
from tpobench.plugins.load import Plugin, catalogue_kept, is_loaded, load_plugin, needs_of
from tpobench.plugins.undisturbed import undisturbed
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import TASKS
from tpobench.units import duration, size

if TYPE_CHECKING:
    from tpobench.algorithms.promises import PromiseResult

START_S = 300.0  # importing torch from a cold network disk
CHECK_S = 20.0  # loading the plugins and trying what they register, which takes a second
MEMORY_BYTES = 4 * 2**30
POLL_S = 0.05
LAST_S = 1.0  # for processes and words that are about to end

EXAMINED = ("algorithms", "tasks", "suites")

_passed: set[tuple[str, str]] = set()  # path and version of plugins that were tried in this process's name


@dataclass(frozen=True)
class Examined:
    """What became of a plugin in the child: why it cannot be loaded, or what all that it registers keeps, by name."""

    path: str
    error: str = ""
    algorithms: Mapping[str, tuple[PromiseResult, ...]] = field(default_factory=dict)
    tasks: Mapping[str, tuple[PromiseResult, ...]] = field(default_factory=dict)
    suites: Mapping[str, tuple[PromiseResult, ...]] = field(default_factory=dict)

    @property
    def fault(self) -> str:
        """Why nothing of it is trained; empty if nothing speaks against it.  A suite is checked when it is planned."""
        from tpobench.algorithms.promises import refusal  # noqa: PLC0415 - imports torch

        if self.error:
            return self.error
        for what, registered in (("algorithm", self.algorithms), ("task", self.tasks)):
            if lines := [line for name, findings in registered.items() for line in refusal(name, findings, what)]:
                shown = "`tpobench validate` shows all of it"
                return f"plugin {self.path} breaks the contract of a {what} ({shown}): {'; '.join(lines)}"
        return ""


def require_contract(plugins: Sequence[Plugin]) -> None:
    """Load plugins in a child process first, and try their algorithms and tasks there.

    Raises:
        UsageError: one cannot be loaded, or what it registers breaks its contract.
        WorkersBroken: the child process cannot start.
    """
    untried = [p for p in plugins if (p.path, p.version) not in _passed]
    if not untried:
        return
    for examined in examine_plugins(untried):
        if examined.fault:
            raise UsageError(examined.fault)
    _passed.update((p.path, p.version) for p in untried)


def faults(plugins: Sequence[Plugin]) -> dict[str, str]:
    """Why plugins are refused, by their paths: of those that are.  One that ends the child costs the others nothing.

    Raises:
        WorkersBroken: the child process cannot start.
    """
    try:
        examined = examine_plugins(plugins) if plugins else []
    except UsageError as error:
        if len(plugins) == 1:
            return {plugins[0].path: str(error)}
        middle = len(plugins) // 2
        return faults(plugins[:middle]) | faults(plugins[middle:])
    refused = {each.path: each.fault for each in examined if each.fault}
    _passed.update((p.path, p.version) for p in plugins if p.path not in refused)
    return refused


def load_installed(groups: Iterable[str]) -> dict[str, str]:
    """Load everything that installed packages bring to some groups; of what cannot be loaded, what it is and why."""
    plugins: dict[str, Plugin] = {}
    refused: dict[str, str] = {}
    for group in groups:
        for name in installed_names(group):
            what = f"{GROUPS[group].noun} '{name}'"
            try:
                plugins.update((what, plugin) for plugin in installed(group, [name]))
            except UsageError as error:
                refused[what] = str(error)
    reasons = faults([p for p in plugins.values() if not is_loaded(p.path)])
    refused |= {what: reasons[p.path] for what, p in plugins.items() if p.path in reasons}
    if plugins:
        with undisturbed():
            for plugin in (p for p in plugins.values() if p.path not in reasons):
                load_plugin(plugin)
    return refused


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
                    Examined(raw["path"], raw["error"], *(findings(raw[what]) for what in EXAMINED))
                    for raw in message["done"]
                ]
            else:
                deadline = min(deadline, time.monotonic() + CHECK_S) if not self._doing else deadline
                self._doing = str(message["doing"])

    def kill(self) -> None:
        """End it and what it has started."""
        end_group(self._process)
        self._reader.join(timeout=1)  # what it has started in another group may hold the pipe

    def _require_alive(self, dead: bool, deadline: float) -> None:  # noqa: FBT001 - a fact
        wrong = ""
        if dead:
            code = self._process.returncode
            wrong = f"it ends the process ({f'exit code {code}' if code >= 0 else signal_name(-code)})"
        elif time.monotonic() > deadline:
            wrong = f"it takes more than {duration(CHECK_S)}"
        elif self._doing and resident_bytes(self._process) > MEMORY_BYTES:
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

    def _last_words(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4000))
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


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

    outcomes = [_examined(Plugin(**raw), lambda doing: say(doing=doing)) for raw in message["plugins"]]
    say(done=[_with_suites(outcome) for outcome in outcomes])  # which may be of another one's tasks
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

    outcome: dict[str, Any] = {"path": plugin.path, "error": "", **{what: {} for what in EXAMINED}}
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
        outcome["suites"] = dict.fromkeys(sorted(added.suites), ())
    except UsageError as error:
        outcome["error"] = str(error)
    except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt too: it comes from the plugin
        outcome["error"] = f"plugin {plugin.path}: it raises {type(error).__name__}"
    return outcome


def _with_suites(outcome: dict[str, Any]) -> dict[str, Any]:
    suites = {name: [dataclasses.asdict(f) for f in examine_suite(name)] for name in outcome["suites"]}
    return {**outcome, "suites": suites}


def examine_suite(name: str) -> list[PromiseResult]:
    """What becomes of the promises of a suite, with what installed packages bring for it."""
    from tpobench.algorithms.catalog import require_algorithm  # noqa: PLC0415 - imports torch
    from tpobench.algorithms.promises import Breach, PromiseResult  # noqa: PLC0415 - imports torch

    def valid() -> None:
        for plugin in installed(TASKS_OF, needs_of(name).kinds):
            load_plugin(plugin)
        load_suite(name)

    def served() -> None:
        algorithms = needs_of(name).algorithms
        for plugin in installed(ALGORITHMS_OF, algorithms):
            load_plugin(plugin)
        for algorithm in algorithms:
            require_algorithm(algorithm, f"suite '{name}'")

    results: list[PromiseResult] = []
    for promise, keep in (("it is valid at every scale, and as its smoke version", valid),
                          ("its algorithms are here", served)):  # fmt: skip
        reached = all(result.state == "kept" for result in results)
        breaches: tuple[Breach, ...] = ()
        try:
            if reached:
                keep()
        except UsageError as error:
            what, _, remedy = str(error).partition("; ")
            breaches = (Breach("suite", what, remedy),)
        results.append(PromiseResult(promise, breaches, reached))
    return results
