"""What the file cannot say: which way is better, the ends of the scale, and how seeds belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from tpobench.audit.directions import lower_is_better
from tpobench.audit.layouts import NAMES
from tpobench.audit.numbers import NUMBER
from tpobench.errors import UsageError, unknown
from tpobench.stats.suite_level import Reference


@dataclass(frozen=True)
class Choices:
    """The options of an audit, as they were typed."""

    lower: bool = False
    higher: bool = False
    metric: str | None = None
    best: tuple[str, ...] = ()
    worst: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    window: int | None = None  # rows of the last window; None is a tenth of those of each run
    paired: bool = False


class TableChoices(TypedDict, total=False):
    """The same as arguments in Python, where numbers are numbers: `best={"pong": 21}`, `columns={"task": "env_id"}`."""

    lower: bool
    higher: bool
    best: float | Mapping[str, float]
    worst: float | Mapping[str, float]
    columns: Mapping[str, str | Sequence[str]]
    window: int
    paired: bool


def choices_of(metric: str | None, given: TableChoices) -> Choices:
    """As they would be typed.

    Raises:
        UsageError: an argument that there is not.
    """
    for name in given:
        if name not in TableChoices.__annotations__:
            raise unknown("argument", name, TableChoices.__annotations__)
    columns = given.get("columns", {})
    return Choices(
        lower=given.get("lower", False), higher=given.get("higher", False), metric=metric,
        best=_typed(given.get("best", {})), worst=_typed(given.get("worst", {})),
        columns=tuple(f"{role}={name if isinstance(name, str) else ','.join(name)}" for role, name in columns.items()),
        window=given.get("window"), paired=given.get("paired", False),
    )  # fmt: skip


def _typed(ends: float | Mapping[str, float]) -> tuple[str, ...]:
    if isinstance(ends, Mapping):
        return tuple(f"{task}={float(value)!r}" for task, value in ends.items())
    return (repr(float(ends)),)


@dataclass(frozen=True)
class Scale:
    """Which way is better, and the ends of each task's scale where they are known."""

    metric: str
    lower: bool
    best: Mapping[str, float]
    worst: Mapping[str, float]

    @property
    def sign(self) -> float:
        """Times this, lower is better."""
        return 1.0 if self.lower else -1.0

    def reference(self, task: str) -> Reference | None:
        """Both ends of a task, None where one is missing."""
        if task not in self.best or task not in self.worst:
            return None
        return Reference(worst=self.worst[task], best=self.best[task])


def columns_of(choices: Choices) -> dict[str, str]:
    """`--column algorithm=method` by role.

    Raises:
        UsageError: not NAME=COLUMN, or no such role.
    """
    columns = {}
    for text in choices.columns:
        role, equals, name = text.partition("=")
        if not equals or not name.strip():
            msg = f"--column {text}: write NAME=COLUMN, such as algorithm=method"
            raise UsageError(msg)
        if role.strip() not in NAMES:
            raise unknown("name", role.strip(), NAMES, f"--column {text}")
        columns[role.strip()] = name.strip()
    return columns


def scale_of(choices: Choices, column: str, tasks: Sequence[str]) -> Scale:
    """The scale of the values.

    Raises:
        UsageError: no direction, both directions, or ends that contradict it.
    """
    metric = choices.metric or column
    if choices.lower and choices.higher:
        msg = "--lower and --higher exclude each other"
        raise UsageError(msg)
    lower = lower_is_better(metric)
    if choices.lower or choices.higher:
        lower = choices.lower
    elif lower_is_better(column) not in {None, lower}:  # a loss that is printed as an accuracy
        lower = None
    if lower is None:
        msg = f"'{metric}' does not say for sure which way is better: add --lower or --higher"
        raise UsageError(msg)
    scale = Scale(metric, lower, _ends("best", choices.best, tasks), _ends("worst", choices.worst, tasks))
    for task in tasks:
        ends = scale.reference(task)
        if ends is not None and (ends.best - ends.worst) * scale.sign >= 0:
            way = "lower" if lower else "higher"
            msg = f"--best {ends.best:g} is not better than --worst {ends.worst:g} where {way} is better"
            raise UsageError(msg)
    return scale


def _ends(option: str, texts: Sequence[str], tasks: Sequence[str]) -> dict[str, float]:
    """`1.0` for all tasks, `pong=21` for one, which comes before what is said of all."""
    every: dict[str, float] = {}
    named: dict[str, float] = {}
    for text in texts:
        task, equals, number = text.rpartition("=")
        if not NUMBER.fullmatch(number.strip()) or not abs(float(number)) < float("inf"):
            msg = f"--{option} {text}: write a number, or TASK=NUMBER"
            raise UsageError(msg)
        if equals and task not in tasks:
            raise unknown("task", task, tasks, f"--{option} {text}")
        if equals:
            named[task] = float(number)
        else:
            every = dict.fromkeys(tasks, float(number))
    return every | named
