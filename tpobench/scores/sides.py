"""What stands on each side of a comparison, cell by cell, and whether the two may be compared at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tpobench.errors import UsageError, unknown
from tpobench.identity import canonical
from tpobench.records.store import BROKEN, RunRecord
from tpobench.scores.cells import Arm, Cell, algorithm_order, read_cells
from tpobench.scores.reporting import Reporting

SCORED = ("metric", "window", "worst", "solved", "persist", "thresholds", "better", "best")
ANY = "any"


@dataclass(frozen=True)
class Key:
    """A row: a cell under one matching, and the algorithm where two result sets are compared."""

    suite: str
    axes: str  # canonical
    matching: str
    algorithm: str = ""


@dataclass(frozen=True)
class ArmEntry:
    """One arm with what its design says of it."""

    arm: Arm
    cell: Cell
    specs: tuple[Mapping[str, Any], ...]
    origin: Mapping[str, frozenset[str]]  # git and torch of its runs


@dataclass(frozen=True)
class Side:
    """A result set, or one algorithm of it."""

    name: str
    entries: Mapping[Key, ArmEntry]
    broken: Sequence[str] = field(default=())  # runs without a result, in words


def require_known(algorithms: Iterable[str], records: Iterable[RunRecord], where: str) -> set[str]:
    """The algorithms of some records; those named are among them.

    Raises:
        UsageError: one of those named is not, with the nearest that is.
    """
    known = {str(r.spec["algorithm"]) for r in records}
    for algorithm in algorithms:
        if algorithm not in known:
            raise unknown("algorithm", algorithm, known, where)
    return known


def set_side(name: str, records: Sequence[RunRecord], algorithms: Sequence[str] = ()) -> Side:
    """All algorithms of a result set, or those named."""
    records = [r for r in records if not algorithms or r.spec["algorithm"] in algorithms]
    entries: dict[Key, ArmEntry] = {}
    for cell in _cells(records):
        for algorithm, arm in cell.arms.items():
            spec = cell.runs[algorithm][0].spec
            matching = ANY if spec["matching"] == ANY else cell.matching
            key = Key(str(spec["suite"]), canonical(dict(cell.axes)), matching, algorithm)
            entries.setdefault(key, _entry(arm, cell))
    return Side(name, entries, _broken(records))


def algorithm_side(records: Sequence[RunRecord], algorithm: str) -> Side:
    """One of two algorithms, of their records only: where no matching changes either, a cell then counts once."""
    entries: dict[Key, ArmEntry] = {}
    for cell in _cells(records):
        if algorithm in cell.arms:
            key = Key(cell.suite, canonical(dict(cell.axes)), cell.matching)
            entries.setdefault(key, _entry(cell.arms[algorithm], cell))
    return Side(algorithm, entries, _broken([r for r in records if r.spec["algorithm"] == algorithm]))


def _cells(records: Sequence[RunRecord]) -> Iterator[Cell]:
    return (cell for cells in read_cells(records)[0].values() for cell in cells)


def _version(spec: Mapping[str, Any]) -> int:
    return int(spec.get("suite_version", 1))


def _entry(arm: Arm, cell: Cell) -> ArmEntry:
    runs = cell.runs[arm.algorithm]
    origin = {k: frozenset(str(r.provenance[k]) for r in runs if r.provenance.get(k)) for k in ("git", "torch")}
    return ArmEntry(arm, cell, tuple(r.spec for r in runs), origin)


def _broken(records: Iterable[RunRecord]) -> tuple[str, ...]:
    return tuple(f"{r.spec['algorithm']} seed {r.spec['seed']} {r.status}" for r in records if r.status in BROKEN)


def shared_keys(a: Side, b: Side) -> tuple[list[Key], list[Key]]:
    """Rows that both sides have, in reading order, and those that one of them lacks."""
    both = [k for k in a.entries if k in b.entries]
    lone = [k for side, other in ((a, b), (b, a)) for k in side.entries if k not in other.entries]
    place = {(k.suite, k.axes, k.matching): i for i, k in reversed(list(enumerate(both)))}
    both.sort(key=lambda k: (place[k.suite, k.axes, k.matching], algorithm_order(k.algorithm)))
    return both, lone


def require_comparable(a: Side, b: Side, keys: Iterable[Key], *, two_algorithms: bool) -> None:
    """Refuse what one number cannot compare.

    Raises:
        UsageError: another metric, window or scoring, other budgets or matching, another version of the suite.
    """
    for key in keys:
        x, y = _measured(a.entries[key]), _measured(b.entries[key])
        if two_algorithms:  # those of one cell are matched by what its matching says: prompts or interactions
            x.pop("rollouts of a run")
            y.pop("rollouts of a run")
        for name in x:
            if x[name] != y[name]:
                where = f"{key.suite} {a.entries[key].cell.label} {key.algorithm}".strip()
                msg = (
                    f"not comparable: {name} is {_listed(x[name])} in {a.name} and {_listed(y[name])} in {b.name} "
                    f"({where}); make both sets with the same {name}"
                )
                raise UsageError(msg)


def _measured(entry: ArmEntry) -> dict[str, set[Any]]:
    """What must be equal, as sets: one side may be torn within itself too."""
    specs = entry.specs
    scored = {name: {_plain(getattr(entry.cell.reporting, name))} for name in SCORED}
    return {
        "version of the suite": {_version(s) for s in specs},
        **scored,
        "budget of updates": {s["training"].get("steps") for s in specs},
        "distance of evaluations": {
            s["training"].get("evaluate_every", s["training"].get("record_every", 1)) for s in specs
        },
        "rollouts of a run": {int(entry.arm.axes["interactions"][-1])} if "interactions" in entry.arm.axes else set(),
    }


def _plain(value: object) -> str:
    return ",".join(f"{t:g}" for t in value) if isinstance(value, tuple) else f"{value}"


def _listed(values: set[Any]) -> str:
    return " and ".join(sorted(str(v) for v in values)) or "unknown"


def scoring_of(a: Side, b: Side, keys: Sequence[Key]) -> tuple[Reporting, int]:
    """How the shared rows are scored, and the evaluations of a run.

    Raises:
        UsageError: the rows are scored in several ways, so one metric does not fit them.
    """
    scorings: dict[tuple[str, ...], tuple[str, Reporting]] = {}
    for key in keys:
        r = a.entries[key].cell.reporting
        scorings.setdefault(tuple(_plain(getattr(r, n)) for n in SCORED), (key.suite, r))
    if len(scorings) > 1:
        suites = ", ".join(sorted({suite for suite, _ in scorings.values()}))
        msg = f"the suites {suites} are scored in different ways; name the results of one of them"
        raise UsageError(msg)
    evaluations = max(len(side.entries[k].arm.axes["step"]) for k in keys for side in (a, b))
    return next(iter(scorings.values()))[1], evaluations


def differences(a: Side, b: Side, keys: Iterable[Key]) -> tuple[str, ...]:
    """What the two sets were made with: `training.learning_rate 0.1 -> 0.2`; empty for equal settings and code."""
    settings: dict[str, tuple[set[str], set[str]]] = {}
    for key in keys:
        for i, side in enumerate((a, b)):
            entry = side.entries[key]
            for name, values in _settings(entry).items():
                settings.setdefault(name, (set(), set()))[i].update(values)
    return tuple(
        f"{name} {_listed(x)} -> {_listed(y)}" for name, (x, y) in sorted(settings.items()) if x != y and (x or y)
    )


def _settings(entry: ArmEntry) -> dict[str, set[str]]:
    settings: dict[str, set[str]] = {f"{k} of the code" if k == "git" else k: set(v) for k, v in entry.origin.items()}
    for spec in entry.specs:
        for part in ("task", "training", "hyper"):
            for name, value in spec.get(part, {}).items():
                where = f"{part}.{spec['algorithm']}.{name}" if part == "hyper" else f"{part}.{name}"
                settings.setdefault(where, set()).add(canonical(value))
        for name in ("algorithm_version", "task_version", "device", "dtype", "kernel", "engine"):
            if name in spec:
                settings.setdefault(name, set()).add(str(spec[name]))
    return settings
