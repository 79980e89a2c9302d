"""Standings -> a document: the ranking of each track, what everybody chose, who is not ranked, who beats whom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tpobench import __version__
from tpobench.league.model import Division
from tpobench.league.ranking import Ranking
from tpobench.league.standings import TRACKS, WORKS, Breaking, Choice, Standings, Track
from tpobench.printable import first_of
from tpobench.report.breaking_point import meaning, point_text, reversals
from tpobench.report.overall import score_text
from tpobench.scores.estimates import SEED
from tpobench.scores.text import difference_text, seed_ranges, share_text
from tpobench.stats.breaking_point import BreakingPoint
from tpobench.stats.suite_level import RESAMPLES
from tpobench.stats.texts import p_text, percent
from tpobench.tables.model import (
    Block,
    Document,
    Figure,
    Heading,
    Lines,
    Table,
    TableCell,
    dense,
    numbers_of,
    value_cell,
)

SCORE = "Score ↑ [95% CI]"
HEADER = ("Place", "Algorithm", SCORE, "Leader − it [95% CI]", "P(leader better)", "Holm p", "Against the leader")
ALL = Division("", ())  # of results that no league planned
HEADS = 12  # algorithms of the matrix that is printed; CSV and JSON have all


def league_document(table: Standings, figures: Mapping[Path, str] | None = None) -> Document:
    """The league: a verdict for each ranking, then everything behind it."""
    divisions = [each for each in table.divisions if each.tracks]
    verdicts = [_verdict(t, len(each.tasks), each.division.name) for each in divisions for t in each.tracks]
    blocks: list[Block] = [Lines(tuple(verdicts) or ("Nobody is ranked yet.",))]
    for each in divisions:
        for track in each.tracks:
            blocks += [Heading(_title("Ranking", track, each.division), _name("", track, each.division))]
            blocks.append(_ranking(track, table.league.metric, len(each.tasks), table.league.scored, each.division))
            if track.outside:
                blocks.append(_outside(track, each.division))
    if divisions:
        blocks += [Heading("Learning rates", "rates"), _rates(table)]
        if table.breaking:
            blocks += [Heading("Breaking points", "breaking"), _breaking(table, table.breaking)]
        blocks += [Heading("Who beats whom", "wins")]
        blocks += [_matrix(track, each.division) for each in divisions for track in each.tracks]
    blocks += [Figure(path.stem, caption, path=str(path)) for path, caption in (figures or {}).items()]
    if any(each.unranked for each in table.divisions):
        blocks += [Heading("Not ranked", "unranked"), _unranked(table)]
    blocks += [Heading("What this is", "about"), Lines(_about(table), "bullet")]
    return Document(table.league.title, tuple(blocks), _data(table), tuple(_records(table)))


def ranking_document(ranks: Ranking) -> Document:
    """A ranking of any results."""
    track, tasks = ranks.track, len(ranks.tasks)
    left = ranks.left_out
    lines = [
        _verdict(track, tasks),
        *([f"Left out, because some algorithm lacks them: {first_of(left, 8)}."] * bool(left)),
    ]
    blocks = (Lines(tuple(lines)), _ranking(track, ranks.metric, tasks, ranks.seeds), _matrix(track))
    return Document(
        f"{len(track.ranked)} algorithms over {tasks} tasks", blocks, _track_data(track), tuple(_scores(track))
    )


def _title(text: str, track: Track, division: Division) -> str:
    """`Ranking, as published, with MNIST`."""
    return ", ".join(filter(None, (text, TRACKS.get(track.name, ""), division.name)))


def _name(text: str, track: Track, division: Division) -> str:
    """`wins-published-with-mnist`."""
    return "-".join(filter(None, (text, track.name, division.slug)))


def _verdict(track: Track, tasks: int, division: str = "") -> str:
    """One sentence on one track."""
    n, others = len(track.ranked), [name for name in track.tied if name != track.leader]
    score = track.scores[track.leader].value or 0.0
    tied = f"cannot be told from {first_of(others, 8)}" if others else "is ahead of every other"
    where = ", ".join(filter(None, (TRACKS.get(track.name, ""), division)))
    words = f"{track.leader} leads {n} algorithms over {tasks} task{'s' if tasks > 1 else ''}"
    words = f"{where[0].upper()}{where[1:]}: {words}" if where else words
    return f"{words} with a score of {score:.3f} and {tied} (5 %, Holm over {n - 1} tests)."


def _ranking(track: Track, metric: str, tasks: int, seeds: Sequence[int], division: Division = ALL) -> Table:
    rows = []
    for place, name in enumerate(track.ranked, 1):
        estimate, test = track.scores[name], track.tests.get(name)
        cells = [
            value_cell(place),
            TableCell(name, name in track.tied, name == track.leader),
            TableCell(score_text(estimate), data={"estimate": numbers_of(estimate)}),
        ]
        if test is None:
            cells += [TableCell("leads" if name == track.leader else "")] + [TableCell("")] * 3
        else:
            c = test.comparison
            numbers = {**numbers_of(c), "adjusted": test.adjusted}
            cells += [
                TableCell(difference_text(c.difference, c.low, c.high), data=numbers),
                TableCell(share_text(c.better, None, None)),
                TableCell(p_text(test.adjusted)),
                TableCell({"better": "worse"}.get(test.verdict(), test.verdict())),
            ]
        rows.append(tuple(cells))
    note = f"Score: mean over tasks; 1 at the best {metric}, 0 at the worst, the same for everybody"
    signature = "|".join([
        f"tpobench {__version__}", f"metric:{metric}/{tasks}tasks", f"seeds:{seed_ranges(sorted(seeds))}",
        "ci:stratified-bootstrap95", "test:stratified-perm",
        f"adj:holm/{len(track.tests)}", f"B:{RESAMPLES}", f"rng:{SEED}", "diverged:worst",
    ])  # fmt: skip
    return Table(_name("ranking", track, division), "", HEADER, tuple(rows), signature, (note,))


def _outside(track: Track, division: Division) -> Table:
    rows = tuple((TableCell(n), TableCell(score_text(track.scores[n]))) for n in track.outside)
    note = "Online adaptations of preference losses, and what is told the right answer: not in the ranking"
    return Table(_name("outside", track, division), "Outside the ranking", ("Algorithm", SCORE), rows, "", (note,))


def _rates(table: Standings) -> Table:
    suites = [event.suite.name for event in table.league.events]
    shared = [s for s in suites if all(s in e.choices for e in table.listed)]
    rows = []
    for entrant in table.listed:
        width = math.prod(entrant.choices[s].width for s in shared) ** (1 / len(shared)) if shared else math.nan
        cells = (_choice(entrant.choices[s]) if s in entrant.choices else TableCell("") for s in suites)
        rows.append((TableCell(entrant.name), *cells, value_cell(float(f"{width:.3g}"))))
    chosen = f"Chosen on seeds {seed_ranges(sorted(table.league.choosing))}"
    works = f"in brackets the swept rates around it at which the score is at least {WORKS:g} of the best"
    over = ", ".join(shared) or "none"
    notes = (
        f"{chosen}; {works}; *: an end of the grid, the best may lie beyond",
        f"Width: how many times the lowest rate that works the highest is, geometric mean over what all played: {over}",
    )
    return Table("rates", "", ("Algorithm", *suites, "Width ↑"), tuple(rows), "", notes)


def _breaking(table: Standings, breaking: Breaking) -> Table:
    """Sparsest reward first, learning rate tuned."""
    *_, last = breaking.points.values()
    listed = {entrant.name for entrant in table.listed}

    def cells(name: str) -> Iterator[TableCell]:
        yield from (_point(of[name]) if name in of else TableCell("") for of in breaking.points.values())

    rows = [(TableCell(name), *cells(name)) for name in last if name in listed]
    search, seeds = breaking.group.search, len(table.league.scored)
    where = f"Suite {breaking.group.cells[0].suite}, {search.axis} {search.easiest} to {search.hardest}"
    notes = (
        meaning(breaking.group),
        f"{where}, {seeds} seeds a level, at the learning rates of {breaking.event}",
        "Intervals, no tests: order within an interval, and among those that learn at every level, says nothing",
        *(f"{TRACKS[track].capitalize()}: {text}" for track, of in breaking.points.items() for text in reversals(of)),
    )
    header = ("Algorithm", *(f"p0* ↓ [95% CI], {TRACKS[track]}" for track in breaking.points))
    return dense(Table("breaking", "", header, tuple(rows), "", notes))


def _point(point: BreakingPoint) -> TableCell:
    return TableCell(point_text(point), data={"point": asdict(point)})


def _choice(choice: Choice) -> TableCell:
    text = f"{choice.rate:g}{'*' * choice.at_end} [{choice.low:g}, {choice.high:g}]"
    return TableCell(text, data=vars(choice))


def _matrix(track: Track, division: Division = ALL) -> Table:
    names = list(track.scores)
    shown = track.ranked[:HEADS]
    at = [names.index(n) for n in shown]
    rows = tuple(
        (TableCell(a), *(TableCell("" if i == j else percent(track.wins[i, j])) for j in at))
        for a, i in zip(shown, at, strict=True)
    )
    note = "P(a seed of the row scores better than one of the column), mean over tasks, ties count half" + (
        f"; the first {HEADS} of {len(track.ranked)}, JSON has all" if len(track.ranked) > HEADS else ""
    )
    title = _title("Probability of improvement", track, division)
    return Table(_name("wins", track, division), title, ("", *shown), rows, "", (note,), folded=True)


def _unranked(table: Standings) -> Table:
    """A row for each division and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in table.divisions:
        for name, why in each.unranked.items():
            reasons.setdefault((each.division.name, why), []).append(name)
    rows = tuple(tuple(map(TableCell, (where, ", ".join(names), why))) for (where, why), names in reasons.items())
    return dense(Table("unranked", "", ("Division", "Algorithms", "Why"), rows))


def _about(table: Standings) -> tuple[str, ...]:
    league = table.league
    events = [f"{e.suite.name} at {', '.join(f'{r:g}' for r in e.learning_rates)}" for e in league.events]
    runs = len(league.choosing) * max(len(e.learning_rates) for e in league.events)
    choosing, scored = (seed_ranges(sorted(seeds)) for seeds in (league.choosing, league.scored))
    budget = f"Tuning budget, the same for everybody: the learning rate, {runs} runs per task ({'; '.join(events)})"
    published = "As published: the suite's own learning rate, the published hyperparameters"
    shows = "It does not show how algorithms do on long runs, large models, or tasks unlike these"
    left = (f"Not played yet, for want of runs: {', '.join(table.unplayed)}.",) if table.unplayed else ()
    named = "; ".join(f"{each.division.name} ({', '.join(each.division.suites)})" for each in table.divisions)
    over = "A ranking is over suites that everybody in it has played, so there are several"
    divided = (f"{over}: {named}.  Neither scores nor places of one compare with those of another.",)
    return (
        *left,
        *(divided if len(table.divisions) > 1 else ()),
        f"{budget}, chosen by the mean score of seeds {choosing}, one rate per suite; scored on seeds {scored}.",
        f"{published}.  Nothing else is tuned: not epochs, clips, temperatures or regularisers.",
        f"{shows}; those tied with the leader share the first place, and order within an interval says nothing.",
        *(f"{copy}." for copy in table.unverified),
    )


def _data(table: Standings) -> dict[str, Any]:
    points = table.breaking.points if table.breaking else {}
    return {
        "title": table.league.title,
        "divisions": [
            {
                "name": each.division.name,
                "suites": list(each.division.suites),
                "tasks": list(each.tasks),
                "tracks": {track.name: _track_data(track) for track in each.tracks},
                "unranked": dict(each.unranked),
            }
            for each in table.divisions
        ],
        "rates": {e.name: {s: vars(c) for s, c in e.choices.items()} for e in table.listed},
        "breaking_points": {track: {n: asdict(p) for n, p in of.items()} for track, of in points.items()},
        "unverified_data": [copy.as_dict() for copy in table.unverified],
    }


def _track_data(track: Track) -> dict[str, Any]:
    return {
        "leader": track.leader,
        "tied": list(track.tied),
        "scores": {n: numbers_of(e) for n, e in track.scores.items()},
        "against_leader": {n: {**numbers_of(t.comparison), "adjusted": t.adjusted} for n, t in track.tests.items()},
        "algorithms": list(track.scores),
        "wins": [[None if math.isnan(p) else p for p in row] for row in track.wins.tolist()],
    }


def _scores(track: Track) -> Iterator[dict[str, Any]]:
    """A line of CSV per algorithm of a ranking."""
    for place, name in enumerate(track.ranked, 1):
        best = {"tied": name in track.tied, "leader": name == track.leader}
        yield {"place": place, "algorithm": name, **best, **numbers_of(track.scores[name])}


def _records(table: Standings) -> list[dict[str, Any]]:
    """A line of CSV per division, algorithm, track and task."""
    return [
        {
            "division": each.division.name, "track": track.name, "algorithm": name, "task": task,
            "seeds": len(values), "mean": float(values.mean()),
        }
        for each in table.divisions
        for track in each.tracks
        for name in track.scores
        for task, values in table.entrants[name].of(track.name, each.division.suites).items()
    ]  # fmt: skip
