"""Adaptive seeds over a suite: a plan recorded before the first run, looks, and what each look leaves to run.

results/<name>/plan.json    written once, before the first record; another plan for the same folder is refused

Every cell with at least two algorithms is a group-sequential experiment of its own (`stats.sequential`); all cells
share alpha. The state is always replayed from the records, so an interrupted run takes the same looks and decisions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tpobench.errors import UsageError
from tpobench.identity import canonical
from tpobench.planning.design import Cost, Known, Round, all_tried
from tpobench.planning.plan import Plan, RunSpec
from tpobench.printable import brief
from tpobench.records.results import by_matching
from tpobench.records.store import FINISHED, PLAN_FILE, PLAN_SCHEMA, RunRecord, Store, read_plan
from tpobench.scores.cells import final_values
from tpobench.scores.reporting import Reporting
from tpobench.stats.sequential import LookResult, SequentialPlan, first_decisive_look, look_at, parse_plan, plan_text

MOST_SEEDS = 1000


@dataclass(frozen=True)
class AdaptiveCell:
    """One cell under one matching: its plan, and the runs it may need, by algorithm and in seed order."""

    axes: Mapping[str, Any]
    matching: str
    plan: SequentialPlan
    specs: Mapping[str, tuple[RunSpec, ...]]
    reporting: Reporting


@dataclass(frozen=True)
class Looks:
    """All cells of a suite; `plan` is what runs if nothing is decided early."""

    seeds: str  # adaptive:5x4
    plan: Plan
    cells: tuple[AdaptiveCell, ...]

    @property
    def text(self) -> str:
        """`adaptive:5x4|alpha:0.05|family:3|cells:9|paths:9999|rng:0`, of the largest family."""
        return plan_text(max((cell.plan for cell in self.cells), key=lambda p: p.family))

    def as_dict(self) -> dict[str, Any]:
        """What plan.json holds: everything that decides which seeds run and what is concluded from them."""
        suite, first = self.plan.suite, self.cells[0].plan
        return {
            "schema": PLAN_SCHEMA,
            "seeds": self.seeds,
            "text": self.text,
            "suite": suite.name,
            "suite_version": suite.version,
            "metric": suite.report.metric,
            "window": suite.report.window,
            **{k: suite.reporting[k] for k in ("worst", "better", "best") if k in suite.reporting},
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

    def is_recorded(self, store: Store) -> bool:
        """Whether the folder follows this plan already; where it does not, it may.

        Raises:
            UsageError: the folder follows another plan, or holds results from before any plan.
        """
        existing, wanted = read_plan(store.folder), self.as_dict()
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

    def require(self, store: Store, *, sharded: bool) -> None:
        """The folder follows this plan or may begin to, and a look has all of its runs.

        Raises:
            UsageError: shards, or a folder with another plan or with earlier results.
        """
        if sharded:
            msg = "--shard: a look needs all of its runs, so adaptive seeds cannot be sharded; leave one of the two out"
            raise UsageError(msg)
        self.is_recorded(store)

    def begin(self, store: Store) -> str:
        """Write plan.json, where it is not there.

        Raises:
            UsageError: a folder with another plan, with earlier results, or of other settings.
            StorageFull: it cannot be written.
        """
        file = store.folder / PLAN_FILE
        if self.is_recorded(store):
            return f"{self.text}, as recorded in {file}"
        store.bind(self.plan.suite.as_dict(), self.as_dict())
        return f"{self.text}, recorded in {file}"

    def replay(self, known: Known) -> LooksState:
        """Every cell look by look, as far as its records go; seeds beyond an algorithm's drop-out are not looked at."""
        return LooksState(self, tuple(_replayed(cell, known) for cell in self.cells))

    @property
    def cut_stacks(self) -> str:
        """Seeds are trained in aligned stacks: looks that cut them train some seeds twice; empty where none do."""
        width = max((s.seed_batch for s in self.plan.specs), default=1)
        per_look = self.cells[0].plan.per_look
        if per_look % width == 0:
            return ""
        return (
            f"seeds are trained {width} at a time: looks of {per_look} cut such stacks, looks of {width} waste nothing"
        )


@dataclass(frozen=True)
class CellState:
    """What the records decide in a cell so far: complete looks only."""

    cell: AdaptiveCell
    look: int  # complete looks
    result: LookResult | None  # of the last complete look

    @property
    def active(self) -> tuple[str, ...]:
        """Algorithms that need the next look."""
        return self.cell.plan.algorithms if self.result is None else self.result.active

    @property
    def done(self) -> bool:
        """Whether every pair is decided, or the last look taken."""
        return self.result is not None and self.result.done

    def runs(self, looks: int) -> list[RunSpec]:
        """The runs up to a look of the algorithms that still need one."""
        seeds = looks * self.cell.plan.per_look
        return [] if self.done else [spec for name in self.active for spec in self.cell.specs[name][:seeds]]

    def seeds_of(self, name: str) -> int:
        """Seeds of an algorithm that were looked at: up to the look that decided its last pair."""
        if self.result is None:
            return 0
        return max(d.runs for pair, d in self.result.decisions.items() if name in pair)


@dataclass(frozen=True)
class LooksState:
    """How far the looks have come, in every cell."""

    design: Looks
    cells: tuple[CellState, ...]

    @property
    def runs(self) -> Plan:
        """All that may be looked at."""
        return self.design.plan

    @property
    def look(self) -> int:
        """The looks that the furthest cell has taken."""
        return max(cell.look for cell in self.cells)

    @property
    def used(self) -> int:
        """Runs that the decisions rest on."""
        return len({
            spec.run_id
            for state in self.cells
            for name, specs in state.cell.specs.items()
            for spec in specs[: state.seeds_of(name)]
        })  # fmt: skip

    def next(self, tried: Collection[str]) -> Round | None:
        """The next look of the cells that have taken the fewest: they move on together, so that a cut is balanced."""
        able = [s for s in self.cells if not s.done and not all_tried(s.runs(s.look + 1), tried)]
        if not able:
            return None
        look = min(s.look for s in able) + 1
        return Round((self._only(s.runs(look) for s in able if s.look == look - 1),), f"look {look}")

    @property
    def waiting(self) -> tuple[Plan, ...]:
        """The next look of every cell that is still open."""
        return tuple(self._only([s.runs(s.look + 1)]) for s in self.cells if not s.done)

    def bounds(self, cost: Cost) -> tuple[float, float]:
        """If every cell is decided at the first look that can decide; if nothing more is before the last."""
        first = {id(s): first_decisive_look(s.cell.plan) or s.cell.plan.looks for s in self.cells}
        least = self._only(s.runs(max(s.look + 1, first[id(s)])) for s in self.cells)
        most = self._only(s.runs(s.cell.plan.looks) for s in self.cells)
        return cost(least.specs), cost(most.specs)

    def progress(self, before: Self, number: int) -> str:  # noqa: ARG002 - looks have numbers of their own
        """Pairs decided, cells that are done, algorithms that dropped out."""
        moved = [s for s, old in zip(self.cells, before.cells, strict=True) if s.look > old.look]
        if not moved:
            return ""
        pairs = [(s, d) for s in moved if s.result is not None for d in s.result.decisions.values()]
        decided = sum(d.status in {"better", "worse"} and d.look == s.look for s, d in pairs)
        out = sum(len(s.cell.plan.algorithms) - len(s.active) for s in moved)
        return (
            f"look {max(s.look for s in moved)}: {decided} of {len(pairs)} pairs decided now, "
            f"{sum(s.done for s in moved)} of {len(moved)} cells done, {out} algorithms out of their cells"
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row per cell and pair: what the first algorithm is to the second, since which look, by how many seeds."""
        rows = []
        for state in self.cells:
            decisions = {} if state.result is None else state.result.decisions
            for pair in state.cell.plan.pairs:
                d = decisions.get(pair)
                rows.append({
                    "cell": dict(state.cell.axes), "matching": state.cell.matching, "a": pair[0], "b": pair[1],
                    "status": d.status if d else "open", "look": d.look if d else 0, "seeds": d.runs if d else 0,
                    "difference": 0.0 + state.cell.reporting.sign * d.difference if d else None,
                })  # fmt: skip
        return rows

    def _only(self, wanted: Iterable[Iterable[RunSpec]]) -> Plan:
        """These runs, seed-major like every plan."""
        ids = {spec.run_id for runs in wanted for spec in runs}
        return dataclasses.replace(self.runs, specs=tuple(s for s in self.runs.specs if s.run_id in ids))


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


def make_plan(text: str, most: Plan) -> Looks:
    """The looks at the runs of `most`, which has all seeds of all looks.

    Raises:
        UsageError: no cell has two algorithms to compare, or no look could ever decide.
    """
    groups: dict[tuple[str, str], dict[str, list[RunSpec]]] = {}
    for planned, matching in by_matching(_Planned(spec) for spec in most.specs):
        runs = groups.setdefault((canonical(dict(planned.run.cell)), matching), {})
        runs.setdefault(planned.run.algorithm, []).append(planned.run)
    comparable = {place: algorithms for place, algorithms in groups.items() if len(algorithms) > 1}
    if not comparable:
        msg = f"--seeds {text}: no cell of {most.suite.name} has two algorithms to compare; name more with --algos"
        raise UsageError(msg)
    cells = []
    for (_, matching), algorithms in comparable.items():
        try:
            plan = parse_plan(text, tuple(algorithms), cells=len(comparable))
        except ValueError as error:
            msg = f"--seeds {error}"
            raise UsageError(msg) from error
        axes = next(iter(algorithms.values()))[0].cell
        specs = {name: tuple(runs) for name, runs in algorithms.items()}
        cells.append(AdaptiveCell(axes, matching, plan, specs, Reporting.of(most.suite.reporting)))
    return Looks(text.strip(), most, tuple(cells))


def _replayed(cell: AdaptiveCell, known: Mapping[str, RunRecord]) -> CellState:
    state = CellState(cell, 0, None)
    values: dict[str, list[float]] = {name: [] for name in cell.specs}
    while not state.done:
        for name in state.active:
            wanted = cell.specs[name][len(values[name]) : (state.look + 1) * cell.plan.per_look]
            finals = final_values([known[s.run_id] for s in wanted if s.run_id in known])
            finite = [v for v in finals if v is not None]
            if len(finite) < cell.plan.per_look:
                return state
            values[name] += cell.reporting.loss(finite).tolist()
        result = look_at(cell.plan, values, worst=float(cell.reporting.loss(cell.reporting.worst)))
        state = CellState(cell, state.look + 1, result)
    return state
