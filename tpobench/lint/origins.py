"""Origins: who made the runs, with what, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from tpobench.lint.codes import CODES
from tpobench.lint.model import CellRuns, Finding, ResultSet, seeds_of
from tpobench.records import FINISHED, RunRecord, canonical
from tpobench.report.text import seed_ranges
from tpobench.unverified import unverified

ORIGIN = ("tpobench", "git", "torch", "numpy", "python", "platform", "cpu", "threads", "device")
PAUSE = 60.0  # seconds without any run: long enough to look at the results


def schemes(cell: CellRuns) -> Iterator[Finding]:
    """L040: runs without a seed scheme; L041: several schemes in one cell."""
    found = {n: {r.provenance.get("seed_scheme") for r in runs} for n, runs in cell.finished.items()}
    without = [n for n, values in found.items() if None in values]
    if without:
        yield cell.found("L040", f"no seed scheme on record for {', '.join(without)}", without)
    named = {n: {str(v) for v in values if v is not None} for n, values in found.items()}
    if len({v for values in named.values() for v in values}) > 1:
        listed = "; ".join(f"{n} {' and '.join(sorted(values))}" for n, values in named.items() if values)
        yield cell.found("L041", listed, named)


def mixed(cell: CellRuns) -> Iterator[Finding]:
    """L042: the runs of one rule come from elsewhere than those of another."""
    for key in ORIGIN:
        found = {n: frozenset(v for r in runs if (v := _origin(r, key))) for n, runs in cell.finished.items()}
        known = {n: values for n, values in found.items() if values}
        if len(set(known.values())) > 1:
            listed = "; ".join(f"{n} {' and '.join(sorted(values))}" for n, values in known.items())
            yield cell.found("L042", f"{key} differs: {listed}", known)


def _origin(record: RunRecord, key: str) -> str:
    value = record.provenance.get(key, record.spec.get(key))
    return "" if value is None else str(value)


def dirty(found: ResultSet) -> Iterator[Finding]:
    """L043: runs of a checkout that differed from its commit."""
    by_suite: dict[str, list[RunRecord]] = defaultdict(list)
    for r in found.records:
        if r.status in FINISHED and _origin(r, "git").endswith("-dirty"):
            by_suite[r.spec["suite"]].append(r)
    for suite, runs in by_suite.items():
        commits = ", ".join(sorted({_origin(r, "git") for r in runs}))
        rules = dict.fromkeys(r.spec["algorithm"] for r in runs)
        yield Finding(CODES["L043"], suite, f"{len(runs)} runs are from {commits}", rules=tuple(rules))


class _Span(NamedTuple):
    start: float
    end: float
    record: RunRecord


def appended(found: ResultSet) -> Iterator[Finding]:
    """L044: after a pause, nothing but further seeds of cells that were complete before it, and no plan."""
    by_suite: dict[str, list[RunRecord]] = defaultdict(list)
    for r in found.records:
        if r.status in FINISHED:
            by_suite[r.spec["suite"]].append(r)
    for suite, runs in by_suite.items():
        spans = _spans(runs)
        busy = 0.0
        for i, span in enumerate(spans):
            before, after = [s.record for s in spans[:i]], [s.record for s in spans[i:]]
            if i and span.start > busy + PAUSE and _complete(before) and _continues(before, after):
                old, new = seed_ranges(seeds_of(before)), seed_ranges(seeds_of(after))
                what = f"seeds {new} were started {_lapse(span.start - busy)} after seeds {old} had ended"
                yield Finding(CODES["L044"], suite, what)
                break
            busy = max(busy, span.end)


def _spans(runs: Sequence[RunRecord]) -> list[_Span]:
    """When each run was going; seeds stacked in one job started together and took the sum of their shares."""
    started = {r.id: _time(r) for r in runs}
    if any(t is None for t in started.values()):
        return []
    jobs: dict[tuple[str, float], float] = defaultdict(float)
    keys = {r.id: (canonical({k: v for k, v in r.spec.items() if k != "seed"}), started[r.id] or 0.0) for r in runs}
    for r in runs:
        jobs[keys[r.id]] += float(r.cost.get("wall_s") or 0.0)
    spans = [_Span(start, start + jobs[keys[r.id]], r) for r in runs if (start := started[r.id]) is not None]
    return sorted(spans, key=lambda s: (s.start, s.record.spec["seed"]))


def _time(record: RunRecord) -> float | None:
    try:
        return datetime.fromisoformat(record.provenance["started_utc"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


def _arms(runs: Iterable[RunRecord]) -> dict[tuple[str, str], set[int]]:
    """Seeds by (cell and matching, rule)."""
    arms: dict[tuple[str, str], set[int]] = defaultdict(set)
    for r in runs:
        arms[canonical([r.spec["cell"], r.spec["matching"]]), r.spec["algorithm"]].add(r.spec["seed"])
    return arms


def _complete(runs: Sequence[RunRecord]) -> bool:
    """Equal seeds everywhere: a table that could be looked at, not a run cut short."""
    return len({frozenset(seeds) for seeds in _arms(runs).values()}) == 1


def _continues(before: Sequence[RunRecord], after: Sequence[RunRecord]) -> bool:
    old, new = _arms(before), _arms(after)
    return all(arm in old and min(seeds) > max(old[arm]) for arm, seeds in new.items())


def _lapse(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.1f} minutes"


def other_data(found: ResultSet) -> Iterator[Finding]:
    """L047: runs that read other bytes than the published ones."""
    for copy in unverified(found.records):
        for suite in copy.suites:
            yield Finding(CODES["L047"], suite, str(copy), rules=copy.rules)


SET_CHECKS: Mapping[str, Callable[[ResultSet], Iterator[Finding]]] = {"L043": dirty, "L047": other_data}
CHECKS: Mapping[str, Callable[[CellRuns], Iterator[Finding]]] = {"L040": schemes, "L042": mixed}
