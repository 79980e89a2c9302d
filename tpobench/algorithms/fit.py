"""Fit: HOW the parameters move.  Every epoch, differentiable in logp (S, B, K, T); gives each context's loss (S, B).

A credit of shape (S, B, K) holds for every token of its candidate.  Candidates are averaged under `groups.weight`.
"""

from __future__ import annotations

import math

from tpobench.algorithms.groups import CandidateGroups, sequence_logp
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import average, bounded, length, log_ratio, per_token
from tpobench.algorithms.ranges import Cap, Clip, ClipHigh, Coefficient, Temperature
from tpobench.algorithms.softmax import log_softmax


def policy_gradient(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """L = -sum_k w_k sum_t A_kt log pi_kt."""
    return -average(per_token(credit) * logp, groups)


def delightful_gradient(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, eta: Temperature = 1.0) -> Tensor:
    """L = -sum_k w_k sum_t sg[sigma(A_kt (-log pi_kt) / eta)] A_kt log pi_kt, gated token by token."""
    A = per_token(credit)
    gate = torch.sigmoid(A * -logp.detach() / eta)
    return -average(gate * A * logp, groups)


def clipped_token_ratio(
    logp: Tensor,
    groups: CandidateGroups,
    credit: Tensor,
    *,
    clip: Clip = 0.2,
    clip_high: ClipHigh | None = None,
    dual_clip: Cap | None = None,
) -> Tensor:
    """L = -sum_k w_k sum_t min(rho_kt A_kt, clip(rho_kt, 1 - clip, 1 + clip) A_kt), rho_kt = pi_kt / pi_old_kt.

    clip_high replaces clip above 1; with dual_clip no failure counts more than dual_clip |A|.
    """
    # PPO has no bound on the ratio; this one only keeps exp and its gradient finite (e^44 in float32, e^354 in float64)
    bound = math.log(torch.finfo(logp.dtype).max) / 2
    ratio = (logp - groups.old_logp).clamp(-bound, bound).exp()
    A = per_token(credit)
    gain = torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + (clip if clip_high is None else clip_high)) * A)
    if dual_clip is not None:
        gain = torch.where(A < 0, torch.maximum(gain, dual_clip * A), gain)
    return -average(gain, groups)


def clipped_sequence_ratio(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: Clip = 0.2, kl: Coefficient = 0.04
) -> Tensor:
    """L = -sum_k w_k [min(rho_k A_k, clip(rho_k) A_k) - kl (exp(-d_k) + d_k - 1)], d_k = log rho_k within +-20.

    rho_k = prod_t pi_kt / pi_old_kt is the ratio of whole candidates, and the KL term is k3 to the snapshot.
    """
    d = bounded(log_ratio(logp, groups))
    ratio = d.exp()
    loss = -torch.minimum(ratio * credit, ratio.clamp(1 - clip, 1 + clip) * credit)
    if kl:
        loss = loss + kl * ((-d).exp() + d - 1)
    return (groups.weight * loss).sum(-1)


def cross_entropy(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """L = -sum_k q_k log p_k, with p = softmax of the candidates' sequence log-probs."""
    return -(credit * log_softmax(sequence_logp(logp, groups.mask))).sum(-1)


def length_mean_cross_entropy(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """L = -sum_k q_k log p_k, with p = softmax of the candidates' mean token log-probs."""
    return -(credit * log_softmax(sequence_logp(logp, groups.mask) / length(groups))).sum(-1)
