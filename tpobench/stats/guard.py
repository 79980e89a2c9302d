"""The one way to an interval and the one way to a test: a value, or a status with the reason why there is none.

The raw calls answer questions that data cannot carry: scipy's permutation test returns its smallest p for a run that
diverged, BCa an interval beside its own constant, the paired t 6e-17 for two equal differences. Every interval of this
package passes `guarded_interval` and every test `guarded_test`; both look at the data before and at the answer after.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Status = Literal["ok", "single", "pair", "constant", "missing", "not finite", "too few", "not computable"]
TestStatus = Literal[
    "tested", "identical", "deterministic", "untestable", "missing", "not finite", "unequal", "not computable"
]
IntervalMethod = Callable[..., tuple[float, float] | None]
TestMethod = Callable[..., float]


@dataclass(frozen=True)
class Interval:
    """Ends of an interval, or None and why."""

    low: float | None
    high: float | None
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Tested:
    """A p-value in (0, 1], or None and why; `smallest` is the least p that data of this size can give."""

    p: float | None
    status: TestStatus = "tested"
    reason: str = ""
    test: str = ""
    smallest: float | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Degenerate data warns in many words; the guards put it into one status."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def guarded_interval(
    method: IntervalMethod,
    *arms: ArrayLike,
    name: str = "",
    least: int = 2,
    infinite: bool = False,
    constant: bool = False,
    lowest: float = -math.inf,
    highest: float = math.inf,
    around: float | None = None,
) -> Interval:
    """An interval by `method(*arms)`, clipped to the metric's range.

    Args:
        method: the raw call; None or a NaN from it is "not computable".
        arms: one array of per-seed values, or two.
        name: of the method, for the reason.
        least: values that each arm must have.
        infinite: +-inf is a value to this method (order statistics do not average).
        constant: the method is sound on values that do not vary (shares k/n).
        lowest: of the metric's range.
        highest: of the metric's range.
        around: the estimate; an interval that leaves it out is not one.  What rounding leaves out is put in.
    """
    data = [np.asarray(a, dtype=np.float64) for a in arms]
    refused = _missing(data) or _not_finite(data, infinite=infinite)
    if refused:
        return Interval(None, None, *refused)
    n = min(len(x) for x in data)
    if n == 1 < least:
        return Interval(None, None, "single", "1 seed: no uncertainty")
    ends = [(float(x.min()), float(x.max())) for x in data]
    if not constant and all(a == b for a, b in ends):
        return Interval(None, None, "constant", f"all {n} seeds identical: no interval")
    if n < least:
        return Interval(None, None, "too few", f"{n} seeds: no {name or 'such'} interval; need {least}")
    with quiet():
        bounds = method(*data)
    low, high = bounds or (math.nan, math.nan)
    low, high = max(float(low), lowest), min(float(high), highest)
    if around is not None:
        rounding = 1e-12 * max(max(-a, b) for a, b in ends)
        low = min(low, around) if abs(low - around) <= rounding else low
        high = max(high, around) if abs(high - around) <= rounding else high
    bad = math.isnan(low) or math.isnan(high) or low > high
    bad = bad or (not infinite and not (math.isfinite(low) and math.isfinite(high)))
    if bad or (around is not None and not low <= around <= high):
        return Interval(None, None, "not computable", f"{name or 'interval'}: not computable for these values")
    return Interval(low, high)


def guarded_test(
    method: TestMethod,
    *arms: ArrayLike,
    name: str,
    paired: bool = False,
    smallest: float | None = None,
    least: int = 2,
    infinite: bool = False,
    constant: bool = False,
) -> Tested:
    """A p-value by `method(*arms)`, never below `smallest`.

    Args:
        method: the raw call; a NaN from it is "not computable".
        arms: two arrays of per-seed values.
        name: of the test.
        paired: values belong together by position.
        smallest: the least p that labels alone can give; asymptotic tests promise less.
        least: values that each arm must have.
        infinite: +-inf is a value to this test (ranks).
        constant: the test is sound on values that do not vary (shares k/n).
    """
    data = [np.asarray(a, dtype=np.float64) for a in arms]
    refused = why_no_test(data, paired=paired, least=least, infinite=infinite, constant=constant)
    if refused:
        status, reason = refused
        return Tested(1.0 if status == "identical" else None, status, reason, "", smallest)
    with quiet():
        p = float(method(*data))
    if not 0 <= p <= 1 + 1e-9 or (p == 0 and smallest is None):
        return Tested(None, "not computable", f"{name}: not computable for these values", name, smallest)
    return Tested(min(1.0, max(p, smallest or 0.0)), "tested", "", name, smallest)


def why_no_test(
    data: Sequence[Floats], *, paired: bool = False, least: int = 2, infinite: bool = False, constant: bool = False
) -> tuple[TestStatus, str] | None:
    """Status and reason that keep any test away from two arms; None where one may follow."""
    x, y = data
    n = min(len(x), len(y))
    lost = _lost(data, infinite=infinite)
    refused: tuple[TestStatus, str] | None = None
    if n == 0:
        refused = "missing", "missing"
    elif lost:
        refused = "not finite", f"{lost} values are not finite: score them"
    elif paired and len(x) != len(y):
        refused = "unequal", f"paired arms need the same seeds, got {len(x)} and {len(y)}"
    elif n < least:
        refused = "untestable", f"n={n}: no test with {n} seed{'s' if n > 1 else ''}"
    elif not constant:
        refused = _no_variance(x, y)
    return refused


def _no_variance(x: Floats, y: Floats) -> tuple[TestStatus, str] | None:
    both = x.min() == x.max() and y.min() == y.max()
    if np.array_equal(x, y) or (both and x[0] == y[0]):
        return "identical", "identical (bitwise)"
    if both:
        difference = float(x[0] - y[0])
        return "deterministic", f"deterministic difference {difference:+.2g}; no sampling variance, no test"
    return None


def _missing(data: Sequence[Floats]) -> tuple[Status, str] | None:
    return ("missing", "missing") if any(len(x) == 0 for x in data) else None


def _lost(data: Sequence[Floats], *, infinite: bool) -> int:
    return sum(int(np.count_nonzero(np.isnan(x) if infinite else ~np.isfinite(x))) for x in data)


def _not_finite(data: Sequence[Floats], *, infinite: bool) -> tuple[Status, str] | None:
    lost, n = _lost(data, infinite=infinite), sum(len(x) for x in data)
    if not lost:
        return None
    return "not finite", f"{lost} values are NaN" if infinite else f"{lost} of {n} values are not finite"
