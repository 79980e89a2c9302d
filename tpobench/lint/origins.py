"""Origins: who made the runs, with what, and when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from typing import NamedTuple

from tpobench.identity import canonical, neutral_defaults
from tpobench.lint.codes import CODES
from tpobench.lint.model import CellRuns, Finding, ResultSet, seeds_of
from tpobench.planning.plan import RunSpec
from tpobench.records.store import FINISHED, RunRecord
from tpobench.scores.text import seed_ranges
from tpobench.scores.unverified import unverified

ORIGIN = ("engine", "tpobench", "git", "torch", "numpy", "python", "platform", "cpu", "threads", "device", "kernel")
_DEFAULTS = neutral_defaults(RunSpec)
PAUSE = 60.0  # seconds without any run: long enough to look at the results


def schemes(cell: CellRuns) -> Iterator[Finding]:
    """L040: runs without a seed scheme; L041: several schemes in one cell."""
    by_algorithm = {n: {r.provenance.get("seed_scheme") for r in runs} for n, runs in cell.finished.items()}
    without = [n for n, values in by_algorithm.items() if None in values]
    if without:
        yield cell.finding("L040", f"no seed scheme on record for {', '.join(without)}", without)
    named = {n: {str(v) for v in values if v is not None} for n, values in by_algorithm.items()}
    if len({v for values in named.values() for v in values}) > 1:
        listed = "; ".join(f"{n} {' and '.join(sorted(values))}" for n, values in named.items() if values)
        yield cell.finding("L041", listed, named)


def mixed(cell: CellRuns) -> Iterator[Finding]:
    """L042: the runs of one algorithm come from elsewhere than those of another."""
    for key in ORIGIN:
        origins = {n: frozenset(v for r in runs if (v := _origin(r, key))) for n, runs in cell.finished.items()}
        known = {n: values for n, values in origins.items() if values}
        if len(set(known.values())) > 1:
            listed = "; ".join(f"{n} {' and '.join(sorted(values))}" for n, values in known.items())
            yield cell.finding("L042", f"{key} differs: {listed}", known)


def _origin(record: RunRecord, key: str) -> str:
    value = record.provenance.get(key, record.spec.get(key, _DEFAULTS.get(key)))
    return "" if value is None else str(value)


def dirty(result_set: ResultSet) -> Iterator[Finding]:
    """L043: runs of a checkout that differed from its commit."""
    by_suite: dict[str, list[RunRecord]] = defaultdict(list)
    for r in result_set.records:
        if r.status in FINISHED and _origin(r, "git").endswith("-dirty"):
            by_suite[r.spec["suite"]].append(r)
    for suite, runs in by_suite.items():
        commits = ", ".join(sorted({_origin(r, "git") for r in runs}))
        algorithms = dict.fromkeys(r.spec["algorithm"] for r in runs)
        yield Finding(CODES["L043"], suite, f"{len(runs)} runs are from {commits}", algorithms=tuple(algorithms))


class _Span(NamedTuple):
    start: float
    end: float
    record: RunRecord


def appended(result_set: ResultSet) -> Iterator[Finding]:
    """L044: after a pause, nothing but further seeds of cells that were complete before it, and no plan."""
    by_suite: dict[str, list[RunRecord]] = defaultdict(list)
    for r in result_set.records:
        if r.status in FINISHED:
            by_suite[r.spec["suite"]].append(r)
    for suite, runs in by_suite.items():
        spans = _spans(runs)
        arms = [_arm(s.record) for s in spans]
        continues, before = _continues(spans, arms), _SeedsByArm()
        busy = 0.0
        for i, (span, arm) in enumerate(zip(spans, arms, strict=True)):
            if span.start > busy + PAUSE and continues[i] and before.equal():
                old, new = (seed_ranges(seeds_of(s.record for s in part)) for part in (spans[:i], spans[i:]))
                what = f"seeds {new} were started {_lapse(span.start - busy)} after seeds {old} had ended"
                yield Finding(CODES["L044"], suite, what)
                break
            busy = max(busy, span.end)
            before.add(arm, span.record.spec["seed"])


def _spans(runs: Sequence[RunRecord]) -> list[_Span]:
    """When each run was going; seeds stacked in one job started together and took the sum of their shares."""
    started = {r.id: _time(r) for r in runs}
    if any(t is None for t in started.values()):
        return []
    jobs: dict[tuple[str, float], float] = defaultdict(float)
    keys = {r.id: (r.settings, started[r.id] or 0.0) for r in runs}
    for r in runs:
        jobs[keys[r.id]] += float(r.cost.get("wall_s") or 0.0)
    spans = [_Span(start, start + jobs[keys[r.id]], r) for r in runs if (start := started[r.id]) is not None]
    return sorted(spans, key=lambda s: (s.start, s.record.spec["seed"]))


def _time(record: RunRecord) -> float | None:
    try:
        return datetime.fromisoformat(record.provenance["started_utc"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


_Arm = tuple[str, str]  # cell and matching, algorithm


def _arm(record: RunRecord) -> _Arm:
    spec = record.spec
    return canonical([spec["cell"], spec["matching"]]), spec["algorithm"]


class _SeedsByArm:
    """The seeds of each arm so far, and how many arms have how many."""

    def __init__(self) -> None:
        self._seeds: dict[_Arm, set[int]] = defaultdict(set)
        self._sizes: Counter[int] = Counter()

    def add(self, arm: _Arm, seed: int) -> None:
        seeds = self._seeds[arm]
        self._sizes[len(seeds)] -= 1
        seeds.add(seed)
        self._sizes[len(seeds)] += 1

    def equal(self) -> bool:
        """Equal seeds everywhere: a table that could be looked at, not a run cut short."""
        sizes = [size for size, arms in self._sizes.items() if arms > 0]
        return len(sizes) == 1 and len({frozenset(seeds) for seeds in self._seeds.values()}) == 1


def _continues(spans: Sequence[_Span], arms: Sequence[_Arm]) -> list[bool]:
    """Whether all runs from the i-th on are further seeds, above those before, of arms that had some before."""
    places: dict[_Arm, list[int]] = defaultdict(list)
    for i, arm in enumerate(arms):
        places[arm].append(i)
    broken = [0] * (len(spans) + 1)  # differences of the number of arms that do not go on at i
    for indices in places.values():
        seeds = [spans[i].record.spec["seed"] for i in indices]
        highest = accumulate(seeds, max)
        lowest = [*accumulate(reversed(seeds), min)][::-1]
        broken[0] += 1
        broken[indices[0] + 1] -= 1
        for (i, j), high, low in zip(pairwise(indices), highest, lowest[1:], strict=False):
            if low <= high:
                broken[i + 1] += 1
                broken[j + 1] -= 1
    return [arms == 0 for arms in accumulate(broken[:-1])]


def _lapse(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.1f} minutes"


def other_data(result_set: ResultSet) -> Iterator[Finding]:
    """L047: runs that read other bytes than the published ones."""
    for copy in unverified(result_set.records):
        for suite in copy.suites:
            yield Finding(CODES["L047"], suite, str(copy), algorithms=copy.algorithms)


SET_CHECKS: Mapping[str, Callable[[ResultSet], Iterator[Finding]]] = {"L043": dirty, "L047": other_data}
CHECKS: Mapping[str, Callable[[CellRuns], Iterator[Finding]]] = {"L040": schemes, "L042": mixed}
