"""Suites at a scale: which runs an item needs, and which cells stand in for those of the paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tpobench.identity import canonical
from tpobench.paper.claim import RELATIVE, Pick
from tpobench.paper.items import Item, Part
from tpobench.planning.design import Fixed
from tpobench.planning.plan import PLAIN_KERNEL, Plan, RunSpec, Skipped, plan_runs
from tpobench.suites.load import Suite, Value
from tpobench.suites.model import HYPER


class NoSuchCell(Exception):
    """A cell that the suite does not have at this scale."""


def axes_of(suite: Suite) -> dict[str, tuple[Value, ...]]:
    """The grid by the names that records have."""
    return {axis.removeprefix(HYPER): values for axis, values in suite.grid.items()}


def picked(values: Sequence[Value], pick: Pick | None, where: str = "") -> tuple[Value, ...]:
    """The values of an axis that a pick names: of several those that there are, or all where there are none.

    Raises:
        NoSuchCell: a single value that is not among them.
    """
    if pick is None:
        return tuple(values)
    if isinstance(pick, tuple):
        return tuple(v for v in values if v in pick) or tuple(values)
    if pick in RELATIVE:
        ordered = sorted(values)
        if len(ordered) < 2:
            msg = f"{where} has one value at this scale, {ordered[0]}"
            raise NoSuchCell(msg)
        return (ordered[RELATIVE[str(pick)]],)
    if pick not in values:
        msg = f"{where}={pick} is no cell of this scale, which has {', '.join(map(str, values))}"
        raise NoSuchCell(msg)
    return (pick,)


def next_value(values: Sequence[Value], value: Value) -> Value | None:
    """The next larger value of an axis, None after the largest."""
    larger = sorted(v for v in values if v > value)  # type: ignore[operator]
    return larger[0] if larger else None


def plan_part(
    suite: Suite, part: Part, seeds: Sequence[int] | None, device: str = "cpu", kernel: str = PLAIN_KERNEL
) -> Plan:
    """The runs of a part, as far as the suite has its algorithms at this scale."""
    algorithms = [name for name in part.algorithms or suite.algorithms if name in suite.algorithms]
    grid = {axis: picked(values, part.cells.get(axis.removeprefix(HYPER)), axis) for axis, values in suite.grid.items()}
    return plan_runs(dataclasses.replace(suite, grid=grid), algorithms, seeds, device, kernel=kernel)


def plan_items(
    items: Iterable[Item],
    suites: Mapping[str, Suite],
    seeds: Sequence[int] | None,
    device: str = "cpu",
    kernel: str = PLAIN_KERNEL,
) -> dict[str, Plan]:
    """One plan per suite with the runs of all items, in the order of the first item that needs it.

    Runs are in the order of the suite's own plan, seeds first, so that a plan cut short is balanced.
    """
    specs: dict[str, dict[str, RunSpec]] = {}
    skipped: dict[str, dict[str, Skipped]] = {}
    for part in (p for item in items for p in item.parts if p.suite in suites):
        plan = plan_part(suites[part.suite], part, seeds, device, kernel)
        specs.setdefault(part.suite, {}).update({s.run_id: s for s in plan.specs})
        skipped.setdefault(part.suite, {}).update({s.spec.run_id: s for s in plan.skipped})
    return {
        name: Plan(suites[name], tuple(_in_order(by_id.values(), suites[name])), tuple(skipped[name].values()))
        for name, by_id in specs.items()
    }


def _in_order(specs: Iterable[RunSpec], suite: Suite) -> list[RunSpec]:
    cells = {canonical(dict(cell.axes)): i for i, cell in reversed(list(enumerate(suite.cells)))}
    places = {name: i for i, name in enumerate(suite.algorithms)}
    return sorted(specs, key=lambda s: (s.seed, cells[canonical(dict(s.cell))], places.get(s.algorithm, len(places))))


@dataclass(frozen=True)
class Cost:
    """Runs of a plan and what they take, as far as the suites say."""

    runs: int
    cpu_s: float | None


def cost_of(plans: Iterable[Plan]) -> Cost:
    """Of all runs of the plans, none of them done."""
    from tpobench.execution.due import Options, forecast  # noqa: PLC0415 - one-way imports at the top
    from tpobench.execution.estimate import total  # noqa: PLC0415 - as above

    costs = [forecast(Fixed(plan).replay({}), {}, Options()) for plan in plans]
    return Cost(sum(c.most_runs for c in costs), total([c.most_cpu_s for c in costs]))
