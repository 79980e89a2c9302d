"""Figures, for reports and for `tpobench.paper`: data in, matplotlib figures with captions out.  No pyplot state.

style        colours, lines and markers of every algorithm
scales       axes: their names, log or linear, how many numbers stand beside them
layout       legends, names at the ends of lines, and the bytes of a picture
facets       where panels of one kind lie on a page: the axes of the grid down and across, each label once
classes      algorithms whose runs are the same, as one
labels       names as a figure may draw them and a file may bear them
panel        what every panel is given: lines with runs and looks
captions     sentences that captions share
grid        panels on a page: facets under one scale, or rows of any panels under one legend
curves       panel and pictures: a metric over the updates, mean with band
points       panel: estimates with intervals over labelled positions
bars         panel: final scores in groups, with intervals and values
sweeps       pictures: final scores over an axis of the grid, as points or bars
profile      pictures: final scores over the success probability p0 of the untrained policy
reached      pictures: the share of seeds below a threshold over time
strips       pictures: every seed's final score, the mean beside them
improvement  pictures: the probability that one algorithm ends lower than another
breaking     pictures: the share of seeds that learn over p0, and breaking points
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import matplotlib as mpl

from tpobench.printable import first_of
from tpobench.report.breaking_point import search_of
from tpobench.report.figures.breaking import breaking_pictures
from tpobench.report.figures.classes import merged, told
from tpobench.report.figures.curves import counting, curve_pictures, diagnostics_of
from tpobench.report.figures.improvement import improvement_pictures
from tpobench.report.figures.labels import drawable_cell, file_stem, undrawn
from tpobench.report.figures.layout import Picture, algorithms_of, save
from tpobench.report.figures.profile import profile_pictures
from tpobench.report.figures.reached import reached_pictures
from tpobench.report.figures.strips import strip_pictures
from tpobench.report.figures.style import RC, told_apart
from tpobench.report.figures.sweeps import sweep_pictures
from tpobench.scores.cells import Cell
from tpobench.scores.options import ReportOptions
from tpobench.tasks.settings import COUNTERS, INFORMATIVE, TOKENS

__all__ = ["Picture", "pictures_of", "save"]


FIRST = 3  # kinds of figures that a report shows unless more are asked for
ALL = "all"

Makers = dict[str, Callable[[], list[Picture]]]


def pictures_of(
    suite: str, cells: Sequence[Cell], options: ReportOptions | None = None, kinds: Collection[str] = (ALL,)
) -> list[Picture]:
    """Figures of one suite that its records allow: the kinds that are asked for, else the first three."""
    chosen = [drawable_cell(c) for c in cells if c.arms]
    if not chosen:
        return []
    lost = [c.label for c in cells if not c.arms]
    left = f" Left out, since no run finished: {first_of(lost, 6, '; ')}." if lost else ""
    pictures: list[list[Picture]] = []
    with mpl.rc_context(RC), told_apart(algorithms_of(chosen)):
        for kind, make in _makers(suite, chosen, options or ReportOptions()).items():
            if {kind, ALL} & set(kinds) or (not kinds and len(pictures) < FIRST and kind != "diagnostics"):
                pictures += filter(None, [make()])
    return [
        replace(p, name=file_stem(undrawn(p.name)), caption=undrawn(p.caption) + left, title=undrawn(p.title))
        for several in pictures for p in several
    ]  # fmt: skip


def _makers(suite: str, chosen: Sequence[Cell], options: ReportOptions) -> Makers:
    """What draws each kind, in the order of FIGURES."""
    if search_of(chosen) is not None:  # algorithms visit levels of their own: what they share is a curve
        return {"learn": lambda: breaking_pictures(suite, chosen)}
    matchings: list[tuple[list[Cell], str, str]] = []
    for matching in sorted({c.matching for c in chosen}):
        matched = [c for c in chosen if c.matching == matching]
        matchings.append((*merged(matched), f"-{matching}" if any(c.condition for c in matched) else ""))
    classes, members = merged(chosen)

    def each(name: str, draw: Callable[[str, list[Cell]], list[Picture]]) -> Callable[[], list[Picture]]:
        return lambda: [p for c, who, tail in matchings for p in told(draw(f"{suite}-{name}{tail}", c), who)]

    of_texts: Makers = {
        "tokens": each("tokens", lambda name, c: curve_pictures(name, c, None, options, TOKENS.name)),
        "informative": each("informative", lambda name, c: curve_pictures(name, c, INFORMATIVE.name, options)),
    }
    return {
        "curves": each("curves", lambda name, c: curve_pictures(name, c, None, options)),
        **(of_texts if any(counting(c, TOKENS.name) for c in chosen) else {}),
        "sparsity": lambda: told(profile_pictures(suite, classes, options), members),
        "sweeps": lambda: told(sweep_pictures(suite, classes, options), members),
        "reached": each("reached", reached_pictures),
        "final": each("final", lambda name, c: strip_pictures(name, c, options)),
        "improvement": each("improvement", improvement_pictures),
        "diagnostics": lambda: _diagnostics(suite, chosen, options),
    }


def _diagnostics(suite: str, chosen: Sequence[Cell], options: ReportOptions) -> list[Picture]:
    """Every other recorded metric over the updates, but for what other kinds show."""
    pictures: list[Picture] = []
    texts = any(counting(c, TOKENS.name) for c in chosen)
    elsewhere = {c.name for c in COUNTERS} | ({INFORMATIVE.name} if texts else set())
    for matching in sorted({c.matching for c in chosen}):
        matched = [c for c in chosen if c.matching == matching]
        tail = f"-{matching}" if any(c.condition for c in matched) else ""
        for metric in (m for m in diagnostics_of(matched) if m not in elsewhere):
            classes, members = merged(matched, metric)
            pictures += told(curve_pictures(f"{suite}-{metric}{tail}", classes, metric, options), members)
    return pictures
