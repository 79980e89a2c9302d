"""The league in figures: who beats whom, and at which learning rates an algorithm works."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tpobench.league.standings import TRACKS, WORKS, Standings, Track
from tpobench.report.figures.layout import COLUMN, PAGE, Picture
from tpobench.report.figures.style import GREY, RC, style_of

ROW = 0.13  # inches of an algorithm


def league_pictures(table: Standings) -> list[Picture]:
    """One of each track, and one of the learning rates."""
    with mpl.rc_context(RC):
        return [*(_matrix(track) for track in table.tracks), *([_rates(table)] if table.tracks else [])]


def _matrix(track: Track) -> Picture:
    names = list(track.ranked)
    at = [list(track.scores).index(n) for n in names]
    size = max(COLUMN, 1.6 + ROW * len(names))
    figure = Figure(figsize=(size, size), layout=ConstrainedLayoutEngine(compress=True, w_pad=0.15))  # of long names
    ax = figure.subplots()
    image = ax.imshow(track.wins[np.ix_(at, at)], vmin=0, vmax=1, cmap="RdBu")
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    ax.set_yticks(range(len(names)), names, fontsize=6)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    bar = figure.colorbar(image, ax=ax, shrink=0.6)
    bar.set_label("P(row scores better than column)")
    caption = (
        f"Probability that a seed of the row scores better than one of the column, mean over tasks, ties counted half; "
        f"{TRACKS[track.name]}, in the order of the ranking."
    )
    return Picture(f"league-wins-{track.name}", caption, figure, "who beats whom")


def _rates(table: Standings) -> Picture:
    names, events = list(table.tracks[-1].ranked), table.league.events
    figure = Figure(figsize=(PAGE, 0.8 + ROW * len(names)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(events), sharey=True))
    for ax, event in zip(axes, events, strict=True):
        for row, name in enumerate(names):
            choice, colour = table.entrants[name].choices[event.suite.name], style_of(name).colour
            ax.plot([choice.low, choice.high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
            ax.plot([choice.rate], [row], "o", color=colour, markersize=3)
        ax.axvline(event.published, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
        ax.set_xscale("log")
        ax.set_xlim(event.learning_rates[0] / 1.3, event.learning_rates[-1] * 1.3)
        ax.set_xticks(event.learning_rates, [f"{rate:g}" for rate in event.learning_rates], rotation=90)
        ax.minorticks_off()
        ax.set_title(event.suite.name)
        ax.set_xlabel("learning rate")
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_yticks(range(len(names)), names, fontsize=6)
        ax.tick_params(axis="y", length=0)
    caption = (
        f"Learning rates at which an algorithm scores at least {WORKS:g} of its best (line), and the one that it chose "
        "(dot); dashed: the suite's own.  In the order of the tuned ranking."
    )
    return Picture("league-rates", caption, figure, "learning rates that work")
