"""Sentences that captions share: seeds, bands, averages, intervals, and what became of diverged runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tpobench.report.figures.panel import Line
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import mean_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.text import interval_name


def arms_of(cells: Iterable[Cell]) -> list[Arm]:
    """Every arm of the cells."""
    return [arm for cell in cells for arm in cell.arms.values()]


def most_seeds(arms: Iterable[Arm]) -> int:
    """Seeds of the arm that has most of them."""
    return max((len(arm.seeds) for arm in arms), default=0)


def seeds_text(arms: Iterable[Arm]) -> str:
    """`10 seeds`, `8 to 10 seeds`, `1 seed`."""
    counts = sorted({len(arm.seeds) for arm in arms})
    shown = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return f"{shown} seed{'s' if counts[-1] > 1 else ''}"


def band_text(arms: Iterable[Arm], options: ReportOptions) -> str:
    """What the band of a mean curve is."""
    kind = "one standard error" if options.standard_errors else "pointwise 95% bootstrap interval of the mean"
    return f"Band: {kind}" if most_seeds(arms) > 1 else "No band: one seed"


def averages_text(widths: Collection[int]) -> str:
    """How many evaluations a point of the curves stands for; empty where that is one."""
    most, several = max(widths, default=1), "up to " * (len(widths) > 1)
    return f"Points average {several}{most} consecutive evaluations" if most > 1 else ""


def window_text(windows: Iterable[int]) -> str:
    """Which evaluations a final score is the mean of."""
    several = sorted(set(windows))
    last = f"mean of the last {' or '.join(map(str, several))} evaluations"
    return last if several != [1] else "the last evaluation"


def interval_text(lines: Iterable[Line], options: ReportOptions) -> str:
    """` with 95% interval (t)` of final scores; `, no interval` where none has one."""
    estimates = [mean_of(x.arm.final, options, x.cell.reporting) for x in lines if x.arm and x.cell]
    kinds = interval_name(e.method for e in estimates if e.status == "ok")
    return f" with {kinds}" if kinds else ", no interval"


def diverged_text(lines: Sequence[Line]) -> list[str]:
    """What became of diverged runs, where there are any."""
    if any(line.cell.dropped for line in lines if line.cell):
        return ["Diverged runs are left out"]
    scored = {line.metric is None for line in lines if line.arm and any(line.arm.diverged)}
    return ["Diverged runs are scored the worst value"] * (True in scored) + [
        "Diverged runs are left out of diagnostics"
    ] * (False in scored)
