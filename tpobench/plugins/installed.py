"""What installed packages bring by entry points: algorithms, tasks and suites, found by name.

Looking reads what is installed, and imports nothing.  What is asked for by its name becomes a plugin like a file: it is
tried in a child process before it is imported here, and in the workers of its jobs.  Its version names the package and
holds the text of the module that the entry point names, and of those of the package that it imports.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from tpobench.algorithms.catalog import BUILT_IN, base
from tpobench.errors import UsageError
from tpobench.identity import canonical
from tpobench.plugins.beside import package_files
from tpobench.plugins.load import Plugin, is_loaded, text_of
from tpobench.printable import brief
from tpobench.suites.load import SUITES, packaged_suites, register_suite
from tpobench.tasks.catalog import PACKAGED_KINDS, TASKS, register_task


@dataclass(frozen=True)
class _Group:
    """A group of entry points: what its names stand for."""

    noun: str
    packaged: Callable[[], Collection[str]]
    registry: Callable[[], Mapping[str, Any]]
    register: Callable[[str, Any], None]


def _algorithms() -> Mapping[str, Any]:
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch

    return ALGORITHMS


def _register_algorithm(name: str, subject: Any) -> None:
    from tpobench.algorithms.algorithm import Algorithm  # noqa: PLC0415 - imports torch
    from tpobench.algorithms.catalog import register  # noqa: PLC0415 - imports torch

    if not isinstance(subject, Algorithm) or subject.name != name:
        msg = f"it names {_called(subject)}, not an Algorithm called '{name}'"
        raise UsageError(msg)
    register(subject)


def _called(subject: Any) -> str:
    return (
        f"the {type(subject).__name__} '{brief(str(getattr(subject, 'name', getattr(subject, '__name__', subject))))}'"
    )


def _register_task(name: str, subject: Any) -> None:
    if register_task(subject).kind != name:
        msg = f"it names a task of the kind '{subject.kind}'; the entry point must have the same name"
        raise UsageError(msg)


ALGORITHMS_OF, TASKS_OF, SUITES_OF = "tpobench.algorithms", "tpobench.tasks", "tpobench.suites"
GROUPS = {
    ALGORITHMS_OF: _Group("algorithm", lambda: BUILT_IN, _algorithms, _register_algorithm),
    TASKS_OF: _Group("task kind", lambda: PACKAGED_KINDS, lambda: TASKS, _register_task),
    SUITES_OF: _Group("suite", packaged_suites, lambda: SUITES, register_suite),
}


class _Entry(NamedTuple):
    """An entry point, and the package that has it."""

    group: str
    name: str
    value: str  # module:attribute
    package: str  # its name and version

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"{self.package} ({self.group}: {self.name} = {self.value})"


@functools.lru_cache(maxsize=1)
def _entries(path: tuple[str, ...]) -> Mapping[tuple[str, str], tuple[_Entry, ...]]:
    """The entry points by group and name, of what is installed on a path."""
    packages: dict[str, list[_Entry]] = {}
    for distribution in distributions(path=list(path)):
        with suppress(Exception):  # a package with damaged metadata breaks no command
            points = [p for p in distribution.entry_points if p.group in GROUPS]
            if points and (name := distribution.metadata["Name"]) not in packages:  # the first on the path counts
                package = f"{name} {distribution.version}"
                packages[name] = [_Entry(p.group, p.name, p.value, package) for p in points]
    entries: dict[tuple[str, str], tuple[_Entry, ...]] = {}
    for entry in (entry for members in packages.values() for entry in members):
        entries[entry.group, entry.name] = (*entries.get((entry.group, entry.name), ()), entry)
    return entries


def installed_names(group: str) -> list[str]:
    """The names that installed packages bring to a group."""
    return sorted(name for other, name in _entries(tuple(sys.path)) if other == group)


def installed(group: str, names: Iterable[str]) -> list[Plugin]:
    """The plugins of those names that installed packages bring.  What is registered already comes before them.

    Raises:
        UsageError: one of the names is tpobench's own, two packages bring it, or its module is not here.
    """
    plugins = []
    for name in dict.fromkeys(base(name) for name in names):
        members = _entries(tuple(sys.path)).get((group, name), ())
        places = " and ".join(entry.path for entry in members)
        if members and name in GROUPS[group].packaged():
            msg = (
                f"{GROUPS[group].noun} '{name}' is one of tpobench, and {places} has its name; uninstall or rename that"
            )
            raise UsageError(msg)
        if len(members) > 1:
            msg = f"{GROUPS[group].noun} '{name}' comes with {places}; uninstall all of them but one"
            raise UsageError(msg)
        plugins += [_plugin(e) for e in members if is_loaded(e.path) or name not in GROUPS[group].registry()]
    return plugins


def _plugin(entry: _Entry) -> Plugin:
    """The file that would bring the same."""
    try:
        arguments = (entry.group, entry.name, entry.value, digest_of(entry.value))
    except UsageError as error:
        msg = f"plugin {entry.path}: {error}"
        raise UsageError(msg) from error
    source = f"from tpobench.plugins.installed import bring\n\nbring{arguments}\n"
    return Plugin(entry.path, source, package=entry.package)


def digest_of(value: str) -> str:
    """The hash of the text of a module, and of those of its package that it imports: 12 hex digits.

    Raises:
        UsageError: there is no such module.
    """
    module = value.partition(":")[0].strip()
    files = package_files(module, _folder_of(module))
    return hashlib.sha256(canonical(files).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _folder_of(module: str) -> Path:
    """Where the package of a module lies; nothing is imported to tell."""
    top = module.partition(".")[0]
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)
        if spec is not None and (places := list(spec.submodule_search_locations or [spec.origin or ""])):
            return Path(places[0]).parent
    msg = f"no module '{top}' here; install the package again, or uninstall it"
    raise UsageError(msg)


_digests: dict[str, str] = {}  # module -> what its text was when this process imported it


def bring(group: str, name: str, value: str, digest: str) -> None:
    """Import what an entry point names, and register it.

    Raises:
        UsageError: it cannot be imported, is not what the group takes, or its text is not the one of `digest`.
    """
    module, _, attributes = (part.strip() for part in value.partition(":"))
    if digest_of(value) != digest or _digests.setdefault(module, digest) != digest:
        msg = f"the text of '{module}' is another than when the command began; start it again"
        raise UsageError(msg)
    before = {each: set(of.registry()) for each, of in GROUPS.items()}
    try:
        imported: Any = importlib.import_module(module)
        subject = functools.reduce(getattr, filter(None, attributes.split(".")), imported)
    except (Exception, SystemExit) as error:
        msg = f"{_line_of(error, module)}{text_of(error)}"
        raise UsageError(msg) from error
    added = {(each, other) for each, of in GROUPS.items() for other in of.registry().keys() - before[each]}
    if more := added - {(group, name)}:
        msg = f"importing '{module}' registers '{min(more)[1]}' too; leave that to its own entry point"
        raise UsageError(msg)
    if group == SUITES_OF and isinstance(subject, str | Path) and str(subject).endswith(".toml"):
        subject = Path(imported.__file__).parent / subject
    GROUPS[group].register(name, subject)


def _line_of(error: BaseException, module: str) -> str:
    """`mine/rules.py line 3: `, where the error comes from a file of the package."""
    top, folder = module.partition(".")[0], _folder_of(module)
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    frames += [(error.filename or "", error.lineno)] if isinstance(error, SyntaxError) else []
    places = {folder / top, folder / f"{top}.py"}
    lines = [(Path(f).relative_to(folder), line) for f, line in frames if places & {Path(f), *Path(f).parents}]
    return f"{lines[-1][0]} line {lines[-1][1]}: " if lines else ""
