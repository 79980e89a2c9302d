"""Sweeps: the final score over a numeric axis of the grid, such as the number of candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from tpobench.report.figures.layout import (
    PANELS,
    Picture,
    facets,
    name_axes,
    name_lines,
    numbered,
    rules_of,
    spelled,
    title_panels,
)
from tpobench.report.figures.points import draw_points, final_caption
from tpobench.report.figures.scales import ends_of
from tpobench.scores.cells import Cell
from tpobench.scores.options import Options

LEAST = 3  # values that make a sweep


def sweep_pictures(suite: str, cells: Sequence[Cell], how: Options) -> list[Picture]:
    """A figure per numeric axis of three values or more, a panel per point of the other axes."""
    found = []
    for axis in dict.fromkeys(a for c in cells for a in c.axes):
        panels = {k: v for k, v in _panels(cells, axis).items() if len(v) >= LEAST}
        parts = [dict(list(panels.items())[i : i + PANELS]) for i in range(0, len(panels), PANELS)]
        for i, part in enumerate(parts):
            own = [c for v in part.values() for c in v]
            kind = " (log2 axis)" if _positive(own, axis) else ""
            caption = f"Final {own[0].reporting.metric} over {spelled(axis)}{kind}, {final_caption(own, how)}."
            name, title = numbered(f"{suite}-{axis}", len(parts), i), f"final results over {spelled(axis)}"
            found.append(Picture(name, caption, _figure(part, axis, how), title))
    return found


def _panels(cells: Sequence[Cell], axis: str) -> dict[str, list[Cell]]:
    panels: dict[str, list[Cell]] = {}
    for c in cells:
        value = c.axes.get(axis)
        if c.arms and isinstance(value, int | float) and not isinstance(value, bool):
            others = [f"{k}={v}" for k, v in c.axes.items() if k != axis]
            others += [f"matching={c.condition}"] if c.condition else []
            panels.setdefault(", ".join(others), []).append(c)
    return panels


def _figure(panels: Mapping[str, list[Cell]], axis: str, how: Options) -> Figure:
    cells = [c for v in panels.values() for c in v]
    rules, reporting = rules_of(cells), cells[0].reporting
    figure, axes = facets(len(panels))
    ends, log = [], _positive(cells, axis)
    for ax, own in zip(axes, panels.values(), strict=True):
        positions = [float(c.axes[axis]) for c in own]
        low, high = min(positions), max(positions)
        side = (high / low) ** (1 / 60) if log else (high - low) / 60
        ends.append(draw_points(ax, own, positions, rules, how, side=side, log=log))
        if log:
            ax.set_xscale("log", base=2)
        ax.margins(x=0.1)
        ax.set_xticks(positions, [f"{p:g}" for p in positions])
        ax.minorticks_off()
    axes[0].set_ylim(*ends_of(reporting))  # the panels share their scale: only once everything is drawn
    title_panels(axes, list(panels))
    name_axes(axes, spelled(axis).capitalize(), f"Final {reporting.metric}" + reporting.unit)
    name_lines(figure, axes, ends, rules)
    return figure


def _positive(cells: Sequence[Cell], axis: str) -> bool:
    """Whether a log axis can hold all values."""
    return all(c.axes[axis] > 0 for c in cells)
