"""Adaptive seeds: plans, decisions by hand, family error by simulation, and power."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tpobench.stats.sequential import (
    SequentialPlan,
    _first_crossing,
    first_decisive_look,
    look_at,
    parse_plan,
    plan_text,
)

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
FINAL = {name: (PUBLISHED[name] / PUBLISHED["of"])[:, -50:].mean(axis=1) for name in ("tpo", "grpo")}
QUICK = 999  # paths of the simulations


def played(plan, full):
    """Look after look, seeds only for the rules that still need them; the last result and the seeds each rule used."""
    values = {name: full[name][: plan.per_look] for name in plan.algorithms}
    while True:
        found = look_at(plan, values)
        if found.done:
            return found, {name: len(x) for name, x in values.items()}
        for name in found.active:
            values[name] = full[name][: (found.look + 1) * plan.per_look]


def rejected(found):
    return {pair for pair, d in found.decisions.items() if d.status in {"better", "worse"}}


def test_a_plan_is_read_and_recorded():
    """`adaptive:5x4` of three rules in two cells."""
    plan = parse_plan("adaptive:5x4", ["tpo", "grpo", "dg"], cells=2, seed=7)
    assert (plan.per_look, plan.looks, plan.most_seeds, plan.level) == (5, 4, 20, 0.025)
    assert plan.pairs == (("tpo", "grpo"), ("tpo", "dg"), ("grpo", "dg"))
    assert plan_text(plan) == "adaptive:5x4|alpha:0.05|family:3|cells:2|paths:9999|rng:7"
    assert parse_plan("5x4", ["a", "b"]) == parse_plan("adaptive:5x4", ["a", "b"])


@pytest.mark.parametrize("text", ["adaptive", "5", "5x", "0x4", "5x0", "adaptive:5*4", "20"])
def test_what_is_no_plan_is_refused(text):
    """One line that says what would be one."""
    with pytest.raises(ValueError, match="is no seed plan; adaptive:5x4 means 5 seeds at each of 4 looks"):
        parse_plan(text, ["a", "b"])


@pytest.mark.parametrize("rules", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_rules_are_refused(rules):
    """There is nothing to decide."""
    with pytest.raises(ValueError, match="at least two different algorithms"):
        parse_plan("5x4", rules)


def test_a_plan_that_could_never_decide_is_refused():
    """One look of three seeds: the smallest p is .1; two looks of four can, in the second."""
    with pytest.raises(ValueError, match="with 1 pair in 1 cell no look can ever decide"):
        parse_plan("3x1", ["a", "b"])
    assert first_decisive_look(parse_plan("5x4", ["a", "b"])) == 1  # 2 / 252 < .05 / 4
    assert first_decisive_look(parse_plan("5x4", ["a", "b", "c"])) == 2  # but not < .05 / 12


def test_large_families_get_more_paths():
    """Each look of the strictest level must be worth several paths."""
    plan = parse_plan("5x4", ["a", "b", "c", "d", "e"], cells=10)
    assert plan.level / plan.family / plan.looks * plan.paths >= 5


def test_perfect_separation_decides_at_the_first_look():
    """Two rules, five seeds each, no overlap: 2 of 252 labellings; the better one is named by its mean."""
    plan = parse_plan("5x4", ["a", "b"])
    found = look_at(plan, {"a": [0.1, 0.2, 0.3, 0.4, 0.5], "b": [0.6, 0.7, 0.8, 0.9, 1.0]})
    decision = found.decisions["a", "b"]
    assert (decision.status, decision.look, decision.runs) == ("better", 1, 5)
    assert decision.difference == pytest.approx(-0.5)
    assert (found.active, found.done) == ((), True)


def test_one_swap_keeps_the_first_look_open():
    """4 of 252 labellings are as extreme: .0159 > .05 / 4."""
    plan = parse_plan("5x4", ["a", "b"])
    found = look_at(plan, {"a": [0.1, 0.2, 0.3, 0.4, 0.65], "b": [0.6, 0.7, 0.8, 0.9, 1.0]})
    assert found.decisions["a", "b"].status == "open"
    assert (found.active, found.done) == (("a", "b"), False)


def test_a_level_not_spent_is_kept_for_the_next_look():
    """Of 100 paths 2 may cross at each of 2 looks; all tie at the first, so at the second the fourth largest does."""
    tied, ranked = np.ones(100), np.arange(100.0)
    ranked[[0, 96]] = ranked[[96, 0]]
    assert _first_crossing([tied, ranked], gamma=0.04, looks=2) == 2
    ranked[[0, 95]] = ranked[[95, 0]]
    assert _first_crossing([tied, ranked], gamma=0.04, looks=2) is None


def test_rules_drop_out_when_they_are_decided():
    """c is far from a and b, which are alike: after two looks only a and b need more seeds, after four none."""
    plan = parse_plan("5x4", ["a", "b", "c"])
    source = np.random.default_rng(3)
    full = {"a": source.normal(0, 1, 20), "b": source.normal(0, 1, 20), "c": source.normal(9, 1, 20)}
    found, used = played(plan, full)
    assert used == {"a": 20, "b": 20, "c": 10}
    assert rejected(found) == {("a", "c"), ("b", "c")}
    assert found.decisions["a", "c"].look == 2
    assert found.decisions["a", "b"].status == "not distinguishable"


def test_no_decision_is_taken_back():
    """Whatever follows the first look: decided pairs stay as they were."""
    plan = parse_plan("5x4", ["a", "b"])
    first = {"a": [0.1, 0.2, 0.3, 0.4, 0.5], "b": [0.6, 0.7, 0.8, 0.9, 1.0]}
    before = look_at(plan, first).decisions["a", "b"]
    after = look_at(plan, {name: [*x, *reversed(other)] for name, x, other in [
        ("a", first["a"], first["b"]), ("b", first["b"], first["a"])]})  # fmt: skip
    assert after.decisions["a", "b"] == before


def test_the_same_values_give_the_same_decisions():
    """Paths come from the plan's seed alone; the order in which rules are given does not matter."""
    source = np.random.default_rng(1)
    x, y = source.normal(0, 1, 20), source.normal(1, 1, 20)
    one = look_at(parse_plan("5x4", ["a", "b"]), {"a": x, "b": y})
    assert one == look_at(parse_plan("5x4", ["a", "b"]), {"b": y, "a": x})


def test_identical_rules_are_identical_and_never_decided():
    """Bitwise equal values stay open, and are called identical after the last look."""
    plan = parse_plan("5x2", ["a", "b"])
    x = np.linspace(0, 1, 10)
    assert look_at(plan, {"a": x[:5], "b": x[:5]}).decisions["a", "b"].status == "open"
    assert look_at(plan, {"a": x, "b": x}).decisions["a", "b"].status == "identical"
    assert look_at(plan, {"a": [1.0] * 10, "b": [1.0] * 10}).decisions["a", "b"].status == "identical"


def test_constants_that_differ_are_decided():
    """All runs of b diverged and score 1, all of a are at 0: t is infinite, and that is the extreme labelling."""
    plan = parse_plan("5x4", ["a", "b"])
    found = look_at(plan, {"a": [0.0] * 5, "b": [np.nan] * 5}, worst=1.0)
    assert found.decisions["a", "b"].status == "better"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"a": [0.1] * 5}, "b has 0 values; a plan of 5x4 has 5 at each look"),
        ({"a": [0.1] * 5, "b": [0.1] * 4}, "b has 4 values; a plan of 5x4 has 5 at each look"),
        ({"a": [0.1] * 25, "b": [0.1] * 25}, "a has 25 values; a plan of 5x4 has 5 at each look"),
        ({"a": [0.1] * 10, "b": [0.1] * 5}, "b has 5 values, and look 2 needs 10: it is not decided"),
    ],
)
def test_values_that_do_not_fit_the_plan_are_refused(values, text):
    """Missing, partial or surplus looks, and a rule that stopped before it was decided."""
    with pytest.raises(ValueError, match=text):
        look_at(parse_plan("5x4", ["a", "b"]), values)


def null_draw(source, kind, name):
    """Twenty values: equal normal rules, bimodal ones as real final errors are, or one far from two equal ones."""
    if kind == "bimodal":
        return (source.random(20) < 0.4).astype(float) + source.normal(0, 0.01, 20)
    return source.normal(2.0 if kind == "one apart" and name == "c" else 0.0, 1, 20)


@pytest.mark.parametrize("kind", ["equal", "bimodal", "one apart"])
def test_the_family_error_is_controlled(kind):
    """Three rules, three pairs, four looks, 300 repeats: a true equality is rejected in at most 5% (binomial bound)."""
    source = np.random.default_rng(21)
    plan = SequentialPlan(("a", "b", "c"), paths=QUICK)
    wrong = 0
    for _ in range(300):
        found, _ = played(plan, {name: null_draw(source, kind, name) for name in plan.algorithms})
        true = {pair for pair in plan.pairs if kind != "one apart" or "c" not in pair}
        wrong += bool(rejected(found) & true)
    assert wrong <= stats.binom.ppf(0.995, 300, 0.05)


def test_one_pair_spends_its_level():
    """600 repeats of two equal rules: the level is kept and not given away, in spite of four looks."""
    source = np.random.default_rng(22)
    plan = SequentialPlan(("a", "b"), paths=QUICK)
    wrong = sum(bool(rejected(played(plan, {n: source.normal(0, 1, 20) for n in "ab"})[0])) for _ in range(600))
    assert stats.binom.ppf(0.0005, 600, 0.05) <= wrong <= stats.binom.ppf(0.995, 600, 0.05)


def test_looking_four_times_with_a_plain_test_does_not_keep_the_level():
    """Equal rules with Welch at .05 after each look: far above 5%, which is what the plan is for."""
    x, y = np.random.default_rng(22).normal(0, 1, (2, 1000, 20))
    ps = [stats.ttest_ind(x[:, :n], y[:, :n], equal_var=False, axis=1).pvalue for n in (5, 10, 15, 20)]
    assert (np.min(ps, axis=0) < 0.05).sum() > stats.binom.ppf(0.9999, 1000, 0.05)


def test_two_standard_deviations_are_found_early():
    """200 repeats: always decided, rightly, with 8 of 20 seeds on average."""
    source = np.random.default_rng(23)
    plan = SequentialPlan(("a", "b"), paths=QUICK)
    games = [played(plan, {"a": source.normal(0, 1, 20), "b": source.normal(2, 1, 20)}) for _ in range(200)]
    assert np.mean([found.decisions["a", "b"].status == "better" for found, _ in games]) > 0.97
    assert 6 < np.mean([used["a"] for _, used in games]) < 10


def test_the_published_rules_are_told_apart_with_fewer_seeds():
    """Seeds resampled from TPO and GRPO: decided in more than 9 of 10 repeats, with 13 of 20 seeds on average."""
    source = np.random.default_rng(24)
    plan = SequentialPlan(("tpo", "grpo"), paths=QUICK)
    games = [played(plan, {name: source.choice(x, 20) for name, x in FINAL.items()}) for _ in range(200)]
    assert np.mean([found.decisions["tpo", "grpo"].status == "better" for found, _ in games]) > 0.88
    assert 10 < np.mean([used["tpo"] for _, used in games]) < 15


def test_the_published_seeds_in_their_order():
    """The twenty runs as they were published decide for TPO before the last look."""
    found, used = played(parse_plan("5x4", ["tpo", "grpo"]), FINAL)
    assert found.decisions["tpo", "grpo"].status == "better"
    assert used["tpo"] in {10, 15, 20}


def test_every_pair_of_six_rules_has_a_decision():
    """Fifteen pairs, all reported, far rules decided and near ones not."""
    source = np.random.default_rng(5)
    rules = tuple("abcdef")
    full = {name: source.normal(5 * (i // 2), 1, 20) for i, name in enumerate(rules)}
    found, _ = played(parse_plan("5x4", rules), full)
    assert set(found.decisions) == set(itertools.combinations(rules, 2))
    near = {("a", "b"), ("c", "d"), ("e", "f")}
    assert rejected(found) == set(found.decisions) - near
