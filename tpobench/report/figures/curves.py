"""Learning curves: the mean over seeds with its bootstrap band, a panel per cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpobench.printable import first_of
from tpobench.report.figures.captions import arms_of, averages_text, band_text, diverged_text, most_seeds, seeds_text
from tpobench.report.figures.facets import Facets, pages_of
from tpobench.report.figures.grid import facet_figure, log_heights
from tpobench.report.figures.layout import Picture, algorithms_of, numbered
from tpobench.report.figures.panel import Line, lines_of, with_runs
from tpobench.report.figures.scales import X_NAMES, few_ticks, log_axis, time_axis
from tpobench.scores.cells import Cell, scored_curves
from tpobench.scores.estimates import SEED
from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import ERRORS
from tpobench.stats.curves import Bools
from tpobench.stats.estimate import Floats, bootstrap_band

POINTS = 201  # of a curve at most: finer than its print; more evaluations are averaged
FEW = 50  # of a curve that is noisy from update to update
NAMES = {"informative": "share of informative groups"}
SHARES = ERRORS | {*NAMES, "all_fail", "some_success", "clipped", "largest_p_old"}  # shown in percent, as errors are
TALLY = re.compile(r"(count|\w+_sum)\d+")  # parts of a histogram: a curve of one of them says nothing
BANDED = 10  # algorithms up to which bands are told apart
THIN = 10  # seeds up to which each is drawn as a thin line, in a panel that is alone


@dataclass(frozen=True)
class Curve:
    """Curves of the seeds (n, E) at `x` (E,), and the band of their mean."""

    x: Floats
    seeds: Floats
    band: tuple[Floats, Floats] | None

    @property
    def mean(self) -> Floats:
        """Over the seeds."""
        return np.asarray(self.seeds.mean(axis=0))


def recorded(line: Line) -> tuple[Bools, Floats] | None:
    """Which evaluations hold what the line shows (E,), and the curves (n, .) there; None where there are none.

    Diverged runs are at the worst value of the score, and left out of any other metric.
    """
    cell, arm = line.cell, line.arm
    if cell is None or arm is None:
        return None
    if line.metric is None:
        taken, curves = scored_curves(arm, cell.reporting.metric, cell.reporting.worst)
    elif line.metric in arm.curves:
        lasted = arm.curves[line.metric][[not d for d in arm.diverged]]
        taken = np.asarray(np.isfinite(lasted).all(axis=0))  # not at the last evaluation, for one
        curves = lasted[:, taken]
    else:
        return None
    return (taken, curves) if curves.size else None


def averaged(rows: Floats, width: int) -> Floats:
    """Means over `width` consecutive columns, (n, E) -> (n, E // width); the last takes what is left over."""
    starts = np.arange(rows.shape[1] // width) * width
    counts = np.diff(np.append(starts, rows.shape[1]))
    return np.asarray(np.add.reduceat(rows, starts, axis=1) / counts)


def _band(curves: Floats, options: ReportOptions) -> tuple[Floats, Floats] | None:
    if not options.standard_errors:
        return bootstrap_band(curves, np.random.default_rng(SEED), draws=1000)
    if len(curves) < 2:
        return None
    mean = curves.mean(axis=0)
    half = curves.std(axis=0, ddof=0 if options.paper_intervals else 1) / np.sqrt(len(curves))
    return np.maximum(mean - half, curves.min(axis=0)), np.minimum(mean + half, curves.max(axis=0))


@dataclass(frozen=True)
class Curves:
    """A panel with means over seeds over the updates, and their bands."""

    title: str
    y: str
    lines: Sequence[Line]
    log: bool = False
    floor: float = 0.0  # where a log axis ends at the latest, in units of the axis
    points: int = POINTS  # of a line at most
    x: str = "Updates"
    axis: str = "step"  # what is counted along x
    thin: bool = False  # whether each seed is drawn, too
    banded: bool = True  # whether their bands are

    @property
    def from_zero(self) -> bool:
        """Shares and norms start at 0, on a linear axis."""
        return not self.log

    @property
    def widths(self) -> set[int]:
        """Evaluations that a point of each line averages."""
        return {-(-data[1].shape[1] // self.points) for line in self.lines if (data := recorded(line))}

    def curve(self, line: Line, options: ReportOptions) -> Curve | None:
        """The numbers of a line, where it has any."""
        data = recorded(line)
        if data is None or line.arm is None:
            return None
        (taken, curves), x = data, line.arm.along(self.axis)
        width = -(-curves.shape[1] // self.points)
        seeds = averaged(curves, width) * line.scale
        return Curve(averaged(x[taken][None], width)[0], seeds, _band(seeds, options))

    def draw(self, ax: Axes, options: ReportOptions) -> None:
        """One line for each algorithm that was run."""
        heights: list[float] = []
        for place, line in enumerate(self.lines):
            if curve := self.curve(line, options):
                every = max(1, len(curve.x) // 5)
                start = (2 * place + 1) * every // (2 * len(self.lines))  # markers of equal curves are side by side
                self._draw(ax, line, curve, (start, every))
                heights += curve.mean.tolist()
        ax.set_xlim(0, max((float(line.arm.along(self.axis)[-1]) for line in self.lines if line.arm), default=1.0))
        few_ticks(ax)
        if self.log:
            log_axis(ax, heights, self.floor)

    def _draw(self, ax: Axes, line: Line, curve: Curve, markevery: tuple[int, int]) -> None:
        style = line.style
        ax.plot(curve.x, curve.mean, color=style.colour, linestyle=style.line, marker=style.marker,
                markevery=markevery, label=line.label)  # fmt: skip
        if curve.band is not None and self.banded:
            ax.fill_between(curve.x, *curve.band, color=style.colour, alpha=0.13, linewidth=0)
        if self.thin:
            ax.plot(curve.x, curve.seeds.T, color=style.colour, linewidth=0.35, alpha=0.4, label="_seeds")


def curve_pictures(
    name: str, cells: Sequence[Cell], metric: str | None, options: ReportOptions, over: str = ""
) -> list[Picture]:
    """The score (None) or another recorded metric over the updates, or over what all runs have counted."""
    shown = [
        c for c in cells
        if any(map(recorded, lines_of(c, c.arms, metric))) and (not over or counting(c, over))
    ]  # fmt: skip
    empty = [c.axes_label for c in cells if c not in shown]
    left = f" Not recorded, so left out: {first_of(empty, 6, '; ')}." if shown and empty else ""
    parts = pages_of(shown)
    pictures = []
    for i, (part, facets) in enumerate(parts):
        panels, what = _panels(part, metric, over), _name(part[0], metric)
        along = f" against the {X_NAMES[over].lower()} until then" if over else ""
        caption = (
            f"{what}{along}, mean over {seeds_text(arms_of(part))}. {'. '.join(_sentences(panels, options))}.{left}"
        )
        figure, title = _figure(panels, facets, options), f"{what.lower()} over {over or 'training'}"
        pictures.append(Picture(numbered(name, len(parts), i), caption, figure, title))
    return pictures


def counting(cell: Cell, counter: str) -> bool:
    """Whether every algorithm has a run that lasted and counted."""
    return all(arm.lasting(counter).size for arm in cell.arms.values())


def _panels(cells: Sequence[Cell], metric: str | None, over: str) -> list[Curves]:
    what = metric_title(cells[0], metric)
    thin = len(cells) == 1 and 1 < most_seeds(arms_of(cells)) <= THIN
    points, algorithms = POINTS if metric is None else FEW, algorithms_of(cells)
    banded = len(algorithms) <= BANDED
    return [
        Curves(
            c.axes_label, what, metric_lines(c, algorithms, metric), points=points, x=X_NAMES[axis], axis=axis,
            thin=thin, banded=banded,
        )
        for c, axis in ((c, over or time_axis(c)) for c in cells)
    ]  # fmt: skip


def metric_lines(cell: Cell, algorithms: Iterable[str], metric: str | None) -> list[Line]:
    """Several algorithms in a cell, in the unit of the metric's title."""
    times = 100.0 if metric in SHARES else 1.0
    return [replace(line, times=times) for line in lines_of(cell, algorithms, metric)]


def diagnostics_of(cells: Sequence[Cell]) -> list[str]:
    """Every other recorded metric that has a curve."""
    recorded_metrics = {m for arm in arms_of(cells) for m in arm.curves}
    return sorted(m for m in recorded_metrics - {c.reporting.metric for c in cells} if TALLY.fullmatch(m) is None)


def metric_title(cell: Cell, metric: str | None) -> str:
    """The name of an axis of the score (None) or another metric, with its unit."""
    return _name(cell, metric) + " (%)" * (metric in SHARES or (metric is None and cell.reporting.percent))


def _name(cell: Cell, metric: str | None) -> str:
    metric = metric or cell.reporting.metric
    return NAMES.get(metric, metric).capitalize().replace("_", " ")


def _sentences(panels: Sequence[Curves], options: ReportOptions) -> list[str]:
    lines = with_runs(panels)
    averages = averages_text({width for panel in panels for width in panel.widths})
    band = band_text([line.arm for line in lines if line.arm], options)
    sentences = [band if panels[0].banded else f"No bands: more than {BANDED} algorithms", averages]
    return [*filter(None, sentences), *["Thin lines: the seeds"] * panels[0].thin, *diverged_text(lines)]


def _figure(panels: Sequence[Curves], facets: Facets, options: ReportOptions) -> Figure:
    metric = panels[0].lines[0].metric

    def diagnostic(axes: Sequence[Axes]) -> None:
        """Norms are compared by their ratio."""
        if metric and metric.endswith("norm"):
            log_heights(axes)

    names = [line.label for line in panels[0].lines]
    return facet_figure(panels, facets, names, options, diagnostic if metric else None)
