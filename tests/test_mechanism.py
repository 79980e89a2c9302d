"""Expected updates and first-order gains of any rule equal the reference's and the closed forms of appendix C."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recorded_cases import recorded_cases
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.credit import baseline_advantage
from tpobench.algorithms.fit import policy_gradient
from tpobench.tasks import mechanism as module
from tpobench.tasks.classification import classify, one_hot
from tpobench.tasks.mechanism import concentration, expected_update, gains, mechanism

RULES = {"pg": "reinforce", "group_pg": "group_pg", "dg": "dg", "tpo": "tpo"}
SERVED = [
    name
    for name, rule in ALGORITHMS.items()
    if rule.compares != "draws" and rule.unit != "token" and rule.needs <= {"label"}
]
LAMBDA = math.exp(10 / 3)
CASES = recorded_cases("mnist_cases.npz")


def policies(n: int, classes: int = 10, *, spread: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Log pi (1, n, K) of random policies and random labels (1, n)."""
    rng = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(1, n, classes, generator=rng, dtype=torch.float64)
    return logits.log_softmax(-1), torch.randint(classes, (1, n), generator=rng)


def one_vs_rest(log_pi: Tensor, label: Tensor) -> Tensor:
    """e_y - pi."""
    return one_hot(label, log_pi) - log_pi.exp()


@pytest.mark.parametrize("name", RULES)
def test_gains_equal_the_reference(name: str) -> None:
    """Exact and scalar gains of every recorded policy; the reference's lambda is in float32, hence 1e-7."""
    checked = CASES[f"mechanism_{name}"]
    for case in checked:
        rule = ALGORITHMS[RULES[name]]
        rule = rule.with_hyper(eta=case.kwargs["eta"]) if name == "dg" else rule
        got = gains(rule, case["in/probs"].log()[None], case["in/labels"].long()[None])
        for value, key in zip(got, ("exact_gain", "scalar_gain"), strict=True):
            # below 1e-9: where |A| < 1e-6 our scores are flat, the reference's formula is not
            torch.testing.assert_close(
                value[0], case[f"out/{key}"], rtol=1e-7, atol=1e-9, msg=lambda m, c=case: c.id + m
            )
    assert len(checked) >= 8


def test_concentrations_equal_the_reference() -> None:
    """The share of the likeliest wrong class in all wrong mass, for every recorded policy."""
    for case in CASES["mechanism_bins"]:
        got = concentration(case["in/probs"].log()[None], case["in/labels"].long()[None])[0]
        torch.testing.assert_close(got, case["out/concentration"], rtol=1e-12, atol=1e-8)


def test_sums_and_counts_equal_the_reference_s_bins() -> None:
    """Over misclassified images, sums by bin divided by counts are the reference's means of the same gains."""
    rule, compared = ALGORITHMS["tpo"], 0
    for case in CASES["mechanism_bins"]:
        probs, label = case["in/probs"], case["in/labels"].long()
        gain = gains(rule, probs.log()[None], label[None])[0][0]
        wrong = probs.argmax(-1) != label
        metrics = mechanism(rule, probs.log().T[None], label)
        place = np.digitize(case["out/concentration"], [0.25, 0.5, 0.75])
        for i in range(4):
            member = wrong & torch.from_numpy(place == i)
            assert metrics[f"count{i}"].item() == member.sum()
            torch.testing.assert_close(metrics[f"gain_sum{i}"][0], gain[member].sum(), rtol=1e-12, atol=1e-15)
            compared += int(member.any())
    assert compared >= 8


def test_group_pg_is_six_times_pg() -> None:
    """With ten classes u is 3 or -3 on the drawn class: Group PG is 6 pi_y (e_y - pi) in expectation (appendix C)."""
    log_pi, label = policies(40)
    pg = expected_update(ALGORITHMS["reinforce"], log_pi, label)
    p_y = log_pi.gather(2, label.unsqueeze(-1)).exp()
    torch.testing.assert_close(pg, p_y * one_vs_rest(log_pi, label), rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(expected_update(ALGORITHMS["group_pg"], log_pi, label), 6 * pg, rtol=1e-10, atol=1e-15)


def test_lambda_is_the_reweighting_of_a_draw() -> None:
    """TPO's target multiplies the odds of a right draw by exp(10/3), and divides those of a wrong one by it."""
    log_pi, label = policies(5)
    for shift, factor in ((0, LAMBDA), (3, 1 / LAMBDA)):
        action = (label + shift) % 10
        groups = classify(log_pi, label, one_hot(action, log_pi))
        q = ALGORITHMS["tpo"].credit_for(groups).gather(2, action.unsqueeze(-1)).squeeze(-1)
        p = log_pi.gather(2, action.unsqueeze(-1)).squeeze(-1).exp()
        torch.testing.assert_close((q / (1 - q)) / (p / (1 - p)), torch.full_like(p, factor), rtol=1e-12, atol=0)


def test_expected_update_of_tpo_is_appendix_c_s() -> None:
    """p g+ + sum_j pi_j g-(j), with beta+ and gamma as printed."""
    log_pi, label = policies(30)
    pi, e_y = log_pi.exp(), one_hot(label, log_pi)
    p = (pi * e_y).sum(-1, keepdim=True)
    expected = p * (p * (LAMBDA - 1) / (1 - p + LAMBDA * p)) * (e_y - pi)
    gamma = pi * (LAMBDA - 1) / (LAMBDA * (1 - pi) + pi)
    suppress = (1 - e_y) * pi * gamma
    expected += suppress.sum(-1, keepdim=True) * pi - suppress
    torch.testing.assert_close(expected_update(ALGORITHMS["tpo"], log_pi, label), expected, rtol=1e-10, atol=1e-14)


def test_expected_update_of_dg_is_appendix_c_s() -> None:
    """The gate sees the advantage times the surprisal of each class."""
    log_pi, label = policies(30)
    pi, e_y = log_pi.exp(), one_hot(label, log_pi)
    advantage = e_y - pi.square().sum(-1, keepdim=True)
    weight = pi * advantage * torch.sigmoid(-advantage * log_pi)
    expected = weight - weight.sum(-1, keepdim=True) * pi
    torch.testing.assert_close(expected_update(ALGORITHMS["dg"], log_pi, label), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["reinforce", "grpo_batch", "group_pg", "ce"])
def test_one_vs_rest_rules_have_no_surplus(name: str) -> None:
    """PG, GRPO over the batch, Group PG and the oracle push the label against the rest, whatever the wrong classes."""
    gain, scalar = gains(ALGORITHMS[name], *policies(50))
    assert gain.min() > 1e-9
    torch.testing.assert_close(gain, scalar, rtol=1e-9, atol=1e-14)


def test_surplus_grows_with_concentration_for_tpo_only() -> None:
    """With p_y = .1 and one wrong class taking more and more of the rest, TPO's surplus grows from 0 and DG's falls."""
    share = torch.tensor([1 / 9, 0.3, 0.6, 0.95], dtype=torch.float64)
    rest = ((1 - share) / 8).unsqueeze(-1).expand(-1, 8)
    pi = torch.cat([torch.full((4, 1), 0.1, dtype=torch.float64), 0.9 * share[:, None], 0.9 * rest], dim=1)
    label = torch.zeros(1, 4, dtype=torch.int64)
    surplus = {}
    for name in ("tpo", "dg"):
        gain, scalar = gains(ALGORITHMS[name], pi.log()[None], label)
        surplus[name] = (gain - scalar)[0]
        assert surplus[name][0].abs() < 1e-12
    assert (surplus["tpo"].diff() > 0.001).all()
    assert (surplus["dg"].diff() < 0).all()


@pytest.mark.parametrize("name", SERVED)
def test_expected_update_is_that_of_all_draws(name: str) -> None:
    """For any rule, the mean over many samples of classes of the loss's gradient, within five standard errors."""
    log_pi, label = policies(3, classes=4, spread=1.0, seed=1)
    n, rng = 20_000, torch.Generator().manual_seed(2)
    action = torch.multinomial(log_pi[0].exp(), n, replacement=True, generator=rng).T
    many, labels = log_pi.expand(n, -1, -1), label.expand(n, -1)
    rule, groups = ALGORITHMS[name], classify(many, labels, one_hot(action, many))
    if name == "grpo_batch":  # it standardises over these images under pi
        mean = log_pi.gather(2, label.unsqueeze(-1)).exp().mean()
        credit = (groups.reward - mean) / (mean * (1 - mean)).sqrt()
    else:
        credit = rule.credit_for(groups)
    logits = many.clone().requires_grad_()
    loss = rule.loss(logits.log_softmax(-1).unsqueeze(-1), groups, credit).sum()
    draws = -torch.autograd.grad(loss, logits)[0]
    error = draws.std(0) / math.sqrt(n)
    assert ((draws.mean(0) - expected_update(rule, log_pi, label)[0]).abs() <= 5 * error + 1e-6).all()


def test_enumeration_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are taken in pieces of any size."""
    log_pi, label = policies(10)
    whole = expected_update(ALGORITHMS["tpo"], log_pi, label)
    monkeypatch.setattr(module, "CHUNK", 3)
    torch.testing.assert_close(expected_update(ALGORITHMS["tpo"], log_pi, label), whole, rtol=1e-13, atol=1e-16)


def test_sums_by_hand() -> None:
    """Two seeds of three images: PG's gain p^2 |e_y - pi|^2 lands in the bins of c = 1/2, 0.9 and none."""
    rows = torch.tensor([[[0.2, 0.4, 0.4], [0.1, 0.81, 0.09], [0.5, 0.3, 0.2]]] * 2, dtype=torch.float64)
    rows[1, 0] = torch.tensor([0.4, 0.3, 0.3])  # the second seed has this one right
    metrics = mechanism(ALGORITHMS["reinforce"], rows.log().mT, torch.zeros(3, dtype=torch.int64))
    assert {k: v.tolist() for k, v in metrics.items() if k.startswith("count")} == {
        "count0": [0, 0], "count1": [0, 0], "count2": [1, 0], "count3": [1, 1]
    }  # fmt: skip
    expected = [0.2**2 * (0.8**2 + 2 * 0.4**2), 0.1**2 * (0.9**2 + 0.81**2 + 0.09**2)]
    torch.testing.assert_close(metrics["gain_sum2"], torch.tensor([expected[0], 0]).double())
    torch.testing.assert_close(metrics["scalar_sum3"], torch.tensor([expected[1]] * 2).double())
    torch.testing.assert_close(metrics["surplus_sum3"], torch.zeros(2).double(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", SERVED)
def test_sums_are_finite(name: str) -> None:
    """No metric is nan: not where every image is right, nor where a policy is certain of a wrong class."""
    label = torch.zeros(4, dtype=torch.int64)
    right = torch.tensor([5.0, 0.0, 0.0]).log_softmax(-1).expand(4, 3)
    certain = torch.tensor([[-300.0, 300.0, 0.0], [-5.0, 80.0, 80.0], [1.0, 1.0, 1.5], [0.0, 30.0, 1.0]]).log_softmax(
        -1
    )
    metrics = mechanism(ALGORITHMS[name], torch.stack([right.T, certain.T]), label)
    assert all(value.shape == (2,) and value.isfinite().all() for value in metrics.values())
    assert sum(metrics[f"count{i}"][0].item() for i in range(4)) == 0
    assert sum(metrics[f"count{i}"][1].item() for i in range(4)) == 4


def test_a_user_s_rule_has_gains_too() -> None:
    """A rule that is in no catalogue is examined through its credit and fit: twice PG has twice PG's gains."""
    twice = Algorithm("twice", lambda groups: 2 * baseline_advantage(groups), policy_gradient)
    log_pi, label = policies(6)
    for ours, pg in zip(gains(twice, log_pi, label), gains(ALGORITHMS["reinforce"], log_pi, label), strict=True):
        torch.testing.assert_close(ours, 2 * pg)
