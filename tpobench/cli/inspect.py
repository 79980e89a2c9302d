"""`lint` and `audit`: what a result set, or any project's table of results, gets wrong."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import ForceOption, JsonOption, PathArgument, answer, app, one_per_line, say, split
from tpobench.errors import UsageError, unknown

if TYPE_CHECKING:
    from tpobench.lint import Checks, Finding

FLAWED = 3  # exit code: something is wrong with the results
MOST_LINES, MOST_CELLS = 8, 3
AUDIT_FORMATS = {"md": "md", "json": "json"}
StrictOption = Annotated[bool, typer.Option("--strict", help="Warnings end with exit code 3 too, as errors do.")]


@app.command("lint")
def lint_(*, path: PathArgument = Path("results"), strict: StrictOption = False, as_json: JsonOption = False) -> None:
    """Find what makes results mislead: unequal seeds or budgets, dropped runs, too few seeds, ...  Writes nothing."""
    from tpobench.lint import lint

    found = lint(path)
    if as_json:
        answer(json.dumps(_as_dict(found)))
    else:
        answer(one_per_line(_lines(found)))
    _conclude(found, strict=strict)


def _conclude(found: Checks, *, strict: bool) -> None:
    if found.worst() == "error" or (strict and found.worst() == "warning"):
        raise typer.Exit(FLAWED)


def _as_dict(found: Checks) -> dict[str, object]:
    counts = Counter(f.code.severity for f in found.findings)
    return {
        "schema": 1,
        "sets": list(found.sets),
        "runs": found.runs,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "notes": counts["note"],
        "findings": [f.as_dict() for f in found.findings],
    }


def _lines(found: Checks) -> Iterator[str]:
    """A block for each code: where, why it matters, what to do."""
    from tpobench.lint import by_code

    for code, findings in by_code(found).items():
        yield f"{code.severity} {code.code} {code.name}"
        yield from (f"  {_where(f)}: {f.what}" for f in findings[:MOST_LINES])
        if len(findings) > MOST_LINES:
            yield f"  and {len(findings) - MOST_LINES} more; --json has all"
        yield f"  why: {code.why}"
        yield f"  do: {code.remedy}"
    counts = Counter(f.code.severity for f in found.findings)
    said = ", ".join(
        f"{n} {kind}{'s' if n > 1 else ''}" for kind in ("error", "warning", "note") if (n := counts[kind])
    )
    sets = f"{len(found.sets)} result set{'s' if len(found.sets) > 1 else ''}"
    yield f"{found.runs} runs in {sets}: {said or 'nothing found'}"


def _where(finding: Finding) -> str:
    cells = "; ".join(finding.cells[:MOST_CELLS])
    more = f" and {len(finding.cells) - MOST_CELLS} more cells" if len(finding.cells) > MOST_CELLS else ""
    return ", ".join(part for part in (finding.suite, cells + more) if part)


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
    formats: Annotated[list[str] | None, typer.Option("--format", "-f", help="md, json; both need --out.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for audit.md and audit.json.")] = None,
    force: ForceOption = False,
    strict: StrictOption = False,
) -> None:
    """Give any project's table of results the treatment of a report: intervals, tests, tie groups, and its mistakes."""
    chosen = split(formats) or ["md"]
    for each in chosen:
        if each not in AUDIT_FORMATS:
            raise unknown("format", each, AUDIT_FORMATS)
    if out is None and len(chosen) > 1:
        msg = "two formats need a folder: --out DIR"
        raise UsageError(msg)
    from tpobench.audit import Choices, audit, audit_json, audit_markdown
    from tpobench.report.files import require_folder, write_files

    if out is not None:
        require_folder(out)
    choices = Choices(
        lower=lower, higher=higher, metric=metric, best=tuple(best or ()), worst=tuple(worst or ()),
        columns=tuple(column or ()), window=window, paired=paired,
    )  # fmt: skip
    found = audit(files, choices)
    texts = {"md": audit_markdown, "json": audit_json}
    if out is None:
        text = texts[chosen[0]](found)
        answer(json.dumps(json.loads(text), indent=1) if chosen == ["json"] else text.rstrip("\n"))
    else:
        written = {f"audit.{AUDIT_FORMATS[name]}": texts[name](found).encode() for name in chosen}
        about = hashlib.sha256(audit_json(found).encode()).hexdigest()
        say(one_per_line(f"wrote {path}" for path in write_files(out, written, about, force=force)))
    _conclude(found.checks, strict=strict)
