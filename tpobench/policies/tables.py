"""The simplest policy: a table of logits, one row per context, stacked over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TablePolicy:
    """pi(k | b) = softmax_k(theta_kb).

    Memory holds arms before contexts, because a softmax over a short last axis is many times slower.
    """

    theta: Tensor  # (S, K, B) logits, a contiguous leaf that requires grad

    @classmethod
    def from_logits(cls, logits: Tensor) -> TablePolicy:
        """A policy that starts from a copy of `logits` (S, B, K)."""
        return cls(logits.detach().mT.clone(memory_format=torch.contiguous_format).requires_grad_())

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The logits, arms before contexts."""
        return (self.theta,)

    @property
    def logits(self) -> Tensor:
        """The logits as contexts by arms: (S, B, K)."""
        return self.theta.mT

    def logp(self, rows: Tensor | None = None) -> Tensor:
        """Log pi with graph, every arm a candidate of one token: (S, B, K, 1), or (S, b, K, 1) for `rows`."""
        theta = self.theta if rows is None else self.theta.index_select(2, rows)
        return theta.log_softmax(1).mT.unsqueeze(-1)

    def snapshot(self) -> Tensor:
        """Log pi without graph: (S, B, K, 1)."""
        with torch.no_grad():
            return self.logp()

    def entropy(self) -> Tensor:
        """-sum_k pi_k log pi_k of each context, without graph: (S, B, 1, 1)."""
        log_pi = self.snapshot()
        return -(log_pi.exp() * log_pi).sum(2, keepdim=True)
