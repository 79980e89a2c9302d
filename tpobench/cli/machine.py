"""`doctor`: what this machine offers, and what would not work on it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tpobench.cli.base import AnswerFormat, DataDirOption, app, show, spread
from tpobench.tables.model import Document, Lines, table_of

CANNOT_RUN = 2


@app.command()
@spread
def doctor(
    *,
    out: Annotated[Path, typer.Option("--out", "--results", help="Folder of all results.")] = Path("results"),
    data_dir: DataDirOption = None,
    format_: AnswerFormat,
) -> None:
    """Say what this machine offers, and what would not work on it.  What to do about it stands beside it.

    $ tpobench doctor
    """
    from tpobench.execution.doctor import FATAL, OPTIONAL, examine

    sections = examine(out, data_dir)
    troubles = [(s.topic, p) for s in sections for p in s.problems]
    facts = {s.topic: dict(s.values) for s in sections}
    problems = [{"topic": topic, **dataclasses.asdict(p)} for topic, p in troubles]
    notes = [f"{p.severity}: {p.text}; {p.remedy}" for _, p in troubles]
    table = table_of(("", ""), [(s.topic, s.text) for s in sections], "machine", notes=tuple(notes))
    records = [{"topic": s.topic, "kind": "fact", "text": s.text} for s in sections]
    records += [{"topic": topic, "kind": p.severity, "text": p.text, "remedy": p.remedy} for topic, p in troubles]
    data = {"facts": facts, "problems": problems}
    fatal = sum(p.severity == FATAL for _, p in troubles)
    optional = sum(p.severity == OPTIONAL for _, p in troubles)
    blocks = (Lines((_verdict(fatal, len(troubles) - fatal - optional, optional),), "strong"), table)
    show(Document("What this machine offers", blocks, data, tuple(records)), format_.name)
    if fatal:
        raise typer.Exit(CANNOT_RUN)


def _verdict(fatal: int, problems: int, optional: int) -> str:
    """In one sentence."""
    main = "Runs cannot be trained here" if fatal else "Runs can be trained here"
    counts = (fatal + problems, "problem", ""), (optional, "optional thing", " missing")
    parts = [f"{n} {what}{'s' * (n > 1)}{more}" for n, what, more in counts if n]
    return f"{main}; {', '.join(parts)}." if parts else f"{main}; nothing is missing."
