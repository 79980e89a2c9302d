"""Tabular bandits: one context with sampled feedback, and many contexts with exact updates (TPO sections 3.1 and 3.2).

Arm 0 is right.  Every arm is a candidate of one token, so a fit sees the whole row of log-probs, and `weight` says how
often an arm was drawn: counts / N for samples, pi_old for the exact population.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups
from tpobench.policies.noise import Noise
from tpobench.policies.tables import TablePolicy
from tpobench.tasks.catalog import BanditSettings, ContextsSettings
from tpobench.tasks.task import Rollout, Step


class OverTables:
    """What every policy that is a table of logits with arm 0 right answers alike."""

    def greedy_reward(self, policy: TablePolicy, rollout: Rollout) -> Tensor:  # noqa: ARG002 - Task protocol
        """1 in contexts whose most probable arm, the first of equal ones, is the right one: (S, B)."""
        log_pi = policy.snapshot().squeeze(-1)
        return (log_pi.argmax(-1) == 0).to(log_pi.dtype)

    @staticmethod
    def entropy(policy: TablePolicy, rollout: Rollout) -> Tensor:
        """Of each context's distribution over arms: (S, B, K, 1)."""
        return policy.entropy().expand_as(rollout.groups.old_logp)

    @staticmethod
    def value(critic: TablePolicy, rollout: Rollout) -> Tensor:
        """V of each context, the critic's probability of the first of its two logits: (S, B, K, 1)."""
        return critic.logp()[:, :, :1].exp().expand_as(rollout.groups.old_logp)


@dataclass(frozen=True)
class _TableTask(OverTables):
    """What both bandits share: a table of logits, and arm 0 paying 1."""

    settings: BanditSettings | ContextsSettings
    noise: Noise

    @cached_property
    def _reward(self) -> Tensor:
        """e_0 in every context: (S, B, K)."""
        B = self.settings.contexts if isinstance(self.settings, ContextsSettings) else 1
        reward = torch.zeros(len(self.noise.seeds), self.settings.arms, B, dtype=self.noise.dtype)
        reward[:, 0] = 1
        return reward.mT.to(self.noise.device)  # in memory as the policy's logits: mixed orders are slow

    @cached_property
    def _label(self) -> Tensor:
        return torch.zeros_like(self._reward[..., 0], dtype=torch.int64)

    @cached_property
    def _mask(self) -> Tensor:
        return torch.ones_like(self._reward).unsqueeze(-1)

    def facts(self, policy: TablePolicy) -> Mapping[str, Tensor]:
        """initial_success = mean_b pi(right arm): chance that a draw of the untrained policy is rewarded."""
        return {"initial_success": _success(policy.snapshot())}

    def logp(self, policy: TablePolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:  # noqa: ARG002 - Task protocol
        """Log pi of every arm, with graph: (S, B, K, 1)."""
        return policy.logp(rows)

    def make_critic(self) -> TablePolicy:
        """Two logits for each context, both 0."""
        return TablePolicy.from_logits(torch.zeros_like(self._reward[..., :2]))

    def evaluate(self, policy: TablePolicy, rollout: Rollout) -> Mapping[str, Tensor]:  # noqa: ARG002 - Task protocol
        """Error = 1 - mean_b pi_old(right arm), exact."""
        return {"error": 1 - _success(rollout.groups.old_logp)}

    def examine(self, policy: TablePolicy, step: Step) -> Mapping[str, Tensor]:  # noqa: ARG002 - Task protocol
        """Nothing beyond `diagnose`."""
        return {}


@dataclass(frozen=True)
class BanditTask(_TableTask):
    """One context, N draws a step, tallied by arm.

    TPO's score vector is the sample average of (r - b) e_a, one entry per arm, 0 for arms that were not drawn.
    """

    settings: BanditSettings
    noise: Noise

    def make_policy(self) -> TablePolicy:
        """All logits 0."""
        return TablePolicy.from_logits(torch.zeros_like(self._reward))

    def rollout(self, policy: TablePolicy, step: int) -> Rollout:
        """Draw N arms by inverting the policy's distribution function at shared uniforms."""
        old_logp = policy.snapshot()
        uniform = self.noise.uniform("action", step, (self.settings.samples,))
        return self.score(old_logp, draw(old_logp[:, 0, :, 0].exp(), uniform))

    def score(self, old_logp: Tensor, actions: Tensor) -> Rollout:
        """The rollout of given draws `actions` (S, N) from the policy `old_logp` (S, 1, K, 1)."""
        S, N = actions.shape
        count = torch.zeros_like(self._reward[:, 0]).scatter_add_(
            1, actions, torch.ones((), dtype=old_logp.dtype, device=old_logp.device).expand(S, N)
        )
        weight = (count / N).unsqueeze(1)
        groups = CandidateGroups(
            old_logp=old_logp,
            mask=self._mask,
            reward=self._reward,
            baseline=self._baseline,
            weight=weight,
            score=weight * (self._reward - self._baseline),
            draws=N,
            label=self._label,
        )
        return Rollout(groups, None, interactions=N)

    def diagnose(self, policy: TablePolicy, step: Step) -> Mapping[str, Tensor]:
        """Misalignment with the exact policy gradient p_y (e_y - pi)."""
        pi = policy.snapshot().squeeze(-1).exp()
        oracle = pi[..., :1] * (self._reward - pi)
        return {"misalignment": misalignment(-step.gradient[0].mT, oracle)}

    @cached_property
    def _baseline(self) -> Tensor:
        return torch.full_like(self._reward[..., :1], self.settings.baseline)


@dataclass(frozen=True)
class ContextsTask(_TableTask):
    """Many contexts, updates by the exact expectation under pi_old: nothing is drawn.

    One step counts as one interaction per context, the least that sampled feedback could do with.
    """

    settings: ContextsSettings
    noise: Noise

    def make_policy(self) -> TablePolicy:
        """Logits from N(0, 1)."""
        return TablePolicy.from_logits(self.noise.normal("logits", 0, tuple(self._reward.shape[1:])))

    def rollout(self, policy: TablePolicy, step: int) -> Rollout:  # noqa: ARG002 - nothing is drawn
        """Every arm of every context, weighted by its probability."""
        old_logp = policy.snapshot()
        groups = CandidateGroups(
            old_logp=old_logp,
            mask=self._mask,
            reward=self._reward,
            baseline=self._baseline,
            weight=old_logp.squeeze(-1).exp(),
            score=self._reward,
            draws=math.inf,
            label=self._label,
        )
        return Rollout(groups, None, interactions=self.settings.contexts)

    def diagnose(self, policy: TablePolicy, step: Step) -> Mapping[str, Tensor]:
        """Misalignment with the cross-entropy direction e_y - pi, all contexts taken as one vector."""
        oracle = self._reward - policy.snapshot().squeeze(-1).exp()
        return {"misalignment": misalignment(-step.gradient[0].mT * self.settings.contexts, oracle)}

    @cached_property
    def _baseline(self) -> Tensor:
        return torch.zeros_like(self._reward[..., :1])


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse distribution function: the first arm whose cumulative probability exceeds u; (S, K), (S, N) -> (S, N)."""
    cumulative = probabilities.cumsum(-1)
    return torch.searchsorted(cumulative, uniform, right=True).clamp_max_(probabilities.shape[-1] - 1)


def misalignment(direction: Tensor, oracle: Tensor) -> Tensor:
    """1 - cos of two update directions, all axes but S taken as one: (S,).

    As in the reference, 1e-12 stands under each root, so vectors shorter than about 1e-5 look misaligned.
    """
    norms = (direction.square().sum((1, 2)) + 1e-12).sqrt() * (oracle.square().sum((1, 2)) + 1e-12).sqrt()
    return 1 - (direction * oracle).sum((1, 2)) / norms


def _success(old_logp: Tensor) -> Tensor:
    """Mean probability of arm 0: (S, B, K, 1) -> (S,)."""
    return old_logp[:, :, 0, 0].exp().mean(1)
