"""Every rule of the catalogue keeps the contract that rules of users are held to, without a limit, and is published."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from tpobench.algorithms import fit, lazy
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN, FAMILIES, family_of
from tpobench.algorithms.contract import CONTRACT, LIMITS, examine
from tpobench.algorithms.promises import Promise
from tpobench.algorithms.trial import B, Case, K, S, T, ask, cases, sequences
from tpobench.errors import UsageError

every_rule = pytest.mark.parametrize("rule", ALGORITHMS.values(), ids=ALGORITHMS)


def flat_gradient(rule: Algorithm, *, at_snapshot: bool) -> float:
    """Largest gradient of context 0, whose rewards are all 1, among others whose rewards differ, and where all fail."""
    largest = 0.0
    for case, rows in ((sequences(rule), slice(0, 1)), (sequences(rule, flat=0.0), slice(None))):
        case = dataclasses.replace(case, logp=case.groups.old_logp) if at_snapshot else case  # noqa: PLW2901
        largest = max(largest, float(ask(rule, case).gradient[:, rows].abs().max()))
    return largest


@every_rule
@pytest.mark.parametrize("promise", [*CONTRACT, *LIMITS], ids=lambda promise: promise.text)
def test_keeps_its_contract(rule: Algorithm, promise: Promise) -> None:
    """What is asked of a user's rule holds for ours, and what is a limit for those is none here."""
    assert [str(breach) for finding in examine(rule, [promise]) for breach in finding.breaches] == []


@every_rule
def test_has_a_paper(rule: Algorithm) -> None:
    """Every entry says where its equation stands."""
    assert re.search(r"arXiv \d{4}\.\d{5}|Williams 1992|Peters 2010", rule.paper)


@every_rule
def test_credit_is_per_token_for_advantages_of_token_rewards_only(rule: Algorithm) -> None:
    """Rules that compare nothing take each token's own reward, the others that of the whole answer or of a pair."""
    tokens = 1 if rule.unit == "token" else T
    per_token = rule.name in {
        "reinforce",
        "ppo",
        "trpo",
        "dg",
        "dg_multi_epoch",
        "reinforce_pp",
        "reinforce_pp_baseline",
    }
    per_token |= "value" in rule.needs
    credit = ask(rule, sequences(rule, dense=True)).credit
    shape = (S, B, K, K) if rule.credit_is == "pairs" else (S, B, K, tokens) if per_token else (S, B, K)
    assert credit.shape == shape


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
    reward = case.groups.reward + torch.arange(K) / 100  # the best is alone
    case = case.but(reward=reward, score=reward, weight=torch.full_like(reward, 1 / K))
    case = dataclasses.replace(case, logp=case.groups.old_logp)
    gradient = ask(rule, case).gradient
    assert (gradient[:, 1:].abs().amax((2, 3)) > 1e-5).all()


@every_rule
def test_every_number_has_a_range_that_holds_its_published_value(rule: Algorithm) -> None:
    """Declared at the parameter, and what lies outside is refused with the range."""
    numbers = {k: v for k, v in rule.hyperparameters.items() if rule.kinds[k] in {int, float}}
    assert rule.ranges.keys() == numbers.keys()
    for name, value in numbers.items():
        bounds = rule.ranges[name]
        assert value is None or bounds.holds(value)
        for outside in (bounds.low - 1e-9, bounds.high * 1.01):
            with pytest.raises(UsageError, match=rf"hyperparameter '{name}' is .*; give a number of at least"):
                rule.with_hyper(**{name: outside})


@every_rule
def test_everything_is_finite_at_the_ends_of_every_range(rule: Algorithm) -> None:
    """On groups that all fail, all succeed and differ, near the snapshot and far from it, in float32 too."""
    for name, bounds in rule.ranges.items():
        for value in (bounds.low, bounds.high):
            extreme = rule.with_hyper(**{name: rule.kinds[name](value)})
            for case in (*cases(extreme), sequences(extreme, dtype=torch.float32)):
                numbers = [x for part in ask(extreme, case).parts.values() for x in part]
                assert all(bool(x.isfinite().all()) for x in numbers), f"{name} = {value}: {case.name}"


def test_the_families_name_every_algorithm_once() -> None:
    """An entry's family is where it stands; a modified algorithm is of the family that it modifies."""
    names = [rule.name for members in FAMILIES.values() for rule in members]
    assert names == list(BUILT_IN) == list(ALGORITHMS)[: len(BUILT_IN)]
    assert len(names) == len(set(names))
    assert [family_of(name) for name in ("tpo", "tpo+icepop", "mine")] == ["target", "target", "own"]


def test_torch_is_itself_once_something_has_computed() -> None:
    """What waited for it costs nothing in training."""
    ask(ALGORITHMS["dg"], sequences(ALGORITHMS["dg"]))
    assert lazy.torch is fit.torch is torch


def test_the_papers_grpo_is_no_librarys_default() -> None:
    """Whole answers, population std and a KL to the snapshot are its own."""
    defaults = {a.default_of: a for a in ALGORITHMS.values() if a.default_of}
    assert {"TRL 1.16", "verl 0.9", "prime-rl", "OpenRLHF 0.11"} == defaults.keys()
    for algorithm in defaults.values():
        case = sequences(algorithm)
        one, paper = ask(algorithm, case), ask(ALGORITHMS["grpo"], case)
        cosine = torch.nn.functional.cosine_similarity(one.gradient.flatten(1), paper.gradient.flatten(1))
        assert (cosine < 0.99).all()


@every_rule
def test_hyperparameters_are_complete(rule: Algorithm) -> None:
    """A rule lists all its hyperparameters, and giving it the listed values changes nothing."""
    again = rule.with_hyper(**rule.hyperparameters)
    assert again.hyperparameters == rule.hyperparameters
    case: Case = sequences(rule)
    assert torch.equal(ask(again, case).loss, ask(rule, case).loss)
