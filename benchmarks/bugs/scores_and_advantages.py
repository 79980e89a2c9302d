"""Scores and advantages that are centred or scaled wrongly, and targets of a wrong temperature."""

from dataclasses import replace

from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.advantages import sample_standardized_reward
from tpobench.algorithms.credit import standardized_score
from tpobench.algorithms.groups import CandidateGroups, standardize
from tpobench.algorithms.softmax import log_softmax, softmax


def advantage_over_largest(groups: CandidateGroups) -> Tensor:
    """Right: (r - mean) / std."""
    centred = groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)
    return centred / centred.abs().amax(-1, keepdim=True).clamp_min(1e-6)


def advantage_not_centred(groups: CandidateGroups) -> Tensor:
    """Right: (r - mean) / std."""
    std = (groups.reward - groups.reward.mean(-1, keepdim=True)).square().mean(-1, keepdim=True).sqrt()
    return groups.reward / (std + 1e-8) * (std > 1e-6)


def baseline_short_by_one(groups: CandidateGroups) -> Tensor:
    """Right: r - b; here b is the sum over n rewards divided by n - 1."""
    n = groups.reward[0].numel()
    reward = groups.reward if groups.token_reward is None else groups.token_reward
    return reward - groups.baseline * n / (n - 1)


def batch_target(groups: CandidateGroups, *, eta: float = 1.0) -> Tensor:
    """Right: u standardised over each group."""
    u = standardize(groups.score.flatten(1)).view_as(groups.score) / eta
    return softmax(log_softmax(groups.old_sequence_logp) + u)


def sample_target(groups: CandidateGroups, *, eta: float = 1.0) -> Tensor:
    """Right: the population's deviation; here the sample's, with K - 1."""
    K = groups.score.shape[-1]
    return softmax(log_softmax(groups.old_sequence_logp) + standardized_score(groups, eta=eta) * ((K - 1) / K) ** 0.5)


def inverted_temperature(groups: CandidateGroups, *, eta: float = 1.0) -> Tensor:
    """Right: u / eta."""
    return softmax(log_softmax(groups.old_sequence_logp) + standardized_score(groups) * eta)


tpo, grpo, ppo = ALGORITHMS["tpo"], ALGORITHMS["grpo"], ALGORITHMS["ppo"]
register(replace(grpo, name="grpo_over_largest", credit=advantage_over_largest))
register(replace(grpo, name="grpo_not_centred", credit=advantage_not_centred))
register(replace(grpo, name="grpo_sample_deviation", credit=sample_standardized_reward))
register(replace(ppo, name="ppo_baseline_short_by_one", credit=baseline_short_by_one))
register(replace(tpo, name="tpo_batch_scores", credit=batch_target, zero_gradient_on_flat="never"))
register(replace(tpo, name="tpo_sample_deviation", credit=sample_target))
register(replace(tpo, name="tpo_inverted_temperature", credit=inverted_temperature))
