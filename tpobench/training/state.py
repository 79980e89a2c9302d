"""The state of a run between two updates, as tensors by name: what one that was interrupted goes on from.

An object says in `state` which of its attributes change while it trains: a tensor, an integer, None for what is not
there yet, a deque or a dict of tensors, or another such object.  Random numbers are functions of the step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Snapshot(NamedTuple):
    """A run before update `step`."""

    step: int
    interactions: int
    gradient_steps: int
    tensors: Mapping[str, Tensor]


def tensors_of(x: Any) -> dict[str, Tensor]:
    """The state by dotted names; tensors are those of the object, not copies."""
    return {place: tensor for name in x.state for place, tensor in _named(name, getattr(x, name))}


def _named(name: str, value: Any) -> list[tuple[str, Tensor]]:
    if value is None:
        return []
    if isinstance(value, int | Tensor):
        return [(name, torch.as_tensor(value))]
    pairs = enumerate(value) if isinstance(value, deque) else _items(value)
    return [(f"{name}.{key}", tensor) for key, tensor in pairs]


def _items(value: Any) -> Any:
    return (value if isinstance(value, dict) else tensors_of(value)).items()


def restore(x: Any, tensors: Mapping[str, Tensor]) -> None:
    """Give an object that was made anew the state that another one had.  A tensor is written into: others may view it.

    Raises:
        ValueError: the tensors are not those of such an object.
    """
    for name in x.state:
        value, inner = getattr(x, name), _below(name, tensors)
        if name in tensors and isinstance(value, Tensor):
            if value.shape != tensors[name].shape:
                msg = f"{name} has shape {tuple(tensors[name].shape)} in place of {tuple(value.shape)}"
                raise ValueError(msg)
            with torch.no_grad():
                value.copy_(tensors[name])
        elif name in tensors:
            setattr(x, name, int(tensors[name]) if isinstance(value, int) else tensors[name])
        elif isinstance(value, deque):
            value.extend(inner[key] for key in sorted(inner, key=int))
        elif isinstance(value, dict):
            value.update(inner)
        elif inner:
            restore(value, inner)


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
