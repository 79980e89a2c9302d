"""torch, which waits until a credit or a fit computes: who only reads the catalogue does without it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__all__ = ["Tensor", "torch"]

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:

    class _Torch:
        """Whoever asks it for anything gets torch, and every module that holds it holds torch from then on."""

        def __getattr__(self, name: str) -> Any:
            module = importlib.import_module("torch")
            for holder in [m for n, m in sys.modules.items() if n.startswith(__package__)]:
                if vars(holder).get("torch") is self:
                    holder.torch = module
            return getattr(module, name)

    torch, Tensor = _Torch(), Any  # in annotations; what is a tensor at run time is a torch.Tensor
