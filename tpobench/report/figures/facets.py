"""Panels of one kind on a page: laid out by the axes of the suite's grid, each label once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpobench.report.figures.layout import COLUMN, LETTER, PAGE
from tpobench.report.figures.style import GREY
from tpobench.scores.cells import Cell, natural

WIDEST = 5  # panels side by side
TALL = 1.75  # inches of a row
TALLEST = 4 * TALL  # inches of all rows of a page
FILLED = 0.5  # of a grid: with fewer of its places it is a list
BREAK = 30  # letters of a title on one line

T = TypeVar("T")
Point = Mapping[str, Any]  # of the grid, each axis with its value


@dataclass(frozen=True)
class Facets:
    """Where the panels of a page lie, and their titles; in a grid the names of its rows and columns instead."""

    titles: Sequence[str]
    places: Sequence[tuple[int, int]]  # row and column of each panel
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (
            len(self.rows) or 1 + max(row for row, _ in self.places),
            len(self.columns) or 1 + max(column for _, column in self.places),
        )

    def figure(self, height: float = TALL, single: float = 2.5, share: str = "y") -> tuple[Figure, list[Axes]]:
        """Panels on one page width, each row `height` inches tall; a single one on one column.

        A place of the grid without a panel says so.
        """
        rows, columns = self.shape
        alone, stretch = len(self.places) == 1, 1.25 if columns == 2 else 1.0
        size = (COLUMN, single) if alone else (PAGE, 0.5 + height * stretch * rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey="y" in share, sharex="x" in share)
        axes = [grid[place] for place in self.places]
        for empty in set(grid.ravel()) - set(axes):
            empty.set_axis_off()
            if self.columns:
                empty.text(0.5, 0.5, "no data", transform=empty.transAxes, ha="center", va="center", color=GREY)
        return figure, axes

    def name(self, axes: Sequence[Axes], x: str, y: str = "") -> None:
        """Titles, and what the axes are: each once where panels share it; once everything is drawn."""
        if len(axes) == 1:  # its caption says what it is
            axes[0].set(xlabel=x, ylabel=y)
            return
        axes[0].figure.supxlabel(x)
        rows = [wrapped(row) for row in self.rows] or [""] * self.shape[0]
        if self.shape[0] > 1:
            axes[0].figure.supylabel(y)
        else:
            rows = ["\n".join(filter(None, [*rows, y]))]
        alike = len({_scale(ax) for ax in axes}) == 1
        for ax, place, title in zip(axes, self.places, self.titles, strict=True):
            left, top, bottom = self._outside(place)
            ax.tick_params(labelleft=left, labelbottom=bottom or not alike)
            if not self.columns:
                ax.set_title(wrapped(title))
            elif top:
                ax.set_title(self.columns[place[1]])
            if left:
                ax.set_ylabel(rows[place[0]])

    def _outside(self, place: tuple[int, int]) -> tuple[bool, bool, bool]:
        """Whether no panel lies to the left of that place, above it, below it."""
        row, column = place
        in_row, in_column = ([p for p in self.places if p[i] == place[i]] for i in (0, 1))
        return min(in_row)[1] == column, min(in_column)[0] == row, max(in_column)[0] == row


def _scale(ax: Axes) -> tuple[object, ...]:
    return ax.get_xscale(), ax.get_xlim(), *(tick.get_text() for tick in ax.get_xticklabels())


def in_rows(titles: Sequence[str], columns: int = 3) -> Facets:
    """One after the other; of three to a row, four take two rows of two."""
    columns = 2 if (len(titles), columns) == (4, 3) else min(len(titles), columns)
    return Facets(titles, [divmod(i, columns) for i in range(len(titles))])


def pages(
    items: Sequence[T],
    points: Sequence[Point],
    titles: Sequence[str],
    tall: float = TALL,
) -> Iterator[tuple[list[T], Facets]]:
    """The items with a panel each, page by page: one axis of the grid across, all others down, in ascending order.

    Points of one axis make a row; what is no grid, three to a row.

    tall: inches of a row of panels.
    """
    most = max(1, int(TALLEST / tall))
    grid = _grid(points, most)
    if grid is None:
        width = _columns(points, titles)
        for part in (slice(start, start + most * width) for start in range(0, len(items), most * width)):
            yield list(items[part]), in_rows(titles[part], width)
        return
    axis, columns, rows, most_across = grid
    for down, across in product(_parts(rows, most), _parts(columns, most_across)):
        places = {
            i: (down.index(others), across.index({axis: p[axis]}))
            for i, p in enumerate(points)
            if (others := without(p, axis)) in down and {axis: p[axis]} in across
        }
        names = [[point_text(p) for p in several] for several in (down, across)]
        yield [items[i] for i in places], Facets([titles[i] for i in places], list(places.values()), *names)


def _parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """As few parts of about one size as hold no more than `most`."""
    n, parts = len(items), -(-len(items) // most)
    return [items[i * n // parts : (i + 1) * n // parts] for i in range(parts)]


def pages_of(cells: Sequence[Cell], tall: float = TALL) -> list[tuple[list[Cell], Facets]]:
    """The same of cells under one matching."""
    return list(pages(cells, [c.axes for c in cells], [c.axes_label for c in cells], tall))


def _grid(points: Sequence[Point], most: int) -> tuple[str, Sequence[Point], Sequence[Point], int] | None:
    """The axis across, columns, rows, and how many columns fit: of the last axis that takes the fewest pages."""
    varying = [a for a in points[0] if len({str(p.get(a)) for p in points}) > 1] if points else []
    if len(varying) < 2 or any(p.keys() != points[0].keys() for p in points):
        return None
    grids = []
    for axis in reversed(varying):
        columns, rows = (_ascending(p) for p in ([{axis: p[axis]} for p in points], [without(p, axis) for p in points]))
        if len(points) >= FILLED * len(rows) * len(columns):
            grids.append((axis, columns, rows, _fitting(list(map(point_text, columns)))))
    return min(grids, key=lambda g: len(_parts(g[1], g[3])) * len(_parts(g[2], most)), default=None)


def _ascending(points: Iterable[Point]) -> list[Point]:
    """Each once: numbers by size, words by alphabet."""
    return sorted({point_text(p): p for p in points}.values(), key=lambda p: natural(p.items()))


def without(point: Point, axis: str) -> dict[str, Any]:
    """The point on all other axes."""
    return {k: v for k, v in point.items() if k != axis}


def point_of(cell: Cell, axis: str) -> Point:
    """Where a cell lies on all axes but that one; one of them is the matching, where a suite's records hold several."""
    return without(cell.axes, axis) | ({"matching": cell.condition} if cell.condition else {})


def point_text(point: Point) -> str:
    """`epochs=4, learning_rate=0.1`."""
    return ", ".join(f"{k}={v}" for k, v in point.items())


def _columns(points: Sequence[Point], titles: Sequence[str]) -> int:
    """Of a list: the values of its only axis side by side, in rows of about one length; else three."""
    if len({axis for p in points for axis in p if p[axis] != points[0].get(axis)}) != 1:
        return 3
    rows = -(-len(points) // _fitting(titles))
    return -(-len(points) // rows)


def _fitting(titles: Sequence[str]) -> int:
    """Panels side by side whose titles have room."""
    letters = max(len(line) for title in titles for line in wrapped(title).split("\n"))
    return max(1, min(WIDEST, int(PAGE / (LETTER * (letters + 1)))))


def wrapped(label: str) -> str:
    """At most two lines, broken at a comma."""
    parts = label.split(", ")
    half = -(-len(parts) // 2)
    return label if len(label) <= BREAK else ", ".join(parts[:half]) + ",\n" + ", ".join(parts[half:])
