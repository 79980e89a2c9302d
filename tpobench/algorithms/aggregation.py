"""How losses of tokens become one loss, written as a scale of the credit.

A fit sums over tokens.  One that is proportional to its credit (policy gradients, clipped ratios) averages over tokens
instead if the credit is divided, and the division is made here, over the whole batch and once, so that contexts can
still be skipped and batches cut.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tpobench.algorithms.algorithm import Credit
from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import length, mean

Scale = Callable[[CandidateGroups], Tensor]  # (groups) -> (S, B, K | 1)


def _aggregation(scale: Scale) -> Callable[[Credit], Credit]:
    @functools.wraps(scale)
    def aggregated(credit: Credit) -> Credit:
        @functools.wraps(credit)
        def scaled(groups: CandidateGroups, **hyper: float) -> Tensor:
            A, by = credit(groups, **hyper), scale(groups)
            return A * (by.unsqueeze(-1) if A.dim() == 4 else by)

        scaled.__doc__ = f"{_first(credit)}, {_first(scale)}"
        return scaled

    return aggregated


def _first(function: Callable[..., Tensor]) -> str:
    return (function.__doc__ or "").strip().splitlines()[0].removesuffix(".")


@_aggregation
def sequence_mean(groups: CandidateGroups) -> Tensor:
    """over L_k."""
    return 1 / length(groups)


@_aggregation
def constant_mean(groups: CandidateGroups) -> Tensor:
    """over L_max."""
    return torch.full_like(groups.reward[..., :1], 1 / groups.mask.shape[-1])


@_aggregation
def token_mean(groups: CandidateGroups) -> Tensor:
    """over the mean length of the batch."""
    return _per_token_of(groups, torch.ones_like(groups.reward[..., :1]))


@_aggregation
def informative_token_mean(groups: CandidateGroups) -> Tensor:
    """over the mean length of groups whose rewards differ; the others are left out."""
    return _per_token_of(groups, has_reward_variance(groups).unsqueeze(-1))


def _per_token_of(groups: CandidateGroups, counted: Tensor) -> Tensor:
    """counted B / (tokens of the counted contexts): (S, B, 1)."""
    tokens = (counted * mean(length(groups), groups)).mean(1, keepdim=True)
    return counted / tokens.clamp_min(1e-12)
