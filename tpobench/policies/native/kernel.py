"""The compiled functions with Python's types."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
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
        batch = (_COUNT, _POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _COUNT, _POINTER, _COUNT)
        self.forward.argtypes, self.backward.argtypes = [*batch, ctypes.c_int], [*batch, _POINTER]
        self.adam, self.muon = library.functions.adam, library.functions.muon
        step = (_COUNT, _POINTER, _COUNT, _POINTER, _COUNT, _POINTER)
        self.adam.argtypes = [*step, _POINTER, _COUNT, *[ctypes.c_float] * 6]
        self.muon.argtypes = [*step, _COUNT, _COUNT, _POINTER, _POINTER, *[ctypes.c_float] * 4]
        for function in (self.forward, self.backward, self.adam, self.muon):
            function.restype = None

    @classmethod
    def compiled(cls, compiler: str | None = None, flags: tuple[str, ...] = FLAGS) -> Kernel:
        """The kernel of this machine's compiler.

        Raises:
            NoKernel: there is none.
        """
        return cls(load(defines(), compiler, flags))


Seeds = npt.NDArray[np.int64]
"""What each seed has of its own, (S, 6): the struct `Seed` of the source."""


def seeds_of(forests: Sequence[Forest], memories: Sequence[Tensor]) -> Seeds:
    """All rows of the seeds' forests; both must live as long as the kernel reads them."""
    lines = [(*f.in_memory, f.rows, 0, f.rows, m.data_ptr()) for f, m in zip(forests, memories, strict=True)]
    return np.array(lines, dtype=np.int64)


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

    def forward(self, theta: Tensor, seeds: Seeds, logits: Tensor, *, keep: bool) -> None:
        """Logits (S, M, V) of the seeds' new rows, theta (S, D); `keep` what the backward pass needs."""
        self.kernel.forward(*self._batch(theta, seeds, logits), keep)

    def backward(self, theta: Tensor, seeds: Seeds, dlogits: Tensor, gradient: Tensor) -> None:
        """Gradient (S, D) += what d logits (S, M, V) give it, from the memories of the forward pass."""
        self.kernel.backward(*self._batch(theta, seeds, dlogits), gradient.data_ptr())

    def _batch(self, theta: Tensor, seeds: Seeds, logits: Tensor) -> tuple[int, ...]:
        return (
            len(seeds), seeds.ctypes.data, theta.data_ptr(), theta.shape[1], self._offsets_at, self.vocabulary,
            self.positions, logits.data_ptr(), logits.shape[1],
        )  # fmt: skip
