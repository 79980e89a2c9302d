"""A document as one HTML page that needs nothing else: styles, tables and figures in one file, no scripts."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from tpobench import __version__
from tpobench.printable import printable
from tpobench.tables.model import Block, Document, Figure, Heading, Table

if TYPE_CHECKING:
    from jinja2 import Environment

Section = tuple[Heading | None, list[tuple[str, Block]]]  # blocks with their anchors, empty where nothing links to them


def html_page(document: Document) -> str:
    """Tables with their marks and signatures, figures drawn into the page, an anchor for each."""
    sections = _sections(document.shown("html"))
    linked = sum(bool(name) for _, blocks in sections for name, _ in blocks)
    return (
        _environment()
        .get_template("page.html")
        .render(document=document, sections=sections, contents=linked > 1, version=__version__)
    )


def _sections(blocks: Iterable[Block]) -> list[Section]:
    """What stands below each heading; long tables last."""
    sections: list[Section] = [(None, [])]
    used: Counter[str] = Counter()
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


def _unique(name: str, used: Counter[str]) -> str:
    used[name] += 1
    return f"{name}-{used[name]}" if name and used[name] > 1 else name


@lru_cache(1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - of pages alone

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
    # a data address: the drawing travels with the page, and its ids meet no other's
    environment.filters["drawing"] = lambda f: f"data:image/svg+xml;base64,{base64.b64encode(f.svg).decode('ascii')}"
    return environment


def anchor(*names: str) -> str:
    """An id that is also readable in a link: `sparse-steps0.1m3`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(names)).strip("-")
