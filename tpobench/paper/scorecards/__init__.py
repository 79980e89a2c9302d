"""Scorecards -> files: what became of each figure and table of the paper.

documents   one per item, and one over several
tables      printed numbers, claims, and the comparisons behind them
texts       words and rounded numbers
exports     JSON and CSV in full precision
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tpobench.paper.scorecard import Scorecard
from tpobench.paper.scorecards.documents import document_of, summary_document
from tpobench.report.files import write_files
from tpobench.scores.options import require_valid
from tpobench.suites.load import scaled
from tpobench.tables.writers import ENDINGS, WRITERS

__all__ = ["write_scorecards"]


def write_scorecards(
    cards: Sequence[Scorecard],
    out: Path,
    formats: Sequence[str],
    figures: Mapping[str, Mapping[Path, str]] | None = None,
    *,
    force: bool = False,
) -> list[Path]:
    """Write `<item>.md`, .json, ... (`<item>-quick` at the quick scale), and `scorecard.*` for several items.

    Args:
        cards: what to write.
        out: folder, made where it is missing.
        formats: md, latex, html, csv, json.
        figures: files of each item, below `out`, with their captions, to show in its pages.
        force: replace files that no report wrote, too; copies of them stay.

    Raises:
        UsageError: an unknown format, or files that no report wrote.
        StorageFull: the folder cannot be written.
    """
    require_valid(formats, ENDINGS, "scorecard format")
    documents = {}
    for card in cards:
        shown = (figures or {}).get(card.item.name, {})
        stem = scaled(card.item.name, card.scale)
        documents[stem] = document_of(card, {path.relative_to(out): text for path, text in shown.items()})
    if len(cards) > 1:
        documents[scaled("scorecard", cards[0].scale)] = summary_document(cards)
    files = {
        f"{stem}.{ENDINGS[n]}": WRITERS[n](d).encode() for n in dict.fromkeys(formats) for stem, d in documents.items()
    }
    return write_files(out, files, force=force)
