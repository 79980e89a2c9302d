"""`run --seeds adaptive:5x4`: look after look of a recorded plan, until every pair is decided or no look is left."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.cli.base import cell_text, failure, say, table
from tpobench.cli.rounds import Rounds, least_and_most_text, tell_of_waiting
from tpobench.errors import StorageFull, UsageError
from tpobench.units import duration

if TYPE_CHECKING:
    from tpobench.execution.engine import Executor, Options
    from tpobench.execution.stop import Stop
    from tpobench.planning.looks import AdaptivePlan, CellState
    from tpobench.planning.plan import Plan
    from tpobench.records.store import RunRecord, Store


def require_possible(plan: AdaptivePlan, store: Store, options: Options) -> bool:
    """Whether the plan is new to its folder, which must be free to follow it.

    Raises:
        UsageError: shards, a folder with another plan or with earlier results, or a plan that may cost too much.
    """
    from tpobench.planning.looks import is_recorded

    if options.shard is not None:
        msg = "--shard: a look needs all of its runs, so adaptive seeds cannot be sharded; leave one of the two out"
        raise UsageError(msg)
    _require_affordable(plan, store, options)
    return not is_recorded(plan, store)


def run_adaptive(
    folder: Path, plan: AdaptivePlan, executor: Executor, options: Options, plugins: Sequence[str], stop: Stop
) -> dict[str, Any]:
    """Record the plan, take its looks, and say what they decide.  An interrupted command goes on where it was.

    Raises:
        UsageError: shards, a folder with another plan or with earlier results, or a plan that may cost too much.
    """
    from tpobench.execution.engine import due
    from tpobench.planning.looks import next_runs, record, states
    from tpobench.records.store import BROKEN, FINISHED, PLAN_FILE, Store

    store = Store(folder)
    new = require_possible(plan, store, options)
    if new:
        try:
            store.open(plan.most.suite.as_dict())  # refuses other settings before a plan binds the folder
            record(plan, store)
        except OSError as error:
            msg = f"cannot record the plan in {folder}: {error.strerror or error}; nothing was run"
            raise StorageFull(msg) from error
    say(f"{folder.name}: {plan.text}, {'recorded in' if new else 'as recorded in'} {folder / PLAN_FILE}")
    known, _ = store.known()
    already = sum(s.run_id in known and known[s.run_id].status in FINISHED for s in plan.most.specs)
    looks = _Looks(store, executor, dataclasses.replace(options, max_cost_s=None), plugins, stop)
    looks.take(plan)
    known, _ = store.known()
    now = states(plan, known)
    decided = _tell(now)
    waiting = [next_runs(plan, [s]) for s in now if not s.done]
    tell_of_waiting("cells are still open", len(now), waiting, known, options)
    broken = [known[s.run_id] for s in plan.most.specs if s.run_id in known and known[s.run_id].status in BROKEN]
    return {
        "suite": plan.most.suite.name, "folder": str(folder), "already": already, **looks.tally,
        "left": len(_runs_left(plan, known, now)), "given_up": due(plan.most, known, options)[1],
        "failed": [failure(r) for r in broken],
        "summary": _summary(plan, known),
        "adaptive": {"plan": plan.text, "file": str(folder / PLAN_FILE), "looks": max(s.look for s in now),
                     "runs": _runs_used(now), "most_runs": len(plan.most.specs), "done": all(s.done for s in now),
                     "decisions": decided},
    }  # fmt: skip


class _Looks(Rounds):
    """Rounds of looks."""

    ends = "the run"

    def take(self, plan: AdaptivePlan) -> None:
        """Look after look; a cell whose look stays incomplete (failed runs) waits for the next invocation."""
        from tpobench.planning.looks import next_runs, states

        known, _ = self.store.known()
        now = states(plan, known)
        open_ = [s for s in now if not s.done]
        while open_ and self.goes_on():
            look = min(s.look for s in open_)  # cells move on together, so that a run cut short is balanced
            timed_out = self.train(next_runs(plan, [s for s in open_ if s.look == look]), known, f"look {look + 1}")
            known, _ = self.store.known()
            before, now = {id(s.cell): s.look for s in open_}, states(plan, known)
            stuck = {id(s.cell) for s in open_ if s.look == look} & {id(s.cell) for s in now if s.look == look}
            self._progress(before, now)
            open_ = [s for s in now if id(s.cell) in before and not s.done and id(s.cell) not in stuck]
            if timed_out:
                self.tell_of_time()
                break

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


def _runs_left(plan: AdaptivePlan, known: dict[str, RunRecord], now: Sequence[CellState]) -> list[str]:
    """Runs of the next look that have no result."""
    from tpobench.planning.looks import next_runs
    from tpobench.records.store import FINISHED

    return [
        s.run_id for s in next_runs(plan, now).specs
        if s.run_id not in known or known[s.run_id].status not in FINISHED
    ]  # fmt: skip


def _runs_used(now: Sequence[CellState]) -> int:
    """Runs that the decisions rest on."""
    return len({
        spec.run_id
        for state in now
        for name, specs in state.cell.specs.items()
        for spec in specs[: _seen(state, name)]
    })  # fmt: skip


def _summary(plan: AdaptivePlan, known: dict[str, RunRecord]) -> list[dict[str, Any]]:
    """As of any run: one row per cell and rule."""
    from tpobench.cli.base import summary

    rows = summary(plan.most, known)
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
    from tpobench.planning.looks import decision_rows

    rows = decision_rows(now)
    matchings = len({r["matching"] for r in rows}) > 1
    shown = [
        [cell_text(r["cell"]) + (f" matching={r['matching']}" if matchings else ""), r["a"], r["b"], r["status"],
         r["look"], r["seeds"], None if r["difference"] is None else float(f"{r['difference']:.3g}")]
        for r in rows
    ]  # fmt: skip
    say(table(["cell", "A", "B", "A is", "look", "seeds", "A − B"], shown))
    return rows


def _require_affordable(plan: AdaptivePlan, store: Store, options: Options) -> None:
    """--max-cost holds for the most that the plan can take."""
    if options.max_cost_s is None:
        return
    from tpobench.planning.looks import most_runs, states

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
    from tpobench.planning.looks import least_runs, most_runs, states
    from tpobench.records.store import Store, read_plan

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
    least, most = least_and_most_text(costs)
    state = f"{costs['looks_taken']} looks taken" if costs["recorded"] else "not yet recorded"
    lines = [f"{costs['plan']} ({state})", f"least: {least}; most: {most}"]
    return lines + ([costs["wide"]] if costs["wide"] else [])
