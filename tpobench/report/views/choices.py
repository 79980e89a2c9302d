"""Algorithms with their looks, and cells with their place on the grid: what the other views count on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

from tpobench.report.breaking_point import Searched
from tpobench.report.figures.layout import algorithms_of
from tpobench.report.figures.scales import x_name
from tpobench.report.figures.style import DARK, style_of, told_apart
from tpobench.scores.cells import Cell
from tpobench.tables.model import View

WIDTH = 1.5  # pixels of a line: what its dashes are counted in
FINE = 20  # a curve of a marker becomes a polygon at this size
DASHES: Any = {"--": "lines.dashed_pattern", "-.": "lines.dashdot_pattern", ":": "lines.dotted_pattern"}


@dataclass(frozen=True)
class Index:
    """Places of cells and algorithms in the lists that a page has once."""

    cells: Mapping[str, int]
    algorithms: Mapping[str, int]

    @classmethod
    def of(cls, cells: Sequence[Cell], algorithms: Sequence[str]) -> Index:
        """By label and by name."""
        return cls({c.label: i for i, c in enumerate(cells)}, {name: i for i, name in enumerate(algorithms)})


def choices_view(cells: Sequence[Cell], algorithms: Sequence[str]) -> View:
    """Every algorithm, and the values of each axis of the grid that has several."""
    places = [{"label": c.label, "at": _at(c), "time": x_name(c)} for c in cells]
    return _choices(places, cells, algorithms)


def groups_view(groups: Sequence[Searched], algorithms: Sequence[str]) -> View:
    """The same of a search: its groups are what there is to choose from, whatever their levels."""
    places = [{"label": g.label, "at": _at(g.cells[0], g.search.axis)} for g in groups]
    return _choices(places, [cell for group in groups for cell in group.cells], algorithms)


def _choices(places: Sequence[Mapping[str, Any]], cells: Sequence[Cell], algorithms: Sequence[str]) -> View:
    names = dict.fromkeys(axis for place in places for axis in place["at"])
    axes = {axis: list(dict.fromkeys(p["at"][axis] for p in places if axis in p["at"])) for axis in names}
    with told_apart(algorithms_of(cells)):  # as figures do
        looks = [{"name": name, **_looks(name)} for name in algorithms]
    several = {axis: values for axis, values in axes.items() if len(values) > 1}
    return View("choices", "choices", "", "", {"algorithms": looks, "cells": list(places), "axes": several})


def _at(cell: Cell, without: str = "") -> dict[str, str]:
    """The point of the grid, by axis."""
    at = {name: str(value) for name, value in cell.axes.items() if name != without}
    return at | ({"matching": cell.condition} if cell.condition else {})


def _looks(algorithm: str) -> dict[str, Any]:
    """The style that figures have: colour on white and on black, dashes in pixels, marker."""
    style = style_of(algorithm)
    pattern = mpl.rcParams[DASHES[style.line]] if style.line in DASHES else ()
    return {
        "light": style.colour,
        "dark": DARK.get(style.colour, style.colour),
        "dash": [round(WIDTH * length, 1) for length in pattern],
        "marker": _outline(style.marker),
    }


@lru_cache
def _outline(marker: str) -> list[list[list[float]]]:
    """A marker of matplotlib's as polygons; one unit is its width."""
    shape = MarkerStyle(marker)
    path = shape.get_path().transformed(shape.get_transform() + Affine2D().scale(FINE))
    return [np.round(np.asarray(polygon) / FINE, 2).tolist() for polygon in path.to_polygons(closed_only=False)]
