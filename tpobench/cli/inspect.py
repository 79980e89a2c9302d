"""`lint` and `audit`: what a result set, or any project's table of results, gets wrong."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import (
    ForceOption,
    FullOption,
    GlanceFormat,
    PathArgument,
    app,
    formats_of,
    on_pipe,
    one_per_line,
    say,
    show,
    spread,
)
from tpobench.errors import UsageError
from tpobench.records.store import uncollected
from tpobench.tables.exports import json_text

if TYPE_CHECKING:
    from tpobench.lint import Checks

FLAWED = 3  # exit code: something is wrong with the results
StrictOption = Annotated[bool, typer.Option("--strict", help="Warnings end with exit code 3 too, as errors do.")]


@app.command("lint")
@spread
@uncollected()
def lint_(
    *,
    path: PathArgument = Path("results"),
    strict: StrictOption = False,
    format_: GlanceFormat,
) -> None:
    """Find what makes results mislead.

    Unequal seeds or budgets, dropped runs, too few seeds and more.  Writes nothing.

    $ tpobench lint results/sparse
    """
    from tpobench.lint import lint
    from tpobench.lint.document import lint_document

    checks = lint(path)
    show(lint_document(checks), format_.name, full=format_.full)
    _conclude(checks, strict=strict)


def _conclude(checks: Checks, *, strict: bool) -> None:
    if checks.worst() == "error" or (strict and checks.worst() == "warning"):
        raise typer.Exit(FLAWED)


@app.command("audit")
def audit_(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="CSV, TSV, JSON or JSON lines, or folders of them: one row per (algorithm, task, seed) and its value; "
            "or columns that lie side by side, one per algorithm, task or seed. Of several files the names that no "
            "column gives are those of their paths: ppo/walker/seed_3.csv, ppo_walker_3.csv.",
        ),
    ],
    lower: Annotated[bool, typer.Option("--lower", help="Lower values are better.")] = False,
    higher: Annotated[bool, typer.Option("--higher", help="Higher values are better.")] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="The column of values, or its name in print; one of the names in a column of metrics."
        ),
    ] = None,
    best: Annotated[
        list[str] | None, typer.Option("--best", help="Best possible value, or TASK=VALUE: for scores over all tasks.")
    ] = None,
    worst: Annotated[
        list[str] | None, typer.Option("--worst", help="Worst possible value, or TASK=VALUE: for diverged runs too.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", help="NAME=COLUMN, such as algorithm=method; task=function,dimension for two of them; repeat."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, help="With a step column: how many last rows of a run make its value."),
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Equal seeds mean equal initialisation and data for all algorithms.")
    ] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", help="terminal, md, latex, html, csv, json; several: --out."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for audit.md, audit.json, ...")] = None,
    force: ForceOption = False,
    full: FullOption = False,
    strict: StrictOption = False,
) -> None:
    """Give any project's table of results the treatment of a report.  Intervals, tests, tie groups, and its mistakes.

    $ tpobench audit scores.csv --higher
    """
    chosen = formats_of(formats, ["md" if out is not None or on_pipe() else "terminal"])
    if len(chosen) > 1 and out is None:
        msg = "two formats need a folder: --out DIR"
        raise UsageError(msg)
    if "terminal" in chosen and out is not None:
        msg = "--format terminal is no file; with --out choose md, latex, html, csv or json"
        raise UsageError(msg)
    from tpobench.audit import Choices, audit, audit_document
    from tpobench.records.store import require_folder
    from tpobench.report.files import write_files

    if out is not None:
        require_folder(out)
    choices = Choices(
        lower=lower, higher=higher, metric=metric, best=tuple(best or ()), worst=tuple(worst or ()),
        columns=tuple(column or ()), window=window, paired=paired,
    )  # fmt: skip
    findings = audit(files, choices)
    document = audit_document(findings)
    if out is None:
        show(document, chosen[0], full=full)
    else:
        from tpobench.tables.writers import ENDINGS, WRITERS

        written = {f"audit.{ENDINGS[name]}": WRITERS[name](document).encode() for name in chosen}
        about = hashlib.sha256(json_text(document).encode()).hexdigest()
        say(one_per_line(f"wrote {path}" for path in write_files(out, written, about, force=force)))
    _conclude(findings.checks, strict=strict)
