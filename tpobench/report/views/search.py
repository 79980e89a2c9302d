"""A search: breaking points with their intervals, and the seeds that learn at each level that was visited."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tpobench.report.breaking_point import Searched, bracket, hardness, number, point_text, searched
from tpobench.report.figures.breaking import LINE, POINTS, ends_of_levels, learn_caption
from tpobench.report.views.choices import Index, groups_view
from tpobench.report.views.numbers import rounded, scaled
from tpobench.scores.cells import Cell
from tpobench.scores.text import rate_text
from tpobench.stats.estimate import rate_estimate
from tpobench.tables.model import View


def search_views(cells: Sequence[Cell], algorithms: Sequence[str]) -> tuple[View, ...]:
    """What there is to choose, the breaking points, and what they are fitted to; nothing without a level."""
    groups = [g for g in searched(cells) if any(p.levels for p in g.points.values())]
    if not groups:
        return ()
    index = Index({g.label: i for i, g in enumerate(groups)}, {name: i for i, name in enumerate(algorithms)})
    points = {"rows": [row for group in groups for row in _points(group, index)]}
    levels = {
        "ends": [rounded(ends_of_levels(group.points.values())) for group in groups],
        "rows": [row for group in groups for row in _levels(group, index)],
    }
    learn = f"{learn_caption(groups[0])} {LINE}"
    return (
        groups_view(groups, algorithms),
        View("breaking", "breaking-points", "Breaking points", POINTS, points),
        View("levels", "seeds-that-learn", "Seeds that learn at each level", learn, levels),
    )


def _points(group: Searched, index: Index) -> Iterator[list[Any]]:
    """Group, algorithm, place by sparsity, p0*, low, high, whether an end is unbounded, and what a table says."""
    hardest, easiest = ends_of_levels(group.points.values())
    order = sorted(group.points, key=lambda name: hardness(group.points[name]))
    for name, point in group.points.items():
        known = point.status != "untestable"
        low, high = (point.low or hardest, point.high or easiest) if known else (None, None)
        holds, breaks = bracket(group, name)
        texts = [
            point_text(point),
            ", ".join([f"holds at {holds}"] * bool(holds) + [f"breaks at {breaks}"] * bool(breaks)),
            f"{point.runs} seeds at {len(point.levels)} levels",
        ]
        yield [
            index.cells[group.label], index.algorithms[name], order.index(name), *(scaled(v, 1.0) for v in (
                point.value, low, high)), known and point.low is None, known and point.high is None, texts,
        ]  # fmt: skip


def _levels(group: Searched, index: Index) -> Iterator[list[Any]]:
    """Group, algorithm, p0* and slope of the curve, and of each level its name, p0, share, low, high and text."""
    for name, point in group.points.items():
        curve = [scaled(point.value, 1.0), scaled(point.slope, 1.0)]
        yield [index.cells[group.label], index.algorithms[name], *curve, list(_visited(group, name))]


def _visited(group: Searched, name: str) -> Iterator[list[Any]]:
    for cell in group.cells:
        counts = group.learned(cell, name)
        if counts is None or not cell.success or math.isnan(cell.success):
            continue
        rate = rate_estimate(*counts)
        level = f"{group.search.axis} {group.value(cell)}, p0 = {number(cell.success, 3)}"
        numbers = [scaled(v, 100.0) for v in (rate.value, rate.low, rate.high)]
        yield [level, *rounded([cell.success]), *numbers, f"{counts[0]}/{counts[1]} {rate_text(rate)}"]
