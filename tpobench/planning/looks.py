"""Adaptive seeds over a suite: a plan recorded before the first run, looks, and what each look leaves to run.

results/<name>/plan.json    written once, before the first record; another plan for the same folder is refused

Every cell with at least two rules is a group-sequential experiment of its own (`stats.sequential`); alpha is shared by
all cells. The state is always replayed from the records, so an interrupted run takes the same looks and decisions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.errors import UsageError, brief
from tpobench.identity import canonical
from tpobench.planning.plan import Plan, RunSpec
from tpobench.records.results import by_matching, final_value
from tpobench.records.store import (
    FINISHED,
    PLAN_FILE,
    PLAN_SCHEMA,
    RunRecord,
    Store,
    read_plan,
    write_plan,
)
from tpobench.stats.sequential import LookResult, SequentialPlan, first_decisive_look, look_at, parse_plan, plan_text

MOST_SEEDS = 1000


def is_adaptive(seeds: str | None) -> bool:
    """Whether `--seeds` asks for a plan."""
    return seeds is not None and seeds.strip().startswith("adaptive")


@dataclass(frozen=True)
class AdaptiveCell:
    """One cell under one matching: its plan, and the runs it may need, by rule and in seed order."""

    axes: Mapping[str, Any]
    matching: str
    plan: SequentialPlan
    specs: Mapping[str, tuple[RunSpec, ...]]


@dataclass(frozen=True)
class AdaptivePlan:
    """All cells of a suite; `most` is what runs if nothing is decided early."""

    seeds: str  # adaptive:5x4
    most: Plan
    cells: tuple[AdaptiveCell, ...]

    @property
    def text(self) -> str:
        """`adaptive:5x4|alpha:0.05|family:3|cells:9|paths:9999|rng:0`, of the largest family."""
        return plan_text(max((cell.plan for cell in self.cells), key=lambda p: p.family))

    def as_dict(self) -> dict[str, Any]:
        """What plan.json holds: everything that decides which seeds run and what is concluded from them."""
        suite, first = self.most.suite, self.cells[0].plan
        return {
            "schema": PLAN_SCHEMA,
            "seeds": self.seeds,
            "text": self.text,
            "suite": suite.name,
            "suite_version": suite.version,
            "metric": suite.report.metric,
            "window": suite.report.window,
            "worst": suite.report.worst,
            "per_look": first.per_look,
            "looks": first.looks,
            "alpha": first.alpha,
            "rng": first.seed,
            "cells": [
                {"cell": dict(c.axes), "matching": c.matching, "algorithms": list(c.plan.algorithms),
                 "family": c.plan.family, "level": c.plan.level, "paths": c.plan.paths}
                for c in self.cells
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class CellState:
    """What the records decide in a cell so far: complete looks only."""

    cell: AdaptiveCell
    look: int  # complete looks
    result: LookResult | None  # of the last complete look

    @property
    def active(self) -> tuple[str, ...]:
        """Rules that need the next look."""
        return self.cell.plan.algorithms if self.result is None else self.result.active

    @property
    def done(self) -> bool:
        """Whether every pair is decided, or the last look taken."""
        return self.result is not None and self.result.done


class _Planned:
    """A run to be, as `by_matching` reads it."""

    def __init__(self, run: RunSpec) -> None:
        self.run, self.spec = run, run.as_dict()


def seeds_of(text: str) -> range:
    """All seeds that `adaptive:5x4` may take, 0 to 19.

    Raises:
        UsageError: no such plan.
    """
    match = re.fullmatch(r"adaptive:(\d{1,6})x(\d{1,6})", text.strip(), re.ASCII)
    most = int(match[1]) * int(match[2]) if match else 0
    if not 0 < most <= MOST_SEEDS:
        msg = f"--seeds {brief(text)}: write adaptive:5x4 for 5 seeds at each of 4 looks, {MOST_SEEDS} seeds at most"
        raise UsageError(msg)
    return range(most)


def make_plan(text: str, most: Plan) -> AdaptivePlan:
    """The adaptive plan over the runs of `most`, which has all seeds of all looks.

    Raises:
        UsageError: no cell has two rules to compare, or no look could ever decide.
    """
    groups: dict[tuple[str, str], dict[str, list[RunSpec]]] = {}
    for planned, matching in by_matching(_Planned(spec) for spec in most.specs):
        own = groups.setdefault((canonical(dict(planned.run.cell)), matching), {})
        own.setdefault(planned.run.algorithm, []).append(planned.run)
    comparable = {place: rules for place, rules in groups.items() if len(rules) > 1}
    if not comparable:
        msg = f"--seeds {text}: no cell of {most.suite.name} has two rules to compare; name more with --algos"
        raise UsageError(msg)
    cells = []
    for (_, matching), rules in comparable.items():
        try:
            plan = parse_plan(text, tuple(rules), cells=len(comparable))
        except ValueError as error:
            msg = f"--seeds {error}"
            raise UsageError(msg) from error
        axes = next(iter(rules.values()))[0].cell
        cells.append(AdaptiveCell(axes, matching, plan, {name: tuple(specs) for name, specs in rules.items()}))
    return AdaptivePlan(text.strip(), most, tuple(cells))


def is_recorded(plan: AdaptivePlan, store: Store) -> bool:
    """Whether the folder follows this plan already; where it does not, it may.

    Raises:
        UsageError: the folder follows another plan, or holds results from before any plan.
    """
    existing, wanted = read_plan(store.folder), plan.as_dict()
    if existing is not None:
        changed = [k for k in wanted if canonical(existing.get(k)) != canonical(wanted[k])]
        if changed:
            old = existing.get("text") or existing.get("seeds")
            msg = (
                f"{store.folder / PLAN_FILE} records another plan ({old}; {changed[0]} differs), and a plan never "
                "changes after its first run; start anew with --name NAME"
            )
            raise UsageError(msg)
        return True
    results = sum(r.status in FINISHED for r in store.known()[0].values())
    if results:
        msg = (
            f"{store.folder} holds {results} results from before any plan, and a plan made after looking guards "
            "nothing; keep them apart with --name NAME"
        )
        raise UsageError(msg)
    return False


def record(plan: AdaptivePlan, store: Store) -> None:
    """Write plan.json, once `is_recorded` has found that there is none."""
    write_plan(store.folder / PLAN_FILE, plan.as_dict(), force=False)


def require_no_plan(folder: Path) -> None:
    """Seeds outside a recorded plan would be seeds added after looking.

    Raises:
        UsageError: the folder follows a plan.
    """
    existing = read_plan(folder)
    if existing is not None:
        msg = (
            f"{folder} follows the plan {existing['seeds']}; go on with --seeds {existing['seeds']}, or keep other "
            "runs apart with --name NAME"
        )
        raise UsageError(msg)


def states(plan: AdaptivePlan, known: Mapping[str, RunRecord]) -> tuple[CellState, ...]:
    """Every cell replayed look by look, as far as its records go; seeds beyond a rule's drop-out are not looked at."""
    return tuple(_replayed(cell, known, plan.most.suite.report.worst) for cell in plan.cells)


def _replayed(cell: AdaptiveCell, known: Mapping[str, RunRecord], worst: float) -> CellState:
    state = CellState(cell, 0, None)
    values: dict[str, list[float]] = {name: [] for name in cell.specs}
    while not state.done:
        for name in state.active:
            wanted = cell.specs[name][len(values[name]) : (state.look + 1) * cell.plan.per_look]
            found = [final_value(known[s.run_id]) for s in wanted if s.run_id in known]
            finite = [v for v in found if v is not None]
            if len(finite) < cell.plan.per_look:
                return state
            values[name] += finite
        state = CellState(cell, state.look + 1, look_at(cell.plan, values, worst=worst))
    return state


def next_runs(plan: AdaptivePlan, now: Sequence[CellState]) -> Plan:
    """The runs up to and including the next look, of the rules that still need it; seed-major like every plan."""
    return _up_to(plan, {id(s.cell): s.look + 1 for s in now}, now)


def least_runs(plan: AdaptivePlan, now: Sequence[CellState]) -> Plan:
    """The runs if every cell is decided at the first look that can decide."""
    looks = {id(s.cell): max(s.look + 1, first_decisive_look(s.cell.plan) or s.cell.plan.looks) for s in now}
    return _up_to(plan, looks, now)


def _up_to(plan: AdaptivePlan, looks: Mapping[int, int], now: Sequence[CellState]) -> Plan:
    wanted = {
        spec.run_id
        for state in now
        if not state.done
        for name in state.active
        for spec in state.cell.specs[name][: looks[id(state.cell)] * state.cell.plan.per_look]
    }
    return dataclasses.replace(plan.most, specs=tuple(s for s in plan.most.specs if s.run_id in wanted))


def most_runs(plan: AdaptivePlan, now: Sequence[CellState]) -> Plan:
    """The runs if nothing more is decided before the last look."""
    return _up_to(plan, {id(s.cell): s.cell.plan.looks for s in now}, now)


def decision_rows(now: Iterable[CellState]) -> list[dict[str, Any]]:
    """One row per cell and pair: what the first rule is to the second, since which look, by how many seeds."""
    rows = []
    for state in now:
        found = {} if state.result is None else state.result.decisions
        for pair in state.cell.plan.pairs:
            d = found.get(pair)
            rows.append({
                "cell": dict(state.cell.axes), "matching": state.cell.matching, "a": pair[0], "b": pair[1],
                "status": d.status if d else "open", "look": d.look if d else 0, "seeds": d.runs if d else 0,
                "difference": d.difference if d else None,
            })  # fmt: skip
    return rows
