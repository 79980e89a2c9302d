"""The anchor left out: TPO's target without p_old, q_k ~ exp(u_k)."""

from dataclasses import replace

from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.credit import standardized_score
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.softmax import softmax


def unanchored_target(groups: CandidateGroups, *, eta: float = 1.0) -> Tensor:
    """Right: q_k ~ p_old(k) exp(u_k)."""
    return softmax(standardized_score(groups, eta=eta))


register(replace(ALGORITHMS["tpo"], name="tpo_anchor_left_out", credit=unanchored_target))
