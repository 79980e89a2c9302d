"""`recipe` and `import`: runs of another engine, written for it and brought back."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tpobench.cli.base import (
    DataDirOption,
    ForceOption,
    JsonOption,
    ScaleOption,
    SetOption,
    SmokeOption,
    algorithms_of,
    answer,
    app,
    say,
)
from tpobench.cli.runs import NameOption, require_name
from tpobench.cli.training import OutOption
from tpobench.errors import NothingToDo


@app.command()
def recipe(
    *,
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="trl or verl.")],
    suite: Annotated[
        str, typer.Option("--suite", "-s", help="A suite of pretrained language models, or a .toml file.")
    ],
    algos: Annotated[list[str] | None, typer.Option("--algos", "-a", help="Algorithms; default: the suite's.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="A count (3), a range (0-4) or a list (1,3).")] = None,
    smoke: SmokeOption = False,
    scale: ScaleOption = "paper",
    set_: SetOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder; default: SUITE-ENGINE here.")] = None,
    data_dir: DataDirOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what trains a suite of language models on a cluster, with TRL or verl.  `import` brings the logs back.

    $ tpobench recipe trl --suite gsm8k --algos tpo,grpo
    """
    from tpobench.planning.plan import parse_seeds
    from tpobench.plugins.load import load_plugins
    from tpobench.recipes.recipe import recipe_files, recipe_of
    from tpobench.records.store import require_folder
    from tpobench.report.files import write_files
    from tpobench.suites.load import load_suite

    algorithms = algorithms_of(algos) or None
    load_plugins([], suites=[suite], algorithms=algorithms)
    chosen = load_suite(suite, set_ or [], smoke=smoke, scale=scale)
    made = recipe_of(chosen, engine, algorithms, None if seeds is None else parse_seeds(seeds), data_dir)
    folder = out or Path(made.suite.name)
    require_folder(folder)
    files = recipe_files(made)
    about = hashlib.sha256("\n".join(sorted(spec.run_id for spec in made.specs)).encode()).hexdigest()
    written = write_files(folder, files, about, force=force)
    if as_json:
        answer(json.dumps({"folder": str(folder), "files": [str(f) for f in written], "runs": len(made.specs)}))
    else:
        say(f"wrote {folder}: {len(made.specs)} runs of {', '.join(made.algorithms)} by {engine}")
        say(f"next: there, `sh run.sh` as README.md says, and then `tpobench import {folder}`")


@app.command("import")
def import_(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of a recipe, of one run, or of several recipes.")],
    out: OutOption = Path("results"),
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the logs of a recipe's runs back as records.  What is there already is kept; a run may still be going.

    $ tpobench import gsm8k-trl
    """
    from tpobench.recipes.logs import runs_in
    from tpobench.recipes.store import bring

    require_name(name)
    brought = bring(runs_in(folder), out, name)
    if not brought.records:
        msg = f"{folder}: none of its {brought.waiting} runs has logged anything; `sh run.sh` there begins them"
        raise NothingToDo(msg)
    if as_json:
        answer(json.dumps({
            "folders": [str(place) for place in brought.folders], "runs": len(brought.records), "new": brought.new,
            "waiting": brought.waiting, "statuses": Counter(r.status for r in brought.records),
        }))  # fmt: skip
        return
    for record in brought.records:
        if record.reason:
            say(f"{record.status}: {record.spec['algorithm']} seed {record.spec['seed']}: {record.reason}")
    waiting = f"; {brought.waiting} have not begun" * bool(brought.waiting)
    for place in brought.folders:
        say(f"{place}: {len(brought.records)} runs, {brought.new} of them new or changed{waiting}")
    say("next: " + "; ".join(f"tpobench report {place}" for place in brought.folders))
