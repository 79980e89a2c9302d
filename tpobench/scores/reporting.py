"""How a suite scores its runs: the metric, which way it is better, and the ends of its scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.compare import Comparison
from tpobench.stats.curves import Bools, below_threshold
from tpobench.stats.estimate import Estimate
from tpobench.stats.guard import Floats
from tpobench.stats.suite_level import Reference
from tpobench.stats.texts import unit_of

ERRORS = frozenset({"error", "worst_error", "greedy_error"})  # shares of answers that are wrong


@dataclass(frozen=True)
class Reporting:
    """A suite's [report] table.

    Comparisons and estimates are made of the loss: sign (x - best), or sign x where nothing bounds x; lower is better.
    """

    metric: str = "error"
    window: int = 50
    thresholds: tuple[float, ...] = (0.1, 0.01)
    persist: int = 3
    solved: float = 0.05
    worst: float = 1.0
    title: str = ""
    better: str = "lower"
    best: float = 0.0  # infinite where nothing bounds the metric
    exact: bool = False  # whether `check` compares digits, and no means
    search: Mapping[str, Any] | None = None  # of a suite with a [search] table

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Reporting:
        """From a record, keys of later versions ignored."""
        known = {k: v for k, v in raw.items() if k in cls.__dataclass_fields__}
        if "thresholds" in known:
            known["thresholds"] = tuple(float(t) for t in known["thresholds"])
        if known.get("better") == "higher":
            known.setdefault("best", math.inf)
        return cls(**known)

    @property
    def sign(self) -> float:
        """1 where lower is better, -1 where higher is."""
        return -1.0 if self.better == "higher" else 1.0

    def loss(self, values: ArrayLike) -> Floats:
        """How much worse than the best value they are."""
        return np.asarray(self.sign * (np.asarray(values, dtype=np.float64) - self._origin))

    @property
    def _origin(self) -> float:
        return self.best if self.bounded else 0.0

    @property
    def bounded(self) -> bool:
        """Whether there is a best value."""
        return math.isfinite(self.best)

    @property
    def reference(self) -> Reference:
        """Fixed ends of the scale, never those of the compared runs."""
        return Reference(worst=self.worst, best=self.best)

    def passed(self, values: ArrayLike, level: float) -> Bools:
        """Which values are better than a level, a threshold or `solved`: below it, or above where higher is better."""
        return below_threshold(self.sign * np.asarray(values, dtype=np.float64), self.sign * level)

    def estimate(self, of_loss: Estimate) -> Estimate:
        """An estimate of the metric from one of the loss."""
        value, low, high = (
            None if v is None else self._origin + self.sign * v for v in (of_loss.value, *self._ends(of_loss))
        )
        return replace(of_loss, value=value, low=low, high=high)

    def comparison(self, of_loss: Comparison) -> Comparison:
        """A comparison of two arms by the metric from one by the loss."""
        difference, low, high = (
            None if v is None else 0.0 + self.sign * v for v in (of_loss.difference, *self._ends(of_loss))
        )
        return replace(of_loss, difference=difference, low=low, high=high)

    def _ends(self, of_loss: Estimate | Comparison) -> tuple[float | None, float | None]:
        return (of_loss.low, of_loss.high) if self.sign > 0 else (of_loss.high, of_loss.low)

    @property
    def side(self) -> str:
        """On which side of a level the better values lie."""
        return "below" if self.sign > 0 else "above"

    @property
    def relation(self) -> str:
        """The same as a sign."""
        return "<" if self.sign > 0 else ">"

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↓" if self.sign > 0 else "↑"

    @property
    def percent(self) -> bool:
        """Errors are shares and shown in percent; other metrics as they are."""
        return self.metric in ERRORS

    @property
    def scale(self) -> float:
        """100 for shares, 1 for anything else."""
        return 100.0 if self.percent else 1.0

    @property
    def unit(self) -> str:
        """` (%)` behind the name of a share."""
        return unit_of(self.scale)

    def level(self, threshold: float) -> str:
        """`1%` of an error, `0.01` of anything else."""
        return f"{100 * threshold:g}%" if self.percent else f"{threshold:g}"

    def brief(self, value: float, digits: int = 2) -> str:
        """The same of any value, rounded."""
        return self.level(float(f"{value:.{digits}g}"))
