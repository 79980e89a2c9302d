"""Records of a league -> the rate that each algorithm chose, its scores on the other seeds, and the ranking."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from tpobench.algorithms.catalog import family_of
from tpobench.league.model import AXIS, Division, Event, League
from tpobench.records.store import RunRecord
from tpobench.report.breaking_point import Searched, hardness, searched
from tpobench.scores.cells import Cell, algorithm_order, read_cells
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import values_of
from tpobench.scores.scalars import Scalar, scalar_of
from tpobench.scores.suite_level import References, SuiteTest, Values, compare_suites
from tpobench.scores.unverified import Unverified, unverified
from tpobench.stats.breaking_point import BreakingPoint
from tpobench.stats.compare import tie_group
from tpobench.stats.guard import Floats
from tpobench.stats.intervals import win_rate, wins
from tpobench.stats.suite_level import SuiteEstimate, normalise, suite_estimate

TRACKS = {"published": "as published", "tuned": "learning rate tuned"}
OUTSIDE = ("preference", "oracle")  # families that play another game: online adaptations, and who is told the answer
Tasks = Mapping[str, Sequence[Cell]]  # of an event: task -> the cells of its rates, lowest first
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
    """What an algorithm did: values (n,) of the scored seeds by track, suite and task, and its choices by suite."""

    name: str
    values: Mapping[str, Mapping[str, Values]]
    choices: Mapping[str, Choice]
    missing: Mapping[str, str]  # suites that it has not played in full, and why

    def of(self, track: str, suites: Collection[str]) -> Values:
        """Task -> values, of some suites."""
        return {task: x for suite in suites for task, x in self.values[track][suite].items()}


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
class Ranked:
    """The rankings of one division, and who is in none and why."""

    division: Division
    tasks: tuple[str, ...]
    tracks: tuple[Track, ...]
    unranked: Mapping[str, str]


@dataclass(frozen=True)
class Breaking:
    """Breaking points by track and algorithm, sparsest reward first, and any group of the levels they are read from."""

    event: str  # at whose learning rates
    points: Mapping[str, Mapping[str, BreakingPoint]]
    group: Searched


@dataclass(frozen=True)
class Standings:
    """Every division, and what everybody did."""

    league: League
    divisions: tuple[Ranked, ...]
    entrants: Mapping[str, Entrant]
    unplayed: tuple[str, ...]  # suites of the league of which there is no run yet
    breaking: Breaking | None
    unverified: tuple[Unverified, ...]  # copies of data sets that are not the published ones

    @property
    def listed(self) -> tuple[Entrant, ...]:
        """Who is in a ranking or beside one, in the order of the last track of the first division they are in."""
        tracks = [each.tracks[-1] for each in self.divisions if each.tracks]
        return tuple(self.entrants[n] for n in dict.fromkeys(n for track in tracks for n in track.scores))


def standings(league: League, records: Mapping[str, Sequence[RunRecord]]) -> Standings:
    """The league as far as its records go; `records` by suite.

    An algorithm is ranked in a division where it has every scored and choosing seed at every rate of every task; a
    suite of which nobody has a run is left out for all, and a division that is then the same as one before it.
    """
    unplayed = tuple(e.suite.name for e in league.events if not records.get(e.suite.name))
    league = replace(league, events=tuple(e for e in league.events if e.suite.name not in unplayed))
    played = {e.suite.name: _tasks(e, league, records) for e in league.events}
    skipped = {s: {r.spec["algorithm"]: r.reason for r in records[s] if r.status == "skipped"} for s in played}
    entered = {n for tasks in played.values() for cells in tasks.values() for cell in cells for n in cell.arms}
    names = sorted(entered.union(*skipped.values()), key=algorithm_order)
    entrants = {n: _entrant(n, league, played, skipped) for n in names}
    divisions: dict[tuple[str, ...], Division] = {}
    for division in league.divisions:
        suites = tuple(s for s in division.suites if s in played)
        divisions.setdefault(suites, replace(division, suites=suites))
    return Standings(
        league,
        tuple(_ranked(division, entrants, played) for suites, division in divisions.items() if suites),
        entrants,
        unplayed,
        _breaking(league, entrants, records),
        unverified(r for suite in played for r in records[suite]),
    )


def _ranked(division: Division, entrants: Mapping[str, Entrant], played: Mapping[str, Tasks]) -> Ranked:
    lacks = {n: [f"{s}: {e.missing[s]}" for s in division.suites if s in e.missing] for n, e in entrants.items()}
    inside = [n for n in entrants if not lacks[n]]
    outside = [n for n in inside if family_of(n) in OUTSIDE]
    references = {task: cells[0].reporting.reference for s in division.suites for task, cells in played[s].items()}
    tracks = tuple(
        track_of(track, {n: entrants[n].of(track, division.suites) for n in inside}, references, outside)
        for track in TRACKS
    ) if inside else ()  # fmt: skip
    return Ranked(division, tuple(references), tracks, {n: why[0] for n, why in lacks.items() if why})


def _breaking(
    league: League, entrants: Mapping[str, Entrant], records: Mapping[str, Sequence[RunRecord]]
) -> Breaking | None:
    """Each breaking point at the rate that the algorithm has in the event, as far as the search for it went."""
    event = _rated(league)
    if event is None or league.sparsity is None:
        return None
    suite = league.sparsity.suite.name
    suites, _ = read_cells([r for r in records.get(suite, ()) if r.spec["seed"] in league.scored])
    groups = {group.cells[0].axes[AXIS]: group for group in searched(suites.get(suite, []))}
    points: dict[str, dict[str, BreakingPoint]] = {track: {} for track in TRACKS}
    for name, choice in (
        (n, e.choices[event.suite.name]) for n, e in entrants.items() if event.suite.name in e.choices
    ):
        for track, rate in _rates(event, choice).items():
            if rate in groups and name in groups[rate].points:
                points[track][name] = groups[rate].points[name]
    ordered = {t: dict(sorted(of.items(), key=lambda item: hardness(item[1]))) for t, of in points.items()}
    return Breaking(event.suite.name, ordered, next(iter(groups.values()))) if groups else None


def searched_rates(league: League, records: Mapping[str, Sequence[RunRecord]]) -> dict[str, set[float]]:
    """At which learning rates breaking points are searched, of all that may be ranked and have played the event."""
    event = _rated(league)
    if event is None:
        return {}
    tasks = _tasks(event, league, records)
    names = sorted({n for cells in tasks.values() for cell in cells for n in cell.arms}, key=algorithm_order)
    full = [n for n in names if family_of(n) not in OUTSIDE and not _lack(n, league, event, tasks)]
    return {n: set(_rates(event, _chosen(n, league, event, tasks)).values()) for n in full}


def _rated(league: League) -> Event | None:
    """The event at whose rates breaking points are searched."""
    return next((e for e in league.events if league.sparsity and e.suite.name == league.sparsity.event), None)


def _rates(event: Event, choice: Choice) -> dict[str, float]:
    """The learning rate of each track."""
    return dict(zip(TRACKS, (event.published, choice.rate), strict=True))


def _tasks(event: Event, league: League, records: Mapping[str, Sequence[RunRecord]]) -> Tasks:
    """`suite: axes other than the rate` -> the cells of its rates, lowest first, with the league's seeds."""
    suite, rates = event.suite.name, event.learning_rates
    wanted = [r for r in records.get(suite, ()) if r.spec["seed"] in league.seeds and r.spec["cell"].get(AXIS) in rates]
    tasks: dict[str, list[Cell]] = {}
    for cell in read_cells(wanted)[0].get(suite, []):
        axes = ", ".join(f"{k}={v}" for k, v in cell.axes.items() if k != AXIS)
        where = ", ".join(part for part in (axes, cell.condition) if part)
        tasks.setdefault(f"{cell.suite}: {where}" if where else cell.suite, []).append(cell)
    return {task: sorted(group, key=lambda c: float(c.axes[AXIS])) for task, group in tasks.items()}


def _lack(name: str, league: League, event: Event, tasks: Tasks) -> str:
    """Which runs an algorithm lacks in an event; empty for none."""
    runs = sum(len(cell.arms[name].seeds) for cells in tasks.values() for cell in cells if name in cell.arms)
    wanted = len(event.suite.cells) * len(league.seeds)
    return f"{runs} of {wanted} runs" if runs < wanted else ""


def _entrant(
    name: str, league: League, played: Mapping[str, Tasks], skipped: Mapping[str, Mapping[str, str]]
) -> Entrant:
    values: dict[str, dict[str, dict[str, Floats]]] = {track: {} for track in TRACKS}
    choices: dict[str, Choice] = {}
    missing: dict[str, str] = {}
    for event in league.events:
        suite, tasks = event.suite.name, played[event.suite.name]
        if lack := skipped[suite].get(name) or _lack(name, league, event, tasks):
            missing[suite] = lack
            continue
        choices[suite] = _chosen(name, league, event, tasks)
        for track, rate in _rates(event, choices[suite]).items():
            at = {task: next(c for c in cells if c.axes[AXIS] == rate) for task, cells in tasks.items()}
            values[track][suite] = {task: _values(name, league, cell, league.scored) for task, cell in at.items()}
    return Entrant(name, values, choices, missing)


def _chosen(name: str, league: League, event: Event, tasks: Tasks) -> Choice:
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
