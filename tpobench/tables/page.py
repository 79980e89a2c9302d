"""A document as one HTML page that needs nothing else: styles, a script, tables and figures in one file.

Its script sorts and filters; without it the page can be read all the same.  It is the one in templates/, named by its
hash: the page runs no other, whatever a name in a record may hold.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tpobench import __version__
from tpobench.printable import printable
from tpobench.tables.model import Block, Document, Figure, Heading, Table

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
SCRIPT = "templates/page.js"
IDS = ("main", "contents", "theme")  # of the template: no block takes them
PARTS = re.compile(r"(?<=;) (?!rate)|(?<=\]) (?=\()")  # where an entry may go on in another line
IN_ADDRESS = "".join(c for c in map(chr, range(32, 127)) if c not in "\"#%&'<>")
Section = tuple[Heading | None, list[tuple[str, Block]]]  # blocks with their anchors, empty where nothing links to them


def html_page(document: Document) -> str:
    """Tables with their marks and signatures, figures drawn into the page, an anchor for each."""
    sections = _sections(document.shown("html"))
    linked = sum(bool(name) for _, blocks in sections for name, _ in blocks)
    text = script(SCRIPT)
    return (
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            sections=sections,
            contents=linked > 1,
            version=__version__,
            script=text,
            hash=f"'sha256-{_digest(text)}'",
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
    """What stands below each heading; long tables last."""
    sections: list[Section] = [(None, [])]
    used = set(IDS)
    for block in blocks:
        if isinstance(block, Heading):
            sections.append((block, [(_unique(anchor(block.name), used), block)]))
        else:
            heading = sections[-1][0]
            sections[-1][1].append((_unique(_name(heading, block), used), block))
    return [(heading, sorted(entries, key=lambda b: getattr(b[1], "folded", False))) for heading, entries in sections]


def _name(heading: Heading | None, block: Block) -> str:
    if isinstance(block, Table) and block.title:
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
    environment.filters["drawing"] = _drawing
    environment.filters["code"] = Markup  # a script of the package
    return environment


def _drawing(figure: Figure) -> str:
    """A data address: the drawing travels with the page, and its ids meet no other's; paths in tenths of a point."""
    short = re.sub(rb'(?<= d=")[^"]+', lambda path: re.sub(rb"(\d\.\d)\d+|\.0+(?= )", rb"\1", path[0]), figure.svg)
    return "data:image/svg+xml," + quote(re.sub(rb"\s+", b" ", short), safe=IN_ADDRESS)


def anchor(*names: str) -> str:
    """An id that is also readable in a link: `sparse-steps0.1m3`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(names)).strip("-")
