"""The optimisers of the paper, stacked over seeds: one flat parameter vector theta (S, D), updated in place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Optimizer(Protocol):
    """Updates theta (S, D) in place, given d loss / d theta (S, D)."""

    state: ClassVar[tuple[str, ...]]  # attributes that change from step to step: see `tpobench.training.state`

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """One update."""
        ...

    def take(self, places: list[int]) -> None:
        """Give every seed the state of the seed at the place named for it."""
        ...


@dataclass
class NormalizedStep:
    """theta <- theta - alpha g / ||g||, one norm for all parameters of a seed (TPO sections 3.1 and 3.2)."""

    state: ClassVar[tuple[str, ...]] = ()

    learning_rate: float

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """One step of length alpha; no step where the gradient is exactly 0."""
        theta -= self.learning_rate * gradient / (gradient.square().sum(-1, keepdim=True) + 1e-30).sqrt()

    def take(self, places: list[int]) -> None:
        """It has no state."""


class Adam:
    """Adam with Nesterov momentum (b1 .9, b2 .999, eps 1e-8), or plain.

    m_hat = b1 m_t / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t) with `nesterov`, else m_t / (1 - b1^t);
    theta <- theta - lr m_hat / (sqrt(v_t / (1 - b2^t)) + eps).  Source: Dozat 2016; optax 0.2.8 `scale_by_adam`.
    decay: theta <- (1 - lr decay) theta before it, which is AdamW (Loshchilov & Hutter 2019).
    """

    state: ClassVar[tuple[str, ...]] = ("count", "mean", "square", "_steps")

    def __init__(
        self, learning_rate: float, *, nesterov: bool = False, b1: float = 0.9, b2: float = 0.999, decay: float = 0.0
    ) -> None:
        self.learning_rate, self.nesterov, self.b1, self.b2, self.decay = learning_rate, nesterov, b1, b2, decay
        self.count = 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None
        self._steps: Tensor | None = None  # the count, where the library's kernel reads and raises it

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """One Adam update."""
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        if self.decay:
            theta.mul_(1 - self.learning_rate * self.decay)
        if not self.nesterov:
            self._plain(theta, gradient, self.mean, self.square)
            return
        self.count += 1
        t, b1, b2 = self.count, self.b1, self.b2
        self.mean.lerp_(gradient, 1 - b1)
        self.square.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        on_mean, on_gradient = nesterov_factors(b1, t)
        direction = torch.add(self.mean * on_mean, gradient, alpha=on_gradient)
        scale = (self.square / (1 - b2**t)).sqrt_().add_(1e-8)
        theta.addcdiv_(direction, scale, value=-self.learning_rate)

    def take(self, places: list[int]) -> None:
        """Both moments."""
        if self.mean is not None and self.square is not None:
            self.mean, self.square = self.mean[places], self.square[places]

    def _plain(self, theta: Tensor, gradient: Tensor, mean: Tensor, square: Tensor) -> None:
        """The same without momentum from Nesterov, by the library's kernel: one pass over memory instead of eight."""
        if self._steps is None:
            self._steps = theta.new_zeros((), dtype=torch.float32)
        adam(
            [theta], [gradient], [mean], [square], [], [self._steps], fused=True, lr=self.learning_rate, eps=1e-8,
            beta1=self.b1, beta2=self.b2, amsgrad=False, weight_decay=0.0, maximize=False,
        )  # fmt: skip
        torch.autograd.graph.increment_version(theta)  # the kernel itself does not say that theta has changed


@dataclass(frozen=True)
class Block:
    """`count` adjacent matrices of one shape inside theta, as they lie in memory."""

    offset: int
    count: int
    rows: int
    columns: int
    scale: tuple[float, ...]  # one per matrix: sqrt(max(1, fan_out / fan_in)), fan_in = axis 0 of the Flax array

    @property
    def size(self) -> int:
        """Numbers in the block."""
        return self.count * self.rows * self.columns


class Muon:
    """Muon on the leading matrices of theta and Nesterov Adam on the rest, as in optax.contrib.muon 0.2.8.

    m_t = .95 m + .05 g;  m_hat = .95 m_t / (1 - .95^(t+1)) + .05 g / (1 - .95^t);  X = m_hat / (||m_hat||_F + 1e-8);
    five times A = X X^T, X <- 3.4445 X + (-4.7750 A + 2.0315 A^2) X;  theta <- theta - lr scale X.

    The first block goes through Newton-Schulz as it is; the remaining ones, small and of unequal shapes, share one
    zero-padded stack (padding is exact: zero rows and columns stay zero).
    """

    state: ClassVar[tuple[str, ...]] = ("count", "momentum", "adam")
    beta = 0.95

    def __init__(self, learning_rate: float, blocks: tuple[Block, ...], theta: Tensor) -> None:
        self.learning_rate, self.blocks = learning_rate, blocks
        self.matrices = sum(block.size for block in blocks)
        self.adam = Adam(learning_rate, nesterov=True)
        self.momentum = torch.zeros_like(theta[:, : self.matrices])
        self.count = 0
        S = theta.shape[0]
        small = blocks[1:]
        self._rows, self._columns = max(b.rows for b in small), max(b.columns for b in small)
        places, scales = [], []
        for n, (block, m) in enumerate((b, m) for b in small for m in range(b.count)):
            grid = torch.arange(self._rows * self._columns).view(self._rows, self._columns)
            places.append((n * self._rows * self._columns + grid[: block.rows, : block.columns]).flatten())
            scales.append(block.scale[m])
        self._place = torch.cat(places).to(theta.device)
        self._padded = theta.new_zeros(S, len(scales) * self._rows * self._columns)
        self._small_scale = theta.new_tensor(scales).view(1, -1, 1, 1)
        self._large_scale = theta.new_tensor(blocks[0].scale).view(1, -1, 1, 1)

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """One update of every matrix and every other parameter."""
        self.count += 1
        t, beta, S = self.count, self.beta, theta.shape[0]
        g = gradient[:, : self.matrices]
        self.momentum.lerp_(g, 1 - beta)
        on_mean, on_gradient = nesterov_factors(beta, t)
        m_hat = torch.add(self.momentum * on_mean, g, alpha=on_gradient)
        first = self.blocks[0]
        large = orthogonalize(m_hat[:, : first.size].view(S, first.count, first.rows, first.columns))
        theta[:, : first.size].sub_((large * (self.learning_rate * self._large_scale)).view(S, -1))
        self._padded[:, self._place] = m_hat[:, first.size :]
        small = orthogonalize(self._padded.view(S, -1, self._rows, self._columns))
        small = (small * (self.learning_rate * self._small_scale)).reshape(S, -1)
        theta[:, first.size : self.matrices].sub_(small[:, self._place])
        self.adam.step(theta[:, self.matrices :], gradient[:, self.matrices :])

    def take(self, places: list[int]) -> None:
        """The momentum, and the moments of the rest."""
        self.momentum = self.momentum[places]
        self.adam.take(places)


def orthogonalize(x: Tensor) -> Tensor:
    """Five Newton-Schulz steps towards the nearest orthogonal matrix: (..., r, c) -> (..., r, c)."""
    a, b, c = NEWTON_SCHULZ
    transposed = x.shape[-2] > x.shape[-1]
    shape = x.shape
    X = (x.mT if transposed else x).flatten(0, -3)
    X = X / (X.square().sum((-2, -1), keepdim=True).sqrt() + 1e-8)
    for _ in range(5):
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)
        X = torch.baddbmm(X, B, X, beta=a)
    return (X.mT if transposed else X).reshape(shape)


def clipped(gradient: Tensor, largest: float) -> Tensor:
    """g min(1, c / ||g||), one norm for all parameters of a seed, (S, D); g where the largest norm is 0."""
    if not largest:
        return gradient
    norm: Tensor = gradient.norm(dim=1, keepdim=True)
    return gradient * (largest / (norm + 1e-30)).clamp_max(1)


def nesterov_factors(beta: float, t: int) -> tuple[float, float]:
    """What m_t and g are multiplied with in m_hat: beta / (1 - beta^(t+1)) and (1 - beta) / (1 - beta^t)."""
    return beta / (1 - beta ** (t + 1)), (1 - beta) / (1 - beta**t)


def muon_scale(fan_in: int, fan_out: int) -> float:
    """sqrt(max(1, fan_out / fan_in))."""
    return math.sqrt(max(1.0, fan_out / fan_in))
