"""What credits and fits are written with: averages under the sampling measure, and ratios to the snapshot."""

from __future__ import annotations

import math

from tpobench.algorithms.groups import CandidateGroups, sequence_logp
from tpobench.algorithms.lazy import Tensor, torch

MOST = 20.0  # of a log-ratio that is exponentiated: e^20 and its powers are finite in float32


def mean(x: Tensor, groups: CandidateGroups) -> Tensor:
    """E_w x over the candidates of a group: (S, B, K) -> (S, B, 1)."""
    return (groups.weight * x).sum(-1, keepdim=True)


def batch_mean(x: Tensor, groups: CandidateGroups) -> Tensor:
    """The mean of E_w x over the contexts of a seed: (S, B, K) -> (S, 1, 1)."""
    return mean(x, groups).mean(1, keepdim=True)


def sample_variance(x: Tensor, groups: CandidateGroups) -> Tensor:
    """n / (n - 1) E_w (x - E_w x)^2 over the candidates of a group: (S, B, K) -> (S, B, 1)."""
    return bessel(groups) * mean((x - mean(x, groups)).square(), groups)


def bessel(groups: CandidateGroups) -> float:
    """n / (n - 1) for n i.i.d. draws; 1 for exact expectations, and for a single draw."""
    n = groups.draws
    return n / (n - 1) if math.isfinite(n) and n > 1 else 1.0


def length(groups: CandidateGroups) -> Tensor:
    """Tokens of each candidate, L_k: (S, B, K)."""
    return groups.mask.sum(-1).clamp_min(1)


def per_token(credit: Tensor) -> Tensor:
    """(S, B, K) -> (S, B, K, 1); (S, B, K, T) as it is."""
    return credit if credit.dim() == 4 else credit.unsqueeze(-1)


def average(x: Tensor, groups: CandidateGroups) -> Tensor:
    """sum_k w_k sum_t mask_kt x_kt: (S, B, K, T) -> (S, B)."""
    return (groups.weight * (x * groups.mask).sum(-1)).sum(-1)


def token_log_ratio(logp: Tensor, groups: CandidateGroups) -> Tensor:
    """d_kt = log pi_kt - log pi_old_kt, 0 on padding: (S, B, K, T)."""
    return (logp - groups.old_logp) * groups.mask


def log_ratio(logp: Tensor, groups: CandidateGroups) -> Tensor:
    """d_k = log pi_k - log pi_old_k of whole candidates: (S, B, K)."""
    return sequence_logp(logp - groups.old_logp, groups.mask)


def bounded(d: Tensor) -> Tensor:
    """A log-ratio within +-20, so that its exponential and every gradient are finite."""
    return d.clamp(-MOST, MOST)


def tilted(x: Tensor, weight: Tensor, over: tuple[int, ...]) -> Tensor:
    """exp(x) / E_w exp(x), the density of the measure w exp(x) against w; what was never drawn has none."""
    x = torch.where(weight > 0, x, -torch.inf)
    e = (x - x.amax(over, keepdim=True)).exp()
    return e / (weight * e).sum(over, keepdim=True)


def k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """e^c - c - 1 >= 0, c = log pi_ref - log pi: of samples from pi an estimate of KL(pi, pi_ref).  Schulman 2020."""
    c = bounded(ref_logp - logp)
    return c.exp() - c - 1


def reference_kl(logp: Tensor, groups: CandidateGroups) -> Tensor:
    """sum_k w_k mean_t k3, the mean over the tokens of each candidate: (S, B, K, T) -> (S, B)."""
    assert groups.ref_logp is not None  # noqa: S101 - who asks for it has set it
    return average(k3(logp, groups.ref_logp) / length(groups).unsqueeze(-1), groups)
