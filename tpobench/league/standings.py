"""Records of a league -> the rate that each algorithm chose, its scores on the other seeds, and the ranking."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from tpobench.algorithms.catalog import family_of
from tpobench.league.model import AXIS, Event, League
from tpobench.records.store import RunRecord
from tpobench.scores.cells import Cell, algorithm_order, read_cells
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import values_of
from tpobench.scores.scalars import Scalar, scalar_of
from tpobench.scores.suite_level import References, SuiteTest, Values, compare_suites
from tpobench.stats.compare import tie_group
from tpobench.stats.guard import Floats
from tpobench.stats.intervals import win_rate, wins
from tpobench.stats.suite_level import SuiteEstimate, normalise, suite_estimate

TRACKS = {"published": "as published", "tuned": "learning rate tuned"}
OUTSIDE = ("preference", "oracle")  # families that play another game: online adaptations, and who is told the answer
WORKS = 0.9  # of the score at the best rate: a rate at which an algorithm scores that much works


@dataclass(frozen=True)
class Choice:
    """The learning rate of one algorithm in one event, and the rates around it that work."""

    rate: float
    low: float
    high: float
    at_end: bool  # the best rate is an end of the grid: the true one may lie beyond

    @property
    def width(self) -> float:
        """How many times the lowest rate that works the highest is."""
        return self.high / self.low


@dataclass(frozen=True)
class Entrant:
    """What an algorithm did: values (n,) of the scored seeds by task and track, and its choices by suite."""

    name: str
    values: Mapping[str, Values]  # track -> task -> values
    choices: Mapping[str, Choice]


@dataclass(frozen=True)
class Track:
    """The ranking of one track, best first."""

    name: str
    scores: Mapping[str, SuiteEstimate]  # of those outside the ranking too
    tests: Mapping[str, SuiteTest]  # of the leader against each other algorithm
    leader: str
    tied: tuple[str, ...]
    wins: Floats  # (A, A): P(row scores better than column), mean over tasks; nan on the diagonal
    outside: tuple[str, ...] = ()  # the names of those that play another game

    @property
    def ranked(self) -> tuple[str, ...]:
        """The names in the ranking, best first."""
        return tuple(n for n in self.scores if n not in self.outside)


@dataclass(frozen=True)
class Standings:
    """Both tracks, what everybody chose, and who is not ranked and why."""

    league: League
    tasks: tuple[str, ...]
    tracks: tuple[Track, ...]
    entrants: Mapping[str, Entrant]
    unranked: Mapping[str, str]
    unplayed: tuple[str, ...]  # suites of the league of which there is no run yet


def standings(league: League, records: Mapping[str, Sequence[RunRecord]]) -> Standings:
    """The league as far as its records go; `records` by suite.

    An algorithm is ranked where it has every scored and choosing seed at every rate of every task; a suite of which
    nobody has a run is left out for all.
    """
    unplayed = tuple(e.suite.name for e in league.events if not records.get(e.suite.name))
    league = replace(league, events=tuple(e for e in league.events if e.suite.name not in unplayed))
    events = {event.suite.name: event for event in league.events}
    played = {name: _cells(event, league, records.get(name, ())) for name, event in events.items()}
    skipped = _skipped(records)
    entered = {name for cells in played.values() for cell in cells for name in cell.arms}
    names = sorted(entered | skipped.keys(), key=algorithm_order)
    unranked = {n: why for n in names if (why := _why_not(n, league, played, skipped))}
    entrants = {n: _entrant(n, league, played) for n in names if n not in unranked}
    references = {
        task: cells[0].reporting.reference for groups in played.values() for task, cells in _by_task(groups).items()
    }
    outside = [n for n in entrants if family_of(n) in OUTSIDE]
    tracks = tuple(
        track_of(track, {n: e.values[track] for n, e in entrants.items()}, references, outside) for track in TRACKS
    ) if entrants else ()  # fmt: skip
    return Standings(league, tuple(references), tracks, entrants, unranked, unplayed)


def _skipped(records: Mapping[str, Sequence[RunRecord]]) -> dict[str, str]:
    """Algorithms that a suite's task cannot serve, with the reason."""
    return {
        str(r.spec["algorithm"]): f"{suite}: {r.reason}"
        for suite, runs in records.items()
        for r in runs
        if r.status == "skipped"
    }


def _cells(event: Event, league: League, records: Sequence[RunRecord]) -> list[Cell]:
    """The event's cells at its rates, with the runs of the league's seeds."""
    wanted = [r for r in records if r.spec["seed"] in league.seeds and r.spec["cell"].get(AXIS) in event.learning_rates]
    suites, _ = read_cells(wanted)
    return suites.get(event.suite.name, [])


def _by_task(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """`suite: axes other than the rate` -> the cells of its rates, lowest first."""
    tasks: dict[str, list[Cell]] = {}
    for cell in cells:
        axes = ", ".join(f"{k}={v}" for k, v in cell.axes.items() if k != AXIS)
        where = ", ".join(part for part in (axes, cell.condition) if part)
        tasks.setdefault(f"{cell.suite}: {where}" if where else cell.suite, []).append(cell)
    return {task: sorted(group, key=lambda c: float(c.axes[AXIS])) for task, group in tasks.items()}


def _why_not(name: str, league: League, played: Mapping[str, Sequence[Cell]], skipped: Mapping[str, str]) -> str:
    if name in skipped:
        return skipped[name]
    for event in league.events:
        runs = sum(len(c.arms[name].seeds) for c in played[event.suite.name] if name in c.arms)
        wanted = len(event.suite.cells) * len(league.seeds)
        if runs < wanted:
            return f"{event.suite.name}: {runs} of {wanted} runs"
    return ""


def _entrant(name: str, league: League, played: Mapping[str, Sequence[Cell]]) -> Entrant:
    values: dict[str, dict[str, Floats]] = {track: {} for track in TRACKS}
    choices: dict[str, Choice] = {}
    for event in league.events:
        tasks = _by_task(played[event.suite.name])
        choice = choices[event.suite.name] = _chosen(name, league, event, tasks)
        for task, cells in tasks.items():
            for track, rate in (("published", event.published), ("tuned", choice.rate)):
                cell = next(c for c in cells if c.axes[AXIS] == rate)
                values[track][task] = _values(name, league, cell, league.scored)
    return Entrant(name, values, choices)


def _chosen(name: str, league: League, event: Event, tasks: Mapping[str, Sequence[Cell]]) -> Choice:
    """The rate with the best mean score on the choosing seeds (the lowest of equals), and those around it that work."""

    def scores(seeds: Sequence[int]) -> list[float]:
        return [
            float(np.mean([_score(name, league, cells[i], seeds) for cells in tasks.values()]))
            for i in range(len(event.learning_rates))
        ]

    best = int(np.argmax(scores(league.choosing)))
    overall = scores(league.seeds)
    works = [score >= WORKS * max(overall) for score in overall]
    below = len(list(takewhile(bool, reversed(works[:best]))))
    above = len(list(takewhile(bool, works[best + 1 :])))
    rates = event.learning_rates
    return Choice(rates[best], rates[best - below], rates[best + above], best in {0, len(rates) - 1} and len(rates) > 1)


def _score(name: str, league: League, cell: Cell, seeds: Sequence[int]) -> float:
    return float(normalise(_values(name, league, cell, seeds), cell.reporting.reference).mean())


def _values(name: str, league: League, cell: Cell, seeds: Sequence[int]) -> Floats:
    arm = cell.arms[name]
    return values_of(arm.by_seed(_scalar(league, cell).values(arm)), seeds)


def _scalar(league: League, cell: Cell) -> Scalar:
    evaluations = max(len(arm.axes["step"]) for arm in cell.arms.values())
    return scalar_of(league.metric, cell.reporting, evaluations)


def track_of(
    name: str, arms: Mapping[str, Values], references: References, outside: Collection[str] = (), *, paired: bool = True
) -> Track:
    """The ranking of arms that have the same tasks, as `suite_level` tests them, but against the leader alone.

    `paired`: the values of one task stand in the order of the same seeds, which share their random numbers.
    """
    means = {n: suite_estimate(v, references, rng=np.random.default_rng(SEED)) for n, v in arms.items()}
    order = sorted(means, key=lambda n: (-(means[n].value or 0.0), algorithm_order(n)))
    ranked = [n for n in order if n not in outside] or order
    leader, *others = ranked
    tests = compare_suites({n: (arms[leader], arms[n], references) for n in others})
    losses = {(leader, n): test.of_losses for n, test in tests.items()}
    _, tied = tie_group({n: (-(means[n].value or 0.0),) for n in ranked}, losses)
    matrix = _wins([arms[n] for n in order], references, paired=paired)
    apart = tuple(n for n in order if n in outside)
    return Track(name, {n: means[n] for n in order}, tests, leader, tied, matrix, apart)


def _wins(arms: Sequence[Values], references: References, *, paired: bool) -> Floats:
    """P(a seed of the row scores better than a seed of the column), mean over tasks; seeds are not the same draws."""
    matrix = np.full((len(arms), len(arms)), np.nan)
    losses = [{task: -normalise(x, references[task]) for task, x in arm.items()} for arm in arms]
    for i, a in enumerate(losses):
        for j, b in enumerate(losses[:i]):
            matrix[i, j] = np.mean([win_rate(wins(a[task], b[task]), paired=paired) for task in a])
            matrix[j, i] = 1 - matrix[i, j]
    return matrix
