"""`run` and `plan` of a suite with a [search] table: level after level, each chosen by the results before it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.cli.base import cell_text, failure, say, table
from tpobench.cli.rounds import Rounds, least_and_most_text, tell_of_waiting
from tpobench.errors import UsageError
from tpobench.units import duration

if TYPE_CHECKING:
    from tpobench.execution.engine import Executor, Options
    from tpobench.execution.stop import Stop
    from tpobench.planning.levels import TrackState
    from tpobench.planning.plan import Plan, RunSpec
    from tpobench.records.store import RunRecord
    from tpobench.suites.load import Suite


def is_search(plan: Plan) -> bool:
    """Whether the levels of a plan are to be searched."""
    return plan.suite.search is not None and bool(plan.specs)


UNDECIDED = "not distinguishable"  # pairs that the terminal is spared; the report has them


def require_plain_seeds(suites: Iterable[Suite], seeds: str | None) -> None:
    """A level needs all of its seeds.

    Raises:
        UsageError: adaptive seeds for a search.
    """
    from tpobench.planning.looks import is_adaptive

    for suite in suites:
        if suite.search is not None and is_adaptive(seeds):
            msg = f"--seeds {seeds}: '{suite.name}' searches levels, which take all seeds; give a count such as 20"
            raise UsageError(msg)


def require_possible(plan: Plan, known: Mapping[str, RunRecord], options: Options) -> None:
    """A search needs all results of a level, under one definition of learning.

    Raises:
        UsageError: shards, or a folder with results of another search.
    """
    from tpobench.planning.levels import require_same_search

    if options.shard is not None:
        msg = "--shard: the next level depends on all results of the last, so a search cannot be sharded; leave it out"
        raise UsageError(msg)
    require_same_search(plan, known)


def run_search(
    folder: Path, plan: Plan, executor: Executor, options: Options, plugins: Sequence[str], stop: Stop
) -> dict[str, Any]:
    """Search every rule's breaking point, and say where it lies.  An interrupted command goes on where it was.

    plan: the ends of the ladder, from which the other levels are planned as they are wanted.

    Raises:
        UsageError: shards, or a folder with results of another search.
    """
    from tpobench.execution.engine import due
    from tpobench.planning.levels import next_runs, recorded_levels, states, tracks_of, visited_runs
    from tpobench.records.store import BROKEN, FINISHED, Store

    store, tracks = Store(folder), tracks_of(plan)
    known, _ = store.known()
    require_possible(plan, known, options)
    every = {s.run_id for t in tracks for v in recorded_levels(t, known) for s in t.runs_at(v)}
    already = sum(i in known and known[i].status in FINISHED for i in every)
    levels = _Levels(store, executor, dataclasses.replace(options, max_cost_s=None), plugins, stop)
    levels.take(plan)
    known, _ = store.known()
    now = states(tracks, known)
    points = _tell(known.values())
    waiting = [next_runs(plan, [s]) for s in now if not s.walk.done]
    tell_of_waiting("searches are not done", len(now), waiting, known, options)
    runs = visited_runs(plan, now)
    left = sum(len(job.specs) for job in due(next_runs(plan, now), known, options)[0])
    broken = [known[s.run_id] for s in runs.specs if s.run_id in known and known[s.run_id].status in BROKEN]
    return {
        "suite": plan.suite.name, "folder": str(folder), "already": already, **levels.tally, "left": left,
        "given_up": due(runs, known, options)[1],
        "failed": [failure(r) for r in broken], "summary": _summary(runs, known),
        "search": {"done": all(s.walk.done for s in now), "tracks": [_track(s) for s in now], "points": points},
    }  # fmt: skip


class _Levels(Rounds):
    """Rounds of levels."""

    ends = "the search"

    def take(self, plan: Plan) -> None:
        """Round after round; a rule whose level stays incomplete (failed runs) waits for the next invocation."""
        from tpobench.planning.levels import next_runs, states, tracks_of

        tracks, number = tracks_of(plan), 0
        known, _ = self.store.known()
        now = states(tracks, known)
        stuck: set[int] = set()
        while self.goes_on():
            todo = next_runs(plan, [s for i, s in enumerate(now) if i not in stuck])
            if not todo.specs:
                break
            number += 1
            timed_out = self.train(todo, known, f"round {number}")
            known, _ = self.store.known()
            before, now = now, states(tracks, known)
            stuck |= {i for i, (old, new) in enumerate(zip(before, now, strict=True))
                      if not new.walk.done and set(old.walk.wanted) & set(new.walk.wanted)}  # fmt: skip
            self._progress(now, number)
            if timed_out:
                self.tell_of_time()
                break

    def _progress(self, now: Sequence[TrackState], number: int) -> None:
        """One line per round: where each rule stands."""
        say(f"round {number}: " + "; ".join(_standing(state) for state in now))


def _standing(state: TrackState) -> str:
    """`tpo 91..152`, `grpo holds at 4096`, `dg breaks at 2`; a track of several axes with its place."""
    place = cell_text(state.track.axes)
    where = state.track.algorithm + ("" if place == "-" else f" ({place})")
    walk = state.walk
    if walk.held is not None and walk.broke is not None:
        return f"{where} {walk.held}..{walk.broke}" + " done" * walk.done
    if not walk.done:
        return f"{where} at its ends"
    return f"{where} holds at {walk.held}" if walk.held is not None else f"{where} breaks at {state.track.ladder[0]}"


def _track(state: TrackState) -> dict[str, Any]:
    return {
        "cell": dict(state.track.axes), "matching": state.track.matching, "algorithm": state.track.algorithm,
        "visited": list(state.walk.visited), "wanted": list(state.walk.wanted), "held": state.walk.held,
        "broke": state.walk.broke, "done": state.walk.done,
        "outcomes": [{"level": v, "learned": state.outcomes[v].learned, "runs": state.outcomes[v].runs}
                     for v in state.walk.visited],
    }  # fmt: skip


def _summary(plan: Plan, known: dict[str, RunRecord]) -> list[dict[str, Any]]:
    from tpobench.cli.base import summary

    return summary(plan, known)


def _tell(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """The tables of the report, as far as there are results."""
    from tpobench.report.breaking_point import search_data, search_tables
    from tpobench.scores.cells import read_cells
    from tpobench.scores.options import Options as How

    suites, _ = read_cells(records, How())
    found: list[dict[str, Any]] = []
    for suite, cells in suites.items():
        for each in search_tables(suite, cells, How()):
            rows = [[c.text for c in row] for row in each.rows if not (each.folded and row[-1].text == UNDECIDED)]
            say(f"\n{each.title}")
            say(table(each.header, rows) if rows else "none of them tells two rules apart")
            for note in each.notes if rows else ():
                say(f"  {note}")
        found += search_data(cells)
    return found


# ---- cost


def shown(plan: Plan, known: Mapping[str, RunRecord]) -> Plan:
    """Of a search, the levels visited and the next ones; any other plan as it is."""
    if not is_search(plan):
        return plan
    from tpobench.planning.levels import states, tracks_of, visited_runs

    return visited_runs(plan, states(tracks_of(plan), known))


def search_costs(plan: Plan, known: dict[str, RunRecord], options: Options) -> dict[str, Any]:
    """The least and the most that the searches of a plan can still cost."""
    from tpobench.execution.engine import due
    from tpobench.execution.estimate import Costs
    from tpobench.planning.levels import least_and_most, states, tracks_of
    from tpobench.planning.plan import Plan as Part

    costs = Costs(plan.suite, known, "cpu_s")
    unknown = False

    def jobs(specs: Sequence[RunSpec]) -> list[Any]:
        return due(Part(plan.suite, tuple(specs)), known, options)[0]

    def runs(specs: Sequence[RunSpec]) -> float:
        return float(sum(len(job.specs) for job in jobs(specs)))

    def seconds(specs: Sequence[RunSpec]) -> float:
        nonlocal unknown
        found = [costs.of(job) for job in jobs(specs)]
        unknown = unknown or None in found
        return sum(s for s in found if s is not None)

    now = states(tracks_of(plan), known)
    by_runs = [least_and_most(state, runs) for state in now]
    by_time = [least_and_most(state, seconds) for state in now]
    least, most = ((sum(r[i] for r in by_runs), sum(t[i] for t in by_time)) for i in (0, 1))
    return {
        "searches": len(now), "done": sum(s.walk.done for s in now),
        "least_runs": int(least[0]), "least_cpu_s": None if unknown else least[1],
        "most_runs": int(most[0]), "most_cpu_s": None if unknown else most[1],
    }  # fmt: skip


def costs_text(costs: Mapping[str, Any]) -> list[str]:
    """For people."""
    least, most = least_and_most_text(costs)
    return [f"search: {costs['done']} of {costs['searches']} done; still at least {least}; at most {most}"]


def require_affordable_searches(plans: Iterable[tuple[Plan, dict[str, RunRecord]]], options: Options) -> None:
    """--max-cost holds for the most that the searches can take.

    Raises:
        UsageError: it is more, or nobody knows.
    """
    if options.max_cost_s is None:
        return
    found = [search_costs(plan, known, options)["most_cpu_s"] for plan, known in plans]
    limit = duration(options.max_cost_s)
    if None in found:
        msg = f"--max-cost {limit}: the suite says nothing of the cost of some jobs; leave it out, or give it a [cost]"
        raise UsageError(msg)
    if sum(found) > options.max_cost_s:
        msg = f"--max-cost {limit}: the search may take {duration(sum(found))} of CPU time; take fewer seeds or rules"
        raise UsageError(msg)
