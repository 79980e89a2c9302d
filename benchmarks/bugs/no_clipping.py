"""Clipping left out: PPO with the plain ratio, L = -sum_k w_k sum_t rho_kt A_kt."""

from dataclasses import replace

from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.groups import CandidateGroups


def unclipped_token_ratio(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """Right: min(rho A, clip(rho, 0.8, 1.2) A).  The bound only keeps exp finite, as in the right algorithm."""
    A = credit if credit.dim() == 4 else credit.unsqueeze(-1)
    ratio = (logp - groups.old_logp).clamp(-40, 40).exp()
    return -(groups.weight * (ratio * A * groups.mask).sum(-1)).sum(-1)


register(replace(ALGORITHMS["ppo"], name="ppo_no_clipping", fit=unclipped_token_ratio))
