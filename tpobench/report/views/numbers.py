"""Numbers as a drawing needs them: few digits, since a page is sent and kept."""

from __future__ import annotations

from collections.abc import Iterable

DIGITS = 4


def rounded(values: Iterable[float], digits: int = DIGITS) -> list[float]:
    """To so many significant digits."""
    return [float(f"{value:.{digits}g}") for value in values]


def scaled(value: float | None, scale: float) -> float | None:
    """A number that there may be, in the unit of its axis."""
    return None if value is None else rounded([value * scale])[0]
