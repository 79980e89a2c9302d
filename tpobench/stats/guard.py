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
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Status = Literal["ok", "single", "pair", "constant", "missing", "not finite", "too few", "not computable"]
TestStatus = Literal[
    "tested", "identical", "deterministic", "untestable", "missing", "not finite", "unequal", "not computable"
]
IntervalMethod = Callable[..., tuple[Any, Any] | None]  # two numbers
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


def guarded_interval(method: IntervalMethod, *arms: ArrayLike, around: float | None = None, **limits: Any) -> Interval:
    """An interval by `method(*arms)`, which gives two ends or None: `guarded_intervals` of one row."""

    def ends(*rows: Floats) -> tuple[Floats, Floats]:
        low, high = method(*(row[0] for row in rows)) or (math.nan, math.nan)
        return np.array([low]), np.array([high])

    return guarded_intervals(ends, *map(_row, arms), around=None if around is None else [around], **limits)[0]


def guarded_intervals(
    method: Callable[..., tuple[Floats, Floats]],
    *arms: Floats,
    name: str = "",
    least: int = 2,
    infinite: bool = False,
    constant: bool = False,
    lowest: ArrayLike = -math.inf,
    highest: ArrayLike = math.inf,
    around: Sequence[float] | None = None,
) -> list[Interval]:
    """An interval for each row by `method(*arms)`, clipped to the metric's range.

    Args:
        method: the raw call, on the rows that have an interval: lower and upper ends (p,); NaN is "not computable".
        arms: one array (p, n) of per-seed values, or two.
        name: of the method, for the reason.
        least: values that each arm must have.
        infinite: +-inf is a value to this method (order statistics do not average).
        constant: the method is sound on values that do not vary (shares k/n).
        lowest: of the metric's range, or of each row's.
        highest: of the metric's range, or of each row's.
        around: the estimates; an interval that leaves its own out is not one.  What rounding leaves out is put in.
    """
    data = [np.asarray(a, dtype=np.float64) for a in arms]
    n = min(x.shape[1] for x in data)
    if n == 0:
        return len(data[0]) * [Interval(None, None, "missing", "missing")]
    spans = [list(zip(x.min(axis=1).tolist(), x.max(axis=1).tolist(), strict=True)) for x in data]
    least_of, most_of = (np.broadcast_to(end, len(data[0])).tolist() for end in (lowest, highest))
    values, lost = sum(x.shape[1] for x in data), _lost(data, infinite=infinite)

    def refused(row: int) -> tuple[Status, str] | None:
        if lost[row]:
            return "not finite", f"{lost[row]} {'values are NaN' if infinite else f'of {values} values are not finite'}"
        if n == 1 < least:
            return "single", "1 seed: no uncertainty"
        if not constant and all(span[row][0] == span[row][1] for span in spans):
            return "constant", f"all {n} seeds identical: no interval"
        return ("too few", f"{n} seeds: no {name or 'such'} interval; need {least}") if n < least else None

    def interval(row: int, low: float, high: float) -> Interval:
        low, high = max(low, least_of[row]), min(high, most_of[row])
        if around is not None:
            rounding = 1e-12 * max(max(-span[row][0], span[row][1]) for span in spans)
            low = min(low, around[row]) if abs(low - around[row]) <= rounding else low
            high = max(high, around[row]) if abs(high - around[row]) <= rounding else high
        bad = math.isnan(low) or math.isnan(high) or low > high
        bad = bad or (not infinite and not (math.isfinite(low) and math.isfinite(high)))
        if bad or (around is not None and not low <= around[row] <= high):
            return Interval(None, None, "not computable", f"{name or 'interval'}: not computable for these values")
        return Interval(low, high)

    reasons = [refused(row) for row in range(len(data[0]))]
    bounds = _of_sound(method, data, reasons)
    return [interval(i, *next(bounds)) if reason is None else Interval(None, None, *reason)
            for i, reason in enumerate(reasons)]  # fmt: skip


def _of_sound(method: Callable[..., Any], data: Sequence[Floats], refused: Sequence[object]) -> Iterator[Any]:
    """What `method` gives for the rows that are not refused, row by row."""
    rows = [i for i, reason in enumerate(refused) if reason is None]
    if not rows:
        return iter(())
    with quiet():
        answer = method(*(data if len(rows) == len(refused) else [x[rows] for x in data]))
    return iter(zip(*(a.tolist() for a in answer), strict=True) if isinstance(answer, tuple) else answer.tolist())


def _row(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)[None]


def guarded_test(method: TestMethod, *arms: ArrayLike, **limits: Any) -> Tested:
    """A p-value by `method(*arms)`: `guarded_tests` of one row."""
    return guarded_tests(lambda *rows: np.array([method(*(row[0] for row in rows))]), *map(_row, arms), **limits)[0]


def guarded_tests(
    method: Callable[..., Floats],
    *arms: Floats,
    name: str,
    paired: bool = False,
    smallest: float | None = None,
    least: int = 2,
    infinite: bool = False,
    constant: bool = False,
) -> list[Tested]:
    """A p-value for each row by `method(*arms)`, never below `smallest`.

    Args:
        method: the raw call, on the rows that can be tested: (p,); a NaN from it is "not computable".
        arms: two arrays of per-seed values, (p, n) and (p, m).
        name: of the test.
        paired: values belong together by position.
        smallest: the least p that labels alone can give; asymptotic tests promise less.
        least: values that each arm must have.
        infinite: +-inf is a value to this test (ranks).
        constant: the test is sound on values that do not vary (shares k/n).
    """
    data = [np.asarray(a, dtype=np.float64) for a in arms]
    reasons = why_no_tests(data, paired=paired, least=least, infinite=infinite, constant=constant)
    ps = _of_sound(method, data, reasons)

    def tested(p: float) -> Tested:
        if not 0 <= p <= 1 + 1e-9 or (p == 0 and smallest is None):
            return Tested(None, "not computable", f"{name}: not computable for these values", name, smallest)
        return Tested(min(1.0, max(p, smallest or 0.0)), "tested", "", name, smallest)

    return [
        tested(next(ps)) if reason is None else Tested(1.0 if reason[0] == "identical" else None, *reason, "", smallest)
        for reason in reasons
    ]


def why_no_tests(
    data: Sequence[Floats], *, paired: bool = False, least: int = 2, infinite: bool = False, constant: bool = False
) -> list[tuple[TestStatus, str] | None]:
    """What keeps a test from the arms of a row, (p, n) and (p, m): status and reason; None where one may be made."""
    x, y = data
    n = min(x.shape[1], y.shape[1])
    if n == 0:
        return [("missing", "missing") for _ in x]
    lost, same = _lost(data, infinite=infinite), _no_variance(x, y)

    def refused(row: int) -> tuple[TestStatus, str] | None:
        if lost[row]:
            return "not finite", f"{lost[row]} values are not finite: score them"
        if paired and x.shape != y.shape:
            return "unequal", f"paired arms need the same seeds, got {x.shape[1]} and {y.shape[1]}"
        if n < least:
            return "untestable", f"n={n}: no test with {n} seed{'s' if n > 1 else ''}"
        return None if constant else same[row]

    return [refused(row) for row in range(len(x))]


def _no_variance(x: Floats, y: Floats) -> list[tuple[TestStatus, str] | None]:
    first, second = x[:, 0].tolist(), y[:, 0].tolist()
    both = ((x == x[:, :1]).all(axis=1) & (y == y[:, :1]).all(axis=1)).tolist()
    equal = (x == y).all(axis=1).tolist() if x.shape == y.shape else len(x) * [False]

    def reason(row: int) -> tuple[TestStatus, str] | None:
        if equal[row] or (both[row] and first[row] == second[row]):
            return "identical", "identical (bitwise)"
        if both[row]:
            difference = first[row] - second[row]
            return "deterministic", f"deterministic difference {difference:+.2g}; no sampling variance, no test"
        return None

    return [reason(row) for row in range(len(x))]


def _lost(data: Sequence[Floats], *, infinite: bool) -> list[int]:
    """Of each row the values that no method can stand."""
    lost = sum(np.count_nonzero(np.isnan(x) if infinite else ~np.isfinite(x), axis=1) for x in data)
    return [int(count) for count in np.asarray(lost)]
