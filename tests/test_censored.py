"""Steps to a threshold: first lasting crossing, censoring, and what is printed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tpobench.stats.censored import (
    crossing_text,
    expected_running_time,
    first_crossing,
    mean_curve_crossing,
    steps_estimate,
    steps_text,
)

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
TPO, GRPO = (PUBLISHED[name] / PUBLISHED["of"] for name in ("tpo", "grpo"))
EPISODES = np.arange(2000)
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
        ([math.inf] * 20, ">2000 (0/20; rate <= 16%)"),
        ([300.0], "300 (1/1)"),
        ([300.0, math.inf, 400.0], "400 (2/3)"),
        ([], "missing"),
    ],
)
def test_what_is_printed(times, printed):
    """Median over all runs with its exact interval and the count, never the mean of those that got there."""
    assert text(times) == printed


def test_the_published_steps_to_one_percent():
    """First crossing per seed, median over all 20 runs: TPO 673 [448, 1039], GRPO 1427 [865, >2000]."""
    assert text(first_crossing(TPO, EPISODES, 0.01, persist=1)) == "673 [448, 1039] (18/20)"
    assert text(first_crossing(GRPO, EPISODES, 0.01, persist=1)) == "1427 [865, >2000] (11/20)"


def test_an_error_of_exactly_one_percent_in_single_precision_is_not_below_it():
    """float32(.01) as a double is below .01: taken so, TPO's median would be 642.5 and not 673."""
    single = TPO.astype(np.float32).astype(np.float64)
    first = np.where((single < 0.01).any(axis=1), (single < 0.01).argmax(axis=1), np.inf)
    assert text(first) == "643 [444, 1039] (18/20)"
    assert text(first_crossing(single, EPISODES, 0.01, persist=1)) == "673 [448, 1039] (18/20)"


def test_the_mean_of_those_that_got_there_is_not_offered():
    """GRPO's eleven average 865; all runs: RMST 1376, ERT 2501, median 1427."""
    times = first_crossing(GRPO, EPISODES, 0.01, persist=1)
    found = steps_estimate(times, 2000, rng=np.random.default_rng(0))
    assert times[np.isfinite(times)].mean() == pytest.approx(865, abs=0.5)
    assert found.restricted_mean.value == pytest.approx(1376, abs=0.5)
    assert found.expected_running_time == pytest.approx(2501.5, abs=0.1)


def test_the_published_mean_curve_crosses_late_or_never():
    """TPO below 10% at episode 1164, resamples from 918 to never, 7% of them never; below 1% never."""
    found = mean_curve_crossing(TPO, EPISODES, 0.1, rng=np.random.default_rng(0))
    assert (found.value, found.high) == (1164.0, math.inf)
    assert found.low == pytest.approx(918, abs=15)
    assert found.never_share == pytest.approx(0.07, abs=0.015)
    assert crossing_text(found).startswith("1164 [9")
    assert crossing_text(found).endswith(", >1999] (7% of resamples never)")
    one = mean_curve_crossing(TPO, EPISODES, 0.01, rng=np.random.default_rng(0), draws=200)
    assert (one.value, one.reason) == (math.inf, "")


def test_a_mean_curve_has_no_interval_where_all_resamples_agree():
    """Equal seeds cross together; nobody ever crosses; one seed has no uncertainty."""
    same = mean_curve_crossing([[0.5, 0.2, 0.05]] * 4, [0, 10, 20], 0.1, rng=np.random.default_rng(0))
    assert (same.value, same.low, same.reason) == (20, None, "all resamples agree")
    assert crossing_text(same) == "20 (0% of resamples never)"
    never = mean_curve_crossing([[0.5, 0.6, 0.7]] * 4, [0, 10, 20], 0.1, rng=np.random.default_rng(0))
    assert crossing_text(never) == ">20 (100% of resamples never)"
    single = mean_curve_crossing([[0.5, 0.2, 0.05]], [0, 10, 20], 0.1, rng=np.random.default_rng(0))
    assert crossing_text(single) == "20 (n=1)"


def test_a_diverged_run_weighs_on_the_mean_curve_at_the_worst_value():
    """Left out it would let the mean cross; below .5 it stays above where it is drawn twice: P(Bin(4, 1/4) >= 2)."""
    curves = [[0.5, 0.04, 0.04]] * 3 + [[0.5, math.nan, math.nan]]
    assert mean_curve_crossing(curves, [0, 10, 20], 0.1, rng=np.random.default_rng(0)).value == math.inf
    found = mean_curve_crossing(curves, [0, 10, 20], 0.5, rng=np.random.default_rng(0))
    assert found.value == 10
    assert found.never_share == pytest.approx(1 - 0.75**4 - 0.75**3, abs=0.03)


def test_halves_of_steps_are_rounded_up():
    """Python would print 1426.5 as 1426 and 1427.5 as 1428."""
    assert text([1426.0, 1427.0, 1426.0, 1427.0, 1426.0, 1427.0]).startswith("1427 ")
