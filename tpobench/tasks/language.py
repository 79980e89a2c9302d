"""A pretrained language model answers problems whose answers can be checked: RLVR (TPO section 3.8)."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, concentration
from tpobench.errors import DataUnavailable
from tpobench.policies.causal import CausalPolicy, Completions, Prompts, Scores, Weights
from tpobench.policies.language import GREEDY
from tpobench.policies.noise import Noise
from tpobench.policies.pretrained import pretrained
from tpobench.tasks.catalog import LanguageSettings
from tpobench.tasks.completions import SHOWN, batch_metrics, counts, held_out_errors, written
from tpobench.tasks.problems import Problem, Problems, problems_of, right_answer
from tpobench.tasks.task import Rollout, Step

RIGHT = 1.0  # the grade of a wholly right answer


@dataclass(frozen=True)
class Inputs:
    """What is scored again: completions of each seed's problems, and how they ended."""

    prompts: Sequence[Sequence[Sequence[int]]]  # (S, B) of tokens
    problems: Sequence[Sequence[Problem]]  # (S, B)
    tokens: Tensor  # (S, B, K, T)
    ended: Tensor  # (S, B, K) by an end rather than a cut
    entropy: Tensor  # (S, B, K, T) of the policy that drew, before each token


@dataclass(frozen=True)
class LanguageTask:
    """B problems a step, K sampled completions each, which end where the model ends them, after T tokens at most."""

    settings: LanguageSettings
    noise: Noise
    _last: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def make_policy(self) -> CausalPolicy:
        """The pretrained model itself."""
        return CausalPolicy.initial(self.noise, self.weights, self.settings.rank, self.settings.alpha)

    @property
    def weights(self) -> Weights:
        """Those that all policies of this process share."""
        s, noise = self.settings, self.noise
        dtype = torch.bfloat16 if s.precision == "bfloat16" else noise.dtype
        return pretrained(s.model, dtype, noise.device)

    @property
    def at_once(self) -> int:
        """Problems whose completions are scored in one pass; 0: all of a batch."""
        return self.settings.micro_batch

    @property
    def problems(self) -> Problems:
        """What is asked."""
        return problems_of(self.settings.problems, self.settings.largest)

    @functools.cached_property
    def stops(self) -> Tensor:
        """The tokens that end a completion."""
        weights, pattern = self.weights, "|".join(filter(None, (self.problems.stop, self.settings.stop)))
        more = [i for i, text in enumerate(weights.texts) if re.search(pattern, text)] if pattern else []
        return torch.tensor(sorted({*weights.ends, *more}), device=self.noise.device)

    def facts(self, policy: CausalPolicy) -> Mapping[str, Tensor]:
        """initial_success: chance that a sampled completion of a held-out problem is right before training."""
        return {"initial_success": self._right(policy)[..., 1:].mean((1, 2))}

    def rollout(self, policy: CausalPolicy, step: int) -> Rollout:
        """Sample K completions of each of B problems, grade them, and score them as they will be trained on."""
        s, noise = self.settings, self.noise
        asked = self.problems.trained
        chosen = noise.integers("prompt", step, len(asked), (s.prompts,)).tolist()
        problems = [[asked[i] for i in row] for row in chosen]
        prompts = [[self._encoded(p) for p in row] for row in problems]
        uniform = noise.uniform("action", step, (s.prompts, s.candidates, s.new_tokens))
        drawn = self._drawn(policy, prompts, uniform)
        tokens, mask, logp = drawn
        with torch.no_grad():
            old_logp, entropy = scored(policy, prompts, tokens, mask, self.at_once)
        ended = self._ended(drawn)
        grades = self._grades(drawn, ended, problems)
        groups = CandidateGroups.of_rollouts(old_logp, mask, grades, rollout_logp=logp)
        inputs = Inputs(prompts, problems, tokens, ended, entropy)
        return Rollout(groups, inputs, interactions=s.prompts * s.candidates, counts=counts(groups))

    def logp(self, policy: CausalPolicy, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log-probs of the completions' tokens, 0 after their ends, with graph."""
        inputs: Inputs = rollout.inputs
        mask, places = rollout.groups.mask, range(len(inputs.prompts[0])) if rows is None else rows.tolist()
        prompts = [[row[b] for b in places] for row in inputs.prompts]
        tokens, mask = (x if rows is None else x.index_select(1, rows) for x in (inputs.tokens, mask))
        return scored(policy, prompts, tokens, mask, 0 if torch.is_grad_enabled() else self.at_once).logp

    def greedy_reward(self, policy: CausalPolicy, rollout: Rollout) -> Tensor:
        """Reward of the completions made of the most probable tokens: (S, B)."""
        inputs: Inputs = rollout.inputs
        S, B, _, T = inputs.tokens.shape
        drawn = self._drawn(policy, inputs.prompts, torch.full((S, B, 1, T), GREEDY, dtype=self.noise.dtype))
        return self._grades(drawn, self._ended(drawn), inputs.problems).squeeze(-1)

    def entropy(self, policy: CausalPolicy, rollout: Rollout) -> Tensor:
        """Of the next token's distribution, 0 after the end: (S, B, K, T)."""
        inputs: Inputs = rollout.inputs
        with torch.no_grad():
            return scored(policy, inputs.prompts, inputs.tokens, rollout.groups.mask, self.at_once).entropy

    def evaluate(self, policy: CausalPolicy, rollout: Rollout) -> Mapping[str, Tensor]:
        """error, greedy_error: 1 - share of right answers, sampled and greedy; and of the batch what `observe` gives.

        held_out_score: mean grade of sampled answers, where grades are partial.
        """
        metrics = held_out_errors(self._right(policy))
        if self.settings.partial:
            metrics["held_out_score"] = self._held_out(policy)[..., 1:].mean((1, 2))
        return {**metrics, **self.observe(rollout)}

    def observe(self, rollout: Rollout) -> Mapping[str, Tensor]:
        """reward, and informative where problems have several completions."""
        return batch_metrics(rollout.groups)

    def diagnose(self, policy: CausalPolicy, step: Step) -> Mapping[str, Tensor]:
        """gradient_norm of the step's first gradient."""
        del policy
        return {"gradient_norm": step.gradient[0].norm(dim=1)}

    def examine(self, policy: CausalPolicy, step: Step) -> Mapping[str, Tensor]:
        """As of `tiny_math`; sampler_gap = mean over tokens of |log pi_old - log pi_sampler|, of rounding alone."""
        del policy
        inputs: Inputs = step.rollout.inputs
        g = step.rollout.groups
        tokens = g.mask.sum((1, 2, 3))
        assert g.rollout_logp is not None  # noqa: S101 - this task's own
        return {
            **concentration(g),
            "length": g.mask.sum(-1).mean((1, 2)),
            "entropy": inputs.entropy.sum((1, 2, 3)) / tokens,
            "clipped": 1 - inputs.ended.mean((1, 2)),
            "sampler_gap": ((g.old_logp - g.rollout_logp).abs() * g.mask).sum((1, 2, 3)) / tokens,
        }

    def _encoded(self, problem: Problem) -> list[int]:
        s = self.settings
        try:
            return self.weights.encode(problem.question, problem.begun, s.template, s.system, thinking=s.thinking)
        except ValueError as error:
            msg = f"model '{s.model}': {error}"
            raise DataUnavailable(msg) from error

    def _drawn(self, policy: CausalPolicy, prompts: Sequence[Sequence[Sequence[int]]], uniform: Tensor) -> Completions:
        """Completions of every seed, stacked."""
        drawn = [policy.sample(i, row, uniform[i], self.stops) for i, row in enumerate(prompts)]
        return Completions(*(torch.stack(x) for x in zip(*drawn, strict=True)))

    def _ended(self, drawn: Completions) -> Tensor:
        """1 where a completion has an end: (S, B, K)."""
        return (torch.isin(drawn.tokens, self.stops) & (drawn.mask > 0)).any(-1).to(drawn.mask.dtype)

    def _texts(self, drawn: Completions) -> list[list[list[str]]]:
        """Of every completion: (S, B, K)."""
        decode = self.weights.decode
        return [[[decode(t[: int(n)]) for t, n in zip(T, N, strict=True)] for T, N in zip(Ts, Ns, strict=True)]
                for Ts, Ns in zip(drawn.tokens.tolist(), drawn.mask.sum(-1).tolist(), strict=True)]  # fmt: skip

    def _grades(self, drawn: Completions, ended: Tensor, problems: Sequence[Sequence[Problem]]) -> Tensor:
        """Of every completion, 0 where it was cut and must have ended: (S, B, K)."""
        grade, grader = self.problems.grade, self.settings.grader
        values = [[[grade(text, p, grader) for text in group] for group, p in zip(groups, row, strict=True)]
                  for groups, row in zip(self._texts(drawn), problems, strict=True)]  # fmt: skip
        grades = torch.tensor(values, dtype=self.noise.dtype, device=self.noise.device)
        return grades if self.settings.cut_counts else grades * ended

    def _right(self, policy: CausalPolicy) -> Tensor:
        return (self._held_out(policy) >= RIGHT).to(self.noise.dtype)

    def _held_out(self, policy: CausalPolicy) -> Tensor:
        """Grades on held-out problems, of the greedy completion and then of sampled ones: (S, N, 1 + samples).

        The uniforms are the same at every step, so curves change by the policy alone.
        """
        state = (id(policy), policy.theta._version)  # noqa: SLF001 - torch's count of changes in place
        if self._last.get("state") != state:
            self._last.update(state=state, grades=self._evaluated(policy))
        grades: Tensor = self._last["grades"]
        return grades

    def completions(self, policy: CausalPolicy) -> list[list[Mapping[str, Any]]]:
        """To the first held-out problems, greedy and the first of those that are sampled."""
        asked, uniform = self._asked
        problems, S = asked[:SHOWN], len(uniform)
        prompts = [[self._encoded(p) for p in problems]] * S
        drawn = self._drawn(policy, prompts, uniform[:, :SHOWN, :2])
        texts, grades = self._texts(drawn), self._grades(drawn, self._ended(drawn), [problems] * S)
        return [
            written(
                [
                    (p.question, right_answer(p), *(p.begun + t for t in pair))
                    for p, pair in zip(problems, of_seed, strict=True)
                ],
                grade,
            )
            for of_seed, grade in zip(texts, grades, strict=True)
        ]

    @property
    def _asked(self) -> tuple[list[Problem], Tensor]:
        """The held-out problems, and what answers are drawn at: GREEDY, then samples (S, N, 1 + samples, T)."""
        s = self.settings
        problems = list(self.problems.held_out[: s.held_out])
        uniform = self.noise.uniform("held_out", 0, (len(problems), s.samples, s.new_tokens))
        return problems, torch.cat([torch.full_like(uniform[:, :, :1], GREEDY), uniform], dim=2)

    def _evaluated(self, policy: CausalPolicy) -> Tensor:
        s, S = self.settings, len(self.noise.seeds)
        problems, uniform = self._asked
        parts = []
        for first in range(0, len(problems), s.prompts):
            part = problems[first : first + s.prompts]
            prompts = [[self._encoded(p) for p in part]] * S
            drawn = self._drawn(policy, prompts, uniform[:, first : first + s.prompts])
            parts.append(self._grades(drawn, self._ended(drawn), [part] * S))
        return torch.cat(parts, dim=1)


def scored(policy: CausalPolicy, prompts: Sequence[Prompts], tokens: Tensor, mask: Tensor, at_once: int = 0) -> Scores:
    """Log-probs and entropies of completions (S, B, K, T) of every seed's prompts, `at_once` prompts a pass or all."""
    scores = []
    for i, row in enumerate(prompts):
        size = at_once or len(row)
        parts = [slice(b, b + size) for b in range(0, len(row), size)]
        passes = [policy.score(i, row[part], tokens[i][part], mask[i][part]) for part in parts]
        scores.append(Scores(*(torch.cat(x) for x in zip(*passes, strict=True))))
    return Scores(*(torch.stack(x) for x in zip(*scores, strict=True)))
