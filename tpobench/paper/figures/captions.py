"""What a reader must be told of a figure: seeds, intervals, averaging, scale, settings, and what was not run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tpobench.paper.figures.numbers import gains_of
from tpobench.paper.figures.panels import Bars, Curves, Gains, Line, Panel, Sweep
from tpobench.paper.figures.runs import QUICK, Runs
from tpobench.paper.figures.sheet import Sheet
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import Options
from tpobench.scores.text import interval_name

# Settings of a task as a caption names them, where all cells of a figure share them.
SETTINGS = {
    "data": "data {}", "arms": "{} arms", "samples": "{} draws", "contexts": "{} contexts", "target": "{}",
    "reward": "{} reward", "length": "H = {}", "vocabulary": "V = {}", "prompts": "B = {}", "candidates": "K = {}",
}  # fmt: skip


def caption_of(sheet: Sheet, runs: Runs, how: Options) -> str:
    """Sentences, each only where it says something."""
    own = drawn_lines(sheet.panels)
    sentences = [
        f"{sheet.says}, mean over {_seeds(line.source.arm for line in own)}",
        *_marks(sheet.panels, how),
        *_axes(sheet.panels),
        *_diverged(own),
        _scale(own, runs),
        *_unverified(own, runs),
        *_short(own, runs),
        *_missing(sheet.panels),
    ]
    return ". ".join(sentences) + "."


def drawn_lines(panels: Iterable[Panel]) -> list[Line]:
    """Lines with runs, of all panels."""
    return [line for panel in panels for line in panel.lines if line.source.arm]


def _seeds(arms: Iterable[Arm | None]) -> str:
    counts = sorted({len(a.seeds) for a in arms if a})
    if not counts:
        return "no seeds"
    shown = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return f"{shown} seed{'s' if counts[-1] > 1 else ''}"


def _marks(panels: Sequence[Panel], how: Options) -> list[str]:
    """Bands, intervals, averaging."""
    said = []
    curves = [line for p in panels if isinstance(p, Curves) for line in p.lines if line.source.arm]
    if curves:
        several = any(len(line.source.arm.seeds) > 1 for line in curves if line.source.arm)
        kind = "one standard error" if how.standard_errors else "pointwise 95% bootstrap interval of the mean"
        said.append(f"Band: {kind}" if several else "No band: one seed")
        said.append(
            _averages({c.width for p in panels if isinstance(p, Curves) for x in p.lines if (c := p.curve(x, how))})
        )
    finals = [line for p in panels if isinstance(p, Bars | Sweep) for line in p.lines if line.source.arm]
    if finals:
        said.append(f"Final: {_window(finals)}{_interval(finals, how)}")
    gains = [found for p in panels if isinstance(p, Gains) for x in p.lines if x.source.arm
             if (found := gains_of(x.source.arm, how))]  # fmt: skip
    if gains:
        kinds = interval_name(g.estimate.method for _, bins in gains for g in bins if g.estimate)
        measured = " and ".join(dict.fromkeys(f"{at:,.0f}" for at, _ in gains))
        said.append(f"Measured at update {measured}; means over the seeds that have examples in the bin, n examples in "
                    "all" + f", with {kinds}" * bool(kinds))  # fmt: skip
    return said


def _averages(widths: Collection[int]) -> str:
    most = max(widths, default=1)
    return (
        f"Points average {'up to ' * (len(widths) > 1)}{most} consecutive evaluations" if most > 1 else "Not smoothed"
    )


def _window(lines: Sequence[Line]) -> str:
    windows = sorted({x.source.cell.reporting.window for x in lines if x.source.cell})
    return "the last evaluation" if windows == [1] else f"mean of the last {' or '.join(map(str, windows))} evaluations"


def _interval(lines: Sequence[Line], how: Options) -> str:
    found = [mean_of(x.source.arm.final, how, x.source.cell.reporting)
             for x in lines if x.source.arm and x.source.cell]  # fmt: skip
    kinds = interval_name(e.method for e in found if e.status == "ok")
    return f" with {kinds}" if kinds else ", no interval"


def _axes(panels: Sequence[Panel]) -> list[str]:
    if any(isinstance(p, Curves) and p.log and drawn_lines([p]) for p in panels):
        return ["Log axis: what is smaller than its lower end, and 0, is below it"]
    return []


def _diverged(own: Sequence[Line]) -> list[str]:
    lost = {x.metric is None for x in own if x.source.arm and any(x.source.arm.diverged)}
    if any(x.source.cell.dropped for x in own if x.source.cell):
        return ["Diverged runs are left out"]
    said = ["Diverged runs are scored the worst value"] if True in lost else []
    return said + (["Diverged runs are left out of diagnostics"] if False in lost else [])


def _scale(own: Sequence[Line], runs: Runs) -> str:
    """The scale and, by suite, what its tasks share."""
    by_suite = sorted({line.source.suite for line in own})
    settings = []
    for suite in by_suite:
        cells = [x.source.cell for x in own if x.source.suite == suite and x.source.cell]
        steps = sorted({x.source.arm.budget for x in own if x.source.suite == suite and x.source.arm})
        updates = f"{steps[-1]:,.0f} updates"
        settings.append(
            f"{suite + QUICK * (runs.scale == 'quick')}: {', '.join([*_shared(suite, cells, runs), updates])}"
        )
    name = "Paper scale" if runs.scale == "paper" else "Quick scale, smaller than the paper's"
    return f"{name} ({'; '.join(settings)})"


def _shared(suite: str, cells: Sequence[Cell], runs: Runs) -> list[str]:
    shown = [c.axes for c in cells]
    tasks = [task for name, axes, task in runs.tasks if name == suite and axes in shown]
    found = {k: {task[k] for task in tasks if k in task} for k in SETTINGS}
    found["candidates"] -= {1} if len(found["candidates"]) > 1 else set()  # of rules with one rollout per prompt
    return [SETTINGS[k].format(str(v.pop()).replace("_", " ")) for k, v in found.items() if len(v) == 1]


def _unverified(own: Sequence[Line], runs: Runs) -> list[str]:
    shown = {line.source.suite for line in own}
    data = sorted({data for suite, data in runs.unverified if suite in shown})
    return [f"Unverified data: not the published {', '.join(data)}"] if data else []


def _short(own: Sequence[Line], runs: Runs) -> list[str]:
    """Where runs are fewer or shorter than the suite asks for at this scale."""
    said = []
    for suite, shipped in runs.suites.items():
        arms = [x.source.arm for x in own if x.source.suite == suite and x.source.arm]
        if not arms:
            continue
        seeds, steps = min(len(a.seeds) for a in arms), min(a.budget for a in arms)
        fewer = [f"{seeds} of {shipped.seeds} seeds"] * (seeds < shipped.seeds)
        fewer += [f"{steps:,.0f} of {shipped.training.steps:,} updates"] * (steps < shipped.training.steps)
        said += [f"Less than suite {suite} asks for: {', '.join(fewer)}"] if fewer else []
    return said


def _missing(panels: Sequence[Panel]) -> list[str]:
    """Rules without runs in panels that others have runs in; empty panels say so themselves."""
    partial = [p for p in panels if any(x.source.arm for x in p.lines)]
    places: dict[str, set[int]] = {}
    for i, panel in enumerate(partial):
        run = {line.label for line in panel.lines if line.source.arm}
        for label in (line.label for line in panel.lines if line.label not in run):
            places.setdefault(label.lstrip("_"), set()).add(i)
    named = [
        f"{x} (in {len(at)} of {len(partial)} panels)" if len(at) < len(partial) else x for x, at in places.items()
    ]
    return [f"Without runs: {'; '.join(named)}"] if named else []
