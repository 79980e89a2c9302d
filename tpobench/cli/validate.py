"""`validate`: whether a rule keeps its contract, promise by promise."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import JsonOption, PluginOption, answer, app, split
from tpobench.errors import UsageError, unknown

if TYPE_CHECKING:
    from tpobench.algorithms.promises import Finding

BROKEN = 2  # exit code: a rule breaks its contract
SIGNS = {"kept": "+", "broken": "-", "limited": "~", "not reached": "?"}


@app.command("validate")
def validate_(
    *,
    rules: Annotated[list[str] | None, typer.Argument(help="Rules; default: those of the plugins.")] = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try rules on tiny groups and print their whole contract: each promise, kept or broken, and what to do."""
    from tpobench.algorithms.catalog import ALGORITHMS
    from tpobench.algorithms.contract import examine
    from tpobench.plugins.check import examine_plugins
    from tpobench.plugins.load import read_plugin

    examined = examine_plugins([read_plugin(path) for path in plugin]) if plugin else []
    for each in examined:
        if each.error:
            raise UsageError(each.error)
    findings = {name: each.rules[name] for each in examined for name in each.rules}
    origins = {name: each.path for each in examined for name in each.rules}
    wanted = split(rules) or list(findings)
    if not wanted:
        msg = "validate what? name a rule, or a file with --plugin"
        raise UsageError(msg)
    for name in wanted:
        if name not in findings:
            if name not in ALGORITHMS:
                raise unknown("rule", name, {*ALGORITHMS, *findings})
            findings[name] = tuple(examine(ALGORITHMS[name]))
    if as_json:
        answer(json.dumps({"rules": [_as_dict(name, origins.get(name), findings[name]) for name in wanted]}))
    else:
        answer("\n\n".join("\n".join(_lines(name, findings[name])) for name in wanted))
    if any(f.state in {"broken", "not reached"} for name in wanted for f in findings[name]):
        raise typer.Exit(BROKEN)


def _as_dict(name: str, origin: str | None, findings: Sequence[Finding]) -> dict[str, object]:
    promises = [
        {"promise": f.promise, "state": f.state, "breaches": [dataclasses.asdict(b) for b in f.breaches]}
        for f in findings
    ]
    broken = any(f.state == "broken" for f in findings)
    return {"rule": name, "plugin": origin, "kept": not broken, "promises": promises}


def _lines(name: str, findings: Sequence[Finding]) -> Iterator[str]:
    counts = [f.state for f in findings]
    if "broken" in counts:
        yield f"{name} breaks its contract and is refused"
    else:
        limits = counts.count("limited")
        yield f"{name} keeps its contract" + (f", with {limits} limit{'s' if limits > 1 else ''}" if limits else "")
    for f in findings:
        yield f"  {SIGNS[f.state]} {f.promise}" + (" (not reached)" if f.state == "not reached" else "")
        for breach in f.breaches:
            yield f"      {breach.where} {breach.what}"
            yield f"      do: {breach.remedy}"
