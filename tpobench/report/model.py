"""What every writer gets: a report of sections, tables of entries that hold a text and the full numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tpobench.scores.cells import Cell, Problem
from tpobench.scores.scalars import Scalar
from tpobench.scores.unverified import Unverified


@dataclass(frozen=True)
class TableCell:
    """One entry: its rounded text, whether it is in the best group, and its numbers in full."""

    text: str
    best: bool = False  # the best or not distinguishable from it: bold
    leader: bool = False  # the best point estimate: underlined
    data: Mapping[str, Any] = field(default_factory=dict)


def numbers_of(found: object) -> dict[str, Any]:
    """The fields of an estimate or a comparison, by name: `asdict` would copy each of them deeply."""
    return dict(vars(found))


@dataclass(frozen=True)
class Table:
    """Header, rows, what to read below it, and the signature of how it was computed."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    signature: str
    notes: tuple[str, ...] = ()
    folded: bool = False  # long, and read on demand


@dataclass(frozen=True)
class FigureNote:
    """A figure: its file's name and the ending to link to, the caption below it, and its drawing for an HTML page."""

    name: str
    caption: str
    title: str = ""
    ending: str = "png"
    svg: bytes = b""


@dataclass(frozen=True)
class Section:
    """One suite: its tables, its figures, and the cells they were made from."""

    suite: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[FigureNote, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[Scalar, ...]


@dataclass(frozen=True)
class Report:
    """What every writer gets."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...] = ()
    quarantined: int = 0
    unverified: tuple[Unverified, ...] = ()  # copies of data sets that are not the published ones
