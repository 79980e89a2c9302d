"""Numbers of every seed with the estimates that tables print: by algorithm, over p0, and in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tpobench.report.figures.profile import profile_panels
from tpobench.report.figures.scales import final_name
from tpobench.report.rows import MetricRow
from tpobench.report.views.choices import Index
from tpobench.report.views.numbers import rounded, scaled
from tpobench.scores.cells import Cell
from tpobench.scores.scalars import Scalar
from tpobench.stats.texts import p_text
from tpobench.tables.model import TableCell, View

Rows = Mapping[Scalar, Sequence[MetricRow]]


def finals_view(rows: Rows, index: Index) -> View:
    """Of every metric that has a table: each seed, and the estimate with its interval."""
    metrics = [
        {**_about(m), "rows": [_final(row, name, m, index) for row, name in _entries(of)]} for m, of in rows.items()
    ]
    caption = (
        "A dot per seed, above it the estimate of the tables with its 95% interval; a cross for a seed that diverged "
        "or never got there."
    )
    return View("finals", "finals", "Results, seed by seed", caption, {"metrics": metrics})


def _about(metric: Scalar) -> dict[str, str]:
    return {"title": metric.title, "unit": metric.unit, "better": metric.better}


def _entries(rows: Sequence[MetricRow]) -> Iterator[tuple[MetricRow, str]]:
    return ((row, name) for row in rows for name in row.cell.arms)


def _final(row: MetricRow, name: str, metric: Scalar, index: Index) -> list[Any]:
    """Cell, algorithm, budget, text, estimate, low, high, and of each seed its number, end and value."""
    arm, entry = row.cell.arms[name], row.entries[name]
    values = rounded(metric.values(arm) * metric.scale)
    seeds = [list(run) for run in zip(arm.seeds, arm.diverged, values, strict=True)]
    where = [index.cells[row.cell.label], index.algorithms[name]]
    return [*where, arm.budget, entry.text, *_estimate(entry, metric.scale), seeds]


def _estimate(entry: TableCell, scale: float) -> list[float | None]:
    """Value and interval of an entry, whichever kind it is; a time that more than half never reach has none."""
    estimate = entry.data.get("estimate") or entry.data["steps"]["median"]
    return [scaled(estimate[key], scale) for key in ("value", "low", "high")]


def profile_view(cells: Sequence[Cell], rows: Rows, index: Index) -> View | None:
    """Final results over the success probability p0 of the untrained policy, as the figure has its panels."""
    panels = profile_panels(cells)
    if not panels:
        return None
    final = next(m for m in rows if m.kind == "final")
    places = {c.label: i for c, i in ((row.cell, i) for i, row in enumerate(rows[final]))}
    body = [
        [*where, row.cell.success, text, *estimate]
        for row, name in _entries(rows[final])
        if row.cell.success
        for *where, _, text, value, low, high, _ in [_final(row, name, final, index)]
        for estimate in [[value, low, high]]
    ]
    data = {
        "title": f"{final_name(final.reporting)} {final.reporting.arrow}",
        "panels": [[title, [places[c.label] for c in several]] for title, several in panels.items()],
        "rows": body,
    }
    caption = (
        f"Final {final.reporting.metric} against the success probability p0 of the untrained policy, mean over seeds "
        "with its 95% interval; points of one p0 are set side by side."
    )
    return View("profile", "profile", "Final results against sparsity", caption, data)


def pairs_view(rows: Rows, index: Index) -> View | None:
    """Every algorithm against one that the reader chooses."""
    verdicts: dict[str, int] = {}
    metrics = [
        {**_about(m), "rows": [r for row in of for r in _pairs(row, m, index, verdicts)]} for m, of in rows.items()
    ]
    if not any(metric["rows"] for metric in metrics):
        return None
    caption = (
        "Difference from the algorithm that you choose, with its 95% interval: filled where the two can be told apart "
        "(Holm over all pairs of the row, 5%), hollow where they cannot."
    )
    return View("pairs", "pairs", "Pairwise comparisons", caption, {"metrics": metrics, "verdicts": list(verdicts)})


def _pairs(row: MetricRow, metric: Scalar, index: Index, verdicts: dict[str, int]) -> Iterator[list[Any]]:
    """Cell, A, B, A - B, low, high, P(A better), Holm p, and which of the verdicts, that many pairs share."""
    for (a, b), of_loss in row.comparisons.items():
        c = metric.difference(of_loss)
        numbers = [scaled(v, metric.scale) for v in (c.difference, c.low, c.high)]
        where = [index.cells[row.cell.label], index.algorithms[a], index.algorithms[b]]
        verdict = verdicts.setdefault(of_loss.verdict(), len(verdicts))
        yield [*where, *numbers, scaled(c.better, 1.0), p_text(c.adjusted), verdict]
