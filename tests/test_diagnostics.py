"""What the sequence task tells of a step beside its error, by hand-computed groups."""

import json

import pytest
import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import build_suite
from tpobench.tasks.task import Rollout, Step
from tpobench.training.loop import make_task, train

ASKED = ("all_fail", "some_success", "weight_success", "weight_failure")


def answers(prompts, right):
    """Answers to prompts: the right one where `right`, else one with its last token wrong; (S, B, K, T)."""
    answer = prompts.flip(-1).unsqueeze(2).repeat(1, 1, len(right[0][0]), 1)
    wrong = answer.clone()
    wrong[..., -1] = 1 - wrong[..., -1]
    return torch.where(torch.tensor(right).unsqueeze(-1), answer, wrong)


def examined(right, *, rule="tpo", reward="terminal", credit=None):
    """The diagnostics of groups whose candidates are right or wrong as told, all equally likely; T = 2."""
    S, B, K = torch.tensor(right).shape
    spec = {"kind": "sequence", "length": 2, "reward": reward, "prompts": B, "candidates": K}
    task = make_task("test", spec, tuple(range(S)), dtype="float64", device="cpu")
    prompts = torch.zeros((S, B, 2), dtype=torch.long)
    tokens = answers(prompts, right)
    groups = task.score(prompts, tokens, torch.full((S, B, K, 2), -0.7, dtype=torch.float64))
    algorithm = ALGORITHMS[rule]
    credit = algorithm.credit_for(groups) if credit is None else credit
    step = Step(Rollout(groups, None, B * K), algorithm, credit, ())
    return {name: value.tolist() for name, value in task.examine(None, step).items()}


def test_groups_are_counted_by_their_successes():
    """Of four groups of three, two hold no success; of the other seed's, none does."""
    none, one, all_ = [False] * 3, [False, True, False], [True] * 3
    found = examined([[none, one, none, all_], [one, one, all_, one]])
    assert found["all_fail"] == [0.5, 0.0]
    assert found["some_success"] == [0.5, 1.0]


def test_weights_of_tpo_are_its_target_mass():
    """One success in a group of two: u = +1 and -1, q = e / (e + 1/e) = .8808 and .1192; an all-fail group has 1/2."""
    found = examined([[[True, False], [False, False]]])
    assert found["weight_success"] == pytest.approx([0.880797])
    assert found["weight_failure"] == pytest.approx([(0.119203 + 0.5 + 0.5) / 3])


def test_weights_of_grpo_are_the_size_of_its_advantage():
    """One success in a group of four: A = sqrt(3) and -1/sqrt(3); an all-fail group has 0."""
    found = examined([[[True, False, False, False], [False] * 4]], rule="grpo")
    assert found["weight_success"] == pytest.approx([3**0.5])
    assert found["weight_failure"] == pytest.approx([3 * 3**-0.5 / 7])


def test_without_successes_or_failures_their_weight_is_zero():
    """A seed is never called diverged for want of a success: no value is nan."""
    found = examined([[[False, False]], [[True, True]]])
    assert found["weight_success"] == pytest.approx([0.0, 0.5])
    assert found["weight_failure"] == pytest.approx([0.5, 0.0])


def test_a_single_rollout_is_a_group_of_one():
    """DG on 1 success in 4 prompts: b = 1/4, |A| = 3/4 and 1/4."""
    found = examined([[[True], [False], [False], [False]]], rule="dg")
    assert found == {
        "all_fail": [0.75],
        "some_success": [0.25],
        "weight_success": pytest.approx([0.75]),
        "weight_failure": pytest.approx([0.25]),
    }


def test_where_rewards_are_dense_a_success_is_a_wholly_right_answer():
    """An answer that is half right is a failure, but its group is no all-fail group; token credits are averaged."""
    credit = torch.tensor([[[[3.0, -1.0], [0.5, 0.0]]]], dtype=torch.float64)
    found = examined([[[True, False]]], reward="bag_of_tokens", credit=credit)
    assert found == {"all_fail": [0.0], "some_success": [1.0], "weight_success": [2.0], "weight_failure": [0.25]}
    assert examined([[[False, False]]], reward="bag_of_tokens")["all_fail"] == [0.0]


def curves(diagnostics, rule="tpo"):
    """What a short run records: metric -> values."""
    document = {
        "title": "t",
        "algorithms": [rule],
        "task": {"kind": "sequence", "length": 2, "prompts": 5, "candidates": 3},
        "training": {"steps": 3, "epochs": 2, "optimizer": "muon", "learning_rate": 1e-3, "diagnostics": diagnostics},
    }
    (job,) = plan_runs(build_suite("t", document, "t"), seeds=[0]).jobs()
    found = {}
    for m in train(job):
        found.setdefault(m.metric, []).append(m.value)
    return found


@pytest.mark.parametrize("rule", ["tpo", "grpo_masked", "ppo"])
def test_diagnostics_are_recorded_where_a_suite_asks_and_change_nothing(rule):
    """Beside every error, from the same policy; the errors are those without diagnostics, byte for byte."""
    without, asked = curves(diagnostics=False, rule=rule), curves(diagnostics=True, rule=rule)
    assert set(asked) - set(without) == set(ASKED)
    assert json.dumps(asked["error"]) == json.dumps(without["error"])
    for step, (error,) in enumerate(asked["error"][:3]):
        (fail,), (some,) = asked["all_fail"][step], asked["some_success"][step]
        assert fail + some == pytest.approx(1)
        assert some >= (1 - error) - 1e-6  # a success needs a group to be in
