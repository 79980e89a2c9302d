"""The paper's conventions: where the curve of the mean over seeds crosses a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tpobench.scores.cells import Cell, scored_curves
from tpobench.scores.estimates import SEED
from tpobench.stats.censored import crossing_text, mean_curve_crossing
from tpobench.tables.model import Table, TableCell


def paper_table(cells: Sequence[Cell], threshold: float, algorithms: Sequence[str], suite: str) -> Table:
    """First update whose mean over seeds is better than the threshold, with how often resampled seeds never cross."""
    r = cells[0].reporting
    title = (
        f"Updates until the mean {r.metric} over seeds is {r.relation} {r.level(threshold)} ↓ (the paper's convention)"
    )
    body = [(TableCell(c.label), *(_entry(c, name, threshold) for name in algorithms)) for c in cells]
    note = (
        "The mean curve can cross late or never though most seeds got there early, and early though many never do: "
        "claims belong on the per-seed times"
    )
    signature = f"suite:{suite}|metric:mean-curve{threshold:g}m1|ci:percentile95/seeds|B:2000|rng:{SEED}"
    return Table(f"mean-curve{threshold:g}", title, ("Cell", *algorithms), tuple(body), signature, (note,))


def _entry(cell: Cell, name: str, threshold: float) -> TableCell:
    arm = cell.arms.get(name)
    if arm is None:
        return TableCell("missing")
    r = cell.reporting
    common, curves = scored_curves(arm, r.metric, r.worst)
    crossing = mean_curve_crossing(
        r.sign * curves, arm.axes["step"][common], r.sign * threshold, rng=np.random.default_rng(SEED)
    )
    return TableCell(crossing_text(crossing), data={"crossing": asdict(crossing)})
