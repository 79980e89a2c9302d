"""Targets and rewards of the token tasks, by hand."""

import pytest
import torch

from tpobench.policies.noise import Noise
from tpobench.tasks.catalog import SequenceSettings
from tpobench.tasks.rewards import target_tokens, token_rewards
from tpobench.tasks.sequence import SequenceTask


@pytest.mark.parametrize(
    ("target", "answer"),
    [("copy", [0, 1, 2]), ("flip", [2, 1, 0]), ("reverse_copy", [2, 1, 0]), ("reverse_flip", [0, 1, 2])],
)
def test_targets(target, answer):
    """The answers to the prompt 0 1 2 over three tokens."""
    assert target_tokens(torch.tensor([0, 1, 2]), target, 3).tolist() == answer


@pytest.mark.parametrize(
    ("reward", "expected"), [("bag_of_tokens", [1, 0, 1, 1]), ("sequential", [1, 0, 0, 0]), ("terminal", [0, 0, 0, 0])]
)
def test_token_rewards(reward, expected):
    """One wrong token of four: worth 3/4, 1/4 and 0."""
    assert token_rewards(torch.tensor([1, 1, 0, 1]), torch.tensor([1, 0, 0, 1]), reward).int().tolist() == expected


def test_terminal_reward_of_a_right_answer():
    """All tokens right: 1 at every position."""
    right = torch.tensor([1, 0])
    assert token_rewards(right, right, "terminal").int().tolist() == [1, 1]


def test_baseline_is_the_batch_mean_at_each_position():
    """Bag of tokens, answers 11 and 10 to copies of 1 1: advantages 0, +-1/2; the reward of a rollout is its mean."""
    settings = SequenceSettings(2, 2, target="copy", reward="bag_of_tokens", prompts=2, candidates=1)
    task = SequenceTask(settings, Noise("t", "", (0,), dtype=torch.float64))
    prompts, tokens = torch.tensor([[[1, 1], [1, 1]]]), torch.tensor([[[[1, 1]], [[1, 0]]]])
    groups = task.score(prompts, tokens, torch.zeros(1, 2, 1, 2, dtype=torch.float64))
    assert groups.advantage.squeeze().tolist() == [[0, 0.5], [0, -0.5]]
    assert groups.reward.squeeze().tolist() == [1, 0.5]


def test_terminal_baseline_is_the_batch_mean():
    """Two prompts, one solved: advantages +-1/2 on every token of the rollout."""
    settings = SequenceSettings(2, 2, target="copy", prompts=2, candidates=1)
    task = SequenceTask(settings, Noise("t", "", (0,), dtype=torch.float64))
    prompts, tokens = torch.tensor([[[1, 1], [1, 1]]]), torch.tensor([[[[1, 1]], [[1, 0]]]])
    groups = task.score(prompts, tokens, torch.zeros(1, 2, 1, 2, dtype=torch.float64))
    assert groups.advantage.squeeze().tolist() == [0.5, -0.5]
