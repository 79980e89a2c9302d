"""`validate`: whether an algorithm, a task or a suite keeps its contract, promise by promise."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import JsonOption, PluginOption, answer, answer_lines, app, split
from tpobench.errors import UsageError, unknown
from tpobench.plugins.load import read_plugin
from tpobench.suites.load import suite_names

if TYPE_CHECKING:
    from tpobench.algorithms.promises import PromiseResult

BROKEN = 2  # exit code: a contract is broken
SIGNS = {"kept": "+", "broken": "-", "limited": "~", "not reached": "?"}


@app.command("validate")
def validate_(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Algorithms, tasks and suites; default: those of the plugins."),
    ] = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether algorithms, tasks and suites keep their contract.

    Algorithms and tasks are tried on tiny problems, suites are read; each promise is kept or broken.

    $ tpobench validate tpo
    $ tpobench validate --plugin my_algo.py
    """
    from tpobench.algorithms import contract as of_algorithms
    from tpobench.algorithms.catalog import ALGORITHMS, OWN, base, require_algorithm
    from tpobench.plugins.check import examine_plugins, examine_suite
    from tpobench.plugins.installed import GROUPS, installed
    from tpobench.tasks import contract as of_tasks
    from tpobench.tasks.catalog import TASKS

    wanted = split(names)
    plugins = [read_plugin(path) for path in plugin or []]
    plugins += [brought for group in GROUPS for brought in installed(group, wanted)]
    examined = examine_plugins(plugins) if plugins else []
    for each in examined:
        if each.error:
            raise UsageError(each.error)
    algorithms = {name: findings for each in examined for name, findings in each.algorithms.items()}
    tasks = {name: findings for each in examined for name, findings in each.tasks.items()}
    suites = {name: findings for each in examined for name, findings in each.suites.items()}
    origins = {name: each.path for each in examined for name in (*each.algorithms, *each.tasks, *each.suites)}
    wanted = wanted or [*algorithms, *tasks, *suites]
    if not wanted:
        msg = "validate what? name an algorithm, a task or a suite, or a file with --plugin"
        raise UsageError(msg)
    for name in wanted:
        if name in TASKS and name not in tasks:
            tasks[name] = tuple(of_tasks.examine(TASKS[name]))
        if name in suite_names() and name not in suites:
            suites[name] = tuple(examine_suite(name))
        if base(name) not in {*ALGORITHMS, *algorithms} and name not in {*tasks, *suites}:
            known = {*ALGORITHMS, *TASKS, *suite_names(), *algorithms, *tasks, *suites}
            raise unknown("algorithm, task or suite", name, known, remedy=OWN)
        if name not in {*algorithms, *tasks, *suites}:
            algorithms[name] = tuple(of_algorithms.examine(require_algorithm(name, "validate")))
    kinds = (("rule", algorithms), ("task", tasks), ("suite", suites))
    chosen = [(what, n, of[n]) for n in wanted for what, of in kinds if n in of]
    if as_json:
        answers: dict[str, list[object]] = {"rules": [], "tasks": [], "suites": []}
        for what, name, findings in chosen:
            answers[f"{what}s"].append(_as_dict(what, name, origins.get(name), findings))
        answer(json.dumps(answers))
    else:
        answer_lines([line for _, name, findings in chosen for line in ("", *_lines(name, findings))][1:])
    if any(f.state in {"broken", "not reached"} for _, _, findings in chosen for f in findings):
        raise typer.Exit(BROKEN)


def _as_dict(what: str, name: str, origin: str | None, findings: Sequence[PromiseResult]) -> dict[str, object]:
    promises = [
        {"promise": f.promise, "state": f.state, "breaches": [dataclasses.asdict(b) for b in f.breaches]}
        for f in findings
    ]
    broken = any(f.state == "broken" for f in findings)
    return {what: name, "plugin": origin, "kept": not broken, "promises": promises}


def _lines(name: str, findings: Sequence[PromiseResult]) -> Iterator[str]:
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
