"""A user's own rules: Python files that the user names with --plugin, run before planning and in every worker."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from tpobench.errors import TpobenchError, UsageError

VERSIONS: dict[str, str] = {}  # rule -> version, for rules that came from a plugin
_loaded: dict[Path, str] = {}


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Run plugin files, each once per process.  A plugin calls `tpobench.register(...)`.

    Raises:
        UsageError: no such file, or an error in it.
    """
    for path in paths:
        _load(Path(path))


def _load(path: Path) -> None:
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch

    if not path.is_file():
        msg = f"no plugin at {path}; give a Python file that calls tpobench.register(...)"
        raise UsageError(msg)
    path = path.resolve()
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    if _loaded.get(path) == version:
        return
    before = set(ALGORITHMS)
    loader = importlib.util.spec_from_file_location(f"tpobench_plugin_{version}", path)
    if loader is None or loader.loader is None:
        msg = f"plugin {path}: not a Python file; its name must end in .py"
        raise UsageError(msg)
    module = importlib.util.module_from_spec(loader)
    try:
        loader.loader.exec_module(module)
    except TpobenchError as error:
        msg = f"plugin {path}: {error}"
        raise UsageError(msg) from error
    except Exception as error:
        msg = f"plugin {path}: {type(error).__name__}: {error}"
        raise UsageError(msg) from error
    added = set(ALGORITHMS) - before
    if not added:
        msg = f"plugin {path} registers no rule; call tpobench.register(Algorithm(...)) in it"
        raise UsageError(msg)
    VERSIONS.update(dict.fromkeys(added, version))
    _loaded[path] = version
