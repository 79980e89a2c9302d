"""Learning curves: the mean over seeds with its bootstrap band, a panel per cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tpobench.report.figures.layout import (
    Picture,
    facets,
    most_seeds,
    name_axes,
    name_lines,
    numbered,
    paged,
    rules_of,
    seeds_text,
    title_panels,
)
from tpobench.report.figures.scales import decades, ends_of, log_ticks, time_axis, x_name
from tpobench.report.figures.style import STYLES, style_of
from tpobench.scores.cells import Arm, Cell, scored_curves
from tpobench.scores.estimates import SEED
from tpobench.scores.options import Options
from tpobench.scores.reporting import Reporting
from tpobench.stats.estimate import Floats, bootstrap_band

BINS = 50  # of a diagnostic curve
POINTS = 150  # of one curve: finer than its print
NAMES = {"informative": "share of informative groups"}
THIN = 10  # seeds up to which each is drawn as a thin line, in a panel that is alone


def curve_pictures(name: str, cells: Sequence[Cell], metric: str | None, how: Options) -> list[Picture]:
    """The score (None) or another recorded metric over the updates."""
    parts = paged([c for c in cells if any(_curve(c, a, metric) is not None for a in c.arms.values())])
    return [
        Picture(
            numbered(name, len(parts), i), _caption(part, metric, how), _figure(part, metric, how), _title(part, metric)
        )
        for i, part in enumerate(parts)
    ]


def _curve(cell: Cell, arm: Arm, metric: str | None) -> tuple[Floats, Floats] | None:
    """Steps (E,) and curves (n, E): diverged runs at the worst value of the score, left out of every other metric."""
    x = arm.axes[time_axis(cell)]
    if metric is None:
        common, curves = scored_curves(arm, cell.reporting.metric, cell.reporting.worst)
        return (x[common], curves) if common.any() else None
    if metric not in arm.curves or all(arm.diverged):
        return None
    raw = arm.curves[metric][[not d for d in arm.diverged]]
    measured = np.isfinite(raw).all(axis=0)  # not taken at the last evaluation, for one
    return _smoothed(x[measured], raw[:, measured]) if measured.any() else None


def _smoothed(x: Floats, curves: Floats) -> tuple[Floats, Floats]:
    """Diagnostics are noisy from step to step: means over consecutive evaluations, at most `BINS` of them."""
    bins = np.array_split(np.arange(len(x)), min(BINS, len(x)))
    return np.array([x[b].mean() for b in bins]), np.stack([curves[:, b].mean(axis=1) for b in bins], axis=1)


def _caption(cells: Sequence[Cell], metric: str | None, how: Options) -> str:
    several = most_seeds(cells) > 1
    kind = "one standard error" if how.standard_errors else "pointwise 95% bootstrap interval of the mean"
    band = f"Band: {kind}" if several else "No band: one seed"
    thin = " Thin lines: the seeds." if _thin(cells) else ""
    what = _name(cells[0], metric)
    diverged = any(any(a.diverged) for c in cells for a in c.arms.values())
    lost = "scored the worst value" if metric is None else "left out"
    note = f" Diverged runs are {lost}." if diverged else ""
    note += " Diverged runs are left out." if any(c.dropped for c in cells) else ""
    count = max(len(a.axes["step"]) for c in cells for a in c.arms.values())
    bins = f" Points average {-(-count // BINS)} evaluations." if metric is not None and count > BINS else ""
    return f"{what}, mean over {seeds_text(cells)}. {band}.{bins}{thin}{note}"


def _name(cell: Cell, metric: str | None) -> str:
    metric = metric or cell.reporting.metric
    return NAMES.get(metric, metric).capitalize().replace("_", " ")


def _title(cells: Sequence[Cell], metric: str | None) -> str:
    return f"{_name(cells[0], metric).lower()} over training"


def _thin(cells: Sequence[Cell]) -> bool:
    return len(cells) == 1 and 1 < most_seeds(cells) <= THIN


def _figure(cells: Sequence[Cell], metric: str | None, how: Options) -> Figure:
    rules = rules_of(cells)
    figure, axes = facets(len(cells))
    scale = cells[0].reporting.scale if metric is None else 1.0
    ends = []
    for ax, cell in zip(axes, cells, strict=True):
        own = [(n, _draw(ax, cell, n, metric, scale, how)) for n in rules]
        ends.append([(n, end) for n, end in own if end is not None])
        ax.margins(x=0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    reporting = cells[0].reporting
    if _logarithmic(axes, metric, reporting):
        means = np.concatenate([np.asarray(line.get_ydata()) for line in _lines(axes)])
        axes[0].set_yscale("log", nonpositive="clip")
        axes[0].set_ylim(float(means[means > 0].min()) / 2, None)  # a band that begins at 0 has no lower end
        log_ticks(axes[0].yaxis)
    elif metric is None:
        axes[0].set_ylim(*ends_of(reporting))  # the panels share their scale: only once everything is drawn
    title_panels(axes, [c.axes_label for c in cells])
    what = _name(cells[0], metric)
    name_axes(axes, x_name(cells[0]), f"{what} (%)" if scale == 100.0 else what)
    name_lines(figure, axes, ends, rules)
    return figure


def _logarithmic(axes: Sequence[Axes], metric: str | None, reporting: Reporting) -> bool:
    """Norms are compared by their ratio; a score that is best at zero, where it spans decades and never gets there."""
    if metric is None:
        return reporting.sign > 0 and decades([line.get_ydata() for line in _lines(axes)])
    return metric.endswith("norm") and any((np.asarray(line.get_ydata()) > 0).any() for line in _lines(axes))


def _lines(axes: Sequence[Axes]) -> list[Line2D]:
    return [line for ax in axes for line in ax.get_lines()]


def _draw(ax: Axes, cell: Cell, name: str, metric: str | None, scale: float, how: Options) -> float | None:
    """Mean and band; the height of the line's end, None where the rule has nothing here."""
    found = _curve(cell, cell.arms[name], metric) if name in cell.arms else None
    if found is None:
        return None
    x, curves = found
    kept = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    x, curves, style = x[kept], curves[:, kept] * scale, style_of(name)
    mean = curves.mean(axis=0)
    every = max(1, len(x) // 5)
    start = sorted(STYLES).index(name) * every // len(STYLES) if name in STYLES else 0
    ax.plot(
        x, mean, color=style.colour, linestyle=style.line, marker=style.marker, markevery=(start, every), label=name
    )
    band = _band(curves, how)
    if band is not None:
        ax.fill_between(x, *band, color=style.colour, alpha=0.13, linewidth=0)
    if _thin([cell]) and len(ax.figure.axes) == 1:
        ax.plot(x, curves.T, color=style.colour, linewidth=0.35, alpha=0.4, label="_seeds")
    return float(mean[-1])


def _band(curves: Floats, how: Options) -> tuple[Floats, Floats] | None:
    if not how.standard_errors:
        return bootstrap_band(curves, np.random.default_rng(SEED), draws=1000)
    if len(curves) < 2:
        return None
    mean = curves.mean(axis=0)
    half = curves.std(axis=0, ddof=0 if how.paper_intervals else 1) / np.sqrt(len(curves))
    return np.maximum(mean - half, curves.min(axis=0)), np.minimum(mean + half, curves.max(axis=0))
