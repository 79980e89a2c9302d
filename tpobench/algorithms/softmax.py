"""Softmax over candidates, the last axis of (S, B, K).

Taken over the middle axis of the transpose: the same numbers, many times faster than over a short last axis.
"""

from __future__ import annotations

from tpobench.algorithms.lazy import Tensor


def log_softmax(x: Tensor) -> Tensor:
    """Log p_k with p_k ~ exp(x_k): (S, B, K) -> (S, B, K)."""
    return x.mT.log_softmax(-2).mT


def softmax(x: Tensor) -> Tensor:
    """p_k ~ exp(x_k): (S, B, K) -> (S, B, K)."""
    return x.mT.softmax(-2).mT
