"""One algorithm in one cell: what it is called, and which settings make two results of it comparable."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tpobench.identity import canonical, flat
from tpobench.limits import parse_json
from tpobench.printable import brief
from tpobench.records.store import RunRecord
from tpobench.scores.cells import natural
from tpobench.scores.sides import SCORED

MOST_SEEDS = 10**6
NO_AXES = "-"  # the cell of a suite without a grid
# What may differ between two comparable runs: the seed; the version of a plugin's algorithm, which is under test; and
# where and how wide the seeds were stacked, which changes last bits only and so is part of the platform.
FREE = ("seed", "algorithm_version", "device", "threads", "seed_batch", "schema", "suite", "cell", "matching")


class ArmKey(NamedTuple):
    """One algorithm in one cell of one suite."""

    suite: str
    cell: str  # as people write it: `length=4 reward=terminal`
    matching: str
    algorithm: str

    @property
    def text(self) -> str:
        """`ci length=4 tpo`; the matching where the algorithm depends on it."""
        shown = [self.suite, self.place, self.algorithm]
        return " ".join(part for part in shown if part != NO_AXES)

    @property
    def place(self) -> str:
        """The cell, with the matching where the algorithm depends on it."""
        if self.matching == "any":
            return self.cell
        return f"{self.cell} matching={self.matching}".removeprefix(f"{NO_AXES} ")


def arm_of(spec: Mapping[str, Any]) -> ArmKey:
    """The arm that a run spec belongs to."""
    cell = " ".join(f"{k}={v}" for k, v in sorted(spec["cell"].items())) or NO_AXES
    return ArmKey(str(spec["suite"]), cell, str(spec["matching"]), str(spec["algorithm"]))


def by_arm(records: Iterable[RunRecord]) -> dict[ArmKey, list[RunRecord]]:
    """Records of each arm, in reading order of the arms."""
    arms: dict[ArmKey, list[RunRecord]] = defaultdict(list)
    for record in records:
        arms[arm_of(record.spec)].append(record)

    def order(item: tuple[ArmKey, list[RunRecord]]) -> tuple[Any, ...]:
        arm, cell = item[0], item[1][0].spec["cell"]
        return arm.suite, natural(sorted(cell.items())), arm.matching, arm.algorithm

    return dict(sorted(arms.items(), key=order))


def settings_of(spec: Mapping[str, Any], reporting: Mapping[str, Any]) -> Mapping[str, str]:
    """Everything that two comparable runs of an arm share, flat, as canonical text."""
    parts = {k: v for k, v in spec.items() if k not in FREE}
    parts["report"] = {k: reporting[k] for k in SCORED if k in reporting}
    return _texts(canonical(parts))


@lru_cache(2**12)  # many runs share them
def _texts(parts: str) -> Mapping[str, str]:
    return {k: canonical(v) for k, v in flat(parse_json(parts)).items()}


def settings_differ(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """`training.steps is 150 in the baseline, 300 here`, for the first keys that differ; empty where none does."""
    keys = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    changes = [f"{k} is {old.get(k, 'not set')} in the baseline, {new.get(k, 'not set')} here" for k in keys[:3]]
    more = f"; and {len(keys) - 3} more" if len(keys) > 3 else ""
    return "; ".join(changes) + more


def seeds_in(text: str) -> tuple[int, ...]:
    """The seeds of `0-9,12`.

    Raises:
        ValueError: anything else.
    """
    ends = [re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII) for part in text.split(",") if part]
    ranges = [range(int(m[1]), int(m[2] or m[1]) + 1) for m in ends if m is not None]
    if None in ends or sum(map(len, ranges)) > MOST_SEEDS:
        msg = f"{brief(text)} names no seeds, or more than {MOST_SEEDS:,}"
        raise ValueError(msg)
    return tuple(seed for each in ranges for seed in each)
