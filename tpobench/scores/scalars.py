"""One number per seed of an arm, by name: what tables show, tests compare and claims speak of.

A new number is one entry of SCALARS: `report` has a table of it, `compare` and `power` know its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from tpobench.errors import UsageError, unknown
from tpobench.scores.cells import Arm
from tpobench.scores.estimates import mean_of, rate_of, steps_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.scores.text import rate_text
from tpobench.stats.censored import steps_text
from tpobench.stats.compare import Comparison
from tpobench.stats.curves import area_under_curve, final_window
from tpobench.stats.guard import Floats
from tpobench.stats.suite_level import Reference
from tpobench.stats.texts import mean_text

Test = Literal["mean", "times", "rate"]  # how arms are compared: by means, by ranks of censored times, by counts


@dataclass(frozen=True)
class Scalar:
    """A number of every seed; of times and rates lower is better, of all others what is better of the metric."""

    kind: str  # one of SCALARS
    reporting: Reporting = field(hash=False)
    window: int = 1  # evaluations there are to average
    threshold: float = math.nan  # of times, and of the rate that counts those that got there
    metric: str = ""  # another than the one that is scored
    share: float = 0.0  # of the budget of updates
    over: str = ""  # the metric below the line of a ratio
    step: int = 0

    @property
    def test(self) -> Test:
        """How two arms are compared."""
        return SCALARS[self.kind].test

    @property
    def name(self) -> str:
        """`final50`, `area`, `steps0.01m3`, `solved0.05`, `reached0.01m3`: everything that defines the number."""
        return SCALARS[self.kind].name(self)

    @property
    def _words(self) -> str:
        return SCALARS[self.kind].words(self)

    @property
    def title(self) -> str:
        """`Error (%) ↓, mean of the last 50 evaluations`, `Updates to error < 1% ↓`."""
        r, name = self.reporting, self.reporting.metric.capitalize()
        if self.test == "times":
            return f"Updates to {name.lower()} {r.relation} {r.level(self.threshold)} ↓"
        return f"{name}{r.unit} {r.arrow}, {' '.join(self._words.format('').split())}"

    @property
    def bare_title(self) -> str:
        """The same without an arrow."""
        return self.title.replace(" ↓", "").replace(" ↑", "")

    @property
    def words(self) -> str:
        """What the number of one seed is."""
        words = self._words.format(self.reporting.metric)
        return words if self.test == "rate" else f"{words}, {self.better} is better"

    @property
    def better(self) -> str:
        """`lower` or `higher`."""
        return self.reporting.better if self.test == "mean" else "lower"

    @property
    def sign(self) -> float:
        """1 where lower is better, -1 where higher is."""
        return self.reporting.sign if self.test == "mean" else 1.0

    @property
    def scale(self) -> float:
        """100 where shares are printed in percent."""
        return {"times": 1.0, "rate": 100.0}.get(self.test, self.reporting.scale)

    @property
    def unit(self) -> str:
        """Of what is printed."""
        if self.test == "times":
            return "updates"
        if self.test == "rate":
            return "% of the seeds " + ("solved" if math.isnan(self.threshold) else "that got there")
        return f"{self.reporting.metric}{' in %' if self.scale == 100 else ''}"

    def values(self, arm: Arm) -> Floats:
        """(n,) numbers, diverged runs at the worst value; times are inf where the threshold was never held."""
        if self not in arm.numbers:
            numbers = arm.numbers[self] = SCALARS[self.kind].values(self, arm)
            numbers.flags.writeable = False
        return arm.numbers[self]

    def capped(self, arm: Arm) -> Floats:
        """(n,) numbers, times beyond the budget at the budget."""
        return np.minimum(self.values(arm), arm.budget) if self.test == "times" else self.values(arm)

    def losses(self, arm: Arm) -> Floats:
        """(n,) numbers as tests compare them: lower is better."""
        return arm.reporting.loss(self.values(arm)) if self.test == "mean" else self.capped(arm)

    def reference(self, arm: Arm) -> Reference:
        """Fixed ends of the scale, never those of the compared runs."""
        if self.test == "mean":
            return arm.reporting.reference
        return Reference(worst=arm.budget if self.test == "times" else 1.0, best=0.0)

    def difference(self, of_loss: Comparison) -> Comparison:
        """A comparison with the difference of the numbers themselves."""
        return self.reporting.comparison(of_loss) if self.test == "mean" else of_loss

    @property
    def best(self) -> float:
        """The best value."""
        return self.reporting.best if self.test == "mean" else 0.0

    def shown(self, arm: Arm) -> tuple[str, dict[str, Any]]:
        """The estimate of one arm as printed, and in full."""
        if self.test == "times":
            steps = steps_of(self.values(arm), arm.budget)
            return steps_text(steps), asdict(steps)
        if self.test == "rate":
            n = len(arm.seeds)
            k = n - int(self.values(arm).sum())
            rate = rate_of(k, n)
            return f"{k}/{n} {rate_text(rate)}", {"count": k, **asdict(rate)}
        estimate = mean_of(self.values(arm), ReportOptions(), arm.reporting)
        return mean_text(estimate, self.scale, diverged=sum(arm.diverged), worst=arm.reporting.worst), asdict(estimate)

    @property
    def lost(self) -> float:
        """Of a diverged run: the worst value of the metric that is scored; nothing is known of any other."""
        return self.reporting.worst if self.metric in {"", self.reporting.metric} else math.nan

    def of(self, arm: Arm, number: Callable[[Floats, Floats], Floats]) -> Floats:
        """(n,) a number of the curves (., E) and their steps (E,)."""
        return arm.each(number, self.lost, self.metric)

    def at(self, arm: Arm, step: float) -> Floats:
        """(n,) the value at the evaluation nearest to a step."""
        return self.of(arm, lambda x, t: x[:, nearest(t, step)])


class Definition(NamedTuple):
    """What a scalar is."""

    values: Callable[[Scalar, Arm], Floats]
    words: Callable[[Scalar], str]  # of one seed, {} where the metric's name goes
    test: Test = "mean"
    name: Callable[[Scalar], str] = lambda s: s.kind
    table: bool = True  # a report has one of it
    selectable: bool = True  # by `--metric`


def _final(s: Scalar, arm: Arm) -> Floats:
    return arm.final if not s.metric else s.of(arm, lambda x, _: final_window(x, arm.reporting.window, math.nan))


def _area(s: Scalar, arm: Arm) -> Floats:
    """A run that diverged has the worst value from there on."""
    worst = s.lost
    whole = area_under_curve(arm.curves[s.metric or arm.reporting.metric], arm.axes["step"], worst)
    return arm.each(lambda x, t: area_under_curve(x, t, worst), whole, s.metric)


def _rate(s: Scalar, arm: Arm) -> Floats:
    """1 where a seed is not solved (its final value not better than `solved`), or never reached the threshold."""
    passed = arm.reporting.passed(arm.final, arm.reporting.solved)
    return (~passed if math.isnan(s.threshold) else np.isinf(arm.times(s.threshold))).astype(np.float64)


def _rate_words(s: Scalar) -> str:
    if math.isnan(s.threshold):
        return f"1 for a seed that does not end {s.reporting.side} {{}} {s.reporting.level(s.reporting.solved)}, else 0"
    return f"1 for a seed that never gets {s.reporting.side} {{}} {s.reporting.level(s.threshold)}, else 0"


def _late(x: Floats, t: Floats, budget: float) -> Floats:
    late = t >= 0.75 * budget
    return np.asarray(x[:, late if late.any() else [-1]].mean(axis=1))


def _ratio(s: Scalar, arm: Arm) -> Floats:
    """Seeds with a denominator of 0 have none."""
    above, below = (Scalar("at", s.reporting, metric=m).at(arm, s.step) for m in (s.metric, s.over))
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), math.nan)


SCALARS: dict[str, Definition] = {
    "final": Definition(
        _final,
        lambda s: "{} at the end" if s.window == 1 else f"mean {{}} of the last {s.window} evaluations",
        name=lambda s: f"final{s.window}",
    ),
    "steps": Definition(
        lambda s, arm: arm.times(s.threshold),
        lambda s: f"min(updates until {{}} {s.reporting.relation} {s.reporting.level(s.threshold)}, budget)",
        test="times",
        name=lambda s: f"steps{s.threshold:g}m{s.reporting.persist}",
    ),
    "area": Definition(_area, lambda _: "mean {} over all updates"),
    "rate": Definition(
        _rate,
        _rate_words,
        test="rate",
        name=lambda s: f"solved{s.reporting.solved:g}"
        if math.isnan(s.threshold)
        else f"reached{s.threshold:g}m{s.reporting.persist}",
        table=False,
    ),
    # Of claims only.
    "at": Definition(
        lambda s, arm: s.at(arm, s.share * arm.budget), lambda _: "{} at an update", table=False, selectable=False
    ),
    "late": Definition(
        lambda s, arm: s.of(arm, lambda x, t: _late(x, t, arm.budget)),
        lambda _: "mean {} over the last quarter", table=False, selectable=False,
    ),
    "peak": Definition(
        lambda s, arm: s.of(arm, lambda x, _: x.max(axis=1)), lambda _: "peak of {}", table=False, selectable=False
    ),
    "peak_step": Definition(
        lambda s, arm: s.of(arm, lambda x, t: t[x.argmax(axis=1)]),
        lambda _: "update of the peak of {}", table=False, selectable=False,
    ),
    "ratio": Definition(_ratio, lambda s: f"{{}} / {s.over}", table=False, selectable=False),
}  # fmt: skip


def metric_names(test: Test | None = None) -> list[str]:
    """The names that `--metric` takes, of one test or of all."""
    return [kind for kind, entry in SCALARS.items() if entry.selectable and test in {None, entry.test}]


def nearest(steps: Floats, step: float) -> int:
    """The index of the evaluation nearest to a step."""
    return int(np.abs(steps - step).argmin())


def scalars_of(reporting: Reporting, evaluations: int) -> list[Scalar]:
    """Those that a report has a table of; of times, one for each threshold."""
    window = min(reporting.window, evaluations)
    return [
        Scalar(kind, reporting, window, t)
        for kind, entry in SCALARS.items()
        if entry.table
        for t in (reporting.thresholds if entry.test == "times" else (math.nan,))
    ]


def scalar_of(kind: str, reporting: Reporting, evaluations: int, threshold: float | None = None) -> Scalar:
    """The scalar that `--metric` and `--threshold` name; without a threshold, times are those to the suite's last one.

    Raises:
        UsageError: an unknown metric, or a threshold that the suite does not define.
    """
    if kind not in metric_names():
        raise unknown("metric", kind, metric_names())
    if threshold is not None and SCALARS[kind].test == "mean":
        msg = f"--threshold {threshold:g} goes with --metric steps or rate, not with {kind}"
        raise UsageError(msg)
    if threshold is not None and threshold not in reporting.thresholds:
        valid = ", ".join(f"{t:g}" for t in reporting.thresholds)
        msg = f"--threshold {threshold:g} was not fixed before the runs; the suite's thresholds: {valid}"
        raise UsageError(msg)
    if SCALARS[kind].test == "times" and threshold is None:
        threshold = reporting.thresholds[-1]
    return Scalar(kind, reporting, min(reporting.window, evaluations), math.nan if threshold is None else threshold)
