"""The simplest policy: a table of logits, one row per context, stacked over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TablePolicy:
    """pi(k | b) = softmax_k(theta_bk)."""

    theta: Tensor  # (S, B, K) logits, a leaf that requires grad

    @classmethod
    def from_logits(cls, logits: Tensor) -> TablePolicy:
        """A policy that starts from a copy of `logits` (S, B, K)."""
        return cls(logits.detach().clone().contiguous().requires_grad_())

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The logits."""
        return (self.theta,)

    def logp(self, rows: Tensor | None = None) -> Tensor:
        """log pi with graph, every arm a candidate of one token: (S, B, K, 1), or (S, b, K, 1) for `rows`."""
        theta = self.theta if rows is None else self.theta.index_select(1, rows)
        return theta.log_softmax(-1).unsqueeze(-1)

    def snapshot(self) -> Tensor:
        """log pi without graph: (S, B, K, 1)."""
        with torch.no_grad():
            return self.logp()
