"""Standings -> a document: the ranking of each track, what everybody chose, who is not ranked, who beats whom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tpobench import __version__
from tpobench.league.ranking import Ranking
from tpobench.league.standings import TRACKS, WORKS, Choice, Standings, Track
from tpobench.printable import first_of
from tpobench.report.overall import score_text
from tpobench.scores.estimates import SEED
from tpobench.scores.text import difference_text, seed_ranges, share_text
from tpobench.stats.suite_level import RESAMPLES
from tpobench.stats.texts import p_text
from tpobench.tables.model import Block, Document, Figure, Heading, Lines, Table, TableCell, numbers_of, value_cell

SCORE = "Score ↑ [95% CI]"
HEADER = ("Place", "Algorithm", SCORE, "Leader − it [95% CI]", "P(leader better)", "Holm p", "Against the leader")
HEADS = 12  # algorithms of the matrix that is printed; CSV and JSON have all


def league_document(table: Standings, figures: Mapping[Path, str] | None = None) -> Document:
    """The league: a verdict for each track, then everything behind it."""
    blocks: list[Block] = [
        Lines(tuple(_verdict(t, len(table.tasks)) for t in table.tracks) or ("Nobody is ranked yet.",))
    ]
    for track in table.tracks:
        blocks += [Heading(f"Ranking, {TRACKS[track.name]}", track.name)]
        blocks.append(_ranking(track, table.league.metric, len(table.tasks), table.league.scored))
        if track.outside:
            blocks.append(_outside(track))
    if table.tracks:
        blocks += [Heading("Learning rates", "rates"), _rates(table)]
        blocks += [Heading("Who beats whom", "wins"), *(_matrix(track) for track in table.tracks)]
    blocks += [Figure(path.stem, caption, path=str(path)) for path, caption in (figures or {}).items()]
    if table.unranked:
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


def _verdict(track: Track, tasks: int) -> str:
    """One sentence on one track."""
    n, others = len(track.ranked), [name for name in track.tied if name != track.leader]
    score = track.scores[track.leader].value or 0.0
    tied = f"cannot be told from {first_of(others, 8)}" if others else "is ahead of every other"
    where = f"{TRACKS[track.name].capitalize()}: " if track.name else ""
    words = f"{where}{track.leader} leads {n} algorithms over {tasks} task{'s' if tasks > 1 else ''}"
    return f"{words} with a score of {score:.3f} and {tied} (5 %, Holm over {n - 1} tests)."


def _ranking(track: Track, metric: str, tasks: int, seeds: Sequence[int]) -> Table:
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
    return Table("-".join(filter(None, ("ranking", track.name))), "", HEADER, tuple(rows), signature, (note,))


def _outside(track: Track) -> Table:
    rows = tuple((TableCell(n), TableCell(score_text(track.scores[n]))) for n in track.outside)
    note = "Online adaptations of preference losses, and what is told the right answer: not in the ranking"
    return Table(f"outside-{track.name}", "Outside the ranking", ("Algorithm", SCORE), rows, "", (note,))


def _rates(table: Standings) -> Table:
    suites = [event.suite.name for event in table.league.events]
    rows = []
    for name in table.tracks[-1].scores:
        choices = table.entrants[name].choices
        width = math.prod(c.width for c in choices.values()) ** (1 / len(choices))
        rows.append((TableCell(name), *(_choice(choices[s]) for s in suites), value_cell(float(f"{width:.3g}"))))
    chosen = f"Chosen on seeds {seed_ranges(sorted(table.league.choosing))}"
    works = f"in brackets the swept rates around it at which the score is at least {WORKS:g} of the best"
    notes = (
        f"{chosen}; {works}; *: an end of the grid, the best may lie beyond",
        "Width: how many times the lowest rate that works the highest is, geometric mean over the suites",
    )
    return Table("rates", "", ("Algorithm", *suites, "Width ↑"), tuple(rows), "", notes)


def _choice(choice: Choice) -> TableCell:
    text = f"{choice.rate:g}{'*' * choice.at_end} [{choice.low:g}, {choice.high:g}]"
    return TableCell(text, data=vars(choice))


def _matrix(track: Track) -> Table:
    names = list(track.scores)
    shown = track.ranked[:HEADS]
    at = [names.index(n) for n in shown]
    rows = tuple(
        (TableCell(a), *(TableCell("" if i == j else f"{track.wins[i, j]:.2f}") for j in at))
        for a, i in zip(shown, at, strict=True)
    )
    note = "P(a seed of the row scores better than one of the column), mean over tasks, ties count half" + (
        f"; the first {HEADS} of {len(track.ranked)}, JSON has all" if len(track.ranked) > HEADS else ""
    )
    title = ", ".join(("Probability of improvement", *([TRACKS[track.name]] if track.name else [])))
    return Table("-".join(filter(None, ("wins", track.name))), title, ("", *shown), rows, "", (note,), folded=True)


def _unranked(table: Standings) -> Table:
    rows = tuple((TableCell(name), TableCell(why)) for name, why in table.unranked.items())
    return Table("unranked", "", ("Algorithm", "Why"), rows)


def _about(table: Standings) -> tuple[str, ...]:
    league = table.league
    events = [f"{e.suite.name} at {', '.join(f'{r:g}' for r in e.learning_rates)}" for e in league.events]
    runs = len(league.choosing) * max(len(e.learning_rates) for e in league.events)
    choosing, scored = (seed_ranges(sorted(seeds)) for seeds in (league.choosing, league.scored))
    budget = f"Tuning budget, the same for everybody: the learning rate, {runs} runs per task ({'; '.join(events)})"
    published = "As published: the suite's own learning rate, the published hyperparameters"
    shows = "It does not show how algorithms do on long runs, large models, or tasks unlike these"
    left = (f"Not played yet, for want of runs: {', '.join(table.unplayed)}.",) if table.unplayed else ()
    return (
        *left,
        f"{budget}, chosen by the mean score of seeds {choosing}, one rate per suite; scored on seeds {scored}.",
        f"{published}.  Nothing else is tuned: not epochs, clips, temperatures or regularisers.",
        f"{shows}; those tied with the leader share the first place, and order within an interval says nothing.",
    )


def _data(table: Standings) -> dict[str, Any]:
    return {
        "title": table.league.title,
        "tasks": list(table.tasks),
        "tracks": {track.name: _track_data(track) for track in table.tracks},
        "rates": {n: {s: vars(c) for s, c in e.choices.items()} for n, e in table.entrants.items()},
        "unranked": dict(table.unranked),
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
    """A line of CSV per algorithm, track and task."""
    return [
        {"track": track.name, "algorithm": name, "task": task, "seeds": len(values), "mean": float(values.mean())}
        for track in table.tracks
        for name in track.scores
        for task, values in table.entrants[name].values[track.name].items()
    ]
