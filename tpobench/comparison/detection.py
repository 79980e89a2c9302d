"""What the seeds at hand can detect in every cell, and how many seeds a given difference needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tpobench import __version__
from tpobench.errors import NothingToDo, UsageError, unknown
from tpobench.execution.machine import cores
from tpobench.records.results import Results
from tpobench.scores.estimates import SEED
from tpobench.scores.pilots import ALPHA, POWER, pilot_of
from tpobench.scores.scalars import Scalar, metric_names, scalar_of
from tpobench.scores.sides import Key, Side, require_known, set_side
from tpobench.scores.text import seed_ranges
from tpobench.stats.estimate import Floats
from tpobench.stats.power import MOST_SEEDS, Power, detection, power_text
from tpobench.tables.model import Document
from tpobench.tables.readable import Readable

SCHEMA = 1
WORTH_A_PROCESS = 250  # detections, some seconds: a process takes half of one to start, and draws its own labels


@dataclass(frozen=True)
class Target:
    """A difference to find the seeds for: of the metric, or a share of an algorithm's mean."""

    value: float
    relative: bool = False

    def of(self, mean: float) -> float | None:
        """The difference in the metric's unit; None for a share of nothing."""
        difference = self.value * abs(mean) if self.relative else self.value
        return difference or None


def parse_target(text: str) -> Target:
    """`0.12` is a difference of the metric, `25%` a quarter of each algorithm's mean.

    Raises:
        UsageError: anything else.
    """
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        msg = f"--target {text}: write a difference such as 0.12 (in the metric's unit), or a share such as 25%"
        raise UsageError(msg)
    return Target(value / 100 if percent else value, percent)


@dataclass(frozen=True)
class Detection:
    """One algorithm of a cell, or two of its algorithms compared on their own seeds."""

    suite: str
    cell: str
    arms: tuple[str, ...]
    paired: bool
    observed: float  # mean of the algorithm; difference of the pair's means
    power: Power
    expected: Power | None = None  # of a pair: seeds to detect a difference like the observed one

    @property
    def text(self) -> str:
        """In the unit of the records."""
        return self.words()

    def words(self, scale: float = 1.0) -> str:
        """`with 20 seeds this cell detects >= 0.18; 43 seeds for 0.12`, in the unit of that scale."""
        text = power_text(self.power, scale)
        if self.expected is None or self.expected.status != "ok" or not self.observed:
            return text
        needed = self.expected.needed
        seeds = f"more than {MOST_SEEDS}" if needed is None else needed
        return f"{text}; {seeds} seeds for the observed {abs(self.observed) * scale:.2g}"


@dataclass(frozen=True)
class Detections(Readable):
    """What every algorithm and every pair of algorithms of a result set can detect."""

    measure: Scalar
    rows: tuple[Detection, ...]
    seeds: tuple[int, ...]

    def document(self) -> Document:
        """A table for each cell, algorithms before pairs."""
        from tpobench.comparison.document import detections_document  # noqa: PLC0415 - it reads this module

        return detections_document(self)

    @property
    def signature(self) -> str:
        """How the numbers came about, on one line."""
        families = sorted({row.power.family for row in self.rows})
        return "|".join([
            f"tpobench {__version__}", f"suite:{'+'.join(dict.fromkeys(r.suite for r in self.rows))}",
            f"metric:{self.measure.name}", f"pilot seeds:{seed_ranges(self.seeds)}", f"power:{POWER}",
            f"alpha:{ALPHA}", f"adj:holm/{'+'.join(map(str, families))}", f"rng:{SEED}", "diverged:worst",
        ])  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Everything in full precision."""
        return {
            "schema": SCHEMA,
            "metric": self.measure.name,
            "detections": [{**asdict(r), "text": r.text} for r in self.rows],
            "signature": self.signature,
        }


def detect(
    results: Results,
    *,
    target: Target | None = None,
    seeds: int | None = None,
    metric: str = "final",
    algorithms: Sequence[str] = (),
) -> Detections:
    """Every algorithm on its own seeds, and every pair of algorithms of a cell, at the family size that a report has.

    Raises:
        UsageError: an unknown algorithm or metric.
        NothingToDo: no finished run.
    """
    if metric not in (means := metric_names("mean")):  # ranks and counts detect no difference of a mean
        raise unknown("metric", metric, means)
    require_known(algorithms, results.records, "the results")
    side = set_side("results", results.records, algorithms)
    if not side.entries:
        msg = "no finished run to learn the spread from; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    first = next(iter(side.entries.values()))
    measure = scalar_of(metric, first.cell.reporting, max(len(e.arm.axes["step"]) for e in side.entries.values()))
    rows = _all([task for cell in _cells(side) for task in _tasks(side, cell, measure, target, seeds)])
    pilots = sorted({s for e in side.entries.values() for s in e.arm.seeds})
    return Detections(measure, tuple(rows), tuple(pilots))


def _cells(side: Side) -> Iterator[list[Key]]:
    """Keys of one cell each; algorithms that no matching changes belong to every matching of their cell."""
    places: dict[tuple[str, str], list[Key]] = {}
    for key in side.entries:
        places.setdefault((key.suite, key.axes), []).append(key)
    for keys in places.values():
        matchings = sorted({k.matching for k in keys} - {"any"}) or ["any"]
        for matching in matchings:
            yield [k for k in keys if k.matching in {matching, "any"}]


@dataclass(frozen=True)
class _Task:
    """A detection before its power is known: plain numbers."""

    row: tuple[str, str, tuple[str, ...], bool, float]  # the first fields of Detection
    pilot: Floats
    other: Floats | None  # the second arm of a paired design
    runs: int | None
    target: float | None
    observed: float | None  # difference of a pair
    family: int


def _tasks(
    side: Side, keys: Sequence[Key], measure: Scalar, target: Target | None, seeds: int | None
) -> Iterator[_Task]:
    family = max(1, math.comb(len(keys), 2))
    matched = next((side.entries[k].cell for k in keys if k.matching != "any"), None)
    label = side.entries[keys[-1]].cell.axes_label if matched is None else matched.label
    for key in keys:
        arm = side.entries[key].arm
        mean, losses = float(measure.values(arm).mean()), measure.losses(arm)
        wanted = None if target is None else target.of(mean)
        yield _Task((key.suite, label, (arm.algorithm,), False, mean), losses, None, seeds, wanted, None, family)
    for a, b in itertools.combinations(keys, 2):
        x, y = side.entries[a].arm, side.entries[b].arm
        pilot = pilot_of(x, y, measure)
        wanted = None if target is None else target.of(min(pilot.means))
        row = (a.suite, label, (x.algorithm, y.algorithm), pilot.paired, pilot.observed)
        yield _Task(row, pilot.losses, pilot.other, seeds or pilot.runs, wanted, abs(pilot.observed), family)


def _all(tasks: Sequence[_Task]) -> list[Detection]:
    """The detections in order, in several processes where there are many: each is a function of its own numbers."""
    questions = [_question(task) for task in tasks]
    processes = min(cores(), len(tasks) // WORTH_A_PROCESS)
    if processes < 2:
        powers = [detection(**question) for question in questions]
    else:
        from joblib import Parallel, delayed  # type: ignore[import-untyped]  # noqa: PLC0415 - only here

        powers = Parallel(n_jobs=processes, batch_size=4)(delayed(detection)(**question) for question in questions)
    return [Detection(*task.row, *_answer(task, power)) for task, power in zip(tasks, powers, strict=True)]


def _question(task: _Task) -> dict[str, Any]:
    """What `detection`, which imports little where a process starts for it, is asked: of a pair, the observed too."""
    goal = task.observed if task.target is None else task.target
    return {
        "pilot": task.pilot, "rng": np.random.default_rng(SEED), "runs": task.runs, "target": goal or None,
        "alpha": ALPHA, "power": POWER, "family": task.family, "paired_with": task.other,
    }  # fmt: skip


def _answer(task: _Task, power: Power) -> tuple[Power, Power | None]:
    """At the target; of a pair without one, at the observed difference too."""
    if task.target is not None or not task.observed:
        return power, None
    return replace(power, target=None, needed=None), power
