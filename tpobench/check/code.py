"""Which code is under test: a key that changes with every edit of the package, of a plugin, or of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.execution.provenance import git_commit
from tpobench.plugins.load import Plugin

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Code:
    """The code that candidate results belong to."""

    key: str  # 12 hex digits
    facts: dict[str, Any]  # for people: versions, commit, plugins

    def as_dict(self) -> dict[str, Any]:
        """What lies beside the results as code.json."""
        return {"key": self.key, **self.facts}


def code_under_test(plugins: Iterable[Plugin]) -> Code:
    """The key of the sources of tpobench, torch, numpy and the plugins.

    Sources and not the commit: two uncommitted states of one checkout have the same commit.
    """
    from importlib.metadata import version  # noqa: PLC0415 - `--help` does not need it

    from tpobench import __version__  # noqa: PLC0415 - the package imports nothing at its own top either

    loaded = {p.path: p.version for p in plugins}
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    versions = {"torch": version("torch"), "numpy": version("numpy")}
    for part in (*versions.values(), *sorted(loaded.values())):
        digest.update(part.encode() + b"\0")
    facts = {"tpobench": __version__, "git": git_commit(PACKAGE), **versions, "plugins": loaded}
    return Code(digest.hexdigest()[:12], facts)
