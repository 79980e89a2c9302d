"""A small language model answers word problems; an exact match is rewarded (the miniature of RLVR on GSM8K)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, concentration
from tpobench.policies.language import END, GREEDY, LanguagePolicy
from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import Packing
from tpobench.tasks.catalog import TinyMathSettings
from tpobench.tasks.completions import SHOWN, batch_metrics, counts, held_out_errors, written
from tpobench.tasks.graders import is_right
from tpobench.tasks.task import Rollout, Step
from tpobench.tasks.warm_start import Recipe, warm_start
from tpobench.tasks.word_problems import WORDS, answer_length, decode, problem_sets, prompt_length, text_of


@dataclass
class Inputs:
    """The completions' prefix tree, its packings for sets of contexts, and which tokens are real."""

    paths: Any  # of the policy
    mask: Tensor  # (S, B, K, T)
    prompts: Tensor  # (S, B, H)
    answers: Sequence[Sequence[str]]  # (S, B)
    trees: dict[bytes | None, Packing] = field(default_factory=dict)


@dataclass(frozen=True)
class TinyMathTask:
    """B problems a step, K sampled completions each, which end where the model ends them, after T tokens at most."""

    settings: TinyMathSettings
    noise: Noise

    def make_policy(self) -> LanguagePolicy:
        """The warm start, the same for every seed."""
        s, noise = self.settings, self.noise
        theta = warm_start(Recipe(s.operations, s.right, s.warm_steps)).to(noise.device, noise.dtype)
        return LanguagePolicy(theta.repeat(len(noise.seeds), 1), len(WORDS), prompt_length(s.operations))

    def facts(self, policy: LanguagePolicy) -> Mapping[str, Tensor]:
        """initial_success: chance that a sampled completion of a held-out problem is right before training."""
        return {"initial_success": self._held_out(policy)[..., 1:].mean((1, 2))}

    def rollout(self, policy: LanguagePolicy, step: int) -> Rollout:
        """Sample K completions of each of B problems, and grade them."""
        s = self.settings
        trained, _ = problem_sets(s.operations)
        chosen = self.noise.integers("prompt", step, len(trained.problems), (s.prompts,))
        prompts = torch.from_numpy(trained.prompts).to(chosen.device)[chosen]
        answers = [[trained.answers[i] for i in row] for row in chosen.tolist()]
        shape = (s.prompts, s.candidates, answer_length(s.operations))
        tokens, logp = policy.sample(prompts, self.noise.uniform("action", step, shape))
        mask = real_tokens(tokens).to(logp.dtype)
        inputs = Inputs(policy.paths(prompts, tokens), mask, prompts, answers)
        groups = self._groups(tokens, logp, inputs)
        return Rollout(groups, inputs, interactions=s.prompts * s.candidates, counts=counts(groups))

    def _groups(self, tokens: Tensor, logp: Tensor, inputs: Inputs) -> CandidateGroups:
        """Groups of completions."""
        reward = self.reward(tokens, inputs.answers).to(logp.dtype)
        return CandidateGroups.of_rollouts(logp * inputs.mask, inputs.mask, reward)

    def reward(self, tokens: Tensor, answers: Sequence[Sequence[str]]) -> Tensor:
        """1 where a completion ends and the grader takes it as right, else 0: tokens (S, B, K, T) -> (S, B, K)."""
        graded = [
            [[END in row and is_right(decode(row), gold, self.settings.grader) for row in group]
             for group, gold in zip(groups, golds, strict=True)]
            for groups, golds in zip(tokens.tolist(), answers, strict=True)
        ]  # fmt: skip
        return torch.tensor(graded, dtype=self.noise.dtype, device=tokens.device)

    def logp(self, policy: LanguagePolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log-probs of the completions' tokens, 0 after their ends, from one forward over packed prefix trees."""
        inputs: Inputs = rollout.inputs
        keep = None if rows is None else rows.cpu().numpy()
        key = None if keep is None else keep.tobytes()
        if key not in inputs.trees:
            inputs.trees[key] = policy.pack(inputs.paths, keep=keep)
        tree = inputs.trees[key]
        mask = inputs.mask if rows is None else inputs.mask.index_select(1, rows)
        return policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape) * mask

    def greedy_reward(self, policy: LanguagePolicy, rollout: Rollout) -> Tensor:
        """Reward of the completions made of the most probable tokens: (S, B)."""
        inputs: Inputs = rollout.inputs
        tokens, _ = policy.walk(inputs.prompts, torch.full_like(inputs.mask[:, :, :1], GREEDY))
        return self.reward(tokens, inputs.answers).squeeze(-1)

    def entropy(self, policy: LanguagePolicy, rollout: Rollout) -> Tensor:
        """Of the next token's distribution, 0 after the end: (S, B, K, T)."""
        inputs: Inputs = rollout.inputs
        tree, V = policy.pack(inputs.paths), len(WORDS)
        with torch.no_grad():
            table = policy.log_prob_table(tree)
            by_state = -(table.exp() * table).view(len(table), -1, V).sum(-1)
            return by_state.gather(1, tree.index // V).view(tree.shape) * inputs.mask

    def evaluate(self, policy: LanguagePolicy, rollout: Rollout) -> Mapping[str, Tensor]:
        """error, greedy_error: 1 - held-out accuracy, sampled and greedy; reward: mean of the batch; informative."""
        return {**held_out_errors(self._held_out(policy)), **self.observe(rollout)}

    def observe(self, rollout: Rollout) -> Mapping[str, Tensor]:
        """reward, and informative where problems have several completions."""
        return batch_metrics(rollout.groups)

    def _held_out(self, policy: LanguagePolicy) -> Tensor:
        """Rewards on held-out problems, of the greedy completion and then of sampled ones: (S, N, 1 + samples).

        The uniforms are the same at every step, so curves change by the policy alone.
        """
        return self._answered(policy, self.settings.held_out, self.settings.samples)[1]

    def _answered(self, policy: LanguagePolicy, problems: int, samples: int) -> tuple[Tensor, Tensor]:
        """Completions (S, n, 1 + samples, T) and rewards (S, n, 1 + samples) of the first held-out problems."""
        s, S = self.settings, len(self.noise.seeds)
        _, evaluated = problem_sets(s.operations)
        prompts = torch.from_numpy(evaluated.prompts[:problems]).to(self.noise.device).expand(S, -1, -1)
        shape = min(s.held_out, len(evaluated.problems)), s.samples, answer_length(s.operations)
        uniform = self.noise.uniform("held_out", 0, shape)[:, :problems, :samples]
        tokens, _ = policy.walk(prompts, torch.cat([torch.full_like(uniform[:, :, :1], GREEDY), uniform], dim=2))
        return tokens, self.reward(tokens, [evaluated.answers[:problems]] * S)

    def completions(self, policy: LanguagePolicy) -> list[list[Mapping[str, Any]]]:
        """To the first held-out problems, greedy and the first of those that are sampled."""
        _, evaluated = problem_sets(self.settings.operations)
        tokens, rewards = self._answered(policy, min(SHOWN, self.settings.held_out), 1)
        asked = zip(map(text_of, evaluated.prompts[:SHOWN].tolist()), evaluated.answers[:SHOWN], strict=True)
        problems = list(asked)
        return [
            written([(*problem, *map(decode, pair)) for problem, pair in zip(problems, of_seed, strict=False)], reward)
            for of_seed, reward in zip(tokens.tolist(), rewards, strict=True)
        ]

    def diagnose(self, policy: LanguagePolicy, step: Step) -> Mapping[str, Tensor]:
        """gradient_norm of the step's first gradient."""
        return {"gradient_norm": policy.square_norm(step.gradient).sqrt()}

    def examine(self, policy: LanguagePolicy, step: Step) -> Mapping[str, Tensor]:
        """What tells why an algorithm learns on completions: how peaked p_old is in a group, entropy and lengths.

        entropy of the next token, mean over tokens; length = tokens of a completion, with its end; clipped = share of
        completions without one.
        """
        g = step.rollout.groups
        tokens = g.mask.sum((1, 2, 3))
        return {
            **concentration(g),
            "entropy": self.entropy(policy, step.rollout).sum((1, 2, 3)) / tokens,
            "length": tokens / (g.reward.shape[1] * g.reward.shape[2]),
            "clipped": self._clipped(step.rollout.inputs),
        }

    def _clipped(self, inputs: Inputs) -> Tensor:
        """Share of completions that were cut at T tokens: (S,)."""
        cut = torch.from_numpy((inputs.paths.actions != END).all(-1)).to(inputs.mask)
        return cut.mean((1, 2))


def real_tokens(tokens: Tensor) -> Tensor:
    """The tokens up to the first end, with it: (..., T)."""
    ended = (tokens == END).cumsum(-1)
    return ended - (tokens == END).to(ended.dtype) == 0
