"""Records -> evidence of the gate: one number per seed and measure, and what is known of the runs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import TypeVar

from tpobench.algorithms.groups import ROUNDING
from tpobench.check.arms import ArmKey, by_arm, settings_differ, settings_of
from tpobench.check.baseline import Baseline
from tpobench.errors import UsageError, unknown
from tpobench.records.results import evaluations
from tpobench.records.store import BROKEN, FINISHED, RunRecord
from tpobench.scores.cells import Arm, stacks
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import Scalar
from tpobench.stats.gate import MARGINS, CellEvidence, Margin
from tpobench.tasks.catalog import task_settings

DIGITS_OF = "digits"  # the measure of suites whose curves are to be the same everywhere
LAST_DIGITS = 2e-6  # records hold 7 digits of float64 numbers whose last bits differ between machines
T = TypeVar("T")
ARCHITECTURE = re.compile(r"x86_64|amd64|aarch64|arm64|ppc64le|s390x|riscv64", re.IGNORECASE)


@dataclass(frozen=True)
class Measure:
    """A number of every run, and when a run counts as failed: not solved, or never at the threshold."""

    scalar: Scalar
    failure: Scalar  # 1 where a run failed

    @property
    def name(self) -> str:
        """`final20`, `steps0.1m3`: the names that reports use."""
        return self.scalar.name

    @property
    def kind(self) -> str:
        """A key of stats.gate.MARGINS."""
        return (
            "steps" if self.scalar.test == "times" else "error" if self.scalar.reporting.metric == "error" else "reward"
        )

    def values(self, runs: Runs) -> dict[int, float]:
        """The number of each run; a diverged one scores the metric's worst value, or the whole budget."""
        return runs.numbers(self.scalar)

    def failed(self, runs: Runs) -> dict[int, bool]:
        """Not solved at the end, or the threshold never reached; diverged runs are both."""
        return {seed: bool(value) for seed, value in runs.numbers(self.failure).items()}


@dataclass(frozen=True)
class Runs:
    """Finished runs of an arm, measured side by side."""

    by_seed: Mapping[int, RunRecord]

    def numbers(self, scalar: Scalar) -> dict[int, float]:
        """A number of each run, times beyond the budget at the budget."""
        seeds = list(self.by_seed)
        numbers = {
            seeds[row]: float(value)
            for rows, arm in self._stacks
            for row, value in zip(rows, scalar.capped(arm), strict=True)
        }
        return {seed: numbers[seed] for seed in seeds}

    @cached_property
    def _stacks(self) -> list[tuple[list[int], Arm]]:
        return stacks(list(self.by_seed.values()))


def measures_of(runs: Runs) -> list[Measure]:
    """The final value, and the steps to the first threshold where at least one of the runs gets there.

    Two and no more: every further measure makes each of them harder to confirm.
    """
    records = list(runs.by_seed.values())
    reporting = Reporting.of(records[0].reporting)
    if reporting.exact:
        return []
    window = min(reporting.window, *(max(evaluations(r), 1) for r in records))
    final = Measure(Scalar("final", reporting, window), Scalar("rate", reporting))
    firsts = [
        Measure(Scalar("steps", reporting, threshold=t), Scalar("rate", reporting, threshold=t))
        for t in reporting.thresholds[:1]
    ]
    return [final, *(steps for steps in firsts if not all(steps.failed(runs).values()))]


@dataclass(frozen=True)
class GateCell:
    """One measure of one algorithm in one cell, with the evidence for the gate."""

    arm: ArmKey
    measure: str
    evidence: CellEvidence
    trouble: str = ""  # why runs are missing or broken, for people
    scale: float = 1.0  # 100 of shares, which people read in percent

    @property
    def name(self) -> str:
        """Unique within a check."""
        return f"{self.arm.text} {self.measure}"


@dataclass(frozen=True)
class Candidate:
    """The candidate's records that belong to the baseline's cells."""

    arms: Mapping[ArmKey, Mapping[int, RunRecord]]
    incomparable: Mapping[ArmKey, str] = field(default_factory=dict)

    def finished(self, arm: ArmKey, seeds: Collection[int]) -> dict[int, RunRecord]:
        """The results of an arm at some seeds."""
        runs = self.arms.get(arm, {})
        return {s: runs[s] for s in seeds if s in runs and runs[s].status in FINISHED}

    def broken(self, arm: ArmKey, seeds: Collection[int]) -> dict[int, RunRecord]:
        """The runs of an arm that ended without a result."""
        runs = self.arms.get(arm, {})
        return {s: runs[s] for s in seeds if s in runs and runs[s].status in BROKEN}


def candidate_of(
    baseline: Baseline, records: Iterable[RunRecord], versions: Mapping[str, str] | None = None
) -> Candidate:
    """The records of the baseline's cells, where their settings are those of the baseline.

    versions: of the algorithms under test, whatever the baseline has; results of other versions are left out.  None
    takes the results as they are.
    """
    arms: dict[ArmKey, Mapping[int, RunRecord]] = {}
    incomparable: dict[ArmKey, str] = {}
    for arm, runs in by_arm(records).items():
        if arm not in baseline.arms:
            continue
        pinned = next(iter(baseline.arms[arm].values()))
        now = [r for r in runs if versions is None or r.spec["algorithm_version"] == versions.get(arm.algorithm)]
        if not now:
            continue
        expected = settings_of(pinned.spec, pinned.reporting)
        changes = {id(r): settings_differ(expected, settings_of(r.spec, r.reporting)) for r in now}
        same = [r for r in now if not changes[id(r)]]
        if not same:
            incomparable[arm] = changes[id(now[0])]
        elif len({r.spec["algorithm_version"] for r in same}) > 1:
            incomparable[arm] = "the results hold several versions of the algorithm; name a folder with one of them"
        else:
            arms[arm] = _one_per_seed(same)
    return Candidate(arms, incomparable)


def _one_per_seed(records: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """Results before failures; of two results that were stacked differently, the first by id."""
    ordered = sorted(records, key=lambda r: (r.status in FINISHED, r.id), reverse=True)
    by_seed: dict[int, RunRecord] = {}
    for record in ordered:
        by_seed.setdefault(int(record.spec["seed"]), record)
    return dict(sorted(by_seed.items()))


def gate_cells(
    baseline: Baseline,
    candidate: Candidate,
    margins: Mapping[str, Margin] = MARGINS,
    incomparable: Mapping[ArmKey, str] | None = None,
    missing: Mapping[ArmKey, str] | None = None,
) -> list[GateCell]:
    """The family of the check: every measure of every algorithm in every cell of the baseline.

    incomparable, missing: arms that cannot be compared or run here, and why.
    """
    different, absent = {**candidate.incomparable, **(incomparable or {})}, missing or {}
    cells = []
    for arm, records in baseline.arms.items():
        why = different.get(arm, ""), absent.get(arm, "")
        pinned = Runs(records)
        now = Runs(candidate.finished(arm, _used(arm, baseline)))
        measures = measures_of(pinned)
        cells += [_cell(arm, measure, baseline, candidate, pinned, now, margins, *why) for measure in measures]
        cells += [] if measures else [_exact_cell(arm, records, candidate, *why)]
    return cells


def _cell(
    arm: ArmKey,
    measure: Measure,
    baseline: Baseline,
    candidate: Candidate,
    pinned: Runs,
    now: Runs,
    margins: Mapping[str, Margin],
    incomparable: str,
    absent: str,
) -> GateCell:
    old, new = measure.values(pinned), measure.values(now)
    used = _used(arm, baseline)
    broken = candidate.broken(arm, used)
    first = next(iter(pinned.by_seed.values()))
    evidence = CellEvidence(
        name=f"{arm.text} {measure.name}",
        baseline=_at(old, baseline.screen),
        candidate=_at(new, baseline.screen),
        margin=_margin(measure.kind, margins, first),
        better="higher" if measure.scalar.better == "higher" else "lower",
        reserve_baseline=_at(old, baseline.reserve),
        reserve_candidate=_at(new, baseline.reserve),
        same_scheme=_agree("seed_scheme", used, now.by_seed),
        failed_baseline=_at(measure.failed(pinned), used),
        failed_candidate=measure.failed(now),
        crashed=() if incomparable else tuple(sorted(broken)),
        incomparable=incomparable,
    )
    return GateCell(arm, measure.name, evidence, absent or _trouble(broken), measure.scalar.scale)


def _exact_cell(
    arm: ArmKey, old: Mapping[int, RunRecord], candidate: Candidate, incomparable: str, absent: str
) -> GateCell:
    """Every digit of every curve; seeds are no sample here, so all are in the screen."""
    new, broken = candidate.finished(arm, old), candidate.broken(arm, old)
    digits = {seed: digits_of(old[seed], record) for seed, record in new.items()}
    evidence = CellEvidence(
        name=f"{arm.text} {DIGITS_OF}",
        baseline=dict.fromkeys(old, 0.0),
        candidate={seed: distance for seed, (distance, _) in digits.items()},
        margin=Margin(floor=LAST_DIGITS),
        exact=True,
        redrawn=_redrawn(old, new),
        where=max(digits.values(), default=(0.0, ""))[1],
        crashed=() if incomparable else tuple(sorted(broken)),
        incomparable=incomparable,
    )
    return GateCell(arm, DIGITS_OF, evidence, absent or _trouble(broken))


def _redrawn(old: Mapping[int, RunRecord], new: Mapping[int, RunRecord]) -> bool:
    """Whether every seed begins with another untrained policy, and no two with one that were unlike."""
    starts = [{repr(of[seed].facts) for seed in new} for of in (old, new)]
    return bool(new) and not starts[0] & starts[1] and len(starts[0]) == len(starts[1])


def digits_of(old: RunRecord, new: RunRecord) -> tuple[float, str]:
    """The largest relative distance of two curves, and where they part."""
    metrics = sorted(old.curve.keys() | new.curve.keys())
    steps = old.curve.get("step", [])
    parted = [
        (_distance(was, now), place, name, was, now)
        for name in metrics
        for place, (was, now) in enumerate(zip_longest(old.curve.get(name, []), new.curve.get(name, [])))
        if was != now
    ]
    beyond = [row for row in parted if row[0] > LAST_DIGITS]
    if not beyond:
        return max((row[0] for row in parted), default=0.0), ""
    _, place, name, was, now = min(beyond, key=lambda row: row[1])
    step = steps[place] if place < len(steps) else place
    return max(row[0] for row in beyond), f"computes something else: from update {step} on {name} is {now}, was {was}"


def _distance(was: float | None, now: float | None) -> float:
    """Relative; 0 where both are as near to each other as sums that cancel may end, such as a gradient of 0."""
    if was is None or now is None:
        return math.inf
    apart = abs(now - was)
    return 0.0 if apart <= ROUNDING else apart / max(abs(was), abs(now))


def _used(arm: ArmKey, baseline: Baseline) -> dict[int, RunRecord]:
    """The pinned runs of the screen, then those of the reserve."""
    return _at(baseline.arms[arm], (*baseline.screen, *baseline.reserve))


def _at(by_seed: Mapping[int, T], seeds: Iterable[int]) -> dict[int, T]:
    return {s: by_seed[s] for s in seeds if s in by_seed}


def _trouble(broken: Mapping[int, RunRecord]) -> str:
    if not broken:
        return ""
    seed, record = next(iter(broken.items()))
    return f"seed {seed} {record.status}: {record.reason}"


def _margin(kind: str, margins: Mapping[str, Margin], record: RunRecord) -> Margin:
    """The margin of a kind, its floor at least the resolution of the final value."""
    margin = margins[kind]
    return margin if margin.logarithmic else replace(margin, floor=max(margin.floor, resolution(record)))


def resolution(record: RunRecord) -> float:
    """1 / N_eval, with N_eval the scored rollouts behind a final value; 0 where the error is computed exactly."""
    rollouts = task_settings(record.spec["task"], f"results of '{record.spec['suite']}'").scored_rollouts
    return 0.0 if rollouts is None else 1 / (rollouts * int(record.reporting["window"]))


def platform_of(record: RunRecord) -> tuple[str, ...]:
    """The platform tag of a run."""
    architecture = ARCHITECTURE.search(str(record.provenance.get("platform", "")))
    machine = architecture[0].lower() if architecture else "unknown"
    spec = record.spec
    free = [str(spec.get(k)) for k in ("threads", "device", "seed_batch")]
    free += [str(kernel)] if (kernel := record.provenance.get("kernel", spec.get("kernel"))) else []
    return str(record.provenance.get("torch")), machine, *free


def _agree(name: str, old: Mapping[int, RunRecord], new: Mapping[int, RunRecord]) -> bool:
    values = {str(r.provenance.get(name)) for r in (*old.values(), *new.values())}
    return len(values) == 1 and values != {"None"}


def parse_margins(texts: Iterable[str]) -> dict[str, Margin]:
    """The default margins with `KIND=FLOOR,REL` in place of some; `rate` takes a floor only, `steps` a factor only.

    Raises:
        UsageError: no such kind, or not numbers.
    """
    margins = dict(MARGINS)
    for text in texts:
        kind, _, numbers = text.partition("=")
        if kind not in MARGINS:
            raise unknown("kind of margin", kind, MARGINS, f"--margin {text}")
        try:
            parts = [float(part) for part in numbers.split(",")]
        except ValueError:
            parts = []
        if not 1 <= len(parts) <= 2 or not all(math.isfinite(p) and p >= 0 for p in parts):
            msg = f"--margin {text}: write KIND=FLOOR,REL such as error=0.01,0.1, both 0 or more"
            raise UsageError(msg)
        floor, relative = parts[0], parts[1] if len(parts) == 2 else margins[kind].relative
        if kind in {"steps", "rate"} and len(parts) == 2 and parts[kind == "rate"] != 0:
            form = "steps=0,REL" if kind == "steps" else "rate=FLOOR,0"
            msg = f"--margin {text}: write {form}; steps are compared by their ratio, rates by their difference"
            raise UsageError(msg)
        margins[kind] = replace(margins[kind], floor=floor, relative=relative, told=0.0)  # as it is asked for
    return margins
