"""The compiled functions with Python's types."""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from torch import Tensor

from tpobench.policies import transformer
from tpobench.policies.native.build import FLAGS, Library, load
from tpobench.policies.native.forest import Forest
from tpobench.policies.transformer import layout

SIZES = ("MODEL", "HEADS", "HIDDEN", "LAYERS", "EPSILON")
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64


def defines() -> tuple[str, ...]:
    """What the source takes from here: the model's sizes, and the place of every array in theta."""
    places = (f"AT_{parameter.name.upper()}={i}" for i, parameter in enumerate(layout(2, 1)))
    return (*(f"{name}={getattr(transformer, name)!r}" for name in SIZES), *places)


class Kernel:
    """The functions of a library: the decoder over a forest, and the optimisers."""

    def __init__(self, library: Library) -> None:
        self.origin = library.origin
        self.memory_size = library.functions.memory_size
        self.memory_size.argtypes, self.memory_size.restype = [_COUNT] * 3, _COUNT
        self.forward, self.backward = library.functions.forward, library.functions.backward
        self.forward.argtypes = [
            *[_POINTER] * 2, *[_COUNT] * 3, _POINTER, *[_COUNT] * 3, *[_POINTER] * 2, ctypes.c_int,
        ]  # fmt: skip
        self.backward.argtypes = [*[_POINTER] * 2, *[_COUNT] * 3, _POINTER, _COUNT, *[_POINTER] * 3]
        self.adam, self.muon = library.functions.adam, library.functions.muon
        self.adam.argtypes = [*[_POINTER] * 4, _COUNT, *[ctypes.c_float] * 6]
        self.muon.argtypes = [*[_POINTER] * 3, _COUNT, *[_POINTER] * 2, *[ctypes.c_float] * 4]
        for function in (self.forward, self.backward, self.adam, self.muon):
            function.restype = None

    @classmethod
    def compiled(cls, compiler: str | None = None, flags: tuple[str, ...] = FLAGS) -> Kernel:
        """The kernel of this machine's compiler.

        Raises:
            NoKernel: there is none.
        """
        return cls(load(defines(), compiler, flags))


class Decoder:
    """The kernel for parameters of one vocabulary and length."""

    def __init__(self, kernel: Kernel, vocabulary: int, length: int) -> None:
        self.kernel, self.vocabulary, self.positions = kernel, vocabulary, 2 * length
        sizes = [torch.Size(parameter.shape).numel() for parameter in layout(vocabulary, length)]
        self._offsets = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        self._offsets_at = self._offsets.ctypes.data
        self._spare: list[Tensor] = []

    def memory(self, rows: int) -> Tensor:
        """Room for a forest of so many rows; what `release` gave back, where it is large enough."""
        size = self.kernel.memory_size(rows, self.vocabulary, self.positions)
        for i, memory in enumerate(self._spare):
            if memory.numel() >= size:
                return self._spare.pop(i)
        self._spare.clear()  # what was large enough once is too small now
        return torch.empty(size + size // 4)

    def release(self, memory: Tensor) -> None:
        """No graph needs it any more; its pages are there already for the next."""
        self._spare.append(memory)

    def forward(
        self, theta: Tensor, forest: Forest, memory: Tensor, logits: Tensor, *, keep: bool, start: int = 0,
        capacity: int | None = None,
    ) -> None:  # fmt: skip
        """Into the first `answers` of logits (M, V) those of the rows from `start` on, theta (D,).

        keep: what the backward pass needs.  capacity: the rows that memory was laid out for; those before `start` must
        be in it.
        """
        self.kernel.forward(
            theta.data_ptr(), self._offsets_at, capacity or forest.rows, self.vocabulary, self.positions,
            *forest.in_memory, start, forest.rows, memory.data_ptr(), logits.data_ptr(), keep,
        )  # fmt: skip

    def backward(self, theta: Tensor, forest: Forest, memory: Tensor, dlogits: Tensor, gradient: Tensor) -> None:
        """Gradient (D,) += what d logits (answers, V) give it, from the memory of the forward pass."""
        self.kernel.backward(
            theta.data_ptr(), self._offsets_at, forest.rows, self.vocabulary, self.positions, *forest.in_memory,
            memory.data_ptr(), dlogits.data_ptr(), gradient.data_ptr(),
        )  # fmt: skip
