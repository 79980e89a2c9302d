"""Comparisons: hand-computed p, scipy as the oracle, and every trap of the raw calls behind a guard."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from simulated import family

from tpobench.scores.pairing import Sample, compare_samples
from tpobench.stats.censored import first_crossing
from tpobench.stats.compare import (
    Comparison,
    adjust,
    compare,
    compare_pairs,
    difference_interval,
    holm,
    probability_better,
    seeds_needed,
    sign_flip,
    smallest_p,
    studentized_permutation,
    tie_group,
)
from tpobench.stats.multiplicity import partial_conjunction, resamples_for
from tpobench.stats.outcomes import compare_rates, compare_times
from tpobench.stats.permutation import rank_permutation

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
CURVES = {name: PUBLISHED[name] / PUBLISHED["of"] for name in ("tpo", "grpo", "dg")}
FINAL = {name: x[:, -50:].mean(axis=1) for name, x in CURVES.items()}
TIMES = {name: first_crossing(x, np.arange(2000), 0.01, persist=1) for name, x in CURVES.items()}
RNG = np.random.default_rng(3)
LOW, HIGH = RNG.normal(0, 1, 20), RNG.normal(10, 1, 20)


def compared(a, b, **kwargs):
    return compare(a, b, rng=np.random.default_rng(0), **kwargs)


def arms(**values):
    return {name: dict(enumerate(x)) for name, x in values.items()}


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("rank", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_significant(bad, rank, paired):
    """scipy's permutation_test returns its minimum p = .0002 here."""
    found = compared([bad, *LOW[1:]], HIGH, paired=paired, rank=rank)
    assert (found.status, found.p, found.difference) == ("not finite", None, None)
    assert found.reason == "1 values are not finite: score them"


def test_all_nan_against_numbers_is_not_significant():
    """permutation_test returns p = .0002 for this too."""
    assert compared([math.nan] * 20, HIGH).status == "not finite"


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.5])
def test_two_constant_arms_that_differ_are_deterministic(value, paired):
    """Welch returns p = 0 and the paired t 9e-303: without sampling variance there is no test."""
    found = compared([value] * 20, [value + 0.1] * 20, paired=paired)
    assert (found.status, found.p) == ("deterministic", None)
    assert found.reason == "deterministic difference -0.1; no sampling variance, no test"


@pytest.mark.parametrize("rank", [False, True])
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("x", [[0.25] * 20, list(LOW)])
def test_equal_arms_are_identical(x, paired, rank):
    """p = 1 and difference 0 where wilcoxon and the t tests give nan."""
    found = compared(x, x, paired=paired, rank=rank)
    assert (found.status, found.p, found.difference, found.better) == ("identical", 1.0, 0.0, 0.5)
    assert found.verdict() == "identical (bitwise)"


def test_one_seed_is_not_tested():
    """scipy raises, or says p = 1."""
    found = compared([0.1], [0.9])
    assert (found.status, found.p, found.low) == ("untestable", None, None)
    assert compared([0.1], HIGH).reason == "n=1: no test with 1 seed"


def test_paired_arms_of_unequal_length_are_refused():
    """ttest_rel and wilcoxon broadcast 1 against 20 silently."""
    with pytest.raises(ValueError, match="same seeds, got 1 and 20"):
        compared([0.1], HIGH, paired=True)


def test_perfect_separation_has_a_small_p_and_certain_superiority():
    """Brunner-Munzel returns nan; the permutation p is its floor 2 / 10000."""
    found = compared(LOW, HIGH)
    assert (found.p, found.better, found.status) == (pytest.approx(2e-4), 1.0, "tested")


def test_equal_differences_in_two_pairs_are_no_evidence():
    """ttest_rel gives 6e-17; the sign-flip p of two pairs is .5, and no interval of zero width appears."""
    found = compared([1.0, 2.0], [2.0, 3.0], paired=True)
    assert (found.p, found.low, found.high) == (0.5, None, None)


def test_empty_arms_are_missing():
    """Nothing against something is `missing`."""
    assert compared([], HIGH).status == "missing"


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 5), (4, 6), (2, 7)])
def test_exact_permutation_equals_scipy(n, m):
    """All labellings, studentized: the same p as ttest_ind with PermutationMethod."""
    x, y = RNG.normal(0, 1, n), RNG.normal(0.8, 3, m)
    method = stats.PermutationMethod(n_resamples=9999, rng=np.random.default_rng(0))
    expected = stats.ttest_ind(x, y, equal_var=False, method=method).pvalue
    assert studentized_permutation(x, y, np.random.default_rng(0)) == pytest.approx(expected, abs=1e-12)


def test_random_permutation_agrees_with_scipy():
    """At 20 against 17 seeds within Monte Carlo error (s.e. .003)."""
    x, y = RNG.normal(0, 1, 20), RNG.normal(0.6, 2, 17)
    method = stats.PermutationMethod(n_resamples=9999, rng=np.random.default_rng(0))
    expected = stats.ttest_ind(x, y, equal_var=False, method=method).pvalue
    assert studentized_permutation(x, y, np.random.default_rng(1)) == pytest.approx(expected, abs=0.015)


def test_bimodal_arms_survive_constant_resamples():
    """Of the 70 labellings of (0,0,0,1 | 1,1,1,0) 17 are as extreme, the perfect separation (t infinite) among them."""
    p = studentized_permutation(np.array([0.0, 0, 0, 1]), np.array([1.0, 1, 1, 0]), np.random.default_rng(0))
    assert p == pytest.approx(2 * 17 / 70)


def test_sign_flip_counts_signs():
    """1, 2, 3 all positive: 1 of 8 sign patterns reaches the sum, two-sided 2/8; scipy agrees on mixed signs."""
    assert sign_flip(np.array([1.0, 2.0, 3.0]), np.random.default_rng(0)) == 0.25
    d = RNG.normal(0.4, 1, 11)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=10**4).pvalue
    assert sign_flip(d, np.random.default_rng(0)) == pytest.approx(expected)


def test_difference_intervals_are_welchs_and_the_paired_t():
    """Both as scipy computes them."""
    x, y = LOW, HIGH[:17]
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert difference_interval(x, y, paired=False) == pytest.approx((welch.low, welch.high))
    paired = stats.ttest_rel(LOW, HIGH).confidence_interval()
    assert difference_interval(LOW, HIGH, paired=True) == pytest.approx((paired.low, paired.high))


def test_probability_better_counts_ties_half():
    """(0, 1) against (1, 2): 3 wins and 1 tie of 4."""
    assert probability_better(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == 0.875


def test_mann_whitney_takes_times_capped_at_the_budget():
    """Ties at the budget are ties; the p is scipy's."""
    a, b = [100.0] * 18 + [2000.0] * 2, [1500.0] * 11 + [2000.0] * 9
    assert compared(a, b, rank=True).p == stats.mannwhitneyu(a, b).pvalue


def test_holm_by_hand():
    """.01, .02, .03, .04 times 4, 3, 2, 1, made monotone; None is neither adjusted nor counted."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, None, 0.03]) == [0.02, None, 0.03]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_partial_conjunction_by_hand():
    """All four effects: the largest p; two of four: three times the second smallest, as two may be chosen."""
    ps = [0.03, 0.001, 0.4, 0.02]
    assert [partial_conjunction(ps, u) for u in (1, 2, 3, 4)] == pytest.approx([0.004, 0.06, 0.06, 0.4])
    assert partial_conjunction([0.9, 0.8], 1) == 1.0
    for u in (0, 5):
        with pytest.raises(ValueError, match=f"at least {u} of 4 effects"):
            partial_conjunction(ps, u)


def test_smallest_attainable_p():
    """2 / C(2n, n) unpaired, 2 / 2^n paired, and the seeds that a level needs."""
    assert smallest_p(2, 2) == pytest.approx(1 / 3)
    assert smallest_p(5, 5) == pytest.approx(0.0079, abs=5e-5)
    assert smallest_p(6, 6, paired=True) == 0.03125
    assert seeds_needed(0.00125) == 7
    assert seeds_needed(0.05, paired=True) == 6


def test_two_seeds_can_never_reject():
    """The reason names the smallest p, .333, and the seeds needed."""
    found = family(arms(a=[0.1, 0.2], b=[0.8, 0.9]))["a", "b"]
    assert found.status == "untestable"
    assert found.verdict() == "n=2: smallest possible p .333 > .05 (Holm, 1 test): cannot reject; need 4 seeds"


def test_a_family_too_large_for_its_seeds_says_so():
    """Five seeds and 36 tests: .0079 > .05/36."""
    rng = np.random.default_rng(0)
    found = family({f"r{i}": dict(enumerate(rng.normal(i, 0.01, 5))) for i in range(9)})
    assert all(c.status == "untestable" for c in found.values())
    reason = "n=5: smallest possible p .0079 > .00139 (Holm, 36 tests): cannot reject; need 7 seeds"
    assert found["r0", "r1"].reason == reason


def test_ten_common_seeds_are_paired_and_fewer_are_not():
    """Pairing follows from the design; unequal seeds are paired on the common ones."""
    x, y = dict(enumerate(LOW)), dict(enumerate(HIGH))
    all_pairs = family({"a": x, "b": y})["a", "b"]
    assert (all_pairs.test, all_pairs.runs) == ("sign-flip", (20, 20))
    some = family({"a": x, "b": {s: y[s] for s in range(17)}})["a", "b"]
    assert (some.test, some.runs) == ("sign-flip", (17, 17))
    few = family({"a": {s: x[s] for s in range(10)}, "b": {s: y[s] for s in range(9)}})["a", "b"]
    assert (few.test, few.runs) == ("perm-t", (10, 9))


def test_the_correlation_of_pairs_is_reported():
    """r of the common seeds; none where an arm is constant."""
    x = dict(enumerate(LOW))
    assert family({"a": x, "b": {s: 2 * v + 1 for s, v in x.items()}})["a", "b"].correlation == pytest.approx(1)
    assert family({"a": x, "b": dict.fromkeys(x, 0.0)})["a", "b"].correlation is None


def test_the_family_is_every_testable_pair():
    """Three arms, one of a single seed: one test is left, and it is not adjusted."""
    found = family(arms(a=list(LOW), b=list(HIGH), c=[0.0]))
    assert found["a", "b"].family == 1
    assert found["a", "b"].adjusted == found["a", "b"].p
    assert found["a", "b"].verdict() == "better"
    assert found["a", "c"].adjusted is None


def test_the_tie_group_holds_all_not_distinguishable_from_the_best():
    """b is near a, c is far; order of the arms is kept."""
    rng = np.random.default_rng(1)
    data = arms(c=rng.normal(9, 1, 20), b=rng.normal(0.1, 1, 20), a=rng.normal(0, 1, 20))
    scores = {name: (float(np.mean(list(x.values()))),) for name, x in data.items()}
    best, tied = tie_group(scores, family(data))
    assert best in {"a", "b"}
    assert tied == ("b", "a")


def test_an_arm_that_failed_is_not_tied_with_one_that_did_not():
    """Too few seeds to tell never from sometimes are no praise; where all failed nobody is marked."""
    data = arms(a=[20.0, 40.0, 100.0, 100.0, 100.0], b=[100.0] * 5)
    scores = {name: (float(np.mean(list(x.values()))),) for name, x in data.items()}
    times = [Sample(data[name], budget=100.0) for name in "ab"]
    tests = adjust({("a", "b"): compare_samples(*times, paired=False)})
    assert tie_group(scores, tests)[1] == ("a", "b")
    assert tie_group(scores, tests, failed=["b"]) == ("a", ("a",))
    assert tie_group(scores, tests, failed=["a", "b"]) == ("", ())


def test_the_tie_group_is_the_best_alone_where_no_test_is_possible():
    """Two seeds: only the point-best; two deterministic rules: the smaller; identical ones: both."""
    for data, expected in [
        (arms(a=[0.1, 0.2], b=[0.8, 0.9]), ("a",)),
        (arms(a=[0.2] * 5, b=[0.1] * 5), ("b",)),
        (arms(a=[0.2] * 5, b=[0.2] * 5), ("a", "b")),
    ]:
        scores = {name: (float(np.mean(list(x.values()))),) for name, x in data.items()}
        assert tie_group(scores, family(data))[1] == expected


def test_the_published_final_errors_differ():
    """TPO against GRPO: permutation p .0008, Welch's .0006 and Mann-Whitney's .013; P(better) with an interval."""
    found = compared(FINAL["tpo"], FINAL["grpo"])
    assert found.p == pytest.approx(0.0008, abs=0.0004)
    assert stats.ttest_ind(FINAL["tpo"], FINAL["grpo"], equal_var=False).pvalue == pytest.approx(0.0006, abs=5e-5)
    assert compared(FINAL["tpo"], FINAL["grpo"], rank=True).p == pytest.approx(0.013, abs=5e-4)
    assert found.difference == pytest.approx(-0.435, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((-0.663, -0.208), abs=5e-4)
    assert 0.5 < found.better_low < found.better == 0.73 < found.better_high < 0.9
    assert found.smallest == pytest.approx(2 / math.comb(40, 20))


def test_the_published_errors_where_brunner_munzel_fails():
    """TPO against DG is perfectly separated: nan there, the permutation floor and P(better) = 1 here."""
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        assert math.isnan(stats.brunnermunzel(FINAL["tpo"], FINAL["dg"]).pvalue)
    found = compared(FINAL["tpo"], FINAL["dg"])
    assert (found.p, found.better) == (pytest.approx(2e-4), 1.0)
    assert (found.better_low, found.better_high) == (None, None)  # a zero width would read as certainty


def test_the_published_final_errors_are_hardly_correlated():
    """Common seeds: r = -.01 between TPO and GRPO, .26 between TPO and DG; pairing saves next to nothing."""
    found = compared(FINAL["tpo"], FINAL["grpo"], paired=True)
    assert found.correlation == pytest.approx(-0.0146, abs=5e-5)
    assert found.saved == pytest.approx(-0.01, abs=0.005)
    assert compared(FINAL["tpo"], FINAL["dg"], paired=True).correlation == pytest.approx(0.26, abs=0.005)


def test_the_published_steps_differ():
    """Steps to 1%: log-rank .004, Mann-Whitney of the capped times .011, permutation of restricted means .006."""
    a, b = TIMES["tpo"], TIMES["grpo"]
    for test, p, within in [("logrank", 0.004, 5e-4), ("mwu", 0.011, 5e-4), ("rmst", 0.006, 0.0015)]:
        found = compare_times(a, b, 2000, 2000, rng=np.random.default_rng(0), test=test)
        assert found.p == pytest.approx(p, abs=within), test
        assert found.difference == pytest.approx(818.3 - 1375.85)
    assert compare_times(a, b, 2000, 2000, rng=np.random.default_rng(0)).test == "mann-whitney"


def test_the_published_reached_rates_differ():
    """18/20 against 11/20: Boschloo .0167, where Fisher says .031; no test without runs."""
    found = compare_rates(18, 20, 11, 20)
    assert (found.p, found.difference) == (pytest.approx(0.0167, abs=5e-5), pytest.approx(0.35))
    assert found.smallest < 1e-10
    assert compare_rates(1, 1, 0, 1).status == "tested"
    assert compare_rates(0, 0, 3, 5).status == "missing"


def test_unequal_budgets_are_compared_by_the_log_rank_test():
    """Ranks of capped times need one budget and say so; the difference is that of min(t, common budget)."""
    a, b = [100.0, 300.0, math.inf, 500.0], [800.0, math.inf, math.inf, math.inf]
    found = compare_times(a, b, 2000, 1000, rng=np.random.default_rng(0))
    assert found.test == "logrank"
    assert found.difference == pytest.approx((100 + 300 + 1000 + 500) / 4 - 3800 / 4)
    with pytest.raises(ValueError, match="budgets differ"):
        compare_times(a, b, 2000, 1000, rng=np.random.default_rng(0), test="mwu")


def test_a_time_beyond_its_own_budget_is_censored():
    """Reached at 1500 by a run of a 1000-step budget cannot be: it counts as not reached."""
    args = {"rng": np.random.default_rng(0), "test": "logrank"}
    late = compare_times([100.0, 200.0, 1500.0], [900.0, 950.0, 990.0], [1000, 1000, 1000], 1000, **args)
    never = compare_times([100.0, 200.0, math.inf], [900.0, 950.0, 990.0], [1000, 1000, 1000], 1000, **args)
    assert late.p == never.p


def test_the_log_rank_p_respects_the_floor_of_its_labels():
    """Three against three, perfectly separated: asymptotics say .02, no labelling can say less than .1."""
    found = compare_times([1.0, 2, 3], [10.0, 11, 12], 100, 100, rng=np.random.default_rng(0), test="logrank")
    raw = stats.logrank([1.0, 2, 3], [10.0, 11, 12]).pvalue
    assert raw < 0.05
    assert found.p == pytest.approx(0.1)


def test_ranks_of_few_seeds_are_permuted_exactly():
    """Five against five with ties: all 252 labellings of the mean ranks, as scipy's exact test without ties."""
    x, y = RNG.normal(0, 1, 5), RNG.normal(1, 1, 5)
    assert compared(x, y, rank=True).p == pytest.approx(stats.mannwhitneyu(x, y, method="exact").pvalue)
    assert compared(x, y, rank=True).test == "rank-permutation"
    # Ranks 1.5, 1.5, 3 | 4.5, 4.5, 6: of the 20 labellings one has the least and one the largest rank sum.
    assert rank_permutation(np.array([1.0, 1, 2]), np.array([3.0, 3, 4]), np.random.default_rng(0)) == 0.1


def test_resamples_grow_with_the_family():
    """400 tests at .05 need 80000, so that the permutation floor does not decide."""
    assert resamples_for(1) == 9999
    assert resamples_for(400) == 80000
    assert resamples_for(40, alpha=0.01) == 40000


def test_the_interval_of_superiority_covers():
    """Two normal arms one sd apart: P(better) = Phi(1/sqrt 2) = .760; 100 samples, seeded."""
    rng = np.random.default_rng(2)
    found = [compare(rng.normal(0, 1, 20), rng.normal(1, 1, 20), rng=rng, resamples=19) for _ in range(100)]
    inside = [c.better_low <= 0.7602 <= c.better_high for c in found if c.better_low is not None]
    assert 0.88 <= np.mean(inside) <= 0.99


def test_the_interval_of_superiority_resamples_pairs_together_and_arms_apart():
    """Twenty correlated pairs have a narrower interval than the same values as two arms; 20 against 17 has one too."""
    x = np.random.default_rng(4).normal(0, 1, 20)
    y = x + np.random.default_rng(5).normal(0.1, 0.1, 20)
    paired, apart, unequal = compared(x, y, paired=True), compared(x, y), compared(x, y[:17])
    assert paired.better_high - paired.better_low < 0.5 * (apart.better_high - apart.better_low)
    assert unequal.better_low < unequal.better < unequal.better_high


@pytest.mark.parametrize(("sd", "power"), [(1.0, 0.5), (4.0, 0.5)])
def test_the_default_test_keeps_its_level(sd, power):
    """Equal means, equal and unequal variances: 5% of 400 comparisons, within the binomial interval; seeded."""
    rng = np.random.default_rng(11)
    ps = [studentized_permutation(rng.normal(0, 1, 20), rng.normal(0, sd, 20), rng, 199) for _ in range(400)]
    assert stats.binom.ppf(0.005, 400, 0.05) <= sum(p <= 0.05 for p in ps) <= stats.binom.ppf(0.995, 400, 0.05)
    found = [studentized_permutation(rng.normal(0, 1, 20), rng.normal(sd, sd, 20), rng, 199) for _ in range(100)]
    assert np.mean([p <= 0.05 for p in found]) > power


def test_arms_are_paired_only_where_equal_seeds_are_equal_random_numbers():
    """The same scheme pairs them; another one, or an unknown one, does not."""
    rng = np.random.default_rng(5)
    arms = {name: dict(enumerate(rng.normal(size=12))) for name in "ab"}
    tests = {
        (one, other): family(arms, streams={"a": one, "b": other})["a", "b"].test
        for one, other in [("x", "x"), ("x", "y"), ("", "")]
    }
    assert tests == {("x", "x"): "sign-flip", ("x", "y"): "perm-t", ("", ""): "perm-t"}


def test_a_test_of_ranks_is_read_by_ranks():
    """A wins most pairs and has the larger mean: after Mann-Whitney it is better, after a test of means worse."""
    won = Comparison("tested", runs=(20, 20), difference=0.1, better=0.9, p=0.001, adjusted=0.001)
    assert replace(won, test="mann-whitney").verdict() == "better"
    assert replace(won, test="perm-t").verdict() == "worse"
    assert replace(won, test="logrank", better=0.5).verdict() == "different, in neither direction"
    assert replace(won, test="mann-whitney", adjusted=0.2).verdict() == "not distinguishable"


@pytest.mark.parametrize("how", [{}, {"paired": True}, {"rank": True}])
@pytest.mark.parametrize("n", [4, 12])
def test_pairs_compared_at_once_are_those_compared_one_by_one(how, n):
    """Equal to the last bit: arms that overlap, are separated, identical, constant, shifted, infinite, and tied."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, n))
    y = x + rng.normal(0.3, size=x.shape)
    y[1], y[2], x[3], y[3], y[4], x[5, 0] = x[1] + 100, x[2], 0.5, 0.7, x[4] + 0.25, np.inf
    x[6:], y[6:] = x[6:].round(), y[6:].round()
    together = compare_pairs(x, y, rng=np.random.default_rng(0), **how)
    assert together == [compared(u, v, **how) for u, v in zip(x, y, strict=True)]
    assert {c.status for c in together} == {"tested", "identical", "deterministic", "not finite"}
