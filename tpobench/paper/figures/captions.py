"""What a reader must be told of a figure: seeds, intervals, averaging, scale, settings, and what was not run."""

from __future__ import annotations

from collections.abc import Sequence

from tpobench.paper.figures.runs import Runs
from tpobench.report.figures.bars import Bars
from tpobench.report.figures.captions import (
    averages_text,
    band_text,
    diverged_text,
    interval_text,
    seeds_text,
    window_text,
)
from tpobench.report.figures.curves import Curves
from tpobench.report.figures.grid import PanelGrid
from tpobench.report.figures.panel import Line, Panel, with_runs
from tpobench.report.figures.points import Points
from tpobench.scores.cells import Cell
from tpobench.suites.load import scaled

# Settings of a task as a caption names them, where all cells of a figure share them.
SETTINGS = {
    "data": "data {}", "arms": "{} arms", "samples": "{} draws", "contexts": "{} contexts", "target": "{}",
    "reward": "{} reward", "length": "H = {}", "vocabulary": "V = {}", "prompts": "B = {}", "candidates": "K = {}",
}  # fmt: skip


def caption_of(grid: PanelGrid, runs: Runs) -> str:
    """Sentences, each only where it says something."""
    lines = with_runs(grid.panels)
    sentences = [
        f"{grid.says}, mean over {seeds_text([line.arm for line in lines if line.arm])}",
        *_marks(grid.panels, runs),
        *diverged_text(lines),
        _scale(lines, runs),
        *_unverified(lines, runs),
        *_short(lines, runs),
        *_missing(grid),
    ]
    return ". ".join(sentences) + "."


def _marks(panels: Sequence[Panel], runs: Runs) -> list[str]:
    """Bands, intervals, averaging, log axes."""
    curves = [p for p in panels if isinstance(p, Curves) and with_runs([p])]
    final = with_runs([p for p in panels if isinstance(p, Bars) or (isinstance(p, Points) and not p.note)])
    sentences = []
    if curves:
        arms = [line.arm for line in with_runs(curves) if line.arm]
        widths = {width for panel in curves for width in panel.widths}
        sentences += [band_text(arms, runs.options), averages_text(widths) or "Not smoothed"]
    if final:
        window = window_text(line.cell.reporting.window for line in final if line.cell)
        sentences.append(f"Final: {window}{interval_text(final, runs.options)}")
    sentences += [panel.note for panel in panels if isinstance(panel, Points) and panel.note]
    return sentences + ["Log axis: what is smaller than its lower end, and 0, is below it"] * any(p.log for p in curves)


def _scale(lines: Sequence[Line], runs: Runs) -> str:
    """The scale and, by suite, what its tasks share."""
    settings = []
    for suite in sorted({line.suite for line in lines}):
        cells = [x.cell for x in lines if x.suite == suite and x.cell]
        updates = max(x.arm.budget for x in lines if x.suite == suite and x.arm)
        shared = ", ".join([*_shared(suite, cells, runs), f"{updates:,.0f} updates"])
        settings.append(f"{scaled(suite, runs.scale)}: {shared}")
    name = "Paper scale" if runs.scale == "paper" else "Quick scale, smaller than the paper's"
    return f"{name} ({'; '.join(settings)})"


def _shared(suite: str, cells: Sequence[Cell], runs: Runs) -> list[str]:
    shown = [c.axes for c in cells]
    tasks = [task for name, axes, task in runs.tasks if name == suite and axes in shown]
    values = {k: {task[k] for task in tasks if k in task} for k in SETTINGS}
    values["candidates"] -= {1} if len(values["candidates"]) > 1 else set()  # of algorithms with one rollout per prompt
    return [SETTINGS[k].format(str(v.pop()).replace("_", " ")) for k, v in values.items() if len(v) == 1]


def _unverified(lines: Sequence[Line], runs: Runs) -> list[str]:
    shown = {line.suite for line in lines}
    data = sorted({data for suite, data in runs.unverified if suite in shown})
    return [f"Unverified data: not the published {', '.join(data)}"] if data else []


def _short(lines: Sequence[Line], runs: Runs) -> list[str]:
    """Where runs are fewer or shorter than the suite asks for at this scale."""
    shortfalls = []
    for suite, shipped in runs.suites.items():
        arms = [x.arm for x in lines if x.suite == suite and x.arm]
        if not arms:
            continue
        seeds, steps = min(len(a.seeds) for a in arms), min(a.budget for a in arms)
        fewer = [f"{seeds} of {shipped.seeds} seeds"] * (seeds < shipped.seeds)
        fewer += [f"{steps:,.0f} of {shipped.training.steps:,} updates"] * (steps < shipped.training.steps)
        shortfalls += [f"Less than suite {suite} asks for: {', '.join(fewer)}"] if fewer else []
    return shortfalls


def _missing(grid: PanelGrid) -> list[str]:
    """Rows without runs, which are not drawn, and algorithms without runs in panels that others have runs in.

    Empty panels say so themselves.
    """
    rows = [_row_name(row, label) for row, label in grid.labelled if not with_runs(row)]
    partial = [p for p in grid.panels if with_runs([p])]
    places: dict[str, set[int]] = {}
    for i, panel in enumerate(partial):
        run = {line.label for line in panel.lines if line.arm}
        for label in (line.label for line in panel.lines if line.label not in run):
            places.setdefault(label.lstrip("_"), set()).add(i)
    algorithms = [
        f"{x} (in {len(at)} of {len(partial)} panels)" if len(at) < len(partial) else x for x, at in places.items()
    ]
    return [f"Without runs: {'; '.join([*algorithms, *rows])}"] if algorithms or rows else []


def _row_name(row: Sequence[Panel], label: str) -> str:
    return label.replace("\n", ", ").lower() or "; ".join(panel.title for panel in row)
