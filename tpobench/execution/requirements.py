"""The packages that tpobench asks for, as its own pyproject.toml or its installed metadata says, and those here."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"  # of a checkout; an installation has metadata


@dataclass(frozen=True)
class Requirement:
    """A package and the least version that serves."""

    name: str
    minimum: str = "0"
    extra: str = ""  # the extra of tpobench that asks for it; empty: every installation needs it


def requirements(pyproject: Path = PYPROJECT) -> list[Requirement]:
    """What tpobench requires, extras included; empty where neither pyproject.toml nor metadata can be read."""
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "tpobench":
            extras = project.get("optional-dependencies", {})
            named = [("", text) for text in project.get("dependencies", [])]
            named += [(extra, text) for extra, texts in extras.items() for text in texts]
            return [parse_requirement(text, extra) for extra, text in named]
    try:
        return [parse_requirement(text) for text in metadata.requires("tpobench") or []]
    except metadata.PackageNotFoundError:
        return []


def parse_requirement(text: str, extra: str = "") -> Requirement:
    """`torch>=2.4`, `distributed>=2024.1; extra == "dask"`."""
    package, _, marker = text.partition(";")
    name = re.match(r"[A-Za-z0-9._-]+", package.strip())
    least = re.search(r">=\s*([0-9][^,\s\])]*)", package)
    asked = re.search(r"""extra\s*==\s*["']([^"']+)["']""", marker)
    return Requirement(name[0] if name else package.strip(), least[1] if least else "0", asked[1] if asked else extra)


def installed(name: str) -> str | None:
    """The version of an installed package, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def is_older(version: str, minimum: str) -> bool:
    """Whether a version's release is before the least one: 2.3.1+cpu is older than 2.4, 2.13 and 2.4rc1 are not."""
    a, b = _release(version), _release(minimum)
    width = max(len(a), len(b))
    return a + (0,) * (width - len(a)) < b + (0,) * (width - len(b))


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
