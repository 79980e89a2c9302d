"""Names as a figure may draw them, and as its file may be called."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from tpobench.printable import printable
from tpobench.scores.cells import Cell

LONGEST = 32  # characters of a name: half of what a column is wide
LONGEST_STEM = 150  # bytes of a file's name, of 255 that a folder takes


def drawable(text: str) -> str:
    """A name on one line, no formula, in the legend (matplotlib leaves out what begins with _), within a panel."""
    text = _cut(printable(text), LONGEST).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def undrawn(caption: str) -> str:
    """The dollars of a caption, which is no part of the drawing."""
    return caption.replace(r"\$", "$")


def file_stem(name: str) -> str:
    """The name where any system and any link can have it; else what is left of it, told apart by a digest."""
    plain = re.sub(r"[^A-Za-z0-9._@+=-]+", "-", name).lstrip("-.")
    return name if plain == name and len(name) <= LONGEST_STEM else f"{plain[:LONGEST_STEM]}-{_digest(name)}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 8]}… {_digest(text)[:6]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def drawable_cell(cell: Cell) -> Cell:
    """The cell with every name in it as a figure may draw it; equal names stay equal, and others different."""
    reporting = replace(cell.reporting, metric=drawable(cell.reporting.metric))
    arms = {
        drawable(name): replace(
            arm,
            algorithm=drawable(name),
            reporting=reporting,
            curves={drawable(metric): values for metric, values in arm.curves.items()},
        )
        for name, arm in cell.arms.items()
    }
    axes = {k: drawable(v) if isinstance(v, str) else v for k, v in cell.axes.items()}
    if reporting.search is None:  # which names its axis
        axes = {drawable(k): v for k, v in axes.items()}
    dropped = {drawable(name): seeds for name, seeds in cell.dropped.items()}
    return replace(cell, axes=axes, reporting=reporting, arms=arms, condition=drawable(cell.condition), dropped=dropped)
