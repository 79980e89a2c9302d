"""The gradient of a batch: the same in parts as in one graph, and with a KL to the untrained policy."""

import dataclasses

import numpy as np
import pytest
import torch
from test_train import TASKS, curves, job

from tpobench.algorithms.catalog import ALGORITHMS, require_algorithm
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.measure import reference_kl
from tpobench.planning.plan import plan_runs
from tpobench.policies.optimizers import Adam
from tpobench.suites.load import load_suite
from tpobench.tasks.task import Parted
from tpobench.training.companions import Companions
from tpobench.training.loop import loss_gradient, make_task

TOLERANCE = {"float64": 1e-12, "float32": 1e-6}  # of the largest entry
ALGOS = ["tpo", "tpo_length_norm", "grpo", "grpo_trl", "dapo", "reinforce", "grpo_trl+tis"]


def flat(parts):
    """The gradients by all parameters as one vector."""
    return torch.cat([g.flatten() for g in parts])


def gradient(*arguments, **more):
    """Of the loop, as one vector."""
    return flat(loss_gradient(*arguments, **more))


class InParts:
    """A task that is scored two contexts at a time, and remembers how it was asked."""

    at_once = 2

    def __init__(self, task) -> None:
        self.task, self.asked = task, []

    def logp(self, policy, rollout, rows):
        self.asked.append((torch.is_grad_enabled(), rows.tolist()))
        return self.task.logp(policy, rollout, rows)


def case(name, dtype="float64", **training):
    """A small language model away from its start, five problems with answers of unequal lengths."""
    sizes = {"prompts": 5, "candidates": 4, "warm_steps": 3}
    task = make_task("test", TASKS["tiny_math"] | sizes, (0, 1), dtype=dtype, device="cpu")
    algorithm, policy = require_algorithm(name, "test"), task.make_policy()
    companions = Companions.of(task, algorithm, lambda _: Adam(0.1), training)
    rollout = task.rollout(policy, 0)
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(rollout.groups.mask.shape[3]) < torch.randint(1, 9, (2, 5, 4, 1), generator=generator)
    reward = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=mask.new_zeros(1, dtype=getattr(torch, dtype)).dtype).expand(
        2, 5, 4
    )
    groups = CandidateGroups.of_rollouts(
        rollout.groups.old_logp * mask, mask.to(reward.dtype), reward.contiguous(), rollout_logp=rollout.groups.old_logp
    )
    rollout = companions.prepared(task, policy, algorithm, dataclasses.replace(rollout, groups=groups))
    with torch.no_grad():
        policy.theta += 0.02 * torch.randn(policy.theta.shape, generator=generator, dtype=policy.theta.dtype)
    return task, policy, algorithm, rollout


@pytest.mark.parametrize("name", ALGOS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_gradient_in_parts_is_that_of_one_graph(name, dtype):
    """Two contexts at a time and the last alone, whatever ties candidates and tokens of the batch."""
    task, policy, algorithm, rollout = case(name, dtype, kl_reference=0.3)
    credit = algorithm.credit_for(rollout.groups)
    arguments = (policy, algorithm, rollout, credit)
    whole = gradient(task, *arguments, at_snapshot=False, kl=0.3)
    parted = InParts(task)
    assert isinstance(parted, Parted)
    assert not isinstance(task, Parted)
    sum_of_parts = gradient(parted, *arguments, at_snapshot=False, kl=0.3)
    assert parted.asked == [(graph, rows) for graph in (False, True) for rows in ([0, 1], [2, 3], [4])]
    largest = float(whole.abs().max())
    assert largest > 1e-3
    np.testing.assert_allclose(sum_of_parts, whole, rtol=0, atol=TOLERANCE[dtype] * largest)
    alone = gradient(task, *arguments, at_snapshot=False)
    assert (alone - whole).abs().max() > 1e-3 * largest  # the KL is in it


def test_the_kl_is_k3_averaged_over_the_tokens_of_each_candidate():
    """By hand: c = log 2 on both tokens of one candidate, 0 and masked on the other."""
    mask = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    groups = CandidateGroups.of_rollouts(
        torch.zeros(1, 1, 2, 2), mask, torch.zeros(1, 1, 2), ref_logp=torch.zeros(1, 1, 2, 2)
    )
    logp = -torch.tensor([[[[2.0, 2.0], [1.0, 9.0]]]]).log()
    torch.testing.assert_close(reference_kl(logp, groups), torch.tensor([[(1 - np.log(2)) / 2]], dtype=torch.float32))


@pytest.mark.parametrize("name", ["tpo", "grpo", "reinforce"])
def test_groups_of_equal_rewards_are_drawn_to_the_reference(name):
    """An algorithm gives them no gradient and the loop leaves them out; with a KL their gradient is the KL's alone."""
    task, policy, algorithm, rollout = case(name, kl_reference=0.3)
    ones, old_logp = torch.ones_like(rollout.groups.reward), task.logp(policy, rollout, None).detach()
    equal = {"reward": ones, "score": ones, "baseline": ones[:, :1, :1], "old_logp": old_logp}
    rollout = dataclasses.replace(rollout, groups=dataclasses.replace(rollout.groups, **equal))
    credit = algorithm.credit_for(rollout.groups)
    without = gradient(task, policy, algorithm, rollout, credit, at_snapshot=True)
    assert without.abs().max() == 0
    whole = gradient(task, policy, algorithm, rollout, credit, at_snapshot=True, kl=0.3)
    kl = 0.3 * reference_kl(task.logp(policy, rollout, None), rollout.groups).mean(1).sum()
    expected = flat(torch.autograd.grad(kl, list(policy.parameters)))
    assert expected.abs().max() > 1e-4
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-12)


def test_a_kl_keeps_a_run_near_its_start():
    """The exact error of the contextual bandit moves less than half as far; 0 is a run without."""
    errors = {
        kl: curves(job("contexts", "tpo", steps=20, more={} if kl is None else {"kl_reference": kl}))["error"][:, 0]
        for kl in (None, 0.0, 100.0)
    }
    np.testing.assert_array_equal(errors[None], errors[0.0])
    moved = {kl: abs(error[-1] - error[0]) for kl, error in errors.items()}
    assert moved[None] > 0.15
    assert moved[100.0] < 0.5 * moved[None]


def test_decay_and_clipping_are_of_the_run():
    """A norm that is clipped to next to nothing lets Adam's epsilon rule; decay makes all logits 0; 0 is without."""
    start, plain, clipped, decayed = (
        curves(job("contexts", "tpo", steps=steps, optimizer=optimizer, more=more))["error"][-1, 0]
        for steps, optimizer, more in (
            (0, "adam", {}),
            (20, "adamw", {"weight_decay": 0.0, "max_grad_norm": 0.0}),
            (20, "adam", {"max_grad_norm": 1e-9}),
            (20, "adamw", {"weight_decay": 500.0}),
        )
    )
    assert curves(job("contexts", "tpo", steps=20, optimizer="adam"))["error"][-1, 0] == plain < start
    assert plain < clipped < start
    assert decayed == pytest.approx(1 - 1 / 5, abs=0.01)  # all five arms alike
    with pytest.raises(ValueError, match="weight_decay is of optimizer = adamw alone"):
        dataclasses.replace(load_suite("ci_sampled").training, optimizer="adam", weight_decay=0.1)


def test_an_algorithm_with_a_step_of_its_own_gets_no_kl():
    """It is left out with the reason, as whatever cannot be trained in a cell."""
    suite = load_suite("ci_sampled")
    stepping = next(name for name, a in ALGORITHMS.items() if a.step is not None)
    kept = dataclasses.replace(suite, training=dataclasses.replace(suite.training, kl_reference=0.1))
    skipped = plan_runs(kept, ["tpo", stepping]).skipped
    assert {(s.algorithm, s.reason) for s in skipped} == {
        (stepping, "takes a step of its own, to whose loss no KL to the untrained policy is added")
    }
