"""What the training loop gives an algorithm beyond a rollout: reference, greedy answers, progress, memory, samplers."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from harness_helpers import document, sequence_document
from test_train import TASKS, curves, job

from tpobench.algorithms.algorithm import Algorithm, Modifier
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.credit import baseline_advantage
from tpobench.algorithms.fit import policy_gradient
from tpobench.errors import UsageError
from tpobench.planning.plan import plan_runs
from tpobench.policies.optimizers import Adam
from tpobench.suites.load import build_suite
from tpobench.tasks.catalog import SampledSettings, task_settings
from tpobench.tasks.sequence import greedy_answer
from tpobench.training.companions import Companions
from tpobench.training.loop import make_task, train

SAMPLED = {"contexts": 5, "arms": 4, "candidates": 3}


def given(kind, algorithm, *, progress=0.0, move=0.0, **task):
    """A rollout of a policy that has moved, as the algorithm gets it; and the task and the policy."""
    settings = TASKS.get(kind, {"kind": kind}) | task
    made = make_task("test", settings, (0, 1), dtype="float64", device="cpu")
    policy = made.make_policy()
    with torch.no_grad():
        policy.theta.add_(move * torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(1)))
    companions = Companions.of(made, algorithm, lambda _: Adam(0.1))
    rollout = made.rollout(policy, 0)
    return (
        companions.prepared(made, policy, algorithm, rollout, step=int(100 * progress), steps=100),
        rollout,
        made,
        policy,
    )


@pytest.mark.parametrize("kind", ["bandit", "contexts", "sequence"])
def test_the_reference_is_the_untrained_policy(kind):
    """Its log-probs of the same candidates: those of the snapshot before anything moved, and others afterwards."""
    for move in (0.0, 0.3):
        groups = given(kind, ALGORITHMS["dpo_online"], move=move)[0].groups
        assert torch.allclose(groups.ref_logp, groups.old_logp, rtol=0, atol=1e-9) == (move == 0)


def test_only_who_asks_gets_a_field_and_pays_for_it():
    """A greedy answer is scored, so each is an interaction; others see the rollout as it was."""
    for name, more in (("tpo", 0), ("remax", 6)):
        rollout, before, *_ = given("sequence", ALGORITHMS[name])
        assert rollout.interactions == before.interactions + more
        assert (rollout.groups.greedy_reward is None) == (name == "tpo")
        assert rollout.groups.ref_logp is None
    assert given("bandit", ALGORITHMS["mdpo"], progress=0.25)[0].groups.progress == 0.25


def test_greedy_answers_are_the_most_probable_tokens():
    """Found among 64 sampled answers to each prompt, after each greedy beginning."""
    rollout, _, task, policy = given("sequence", ALGORITHMS["remax"], move=0.5)
    prompts = rollout.inputs.prompts
    tokens, logp = greedy_answer(policy, prompts, 3)
    uniform = torch.rand(2, 6, 64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn, theirs = policy.sample(prompts, uniform)
    for s, b in itertools.product(range(2), range(6)):
        best = ()
        for t in range(3):
            same = (drawn[s, b, :, :t] == torch.tensor(best, dtype=torch.int64)).all(-1)
            ahead = {int(x): float(y) for x, y in zip(drawn[s, b, same, t], theirs[s, b, same, t], strict=True)}
            best = (*best, max(ahead, key=ahead.__getitem__))
        assert tuple(tokens[s, b, 0].tolist()) == best
    assert logp.shape == (2, 6, 1, 3)
    reward = task.score(prompts, tokens, logp).reward.squeeze(-1)
    assert torch.equal(rollout.groups.greedy_reward, reward)


@pytest.mark.parametrize("name", ["bandit", "contexts"])
def test_the_greedy_arm_is_the_most_probable(name):
    """It pays 1 where that is arm 0."""
    rollout, _, _, policy = given(name, ALGORITHMS["remax"], move=1.0)
    assert torch.equal(rollout.groups.greedy_reward, (policy.logits.argmax(-1) == 0).double())


def test_a_sampler_of_another_temperature_draws_and_says_so():
    """At temperature 10 its log-probs differ less than those of pi; at 1 nothing is said."""
    rollout = given("sampled", ALGORITHMS["tpo+tis"], move=2.0, **SAMPLED, sampler_temperature=10.0)[0]
    groups = rollout.groups
    assert (groups.rollout_logp - groups.old_logp).abs().max() > 0.1
    spread = lambda x: float(x.max() - x.min())  # noqa: E731
    assert spread(groups.rollout_logp) < 0.3 * spread(groups.old_logp)
    assert given("sampled", ALGORITHMS["tpo"], **SAMPLED)[0].groups.rollout_logp is None
    neutral = SampledSettings(sampler_temperature=1.0)
    assert "rollout_logp" not in neutral.offered
    assert "rollout_logp" in dataclasses.replace(neutral, sampler_temperature=2.0).offered
    with pytest.raises(UsageError, match=r"sampler_temperature must be at least 0\.1"):
        task_settings(SAMPLED | {"kind": "sampled", "sampler_temperature": 0.0})


def test_what_a_task_does_not_offer_is_refused_in_the_plan():
    """With the field that is missing."""
    plan = plan_runs(build_suite("tiny", document(), "f"), ["tpo+icepop", "mt_grpo", "tpo"], [0])
    assert {s.algorithm for s in plan.specs} == {"tpo"}
    assert {s.spec.algorithm: s.reason for s in plan.skipped} == {
        "tpo+icepop": "needs rollout_logp, which task 'bandit' does not offer",
        "mt_grpo": "needs task_index, which task 'bandit' does not offer",
    }
    terminal = plan_runs(build_suite("tiny", sequence_document(), "f"), ["gdpo"], [0])
    assert [s.reason for s in terminal.skipped] == ["needs rewards, which task 'sequence' does not offer"]


def counted(groups, memory):
    """A modifier that remembers how many batches a seed has seen, and whose it is."""
    before = memory.get("batches", torch.zeros_like(groups.reward[:, 0, 0]))
    memory["batches"] = before + 1
    return dataclasses.replace(groups, token_weight=(1 + memory["batches"]).view(-1, 1, 1, 1))


def test_memory_is_kept_from_step_to_step_and_follows_its_seeds(monkeypatch):
    """A seed whose neighbour leaves the stack trains on as it would have."""
    rule = Algorithm("counting", baseline_advantage, policy_gradient).modified(Modifier("counted", counted))
    rule = dataclasses.replace(rule, name="counting")
    monkeypatch.setitem(ALGORITHMS, "counting", rule)
    adam = {"steps": 6, "optimizer": "adam"}
    whole = job("contexts", "counting", (0, 1, 2), **adam)
    alone = [m.value for m in train(whole) if m.metric == "error"]
    left = [m.value for m in train(dataclasses.replace(whole, left=((0, 3),))) if m.metric == "error"]
    assert [v[1:] for v in left] == [v[1:] for v in alone]
    plain = curves(job("contexts", "reinforce", (0, 1, 2), **adam))["error"]
    assert [list(v) for v in alone] != plain.tolist()


@pytest.mark.parametrize("kind", ["bandit", "contexts", "sampled", "sequence"])
def test_the_critic_learns_the_rewards(kind):
    """Its cross-entropy to the rewards of one batch falls, for every seed, and the values stay within (0, 1)."""
    algorithm = ALGORITHMS["openrlhf"]
    settings = TASKS.get(kind, {"kind": kind} | SAMPLED)
    task = make_task("test", settings, (0, 1), dtype="float64", device="cpu")
    companions = Companions.of(task, algorithm, lambda _: Adam(1e-3 if kind == "sequence" else 0.02))
    rollout = task.rollout(task.make_policy(), 0)
    losses = []
    for _ in range(3):
        value = companions.prepared(task, task.make_policy(), algorithm, rollout).groups.value
        assert ((value > 0) & (value < 1)).all()
        r, w = rollout.groups.reward.unsqueeze(-1), rollout.groups.weight.unsqueeze(-1)
        losses.append(-(w * (r * value.log() + (1 - r) * (1 - value).log())).sum((1, 2, 3)))
        companions.learn(task, rollout, 10)
    assert (losses[1] < losses[0]).all()
    assert (losses[2] < losses[1]).all()


def test_a_modified_algorithm_trains():
    """Under its own name; a filter of groups that say nothing changes the length of a step, Adam's after the first."""
    base, modified = (curves(job("sequence", name, steps=3))["error"] for name in ("grpo_trl", "grpo_trl+informative"))
    assert base.shape == modified.shape
