"""A user's own rules: Python files that the user names with --plugin, run before planning and in every worker.

The text travels with each job, and that of the files beside it that it imports, so every process runs the files as
they were when the command started, on any machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tpobench.errors import TpobenchError, UsageError
from tpobench.identity import canonical
from tpobench.plugins import beside
from tpobench.plugins.undisturbed import undisturbed

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm

VERSIONS: dict[str, str] = {}  # rule -> version, for rules that came from a plugin
_loaded: dict[str, tuple[str, frozenset[str]]] = {}  # path -> version and rules


@dataclass(frozen=True)
class Plugin:
    """A plugin file as it was read, and the files beside it that it imports: name -> text."""

    path: str
    source: str
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def version(self) -> str:
        """The version of its rules: results of an edited file do not mix with those before."""
        text = canonical([self.source, dict(self.beside)]) if self.beside else self.source
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def read_plugin(path: str | Path) -> Plugin:
    """The text of a plugin file, and of those beside it that it imports.

    Raises:
        UsageError: no such file, or not a Python file.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"no plugin at {path}; give a Python file that calls tpobench.register(...)"
        raise UsageError(msg)
    if path.suffix != ".py":
        msg = f"plugin {path}: not a Python file; its name must end in .py"
        raise UsageError(msg)
    source = beside.read_text(path, "plugin")
    return Plugin(str(path.resolve()), source, beside.files_beside(path.resolve(), source))


def load_plugins(paths: Iterable[str | Path]) -> tuple[Plugin, ...]:
    """Read and run plugin files, each once per process, and hold their rules to the contract.

    Raises:
        UsageError: no such file, an error in it, or a rule that breaks its contract.
    """
    from tpobench.plugins.check import require_contract  # noqa: PLC0415 - it loads plugins in turn

    plugins = tuple(read_plugin(path) for path in paths)
    require_contract([p for p in plugins if _loaded.get(p.path, ("",))[0] != p.version])
    if plugins:
        with undisturbed():
            for plugin in plugins:
                load_plugin(plugin)
    return plugins


def load_plugin(plugin: Plugin) -> frozenset[str]:
    """Run a plugin, which calls `tpobench.register(...)`; gives the names of its rules.

    An edited one replaces the rules it had registered before.  A plugin that fails leaves no rule behind.

    Raises:
        UsageError: an error in it, it registers nothing, it replaces a rule that is not its own, or names one as no
            suite could hold it.
    """
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch

    version, rules = _loaded.get(plugin.path, ("", frozenset()))
    if version == plugin.version:
        return rules
    for name in rules:
        ALGORITHMS.pop(name, None)
        VERSIONS.pop(name, None)
    _loaded.pop(plugin.path, None)
    module = ModuleType(f"tpobench_plugin_{plugin.version}")
    names = beside.begin(module, plugin.path, plugin.beside)
    before = set(ALGORITHMS)
    try:
        with catalogue_kept(plugin):
            beside.run(plugin.source, plugin.path, module, names)
    except UsageError:
        beside.forget(module)
        raise
    added = frozenset(ALGORITHMS) - before
    if not added:
        msg = f"plugin {plugin.path} registers no rule; call tpobench.register(Algorithm(...)) in it"
        raise UsageError(msg)
    VERSIONS.update(dict.fromkeys(added, plugin.version))
    _loaded[plugin.path] = plugin.version, added
    return added


@contextmanager
def catalogue_kept(plugin: Plugin) -> Iterator[None]:
    """Code of a plugin may add rules, and must leave all others as they are; if it fails, they are put back.

    Raises:
        UsageError: the code raised, changed a rule that was there before, or added one that no suite could name.
    """
    from tpobench.algorithms import catalog  # noqa: PLC0415 - imports torch
    from tpobench.algorithms.algorithm import Algorithm  # noqa: PLC0415 - imports torch
    from tpobench.suites.reading import check_id  # noqa: PLC0415 - reads settings of tasks

    registry = catalog.ALGORITHMS
    before = {name: (rule, _fields(rule)) for name, rule in registry.items()}
    try:
        yield
        changed = [n for n, (rule, old) in before.items() if registry.get(n) is not rule or _fields(rule) != old]
        if changed or catalog.ALGORITHMS is not registry:
            which = f"the rule '{changed[0]}'" if changed else "the catalogue"
            msg = f"it replaces or changes {which}, which is not its own; register yours under another name"
            raise UsageError(msg)
        for name, rule in registry.items():
            if name in before:
                continue
            if not isinstance(rule, Algorithm) or rule.name != name:
                msg = f"what it puts into ALGORITHMS as '{name}' is no Algorithm of that name; call tpobench.register"
                raise UsageError(msg)
            check_id(name, "name", "a rule's name")
    except (Exception, SystemExit) as error:
        catalog.ALGORITHMS = registry
        registry.clear()
        for name, (rule, fields) in before.items():
            registry[name] = rule
            vars(rule).clear()  # with what it has cached of credit and fit
            vars(rule).update(fields)
        msg = f"plugin {plugin.path}{_line_of(error, plugin)}: {_words(error)}"
        raise UsageError(msg) from error


def _fields(rule: Algorithm) -> dict[str, Any]:
    values = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}
    return {**values, "hyper": dict(rule.hyper)}


def _line_of(error: BaseException, plugin: Plugin) -> str:
    """`, line 3`, or the file beside the plugin and its line, where the error comes from one."""
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


def _words(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an error may be too broken to say what it is
        text = ""
    if isinstance(error, TpobenchError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
