"""Token tasks: a transformer answers prompts; rewards run from dense (bag of tokens) to terminal (exact match)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.policies.native.transformer import NativeTransformer
from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import Packing
from tpobench.policies.static import StaticTransformer
from tpobench.policies.transformer import TransformerPolicy
from tpobench.tasks.catalog import SequenceSettings
from tpobench.tasks.rewards import target_tokens, token_rewards
from tpobench.tasks.settings import STATIC_KERNEL
from tpobench.tasks.task import Rollout, Step

PROBES = 256
"""Prompts over which the initial success probability is averaged."""
POLICIES: dict[str, type[TransformerPolicy]] = {
    "plain": TransformerPolicy,
    "native": NativeTransformer,
    STATIC_KERNEL: StaticTransformer,
}


@dataclass
class Inputs:
    """The rollout's prefix tree, and its packings for the sets of contexts that epochs have asked for."""

    paths: Any  # of the policy
    trees: dict[bytes | None, Packing] = field(default_factory=dict)
    prompts: Tensor | None = None  # (S, B, T) of a rollout


@dataclass(frozen=True)
class SequenceTask:
    """B prompts of T tokens a step, K sampled answers each, scored token by token."""

    settings: SequenceSettings
    noise: Noise
    kernel: str = "plain"

    def make_policy(self) -> TransformerPolicy:
        """The untrained transformer of every seed."""
        return POLICIES[self.kernel].initial(self.noise, self.settings.vocabulary, self.settings.length)

    def facts(self, policy: TransformerPolicy) -> Mapping[str, Tensor]:
        """initial_success = E_x pi(y | x) over probe prompts: chance that an untrained rollout is fully rewarded."""
        return {"initial_success": self.success(policy, "probe", PROBES)}

    def success(self, policy: TransformerPolicy, role: str, count: int) -> Tensor:
        """E_x pi(y | x) over `count` prompts of a stream of their own, y the right answer: (S,)."""
        s = self.settings
        prompts = self.noise.integers(role, 0, s.vocabulary, (count, s.length))
        answer = target_tokens(prompts, s.target, s.vocabulary).unsqueeze(2)
        inputs = Inputs(policy.paths(prompts, answer))
        with torch.no_grad():
            return self._logp(policy, inputs, None).sum(-1).exp().mean((1, 2))

    def error(self, policy: TransformerPolicy, reward: Tensor) -> Tensor:
        """1 - the mean reward (S,) of the rollouts, or 1 - E_x pi(y | x) over held-out prompts: (S,)."""
        return 1 - (self.success(policy, "held_out", count) if (count := self.settings.held_out) else reward)

    def rollout(self, policy: TransformerPolicy, step: int) -> Rollout:
        """Sample K answers to each of B fresh prompts and score them."""
        s = self.settings
        B, K, T = s.prompts, s.candidates, s.length
        prompts = self.noise.integers("prompt", step, s.vocabulary, (B, T))
        tokens, logp = policy.sample(prompts, self.noise.uniform("action", step, (B, K, T)))
        inputs = Inputs(policy.paths(prompts, tokens), prompts=prompts)
        return Rollout(self.score(prompts, tokens, logp), inputs, interactions=B * K)

    def score(self, prompts: Tensor, tokens: Tensor, logp: Tensor) -> CandidateGroups:
        """Candidate groups of given answers; the baseline is the batch mean, per position where rewards are."""
        s = self.settings
        answer = target_tokens(prompts, s.target, s.vocabulary).unsqueeze(2)
        per_token = token_rewards(tokens, answer, s.reward).to(logp.dtype)
        reward = per_token.mean(-1)
        dense = s.reward != "terminal"
        batch = per_token if dense else reward
        return CandidateGroups(
            old_logp=logp,
            mask=torch.ones_like(logp),
            reward=reward,
            baseline=batch.mean((1, 2), keepdim=True),
            weight=torch.full_like(reward, 1 / s.candidates),
            score=reward,
            draws=s.candidates,
            token_reward=per_token if dense else None,
        )

    def logp(self, policy: TransformerPolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log-probs of the sampled tokens, from one forward over packed prefix trees."""
        return self._logp(policy, rollout.inputs, rows)

    def _logp(self, policy: TransformerPolicy, inputs: Inputs, rows: Tensor | None) -> Tensor:
        keep = None if rows is None else rows.cpu().numpy()
        key = None if keep is None else keep.tobytes()
        tree = inputs.trees.get(key)
        if tree is None:
            tree = policy.pack(inputs.paths, keep=keep)
            inputs.trees[key] = tree
        return policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)

    def greedy_reward(self, policy: TransformerPolicy, rollout: Rollout) -> Tensor:
        """Reward of the answers made of the most probable token after each: (S, B)."""
        prompts = rollout.inputs.prompts
        tokens, logp = greedy_answer(policy, prompts, self.settings.length)
        return self.score(prompts, tokens, logp).reward.squeeze(-1)

    def entropy(self, policy: TransformerPolicy, rollout: Rollout) -> Tensor:
        """Of the next token's distribution: (S, B, K, T)."""
        tree, V = policy.pack(rollout.inputs.paths), self.settings.vocabulary
        with torch.no_grad():
            table = policy.log_prob_table(tree)
            by_state = -(table.exp() * table).view(len(table), -1, V).sum(-1)
            return by_state.gather(1, tree.index // V).view(tree.shape)

    def make_critic(self) -> TransformerPolicy:
        """The same network as the policy's, from the same start."""
        return self.make_policy()

    def value(self, critic: TransformerPolicy, rollout: Rollout) -> Tensor:
        """V = p(token 0 | prompt and the tokens so far) of the critic, of which any head in (0, 1) would do."""
        tree, V = critic.pack(rollout.inputs.paths), self.settings.vocabulary
        return critic.log_prob_table(tree).gather(1, tree.index // V * V).view(tree.shape).exp()

    def evaluate(self, policy: TransformerPolicy, rollout: Rollout) -> Mapping[str, Tensor]:
        """error = 1 - mean reward of the rollouts; informative = share of groups whose rewards differ."""
        g = rollout.groups
        metrics = {"error": self.error(policy, g.reward.mean((1, 2)))}
        if self.settings.candidates > 1:
            metrics["informative"] = has_reward_variance(g).mean(1)
        return metrics

    def diagnose(self, policy: TransformerPolicy, step: Step) -> Mapping[str, Tensor]:
        """gradient_norm of the step's first gradient."""
        return {"gradient_norm": policy.square_norm(step.gradient).sqrt()}

    def examine(self, policy: TransformerPolicy, step: Step) -> Mapping[str, Tensor]:
        """What Figures 10 and 11 of the TPO paper show: where groups stand, and where the algorithm puts its weight.

        all_fail = share of groups without any reward; some_success = share with a wholly right candidate;
        weight_success, weight_failure = mean |credit| of the candidates that are, or are not, wholly right (mean over
        tokens where credit is per token; 0 where there is no such candidate).  A single rollout is a group of one.
        """
        del policy
        reward, credit = step.rollout.groups.reward, step.credit.abs()
        success = reward > 1 - 0.5 / self.settings.length
        weight = credit if credit.dim() == 3 else credit.mean(-1)
        return {
            "all_fail": (reward == 0).all(-1).to(reward.dtype).mean(1),
            "some_success": success.any(-1).to(reward.dtype).mean(1),
            "weight_success": _mean_where(success, weight),
            "weight_failure": _mean_where(~success, weight),
        }


def greedy_answer(policy: TransformerPolicy, prompts: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The most probable token after each token, from prompts (S, B, H): tokens and log-probs, (S, B, 1, length).

    It is sampled, at uniforms in the middle of the interval of the token that is wanted.
    """
    uniform = torch.zeros(*prompts.shape[:2], 1, length, dtype=policy.theta.dtype, device=prompts.device)
    for t in range(length):
        _, log_pi = policy.walk(prompts, uniform[..., : t + 1])
        pi = log_pi[..., t, :].exp()
        best = pi.argmax(-1, keepdim=True)
        uniform[..., t] = ((pi.cumsum(-1) - pi / 2).gather(-1, best)).squeeze(-1)
    return policy.sample(prompts, uniform)


def _mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    """Mean over the chosen candidates of a seed, 0 where there is none: (S, B, K) -> (S,)."""
    return torch.where(chosen, values, 0).sum((1, 2)) / chosen.sum((1, 2)).clamp(min=1)
