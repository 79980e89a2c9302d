"""Credits of the field: how much more often a candidate should be drawn than it was, q_k / w_k.

Draws come from pi_old already, so a density is taken against the measure, and 1 everywhere says nothing.
"""

from __future__ import annotations

from tpobench.algorithms.advantages import centered_reward
from tpobench.algorithms.groups import CandidateGroups, has_reward_variance, standardize
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import batch_mean, length, sample_variance, tilted
from tpobench.algorithms.ranges import Cap, Coefficient, Share, Temperature
from tpobench.algorithms.softmax import log_softmax, softmax

HALVINGS = 60  # of the interval that holds log eta


def exponential_weight(groups: CandidateGroups, *, eta: Temperature = 1.0, max_weight: Cap = 20.0) -> Tensor:
    """A = min(exp(z / eta), max_weight), z = r - mean r standardised over the batch."""
    A = centered_reward(groups)
    A = A - batch_mean(A, groups)
    std = batch_mean(A.square(), groups).sqrt()
    return (A / (std + 1e-5) / eta).exp().clamp_max(max_weight)


def tilted_density(groups: CandidateGroups, *, eta: Temperature = 0.5) -> Tensor:
    """A = exp(r / eta) / mean exp(r / eta)."""
    return tilted(groups.reward / eta, groups.weight, (-1,))


def top_half_density(groups: CandidateGroups, *, eta: Temperature = 0.5, top: Share = 0.5) -> Tensor:
    """A ~ exp((r - mean r) / eta) on the best `top` of the batch, ties included, with mean 1."""
    A, weight = centered_reward(groups), groups.weight / groups.reward.shape[1]
    ordered, order = A.flatten(1).sort(1, descending=True)
    mass = weight.flatten(1).gather(1, order).cumsum(1)
    threshold = ordered.gather(1, (mass < top - 1e-6).sum(1, keepdim=True).clamp_max(ordered.shape[1] - 1))
    best = threshold.unsqueeze(-1) - 1e-6 <= A
    return tilted(torch.where(best, A / eta, -torch.inf), weight, (1, 2))


def relative_entropy_density(groups: CandidateGroups, *, kl_bound: Coefficient = 0.1) -> Tensor:
    """A ~ exp((r - mean r) / eta) over the batch, with mean 1, and eta such that KL(A w || w) = kl_bound."""
    A, weight = centered_reward(groups), groups.weight / groups.reward.shape[1]
    low, high = (torch.full_like(A[:, :1, :1], x) for x in (-7.0, 9.0))  # of log eta; the KL falls with eta
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        density = tilted(A / middle.exp(), weight, (1, 2))
        far = (weight * torch.xlogy(density, density)).sum((1, 2), keepdim=True) > kl_bound
        low, high = torch.where(far, middle, low), torch.where(far, high, middle)
    return tilted(A / ((low + high) / 2).exp(), weight, (1, 2))


def listwise_density(groups: CandidateGroups, *, tau: Temperature | None = None) -> Tensor:
    """A = exp(r / tau) / mean exp(r / tau); tau is the sample standard deviation of the group where it is not set."""
    t = sample_variance(groups.reward, groups).sqrt().clamp_min(1e-12) if tau is None else tau
    informative = has_reward_variance(groups).unsqueeze(-1) > 0
    return tilted(torch.where(informative, groups.reward / t, 0.0), groups.weight, (-1,))


def length_mean_target(groups: CandidateGroups, *, eta: Temperature = 1.0) -> Tensor:
    """q_k ~ exp(log pi_old,k / L_k + u_k), TPO's target of mean token log-probs."""
    return softmax(log_softmax(groups.old_sequence_logp / length(groups)) + standardize(groups.score) / eta)
