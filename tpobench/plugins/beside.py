"""Files beside a plugin that it imports: which they are, and how they are imported from their text.

They are submodules of the plugin's own module, so that two plugins may each have a `helpers.py`, and none is seen by
anybody else.  What Python or an installed package calls by the same name is theirs: `random.py` beside a plugin is not.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from tpobench.errors import UsageError


def read_text(path: Path, what: str) -> str:
    """The text of a Python file.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{what} {path}: not UTF-8 text: {error}"
        raise UsageError(msg) from error
    except OSError as error:
        msg = f"{what} {path} cannot be read: {error.strerror or error}"
        raise UsageError(msg) from error


def files_beside(path: Path, source: str) -> dict[str, str]:
    """The text of every Python file beside a plugin that it imports, or that one of them imports: name -> text.

    Import statements count wherever they stand; names are relative to the plugin's folder, such as `rules/clip.py`.

    Raises:
        UsageError: one of them cannot be read.
    """
    folder = path.resolve().parent
    files = _reached(source, folder, lambda top: _is_beside(top, folder), f"plugin {path}: it imports")
    return {name: text for name, text in files.items() if folder / name != path}


def package_files(module: str, folder: Path) -> dict[str, str]:
    """The text of every Python file of a package in a folder that importing one of its modules runs: name -> text.

    Raises:
        UsageError: one of them cannot be read.
    """
    top = module.partition(".")[0]
    return _reached(f"import {module}", folder, lambda name: name == top, f"module {module}: it imports")


def _reached(source: str, folder: Path, counts: Callable[[str], bool], what: str) -> dict[str, str]:
    """The files of a folder that a text imports, or that one of them imports, as far as their first name counts."""
    files: dict[str, str] = {}
    todo = [("", source)]
    while todo:
        package, text = todo.pop()
        for module in _imported(text, package):
            for name in _files_of(module, folder) if counts(module.partition(".")[0]) else ():
                if name not in files:
                    files[name] = read_text(folder / name, what)
                    todo.append((".".join(PurePosixPath(name).parent.parts), files[name]))
    return files


def _imported(source: str, package: str) -> Iterator[str]:
    """Every module that the import statements of a text may mean."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # told when it is run
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".") if package else []
            if node.level > len(base) + 1:
                continue
            start = base[: len(base) - node.level + 1] if node.level else []
            module = ".".join([*start, *(node.module.split(".") if node.module else [])])
            yield from ([module] if module else [])
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")


def _is_beside(top: str, folder: Path) -> bool:
    """Whether the folder has a module of this name, and neither Python nor an installed package has."""
    if top in sys.stdlib_module_names or not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        return False
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if loaded is not None and folder not in Path(loaded).resolve().parents:
        return False
    spec = PathFinder.find_spec(top, [p for p in sys.path if Path(p).resolve() != folder])
    return spec is None or spec.origin is None  # a folder without code has no origin


def _files_of(module: str, folder: Path) -> Iterator[str]:
    """The files that importing `a.b.c` runs: `a/__init__.py`, `a/b/__init__.py` and `a/b/c.py`, as far as there are."""
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        stem = "/".join(parts[:i])
        for name in (f"{stem}/__init__.py", f"{stem}.py"):
            if (folder / name).is_file():
                yield name
                break


class _Texts(MetaPathFinder, Loader):
    """Imports modules from their texts."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[str, str, bool]] = {}  # module -> path, text, whether it is a package
        self._builtins: dict[str, dict[str, Any]] = {}  # module of a plugin -> the builtins of its files

    def add(self, plugin: str, folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
        """Make the files beside a plugin its submodules; gives the builtins with which all of them are run."""
        for name, text in files.items():
            parts = PurePosixPath(name).with_suffix("").parts
            package = parts[-1] == "__init__"
            for i in range(1, len(parts)):
                self._texts.setdefault(".".join((plugin, *parts[:i])), (str(folder.joinpath(*parts[:i])), "", True))
            dotted = ".".join((plugin, *(parts[:-1] if package else parts)))
            self._texts[dotted] = (str(folder / name), text, package)
        self._builtins[plugin] = _builtins(plugin, {name.partition("/")[0].removesuffix(".py") for name in files})
        return self._builtins[plugin]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module is."""
        del path, target
        if name not in self._texts:
            return None
        origin, _, package = self._texts[name]
        return importlib.util.spec_from_loader(name, self, origin=origin, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        """Run its text."""
        path, text, _ = self._texts[module.__name__]
        module.__file__ = path
        run(text, path, module, self._builtins[module.__name__.partition(".")[0]])


_texts = _Texts()


def begin(module: ModuleType, path: str, files: Mapping[str, str]) -> dict[str, Any]:
    """Make a plugin's module known, and the files beside it its submodules; gives the builtins to run it with."""
    if _texts not in sys.meta_path:
        sys.meta_path.append(_texts)
    module.__file__, module.__package__, module.__path__ = path, module.__name__, []
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    return _texts.add(module.__name__, Path(path).parent, files)


def forget(module: ModuleType) -> None:
    """Take a plugin's module and its submodules out again."""
    for name in [n for n in sys.modules if n == module.__name__ or n.startswith(f"{module.__name__}.")]:
        del sys.modules[name]


def run(source: str, path: str, module: ModuleType, names: dict[str, Any]) -> None:
    """Run a text in its module."""
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    module.__dict__["__builtins__"] = names
    exec(compile(source, path, "exec"), vars(module))  # noqa: S102 - the user named this file


def _builtins(plugin: str, beside: set[str]) -> dict[str, Any]:
    """Python's builtins with an `import` that finds what is beside the plugin, whenever it is executed."""

    def find(
        name: str,
        scope: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        names: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in beside:
            return builtins.__import__(name, scope, local, names or (), level)
        if names:
            return builtins.__import__(f"{plugin}.{name}", scope, local, names, 0)
        importlib.import_module(f"{plugin}.{name}")
        return sys.modules[f"{plugin}.{top}"]

    return {**vars(builtins), "__import__": find}
