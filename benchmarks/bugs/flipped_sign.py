"""A flipped sign: TPO's target falls with the score, q_k ~ p_old(k) exp(-u_k); GRPO is paid for its KL term."""

from dataclasses import replace

from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.credit import standardized_score
from tpobench.algorithms.fit import clipped_sequence_ratio
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.softmax import log_softmax, softmax


def falling_target(groups: CandidateGroups, *, eta: float = 1.0) -> Tensor:
    """Right: q_k ~ p_old(k) exp(+u_k)."""
    return softmax(log_softmax(groups.old_sequence_logp) - standardized_score(groups, eta=eta))


def rewarded_divergence(
    logp: Tensor, groups: CandidateGroups, credit: Tensor, *, clip: float = 0.2, kl: float = 0.04
) -> Tensor:
    """Right: + kl k3."""
    return clipped_sequence_ratio(logp, groups, credit, clip=clip, kl=-kl)


register(replace(ALGORITHMS["tpo"], name="tpo_flipped_sign", credit=falling_target))
register(replace(ALGORITHMS["grpo"], name="grpo_flipped_kl", fit=rewarded_divergence))
