"""What is known of a suite at one scale: the finished runs as arms, and why what is missing is missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tpobench.identity import canonical
from tpobench.paper.item_plans import axes_of, plan_part
from tpobench.paper.items import Part
from tpobench.planning.plan import Plan, RunSpec
from tpobench.records.store import BROKEN, FINISHED, RunRecord
from tpobench.scores.sides import ANY, ArmEntry, Key, set_side
from tpobench.scores.unverified import Unverified, unverified

MACHINE = ("seed_batch", "threads", "device", "kernel", "schema")  # of a spec: where it was trained, not what


class NotRun(Exception):
    """There is no result, and why."""


@dataclass(frozen=True)
class Evidence:
    """A suite's plan and the records of its runs."""

    plan: Plan
    records: tuple[RunRecord, ...] = ()
    unavailable: str = ""  # why none of its runs could be made
    _places: dict[tuple[str, str], set[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for spec in self.plan.specs:
            self._places.setdefault((canonical(dict(spec.cell)), spec.algorithm), set()).add(spec.matching)

    @cached_property
    def entries(self) -> Mapping[Key, ArmEntry]:
        """Arms by cell, matching and algorithm."""
        return set_side(self.plan.suite.name, self.records).entries

    def limited(self, parts: Iterable[Part]) -> Evidence:
        """The plan and the records of some parts only, whatever was planned beside them."""
        planned = [plan_part(self.plan.suite, part, [0]) for part in parts]
        runs = {self._key(s.cell, s.matching, s.algorithm) for p in planned for s in p.specs}
        skips = {(canonical(dict(s.cell)), s.algorithm) for p in planned for s in p.skipped}
        plan = replace(
            self.plan,
            specs=tuple(s for s in self.plan.specs if self._key(s.cell, s.matching, s.algorithm) in runs),
            skipped=tuple(s for s in self.plan.skipped if (canonical(dict(s.cell)), s.algorithm) in skips),
        )
        return Evidence(plan, tuple(r for r in self.records if self._key_of(r) in runs), self.unavailable)

    @property
    def unverified(self) -> tuple[Unverified, ...]:
        """Copies of data that are not the published ones."""
        return unverified(self.records)

    def place(self, algorithm: str, cell: Mapping[str, Any], matching: str) -> Key:
        """Where the runs of an algorithm stand: under `any` matching where none changes it.

        Raises:
            NotRun: they are not planned.
        """
        axes = {axis: cell[axis] for axis in axes_of(self.plan.suite) if axis in cell}
        matchings = self._places.get((canonical(axes), algorithm), set())
        if not matchings:
            raise NotRun(self.unavailable or self._unplanned(algorithm, axes))
        chosen = ANY if ANY in matchings else matching or min(matchings)
        if chosen not in matchings:
            msg = f"matching={chosen} is no cell of {self.plan.suite.name}"
            raise NotRun(msg)
        return Key(self.plan.suite.name, canonical(axes), chosen, algorithm)

    def _unplanned(self, algorithm: str, axes: Mapping[str, Any]) -> str:
        skips = [s.reason for s in self.plan.skipped if s.algorithm == algorithm]
        if skips:
            return f"{algorithm} {skips[0]}"
        label = ", ".join(f"{k}={v}" for k, v in axes.items())
        return f"{self.plan.suite.name} has no runs of {algorithm}" + f" at {label}" * bool(label)

    def entry(self, algorithm: str, cell: Mapping[str, Any], matching: str = "") -> ArmEntry:
        """The finished runs of an algorithm in a cell.

        Raises:
            NotRun: there are none.
        """
        key = self.place(algorithm, cell, matching)
        if key not in self.entries:
            raise NotRun(self._missing(key))
        return self.entries[key]

    def of(self, key: Key) -> Sequence[RunRecord]:
        """The records of a place."""
        return self._by_place.get(key, ())

    def planned(self, key: Key) -> int:
        """Runs of a place."""
        return self._counts[key]

    @cached_property
    def _by_place(self) -> Mapping[Key, Sequence[RunRecord]]:
        records = defaultdict(list)
        for record in self.records:
            records[self._key_of(record)].append(record)
        return records

    @cached_property
    def _counts(self) -> Counter[Key]:
        return Counter(self._key(s.cell, s.matching, s.algorithm) for s in self.plan.specs)

    def _key_of(self, record: RunRecord) -> Key:
        spec = record.spec
        return self._key(spec["cell"], spec["matching"], spec["algorithm"])

    def _key(self, cell: Mapping[str, Any], matching: str, algorithm: str) -> Key:
        return Key(self.plan.suite.name, canonical(dict(cell)), matching, algorithm)

    def _missing(self, key: Key) -> str:
        if broken := [r for r in self.of(key) if r.status in BROKEN]:
            return f"{len(broken)} of {self.planned(key)} runs {broken[0].status}: {broken[0].reason}"
        return self.unavailable or f"none of {self.planned(key)} runs is done"

    def shortfall(self, key: Key) -> str:
        """`3 of 20 runs missing` beside a result, empty where all are there."""
        records = self.of(key)
        lost = self.planned(key) - sum(r.status in FINISHED for r in records)
        broken = [r for r in records if r.status in BROKEN]
        reason = f": {broken[0].reason}" if broken else ""
        return f"{lost} of {self.planned(key)} runs of {key.algorithm} missing{reason}" if lost > 0 else ""


def gather(plan: Plan, records: Iterable[RunRecord], *, unavailable: str = "") -> Evidence:
    """The records of a plan's runs, wherever they were trained; the planned run itself before any other of its seed."""
    wanted = {experiment(spec.as_dict()): spec for spec in plan.specs}
    by_experiment: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        key = experiment(record.spec)
        if key in wanted and record.status != "skipped":
            by_experiment[key].append(record)
    best = tuple(_best(by_experiment[key], spec) for key, spec in wanted.items() if key in by_experiment)
    return Evidence(plan, best, unavailable)


def _best(records: Iterable[RunRecord], spec: RunSpec) -> RunRecord:
    return min(records, key=lambda r: (r.status not in FINISHED, r.id != spec.run_id, r.id))


def experiment(spec: Mapping[str, Any]) -> str:
    """What is trained, whichever machine and copy of the data it is trained with."""
    task = {k: v for k, v in spec["task"].items() if k != "data_sha256"}
    return canonical({**{k: v for k, v in spec.items() if k not in MACHINE}, "task": task})
