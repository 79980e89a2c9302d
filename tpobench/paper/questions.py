"""Claims -> questions: every pair of arms that a claim is about, in the cells that a suite has at this scale."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tpobench.paper.claim import Contrast, Measure, Pick, Quantity
from tpobench.paper.item_plans import NoSuchCell, axes_of, next_value, picked
from tpobench.suites.load import Suite, Value


@dataclass(frozen=True)
class Term:
    """One side in one cell: times * (algorithm - minus), or a constant."""

    scalar: Measure
    algorithm: str = ""
    cell: Mapping[str, Any] | None = None  # axes with matching, where the suite has several
    minus: str = ""
    times: float = 1.0
    constant: float | None = None

    def text(self, shown: Mapping[str, Any]) -> str:
        """`tpo`, `2 x tpo_token`, `dg - tpo`, `tpo (epochs=4)`, `0.01`; axes that both sides share are not repeated."""
        if self.constant is not None:
            return f"{self.constant:g}"
        place = ", ".join(f"{k}={v}" for k, v in (self.cell or {}).items() if k not in shown)
        arms = f"({self.algorithm} − {self.minus})" if self.minus else self.algorithm
        times = f"{self.times:g} × " if self.times != 1 else ""
        return f"{times}{arms}" + f" ({place})" * bool(place)


@dataclass(frozen=True)
class Question:
    """Whether `low` is below `high`."""

    suite: str
    low: Term
    high: Term

    @property
    def shared(self) -> Mapping[str, Any]:
        """The axes that do not tell the sides apart."""
        cells = [t.cell for t in (self.low, self.high) if t.cell is not None]
        return {k: v for k, v in cells[0].items() if all(c.get(k) == v for c in cells)} if cells else {}

    @property
    def where(self) -> str:
        """`length=7, matching=prompts`."""
        return ", ".join(f"{k}={v}" for k, v in self.shared.items())

    @property
    def text(self) -> str:
        """`tpo < grpo: final error`."""
        low, high = (t.text(self.shared) for t in (self.low, self.high))
        if self.low.constant is None and self.high.constant is None and self.low.scalar != self.high.scalar:
            return f"{low}, {self.low.scalar} < {high}, {self.high.scalar}"
        return f"{low} < {high}: {(self.high if self.low.constant is not None else self.low).scalar}"


def questions(contrast: Contrast, suite: Suite) -> list[Question]:
    """Every pair of sides in every cell, without those that would compare a thing with itself.

    Raises:
        NoSuchCell: the suite does not have the cell at this scale.
    """
    return [
        Question(suite.name, *terms)
        for low, high in itertools.product(contrast.low, contrast.high)
        for terms in _pairs(contrast, low, high, suite)
    ]


def _pairs(contrast: Contrast, low: Quantity, high: Quantity, suite: Suite) -> Iterator[tuple[Term, Term]]:
    axes = axes_of(suite)
    sides = [side for side in (low, high) if side.constant is None]
    named = [contrast.where, *(side.where for side in sides)]
    fixed = _off_grid({axis: pick for where in named for axis, pick in where.items()}, axes, suite)
    looped = {
        axis: picked(values, contrast.where.get(axis), axis)
        for axis, values in axes.items()
        if any(side.where.get(axis, "next") == "next" for side in sides)
    }
    for values in itertools.product(*looped.values()):
        here = dict(zip(looped, values, strict=True))
        cells = [_cell(side, here, axes, fixed) for side in (low, high)]
        if None in cells:
            continue
        terms = [
            Term(side.scalar or contrast.scalar, side.algorithm, cell if side.constant is None else None, side.minus,
                 _times(side, suite), side.constant)
            for side, cell in zip((low, high), cells, strict=True)
        ]  # fmt: skip
        if terms[0] != terms[1]:
            yield terms[0], terms[1]


def _times(side: Quantity, suite: Suite) -> float:
    return float(suite.task[side.times] if isinstance(side.times, str) else side.times)


def _off_grid(where: Mapping[str, Pick], axes: Mapping[str, Any], suite: Suite) -> frozenset[str]:
    """Axes that a claim names and the suite does not vary: right where the suite is fixed at that value."""
    named = {axis: pick for axis, pick in where.items() if axis not in axes}
    for axis, pick in named.items():
        value = suite.task.get(axis, getattr(suite.training, axis, None))
        if value not in (pick if isinstance(pick, tuple) else (pick,)):
            msg = f"{suite.name} does not vary {axis}, which is {value}"
            raise NoSuchCell(msg)
    return frozenset(named)


def _cell(
    side: Quantity, here: Mapping[str, Value], axes: Mapping[str, tuple[Value, ...]], fixed: frozenset[str]
) -> dict[str, Value] | None:
    """The cell of a side; None where the next value of an axis would be beyond its last."""
    cell = dict(here)
    for axis, pick in side.where.items():
        if axis in fixed:
            continue
        if pick != "next":
            (cell[axis],) = picked(axes[axis], pick, axis)[:1]
            continue
        larger = next_value(axes[axis], here[axis])
        if larger is None:
            return None
        cell[axis] = larger
    return {axis: cell[axis] for axis in axes if axis in cell}
