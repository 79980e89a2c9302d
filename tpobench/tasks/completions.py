"""What every task of completions records of them."""

from __future__ import annotations

from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, has_reward_variance


def held_out_errors(right: Tensor) -> dict[str, Tensor]:
    """error, greedy_error: 1 - accuracy on held-out problems of (S, N, 1 + samples) completions, the first greedy."""
    return {"error": 1 - right[..., 1:].mean((1, 2)), "greedy_error": 1 - right[..., 0].mean(1)}


def batch_metrics(groups: CandidateGroups) -> dict[str, Tensor]:
    """reward: mean of the batch; informative: share of problems of several completions that differ in it."""
    metrics = {"reward": groups.reward.mean((1, 2))}
    if groups.reward.shape[-1] > 1:
        metrics["informative"] = has_reward_variance(groups).mean(1)
    return metrics
