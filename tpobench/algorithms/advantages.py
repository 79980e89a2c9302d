"""Credits of the field: advantages, which are signed, and of which 0 says nothing.  (S, B, K), or (S, B, K, T)."""

from __future__ import annotations

import math

from tpobench.algorithms.groups import CandidateGroups, has_reward_variance, standardize
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import batch_mean, bessel, length, mean, sample_variance
from tpobench.algorithms.ranges import Coefficient, Floor, Share


def centered_reward(groups: CandidateGroups) -> Tensor:
    """A = r - mean r."""
    return groups.reward - mean(groups.reward, groups)


def leave_one_out_advantage(groups: CandidateGroups) -> Tensor:
    """A = r - mean r of the other draws = n / (n - 1) (r - mean r)."""
    return bessel(groups) * centered_reward(groups)


def sample_standardized_reward(groups: CandidateGroups, *, epsilon: Floor = 1e-4) -> Tensor:
    """A = (r - mean r) / (s + epsilon), s the sample standard deviation."""
    root = math.sqrt(bessel(groups))  # sample = root times population
    return standardize(groups.reward, groups.weight, epsilon=epsilon / root) / root


def batch_scaled_reward(groups: CandidateGroups, *, epsilon: Floor = 1e-4) -> Tensor:
    """A = (r - mean r) / (std of r over the batch + epsilon)."""
    std = batch_mean((groups.reward - batch_mean(groups.reward, groups)).square(), groups).sqrt()
    return torch.where(std > 0, centered_reward(groups) / (std + epsilon), 0.0)


def mean_scaled_reward(groups: CandidateGroups, *, epsilon: Floor = 1e-6) -> Tensor:
    """A = (r - mean r) / (mean r + epsilon), 0 without success."""
    average = mean(groups.reward, groups)
    return torch.where(average > 0, (groups.reward - average) / (average.clamp_min(0) + epsilon), 0.0)


def decoupled_advantage(groups: CandidateGroups, *, epsilon: Floor = 1e-4) -> Tensor:
    """A = z over the batch of sum_m z(r_m) over the group, both by sample standard deviation + epsilon."""
    assert groups.rewards is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    root = math.sqrt(bessel(groups))
    weight = groups.weight.unsqueeze(-2)
    A = (standardize(groups.rewards.mT, weight, epsilon=epsilon / root) / root).sum(-2)
    A = A - batch_mean(A, groups)
    n = groups.draws * A.shape[1]
    std = (batch_mean(A.square(), groups) * (n / (n - 1) if math.isfinite(n) and n > 1 else 1.0)).sqrt()
    return torch.where(std > 0, A / (std + epsilon), 0.0)


def length_weighted_advantage(groups: CandidateGroups) -> Tensor:
    """A = r - sum L r / sum L, the least-variance baseline if the gradient of every token has one norm."""
    L = length(groups)
    return groups.reward - mean(L * groups.reward, groups) / mean(L, groups)


def greedy_advantage(groups: CandidateGroups) -> Tensor:
    """A = r - r(greedy answer)."""
    assert groups.greedy_reward is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    return groups.reward - groups.greedy_reward.unsqueeze(-1)


def whitened_return(groups: CandidateGroups, *, kl: Coefficient = 0.01) -> Tensor:
    """A_t = z over the batch's tokens of sum_{s >= t} [r at the last token - kl (log pi_old - log pi_ref)]_s."""
    reward = token_rewards_with_kl(groups, kl)
    return whitened(reward.flip(-1).cumsum(-1).flip(-1), groups)


def gae_advantage(
    groups: CandidateGroups, *, lam: Share = 0.95, kl: Coefficient = 0.05, correction: bool = True
) -> Tensor:
    """A_t = z over the batch's tokens of sum_s lam^s [r + V' - V]_{t+s}, r with a KL as in whitened_return.

    correction: Bessel's variance.
    """
    assert groups.value is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    V = groups.value * groups.mask
    after = torch.cat([V[..., 1:], torch.zeros_like(V[..., :1])], -1)
    delta = (token_rewards_with_kl(groups, kl) + after - V) * groups.mask
    A = [torch.zeros_like(delta[..., 0])]
    for t in reversed(range(delta.shape[-1])):
        A.append(delta[..., t] + lam * A[-1])
    return whitened(torch.stack(A[:0:-1], -1), groups, correction=correction)


def whitened_centered_reward(groups: CandidateGroups) -> Tensor:
    """A = z over the batch's tokens of r - mean r."""
    return whitened(centered_reward(groups).unsqueeze(-1).expand_as(groups.mask), groups)


def token_rewards_with_kl(groups: CandidateGroups, kl: float) -> Tensor:
    """The reward at the last token of each answer, minus kl log(pi_old / pi_ref) at every token: (S, B, K, T)."""
    reward = last_token(groups) * groups.reward.unsqueeze(-1)
    if kl == 0:
        return reward
    assert groups.ref_logp is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    return reward - kl * (groups.old_logp - groups.ref_logp) * groups.mask


def last_token(groups: CandidateGroups) -> Tensor:
    """1 on the last real token of each candidate: (S, B, K, T)."""
    later = groups.mask.flip(-1).cumsum(-1).flip(-1) - groups.mask
    return groups.mask * (later == 0)


def whitened(x: Tensor, groups: CandidateGroups, *, correction: bool = False, floor: float = 1e-8) -> Tensor:
    """(x - mean x) / sqrt(max(var x, floor)) over the real tokens of a seed's batch: (S, B, K, T).

    `correction` takes Bessel's variance and adds the floor, as verl and Tulu 3 do.
    """
    weight = groups.weight.unsqueeze(-1) * groups.mask
    tokens = weight.sum((1, 2, 3), keepdim=True)
    average = (weight * x).sum((1, 2, 3), keepdim=True) / tokens
    variance = (weight * (x - average).square()).sum((1, 2, 3), keepdim=True) / tokens
    if correction:
        n = groups.draws * tokens
        variance = variance * torch.where(n.isfinite() & (n > 1), n / (n - 1), 1.0) + floor
    return (x - average) * variance.clamp_min(floor).rsqrt() * groups.mask


def successes(groups: CandidateGroups) -> Tensor:
    """A = 1 on successes: what was drawn, is rewarded, and is the best of its group."""
    return _successes(groups)


def failures(groups: CandidateGroups) -> Tensor:
    """A = -1 on all but successes."""
    return _successes(groups) - 1


def successes_and_failures(groups: CandidateGroups, *, positive: Coefficient = 1.0) -> Tensor:
    """A = positive on successes, -1 on all others."""
    return positive * _successes(groups) + failures(groups)


def mixed_successes_and_failures(groups: CandidateGroups) -> Tensor:
    """A = 1 on successes, -1 on all others, 0 in groups of equal rewards."""
    return successes_and_failures(groups) * has_reward_variance(groups).unsqueeze(-1)


def pass_at_k_advantage(groups: CandidateGroups, *, epsilon: Floor = 1e-6) -> Tensor:
    """A = (r - r of the second best draw) / (s + epsilon) on the best draw, 0 on all others.

    Of exact groups, where nothing is drawn, every candidate is one.
    """
    drawn = groups.weight > 0
    reward = torch.where(drawn, groups.reward, -torch.inf)
    best, index = reward.topk(2, -1)
    often = math.isfinite(groups.draws) & (groups.weight * groups.draws > 1.5)  # drawn twice, it is its own second
    alone = best[..., 1:].isfinite() & ~often.gather(-1, index[..., :1])
    gap = torch.where(alone, best[..., :1] - best[..., 1:], 0.0)
    A = torch.where(gap > 0, gap / (sample_variance(groups.reward, groups).sqrt() + epsilon), 0.0)
    return torch.zeros_like(groups.reward).scatter(-1, index[..., :1], A)


def _successes(groups: CandidateGroups) -> Tensor:
    reward = torch.where(groups.weight > 0, groups.reward, -torch.inf)
    best = reward.amax(-1, keepdim=True)
    return ((reward >= best - 1e-9) & (best > 0)).to(groups.reward.dtype)


def accepted_minus_rejected(groups: CandidateGroups, *, alpha: Share = 0.5) -> Tensor:
    """A = alpha / share of the accepted, -(1 - alpha) / share of the rejected: above and below the group's mean.

    A group of equal rewards has neither.
    """
    A = centered_reward(groups)
    accepted, rejected = ((sign * A > 1e-6).to(A.dtype) for sign in (1, -1))
    share = [mean(x, groups).clamp_min(1e-12) for x in (accepted, rejected)]
    return alpha * accepted / share[0] - (1 - alpha) * rejected / share[1]
