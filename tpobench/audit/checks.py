"""The findings of lint that a bare table of values can show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from tpobench.audit.names import look_alikes
from tpobench.audit.reading import Sheet
from tpobench.audit.runs import Runs, records_of
from tpobench.lint import CODES, CellRuns, Checks, Finding, ResultSet, cell_findings, cells_of, merged
from tpobench.lint.seeds import powerless
from tpobench.scores.pairing import Pair
from tpobench.stats.compare import Comparison
from tpobench.stats.guard import Floats

SEEDS = ("L001", "L002", "L007")  # which runs there are: of names that look alike as if they were one
ONE_VALUE = ("L003", "L004", "L065", "L066")
WITH_STEPS = ("L009", "L020", "L060", "L061")
NEAR = 0.05  # of the scale: at one of its ends
DIGITS = 5  # significant ones, from which equal values are no accident


def check(
    runs: Runs, sheet: Sheet, cells: Mapping[str, CellRuns], tests: Mapping[str, Mapping[Pair, Comparison]]
) -> Checks:
    """All findings; `tests` are the comparisons of each task."""
    name = sheet.name
    findings = list(_look_alikes(runs, sheet))
    united = _united(runs) if findings else runs
    findings += [f for cell in cells_by_task(united, name).values() for f in cell_findings(cell, SEEDS)]
    codes = [*ONE_VALUE, *(WITH_STEPS if runs.stepped else ())]
    for task, cell in cells.items():
        findings += cell_findings(cell, codes)
        findings += [] if _rates_reject(tests[task]) else powerless(cell)
        findings += [*_copies(runs, cell, task), *_apart(runs, cell, task)]
        findings += _ends(runs, cell, task, tests[task])
    findings += _factors(runs, name)
    return Checks(merged(findings), len(runs.runs), (name,))


def cells_by_task(runs: Runs, name: str, *, paired: bool = False) -> dict[str, CellRuns]:
    """The runs as lint reads them."""
    cells = cells_of(ResultSet(name, records_of(runs, name, paired=paired)))
    by_task = {str(next(iter(cell.runs.values()))[0].spec["cell"]["task"]): cell for cell in cells}
    return {task: by_task[task] for task in runs.tasks}


def _look_alikes(runs: Runs, sheet: Sheet) -> Iterator[Finding]:
    """L029: names that differ only in how they are written."""
    seeds = sorted({r.name for r in runs.runs}) if runs.numbered else ()
    groups = [("task", look_alikes(runs.tasks)), ("algorithm", look_alikes(runs.algorithms)),
              ("seed", look_alikes(seeds)), ("metric", sheet.alike)]  # fmt: skip
    for kind, every in groups:
        for group in every:
            what = f"{kind}s {' and '.join(group)} look like one"
            yield Finding(CODES["L029"], sheet.name, what, algorithms=group if kind == "algorithm" else ())


def _united(runs: Runs) -> Runs:
    """Each name in one spelling."""
    first = {n: group[0] for names in (runs.tasks, runs.algorithms) for group in look_alikes(names) for n in group}
    return replace(runs, runs=tuple(
        replace(r, task=first.get(r.task, r.task), algorithm=first.get(r.algorithm, r.algorithm)) for r in runs.runs
    ))  # fmt: skip


def _measured(runs: Runs, task: str, name: str) -> Floats:
    """The values of the runs that lasted, in the file's own direction: what diverged was scored, not measured."""
    return np.array([r.value for r in runs.of(task, name) if not r.diverged], dtype=np.float64)


def _rates_reject(tests: Mapping[Pair, Comparison]) -> bool:
    """Whether counts of diverged runs tell a pair apart, whatever labellings could."""
    return any(c.test == "boschloo" and c.adjusted is not None and c.adjusted < 0.05 for c in tests.values())


def _copies(runs: Runs, cell: CellRuns, task: str) -> Iterator[Finding]:
    """L010: one value for all seeds; L009: values of many digits that occur again and again."""
    ends = runs.scale.reference(task)
    for name in cell.finished:
        x = _measured(runs, task, name)
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


def _apart(runs: Runs, cell: CellRuns, task: str) -> Iterator[Finding]:
    """L080: |mean - median| above half a standard deviation, from 8 seeds on."""
    for name in cell.finished:
        x = _measured(runs, task, name)
        if len(x) > 7 and abs(x.mean() - np.median(x)) > x.std(ddof=1) / 2 > 0:
            what = f"{name}: mean {x.mean():.3g}, median {np.median(x):.3g}, from {x.min():.3g} to {x.max():.3g}"
            yield cell.finding("L080", what, [name])


def _ends(runs: Runs, cell: CellRuns, task: str, tests: Mapping[Pair, Comparison]) -> Iterator[Finding]:
    """L081 and L082: all values at one end of the scale, and no pair to be told apart."""
    ends = runs.scale.reference(task)
    measured = {n: x for n in cell.finished if len(x := _measured(runs, task, n))}
    if ends is None or len(measured) < 2 or any(c.adjusted is not None and c.adjusted < 0.05 for c in tests.values()):
        return
    x = (np.concatenate(list(measured.values())) - ends.worst) / (ends.best - ends.worst)
    lasted = not any(r.diverged for n in cell.finished for r in runs.of(task, n))
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
