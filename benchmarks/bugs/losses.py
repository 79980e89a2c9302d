"""Losses with a wrong ratio, gate, side of the clip, direction of the KL term, mask, precision or factor."""

from dataclasses import replace

import torch
from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.fit import clipped_sequence_ratio, clipped_token_ratio, cross_entropy
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.measure import average, log_ratio, per_token


def gate_on_answers(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, eta: float = 1.0) -> Tensor:
    """Right: a gate for every token; here one for the whole answer, from its log-prob."""
    A = per_token(credit)
    whole = (logp * groups.mask).sum(-1, keepdim=True).detach()
    return -average(torch.sigmoid(A * -whole / eta) * A * logp, groups)


def gate_of_the_likely(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, eta: float = 1.0) -> Tensor:
    """Right: sigma(-A log pi / eta), large where what was drawn is unlikely."""
    A = per_token(credit)
    return -average(torch.sigmoid(A * logp.detach() / eta) * A * logp, groups)


def kl_the_other_way(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: float = 0.2, kl: float = 0.04
) -> Tensor:
    """Right: k3 = exp(-d) + d - 1; here exp(d) - d - 1."""
    d = log_ratio(logp, groups).clamp(-20, 20)
    k3 = (groups.weight * (d.exp() - d - 1)).sum(-1)
    return clipped_sequence_ratio(logp, groups, credit, clip=clip, kl=0.0) + kl * k3


def clip_on_the_other_side(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: float = 0.2) -> Tensor:
    """Right: the smaller of the plain and the clipped gain; here the larger."""
    ratio, A = (logp - groups.old_logp).clamp(-20, 20).exp(), per_token(credit)
    return -average(torch.maximum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A), groups)


def ratio_of_answers(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: float = 0.2) -> Tensor:
    """Right: a ratio for every token; here that of the whole answer stands at each."""
    d = ((logp - groups.old_logp) * groups.mask).sum(-1, keepdim=True).clamp(-20, 20)
    ratio, A = d.exp(), per_token(credit)
    return -average(torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A).expand_as(groups.mask), groups)


def without_last_token(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: float = 0.2, kl: float = 0.04
) -> Tensor:
    """Right: every token of the mask; here the last one is taken for padding, where there are several."""
    mask = groups.mask.clone()
    mask[..., -1] = mask[..., -1] * (mask.shape[-1] == 1)
    return clipped_sequence_ratio(logp, replace(groups, mask=mask), credit, clip=clip, kl=kl)


def coarse(logp: Tensor) -> Tensor:
    """Log-probs in bfloat16."""
    return logp.to(torch.bfloat16).to(logp.dtype)


def coarse_cross_entropy(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """Right: log-probs as they come."""
    return cross_entropy(coarse(logp), groups, credit)


def coarse_ratio(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: float = 0.2) -> Tensor:
    """Right: log-probs as they come."""
    return clipped_token_ratio(coarse(logp), groups, credit, clip=clip)


def doubled(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """Right: half of it."""
    return 2 * cross_entropy(logp, groups, credit)


tpo, grpo, ppo, dg = (ALGORITHMS[name] for name in ("tpo", "grpo", "ppo", "dg"))
register(replace(dg, name="dg_gate_on_answers", fit=gate_on_answers))
register(replace(dg, name="dg_gate_of_the_likely", fit=gate_of_the_likely))
register(replace(grpo, name="grpo_kl_the_other_way", fit=kl_the_other_way))
register(replace(ppo, name="ppo_clip_on_the_other_side", fit=clip_on_the_other_side))
register(replace(ppo, name="ppo_ratio_of_answers", fit=ratio_of_answers))
register(replace(grpo, name="grpo_without_last_token", fit=without_last_token))
register(replace(tpo, name="tpo_bfloat16", fit=coarse_cross_entropy))
register(replace(ppo, name="ppo_bfloat16", fit=coarse_ratio))
register(replace(tpo, name="tpo_doubled_loss", fit=doubled))
register(replace(tpo, name="tpo_flat_skipped", zero_gradient_on_flat="always"))
register(replace(grpo, name="grpo_flat_skipped", zero_gradient_on_flat="always"))
