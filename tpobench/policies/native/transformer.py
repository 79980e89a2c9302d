"""The transformer behind the kernel: the same parameters and interfaces, forests in place of packed rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpobench.policies.native.forest import Forest, PackedForest, Sequences, grow, pack
from tpobench.policies.native.kernel import Decoder, Kernel
from tpobench.policies.native.machine import native_kernel
from tpobench.policies.native.optimizers import NativeMuon
from tpobench.policies.prefix_tree import Ints
from tpobench.policies.transformer import TransformerPolicy, inverse_cdf


@dataclass
class NativeTransformer(TransformerPolicy):
    """The decoder of `TransformerPolicy`, computed by the kernel; float32 on a CPU.

    A backward pass frees what its graph has kept: each graph can be taken once.

    Raises:
        NoKernel: there is no kernel on this machine.
    """

    kernel: Kernel = field(default_factory=native_kernel)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.theta.dtype != torch.float32 or self.theta.device.type != "cpu" or not self.theta.is_contiguous():
            msg = "the native kernel takes contiguous float32 on a CPU"
            raise ValueError(msg)
        self._decoder = Decoder(self.kernel, self.vocabulary, self.length)

    def muon(self, learning_rate: float) -> NativeMuon:
        """The optimiser behind the same kernel."""
        return NativeMuon(self.kernel, learning_rate, self.muon_blocks, self.theta)

    def paths(self, prompts: Tensor, tokens: Tensor) -> Sequences:
        """Prompts (S, B, H) and tokens (S, B, K, T), to be packed."""
        return Sequences(prompts.numpy(), tokens.numpy())

    def pack(self, paths: Any, *, keep: Ints | None = None, reach: Ints | None = None) -> PackedForest:
        """The forests of all contexts, or of `keep` (b,) as far as `reach` (b,); see `prefix_tree.pack`."""
        return pack(paths, self.vocabulary, keep=keep, reach=reach)

    def log_prob_table(self, tree: Any) -> Tensor:
        """log pi of every token after every answering row: (S, rows * V), rows of the largest forest."""
        forests: tuple[Forest, ...] = tree.forests
        apply: Callable[..., Tensor] = _Logits.apply
        logits = apply(self._decoder, forests, torch.is_grad_enabled(), self.theta, *self.parameters)
        return logits.log_softmax(-1).flatten(1)

    @torch.no_grad()
    def walk(self, prompts: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The drawn tokens (S, B, K, T), and log pi (S, B, K, T, V) of every token in the states that they pass."""
        walks = [self._walk(*each) for each in zip(self.theta, prompts.numpy(), uniform, strict=True)]
        tokens, log_pi = zip(*walks, strict=True)
        return torch.stack(tokens), torch.stack(log_pi)

    def _walk(self, theta: Tensor, prompts: Ints, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Of one seed: level by level, each level's rows below those before them in one memory."""
        B, K, T = uniform.shape
        H, V = self.length, self.vocabulary
        trunk, row = grow(prompts, np.full(B, H), H - 1)
        capacity = trunk.rows + B * K * (T - 1)
        memory = self._decoder.memory(capacity)
        nodes = np.empty((4, capacity), dtype=np.int32)
        nodes[:, : trunk.rows] = trunk.nodes
        here = np.repeat(trunk.nodes[3][row[:, -1]][:, None], K, axis=1)  # each candidate's place in the level
        level, start, stop = np.nonzero(trunk.nodes[3] >= 0)[0], 0, trunk.rows  # the level's rows, and all new ones
        tokens, tables = [], []
        for t in range(T):
            forest = Forest(nodes[:, :stop], len(level))
            logits = self._decoder.forward(theta, forest, memory, keep=False, start=start, capacity=capacity)
            table = logits.log_softmax(-1)[torch.from_numpy(here)]
            action = inverse_cdf(table, uniform[..., t])
            tokens.append(action)
            tables.append(table)
            if t == T - 1:
                break
            key, inverse = np.unique(here * V + action.numpy(), return_inverse=True)
            here = inverse.reshape(B, K)
            start, stop = stop, stop + len(key)
            nodes[:, start:stop] = key % V, np.full(len(key), H + t), level[key // V], np.arange(len(key))
            level = np.arange(start, stop)
        self._decoder.release(memory)
        return torch.stack(tokens, -1), torch.stack(tables, -2)


class _Logits(torch.autograd.Function):
    """Logits (S, M, V) of S forests, M the most answers that one of them has; its gradient is the kernel's."""

    @staticmethod
    def forward(
        ctx: Any,
        decoder: Decoder,
        forests: tuple[Forest, ...],
        keep: bool,  # noqa: FBT001 - torch takes no keywords
        theta: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        logits = theta.new_zeros(len(forests), max(f.answers for f in forests), decoder.vocabulary)
        memories = [decoder.memory(forest.rows) for forest in forests]
        for each, weights, forest, memory in zip(logits, theta, forests, memories, strict=True):
            each[: forest.answers] = decoder.forward(weights, forest, memory, keep=keep)
        if not keep:
            for memory in memories:
                decoder.release(memory)
        ctx.save_for_backward(theta)  # which refuses a backward pass after theta has changed
        ctx.decoder, ctx.forests, ctx.memories = decoder, forests, memories
        ctx.shapes = [p.shape for p in parameters]
        return logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dlogits: Tensor) -> tuple[Tensor | None, ...]:
        (theta,) = ctx.saved_tensors
        gradient = torch.zeros_like(theta)
        for weights, forest, memory, d, g in zip(theta, ctx.forests, ctx.memories, dlogits, gradient, strict=True):
            ctx.decoder.backward(weights, forest, memory, d[: forest.answers].contiguous(), g)
            ctx.decoder.release(memory)
        ctx.memories = ()
        sizes = [shape[1:].numel() for shape in ctx.shapes]
        parts = (part.reshape(shape) for part, shape in zip(torch.split(gradient, sizes, 1), ctx.shapes, strict=True))
        return (None, None, None, None, *parts)
