"""Figures: learning curves, the sparsity profile, misalignment.  The only place with colours; no pyplot state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tpobench.report.cells import Arm, Cell, rule_order
from tpobench.report.tables import SEED, percent
from tpobench.stats.estimate import Floats, bootstrap_band, mean_estimate

# Okabe-Ito without its yellow, which is too light on white: told apart under every common colour blindness.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


@dataclass(frozen=True)
class Style:
    """How one rule looks in every figure."""

    colour: str
    line: str
    marker: str


STYLES = {
    "tpo": Style(BLUE, "-", "o"),
    "tpo_no_anchor": Style(SKY, "--", "v"),
    "group_pg": Style(SKY, ":", "P"),
    "grpo": Style(VERMILLION, "-", "s"),
    "grpo_no_kl": Style(ORANGE, "--", "^"),
    "grpo_masked": Style(ORANGE, ":", "<"),
    "ppo": Style(GREEN, "-.", "D"),
    "dg": Style(PURPLE, "-", "X"),
    "reinforce": Style(BLACK, ":", "p"),
    "ce": Style(BLACK, "--", ">"),
}
RC: Any = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7,
    "ytick.labelsize": 7, "legend.fontsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e3e3e3", "grid.linewidth": 0.6, "axes.linewidth": 0.7,
    "lines.linewidth": 1.4, "lines.markersize": 4, "pdf.fonttype": 42, "svg.hashsalt": "tpobench",
    "axes.axisbelow": True, "savefig.dpi": 200, "figure.dpi": 100, "axes.unicode_minus": True, "legend.frameon": False,
}  # fmt: skip
PANELS = 12  # of one figure; more cells make more figures
POINTS = 200  # of one curve: finer than its print
DIRECT_LABELS = 6  # rules up to which line ends carry their names


@dataclass(frozen=True)
class Picture:
    """A figure with its file name (no ending) and its caption."""

    name: str
    caption: str
    figure: Figure


def style_of(rule: str) -> Style:
    """The fixed style of a catalogue rule; of any other, one that its name alone decides."""
    if rule in STYLES:
        return STYLES[rule]
    digest = hashlib.sha256(rule.encode()).digest()
    return Style(COLOURS[digest[0] % len(COLOURS)], LINES[digest[1] % 4], MARKERS[digest[2] % len(MARKERS)])


def pictures_of(suite: str, cells: Sequence[Cell]) -> list[Picture]:
    """All figures of one suite that its records allow."""
    found = []
    with mpl.rc_context(RC):
        for matching in sorted({c.matching for c in cells}):
            chosen = [c for c in cells if c.matching == matching and c.arms]
            tail = f"-{matching}" if any(c.condition for c in chosen) else ""
            found += _curve_pictures(f"{suite}-curves{tail}", chosen, None)
            extra = sorted(
                {m for c in chosen for a in c.arms.values() for m in a.curves} - {_metric(c) for c in chosen}
            )
            for metric in extra:
                found += _curve_pictures(f"{suite}-{metric}{tail}", chosen, metric)
        found += _profile_pictures(suite, cells)
    return found


def save(picture: Picture, ending: str) -> bytes:
    """The figure's bytes as png or pdf; the same figure gives the same bytes."""
    metadata = {"png": {"Software": None, "Description": picture.caption}, "pdf": {"CreationDate": None}}[ending]
    out = BytesIO()
    with mpl.rc_context(RC):
        picture.figure.savefig(out, format=ending, metadata=metadata)
    return out.getvalue()


def _metric(cell: Cell) -> str:
    return cell.reporting.metric


# Learning curves


def _curve_pictures(name: str, cells: Sequence[Cell], metric: str | None) -> list[Picture]:
    shown = [c for c in cells if any(_curve(c, a, metric) is not None for a in c.arms.values())]
    parts = [shown[i : i + PANELS] for i in range(0, len(shown), PANELS)]
    return [
        Picture(name if len(parts) == 1 else f"{name}-{i}", _curve_caption(part, metric), _curve_figure(part, metric))
        for i, part in enumerate(parts, 1)
    ]


def _curve(cell: Cell, arm: Arm, metric: str | None) -> tuple[Floats, Floats] | None:
    """Steps (E,) and curves (n, E): diverged runs at the worst value of the score, left out of every other metric."""
    x = arm.axes[_x_axis(cell)]
    if metric is None:
        raw = arm.curves[cell.reporting.metric]
        return x, np.where(np.isfinite(raw), raw, cell.reporting.worst)
    if metric not in arm.curves or all(arm.diverged):
        return None
    raw = arm.curves[metric][[not d for d in arm.diverged]]
    measured = np.isfinite(raw).all(axis=0)  # not taken at the last evaluation, for one
    return (x[measured], raw[:, measured]) if measured.any() else None


def _x_axis(cell: Cell) -> str:
    return "interactions" if cell.matching == "interactions" else "step"


def _curve_caption(cells: Sequence[Cell], metric: str | None) -> str:
    counts = sorted({len(a.seeds) for c in cells for a in c.arms.values()})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    band = "Band: pointwise 95% bootstrap interval of the mean" if counts[-1] > 1 else "No band: one seed"
    what = (metric or cells[0].reporting.metric).capitalize()
    diverged = any(any(a.diverged) for c in cells for a in c.arms.values())
    how = ("scored the worst value" if metric is None else "left out") if diverged else ""
    return f"{what}, mean over {seeds} seed{'s' if counts[-1] > 1 else ''}. {band}." + (
        f" Diverged runs are {how}." if how else ""
    )


def _rules(cells: Sequence[Cell]) -> list[str]:
    return sorted({name for c in cells for name in c.arms}, key=rule_order)


def _grid(panels: int, *, direct: bool) -> tuple[Figure, list[Axes]]:
    """A facet grid on one page width; a single panel on one column."""
    columns = min(panels, 2 if panels in {2, 4} else 3)
    rows = -(-panels // columns)
    width = 6.75 if panels > 1 else 3.3 + (0.7 if direct else 0)
    height = 2.5 if panels == 1 else 0.5 + (2.2 if columns == 2 else 1.75) * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def _curve_figure(cells: Sequence[Cell], metric: str | None) -> Figure:
    rules = _rules(cells)
    direct = len(rules) <= DIRECT_LABELS and len(cells) <= 2
    figure, axes = _grid(len(cells), direct=direct)
    columns = axes[0].get_gridspec().ncols  # type: ignore[union-attr]
    scale = 100.0 if metric is None and percent(cells[0].reporting) else 1.0
    what = (metric or cells[0].reporting.metric).capitalize()
    labels = []
    for i, (ax, cell) in enumerate(zip(axes, cells, strict=True)):
        labels.append([(n, end) for n in rules if (end := _draw_curve(ax, cell, n, metric, scale)) is not None])
        ax.margins(x=0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        if len(cells) > 1:
            ax.set_title(_wrapped(cell.axes_label))
        if i % columns == 0:
            ax.set_ylabel(f"{what} (%)" if scale == 100.0 else what)
        if i >= len(cells) - columns:
            ax.set_xlabel("Rollouts drawn" if _x_axis(cell) == "interactions" else "Updates")
    if metric is None:
        axes[0].set_ylim(0, None)  # the panels share their scale: only once everything is drawn
    _name_lines(figure, axes, labels, rules, direct=direct)
    return figure


def _name_lines(
    figure: Figure,
    axes: Sequence[Axes],
    labels: Sequence[Sequence[tuple[str, float]]],
    rules: Sequence[str],
    *,
    direct: bool,
) -> None:
    """Names at the ends of the lines, else one legend on top."""
    if not direct:
        _legend(figure, rules)
        return
    for ax, ends in zip(axes, labels, strict=True):
        _label_ends(ax, ends)


def _draw_curve(ax: Axes, cell: Cell, name: str, metric: str | None, scale: float) -> float | None:
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
    band = bootstrap_band(curves, np.random.default_rng(SEED), draws=1000)
    if band is not None:
        ax.fill_between(x, *band, color=style.colour, alpha=0.13, linewidth=0)
    return float(mean[-1])


def _label_ends(ax: Axes, ends: Sequence[tuple[str, float]]) -> None:
    """Names at the right of the lines, moved apart to at least one line height."""
    low, high = ax.get_ylim()
    heights = spread([(y - low) / (high - low) for _, y in ends], gap=0.085)
    for (name, _), y in zip(ends, heights, strict=True):
        style = style_of(name)
        ax.annotate(name, (1, y), xytext=(4, 0), xycoords="axes fraction", textcoords="offset points", va="center",
                    color=style.colour, annotation_clip=False)  # fmt: skip


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


def _legend(figure: Figure, rules: Sequence[str]) -> None:
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    shown = [r for r in rules if r in handles]
    columns = min(len(shown), 5 if figure.get_figwidth() > 5 else 3)
    figure.legend([handles[r] for r in shown], shown, loc="outside upper center", ncols=columns, handlelength=3)


def _wrapped(label: str) -> str:
    """At most two lines, broken at a comma."""
    parts = label.split(", ")
    half = -(-len(parts) // 2)
    return label if len(label) <= 30 else ", ".join(parts[:half]) + ",\n" + ", ".join(parts[half:])


# Final score against sparsity


def _profile_pictures(suite: str, cells: Sequence[Cell]) -> list[Picture]:
    usable = [c for c in cells if c.success and c.arms]
    panels: dict[str, list[Cell]] = {}
    for c in usable:
        kind = str(c.task.get("reward", ""))
        key = ", ".join(k for k in (kind, c.condition and f"{c.condition} matched") if k)
        panels.setdefault(key, []).append(c)
    panels = {k: sorted(v, key=lambda c: -(c.success or 0)) for k, v in panels.items() if len(v) > 1}
    if not panels:
        return []
    counts = sorted({len(a.seeds) for c in usable for a in c.arms.values()})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    caption = (
        f"Final {usable[0].reporting.metric} against the success probability p0 of the untrained policy (harder to the "
        f"right), mean over {seeds} seed{'s' if counts[-1] > 1 else ''}"
        + (" with 95% interval" if counts[-1] > 2 else "")
        + "; points of one p0 are set side by side."
    )
    return [Picture(f"{suite}-sparsity", caption, _profile_figure(panels))]


def _profile_figure(panels: dict[str, list[Cell]]) -> Figure:
    everything = [c for v in panels.values() for c in v]
    rules, reporting = _rules(everything), everything[0].reporting
    direct = len(rules) <= DIRECT_LABELS and len(panels) == 1
    figure, axes = _grid(len(panels), direct=direct)
    columns = axes[0].get_gridspec().ncols  # type: ignore[union-attr]
    scale = 100.0 if percent(reporting) else 1.0
    labels = []
    for i, (ax, (title, cells)) in enumerate(zip(axes, panels.items(), strict=True)):
        ends = [
            (name, end)
            for k, name in enumerate(rules)
            if (end := _draw_profile(ax, cells, name, 1.04 ** (k - (len(rules) - 1) / 2), scale)) is not None
        ]
        labels.append(ends)
        ax.set_xscale("log")
        ax.invert_xaxis()
        sparsity = sorted({c.success for c in cells if c.success})
        apart = _apart(sparsity)
        ax.set_xticks(apart, [f"{p:.2g}" for p in apart])
        ax.minorticks_off()
        if len(panels) > 1:
            ax.set_title(title)
        if i % columns == 0:
            ax.set_ylabel(f"Final {reporting.metric}" + (" (%)" if scale == 100.0 else ""))
        if i >= len(panels) - columns:
            ax.set_xlabel("Initial success probability p0")
    axes[0].set_ylim(0, None)  # the panels share their scale: only once everything is drawn
    _name_lines(figure, axes, labels, rules, direct=direct)
    return figure


def _apart(values: Sequence[float]) -> list[float]:
    """Ascending values thinned so that labels on a log axis do not touch: a sixth of the range between any two."""
    kept: list[float] = []
    for value in values:
        if not kept or value / kept[-1] >= max(1.25, (values[-1] / values[0]) ** (1 / 6)):
            kept.append(value)
    return kept


def _draw_profile(ax: Axes, cells: Sequence[Cell], name: str, shift: float, scale: float) -> float | None:
    chosen = [c for c in cells if name in c.arms]
    if not chosen:
        return None
    found = [
        mean_estimate(c.arms[name].final, rng=np.random.default_rng(SEED), lowest=0.0, highest=c.reporting.worst)
        for c in chosen
    ]
    x = np.array([c.success for c in chosen], dtype=np.float64)
    y = np.array([e.value for e in found], dtype=np.float64) * scale
    style = style_of(name)
    joined = len(np.unique(x)) == len(x)  # two cells of one sparsity are two points, not a line
    ax.plot(
        x * shift, y, color=style.colour, linestyle=style.line if joined else "none", marker=style.marker, label=name
    )
    for at, e in zip(x * shift, found, strict=True):
        if e.low is not None and e.high is not None and e.status == "ok":
            ax.plot([at, at], [e.low * scale, e.high * scale], color=style.colour, linewidth=0.8, label="_interval")
    return float(y[-1])
