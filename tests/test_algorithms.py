"""What a rule refuses, what its numbers are on examples worked by hand, and how a user adds one."""
# ruff: noqa: ARG005 - parts that ignore what they are given

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS, register, require_algorithm
from tpobench.algorithms.credit import batch_standardized_reward, standardized_reward, standardized_score, tilted_target
from tpobench.algorithms.fit import (
    clipped_sequence_ratio,
    clipped_token_ratio,
    cross_entropy,
    delightful_gradient,
    policy_gradient,
)
from tpobench.algorithms.groups import CandidateGroups
from tpobench.errors import UsageError, unknown


def make(reward: list[list[float]], old: list[list[float]] | None = None) -> CandidateGroups:
    """One seed, one token a candidate, equal weights, baseline 0.5."""
    r = torch.tensor([reward], dtype=torch.float64)
    logp = torch.zeros_like(r) if old is None else torch.tensor([old], dtype=torch.float64)
    return CandidateGroups(
        old_logp=logp.unsqueeze(-1),
        mask=torch.ones_like(r).unsqueeze(-1),
        reward=r,
        baseline=torch.full((1, 1, 1), 0.5, dtype=torch.float64),
        weight=torch.full_like(r, 1 / r.shape[-1]),
        score=r,
        draws=r.shape[-1],
    )


def close(actual: Tensor, expected: list) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_standardized_reward_by_hand() -> None:
    """Rewards 1, 0, 0, 1 have mean 1/2 and std 1/2; equal rewards give 0."""
    credit = standardized_reward(make([[1, 0, 0, 1], [1, 1, 1, 1]]), epsilon=0.0)
    close(credit, [[[1, -1, -1, 1], [0, 0, 0, 0]]])


def test_standardized_reward_adds_epsilon_to_the_std() -> None:
    """With epsilon = 1/2 the same rewards are half as large."""
    close(standardized_reward(make([[1, 0, 0, 1]]), epsilon=0.5), [[[0.5, -0.5, -0.5, 0.5]]])


def test_batch_standardized_reward_by_hand() -> None:
    """Over the batch, a group of equal rewards has credit: 3 of 4 candidates succeed, std sqrt(3)/4."""
    credit = batch_standardized_reward(make([[1, 1], [1, 0]]), epsilon=0.0)
    good, bad = 1 / math.sqrt(3), -math.sqrt(3)
    close(credit, [[[good, good], [good, bad]]])


def test_target_by_hand() -> None:
    """Two candidates of p_old 3/4 and 1/4, the second right: u = -1, 1, so q ~ 3/4 e^-1, 1/4 e."""
    groups = make([[0, 1]], [[math.log(0.75), math.log(0.25)]])
    a, b = 0.75 * math.exp(-1), 0.25 * math.exp(1)
    close(tilted_target(groups), [[[a / (a + b), b / (a + b)]]])
    a, b = 0.75 * math.exp(-0.25), 0.25 * math.exp(0.25)
    close(tilted_target(groups, eta=4.0), [[[a / (a + b), b / (a + b)]]])
    close(tilted_target(groups, anchor=False), [[[1 / (1 + math.e**2), 1 / (1 + math.e**-2)]]])


def test_target_depends_on_p_old_within_the_group_only() -> None:
    """A constant added to all log-probs of a group changes nothing."""
    shifted = make([[0, 1]], [[math.log(0.75) - 9, math.log(0.25) - 9]])
    close(tilted_target(shifted) - tilted_target(make([[0, 1]], [[math.log(0.75), math.log(0.25)]])), [[[0, 0]]])


def test_cross_entropy_gradient_is_p_minus_q() -> None:
    """The gradient of the candidates' log-probs is p - q and vanishes at the target."""
    groups = make([[0, 1]])
    q = torch.tensor([[[0.2, 0.8]]], dtype=torch.float64)
    logp = torch.tensor([[[[0.5], [0.5]]]], dtype=torch.float64).log().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logp, groups, q).sum(), logp)
    close(gradient, [[[[0.3], [-0.3]]]])
    logp = q.log().unsqueeze(-1).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logp, groups, q).sum(), logp)
    close(gradient, [[[[0.0], [0.0]]]])


@pytest.mark.parametrize("fit", [clipped_token_ratio, clipped_sequence_ratio])
def test_clipping_by_hand(fit) -> None:
    """Ratio 2: a good candidate counts 1.2, a bad one counts in full; ratio 1/2: a bad one counts 0.8."""
    logp = torch.tensor([2.0, 2.0, 0.5, 0.5], dtype=torch.float64).log().reshape(1, 1, 4, 1)
    credit = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]], dtype=torch.float64)
    hyper = {"kl": 0.0} if fit is clipped_sequence_ratio else {}
    close(fit(logp, make([[0, 0, 0, 0]]), credit, **hyper), [[-(1.2 - 2 + 0.5 - 0.8) / 4]])


def test_kl_term_by_hand() -> None:
    """Without credit the GRPO loss is the mean of 0.04 (1/rho + log rho - 1)."""
    logp = torch.tensor([[[[math.log(2)], [0.0]]]], dtype=torch.float64)
    value = clipped_sequence_ratio(logp, make([[0, 0]]), torch.zeros(1, 1, 2, dtype=torch.float64))
    close(value, [[0.04 * (0.5 + math.log(2) - 1) / 2]])


def test_delight_gate_by_hand() -> None:
    """A rare success passes in full, a rare failure hardly: gates sigma(A l), here sigma(+-log 9) = 0.9 and 0.1."""
    logp = torch.full((1, 1, 2, 1), -math.log(9), dtype=torch.float64, requires_grad=True)
    credit = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(delightful_gradient(logp, make([[1, 0]]), credit).sum(), logp)
    close(gradient, [[[[-0.45], [0.05]]]])


def advantage_over_best(groups: CandidateGroups) -> Tensor:
    """A user's credit."""
    return groups.reward - groups.reward.amax(-1, keepdim=True)


def test_a_user_registers_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credit, a known fit and a name make a rule that trains like any other."""
    monkeypatch.setattr("tpobench.algorithms.catalog.ALGORITHMS", dict(ALGORITHMS))
    mine = register(Algorithm("mine", advantage_over_best, policy_gradient, compares="candidates", paper="ours"))
    groups = make([[1, 0]], [[-1.0, -2.0]])
    close(mine.loss(groups.old_logp, groups, mine.credit_for(groups)), [[-1.0]])
    assert register(mine) is mine
    with pytest.raises(UsageError, match="algorithm 'mine' exists already"):
        register(Algorithm("mine", advantage_over_best, policy_gradient))
    with pytest.raises(UsageError, match="algorithm 'tpo' exists already"):
        register(Algorithm("tpo", advantage_over_best, policy_gradient))


def test_keep_drops_contexts() -> None:
    """grpo_masked counts neither the surrogate nor the KL of a group of equal rewards."""
    groups = make([[1, 0], [1, 1]])
    logp = torch.full((1, 2, 2, 1), 0.1, dtype=torch.float64)
    plain, masked = ALGORITHMS["grpo"], ALGORITHMS["grpo_masked"]
    credit = plain.credit_for(groups)
    assert masked.loss(logp, groups, credit)[0, 0] == plain.loss(logp, groups, credit)[0, 0]
    assert masked.loss(logp, groups, credit)[0, 1] == 0
    assert plain.loss(logp, groups, credit)[0, 1] > 0


def test_hyperparameters_merge_defaults_and_entry() -> None:
    """The published values are the functions' defaults and the entry's own."""
    assert ALGORITHMS["tpo_no_anchor"].hyperparameters == {"eta": 1.0, "anchor": False}
    assert ALGORITHMS["grpo"].hyperparameters == {"epsilon": 1e-8, "clip": 0.2, "kl": 0.04}
    assert ALGORITHMS["grpo_no_kl"].hyperparameters == {"epsilon": 1e-8, "clip": 0.2, "kl": 0.0}
    assert ALGORITHMS["tpo"].with_hyper(eta=2.0).hyperparameters == {"eta": 2.0, "anchor": True}


def test_hyperparameters_reach_credit_and_fit() -> None:
    """Temperature 2 halves the scores of group_pg; clip 0.5 lets the ratio 1.4 count in full."""
    groups = make([[1, 0]])
    close(ALGORITHMS["group_pg"].with_hyper(eta=2.0).credit_for(groups), [[[0.5, -0.5]]])
    close(standardized_score(groups), [[[1.0, -1.0]]])
    logp = torch.tensor([[[[math.log(1.4)], [0.0]]]], dtype=torch.float64)
    credit = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    close(ALGORITHMS["ppo"].loss(logp, groups, credit), [[-0.6]])
    close(ALGORITHMS["ppo"].with_hyper(clip=0.5).loss(logp, groups, credit), [[-0.7]])


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"etaa": 1.0}, "unknown hyperparameter 'etaa' in algorithm 'tpo'; did you mean 'eta'? valid: anchor, eta"),
        (
            {"eta": 0.0},
            "algorithm 'tpo': hyperparameter 'eta' is 0.0; give a number of at least 0.001 and at most 1e+06",
        ),
        ({"eta": True}, "algorithm 'tpo': hyperparameter 'eta' is True; give a finite number"),
        ({"eta": math.nan}, "algorithm 'tpo': hyperparameter 'eta' is nan; give a finite number"),
        ({"eta": "hot"}, "algorithm 'tpo': hyperparameter 'eta' is 'hot'; give a finite number"),
        ({"anchor": 1}, "algorithm 'tpo': hyperparameter 'anchor' is 1; give true or false"),
    ],
)
def test_bad_hyperparameters_are_refused(hyper: dict, message: str) -> None:
    """An unknown name is refused with the nearest one, an impossible value with what would work."""
    with pytest.raises(UsageError) as refusal:
        ALGORITHMS["tpo"].with_hyper(**hyper)
    assert str(refusal.value) == message


def _credit_with_clip(groups: CandidateGroups, *, clip: float = 1.0) -> Tensor:
    return groups.reward.clamp(-clip, clip)


def _credit_without_default(groups: CandidateGroups, *, scale: float) -> Tensor:
    return groups.reward * scale


def test_nonsense_rules_are_refused() -> None:
    """Ambiguous names, missing defaults and unknown declarations are refused when the rule is made."""
    with pytest.raises(UsageError, match="both credit and fit take 'clip'; rename one of them"):
        Algorithm("mine", _credit_with_clip, clipped_token_ratio)
    with pytest.raises(UsageError, match="hyperparameter 'scale' has no default"):
        Algorithm("mine", _credit_without_default, policy_gradient)
    with pytest.raises(UsageError, match="unknown value of compares 'candidate' in algorithm 'mine'; did you"):
        Algorithm("mine", advantage_over_best, policy_gradient, compares="candidate")
    with pytest.raises(UsageError, match="did you mean 'at_snapshot'"):
        Algorithm("mine", advantage_over_best, policy_gradient, zero_gradient_on_flat="snapshot")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"credit": lambda groups, beta=0.1: beta},
            "credit takes 'beta' by position, and hyperparameters are keyword-only",
        ),
        ({"credit": lambda groups, beta=0.1: beta}, r"put a \* before them: \(groups, \*, beta=0.1\)"),
        ({"fit": lambda logp, groups, credit, clip=0.2, *, kl=0.1: kl}, r"\(logp, groups, credit, \*, clip=0.2\)"),
        ({"fit": lambda logp, credit: credit}, r"fit cannot be called as \(logp, groups, credit, \*, ...\)"),
        ({"credit": lambda: 0}, r"credit cannot be called as \(groups\)"),
        ({"credit": None}, "credit is None; give a function"),
        ({"keep": 1}, r"keep is 1; give a function \(groups\)"),
        (
            {"credit": lambda groups, *, betas=(0.1, 0.2): 0},
            r"'betas' is \(0.1, 0.2\); give a number, true or false, or",
        ),
        ({"needs": {"lable"}}, "unknown optional field 'lable' in algorithm 'mine'; did you mean 'label'?"),
        ({"hyper": {"beta": 1.0}}, "unknown hyperparameter 'beta' in algorithm 'mine'; valid: none"),
    ],
)
def test_parts_that_cannot_be_called_are_refused(parts: dict, words: str) -> None:
    """When the rule is made, with what would work: nothing is silently no hyperparameter."""
    with pytest.raises(UsageError, match=words):
        Algorithm(**{"name": "mine", "credit": advantage_over_best, "fit": policy_gradient} | parts)


def test_one_name_or_a_list_declares_what_a_rule_needs() -> None:
    """A text is one name, not its letters."""
    for needs in ("label", ["label"], frozenset({"label"})):
        assert Algorithm("mine", advantage_over_best, policy_gradient, needs=needs).needs == {"label"}


@pytest.mark.parametrize(
    ("part", "function", "shape"),
    [
        (
            "credit",
            lambda groups: groups.reward.mean(-1),
            r"shape \(1, 1\); it must give a tensor of shape \(1, 1, 2\)",
        ),
        ("credit", lambda groups: None, r"NoneType; it must give a tensor of shape \(1, 1, 2\) or \(1, 1, 2, 1\)"),
        ("credit", lambda groups: groups.reward.numpy(), "ndarray"),
        ("fit", lambda logp, groups, credit: -(credit.unsqueeze(-1) * logp).mean(), r"shape \(\); .* \(1, 1\)"),
        ("fit", lambda logp, groups, credit: (logp.sum((-1, -2)), 0), "tuple; it must give"),
        ("keep", lambda groups: groups.reward > 0, r"shape \(1, 1, 2\); it must give a tensor of shape \(1, 1\)"),
    ],
)
def test_an_answer_of_another_shape_is_refused(part: str, function: Callable, shape: str) -> None:
    """Broadcast, it would be a wrong update without a word."""
    rule = Algorithm(**{"name": "mine", "credit": advantage_over_best, "fit": policy_gradient} | {part: function})
    groups = make([[1, 0]], [[-1.0, -2.0]])
    with pytest.raises(UsageError, match=f"algorithm 'mine': {part} gives {shape}"):
        rule.loss(groups.old_logp, groups, rule.credit_for(groups))


def test_missing_label_is_refused() -> None:
    """The oracle needs labels and says so."""
    with pytest.raises(UsageError, match="algorithm 'ce' needs 'label', which this task does not offer"):
        ALGORITHMS["ce"].credit_for(make([[1, 0]]))


def test_of_many_valid_names_those_most_alike_are_listed() -> None:
    """A catalogue of seventy names does not fill the screen."""
    text = str(unknown("algorithm", "grpoo", [f"name{i}" for i in range(40)] + ["grpo", "grpo_trl"]))
    assert text.startswith("unknown algorithm 'grpoo'; did you mean 'grpo'? valid: grpo, grpo_trl, name")
    assert text.endswith(" and 30 more")


@pytest.mark.parametrize(
    ("name", "near"), [("TPO", "tpo"), ("GRPO-TRL", "grpo_trl"), ("Tpo_Token+icepop", "tpo_token")]
)
def test_an_unknown_algorithm_is_compared_without_case_and_tells_of_plugins(name: str, near: str) -> None:
    """Papers write TPO; and a name may be of a plug-in that was not named."""
    with pytest.raises(UsageError) as refusal:
        require_algorithm(name, "suite 'sparse'")
    text = str(refusal.value)
    assert f"in suite 'sparse'; did you mean '{near}'? valid: " in text
    assert text.endswith("; one of your own comes with --plugin FILE.py")


def test_of_names_that_differ_in_case_alone_each_is_valid() -> None:
    """Results may hold both."""
    assert str(unknown("algorithm", "Ppo", ["PPO", "ppo"])).endswith("valid: PPO, ppo")
