"""Files with the figures of the TPO paper, drawn from our records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tpobench.report.cells import Results
from tpobench.report.options import FIGURE_FORMATS, check


def write_paper_figures(item: str, results: Results, out: Path, formats: Sequence[str] = ("png",)) -> dict[Path, str]:
    """Write `<item>.png` and what else is asked for into `out`, and give the files with their captions.

    Runs of the smaller scale have a figure of their own, `<item>-quick.png`; without runs there is none.  The same
    records give the same bytes.

    Raises:
        UsageError: an item without a figure, or an unknown format.
    """
    from tpobench.report.figures import save  # noqa: PLC0415 - the command line must not wait for matplotlib
    from tpobench.report.figures.paper import paper_pictures  # noqa: PLC0415 - see above

    for ending in formats:
        check(ending, FIGURE_FORMATS, "figure format")
    captions = {}
    for picture in paper_pictures(item, results):
        for ending in dict.fromkeys(formats):
            path = out / f"{picture.name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save(picture, ending))
            captions[path] = picture.caption
    return captions
