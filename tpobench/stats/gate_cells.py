"""What the regression gate reads and returns: evidence per cell, margins, the plan, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Direction = Literal["lower", "higher"]
Status = Literal[
    "unchanged", "ok", "improved", "inconclusive", "flagged", "regressed", "crashed", "incomplete", "not comparable"
]
Outcome = Literal["passed", "inconclusive", "unconfirmed", "incomplete", "nothing compared", "regressed"]
Stage = Literal["comparable", "exact", "screen", "confirm"]
Hypothesis = Literal["", "mean", "rate"]


@dataclass(frozen=True)
class Margin:
    """M = max(floor, relative |baseline mean|), or log(1 + relative) of log values where `logarithmic`."""

    floor: float = 0.0
    relative: float = 0.0
    logarithmic: bool = False


MARGINS: dict[str, Margin] = {
    "error": Margin(0.01, 0.10),
    "rate": Margin(0.20),
    "steps": Margin(0.0, 0.25, logarithmic=True),
    "reward": Margin(0.0, 0.02),
}


@dataclass(frozen=True)
class CellEvidence:
    """One algorithm in one cell: per-seed values of baseline and candidate, and what is known about the runs."""

    name: str
    baseline: Mapping[int, float]
    candidate: Mapping[int, float]
    margin: Margin
    reserve_baseline: Mapping[int, float] = field(default_factory=dict)
    reserve_candidate: Mapping[int, float] = field(default_factory=dict)
    better: Direction = "lower"
    same_scheme: bool = True
    same_platform: bool = True
    failed_baseline: Mapping[int, bool] = field(default_factory=dict)  # diverged, or threshold never reached
    failed_candidate: Mapping[int, bool] = field(default_factory=dict)
    crashed: tuple[int, ...] = ()
    incomparable: str = ""


@dataclass(frozen=True)
class GatePlan:
    """Levels and rules of a check; fixed before the candidate is run."""

    alpha: float = 0.05
    screen_alpha: float = 0.05
    confirm: bool = True
    rtol: float = 0.0
    rate_margin: float = 0.20
    seed: int = 0
    paired_from: int = 6


@dataclass(frozen=True)
class GateVerdict:
    """What is known about one cell; `low` and `high` are one-sided 95% bounds of the difference (> 0 is worse)."""

    name: str
    status: Status
    stage: Stage
    reason: str
    old: float | None = None
    new: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    p: float | None = None
    adjusted: float | None = None
    family: int = 0
    test: str = ""
    hypothesis: Hypothesis = ""
    runs: tuple[int, int] = (0, 0)
    seeds_needed: int | None = None


@dataclass(frozen=True)
class GateReport:
    """All verdicts and what they come to; `refusal` says why this set-up could never reject."""

    verdicts: tuple[GateVerdict, ...]
    outcome: Outcome
    refusal: str = ""

    def of(self, *statuses: Status) -> tuple[GateVerdict, ...]:
        """The verdicts of some statuses."""
        return tuple(v for v in self.verdicts if v.status in statuses)


def margin_value(cell: CellEvidence) -> float:
    """M from all stored baseline values, so that it is the same in every stage."""
    if cell.margin.logarithmic:
        return math.log1p(cell.margin.relative)
    values = [*cell.baseline.values(), *cell.reserve_baseline.values()]
    return max(cell.margin.floor, cell.margin.relative * abs(float(np.mean(values)))) if values else cell.margin.floor
