"""One curve for algorithms whose runs are the same: a figure of 50 algorithms that are 20 shows 20."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tpobench.report.figures.labels import LONGEST
from tpobench.report.figures.layout import Picture, algorithms_of
from tpobench.scores.cells import Arm, Cell

RELATIVE, ABSOLUTE = 1e-3, 1e-6  # differences between curves that nobody sees


def merged(cells: Sequence[Cell], metric: str | None = None) -> tuple[list[Cell], str]:
    """The cells with one arm for each class, under the names of its members, and a sentence that lists them.

    Algorithms are of one class where every recorded value of every seed is the same in every cell, of the score and of
    `metric`.
    """
    classes: list[list[str]] = []
    for name in algorithms_of(cells):
        alike = next((c for c in classes if all(_same(cell, c[0], name, metric) for cell in cells)), None)
        if alike is None:
            classes.append([name])
        else:
            alike.append(name)
    labels = {names[0]: _label(names) for names in classes}
    several = ["; ".join(" = ".join(names) for names in classes if len(names) > 1)]
    shown = [replace(c, arms={labels[n]: arm for n, arm in c.arms.items() if n in labels}) for c in cells]
    return shown, "".join(f" Drawn as one, since their runs are equal to {RELATIVE:.1%}: {s}." for s in several if s)


def told(pictures: Sequence[Picture], sentence: str) -> list[Picture]:
    """The pictures with a sentence more in their captions."""
    return [replace(p, caption=p.caption + sentence) for p in pictures]


def _same(cell: Cell, a: str, b: str, metric: str | None) -> bool:
    if a not in cell.arms or b not in cell.arms:
        return a not in cell.arms and b not in cell.arms and (a in cell.dropped) == (b in cell.dropped)
    one, other = cell.arms[a], cell.arms[b]
    metrics = {cell.reporting.metric, *filter(None, [metric])}
    return (one.seeds, one.diverged) == (other.seeds, other.diverged) and all(
        _equal(_values(one, name), _values(other, name))
        for name in (*metrics, *sorted(one.axes.keys() & other.axes.keys() & {"step", "interactions"}))
    )


def _values(arm: Arm, name: str) -> np.ndarray | None:
    return arm.axes.get(name, arm.curves.get(name))


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and np.allclose(a, b, RELATIVE, ABSOLUTE, equal_nan=True)


def _label(names: Sequence[str]) -> str:
    """All members where there is room, else the first and how many more."""
    label = " = ".join(names)
    return label if len(label) <= LONGEST else f"{names[0]} = {len(names) - 1} more"
