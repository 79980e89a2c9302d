"""The report as GitHub-flavoured Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tpobench.printable import printable
from tpobench.report.model import Report, Table, TableCell
from tpobench.scores.cells import Problem

LEGEND = (
    "**Bold**: the best and every rule not distinguishable from it (Holm over all pairs of the row, 5%), "
    "if any of its runs got there. <ins>Underlined</ins>: the best point estimate. "
    "Intervals are 95%; "
)


def markdown(report: Report) -> str:
    """Bold is the best and all not distinguishable from it, underlined the best mean."""
    lines = ["# tpobench report", "", f"{LEGEND}{_directions(report)}."]
    for section in report.sections:
        lines += ["", f"## {md_escape(section.title or section.suite)}"]
        for table in section.tables:
            lines += ["", *table_lines(table)]
        for figure in (f for f in section.figures if f.ending):
            name = md_escape(figure.name)
            lines += ["", f"![{name}](figures/{figure.name}.{figure.ending})", "", f"*{md_escape(figure.caption)}*"]
    lines += _problems(report)
    for found in report.unverified:
        lines += ["", f"{md_escape(str(found))}."]
    return "\n".join(lines) + "\n"


def _directions(report: Report) -> str:
    higher = any(scalar.better == "higher" for section in report.sections for scalar in section.metrics)
    return "lower is better (↓), higher where ↑ says so" if higher else "lower is better (↓)"


def table_lines(table: Table) -> Iterator[str]:
    """One table, folded where it is long."""
    yield (
        f"<details><summary>{html.escape(printable(table.title))}</summary>"
        if table.folded
        else f"### {md_escape(table.title)}"
    )
    yield ""
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
    return f"**{text}**" if cell.best else text


def _problems(report: Report) -> list[str]:
    lines = []
    if report.problems:
        lines += ["", "## Runs without a result", "", "| Suite | Cell | Rule | Seeds | Status | Reason |"]
        lines += ["|" + " --- |" * 6]
        lines += ["| " + " | ".join(md_escape(str(v)) for v in p) + " |" for p in grouped(report.problems)]
    if report.quarantined:
        lines += ["", damaged(report.quarantined)]
    return lines


def damaged(count: int) -> str:
    """What was left out, and how to get it back."""
    some = "1 damaged record was" if count == 1 else f"{count} damaged records were"
    return f"{some} left out; run the suite again to replace {'it' if count == 1 else 'them'}."


def grouped(problems: Sequence[Problem]) -> list[tuple[str, str, str, str, str, str]]:
    """Problems that differ only in their seed, on one line."""
    seeds: dict[tuple[str, str, str, str, str], list[int]] = {}
    for p in problems:
        seeds.setdefault((p.suite, p.where, p.algorithm, p.status, p.reason), []).append(p.seed)
    return [(k[0], k[1], k[2], ", ".join(map(str, sorted(v))), k[3], k[4]) for k, v in sorted(seeds.items())]


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
