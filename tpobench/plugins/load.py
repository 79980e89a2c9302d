"""A user's own algorithms, tasks and suites: files named with --plugin, run before planning and in every worker.

The text travels with each job, and that of the files beside it that it imports, so every process runs the files as
they were when the command started, on any machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from tpobench.errors import TpobenchError, UsageError, words_of
from tpobench.identity import canonical
from tpobench.plugins import beside
from tpobench.plugins.undisturbed import undisturbed
from tpobench.suites import load as suites
from tpobench.suites.load import SUITES, read_suite
from tpobench.suites.reading import check_id
from tpobench.tasks import catalog as tasks
from tpobench.tasks.catalog import TASKS
from tpobench.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm


class Added(NamedTuple):
    """What a plugin registered: names of algorithms, kinds of tasks, and names of suites."""

    algorithms: frozenset[str]
    kinds: frozenset[str]
    suites: frozenset[str]


NOTHING = Added(frozenset(), frozenset(), frozenset())
VERSIONS: dict[str, str] = {}  # algorithm -> version, for algorithms that came from a plugin
TASK_VERSIONS: dict[str, str] = {}  # kind -> version, for tasks that came from a plugin
_loaded: dict[str, tuple[str, Added]] = {}  # path -> version, and what it registered


@dataclass(frozen=True)
class Plugin:
    """A plugin file as it was read, and the files beside it that it imports: name -> text."""

    path: str
    source: str
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)
    package: str = ""  # name and version of the installed package that it stands for; its path then names no file

    @property
    def version(self) -> str:
        """The version of its algorithms and tasks: results of an edited file do not mix with those before."""
        text = canonical([self.source, dict(self.beside)]) if self.beside else self.source
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return f"{self.package} {digest}" if self.package else digest


def read_plugin(path: str | Path) -> Plugin:
    """The text of a plugin file, and of those beside it that it imports.

    Raises:
        UsageError: no such file, or not a Python file.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"no plugin at {path}; give a Python file that calls tpobench.register, register_task or register_suite"
        raise UsageError(msg)
    if path.suffix != ".py":
        msg = f"plugin {path}: not a Python file; its name must end in .py"
        raise UsageError(msg)
    source = beside.read_text(path, "plugin")
    return Plugin(str(path.resolve()), source, beside.files_beside(path.resolve(), source))


def load_plugins(
    paths: Iterable[str | Path] = (),
    *,
    suites: Iterable[str] = (),
    algorithms: Iterable[str] | None = None,
    kinds: Iterable[str] = (),
) -> tuple[Plugin, ...]:
    """Read and run plugin files, each once per process, and hold what they register to its contract.

    Installed packages bring what is asked for by name and registered by no file.  A suite asks for its kind of task,
    and for its algorithms where none are given.

    Raises:
        UsageError: no such file, an error in it, or an algorithm or a task that breaks its contract.
    """
    from tpobench.plugins.installed import ALGORITHMS_OF, SUITES_OF, TASKS_OF, installed  # noqa: PLC0415 - stands on this

    names = list(suites)
    plugins = [read_plugin(path) for path in paths]
    _load_checked(plugins)
    brought = installed(SUITES_OF, names)
    _load_checked(brought)
    asked = [needs_of(name) for name in names]
    named = {n for needs in asked for n in needs.algorithms} if algorithms is None else algorithms
    parts = [*installed(TASKS_OF, [*kinds, *(kind for needs in asked for kind in needs.kinds)])]
    parts += installed(ALGORITHMS_OF, named)
    _load_checked(parts)
    return (*plugins, *brought, *parts)


def _load_checked(plugins: Sequence[Plugin]) -> None:
    from tpobench.plugins.check import require_contract  # noqa: PLC0415 - it loads plugins in turn

    new = [p for p in plugins if _loaded.get(p.path, ("",))[0] != p.version]
    require_contract(new)
    if new:
        with undisturbed():
            for plugin in new:
                load_plugin(plugin)


class Needs(NamedTuple):
    """What a suite is of, as far as its text says it: names of algorithms, and kinds of tasks."""

    algorithms: tuple[str, ...]
    kinds: tuple[str, ...]


def needs_of(suite: str) -> Needs:
    """What a suite asks for, which must be here before its text can be checked.

    Raises:
        UsageError: no such suite, or not TOML.
    """
    document = read_suite(suite).document
    names, task = document.get("algorithms"), document.get("task")
    kinds = [task.get("kind")] if isinstance(task, dict) else []
    return Needs(
        *(tuple(n for n in each if isinstance(n, str)) for each in (names if isinstance(names, list) else [], kinds))
    )


def is_loaded(path: str) -> bool:
    """Whether a plugin has run in this process."""
    return path in _loaded


def load_plugin(plugin: Plugin) -> Added:
    """Run a plugin, which calls `tpobench.register`, `register_task` or `register_suite`; gives what it registered.

    An edited one replaces what it had registered before.  A plugin that fails leaves nothing behind.

    Raises:
        UsageError: an error in it, it registers nothing, it replaces what is not its own, or gives it a name that no
            suite could hold.
    """
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch

    version, added = _loaded.get(plugin.path, ("", NOTHING))
    if version == plugin.version:
        return added
    registries: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
        (ALGORITHMS, VERSIONS), (TASKS, TASK_VERSIONS), (SUITES, {}),  # whose text is in every run's settings
    )  # fmt: skip
    for old, (registry, versions) in zip(added, registries, strict=True):
        for name in old:
            registry.pop(name, None)
            versions.pop(name, None)
    _loaded.pop(plugin.path, None)
    module = ModuleType(f"tpobench_plugin_{plugin.version}")
    names = beside.begin(module, plugin.path, plugin.beside)
    before = [set(registry) for registry, _ in registries]
    try:
        with catalogue_kept(plugin):
            beside.run(plugin.source, plugin.path, module, names)
    except UsageError:
        beside.forget(module)
        raise
    added = Added(*(frozenset(registry) - known for (registry, _), known in zip(registries, before, strict=True)))
    if not any(added):
        msg = (
            f"plugin {plugin.path} registers neither an algorithm nor a task nor a suite; call "
            "tpobench.register(Algorithm(...)), tpobench.register_task(Settings) or register_suite(name, toml) in it"
        )
        raise UsageError(msg)
    for new, (_, versions) in zip(added, registries, strict=True):
        versions.update(dict.fromkeys(new, plugin.version))
    for name in added.suites:
        if isinstance(file := SUITES[name], Path):
            SUITES[name] = Path(plugin.path).parent / file
    _loaded[plugin.path] = plugin.version, added
    return added


class _Snapshot:
    """A registry as it was: what each entry is made of."""

    def __init__(self, home: Any, name: str, noun: str, contents: Callable[[Any], dict[str, Any]]) -> None:
        self.home, self.name, self.noun, self.contents = home, name, noun, contents
        self.registry: dict[str, Any] = getattr(home, name)
        self.entries = {key: (entry, contents(entry)) for key, entry in self.registry.items()}

    @property
    def added(self) -> dict[str, Any]:
        """The entries that are new.

        Raises:
            UsageError: another one was replaced or changed.
        """
        changed = [
            f"the {self.noun} '{key}'"
            for key, (entry, old) in self.entries.items()
            if self.registry.get(key) is not entry or self.contents(entry) != old
        ]
        if changed or getattr(self.home, self.name) is not self.registry:
            which = (changed or ["the catalogue"])[0]
            msg = f"it replaces or changes {which}, which is not its own; register yours under another name"
            raise UsageError(msg)
        return {key: entry for key, entry in self.registry.items() if key not in self.entries}

    def restore(self) -> None:
        """Put everything back."""
        setattr(self.home, self.name, self.registry)
        self.registry.clear()
        for key, (entry, old) in self.entries.items():
            self.registry[key] = entry
            self._refill(entry, old)

    @staticmethod
    def _refill(entry: Any, old: Mapping[str, Any]) -> None:
        if isinstance(entry, type):
            for key in _class_contents(entry).keys() - old.keys():
                delattr(entry, key)
            for key, value in old.items():
                if vars(entry).get(key) is not value:
                    setattr(entry, key, value)
        elif old:
            vars(entry).clear()  # with what it has cached of credit and fit
            vars(entry).update(old)


@contextmanager
def catalogue_kept(plugin: Plugin) -> Iterator[None]:
    """Code of a plugin may add to the registries, and must leave what is there alone; if it fails, they are put back.

    Raises:
        UsageError: the code raised, changed one that was there before, or added one that no suite could name.
    """
    from tpobench.algorithms import catalog  # noqa: PLC0415 - imports torch
    from tpobench.algorithms.algorithm import Algorithm  # noqa: PLC0415 - imports torch

    algorithms, kinds, registered_suites = registries = (
        _Snapshot(catalog, "ALGORITHMS", "algorithm", _fields),
        _Snapshot(tasks, "TASKS", "task kind", _class_contents),
        _Snapshot(suites, "SUITES", "suite", lambda _: {}),
    )
    try:
        yield
        for name, algorithm in algorithms.added.items():
            if not isinstance(algorithm, Algorithm) or algorithm.name != name:
                msg = f"what it puts into ALGORITHMS as '{name}' is no Algorithm of that name; call tpobench.register"
                raise UsageError(msg)
            check_id(name, "name", "an algorithm's name")
        for kind, settings in kinds.added.items():
            if not (isinstance(settings, type) and issubclass(settings, TaskSettings)) or settings.kind != kind:
                msg = f"what it puts into TASKS as '{kind}' is no TaskSettings of it; call tpobench.register_task"
                raise UsageError(msg)
            check_id(kind, "kind", "a task")
        for name, toml in registered_suites.added.items():
            suites.require_suite(name, toml)
    except (Exception, SystemExit) as error:
        for registry in registries:
            registry.restore()
        msg = f"plugin {plugin.path}{_line_of(error, plugin)}: {text_of(error)}"
        raise UsageError(msg) from error


def _fields(algorithm: Algorithm) -> dict[str, Any]:
    values = {f.name: getattr(algorithm, f.name) for f in dataclasses.fields(algorithm)}
    return {**values, "hyper": dict(algorithm.hyper)}


def _class_contents(settings: type) -> dict[str, Any]:
    return {k: v for k, v in vars(settings).items() if not k.startswith("__annot")}  # which Python fills when asked


def _line_of(error: BaseException, plugin: Plugin) -> str:
    """`, line 3`, or the file beside the plugin and its line, where the error comes from one."""
    if plugin.package:
        return ""
    folder = Path(plugin.path).parent
    names = {str(folder / name): name for name in plugin.beside} | {plugin.path: ""}
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    lines = [(names[file], line) for file, line in frames if file in names and line is not None]
    if not lines:
        return ""
    name, line = lines[-1]
    return f", line {line}" if not name else f", {name} line {line}"


def text_of(error: BaseException) -> str:
    """What an error says, on one line: `ValueError: its text`."""
    text = " ".join(words_of(error).split())
    if isinstance(error, TpobenchError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
