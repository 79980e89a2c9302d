"""Targets and rewards of the token tasks (TPO sections 3.4 to 3.6)."""

from __future__ import annotations

from torch import Tensor


def target_tokens(prompts: Tensor, target: str, vocabulary: int) -> Tensor:
    """The right answer to each prompt: (..., T) -> (..., T).

    copy x_t; flip V-1-x_t; reverse_copy x_{T-1-t}; reverse_flip V-1-x_{T-1-t}.
    """
    answer = prompts.flip(-1) if target.startswith("reverse_") else prompts
    return vocabulary - 1 - answer if target.endswith("flip") else answer


def token_rewards(actions: Tensor, answer: Tensor, reward: str) -> Tensor:
    """Reward of every token, in {0, 1}: (..., T); a rollout's reward is the mean over T.

    bag_of_tokens 1[a_t = y_t]; sequential prod_{s<=t} 1[a_s = y_s]; terminal prod_s 1[a_s = y_s] at every t.
    """
    correct = actions == answer
    if reward == "terminal":
        return correct.all(-1, keepdim=True).expand_as(correct)
    if reward == "sequential":
        return correct.cumprod(-1)
    return correct
