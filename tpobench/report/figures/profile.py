"""Final score against sparsity: the initial success probability p0 as the common axis of all suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from tpobench.report.cells import Cell
from tpobench.report.figures.layout import Picture, facets, name_axes, name_lines, rules_of, title_panels
from tpobench.report.figures.points import draw_points, final_caption
from tpobench.report.metrics import percent
from tpobench.report.options import Options


def profile_pictures(suite: str, cells: Sequence[Cell], how: Options) -> list[Picture]:
    """A panel per reward and matching; nothing without two sparsities."""
    usable = [c for c in cells if c.success and c.arms]
    panels: dict[str, list[Cell]] = {}
    for c in usable:
        kind = str(c.task.get("reward", ""))
        key = ", ".join(k for k in (kind, c.condition and f"{c.condition} matched") if k)
        panels.setdefault(key, []).append(c)
    panels = {
        k: sorted(v, key=lambda c: -(c.success or 0)) for k, v in panels.items() if len({c.success for c in v}) > 1
    }
    if not panels:
        return []
    chosen = [c for v in panels.values() for c in v]
    caption = (
        f"Final {chosen[0].reporting.metric} against the success probability p0 of the untrained policy (harder to the "
        f"right), {final_caption(chosen, how)}; points of one p0 are set side by side."
    )
    return [Picture(f"{suite}-sparsity", caption, _figure(panels, how), "final results against sparsity")]


def _figure(panels: Mapping[str, list[Cell]], how: Options) -> Figure:
    cells = [c for v in panels.values() for c in v]
    rules, reporting = rules_of(cells), cells[0].reporting
    figure, axes = facets(len(panels))
    ends = []
    for ax, own in zip(axes, panels.values(), strict=True):
        positions = [c.success or 0.0 for c in own]
        ends.append(draw_points(ax, own, positions, rules, how, side=1.04))
        ax.set_xscale("log")
        ax.margins(x=0.1)
        ax.invert_xaxis()
        ticks = apart(sorted(set(positions)))
        ax.set_xticks(ticks, [f"{p:.2g}" for p in ticks])
        ax.minorticks_off()
    axes[0].set_ylim(0, None)  # the panels share their scale: only once everything is drawn
    title_panels(axes, list(panels))
    name_axes(axes, "Initial success probability p0", f"Final {reporting.metric}" + " (%)" * percent(reporting))
    name_lines(figure, axes, ends, rules)
    return figure


def apart(values: Sequence[float]) -> list[float]:
    """Ascending values thinned so that labels on a log axis do not touch: a sixth of the range between any two."""
    kept: list[float] = []
    for value in values:
        if not kept or value / kept[-1] >= max(1.25, (values[-1] / values[0]) ** (1 / 6)):
            kept.append(value)
    return kept
