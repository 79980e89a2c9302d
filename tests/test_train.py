"""The training loop: what it counts, what it skips, and that seeds and algorithms never touch each other's numbers."""

import dataclasses
import re
from collections import defaultdict

import numpy as np
import pytest
import torch

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS, register
from tpobench.algorithms.credit import baseline_advantage
from tpobench.algorithms.fit import policy_gradient
from tpobench.execution.assemble import assemble
from tpobench.planning.plan import Job, RunSpec
from tpobench.policies.optimizers import Adam
from tpobench.records.results import evaluations
from tpobench.scores.cells import final_values
from tpobench.tasks.catalog import task_settings
from tpobench.training.companions import Companions
from tpobench.training.loop import contributing_rows, loss_gradient, make_task, train

TASKS = {
    "bandit": {"kind": "bandit", "arms": 20, "samples": 50, "baseline": 0.5},
    "contexts": {"kind": "contexts", "contexts": 6, "arms": 5},
    "sequence": {
        "kind": "sequence",
        "vocabulary": 2,
        "length": 3,
        "target": "reverse_copy",
        "reward": "terminal",
        "prompts": 6,
        "candidates": 4,
    },
    "tiny_math": {"kind": "tiny_math", "warm_steps": 3, "prompts": 3, "candidates": 3, "held_out": 2, "samples": 2},
}


def job(kind, algorithm, seeds=(0,), *, steps=4, epochs=1, optimizer=None, dtype="float64", every=1, more=None, **task):
    optimizer = optimizer or ("muon" if kind == "sequence" else "normalized")
    rate = 0.1 if optimizer == "normalized" else 1e-3
    training = {"steps": steps, "epochs": epochs, "optimizer": optimizer, "learning_rate": rate, "record_every": every}
    training |= more or {}
    specs = tuple(
        RunSpec(
            suite="test",
            suite_version=1,
            cell={},
            matching="any",
            task=TASKS[kind] | task,
            training=training,
            algorithm=algorithm,
            algorithm_version="1",
            hyper=ALGORITHMS[algorithm].hyperparameters,
            seed=seed,
            seed_batch=len(seeds),
            threads=1,
            device="cpu",
            dtype=dtype,
        )
        for seed in seeds
    )
    return Job(specs=specs, seeds=seeds)


def measured(a_job):
    """(step, metric) -> value of each seed."""
    return {(m.step, m.metric): m.value for m in train(a_job)}


def curves(a_job):
    """Metric -> (steps recorded, seeds)."""
    rows = defaultdict(list)
    for m in train(a_job):
        rows[m.metric].append(m.value)
    return {k: np.array(v) for k, v in rows.items()}


@pytest.mark.parametrize(("kind", "tolerance"), [("bandit", 0), ("contexts", 0), ("sequence", 1e-9)])
def test_a_seed_learns_the_same_alone_and_stacked(kind, tolerance):
    """Seeds share nothing: bit for bit on tables, up to rounding of padded matrix products on sequences."""
    stacked = curves(job(kind, "tpo", (0, 1, 2), steps=6))
    alone = curves(job(kind, "tpo", (1,), steps=6))
    np.testing.assert_allclose(stacked["error"][:, 1], alone["error"][:, 0], rtol=0, atol=tolerance)
    assert len(np.unique(stacked["error"][-1])) == 3 or kind == "sequence"


@pytest.mark.parametrize("kind", ["bandit", "contexts", "sequence"])
def test_algorithms_see_common_random_numbers(kind):
    """Untrained policy, prompts and samples of step 0 are the same for every algorithm of equal budget."""
    first = {name: curves(job(kind, name, steps=1))["error"][0, 0] for name in ("tpo", "grpo", "group_pg")}
    assert len(set(first.values())) == 1


def test_interactions_and_gradient_steps_are_counted_by_the_loop():
    """Six prompts of four answers and two epochs a step; the closing rollout is not charged."""
    seen = {m.step: (m.interactions, m.gradient_steps) for m in train(job("sequence", "tpo", steps=3, epochs=2))}
    assert seen == {0: (0, 0), 1: (24, 2), 2: (48, 4), 3: (72, 6)}


def test_recording_less_often_keeps_the_first_and_the_last_step():
    """record_every thins the curve and changes nothing else."""
    thin = [m.step for m in train(job("bandit", "tpo", steps=5, every=2)) if m.metric == "error"]
    assert thin == [0, 2, 4, 5]
    full, thinned = curves(job("bandit", "tpo", steps=5)), curves(job("bandit", "tpo", steps=5, every=2))
    assert full["error"][-1] == thinned["error"][-1]


def test_evaluations_may_be_rarer_than_recorded_points():
    """Every second point and the last are evaluated, what the batch gives at all of them, and no number moves."""
    often = measured(job("tiny_math", "grpo", steps=5, optimizer="adam"))
    rare = measured(job("tiny_math", "grpo", steps=5, optimizer="adam", more={"evaluate_every": 2}))
    steps = {name: {step for step, metric in rare if metric == name} for name in ("error", "reward", "gradient_norm")}
    assert steps == {"error": {0, 2, 4, 5}, "reward": {*range(6)}, "gradient_norm": {*range(5)}}
    assert rare == {key: often[key] for key in rare}


def test_a_score_counts_evaluations():
    """The mean of the last two of them, whatever points lie between."""
    a_job = job("sequence", "tpo", steps=6, more={"evaluate_every": 3})
    (run,) = assemble(a_job, train(a_job), {"metric": "error", "window": 2, "thresholds": [0.1], "worst": 1.0})
    error = run.curve["error"]
    assert [value is None for value in error] == [False, True, True, False, True, True, False]
    assert evaluations(run) == 3
    assert final_values([run])[0] == pytest.approx((error[3] + error[6]) / 2)


SKIPPING = [
    n
    for n, a in ALGORITHMS.items()
    if a.zero_gradient_on_flat != "never" and a.needs <= task_settings(TASKS["sequence"]).offered
]


@pytest.mark.parametrize("name", SKIPPING)
@pytest.mark.parametrize("at_snapshot", [True, False])
def test_skipping_uninformative_contexts_is_exact(name, at_snapshot):
    """The gradient with skipping equals the gradient over all contexts, at the snapshot and away from it."""
    task = make_task("test", TASKS["sequence"] | {"prompts": 30}, (0,), dtype="float64", device="cpu")
    policy = task.make_policy()
    algorithm = ALGORITHMS[name]
    companions = Companions.of(task, algorithm, lambda _: Adam(0.1))
    rollout = companions.prepared(task, policy, algorithm, task.rollout(policy, 0))
    kept = contributing_rows(algorithm, rollout.groups, at_snapshot=True)
    assert kept is not None
    assert 0 < len(kept) < 30
    if not at_snapshot:
        policy.theta += 0.01 * torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(0))
    credit = algorithm.credit_for(rollout.groups)
    cautious = dataclasses.replace(algorithm, zero_gradient_on_flat="never")
    skipping = loss_gradient(task, policy, algorithm, rollout, credit, at_snapshot=at_snapshot)
    whole = loss_gradient(task, policy, cautious, rollout, credit, at_snapshot=at_snapshot)
    for a, b in zip(skipping, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_tallied_feedback_without_a_success_still_moves_tpo():
    """On the bandit equal rewards do not mean equal scores: the drawn arms lose mass, so nothing may be skipped."""
    task = make_task("test", TASKS["bandit"], (0,), dtype="float64", device="cpu")
    policy = task.make_policy()
    rollout = task.score(policy.snapshot(), torch.full((1, 50), 3))
    assert contributing_rows(ALGORITHMS["tpo"], rollout.groups, at_snapshot=True) is None
    credit = ALGORITHMS["tpo"].credit_for(rollout.groups)
    (gradient,) = loss_gradient(task, policy, ALGORITHMS["tpo"], rollout, credit, at_snapshot=True)
    assert gradient[0, 3, 0] > 0.01  # logits are stored (S, K, B)


def test_a_diverged_seed_is_marked_and_harms_no_other(monkeypatch):
    """From the step a seed's parameters are not finite its metrics are nan; its neighbours learn as if alone."""

    def exploding(logp, groups, credit):
        blame = torch.tensor([1.0, torch.nan], dtype=logp.dtype)[: len(logp)]
        return policy_gradient(logp, groups, credit) * blame.unsqueeze(-1)

    monkeypatch.setitem(ALGORITHMS, "exploding", Algorithm("exploding", baseline_advantage, exploding))
    both = curves(job("bandit", "exploding", (0, 1), steps=3))["error"]
    assert np.isfinite(both[0]).all()
    assert np.isnan(both[1:, 1]).all()
    np.testing.assert_array_equal(both[:, 0], curves(job("bandit", "exploding", (0,), steps=3))["error"][:, 0])


def test_training_stops_once_every_seed_has_diverged(monkeypatch):
    """No time is spent on parameters that are all nan."""

    def exploding(logp, groups, credit):
        return policy_gradient(logp, groups, credit) * torch.nan

    monkeypatch.setitem(ALGORITHMS, "exploding", Algorithm("exploding", baseline_advantage, exploding))
    assert max(m.step for m in train(job("bandit", "exploding", steps=50))) == 1


def test_initial_success_of_an_untrained_transformer_is_near_uniform():
    """E pi(y|x) lies within a factor 2 of V^-H, since the head starts small."""
    p0 = curves(job("sequence", "tpo", tuple(range(10)), steps=0))["initial_success"]
    assert 0.5 < np.log(p0 * 8).mean() + 1 < 2


def test_tpo_solves_a_small_bandit():
    """All 20 seeds get from 95 % to below 5 % error in 80 steps; chance of failure is far below 1e-6."""
    error = curves(job("bandit", "tpo", tuple(range(20)), steps=80))["error"]
    assert error[0] == pytest.approx(0.95)
    assert (error[-1] < 0.05).all()


def nan_in_credit(groups):
    """Divided by the deviation of the group: nan where all rewards are equal."""
    return (groups.reward - groups.reward.mean(-1, keepdim=True)) / groups.reward.std(-1, keepdim=True)


def nan_in_fit(logp, groups, credit):
    """Divided by 0."""
    return policy_gradient(logp, groups, credit) / (logp * 0).sum((-1, -2))


def nan_in_gradient(logp, groups, credit):
    """The loss is finite, the slope of the root at 0 is not."""
    return policy_gradient(logp, groups, credit) + (logp * 0).sum((-1, -2)).sqrt()


@pytest.mark.parametrize(
    ("credit", "fit", "words"),
    [
        (nan_in_credit, policy_gradient, ": the rule's own credit is not finite in update 0"),
        (baseline_advantage, nan_in_fit, ": the rule's own fit is not finite in update 0"),
        (baseline_advantage, nan_in_gradient, ": the rule's own fit is not finite in update 0"),
        (baseline_advantage, policy_gradient, ""),
    ],
)
def test_a_record_says_that_the_rule_itself_made_the_nan(credit, fit, words):
    """In which part, and in which update; parameters that run away at an absurd rate are divergence, as ever."""
    register(Algorithm("mine", credit, fit, compares="candidates"))
    a_job = job("sequence", "mine", (0, 1), steps=3, optimizer="adam")
    if not words:
        training = {**a_job.specs[0].training, "learning_rate": 1e300}
        a_job = Job(tuple(dataclasses.replace(s, training=training) for s in a_job.specs), a_job.seeds)
    for record in assemble(a_job, train(a_job), {}):
        assert record.status == "diverged"
        assert re.fullmatch(f"not finite at step [01]{words}", record.reason)
        assert "nonfinite_part" not in {*record.curve, *record.facts}


def test_what_one_seed_s_nan_is_blamed_on_is_that_seed_s():
    """The other seed of the stack trains on, and its record says nothing."""

    def of_seed_1(groups):
        credit = baseline_advantage(groups)
        credit[1:] = torch.nan
        return credit

    register(Algorithm("mine", of_seed_1, policy_gradient, compares="candidates"))
    a_job = job("sequence", "mine", (0, 1), steps=2)
    first, second = assemble(a_job, train(a_job), {})
    assert (first.status, first.reason) == ("ok", "")
    assert second.reason == "not finite at step 0: the rule's own credit is not finite in update 0"
