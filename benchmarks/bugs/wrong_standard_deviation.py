"""A wrong standard deviation: TPO's scores are only centred; GRPO divides by the deviation of the whole batch."""

from dataclasses import replace

from torch import Tensor

from tpobench import ALGORITHMS, register
from tpobench.algorithms.credit import batch_standardized_reward
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.softmax import log_softmax, softmax


def undivided_target(groups: CandidateGroups, *, eta: float = 1.0) -> Tensor:
    """Right: u = (score - mean) / std / eta."""
    u = (groups.score - groups.score.mean(-1, keepdim=True)) / eta
    return softmax(log_softmax(groups.old_sequence_logp) + u)


register(replace(ALGORITHMS["tpo"], name="tpo_undivided", credit=undivided_target))
register(
    replace(
        ALGORITHMS["grpo"],
        name="grpo_batch_deviation",
        credit=batch_standardized_reward,
        zero_gradient_on_flat="never",  # a group of equal rewards differs from the batch's mean
    )
)
