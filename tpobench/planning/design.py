"""Which runs of a suite are made, and in which rounds: what every way of choosing them has in common.

    Fixed    all runs of all seeds, at once
    Looks    adaptive seeds: look after look, until every pair of algorithms is decided
    Levels   a search: level after level, towards the breaking point of every algorithm

`check` has one more, `check.design.Gate`: a screen, then the reserve seeds of what it flags.  A state is always
replayed from the records, so an interrupted command goes on along the same path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from tpobench.errors import UsageError
from tpobench.planning.plan import Plan, RunSpec
from tpobench.records.store import FINISHED, RunRecord, Store, read_plan

Known = Mapping[str, RunRecord]  # by id
Cost = Callable[[Sequence[RunSpec]], float]  # of some runs, in any unit that adds up


@dataclass(frozen=True)
class Round:
    """Runs that are made before anything is chosen by what became of them; a plan for each suite."""

    plans: tuple[Plan, ...]
    title: str = ""  # of its progress: look 2
    note: str = ""  # what people are told before it begins


class Rounds(Protocol):
    """How far some runs have come."""

    def next(self, tried: Collection[str]) -> Round | None:
        """The runs that come next, None where none can.

        tried: ids of the runs that were made already and wait, if they have no result, for the next command.
        """

    def progress(self, before: Self, number: int) -> str:
        """What the `number`-th round brought, for people; empty where that is no news."""


class State(Rounds, Protocol):
    """How far the runs of a suite have come."""

    @property
    def runs(self) -> Plan:
        """All runs that have been chosen so far, made or not."""

    @property
    def waiting(self) -> tuple[Plan, ...]:
        """Of each part of the design that is not over, the runs that it needs next."""

    def bounds(self, cost: Cost) -> tuple[float, float]:
        """What there still is to do at least and at most."""

    def rows(self) -> list[dict[str, Any]]:
        """A row for every part, with what is known of it."""


class Design(Protocol):
    """How the runs of a suite are chosen."""

    @property
    def plan(self) -> Plan:
        """The suite, what it cannot run, and the runs that are certain to be among its own."""

    def require(self, store: Store, *, sharded: bool) -> None:
        """Refuse a folder, or a part of the work, in which the runs could not be chosen so.  Writes nothing."""

    def begin(self, store: Store) -> str:
        """Write what has to be there before the first record; what people are told of it."""

    def replay(self, known: Known) -> State:
        """The state after these records."""


@dataclass(frozen=True)
class Fixed:
    """All runs of a plan, at once."""

    plan: Plan

    def require(self, store: Store, *, sharded: bool) -> None:  # noqa: ARG002 - any part of the work will do
        """The folder follows no plan of looks.

        Raises:
            UsageError: it does.
        """
        require_no_plan(store.folder)

    def begin(self, store: Store) -> str:  # noqa: ARG002 - nothing is needed
        """Nothing."""
        return ""

    def replay(self, known: Known) -> FixedState:
        """The state after these records."""
        return FixedState(self.plan, known)


@dataclass(frozen=True)
class FixedState:
    """How far the runs of a plan have come."""

    runs: Plan
    known: Known

    def next(self, tried: Collection[str]) -> Round | None:
        """All of them, those with a result too: the engine holds the new ones against them."""
        return None if tried else Round((self.runs,))

    @property
    def waiting(self) -> tuple[Plan, ...]:
        """The runs without a result."""
        left = tuple(s for s in self.runs.specs if not finished(s, self.known))
        return (dataclasses.replace(self.runs, specs=left),) if left else ()

    def bounds(self, cost: Cost) -> tuple[float, float]:
        """All of them."""
        return (all_runs := cost(self.runs.specs)), all_runs

    def progress(self, before: Self, number: int) -> str:  # noqa: ARG002 - there is one round
        """There is one round."""
        return ""

    def rows(self) -> list[dict[str, Any]]:
        """Nothing is decided."""
        return []


def finished(spec: RunSpec, known: Known) -> bool:
    """Whether a run has a result."""
    return spec.run_id in known and known[spec.run_id].status in FINISHED


def all_tried(runs: Iterable[RunSpec], tried: Collection[str]) -> bool:
    """Whether each of these runs was made before, so that a part which still lacks some must wait."""
    return all(spec.run_id in tried for spec in runs)


def require_no_plan(folder: Path) -> None:
    """Seeds outside a recorded plan would be seeds added after looking.

    Raises:
        UsageError: the folder follows a plan.
    """
    existing = read_plan(folder)
    if existing is not None:
        msg = (
            f"{folder} follows the plan {existing['seeds']}; go on with --seeds {existing['seeds']}, or keep other "
            "runs apart with --name NAME"
        )
        raise UsageError(msg)
