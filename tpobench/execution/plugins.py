"""A user's own rules: Python files that the user names with --plugin, run before planning and in every worker.

The text travels with each job, so every process runs the file as it was when the command started, on any machine.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tpobench.errors import TpobenchError, UsageError
from tpobench.execution.undisturbed import undisturbed

VERSIONS: dict[str, str] = {}  # rule -> version, for rules that came from a plugin
_loaded: dict[str, tuple[str, frozenset[str]]] = {}  # path -> version and rules


@dataclass(frozen=True)
class Plugin:
    """A plugin file as it was read."""

    path: str
    source: str

    @property
    def version(self) -> str:
        """The version of its rules: results of an edited file do not mix with those before."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]


def read_plugin(path: str | Path) -> Plugin:
    """The text of a plugin file.

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
    try:
        return Plugin(str(path.resolve()), path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        msg = f"plugin {path}: not UTF-8 text: {error}"
        raise UsageError(msg) from error


def load_plugins(paths: Iterable[str | Path]) -> tuple[Plugin, ...]:
    """Read and run plugin files, each once per process.

    Raises:
        UsageError: no such file, or an error in it.
    """
    plugins = tuple(read_plugin(path) for path in paths)
    if plugins:
        with undisturbed():
            for plugin in plugins:
                load_plugin(plugin)
    return plugins


def load_plugin(plugin: Plugin) -> None:
    """Run a plugin, which calls `tpobench.register(...)`.  An edited one replaces the rules it had registered before.

    Raises:
        UsageError: an error in it, or it registers nothing, or a rule by a name that no suite could hold.
    """
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch
    from tpobench.suite_reading import check_id  # noqa: PLC0415 - likewise

    version, rules = _loaded.get(plugin.path, ("", frozenset()))
    if version == plugin.version:
        return
    for name in rules:
        ALGORITHMS.pop(name, None)
        VERSIONS.pop(name, None)
    before = set(ALGORITHMS)
    module = ModuleType(f"tpobench_plugin_{plugin.version}")
    module.__file__ = plugin.path
    sys.modules[module.__name__] = module  # dataclasses and pickling look their module up there
    linecache.cache[plugin.path] = (len(plugin.source), None, plugin.source.splitlines(keepends=True), plugin.path)
    try:
        exec(compile(plugin.source, plugin.path, "exec"), vars(module))  # noqa: S102 - the user named this file
    except TpobenchError as error:
        msg = f"plugin {plugin.path}: {error}"
        raise UsageError(msg) from error
    except (Exception, SystemExit) as error:
        msg = f"plugin {plugin.path}: {type(error).__name__}: {error}"
        raise UsageError(msg) from error
    added = set(ALGORITHMS) - before
    if not added:
        msg = f"plugin {plugin.path} registers no rule; call tpobench.register(Algorithm(...)) in it"
        raise UsageError(msg)
    for name in added:
        check_id(name, "register", f"plugin {plugin.path}")
    VERSIONS.update(dict.fromkeys(added, plugin.version))
    _loaded[plugin.path] = plugin.version, frozenset(added)
