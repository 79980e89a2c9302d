"""Sampled candidates on tables: the rules' expected updates are the closed forms, and every rule gets equal draws."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.planning.plan import interactions_of, plan_runs
from tpobench.policies.noise import Noise
from tpobench.policies.tables import TablePolicy
from tpobench.suites.load import build_suite, load_suite
from tpobench.tasks.catalog import SampledSettings
from tpobench.tasks.sampled import SampledTask
from tpobench.training.loop import contributing_rows, make_task, train

DOUBLE = torch.float64


@dataclass(frozen=True)
class Groups:
    """Groups of given draws under one policy, each a context of its own."""

    task: SampledTask
    policy: TablePolicy
    actions: Tensor  # (1, B, K)

    def update(self, rule: str) -> Tensor:
        """-d loss / d logits of every group by itself: (B, A)."""
        rollout = self.task.score(self.policy.snapshot(), self.actions)
        algorithm = ALGORITHMS[rule]
        credit = algorithm.credit_for(rollout.groups)
        loss = algorithm.loss(self.task.logp(self.policy, rollout, None), rollout.groups, credit)
        (gradient,) = torch.autograd.grad(loss.sum(), [self.policy.theta])
        return -gradient[0].T


def groups(pi: list[float], actions: list[list[int]]) -> Groups:
    B, K = len(actions), len(actions[0])
    task = SampledTask(SampledSettings(contexts=B, arms=len(pi), candidates=K), Noise("s", "c", (0,), dtype=DOUBLE))
    logits = torch.tensor(pi, dtype=DOUBLE).log().expand(1, B, len(pi))
    return Groups(task, TablePolicy.from_logits(logits), torch.tensor([actions]))


def symmetric(p: float, arms: int) -> list[float]:
    return [p] + [(1 - p) / (arms - 1)] * (arms - 1)


def expected_update(rule: str, pi: list[float], K: int) -> Tensor:
    """The mean update over all A^K groups of K draws, each weighted by its probability: (A,)."""
    every = [list(draws) for draws in itertools.product(range(len(pi)), repeat=K)]
    chance = torch.tensor([math.prod(pi[a] for a in draws) for draws in every], dtype=DOUBLE)
    return chance @ groups(pi, every).update(rule)


def beta_of(rule: str, p: float, arms: int, K: int) -> float:
    """The coefficient of e_y - pi, from the groups with k = 0..K right draws; wrong arms are alike."""
    every = [[0] * k + [1 + i % (arms - 1) for i in range(K - k)] for k in range(K + 1)]
    chance = torch.tensor([math.comb(K, k) * p**k * (1 - p) ** (K - k) for k in range(K + 1)], dtype=DOUBLE)
    return float(chance @ groups(symmetric(p, arms), every).update(rule)[:, 0]) / (1 - p)


def sampled_tpo(p: float, arms: int, K: int) -> float:
    """E_k[q_k - m_k] / (1 - p): m_k the mass of k right draws in the group softmax of p_old, q_k = m_k tilted.

    lambda_k = exp(K / sqrt(k (K - k))) is the ratio of exp(u) between right and wrong draws.
    """
    total = 0.0
    for k in range(1, K):
        m = k * p / (k * p + (K - k) * (1 - p) / (arms - 1))
        tilt = math.exp(K / math.sqrt(k * (K - k)))
        total += math.comb(K, k) * p**k * (1 - p) ** (K - k) * (m * tilt / (m * tilt + 1 - m) - m)
    return total / (1 - p)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9])
def test_expected_tpo_update_is_its_closed_form(p):
    """Over all 4^4 groups the mean update is beta (e_y - pi) with the finite-group beta of symmetric wrong arms."""
    pi = symmetric(p, 4)
    direction = torch.eye(4, dtype=DOUBLE)[0] - torch.tensor(pi, dtype=DOUBLE)
    torch.testing.assert_close(expected_update("tpo", pi, 4), sampled_tpo(p, 4, 4) * direction, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("p", "tpo", "grpo", "dg"),
    [(0.001, 1.9558327e-4, 2.6420073e-3, 9.990010e-4), (0.01, 0.015469554, 0.026088622, 9.900990e-3),
     (0.05, 0.181187596, 0.123653132, 0.047619048)],
)  # fmt: skip
def test_coefficients_of_ten_arms_and_eight_draws(p, tpo, grpo, dg):
    """Values computed elsewhere by exact enumeration; DG's are of rewards without a baseline, p / (1 + p)."""
    assert sampled_tpo(p, 10, 8) == pytest.approx(tpo, rel=1e-6)
    assert beta_of("tpo", p, 10, 8) == pytest.approx(tpo, rel=1e-6)
    assert beta_of("grpo", p, 10, 8) == pytest.approx(grpo, rel=1e-4)  # its epsilon, and its threshold of variance
    assert p / (1 + p) == pytest.approx(dg, rel=1e-6)


def test_sampled_tpo_counts_the_probability_twice():
    """As p falls by 10, sampled TPO's step falls by 100 and GRPO's by 10: p_old weighs what p_old has drawn."""
    small, smaller = 1e-4, 1e-5
    assert beta_of("tpo", small, 10, 8) / beta_of("tpo", smaller, 10, 8) == pytest.approx(100, rel=0.03)
    assert beta_of("grpo", small, 10, 8) / beta_of("grpo", smaller, 10, 8) == pytest.approx(10, rel=0.03)
    limit = 8 / 7 * 9 * (math.exp(8 / math.sqrt(7)) - 1)
    assert beta_of("tpo", smaller, 10, 8) / smaller**2 == pytest.approx(limit, rel=0.01)


def test_a_candidate_drawn_twice_counts_twice():
    """Of the draws y, y, w under equal probabilities, y gets two thirds of p_old: q - p on y is its tilt minus 2/3."""
    update = groups([1 / 3] * 3, [[0, 0, 1]]).update("tpo")[0]
    tilt = math.exp(3 / math.sqrt(2))
    expected = 2 * tilt / (2 * tilt + 1) - 2 / 3
    torch.testing.assert_close(update, torch.tensor([expected, -expected, 0.0], dtype=DOUBLE), rtol=0, atol=1e-14)


def test_rules_that_compare_nothing_count_every_draw():
    """REINFORCE's update is the mean over all K draws of (r - batch mean) (e_a - pi)."""
    found = groups([0.5, 0.25, 0.25], [[0, 0, 1, 2], [1, 1, 1, 2]]).update("reinforce")
    pi, one = torch.tensor([0.5, 0.25, 0.25], dtype=DOUBLE), torch.eye(3, dtype=DOUBLE)
    b = 2 / 8
    first = ((1 - b) * 2 * (one[0] - pi) - b * (one[1] - pi) - b * (one[2] - pi)) / 4
    second = (-b * 3 * (one[1] - pi) - b * (one[2] - pi)) / 4
    torch.testing.assert_close(found, torch.stack([first, second]), rtol=0, atol=1e-14)


def test_every_rule_has_the_same_draws_and_the_same_count():
    """Five rules, one suite: each run draws steps x contexts x K, and the untrained draws are those of the others."""
    suite = build_suite("tiny", document(), "tiny")
    plan = plan_runs(suite)
    assert plan.skipped == ()
    assert {interactions_of(spec) for spec in plan.specs} == {3 * 6 * 4}
    assert {spec.matching for spec in plan.specs} == {"any"}
    first = {}
    for job in plan.jobs():
        rows = list(train(job))
        assert {r.interactions for r in rows if r.step == 3} == {3 * 6 * 4}
        first[job.specs[0].algorithm] = {r.metric: r.value for r in rows if r.step == 0 and r.metric != "misalignment"}
    assert len(first) == 5
    assert all(metrics == first["tpo"] for metrics in first.values())


def test_rules_that_need_the_label_are_skipped():
    """Nobody says which draw is right: the oracle has no place here."""
    (skipped,) = plan_runs(build_suite("tiny", document(), "tiny"), ["tpo", "ce"]).skipped
    assert (skipped.algorithm, "needs label" in skipped.reason) == ("ce", True)


def test_one_draw_is_nothing_to_compare():
    """K = 1: groups of one are refused, single draws are not."""
    suite = build_suite("tiny", document(task={"kind": "sampled", "contexts": 6, "arms": 5, "candidates": 1}), "tiny")
    plan = plan_runs(suite, ["tpo", "reinforce"])
    assert [s.algorithm for s in plan.skipped] == ["tpo"]
    metrics = {r.metric for r in train(plan.jobs()[0])}
    assert metrics == {"initial_success", "error", "misalignment"}


def test_skew_and_handicap_make_the_policies_they_say():
    """No skew: uniform. A handicap of log 9 on ten arms: p0 = (1/9) / (1/9 + 9) in every context."""
    even = task(skew=0.0).make_policy()
    torch.testing.assert_close(even.snapshot(), torch.full((2, 6, 5, 1), 0.2, dtype=DOUBLE).log())
    low = task(skew=0.0, arms=10, handicap=math.log(9))
    expected = torch.full((2,), (1 / 9) / (1 / 9 + 9), dtype=DOUBLE)
    torch.testing.assert_close(low.facts(low.make_policy())["initial_success"], expected)
    noise = Noise("s", "c", (0,), dtype=DOUBLE)
    once, thrice = (SampledTask(SampledSettings(skew=s), noise).make_policy().logits for s in (1.0, 3.0))
    torch.testing.assert_close(once * 3, thrice)


def test_draws_follow_the_policy():
    """Over 100 steps of 6 contexts and 4 draws the right arm of a policy with p = .4 is drawn in 40 % of the draws."""
    one = task()
    policy = TablePolicy.from_logits(torch.tensor([0.4, 0.3, 0.2, 0.05, 0.05], dtype=DOUBLE).log().expand(2, 6, 5))
    rewards = torch.stack([one.rollout(policy, step).groups.reward for step in range(100)])
    assert float(rewards.mean()) == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / rewards.numel()))


def test_contexts_without_variance_are_left_out_without_changing_the_gradient():
    """Group rules skip flat contexts: the rows that contribute are those with both rewards."""
    found = groups([0.5, 0.5], [[0, 0], [0, 1], [1, 1]])
    rollout = found.task.score(found.policy.snapshot(), found.actions)
    assert contributing_rows(ALGORITHMS["tpo"], rollout.groups, at_snapshot=True).tolist() == [1]
    assert found.update("tpo")[[0, 2]].abs().max() < 1e-15
    assert found.update("tpo_no_anchor")[0].abs().max() < 1e-15  # equal draws: nothing to pull apart


def test_with_one_epoch_two_pairs_of_rules_are_one():
    """At theta = theta_old PPO is REINFORCE and Group PG is GRPO: the suite `skewed` lists one of each."""
    found = groups([0.5, 0.3, 0.2], [[0, 1, 2, 0], [1, 1, 2, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(found.update("ppo"), found.update("reinforce"), rtol=0, atol=1e-15)
    torch.testing.assert_close(found.update("group_pg"), found.update("grpo"), rtol=0, atol=1e-7)
    suite = load_suite("skewed")
    assert suite.training.epochs == 1
    assert not {"ppo", "group_pg"} & set(suite.algorithms)


def job(seeds: int):
    return plan_runs(build_suite("tiny", document(seed_batch=seeds), "tiny"), ["tpo"]).jobs()[0]


def task(**changes) -> SampledTask:
    described = {"kind": "sampled", "contexts": 6, "arms": 5, "candidates": 4, **changes}
    return make_task("tiny", described, (0, 1), dtype="float64", device="cpu")


def document(seed_batch: int = 3, **changes):
    base = {
        "title": "tiny",
        "seeds": 3,
        "algorithms": ["tpo", "grpo", "dg", "reinforce", "tpo_no_anchor"],
        "task": {"kind": "sampled", "contexts": 6, "arms": 5, "candidates": 4},
        "training": {"steps": 3, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.1, "dtype": "float64",
                     "seed_batch": seed_batch},
    }  # fmt: skip
    return {**base, **changes}
