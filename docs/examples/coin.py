"""A task of your own: two arms that pay by chance, and a policy of one number.

tpobench validate --plugin docs/examples/coin.py
tpobench run --suite docs/examples/coin.toml --plugin docs/examples/coin.py
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch.nn.functional import logsigmoid

from tpobench import register_task
from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.limits import Within
from tpobench.tasks.settings import ERROR, GRADIENT_NORM, SHARE, Candidates, GroupSettings, Metric
from tpobench.tasks.task import Rollout

Chance = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class LogitPolicy:
    """pi(arm 1) = sigmoid(theta)."""

    theta: torch.Tensor  # (S, 1), a leaf that requires grad

    @property
    def parameters(self):
        """The logit."""
        return (self.theta,)

    def logp(self):
        """Log pi of both arms: (S, 2)."""
        return logsigmoid(torch.cat([-self.theta, self.theta], dim=1))


@dataclass(frozen=True)
class Coin:
    """K draws a step with replacement; arm k pays 1 with chance (worse, better)[k]."""

    settings: "CoinSettings"
    noise: object

    def make_policy(self):
        """Both arms alike."""
        theta = torch.zeros(len(self.noise.seeds), 1, dtype=self.noise.dtype, device=self.noise.device)
        return LogitPolicy(theta.requires_grad_())

    def facts(self, policy):
        """The chance that a draw of the untrained policy is rewarded, the axis of sparsity: (S,)."""
        return {"initial_success": self.value(policy)}

    def rollout(self, policy, step):
        """Draw K arms and their rewards at uniforms that every rule shares."""
        K = self.settings.candidates
        with torch.no_grad():
            logp = policy.logp()
        arm = (self.noise.uniform("action", step, (K,)) < logp[:, 1:].exp()).long()
        chance = torch.where(arm == 1, self.settings.better, self.settings.worse)
        reward = (self.noise.uniform("reward", step, (K,)) < chance).to(logp.dtype).unsqueeze(1)  # (S, B, K), B = 1
        old_logp = logp.gather(1, arm).view(-1, 1, K, 1)  # (S, B, K, T), T = 1
        groups = CandidateGroups(
            old_logp=old_logp,
            mask=torch.ones_like(old_logp),
            reward=reward,
            baseline=reward.mean((1, 2), keepdim=True),
            weight=torch.full_like(reward, 1 / K),
            score=reward,
            draws=K,
        )
        return Rollout(groups, arm, interactions=K)

    def logp(self, policy, rollout, rows):
        """Log pi of the draws, with graph: (S, b, K, 1) for the contexts `rows` (b,); there is one."""
        del rows
        return policy.logp().gather(1, rollout.inputs).view(-1, 1, self.settings.candidates, 1)

    def evaluate(self, policy, rollout):
        """error = pi(worse arm), the regret as a share of the gap, and the expected reward; both exact: (S,)."""
        with torch.no_grad():
            metrics = {"error": policy.logp()[:, 0].exp(), "reward": self.value(policy)}
        if self.settings.candidates > 1:
            metrics["informative"] = has_reward_variance(rollout.groups).mean(1)
        return metrics

    def diagnose(self, policy, step):
        """The norm of the step's first gradient: (S,)."""
        del policy
        return {"gradient_norm": step.gradient[0].abs()[:, 0]}

    def examine(self, policy, step):
        """Nothing more with training.diagnostics."""
        del policy, step
        return {}

    def value(self, policy):
        """The expected reward: (S,)."""
        with torch.no_grad():
            pi = policy.logp().exp()
        return pi[:, 0] * self.settings.worse + pi[:, 1] * self.settings.better


@register_task
@dataclass(frozen=True)
class CoinSettings(GroupSettings):
    """Two arms that pay 1 with chance `worse` and `better`, `candidates` K draws a step."""

    kind: ClassVar[str] = "coin"
    task: ClassVar[type] = Coin
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates"})
    metrics: ClassVar[tuple[Metric, ...]] = (ERROR, Metric("reward", "higher", SHARE), GRADIENT_NORM)

    worse: Chance = 0.2
    better: Chance = 0.6
    candidates: Candidates = 8

    @property
    def interactions_per_step(self):
        """Every draw."""
        return self.candidates

    @property
    def bytes_per_seed(self):
        """Memory of one more seed, as an upper bound."""
        return 128 * (2 + self.candidates)
