"""A document as GitHub-flavoured Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache

from tpobench.printable import printable
from tpobench.tables.model import Advice, Block, Document, Figure, Heading, Legend, Lines, Links, Table, TableCell


def markdown(document: Document) -> str:
    """Bold is the best and all not distinguishable from it, underlined the best mean."""
    text, last = f"# {md_escape(document.title)}", Block()
    for block in document.shown("md"):
        written = block_text(block)
        text += ("\n" if isinstance(block, Advice) and isinstance(last, Advice) else "\n\n") * bool(written) + written
        last = block if written else last
    return text + "\n"


def block_text(block: Block) -> str:
    """One block, without blank lines around it; empty where there is nothing to see."""
    return "\n".join(_lines(block))


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield from _table(block)
        case Heading():
            yield f"## {md_escape(block.text)}"
        case Lines(mark="bullet"):
            yield from (f"- {md_escape(line)}" for line in block.lines)
        case Lines():
            yield "\n\n".join(_line(line, block.mark) for line in block.lines)
        case Legend():
            yield f"**Bold**: {block.best}. <ins>Underlined</ins>: {block.leader}. {block.more}"
        case Links():
            yield from (f"- [{md_escape(text)}]({stem}.md)" for text, stem in block.targets.items())
        case Advice():
            yield f"- **{md_escape(block.what)}**: {printable(block.why)}. *Do:* {printable(block.remedy)}."
            yield from (f"  - {md_escape(where)}" for where in block.where)
        case Figure(path=path) if path:
            yield f"![{md_escape(block.name)}]({path})\n\n*{md_escape(block.caption)}*"


def _line(line: str, mark: str) -> str:
    if mark in {"code", "verbatim"}:
        return md_code(line)
    text = md_escape(line)
    return f"**{text}**" if mark == "strong" else f"> {text}" if mark == "quote" else text


def _table(table: Table) -> Iterator[str]:
    """One table, folded where it is long."""
    if table.folded:
        yield f"<details><summary>{html.escape(printable(table.title))}</summary>\n"
    elif table.title:
        yield f"### {md_escape(table.title)}\n"
    yield "| " + " | ".join(map(md_escape, table.header)) + " |"
    yield "|" + " --- |" * len(table.header)
    for row in table.rows:
        yield "| " + " | ".join(map(_cell, row)) + " |"
    for note in table.notes:
        yield f"\n{md_escape(note)}."
    for line in table.signature.splitlines():
        yield f"\n{md_code(line)}"
    if table.folded:
        yield "\n</details>"


def _cell(cell: TableCell) -> str:
    text = md_escape(cell.text)
    text = f"<ins>{text}</ins>" if cell.leader else text
    return f"**{text}**" if cell.best or cell.alert else text


@lru_cache(2**16)
def md_escape(text: str) -> str:
    """Plain text on one line: no emphasis, links, tags, entities, formulas, headings, lists or cell borders.

    `grpo_no_kl`, `[0.1, 0.2]` and `>2000` stay as they are.
    """
    text = re.sub(r"([\\`*|$]|~~)", r"\\\1", printable(text.replace("\n", " ")))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)
    text = re.sub(r"^( *)(#{1,6} |[-+] |>(?![\d.])|~{3}|={2}|-{3})", r"\1\\\2", text)
    text = re.sub(r"^( *\d+)([.)] )", r"\1\\\2", text)
    text = re.sub(r"\[(?=\^|[ xX]\])|\](?=[(\[:])|&(?=#?\w+;)", r"\\\g<0>", text)
    return re.sub(r"<(?=[A-Za-z/!?])", r"\<", text)


def md_code(line: str) -> str:
    """A line as code, between more backticks than it holds in a row."""
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{printable(line)}{space}{fence}"
