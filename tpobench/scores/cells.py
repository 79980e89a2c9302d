"""Records -> cells: one per point of a grid, with the per-seed arrays of each algorithm for tables and figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tpobench.algorithms.catalog import BUILT_IN, base, family_of
from tpobench.errors import CorruptResults, RunsFailed, UsageError
from tpobench.identity import canonical, flat
from tpobench.printable import first_of
from tpobench.records.results import by_matching
from tpobench.records.shapes import AXES
from tpobench.records.store import FINISHED, RunRecord
from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.stats.censored import first_crossing
from tpobench.stats.curves import Bools, final_window
from tpobench.stats.guard import Floats
from tpobench.tasks.catalog import streams
from tpobench.tasks.settings import INITIAL_SUCCESS

TRAINED = ("task", "training", "hyper", "algorithm_version", "task_version", "dtype", "engine")  # of a spec


@dataclass(frozen=True)
class Arm:
    """One algorithm in one cell; arrays are (n,) over the finished seeds and (n, E) over seeds and evaluations."""

    algorithm: str
    seeds: tuple[int, ...]
    diverged: tuple[bool, ...]
    axes: Mapping[str, Floats]  # step, interactions, gradient_steps: (E,)
    curves: Mapping[str, Floats]  # metric -> (n, E); NaN where not measured or after divergence
    reporting: Reporting
    budget: float  # updates of a whole run
    stream: str = ""  # what the random numbers of a seed depend on; empty where that is unknown or mixed

    def each(self, number: Callable[[Floats, Floats], Floats], lost: ArrayLike, metric: str = "") -> Floats:
        """`number` of the curve (., E) and its steps (E,) of every run, over the run's own recorded points: (n,).

        lost: of runs that diverged or recorded nothing.  metric: the one that is scored, where empty.
        """
        values = np.array(np.broadcast_to(np.asarray(lost, dtype=np.float64), len(self.seeds)))
        for rows, x, t in self._alike if metric in {"", self.reporting.metric} else self._recorded(metric):
            values[rows] = number(x, t)
        return values

    @cached_property
    def _alike(self) -> list[tuple[list[int], Floats, Floats]]:
        return self._recorded(self.reporting.metric)

    def _recorded(self, metric: str) -> list[tuple[list[int], Floats, Floats]]:
        """The runs that lasted, those recorded at the same points together: which ones, curves, steps."""
        curves = self.curves[metric]
        recorded = np.isfinite(curves)
        alike: dict[bytes, list[int]] = defaultdict(list)
        for i, lost in enumerate(self.diverged):
            if not lost and recorded[i].any():
                alike[recorded[i].tobytes()].append(i)
        points = [(rows, recorded[rows[0]]) for rows in alike.values()]
        return [
            (rows, np.ascontiguousarray(curves[np.ix_(rows, p)]), self.axes["step"][p])  # sums as of a whole array
            for rows, p in points
        ]

    @cached_property
    def final(self) -> Floats:
        """Mean of the metric over the last window of evaluations (n,); the worst value of runs that diverged."""
        window, worst = self.reporting.window, self.reporting.worst
        return self.each(lambda x, _: final_window(x, window, worst), worst)

    @property
    def lasted(self) -> Floats:
        """`final` of the runs that did not diverge: what diverged was scored, not measured."""
        return np.asarray(self.final[~np.array(self.diverged)])

    def times(self, threshold: float) -> Floats:
        """Updates until the threshold is passed and held (n,); inf where it never is."""
        r = self.reporting
        if threshold not in self._times:
            times = self.each(lambda x, t: first_crossing(r.sign * x, t, r.sign * threshold, r.persist), math.inf)
            times.flags.writeable = False
            self._times[threshold] = times
        return self._times[threshold]

    @cached_property
    def _times(self) -> dict[float, Floats]:
        """Those that were asked for: every table and test of a threshold asks again."""
        return {}

    @cached_property
    def numbers(self) -> dict[Hashable, Floats]:
        """Scalars (n,) that were asked for: every pair, row and note of a report asks again."""
        return {}

    def along(self, axis: str) -> Floats:
        """At each evaluation (E,): an axis, or the mean of what the runs that lasted have counted until then."""
        return self.axes[axis] if axis in self.axes else np.asarray(self.lasting(axis).mean(axis=0))

    def lasting(self, metric: str) -> Floats:
        """The curves of a metric, of the runs that did not diverge; none where it is not recorded."""
        curves = self.curves.get(metric, np.empty((len(self.seeds), 0)))
        return np.asarray(curves[~np.array(self.diverged)])

    def by_seed(self, values: Floats) -> dict[int, float]:
        """Per-seed scalars, keyed by seed."""
        return {seed: float(value) for seed, value in zip(self.seeds, values, strict=True)}


@dataclass(frozen=True)
class Place:
    """One point of a suite's grid under one matching, with its records, whatever became of them."""

    suite: str
    axes: Mapping[str, Any]
    matching: str
    condition: str  # the matching, where the suite's records hold several
    records: tuple[RunRecord, ...]
    algorithms: tuple[str, ...]  # of the suite

    @cached_property
    def runs(self) -> dict[str, tuple[RunRecord, ...]]:
        """By algorithm in the order of tables, each by seed."""
        runs: dict[str, list[RunRecord]] = defaultdict(list)
        for r in sorted(self.records, key=lambda r: int(r.spec["seed"])):
            runs[str(r.spec["algorithm"])].append(r)
        return {name: tuple(runs[name]) for name in sorted(runs, key=algorithm_order)}

    @property
    def label(self) -> str:
        """As that of its cell."""
        return _label(self.axes, self.records[0].spec["task"].get("kind", self.suite), self.condition)


def _label(axes: Mapping[str, Any], kind: str, condition: str) -> str:
    """`length=8, reward=terminal, matching=prompts`; the task's kind without a grid, the matching of several."""
    text = ", ".join(f"{k}={v}" for k, v in axes.items()) or str(kind)
    return f"{text}, matching={condition}" if condition else text


@dataclass(frozen=True)
class Cell:
    """One point of a suite's grid under one matching."""

    suite: str
    axes: Mapping[str, Any]
    matching: str
    task: Mapping[str, Any]
    reporting: Reporting
    arms: Mapping[str, Arm]
    success: float | None  # p0: geometric mean over seeds of the untrained policy's success probability
    condition: str = ""  # the matching, where the suite's records hold several
    dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # seeds of diverged runs, where left out
    runs: Mapping[str, Sequence[RunRecord]] = field(default_factory=dict)  # that the arms were made of

    @property
    def label(self) -> str:
        """`length=8, reward=terminal, matching=prompts`; the matching where the suite has several."""
        return _label(self.axes, self.task.get("kind", self.suite), self.condition)

    @property
    def ranked(self) -> list[str]:
        """The algorithms that may lead: all but online adaptations of preference losses, which offline are at home."""
        offline = {n for n, runs in self.runs.items() if runs and runs[0].spec["training"].get("offline")}
        return [n for n in self.arms if family_of(n) != "preference" or n in offline]

    @property
    def learned(self) -> bool:
        """Whether any seed of any algorithm ended solved or held a threshold: where none did, nobody leads."""
        return any(
            arm.reporting.passed(arm.final, arm.reporting.solved).any()
            or any(np.isfinite(arm.times(t)).any() for t in arm.reporting.thresholds)
            for arm in self.arms.values()
        )

    @property
    def axes_label(self) -> str:
        """`length=8, reward=terminal`, or the task's kind without a grid."""
        return _label(self.axes, self.task.get("kind", self.suite), "")


@dataclass(frozen=True)
class Problem:
    """A run without a result, as the report lists it."""

    suite: str
    where: str
    algorithm: str
    seed: int
    status: str
    reason: str


def read_cells(
    records: Iterable[RunRecord], options: ReportOptions | None = None
) -> tuple[dict[str, list[Cell]], list[Problem]]:
    """Cells by suite (and version, where there are several), and the runs that failed or were skipped.

    Raises:
        CorruptResults: runs of one algorithm in one cell were measured at different steps, or a seed was trained under
            several settings.
        UsageError: the runs did not record the metric that they are scored by.
        RunsFailed: runs diverged, and `options` does not accept that.
    """
    records, options = list(records), options or ReportOptions()
    if options.diverged == "fail":
        _refuse_diverged(records)
    cells: dict[str, list[Cell]] = defaultdict(list)
    for place in places(records):
        cells[place.suite].append(_cell(place, options))
    names = _suite_names(records)
    problems = [
        Problem(names(r), _where(r), r.spec["algorithm"], r.spec["seed"], r.status, r.reason)
        for r in records
        if r.status not in FINISHED
    ]
    return dict(cells), problems


def places(records: Iterable[RunRecord]) -> list[Place]:
    """The records by suite (and version, where there are several), point of the grid and matching, in reading order."""
    records = list(records)
    names = _suite_names(records)
    groups: dict[tuple[str, tuple[tuple[str, Any], ...], str], list[RunRecord]] = defaultdict(list)
    matchings: dict[str, set[str]] = defaultdict(set)
    algorithms: dict[str, set[str]] = defaultdict(set)
    for r, matching in by_matching(records):
        suite = names(r)
        groups[suite, tuple(r.spec["cell"].items()), matching].append(r)
        matchings[suite].add(matching)
        algorithms[suite].add(str(r.spec["algorithm"]))
    ordered = sorted(groups.items(), key=lambda g: (g[0][0], g[0][2], natural(g[0][1])))
    return [
        Place(
            suite, dict(axes), matching, matching if len(matchings[suite]) > 1 else "", tuple(members),
            tuple(sorted(algorithms[suite], key=algorithm_order)),
        )
        for (suite, axes, matching), members in ordered
    ]  # fmt: skip


def _refuse_diverged(records: Sequence[RunRecord]) -> None:
    lost = sorted(
        f"{r.spec['algorithm']} seed {r.spec['seed']} ({_where(r)})" for r in records if r.status == "diverged"
    )
    if lost:
        msg = (
            f"{len(lost)} run{'s' if len(lost) > 1 else ''} diverged: {first_of(lost, 3)}; "
            "score them as the worst value (worst) or leave them out (drop)"
        )
        raise RunsFailed(msg)


def _suite_names(records: Iterable[RunRecord]) -> Callable[[RunRecord], str]:
    """Several versions of a suite are several suites."""
    versions: dict[str, set[Any]] = defaultdict(set)
    for r in records:
        versions[r.spec["suite"]].add(r.spec.get("suite_version", 1))

    def name(record: RunRecord) -> str:
        suite = str(record.spec["suite"])
        return f"{suite}@{record.spec['suite_version']}" if len(versions[suite]) > 1 else suite

    return name


def _where(record: RunRecord) -> str:
    return ", ".join(f"{k}={v}" for k, v in record.spec["cell"].items()) or "-"


def natural(axes: Iterable[tuple[str, Any]]) -> list[tuple[Any, ...]]:
    """Numbers by size, words by alphabet; the two never compared with each other."""
    return [(k, 0, float(v), "") if isinstance(v, int | float) else (k, 1, 0.0, str(v)) for k, v in axes]


def _cell(place: Place, options: ReportOptions) -> Cell:
    first = place.records[0]
    reporting = Reporting.of(first.reporting)
    if options.paper_compat:
        reporting = replace(reporting, window=1, persist=1)
    arms, dropped, used = {}, {}, {}
    for name, runs in place.runs.items():
        finished = [r for r in runs if r.status in FINISHED]
        _require_one_setting(place.suite, finished)
        lost = tuple(int(r.spec["seed"]) for r in finished if r.status == "diverged")
        if options.diverged == "drop" and lost:
            dropped[name] = lost
            finished = [r for r in finished if r.status != "diverged"]
        if finished:
            arms[name], used[name] = arm_of(finished, reporting), finished
    return Cell(
        place.suite, place.axes, place.matching, first.spec["task"], reporting, arms, _success(place.records),
        place.condition, dropped, used,
    )  # fmt: skip


def _require_one_setting(suite: str, runs: Sequence[RunRecord]) -> None:
    """Runs of one seed (`runs` of one algorithm are in their order) are one experiment, wherever they were made."""
    for first, second in ((a, b) for a, b in pairwise(runs) if a.spec["seed"] == b.spec["seed"]):
        old, new = ({k: canonical(v) for k, v in trained(record).items()} for record in (first, second))
        if old != new:
            key = next(k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k))
            msg = (
                f"suite '{suite}': seed {first.spec['seed']} of {first.spec['algorithm']} ({_where(first)}) has runs "
                f"with {key} = {old.get(key, 'nothing')} and with {new.get(key, 'nothing')}; one table must not mix "
                "them, report their folders one at a time"
            )
            raise CorruptResults(msg)


def trained(record: RunRecord) -> dict[str, Any]:
    """What is trained, not where: the seed, threads, device and how many seeds lie side by side are left out."""
    return flat({k: record.spec[k] for k in TRAINED if k in record.spec})


def _success(members: Sequence[RunRecord]) -> float | None:
    by_seed = {int(r.spec["seed"]): r.facts.get(INITIAL_SUCCESS.name) for r in members}
    values = [float(v) for v in by_seed.values() if v is not None and math.isfinite(v)]
    if not values:
        return None
    return math.exp(sum(math.log(v) for v in values) / len(values)) if min(values) > 0 else 0.0


def arm_of(records: Sequence[RunRecord], reporting: Reporting, *, scored: bool = False) -> Arm:
    """The finished runs of one algorithm in one cell; with the curves of the metric that is `scored` alone, at once.

    Raises:
        CorruptResults: they were measured at different steps.
        UsageError: they did not record the metric that they are scored by.
    """
    longest, name = max((r.curve for r in records), key=lambda c: len(c["step"])), records[0].spec["algorithm"]
    for r in records:
        if r.curve is not longest and list(r.curve["step"]) != list(longest["step"][: len(r.curve["step"])]):
            msg = f"{_where(r)}: runs of {name} were measured at different steps; give them separate result folders"
            raise CorruptResults(msg)
    length = len(longest["step"])
    metrics = [m for m in longest if m not in AXES]
    if reporting.metric not in metrics:
        msg = (
            f"suite '{records[0].spec['suite']}': report.metric={reporting.metric} is not recorded in runs of {name} "
            f"({_where(records[0])}); they record {', '.join(metrics)}; run again with one of these and another --name"
        )
        raise UsageError(msg)
    return Arm(
        algorithm=str(name),
        seeds=tuple(int(r.spec["seed"]) for r in records),
        diverged=tuple(r.status == "diverged" for r in records),
        axes={a: np.asarray(longest[a], dtype=np.float64) for a in AXES[: 1 if scored else None] if a in longest},
        curves={
            m: padded([r.curve.get(m, []) for r in records], length)
            for m in ([reporting.metric] if scored else metrics)
        },
        reporting=reporting,
        budget=float(max(longest["step"][-1], records[0].spec["training"].get("steps", 0))),  # all may have diverged
        stream=_stream(records),
    )


def stacks(records: Sequence[RunRecord]) -> list[tuple[list[int], Arm]]:
    """Finished runs side by side, those recorded at the same steps and scored alike: which ones, and their arm.

    It has the curves of the scored metric alone; no number of a run depends on those beside it.
    """
    alike: dict[Hashable, list[int]] = defaultdict(list)
    for i, r in enumerate(records):
        steps = r.spec["training"].get("steps")
        alike[repr(r.reporting), tuple(r.curve), tuple(r.curve["step"]), steps].append(i)
    return [
        (rows, arm_of([records[i] for i in rows], Reporting.of(records[rows[0]].reporting), scored=True))
        for rows in alike.values()
    ]


def final_values(records: Sequence[RunRecord]) -> list[float | None]:
    """The final value of each run, None where it has none; the worst value where it diverged."""
    values: list[float | None] = [None] * len(records)
    measured = []
    for i, r in enumerate(records):
        if r.status == "diverged":
            values[i] = Reporting.of(r.reporting).worst
        elif r.status == "ok" and r.curve.get(r.reporting.get("metric", Reporting.metric)):
            measured.append(i)
    for rows, arm in stacks([records[i] for i in measured]):
        for row, value in zip(rows, arm.final, strict=True):
            values[measured[row]] = float(value)
    return values


def final_arm(records: Sequence[RunRecord], reporting: Reporting) -> Arm | None:
    """Runs by their final values alone, which may have been measured at steps of their own; None where none has one."""
    finals = [(r, value) for r, value in zip(records, final_values(records), strict=True) if value is not None]
    if not finals:
        return None
    values = {int(r.spec["seed"]): value for r, value in finals}
    lost = {int(r.spec["seed"]) for r, _ in finals if r.status == "diverged"}
    return arm_of_values(
        str(finals[0][0].spec["algorithm"]), values, reporting, lost, stream=_stream([r for r, _ in finals])
    )


def arm_of_values(
    algorithm: str, values: Mapping[int, float], reporting: Reporting, lost: Collection[int] = (), stream: str = ""
) -> Arm:
    """An arm of which one value by seed is known, and the seeds that were `lost`."""
    return Arm(
        algorithm=algorithm,
        seeds=tuple(values),
        diverged=tuple(seed in lost for seed in values),
        axes={"step": np.zeros(1)},
        curves={reporting.metric: np.array(list(values.values()), dtype=np.float64)[:, None]},
        reporting=replace(reporting, window=1),
        budget=0.0,
        stream=stream,
    )


def scored_curves(arm: Arm, metric: str, worst: float) -> tuple[Bools, Floats]:
    """Which evaluations every run that lasted recorded (E,), and the curves (n, .) there; `worst` after divergence."""
    recorded = np.isfinite(arm.curves[metric])
    common = (recorded | np.array(arm.diverged)[:, None]).all(axis=0)
    return common, np.ascontiguousarray(np.where(recorded, arm.curves[metric], worst)[:, common])


def _stream(records: Sequence[RunRecord]) -> str:
    """What two arms must share for equal seeds to mean equal random numbers."""
    schemes, spec = {str(r.provenance.get("seed_scheme", "")) for r in records}, records[0].spec
    known = len(schemes) == 1 and "" not in schemes
    return canonical([spec["suite"], streams(spec["task"]), *schemes]) if known else ""


def padded(curves: Iterable[Sequence[float | None]], length: int) -> Floats:
    """Recorded values (n, length), a run a row: NaN where not measured and after its end."""
    return np.array([[*x, *[math.nan] * (length - len(x))] for x in curves], dtype=np.float64)  # None is NaN


def algorithm_order(name: str) -> tuple[int, str]:
    """The catalogue's families in their order, TPO's first, then everything else by name."""
    return (BUILT_IN.index(base(name)) if base(name) in BUILT_IN else len(BUILT_IN)), name
