"""Where two results of one run part, and what differs between the machines that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tpobench.identity import canonical
from tpobench.records.store import RunRecord, same

ORIGIN = (
    "torch", "cpu", "threads", "device", "kernel", "seed_scheme", "numpy", "python", "platform", "tpobench", "git",
)  # fmt: skip
BITS = ("torch", "cpu", "threads")  # what is known to change the last bits of a sum


@dataclass(frozen=True)
class Difference:
    """The first thing in which two results differ."""

    what: str  # a column of the curve, or a field
    first: Any
    second: Any
    step: int | None = None  # where in the curve
    largest: float | None = None  # over all steps of this column

    def __str__(self) -> str:
        at = "" if self.step is None else f" at step {self.step}"
        most = "" if self.largest is None else f", largest difference {self.largest:.3g}"
        return f"{self.what}{at}: {_shown(self.first)} against {_shown(self.second)}{most}"


def difference(first: RunRecord, second: RunRecord) -> Difference | None:
    """The earliest point at which the curves part, else the first field that differs; None for equal payloads."""
    if same(first, second):
        return None
    return _in_curves(first.curve, second.curve) or _in_fields(first.payload, second.payload)


def other_origin(first: RunRecord, second: RunRecord) -> dict[str, tuple[Any, Any]]:
    """What both records know of their origin and do not share: torch, processor, threads and so on."""
    a, b = first.provenance, second.provenance
    return {k: (a[k], b[k]) for k in ORIGIN if k in a and k in b and a[k] != b[k]}


def _in_curves(first: Mapping[str, list[Any]], second: Mapping[str, list[Any]]) -> Difference | None:
    shared = sorted(first.keys() & second.keys())
    parts = {c: i for c in shared if (i := _first_unequal(first[c], second[c])) is not None}
    if not parts:
        return None
    column = min(parts, key=lambda c: (parts[c], c))
    i = parts[column]
    steps = first.get("step", [])
    unequal = (p for p in zip(first[column], second[column], strict=False) if canonical(p[0]) != canonical(p[1]))
    gaps = [abs(x - y) for x, y in unequal if _numbers(x, y)]
    return Difference(column, first[column][i], second[column][i], steps[i] if steps else i, max(gaps, default=None))


def _first_unequal(first: list[Any], second: list[Any]) -> int | None:
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (x, y) in pairs if canonical(x) != canonical(y)), None)


def _numbers(*values: Any) -> bool:
    return all(isinstance(v, int | float) for v in values)


def _in_fields(first: dict[str, Any], second: dict[str, Any]) -> Difference:
    a, b = _flat(first), _flat(second)
    key = next(
        k for k in sorted(a.keys() | b.keys()) if canonical(a.get(k)) != canonical(b.get(k)) or (k in a) != (k in b)
    )
    return Difference(key, a.get(key), b.get(key))


def _flat(payload: dict[str, Any]) -> dict[str, Any]:
    """One level of nesting undone; a column of the curve counts by its length, its values were equal."""
    flat: dict[str, Any] = {}
    for field, value in payload.items():
        if field == "curve":
            flat |= {f"recorded steps of {k}": len(v) for k, v in value.items()}
        elif isinstance(value, Mapping):
            flat |= {f"{field}.{k}": v for k, v in value.items()}
        else:
            flat[field] = value
    return flat


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
