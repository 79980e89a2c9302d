"""What a league is: suites with the learning rates that every algorithm may choose from, and who chooses on what."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.errors import UsageError, unknown
from tpobench.limits import load_toml, read_settings, toml_fault
from tpobench.planning.plan import PLAIN_KERNEL, Plan, plan_runs
from tpobench.scores.scalars import metric_names
from tpobench.suites.load import Suite, load_suite
from tpobench.suites.reading import KIND_NAMES

PACKAGED = Path(__file__).with_name("league.toml")
AXIS = "learning_rate"
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Event:
    """A suite that is played at every learning rate of a grid, its own among them."""

    suite: Suite  # with the rates as an axis
    published: float  # the suite's own rate
    learning_rates: tuple[float, ...]


@dataclass(frozen=True)
class League:
    """Events, and which seeds are for what: `choosing` for the learning rate, `scored` for the ranking."""

    title: str
    metric: str  # a scalar of every seed
    choosing: tuple[int, ...]
    scored: tuple[int, ...]
    events: tuple[Event, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All of them."""
        return (*self.choosing, *self.scored)

    def plans(self, algorithms: Sequence[str], device: str = "cpu", kernel: str = PLAIN_KERNEL) -> list[Plan]:
        """The runs of some algorithms in every event."""
        return [plan_runs(event.suite, algorithms, self.seeds, device, kernel=kernel) for event in self.events]


def load_league(path: Path = PACKAGED) -> League:
    """The league of a TOML file.

    Raises:
        UsageError: it cannot be read, or a key or value is not valid.
    """
    try:
        document = load_toml(read_settings(path))
    except (OSError, ValueError) as error:
        msg = f"{path}: {toml_fault(error)}"
        raise UsageError(msg) from error
    _require_keys(document, {"title": str, "metric": str, "choosing": int, "scored": int, "event": list}, str(path))
    if document["metric"] not in metric_names("mean"):
        raise unknown("metric", document["metric"], metric_names("mean"))
    first, count = document["choosing"], document["scored"]
    if not (1 <= first <= MOST_SEEDS and 2 <= count <= MOST_SEEDS):
        msg = f"{path}: choosing must be at least 1 and scored at least 2 seeds, at most {MOST_SEEDS:,}"
        raise UsageError(msg)
    events = tuple(_event(raw, f"{path}: event {i + 1}") for i, raw in enumerate(document["event"]))
    names = [event.suite.name for event in events]
    if not events or len(set(names)) < len(names):
        msg = f"{path}: it must have at least one [[event]], each of another suite"
        raise UsageError(msg)
    return League(
        document["title"], document["metric"], tuple(range(first)), tuple(range(first, first + count)), events
    )


def _event(raw: Any, where: str) -> Event:
    if not isinstance(raw, dict):
        msg = f"{where}: write it as [[event]]"
        raise UsageError(msg)
    raw = {"set": [], "scale": "paper", **raw}
    _require_keys(raw, {"suite": str, "learning_rates": list, "set": list, "scale": str}, where)
    rates = raw["learning_rates"]
    if not rates or not all(type(r) in {int, float} and 0 < r < math.inf for r in rates):
        msg = f"{where}: learning_rates must list positive numbers"
        raise UsageError(msg)
    rates = sorted(map(float, rates))
    base = load_suite(raw["suite"], raw["set"], scale=raw["scale"])
    if base.search is not None:
        msg = f"{where}: suite '{base.name}' searches for its levels; take one with a grid"
        raise UsageError(msg)
    published = base.training.learning_rate
    if published not in rates:
        msg = f"{where}: learning_rates must hold {published:g}, the suite's own, at which algorithms are as published"
        raise UsageError(msg)
    return Event(dataclasses.replace(base, grid={**base.grid, AXIS: tuple(rates)}), published, tuple(rates))


def _require_keys(table: dict[str, Any], types: dict[str, type], where: str) -> None:
    for key in table:
        if key not in types:
            raise unknown("key", key, types, where)
    for key, kind in types.items():
        if type(table.get(key)) is not kind:
            msg = f"{where}: '{key}' must be {KIND_NAMES[kind]}" + (" and is missing" if key not in table else "")
            raise UsageError(msg)
