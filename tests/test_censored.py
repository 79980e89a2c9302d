"""Steps to a threshold: first lasting crossing, censoring, and what is printed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tpobench.stats.censored import expected_running_time, first_crossing, steps_estimate, steps_text

STEPS = [0, 10, 20, 30, 40, 50]


def text(times, budget=2000):
    return steps_text(steps_estimate(times, budget, rng=np.random.default_rng(0)))


def test_a_crossing_lasts_for_three_evaluations():
    """A single dip does not count: the first of three consecutive evaluations below the threshold does."""
    curve = [0.5, 0.05, 0.5, 0.05, 0.05, 0.05]
    assert first_crossing([curve], STEPS, 0.1, persist=3).tolist() == [30]
    assert first_crossing([curve], STEPS, 0.1, persist=1).tolist() == [10]


def test_equal_to_the_threshold_is_not_below():
    """The criterion is err < threshold."""
    assert first_crossing([[0.1] * 6], STEPS, 0.1, persist=1).tolist() == [math.inf]


def test_too_late_is_never():
    """Two evaluations below at the end of the budget are not three."""
    assert first_crossing([[0.5, 0.5, 0.5, 0.5, 0.0, 0.0]], STEPS, 0.1, persist=3).tolist() == [math.inf]
    assert first_crossing([[0.0, 0.0]], [0, 10], 0.1, persist=3).tolist() == [math.inf]


def test_a_diverged_run_never_reaches():
    """Even where it was below the threshold before."""
    assert first_crossing([[0.0, 0.0, 0.0, 0.0, math.nan, math.nan]], STEPS, 0.1, persist=3).tolist() == [math.inf]


def test_expected_running_time_charges_failures():
    """(100 + 300 + 1000) / 2 successes; None without a success."""
    assert expected_running_time([100, 300, math.inf], 1000) == 700
    assert expected_running_time([math.inf], 1000) is None


def test_restricted_mean_is_the_mean_of_capped_times():
    """(100 + 300 + 1000) / 3."""
    found = steps_estimate([100, 300, math.inf], 1000, rng=np.random.default_rng(0))
    assert found.restricted_mean.value == pytest.approx(1400 / 3)
    assert (found.reached, found.runs) == (2, 3)


@pytest.mark.parametrize(
    ("times", "printed"),
    [
        ([*range(100, 2000, 100), 2000], "1050 [600, 1500] (20/20)"),
        ([865] * 6 + [1000, 1100, 1200, 1400, 1454] + [math.inf] * 9, "1427 [865, >2000] (11/20)"),
        ([100] * 6 + [math.inf] * 14, ">2000 [100, >2000] (6/20)"),
        ([100] * 4 + [math.inf] * 16, ">2000 (4/20)"),
        ([math.inf] * 20, ">2000 (0/20; rate <= .16)"),
        ([300.0], "300 (1/1)"),
        ([300.0, math.inf, 400.0], "400 (2/3)"),
        ([], "missing"),
    ],
)
def test_what_is_printed(times, printed):
    """Median over all runs with its exact interval and the count, never the mean of those that got there."""
    assert text(times) == printed
