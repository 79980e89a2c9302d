"""A report: a section of tables and figures for each suite, and what has no result."""

from __future__ import annotations

from dataclasses import dataclass

from tpobench.scores.cells import Cell, Problem
from tpobench.scores.scalars import Scalar
from tpobench.scores.unverified import Unverified
from tpobench.tables.model import Figure, Table


@dataclass(frozen=True)
class Section:
    """One suite: its tables, its figures, and the cells they were made from."""

    suite: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[Scalar, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a report says."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...] = ()
    quarantined: int = 0
    unverified: tuple[Unverified, ...] = ()  # copies of data sets that are not the published ones
