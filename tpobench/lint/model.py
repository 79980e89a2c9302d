"""What a check sees (the runs of one cell, side by side) and what it says (a finding with a stable code)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tpobench.identity import canonical
from tpobench.lint.codes import CODES, SEVERITIES, Code
from tpobench.records.store import FINISHED, RunRecord
from tpobench.scores.cells import Arm, final_arm, places
from tpobench.scores.pairing import Pair, compare_family
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import Scalar
from tpobench.stats.compare import Comparison


@dataclass(frozen=True)
class Finding:
    """One mistake: which, where, and with which numbers."""

    code: Code
    suite: str
    what: str
    cells: tuple[str, ...] = ()  # empty: the suite as a whole
    algorithms: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the words of the code included."""
        c = self.code
        return {
            "code": c.code, "name": c.name, "severity": c.severity, "suite": self.suite, "cells": list(self.cells),
            "rules": list(self.algorithms), "what": self.what, "why": c.why, "remedy": c.remedy,
        }  # fmt: skip


@dataclass(frozen=True)
class ResultSet:
    """The records of one run directory or packed file."""

    name: str
    records: tuple[RunRecord, ...]
    damaged: int = 0
    plan: Mapping[str, Any] | None = None  # plan.json, where seeds were added under a plan
    places: tuple[str, ...] = ()  # of the first damaged records, with what is wrong with each


@dataclass(frozen=True)
class CellRuns:
    """The runs of one cell under one matching, by algorithm, whatever their status."""

    suite: str
    label: str
    matching: str
    runs: Mapping[str, tuple[RunRecord, ...]]
    algorithms: tuple[str, ...] = ()  # of the suite
    place: str = "{}"  # canonical text of the point of the grid

    @cached_property
    def finished(self) -> dict[str, tuple[RunRecord, ...]]:
        """Runs with a result, of the algorithms that have any."""
        runs_of = {n: tuple(r for r in runs if r.status in FINISHED) for n, runs in self.runs.items()}
        return {n: runs for n, runs in runs_of.items() if runs}

    @cached_property
    def ok(self) -> dict[str, tuple[RunRecord, ...]]:
        """Runs that lasted to the end, of the algorithms that have any."""
        runs_of = {n: tuple(r for r in runs if r.status == "ok") for n, runs in self.finished.items()}
        return {n: runs for n, runs in runs_of.items() if runs}

    @cached_property
    def arms(self) -> dict[str, Arm]:
        """The final value of each seed by algorithm, where there is one; a diverged run at the worst value."""
        arms = {n: final_arm(runs, self.reporting) for n, runs in self.finished.items()}
        return {n: arm for n, arm in arms.items() if arm is not None}

    @property
    def losses(self) -> dict[str, dict[int, float]]:
        """How much worse than the best value they are."""
        return {n: arm.by_seed(self.reporting.loss(arm.final)) for n, arm in self.arms.items()}

    @cached_property
    def tests(self) -> dict[Pair, Comparison]:
        """Every pair of algorithms by their final values, as a report compares them."""
        return compare_family(self.arms, Scalar("final", self.reporting))

    @property
    def apart(self) -> list[Pair]:
        """The pairs that the tests tell apart."""
        return [pair for pair, c in self.tests.items() if c.adjusted is not None and c.adjusted < 0.05]

    @cached_property
    def reporting(self) -> Reporting:
        """The suite's [report] table; of any run, `unequal-settings` says where they differ."""
        return Reporting.of(next(iter(self.runs.values()))[0].reporting)

    def finding(self, code: str, what: str, algorithms: Iterable[str] = ()) -> Finding:
        """A finding in this cell."""
        return Finding(CODES[code], self.suite, what, (self.label,), tuple(algorithms))


def seeds_of(runs: Iterable[RunRecord]) -> list[int]:
    """Each seed once, sorted."""
    return sorted({r.spec["seed"] for r in runs})


def cells_of(result_set: ResultSet) -> list[CellRuns]:
    """The records of a set, cell by cell."""
    return [
        CellRuns(p.suite, p.label, p.matching, p.runs, p.algorithms, canonical(dict(p.axes)))
        for p in places(result_set.records)
    ]


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings that differ only in their cell as one; errors first, then by code, in the order of the cells."""
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Finding]] = defaultdict(list)
    for f in findings:
        groups[f.code.code, f.suite, f.what, f.algorithms].append(f)
    unique = (replace(fs[0], cells=tuple(dict.fromkeys(c for f in fs for c in f.cells))) for fs in groups.values())
    return tuple(sorted(unique, key=lambda f: (SEVERITIES.index(f.code.severity), f.code.code)))


@dataclass(frozen=True)
class Checks:
    """Which checks ran on what: a list without findings still says what it looked at."""

    findings: tuple[Finding, ...]
    runs: int
    sets: tuple[str, ...] = field(default=())

    def worst(self) -> str:
        """The most severe among the findings, `none` without any."""
        return next((s for s in SEVERITIES if any(f.code.severity == s for f in self.findings)), "none")
