"""Adam and Muon behind the kernel: one pass over memory, and every matrix orthogonalised in cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tpobench.policies.native.kernel import Kernel
from tpobench.policies.optimizers import Adam, Block, Muon, nesterov_factors


class NativeAdam(Adam):
    """`Adam` with Nesterov momentum, of float32 on a CPU."""

    def __init__(self, kernel: Kernel, learning_rate: float) -> None:
        super().__init__(learning_rate, nesterov=True)
        self.kernel = kernel

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """One Adam update."""
        if self.mean is None or self.square is None:
            self.mean, self.square = (torch.zeros(gradient.shape) for _ in range(2))
        self.count += 1
        t, b1, b2 = self.count, self.b1, self.b2
        on_mean, on_gradient = nesterov_factors(b1, t)
        for x, g, mean, square in zip(theta, gradient, self.mean, self.square, strict=True):
            self.kernel.adam(
                x.data_ptr(), g.data_ptr(), mean.data_ptr(), square.data_ptr(), len(x), 1 - b1, 1 - b2,
                on_mean, on_gradient, 1 / (1 - b2**t), self.learning_rate,
            )  # fmt: skip
        torch.autograd.graph.increment_version(theta)  # of which torch has seen nothing


class NativeMuon(Muon):
    """`Muon` of float32 on a CPU; one side of each matrix is at most 64, the other at most 256."""

    def __init__(self, kernel: Kernel, learning_rate: float, blocks: tuple[Block, ...], theta: Tensor) -> None:
        super().__init__(learning_rate, blocks, theta)
        self.kernel, self.adam = kernel, NativeAdam(kernel, learning_rate)
        shapes = [(block.rows, block.columns) for block in blocks for _ in range(block.count)]
        self._shapes = np.array(shapes, dtype=np.int64)
        self._scales = np.array([scale for block in blocks for scale in block.scale], dtype=np.float32)

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """One update of every matrix and every other parameter."""
        self.count += 1
        for x, g, momentum in zip(theta, gradient, self.momentum, strict=True):
            self.kernel.muon(
                x.data_ptr(), g.data_ptr(), momentum.data_ptr(), len(self._shapes), self._shapes.ctypes.data,
                self._scales.ctypes.data, 1 - self.beta, *nesterov_factors(self.beta, self.count), self.learning_rate,
            )  # fmt: skip
        self.adam.step(theta[:, self.matrices :], gradient[:, self.matrices :])
