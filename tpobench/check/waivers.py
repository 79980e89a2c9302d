"""Dated waivers: regressions that somebody accepts until a day, and that stay visible until they are gone.

[[waiver]]
suite = "ci"                  # may be left out
cell = "length=4"             # as the table of `check` names it; "-" for a suite without a grid
rule = "grpo"
measure = "final20"           # may be left out: both measures
until = 2027-01-31            # the last day on which it holds
reason = "known since #12, the fix waits for a release"
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpobench.check.evidence import GateCell
from tpobench.errors import UsageError, unknown
from tpobench.limits import load_toml, read_settings, toml_fault
from tpobench.printable import brief

NEEDED, OPTIONAL = ("cell", "rule", "until", "reason"), ("suite", "measure")


@dataclass(frozen=True)
class Waiver:
    """One accepted regression."""

    cell: str
    rule: str
    until: dt.date
    reason: str
    suite: str = ""
    measure: str = ""

    @property
    def text(self) -> str:
        """What it is about."""
        return " ".join(part for part in (self.suite, self.cell, self.rule, self.measure) if part not in {"", "-"})

    def holds(self, today: dt.date) -> bool:
        """Whether its last day is not over."""
        return today <= self.until

    def matches(self, cell: GateCell) -> bool:
        """Whether it is about a cell."""
        return (
            self.cell in {cell.arm.place, cell.arm.cell}
            and self.rule == cell.arm.algorithm
            and self.suite in {"", cell.arm.suite}
            and self.measure in {"", cell.measure}
        )


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a TOML file.

    Raises:
        UsageError: no such file, or not a list of waivers.
    """
    try:
        document = load_toml(read_settings(path))
    except (OSError, ValueError) as error:
        msg = f"--waivers {path}: {toml_fault(error)}"
        raise UsageError(msg) from error
    for key in document:
        if key != "waiver":
            raise unknown("key", key, ["waiver"], str(path))
    entries = document.get("waiver", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        msg = f"{path}: 'waiver' must be a list of tables, each written [[waiver]]"
        raise UsageError(msg)
    return tuple(_waiver(entry, f"{path} waiver {n}") for n, entry in enumerate(entries, 1))


def _waiver(entry: dict[str, Any], where: str) -> Waiver:
    for key in entry:
        if key not in {*NEEDED, *OPTIONAL}:
            raise unknown("key", key, [*NEEDED, *OPTIONAL], where)
    for key in NEEDED:
        if key not in entry:
            msg = f"{where}: '{key}' is missing; a waiver names {', '.join(NEEDED)}"
            raise UsageError(msg)
    until = entry["until"]
    if type(until) is not dt.date:
        msg = f"{where}: 'until' is {brief(repr(until))}; write a date without quotes, such as 2027-01-31"
        raise UsageError(msg)
    for key, value in entry.items():
        if key != "until" and (not isinstance(value, str) or not value.strip()):
            msg = f"{where}: '{key}' is {brief(repr(value))}; it must be a text that is not empty"
            raise UsageError(msg)
    return Waiver(**{k: v if k == "until" else v.strip() for k, v in entry.items()})


def in_force(
    waivers: Sequence[Waiver], cells: Iterable[GateCell], today: dt.date
) -> tuple[dict[str, Waiver], list[str]]:
    """The waiver of each cell by its name, and what is to be said of waivers that do nothing."""
    by_cell: dict[str, Waiver] = {}
    notes = []
    known = list(cells)
    for waiver in waivers:
        matched = [cell.name for cell in known if waiver.matches(cell)]
        if not matched:
            notes.append(f"waiver of {waiver.text} matches no cell of the baseline; remove it, or correct its names")
        elif not waiver.holds(today):
            notes.append(f"waiver of {waiver.text} expired on {waiver.until} and counts as none: {waiver.reason}")
        else:
            by_cell |= dict.fromkeys(matched, waiver)
    return by_cell, notes
