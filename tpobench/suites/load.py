"""TOML -> Suite.  Strict: what is not understood is refused, with the file, the key and what would be valid.

Suite files are data: no code, no includes, no environment variables.  docs/suites.md describes every key.  A plugin
names suites of its own with `register_suite`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tpobench.errors import UsageError, require_text, unknown
from tpobench.identity import flat
from tpobench.limits import load_toml, read_settings, toml_fault
from tpobench.printable import brief
from tpobench.suites.model import ID, GridCell, ReportSettings, Suite, Training, Value
from tpobench.suites.reading import Document, build_suite, check_id, parse_value, set_key

__all__ = [
    "ID", "SCALES", "SUITES", "Document", "GridCell", "ReportSettings", "ScaleChange", "Suite", "Training", "Value",
    "build_suite", "load_suite", "packaged_suites", "parse_value", "read_suite", "register_suite", "scale_changes",
    "set_key", "suite_names", "suites_folder",
]  # fmt: skip

SCALES = ("paper", "quick")
SUITES: dict[str, str | Path] = {}  # of plugins: name -> its TOML text, or the file that holds it


def suites_folder() -> Path:
    """Where the packaged suites lie: inside the wheel, or beside the package in a checkout."""
    packaged = Path(__file__).parent
    return packaged if any(packaged.glob("*.toml")) else packaged.parent.parent / "suites"


def packaged_suites() -> list[str]:
    """Names of the packaged suites."""
    return sorted(p.stem for p in suites_folder().glob("*.toml"))


def suite_names() -> list[str]:
    """Names of the packaged suites, and of those that plugins have registered."""
    return sorted({*packaged_suites(), *SUITES})


def register_suite(name: str, toml: str | Path) -> None:
    """Add a suite to SUITES: its TOML text, or a file that ends in .toml, which is read when the suite is asked for.

    A relative path is looked for beside the plugin.

    Raises:
        UsageError: it is neither, its name is none, or another suite has it.
    """
    if isinstance(toml, str) and toml.endswith(".toml"):
        toml = Path(toml)
    require_suite(name, toml)
    if SUITES.setdefault(name, toml) != toml:
        msg = f"suite '{name}' exists already; give yours another name"
        raise UsageError(msg)


def require_suite(name: object, toml: object) -> None:
    """What SUITES may hold.

    Raises:
        UsageError: it is no text and no path, its name is none, or that of a packaged suite at one of its scales.
    """
    if not isinstance(name, str) or not isinstance(toml, str | Path):
        msg = f"register_suite({name!r}, ...): give a name and TOML text, or the path of a file that ends in .toml"
        raise UsageError(msg)
    check_id(name, "name", "a suite")
    if name in {scaled(packaged, scale) for packaged in packaged_suites() for scale in SCALES}:
        msg = f"suite '{name}' is one of tpobench; give yours another name"
        raise UsageError(msg)


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
    stem, place, paper = read_suite(name)
    suite = build_suite(stem, paper, place)
    quick = _overridden(paper, suite.quick, f"{place} [quick]")
    # Every table is checked at every load, so that a broken one is seen at once.
    variants: dict[tuple[str, bool], tuple[Document, Suite]] = {("paper", False): (paper, suite)}
    if suite.quick:
        variants["quick", False] = quick, build_suite(scaled(stem, "quick"), quick, f"{place} [quick]")
    for of, (document, one) in [(of, pair) for (of, _), pair in variants.items()]:
        where = f"{place} [smoke]" + " on top of [quick]" * (of == "quick")
        small = _overridden(document, suite.smoke, where)
        variants[of, True] = small, build_suite(one.name, small, where) if suite.smoke else one
    if (scale, smoke) not in variants:
        have = [n for n in packaged_suites() if "quick" in read_suite(n).document]
        msg = (
            f"{place} has no quick scale, which a [quick] table would give it; suites that have one: {', '.join(have)}"
        )
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
    paper, quick = (flat(load_suite(name, scale=scale).as_dict()) for scale in SCALES)
    keys = [k for k in dict.fromkeys((*paper, *quick)) if k != "name" and paper.get(k) != quick.get(k)]
    return tuple(ScaleChange(k, paper.get(k), quick.get(k)) for k in keys)


class SuiteText(NamedTuple):
    """What a suite's file says, not yet checked: the suite's name, where it stands, and its tables."""

    name: str
    place: str
    document: Document


def read_suite(name: str | Path) -> SuiteText:
    """The tables of a suite, by its name or the path of its file.

    Raises:
        UsageError: no such suite, or not TOML.
    """
    toml = _locate(str(name))
    place = str(toml) if isinstance(toml, Path) else f"suite '{name}'"
    try:
        document = load_toml(toml if isinstance(toml, str) else read_settings(toml))
    except (OSError, ValueError) as error:
        msg = f"{place}: {toml_fault(error)}"
        raise UsageError(msg) from error
    return SuiteText(str(name) if str(name) in SUITES else Path(place).stem, place, document)


def _locate(name: str) -> str | Path:
    """The file that holds a suite, or its text."""
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
        msg = f"{unknown('suite', name, suite_names())}; one of your own is a .toml file, or comes with --plugin FILE"
        raise UsageError(msg)
    return SUITES.get(name, suites_folder() / f"{name}.toml")
