"""A lost stop-gradient: DG's gate, and TPO's target, are differentiated through."""

from dataclasses import replace

import torch
from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.credit import standardized_score
from tpobench.algorithms.groups import CandidateGroups, sequence_logp
from tpobench.algorithms.softmax import log_softmax, softmax


def gate_with_gradient(logp: Tensor, groups: CandidateGroups, credit: Tensor, *, eta: float = 1.0) -> Tensor:
    """Right: sigma(A (-sg[log pi]) / eta)."""
    A = credit if credit.dim() == 4 else credit.unsqueeze(-1)
    gate = torch.sigmoid(A * -logp / eta)
    return -(groups.weight * (gate * A * logp * groups.mask).sum(-1)).sum(-1)


def target_with_gradient(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """Right: q from the snapshot; here q ~ p_theta exp(u), and gradients flow into it."""
    log_p = log_softmax(sequence_logp(logp, groups.mask))
    return -(softmax(log_p + credit) * log_p).sum(-1)


register(replace(ALGORITHMS["dg"], name="dg_lost_stop_gradient", fit=gate_with_gradient))
register(
    replace(
        ALGORITHMS["tpo"],
        name="tpo_lost_stop_gradient",
        credit=standardized_score,
        fit=target_with_gradient,
        zero_gradient_on_flat="never",  # with u = 0 what is left is the entropy of p_theta
    )
)
