"""Many contexts with sampled candidates: what the exact updates of `contexts` become when arms must be drawn.

Arm 0 is right.  K candidates are drawn with replacement from pi_old in every context, so a candidate is an arm as it
was drawn, and an arm that was drawn twice is two candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.policies.noise import Noise
from tpobench.policies.tables import TablePolicy
from tpobench.tasks.bandit import OverTables, draw, misalignment
from tpobench.tasks.catalog import SampledSettings
from tpobench.tasks.task import Rollout, Step


@dataclass(frozen=True)
class SampledTask(OverTables):
    """N contexts of A arms, K draws in each; every algorithm sees the same draws, whether or not it compares them."""

    settings: SampledSettings
    noise: Noise

    def make_policy(self) -> TablePolicy:
        """Logits from N(0, skew^2), the right arm's lowered by `handicap`, of several tasks in even steps up to it."""
        s = self.settings
        logits = self.noise.normal("logits", 0, (s.contexts, s.arms)) * s.skew
        logits[..., 0] -= s.handicap * self._task / (s.tasks - 1) if s.tasks else s.handicap
        return TablePolicy.from_logits(logits)

    def facts(self, policy: TablePolicy) -> Mapping[str, Tensor]:
        """initial_success = mean_b pi(right arm): chance that a draw of the untrained policy is rewarded."""
        return {"initial_success": success(policy)}

    def rollout(self, policy: TablePolicy, step: int) -> Rollout:
        """Draw K arms in every context by inverting its distribution function at shared uniforms."""
        every, s = policy.snapshot(), self.settings
        uniform = self.noise.uniform("action", step, (s.contexts, s.candidates))
        sampler = self._sampler(every, step) if s.mismatched else every
        actions = draw(sampler.squeeze(-1).exp(), uniform)
        noise = s.reward_noise * self.noise.normal("reward", step, tuple(uniform.shape[1:])) if s.reward_noise else None
        return self.score(every, actions, None if sampler is every else sampler, noise)

    @cached_property
    def _task(self) -> Tensor:
        """Which task each context belongs to, each to one of its own where there are none: (B,)."""
        s = self.settings
        return torch.arange(s.contexts, device=self.noise.device) % (s.tasks or s.contexts)

    def _rewards(self, arms: Tensor) -> Tensor:
        """What arms pay, for being right and for their format: (...) -> (..., 1 | 2)."""
        s, right = self.settings, (arms == 0).to(self.noise.dtype)
        return torch.stack([right, s.format_reward * (arms < s.formatted)] if s.formatted else [right], -1)

    def _sampler(self, every: Tensor, step: int) -> Tensor:
        """Log-probs of what draws in the place of a policy with log-probs `every`: (S, B, A, 1)."""
        s, logits = self.settings, every / self.settings.sampler_temperature
        if s.sampler_noise:
            logits = logits + s.sampler_noise * self.noise.normal("sampler", step, (s.contexts, s.arms)).unsqueeze(-1)
        return logits.log_softmax(2)

    def greedy_reward(self, policy: TablePolicy, rollout: Rollout) -> Tensor:  # noqa: ARG002 - Task protocol
        """Of the most probable arm, the first of equal ones, without noise: (S, B)."""
        return self._rewards(policy.snapshot().squeeze(-1).argmax(-1)).mean(-1)

    def score(
        self, every: Tensor, actions: Tensor, sampler: Tensor | None = None, noise: Tensor | None = None
    ) -> Rollout:
        """The rollout of given draws `actions` (S, B, K) from a policy with log-probs `every` (S, B, A, 1) of all arms.

        The baseline is the batch mean of the reward; `sampler` has the log-probs of what drew, where that is not it;
        `noise` (S, B, K) is added to the reward.
        """
        chosen = actions.mT.contiguous()  # in memory as the policy's logits: mixed orders are slow
        old_logp = every.squeeze(-1).gather(2, actions).mT.contiguous().mT.unsqueeze(-1)
        reward = (chosen == 0).to(old_logp.dtype).mT
        rewards = self._rewards(actions) if self.settings.formatted else None
        if rewards is not None:
            reward = rewards.mean(-1)
        if noise is not None:
            reward = reward + noise
        groups = CandidateGroups.of_rollouts(
            old_logp,
            torch.ones_like(old_logp),
            reward,
            rollout_logp=None if sampler is None else sampler.squeeze(-1).gather(2, actions).unsqueeze(-1),
            rewards=rewards if rewards is None or noise is None else rewards + noise.unsqueeze(-1),
            task_index=self._task.expand(len(reward), -1),
        )
        return Rollout(groups, chosen, interactions=reward.shape[1] * reward.shape[2])

    def logp(self, policy: TablePolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log pi of every draw, with graph: (S, B, K, 1), or (S, b, K, 1) for `rows`."""
        theta, chosen = policy.theta, rollout.inputs
        if rows is not None:
            theta, chosen = theta.index_select(2, rows), chosen.index_select(2, rows)
        return theta.log_softmax(1).gather(1, chosen).mT.unsqueeze(-1)

    def make_critic(self) -> TablePolicy:
        """Two logits for each context, both 0."""
        s, noise = self.settings, self.noise
        return TablePolicy.from_logits(
            torch.zeros(len(noise.seeds), s.contexts, 2, dtype=noise.dtype, device=noise.device)
        )

    def evaluate(self, policy: TablePolicy, rollout: Rollout) -> Mapping[str, Tensor]:
        """error = 1 - mean_b pi(right arm), exact; informative = share of contexts whose draws differ in reward."""
        metrics = {"error": 1 - success(policy)}
        if self.settings.candidates > 1:
            metrics["informative"] = has_reward_variance(rollout.groups).mean(1)
        if self.settings.tasks:
            right = policy.snapshot()[:, :, 0, 0].exp()
            by_task = [right[:, self._task == task].mean(1) for task in range(self.settings.tasks)]
            metrics["worst_error"] = 1 - torch.stack(by_task).amin(0)
        return metrics

    def diagnose(self, policy: TablePolicy, step: Step) -> Mapping[str, Tensor]:
        """Misalignment with the cross-entropy direction e_y - pi, all contexts taken as one vector."""
        oracle = -policy.snapshot().squeeze(-1).exp()
        oracle[..., 0] += 1
        return {"misalignment": misalignment(-step.gradient[0].mT * self.settings.contexts, oracle)}

    def examine(self, policy: TablePolicy, step: Step) -> Mapping[str, Tensor]:  # noqa: ARG002 - Task protocol
        """Nothing beyond `diagnose`."""
        return {}


def success(policy: TablePolicy) -> Tensor:
    """Mean probability of the right arm: (S,)."""
    return policy.snapshot()[:, :, 0, 0].exp().mean(1)
