"""TRPO's step against the recorded natural direction, and what it promises on every task."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from test_reference_rules import FORMULAS
from test_train import curves, job

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.trust_region import measure, natural_direction, trust_region_step


def recorded(case, seeds=1):
    """Logits (S, A), the groups of all arms weighted by their counts, and the policy gradient."""
    spec = case["spec"]
    logits = torch.tensor([spec["logits"]] * seeds, dtype=torch.float64).requires_grad_()
    n, N = logits.shape[1], len(spec["actions"])
    count = torch.bincount(torch.tensor(spec["actions"]), minlength=n).double()
    advantage = torch.zeros(n, dtype=torch.float64)
    for action, reward in zip(spec["actions"], spec["rewards"], strict=True):
        advantage[action] += (reward - spec["b"]) / count[action]
    shape = (seeds, 1, n)
    old = logits.detach().log_softmax(-1).view(*shape, 1)
    groups = CandidateGroups(
        old_logp=old,
        mask=torch.ones_like(old),
        reward=torch.zeros(shape, dtype=torch.float64),
        baseline=torch.zeros(seeds, 1, 1, dtype=torch.float64),
        weight=(count / N).expand(shape),
        score=torch.zeros(shape, dtype=torch.float64),
        draws=N,
    )
    return spec, logits, groups, advantage.expand(shape)


def of(groups, credit, logp):
    """TRPO's surrogate of each seed."""
    return ALGORITHMS["trpo"].loss(logp, groups, credit).mean(1)


def logp_of(logits):
    return lambda: logits.log_softmax(-1).view(len(logits), 1, -1, 1)


@pytest.mark.parametrize("case", FORMULAS["trust_region"])
def test_the_recorded_direction(case):
    """F^-1 g, g'F^-1 g and the full step of the tabular case, to the accuracy of a central difference."""
    spec, logits, groups, advantage = recorded(case)
    logp = logp_of(logits)
    loss = ALGORITHMS["trpo"].loss(logp(), groups, advantage).mean(1)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(
        -gradient[0], torch.tensor(case["policy_gradient"], dtype=torch.float64), rtol=1e-9, atol=1e-12
    )
    x, curvature = natural_direction(logits, [logits], gradient, logp, groups, damping=0.0, iterations=8)
    torch.testing.assert_close(
        -x[0], torch.tensor(case["natural_direction"], dtype=torch.float64), rtol=1e-6, atol=1e-8
    )
    assert curvature.item() == pytest.approx(case["g_Finv_g"], rel=1e-6)
    full = -math.sqrt(2 * spec["delta"] / curvature.item()) * x[0]
    torch.testing.assert_close(full, torch.tensor(case["trpo_full_step"], dtype=torch.float64), rtol=1e-6, atol=1e-8)
    start = logits.detach().clone()
    share = 0.8 if case["trpo_kl_old_new_after_full_step"] > spec["delta"] else 1.0  # then the first shorter one serves
    trust_region_step(
        logits, [logits], gradient, logp, lambda x: ALGORITHMS["trpo"].loss(x, groups, advantage).mean(1), groups,
        kl_bound=spec["delta"], damping=0.0, iterations=8,
    )  # fmt: skip
    torch.testing.assert_close((logits - start)[0].detach(), share * full, rtol=1e-6, atol=1e-8)


def test_every_seed_steps_for_itself():
    """Beside another, without a gradient, a seed steps as it does alone, and the other stays."""
    case = FORMULAS["trust_region"][0]
    steps = []
    for seeds in (1, 2):
        _, logits, groups, advantage = recorded(case, seeds)
        credit = advantage.clone()
        credit[1:] = 0
        rule, logp = ALGORITHMS["trpo"], logp_of(logits)
        (gradient,) = torch.autograd.grad(rule.loss(logp(), groups, credit).mean(1).sum(), logits)
        before = logits.detach().clone()
        loss = partial(of, groups, credit)
        rule.own_step(logits, [logits], gradient, logp, loss, groups)
        steps.append((logits - before).detach())
    torch.testing.assert_close(steps[0][0], steps[1][0], rtol=1e-12, atol=1e-15)
    assert (steps[1][1] == 0).all()


def test_a_direction_that_is_no_number_is_not_taken():
    """A gradient whose square is infinite leaves the policy where it was."""
    _, logits, groups, advantage = recorded(FORMULAS["trust_region"][0])
    before = logits.detach().clone()
    gradient = torch.full_like(before, 1e200)
    trust_region_step(logits, [logits], gradient, logp_of(logits), partial(of, groups, advantage), groups)
    assert torch.equal(logits.detach(), before)


@pytest.mark.parametrize("kind", ["bandit", "contexts", "sequence"])
def test_it_learns_within_its_bound(kind):
    """The error falls, and no optimizer's rate has a say."""
    error = curves(job(kind, "trpo", (0, 1), steps=5))["error"]
    other = curves(job(kind, "trpo", (0, 1), steps=5, optimizer="adam"))["error"]
    assert error.tolist() == other.tolist()
    if kind != "sequence":
        assert (error[-1] < error[0]).all()


def test_the_measure_is_exact_where_all_arms_are_candidates():
    """Counts elsewhere: two draws of one arm are no distribution over arms."""
    _, _, groups, _ = recorded(FORMULAS["trust_region"][0])
    torch.testing.assert_close(measure(groups), groups.old_sequence_logp.exp())
    old, two = groups.old_logp[:, :, :2], torch.tensor([[[0.5, 0.5]]], dtype=torch.float64)
    fields = {"reward": 0 * two, "baseline": 0 * two[..., :1], "score": 0 * two}
    some = CandidateGroups(old_logp=old, mask=torch.ones_like(old), weight=two, draws=2, **fields)
    assert torch.equal(measure(some), two)
