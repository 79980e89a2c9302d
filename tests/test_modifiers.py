"""Modifiers put on any algorithm: their weights by hand, neutral settings that change no bit, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS, register, require_algorithm
from tpobench.algorithms.contract import CONTRACT, examine
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.modifiers import (
    MODIFIERS,
    clipped_covariance,
    covariance,
    decoupled,
    high_entropy,
    icepop,
    informative,
    largest_covariance,
    masked_importance,
    off_policy_mask,
    running_baseline,
    second_moment_mask,
    task_weights,
    truncated_importance,
)
from tpobench.algorithms.trial import Case, ask, sequences, tallied
from tpobench.errors import UsageError

BASES = ("tpo", "grpo_trl", "gspo", "reinforce", "lpo_fwd", "dpo_online", "awr")
LOG2 = math.log(2)


def groups_of(mismatch: list[list[float]], reward: list[list[float]], **fields: Tensor) -> CandidateGroups:
    """One seed, one token a candidate, equal weights; `mismatch` is log pi_old - log pi_sampler."""
    r = torch.tensor([reward], dtype=torch.float64)
    old = torch.full_like(r, -1.0).unsqueeze(-1)
    return CandidateGroups(
        old_logp=old,
        mask=torch.ones_like(old),
        reward=r,
        baseline=torch.zeros_like(r[..., :1]),
        weight=torch.full_like(r, 1 / r.shape[-1]),
        score=r,
        draws=r.shape[-1],
        rollout_logp=old - torch.tensor([mismatch], dtype=torch.float64).unsqueeze(-1),
        **fields,
    )


def weights(groups: CandidateGroups) -> list[list[float]]:
    """The weight of each candidate of the first seed, in one token."""
    assert groups.token_weight is not None
    return groups.token_weight.expand_as(groups.old_logp)[0, :, :, 0].tolist()


def test_weights_of_the_sampler_by_hand() -> None:
    """Ratios 1/4, 1, 2, 8: icepop keeps 1/2 to 5, tis caps at 2, mis drops beyond 3."""
    groups = groups_of([[-2 * LOG2, 0.0, LOG2, 3 * LOG2]], [[1, 0, 0, 0]])
    assert weights(icepop(groups, {})) == [pytest.approx([0, 1, 2, 0])]
    assert weights(truncated_importance(groups, {})) == [pytest.approx([0.25, 1, 2, 2])]
    assert weights(masked_importance(groups, {})) == [pytest.approx([0.25, 1, 2, 0])]


def test_second_moments_by_hand() -> None:
    """Squares 0, .01, .04, .25 have mean .075; without the largest .0167, below .04; with a bound of .075 all stay."""
    groups = groups_of([[0.0, 0.1, -0.2, 0.5]], [[1, 0, 0, 0]])
    assert weights(second_moment_mask(groups, {})) == [[1, 1, 1, 0]]
    assert weights(second_moment_mask(groups, {}, second_moment=0.0751)) == [[1, 1, 1, 1]]
    assert weights(second_moment_mask(groups, {}, second_moment=0.0)) == [[1, 0, 0, 0]]


def test_weights_multiply() -> None:
    """What comes later is put on top."""
    groups = groups_of([[LOG2, 0.0], [0.0, 0.0]], [[1, 0], [1, 1]])
    assert weights(informative(icepop(groups, {}), {})) == [pytest.approx([4, 2]), [0, 0]]


def test_the_reward_of_several_is_the_sum_of_their_z_scores() -> None:
    """Two rewards that agree give twice the z-score, +-2; that differ, 0."""
    rewards = torch.tensor([[[[1.0, 5.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, 1.0]]]]).double()
    groups = decoupled(groups_of([[0.0, 0.0]] * 2, [[3, 1.5], [0.5, 0.5]], rewards=rewards), {})
    assert groups.reward.tolist() == [[[2, -2], [0, 0]]]


def test_tasks_weigh_more_where_reward_and_improvement_are_less() -> None:
    """The first batch weighs all alike; then xi moves by -step z (s - z.s), worked by hand for two tasks."""
    task_index, memory = torch.tensor([[0, 1]]), {}
    first = groups_of([[0.0, 0.0]] * 2, [[1, 0], [0, 0]], task_index=task_index)
    assert weights(task_weights(first, memory, task_lambda=0.2, task_step=1.0)) == [[1, 1], [1, 1]]
    then = groups_of([[0.0, 0.0]] * 2, [[1, 1], [0, 0]], task_index=task_index)
    # s = (0.5 + 0.2, 0), z = 1/2 each: xi = -+0.5 * 0.35
    z = math.exp(-0.175) / (math.exp(-0.175) + math.exp(0.175))
    expected = [pytest.approx([2 * z] * 2), pytest.approx([2 - 2 * z] * 2)]
    assert weights(task_weights(then, memory, task_lambda=0.2, task_step=1.0)) == expected


def test_the_running_baseline_by_hand() -> None:
    """1/2 at first, then .9 of it and .1 of the batch's own mean of 1."""
    memory: dict[str, Tensor] = {}
    assert running_baseline(groups_of([[0.0, 0.0]], [[1, 0]]), memory).baseline.item() == 0.5
    assert running_baseline(groups_of([[0.0, 0.0]], [[1, 1]]), memory).baseline.item() == pytest.approx(0.55)


def test_the_off_policy_mask_by_hand() -> None:
    """Only failures that the policy has left are off."""
    groups = groups_of([[0.0] * 4], [[1, 1, 0, 0]])
    logp = groups.old_logp - torch.tensor([0.1, 0.0, 0.1, 0.0]).double().view(1, 1, 4, 1)
    factor = off_policy_mask(logp, groups, groups.reward - 0.5)
    assert factor.flatten().tolist() == [1, 1, 0, 1]


def test_the_gate_of_delight_is_the_delightful_gradient() -> None:
    """reinforce+dg has the gradient of dg, and group_pg+dg that of its scores."""
    for case in (sequences(ALGORITHMS["dg"]), tallied(ALGORITHMS["dg"])):
        one, other = ask(ALGORITHMS["reinforce+dg"], case).gradient, ask(ALGORITHMS["dg"], case).gradient
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def neutral(case: Case) -> Case:
    """Draws came from pi_old, and there is one reward."""
    return case.but(rollout_logp=case.groups.old_logp, rewards=case.groups.reward.unsqueeze(-1))


NEUTRAL = {
    "icepop": {}, "tis": {}, "mis": {}, "m2po": {}, "decoupled": {}, "opsm": {"opsm_delta": 1e3},
    "tasks": {"task_step": 0.0}, "top_entropy": {"top_entropy": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("modifier", NEUTRAL)
def test_a_neutral_setting_is_the_base_bit_for_bit(base: str, modifier: str) -> None:
    """In loss and gradient, near the snapshot and away from it."""
    if MODIFIERS[modifier].gate is not None and ALGORITHMS[base].credit_is != "advantage":
        return
    for case in (sequences(ALGORITHMS[base]), sequences(ALGORITHMS[base], seed=1, by=2.0), tallied(ALGORITHMS[base])):
        given = neutral(case)
        one, other = (
            ask(ALGORITHMS[base], given),
            ask(ALGORITHMS[f"{base}+{modifier}"].with_hyper(**NEUTRAL[modifier]), given),
        )
        assert torch.equal(one.loss, other.loss)
        assert torch.equal(one.gradient, other.gradient)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("modifier", MODIFIERS)
def test_a_modified_algorithm_keeps_the_contract(base: str, modifier: str) -> None:
    """As every other."""
    if MODIFIERS[modifier].gate is not None and ALGORITHMS[base].credit_is != "advantage":
        with pytest.raises(UsageError, match=rf"'{base}' does not admit '{modifier}', which reads an advantage"):
            ALGORITHMS[f"{base}+{modifier}"]
        return
    findings = examine(ALGORITHMS[f"{base}+{modifier}"], CONTRACT)
    assert [str(breach) for finding in findings for breach in finding.breaches] == []


def test_names_are_put_together() -> None:
    """Modifiers in their order, with their hyperparameters, needs and sources; the plain name is in no list twice."""
    rule = ALGORITHMS["grpo_trl+informative+icepop"]
    assert rule.name == "grpo_trl+informative+icepop"
    assert rule.needs == {"rollout_logp"}
    assert rule.hyperparameters.keys() == {*ALGORITHMS["grpo_trl"].hyperparameters, "k_low", "k_high"}
    assert "2510.18855" in rule.paper
    assert "tpo+icepop" in ALGORITHMS
    assert "tpo+icepop" not in list(ALGORITHMS)
    assert "tpo+nothing" not in ALGORITHMS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpo+icepopp", "unknown modifier 'icepopp' in here; did you mean 'icepop'?"),
        ("tpoo+icepop", "unknown algorithm 'tpoo' in here; did you mean 'tpo'?"),
        ("tpo+dg", "'tpo' does not admit 'dg', which reads an advantage; its credit is a target"),
        (
            "dpo_online+dg",
            "'dpo_online' does not admit 'dg', which reads an advantage; its credit is a share of each pair",
        ),
    ],
)
def test_what_cannot_be_put_together_is_refused(name: str, message: str) -> None:
    """With what would work."""
    with pytest.raises(UsageError) as refusal:
        require_algorithm(name, "here")
    assert str(refusal.value).startswith(message)


def test_a_name_with_a_plus_is_no_name_of_an_algorithm() -> None:
    """It would be taken for a modified one."""
    with pytest.raises(UsageError, match="a \\+ puts modifiers on an algorithm"):
        register(dataclasses.replace(ALGORITHMS["tpo"], name="tpo+mine"))


def test_covariance_by_hand() -> None:
    """Two successes of four at log-probs -3, -1, -1, -3, z = +-sqrt(3/4) by sample deviation, mean log-prob -2."""
    groups = groups_of([[0.0] * 4], [[1, 1, 0, 0]])
    old = torch.tensor([-3.0, -1.0, -1.0, -3.0], dtype=torch.float64).view(1, 1, 4, 1)
    groups = dataclasses.replace(groups, old_logp=old)
    z = math.sqrt(0.75) / (1 + 1e-4 / math.sqrt(1 / 3))
    expected = torch.tensor([-z, z, -z, z], dtype=torch.float64)
    torch.testing.assert_close(covariance(groups).flatten(), expected, rtol=1e-9, atol=1e-12)


def test_tokens_are_picked_by_covariance_and_entropy() -> None:
    """A quarter of four: among those within the bounds the one of the smallest number, the largest, and the surest."""
    groups = groups_of([[0.0] * 4], [[1, 1, 0, 0]])
    shape = (1, 1, 4, 1)
    old, uniform = (torch.tensor(x, dtype=torch.float64).view(shape) for x in ([-4, -1, -1, -2], [0.1, 0.2, 0.3, 0.4]))
    groups = dataclasses.replace(groups, old_logp=old, uniform=uniform, entropy=uniform.flip(2))
    # covariances: success below the mean of -2 is negative, success above it positive, failure below it 0
    assert covariance(groups).flatten().sign().tolist() == [-1, 1, -1, 0]
    clip = {"cov_share": 0.25, "cov_low": 0.0, "cov_high": 5.0}
    assert weights(clipped_covariance(groups, {}, **clip)) == [[1, 0, 1, 1]]
    assert weights(clipped_covariance(groups, {}, **(clip | {"cov_low": 4.0}))) == [[1, 1, 1, 1]]
    assert largest_covariance(groups, {}, cov_share=0.5).selected.flatten().tolist() == [0, 1, 0, 1]
    assert weights(high_entropy(groups, {}, top_entropy=0.5)) == [[1, 1, 0, 0]]


def test_only_selected_tokens_are_held_to_the_snapshot() -> None:
    """kl_cov without a penalty is the plain surrogate; with one the token of the largest covariance pays |log rho|."""
    case = sequences(ALGORITHMS["kl_cov"])
    plain, held = (ask(ALGORITHMS["kl_cov"].with_hyper(kl=kl), case) for kl in (0.0, 1.0))
    assert ((plain.gradient != held.gradient).sum((1, 2, 3)) == 1).all()  # 2e-4 of the tokens is one of each seed
