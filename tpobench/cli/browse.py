"""`list` and `show`: what there is."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.algorithms.families import family_of
from tpobench.cli.base import JsonOption, PluginOption, ScaleOption, SetOption, SmokeOption, answer, app, table
from tpobench.errors import unknown

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm

show_app = typer.Typer(no_args_is_help=True, help="Show one thing in full.", rich_markup_mode=None)
app.add_typer(show_app, name="show")


@app.command("list")
def list_(
    *,
    what: Annotated[str, typer.Argument(help="suites, algorithms (or algos), or all.")] = "all",
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the suites and the algorithms."""
    what = "algorithms" if what == "algos" else what
    if what not in {"suites", "algorithms", "all"}:
        raise unknown("thing to list", what, ["suites", "algorithms", "all"])
    found: dict[str, list[dict[str, Any]]] = {}
    if what != "algorithms":
        found["suites"] = _list_suites()
    if what != "suites":
        found["algorithms"] = _list_algorithms(plugin or [])
    if as_json:
        answer(json.dumps(found))
        return
    if "suites" in found:
        answer(table(list(found["suites"][0]), [list(row.values()) for row in found["suites"]]) + "\n")
    if "algorithms" in found:
        answer(_algorithms_by_family(found["algorithms"]) + "\n")


@show_app.command("suite")
def show_suite(
    *,
    suite: str,
    set_: SetOption = None,
    scale: ScaleOption = "paper",
    smoke: SmokeOption = False,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a suite with every default but of what is off, and how it differs from what was published."""
    from tpobench.suites.load import load_suite, scale_changes

    if plugin:
        from tpobench.plugins.load import load_plugins

        load_plugins(plugin)
    resolved = load_suite(suite, set_ or [], smoke=smoke, scale=scale).as_dict()
    changes = scale_changes(suite) if scale == "quick" else ()
    if as_json:
        answer(json.dumps({**resolved, "scale": scale, "scale_changes": [c._asdict() for c in changes]}))
        return
    for key, value in resolved.items():
        if not isinstance(value, dict) and key != "deviations":
            answer(f"{key} = {_toml(value)}")
    for key, value in resolved.items():
        if isinstance(value, dict) and value:
            answer(f"\n[{key}]")
            answer("\n".join(f"{k} = {_toml(v)}" for k, v in value.items()))
    if resolved["deviations"]:
        answer("\nDeviations from the published protocol" + " (of the scale paper)" * bool(changes))
        answer("\n".join(f"- {line}" for line in resolved["deviations"]))
    if changes:
        answer("\nWhat the quick scale changes (paper -> quick)")
        answer("\n".join(f"{c.key}: {_toml(c.paper)} -> {_toml(c.quick)}" for c in changes))


def _toml(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _list_suites() -> list[dict[str, Any]]:
    from tpobench.suites.load import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    return [
        {
            "suite": s.name,
            "cells": math.prod(map(len, s.grid.values())),
            "seeds": s.seeds,
            "quick": "yes" if s.quick else "-",
            "algorithms": ",".join(s.algorithms),
            "title": s.title,
        }
        for s in suites
    ]


def _list_algorithms(plugins: Sequence[str]) -> list[dict[str, Any]]:
    """Every algorithm, by family in the order of the catalogue, what users registered last."""
    from tpobench.algorithms.catalog import ALGORITHMS
    from tpobench.algorithms.families import NAMES
    from tpobench.plugins.load import load_plugins

    load_plugins(plugins)
    return [describe(ALGORITHMS[name]) for name in (*NAMES, *sorted(ALGORITHMS.keys() - set(NAMES)))]


def describe(algorithm: Algorithm) -> dict[str, Any]:
    """What one is, in words: its equations as its functions state them."""
    return {
        "family": family_of(algorithm.name),
        "algorithm": algorithm.name,
        "credit": _equation(algorithm.credit),
        "fit": _equation(algorithm.fit),
        "compares": algorithm.compares,
        "needs": " ".join(sorted(algorithm.needs)) or "-",
        "hyperparameters": " ".join(f"{k}={'off' if v is None else v}" for k, v in algorithm.hyperparameters.items())
        or "-",
        "default_of": algorithm.default_of or "-",
        "paper": algorithm.paper,
    }


def _equation(function: Callable[..., Any]) -> str:
    lines = (inspect.getdoc(function) or "-").splitlines()
    return lines[0].removesuffix(".")


LISTED = ("algorithm", "compares", "needs", "hyperparameters", "default_of", "paper")


def _algorithms_by_family(rows: Sequence[Mapping[str, Any]]) -> str:
    """A block of lines for each family; the equations are in --json and in docs/algorithms.md."""
    lines = table(LISTED, [[row[k] for k in LISTED] for row in rows]).splitlines()
    out = lines[:1]
    for i, (row, line) in enumerate(zip(rows, lines[1:], strict=True)):
        if i == 0 or rows[i - 1]["family"] != row["family"]:
            out += ["", f"{row['family']}:"]
        out.append(line)
    return "\n".join(out)
