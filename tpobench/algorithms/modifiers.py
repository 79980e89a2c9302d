"""What stands before or beside any algorithm: `tpo+icepop` is `tpo` behind `icepop`.

A modifier changes rewards, or multiplies the gradient of contexts or tokens.  They are applied in the order of the
name; published pipelines change rewards first (decoupled), then weigh contexts (tasks, informative), then tokens.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

from tpobench.algorithms.advantages import sample_standardized_reward
from tpobench.algorithms.algorithm import Memory, Modifier
from tpobench.algorithms.groups import CandidateGroups, has_reward_variance, sequence_logp, standardize
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import bounded, mean, per_token
from tpobench.algorithms.ranges import Cap, Coefficient, Share, Temperature
from tpobench.limits import Within


def reweighted(groups: CandidateGroups, weight: Tensor) -> CandidateGroups:
    """The groups with `weight` (S, B | 1, K | 1, T | 1) on top of the token weights that are there."""
    before = groups.token_weight
    return dataclasses.replace(groups, token_weight=weight if before is None else before * weight)


def mismatch(groups: CandidateGroups) -> Tensor:
    """log pi_old - log pi_sampler by token, 0 on padding: (S, B, K, T)."""
    assert groups.rollout_logp is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    return (groups.old_logp - groups.rollout_logp) * groups.mask


def icepop(
    groups: CandidateGroups, memory: Memory, *, k_low: Share = 0.5, k_high: Cap = 5.0
) -> CandidateGroups:  # fmt: skip
    """Token weight k = pi_old / pi_sampler where k_low <= k <= k_high, else 0."""
    del memory
    k = bounded(mismatch(groups)).exp()
    return reweighted(groups, torch.where((k >= k_low) & (k <= k_high), k, 0.0))


def truncated_importance(groups: CandidateGroups, memory: Memory, *, k_cap: Cap = 2.0) -> CandidateGroups:
    """Token weight min(k, k_cap), k = pi_old / pi_sampler."""
    del memory
    return reweighted(groups, bounded(mismatch(groups)).exp().clamp_max(k_cap))


def masked_importance(groups: CandidateGroups, memory: Memory, *, k_max: Cap = 3.0) -> CandidateGroups:
    """Weight k of a whole answer where k <= k_max, else 0, k = pi_old / pi_sampler."""
    del memory
    k = bounded(mismatch(groups).sum(-1, keepdim=True)).exp()
    return reweighted(groups, torch.where(k <= k_max, k, 0.0))


def informative(groups: CandidateGroups, memory: Memory) -> CandidateGroups:
    """The mean over the groups whose rewards differ, in place of that over all: DAPO's filter without drawing again."""
    del memory
    differ = has_reward_variance(groups)
    return reweighted(groups, (differ / differ.mean(1, keepdim=True).clamp_min(1e-12))[..., None, None])


def decoupled(groups: CandidateGroups, memory: Memory) -> CandidateGroups:
    """The reward becomes the sum over rewards of their z-scores in the group; itself where there is one."""
    del memory
    assert groups.rewards is not None  # noqa: S101 - as above
    if groups.rewards.shape[-1] == 1:
        return groups
    z = standardize(groups.rewards.mT, groups.weight.unsqueeze(-2)).sum(-2)
    return dataclasses.replace(groups, reward=z, score=z, token_reward=None, baseline=torch.zeros_like(z[..., :1]))


def task_weights(
    groups: CandidateGroups,
    memory: Memory,
    *,
    task_lambda: Coefficient = 0.2,
    task_step: Coefficient = 0.025,
) -> CandidateGroups:
    """Contexts weigh M softmax(xi) of their task; xi falls with improvement + task_lambda reward."""
    assert groups.task_index is not None  # noqa: S101 - as above
    M = int(groups.task_index.max()) + 1
    member = torch.nn.functional.one_hot(groups.task_index, M).to(groups.reward.dtype)  # (S, B, M)
    reward = (member * mean(groups.reward, groups)).sum(1) / member.sum(1).clamp_min(1)  # (S, M)
    xi = memory.get("xi", torch.zeros_like(reward))
    if "task_reward" in memory:
        xi = task_logits(xi, reward - memory["task_reward"], reward, task_lambda, task_step)
    memory["xi"], memory["task_reward"] = xi, reward
    return reweighted(groups, M * (member * xi.softmax(-1).unsqueeze(1)).sum(-1)[..., None, None])


def task_logits(xi: Tensor, improvement: Tensor, reward: Tensor, task_lambda: float, step: float) -> Tensor:
    """xi - step z (s - z.s), z = softmax(xi), s = improvement + task_lambda reward: (S, M) each."""
    z, s = xi.softmax(-1), improvement + task_lambda * reward
    return xi - step * z * (s - (z * s).sum(-1, keepdim=True))


def running_baseline(
    groups: CandidateGroups, memory: Memory, *, decay: Annotated[float, Within(0.0, 0.9999)] = 0.9
) -> CandidateGroups:
    """The baseline is a running mean of the reward, the batch's own where there is none yet."""
    batch = mean(groups.reward, groups).mean(1, keepdim=True)
    memory["baseline"] = decay * memory["baseline"] + (1 - decay) * batch if "baseline" in memory else batch
    baseline = memory["baseline"]
    per_position = groups.token_reward is not None
    return dataclasses.replace(groups, baseline=baseline.unsqueeze(-1) if per_position else baseline)


def delight(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, gate_eta: Temperature = 1.0) -> Tensor:
    """Factor sigma(A_kt (-log pi_kt) / gate_eta) of each token's gradient."""
    del groups
    return torch.sigmoid(per_token(credit) * -logp / gate_eta)


def off_policy_mask(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, opsm_delta: Coefficient = 1e-4) -> Tensor:
    """Factor 0 for answers of negative advantage whose mean_t log(pi_old / pi) is above opsm_delta, else 1."""
    away = sequence_logp(groups.old_logp - logp, groups.mask) / groups.mask.sum(-1).clamp_min(1)
    off = (per_token(credit) < 0) & (away.unsqueeze(-1) > opsm_delta)
    return (~off).to(logp.dtype)


def second_moment_mask(
    groups: CandidateGroups, memory: Memory, *, second_moment: Coefficient = 0.04
) -> CandidateGroups:
    """Token weight 0 on the batch's largest log(pi_old / pi_sampler)^2, on as few as bring their mean to the bound."""
    del memory
    m2 = mismatch(groups).square().flatten(1)
    weight = (groups.weight.unsqueeze(-1) * groups.mask).flatten(1)
    ordered, order = m2.sort(1)
    share = weight.gather(1, order)
    below = (ordered * share).cumsum(1) <= second_moment * share.cumsum(1)
    # means of ascending numbers ascend, so that what is below is a beginning; equal ones stay or go together
    last = torch.where(below, ordered, -1.0).amax(1, keepdim=True)
    return reweighted(groups, (m2 <= last).to(m2.dtype).view_as(groups.mask))


def covariance(groups: CandidateGroups) -> Tensor:
    """(A - mean A) (log pi_old - mean log pi_old) of each token over the batch, A its group's z-score: (S, B, K, T)."""
    A = sample_standardized_reward(groups).unsqueeze(-1)
    weight = groups.weight.unsqueeze(-1) * groups.mask
    weight = weight / weight.sum((1, 2, 3), keepdim=True)
    away = [x - (weight * x).sum((1, 2, 3), keepdim=True) for x in (A, groups.old_logp)]
    return torch.where(weight > 0, away[0] * away[1], -torch.inf)


def first(key: Tensor, groups: CandidateGroups, share: float) -> Tensor:
    """1 on the tokens with the smallest keys, a share of all drawn, at least one, and none of infinite key."""
    tokens = ((groups.weight.unsqueeze(-1) > 0) * groups.mask).sum((1, 2, 3))
    count = (share * tokens + 1e-9).long().clamp_min(1).unsqueeze(1)
    last = key.flatten(1).sort(1).values.gather(1, count - 1).view(-1, 1, 1, 1)
    return ((key <= last) & key.isfinite()).to(groups.reward.dtype)


def clipped_covariance(
    groups: CandidateGroups,
    memory: Memory,
    *,
    cov_share: Share = 2e-4,
    cov_low: Coefficient = 1.0,
    cov_high: Coefficient = 5.0,
) -> CandidateGroups:
    """Token weight 0 on a share of the batch's tokens, at random among those of covariance within the bounds."""
    del memory
    assert groups.uniform is not None  # noqa: S101 - as above
    cov = covariance(groups)
    key = torch.where((cov > cov_low) & (cov < cov_high), groups.uniform, torch.inf)
    return reweighted(groups, 1 - first(key, groups, cov_share))


def largest_covariance(groups: CandidateGroups, memory: Memory, *, cov_share: Share = 2e-4) -> CandidateGroups:
    """Selects the share of the batch's tokens that has the largest covariance."""
    del memory
    return dataclasses.replace(groups, selected=first(-covariance(groups), groups, cov_share))


def high_entropy(groups: CandidateGroups, memory: Memory, *, top_entropy: Share = 0.2) -> CandidateGroups:
    """Token weight 1 on the share of the batch's tokens that were drawn with the largest entropy, else 0."""
    del memory
    assert groups.entropy is not None  # noqa: S101 - as above
    drawn = (groups.weight.unsqueeze(-1) > 0) & (groups.mask > 0)
    if top_entropy == 1:
        return groups
    return reweighted(groups, first(torch.where(drawn, -groups.entropy, torch.inf), groups, top_entropy))


SAMPLER = frozenset({"rollout_logp"})
LARGEST_COVARIANCE = Modifier("kl_cov", largest_covariance, paper="arXiv 2505.22617")  # of one algorithm's fit
MODIFIERS = {
    m.name: m
    for m in (
        Modifier("decoupled", decoupled, needs=frozenset({"rewards"}), paper="arXiv 2601.05242"),
        Modifier("tasks", task_weights, needs=frozenset({"task_index"}), paper="arXiv 2602.05547"),
        Modifier("informative", informative, paper="arXiv 2503.14476, without drawing again"),
        Modifier("running_baseline", running_baseline, paper="arXiv 2509.13232, simplified"),
        Modifier("icepop", icepop, needs=SAMPLER, paper="arXiv 2510.18855"),
        Modifier("tis", truncated_importance, needs=SAMPLER, paper="truncated importance sampling, as in verl"),
        Modifier("mis", masked_importance, needs=SAMPLER, paper="masked importance sampling of answers, TRL's default"),
        Modifier("m2po", second_moment_mask, needs=SAMPLER, paper="arXiv 2510.01161"),
        Modifier("clip_cov", clipped_covariance, needs=frozenset({"uniform"}), paper="arXiv 2505.22617"),
        Modifier("top_entropy", high_entropy, needs=frozenset({"entropy"}), paper="arXiv 2506.01939"),
        Modifier("dg", gate=delight, paper="arXiv 2603.14608"),
        Modifier("opsm", gate=off_policy_mask, paper="arXiv 2512.02556, with slime's bound"),
    )
}
