"""Files with the figures of the TPO paper, drawn from our records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tpobench.report.files import write_files
from tpobench.scores.cells import Results
from tpobench.scores.options import FIGURE_FORMATS, check


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
    from tpobench.paper.figures import paper_pictures  # noqa: PLC0415 - see above
    from tpobench.report.figures import save  # noqa: PLC0415 - the command line must not wait for matplotlib

    for ending in formats:
        check(ending, FIGURE_FORMATS, "figure format")
    pictures = {f"{p.name}.{e}": (p, e) for p in paper_pictures(item, results) for e in dict.fromkeys(formats)}
    if pictures:
        write_files(out, {name: save(*picture) for name, picture in pictures.items()}, force=force)
    return {out / name: picture.caption for name, (picture, _) in pictures.items()}
