"""Rows -> one record per (algorithm, task, seed), and the cells that lint reads."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from tpobench.audit.choices import Scale
from tpobench.audit.names import seed_key
from tpobench.audit.reading import Sheet, SheetRow
from tpobench.errors import UsageError
from tpobench.lint import CellRuns, ResultSet, cells_of
from tpobench.records.store import RunRecord
from tpobench.scores.cells import Arm, final_values
from tpobench.scores.reporting import Reporting

SHARE = 0.1  # of the measured rows of a run: its last window, where none is given
MOST = 10**18  # larger seeds are names


@dataclass(frozen=True)
class Run:
    """One trained run as a record, and what else the file says of it."""

    record: RunRecord
    name: str  # of the seed, in the file
    more: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """Its name in the file."""
        return str(self.record.spec["algorithm"])

    @property
    def task(self) -> str:
        """Its name in the file."""
        return str(self.record.spec["cell"]["task"])

    @cached_property
    def value(self) -> float | None:
        """In the file's own direction, None where it is missing, worst where it diverged."""
        return final_values([self.record])[0]


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

    @cached_property
    def cells(self) -> dict[str, CellRuns]:
        """By task."""
        cells = cells_of(ResultSet("", tuple(r.record for r in self.runs)))
        by_task = {str(next(iter(cell.runs.values()))[0].spec["cell"]["task"]): cell for cell in cells}
        return {task: by_task[task] for task in self.tasks}

    def arms(self, task: str) -> dict[str, Arm]:
        """Of one task, in the order of the file."""
        return {n: self.cells[task].arms[n] for n in self.algorithms if n in self.cells[task].arms}


def runs_of(sheet: Sheet, scale: Scale, window: int | None, *, paired: bool) -> Runs:
    """One run per (algorithm, task, seed); `paired` where equal seeds share random numbers.

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
    origin = {"seed_scheme": "as given"} if paired else {}
    runs = [
        Run(_record(sheet.name, rows, seeds[seed], scale, window, origin), rows[0].seed, rows[0].more)
        for (_, _, seed), rows in groups.items()
    ]
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


def _record(
    suite: str, rows: Sequence[SheetRow], seed: int, scale: Scale, window: int | None, origin: Mapping[str, str]
) -> RunRecord:
    """A run that is not finite where it was measured last has diverged; before and between, it was not measured."""
    algorithm, task, name = rows[0].algorithm, rows[0].task, rows[0].seed
    ordered = sorted(rows, key=lambda r: r.step or 0.0)
    known = [r for r in ordered if r.value is not None]
    measured = [r for r in known if r.value is not None and math.isfinite(r.value)]
    lost = next(iter(known[known.index(measured[-1]) + 1 :] if measured else known), None)
    waiting = ordered[: ordered.index(measured[0])] if measured else []
    if lost is not None and task not in scale.worst:
        msg = (
            f"{lost.place}: {algorithm}, task {task}, seed {name} diverged ({lost.value}); leaving such runs out "
            "hides them, so give the worst value of the metric with --worst"
            + (" (a value that was only not measured is an empty cell)" if measured else "")
        )
        raise UsageError(msg)
    status = "diverged" if lost is not None else "ok" if measured else "failed"
    spec = {
        "suite": suite, "suite_version": 1, "cell": {"task": task}, "matching": "any", "task": {"kind": task},
        "training": {}, "algorithm": algorithm, "seed": seed,
    }  # fmt: skip
    values = [*[None] * len(waiting), *(r.value for r in measured), *([None] if lost else [])]
    steps = [r.step or 0.0 for r in (*waiting, *measured, *([lost] if lost else []))]
    reporting = Reporting(
        scale.metric, window or max(1, round(SHARE * len(measured))), (), 1, -scale.sign * math.inf,
        scale.worst.get(task, scale.sign * math.inf), better="lower" if scale.lower else "higher",
        best=scale.best.get(task, -scale.sign * math.inf),
    )  # fmt: skip
    curve: dict[str, list[Any]] = {"step": steps, scale.metric: values} if values else {}
    name = f"{algorithm}/{task}/{name}"
    return RunRecord(name, spec, status, curve=curve, reporting=asdict(reporting), provenance=origin)
