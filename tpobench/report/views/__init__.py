"""What a page lets its reader choose and look at: the numbers behind its views, which templates/page.js draws.

choices   algorithms with their looks, cells with their place on the grid
curves    a metric over the updates: means with bands, and the seeds
numbers   few digits
search    breaking points, and the seeds that learn at each level
finals    a number of every seed, with the estimates that tables print; over p0; and in pairs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tpobench.report.rows import MetricRow
from tpobench.report.views.choices import Index, choices_view
from tpobench.report.views.curves import curves_view
from tpobench.report.views.finals import finals_view, pairs_view, profile_view
from tpobench.report.views.search import search_views
from tpobench.scores.cells import Cell
from tpobench.scores.options import ReportOptions
from tpobench.scores.scalars import Scalar
from tpobench.tables.model import View

__all__ = ["search_views", "views_of"]


def views_of(
    cells: Sequence[Cell], algorithms: Sequence[str], rows: Mapping[Scalar, Sequence[MetricRow]], options: ReportOptions
) -> tuple[View, ...]:
    """Of one suite: what there is to choose, then what is drawn of it; nothing without a result."""
    if not any(cell.arms for cell in cells):
        return ()
    index = Index.of(cells, algorithms)
    views = [
        choices_view(cells, algorithms),
        curves_view(cells, index, options),
        profile_view(cells, rows, index),
        pairs_view(rows, index),
        finals_view(rows, index),
    ]
    return tuple(view for view in views if view is not None)
