"""`run --seeds adaptive:5x4`: look after look of a recorded plan, until every pair is decided or no look is left."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.cli.base import cell_text, failure, say, table
from tpobench.errors import StorageFull, UsageError
from tpobench.execution.units import duration

if TYPE_CHECKING:
    from tpobench.adaptive import AdaptivePlan, CellState
    from tpobench.execution.engine import Executor, Options, Outcome
    from tpobench.execution.stop import Stop
    from tpobench.plan import Plan
    from tpobench.records import RunRecord, Store


def run_adaptive(
    folder: Path, plan: AdaptivePlan, executor: Executor, options: Options, plugins: Sequence[str], stop: Stop
) -> dict[str, Any]:
    """Record the plan, take its looks, and say what they decide.  An interrupted command goes on where it was.

    Raises:
        UsageError: shards, a folder with another plan or with earlier results, or a plan that may cost too much.
    """
    from tpobench.adaptive import is_recorded, record, states
    from tpobench.records import BROKEN, PLAN_FILE, Store

    if options.shard is not None:
        msg = "--shard: a look needs all of its runs, so adaptive seeds cannot be sharded; leave one of the two out"
        raise UsageError(msg)
    store = Store(folder)
    _require_affordable(plan, store, options)
    new = not is_recorded(plan, store)
    if new:
        try:
            store.open(plan.most.suite.as_dict())  # refuses other settings before a plan binds the folder
            record(plan, store)
        except OSError as error:
            msg = f"cannot record the plan in {folder}: {error.strerror or error}; nothing was run"
            raise StorageFull(msg) from error
    say(f"{folder.name}: {plan.text}, {'recorded in' if new else 'as recorded in'} {folder / PLAN_FILE}")
    looks = _Looks(store, plan, executor, dataclasses.replace(options, max_cost_s=None), plugins, stop)
    looks.take()
    known, _ = store.known()
    now = states(plan, known)
    decided = _tell(now)
    broken = [known[s.run_id] for s in plan.most.specs if s.run_id in known and known[s.run_id].status in BROKEN]
    return {
        "suite": plan.most.suite.name, "folder": str(folder), "already": looks.already,
        "ran": dict(sorted(looks.ran.items())), "elsewhere": looks.elsewhere, "left": len(looks.left(known, now)),
        "given_up": looks.given_up, "quarantined": looks.quarantined,
        "failed": [failure(r) for r in broken], "summary": looks.summary(known),
        "adaptive": {"plan": plan.text, "file": str(folder / PLAN_FILE), "looks": max(s.look for s in now),
                     "runs": looks.used(now), "most_runs": len(plan.most.specs), "done": all(s.done for s in now),
                     "decisions": decided},
    }  # fmt: skip


class _Looks:
    """The looks that one invocation takes, and what they amounted to."""

    def __init__(
        self, store: Store, plan: AdaptivePlan, executor: Executor, options: Options, plugins: Sequence[str], stop: Stop
    ) -> None:
        self.store, self.plan, self.executor, self.options = store, plan, executor, options
        self.plugins, self.stop = plugins, stop
        self.ran: Counter[str] = Counter()
        self.already = self.elsewhere = self.given_up = self.quarantined = 0
        self.start = time.monotonic()

    def take(self) -> None:
        """Look after look; a cell whose look stays incomplete (failed runs) waits for the next invocation."""
        from tpobench.adaptive import next_runs, states
        from tpobench.records import FINISHED

        known, _ = self.store.known()
        self.already = sum(s.run_id in known and known[s.run_id].status in FINISHED for s in self.plan.most.specs)
        now = states(self.plan, known)
        open_ = [s for s in now if not s.done]
        while open_ and not self.stop.asked.is_set() and self._in_time():
            look = min(s.look for s in open_)  # cells move on together, so that a run cut short is balanced
            outcome = self._one(next_runs(self.plan, [s for s in open_ if s.look == look]), known, look + 1)
            known, _ = self.store.known()
            before, now = {id(s.cell): s.look for s in open_}, states(self.plan, known)
            stuck = {id(s.cell) for s in open_ if s.look == look} & {id(s.cell) for s in now if s.look == look}
            self._progress(before, now)
            open_ = [s for s in now if id(s.cell) in before and not s.done and id(s.cell) not in stuck]
            if outcome.timed_out:
                say(f"the time budget of {duration(self.options.time_budget_s or 0)} ended the run")
                break

    def _one(self, todo: Plan, known: dict[str, RunRecord], look: int) -> Outcome:
        from tpobench.execution.engine import due, execute
        from tpobench.execution.progress import progress_for
        from tpobench.records import FINISHED

        left = None if self.options.time_budget_s is None else max(0.0, self.options.time_budget_s - self._spent())
        options = dataclasses.replace(self.options, time_budget_s=left)
        mine, _ = due(todo, known, options)
        done = sum(s.run_id in known and known[s.run_id].status in FINISHED for s in todo.specs)
        total = sum(len(job.specs) for job in mine)
        with progress_for(f"{self.store.folder.name} look {look}", total, done, sys.stderr) as progress:
            outcome = execute(
                todo, self.store, 1, progress, self.plugins, executor=self.executor, options=options, stop=self.stop
            )
        self.ran += outcome.counts
        self.elsewhere += len(outcome.elsewhere)
        self.given_up += outcome.given_up
        self.quarantined += outcome.quarantined
        return outcome

    def _spent(self) -> float:
        return time.monotonic() - self.start

    def _in_time(self) -> bool:
        if self.options.time_budget_s is None or self._spent() < self.options.time_budget_s:
            return True
        say(f"the time budget of {duration(self.options.time_budget_s)} ended the run")
        return False

    def _progress(self, before: dict[int, int], now: Iterable[CellState]) -> None:
        """One line per look: pairs decided, cells that are done, rules that dropped out."""
        moved = [s for s in now if s.look > before.get(id(s.cell), s.look)]
        if not moved:
            return
        pairs = [d for s in moved if s.result is not None for d in s.result.decisions.values()]
        decided = sum(d.status in {"better", "worse"} and d.look == s.look for s in moved if s.result is not None
                      for d in s.result.decisions.values())  # fmt: skip
        out = sum(len(s.cell.plan.algorithms) - len(s.active) for s in moved)
        say(
            f"look {max(s.look for s in moved)}: {decided} of {len(pairs)} pairs decided now, "
            f"{sum(s.done for s in moved)} of {len(moved)} cells done, {out} rules out of their cells"
        )

    def left(self, known: dict[str, RunRecord], now: Sequence[CellState]) -> list[str]:
        """Runs of the next look that have no result."""
        from tpobench.adaptive import next_runs
        from tpobench.records import FINISHED

        return [
            s.run_id for s in next_runs(self.plan, now).specs
            if s.run_id not in known or known[s.run_id].status not in FINISHED
        ]  # fmt: skip

    def used(self, now: Sequence[CellState]) -> int:
        """Runs that the decisions rest on."""
        return len({
            spec.run_id
            for state in now
            for name, specs in state.cell.specs.items()
            for spec in specs[: _seen(state, name)]
        })  # fmt: skip

    def summary(self, known: dict[str, RunRecord]) -> list[dict[str, Any]]:
        """As of any run: one row per cell and rule."""
        from tpobench.cli.runs import summary

        rows = summary(self.plan.most, known)
        if rows:
            say(table(list(rows[0]), [list(r.values()) for r in rows]))
        return rows


def _seen(state: CellState, name: str) -> int:
    """Seeds of a rule that were looked at: up to the look that decided its last pair."""
    if state.result is None:
        return 0
    return max(d.runs for pair, d in state.result.decisions.items() if name in pair)


def _tell(now: Sequence[CellState]) -> list[dict[str, Any]]:
    """The decision table."""
    from tpobench.adaptive import decision_rows

    rows = decision_rows(now)
    matchings = len({r["matching"] for r in rows}) > 1
    shown = [
        [cell_text(r["cell"]) + (f" matching={r['matching']}" if matchings else ""), r["a"], r["b"], r["status"],
         r["look"], r["seeds"], None if r["difference"] is None else float(f"{r['difference']:.3g}")]
        for r in rows
    ]  # fmt: skip
    say(table(["cell", "A", "B", "A is", "look", "seeds", "A − B"], shown))
    undecided = sum(not s.done for s in now)
    if undecided:
        say(f"{undecided} of {len(now)} cells are still open; the same command goes on from there")
    return rows


def _require_affordable(plan: AdaptivePlan, store: Store, options: Options) -> None:
    """--max-cost holds for the most that the plan can take."""
    if options.max_cost_s is None:
        return
    from tpobench.adaptive import most_runs, states

    known, _ = store.known()
    cost = _cost(most_runs(plan, states(plan, known)), known, options)[1]
    limit = duration(options.max_cost_s)
    if cost is None:
        msg = f"--max-cost {limit}: the suite says nothing of the cost of some jobs; leave it out, or give it a [cost]"
        raise UsageError(msg)
    if cost > options.max_cost_s:
        msg = f"--max-cost {limit}: the plan may take {duration(cost)} of CPU time; take fewer looks, rules or cells"
        raise UsageError(msg)


def _cost(plan: Plan, known: dict[str, RunRecord], options: Options) -> tuple[int, float | None]:
    """Runs to do and their CPU seconds."""
    from tpobench.execution.engine import due
    from tpobench.execution.estimate import Costs, total

    jobs, _ = due(plan, known, options)
    costs = Costs(plan.suite, known, "cpu_s")
    return sum(len(job.specs) for job in jobs), total([costs.of(job) for job in jobs])


def adaptive_costs(folder: Path, plan: AdaptivePlan, options: Options) -> dict[str, Any]:
    """The least and the most that the plan can still cost."""
    from tpobench.adaptive import least_runs, most_runs, read_plan, states
    from tpobench.records import Store

    known, _ = Store(folder).known()
    now = states(plan, known)
    (least, least_s), (most, most_s) = (_cost(f(plan, now), known, options) for f in (least_runs, most_runs))
    recorded = read_plan(folder) is not None
    return {
        "plan": plan.text, "recorded": recorded, "looks_taken": max(s.look for s in now), "least_runs": least,
        "least_cpu_s": least_s, "most_runs": most, "most_cpu_s": most_s, "wide": wide_stacks(plan),
    }  # fmt: skip


def wide_stacks(plan: AdaptivePlan) -> str:
    """Seeds are trained in aligned stacks: looks that cut them train some seeds twice."""
    width = max((s.seed_batch for s in plan.most.specs), default=1)
    per_look = plan.cells[0].plan.per_look
    if per_look % width == 0:
        return ""
    return f"seeds are trained {width} at a time: looks of {per_look} cut such stacks, looks of {width} waste nothing"


def costs_text(costs: dict[str, Any]) -> list[str]:
    """For people."""
    least, most = (
        f"{costs[f'{k}_runs']} runs, CPU time {'unknown' if (s := costs[f'{k}_cpu_s']) is None else duration(s)}"
        for k in ("least", "most")
    )
    state = f"{costs['looks_taken']} looks taken" if costs["recorded"] else "not yet recorded"
    lines = [f"{costs['plan']} ({state})", f"least: {least}; most: {most}"]
    return lines + ([costs["wide"]] if costs["wide"] else [])
