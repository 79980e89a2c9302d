"""Figures, for reports and for `tpobench.paper`: data in, matplotlib figures with captions out.  No pyplot state.

style        colours, lines and markers of every algorithm
scales       axes: their names, log or linear, how many numbers stand beside them
layout       facets, legends, names at the ends of lines, and the bytes of a picture
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

import re
from collections.abc import Sequence
from dataclasses import replace

import matplotlib as mpl

from tpobench.report.breaking_point import search_of
from tpobench.report.figures.breaking import breaking_pictures
from tpobench.report.figures.classes import merged, told
from tpobench.report.figures.curves import curve_pictures
from tpobench.report.figures.improvement import improvement_pictures
from tpobench.report.figures.labels import drawable_cell, file_stem, undrawn
from tpobench.report.figures.layout import Picture, save
from tpobench.report.figures.profile import profile_pictures
from tpobench.report.figures.reached import reached_pictures
from tpobench.report.figures.strips import strip_pictures
from tpobench.report.figures.style import RC
from tpobench.report.figures.sweeps import sweep_pictures
from tpobench.scores.cells import Cell
from tpobench.scores.options import ReportOptions

__all__ = ["Picture", "pictures_of", "save"]

TALLY = re.compile(r"(count|\w+_sum)\d+")  # parts of a histogram: a curve of one of them says nothing


def pictures_of(suite: str, cells: Sequence[Cell], options: ReportOptions | None = None) -> list[Picture]:
    """All figures of one suite that its records allow: results first, diagnostics of the training last."""
    pictures = _pictures_of(suite, [drawable_cell(c) for c in cells if c.arms], options or ReportOptions())
    return [
        replace(p, name=file_stem(undrawn(p.name)), caption=undrawn(p.caption), title=undrawn(p.title))
        for p in pictures
    ]


def _pictures_of(suite: str, chosen: Sequence[Cell], options: ReportOptions) -> list[Picture]:
    results: list[Picture] = []
    diagnostics: list[Picture] = []
    if not chosen:
        return []
    with mpl.rc_context(RC):
        if search_of(chosen) is not None:  # algorithms visit levels of their own: what they share is a curve
            return breaking_pictures(suite, chosen)
        for matching in sorted({c.matching for c in chosen}):
            matched = [c for c in chosen if c.matching == matching]
            classes, members = merged(matched)
            tail = f"-{matching}" if any(c.condition for c in matched) else ""
            pictures = curve_pictures(f"{suite}-curves{tail}", classes, None, options)
            pictures += reached_pictures(f"{suite}-reached{tail}", classes)
            pictures += strip_pictures(f"{suite}-final{tail}", classes, options)
            pictures += improvement_pictures(f"{suite}-improvement{tail}", classes)
            results += told(pictures, members)
            scores = {c.reporting.metric for c in matched}
            others = {m for c in matched for a in c.arms.values() for m in a.curves} - scores
            for metric in sorted(m for m in others if TALLY.fullmatch(m) is None):
                classes, members = merged(matched, metric)
                diagnostics += told(curve_pictures(f"{suite}-{metric}{tail}", classes, metric, options), members)
        classes, members = merged(chosen)
        results += told([*profile_pictures(suite, classes, options), *sweep_pictures(suite, classes, options)], members)
    return results + diagnostics
