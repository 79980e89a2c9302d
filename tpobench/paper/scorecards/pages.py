"""Scorecards as Markdown: a page per item, and one over several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tpobench import __version__
from tpobench.paper.claim_verdicts import CLAIM_VERDICTS
from tpobench.paper.number_verdicts import NUMBER_VERDICTS
from tpobench.paper.scorecard import ORDERINGS_ONLY, Scorecard
from tpobench.paper.scorecards.tables import (
    HOW_CLAIMS,
    HOW_NUMBERS,
    as_table,
    heading,
    notes_of,
    tables_of,
)
from tpobench.paper.scorecards.texts import counted
from tpobench.report.markdown import md_code, md_escape, table_lines
from tpobench.report.model import Table
from tpobench.suites.load import scaled


def file_stem(card: Scorecard) -> str:
    """`table3`, `table3-quick`."""
    return scaled(card.item.name, card.scale)


def summary_stem(cards: Sequence[Scorecard]) -> str:
    """`scorecard`, `scorecard-quick`."""
    return scaled("scorecard", cards[0].scale)


def markdown_of(card: Scorecard, figures: Mapping[Path, str] | None = None) -> str:
    """One item as a page, with figures and their captions."""
    first, *others = heading(card)
    lines = [f"# {md_escape(first)}"]
    for line in others:
        lines += ["", f"**{md_escape(line)}**"]
    for path, caption in (figures or {}).items():
        lines += ["", f"![{card.item.name}]({path.as_posix()})", "", f"*{md_escape(caption)}*"]
    for table in tables_of(card):
        lines += ["", *table_lines(table)]
    notes = [f"- {md_escape(note)}" for note in notes_of(card)]
    lines += ["", *notes, ""] if notes else [""]
    return "\n".join([*lines, md_code(card.signature)]) + "\n"


def summary_table(cards: Sequence[Scorecard]) -> Table:
    """One row per item: printed numbers and claims by verdict, and why something was not run."""
    header = ("Item", "Title", "Agree", "Differ", "Undecided", "Not run", "Computed",
              "Hold", "Same way", "Undecided", "Contradicted", "Not run", "Why not run")  # fmt: skip
    rows = [
        (c.item.name, c.item.title, *(str(c.number_counts[v]) for v in NUMBER_VERDICTS), _computed(c),
         *(str(c.claim_counts[v]) for v in CLAIM_VERDICTS), c.not_run.partition("\n")[0])
        for c in cards
    ]  # fmt: skip
    title = f"Reproduction of arXiv 2604.06159 at scale {cards[0].scale}: printed numbers, then claims"
    notes = [] if cards[0].scale == "paper" else [ORDERINGS_ONLY]
    return as_table("scorecard", title, header, rows, [*notes, HOW_NUMBERS, HOW_CLAIMS])


def _computed(card: Scorecard) -> str:
    """`6 of 6` agree, of what needs no runs."""
    counts = card.computed_counts
    return f"{counts['agrees']} of {counts.total()}" if counts else ""


def signature(cards: Sequence[Scorecard]) -> str:
    """Of the page over all items."""
    return f"tpobench {__version__}|scale:{cards[0].scale}|items:{len(cards)}"


def totals(cards: Sequence[Scorecard]) -> list[str]:
    """All items together."""
    numbers, computed, claims = Counter[str](), Counter[str](), Counter[str]()
    for card in cards:
        numbers += card.number_counts
        computed += card.computed_counts
        claims += card.claim_counts
    del numbers["not compared"]
    lines = [f"printed numbers: {counted(numbers, NUMBER_VERDICTS)}"] if numbers else []
    lines += [f"computed without runs: {counted(computed, NUMBER_VERDICTS)}"] if computed else []
    return [*lines, f"claims: {counted(claims, CLAIM_VERDICTS)}"]


def summary_markdown(cards: Sequence[Scorecard]) -> str:
    """All items on one page, linked."""
    lines = ["# Reproduction scorecard", ""]
    for line in totals(cards):
        lines += [f"**{md_escape(line)}**", ""]
    lines += [*table_lines(summary_table(cards)), ""]
    lines += [f"- [{c.item.name}]({file_stem(c)}.md)" for c in cards]
    return "\n".join([*lines, "", md_code(signature(cards))]) + "\n"
