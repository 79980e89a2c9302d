"""Fits of the field: log-ratios to the snapshot (or a reference) are drawn to a target, and stop when they reach it."""

from __future__ import annotations

from tpobench.algorithms.fit import policy_gradient
from tpobench.algorithms.groups import CandidateGroups, sequence_logp
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import average, bessel, bounded, length, log_ratio, mean, per_token, token_log_ratio
from tpobench.algorithms.ranges import Coefficient, Temperature
from tpobench.algorithms.softmax import softmax


def mirror_descent(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, t: Temperature | None = None) -> Tensor:
    """L = sum_k w_k [-rho_k A_k + (rho_k log rho_k - rho_k + 1) / t], the last an unbiased KL(pi || pi_old).

    t falls from 1 to 0 over the training where it is not set.
    """
    assert groups.progress is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    t = max(1 - groups.progress, 1e-3) if t is None else t
    d = bounded(log_ratio(logp, groups))
    rho = d.exp()
    return (groups.weight * (-rho * credit + (rho * d - rho + 1) / t)).sum(-1)


def likelihood_and_kl(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, kl: Coefficient = 0.5) -> Tensor:
    """L = -sum_k w_k (A_k log pi_k + kl log rho_k), the last a sampled -KL(pi_old || pi)."""
    return policy_gradient(logp, groups, credit) - kl * (groups.weight * log_ratio(logp, groups)).sum(-1)


def reward_regression(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, beta: Coefficient = 1.0, scale: Coefficient = 2.0
) -> Tensor:
    """L = scale n / (n - 1) Var_w(beta log rho_k - A_k): for scale 2 the mean over all pairs of candidates."""
    gap = beta * log_ratio(logp, groups) - credit
    return scale * bessel(groups) * (groups.weight * (gap - mean(gap, groups)).square()).sum(-1)


def mean_regression(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, tau: Temperature = 0.01) -> Tensor:
    """L = sum_k w_k tau / (2 L_k) (A_k / tau - log rho_k)^2."""
    gap = credit / tau - log_ratio(logp, groups)
    return (groups.weight * 0.5 * tau * gap.square() / length(groups)).sum(-1)


def quadratic_trust(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, beta: Coefficient = 0.1) -> Tensor:
    """L = -sum_k w_k sum_t [A_kt log pi_kt - beta / (2 L_k) (log rho_kt)^2]."""
    penalty = 0.5 * beta * token_log_ratio(logp, groups).square() / length(groups).unsqueeze(-1)
    return -average(per_token(credit) * logp - penalty, groups)


def list_divergence(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, reverse: bool = False) -> Tensor:
    """L = KL(q || P), or KL(P || q) if reverse; q = w A and P ~ w rho over the candidates."""
    w = groups.weight
    d = torch.where(w > 0, log_ratio(logp, groups), 0.0)
    log_density = d - (d + w.log()).logsumexp(-1, keepdim=True)  # of P against w
    if reverse:
        return (softmax(d + w.log()) * (log_density - credit.clamp_min(1e-30).log())).sum(-1)
    return (w * (torch.xlogy(credit, credit) - credit * log_density)).sum(-1)


def preferred(groups: CandidateGroups) -> Tensor:
    """A_ij = share of (i over j) among the pairs with r_i > r_j, times B / contexts that have pairs."""
    better = groups.reward.unsqueeze(-1) > groups.reward.unsqueeze(-2) + 1e-6
    pair = better * groups.weight.unsqueeze(-1) * groups.weight.unsqueeze(-2)
    total = pair.sum((-1, -2), keepdim=True)
    contexts = (total > 0).to(pair.dtype).mean(1, keepdim=True)
    return pair / total.clamp_min(1e-12) / contexts.clamp_min(1e-12)


def desirable_or_not(groups: CandidateGroups) -> Tensor:
    """A = +c above the group's mean reward, -c below, 0 on ties; c = 1 / share of the batch that has a sign."""
    deviation = groups.reward - mean(groups.reward, groups)
    sign = torch.where(deviation.abs() > 1e-6, deviation.sign(), 0.0)
    return sign / mean(sign.abs(), groups).mean(1, keepdim=True).clamp_min(1e-12)


def sigmoid_preference(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, beta: Coefficient = 0.1) -> Tensor:
    """L = -sum_ij A_ij log sigma(beta (h_i - h_j)), h = log pi - log pi_ref."""
    return -(credit * torch.nn.functional.logsigmoid(beta * _margin(logp, groups))).sum((-1, -2))


def squared_preference(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, tau: Temperature = 0.1) -> Tensor:
    """L = sum_ij A_ij (h_i - h_j - 1 / (2 tau))^2, h = log pi - log pi_ref."""
    return (credit * (_margin(logp, groups) - 1 / (2 * tau)).square()).sum((-1, -2))


def prospect(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, beta: Coefficient = 0.1, z: Coefficient = 0.0
) -> Tensor:
    """L = sum_k w_k |A_k| (1 - sigma(sign A_k beta (h_k - z))), h = log pi - log pi_ref."""
    h = _to_reference(logp, groups)
    return (groups.weight * credit.abs() * (1 - torch.sigmoid(credit.sign() * beta * (h - z)))).sum(-1)


def _to_reference(logp: Tensor, groups: CandidateGroups) -> Tensor:
    assert groups.ref_logp is not None  # noqa: S101 - Algorithm.needs has refused tasks without
    return sequence_logp(logp - groups.ref_logp, groups.mask)


def _margin(logp: Tensor, groups: CandidateGroups) -> Tensor:
    """h_i - h_j: (S, B, K, K)."""
    h = _to_reference(logp, groups)
    return h.unsqueeze(-1) - h.unsqueeze(-2)
