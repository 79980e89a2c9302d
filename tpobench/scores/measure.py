"""The four per-seed scalars that two arms are compared by, all with lower better and with a fixed worst value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from tpobench.errors import UsageError, unknown
from tpobench.scores.cells import Arm, Reporting
from tpobench.scores.estimates import mean_of, rate_of, steps_of
from tpobench.scores.metrics import scale_of
from tpobench.scores.options import Options
from tpobench.scores.text import rate_text
from tpobench.stats.censored import steps_text
from tpobench.stats.curves import below_threshold
from tpobench.stats.estimate import Floats
from tpobench.stats.suite_level import Reference
from tpobench.stats.texts import mean_text

Kind = Literal["final", "area", "steps", "rate"]


@dataclass(frozen=True)
class Measure:
    """What is compared.

    final   mean error over the last window of evaluations
    area    mean error over all updates
    steps   min(t, T): first update from which the threshold is held, censored at the budget T
    rate    1 where a seed is not solved (final error not below `solved`), or never reached the threshold
    """

    kind: Kind
    reporting: Reporting
    window: int  # evaluations there are to average
    threshold: float | None = None

    @property
    def name(self) -> str:
        """`final50`, `area`, `steps0.01m3`, `solved0.05`, `reached0.01m3`: everything that defines the scalar."""
        reached = f"{self.threshold:g}m{self.reporting.persist}" if self.threshold is not None else ""
        rate = f"reached{reached}" if reached else f"solved{self.reporting.solved:g}"
        return {"final": f"final{self.window}", "area": "area", "steps": f"steps{reached}", "rate": rate}[self.kind]

    @property
    def scalar(self) -> str:
        """What the value of one seed is, in words."""
        m = self.reporting.metric
        level = f"{self.reporting.solved if self.threshold is None else self.threshold:g}"
        fails = "does not end" if self.threshold is None else "never gets"
        return {
            "final": f"mean {m} of the last {self.window} evaluations, lower is better",
            "area": f"mean {m} over all updates, lower is better",
            "steps": f"min(updates until {m} < {self.threshold}, budget), lower is better",
            "rate": f"1 for a seed that {fails} below {m} {level}, else 0",
        }[self.kind]

    @property
    def scale(self) -> float:
        """100 where shares are printed in percent."""
        return {"steps": 1.0, "rate": 100.0}.get(self.kind, scale_of(self.reporting))

    @property
    def unit(self) -> str:
        """Of what is printed."""
        if self.kind == "steps":
            return "updates"
        if self.kind == "rate":
            return "% of the seeds " + ("solved" if self.threshold is None else "that got there")
        return f"{self.reporting.metric}{' in %' if self.scale == 100 else ''}"

    def values(self, arm: Arm) -> Floats:
        """(n,) scalars, diverged runs scored at the worst value."""
        if self.kind == "final":
            return arm.final
        if self.kind == "area":
            return arm.area
        if self.kind == "steps":
            return np.minimum(self.times(arm), arm.budget)
        if self.threshold is None:
            return (~below_threshold(arm.final, self.reporting.solved)).astype(np.float64)
        return np.isinf(self.times(arm)).astype(np.float64)

    def times(self, arm: Arm) -> Floats:
        """(n,) updates to the threshold, inf where it was never reached."""
        return arm.times[cast("float", self.threshold)]

    def reference(self, arm: Arm) -> Reference:
        """Fixed ends of the scale, never those of the compared runs."""
        worst = {"steps": arm.budget, "rate": 1.0}.get(self.kind, self.reporting.worst)
        return Reference(worst=worst, best=0.0)

    def shown(self, arm: Arm) -> tuple[str, dict[str, Any]]:
        """The estimate of one arm as printed, and in full."""
        if self.kind == "steps":
            steps = steps_of(self.times(arm), arm.budget)
            return steps_text(steps), asdict(steps)
        if self.kind == "rate":
            n = len(arm.seeds)
            k = n - int(self.values(arm).sum())
            rate = rate_of(k, n)
            return f"{k}/{n} {rate_text(rate)}", {"count": k, **asdict(rate)}
        worst = self.reporting.worst
        found = mean_of(self.values(arm), Options(), worst)
        return mean_text(found, self.scale, diverged=sum(arm.diverged), worst=worst), asdict(found)


def measure_of(kind: str, reporting: Reporting, evaluations: int, threshold: float | None = None) -> Measure:
    """The measure that `--metric` and `--threshold` name; without a threshold, steps are those to the suite's last one.

    Raises:
        UsageError: an unknown metric, or a threshold that the suite does not define.
    """
    if kind not in get_args(Kind):
        raise unknown("metric", kind, get_args(Kind))
    if threshold is not None and kind not in {"steps", "rate"}:
        msg = f"--threshold {threshold:g} goes with --metric steps or rate, not with {kind}"
        raise UsageError(msg)
    if threshold is not None and threshold not in reporting.thresholds:
        valid = ", ".join(f"{t:g}" for t in reporting.thresholds)
        msg = f"--threshold {threshold:g} was not fixed before the runs; the suite's thresholds: {valid}"
        raise UsageError(msg)
    if kind == "steps" and threshold is None:
        threshold = reporting.thresholds[-1]
    return Measure(cast("Kind", kind), reporting, min(reporting.window, evaluations), threshold)
