"""An unfrozen target: TPO's q is computed anew from the present theta in every epoch, q_k ~ sg[p_theta(k)] exp(u_k)."""

from dataclasses import replace

from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.credit import standardized_score
from tpobench.algorithms.groups import CandidateGroups, sequence_logp
from tpobench.algorithms.softmax import log_softmax, softmax


def moving_cross_entropy(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
    """Right: q from p_old.  The target stays u ahead of theta, so that no epoch ever gets there."""
    log_p = log_softmax(sequence_logp(logp, groups.mask))
    return -(softmax(log_p.detach() + credit) * log_p).sum(-1)


register(
    replace(ALGORITHMS["tpo"], name="tpo_unfrozen_target", credit=standardized_score, fit=moving_cross_entropy),
)
