"""Scorecards as documents: one per item, and one over several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tpobench import __version__
from tpobench.paper.claim_verdicts import CLAIM_VERDICTS
from tpobench.paper.number_verdicts import NUMBER_VERDICTS
from tpobench.paper.scorecard import ORDERINGS_ONLY, Scorecard
from tpobench.paper.scorecards.exports import COLUMNS, SCHEMA, data_of, rows_of
from tpobench.paper.scorecards.tables import HOW_CLAIMS, HOW_NUMBERS, heading, notes_of, tables_of
from tpobench.paper.scorecards.texts import counted
from tpobench.suites.load import scaled
from tpobench.tables.model import PAGES, Block, Document, Figure, Lines, Links, Table, table_of


def document_of(card: Scorecard, figures: Mapping[Path, str] | None = None) -> Document:
    """One item: what became of it, its figures and tables, and what a reader must know beside them."""
    first, *others = heading(card)
    notes = notes_of(card)
    blocks: list[Block] = [
        Lines((first, *others), without=PAGES),
        Lines(tuple(others), "strong", without=("terminal",)),
        *(Figure(card.item.name, caption, path=path.as_posix(), without=("terminal",))
          for path, caption in (figures or {}).items()),
        *tables_of(card), *([Lines(tuple(notes), "bullet")] if notes else []), Lines((card.signature,), "code"),
    ]  # fmt: skip
    return Document(first, tuple(blocks), data_of(card), tuple(rows_of(card)), COLUMNS)


def summary_table(cards: Sequence[Scorecard]) -> Table:
    """One row per item: printed numbers and claims by verdict, and why something was not run."""
    header = ("Item", "Title", "Agree", "Differ", "Undecided", "Other settings", "Not run", "Computed",
              "Hold", "Same way", "Undecided", "Contradicted", "Other settings", "Not run", "Why not run")  # fmt: skip
    rows = [
        (c.item.name, c.item.title, *(str(c.number_counts[v]) for v in NUMBER_VERDICTS), _computed(c),
         *(str(c.claim_counts[v]) for v in CLAIM_VERDICTS), c.not_run.partition("\n")[0])
        for c in cards
    ]  # fmt: skip
    title = f"Reproduction of arXiv 2604.06159 at scale {cards[0].scale}: printed numbers, then claims"
    notes = [] if cards[0].scale == "paper" else [ORDERINGS_ONLY]
    return table_of(header, rows, "scorecard", title, notes=(*notes, HOW_NUMBERS, HOW_CLAIMS))


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


def summary_document(cards: Sequence[Scorecard]) -> Document:
    """All items on one page, a row each, linked."""
    table, lines = summary_table(cards), totals(cards)
    blocks: list[Block] = [
        Lines(tuple(lines), "strong", without=("terminal",)), replace(table, without=("terminal",)),
        replace(table, notes=(), without=PAGES), Lines((*lines, *table.notes), without=PAGES),
        Links({c.item.name: scaled(c.item.name, c.scale) for c in cards}), Lines((signature(cards),), "code"),
    ]  # fmt: skip
    rows = tuple(row for card in cards for row in rows_of(card))
    items = [data_of(card) for card in cards]
    data = {"schema": SCHEMA, "tpobench": __version__, "scale": cards[0].scale, "items": items}
    return Document("Reproduction scorecard", tuple(blocks), data, rows, COLUMNS)
