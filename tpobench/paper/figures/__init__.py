"""The figures of the TPO paper from our records: what each shows is chosen here, the report's panels draw it.

selections  item -> rows of panels: suites, cells, algorithms, metrics, axes and titles
runs        the records of an item at one scale, by suite and cell
gains       the numbers of figure 4b
captions    what must be said of a figure
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from tpobench.paper.figures.captions import caption_of
from tpobench.paper.figures.runs import runs_by_scale
from tpobench.paper.figures.selections import SELECTIONS
from tpobench.paper.items import ALIASES, ITEMS
from tpobench.records.results import Results
from tpobench.report.figures.grid import grid_figure
from tpobench.report.figures.layout import Picture, save
from tpobench.report.figures.panel import with_runs
from tpobench.report.figures.style import RC
from tpobench.report.files import write_files
from tpobench.scores.options import FIGURE_FORMATS, ReportOptions, require_valid
from tpobench.suites.load import scaled

__all__ = ["SELECTIONS", "paper_pictures", "write_paper_figures"]


def paper_pictures(item: str, results: Results, options: ReportOptions | None = None) -> list[Picture]:
    """The figure of an item of the paper: one for each scale its suites were run at, none where nothing was run.

    A panel without runs stays, empty, and says so.  The figure of the smaller scale is named `<item>-quick`.

    Args:
        item: `fig1` ... `fig17`, `table1` ...; a figure and a table of the same runs are one item.
        results: any records; those of other suites are left aside.
        options: intervals and what becomes of diverged runs.

    Raises:
        UsageError: an item that has no figure here.
    """
    options, pictures = options or ReportOptions(), []
    aliases = [name for name in ALIASES if ALIASES[name] in SELECTIONS]
    require_valid([item], [*SELECTIONS, *aliases], "figure of the paper")
    shown = ALIASES.get(item, item)
    for runs in runs_by_scale(results, ITEMS[shown], options):
        grid = SELECTIONS[shown](runs)
        if with_runs(grid.panels):
            with mpl.rc_context(RC):
                figure = grid_figure(grid, options)
            pictures.append(Picture(scaled(item, runs.scale), caption_of(grid, runs), figure, f"{item} of the paper"))
    return pictures


def write_paper_figures(
    item: str, results: Results, out: Path, formats: Sequence[str] = ("png",), *, force: bool = False
) -> dict[Path, str]:
    """Write `<item>.png` and what else is asked for into `out`, and give the files with their captions.

    Runs of the smaller scale have a figure of their own, `<item>-quick.png`; without runs there is none.  The same
    records give the same bytes.

    Raises:
        UsageError: an item without a figure, an unknown format, or files that no report wrote and `force` does not
            let go.
        StorageFull: the folder cannot be written.
    """
    require_valid(formats, FIGURE_FORMATS, "figure format")
    pictures = {f"{p.name}.{e}": (p, e) for p in paper_pictures(item, results) for e in dict.fromkeys(formats)}
    if pictures:
        write_files(out, {name: save(*picture) for name, picture in pictures.items()}, force=force)
    return {out / name: picture.caption for name, (picture, _) in pictures.items()}
