"""Scorecards as plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tpobench.paper.scorecard import Scorecard
from tpobench.paper.scorecards.pages import signature, summary_table, totals
from tpobench.paper.scorecards.tables import heading, notes_of, tables_of
from tpobench.report.model import Table

Aligned = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def lines_of(card: Scorecard, aligned: Aligned) -> list[str]:
    """One item: what became of it, its tables, and what a reader must know beside them."""
    lines = heading(card)
    for table in tables_of(card):
        lines += ["", table.title, _text(table, aligned)]
    return [*lines, "", *notes_of(card), card.signature]


def summary_lines(cards: Sequence[Scorecard], aligned: Aligned) -> list[str]:
    """Several items, a row each."""
    table = summary_table(cards)
    return [table.title, _text(table, aligned), "", *totals(cards), *table.notes, signature(cards)]


def _text(table: Table, aligned: Aligned) -> str:
    return aligned(table.header, [[cell.text for cell in row] for row in table.rows])
