"""Measurements of a job -> one record per wanted seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tpobench.limits import LARGEST
from tpobench.planning.plan import Job, RunSpec
from tpobench.records.shapes import AXES
from tpobench.records.store import RunRecord
from tpobench.tasks.catalog import task_settings
from tpobench.tasks.settings import COMPLETIONS, NONFINITE_PART, OWN_PART, PARTS

if TYPE_CHECKING:
    from tpobench.training.loop import Measurement

DIGITS = 7  # significant digits kept of every measured number


def assemble(job: Job, measurements: Iterable[Measurement], reporting: dict[str, Any]) -> list[RunRecord]:
    """One record per wanted seed; a seed whose metrics stop being finite is `diverged` from that step on.

    Raises:
        ValueError: the trainer measured nothing.
    """
    rows = list(measurements)
    if not rows:
        msg = "the trainer measured nothing"
        raise ValueError(msg)
    parts = [row for row in rows if row.metric == NONFINITE_PART]
    written = [row for row in rows if row.metric == COMPLETIONS]
    rows = [row for row in rows if row.metric not in {NONFINITE_PART, COMPLETIONS}]
    facts = {fact.name for fact in task_settings(job.specs[0].task).facts}
    return [
        _record(spec, i, rows, facts, reporting, _culprit(parts, i), _completions(written, i))
        for spec, i in ((spec, job.position(spec)) for spec in job.specs)
    ]


def _culprit(parts: Iterable[Measurement], index: int) -> str:
    """`: its algorithm's credit ...` where the algorithm itself gave the first number that is not finite, else ''."""
    for row in parts:
        if part := PARTS[int(row.value[index])]:
            return f": {OWN_PART} {part} is not finite in update {row.step}"
    return ""


def _completions(written: Iterable[Measurement], index: int) -> tuple[dict[str, Any], ...]:
    return tuple({"step": row.step, **text} for row in written for text in row.value[index])


def _record(
    spec: RunSpec,
    index: int,
    rows: list[Measurement],
    facts: set[str],
    reporting: dict[str, Any],
    culprit: str,
    completions: tuple[dict[str, Any], ...],
) -> RunRecord:
    points: dict[int, dict[str, Any]] = defaultdict(dict)
    lost = [r.step for r in rows if not _measured(r.value[index])]
    nonfinite = min(lost, default=None)
    for row in rows:
        if row.metric in facts:
            continue
        point = points[row.step]
        if "step" not in point:
            point.update(step=row.step, interactions=row.interactions, gradient_steps=row.gradient_steps)
        value = row.value[index] if nonfinite is None or row.step <= nonfinite else math.nan
        point[row.metric] = significant(value)
    names = [*AXES, *sorted({k for p in points.values() for k in p} - set(AXES))]
    ordered = [points[step] for step in sorted(points)]
    final = max(rows, key=lambda r: (r.step, r.interactions, r.gradient_steps))
    counters = {counter.name for counter in task_settings(spec.task).counters}
    counted = {r.metric: int(r.value[index]) for r in rows if r.metric in counters and _measured(r.value[index])}
    return RunRecord(
        id=spec.run_id,
        spec=spec.as_dict(),
        status="ok" if nonfinite is None else "diverged",
        reason="" if nonfinite is None else f"not finite at step {nonfinite}{culprit}",
        facts={r.metric: significant(r.value[index]) for r in rows if r.metric in facts},
        curve={name: [point.get(name) for point in ordered] for name in names},
        counts={"interactions": final.interactions, "gradient_steps": final.gradient_steps, **counted},
        first_nonfinite_step=nonfinite,
        reporting=reporting,
        completions=completions,
    )


def significant(value: float) -> float | None:
    """`value` to 7 significant digits, None where it is not finite."""
    return float(f"{value:.{DIGITS}g}") if _measured(value) else None


def _measured(value: float) -> bool:
    """Finite, and of a size that a record may hold; nan is neither."""
    return abs(value) < LARGEST
