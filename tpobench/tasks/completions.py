"""What every task of completions records of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.tasks.settings import PROMPTS, TOKENS

SHOWN = 4  # held-out problems whose completions a record keeps
LONGEST = 600  # characters of a text in it


def held_out_errors(right: Tensor) -> dict[str, Tensor]:
    """error, greedy_error: 1 - accuracy on held-out problems of (S, N, 1 + samples) completions, the first greedy."""
    return {"error": 1 - right[..., 1:].mean((1, 2)), "greedy_error": 1 - right[..., 0].mean(1)}


def batch_metrics(groups: CandidateGroups) -> dict[str, Tensor]:
    """reward: mean of the batch; informative: share of problems of several completions that differ in it."""
    metrics = {"reward": groups.reward.mean((1, 2))}
    if groups.reward.shape[-1] > 1:
        metrics["informative"] = has_reward_variance(groups).mean(1)
    return metrics


def counts(groups: CandidateGroups) -> dict[str, Tensor]:
    """Problems that a batch asks, and real tokens of its completions: (S,) each."""
    tokens = groups.mask.sum((1, 2, 3), dtype=torch.float64)
    return {PROMPTS.name: torch.full_like(tokens, groups.reward.shape[1]), TOKENS.name: tokens}


def written(texts: Iterable[Iterable[str]], rewards: Tensor) -> list[Mapping[str, Any]]:
    """What a record keeps of a seed: questions, right answers, greedy and sampled completions, and rewards (N, 2)."""
    return [
        {"question": shortened(question), "answer": shortened(answer),
         "greedy": shortened(greedy), "greedy_reward": of_greedy,
         "sampled": shortened(sampled), "sampled_reward": of_sampled}
        for (question, answer, greedy, sampled), (of_greedy, of_sampled) in zip(texts, rewards.tolist(), strict=True)
    ]  # fmt: skip


def shortened(text: str) -> str:
    """Its beginning and its end, where answers stand, without halves of surrogate pairs."""
    text, half = text.encode("utf-8", "replace").decode("utf-8"), LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} … {text[-half:]}"
