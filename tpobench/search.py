"""A search over the runs of a suite with a [search] table: which levels each rule has visited, and which come next.

Levels are ordinary cells and seeds ordinary runs.  The state is always replayed from the records, so an interrupted
search goes on along the same path, and runs that are there for another reason change nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpobench.bisection import Search, Walk, walk
from tpobench.errors import UsageError
from tpobench.plan import Plan, RunSpec
from tpobench.records import FINISHED, RunRecord, canonical
from tpobench.results import final_value
from tpobench.stats.curves import below_threshold

Cost = Callable[[Sequence[RunSpec]], float]
SCORING = ("metric", "window", "worst")  # of [report]: what the final value of a seed is


@dataclass(frozen=True)
class Track:
    """One rule under one matching and at one point of the other axes, with every run that its search may take."""

    axes: Mapping[str, Any]  # of the grid, without the axis searched
    matching: str
    algorithm: str
    search: Search
    levels: Mapping[int, tuple[RunSpec, ...]]  # easiest first, the seeds of each

    @property
    def ladder(self) -> tuple[int, ...]:
        """The levels, easiest first."""
        return tuple(self.levels)

    def walked(self, outcomes: Mapping[int, Outcome]) -> Walk:
        """How far these outcomes lead."""
        return walk(self.ladder, self.search.beside, lambda v: outcomes[v].holds if v in outcomes else None)


@dataclass(frozen=True)
class Outcome:
    """What became of the seeds of one level, all of which have a result."""

    learned: int
    runs: int

    @property
    def holds(self) -> bool:
        """Whether at least half of the seeds learned."""
        return 2 * self.learned >= self.runs


@dataclass(frozen=True)
class TrackState:
    """A track with the outcomes of its complete levels, and how far they lead."""

    track: Track
    outcomes: Mapping[int, Outcome]
    walk: Walk


def tracks_of(plan: Plan) -> tuple[Track, ...]:
    """The searches that a plan of all levels holds, in plan order.

    Raises:
        ValueError: the suite has no [search] table.
    """
    search = plan.suite.search
    if search is None:
        msg = f"suite '{plan.suite.name}' has no [search] table"
        raise ValueError(msg)
    groups: dict[str, dict[int, list[RunSpec]]] = {}
    for spec in plan.specs:
        key = canonical([_others(spec, search), spec.matching, spec.algorithm])
        groups.setdefault(key, {}).setdefault(int(spec.cell[search.axis]), []).append(spec)
    found = []
    for levels in groups.values():
        first = next(iter(levels.values()))[0]
        seeds = {level: tuple(levels[level]) for level in sorted(levels)}
        found.append(Track(_others(first, search), first.matching, first.algorithm, search, seeds))
    return tuple(found)


def _others(spec: RunSpec, search: Search) -> dict[str, Any]:
    return {k: v for k, v in spec.cell.items() if k != search.axis}


def states(tracks: Iterable[Track], known: Mapping[str, RunRecord]) -> tuple[TrackState, ...]:
    """Every search as far as its records go; a level counts once all of its seeds have a result."""
    found = []
    for track in tracks:
        outcomes = {v: o for v, specs in track.levels.items() if (o := outcome_of(specs, known, track.search))}
        found.append(TrackState(track, outcomes, track.walked(outcomes)))
    return tuple(found)


def outcome_of(specs: Sequence[RunSpec], known: Mapping[str, RunRecord], search: Search) -> Outcome | None:
    """How many seeds of a level learned, None while some have no result; a diverged seed did not learn."""
    finals = [final_value(known[s.run_id]) for s in specs if s.run_id in known]
    finite = [v for v in finals if v is not None]
    learned = int(below_threshold(finite, search.learned).sum())
    return Outcome(learned, len(specs)) if len(finite) == len(specs) else None


def require_same_search(plan: Plan, known: Mapping[str, RunRecord]) -> None:
    """What counts as learning is settled before the first result.

    Raises:
        UsageError: the folder holds results of another [search] table, or of final values that mean something else.
    """
    own = _criterion(plan.suite.reporting)
    for record in known.values():
        if record.status not in FINISHED or record.spec["suite"] != plan.suite.name:
            continue
        other = _criterion(record.reporting)
        changed = next((k for k in {**own, **other} if own.get(k) != other.get(k)), None)
        if changed is not None:
            old, new = (canonical(c[changed]) if changed in c else "none" for c in (other, own))
            msg = (
                f"the folder holds results of a search with {changed} = {old}, this one has {new}; "
                "keep them apart with --name NAME"
            )
            raise UsageError(msg)


def _criterion(reporting: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides whether a seed learned, and which levels are asked."""
    return {**(reporting.get("search") or {}), **{f"report.{k}": reporting[k] for k in SCORING if k in reporting}}


def next_runs(plan: Plan, now: Iterable[TrackState]) -> Plan:
    """The runs of the levels that every open search wants next; seed-major like every plan."""
    return _only(plan, {s.run_id for state in now for v in state.walk.wanted for s in state.track.levels[v]})


def visited_runs(plan: Plan, now: Iterable[TrackState]) -> Plan:
    """The runs of all levels that the searches have visited or want next."""
    return _only(plan, {
        s.run_id
        for state in now
        for v in (*state.walk.visited, *state.walk.wanted)
        for s in state.track.levels[v]
    })  # fmt: skip


def _only(plan: Plan, wanted: set[str]) -> Plan:
    specs = tuple(s for s in plan.specs if s.run_id in wanted)
    search = plan.suite.search
    if search is None:
        return dataclasses.replace(plan, specs=specs)
    skipped = tuple(s for s in plan.skipped if s.cell[search.axis] == search.easiest)  # once, not at every level
    return dataclasses.replace(plan, specs=specs, skipped=skipped)


def least_and_most(state: TrackState, cost: Cost) -> tuple[float, float]:
    """What the search can still cost at least and at most, over everything that the missing levels may turn out.

    cost: of the runs of one level.
    """
    return _bounds(state.track, {v: state.outcomes[v] for v in state.walk.visited}, cost)


def _bounds(track: Track, outcomes: Mapping[int, Outcome], cost: Cost) -> tuple[float, float]:
    now = track.walked(outcomes)
    if now.done:
        return 0.0, 0.0
    here = sum(cost(track.levels[v]) for v in now.wanted)
    if now.held is not None and _neighbours(track, now):
        return here, here  # the last levels decide nothing
    further = [_bounds(track, {**outcomes, **guess}, cost) for guess in _guesses(now.wanted)]
    return here + min(least for least, _ in further), here + max(most for _, most in further)


def _neighbours(track: Track, now: Walk) -> bool:
    return now.broke is not None and now.held is not None and (
        track.ladder.index(now.broke) - track.ladder.index(now.held) == 1
    )  # fmt: skip


def _guesses(levels: Sequence[int]) -> list[dict[int, Outcome]]:
    """Every way in which levels may turn out."""
    guesses: list[dict[int, Outcome]] = [{}]
    for level in levels:
        guesses = [{**guess, level: Outcome(learned, 1)} for guess in guesses for learned in (0, 1)]
    return guesses
