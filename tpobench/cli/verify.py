"""`verify`: finished runs, trained again."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import (
    DataDirOption,
    JsonOption,
    PathArgument,
    PluginOption,
    answer,
    answer_lines,
    app,
    cell_text,
    say,
)
from tpobench.errors import CorruptResults, NothingToDo
from tpobench.planning.datasets import paths_of
from tpobench.plugins.load import load_plugins
from tpobench.printable import printable
from tpobench.records.results import load_results

if TYPE_CHECKING:
    from tpobench.execution.verify import Verification


@app.command("verify")
def verify_(
    *,
    path: PathArgument = Path("results"),
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many finished runs to train again.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw: others take other runs.")] = 0,
    plugin: PluginOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a few finished runs again, and compare every number.  They are drawn at random.

    $ tpobench verify results/sparse --runs 3
    """
    from tpobench.execution.isolate import train_isolated
    from tpobench.execution.job import Message, plugins_for
    from tpobench.execution.slots import SlotPool
    from tpobench.execution.verify import IMPOSSIBLE, choose, verify
    from tpobench.planning.devices import probe

    chosen = choose(load_results(path).records, runs, seed)
    if not chosen:
        msg = f"no run in {path} has a result to verify; see: tpobench status {path}"
        raise NothingToDo(msg)
    paths = paths_of((r.spec["task"] for r in chosen), data_dir)
    say(f"training {len(chosen)} runs again")
    specs = [r.spec for r in chosen]
    loaded = load_plugins(
        plugin or [], algorithms={s["algorithm"] for s in specs}, kinds={str(s["task"]["kind"]) for s in specs}
    )
    with SlotPool(size=1) as pool:
        verdicts = verify(
            chosen,
            lambda job, reporting: train_isolated(pool, Message(job, reporting, plugins_for(job, loaded), paths)),
            lambda device: device == "cpu" or bool(probe().devices),
        )
    if as_json:
        answer(json.dumps({"runs": [_verdict(v) for v in verdicts]}))
    else:
        answer_lines([_outcome(verdicts), *map(_line, verdicts)])
    _conclude(verdicts)
    if all(v.outcome == IMPOSSIBLE for v in verdicts):
        msg = f"none of the {len(verdicts)} runs drawn can be verified here; --seed draws others"
        raise NothingToDo(msg)


def _outcome(verdicts: Sequence[Verification]) -> str:
    """`3 runs drawn: 2 identical, 1 differs`: identical is every number, to the last digit."""
    counts = [f"{n} {outcome}" for outcome, n in Counter(v.outcome for v in verdicts).items()]
    return f"{len(verdicts)} run{'s' * (len(verdicts) != 1)} drawn: {', '.join(counts)}"


def _line(verdict: Verification) -> str:
    r = verdict.record
    where = " ".join(t for t in (r.spec["suite"], r.spec["algorithm"], cell_text(r.spec["cell"])) if t != "-")
    text = f": {verdict.text}" if verdict.text else ""
    return printable(f"{verdict.outcome}: {where} seed {r.spec['seed']} ({r.id}){text}")


def _verdict(verdict: Verification) -> dict[str, Any]:
    spec = verdict.record.spec
    return {
        "id": verdict.record.id,
        "suite": spec["suite"],
        "cell": spec["cell"],
        "algorithm": spec["algorithm"],
        "seed": spec["seed"],
        "outcome": verdict.outcome,
        "text": verdict.text,
        "difference": None if verdict.difference is None else vars(verdict.difference),
        "origin": {k: {"then": then, "now": now} for k, (then, now) in verdict.origin.items()},
    }


def _conclude(verdicts: Sequence[Verification]) -> None:
    from tpobench.execution.verify import DIFFERS

    bad = [v for v in verdicts if v.outcome == DIFFERS]
    if bad:
        msg = f"{len(bad)} of {len(verdicts)} runs differ from their records, the first: {bad[0].record.id}"
        raise CorruptResults(msg)
