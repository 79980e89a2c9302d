"""The paper's image policy, stacked over seeds: two hidden ReLU layers and a linear output (three dense layers).

theta (S, D) is a table of rows of H numbers per seed: a row per pixel and the bias of the first layer, a row per unit
and the bias of the second, a row per class, and the classes' biases (the rest of that last row stays 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tpobench.policies.bags import Bags, DenseBags
from tpobench.policies.initial import truncated_lecun
from tpobench.policies.noise import Noise

Pixels = Bags | DenseBags


class Shape(NamedTuple):
    """Units of each layer: P pixels, two hidden layers of H units, K classes."""

    pixels: int
    hidden: int
    classes: int

    @property
    def rows(self) -> int:
        """Rows of theta per seed."""
        return self.pixels + 1 + self.hidden + 1 + self.classes + math.ceil(self.classes / self.hidden)


class Layers(NamedTuple):
    """Views of what lies in theta, or in a tensor laid out as theta."""

    kernel0: Tensor  # (S, P, H)
    bias0: Tensor  # (S, 1, H)
    kernel1: Tensor  # (S, H, H)
    bias1: Tensor  # (S, 1, H)
    kernel2: Tensor  # (S, K, H): classes first
    bias2: Tensor  # (S, K, 1)

    @classmethod
    def of(cls, theta: Tensor, shape: Shape) -> Layers:
        """The layers of theta (S, D)."""
        P, H, K = shape
        table = theta.view(-1, shape.rows, H)
        kernel0, bias0, kernel1, bias1, kernel2, rest = torch.split(
            table, [P, 1, H, 1, K, shape.rows - P - H - K - 2], dim=1
        )
        return cls(kernel0, bias0, kernel1, bias1, kernel2, rest.flatten(1)[:, :K].unsqueeze(-1))


@dataclass(frozen=True)
class MLPPolicy:
    """pi(k | x) = softmax_k(W_2 relu(W_1 relu(W_0 x + b_0) + b_1) + b_2)."""

    theta: Tensor  # (S, D), a contiguous leaf that requires grad
    shape: Shape

    @classmethod
    def initial(cls, noise: Noise, shape: Shape) -> MLPPolicy:
        """Flax's defaults: lecun-normal kernels cut at two standard deviations, zero biases."""
        theta = torch.zeros(len(noise.seeds), shape.rows * shape.hidden, dtype=noise.dtype, device=noise.device)
        layers = Layers.of(theta, shape)
        kernels = ((layers.kernel0, shape.pixels), (layers.kernel1, shape.hidden), (layers.kernel2, shape.hidden))
        for i, (kernel, fan_in) in enumerate(kernels):
            kernel.copy_(truncated_lecun(noise, f"init/kernel{i}", fan_in, kernel[0].numel()).view_as(kernel))
        return cls(theta.requires_grad_(), shape)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """All kernels and biases as one tensor."""
        return (self.theta,)

    def log_probs(self, images: Pixels, transposed: Pixels) -> Tensor:
        """Log pi with graph for B images of each seed's own: (S, K, B)."""
        logits: Tensor = _Network.apply(self.theta, self.shape, images, transposed)  # type: ignore[no-untyped-call]
        return logits.log_softmax(1)

    @torch.no_grad()
    def logits(self, images: Bags) -> Tensor:
        """Logits, without graph, for M images that all seeds share: (S, K, M)."""
        tables = self.theta.view(-1, self.shape.rows, self.shape.hidden).unbind()
        return torch.cat([_forward(table.view(1, -1), self.shape, images)[0] for table in tables])


def _forward(theta: Tensor, shape: Shape, images: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (S, K, B) and the activations of both hidden layers (S, B, H)."""
    layers = Layers.of(theta, shape)
    h0 = images.sum(theta.view(-1, shape.hidden)).view(len(theta), -1, shape.hidden).relu_()
    h1 = torch.baddbmm(layers.bias1, h0, layers.kernel1).relu_()
    return torch.baddbmm(layers.bias2, layers.kernel2, h1.mT), h0, h1


class _Network(torch.autograd.Function):
    """Logits of all seeds as one operation, whose backward puts every gradient in its place in one tensor."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, shape: Shape, images: Pixels, transposed: Pixels) -> Tensor:
        """(S, D) -> (S, K, B)."""
        logits, h0, h1 = _forward(theta, shape, images)
        ctx.shape, ctx.transposed = shape, transposed
        ctx.save_for_backward(theta, h0, h1)
        return logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:
        """D logits (S, K, B) -> d theta (S, D)."""
        theta, h0, h1 = ctx.saved_tensors
        layers = Layers.of(theta, ctx.shape)
        g1 = torch.bmm(g.mT, layers.kernel2).mul_(h1.sign())
        g0 = torch.bmm(g1, layers.kernel1.mT).mul_(h0.sign())
        gradient = ctx.transposed.sum(g0.flatten(0, 1)).view_as(theta)  # 0 beyond the first layer, where no pixel is
        place = Layers.of(gradient, ctx.shape)
        torch.bmm(h0.mT, g1, out=place.kernel1)
        torch.sum(g1, dim=1, keepdim=True, out=place.bias1)
        torch.bmm(g, h1, out=place.kernel2)
        torch.sum(g, dim=2, keepdim=True, out=place.bias2)
        return gradient, None, None, None
