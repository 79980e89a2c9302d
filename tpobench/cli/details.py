"""`show algo` and `show run`: one algorithm, and one stored run, in full."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for algorithms

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import AnswerFormat, PluginOption, cell_text, show, spread
from tpobench.cli.browse import describe, equation, settings_blocks, show_app
from tpobench.errors import CorruptResults, NothingToDo, UsageError
from tpobench.plugins.load import load_plugins
from tpobench.printable import first_of
from tpobench.records.shapes import AXES
from tpobench.records.store import RunRecord, records_like, sources
from tpobench.suites.load import SUITES, load_suite, suite_names
from tpobench.tables.exports import flat
from tpobench.tables.model import Document, Table, table_of
from tpobench.units import duration

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm
    from tpobench.suites.load import Suite

MOST_IDS = 5  # that a line names
CREDIT_IS = {
    "advantage": "an advantage", "density": "a density", "target": "a target", "pairs": "a share of each pair",
}  # fmt: skip
COMPARES = {
    "nothing": "nothing: one draw in a context is enough", "candidates": "the candidates of a context, drawn or listed",
    "draws": "several draws in a context",
}  # fmt: skip


@show_app.command("algo")
@spread
def show_algo(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as tpo, tpo+icepop or loo-clipped.")],
    plugin: PluginOption = None,
    format_: AnswerFormat,
) -> None:
    """Show an algorithm: equations, hyperparameters, source, and the suites it fits.

    $ tpobench show algo tpo
    """
    from tpobench.algorithms.catalog import require_algorithm

    load_plugins(plugin or [], algorithms=[name])
    show(algorithm_document(require_algorithm(name)), format_.name)


def algorithm_document(algorithm: Algorithm, among: Sequence[Suite] | None = None) -> Document:
    """Its equations, hyperparameters and source, and the suites that it fits."""
    facts, hyper, suites = (
        _facts(algorithm),
        list(_hyperparameters(algorithm)),
        sorted(_suites(algorithm, usable_suites() if among is None else among), key=_fitting),
    )
    tables = [table_of(("", ""), [(k, v) for k, v in facts.items() if v != "-"], "algorithm")]
    for rows, title in ((hyper, "Hyperparameters"), (suites, "Suites")):
        if rows:
            tables.append(table_of(list(rows[0]), [list(row.values()) for row in rows], title.lower(), title))
    data = {"algorithm": algorithm.name, **facts, "hyperparameters": hyper, "suites": suites}
    return Document(f"Algorithm {algorithm.name}", tuple(tables), data)


def _facts(algorithm: Algorithm) -> dict[str, str]:
    """What it is, in words."""
    described, epochs = describe(algorithm), algorithm.max_epochs
    parts = {"contexts that count": algorithm.keep, "its own step": algorithm.step}
    parts |= {f"modifier {m.name}": f for m in algorithm.modifiers for f in m.functions.values()}
    return {
        **{k: described[k] for k in ("family", "credit", "fit")},
        **{part: equation(function) for part, function in parts.items() if function is not None},
        "credit is": CREDIT_IS[algorithm.credit_is],
        "candidates are": {"sequence": "whole answers", "token": "next tokens"}[algorithm.unit],
        "compares": COMPARES[algorithm.compares],
        "needs": described["needs"],
        "uses a batch for": "as many epochs as the suite says"
        if epochs is None
        else f"{epochs} epoch{'s' * (epochs > 1)} at most",
        "default of": described["default_of"],
        "source": algorithm.paper or "-",
    }


def _hyperparameters(algorithm: Algorithm) -> Iterator[dict[str, Any]]:
    """Each with its default and what it may be."""
    words = {bool: "true or false", str: "a text"}
    for name, value in algorithm.hyperparameters.items():
        within = algorithm.ranges.get(name)
        allowed = words.get(algorithm.kinds[name], "any number" if within is None else str(within))
        yield {"name": name, "default": "off" if value is None else value, "allowed": allowed}


def usable_suites() -> list[Suite]:
    """Every suite but those of a plug-in that are not valid: `list` says what is wrong with them."""
    suites = []
    for name in suite_names():
        try:
            suites.append(load_suite(name))
        except UsageError:
            if name not in SUITES:
                raise
    return suites


def _suites(algorithm: Algorithm, among: Sequence[Suite]) -> Iterator[dict[str, Any]]:
    """In how many of the cells of each suite the algorithm can be trained."""
    for suite in among:
        reasons = list(_obstacles(suite, algorithm))
        fits = sum(not reason for reason in reasons)
        shown = "all" if fits == len(reasons) else f"{fits} of {len(reasons)}" if fits else "none"
        default = "yes" if algorithm.name in suite.algorithms else "-"
        why = "; ".join(dict.fromkeys(filter(None, reasons))) or "-"
        yield {"suite": suite.name, "cells": shown, "by default": default, "what is in the way": why}


def _fitting(row: Mapping[str, str]) -> tuple[bool, bool, bool]:
    """Suites that train it by default first, those that cannot last."""
    return row["by default"] == "-", row["cells"] != "all", row["cells"] == "none"


def _obstacles(suite: Suite, algorithm: Algorithm) -> Iterator[str]:
    """Why it cannot be trained, cell by cell; empty where it can."""
    from tpobench.planning.plan import why_not

    lacking = [key for key in suite.swept if key not in algorithm.hyperparameters]
    for cell in suite.cells:
        yield f"has no {', '.join(lacking)}, which the grid sweeps" if lacking else why_not(cell, algorithm)


@show_app.command("run")
@spread
def show_run(
    *,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Its id, or as much of its beginning as no other id has.")],
    within: Annotated[Path, typer.Option("--in", help="A run directory, a folder of several, or a packed .jsonl.")] = (
        Path("results")
    ),
    format_: AnswerFormat,
) -> None:
    """Show one stored run: settings, status, reason, its curve's ends, cost.

    $ tpobench show run 3f9a --in results/sparse
    """
    where, record = _only(id_, within)
    suite, algorithm = record.spec["suite"], record.spec["algorithm"]
    tables = [table_of(("", ""), list(_outcome(record, where).items()), "run")]
    if record.curve:
        tables.append(_ends(record))
    settings = {k: v for k, v in record.spec.items() if k not in {"suite", "cell", "algorithm", "seed"}}
    records = tuple({"field": k, "value": v} for k, v in flat({**record.as_dict(), "curve": {}}).items())
    data = {"where": where, **record.as_dict()}
    title = f"Run {record.id}: {suite}, {algorithm}, seed {record.spec['seed']}"
    show(Document(title, (*tables, *settings_blocks(settings)), data, records), format_.name)


def _only(prefix: str, path: Path) -> tuple[str, RunRecord]:
    """The one run whose id begins so, and where it lies.

    Raises:
        UsageError: no id begins so, whatever runs there are, or the ids of several do.
        NothingToDo: there is no such run.
        CorruptResults: its record is damaged.
    """
    if not re.fullmatch("[0-9a-f]{1,16}", prefix):
        msg = f"'{prefix}' is no run's id; give one such as 067ff350be294430, or its beginning: records are named by it"
        raise UsageError(msg)
    runs, damages = records_like(path, prefix)
    if len(runs) == 1:
        return next(iter(runs.values()))
    if runs:
        ids = first_of(sorted(runs), MOST_IDS)
        msg = f"{len(runs)} runs in {path} have an id that begins with {prefix}; give more of it: {ids}"
        raise UsageError(msg)
    if damages:
        raise CorruptResults(str(damages[0]))
    among = "" if sources(path) else ", which holds no runs"
    msg = f"no run {prefix} in {path}{among}; --in FOLDER looks elsewhere"
    raise NothingToDo(msg)


def _outcome(record: RunRecord, where: str) -> dict[str, Any]:
    """What came of it and what it cost; what is empty is left out."""
    spec, cost = record.spec, record.cost
    seconds = {k: duration(cost[k]) for k in ("cpu_s", "wall_s") if cost.get(k) is not None}
    rows = {
        "run": record.id, "stored in": where, "suite": spec["suite"], "cell": cell_text(spec["cell"]),
        "algorithm": spec["algorithm"], "seed": spec["seed"], "status": record.status, "reason": record.reason,
        "attempts": record.attempts, "first step that is not finite": record.first_nonfinite_step,
        **record.facts, **{k.replace("_", " "): f"{v:,}" for k, v in record.counts.items()},
        "CPU time": seconds.get("cpu_s"), "wall time": seconds.get("wall_s"),
        "peak memory of its job, MB": cost.get("peak_rss_mb"), **record.provenance,
    }  # fmt: skip
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in rows.items() if v not in (None, "", {})}


def _ends(record: RunRecord) -> Table:
    """The first and the last point of every metric."""
    curve: Mapping[str, list[Any]] = record.curve
    metrics = [*(k for k in curve if k not in AXES), *(k for k in AXES if k in curve)]
    points = len(curve["step"])
    rows = [(k, curve[k][0], curve[k][-1]) for k in metrics if curve[k]]
    return table_of(("recorded", "first", "last"), rows, "curve", f"Curve of {points} points")
