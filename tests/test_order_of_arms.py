"""A against B and B against A are one comparison: the same p and verdict, everything else mirrored."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpobench.stats.breaking_point import breaking_point, compare_points
from tpobench.stats.compare import adjust, compare
from tpobench.stats.outcomes import boschloo, compare_rates, compare_times
from tpobench.stats.permutation import curve_permutation, rank_permutation, sign_flip, studentized_permutation
from tpobench.stats.power import detection
from tpobench.stats.sequential import SequentialPlan, look_at
from tpobench.stats.success_curve import Level
from tpobench.stats.suite_level import Reference, improvement_estimate, suite_compare

few = settings(max_examples=40, deadline=None, derandomize=True)
# Ties, zeros, equal arms, a diverged run at the worst value, and plain numbers, in arms of two to fourteen seeds.
value = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.floats(0, 1, width=32))
arm = st.lists(value, min_size=2, max_size=14).map(np.array)
arms = st.tuples(arm, arm)
same_seeds = st.lists(st.tuples(value, value), min_size=2, max_size=14).map(lambda pairs: tuple(np.array(pairs).T))
times = st.lists(st.one_of(st.just(math.inf), st.integers(1, 20)), min_size=2, max_size=14).map(
    lambda t: np.array(t, dtype=np.float64)
)


def rng():
    return np.random.default_rng(0)


def assert_mirrored(ab, ba):
    """p exactly; what lies on either side of 0, or of a half, up to rounding."""
    assert (ab.status, ab.p, ab.smallest) == (ba.status, ba.p, ba.smallest)
    turned = (ba.difference, ba.high, ba.low)
    assert (ab.difference, ab.low, ab.high) == tuple(None if v is None else -v for v in turned)
    chances = (ba.better, ba.better_high, ba.better_low)
    expected = [None if v is None else pytest.approx(1 - v, abs=1e-12) for v in chances]
    assert [ab.better, ab.better_low, ab.better_high] == expected


def assert_same_verdict(ab, ba):
    """Better one way is worse the other way."""
    opposite = {"better": "worse", "worse": "better"}
    one, other = (adjust({("A", "B"): c})["A", "B"].verdict() for c in (ab, ba))
    if not one.startswith(("deterministic", "n=")):  # these name a signed difference, or the sizes in their order
        assert other == opposite.get(one, one)


@few
@given(arms, st.booleans(), st.sampled_from([99, 9999]))
def test_unpaired_arms_in_either_order_give_one_p(pair, rank, resamples):
    """Equal and unequal sizes, all labellings and a draw of them, means and ranks."""
    found = [compare(*order, rng=rng(), rank=rank, resamples=resamples) for order in (pair, pair[::-1])]
    assert_mirrored(*found)
    assert_same_verdict(*found)


@few
@given(same_seeds, st.sampled_from([99, 9999]))
def test_paired_arms_in_either_order_give_one_p(pair, resamples):
    """Sign flips of d and of -d."""
    found = [compare(*order, rng=rng(), paired=True, resamples=resamples) for order in (pair, pair[::-1])]
    assert_mirrored(*found)
    assert_same_verdict(*found)


@few
@given(arms)
def test_the_raw_tests_do_not_know_which_arm_is_named_first(pair):
    """With resamples too few for all labellings, so that labels are drawn."""
    tests = (
        studentized_permutation,
        rank_permutation,
        lambda x, y, r, b: curve_permutation(x[:, None], y[:, None], r, b),
    )
    for test in tests:
        assert test(*pair, rng(), 49) == test(*pair[::-1], rng(), 49)
    d = np.resize(pair[0], 12) - np.resize(pair[1], 12)
    assert sign_flip(d, rng(), 49) == sign_flip(-d, rng(), 49)


@few
@given(
    st.tuples(times, times), st.sampled_from([(20.0, 20.0), (20.0, 15.0)]), st.sampled_from(["auto", "rmst", "logrank"])
)
def test_censored_times_in_either_order_give_one_p(pair, budgets, test):
    """Mann-Whitney, the log-rank test and the test of restricted means, budgets equal or not."""
    found = [
        compare_times(*order, *cut, rng=rng(), test=test)
        for order, cut in ((pair, budgets), (pair[::-1], budgets[::-1]))
    ]
    assert_mirrored(*found)


@pytest.mark.parametrize(("k", "n", "l", "m"), [(3, 10, 7, 10), (0, 5, 4, 9), (9, 12, 2, 5), (5, 5, 1, 20)])
def test_shares_in_either_order_give_one_p(k, n, l, m):
    """Boschloo's p comes from an optimiser, which is asked once."""
    ab, ba = compare_rates(k, n, l, m), compare_rates(l, m, k, n)
    assert (ab.p, ab.difference) == (ba.p, -ba.difference)
    assert boschloo((k, l), (n, m)) == boschloo((l, k), (m, n))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(arms, min_size=2, max_size=3))
def test_suites_in_either_order_give_one_p(cells):
    """The stratified test, its interval and P(better), of cells with seeds of their own."""
    a, b = ({f"cell {i}": pair[side] for i, pair in enumerate(cells)} for side in (0, 1))
    references = {name: Reference(worst=1.0, best=0.0) for name in a}
    found = [suite_compare(*order, references, rng=rng(), resamples=199) for order in ((a, b), (b, a))]
    assert_mirrored(*found)
    backwards = dict(reversed(list(b.items())))
    assert suite_compare(a, backwards, references, rng=rng(), resamples=199).p == (
        suite_compare(backwards, a, references, rng=rng(), resamples=199).p
    )


@few
@given(same_seeds, st.booleans())
def test_probability_of_improvement_in_either_order_adds_up_to_one(pair, paired):
    """P(left lower) of one figure is one minus that of the figure with the rules exchanged, interval and all."""
    ab, ba = (improvement_estimate([order], paired=[paired], rng=rng()) for order in (pair, pair[::-1]))
    assert ab.value == pytest.approx(1 - ba.value, abs=1e-12)
    if ab.low is not None:
        assert (ab.low, ab.high) == (pytest.approx(1 - ba.high, abs=1e-12), pytest.approx(1 - ba.low, abs=1e-12))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 10), min_size=3, max_size=5), st.lists(st.integers(0, 10), min_size=3, max_size=5))
def test_breaking_points_in_either_order_give_one_p_and_inverse_ratios(first, second):
    """Where many shifts fit equally well, one of them is taken for both orders."""
    a, b = (breaking_point([Level(0.5 * 0.2**i, k, 10) for i, k in enumerate(learned)]) for learned in (first, second))
    ab, ba = compare_points(a, b), compare_points(b, a)
    assert ab.p == ba.p
    assert ab.shift == -ba.shift
    if ab.ratio is not None:
        assert ab.ratio == pytest.approx(1 / ba.ratio)


def test_an_adaptive_plan_decides_alike_whichever_rule_is_named_first():
    """Forty plans near the border of a decision: statuses are opposite, at the same look."""
    opposite = {"better": "worse", "worse": "better"}
    draw = np.random.default_rng(5)
    decided = 0
    for _ in range(40):
        values = {"x": draw.normal(0, 1, 10), "y": draw.normal(1.2, 1, 10)}
        found = [
            look_at(SequentialPlan(names, 5, 2, paths=499), values).decisions[names]
            for names in (("x", "y"), ("y", "x"))
        ]
        assert found[0].status == opposite.get(found[1].status, found[1].status)
        assert found[0].look == found[1].look
        decided += found[0].status in opposite
    assert 5 < decided < 35


def test_what_a_pair_detects_does_not_depend_on_which_arm_is_named_first():
    """Skewed differences are flipped in the direction that was seen."""
    x, y = np.random.default_rng(2).lognormal(0, 1, (2, 12))
    ab, ba = (detection(u, rng=rng(), paired_with=v, target=0.5) for u, v in ((x, y), (y, x)))
    assert (ab.detectable, ab.needed) == (ba.detectable, ba.needed)
