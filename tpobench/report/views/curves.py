"""A metric over the updates: means over seeds with bands as figures draw them, and of the score every seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpobench.report.figures.captions import arms_of, averages_text, band_text, diverged_text, seeds_text
from tpobench.report.figures.curves import FEW, Curve, Curves, averaged, diagnostics_of, metric_lines, metric_title
from tpobench.report.figures.panel import with_runs
from tpobench.report.figures.scales import decades, time_axis
from tpobench.report.views.choices import Index
from tpobench.report.views.numbers import rounded
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.options import ReportOptions
from tpobench.stats.estimate import Floats
from tpobench.tables.model import View

POINTS = 101  # of a mean at most
SEED_POINTS = 60_000  # of all seeds of a suite together, about


def curves_view(cells: Sequence[Cell], index: Index, options: ReportOptions) -> View | None:
    """The score first, then every other recorded metric."""
    arms = arms_of(cells)
    metrics = [None, *diagnostics_of(cells)]
    panels = {m: [_panel(c, m) for c in cells if c.arms] for m in metrics}
    data = [entry for m in metrics if (entry := _metric(panels[m], m, index, options))["lines"]]
    if not data:
        return None
    widths = {width for panel in panels[None] for width in panel.widths}
    said = [band_text(arms, options), averages_text(widths), *diverged_text(with_runs(panels[None]))]
    caption = f"Mean over {seeds_text(arms)}. {'. '.join(filter(None, said))}."
    return View("curves", "curves", "Curves of training", caption, {"metrics": data})


def _panel(cell: Cell, metric: str | None) -> Curves:
    lines = metric_lines(cell, cell.arms, metric)
    return Curves(cell.label, "", lines, points=POINTS if metric is None else FEW, axis=time_axis(cell))


def _metric(panels: Sequence[Curves], metric: str | None, index: Index, options: ReportOptions) -> dict[str, Any]:
    drawn = [
        (line.cell, line.arm, line.algorithm, curve)
        for panel in panels
        for line in panel.lines
        if line.cell and line.arm and (curve := panel.curve(line, options)) is not None
    ]
    cell = next(line.cell for panel in panels for line in panel.lines if line.cell)
    width = -(-sum(curve.seeds.size for *_, curve in drawn) // SEED_POINTS)
    axes: dict[tuple[float, ...], int] = {}
    lines = []
    for c, arm, name, curve in drawn:
        low, high = map(rounded, curve.band) if curve.band else (None, None)
        x, runs = (_seeds(arm, curve, width)) if metric is None else (curve.x, [])
        place = [axes.setdefault(tuple(rounded(steps, 6)), len(axes)) for steps in (curve.x, x)]
        mean = rounded(curve.mean)
        lines.append([
            index.cells[c.label], index.algorithms[name], place[0], mean, low, high, len(curve.seeds), place[1], runs,
        ])  # fmt: skip
    return {
        "title": metric_title(cell, metric) + f" {cell.reporting.arrow}" * (metric is None),
        "log": metric.endswith("norm") if metric else cell.reporting.sign > 0 and decades(c.mean for *_, c in drawn),
        "zero": metric is not None or cell.reporting.sign > 0,
        "xs": list(axes),
        "lines": lines,  # cell, algorithm, x, mean, low, high, number of seeds, x of them, seeds
    }


def _seeds(arm: Arm, curve: Curve, width: int) -> tuple[Floats, list[list[Any]]]:
    """Steps of every `width` points, and of each seed its number, whether it diverged, and its values there."""
    values = [rounded(seed, 3) for seed in averaged(curve.seeds, width)]
    runs = [list(run) for run in zip(arm.seeds, arm.diverged, values, strict=True)]
    return averaged(curve.x[None], width)[0], runs
