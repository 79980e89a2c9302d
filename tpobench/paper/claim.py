"""What the paper says in words, as comparisons: one side has the smaller scalar, in every cell of a suite.

Cells, lengths and budgets are those that a suite has at the scale that was run; a claim names the paper's and says how
others stand in for them (`min`, `max`, `next`), so that one definition serves both scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["final", "area", "steps", "at", "late", "peak", "peak_step", "ratio"]
Pick = str | int | float | tuple[Any, ...]  # a value of an axis, several, or min, max, below_max, next
PROMPTS: Mapping[str, str] = {"matching": "prompts"}
RELATIVE = {"min": 0, "max": -1, "below_max": -2}  # the place among the values in order


@dataclass(frozen=True)
class Measure:
    """One number per seed.

    final      mean over the last window of evaluations that the suite scores
    area       mean over the whole training
    steps      first update below `threshold`, as the suite counts it, censored at the budget
    at         value at `share` of the budget
    late       mean over the last quarter of the training
    peak       largest value; peak_step: the update at which it is taken
    ratio      `metric` / `over` at the evaluation nearest to update `step`; seeds with a denominator of 0 have none
    """

    kind: Kind
    metric: str = ""  # the one that the suite scores, where empty
    share: float = 0.0  # of the budget of updates
    threshold: float = 0.0
    over: str = ""
    step: int = 0

    def __str__(self) -> str:
        metric = self.metric or "error"
        if self.kind == "steps":
            return f"updates to {metric} < {self.threshold:g}"
        if self.kind == "ratio":
            return f"{self.metric} / {self.over}"
        words = {"area": "mean {} over training", "late": "mean {} over the last quarter", "peak": "peak of {}"}
        at = f"{metric} after {self.share:.0%} of the updates" if self.share else f"{metric} before the first update"
        words |= {"final": "final {}", "at": at, "peak_step": "update of the peak of {}"}
        return words[self.kind].format(metric)


FINAL = Measure("final")
AREA = Measure("area")


@dataclass(frozen=True)
class Quantity:
    """What is compared: times * (algorithm - minus), both in the cell that `where` leaves; or a constant."""

    algorithm: str = ""
    where: Mapping[str, Pick] = field(default_factory=dict)
    scalar: Measure | None = None  # where it is not that of the contrast
    minus: str = ""  # an algorithm whose scalar of the same seed is taken off
    times: float | str = 1.0  # or the name of a number of the suite's task
    constant: float | None = None


@dataclass(frozen=True)
class Contrast:
    """Each of `low` lies below each of `high`, in every cell of the suite that `where` leaves."""

    suite: str
    low: tuple[Quantity, ...]
    high: tuple[Quantity, ...]
    scalar: Measure = FINAL
    where: Mapping[str, Pick] = field(default_factory=dict)


Operand = str | Quantity | float
Operands = Operand | Sequence[Operand]


def below(
    suite: str, low: Operands, high: Operands, scalar: Measure = FINAL, where: Mapping[str, Pick] | None = None
) -> Contrast:
    """A contrast; a text is an algorithm, a number a constant."""
    return Contrast(suite, _sides(low), _sides(high), scalar, where or {})


def _sides(operands: Operands) -> tuple[Quantity, ...]:
    several = [operands] if isinstance(operands, str | Quantity | float) else operands
    return tuple(_side(one) for one in several)


def _side(operand: Operand) -> Quantity:
    if isinstance(operand, Quantity):
        return operand
    return Quantity(operand) if isinstance(operand, str) else Quantity(constant=operand)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper (in our words) and the comparisons that it stands for."""

    text: str
    section: str
    contrasts: tuple[Contrast, ...] = ()
    spare: int = 0  # comparisons of which the claim says nothing: "in 7 of 8 settings"
    similar: bool = False  # says that the sides do not differ: by less than the regression gate's margin
    covers: tuple[str, ...] = ()  # `place|method` of a statement that the list of printed numbers has, too
    note: str = ""
    why_not: str = ""  # why there is nothing to compare
    elsewhere: str = ""  # the settings of the comparisons, where no scale has the paper's: no evidence for or against


def claim(text: str, section: str, *contrasts: Contrast, **more: Any) -> Claim:
    """A claim with its contrasts in a row."""
    return Claim(text, section, contrasts, **more)
