"""The transformer behind the kernel: the same parameters and interfaces, forests in place of packed rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpobench.policies.native.forest import Forest, PackedForest, Sequences, grow, pack
from tpobench.policies.native.kernel import Decoder, Kernel, seeds_of
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
        self._leaf = self.theta.detach().requires_grad_()

    def muon(self, learning_rate: float) -> NativeMuon:
        """The optimiser behind the same kernel."""
        return NativeMuon(self.kernel, learning_rate, self.muon_blocks, self.theta)

    def paths(self, prompts: Tensor, tokens: Tensor) -> Sequences:
        """Prompts (S, B, H) and tokens (S, B, K, T), to be packed."""
        return Sequences(prompts.numpy(), tokens.numpy())

    def pack(self, paths: Any, *, keep: Ints | None = None, reach: Ints | None = None) -> PackedForest:
        """The forests of all contexts, or of `keep` (b,) as far as `reach` (b,); see `prefix_tree.pack`."""
        return pack(paths, self.vocabulary, keep=keep, reach=reach)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Theta as one leaf, since the kernel's gradient lies as theta does."""
        return (self._leaf,)

    def square_norm(self, gradient: Sequence[Tensor]) -> Tensor:
        """Of a gradient by theta, summed array by array: (S,)."""
        (flat,) = gradient
        return super().square_norm(list(self.named(flat).values()))

    def log_prob_table(self, tree: Any) -> Tensor:
        """log pi of every token after every answering row: (S, rows * V), rows of the largest forest."""
        apply: Callable[..., Tensor] = _Logits.apply
        logits = apply(self._decoder, tree.forests, torch.is_grad_enabled(), self._leaf)
        return logits.log_softmax(-1).flatten(1)

    @torch.no_grad()
    def walk(self, prompts: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The drawn tokens (S, B, K, T), and log pi (S, B, K, T, V) of every token in the states that they pass.

        Level by level, each level's rows below those before them in the memory of their seed.
        """
        S, B, K, T = uniform.shape
        H, V = self.length, self.vocabulary
        trunks, row = grow(prompts.numpy(), np.full(B, H), H - 1)
        capacity = max(trunk.rows for trunk in trunks) + B * K * (T - 1)
        memories = [self._decoder.memory(capacity) for _ in trunks]
        nodes = np.empty((S, 4, capacity), dtype=np.int32)
        seeds = seeds_of([Forest(own, 0) for own in nodes], memories)
        level = np.zeros((S, max(trunk.answers for trunk in trunks)), dtype=np.int64)  # rows of the level
        here = np.empty((S, B, K), dtype=np.int64)  # each candidate's place in it
        for s, trunk in enumerate(trunks):
            nodes[s, :, : trunk.rows] = trunk.nodes
            level[s, : trunk.answers] = np.nonzero(trunk.nodes[3] >= 0)[0]
            here[s] = trunk.nodes[3][row[s, :, -1:]]
        start, stop = seeds[:, 3], seeds[:, 4]  # of the level's rows
        start[:], stop[:] = 0, [trunk.rows for trunk in trunks]
        tokens, tables = [], []
        for t in range(T):
            M = level.shape[1]
            logits = self.theta.new_zeros(S, M, V)
            self._decoder.forward(self.theta, seeds, logits, keep=False)
            place = here + M * np.arange(S)[:, None, None]  # among the rows of all seeds
            table = logits.log_softmax(-1).flatten(0, 1)[torch.from_numpy(place)]
            action = inverse_cdf(table, uniform[..., t])
            tokens.append(action)
            tables.append(table)
            if t == T - 1:
                break
            key = place * V + action.numpy()
            taken = np.zeros(S * M * V, dtype=bool)
            taken[key] = True
            count = np.count_nonzero(taken.reshape(S, -1), axis=1)
            before = np.cumsum(count) - count
            here = (np.cumsum(taken) - 1)[key] - before[:, None, None]
            drawn = np.flatnonzero(taken)
            fresh = np.empty((4, len(drawn)), dtype=np.int32)
            fresh[0], fresh[1], fresh[2] = drawn % V, H + t, level.ravel()[drawn // V]
            fresh[3] = np.arange(len(drawn)) - np.repeat(before, count)
            start[:], stop[:] = stop, stop + count
            level = start[:, None] + np.arange(count.max())
            for s in range(S):
                nodes[s, :, start[s] : stop[s]] = fresh[:, before[s] : before[s] + count[s]]
        for memory in memories:
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
    ) -> Tensor:
        logits = theta.new_zeros(len(forests), max(f.answers for f in forests), decoder.vocabulary)
        memories = [decoder.memory(forest.rows) for forest in forests]
        seeds = seeds_of(forests, memories)
        decoder.forward(theta, seeds, logits, keep=keep)
        if not keep:
            for memory in memories:
                decoder.release(memory)
        ctx.save_for_backward(theta)  # which refuses a backward pass after theta has changed
        ctx.decoder, ctx.forests, ctx.memories, ctx.seeds = decoder, forests, memories, seeds
        return logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dlogits: Tensor) -> tuple[Tensor | None, ...]:
        (theta,) = ctx.saved_tensors
        gradient = torch.zeros_like(theta)
        ctx.decoder.backward(theta, ctx.seeds, dlogits.contiguous(), gradient)
        for memory in ctx.memories:
            ctx.decoder.release(memory)
        ctx.memories = ()
        return None, None, None, gradient
