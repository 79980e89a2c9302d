"""The league in figures: who beats whom, at which learning rates an algorithm works, and where it breaks."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from tpobench.algorithms.catalog import family_of
from tpobench.league.model import Division
from tpobench.league.standings import TRACKS, WORKS, Breaking, Standings, Track
from tpobench.report.figures.breaking import draw_interval, ends_of_levels, sparsity_axis
from tpobench.report.figures.layout import COLUMN, PAGE, Picture, name_rows
from tpobench.report.figures.style import FAMILY_COLOURS, GREY, RC, style_of
from tpobench.scores.cells import algorithm_order

ROW = 0.13  # inches of an algorithm


def league_pictures(table: Standings) -> list[Picture]:
    """One of each ranking, one of the learning rates, and one of the breaking points."""
    divisions = [each for each in table.divisions if each.tracks]
    with mpl.rc_context(RC):
        matrices = [_matrix(track, each.division) for each in divisions for track in each.tracks]
        rates = [_rates(table)] if table.listed else []
        return [*matrices, *rates, *([_breaking(table, table.breaking)] if table.breaking else [])]


def _matrix(track: Track, division: Division) -> Picture:
    names = list(track.ranked)
    at = [list(track.scores).index(n) for n in names]
    size = max(COLUMN, 1.6 + ROW * len(names))
    figure = Figure(figsize=(size, size), layout=ConstrainedLayoutEngine(compress=True, w_pad=0.15))  # of long names
    ax = figure.subplots()
    image = ax.imshow(100 * track.wins[np.ix_(at, at)], vmin=0, vmax=100, cmap="RdBu")
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    ax.set_yticks(range(len(names)), names, fontsize=6)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    bar = figure.colorbar(image, ax=ax, shrink=0.6)
    bar.set_label("P(row scores better than column) (%)")
    where = ", ".join(filter(None, (TRACKS[track.name], division.name)))
    caption = (
        f"Probability that a seed of the row scores better than one of the column, mean over tasks, ties counted half; "
        f"{where}, in the order of the ranking."
    )
    return Picture(
        "-".join(filter(None, ("league-wins", track.name, division.slug))), caption, figure, "who beats whom"
    )


def _rates(table: Standings) -> Picture:
    outside = {name for each in table.divisions for track in each.tracks for name in track.outside}
    entrants, events = [e for e in table.listed if e.name not in outside], table.league.events
    figure, axes = _panels(len(events), len(entrants))
    for ax, event in zip(axes, events, strict=True):
        for row, entrant in enumerate(entrants):
            if choice := entrant.choices.get(event.suite.name):
                colour = _colour(entrant.name)
                ax.plot([choice.low, choice.high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
                ax.plot([choice.rate], [row], "o", color=colour, markersize=3)
        ax.axvline(event.published, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
        ax.set_xscale("log")
        ax.set_xlim(event.learning_rates[0] / 1.3, event.learning_rates[-1] * 1.3)
        ax.set_xticks(event.learning_rates, [f"{rate:g}" for rate in event.learning_rates], rotation=90)
        ax.minorticks_off()
        ax.set_title(event.suite.name)
        _name_rows(ax, [entrant.name for entrant in entrants])
    figure.supxlabel("Learning rate", fontsize=8)
    _families(figure, [entrant.name for entrant in entrants])
    caption = (
        f"Learning rates at which an algorithm scores at least {WORKS:g} of its best (line), and the one that it chose "
        "(dot); dashed: the suite's own.  In the order of the tuned rankings; no line: it cannot play that suite."
    )
    return Picture("league-rates", caption, figure, "learning rates that work")


def _breaking(table: Standings, breaking: Breaking) -> Picture:
    *_, last = breaking.points.values()
    listed = {entrant.name for entrant in table.listed}
    names = [name for name in last if name in listed]
    tracks = {track: points for track, points in breaking.points.items() if points}
    figure, axes = _panels(len(tracks), len(names))
    hardest, easiest = ends_of_levels(point for of in tracks.values() for point in of.values())
    for ax, (track, points) in zip(axes, tracks.items(), strict=True):
        sparsity_axis(ax, hardest, easiest)
        for row, name in enumerate(names):
            if name in points:
                draw_interval(ax, points[name], row, _colour(name), "o")
        ax.set_title(TRACKS[track])
        _name_rows(ax, names)
    figure.supxlabel("Breaking point p0*", fontsize=8)
    _families(figure, names)
    caption = (
        "Breaking points p0*, 95 % interval (profile likelihood); further right is a sparser reward.  Arrows: no level "
        "that was run bounds it there.  Sparsest first with the learning rate tuned."
    )
    return Picture("league-breaking", caption, figure, "breaking points")


def _panels(count: int, rows: int) -> tuple[Figure, Sequence[Axes]]:
    """Side by side, with room for a row of each algorithm."""
    figure = Figure(figsize=(PAGE, 1.1 + ROW * rows), layout=ConstrainedLayoutEngine(w_pad=0.15))  # of long names
    return figure, np.atleast_1d(figure.subplots(1, count, sharey=True)).tolist()


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    name_rows(ax, names)
    ax.tick_params(axis="y", labelsize=6)


def _colour(name: str) -> str:
    """Its family's: of sixty algorithms a colour cannot name one."""
    return FAMILY_COLOURS.get(family_of(name), style_of(name).colour)


def _families(figure: Figure, names: Sequence[str]) -> None:
    """A legend of the colours, in the order of the catalogue."""
    shown = {family_of(name): _colour(name) for name in sorted(names, key=algorithm_order)}
    handles = [Line2D([], [], color=colour, linewidth=3) for colour in shown.values()]
    figure.legend(
        handles, list(shown), loc="outside upper center", ncols=min(len(shown), 9), handlelength=1.2, fontsize=7
    )
