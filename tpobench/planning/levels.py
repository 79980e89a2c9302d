"""A search over the runs of a suite with a [search] table: which levels each algorithm visited, and which come next.

Levels are ordinary cells and seeds ordinary runs.  The state is always replayed from the records, so an interrupted
search goes on along the same path, and runs that are there for another reason change nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tpobench.errors import UsageError
from tpobench.identity import canonical
from tpobench.planning.design import Cost, Known, Round, all_tried, require_no_plan
from tpobench.planning.plan import Plan, RunSpec
from tpobench.records.store import FINISHED, RunRecord, Store
from tpobench.scores.cells import final_values
from tpobench.scores.reporting import Reporting
from tpobench.suites.search import Search, Walk, walk

SCORING = ("metric", "window", "worst", "better", "best")  # of [report]: what the final value of a seed is


@dataclass(frozen=True)
class Track:
    """One algorithm under one matching and one point of the other axes, with the levels that its search may visit."""

    axes: Mapping[str, Any]  # of the grid, without the axis searched
    matching: str
    algorithm: str
    search: Search
    ladder: tuple[int, ...]  # levels, easiest first
    runs_at: Callable[[int], tuple[RunSpec, ...]]  # the seeds of a level, planned when they are asked for

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
    """A track with the levels that have any record, the outcomes of the complete ones, and how far they lead."""

    track: Track
    recorded: tuple[int, ...]
    outcomes: Mapping[int, Outcome]
    walk: Walk

    @property
    def standing(self) -> str:
        """`tpo 91..152`, `grpo holds at 4096`, `dg breaks at 2`; a track of several axes with its place."""
        place = " ".join(f"{k}={v}" for k, v in self.track.axes.items())
        where = self.track.algorithm + (f" ({place})" if place else "")
        walk = self.walk
        if walk.holding is not None and walk.breaking is not None:
            return f"{where} {walk.holding}..{walk.breaking}" + " done" * walk.done
        if not walk.done:
            return f"{where} at its ends"
        at = f"holds at {walk.holding}" if walk.holding is not None else f"breaks at {self.track.ladder[0]}"
        return f"{where} {at}"

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "cell": dict(self.track.axes), "matching": self.track.matching, "algorithm": self.track.algorithm,
            "visited": list(self.walk.visited), "wanted": list(self.walk.wanted), "held": self.walk.holding,
            "broke": self.walk.breaking, "done": self.walk.done,
            "outcomes": [{"level": v, "learned": self.outcomes[v].learned, "runs": self.outcomes[v].runs}
                         for v in self.walk.visited],
        }  # fmt: skip


@dataclass(frozen=True)
class Levels:
    """Every search of a suite; `plan` holds the ends of the ladder, the other levels are planned as they are wanted."""

    plan: Plan

    @functools.cached_property
    def tracks(self) -> tuple[Track, ...]:
        """One search for every algorithm, matching and point of the other axes."""
        return tracks_of(self.plan)

    def require(self, store: Store, *, sharded: bool) -> None:
        """A search needs all results of a level, under one definition of learning.

        Raises:
            UsageError: shards, or a folder with a plan of looks or with results of another search.
        """
        if sharded:
            msg = "--shard: the next level depends on all results of the last, so a search cannot be sharded"
            raise UsageError(f"{msg}; leave it out")
        require_no_plan(store.folder)
        require_same_search(self.plan, store.known()[0])

    def begin(self, store: Store) -> str:  # noqa: ARG002 - the suite says it all
        """Nothing."""
        return ""

    def replay(self, known: Known) -> LevelsState:
        """Every search as far as its records go."""
        return LevelsState(self.plan, states(self.tracks, known))


@dataclass(frozen=True)
class LevelsState:
    """How far every search has come."""

    plan: Plan
    tracks: tuple[TrackState, ...]

    @property
    def runs(self) -> Plan:
        """The levels that were visited or are wanted next."""
        return _only(self.plan, [(s.track, v) for s in self.tracks for v in (*s.walk.visited, *s.walk.wanted)])

    def next(self, tried: Collection[str]) -> Round | None:
        """The levels that every open search wants; one whose level still lacks results waits."""
        able = [s for s in self.tracks if not any(all_tried(s.track.runs_at(v), tried) for v in s.walk.wanted)]
        wanted = [(s.track, v) for s in able for v in s.walk.wanted]
        title = "levels " + ", ".join(map(str, sorted({v for _, v in wanted})))
        return Round((_only(self.plan, wanted),), title) if wanted else None

    @property
    def waiting(self) -> tuple[Plan, ...]:
        """The levels that each open search wants."""
        return tuple(_only(self.plan, [(s.track, v) for v in s.walk.wanted]) for s in self.tracks if not s.walk.done)

    def bounds(self, cost: Cost) -> tuple[float, float]:
        """Over everything that the missing levels may turn out."""
        each = [least_and_most(state, cost) for state in self.tracks]
        return sum(least for least, _ in each), sum(most for _, most in each)

    def progress(self, before: Self, number: int) -> str:  # noqa: ARG002 - where they stand says it
        """Where each algorithm stands."""
        return f"round {number}: " + "; ".join(state.standing for state in self.tracks)

    def rows(self) -> list[dict[str, Any]]:
        """One row per search: its levels, what became of them, and what they enclose."""
        return [state.as_dict() for state in self.tracks]


def tracks_of(plan: Plan) -> tuple[Track, ...]:
    """The searches of a plan that holds the ends of the ladder, in plan order.

    Raises:
        ValueError: the suite has no [search] table, or the plan cannot be made at other levels.
    """
    search, plan_at = plan.suite.search, plan.at
    if search is None or plan_at is None:
        lacks = "a [search] table" if search is None else "a plan that can be made at other levels, as by plan_runs"
        msg = f"suite '{plan.suite.name}' lacks {lacks}"
        raise ValueError(msg)

    @functools.cache
    def runs_at(level: int) -> dict[_Key, tuple[RunSpec, ...]]:
        return _by_track(plan_at([level]).specs, search)

    def track(key: _Key, first: RunSpec) -> Track:
        ladder = _served(search, lambda level: key in runs_at(level))
        axes = _others(first, search)
        return Track(axes, first.matching, first.algorithm, search, ladder, lambda level: runs_at(level)[key])

    return tuple(track(key, runs[0]) for key, runs in _by_track(plan.specs, search).items())


_Key = tuple[tuple[tuple[str, Any], ...], str, str]  # the other axes, matching, algorithm


def _by_track(specs: Iterable[RunSpec], search: Search) -> dict[_Key, tuple[RunSpec, ...]]:
    groups: dict[_Key, list[RunSpec]] = {}
    for spec in specs:
        key = tuple(_others(spec, search).items()), spec.matching, spec.algorithm
        groups.setdefault(key, []).append(spec)
    return {key: tuple(runs) for key, runs in groups.items()}


def _served(search: Search, serves: Callable[[int], bool]) -> tuple[int, ...]:
    """The levels at which the task serves an algorithm: all between two that do (one candidate is too few)."""
    ladder = search.ladder
    easy = next((i for i, level in enumerate(ladder) if serves(level)), len(ladder))
    hard = next((i for i in range(len(ladder), easy, -1) if serves(ladder[i - 1])), easy)
    return ladder[easy:hard]


def _others(spec: RunSpec, search: Search) -> dict[str, Any]:
    return {k: v for k, v in spec.cell.items() if k != search.axis}


def states(tracks: Iterable[Track], known: Mapping[str, RunRecord]) -> tuple[TrackState, ...]:
    """Every search as far as its records go; a level counts once all of its seeds have a result."""
    track_states = []
    for track in tracks:
        recorded = recorded_levels(track, known)
        outcomes = {v: o for v in recorded if (o := outcome_of(track.runs_at(v), known, track.search))}
        track_states.append(TrackState(track, recorded, outcomes, track.walked(outcomes)))
    return tuple(track_states)


def recorded_levels(track: Track, known: Mapping[str, RunRecord]) -> tuple[int, ...]:
    """The levels of which any run of the algorithm is known, whatever became of it."""
    cells = (r.spec["cell"] for r in known.values() if r.spec["algorithm"] == track.algorithm)
    levels = {level for cell in cells if type(level := cell.get(track.search.axis)) is int}
    return tuple(level for level in track.ladder if level in levels)


def outcome_of(specs: Sequence[RunSpec], known: Mapping[str, RunRecord], search: Search) -> Outcome | None:
    """How many seeds of a level learned, None while some have no result; a diverged seed did not learn."""
    finals = final_values([known[s.run_id] for s in specs if s.run_id in known])
    finite = [v for v in finals if v is not None]
    if len(finite) < len(specs):
        return None
    reporting = Reporting.of(known[specs[0].run_id].reporting)
    return Outcome(int(reporting.passed(finite, search.learned).sum()), len(specs))


def require_same_search(plan: Plan, known: Mapping[str, RunRecord]) -> None:
    """What counts as learning is settled before the first result.

    Raises:
        UsageError: the folder holds results of another [search] table, or of final values that mean something else.
    """
    criterion = _criterion(plan.suite.reporting)
    for record in known.values():
        if record.status not in FINISHED or record.spec["suite"] != plan.suite.name:
            continue
        other = _criterion(record.reporting)
        changed = next((k for k in {**criterion, **other} if criterion.get(k) != other.get(k)), None)
        if changed is not None:
            old, new = (canonical(c[changed]) if changed in c else "none" for c in (other, criterion))
            msg = (
                f"the folder holds results of a search with {changed} = {old}, this one has {new}; "
                "keep them apart with --name NAME"
            )
            raise UsageError(msg)


def _criterion(reporting: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides whether a seed learned, and which levels are asked."""
    return {**(reporting.get("search") or {}), **{f"report.{k}": reporting[k] for k in SCORING if k in reporting}}


def _only(plan: Plan, places: Sequence[tuple[Track, int]]) -> Plan:
    search = plan.suite.search
    if search is None or plan.at is None:
        return plan  # no search: all of it
    wanted = {spec.run_id for track, level in places for spec in track.runs_at(level)}
    specs = tuple(s for s in plan.at({level for _, level in places}).specs if s.run_id in wanted)
    skipped = tuple(s for s in plan.skipped if s.cell[search.axis] == search.easiest)  # once, not at every level
    return dataclasses.replace(plan, specs=specs, skipped=skipped)


def least_and_most(state: TrackState, cost: Cost) -> tuple[float, float]:
    """What the search can still cost at least and at most, over everything that the missing levels may turn out.

    cost: of the runs of one level; the same at all levels that have no record and are neither an end nor wanted next.
    """
    track = state.track
    special = {*state.recorded, *state.walk.wanted, *(v for v in track.search.ends if v in track.ladder)}
    usual = next((cost(track.runs_at(v)) for v in track.ladder if v not in special), 0.0)
    bounds = _Bounds(track, usual, {v: cost(track.runs_at(v)) for v in special})
    return bounds.of({v: state.outcomes[v] for v in state.walk.visited})


class _Bounds:
    """Least and most cost of all that may follow; what follows two brackets that look alike is counted once.

    A ladder of L levels has L paths, but brackets of one width differ only in the levels beside them that are visited
    or cost something of their own: about log2(L) kinds.
    """

    def __init__(self, track: Track, usual: float, special: Mapping[int, float]) -> None:
        self._track, self._usual, self._special = track, usual, special
        self._place = {level: i for i, level in enumerate(track.ladder)}
        self._cache: dict[tuple[Any, ...], tuple[float, float]] = {}

    def of(self, outcomes: Mapping[int, Outcome]) -> tuple[float, float]:
        now = self._track.walked(outcomes)
        if now.done:
            return 0.0, 0.0
        here = sum(self._special.get(v, self._usual) for v in now.wanted)
        if now.holding is None or now.breaking is None:
            return self._further(outcomes, now, here)
        low, high = self._place[now.holding], self._place[now.breaking]
        if high - low == 1:
            return here, here  # the last levels decide nothing
        key = self._looks(low, high, outcomes)
        if key not in self._cache:
            self._cache[key] = self._further(outcomes, now, here)
        return self._cache[key]

    def _further(self, outcomes: Mapping[int, Outcome], now: Walk, here: float) -> tuple[float, float]:
        guesses = itertools.product((Outcome(0, 1), Outcome(1, 1)), repeat=len(now.wanted))
        further = [self.of({**outcomes, **dict(zip(now.wanted, guess, strict=True))}) for guess in guesses]
        return here + min(least for least, _ in further), here + max(most for _, most in further)

    def _looks(self, low: int, high: int, outcomes: Mapping[int, Outcome]) -> tuple[Any, ...]:
        """A bracket seen from its lower end: all that its further levels and their costs depend on."""
        beside, last = self._track.search.beside, len(self._track.ladder) - 1

        def near(levels: Iterable[int]) -> list[tuple[int, int]]:
            places = ((self._place[v] - low, v) for v in levels)
            return sorted((i, v) for i, v in places if -beside <= i <= high - low + beside)

        visited = tuple(i for i, _ in near(outcomes))
        special = tuple((i, self._special[v]) for i, v in near(self._special.keys() - outcomes.keys()))
        return high - low, visited, special, min(low, beside), min(last - high, beside)
