"""The figures of the TPO paper, drawn anew from our records in the paper's layout."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl

from tpobench.paper.figures.captions import caption_of, drawn_lines
from tpobench.paper.figures.items import ITEMS, SAME
from tpobench.paper.figures.runs import QUICK, Runs, runs_by_scale
from tpobench.paper.figures.sheet import Sheet, draw
from tpobench.report.figures.layout import Picture
from tpobench.report.figures.style import RC
from tpobench.scores.cells import Results
from tpobench.scores.options import Options, check

__all__ = ["ITEMS", "SAME", "paper_captions", "paper_pictures"]


def paper_pictures(item: str, results: Results, how: Options | None = None) -> list[Picture]:
    """The figure of an item of the paper: one for each scale its suites were run at, none where nothing was run.

    A panel without runs stays, empty, and says so.  The figure of the smaller scale is named `<item>-quick`.

    Args:
        item: `fig1` ... `fig17`, `table1` ...; a figure and a table of the same runs are one item.
        results: any records; those of other suites are left aside.
        how: intervals and what becomes of diverged runs.

    Raises:
        UsageError: an item that has no figure here.
    """
    how, found = how or Options(), []
    for name, sheet, runs in _sheets(item, results, how):
        with mpl.rc_context(RC):
            figure = draw(sheet, how)
        found.append(Picture(name, caption_of(sheet, runs, how), figure, f"{item} of the paper"))
    return found


def paper_captions(item: str, results: Results, how: Options | None = None) -> dict[str, str]:
    """Name -> caption of the same figures, without drawing them.

    Raises:
        UsageError: an item that has no figure here.
    """
    how = how or Options()
    return {name: caption_of(sheet, runs, how) for name, sheet, runs in _sheets(item, results, how)}


def _sheets(item: str, results: Results, how: Options) -> Iterator[tuple[str, Sheet, Runs]]:
    check(item, [*ITEMS, *SAME], "figure of the paper")
    shown = ITEMS[SAME.get(item, item)]
    for runs in runs_by_scale(results, shown.suites, how):
        sheet = shown.layout(runs)
        if drawn_lines(sheet.panels):
            yield item + QUICK * (runs.scale == "quick"), sheet, runs
