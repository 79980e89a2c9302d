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
        self.kernel.adam(
            *lines(theta, gradient), self.mean.data_ptr(), self.square.data_ptr(), theta.shape[1], 1 - b1, 1 - b2,
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
        self.kernel.muon(
            *lines(theta, gradient), self.momentum.data_ptr(), self.matrices, len(self._shapes),
            self._shapes.ctypes.data, self._scales.ctypes.data, 1 - self.beta,
            *nesterov_factors(self.beta, self.count), self.learning_rate,
        )  # fmt: skip
        self.adam.step(theta[:, self.matrices :], gradient[:, self.matrices :])


def lines(theta: Tensor, gradient: Tensor) -> tuple[int, int, int, int, int]:
    """Seeds; where theta and gradient (S, n) lie, each with how many numbers there are from one seed to the next."""
    return len(theta), theta.data_ptr(), theta.stride(0), gradient.data_ptr(), gradient.stride(0)
