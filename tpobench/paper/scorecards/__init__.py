"""Scorecards -> files: what became of each figure and table of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tpobench.errors import unknown
from tpobench.paper.scorecard import Scorecard
from tpobench.paper.scorecards.exports import COLUMNS, data_of, rows_of, summary_data
from tpobench.paper.scorecards.pages import file_stem, markdown_of, summary_markdown, summary_stem
from tpobench.report.data import as_csv, as_json
from tpobench.report.files import write_files

__all__ = ["FORMATS", "require_formats", "write_scorecards"]

FORMATS = ("md", "json", "csv")


def write_scorecards(
    cards: Sequence[Scorecard],
    out: Path,
    formats: Sequence[str],
    figures: Mapping[str, Mapping[Path, str]] | None = None,
    *,
    force: bool = False,
) -> list[Path]:
    """Write `<item>.md`, .json and .csv (`<item>-quick` at the quick scale), and `scorecard.*` for several items.

    Args:
        cards: what to write.
        out: folder, made where it is missing.
        formats: md, json, csv.
        figures: files of each item, below `out`, with their captions, to show in its Markdown.
        force: replace files that no report wrote, too; copies of them stay.

    Raises:
        UsageError: an unknown format, or files that no report wrote.
        StorageFull: the folder cannot be written.
    """
    require_formats(formats)
    files: dict[str, str] = {}
    for name in dict.fromkeys(formats):
        for card in cards:
            shown = (figures or {}).get(card.item.name, {})
            captions = {path.relative_to(out): caption for path, caption in shown.items()}
            files[f"{file_stem(card)}.{name}"] = _text(card, name, captions)
        if len(cards) > 1:
            files[f"{summary_stem(cards)}.{name}"] = _summary(cards, name)
    return write_files(out, {name: text.encode() for name, text in files.items()}, force=force)


def require_formats(formats: Sequence[str]) -> None:
    """Formats there are.

    Raises:
        UsageError: any other.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown("scorecard format", name, FORMATS)


def _text(card: Scorecard, name: str, figures: Mapping[Path, str]) -> str:
    if name == "md":
        return markdown_of(card, figures)
    return as_json(data_of(card)) if name == "json" else as_csv(COLUMNS, rows_of(card))


def _summary(cards: Sequence[Scorecard], name: str) -> str:
    if name == "md":
        return summary_markdown(cards)
    if name == "json":
        return as_json(summary_data(cards))
    return as_csv(COLUMNS, [row for card in cards for row in rows_of(card)])
