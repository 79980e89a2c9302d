"""Tables of random whole numbers that many estimates share: a generator in the same state draws the same table.

Each interval and each test of a report starts from the same seed, so arms of as many seeds ask for the same resamples
and labels over and over.  A table that was drawn is remembered, with the state in which it left the generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[Any]
MOST_BYTES = 2**27  # of tables remembered; those beyond are drawn each time
PART = 2**17  # numbers


class _Memory:
    """Tables by the state before them, with the state after; none is forgotten, as the same ones are asked in turn."""

    def __init__(self) -> None:
        self.tables: dict[tuple[Any, ...], tuple[Table, dict[str, Any]]] = {}
        self.nbytes = 0


_memory = _Memory()


def drawn(rng: np.random.Generator, draw: Callable[..., Table], *sizes: int) -> Table:
    """`draw(rng, *sizes)`, read-only."""
    state: Any = rng.bit_generator.state
    if state["bit_generator"] != "PCG64":
        return draw(rng, *sizes)
    key = (draw, sizes, *state["state"].values(), state["has_uint32"], state["uinteger"])
    if key in _memory.tables:
        table, rng.bit_generator.state = _memory.tables[key]
        return table
    table = draw(rng, *sizes)
    table.flags.writeable = False
    if _memory.nbytes + table.nbytes <= MOST_BYTES:
        _memory.tables[key] = table, dict(rng.bit_generator.state)
        _memory.nbytes += table.nbytes
    return table


def in_parts(table: Table) -> list[Table]:
    """The rows of a table in order, in parts whose floats fit a cache: all at once take thrice as long."""
    return np.array_split(table, math.ceil(table.size / PART))


def seeds_again(n: int, rng: np.random.Generator, draws: int) -> Table:
    """Indices of n seeds resampled with replacement: (n, draws), as numpy takes indices."""
    return drawn(rng, _seeds_again, n, draws)


def _seeds_again(rng: np.random.Generator, n: int, draws: int) -> Table:
    return np.ascontiguousarray(rng.integers(0, n, size=(draws, n)).T)


def times_again(n: int, rng: np.random.Generator, draws: int) -> Table:
    """How often each seed occurs in each of the resamples of `seeds_again`: (n, draws)."""
    return drawn(rng, _times_again, n, draws)


def _times_again(rng: np.random.Generator, n: int, draws: int) -> Table:
    places = _seeds_again(rng, n, draws) * draws + np.arange(draws)
    return narrow(np.bincount(places.ravel(), minlength=n * draws).reshape(n, draws), n)


def narrow(table: Table, most: int) -> Table:
    """Whole numbers from 0 to `most` in the narrowest type that holds them."""
    return table.astype(np.min_scalar_type(most))
