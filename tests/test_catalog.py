"""Every rule of the catalogue keeps the contract that rules of users are held to, without a limit, and is published."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.contract import CONTRACT, LIMITS, examine
from tpobench.algorithms.promises import Promise
from tpobench.algorithms.trial import B, Case, K, S, T, ask, sequences

every_rule = pytest.mark.parametrize("rule", ALGORITHMS.values(), ids=ALGORITHMS)


def flat_gradient(rule: Algorithm, *, at_snapshot: bool) -> Tensor:
    """Largest gradient of context 0, whose rewards are equal, among others whose rewards differ."""
    case = sequences(rule)
    case = dataclasses.replace(case, logp=case.groups.old_logp) if at_snapshot else case
    return ask(rule, case).gradient[:, 0].abs().max()


@every_rule
@pytest.mark.parametrize("promise", [*CONTRACT, *LIMITS], ids=lambda promise: promise.text)
def test_keeps_its_contract(rule: Algorithm, promise: Promise) -> None:
    """What is asked of a user's rule holds for ours, and what is a limit for those is none here."""
    assert [str(breach) for finding in examine(rule, [promise]) for breach in finding.breaches] == []


@every_rule
def test_has_a_paper(rule: Algorithm) -> None:
    """Every entry says where its equation stands."""
    assert "arXiv" in rule.paper or "Williams 1992" in rule.paper


@every_rule
def test_credit_is_per_token_for_advantages_of_token_rewards_only(rule: Algorithm) -> None:
    """Rules that compare nothing take each token's own reward, the others that of the whole answer."""
    tokens = 1 if rule.unit == "token" else T
    per_token = rule.name in {"reinforce", "ppo", "dg", "dg_multi_epoch"}
    credit = ask(rule, sequences(rule, dense=True)).credit
    assert credit.shape == ((S, B, K, tokens) if per_token else (S, B, K))


@every_rule
def test_contexts_are_skipped_wherever_that_is_exact(rule: Algorithm) -> None:
    """A rule that has no gradient on flat groups says so, at the snapshot or everywhere, and no other does."""
    here, away = flat_gradient(rule, at_snapshot=True), flat_gradient(rule, at_snapshot=False)
    assert (here > 1e-4) == (rule.zero_gradient_on_flat == "never")
    assert (away > 1e-4) == (rule.zero_gradient_on_flat != "always")


@every_rule
def test_informative_groups_have_a_gradient(rule: Algorithm) -> None:
    """Where rewards differ every rule moves, at the snapshot already."""
    case = sequences(rule)
    gradient = ask(rule, dataclasses.replace(case, logp=case.groups.old_logp)).gradient
    assert (gradient[:, 1:].abs().amax((2, 3)) > 1e-5).all()


@every_rule
def test_hyperparameters_are_complete(rule: Algorithm) -> None:
    """A rule lists all its hyperparameters, and giving it the listed values changes nothing."""
    again = rule.with_hyper(**rule.hyperparameters)
    assert again.hyperparameters == rule.hyperparameters
    case: Case = sequences(rule)
    assert torch.equal(ask(again, case).loss, ask(rule, case).loss)
