"""Estimates of one arm against hand-computed numbers and published intervals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tpobench.stats.estimate import (
    area_under_curve,
    bootstrap_band,
    dominated,
    expanded_level,
    final_window,
    iqm_estimate,
    mean_estimate,
    mean_estimates,
    median_estimate,
    rate_estimate,
    standard_error,
    tail_estimate,
)

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
TPO, GRPO = (final_window(PUBLISHED[name] / PUBLISHED["of"], 50, worst=1.0) for name in ("tpo", "grpo"))


def mean_of(values, **kwargs):
    return mean_estimate(values, rng=np.random.default_rng(0), **kwargs)


def test_one_seed_has_no_interval():
    """At n = 1 there is a value and nothing else."""
    found = mean_of([0.071])
    assert (found.value, found.low, found.high, found.runs) == (0.071, None, None, 1)
    assert found.reason == "1 seed: no uncertainty"


def test_two_seeds_give_their_two_values():
    """At n = 2 the ends are the data."""
    found = mean_of([0.3, 0.1])
    assert (found.low, found.high, found.status) == (0.1, 0.3, "pair")


def test_below_ten_seeds_the_interval_is_students():
    """Mean 3, sd sqrt(2.5), t(4) = 2.776: 3 +- 1.963."""
    found = mean_of([1, 2, 3, 4, 5])
    assert found.method == "t"
    assert [found.low, found.high] == pytest.approx([3 - 1.9633, 3 + 1.9633], abs=1e-4)


def test_expanded_level_is_hesterbergs():
    """.9829 at 10 seeds and .9682 at 20."""
    assert expanded_level(10) == pytest.approx(0.9829, abs=5e-5)
    assert expanded_level(20) == pytest.approx(0.9682, abs=5e-5)


def test_from_ten_seeds_the_interval_is_expanded_bca():
    """It equals scipy's BCa at the expanded level and is skewed with the data."""
    x = [0.001] * 12 + [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    found = mean_of(x)
    expected = stats.bootstrap(
        (x,), np.mean, confidence_level=expanded_level(20), method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert found.method == "bca-expanded"
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-13)
    assert found.high - found.value > found.value - found.low


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("n", [3, 20])
def test_constant_data_has_a_value_and_no_interval(value, n):
    """Scipy gives nan or an interval one ulp beside the value; here the status says `constant`."""
    found = mean_of([value] * n)
    assert (found.value, found.low, found.high, found.status) == (value, None, None, "constant")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [1, 2, 9, 20])
def test_values_that_are_not_finite_are_never_averaged(bad, n):
    """One NaN or infinity makes a status with a reason, not a number."""
    found = mean_of([bad] + [0.5] * (n - 1))
    assert (found.value, found.status) == (None, "not finite")
    assert found.reason == f"1 of {n} values are not finite"


def test_nearly_constant_data_has_an_ordered_interval():
    """One seed that differs by an ulp neither warns nor excludes the mean."""
    found = mean_of([0.1] * 19 + [np.nextafter(0.1, 1)])
    assert found.low <= found.value <= found.high


def test_intervals_stay_in_the_range_of_the_metric():
    """An error is neither below 0 nor above 1."""
    found = mean_of([0.0, 0.0, 0.9], lowest=0.0, highest=1.0)
    assert (found.low, found.high) == (0.0, 1.0)


def test_no_seeds_is_missing():
    """Nothing in, `missing` out."""
    assert mean_of([]).status == "missing"
    assert rate_estimate(0, 0).status == "missing"
    assert median_estimate([]).status == "missing"


def test_rates_have_wilsons_interval():
    """0/20 is [0, .161], 20/20 is [.839, 1]; one run already has an interval."""
    none, all_ = rate_estimate(0, 20), rate_estimate(20, 20)
    assert [none.low, none.high] == pytest.approx([0, 0.1611], abs=1e-4)
    assert [all_.low, all_.high] == pytest.approx([0.8389, 1], abs=1e-4)
    assert rate_estimate(1, 1).low == pytest.approx(0.2065, abs=1e-4)


def test_median_interval_is_exact_order_statistics():
    """Of 1..20 the 95% interval of the median runs from the 6th to the 15th value."""
    found = median_estimate(range(1, 21))
    assert (found.value, found.low, found.high) == (10.5, 6.0, 15.0)


def test_median_interval_takes_never_as_a_value():
    """Five infinities of twenty leave the median and open nothing below the 15th value."""
    found = median_estimate([*range(1, 13), *[math.inf] * 8])
    assert (found.value, found.low, found.high) == (10.5, 6.0, math.inf)


def test_median_of_five_has_no_95_percent_interval():
    """It needs six seeds, and says so; NaN is refused, scipy would count it."""
    assert median_estimate([1, 2, 3, 4, 5]).reason == "5 seeds: no 95% interval of a median; need 6"
    assert median_estimate([1.0, math.nan]).status == "not finite"


def test_final_window_averages_the_last_evaluations_and_scores_divergence():
    """Mean of the last two; a run with a NaN anywhere gets the worst value."""
    curves = [[1.0, 0.4, 0.2], [1.0, math.nan, math.nan]]
    assert final_window(curves, 2, worst=1.0).tolist() == pytest.approx([0.3, 1.0])


def test_area_weighs_evaluations_by_the_steps_between_them():
    """(1 + .5)/2 over one step and (.5 + 0)/2 over three: 1.5 / 4."""
    found = area_under_curve([[1.0, 0.5, 0.0], [1.0, math.nan, math.nan]], [0, 1, 4], worst=1.0)
    assert found.tolist() == pytest.approx([0.375, 1.0])


def test_bootstrap_band_stays_inside_the_data():
    """Whole seeds are resampled: the band lies between the extremes; one seed has none."""
    curves = np.random.default_rng(0).random((20, 7))
    low, high = bootstrap_band(curves, np.random.default_rng(0))
    assert (curves.min(0) <= low).all()
    assert (low < curves.mean(0)).all()
    assert (curves.mean(0) < high).all()
    assert (high <= curves.max(0)).all()
    assert bootstrap_band(curves[:1], np.random.default_rng(0)) is None


def test_a_band_of_a_run_that_diverged_does_not_exist():
    """One NaN would spoil the resamples it is drawn in, and percentiles of NaN are drawn as nothing."""
    assert bootstrap_band([[0.5, 0.4], [0.5, math.nan]], np.random.default_rng(0)) is None


def test_the_published_final_errors():
    """Terminal reward, H = 10: .087 [.030, .227] against .522 [.325, .714] by plain BCa, solved 12/20 against 7/20."""
    tpo, grpo = (mean_of(x, ci="bca", lowest=0.0, highest=1.0) for x in (TPO, GRPO))
    assert (tpo.value, grpo.value) == pytest.approx((0.0872, 0.5224), abs=5e-5)
    assert (tpo.low, tpo.high, grpo.low, grpo.high) == pytest.approx((0.030, 0.227, 0.325, 0.714), abs=0.006)
    assert ((TPO < 0.01).sum(), (GRPO < 0.01).sum()) == (12, 7)


def test_the_default_interval_of_the_published_errors_is_wider():
    """At the expanded level TPO's interval contains the plain one."""
    plain, auto = mean_of(TPO, ci="bca"), mean_of(TPO)
    assert auto.method == "bca-expanded"
    assert auto.low < plain.low < plain.high < auto.high


def test_bootstrap_t_opens_towards_the_tail_and_stops_at_the_range():
    """TPO's errors: far wider than BCa on the side of the four failures, and clipped to 1."""
    found, plain = (mean_of(TPO, ci=ci, lowest=0.0, highest=1.0) for ci in ("studentized", "bca"))
    assert found.method == "studentized"
    assert found.high - found.low > 1.5 * (plain.high - plain.low)
    rare = mean_of([0.0] * 9 + [1.0], ci="studentized", lowest=0.0, highest=1.0)
    assert (rare.low, rare.high) == (pytest.approx(0.0, abs=0.05), 1.0)


def test_bootstrap_t_without_a_range_may_not_exist():
    """Resamples of equal values have no standard error, and an unbounded end is no interval."""
    found = mean_of([0.0] * 9 + [1.0], ci="studentized")
    assert (found.low, found.high, found.status) == (None, None, "not computable")


def test_bootstrap_t_of_normal_data_is_close_to_students():
    """On 200 normal values all methods agree."""
    x = np.random.default_rng(5).normal(3, 1, 200)
    ends = [(mean_of(x, ci=ci).low, mean_of(x, ci=ci).high) for ci in ("t", "studentized", "percentile", "bca")]
    assert np.ptp(ends, axis=0) == pytest.approx([0, 0], abs=0.02)


@pytest.mark.parametrize("ci", ["bca", "bca-expanded", "studentized", "percentile"])
def test_a_method_that_needs_more_seeds_says_so(ci):
    """Three seeds: the mean, no interval, and the number needed."""
    found = mean_of([0.1, 0.2, 0.4], ci=ci, highest=1.0, lowest=0.0)
    assert (found.low, found.status) == (None, "too few")
    assert found.reason == f"3 seeds: no {ci} interval; need 5"


def test_an_unknown_interval_is_refused():
    """One line that names the valid ones."""
    with pytest.raises(ValueError, match="unknown interval 'bayes'; valid: auto, t, bca"):
        mean_of([0.1, 0.2], ci="bayes")


def test_paper_compatibility_is_one_standard_error_with_ddof_0():
    """1, 2, 3, 4: mean 2.5, population sd sqrt(1.25), over sqrt(4); with ddof = 1 it is wider by sqrt(4/3)."""
    paper = mean_of([1, 2, 3, 4], paper_compat=True)
    assert (paper.low, paper.high) == pytest.approx((2.5 - math.sqrt(1.25) / 2, 2.5 + math.sqrt(1.25) / 2))
    assert paper.method == "se-ddof0"
    unbiased = mean_of([1, 2, 3, 4], ci="se")
    assert (unbiased.high - 2.5) / (paper.high - 2.5) == pytest.approx(math.sqrt(4 / 3))
    assert standard_error(np.array([1.0, 2, 3, 4])) == pytest.approx(unbiased.high - 2.5)


def test_an_explicit_t_interval_exists_at_two_seeds():
    """t(1) = 12.706: .2 +- 12.706 * .1, where auto shows the two values."""
    found = mean_of([0.1, 0.3], ci="t")
    assert (found.low, found.high) == pytest.approx((0.2 - 1.27062, 0.2 + 1.27062), abs=1e-5)


def test_the_interquartile_mean_leaves_out_a_quarter_on_each_side():
    """Of 1, 2, 4, 100 the middle two; of TPO's errors .0125 where the mean is .087; below 4 seeds it is no IQM."""
    found = iqm_estimate([100, 1, 2, 4], rng=np.random.default_rng(0))
    assert found.value == 3.0
    assert found.low <= 3 <= found.high
    assert iqm_estimate(TPO, rng=np.random.default_rng(0)).value == pytest.approx(0.0125, abs=5e-5)
    few = iqm_estimate([1, 2, 3], rng=np.random.default_rng(0))
    assert (few.value, few.reason) == (None, "3 seeds: no IQM; need 4")


def test_the_tail_mean_is_of_the_worst_quarter():
    """Of 1..9 the worst ceil(9/4) = 3: mean 8; from 8 seeds on; a quarter of TPO's runs is far above its mean."""
    assert tail_estimate(range(1, 10), rng=np.random.default_rng(0)).value == 8.0
    few = tail_estimate(range(7), rng=np.random.default_rng(0))
    assert (few.value, few.reason) == (None, "7 seeds: no CVaR25; need 8")
    assert tail_estimate(TPO, rng=np.random.default_rng(0)).value == pytest.approx(np.sort(TPO)[-5:].mean())


def test_a_tail_of_few_seeds_has_no_interval():
    """Three of ten seeds say nothing about their own spread: the value stands alone below 20 seeds."""
    few, enough = (tail_estimate(x, rng=np.random.default_rng(0)) for x in (TPO[:10], TPO))
    assert (few.low, few.status, few.reason) == (None, "too few", "n<20: no interval")
    assert enough.low < enough.value <= enough.high


@pytest.mark.parametrize("estimate", [iqm_estimate, tail_estimate])
def test_resampled_estimates_have_the_guards_of_the_mean(estimate):
    """NaN, nothing, and equal values."""
    rng = np.random.default_rng(0)
    assert estimate([0.1] * 19 + [math.nan], rng=rng).reason == "1 of 20 values are not finite"
    assert estimate([], rng=rng).status == "missing"
    same = estimate([0.3] * 20, rng=rng)
    assert (same.value, same.low, same.status) == (pytest.approx(0.3), None, "constant")


@pytest.mark.parametrize("n", [0, 1, 2, 5, 12, 20])
@pytest.mark.parametrize("ci", ["auto", "studentized", "percentile", "se"])
def test_arms_estimated_at_once_have_the_estimates_of_each_alone(n, ci):
    """Beside arms that have no interval, one that BCa has none for, and one beyond the range, up to rounding."""
    rng = np.random.default_rng(1)
    nearly = [0.1] * (n - 1) + [np.nextafter(0.1, 1)] * min(n, 1)
    x = np.array([rng.random(n), np.round(rng.random(n), 1), [0.3] * n, [math.nan] * n, nearly, 3 * rng.random(n)])
    together = mean_estimates(x, rng=np.random.default_rng(0), lowest=0.0, highest=1.0, ci=ci)
    for found, row in zip(together, x, strict=True):
        alone = mean_of(row, lowest=0.0, highest=1.0, ci=ci)
        assert (found.method, found.status, found.reason) == (alone.method, alone.status, alone.reason)
        ends = np.array([[e.value, e.low, e.high] for e in (found, alone)], dtype=np.float64)  # None is NaN
        np.testing.assert_allclose(*ends, rtol=1e-13)


def test_a_dominant_seed_is_seen():
    """More than half of the sum of absolute values."""
    assert dominated([0.1, 0.1, 0.9])
    assert not dominated([0.5, 0.5])
    assert not dominated([0.3, 0.3, 0.4])


@pytest.mark.parametrize(("n", "least"), [(5, 0.90), (20, 0.92)])
def test_default_intervals_cover_normal_means(n, least):
    """Nominal 95%; 300 samples, seeded; t at 5 seeds, expanded BCa at 20."""
    rng = np.random.default_rng(7)
    found = [mean_estimate(rng.normal(0, 1, n), rng=rng) for _ in range(300 if n < 10 else 100)]
    assert least <= np.mean([e.low <= 0 <= e.high for e in found]) <= 1
