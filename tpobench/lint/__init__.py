"""`tpobench lint`: the mistakes that a result set can show, each with a stable code, its place and its remedy.

Records in, findings out; nothing is run and nothing is changed.  docs/lint.md explains every code.

codes      every finding: its code, how bad it is, and what to do
model      what a check sees and what it says
budgets    checks: one task, one budget, one set of hyperparameters
origins    checks: who made the runs, with what, and when
outcomes   checks: what window, thresholds and values can tell
plans      checks: seeds under a recorded plan
seeds      checks: the same for every algorithm, none dropped, enough
document   findings to read
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tpobench.errors import CorruptResults, NothingToDo
from tpobench.lint import budgets, origins, outcomes, plans, seeds
from tpobench.lint.codes import CODES, SEVERITIES, Code, Severity
from tpobench.lint.model import CellRuns, Checks, Finding, ResultSet, cells_of, merged
from tpobench.records.store import damaged_in, read_plan, read_source, sources

__all__ = [
    "CODES", "SEVERITIES", "CellRuns", "Checks", "Code", "Finding", "ResultSet", "Severity", "cell_findings",
    "cells_of", "lint", "lint_sets", "merged", "read_sets",
]  # fmt: skip

CELL_CHECKS = {**seeds.CHECKS, **budgets.CHECKS, **origins.CHECKS, **outcomes.CHECKS}
MOST_PLACES = 5  # of damaged records that a finding names
BY_PLAN = {"L001", "L006", "L007"}


def lint(path: str | Path) -> Checks:
    """Findings in a run directory, a folder of several, or a packed file.

    Raises:
        NothingToDo: nothing there.
        CorruptResults: written by a newer tpobench, or two copies of a run differ.
    """
    return lint_sets(read_sets(Path(path)))


def read_sets(path: Path) -> list[ResultSet]:
    """Each result set by itself: tables are made from one, and settings belong to one.

    Raises:
        NothingToDo: nothing there.
        CorruptResults: written by a newer tpobench, or two copies of a run differ.
    """
    sets = []
    for source in sources(path):
        records, damaged = read_source(source)
        if records or damaged:
            places = tuple(map(str, damaged_in(source)[:MOST_PLACES])) if damaged else ()
            sets.append(ResultSet(str(source), tuple(records.values()), damaged, _plan(source), places))
    if not sets:
        msg = f"no results to lint at {path}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    return sets


def _plan(source: Path) -> dict[str, Any] | None:
    """The seed plan that was recorded before the first run, None without one; a damaged one is a finding."""
    try:
        return read_plan(source)
    except CorruptResults as error:
        return {"damaged": str(error)}


def lint_sets(sets: Sequence[ResultSet]) -> Checks:
    """All checks on every set, and across them."""
    findings = [finding for one in sets for finding in _set_findings(one)]
    findings += [*budgets.tuning(sets), *budgets.versions(sets)]
    runs = sum(len(one.records) for one in sets)
    return Checks(merged(findings), runs, tuple(one.name for one in sets))


def _set_findings(one: ResultSet) -> Iterator[Finding]:
    if one.damaged:
        places = f": {'; '.join(one.places)}" if one.places else ""
        yield Finding(CODES["L003"], one.name, f"{one.damaged} damaged records were left out{places}")
    cells = cells_of(one)
    for cell in cells:  # under a plan, algorithms drop out when they are decided: the plan says what is missing
        yield from cell_findings(cell, None if one.plan is None else [c for c in CELL_CHECKS if c not in BY_PLAN])
    yield from plans.planned(one, cells)
    for check in origins.SET_CHECKS.values():
        yield from check(one)


def cell_findings(cell: CellRuns, only: Iterable[str] | None = None) -> Iterator[Finding]:
    """The findings of one cell, of all checks or of those named by their first code."""
    for code in CELL_CHECKS if only is None else only:
        yield from CELL_CHECKS[code](cell)
