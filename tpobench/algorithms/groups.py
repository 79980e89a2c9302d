"""The one batch type that every algorithm reads: groups of scored candidates.

Shapes, here and everywhere: S seeds trained side by side, B contexts, K candidates, T tokens.  Algorithms reduce over
B, K and T, never over S.  An algorithm whose rewards are per token gives a credit of shape (S, B, K, T); every other
credit is (S, B, K) and a fit broadcasts it over T.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tpobench.algorithms.lazy import Tensor, torch

ZERO_VARIANCE = 1e-6
"""A group whose standard deviation is not above this carries no information: its standardised scores are 0."""

ROUNDING = 1e-12
"""What float64 numbers near 1 may differ by where they are summed in another order, as other processors do."""

ON_REQUEST = (
    "label",
    "greedy_reward",
    "ref_logp",
    "rollout_logp",
    "rewards",
    "value",
    "task_index",
    "progress",
    "uniform",
    "entropy",
)
"""Fields that an algorithm sees only if it declares that it needs them."""
OPTIONAL = (*ON_REQUEST, "token_reward")


@dataclass(frozen=True)
class CandidateGroups:
    """Scored candidates of S x B contexts, as they were drawn (or enumerated) under the snapshot policy pi_old.

    Nobody scored what nobody drew: where `draws` is finite, reward, score and token_reward are 0 at weight 0, whatever
    the task hands over.
    """

    old_logp: Tensor  # (S, B, K, T) log pi_old of each token
    mask: Tensor  # (S, B, K, T) 1 on real tokens
    reward: Tensor  # (S, B, K)
    baseline: Tensor  # (S, B | 1, K | 1), or (S, B | 1, K | 1, T) where rewards are per token
    weight: Tensor  # (S, B, K) sampling measure, rows sum to 1: 1/K rollouts, count/N tallied draws, pi_old exact
    score: Tensor  # (S, B, K) what TPO standardises: the reward, or the sample-average score vector on tallied bandits
    draws: float = math.inf  # i.i.d. draws per context behind `weight`: K, N, or inf when exact
    label: Tensor | None = None  # (S, B) index of the right candidate, where the task knows it
    greedy_reward: Tensor | None = None  # (S, B) reward of the greedy rollout
    ref_logp: Tensor | None = None  # (S, B, K, T) log-probs of a fixed reference policy
    token_reward: Tensor | None = None  # (S, B, K, T) where rewards are per token
    rollout_logp: Tensor | None = None  # (S, B, K, T) log-probs under what drew the candidates, where it is not pi_old
    rewards: Tensor | None = None  # (S, B, K, M) where a task has several rewards, of which `reward` is the mean
    value: Tensor | None = None  # (S, B, K, T) a critic's value of the state before each token
    task_index: Tensor | None = None  # (S, B) which of several tasks a context belongs to
    progress: float | None = None  # the share of the training that is done
    uniform: Tensor | None = None  # (S, B, K, T) uniform random numbers, for what picks tokens at random
    entropy: Tensor | None = None  # (S, B, K, T) of pi_old before each token
    selected: Tensor | None = None  # (S, B, K, T) 1 on the tokens that a modifier has picked for the fit
    token_weight: Tensor | None = None  # (S, B | 1, K | 1, T | 1) factor of each token's gradient, which modifiers set

    def __post_init__(self) -> None:
        S, B, K, T = self.old_logp.shape
        for name, shape in (("mask", (S, B, K, T)), ("reward", (S, B, K)), ("weight", (S, B, K)), ("score", (S, B, K))):
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                msg = f"CandidateGroups.{name} has shape {actual}, expected {shape}"
                raise ValueError(msg)
        if math.isfinite(self.draws):
            undrawn = self.weight == 0
            for name in ("reward", "score"):  # by `where`, which keeps the order in memory
                object.__setattr__(self, name, torch.where(undrawn, 0, getattr(self, name)))
            for name in ("token_reward", "rewards"):
                if (x := getattr(self, name)) is not None:
                    object.__setattr__(self, name, torch.where(undrawn.unsqueeze(-1), 0, x))

    @classmethod
    def of_rollouts(cls, old_logp: Tensor, mask: Tensor, reward: Tensor, **optional: Any) -> CandidateGroups:
        """K rollouts of each context, drawn from pi_old: w_k = 1/K, the baseline is the mean reward of the batch."""
        K = reward.shape[-1]
        baseline, weight = reward.mean((1, 2), keepdim=True), torch.full_like(reward, 1 / K)
        return cls(old_logp, mask, reward, baseline, weight, score=reward, draws=K, **optional)

    def with_only(self, needs: Collection[str]) -> CandidateGroups:
        """What an algorithm sees that declares `needs`: fields ON_REQUEST that are not among them are None."""
        hidden = [name for name in ON_REQUEST if name not in needs and getattr(self, name) is not None]
        if not hidden:
            return self
        visible = copy.copy(self)
        for name in hidden:
            object.__setattr__(visible, name, None)
        return visible

    @property
    def advantage(self) -> Tensor:
        """Reward minus baseline: (S, B, K), or (S, B, K, T) where rewards are per token."""
        return (self.reward if self.token_reward is None else self.token_reward) - self.baseline

    @property
    def old_sequence_logp(self) -> Tensor:
        """log pi_old of each whole candidate: (S, B, K)."""
        return sequence_logp(self.old_logp, self.mask)

    def rows(self, index: Tensor) -> CandidateGroups:
        """The contexts `index` (b,) of every seed; shapes (S, b, ...).  Fields that do not vary over B are kept."""
        B = self.reward.shape[1]

        def pick(x: Tensor | float | None) -> Tensor | float | None:
            return x.index_select(1, index) if isinstance(x, torch.Tensor) and x.shape[1] == B else x

        fields = {f.name: pick(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return CandidateGroups(**fields)  # type: ignore[arg-type]


def concentration(groups: CandidateGroups) -> dict[str, Tensor]:
    """How peaked pi_old is in a group, p_old = softmax_k log pi_old(candidate k), each (S,).

    largest_p_old = mean_b max_k p_old(k);  effective_size = mean_b 1 / sum_k p_old(k)^2, of K.
    """
    p_old = groups.old_sequence_logp.softmax(-1)
    return {"largest_p_old": p_old.amax(-1).mean(1), "effective_size": (1 / p_old.square().sum(-1)).mean(1)}


def sequence_logp(logp: Tensor, mask: Tensor) -> Tensor:
    """log pi of whole candidates, sum_t mask_t logp_t: (S, B, K, T) -> (S, B, K)."""
    return (logp * mask).sum(-1)


def standardize(x: Tensor, weight: Tensor | None = None, *, epsilon: float = 0.0) -> Tensor:
    """z-score over the last axis, (x - mean) / (std + epsilon), population std under `weight` (uniform if None).

    0 where std <= 1e-6: rounding noise is no information.
    """
    w = torch.full_like(x, 1 / x.shape[-1]) if weight is None else weight
    mean = (w * x).sum(-1, keepdim=True)
    std = (w * (x - mean).square()).sum(-1, keepdim=True).sqrt()
    informative = std > ZERO_VARIANCE
    return torch.where(informative, (x - mean) / torch.where(informative, std + epsilon, 1.0), 0.0)


def has_reward_variance(groups: CandidateGroups) -> Tensor:
    """1 where the rewards of a group differ, else 0: (S, B)."""
    w, r = groups.weight, groups.reward
    mean = (w * r).sum(-1, keepdim=True)
    return ((w * (r - mean).square()).sum(-1).sqrt() > ZERO_VARIANCE).to(r.dtype)


def scores_differ(groups: CandidateGroups) -> Tensor:
    """Where the scores of a group do: (S, B)."""
    deviation = groups.score - groups.score.mean(-1, keepdim=True)
    return deviation.square().mean(-1).sqrt() > ZERO_VARIANCE


def contributing(groups: CandidateGroups) -> Tensor:
    """Where rewards or scores differ, so that a group is not flat: (S, B)."""
    return scores_differ(groups) | (has_reward_variance(groups) > 0)
