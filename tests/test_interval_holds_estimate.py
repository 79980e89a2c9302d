"""Every interval holds its own estimate, whatever the sample: ties, two values, tiny n, rounding, data out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpobench.scores.pairing import compare_failures
from tpobench.stats.breaking_point import breaking_point, compare_points
from tpobench.stats.censored import mean_curve_crossing, steps_estimate
from tpobench.stats.compare import compare
from tpobench.stats.curves import bootstrap_band
from tpobench.stats.estimate import iqm_estimate, mean_estimate, median_estimate, rate_estimate, tail_estimate
from tpobench.stats.intervals import resampled_win_rates, win_rate, wins
from tpobench.stats.reproduction import first_below, predict_mean, predict_step
from tpobench.stats.success_curve import Level
from tpobench.stats.suite_level import Reference, improvement_estimate, suite_compare, suite_estimate

few = settings(max_examples=40, deadline=None, derandomize=True)
fewer = settings(max_examples=15, deadline=None, derandomize=True)
value = st.one_of(
    st.sampled_from([0.0, 0.1, 0.1 + 2**-56, 0.3, 1 / 3, 1.0]),
    st.floats(0, 1, width=32),
    st.floats(-1e6, 1e6, width=32),
)
arm = st.lists(value, min_size=1, max_size=21).map(np.array)
arms = st.tuples(arm, arm)
pairs = st.lists(st.tuples(value, value), min_size=1, max_size=21).map(lambda p: tuple(np.array(p).T))
shifted = st.tuples(arm, st.sampled_from([1e-9, 0.05, 0.1, 3.0])).map(lambda p: (p[0], p[0] + p[1]))
times = st.lists(st.one_of(st.just(math.inf), st.integers(1, 20)), min_size=1, max_size=21).map(
    lambda t: np.array(t, dtype=np.float64)
)
curves = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).exponential(0.2, (1 + seed % 9, 12)) * np.linspace(1.5, 0.3, 12)
)


def rng():
    return np.random.default_rng(0)


def assert_holds(low, middle, high):
    """An end that is not known bounds nothing."""
    assert low is None or middle >= low, f"{middle} below [{low}, {high}]"
    assert high is None or middle <= high, f"{middle} above [{low}, {high}]"


@few
@given(arm, st.sampled_from(["auto", "t", "bca", "bca-expanded", "studentized", "percentile", "se"]), st.booleans())
def test_means(x, ci, bounded):
    """Of every method, clipped to the range of a metric or not; a range that the values leave clips nothing."""
    found = mean_estimate(x, rng=rng(), ci=ci, **({"lowest": 0.0, "highest": 1.0} if bounded else {}))
    assert_holds(found.low, found.value, found.high)


def test_values_beyond_the_worst_have_an_interval_on_that_side():
    """A loss of 2 to 3 where a diverged run scores 1: neither cut off at 1 nor without an interval."""
    x = np.linspace(2, 3, 12)
    assert mean_estimate(x, rng=rng(), lowest=0.0, highest=1.0) == mean_estimate(x, rng=rng())


@few
@given(arm)
def test_iqm_tail_and_median(x):
    """Percentile bootstraps, and the exact interval of order statistics with infinity as a value."""
    for found in (iqm_estimate(x, rng=rng()), tail_estimate(x, rng=rng()), median_estimate(np.append(x, math.inf))):
        assert found.value is None or found.low is None or found.low <= found.value <= found.high


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 49])
def test_shares(n):
    """Wilson at every k, 0 and n among them, and the difference of two shares with P(better)."""
    for k in range(n + 1):
        found = rate_estimate(k, n)
        assert found.low <= found.value <= found.high
        a, b = np.repeat([1.0, 0.0], [k, n - k]), np.repeat([1.0, 0.0], [k // 2, n - k // 2])
        c = compare_failures(a, b)
        if c.difference is not None:
            assert_holds(c.low, c.difference, c.high)
            assert_holds(c.better_low, c.better, c.better_high)


@few
@given(st.one_of(arms, pairs, shifted))
def test_differences_and_probabilities_of_being_better(pair):
    """Paired where the sizes allow it, and apart; arms that differ by a constant among them."""
    for paired in {False, len(pair[0]) == len(pair[1])}:
        found = compare(*pair, rng=rng(), paired=paired, resamples=99)
        if found.difference is not None:
            assert_holds(found.low, found.difference, found.high)
            assert_holds(found.better_low, found.better, found.better_high)


@few
@given(times)
def test_steps_to_a_threshold(t):
    """Median, rate and restricted mean."""
    found = steps_estimate(t, 15.0, rng=rng())
    for e in (found.median, found.rate, found.restricted_mean):
        assert_holds(e.low, e.value, e.high)


@few
@given(curves)
def test_the_mean_curve_and_where_it_crosses(x):
    """Noisy curves: resampled ones are noisier, so nearly all of them can cross before their mean does."""
    steps = np.arange(12.0)
    crossing = mean_curve_crossing(x, steps, 0.15, rng=rng(), draws=400)
    assert_holds(crossing.low, crossing.value, crossing.high)
    step = predict_step(x, first_below(steps, 0.15), 5, rng=rng(), draws=400)
    assert_holds(step.low, step.value, step.high)
    band = bootstrap_band(np.hstack([x, np.full((len(x), 1), 0.1)]), rng(), draws=100)
    if band is not None:
        mean = np.hstack([x, np.full((len(x), 1), 0.1)]).mean(axis=0)
        assert (band[0] <= mean).all() and (mean <= band[1]).all()  # noqa: PT018


@few
@given(arm, st.integers(1, 30))
def test_predictions_of_other_seeds(x, seeds):
    """The sample's own mean lies where the mean of other seeds is expected."""
    found = predict_mean(x, seeds, rng=rng(), draws=400)
    assert_holds(found.low, found.value, found.high)
    assert_holds(found.least, found.value, found.most)


@fewer
@given(st.lists(st.one_of(arms, pairs), min_size=1, max_size=3))
def test_suite_scores_and_their_differences(cells):
    """Mean and IQM over cells, the difference of two rules and P(better) over cells."""
    a, b = ({f"cell {i}": pair[side] for i, pair in enumerate(cells)} for side in (0, 1))
    references = {name: Reference(worst=1.0, best=0.0) for name in a}
    for statistic in ("mean", "iqm"):
        score = suite_estimate(a, references, rng=rng(), statistic=statistic)
        if score.value is not None:
            assert_holds(score.low, score.value, score.high)
    c = suite_compare(a, b, references, rng=rng(), resamples=49)
    assert_holds(c.low, c.difference, c.high)
    assert_holds(c.better_low, c.better, c.better_high)
    paired = [len(x) == len(y) for x, y in cells]
    e = improvement_estimate(cells, paired=paired, rng=rng())
    assert_holds(e.low, e.value, e.high)


@fewer
@given(st.lists(st.integers(0, 10), min_size=2, max_size=5), st.lists(st.integers(0, 10), min_size=2, max_size=5))
def test_breaking_points_and_their_ratio(first, second):
    """An end that no level bounds is open."""
    a, b = (breaking_point([Level(0.5 * 0.2**i, k, 10) for i, k in enumerate(learned)]) for learned in (first, second))
    if a.value is not None:
        assert_holds(a.low, a.value, a.high)
    found = compare_points(a, b)
    if found.ratio is not None:
        assert_holds(found.low, found.ratio, found.high)


SPREAD = np.linspace(1.0, 1.9, 10)


def test_a_small_shift_in_every_seed_is_no_better_or_worse_seed():
    """A paired B is A + .05: of 90 pairs of different seeds A is the lower in 45, and an interval lies around that."""
    found = compare(SPREAD, SPREAD + 0.05, rng=rng(), paired=True)
    assert found.better == 0.5
    assert found.better_low < 0.5 < found.better_high
    assert found.p == 2 / 2**10  # the test of the differences sees every seed shifted
    apart = compare(SPREAD, SPREAD + 0.05, rng=rng())
    assert apart.better == 0.55  # of all 100 pairs, the 10 of one seed among them
    assert apart.better_low < 0.55 < apart.better_high


def test_a_paired_resample_is_centred_on_its_estimate():
    """Drawn pairs of one seed, of which every resample holds more than the sample, are left out."""
    x = np.random.default_rng(3).normal(0, 1, 12)
    won = wins(x, x + 0.02)
    drawn = resampled_win_rates([won], rng(), 20_000, paired=True)[0]
    assert np.nanmean(drawn) == pytest.approx(win_rate(won, paired=True), abs=4 * np.nanstd(drawn) / math.sqrt(20_000))


def test_paired_intervals_cover_the_chance_of_two_seeds_drawn_apart():
    """Shared random numbers (r = .99), a shift of .1 sd: truth Phi(.1 / sqrt 2), 10 seeds, 300 samples."""
    draw, covered = np.random.default_rng(0), 0
    truth = 0.5282
    for _ in range(300):
        shared = draw.normal(size=10)
        x, y = (math.sqrt(0.99) * shared + 0.1 * draw.normal(size=10) for _ in range(2))
        found = compare(x, y + 0.1, rng=rng(), paired=True, resamples=9)
        covered += found.better_low <= truth <= found.better_high
    assert covered >= 0.85 * 300
