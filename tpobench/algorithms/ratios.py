"""Fits of the field: what the ratio of new to old policy multiplies, and where it stops counting.

rho = pi / pi_old of tokens or of whole candidates, sg[.] carries no gradient.  All but `clipped_with_reference_kl` are
proportional to their credit.
"""

from __future__ import annotations

from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import average, bounded, k3, length, log_ratio, per_token, token_log_ratio
from tpobench.algorithms.ranges import Cap, Clip, ClipHigh, Coefficient, Temperature


def surrogate(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """L = -sum_k w_k sum_t rho_kt A_kt."""
    return -average(bounded(token_log_ratio(logp, groups)).exp() * per_token(credit), groups)


def surrogate_with_selected_kl(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, kl: Coefficient = 1.0
) -> Tensor:
    """L = -sum_k w_k sum_t [rho_kt A_kt - kl / L_k |log rho_kt| on selected tokens]."""
    assert groups.selected is not None  # noqa: S101 - its modifier has set it
    penalty = kl * groups.selected * token_log_ratio(logp, groups).abs() / length(groups).unsqueeze(-1)
    return surrogate(logp, groups, credit) + average(penalty, groups)


def clipped_mean_ratio(
    logp: Tensor,
    groups: CandidateGroups,
    credit: Tensor,
    *,
    clip: Clip = 3e-4,
    clip_high: ClipHigh = 4e-4,
    by_length: bool = False,
) -> Tensor:
    """L = -sum_k w_k min(s_k A_k, clip(s_k) A_k), s_k = exp(mean_t log rho_kt); times L_k with `by_length`."""
    s = bounded(log_ratio(logp, groups) / length(groups)).exp()
    gain = torch.minimum(s * credit, s.clamp(1 - clip, 1 + clip_high) * credit)
    return -(groups.weight * (gain * length(groups) if by_length else gain)).sum(-1)


def clipped_geometric_ratio(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: ClipHigh = 0.4) -> Tensor:
    """L = -sum_k w_k A_k exp(mean_t d_kt), d = log rho bounded by clip on the side that A favours."""
    d, sign = token_log_ratio(logp, groups), credit.sign().unsqueeze(-1)
    d = sign * torch.minimum(sign * d, sign * d.clamp(-clip, clip))
    return -(groups.weight * bounded((d * groups.mask).sum(-1) / length(groups)).exp() * credit).sum(-1)


def capped_weight(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, cap: Cap = 5.0) -> Tensor:
    """L = -sum_k w_k sum_t sg[min(rho_kt, cap)] A_kt log pi_kt."""
    rho = bounded(token_log_ratio(logp.detach(), groups)).exp()
    return -average(rho.clamp_max(cap) * per_token(credit) * logp, groups)


def trust_masked_weight(
    logp: Tensor,
    groups: CandidateGroups,
    credit: Tensor,
    *,
    delta: Clip = 0.2,
    cap: Cap = 20.0,
    k2: Coefficient | None = None,
) -> Tensor:
    """L = -sum_k w_k sum_t sg[min(rho, cap)] A log pi, but for tokens that moved by more than delta where A pulls.

    k2 adds k2 mean_t (log rho_kt)^2.
    """
    A, d = per_token(credit), token_log_ratio(logp, groups)
    moved = logp.detach().exp() - groups.old_logp.exp()
    trusted = torch.where(A > 0, moved <= delta, moved >= -delta).to(logp.dtype)
    loss = -bounded(d.detach()).exp().clamp_max(cap) * trusted * A * logp
    return average(loss if k2 is None else loss + k2 * d.square() / length(groups).unsqueeze(-1), groups)


def soft_gate(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, tau_pos: Temperature = 1.0, tau_neg: Temperature = 1.05
) -> Tensor:
    """L = -sum_k w_k sum_t 4 / tau sigma(tau (rho_kt - 1)) A_kt, tau by the sign of A."""
    A = per_token(credit)
    tau = torch.where(A > 0, torch.full_like(A, tau_pos), tau_neg)  # of two floats `where` makes float32
    rho = bounded(token_log_ratio(logp, groups)).exp()
    return -average(4 / tau * torch.sigmoid(tau * (rho - 1)) * A, groups)


def gamma_weight(
    logp: Tensor,
    groups: CandidateGroups,
    credit: Tensor,
    *,
    k_pos: Coefficient = 2.0,
    rate_pos: Coefficient = 3.0,
    k_neg: Coefficient = 3.0,
    rate_neg: Coefficient = 2.0,
) -> Tensor:
    """L = -sum_k w_k sum_t sg[e^l W_k^c e^(-l W_k)] A_kt log pi_kt, W = rho of the candidate, (c, l) by A's sign."""
    A, d = per_token(credit), bounded(log_ratio(logp.detach(), groups)).unsqueeze(-1)
    c = torch.where(A >= 0, torch.full_like(A, k_pos), k_neg)
    rate = torch.where(A >= 0, torch.full_like(A, rate_pos), rate_neg)
    return -average(bounded(rate + c * d - rate * d.exp()).exp() * A * logp, groups)


def tapered_weight(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """L = -sum_k w_k sum_t c_k A_kt log pi_kt, c = 1 where A > 0, else sg[min(rho_k, 1)], rho of the candidate."""
    A, d = per_token(credit), log_ratio(logp.detach(), groups).unsqueeze(-1)
    return -average(torch.where(A > 0, 1.0, d.clamp_max(0).exp()) * A * logp, groups)


def clipped_with_reference_kl(
    logp: Tensor,
    groups: CandidateGroups,
    credit: Tensor,
    *,
    clip: Clip = 0.2,
    kl: Coefficient = 0.04,
    kl_ratio: bool = False,
) -> Tensor:
    """L = -sum_k w_k mean_t [min(rho A, clip(rho) A) - kl (e^c - c - 1)], c = log pi_ref - log pi.

    kl_ratio multiplies the KL term by rho, so that its gradient is the reverse KL's (TRL's default since 1.10).
    """
    assert groups.ref_logp is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    A, rho = per_token(credit), bounded(token_log_ratio(logp, groups)).exp()
    penalty = kl * k3(logp, groups.ref_logp)
    gain = torch.minimum(rho * A, rho.clamp(1 - clip, 1 + clip) * A) - (rho * penalty if kl_ratio else penalty)
    return -average(gain / length(groups).unsqueeze(-1), groups)
