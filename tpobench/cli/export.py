"""`export`: finished runs in the forms of other tools."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from tpobench.cli.base import ForceOption, JsonOption, PathArgument, answer, app, require_outside, say, set_aside
from tpobench.errors import unknown
from tpobench.records.results import load_results
from tpobench.records.store import damaged_in, uncollected


@app.command()
@uncollected()
def export(
    *,
    path: PathArgument = Path("results"),
    to: Annotated[str, typer.Option("--to", help="csv, parquet, tensorboard, wandb or trackio.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write finished runs as other tools read them: one table, or curves for a tracker.

    $ tpobench export results/sparse --to csv --out tables
    """
    from tpobench.exports import FORMATS, export_files
    from tpobench.records.store import require_folder
    from tpobench.report.files import write_files

    if to not in FORMATS:
        raise unknown("format", to, FORMATS, "--to")
    require_folder(out)
    require_outside(out, path)
    results = load_results(path)
    files = export_files(results, to)
    about = hashlib.sha256("\n".join([to, *sorted(r.id for r in results.records)]).encode()).hexdigest()
    written = write_files(out, files, about, force=force)
    if results.quarantined:
        say(set_aside(damaged_in(path)))
    if as_json:
        answer(json.dumps({"files": [str(f) for f in written], "runs": len(results.records)}))
    else:
        what = str(written[0]) if len(written) == 1 else f"{len(written)} files below {out}"
        say(f"wrote {what}: {len(results.records)} runs")
