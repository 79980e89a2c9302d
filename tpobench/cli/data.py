"""`data fetch` and `data list`, and the data that planned runs read."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import AnswerFormat, DataDirOption, JsonOption, answer, app, say, show, split, spread
from tpobench.cli.help import Application
from tpobench.data.files import CATALOG, VARIABLE, Found, Missing, cache, datasets, files_of, find
from tpobench.errors import DataUnavailable, UsageError, unknown
from tpobench.planning.datasets import has_needs, with_data
from tpobench.planning.plan import Plan
from tpobench.records.store import Store
from tpobench.suites.load import Suite, load_suite
from tpobench.tables.exports import flat
from tpobench.tables.model import Document, table_of

if TYPE_CHECKING:
    from tpobench.execution.due import Options

data_app = Application(
    help="""Fetch data files, and say which are here.

    $ tpobench data list
    """
)
app.add_typer(data_app, name="data")

BUNDLED = "digits"

DataOption = Annotated[
    str | None, typer.Option("--data", help="Data set of the suites that read one: mnist or digits.")
]
AllowUnverifiedOption = Annotated[
    bool, typer.Option("--allow-unverified-data", help="Run on a copy that is not the published data; reports say so.")
]


@data_app.command("fetch")
def fetch_(
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="mnist, gsm8k, smollm2.")],
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder to put them into; default: the user's cache.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are not the published ones.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch data sets and verify every byte.  What is here already is not fetched again.

    $ tpobench data fetch mnist
    """
    from tpobench.data.download import fetch

    chosen = split(names)
    for name in chosen:
        if name not in (known := [*datasets(), BUNDLED]):
            raise unknown("data set", name, known)
    if BUNDLED in chosen:
        say(f"{BUNDLED} comes with scikit-learn, so there is nothing to fetch")
    place = cache() if data_dir is None else data_dir.expanduser()
    outcomes = []
    for outcome in fetch([file for name in chosen for file in files_of(name)], place, force=force):
        outcomes.append(outcome)
        if not as_json:
            answer(str(outcome))
    if as_json:
        rows = [{"file": o.data.name, "status": o.status, "path": str(o.path), "text": o.text} for o in outcomes]
        answer(json.dumps({"files": rows}))
    _warn_of_others([o.data.name for o in outcomes if o.status != "failed"], data_dir)
    failed = [o for o in outcomes if o.status == "failed"]
    if failed:
        msg = f"{len(failed)} of {len(outcomes)} files are not here; the same command goes on with them"
        raise DataUnavailable(msg)


def _warn_of_others(names: Iterable[str], data_dir: Path | None) -> None:
    """A copy in a folder that is searched earlier is read instead."""
    for name in names:
        copy = find(name, data_dir)
        if isinstance(copy, Found) and not copy.verified:
            say(f"{name}: runs read {copy.path} first, which is not the published file; move it, or unset {VARIABLE}")


@data_app.command("list")
@spread
def list_(*, data_dir: DataDirOption = None, format_: AnswerFormat) -> None:
    """Say which data files are here, where, and whether they are the published ones.

    $ tpobench data list
    """
    copies = [find(name, data_dir) for name in CATALOG]
    rows = [*map(_row, copies), _bundled()]
    entries = [[r["file"], r["status"], r["bytes"], r["path"]] for r in rows]
    table = table_of(["file", "status", "bytes", "where"], entries, "files")
    show(Document("Data files", (table,), {"files": rows}, tuple(map(flat, rows))), format_.name)
    for row in rows:
        if row["problem"] and format_.name != "json":
            say(f"{row['file']}: {row['problem']}")


def _row(copy: Found | Missing) -> dict[str, Any]:
    row = {"file": copy.data.name, "bytes": copy.data.size, "sha256": copy.data.sha256, "path": "-", "problem": ""}
    if isinstance(copy, Missing):
        return {**row, "status": "missing", "searched": [str(p) for p in copy.searched]}
    status = "verified" if copy.verified else "unverified"
    return {**row, "status": status, "path": str(copy.path), "problem": copy.problem}


def _bundled() -> dict[str, Any]:
    """The digits, whose bytes are read to tell."""
    from tpobench.data.images import DIGITS, DIGITS_SHA256, load_images

    row = {"file": DIGITS, "bytes": None, "sha256": DIGITS_SHA256, "path": "in scikit-learn"}
    try:
        load_images(BUNDLED)
    except DataUnavailable as error:
        return {**row, "status": "missing", "path": "-", "problem": str(error)}
    return {**row, "status": "verified", "problem": ""}


def data_override(suite: str, data: str | None) -> list[str]:
    """`--data digits` as the override `task.data=digits`, for the suites that read data; nothing for the others."""
    return [f"task.data={data}"] if data is not None and "data" in load_suite(suite).task else []


def require_reader(data: str | None, suites: Sequence[Suite]) -> None:
    """A --data that no suite takes is a mistake.

    Raises:
        UsageError: none of the suites reads data.
    """
    if data is not None and not any("data" in suite.task for suite in suites):
        names = ", ".join(suite.name for suite in suites)
        msg = f"--data {data}: no task of {names} reads data; leave it out, or name a suite such as mnist"
        raise UsageError(msg)


def located(
    plans: Sequence[tuple[Path, Plan]],
    options: Options,
    data_dir: Path | None,
    *,
    allow_unverified: bool,
    only_warn: bool,
) -> list[tuple[Path, Plan]]:
    """Plans that know where their data lies, found before the first run; what has all its results needs none.

    Raises:
        DataUnavailable: it is not here, or not the published; `only_warn` says so and goes on.
    """
    from tpobench.execution.due import due

    needy = [has_needs(p) and bool(due(p, Store(folder).known()[0], options)[0]) for folder, p in plans]
    readers = [p for (_, p), n in zip(plans, needy, strict=True) if n]
    try:
        located = with_data(readers, data_dir, allow_unverified=allow_unverified)
    except DataUnavailable as error:
        if not only_warn:
            raise
        say(f"tpobench: `run` would stop: {error}")
        try:  # a copy that is not the published is told by the runs that it has: done ones are shown as done
            located = with_data(readers, data_dir, allow_unverified=True)
        except DataUnavailable:
            return list(plans)
    resolved = iter(located)
    return [(folder, next(resolved) if n else p) for (folder, p), n in zip(plans, needy, strict=True)]
