"""What engines logged -> records: a run's settings are in tpobench.json, its measurements in the .jsonl beside it.

A line is {"step": g, "data": {name: number}}, as verl's file logger writes them and TRL's runs here do.  A later line
of a step replaces an earlier one, so that a run may have gone on from a checkpoint.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.errors import CorruptResults, UsageError, unknown
from tpobench.execution.assemble import significant
from tpobench.identity import spec_id
from tpobench.limits import load_json
from tpobench.printable import brief
from tpobench.recipes.model import Engine
from tpobench.recipes.recipe import ENGINES, SCHEMA, SIDECAR
from tpobench.records.shapes import AXES, REPORTING, SPEC, Table, number, text, whole
from tpobench.records.store import RunRecord
from tpobench.tasks.catalog import recorded_metrics
from tpobench.tasks.settings import INITIAL_SUCCESS, PROMPTS, TOKENS

SHAPE = Table(
    needs={
        "schema": whole(1), "id": text, "spec": SPEC, "reporting": REPORTING[True],
        "suite": lambda value: type(value) is dict, "stop": text,
    }
)  # fmt: skip
COMPLEMENTS = ("error", "informative")  # 1 - what is logged
LINE = Table(needs={"step": whole(), "data": Table()}, may={"made": Table()})
Steps = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """A run of a recipe: its folder, its settings, and who trains it."""

    folder: Path
    document: Mapping[str, Any]
    engine: Engine

    @property
    def spec(self) -> Mapping[str, Any]:
        """What is trained."""
        spec: Mapping[str, Any] = self.document["spec"]
        return spec

    @property
    def logs(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("*.jsonl"))


def runs_in(folder: Path) -> list[Run]:
    """The runs of a recipe, or of several, below a folder.

    Raises:
        UsageError: there are none, or the settings of one are no such settings.
        CorruptResults: they are of a newer tpobench, or were changed.
    """
    sidecars = sorted(folder.rglob(SIDECAR))
    if not sidecars:
        msg = f"{folder} holds no {SIDECAR}, so no run of a recipe; name the folder that `tpobench recipe` wrote"
        raise UsageError(msg)
    return [_run(path) for path in sidecars]


def _run(path: Path) -> Run:
    try:
        document = load_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}; `tpobench recipe` writes it anew"
        raise UsageError(msg) from error
    if isinstance(document, dict) and type(document.get("schema")) is int and document["schema"] > SCHEMA:
        msg = f"{path} has schema {document['schema']}, this tpobench reads up to {SCHEMA}; upgrade tpobench"
        raise CorruptResults(msg)
    if fault := SHAPE.fault(document):
        msg = f"{path} holds no settings of a run: {fault}; `tpobench recipe` writes it anew"
        raise UsageError(msg)
    if document["id"] != spec_id(document["spec"]):
        msg = (
            f"{path} was changed: the id of its settings is {spec_id(document['spec'])}, not {brief(document['id'])}; "
            "other settings are another run: write its recipe with `tpobench recipe ... --set KEY=VALUE`"
        )
        raise CorruptResults(msg)
    name = str(document["spec"].get("engine"))
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES, str(path))
    return Run(path.parent, document, ENGINES[name])


def record_of(run: Run) -> RunRecord | None:
    """What is known of a run by now; one that has not ended is `failed`, with a reason.  None where nothing is logged.

    What is measured of a batch stands at the number of updates before it, as in runs here.
    """
    try:
        lines = list(_lines(run.logs))
    except ValueError as error:
        return _record(run, "failed", str(error), {}, {})
    if not lines:
        return None
    made: dict[str, Any] = next((line["made"] for line in lines if "made" in line), {})
    logged: dict[int, dict[str, Any]] = defaultdict(dict)
    for line in lines:
        logged[line["step"]].update(line["data"])
    steps = int(run.spec["training"]["steps"])
    points = _points(run, logged)
    lost = _lost(run, logged)
    trained = max((g for g in logged if run.engine.loss in logged[g]), default=0) // int(run.spec["training"]["epochs"])
    if lost is not None:
        return _record(run, "diverged", f"not finite at step {lost}", points, made, lost=lost)
    if trained < steps:
        return _record(run, "failed", f"the log ends after update {trained} of {steps}", {}, made)
    if points.get(steps, {}).get("error") is None:
        return _record(run, "failed", f"the log has no evaluation after update {steps}", {}, made)
    seconds = [data[run.engine.seconds] for data in logged.values() if run.engine.seconds in data]
    return _record(run, "ok", "", points, made, seconds=sum(seconds))


def _lines(logs: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The lines of the logs; the last of a file may be half written.

    Raises:
        ValueError: another one is none.
    """
    for log in logs:
        lines = log.read_bytes().split(b"\n")
        for i, line in enumerate(lines, 1):
            try:
                value = load_json(line.decode()) if line.strip() else None
            except ValueError as error:
                if i == len(lines):
                    break
                msg = f"{log.name} line {i} is no JSON: {error}"
                raise ValueError(msg) from error
            if value is not None:
                if fault := LINE.fault(value):
                    msg = f"{log.name} line {i} is no line of a log: {fault}"
                    raise ValueError(msg)
                yield value


def _points(run: Run, logged: Steps) -> dict[int, dict[str, float | None]]:
    """The measurements by the number of updates before them."""
    training, task = run.spec["training"], run.spec["task"]
    steps, epochs, every = (int(training[key]) for key in ("steps", "epochs", "record_every"))
    batch, evaluation = (
        {metric: names[metric].format(**task) for metric in recorded_metrics(task, diagnostics=True) if metric in names}
        for names in (run.engine.batch, run.engine.evaluation)
    )
    points: dict[int, dict[str, float | None]] = {step: {} for step in range(steps + 1)}
    for g, data in logged.items():
        for names, updates in ((evaluation, g), (batch, g - 1)):
            step, epoch = divmod(updates, epochs)
            if epoch == 0 and step in points:
                points[step] |= {metric: _value(metric, data[name]) for metric, name in names.items() if name in data}
    tokens: float | None = 0.0
    for step, point in points.items():
        point |= {PROMPTS.name: float(step * task["prompts"]), TOKENS.name: tokens}
        length = point.get("length")
        tokens = None if tokens is None or length is None else tokens + length * task["prompts"] * task["candidates"]
    return {step: point for step, point in points.items() if step % every == 0 or step == steps}


def _value(metric: str, logged: Any) -> float | None:
    value = logged if number(logged) else math.nan
    return significant(1 - value if metric in COMPLEMENTS else value)


def _lost(run: Run, logged: Steps) -> int | None:
    """The first update from which on no loss was finite; None where the last one was."""
    losses = [(g, data[run.engine.loss]) for g, data in sorted(logged.items()) if run.engine.loss in data]
    finite = max((i for i, (_, loss) in enumerate(losses) if loss is not None), default=-1)
    return None if finite + 1 == len(losses) else (losses[finite + 1][0] - 1) // int(run.spec["training"]["epochs"])


def _record(
    run: Run, status: str, reason: str, points: Mapping[int, Mapping[str, float | None]], made: Mapping[str, Any], *,
    lost: int | None = None, seconds: float = 0.0,
) -> RunRecord:  # fmt: skip
    task, epochs = run.spec["task"], int(run.spec["training"]["epochs"])
    steps = [step for step in points if lost is None or step <= lost]
    metrics = {run.document["reporting"]["metric"]}.union(*(points[step] for step in steps))
    curve: dict[str, list[Any]] = {
        "step": steps,
        "interactions": [step * task["prompts"] * task["candidates"] for step in steps],
        "gradient_steps": [step * epochs for step in steps],
        **{metric: [points[step].get(metric) for step in steps] for metric in sorted(metrics)},
    }
    start = points.get(0, {}).get("error")
    return RunRecord(
        id=str(run.document["id"]),
        spec=run.spec,
        status=status,
        reason=reason,
        facts={} if start is None else {INITIAL_SUCCESS.name: significant(1 - start)},
        curve=curve if steps else {},
        counts={axis: curve[axis][-1] for axis in AXES[1:]} if steps else {},
        first_nonfinite_step=lost,
        reporting=run.document["reporting"],
        cost={"wall_s": round(seconds, 3)} if seconds else {},
        provenance={"seed_scheme": run.engine.seed_scheme, **made, "imported": run.engine.name},
    )
