"""Probability of improvement: how often a seed of one algorithm ends below a seed of the other, for every pair."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tpobench.report.figures.captions import arms_of, seeds_text
from tpobench.report.figures.layout import COLUMN, Picture, algorithms_of, name_rows, numbered
from tpobench.report.figures.style import GREY, style_of
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import PAIRED, pairing
from tpobench.stats.compare import probability_better
from tpobench.stats.estimate import Estimate, Floats
from tpobench.stats.suite_level import improvement_estimate

PAIRS = 21  # of one figure: all pairs of seven algorithms
ROW = 0.2  # inches of one pair


def improvement_pictures(name: str, cells: Sequence[Cell]) -> list[Picture]:
    """One panel, a row per pair; averaged over the cells that hold every algorithm."""
    algorithms = algorithms_of(cells)
    shared = [c for c in cells if set(algorithms) <= set(c.arms)]
    pairs = list(itertools.combinations(algorithms, 2))
    if not shared or not pairs:
        return []
    parts = [pairs[i : i + PAIRS] for i in range(0, len(pairs), PAIRS)]
    caption = _caption(shared, len(cells))
    return [
        Picture(numbered(name, len(parts), i), caption, _figure(shared, part), "probability of improvement")
        for i, part in enumerate(parts)
    ]


def _caption(shared: Sequence[Cell], cells: int) -> str:
    where = f", mean over {len(shared)} cells (small dots)" if len(shared) > 1 else ""
    left = f"; {cells - len(shared)} cells without some of the algorithms are left out" if cells > len(shared) else ""
    interval = "95% percentile bootstrap over seeds" + (" within cells" if len(shared) > 1 else "")
    r, n = shared[0].reporting, seeds_text(arms_of(shared))
    return (
        f"Probability that a seed of the algorithm on the left ends with the {r.better} {r.metric} than one of the "
        f"algorithm on the right, ties counted half{where}; {n} per algorithm; interval: {interval}, none where every "
        f"seed of one algorithm is the {r.better}{left}."
    )


def _figure(cells: Sequence[Cell], pairs: Sequence[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=(COLUMN, 0.65 + ROW * len(pairs)), layout="constrained")
    ax = figure.subplots()
    for row, (a, b) in enumerate(pairs):
        _draw(ax, row, [c.arms[a] for c in cells], [c.arms[b] for c in cells])
        ax.annotate(b, (1.05, row), xycoords=("axes fraction", "data"), va="center", annotation_clip=False, fontsize=7)
    ax.axvline(50, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    ax.set_xlim(0, 100)
    ax.set_xticks(range(0, 101, 25))
    name_rows(ax, [a for a, _ in pairs])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"P(left ends {cells[0].reporting.better} than right) (%)")
    return figure


def _draw(ax: Axes, row: int, a: Sequence[Arm], b: Sequence[Arm]) -> None:
    style, estimate = style_of(a[0].algorithm), improvement(a, b, np.random.default_rng(SEED))
    if len(a) > 1:
        each = [probability_better(_losses(x), _losses(y), paired=paired(x, y)) for x, y in zip(a, b, strict=True)]
        ax.plot([100 * p for p in each], [float(row)] * len(each), "o", color=style.colour, alpha=0.3, markersize=3,
                markeredgewidth=0, clip_on=False, label="_cells")  # fmt: skip
    if estimate.low is not None and estimate.high is not None:
        ax.plot([100 * estimate.low, 100 * estimate.high], [row, row], color=style.colour, linewidth=1.6, clip_on=False)
    ax.plot([100 * (estimate.value or 0.0)], [row], style.marker, color=style.colour, markersize=5.5,
            markeredgecolor="white", markeredgewidth=0.5, clip_on=False, zorder=5)  # fmt: skip


def improvement(a: Sequence[Arm], b: Sequence[Arm], rng: np.random.Generator) -> Estimate:
    """Of two algorithms, over cells; paired where the tests are, by the design."""
    arms = list(zip(a, b, strict=True))
    return improvement_estimate(
        [(_losses(x), _losses(y)) for x, y in arms], paired=[paired(x, y) for x, y in arms], rng=rng
    )


def _losses(arm: Arm) -> Floats:
    return arm.reporting.loss(arm.final)


def paired(x: Arm, y: Arm) -> bool:
    """Whether both have the same seeds, enough of them, and made the same random numbers of them."""
    return x.seeds == y.seeds and pairing(x, y) == PAIRED
