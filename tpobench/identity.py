"""What a run is told apart by: what was chosen for it.

A setting that is NEUTRAL is off at its default, and then no part of specs, ids, random streams and meta.json, so that
adding one to a task, to [training], to [report] or to a suite changes no run that is there:

    bonus: float = field(default=0.0, metadata=NEUTRAL)

Of hyperparameters, those whose default is None are neutral.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import marshal
from collections.abc import Mapping
from typing import Any

NEUTRAL = {"neutral": True}  # metadata of a field


def neutral_defaults(settings: Any) -> dict[str, Any]:
    """The neutral fields of a dataclass of settings, or of one of its instances, and where they are off."""
    return {f.name: f.default for f in dataclasses.fields(settings) if f.metadata.get("neutral")}


def chosen(values: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """The values of a dataclass of settings, or of one of its instances, without those that are off."""
    off = neutral_defaults(settings)
    return {k: v for k, v in values.items() if k not in off or v != off[k]}


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces; nan and infinity are refused, so equal values have equal text."""
    return _ENCODER.encode(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings within settings by dotted names: `{"task": {"length": 8}}` is `{"task.length": 8}`."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def spec_id(spec: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON, 16 hex digits; what stands around the seed is written once for all seeds."""
    others = {k: v for k, v in spec.items() if k != "seed"}
    key = settings_key(others)
    if "seed" not in spec or key is None:
        return hashlib.sha256(canonical(spec).encode()).hexdigest()[:16]
    if key not in _around:
        if len(_around) > MOST_KEYS:
            _around.clear()
        parts = [{k: v for k, v in others.items() if (k < "seed") is before} for before in (True, False)]
        before, after = (canonical(part)[1:-1] for part in parts)
        _around[key] = before + ("," if before else ""), ("," if after else "") + after
    before, after = _around[key]
    text = f'{{{before}"seed":{canonical(spec["seed"])}{after}}}'
    return hashlib.sha256(text.encode()).hexdigest()[:16]


MOST_KEYS = 2**14
_around: dict[bytes, tuple[str, str]] = {}


def settings_key(values: dict[str, Any] | list[Any]) -> bytes | None:
    """Equal for equal values of equal types in one order, at a tenth of the cost of `canonical`; None for others."""
    try:
        return marshal.dumps(values, 2)  # whose bytes depend on no counts of references
    except ValueError:  # nested too deep, or no plain value
        return None
