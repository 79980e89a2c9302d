"""torch, which waits until a credit or a fit computes: who only reads the catalogue does without it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Tensor", "torch"]

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:

    class _Torch:
        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module("torch"), name)

    torch, Tensor = _Torch(), Any  # in annotations; what is a tensor at run time is a torch.Tensor
