"""What a league is: suites with the learning rates that every algorithm may choose from, and who chooses on what."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.errors import UsageError, unknown
from tpobench.limits import load_toml, read_settings, toml_fault
from tpobench.planning.choice import Choice
from tpobench.planning.design import Design
from tpobench.planning.plan import PLAIN_KERNEL, Plan, plan_runs
from tpobench.scores.scalars import metric_names
from tpobench.suites.load import Suite, load_suite
from tpobench.suites.reading import KIND_NAMES

PACKAGED = Path(__file__).with_name("league.toml")
AXIS = "learning_rate"
MOST_SEEDS = 10_000
KEYS: dict[str, type] = {
    "title": str, "metric": str, "choosing": int, "scored": int, "event": list, "division": list,
    "breaking_point": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """A suite that is played at every learning rate of a grid, its own among them."""

    suite: Suite  # with the rates as an axis
    published: float  # the suite's own rate
    learning_rates: tuple[float, ...]


@dataclass(frozen=True)
class Division:
    """Events over which all are ranked that have played each of them."""

    name: str  # empty of a league that has one only
    suites: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Its name as files and anchors have it."""
        return _slug(self.name)


@dataclass(frozen=True)
class Sparsity:
    """A search for the breaking point of every algorithm, at the rates that it has in an event."""

    suite: Suite
    event: str

    def at(self, rate: float) -> Suite:
        """The suite at one learning rate."""
        return _at(self.suite, [rate])


@dataclass(frozen=True)
class League:
    """Events, and which seeds are for what: `choosing` for the learning rate, `scored` for the ranking."""

    title: str
    metric: str  # a scalar of every seed
    choosing: tuple[int, ...]
    scored: tuple[int, ...]
    events: tuple[Event, ...]
    divisions: tuple[Division, ...]
    sparsity: Sparsity | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """All of them."""
        return (*self.choosing, *self.scored)

    @property
    def suites(self) -> tuple[str, ...]:
        """The names of all suites of which it has runs."""
        return (*(event.suite.name for event in self.events), *([self.sparsity.suite.name] if self.sparsity else ()))

    def plans(self, algorithms: Sequence[str], device: str = "cpu", kernel: str = PLAIN_KERNEL) -> list[Plan]:
        """The runs of some algorithms in every event."""
        return [plan_runs(event.suite, algorithms, self.seeds, device, kernel=kernel) for event in self.events]

    def searches(
        self, rates: Mapping[str, Collection[float]], device: str = "cpu", kernel: str = PLAIN_KERNEL
    ) -> list[Design]:
        """The searches for breaking points, one for each learning rate that any of the algorithms has."""
        if self.sparsity is None:
            return []
        choice = Choice(seeds=self.scored)
        plans = [
            choice.plan(self.sparsity.at(rate), [n for n in rates if rate in rates[n]], device, kernel)
            for rate in sorted({rate for of in rates.values() for rate in of})
        ]
        return [choice.design(plan) for plan in plans]


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
    document = {"division": [], "breaking_point": {}, **document}
    _require_keys(document, KEYS, str(path))
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
        document["title"],
        document["metric"],
        tuple(range(first)),
        tuple(range(first, first + count)),
        events,
        _divisions(document["division"], names, path),
        _sparsity(document["breaking_point"], names, f"{path}: [breaking_point]"),
    )


def _divisions(raws: Sequence[Any], events: Sequence[str], path: Path) -> tuple[Division, ...]:
    """Those that are listed; one of all events where none is."""
    divisions = []
    for i, raw in enumerate(raws):
        where = f"{path}: division {i + 1}"
        _require_table(raw, {"name": str, "suites": list}, where, "[[division]]")
        for suite in raw["suites"]:
            if suite not in events:
                raise unknown("suite", suite, events, where)
        divisions.append(Division(raw["name"], tuple(n for n in events if n in raw["suites"])))
    names = [_slug(division.name) for division in divisions]
    if not all(names) or len(set(names)) < len(names) or not all(d.suites for d in divisions):
        msg = f"{path}: each [[division]] must have a name of its own, with letters or digits, and suites"
        raise UsageError(msg)
    return tuple(divisions) or (Division("", tuple(events)),)


def _sparsity(raw: Mapping[str, Any], events: Sequence[str], where: str) -> Sparsity | None:
    if not raw:
        return None
    raw = {"set": [], **raw}
    _require_keys(raw, {"suite": str, "event": str, "set": list}, where)
    suite = load_suite(raw["suite"], raw["set"])
    if suite.search is None or set(suite.grid) > {suite.search.axis} or suite.name in events:
        msg = f"{where}: suite '{suite.name}' must be none of the events, with a [search] and no [grid]"
        raise UsageError(msg)
    if raw["event"] not in events:
        raise unknown("event", raw["event"], events, where)
    return Sparsity(suite, raw["event"])


def _event(raw: Any, where: str) -> Event:
    if isinstance(raw, dict):
        raw = {"set": [], "scale": "paper", **raw}
    _require_table(raw, {"suite": str, "learning_rates": list, "set": list, "scale": str}, where, "[[event]]")
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
    return Event(_at(base, rates), published, tuple(rates))


def _at(suite: Suite, rates: Sequence[float]) -> Suite:
    """With the learning rate as an axis of the grid."""
    return dataclasses.replace(suite, grid={**suite.grid, AXIS: tuple(rates)})


def _slug(name: str) -> str:
    """A name as files and anchors have it."""
    return "-".join(re.findall("[a-z0-9]+", name.lower()))


def _require_table(raw: Any, types: dict[str, type], where: str, written: str) -> None:
    if not isinstance(raw, dict):
        msg = f"{where}: write it as {written}"
        raise UsageError(msg)
    _require_keys(raw, types, where)


def _require_keys(table: dict[str, Any], types: dict[str, type], where: str) -> None:
    for key in table:
        if key not in types:
            raise unknown("key", key, types, where)
    for key, kind in types.items():
        if type(table.get(key)) is not kind:
            msg = f"{where}: '{key}' must be {KIND_NAMES[kind]}" + (" and is missing" if key not in table else "")
            raise UsageError(msg)
