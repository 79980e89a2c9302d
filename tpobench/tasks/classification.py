"""Candidate groups where one class is named for each image, and only that one is scored."""

from __future__ import annotations

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups


def classify(log_pi: Tensor, label: Tensor, weight: Tensor, draws: float = 1) -> CandidateGroups:
    """Groups of all classes under log pi_old (S, B, K), for images of class `label` (S, B).

    weight (S, B, K) is 1 on the class that was named, or pi_old for all that could be.  The baseline is sum_a pi_a^2,
    and the score vector is weight (r - baseline): A(a) e_a for one draw.
    """
    reward = one_hot(label, log_pi)
    baseline = log_pi.exp().square().sum(-1, keepdim=True)
    return CandidateGroups(
        old_logp=log_pi.unsqueeze(-1),
        mask=torch.ones((), dtype=log_pi.dtype, device=log_pi.device).expand(*log_pi.shape, 1),
        reward=reward,
        baseline=baseline,
        weight=weight,
        score=weight * (reward - baseline),
        draws=draws,
        label=label,
    )


def one_hot(index: Tensor, like: Tensor) -> Tensor:
    """e_index: (S, B) -> (S, B, K), in memory as the policy's log-probs: classes before images."""
    zeros = torch.zeros_like(like.mT, memory_format=torch.contiguous_format)
    return zeros.scatter_(1, index.unsqueeze(1), 1.0).mT
