"""Printed numbers against samples: worked examples, degenerate samples, and the error rate where both are alike."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from tpobench.stats.equivalence import equivalence
from tpobench.stats.reproduction import (
    Printed,
    agreement,
    first_below,
    first_decayed,
    most_others,
    predict_mean,
    predict_step,
)

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
FINAL = {name: PUBLISHED[name][:, -1] / PUBLISHED["of"] for name in ("tpo", "grpo", "dg")}
STEPS = np.arange(101) * 10.0


def rng(seed=0):
    return np.random.default_rng(seed)


def mean_verdict(values, printed, **kwargs):
    found = predict_mean(values, printed.seeds, rng=rng(), lowest=0.0, highest=1.0, **kwargs)
    return agreement(found, printed)


def curves(random, n, *, fail=0.0):
    """Errors that fall to 0.2% around update 300, or stop at a plateau; with the noise of an evaluation."""
    middle = random.normal(300, 40, n)[:, None]
    floor = np.where(random.random(n) < fail, random.uniform(0.05, 0.4, n), 0.002)[:, None]
    falling = floor + (1 - floor) / (1 + np.exp(np.clip((STEPS - middle) / 30, -50, 50)))
    return np.clip(falling + random.normal(0, 0.003, falling.shape), 0, 1)


def test_the_interval_of_a_mean_is_that_of_a_difference_of_two_samples():
    """Normal samples: close to x̄ ± t_{n-1} s sqrt(1/n + 1/m), 25 % wider than it is for a known mean of m = n / 4."""
    x = rng(1).normal(0.5, 0.1, 200)
    found = predict_mean(x, 50, rng=rng(), draws=20_000)
    half = 1.972 * x.std(ddof=1) * math.sqrt(1 / 200 + 1 / 50)
    assert found.value == pytest.approx(x.mean())
    assert found.low == pytest.approx(x.mean() - half, abs=0.12 * half)
    assert found.high == pytest.approx(x.mean() + half, abs=0.12 * half)
    assert found.low < found.least < found.value < found.most < found.high


def test_a_number_within_reach_agrees_and_one_beyond_it_differs():
    """The same sample, three printed means."""
    x = rng(2).normal(0.1, 0.02, 20)
    assert mean_verdict(x, Printed(0.105, 20)).verdict == "agrees"
    assert mean_verdict(x, Printed(0.15, 20)).verdict == "differs"
    assert mean_verdict(x, Printed(0.15, 2)).verdict == "differs"
    assert mean_verdict(x, Printed(0.125, 2)).verdict == "agrees"  # two seeds may lie that far off, twenty may not
    assert mean_verdict(x, Printed(0.125, 20)).verdict == "differs"


def test_what_rounding_hides_is_no_difference():
    """0.9 and 0.9449 both print as 0.9 with half a unit of 0.05."""
    x = 0.94 + 1e-4 * rng(3).normal(size=20)
    assert mean_verdict(x, Printed(0.9, 20)).verdict == "differs"
    assert mean_verdict(x, Printed(0.9, 20, rounding=0.05)).verdict == "agrees"


@pytest.mark.parametrize(
    ("value", "bound", "verdict"),
    [(0.95, "above", "agrees"), (0.999, "above", "differs"), (0.95, "below", "differs"), (0.999, "below", "agrees")],
)
def test_a_bound_is_true_or_false(value, bound, verdict):
    """An error near .99 is above .95 and below .999, however the printed one came out."""
    x = rng(4).normal(0.99, 0.004, 20)
    assert mean_verdict(x, Printed(value, 20, bound=bound)).verdict == verdict


def test_a_bound_near_the_sample_is_given_the_benefit_of_the_doubt():
    """Mean .949 with s.e. .004: 'more than .95' is what other seeds may well give."""
    x = rng(5).normal(0.949, 0.02, 20)
    assert mean_verdict(x, Printed(0.95, 20, bound="above")).verdict == "agrees"
    assert mean_verdict(x - 0.05, Printed(0.95, 20, bound="above")).verdict == "differs"


@pytest.mark.parametrize(
    ("values", "reason"),
    [([0.2], "1 seed: no uncertainty"), ([], "missing"), ([0.1, math.nan], "1 values are NaN")],
)  # fmt: skip
def test_a_sample_without_spread_gives_a_reason_and_no_interval(values, reason):
    """Equal to what is printed it agrees all the same, otherwise nobody can tell."""
    found = mean_verdict(values, Printed(0.3, 20))
    assert (found.verdict, found.reason, found.prediction.low) == ("undecided", reason, None)
    if values and not any(map(math.isnan, values)):
        assert mean_verdict(values, Printed(0.2, 20)).verdict == "agrees"


def test_one_failed_seed_in_twenty_widens_the_interval_upwards():
    """The published TPO runs: 7.4 % with one seed at 77 %; other twenty may have two such, or none."""
    found = predict_mean(FINAL["tpo"], 20, rng=rng(), lowest=0.0, highest=1.0)
    assert found.low < 0.03
    assert found.high > 0.2


def test_the_first_step_of_the_mean_curve_below_a_threshold():
    """Strictly below, no persistence, inf where it never is."""
    means = np.array([[0.5, 0.01, 0.009, 0.02], [0.5, 0.4, 0.3, 0.2]])
    assert first_below([0, 10, 20, 30], 0.01)(means).tolist() == [20.0, math.inf]


def test_the_first_step_at_which_a_curve_has_decayed():
    """After its peak, not in the rise before it."""
    means = np.array([[0.0, 0.5, 1.0, 0.3, 0.09], [0.0, 0.5, 1.0, 0.3, 0.2]])
    assert first_decayed([0, 1, 2, 3, 4], 0.1)(means).tolist() == [4.0, math.inf]


def test_a_crossing_agrees_within_its_interval():
    """Twenty curves that cross 10 % around update 370."""
    x = curves(rng(6), 20)
    statistic = first_below(STEPS, 0.1)
    found = predict_step(x, statistic, 20, rng=rng())
    assert found.low <= found.value <= found.high
    assert agreement(found, Printed(found.value, 20)).verdict == "agrees"
    assert agreement(found, Printed(found.value + 100, 20)).verdict == "differs"
    assert agreement(found, Printed(math.inf, 20)).verdict == "differs"


def test_never_reached_agrees_where_other_seeds_may_well_never_reach_it():
    """A third of the runs stops at a plateau: the mean curve of others may not get below 5 % either."""
    found = predict_step(curves(rng(7), 20, fail=0.35), first_below(STEPS, 0.05), 20, rng=rng())
    assert math.isinf(found.most)
    assert agreement(found, Printed(math.inf, 20)).verdict == "agrees"
    assert agreement(found, Printed(200.0, 20)).verdict == "differs"


def test_a_step_of_one_seed_or_of_equal_seeds_has_no_interval():
    """Reasons, never nan."""
    x = curves(rng(8), 1)
    statistic = first_below(STEPS, 0.1)
    assert predict_step(x, statistic, 20, rng=rng()).reason == "1 seed: no uncertainty"
    equal = predict_step(np.repeat(x, 4, axis=0), statistic, 20, rng=rng())
    assert (equal.reason, equal.low) == ("all 4 seeds identical: no interval", None)
    assert predict_step(np.empty((0, 5)), statistic, 20, rng=rng()).reason == "missing"
    assert predict_step(np.full((3, 101), math.nan), statistic, 20, rng=rng()).value is None


POPULATIONS = {
    "normal": lambda r, n: r.normal(0.5, 0.05, n),
    "published tpo": lambda r, n: r.choice(FINAL["tpo"], n),  # one seed in twenty at 77 %
    "published grpo": lambda r, n: r.choice(FINAL["grpo"], n),  # all or nothing
    "published dg": lambda r, n: r.choice(FINAL["dg"], n),
    "lost class": lambda r, n: np.where(r.random(n) < 0.25, r.uniform(0.12, 0.15, n), r.normal(0.045, 0.005, n)),
}


@pytest.mark.parametrize("population", POPULATIONS)
def test_means_of_one_population_differ_about_one_time_in_twenty(population):
    """Twenty seeds here and twenty there: at most 10 %; less where values repeat (measured: 1.7 to 6.1 % of 1,200)."""
    draw, random = POPULATIONS[population], rng(9)
    differs = 0
    for _ in range(250):
        x, y = draw(random, 20), draw(random, 20)
        found = predict_mean(x, 20, rng=random, lowest=0.0, highest=1.0, draws=600)
        differs += agreement(found, Printed(float(y.mean()), 20)).verdict == "differs"
    assert 0.005 <= differs / 250 <= 0.10


@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.01])
def test_crossings_of_one_population_differ_at_most_one_time_in_ten(threshold):
    """Also where the slowest seed decides; the hull of two intervals is wider than needed elsewhere."""
    random, statistic = rng(10), first_below(STEPS, threshold)
    differs = 0
    for _ in range(120):
        x, y = curves(random, 20), curves(random, 20)
        printed = Printed(float(statistic(y.mean(axis=0)[None])[0]), 20)
        differs += agreement(predict_step(x, statistic, 20, rng=random, draws=400), printed).verdict == "differs"
    assert differs / 120 <= 0.10


def test_populations_that_are_apart_are_told_apart():
    """The interval is not so wide that anything agrees: GRPO's published runs against TPO's mean, and two updates."""
    assert mean_verdict(FINAL["grpo"], Printed(float(FINAL["tpo"].mean()), 20)).verdict == "differs"
    found = predict_step(curves(rng(11), 20), first_below(STEPS, 0.1), 20, rng=rng())
    assert found.high - found.low < 200


@pytest.mark.parametrize(
    ("k", "n", "m", "level", "most"),
    [
        (0, 5, 5, 0.025, 3),  # C(5, j) / C(10, j): 10 / 120 = .083 at 3, 5 / 210 = .024 at 4
        (0, 20, 20, 0.025, 4),  # C(20, j) / C(40, j): .053 at 4, .024 at 5
        (1, 2, 2, 0.025, 2),  # 1 - C(3, 2) / C(4, 2) = .5: both others may
        (2, 20, 20, 0.025, 8),  # of 40 with 10: (184756 + 20 * 167960 + 190 * 125970) / 847660528 = .032
    ],
)
def test_how_many_other_seeds_may_have_what_k_of_n_have(k, n, m, level, most):
    """The largest count whose split between the two samples is not too unlikely, by hand."""
    assert most_others(k, n, m, level) == most


def test_the_bound_on_other_seeds_holds_at_every_rate():
    """P(more of 20 others than the bound) by the binomial itself: never above the 2.5 % asked for, and not idle."""
    counts, n = np.arange(21), 20
    bounds = np.array([most_others(k, n, n, 0.025) for k in counts])
    misses = [float(binom.pmf(counts, n, rate) @ binom.sf(bounds, n, rate)) for rate in np.linspace(0.01, 0.99, 50)]
    assert max(misses) <= 0.025
    assert max(misses) > 0.01


def test_most_seeds_alike_and_a_bounded_metric_give_an_interval_by_counts_and_bounds():
    """Two of 20 above 0, so up to 8 of 20 others, each at most 1: at most .4, with 7 of 20 at one-sided 95 %."""
    found = predict_mean([0.0] * 18 + [0.05, 0.07], 20, rng=rng(), lowest=0.0, highest=1.0)
    assert (found.value, found.low, found.least) == (pytest.approx(0.006), 0.0, 0.0)
    assert (found.high, found.most, found.method) == (pytest.approx(0.4), pytest.approx(0.35), "counts-and-bounds")
    assert agreement(found, Printed(0.069, 20)).verdict == "agrees"
    assert agreement(found, Printed(0.41, 20)).verdict == "differs"
    assert agreement(found, Printed(0.95, 20, bound="above")).verdict == "differs"


def test_seeds_that_are_all_alike_predict_by_the_same_counts():
    """None of 5 off .2: up to 3 of 5 others, between 0 and 1 each, so .2 - .6 * .2 to .2 + .6 * .8."""
    found = predict_mean([0.2] * 5, 5, rng=rng(), lowest=0.0, highest=1.0)
    assert (found.value, found.low, found.high) == (0.2, pytest.approx(0.08), pytest.approx(0.68))


def test_an_interval_of_the_whole_range_decides_nothing():
    """Two seeds of which none is like the other: whatever is printed would agree."""
    found = predict_mean([0.0, 0.3], 20, rng=rng(), lowest=0.0, highest=1.0)
    for printed in (Printed(0.069, 20, 0.0005), Printed(0.95, 20, bound="above")):
        answer = agreement(found, printed)
        assert answer.verdict == "undecided"
        assert answer.reason == "2 seeds: any value at all would agree"


@pytest.mark.parametrize(
    ("shift", "within", "beyond"),
    [(0.004, 1 / 1024, 1.0), (0.03, 1 - 1 / 1024, 2 / 1024), (-0.03, 1 - 1 / 1024, 2 / 1024)],
)
def test_ten_pairs_that_all_differ_by_less_than_the_margin_are_alike(shift, within, beyond):
    """Sign flips of ten differences on one side: 1 of 1,024 one-sided, 2 of them two-sided; margin .01."""
    y = np.linspace(0.1, 0.2, 10)
    found = equivalence(y + shift, y, 0.01, rng=rng(), paired=True)
    assert (found.within, found.beyond) == (pytest.approx(within, abs=1e-4), pytest.approx(beyond, abs=1e-4))


def test_equal_arms_without_spread_are_alike_only_where_a_test_can_say_so():
    """Two constant arms have no sampling variance: no p either way."""
    found = equivalence([0.2] * 5, [0.2] * 5, 0.01, rng=rng())
    assert (found.within, found.beyond) == (None, None)
