"""What the regression gate reads and returns: evidence per cell, margins, the plan, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Direction = Literal["lower", "higher"]
Status = Literal[
    "unchanged", "ok", "improved", "inconclusive", "flagged", "regressed", "crashed", "incomplete", "not comparable",
    "changed", "redrawn",
]  # fmt: skip
Outcome = Literal["passed", "inconclusive", "unconfirmed", "incomplete", "nothing compared", "regressed"]
Stage = Literal["comparable", "exact", "screen", "confirm"]
Hypothesis = Literal["", "mean", "rate"]


@dataclass(frozen=True)
class Margin:
    """M = max(floor, relative |baseline mean|, told sd sqrt(2 / n)), of logs, with log(1 + relative), if `logarithmic`.

    sd and mean are of all the baseline's seeds, n is how many screen: with `told` = t_.95 + z_.93 = 3.2 a cell that
    nothing has changed is OK in nine checks of ten and more, on any seeds.  A finer margin would promise what the seeds
    cannot tell.
    """

    floor: float = 0.0
    relative: float = 0.0
    logarithmic: bool = False
    told: float = 0.0


TOLD = 3.2
MARGINS: dict[str, Margin] = {
    "error": Margin(0.01, 0.10, told=TOLD),
    "rate": Margin(0.20),
    "steps": Margin(0.0, 0.25, logarithmic=True, told=TOLD),
    "reward": Margin(0.0, 0.02, told=TOLD),
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
    failed_baseline: Mapping[int, bool] = field(default_factory=dict)  # diverged, or threshold never reached
    failed_candidate: Mapping[int, bool] = field(default_factory=dict)
    exact: bool = False  # the values are distances from the baseline's digits, of which none may be above the margin
    redrawn: bool = False  # other random numbers than the baseline's, so digits say nothing
    where: str = ""  # the first digits that differ
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
    """M from all stored baseline values, so that it is the same in every stage, and fixed before the candidate runs."""
    margin, logarithmic = cell.margin, cell.margin.logarithmic
    values = np.array([*cell.baseline.values(), *cell.reserve_baseline.values()], dtype=np.float64)
    if logarithmic:
        values = np.log(np.maximum(values, 1.0))
    if not len(values):
        return margin.floor
    noise = float(values.std(ddof=1)) * math.sqrt(2 / max(len(cell.baseline), 1)) if len(values) > 1 else 0.0
    relative = math.log1p(margin.relative) if logarithmic else margin.relative * abs(float(values.mean()))
    return max(margin.floor, relative, margin.told * noise)
