"""Rows -> one scalar per (algorithm, task, seed), and the records that lint reads."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from tpobench.audit.choices import Scale
from tpobench.audit.names import seed_key
from tpobench.audit.reading import Sheet, SheetRow
from tpobench.errors import UsageError
from tpobench.records.store import RunRecord
from tpobench.scores.reporting import Reporting
from tpobench.stats.guard import Floats

SHARE = 0.1  # of the measured rows of a run: its last window, where none is given
MOST = 10**18  # larger seeds are names


@dataclass(frozen=True)
class Run:
    """One trained run; `value` in the file's own direction, None where it is missing, worst where it diverged."""

    algorithm: str
    task: str
    seed: int
    name: str  # of the seed, in the file
    value: float | None
    diverged: bool
    curve: tuple[tuple[float, float | None], ...]  # (step, value); None where it was not measured yet
    window: int  # how many of the last ones make the value
    more: Mapping[str, str]


@dataclass(frozen=True)
class Runs:
    """All runs of a file on one scale."""

    runs: tuple[Run, ...]
    scale: Scale
    stepped: bool  # a run is several rows
    window: int | None  # rows of the last window of every run; None is a tenth of its own
    numbered: bool  # seeds are words, numbered in alphabetical order

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(dict.fromkeys(r.task for r in self.runs))

    @property
    def algorithms(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(dict.fromkeys(r.algorithm for r in self.runs))

    def of(self, task: str, algorithm: str) -> list[Run]:
        """Runs with a value, by seed."""
        runs = (r for r in self.runs if r.task == task and r.algorithm == algorithm and r.value is not None)
        return sorted(runs, key=lambda r: r.seed)

    def reporting(self, task: str) -> Reporting:
        """How the values of a task are scored."""
        scale = self.scale
        return Reporting(
            scale.metric, 1, (), 1, -scale.sign * math.inf, scale.worst.get(task, scale.sign * math.inf),
            better="lower" if scale.lower else "higher", best=scale.best.get(task, -scale.sign * math.inf),
        )  # fmt: skip

    def values(self, task: str, algorithm: str) -> Floats:
        """(n,) in the file's own direction."""
        return np.array([r.value for r in self.of(task, algorithm)], dtype=np.float64)


def runs_of(sheet: Sheet, scale: Scale, window: int | None) -> Runs:
    """One run per (algorithm, task, seed).

    Raises:
        UsageError: two rows of one run, or a run that diverged and no worst value to score it.
    """
    groups: dict[tuple[str, str, Decimal | str], list[SheetRow]] = defaultdict(list)
    for row in sheet.rows:
        groups[row.algorithm, row.task, seed_key(row.seed)].append(row)
    seeds, numbered = _seeds({seed for _, _, seed in groups})
    stepped = "step" in sheet.columns
    if window is not None and not stepped:
        msg = f"--window {window}: {sheet.path} has no step column; name it with --column step=COLUMN"
        raise UsageError(msg)
    for rows in groups.values():
        _refuse_doubles(rows, stepped=stepped)
    runs = [_run(rows, seeds[seed], scale, window) for (_, _, seed), rows in groups.items()]
    return Runs(tuple(runs), scale, stepped, window, numbered)


def _seeds(keys: Iterable[Decimal | str]) -> tuple[dict[Decimal | str, int], bool]:
    """Their numbers; where some are words or no whole numbers, their places in order, and True."""
    every = sorted(keys, key=lambda k: (isinstance(k, str), k))
    if all(not isinstance(k, str) and abs(k) < MOST and k == int(k) for k in every):
        return {k: int(k) for k in every}, False
    return {k: i for i, k in enumerate(every)}, True


def _refuse_doubles(rows: Sequence[SheetRow], *, stepped: bool) -> None:
    first: dict[float | None, SheetRow] = {}
    for row in rows:
        if row.step in first:
            other = first[row.step]
            spelled = f" (written '{other.seed}' and '{row.seed}')" if other.seed != row.seed else ""
            run = f"algorithm {row.algorithm}, task {row.task}, seed {other.seed}{spelled}" + (
                f", step {row.step:g}" if row.step is not None else ""
            )
            cure = (
                "keep one"
                if stepped or spelled
                else "evaluations are no replicates: keep one value per trained run, or name the column of the step "
                "with --column step=COLUMN"
            )
            msg = f"{_places(other.place, row.place)} are both {run}; {cure}"
            raise UsageError(msg)
        first[row.step] = row


def _places(a: str, b: str) -> str:
    """`x.csv lines 2 and 4`; both files where they differ."""
    (file, unit, first), (other, _, second) = a.rsplit(" ", 2), b.rsplit(" ", 2)
    return f"{file} {unit}s {first} and {second}" if file == other else f"{a} and {b}"


def _run(rows: Sequence[SheetRow], seed: int, scale: Scale, window: int | None) -> Run:
    """A run that is not finite where it was measured last has diverged; before and between, it was not measured."""
    algorithm, task, name = rows[0].algorithm, rows[0].task, rows[0].seed
    ordered = sorted(rows, key=lambda r: r.step or 0.0)
    known = [r for r in ordered if r.value is not None]
    measured = [r for r in known if r.value is not None and math.isfinite(r.value)]
    lost = next(iter(known[known.index(measured[-1]) + 1 :] if measured else known), None)
    waiting = ordered[: ordered.index(measured[0])] if measured else []
    curve = [*((r, None) for r in waiting), *((r, r.value) for r in measured), *([(lost, lost.value)] if lost else [])]
    length = window or max(1, round(SHARE * len(measured)))
    value = None
    if lost is not None:
        if task not in scale.worst:
            msg = (
                f"{lost.place}: {algorithm}, task {task}, seed {name} diverged ({lost.value}); leaving such runs out "
                "hides them, so give the worst value of the metric with --worst"
                + (" (a value that was only not measured is an empty cell)" if measured else "")
            )
            raise UsageError(msg)
        value = scale.worst[task]
    elif measured:
        value = float(np.mean([r.value for r in measured[-length:]]))
    points = tuple((r.step or 0.0, v) for r, v in curve)
    return Run(algorithm, task, seed, name, value, lost is not None, points, length, rows[0].more)


def records_of(runs: Runs, suite: str, *, paired: bool = False) -> tuple[RunRecord, ...]:
    """The runs as records; `paired` where equal seeds share random numbers."""
    origin = {"seed_scheme": "as given"} if paired else {}
    return tuple(replace(_record(r, runs, suite), provenance=origin) for r in runs.runs)


def _record(run: Run, runs: Runs, suite: str) -> RunRecord:
    scale = runs.scale
    values = [v if v is not None and math.isfinite(v) else None for _, v in run.curve]
    status = "diverged" if run.diverged else "ok" if run.value is not None else "failed"
    spec = {
        "suite": suite, "suite_version": 1, "cell": {"task": run.task}, "matching": "any", "task": {"kind": run.task},
        "training": {}, "algorithm": run.algorithm, "seed": run.seed,
    }  # fmt: skip
    reporting = {**asdict(runs.reporting(run.task)), "window": run.window}
    curve: dict[str, list[Any]] = {"step": [t for t, _ in run.curve], scale.metric: values}
    name = f"{run.algorithm}/{run.task}/{run.name}"
    return RunRecord(name, spec, status, curve=curve if values else {}, reporting=reporting)
