"""Credit: WHICH candidates gain probability mass.  Once per rollout batch, without gradient.

Every function maps groups to (S, B, K); `baseline_advantage` gives (S, B, K, T) where rewards are per token.
"""

from __future__ import annotations

from tpobench.algorithms.groups import CandidateGroups, standardize
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.ranges import Floor, Temperature
from tpobench.algorithms.softmax import log_softmax, softmax


def baseline_advantage(groups: CandidateGroups) -> Tensor:
    """A = r - b, per token where rewards are per token."""
    return groups.advantage


def standardized_reward(groups: CandidateGroups, *, epsilon: Floor = 1e-8) -> Tensor:
    """A_k = (r_k - mean r) / (std r + epsilon) within the group, under its sampling measure."""
    return standardize(groups.reward, groups.weight, epsilon=epsilon)


def batch_standardized_reward(groups: CandidateGroups, *, epsilon: Floor = 1e-8) -> Tensor:
    """A_bk = (r_bk - mean r) / (std r + epsilon) over all candidates of the batch of a seed."""
    B = groups.reward.shape[1]
    flat = standardize(groups.reward.flatten(1), groups.weight.flatten(1) / B, epsilon=epsilon)
    return flat.view_as(groups.reward)


def standardized_score(groups: CandidateGroups, *, eta: Temperature = 1.0) -> Tensor:
    """TPO's scores, u = (score - mean) / std / eta over the candidates, each counted once."""
    return standardize(groups.score) / eta


def tilted_target(groups: CandidateGroups, *, eta: Temperature = 1.0, anchor: bool = True) -> Tensor:
    """TPO's target, q_k ~ p_old(k) exp(u_k), p_old = softmax of old log-probs; q_k ~ exp(u_k) without `anchor`."""
    u = standardized_score(groups, eta=eta)
    return softmax(log_softmax(groups.old_sequence_logp) + u if anchor else u)


def label_target(groups: CandidateGroups) -> Tensor:
    """The oracle's target, q = e_y: all mass on the right candidate."""
    assert groups.label is not None  # noqa: S101 - Algorithm.needs has refused tasks without labels
    candidate = torch.arange(groups.reward.shape[-1], device=groups.label.device)
    return (groups.label.unsqueeze(-1) == candidate).to(groups.reward.dtype)
