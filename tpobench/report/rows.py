"""One cell under one metric: an entry per algorithm, every pair tested, and the group tied with the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import all_steps_of, mean_of, means_of, rate_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.pairing import compare_families
from tpobench.scores.scalars import Scalar
from tpobench.stats.compare import Comparison, tie_group
from tpobench.stats.estimate import Estimate, dominated
from tpobench.stats.texts import mean_text, percent
from tpobench.tables.model import TableCell, numbers_of


@dataclass(frozen=True)
class MetricRow:
    """One cell under one metric: an entry per algorithm, the family of tests, and the notes they need."""

    cell: Cell
    entries: Mapping[str, TableCell]
    comparisons: Mapping[tuple[str, str], Comparison]
    notes: tuple[str, ...]
    dominated: tuple[str, ...] = ()  # entries in which one seed holds most of the sum

    @property
    def leader(self) -> str:
        """The algorithm of the best estimate; empty where there is no verdict."""
        return next((name for name, entry in self.entries.items() if entry.leader), "")

    @property
    def tied(self) -> list[str]:
        """Those that no test tells from it."""
        return [name for name, entry in self.entries.items() if entry.best and not entry.leader]


def make_rows(
    cells: Sequence[Cell], metric: Scalar, algorithms: Sequence[str], options: ReportOptions
) -> list[MetricRow]:
    """Estimate every algorithm in every cell, test every pair of a cell, mark the group tied with the best."""
    arms = [(metric.values(arm), cell.reporting, arm.budget) for cell in cells for arm in cell.arms.values()]
    if metric.test == "times":  # all at once, which entries then ask for one by one
        all_steps_of((times, budget) for times, _, budget in arms)
    else:
        means_of(((values, r) for values, r, _ in arms), options)
    families = compare_families([cell.arms for cell in cells], metric)
    return [_row(cell, metric, algorithms, options, family) for cell, family in zip(cells, families, strict=True)]


def _row(
    cell: Cell,
    metric: Scalar,
    algorithms: Sequence[str],
    options: ReportOptions,
    comparisons: Mapping[tuple[str, str], Comparison],
) -> MetricRow:
    leader, tied = _best(cell, metric, comparisons) if cell.learned else ("", ())
    entries = {n: _entry(cell, n, metric, options, best=n in tied, leader=n == leader) for n in algorithms}
    notes = [note for n in algorithms for note in _notes_of(cell, n, metric, options)]
    notes += _notes(cell, metric, leader, comparisons)
    return MetricRow(cell, entries, comparisons, tuple(notes), _dominated(cell, metric, options))


def _best(cell: Cell, metric: Scalar, comparisons: Mapping[tuple[str, str], Comparison]) -> tuple[str, tuple[str, ...]]:
    """Times are ranked as they are printed, by median; the mean of min(t, T) decides between equal medians.

    An algorithm of which no run got there, or none lasted, is not marked, however few seeds the others have.
    """
    arms = {name: cell.arms[name] for name in cell.ranked}
    if len(arms) < 2:
        return "", ()
    if metric.test != "times":
        lost = [name for name, arm in arms.items() if all(arm.diverged)]
        losses = {name: (float(metric.losses(arm).mean()),) for name, arm in arms.items()}
        return tie_group(losses, comparisons, failed=lost)
    raw = {name: metric.values(arm) for name, arm in arms.items()}
    budget = min(arm.budget for arm in arms.values())
    scores = {name: (float(np.median(v)), float(np.minimum(v, budget).mean())) for name, v in raw.items()}
    never = [name for name, times in raw.items() if not np.isfinite(times).any()]
    return tie_group(scores, comparisons, failed=never)


def _entry(cell: Cell, name: str, metric: Scalar, options: ReportOptions, *, best: bool, leader: bool) -> TableCell:
    arm, dropped = cell.arms.get(name), len(cell.dropped.get(name, ()))
    if arm is None and not dropped:
        return TableCell("missing")
    if arm is None:
        nothing = Estimate(None, None, None, 0, "none", "missing", "missing")
        return TableCell(mean_text(nothing, diverged=dropped, lost=dropped), data={"dropped": dropped})
    if metric.test == "times":
        text, steps = metric.shown(arm)
        data: dict[str, Any] = {"steps": steps}
    else:
        text, data = _mean_entry(cell, arm, metric, options)
    most = max(len(a.seeds) for a in cell.arms.values())
    if dropped:
        data["dropped"] = dropped
    elif 1 < len(arm.seeds) < most and metric.test != "times":
        text += f"; n={len(arm.seeds)}"
    return TableCell(text, best, leader, data)


def _mean_entry(cell: Cell, arm: Arm, metric: Scalar, options: ReportOptions) -> tuple[str, dict[str, Any]]:
    r, values, n = cell.reporting, metric.values(arm), len(arm.seeds)
    estimate, scored, dropped = mean_of(values, options, r), sum(arm.diverged), len(cell.dropped.get(arm.algorithm, ()))
    data: dict[str, Any] = {"estimate": numbers_of(estimate), "diverged": scored + dropped}
    text = mean_text(estimate, r.scale, diverged=scored + dropped, worst=r.worst, lost=dropped)
    if metric.kind != "final":
        return text, data
    k = int(r.passed(values, r.solved).sum())
    data["solved"] = {"count": k, **numbers_of(rate_of(k, n))}
    return text if scored == n else f"{text}; {k}/{n} solved", data


def _notes_of(cell: Cell, name: str, metric: Scalar, options: ReportOptions) -> list[str]:
    """What one entry hides: the other policy for diverged runs."""
    arm = cell.arms.get(name)
    if metric.kind != "final" or arm is None:
        return []
    values, k, dropped = metric.values(arm), sum(arm.diverged), len(cell.dropped.get(name, ()))
    where, r = f"{cell.label}, {name}", cell.reporting
    if dropped:
        scored = mean_text(mean_of(np.append(values, np.full(dropped, r.worst)), options, r), r.scale)
        return [f"{where}: with the {_runs(dropped)} scored {r.worst * r.scale:.1f} {scored}"]
    if 0 < k < len(values):
        converged = mean_text(mean_of(arm.lasted, options, r), r.scale)
        return [f"{where}: without the {_runs(k)} {converged}"]
    return []


def _dominated(cell: Cell, metric: Scalar, options: ReportOptions) -> tuple[str, ...]:
    """Means whose interval covers less than it says, with the share that one seed holds."""
    if metric.kind != "final" or options.ci == "studentized":
        return ()
    losses = {name: np.abs(metric.losses(arm)) for name, arm in cell.arms.items()}
    return tuple(
        f"{cell.label}, {name} ({percent(x.max() / x.sum())})"
        for name, x in losses.items()
        if len(x) > 2 and dominated(x)
    )


def _runs(count: int) -> str:
    return f"{count} diverged run{'s' if count > 1 else ''}"


def _notes(cell: Cell, metric: Scalar, leader: str, comparisons: Mapping[tuple[str, str], Comparison]) -> list[str]:
    notes = []
    if len(cell.arms) > 1 and not cell.learned:
        notes.append(f"No verdict, since no seed of any algorithm succeeded: {cell.label}")
    budgets = sorted({arm.budget for arm in cell.arms.values()})
    if metric.test == "times" and len(budgets) > 1:
        listed = ", ".join(f"{b:.0f}" for b in budgets)
        notes.append(f"{cell.label}: budgets differ ({listed} updates): log-rank tests, differences up to the least")
    if leader and comparisons and not any(c.status in {"tested", "identical"} for c in comparisons.values()):
        reasons = sorted({c.reason for c in comparisons.values() if c.status != "deterministic"})
        if reasons:
            notes.append(f"{cell.label}: no test possible, only the best mean is bold ({'; '.join(reasons)})")
    constant = sorted({n for pair, c in comparisons.items() if c.status == "deterministic" for n in pair})
    if constant:
        notes.append(
            f"{cell.label}: no seed of {' and '.join(constant)} differs, so check that the seeds are really varied"
        )
    if any(len(arm.seeds) == 1 for arm in cell.arms.values()):
        notes.append("1 seed: no uncertainty")
    if adapted := sorted(cell.arms.keys() - set(cell.ranked)):
        notes.append(f"Online adaptations of preference losses stand outside the ranking: {', '.join(adapted)}")
    return notes
