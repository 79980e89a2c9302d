"""Settings: one task, one budget and one set of hyperparameters per algorithm, the same effort for every algorithm."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tpobench.identity import canonical
from tpobench.lint.codes import CODES
from tpobench.lint.model import CellRuns, Finding, ResultSet
from tpobench.records.store import RunRecord
from tpobench.scores.cells import trained
from tpobench.scores.sides import SCORED
from tpobench.scores.text import seed_ranges
from tpobench.tasks.catalog import declared, streams

FREE = {"hyper", "learning_rate", "epochs"}  # of each algorithm by definition


def unequal(cell: CellRuns) -> Iterator[Finding]:
    """L020 updates or samples differ, L021 samples differ under declared matching, L022 gradient steps differ."""
    steps = {n: _spent(runs, "step") for n, runs in cell.ok.items()}
    if _differ(steps):
        yield cell.finding("L020", f"updates differ: {_listed(steps)}", steps)
        return
    samples = {n: _spent(runs, "interactions") for n, runs in cell.ok.items()}
    if _differ(samples):
        tokens = [n for n, runs in cell.ok.items() if _unit(runs[0]) == "token"]
        declared = cell.matching == "prompts" or not _differ({n: v for n, v in samples.items() if n not in tokens})
        one = f" ({', '.join(tokens)}: one rollout per prompt under every matching)" if tokens else ""
        yield cell.finding("L021" if declared else "L020", f"samples differ: {_listed(samples)}{one}", samples)
    gradients = {n: _spent(runs, "gradient_steps") for n, runs in cell.ok.items()}
    if _differ(gradients):
        yield cell.finding("L022", f"gradient steps differ: {_listed(gradients)}", gradients)


def _unit(record: RunRecord) -> str:
    task = declared(record.spec["task"])
    return "" if task is None else task.unit


def _spent(runs: Sequence[RunRecord], axis: str) -> tuple[int, ...]:
    counts = (r.curve[axis][-1] if r.curve.get(axis) else r.counts.get(axis) for r in runs)
    return tuple(sorted({int(v) for v in counts if v is not None}))


def _differ(spent: Mapping[str, tuple[int, ...]]) -> bool:
    return len({v for values in spent.values() for v in values}) > 1


def _listed(spent: Mapping[str, tuple[int, ...]]) -> str:
    """`4800 for tpo, grpo; 600 for dg`."""
    order = sorted((n for n in spent if spent[n]), key=lambda n: [-v for v in spent[n]])
    return "; ".join(
        f"{' and '.join(map(str, values))} for {', '.join(names)}"
        for values, names in groupby(order, key=lambda n: spent[n])
    )


def settings(cell: CellRuns) -> Iterator[Finding]:
    """L023: algorithms of one cell differ in what the suite decides, not the algorithm."""
    ways = {n: _ways(runs, _shared) for n, runs in cell.runs.items()}
    for key in sorted({k for each in ways.values() for way in each for k in way}):
        texts = {n: {_text(way[key]) if key in way else "none" for way in each} for n, each in ways.items()}
        if len({v for values in texts.values() for v in values}) > 1 and _between(texts):
            listed = "; ".join(f"{n} {' and '.join(sorted(values))}" for n, values in texts.items())
            yield cell.finding("L023", f"{key} differs: {listed}", texts)


def _ways(runs: Iterable[RunRecord], settings: Callable[[RunRecord], Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The different settings among some runs."""
    unlike = {(r.settings, repr(r.reporting)): r for r in runs}
    return list({canonical(way): way for way in map(settings, unlike.values())}.values())


def _between(settings: Mapping[str, set[Any]]) -> bool:
    """Whether algorithms differ, not only the runs of each of them (that is L024)."""
    return len({frozenset(values) for values in settings.values()}) > 1


def _shared(record: RunRecord) -> dict[str, Any]:
    spec = record.spec
    parts = {
        **{f"task.{k}": v for k, v in streams(spec["task"]).items() if k not in FREE},
        **{f"training.{k}": v for k, v in spec["training"].items() if k not in {*FREE, "steps", "record_every"}},
        **{f"report.{k}": record.reporting[k] for k in SCORED if k in record.reporting},
        "dtype": spec.get("dtype"),
    }  # steps and record_every have findings of their own
    return {k: v for k, v in parts.items() if v is not None}


def _text(value: Any) -> str:
    return str(value) if isinstance(value, float) else canonical(value)


def mixed(cell: CellRuns) -> Iterator[Finding]:
    """L024: several settings of one algorithm; L027: one setting, and a seed more than once."""
    for name, runs in cell.runs.items():
        ways = _ways(runs, trained)
        if len(ways) > 1:
            yield cell.finding("L024", f"{name} has {len(ways)} settings: {_difference(ways)}", [name])
            continue
        twice = sorted(s for s, n in Counter(r.spec["seed"] for r in runs).items() if n > 1)
        if twice:
            yield cell.finding("L027", f"{name}: seeds {seed_ranges(twice)} have several runs", [name])


def _difference(ways: Sequence[Mapping[str, Any]]) -> str:
    """`hyper.eta 0.5 and 1.0`."""
    keys = sorted({k for way in ways for k in way})
    values_of = {k: list(dict.fromkeys(str(way.get(k, "default")) for way in ways)) for k in keys}
    return ", ".join(f"{k} {' and '.join(values)}" for k, values in values_of.items() if len(values) > 1)


def tuning(sets: Sequence[ResultSet]) -> Iterator[Finding]:
    """L025: over all result sets, one algorithm was tried under more settings than another."""
    tried: dict[str, dict[str, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for r in {r.settings: r for one in sets for r in one.records}.values():
        tuned = {k: v for k, v in trained(r).items() if not k.startswith("task.") and k not in _SCHEDULE}
        task = canonical([r.spec["task"], r.spec["matching"]])
        tried[r.spec["suite"]][r.spec["algorithm"]][task].add(canonical(tuned))
    for suite, algorithms in tried.items():
        counts = {n: max(len(ways) for ways in tasks.values()) for n, tasks in algorithms.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{n} {k}" for n, k in sorted(counts.items(), key=lambda p: (-p[1], p[0])))
            most = max(counts.values())
            ahead = [n for n, k in counts.items() if k == most]
            yield Finding(CODES["L025"], suite, f"settings tried: {listed}", algorithms=tuple(ahead))


_SCHEDULE = {"training.steps", "training.record_every"}


def versions(sets: Iterable[ResultSet]) -> Iterator[Finding]:
    """L026: several versions of one suite."""
    by_suite: dict[str, set[int]] = defaultdict(set)
    for r in (r for one in sets for r in one.records):
        by_suite[r.spec["suite"]].add(r.spec["suite_version"])
    for suite, numbers in by_suite.items():
        if len(numbers) > 1:
            listed = " and ".join(map(str, sorted(numbers)))
            yield Finding(CODES["L026"], suite, f"versions {listed} side by side")


CHECKS: Mapping[str, Callable[[CellRuns], Iterator[Finding]]] = {"L020": unequal, "L023": settings, "L024": mixed}
