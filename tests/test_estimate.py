"""Estimates of one arm against hand-computed numbers and published intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tpobench.stats.estimate import (
    area_under_curve,
    bootstrap_band,
    expanded_level,
    final_window,
    mean_estimate,
    median_estimate,
    rate_estimate,
)


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
    assert (found.low, found.high) == (expected.low, expected.high)
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
