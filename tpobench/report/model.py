"""A report: a section of tables and figures for each suite, and what has no result."""

from __future__ import annotations

from dataclasses import dataclass

from tpobench.scores.cells import Cell, Problem
from tpobench.scores.scalars import Scalar
from tpobench.scores.unverified import Unverified
from tpobench.tables.model import Document, Figure, Table, View
from tpobench.tables.readable import Readable


@dataclass(frozen=True)
class Answer:
    """What a suite's results say: sentences, the first of which is the verdict, and one table."""

    sentences: tuple[str, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """One suite: its tables, its figures, what a page draws of it, and the cells they were made from."""

    suite: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[Scalar, ...]
    answer: Answer = Answer()
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class Report(Readable):
    """Everything that a report says."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...] = ()
    quarantined: int = 0
    unverified: tuple[Unverified, ...] = ()  # copies of data sets that are not the published ones

    def document(self) -> Document:
        """The tables of every suite, and what they mean."""
        from tpobench.report.document import document_of  # noqa: PLC0415 - it reads this module

        return document_of(self)
