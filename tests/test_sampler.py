"""What draws the candidates: a policy that lags, a sampler that differs, or the untrained policy once."""

import dataclasses

import numpy as np
import pytest
import torch
from harness_helpers import document
from test_train import TASKS as TRAINED
from test_train import curves, job

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.fit import policy_gradient
from tpobench.errors import UsageError
from tpobench.planning.plan import interactions_of, plan_runs
from tpobench.suites.load import build_suite
from tpobench.tasks.catalog import task_settings
from tpobench.training.loop import make_task, train
from tpobench.training.sampler import Sampler

SAMPLED = {"kind": "sampled", "contexts": 6, "arms": 5, "candidates": 4, "skew": 1.0, "handicap": 0.0}
TASKS = {**TRAINED, "sampled": SAMPLED}


def trained(kind, algorithm, seeds=(0,), training=None, task=None, **settings):
    """A job under further settings of [training] and of the task."""
    plain = job("contexts" if kind == "sampled" else kind, algorithm, seeds, **settings)
    changed = {"task": TASKS[kind] | (task or {}), "training": plain.specs[0].training | (training or {})}
    return dataclasses.replace(plain, specs=tuple(dataclasses.replace(s, **changed) for s in plain.specs))


@pytest.fixture
def batches(monkeypatch):
    """The groups of every batch that the algorithms `noting` and `asking` are given, a list that grows."""
    seen = []

    def noted(groups):
        seen.append(groups)
        return groups.reward - groups.reward.mean(-1, keepdim=True)

    for name, needs in (("noting", frozenset()), ("asking", frozenset({"rollout_logp"}))):
        monkeypatch.setitem(ALGORITHMS, name, Algorithm(name, noted, policy_gradient, needs=needs))
    return seen


@pytest.mark.parametrize("kind", ["sampled", "sequence", "contexts"])
def test_draws_lag_behind_the_policy(kind, batches):
    """At lag 2 the sampler's log-probs of updates 0 to 2 are the untrained policy's; pi_old is the present one's."""
    curves(trained(kind, "asking", training={"lag": 2}, steps=4))
    untrained = make_task("test", TASKS[kind], (0,), dtype="float64", device="cpu")
    policy = untrained.make_policy()
    for step, groups in enumerate(batches):
        at_start = untrained.rollout(policy, step)
        same = torch.allclose(groups.rollout_logp, at_start.groups.old_logp, rtol=0, atol=1e-9)
        assert same == (step <= 2)
        assert torch.allclose(groups.old_logp, groups.rollout_logp, rtol=0, atol=1e-9) == (step == 0)


def test_pi_old_may_be_what_drew(batches):
    """Then ratios are to the sampler, and nothing is left for its correction."""
    curves(trained("sampled", "asking", training={"lag": 2, "old_logp": "sampler"}, steps=4))
    assert all(torch.equal(groups.old_logp, groups.rollout_logp) for groups in batches)
    batches.clear()
    curves(trained("sampled", "asking", training={"old_logp": "sampler"}, task={"sampler_noise": 0.5}, steps=2))
    assert all(torch.equal(groups.old_logp, groups.rollout_logp) for groups in batches)


def test_a_noisy_sampler_has_the_policy_s_logits_and_noise(batches):
    """N(0, .5^2) on each logit, others at each step; its log-probs sum to 1, and none of it is there at 0."""
    curves(trained("sampled", "asking", task={"sampler_noise": 0.5}, steps=2))
    task = make_task("test", TASKS["sampled"] | {"sampler_noise": 0.5}, (0,), dtype="float64", device="cpu")
    every = task.make_policy().snapshot()
    first, second = (task._sampler(every, step) for step in (0, 1))
    assert torch.allclose(first.exp().sum(2), torch.ones(1, 6, 1, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not torch.equal(first, second)
    noise = first - every  # up to a constant of each context
    expected = 0.5 * task.noise.normal("sampler", 0, (6, 5)).unsqueeze(-1)
    assert torch.allclose(noise - noise.mean(2, keepdim=True), expected - expected.mean(2, keepdim=True), atol=1e-12)
    assert not torch.equal(batches[0].rollout_logp, batches[0].old_logp)


@pytest.mark.parametrize(("kind", "algorithm"), [("sampled", "tpo"), ("sequence", "tpo"), ("bandit", "grpo")])
def test_the_policy_is_measured_and_not_what_draws(kind, algorithm):
    """The first update is the same at any lag, so the errors after it are; at lag 3 the fourth is another."""
    present, stale = (curves(trained(kind, algorithm, training={"lag": lag}, steps=4))["error"][:, 0] for lag in (0, 3))
    np.testing.assert_allclose(stale[:2], present[:2], rtol=0, atol=1e-9)
    assert not np.allclose(stale[2:], present[2:], rtol=0, atol=1e-6)


def test_offline_training_draws_once(batches):
    """Every update is made on the candidates of the untrained policy, who is pi_old; nothing more is charged."""
    rows = list(train(trained("sequence", "noting", training={"offline": True}, steps=3, epochs=2)))
    assert {m.step: m.interactions for m in rows} == {0: 0, 1: 24, 2: 24, 3: 24}
    first, *others = batches
    assert others
    for groups in others:
        assert torch.equal(groups.old_logp, first.old_logp)
        assert torch.equal(groups.reward, first.reward)


def test_offline_errors_are_of_answers_of_the_present_policy():
    """On sequences the error is counted on fresh prompts: at first that of online training, and then not constant."""
    online, offline = (
        curves(trained("sequence", "raft", training={"offline": offline}, steps=5))["error"]
        for offline in (False, True)
    )
    assert online[0] == offline[0]
    assert len(np.unique(offline)) > 2


@pytest.mark.parametrize("training", [{"lag": 2}, {"offline": True}], ids=lambda t: next(iter(t)))
def test_seeds_that_stay_train_on_as_if_none_had_left(training):
    """A seed whose neighbour leaves the stack keeps its past and its candidates."""
    whole = trained("sampled", "tpo", (0, 1, 2), training, steps=6)
    without = dataclasses.replace(whole, left=((1, 3),))
    a, b = (curves(one)["error"] for one in (whole, without))
    np.testing.assert_array_equal(a[:, [0, 2]], b[:, [0, 2]])


def test_groups_of_equal_rewards_are_skipped_only_where_pi_old_is_the_policy():
    """Their gradient is 0 at the snapshot alone, and a stale pi_old is none."""
    task = make_task("test", TASKS["sampled"], (0,), dtype="float64", device="cpu")
    settings = [{}, {"lag": 2}, {"lag": 2, "old_logp": "sampler"}, {"old_logp": "sampler"}, {"offline": True}]
    assert [Sampler.of(task, s).at_snapshot for s in settings] == [True, True, False, False, False]


def test_what_a_lag_gives_and_offline_withholds_is_known_to_the_plan():
    """Log-probs of the sampler on any task; no greedy answers; one batch's interactions."""

    def plan(**training):
        changed = {**document()["training"], **training}
        return plan_runs(build_suite("tiny", document(training=changed), "f"), ["tpo+tis", "remax", "tpo"], [0])

    assert {s.algorithm for s in plan(lag=1).specs} == {"tpo+tis", "remax", "tpo"}
    offline = plan(offline=True)
    assert {s.algorithm: s.reason for s in offline.skipped} == {
        "tpo+tis": "needs rollout_logp, which task 'bandit' does not offer",
        "remax": "needs greedy_reward, of answers that offline training does not draw",
    }
    assert [interactions_of(s) for s in (*offline.specs, plan().specs[-1])] == [4, 16]
    with pytest.raises(UsageError, match="lag must be 0 where offline is true"):
        plan(lag=1, offline=True)
    with pytest.raises(UsageError, match="old_logp must be one of policy, sampler"):
        plan(old_logp="reference")


def sampled(**task):
    """A task of many contexts, and its first rollout."""
    made = make_task("test", SAMPLED | task, (0, 1), dtype="float64", device="cpu")
    policy = made.make_policy()
    return made, policy, made.rollout(policy, 0)


def test_two_rewards_are_paid_for_being_right_and_for_the_format():
    """Of 5 arms the first pays (1, 3), the second (0, 3), the others nothing; the reward is their mean."""
    made, policy, rollout = sampled(formatted=2, format_reward=3.0)
    paid = torch.tensor([[1, 3], [0, 3], [0, 0], [0, 0], [0, 0]], dtype=torch.float64)[rollout.inputs.mT]
    assert torch.equal(rollout.groups.rewards, paid)
    assert torch.equal(rollout.groups.reward, paid.mean(-1))
    best = policy.logits.argmax(-1)
    assert torch.equal(made.greedy_reward(policy, rollout), 2.0 * (best == 0) + 1.5 * (best == 1))
    assert {"rewards"} == made.settings.offered - sampled()[0].settings.offered


def test_noise_is_on_the_reward_and_not_on_the_error():
    """N(0, .5^2) on each draw, and none on what is measured."""
    (made, policy, noisy), (_, _, clean) = sampled(reward_noise=0.5), sampled()
    noise = 0.5 * made.noise.normal("reward", 0, (6, 4))
    right = (noisy.inputs.mT == 0).double()
    assert torch.allclose(noisy.groups.reward, right + noise, rtol=0, atol=1e-12)
    assert torch.equal(noisy.groups.score, noisy.groups.reward)
    error = 1 - policy.snapshot()[:, :, 0, 0].exp().mean(1)
    assert torch.allclose(made.evaluate(policy, noisy)["error"], error, rtol=0, atol=1e-12)
    assert clean.groups.rewards is None


def test_tasks_differ_in_handicap_and_the_worst_is_measured():
    """Contexts are of tasks 0, 1, 2, 0, 1, 2, whose right arms start 0, 2 and 4 lower."""
    made, policy, rollout = sampled(tasks=3, handicap=4.0)
    plain = make_task("test", SAMPLED | {"tasks": 3, "handicap": 4.0}, (0, 1), dtype="float64", device="cpu")
    logits = plain.noise.normal("logits", 0, (6, 5))
    lowered = logits[..., 0] - policy.logits[..., 0]
    assert torch.allclose(lowered, torch.tensor([0.0, 2, 4, 0, 2, 4], dtype=torch.float64).expand(2, -1))
    assert rollout.groups.task_index.tolist() == [[0, 1, 2, 0, 1, 2]] * 2
    metrics = made.evaluate(policy, rollout)
    by_task = 1 - policy.snapshot()[:, :, 0, 0].exp().view(2, 2, 3).mean(1)
    assert torch.allclose(metrics["worst_error"], by_task.amax(1), rtol=0, atol=1e-12)
    assert "worst_error" not in sampled()[0].evaluate(policy, rollout)


@pytest.mark.parametrize(
    ("task", "words"),
    [({"formatted": 6}, "formatted must be at most arms"), ({"tasks": 1}, "tasks must be 0, or 2"),
     ({"tasks": 7}, "as many as contexts")],
)  # fmt: skip
def test_settings_that_no_task_can_have_are_refused(task, words):
    """With what would be valid."""
    with pytest.raises(UsageError, match=words):
        task_settings(SAMPLED | task)
