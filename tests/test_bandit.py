"""The tabular suites follow the reference's curves seed by seed, and their parts do what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.optimizers import NormalizedStep
from tpobench.policies.tables import TablePolicy
from tpobench.tasks.bandit import BanditTask, ContextsTask, draw, misalignment
from tpobench.tasks.catalog import BanditSettings, ContextsSettings
from tpobench.tasks.task import Rollout, Step
from tpobench.training.companions import Companions

CURVES = np.load(Path(__file__).parent / "extracts" / "bandit_curves.npz")
RULES = {"pg": "reinforce", "dg": "dg", "tpo": "tpo", "grpo": "grpo", "ce": "ce"}
# rounding alone: the same formulas in another order of operations
ROUNDING = {"error": 1e-13, "misalignment": 1e-11}
# the reference has 1e-8 inside: softmax(log(pi + 1e-8) + u) for TPO, sqrt(var + 1e-8) or sqrt(p / (1 - p + 1e-8)) for
# GRPO; the differences measured are 6e-8 in the error and 1e-6 in the misalignment
FLOORS = {"error": 1e-7, "misalignment": 2e-6}
TOLERANCE = {"pg": ROUNDING, "dg": ROUNDING, "ce": ROUNDING, "tpo": FLOORS, "grpo": FLOORS}


@dataclass
class FakeNoise:
    """Noise of a fixed generator per role and step."""

    seeds: tuple[int, ...] = (0, 1, 2)
    dtype: torch.dtype = torch.float64
    device: str = "cpu"

    def uniform(self, role: str, step: int, shape: tuple[int, ...]) -> Tensor:
        rng = torch.Generator().manual_seed(step + 1000 * len(role))
        return torch.rand(len(self.seeds), *shape, generator=rng, dtype=self.dtype)

    def normal(self, role: str, step: int, shape: tuple[int, ...]) -> Tensor:
        rng = torch.Generator().manual_seed(step + 1000 * len(role))
        return torch.randn(len(self.seeds), *shape, generator=rng, dtype=self.dtype)


def update(task: BanditTask | ContextsTask, policy: TablePolicy, rule: Algorithm, rollout: Rollout) -> Tensor:
    """One normalised step of length 0.1 per seed; gives the misalignment of its gradient."""
    credit = rule.credit_for(rollout.groups)
    loss = rule.loss(task.logp(policy, rollout, None), rollout.groups, credit)
    gradient = torch.autograd.grad(loss.mean(1).sum(), list(policy.parameters))
    diagnosis = task.diagnose(policy, Step(rollout, rule, credit, gradient))
    norm = (gradient[0].square().sum((1, 2), keepdim=True) + 1e-30).sqrt()
    with torch.no_grad():
        policy.theta.sub_(0.1 * gradient[0] / norm)
    return diagnosis["misalignment"]


def assert_curves(suite: str, rule: str, error: list[Tensor], misaligned: list[Tensor]) -> None:
    for metric, curve in (("error", error), ("misalignment", misaligned)):
        expected = torch.from_numpy(CURVES[f"{suite}/{rule}/{metric[:8]}"])
        torch.testing.assert_close(torch.stack(curve, 1), expected, rtol=0, atol=TOLERANCE[rule][metric])


@pytest.mark.parametrize("rule", ["pg", "dg", "tpo", "grpo"])
def test_bandit_follows_the_reference(rule: str) -> None:
    """From the recorded draws, error and misalignment of 3 seeds equal the reference's over all 150 steps."""
    task = BanditTask(BanditSettings(), FakeNoise())
    policy, error, misaligned = task.make_policy(), [], []
    for actions in torch.from_numpy(CURVES[f"single/{rule}/actions"].astype(np.int64)).unbind(1):
        rollout = task.score(policy.snapshot(), actions)
        error.append(task.evaluate(policy, rollout)["error"])
        misaligned.append(update(task, policy, ALGORITHMS[RULES[rule]], rollout))
    assert_curves("single", rule, error, misaligned)


@pytest.mark.parametrize("rule", ["pg", "dg", "tpo", "grpo", "ce"])
def test_contexts_follow_the_reference(rule: str) -> None:
    """From the recorded logits, 3 seeds follow the reference over 1000 steps; its error is taken after the step."""
    task = ContextsTask(ContextsSettings(), FakeNoise())
    policy = TablePolicy.from_logits(torch.from_numpy(CURVES["logits_init"]).double())
    error, misaligned = [], []
    for step in range(1000):
        misaligned.append(update(task, policy, ALGORITHMS[RULES[rule]], task.rollout(policy, step)))
        error.append(task.evaluate(policy, task.rollout(policy, step + 1))["error"])
    assert_curves("contexts", rule, error[9::10], misaligned[9::10])


def test_draws_invert_the_distribution_function() -> None:
    """Uniforms 0, .24, .25, .5 and almost 1 under (1/4, 1/4, 0, 1/2) draw arms 0, 0, 1, 3, 3."""
    probabilities = torch.tensor([[0.25, 0.25, 0.0, 0.5]])
    uniform = torch.tensor([[0.0, 0.24, 0.25, 0.5, 1 - 2**-24]])
    assert draw(probabilities, uniform).tolist() == [[0, 0, 1, 3, 3]]


def test_draws_stay_among_the_arms() -> None:
    """Probabilities that round to a sum below 1 still draw the last arm."""
    assert draw(torch.tensor([[0.5, 0.4999]]), torch.tensor([[0.99999]])).tolist() == [[1]]


def test_bandit_draws_with_the_policy_s_frequencies() -> None:
    """The share of each arm among many draws is its probability, within five standard errors."""
    task = BanditTask(BanditSettings(arms=4, samples=20_000), FakeNoise())
    policy = TablePolicy.from_logits(torch.tensor([0.1, 0.2, 0.3, 0.4]).double().log().expand(3, 1, 4))
    weight = task.rollout(policy, 0).groups.weight
    p = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    assert ((weight - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt()).all()


def test_bandit_tallies_by_hand() -> None:
    """Draws 0, 2, 2, 1 of four arms: weights 1/4, 1/4, 1/2, 0 and scores weight (r - 1/2)."""
    task = BanditTask(BanditSettings(arms=4, samples=4), FakeNoise(seeds=(0,)))
    policy = task.make_policy()
    rollout = task.score(policy.snapshot(), torch.tensor([[0, 2, 2, 1]]))
    assert rollout.groups.weight.tolist() == [[[0.25, 0.25, 0.5, 0.0]]]
    assert rollout.groups.score.tolist() == [[[0.125, -0.125, -0.25, 0.0]]]
    assert rollout.groups.draws == 4
    assert rollout.interactions == 4


def test_initial_success_is_the_probability_of_the_right_arm() -> None:
    """1 in 100 for the bandit, the mean over contexts for many."""
    bandit = BanditTask(BanditSettings(), FakeNoise())
    torch.testing.assert_close(bandit.facts(bandit.make_policy())["initial_success"], torch.full((3,), 0.01).double())
    contexts = ContextsTask(ContextsSettings(contexts=7, arms=3), FakeNoise())
    policy = contexts.make_policy()
    expected = policy.logits.detach().softmax(-1)[..., 0].mean(1)
    torch.testing.assert_close(contexts.facts(policy)["initial_success"], expected)
    torch.testing.assert_close(1 - contexts.evaluate(policy, contexts.rollout(policy, 0))["error"], expected)


def test_contexts_are_exact() -> None:
    """Nothing is drawn: weights are the policy's probabilities, and a step counts one interaction per context."""
    task = ContextsTask(ContextsSettings(contexts=7, arms=3), FakeNoise())
    policy = task.make_policy()
    rollout = task.rollout(policy, 0)
    torch.testing.assert_close(rollout.groups.weight, policy.logits.detach().softmax(-1))
    assert rollout.groups.draws == float("inf")
    assert rollout.interactions == 7


def test_misalignment_by_hand() -> None:
    """0 along the oracle, 1 across it, 2 against it, 1 for a zero gradient; scale does not matter."""
    oracle = torch.tensor([[[3.0, 4.0]]] * 4).double()
    direction = torch.tensor([[[6.0, 8.0]], [[4.0, -3.0]], [[-3.0, -4.0]], [[0.0, 0.0]]]).double()
    torch.testing.assert_close(
        misalignment(direction, oracle), torch.tensor([0.0, 1.0, 2.0, 1.0]).double(), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(
    "task",
    [BanditTask(BanditSettings(), FakeNoise()), ContextsTask(ContextsSettings(), FakeNoise())],
    ids=["bandit", "contexts"],
)
@pytest.mark.parametrize("rule", ALGORITHMS.values(), ids=ALGORITHMS)
def test_every_rule_learns(task: BanditTask | ContextsTask, rule: Algorithm) -> None:
    """Sixty steps of any rule lower the error of every seed."""
    if not rule.needs <= task.settings.offered:
        return
    policy, companions = task.make_policy(), Companions.of(task, rule, lambda _: NormalizedStep(0.1))
    before = task.evaluate(policy, task.rollout(policy, 0))["error"]
    for step in range(60):
        drawn = task.rollout(policy, step)
        update(task, policy, rule, companions.prepared(task, policy, rule, drawn, step=step, steps=60))
        companions.learn(task, drawn, 1)
    assert (task.evaluate(policy, task.rollout(policy, 60))["error"] < before).all()
