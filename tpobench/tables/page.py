"""A document as one HTML page that needs nothing else: styles, scripts, tables and figures in one file.

Its scripts sort, filter and draw; without them it can be read all the same.  They are the ones in templates/ and
vendor/, named by their hashes: the page runs no other, whatever a name in a record may hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from tpobench import __version__
from tpobench.printable import printable
from tpobench.tables.exports import finite
from tpobench.tables.model import Block, Document, Figure, Heading, Table, View

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
LIBRARIES = ("vendor/d3.min.js", "vendor/plot.umd.min.js")  # of pages with views alone
SCRIPT = "templates/page.js"
IDS = ("main", "contents", "theme", "data")  # of the template: no block takes them
PARTS = re.compile(r"(?<=;) (?!rate)|(?<=\]) (?=\()")  # where an entry may go on in another line
LONG = 100  # rows from which a folded table is no elements before it is opened: a page may have a hundred thousand
IN_ADDRESS = "".join(c for c in map(chr, range(32, 127)) if c not in '"#%&<>')


class Section(NamedTuple):
    """What stands below a heading: blocks with their anchors, empty where nothing links to them."""

    heading: Heading | None
    blocks: list[tuple[str, Block]]
    prints: list[tuple[str, Block]]  # figures of what views show, too


def html_page(document: Document) -> str:
    """Tables with their marks and signatures, views, figures drawn into the page, an anchor for each."""
    sections = _sections(document.shown("html"))
    views = [block for section in sections for _, block in section.blocks if isinstance(block, View)]
    scripts = [script(path) for path in (*(LIBRARIES if views else ()), SCRIPT)]
    linked = sum(bool(name) for section in sections for name, _ in section.blocks)
    return (
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            sections=sections,
            views=views,
            contents=linked > 1,
            version=__version__,
            LONG=LONG,
            scripts=scripts,
            hashes=[f"'sha256-{_digest(text)}'" for text in scripts],
            data=[{"drawing": view.drawing, **view.data} for view in views],
        )
    )


@lru_cache
def script(path: str) -> str:
    """The text of a script of the package, as its hash is made of."""
    return (FOLDER / path).read_text(encoding="utf-8")


@lru_cache
def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _sections(blocks: Iterable[Block]) -> list[Section]:
    """What stands below each heading; long tables last, and figures after them where views show the same."""
    sections: list[tuple[Heading | None, list[tuple[str, Block]]]] = [(None, [])]
    used = set(IDS)
    for block in blocks:
        if isinstance(block, Heading):
            sections.append((block, [(_unique(anchor(block.name), used), block)]))
        else:
            heading = sections[-1][0]
            sections[-1][1].append((_unique(_name(heading, block), used), block))
    return [_section(heading, entries) for heading, entries in sections]


def _section(heading: Heading | None, entries: Sequence[tuple[str, Block]]) -> Section:
    ordered = sorted(entries, key=lambda entry: getattr(entry[1], "folded", False))
    if not any(isinstance(block, View) for _, block in ordered):
        return Section(heading, ordered, [])
    shown, prints = (
        [entry for entry in ordered if isinstance(entry[1], Figure) == printed] for printed in (False, True)
    )
    return Section(heading, shown, prints)


def _name(heading: Heading | None, block: Block) -> str:
    if isinstance(block, View | Table) and block.title:
        return anchor(heading.name if heading else "", block.name)
    return anchor("figure", block.name) if isinstance(block, Figure) and block.svg else ""


def _unique(name: str, used: set[str]) -> str:
    """The name, or the first of name-2, name-3, ... that nothing of the page has."""
    if not name:
        return name
    unique = next(n for n in chain([name], (f"{name}-{i}" for i in count(2))) if n not in used)
    used.add(unique)
    return unique


@lru_cache(1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - of pages alone
    from markupsafe import Markup  # noqa: PLC0415 - comes with jinja2

    environment = Environment(
        loader=PackageLoader("tpobench.tables", "templates"),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # what is markup stays as it is
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["parts"] = PARTS.split
    environment.filters["whole"] = _whole
    environment.filters["drawing"] = lambda figure: Markup(_drawing(figure))  # noqa: S704 - no quotation mark is left in it
    environment.filters["embedded"] = lambda data: Markup(embedded(data))  # noqa: S704 - no markup is left in it
    environment.filters["code"] = Markup  # a script of the package
    return environment


def _whole(text: str) -> bool:
    """Whether an entry, or a part of one, stays on one line: an interval, and what is short."""
    return len(PARTS.split(text)) == 1 and (len(text) < 20 or "[" in text)


def _drawing(figure: Figure) -> str:
    """A data address: the drawing travels with the page, and its ids meet no other's."""
    short = re.sub(rb'(?<= d=")[^"]+', lambda path: compact_path(path[0]), figure.svg)
    short = re.sub(rb'(?<= [xy]=")(\d+\.\d)\d+(?=")', rb"\1", re.sub(rb"\s+", b" ", short))
    short = re.sub(rb'<!-- .*? -->|(?<=<g) id="[\w.]+"|(?<=>) (?=<)', b"", short)  # which nothing refers to
    return "data:image/svg+xml," + quote(short if b"'" in short else short.replace(b'"', b"'"), safe=IN_ADDRESS)


def compact_path(path: bytes) -> bytes:
    """The same line in tenths of a point: no letter that the one before it implies, no step on the spot."""
    short: list[bytes] = []
    last, at = b"", b""
    for letter, numbers in re.findall(rb"([A-Za-z])([^A-Za-z]*)", path):
        rounded = b" ".join(re.sub(rb"(\.\d)\d+$", rb"\1", n).removesuffix(b".0") for n in numbers.split())
        if letter == last == b"L" and rounded == at:
            continue
        implied = letter in b"LQC" and (letter == last or (letter == b"L" and last == b"M"))
        short.append(b" " * implied + rounded if implied else letter + rounded)
        last, at = letter, rounded
    return b"".join(short)


def embedded(data: object) -> str:
    """JSON on one line as an element of a page may hold it: no character of markup, none that does not print."""
    text = json.dumps(_shown(finite(data)), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _shown(value: Any) -> Any:
    """Names as tables print them, whole numbers without a point."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(key): _shown(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def anchor(*names: str) -> str:
    """An id that is also readable in a link: `sparse-steps0.1m3`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(names)).strip("-")
