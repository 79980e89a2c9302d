"""`doctor`: what this machine offers, and what would not work on it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from tpobench.cli.base import DataDirOption, JsonOption, answer, app

CANNOT_RUN = 2


@app.command()
def doctor(
    *,
    out: Annotated[Path, typer.Option("--out", "--results", help="Folder of all results.")] = Path("results"),
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine offers, what would not work on it, and what to do about that."""
    from tpobench.execution.doctor import FATAL, examine

    sections = examine(out, data_dir)
    found = [(s.topic, p) for s in sections for p in s.problems]
    if as_json:
        facts = {s.topic: dict(s.values) for s in sections}
        problems = [{"topic": topic, **dataclasses.asdict(p)} for topic, p in found]
        answer(json.dumps({"facts": facts, "problems": problems}))
    else:
        width = max(len(s.topic) for s in sections)
        for section in sections:
            answer(f"{section.topic:<{width}}  {section.text}")
        for _, problem in found:
            answer(f"{problem.severity}: {problem.text}; {problem.remedy}")
        if not found:
            answer("everything works")
    if any(p.severity == FATAL for _, p in found):
        raise typer.Exit(CANNOT_RUN)
