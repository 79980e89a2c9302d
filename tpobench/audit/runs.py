"""Rows -> one scalar per (algorithm, task, seed), and the records that lint reads."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tpobench.audit.choices import Scale
from tpobench.audit.reading import Row, Sheet
from tpobench.errors import UsageError
from tpobench.records import RunRecord
from tpobench.stats.guard import Floats

SHARE = 0.1  # of the rows of a run: the last window, where none is given
WHOLE = re.compile(r"\d{1,18}(\.0+)?", re.ASCII)


@dataclass(frozen=True)
class Run:
    """One trained run; `value` in the file's own direction, None where it is missing, worst where it diverged."""

    algorithm: str
    task: str
    seed: int
    name: str  # of the seed, in the file
    value: float | None
    diverged: bool
    curve: tuple[tuple[float, float], ...]  # (step, value) of the rows that have one
    more: Mapping[str, str]


@dataclass(frozen=True)
class Runs:
    """All runs of a file on one scale."""

    runs: tuple[Run, ...]
    scale: Scale
    window: int  # 0: the file has one value per run
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
        own = (r for r in self.runs if r.task == task and r.algorithm == algorithm and r.value is not None)
        return sorted(own, key=lambda r: r.seed)

    def values(self, task: str, algorithm: str) -> Floats:
        """(n,) in the file's own direction."""
        return np.array([r.value for r in self.of(task, algorithm)], dtype=np.float64)


def runs_of(sheet: Sheet, scale: Scale, window: int | None) -> Runs:
    """One run per (algorithm, task, seed).

    Raises:
        UsageError: two rows of one run, or a run that diverged and no worst value to score it.
    """
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in sheet.rows:
        groups[row.algorithm, row.task, row.seed].append(row)
    seeds = _seeds({seed for _, _, seed in groups})
    stepped = "step" in sheet.columns
    if window is not None and not stepped:
        msg = f"--window {window}: {sheet.path} has no step column; name it with --column step=COLUMN"
        raise UsageError(msg)
    for rows in groups.values():
        _refuse_doubles(sheet, rows, stepped=stepped)
    longest = max(len(rows) for rows in groups.values())
    length = (window or max(1, round(SHARE * longest))) if stepped else 0
    runs = [_run(sheet, key, rows, seeds[key[2]], scale, length or 1) for key, rows in groups.items()]
    return Runs(tuple(runs), scale, length, numbered=not all(WHOLE.fullmatch(s) for s in seeds))


def _seeds(names: Iterable[str]) -> dict[str, int]:
    """Their numbers; words are numbered in alphabetical order."""
    every = sorted(names)
    if all(WHOLE.fullmatch(s) for s in every):
        return {s: int(s.split(".")[0]) for s in every}
    return {s: i for i, s in enumerate(every)}


def _refuse_doubles(sheet: Sheet, rows: Sequence[Row], *, stepped: bool) -> None:
    first: dict[float | None, Row] = {}
    for row in rows:
        if row.step in first:
            run = f"algorithm {row.algorithm}, task {row.task}, seed {row.seed}" + (
                f", step {row.step:g}" if row.step is not None else ""
            )
            cure = (
                "keep one"
                if stepped
                else "evaluations are no replicates: keep one value per trained run, or name the column of the step "
                "with --column step=COLUMN"
            )
            msg = f"{sheet.path} lines {first[row.step].line} and {row.line} are both {run}; {cure}"
            raise UsageError(msg)
        first[row.step] = row


def _run(sheet: Sheet, key: tuple[str, str, str], rows: Sequence[Row], seed: int, scale: Scale, window: int) -> Run:
    algorithm, task, name = key
    known = sorted((r for r in rows if r.value is not None), key=lambda r: r.step or 0.0)
    curve = tuple((r.step or 0.0, float(r.value)) for r in known if r.value is not None)
    lost = next((r for r in known if r.value is not None and not math.isfinite(r.value)), None)
    value = None
    if lost is not None:
        if task not in scale.worst:
            msg = (
                f"{sheet.path} line {lost.line}: {algorithm}, task {task}, seed {name} diverged ({lost.value}); "
                "leaving such runs out hides them, so give the worst value of the metric with --worst"
            )
            raise UsageError(msg)
        value = scale.worst[task]
    elif curve:
        value = float(np.mean([v for _, v in curve[-window:]]))
    return Run(algorithm, task, seed, name, value, lost is not None, curve, rows[0].more)


def records_of(runs: Runs, suite: str) -> tuple[RunRecord, ...]:
    """The runs as records on a scale where lower is better, for the checks of lint."""
    return tuple(_record(r, runs, suite) for r in runs.runs)


def _record(run: Run, runs: Runs, suite: str) -> RunRecord:
    scale = runs.scale
    worst = scale.sign * scale.worst[run.task] if run.task in scale.worst else math.inf
    values = [scale.sign * v if math.isfinite(v) else None for _, v in run.curve]
    status = "diverged" if run.diverged else "ok" if values else "failed"
    spec = {
        "suite": suite, "suite_version": 1, "cell": {"task": run.task}, "matching": "any", "task": {"kind": run.task},
        "training": {}, "algorithm": run.algorithm, "seed": run.seed,
    }  # fmt: skip
    reporting = {
        "metric": scale.metric, "window": max(runs.window, 1), "thresholds": [], "persist": 1, "solved": -math.inf,
        "worst": worst, "title": suite,
    }  # fmt: skip
    curve: dict[str, list[Any]] = {"step": [t for t, _ in run.curve], scale.metric: values}
    name = f"{run.algorithm}/{run.task}/{run.name}"
    return RunRecord(name, spec, status, curve=curve if values else {}, reporting=reporting)
