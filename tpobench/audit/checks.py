"""The findings of lint that a bare table of values can show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from tpobench.audit.names import look_alikes
from tpobench.audit.reading import Sheet
from tpobench.audit.runs import Runs
from tpobench.lint import CODES, CellRuns, Checks, Finding, ResultSet, cell_findings, cells_of, merged
from tpobench.lint.seeds import powerless
from tpobench.records.store import RunRecord
from tpobench.stats.suite_level import Reference

SEEDS = ("L001", "L002", "L007")  # which runs there are: of names that look alike as if they were one
ONE_VALUE = ("L003", "L004", "L065", "L066")
WITH_STEPS = ("L009", "L020", "L060", "L061")
NEAR = 0.05  # of the scale: at one of its ends
DIGITS = 5  # significant ones, from which equal values are no accident


def check(runs: Runs, sheet: Sheet) -> Checks:
    """All findings."""
    findings = list(_look_alikes(runs, sheet))
    united = cells_of(ResultSet(sheet.name, _united(runs)))
    findings += [f for cell in united for f in cell_findings(cell, SEEDS)]
    codes = [*ONE_VALUE, *(WITH_STEPS if runs.stepped else ())]
    for task, cell in runs.cells.items():
        ends = runs.scale.reference(task)
        findings += [*cell_findings(cell, codes), *([] if _rates_reject(cell) else powerless(cell))]
        findings += [*_copies(cell, ends), *_apart(cell), *_ends(cell, ends)]
    findings += _factors(runs, sheet.name)
    return Checks(merged(findings), len(runs.runs), (sheet.name,))


def _look_alikes(runs: Runs, sheet: Sheet) -> Iterator[Finding]:
    """L029: names that differ only in how they are written."""
    seeds = sorted({r.name for r in runs.runs}) if runs.numbered else ()
    groups = [("task", look_alikes(runs.tasks)), ("algorithm", look_alikes(runs.algorithms)),
              ("seed", look_alikes(seeds)), ("metric", sheet.alike)]  # fmt: skip
    for kind, every in groups:
        for group in every:
            what = f"{kind}s {' and '.join(group)} look like one"
            yield Finding(CODES["L029"], sheet.name, what, algorithms=group if kind == "algorithm" else ())


def _united(runs: Runs) -> tuple[RunRecord, ...]:
    """The records, each name in one spelling."""
    first = {n: group[0] for names in (runs.tasks, runs.algorithms) for group in look_alikes(names) for n in group}
    return tuple(
        replace(r.record, spec={
            **r.record.spec, "cell": {"task": first.get(r.task, r.task)},
            "algorithm": first.get(r.algorithm, r.algorithm),
        }) for r in runs.runs
    )  # fmt: skip


def _rates_reject(cell: CellRuns) -> bool:
    """Whether counts of diverged runs tell a pair apart, whatever labellings could."""
    return any(cell.tests[pair].test == "boschloo" for pair in cell.apart)


def _copies(cell: CellRuns, ends: Reference | None) -> Iterator[Finding]:
    """L010: one value for all seeds; L009: values of many digits that occur again and again."""
    for name, arm in cell.arms.items():
        x = arm.lasted
        distinct = np.unique(x)
        if len(x) < 2:
            continue
        if len(distinct) == 1:
            if ends is None or x[0] not in {ends.best, ends.worst}:
                yield cell.finding("L010", f"{name}: all {len(x)} seeds have the value {x[0]:g}", [name])
        elif len(distinct) <= len(x) / 2 and all(_digits(v) >= DIGITS for v in distinct):
            yield cell.finding("L009", f"{name}: {len(x)} seeds have only {len(distinct)} different values", [name])


def _digits(value: float) -> int:
    return len(f"{abs(float(value))!r}".split("e")[0].replace(".", "").strip("0"))


def _apart(cell: CellRuns) -> Iterator[Finding]:
    """L080: |mean - median| above half a standard deviation, from 8 seeds on."""
    for name, arm in cell.arms.items():
        x = arm.lasted
        if len(x) > 7 and abs(x.mean() - np.median(x)) > x.std(ddof=1) / 2 > 0:
            what = f"{name}: mean {x.mean():.3g}, median {np.median(x):.3g}, from {x.min():.3g} to {x.max():.3g}"
            yield cell.finding("L080", what, [name])


def _ends(cell: CellRuns, ends: Reference | None) -> Iterator[Finding]:
    """L081 and L082: all values at one end of the scale, and no pair to be told apart."""
    measured = {n: arm.lasted for n, arm in cell.arms.items() if len(arm.lasted)}
    if ends is None or len(measured) < 2 or cell.apart:
        return
    x = (np.concatenate(list(measured.values())) - ends.worst) / (ends.best - ends.worst)
    lasted = not any(any(arm.diverged) for arm in cell.arms.values())
    if (x.min() > 1 - NEAR and lasted) or x.max() < NEAR:
        code, word = ("L081", "best") if x.min() > 1 - NEAR else ("L082", "worst")
        what = f"all {len(x)} values within {NEAR:.0%} of the {word} value, no pair of algorithms differs"
        yield cell.finding(code, what, measured)


def _factors(runs: Runs, name: str) -> Iterator[Finding]:
    """L028: a further column that repeats several values within the seeds of one algorithm."""
    arms: dict[tuple[str, str], list[Mapping[str, str]]] = defaultdict(list)
    for r in runs.runs:
        arms[r.algorithm, r.task].append(r.more)
    columns = dict.fromkeys(c for rows in arms.values() for row in rows for c in row)
    for column in columns:
        mixed = {}
        for arm, rows in arms.items():
            values = {row.get(column, "") for row in rows}
            if 1 < len(values) < len(rows):
                mixed[arm] = values
        if mixed:
            (algorithm, task), values = next(iter(mixed.items()))
            what = f"column {column} is {', '.join(sorted(values))} within {algorithm}, task {task}"
            algorithms = dict.fromkeys(a for a, _ in mixed)
            tasks = dict.fromkeys(f"task={t}" for _, t in mixed)
            yield Finding(CODES["L028"], name, what, tuple(tasks), tuple(algorithms))
