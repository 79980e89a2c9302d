"""What the figures share: names of lines, legends, rows, and bytes that depend on the records alone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tpobench.report.figures.style import RC
from tpobench.scores.cells import Cell, algorithm_order

COLUMN, PAGE = 3.3, 6.75  # inches: one column and the whole width of a two-column page
HANDLE, LETTER, LINE = 0.52, 0.064, 0.16  # inches of a legend entry's line, of a letter, and between two rows
DIRECT_LABELS = 6  # algorithms up to which line ends carry their names
LABEL = 0.085  # of the panel's height: a name at the end of a line
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
DESCRIBED = {"png": "Description", "pdf": "Subject", "svg": "Description"}


@dataclass(frozen=True)
class Picture:
    """A figure with its file name (no ending) and its caption."""

    name: str
    caption: str
    figure: Figure
    title: str = ""

    @property
    def wide(self) -> bool:
        """Whether one column of a page is too narrow for it."""
        return self.figure.get_figwidth() > COLUMN


def save(picture: Picture, ending: str) -> bytes:
    """The figure's bytes as png, pdf or svg; the same figure gives the same bytes."""
    out = BytesIO()
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box in its place will do
        if picture.figure.get_layout_engine() is not None:
            picture.figure.draw_without_rendering()
            picture.figure.set_layout_engine("none")  # laid out once, not again for each format
        metadata = METADATA[ending] | {DESCRIBED[ending]: picture.caption}
        picture.figure.savefig(out, format=ending, metadata=metadata)
    return _shortened(out.getvalue()) if ending == "svg" else out.getvalue()


def _shortened(svg: bytes) -> bytes:
    """Paths in hundredths of a point: half the bytes, the same picture."""
    return re.sub(rb'(?<= d=")[^"]+', lambda path: re.sub(rb"(\d+\.\d{2})\d+", rb"\1", path.group()), svg)


def spelled(axis: str) -> str:
    """The name of an axis of the grid, or one of its values, in words."""
    return axis.replace("_", " ")


def algorithms_of(cells: Iterable[Cell]) -> list[str]:
    """Every algorithm that has a result in one of the cells, in the order of the catalogue."""
    names = {name: arm.algorithm for c in cells for name, arm in c.arms.items()}
    return sorted(names, key=lambda name: algorithm_order(names[name]))


def named_lines(ax: Axes) -> list[Line2D]:
    """The lines of a panel that a legend names: no interval, no seed, no guide."""
    return [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]


def name_lines(
    figure: Figure, axes: Sequence[Axes], names: Sequence[str], ends: Sequence[Sequence[float]] | None = None
) -> None:
    """Names at the ends of the lines where they are few and find room there, else one legend on top.

    Args:
        figure: all of it.
        axes: its panels.
        names: of the lines, in the order of a legend.
        ends: where the names of each panel's lines go, if that is not where they end.
    """
    lines = [named_lines(ax) for ax in axes]
    if ends is None:
        ends = [[float(np.asarray(line.get_ydata())[-1]) for line in several] for several in lines]
    few = len(names) <= DIRECT_LABELS and len(axes) <= 2 and all(lines)  # bars have no ends
    heights = [label_heights(_fractions(ax, y)) if few else None for ax, y in zip(axes, ends, strict=True)]
    if None in heights:
        legend(figure, names)
        return
    for ax, several, placed in zip(axes, lines, heights, strict=True):
        label_ends(ax, several, placed or [])


def _fractions(ax: Axes, values: Sequence[float]) -> list[float]:
    """Heights of values within the panel, 0 at its foot and 1 at its top."""
    to_panel = ax.transData + ax.transAxes.inverted()
    return [min(max(float(to_panel.transform((ax.get_xlim()[1], y))[1]), 0.0), 1.0) for y in values]


def label_heights(ends: Sequence[float]) -> list[float] | None:
    """Where names stand beside the ends of their lines, a line height apart; None where one would leave its line."""
    placed = spread(ends, LABEL)
    near = all(abs(y - end) <= LABEL / 2 + 1e-9 for y, end in zip(placed, ends, strict=True))
    return placed if near else None


def label_ends(ax: Axes, lines: Sequence[Line2D], heights: Sequence[float]) -> None:
    """Names at the right of the lines."""
    for line, y in zip(lines, heights, strict=True):
        ax.annotate(str(line.get_label()), (1, y), xytext=(4, 0), xycoords="axes fraction", va="center",
                    textcoords="offset points", color=line.get_color(), annotation_clip=False)  # fmt: skip


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Positions in [0, 1], ordered like `heights` and at least `gap` apart; what collides moves as one block."""
    blocks: list[list[int]] = []  # members from low to high

    def bottom(block: list[int]) -> float:
        room = (len(block) - 1) * gap
        centre = sum(heights[i] for i in block) / len(block)
        return min(max(centre - room / 2, 0.0), max(1 - room, 0.0))

    for i in sorted(range(len(heights)), key=lambda i: heights[i]):
        blocks.append([i])
        while len(blocks) > 1 and bottom(blocks[-2]) + len(blocks[-2]) * gap > bottom(blocks[-1]) + 1e-12:
            upper = blocks.pop()
            blocks[-1] = blocks[-1] + upper
    placed = {i: bottom(block) + k * gap for block in blocks for k, i in enumerate(block)}
    return [placed[i] for i in range(len(heights))]


def legend(figure: Figure, names: Sequence[str] = ()) -> None:
    """One legend for all panels, on top, in as few rows as the page is wide for; its order is that of `names`."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    shown = [name for name in names or handles if name in handles]
    columns = legend_columns(shown, figure.get_figwidth())
    figure.set_figheight(figure.get_figheight() + LINE * max(0, -(-len(shown) // columns) - 1))
    figure.legend([handles[name] for name in shown], shown, loc="outside upper center", ncols=columns,
                  handlelength=2.6, columnspacing=1.2)  # fmt: skip


def legend_columns(names: Sequence[str], width: float) -> int:
    """Columns of the fewest rows that fit into so many inches."""
    for rows in range(1, len(names)):
        columns = -(-len(names) // rows)
        widest = (max(map(len, column)) for column in np.array_split(np.array(names, dtype=object), columns))
        if sum(HANDLE + LETTER * letters for letters in widest) <= width:
            return columns
    return 1


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """A panel with a row for each name, the first on top, and lines that lead down to the x axis."""
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")


def numbered(name: str, count: int, index: int) -> str:
    """`name`, or `name-2` of several."""
    return name if count == 1 else f"{name}-{index + 1}"
