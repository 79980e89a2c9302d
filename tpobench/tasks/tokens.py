"""Groups of next tokens: K candidates in every state that one rollout per prompt passes (TPO sections 3.4 and 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.policies.prefix_tree import Ints, Packing
from tpobench.policies.transformer import TransformerPolicy, inverse_cdf
from tpobench.tasks.catalog import TokensSettings
from tpobench.tasks.rewards import target_tokens, token_rewards
from tpobench.tasks.sequence import SequenceTask
from tpobench.tasks.task import Rollout


@dataclass
class TokenInputs:
    """The rollouts' prefix tree, the K tokens of every state, and where their log-probs stand for sets of contexts."""

    paths: Any  # of the policy, of one rollout per prompt
    tokens: Tensor  # (S, B * T, K)
    places: dict[bytes | None, tuple[Packing, Tensor]] = field(default_factory=dict)  # index (S, b * K)


@dataclass(frozen=True)
class TokensTask(SequenceTask):
    """B rollouts of T tokens a step; each of the B * T states passed is a context, with K next tokens as candidates.

    Candidate 0 is the token that the rollout takes; the others are drawn beside it, with replacement, and go nowhere.
    Contexts are in the order of rollouts, then of tokens.  What is counted and measured is the rollouts, as for
    algorithms that compare nothing: all of them see B T transitions a step, these algorithms K rewards of each state.
    """

    settings: TokensSettings

    def rollout(self, policy: TransformerPolicy, step: int) -> Rollout:
        """Answer B fresh prompts once, and draw K - 1 more tokens in every state."""
        s = self.settings
        B, K, T = s.prompts, s.candidates, s.length
        prompts = self.noise.integers("prompt", step, s.vocabulary, (B, T))
        tokens, log_pi = policy.walk(prompts, self.noise.uniform("action", step, (B, 1, T)))
        beside = self.noise.uniform("token", step, (B, K - 1, T))
        tokens = torch.cat([tokens, inverse_cdf(log_pi.expand(-1, -1, K - 1, -1, -1), beside)], dim=2)  # (S, B, K, T)
        paths = policy.paths(prompts, tokens[:, :, :1])
        logp = log_pi.squeeze(2).gather(-1, tokens.mT)  # (S, B, T, K)
        inputs = TokenInputs(paths, by_state(tokens))
        return Rollout(self.score(prompts, tokens, by_state(logp.mT).unsqueeze(-1)), inputs, interactions=B)

    def score(self, prompts: Tensor, tokens: Tensor, logp: Tensor) -> CandidateGroups:
        """Groups (S, B * T, K) of tokens (S, B, K, T) and their log-probs (S, B * T, K, 1), the rollout first.

        A token is scored as if the rollout had taken it: what came before stays, what comes after has no part.  The
        baseline is the mean over all tokens drawn at the position.
        """
        s = self.settings
        answer = target_tokens(prompts, s.target, s.vocabulary).unsqueeze(2)
        reward = next_token_rewards(tokens, answer, s.reward).to(logp.dtype)
        baseline = reward.mean((1, 2), keepdim=True).expand(-1, s.prompts, 1, -1)
        scores = by_state(reward)
        return CandidateGroups(
            old_logp=logp,
            mask=torch.ones_like(logp),
            reward=scores,
            baseline=by_state(baseline),
            weight=torch.full_like(scores, 1 / s.candidates),
            score=scores,
            draws=s.candidates,
        )

    def logp(self, policy: TransformerPolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log-probs (S, b, K, 1) of the states' candidates, from one forward over the rollouts alone."""
        inputs: TokenInputs = rollout.inputs
        keep = None if rows is None else rows.cpu().numpy()
        key = None if keep is None else keep.tobytes()
        if key not in inputs.places:
            inputs.places[key] = self._places(policy, inputs, keep)
        tree, index = inputs.places[key]
        return policy.log_prob_table(tree).gather(1, index).view(len(index), -1, self.settings.candidates, 1)

    def _places(self, policy: TransformerPolicy, inputs: TokenInputs, rows: Ints | None) -> tuple[Packing, Tensor]:
        """The packed rollouts as far as the contexts `rows` (b,) need them, and each candidate's place (S, b * K)."""
        T, V = self.settings.length, self.settings.vocabulary
        device = policy.theta.device
        if rows is None:
            tree = policy.pack(inputs.paths)
            state, tokens = tree.index.view(len(tree.index), -1) // V, inputs.tokens
        else:
            keep, of = np.unique(rows // T, return_inverse=True)
            reach = np.zeros(len(keep), dtype=np.int64)
            np.maximum.at(reach, of, rows % T)
            tree = policy.pack(inputs.paths, keep=keep, reach=reach)
            at, chosen = (torch.from_numpy(x).to(device) for x in (of * T + rows % T, rows))
            state = tree.index.index_select(1, at) // V
            tokens = inputs.tokens.index_select(1, chosen)
        return tree, (state.unsqueeze(-1) * V + tokens).flatten(1)

    def evaluate(self, policy: TransformerPolicy, rollout: Rollout) -> Mapping[str, Tensor]:
        """error = 1 - mean reward of the rollouts themselves; informative = share of states whose rewards differ."""
        g = rollout.groups
        metrics = {"error": self.error(policy, g.reward[:, :, 0].mean(1))}
        if self.settings.candidates > 1:
            metrics["informative"] = has_reward_variance(g).mean(1)
        return metrics


def by_state(x: Tensor) -> Tensor:
    """(S, B, K, T) -> (S, B * T, K)."""
    return x.mT.flatten(1, 2)


def next_token_rewards(tokens: Tensor, answer: Tensor, reward: str) -> Tensor:
    """Reward of each of K tokens after the prefix that token 0 of every position makes: (..., K, T).

    bag_of_tokens 1[a_kt = y_t]; sequential 1[a_kt = y_t] prod_{s<t} 1[a_0s = y_s].
    """
    correct = tokens == answer
    if reward == "bag_of_tokens":
        return correct
    rewards = token_rewards(tokens[..., :1, :], answer, reward)
    alive = torch.cat([torch.ones_like(rewards[..., :1]), rewards[..., :-1]], dim=-1)
    return correct * alive
