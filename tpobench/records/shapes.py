"""What every field of a record, a log and a plan holds, nested ones included, so that no reader meets anything else.

Fields of later versions, which the tables do not name, may hold what `plain` lets through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from operator import le, lt
from reprlib import repr as shown
from typing import Any

from tpobench.limits import LARGEST, LONGEST, bounds_of, field_types, require_plain
from tpobench.printable import brief
from tpobench.suites.model import DIRECTIONS, MOST_POINTS
from tpobench.suites.search import Search
from tpobench.tasks.catalog import declared
from tpobench.tasks.settings import TaskSettings

AXES = ("step", "interactions", "gradient_steps")
# Names that reports build the names of their figures from: never a way out of a folder.
NAME = re.compile(r"(?!\.)[^/\\:\0-\x1f]{1,100}")
MOST = 2**53  # of a count: what a float holds exactly

Check = Callable[[Any], bool]


def whole(low: int = 0, high: int = MOST) -> Check:
    """An integer within bounds; true and false are none."""
    return lambda value: type(value) is int and low <= value <= high


def number(value: Any) -> bool:
    """A number of a size that every reader can take."""
    return type(value) in {int, float} and -LARGEST <= value <= LARGEST


def text(value: Any) -> bool:
    """A text of a length that a table can show."""
    return type(value) is str and len(value) <= LONGEST


def name(value: Any) -> bool:
    """A text that can be part of a file name."""
    return type(value) is str and NAME.fullmatch(value) is not None


def scalar(value: Any) -> bool:
    """A text, a number, or true or false."""
    return type(value) is bool or text(value) or number(value)


def plain(value: Any) -> bool:
    """Anything, of a size that everything can take."""
    if scalar(value) or value is None:
        return True
    try:
        require_plain(value)
    except ValueError:
        return False
    return True


def optional(check: Check) -> Check:
    """The same, or null."""
    return lambda value: value is None or check(value)


def listed(check: Check) -> Check:
    """A list of such values."""
    return lambda value: type(value) is list and all(map(check, value))


@dataclass(frozen=True)
class Table:
    """Fields that must be there, fields that may, and what keys and values all others have."""

    needs: Mapping[str, Check | Table] = field(default_factory=dict)
    may: Mapping[str, Check | Table] = field(default_factory=dict)
    keys: Check = text
    others: Check = plain

    def holds(self, value: Any) -> bool:
        """Whether a value is such a table."""
        return not self.fault(value)

    def fault(self, value: Any, path: str = "") -> str:
        """The first field that is not what it must be, empty where there is none."""
        if type(value) is not dict:
            return f"{path or 'it'} is {shown(value)}"
        for key in self.needs:
            if key not in value:
                return f"{path}{'.' if path else ''}{key} is missing"
        known = self.known
        for key, inner in value.items():
            check = known.get(key)
            if isinstance(check, Table):
                if fault := check.fault(inner, f"{path}.{key}" if path else key):
                    return fault
            elif not (check(inner) if check else self.others(inner) and self.keys(key)):
                return f"{brief(f'{path}.{key}' if path else key)} is {shown(inner)}"
        return ""

    @cached_property
    def known(self) -> Mapping[str, Check | Table]:
        """What the fields of a known name hold."""
        return {**self.may, **self.needs}


def _search(value: Any) -> bool:
    if type(value) is not dict or not all(map(scalar, value.values())):
        return False
    return _is_search(tuple(sorted(value.items())))


@cache
def _is_search(items: tuple[tuple[str, Any], ...]) -> bool:
    try:
        Search(**dict(items))
    except (TypeError, ValueError):
        return False
    return True


class _Task(Table):
    """A kind, and its settings by their types: a record may lack some, and have others."""

    def fault(self, value: Any, path: str = "") -> str:
        """The first setting that is not what it must be."""
        return _settings(declared(value) if type(value) is dict else None).fault(value, path)


@cache
def _settings(task: type[TaskSettings] | None) -> Table:
    """The settings of a kind, with those that say what a step draws; of one that is not known here, anything plain."""
    if task is None:
        return Table(needs={"kind": name}, others=scalar)
    least = {key: math.ceil(bounds.low) for key, bounds in bounds_of(task)}
    checks: dict[Any, Check] = {float: number, str: text, bool: lambda value: type(value) is bool}
    checked = {
        key: whole(least.get(key, -MOST)) if hint is int else checks.get(hint, scalar)
        for key, hint in field_types(task).items()
    }
    return Table({"kind": name, **{k: checked[k] for k in task.counted}}, checked, others=scalar)


SEED = whole(0, 2**31 - 1)
SPEC = Table(
    needs={
        "suite": name,
        "suite_version": whole(1),
        "cell": Table(keys=name, others=scalar),
        "matching": name,
        "task": _Task(),
        "training": Table(
            needs={"steps": whole(1)},
            may={"epochs": whole(1), "record_every": whole(1), "learning_rate": number, "optimizer": text},
            others=scalar,
        ),
        "algorithm": name,
        "seed": SEED,
    },
    may={
        "algorithm_version": text, "hyper": Table(others=scalar), "seed_batch": whole(1, 10**5), "threads": whole(1),
        "device": text, "dtype": text, "schema": whole(1), "task_version": text, "kernel": text,
        "engine": text,
    },
)  # fmt: skip
SCORED: dict[str, Check | Table] = {"metric": name, "window": whole(1), "thresholds": listed(number), "worst": number}
REPORTED: dict[str, Check | Table] = {
    "persist": whole(1), "solved": number, "title": text, "search": optional(_search),
    "better": lambda value: value in DIRECTIONS, "best": number,
}  # fmt: skip
ORIGIN = dict.fromkeys(
    ("tpobench", "git", "torch", "numpy", "python", "platform", "cpu", "threads", "device", "seed_scheme",
     "kernel", "started_utc"), optional(scalar),
)  # fmt: skip
COMPLETION = Table(
    needs={
        "step": whole(), "question": text, "answer": text, "greedy": text, "sampled": text, "greedy_reward": number,
        "sampled_reward": number,
    }
)  # fmt: skip
OWN = Table(  # what each run has for itself
    needs={
        "id": text,
        "reason": text,
        "facts": Table(keys=name, others=optional(number)),
        "curve": lambda value: type(value) is dict,
        "counts": Table(others=whole()),
        "first_nonfinite_step": optional(whole()),
        "attempts": whole(1),
        "cost": Table(may={"wall_s": number, "cpu_s": number, "peak_rss_mb": number}),
        "provenance": Table(may=ORIGIN),
    },
    may={"completions": listed(COMPLETION.holds)},
)
SHARED = Table(  # what those of an arm have in common, but for the seed and how they ended
    needs={"reporting": lambda value: type(value) is dict, "schema": whole(1), "spec": SPEC, "status": text}
)
RECORD = Table(needs={**OWN.needs, **SHARED.needs}, may=OWN.may)
REPORTING = {True: Table(needs=SCORED, may=REPORTED), False: Table(may={**SCORED, **REPORTED})}  # of a result or not
LOG_ENTRY = Table(
    may={
        "date": text, "who": text, "reason": text, "runs": whole(), "sha256": text, "means": Table(others=number),
        "added": listed(text), "removed": listed(text), "changed": Table(others=listed(optional(number))),
    }
)  # fmt: skip
BASELINE_LOG = Table(
    needs={"schema": whole(1), "sha256": text, "screen": text, "reserve": text, "log": listed(LOG_ENTRY.holds)}
)
PLANNED_CELL = Table(
    needs={
        "cell": Table(keys=name, others=scalar), "matching": text, "algorithms": listed(name), "paths": whole(1, 10**8),
    }
)  # fmt: skip
SEED_PLAN = Table(
    needs={"schema": whole(), "text": text, "seeds": text},
    may={
        "per_look": whole(1, 1000), "looks": whole(1, 1000), "alpha": number, "rng": whole(), "suite": text,
        "metric": text, "cells": listed(PLANNED_CELL.holds),
    },
)  # fmt: skip


def fault_of(raw: Mapping[str, Any], *, result: bool) -> str:
    """What makes a decoded record none, empty for a sound one; a `result` has a curve and says how it is scored."""
    return (
        RECORD.fault(raw) or REPORTING[result].fault(raw["reporting"], "reporting") or fault_of_run(raw, result=result)
    )


def fault_of_run(raw: Mapping[str, Any], *, result: bool) -> str:
    """The same of the curve, and of what goes with it, where all fields are what they must be."""
    return _fault_of_curve(raw["curve"]) or (_fault_of_result(raw) if result else "")


def _fault_of_curve(curve: Mapping[str, Any]) -> str:
    """Columns of one length: integers that do not fall on the axes, steps that rise, numbers or null elsewhere."""
    lengths = set()
    for key, column in curve.items():
        if not _name(key) or type(column) is not list:
            return f"curve.{brief(key)} is {shown(column)}"
        lengths.add(len(column))
        if not (_is_axis if key in AXES else _is_metric)(key, column):
            return f"curve.{brief(key)} is no column of {'integers that rise' if key in AXES else 'numbers'}"
    return "the columns of curve differ in length" if len(lengths) > 1 else ""


_name = lru_cache(2**10)(name)  # of few metrics


def _is_axis(key: str, column: list[Any]) -> bool:
    return set(map(type, column)) <= {int} and _rises(tuple(column), strictly=key == "step")


def _is_metric(_: str, column: list[Any]) -> bool:
    kinds = set(map(type, column))
    return kinds <= {int, float, type(None)} and _bounded(column, gaps=type(None) in kinds)


@lru_cache(2**12)  # axes that many runs have
def _rises(column: tuple[int, ...], *, strictly: bool) -> bool:
    if not column:
        return True
    return column[0] >= 0 and column[-1] <= MOST and all(map(lt if strictly else le, column, column[1:]))


def _bounded(column: list[Any], *, gaps: bool) -> bool:
    try:
        norm: float = math.hypot(*([v for v in column if v is not None] if gaps else column))
        return norm <= LARGEST * math.sqrt(MOST_POINTS)
    except OverflowError:  # an integer that no float holds
        return False


def _fault_of_result(raw: Mapping[str, Any]) -> str:
    """What a result must have beside what every record has."""
    reporting, curve, cell = raw["reporting"], raw["curve"], raw["spec"]["cell"]
    for key in (*AXES, reporting["metric"]):
        if not curve.get(key):
            return f"curve.{key} is {'empty' if key in curve else 'missing'}"
    axis = (reporting.get("search") or {}).get("axis")
    return f"spec.cell.{axis} is {shown(cell[axis])}" if axis in cell and type(cell[axis]) is not int else ""
