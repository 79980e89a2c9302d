"""TOML -> Suite.  Strict: what is not understood is refused, with the file, the key and what would be valid.

Suite files are data: no code, no includes, no environment variables.  docs/suites.md describes every key.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tpobench.errors import UsageError, require_text, unknown
from tpobench.limits import load_toml, read_settings
from tpobench.printable import brief
from tpobench.suites.model import ID, GridCell, ReportSettings, Suite, Training, Value
from tpobench.suites.reading import Document, build_suite, parse_value, set_key

__all__ = [
    "ID",
    "SCALES",
    "Document",
    "GridCell",
    "ReportSettings",
    "ScaleChange",
    "Suite",
    "Training",
    "Value",
    "build_suite",
    "load_suite",
    "parse_value",
    "scale_changes",
    "set_key",
    "suite_names",
    "suites_folder",
]  # fmt: skip

SCALES = ("paper", "quick")


def suites_folder() -> Path:
    """Where the packaged suites lie: inside the wheel, or beside the package in a checkout."""
    packaged = Path(__file__).parent
    return packaged if any(packaged.glob("*.toml")) else packaged.parent.parent / "suites"


def suite_names() -> list[str]:
    """Names of the packaged suites."""
    return sorted(p.stem for p in suites_folder().glob("*.toml"))


def load_suite(name: str | Path, overrides: Iterable[str] = (), *, smoke: bool = False, scale: str = "paper") -> Suite:
    """A packaged suite by name, or a suite file by path, with `KEY=VALUE` overrides.

    scale: `paper` is the file as it stands.  `quick` applies its [quick] table and names the suite `<name>-quick`, so
        that the runs of two scales have other ids, other noise and another folder.
    smoke: [smoke] on top of the scale, where there is one.  The overrides come last.

    Raises:
        UsageError: no such suite or scale, or a file, key or value that is not valid.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    path = _locate(str(name))
    paper = _read(path)
    suite = build_suite(path.stem, paper, str(path))
    quick = _overridden(paper, suite.quick, f"{path} [quick]")
    # Every table is checked at every load, so that a broken one is seen at once.
    variants: dict[tuple[str, bool], tuple[Document, Suite]] = {("paper", False): (paper, suite)}
    if suite.quick:
        variants["quick", False] = quick, build_suite(scaled(path.stem, "quick"), quick, f"{path} [quick]")
    for of, (document, one) in [(of, pair) for (of, _), pair in variants.items()]:
        where = f"{path} [smoke]" + " on top of [quick]" * (of == "quick")
        small = _overridden(document, suite.smoke, where)
        variants[of, True] = small, build_suite(one.name, small, where) if suite.smoke else one
    if (scale, smoke) not in variants:
        have = [n for n in suite_names() if "quick" in _read(suites_folder() / f"{n}.toml")]
        msg = f"{path} has no quick scale, which a [quick] table would give it; suites that have one: {', '.join(have)}"
        raise UsageError(msg)
    document, suite = variants[scale, smoke]
    for override in overrides:
        where = f"--set {brief(override)}"
        key, separator, text = require_text(override, where).partition("=")
        if not separator or not key.strip():
            msg = f"{where}: write KEY=VALUE, for example --set training.steps=100"
            raise UsageError(msg)
        set_key(document, key.strip(), parse_value(text), where)
        suite = build_suite(suite.name, document, where)
    return suite


def _overridden(document: Document, overrides: Mapping[str, Any], where: str) -> Document:
    changed = copy.deepcopy(document)
    for key, value in overrides.items():
        set_key(changed, key, value, where)
    return changed


class ScaleChange(NamedTuple):
    """A key that the quick scale sets otherwise; None where a scale leaves the key out."""

    key: str
    paper: Any
    quick: Any


def scaled(name: str, scale: str) -> str:
    """`bandit`, or `bandit-quick`: what belongs to a suite or an item at a scale is called so."""
    return name if scale == SCALES[0] else f"{name}-{scale}"


def scale_changes(name: str | Path) -> tuple[ScaleChange, ...]:
    """Every key in which the quick scale of a suite differs from the paper's, with both values.

    Raises:
        UsageError: the suite has no quick scale, or is not valid.
    """
    paper, quick = (_flat(load_suite(name, scale=scale).as_dict()) for scale in SCALES)
    keys = [k for k in dict.fromkeys((*paper, *quick)) if k != "name" and paper.get(k) != quick.get(k)]
    return tuple(ScaleChange(k, paper.get(k), quick.get(k)) for k in keys)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _locate(name: str) -> Path:
    if name.endswith(".toml") or "/" in name or "\\" in name:
        path = Path(name)
        if not path.is_file():
            msg = f"no suite file at {path}; give a .toml file, or one of: {', '.join(suite_names())}"
            raise UsageError(msg)
        if ID.fullmatch(path.stem) is None:
            use = "use a-z, 0-9, _ and -, at most 64 characters, not con or nul"
            msg = f"{path}: the file name is the suite's name; {use}"
            raise UsageError(msg)
        return path
    if name not in suite_names():
        raise unknown("suite", name, suite_names())
    return suites_folder() / f"{name}.toml"


def _read(path: Path) -> Document:
    try:
        return load_toml(read_settings(path))
    except (OSError, ValueError) as error:
        msg = f"{path}: not readable as TOML: {error}"
        raise UsageError(msg) from error
