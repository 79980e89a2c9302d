"""No rule sees what was not sampled, nor a field that it does not declare."""

import dataclasses

import pytest
import torch
from test_train import TASKS, curves, job
from torch.testing import assert_close

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS, register
from tpobench.algorithms.fit import cross_entropy, policy_gradient
from tpobench.algorithms.groups import CandidateGroups, standardize
from tpobench.algorithms.softmax import log_softmax, softmax

IMAGES = {"kind": "mnist", "data": "digits", "contexts": 20, "hidden": 4}


def groups(**fields):
    """One context of 4 arms, of which the last, which alone pays, was not drawn; 4 draws."""
    reward = torch.tensor([[[0.0, 0.5, 0.0, 1.0]]])
    base = {
        "old_logp": torch.full((1, 1, 4, 1), 0.25).log(),
        "mask": torch.ones(1, 1, 4, 1),
        "reward": reward,
        "baseline": torch.zeros(1, 1, 1),
        "weight": torch.tensor([[[0.25, 0.5, 0.25, 0.0]]]),
        "score": reward.clone(),
        "draws": 4,
        "token_reward": reward.unsqueeze(-1),
        "label": torch.tensor([[3]]),
        "greedy_reward": torch.tensor([[1.0]]),
        "ref_logp": torch.zeros(1, 1, 4, 1),
    }
    return CandidateGroups(**base | fields)


def test_a_task_cannot_hand_them_over():
    """Reward, score and token rewards at weight 0 are 0 by hand: 0, 1/2, 0 and the hidden 1."""
    g = groups()
    assert g.reward.tolist() == g.score.tolist() == g.token_reward.squeeze(-1).tolist() == [[[0, 0.5, 0, 0]]]
    assert dataclasses.replace(g, reward=torch.ones(1, 1, 4)).reward.tolist() == [[[1, 1, 1, 0]]]
    assert g.rows(torch.tensor([0])).reward.tolist() == [[[0, 0.5, 0, 0]]]
    assert groups(draws=float("inf")).reward.tolist() == [[[0, 0.5, 0, 1]]]


def test_hiding_keeps_the_order_in_memory():
    """Sums over another order round differently, and trajectories are chaotic."""
    reward = torch.rand(2, 4, 3).mT
    weight = torch.zeros(2, 4, 3).mT + torch.tensor([0.5, 0.5, 0, 0])
    fields = {"old_logp": reward.unsqueeze(-1), "mask": reward.unsqueeze(-1), "token_reward": None}
    g = groups(reward=reward, score=reward, weight=weight, **fields)
    assert g.reward.stride() == g.score.stride() == reward.stride() != reward.contiguous().stride()


def printed_tpo(groups):
    """TPO as its paper prints it, over all arms: q ~ p_old exp(z(r))."""
    return softmax(log_softmax(groups.old_sequence_logp) + standardize(groups.reward))


@pytest.mark.parametrize(
    ("kind", "settings", "margin"),
    [
        ("bandit", {"arms": 500, "samples": 20, "steps": 60}, 0.3),
        ("mnist", {"steps": 100, "optimizer": "adam"}, 0.02),
    ],
)
def test_a_rule_that_reads_rewards_of_undrawn_arms_is_no_oracle(kind, settings, margin, monkeypatch):
    """Were it told them, it would be the oracle to the last digit on the bandit, and close to it on images."""
    register(Algorithm("printed_tpo", printed_tpo, cross_entropy, compares="candidates"))
    monkeypatch.setitem(TASKS, "mnist", IMAGES)
    error = {}
    for rule in ("printed_tpo", "ce"):
        error[rule] = curves(job(kind, rule, (0, 1, 2), every=settings["steps"], **settings))["error"][-1].mean()
    assert error["printed_tpo"] > error["ce"] + margin


@pytest.mark.parametrize("name", ["label", "greedy_reward", "ref_logp"])
def test_a_field_that_is_not_declared_is_not_there(name):
    """In credit, fit and keep; declared, it is there in all three."""
    seen = []

    def credit(groups):
        seen.append(getattr(groups, name))
        return groups.reward

    def fit(logp, groups, credit):
        seen.append(getattr(groups, name))
        return policy_gradient(logp, groups, credit)

    def keep(groups):
        seen.append(getattr(groups, name))
        return torch.ones(1, 1)

    for needs in (frozenset(), frozenset({name})):
        rule = Algorithm("curious", credit, fit, keep=keep, needs=needs)
        rule.loss(torch.zeros(1, 1, 4, 1), groups(), rule.credit_for(groups()))
    assert seen[:3] == [None] * 3
    assert all(torch.equal(value, getattr(groups(), name)) for value in seen[3:])
    assert len(seen) == 6


def test_what_every_rule_may_read_is_there():
    """Token rewards are what a rollout was paid, and the groups of a rule are otherwise those of the task."""
    visible, given = groups().with_only(()), groups()
    assert (visible.label, visible.greedy_reward, visible.ref_logp) == (None, None, None)
    assert_close(visible.advantage, given.advantage)
    assert visible.draws == 4
    assert ALGORITHMS["ce"].credit_for(given).tolist() == [[[0, 0, 0, 1]]]
