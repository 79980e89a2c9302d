"""Bisection over a ladder of levels: where does an algorithm stop learning?  The next level depends on results only.

A suite's [search] table names an integer setting of the task whose larger values are harder, and the two ends of a
range.  For each algorithm the ends are run first, then the rung half way between the hardest level at which at least
half of the seeds learned and the easiest harder one at which they did not, until the two are neighbours; last the
neighbours of these two, where the share of seeds that learn says most about where it crosses one half.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count, takewhile
from typing import Annotated, Any

from tpobench.limits import Within, require_within

MOST = 10**9
MOST_RUNGS = 100_000


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - an assertion with a message for the user
    """Settings are so, or a ValueError says what they must be."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Search:
    """A suite's [search] table."""

    axis: str  # an integer setting of the task
    easiest: Annotated[int, Within(1, MOST)]
    hardest: Annotated[int, Within(1, MOST)]
    learned: Annotated[float, Within(0, 1e15)]  # a seed learned if its final value is below this
    per_doubling: Annotated[int, Within(0, 64)] = 0  # rungs from one value to its double; 0: every whole number is one
    beside: Annotated[int, Within(0, 8)] = 1  # rungs on either side of the bracket that are run last

    def __post_init__(self) -> None:
        require_within(self)
        require(self.easiest < self.hardest, "easiest must be at least 1 and below hardest: larger is harder")
        require(self.learned > 0, "learned must be positive")
        require(
            self._rungs() <= MOST_RUNGS, f"the range has more than {MOST_RUNGS:,} levels; set per_doubling, or less"
        )

    def _rungs(self) -> int:
        return len(self.ladder) if self.per_doubling else self.hardest - self.easiest + 1

    @property
    def ends(self) -> tuple[int, int]:
        """The easiest level and the hardest, with which the search begins."""
        return self.easiest, self.hardest

    @cached_property
    def ladder(self) -> tuple[int, ...]:
        """Every level that the search may visit, easiest first."""
        if not self.per_doubling:
            return tuple(range(self.easiest, self.hardest + 1))
        raised = (round(self.easiest * 2 ** (i / self.per_doubling)) for i in count())
        return (*dict.fromkeys(takewhile(lambda rung: rung < self.hardest, raised)), self.hardest)


def require_axis(search: Search, types: Mapping[str, Any], task: Container[str], grid: Container[str]) -> None:
    """The axis must be an integer setting of the task that nothing else sets.

    Args:
        search: the table.
        types: every setting of the task, with its type.
        task: settings given in [task].
        grid: axes of the grid.

    Raises:
        ValueError: it is not.
    """
    whole = sorted(name for name, kind in types.items() if kind is int)
    require(search.axis in whole, f"axis must be one of {', '.join(whole)}, not '{search.axis}'")
    for place, names in (("task", task), ("grid", grid)):
        require(search.axis not in names, f"axis is {search.axis}, which '{place}.{search.axis}' sets; leave that out")


@dataclass(frozen=True)
class Walk:
    """How far a search has come."""

    visited: tuple[int, ...]  # levels with a result, in the order in which they were wanted
    wanted: tuple[int, ...]  # levels to run next, all at once; none: the search is over
    holding: int | None  # the hardest level up to which the bisection found that at least half of the seeds learn
    breaking: int | None  # its neighbour, at which they do not

    @property
    def done(self) -> bool:
        """Whether nothing is left to run."""
        return not self.wanted


def walk(ladder: tuple[int, ...], beside: int, holds: Callable[[int], bool | None]) -> Walk:
    """Follow the search as far as results go.

    Args:
        ladder: levels, easiest first.
        beside: levels on either side of the bracket that are run last.
        holds: whether at least half of the seeds learn at a level; None while it has no result.
    """
    first = (ladder[0], ladder[-1]) if len(ladder) > 1 else ladder
    visited: list[int] = []

    def missing(*levels: int) -> tuple[int, ...]:
        visited.extend(level for level in levels if holds(level) is not None and level not in visited)
        return tuple(level for level in levels if holds(level) is None)

    if wanted := missing(*first):
        return Walk(tuple(visited), wanted, None, None)
    if holds(ladder[-1]) or not holds(ladder[0]):
        return Walk(tuple(visited), (), ladder[-1] if holds(ladder[-1]) else None, None)
    low, high = 0, len(ladder) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if wanted := missing(ladder[middle]):
            return Walk(tuple(visited), wanted, ladder[low], ladder[high])
        low, high = (middle, high) if holds(ladder[middle]) else (low, middle)
    near = ladder[max(0, low - beside) : high + beside + 1]
    wanted = missing(*near)
    return Walk(tuple(visited), wanted, ladder[low], ladder[high])
