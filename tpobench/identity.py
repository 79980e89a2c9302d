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


def seedless(spec: Mapping[str, Any]) -> str:
    """Canonical text of a spec without its seed: what runs share that differ in nothing else."""
    return canonical({name: value for name, value in spec.items() if name != "seed"})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings within settings by dotted names: `{"task": {"length": 8}}` is `{"task.length": 8}`."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def spec_id(spec: Mapping[str, Any]) -> str:
    """That of its canonical text."""
    return text_id(canonical(spec))


def text_id(text: str) -> str:
    """sha256 of a text, 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
