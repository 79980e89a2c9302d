"""Breaking points: what the curve's fit is, what its interval promises, and what is said where there is no estimate."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from tpobench.stats.breaking_point import (
    breaking_point,
    compare_all_points,
    compare_points,
    reversal,
    share_at,
)
from tpobench.stats.success_curve import SHAPES, Level, Profile, likelihoods, profile, shifted
from tpobench.suites.search import walk

GRADUAL = ((0.2, 20), (0.1, 18), (0.05, 13), (0.025, 6), (0.0125, 1))


def levels(*found: tuple[float, int], runs: int = 20) -> list[Level]:
    return [Level(p0, learned, runs) for p0, learned in found]


def firth(found: list[Level]) -> tuple[float, float]:
    """Log p0* and slope by a general optimiser over intercept and slope of the penalised logistic likelihood."""
    x = np.log([level.p0 for level in found])
    k, n = np.array([[level.learned, level.runs] for level in found]).T

    def loss(theta):
        p = special.expit(theta[0] + theta[1] * x)
        design = np.stack([np.ones_like(x), x])
        information = (design * (n * p * (1 - p))) @ design.T
        return -(k * np.log(p) + (n - k) * np.log1p(-p)).sum() - np.linalg.slogdet(information)[1] / 2

    best = optimize.minimize(loss, [5.0, 1.5], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    return -best.x[0] / best.x[1], best.x[1]


def test_the_estimate_is_the_penalised_logistic_regression():
    """A general optimiser finds the same middle within the lattice's 2 % and the same slope within a step of 14 %."""
    found = levels(*GRADUAL)
    point = breaking_point(found)
    middle, slope = firth(found)
    assert math.log(point.value) == pytest.approx(middle, abs=0.02)
    assert point.slope == pytest.approx(slope, rel=0.15)
    assert point.status == "estimated"


def test_the_interval_ends_where_the_deviance_is_the_quantile():
    """At both ends the best curve through the end is 3.84 below the best of all, for the better of two likelihoods."""
    found = tuple(sorted(levels(*GRADUAL), key=lambda level: level.p0))
    point = breaking_point(found)
    slopes = np.geomspace(0.05, 200, 4000)

    def best(middle, kind):
        return max(likelihoods(found, np.array(middle), slopes, shape)[kind].max() for shape in SHAPES)

    def top(kind):
        return -optimize.minimize_scalar(lambda m: -best(m, kind), bounds=(-5, -2), method="bounded").fun

    tops = [top(0), top(1)]
    for end in (point.low, point.high):
        deviance = min(2 * (tops[kind] - best(math.log(end), kind)) for kind in (0, 1))
        assert deviance == pytest.approx(stats.chi2.ppf(0.95, 1), abs=0.12)
    assert point.low < point.value < point.high


def test_symmetric_data_break_in_their_middle():
    """5 of 20 and 15 of 20 around p0 = .01: the middle is .01, and the curve says one half there."""
    point = breaking_point(levels((0.001, 5), (0.1, 15)))
    assert point.value == pytest.approx(0.01, rel=0.02)
    assert share_at(point, np.array([point.value])) == pytest.approx(0.5)
    high, low = share_at(point, np.array([0.1, 0.001]))
    assert high == pytest.approx(1 - low, abs=0.02)
    assert 0.7 < high < 0.8  # drawn towards one half by the penalty


def test_separated_levels_leave_the_gap_between_them():
    """All learn at .01, none at .001: the estimate is in the middle, and the interval is the gap, not a part of it."""
    point = breaking_point(levels((0.5, 20), (0.01, 20), (0.001, 0), (0.0001, 0)))
    assert point.value == pytest.approx(math.sqrt(0.01 * 0.001), rel=0.05)
    assert 0.0009 < point.low < 0.00115
    assert 0.0087 < point.high < 0.011
    assert math.isfinite(point.slope)


def test_a_scale_of_p0_is_a_scale_of_its_breaking_point():
    """Everything ten times sparser: estimate and interval are ten times smaller, the slope is the same."""
    a, b = breaking_point(levels(*GRADUAL)), breaking_point(levels(*((p0 / 10, k) for p0, k in GRADUAL)))
    for name in ("value", "low", "high"):
        assert getattr(b, name) == pytest.approx(getattr(a, name) / 10, rel=0.03)
    assert b.slope == pytest.approx(a.slope, rel=0.15)


def test_more_seeds_make_the_interval_narrower():
    """Four times the seeds at the same shares: half the width in log p0, or little more (the penalty counts less)."""
    few = breaking_point(levels(*GRADUAL))
    many = breaking_point(levels(*((p0, 4 * k) for p0, k in GRADUAL), runs=80))
    ratio = math.log(many.high / many.low) / math.log(few.high / few.low)
    assert 0.4 < ratio < 0.7


def test_a_rule_that_learns_at_every_level_is_censored():
    """No estimate: p0* lies below the hardest level, and 20 of 20 there leave no room above it."""
    point = breaking_point(levels((0.5, 20), (0.01, 20), (0.0002, 20)))
    assert (point.status, point.value, point.low) == ("everywhere", None, None)
    assert point.high == pytest.approx(0.0002, rel=0.05)
    unsure = breaking_point(levels((0.5, 20), (0.01, 20), (0.0002, 11)))
    assert unsure.status == "everywhere"
    assert 0.0003 < unsure.high < 0.005


def test_a_rule_that_learns_nowhere_is_censored():
    """No estimate: p0* lies above the easiest level as far as the counts there can say."""
    point = breaking_point(levels((0.25, 0), (0.001, 0)))
    assert (point.status, point.value, point.high) == ("nowhere", None, None)
    assert point.low == pytest.approx(0.25, rel=0.05)
    assert share_at(point, np.array([0.1])) is None


def test_an_end_that_no_level_bounds_is_open():
    """Nine of twenty at the hardest level: p0* is about there, and nothing says how much lower it may be."""
    point = breaking_point(levels((0.5, 20), (0.0002, 9)))
    assert (point.status, point.low) == ("estimated", None)
    assert point.value < 0.001 < point.high


def test_flat_shares_bound_nothing():
    """Ten of twenty everywhere: an estimate without an interval."""
    point = breaking_point(levels((0.5, 10), (0.05, 10), (0.005, 10)))
    assert (point.low, point.high) == (None, None)


@pytest.mark.parametrize(
    ("found", "reason"), [([], "0 levels"), ([Level(0.1, 3, 5)], "1 level:"), ([Level(0.1, 3, 5)] * 2, "1 level:")]
)
def test_one_level_is_no_curve(found, reason):
    """Fewer than two values of p0: nothing is estimated, and nothing compared."""
    point = breaking_point(found)
    assert point.status == "untestable"
    assert point.reason.startswith(reason)
    c = compare_points(point, breaking_point(levels(*GRADUAL)))
    assert (c.p, c.verdict()) == (None, point.reason)


def test_levels_of_one_p0_are_one_level():
    """6 of 10 and 7 of 10 at one p0 are 13 of 20."""
    split = [Level(0.05, 6, 10), Level(0.05, 7, 10), *(level for level in levels(*GRADUAL) if level.p0 != 0.05)]
    assert breaking_point(split) == breaking_point(levels(*GRADUAL))


@pytest.mark.parametrize("level", [Level(0.0, 1, 2), Level(1.5, 1, 2), Level(0.1, 3, 2), Level(0.1, 0, 0)])
def test_what_is_no_level_is_refused(level):
    """A p0 outside (0, 1], more that learned than ran, or no run."""
    with pytest.raises(ValueError, match="not a level"):
        breaking_point([level, Level(0.2, 1, 2)])


def test_more_at_a_harder_level_is_reported_where_it_is_beyond_chance():
    """2 of 20 at the easier level and 18 of 20 at the harder one; 12 and 14 are counted, and no more than that."""
    point = breaking_point(levels((0.5, 2), (0.1, 18), (0.01, 9)))
    assert (point.reversal.easier, point.reversal.harder) == (Level(0.5, 2, 20), Level(0.1, 18, 20))
    smallest = stats.fisher_exact(np.array([[18, 2], [2, 18]]), alternative="greater").pvalue
    assert point.reversal.p == pytest.approx(3 * smallest)
    assert point.inversions == 1
    mild = breaking_point(levels((0.5, 12), (0.1, 14), (0.01, 2)))
    assert (mild.reversal, mild.inversions) == (None, 1)
    assert reversal(levels(*GRADUAL)) is None


def test_equal_rules_are_equal():
    """A rule against itself: ratio 1 inside its interval, p = 1."""
    point = breaking_point(levels(*GRADUAL))
    c = compare_points(point, point)
    assert c.ratio == 1
    assert c.low < 1 < c.high
    assert c.p == pytest.approx(1)


def test_the_order_of_two_rules_inverts_their_ratio():
    """A over B is one over B over A, p is one, and the better rule is the one that breaks at the smaller p0."""
    a = breaking_point(levels(*((p0 / 8, k) for p0, k in GRADUAL)))
    b = breaking_point(levels(*GRADUAL))
    there, back = compare_points(a, b), compare_points(b, a)
    assert there.ratio == pytest.approx(1 / 8, rel=0.03)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low), rel=0.03)
    assert there.p == pytest.approx(back.p, rel=1e-6)
    found = compare_all_points({"a": a, "b": b})["a", "b"]
    assert (found.verdict(), found.family) == ("better", 1)
    assert compare_all_points({"b": b, "a": a})["b", "a"].verdict() == "worse"


def test_the_pairs_test_is_the_smallest_sum_of_deviances():
    """Two parabolas of one curvature, four apart: at no shift the sum is 2 (2^2 + 2^2) / 2, at shift 4 it is 0."""
    grid = np.arange(-1000, 1001) * 0.02
    a, b = (Profile(-1000, (grid - m) ** 2) for m in (2.0, -2.0))
    shifts, deviance = shifted(a, b)
    assert deviance[len(deviance) // 2] == pytest.approx(8, abs=0.01)
    assert shifts[deviance.argmin()] == pytest.approx(4)


def test_a_censored_rule_can_be_told_from_an_estimated_one():
    """Learns everywhere against breaks at .03: no ratio, yet a clear verdict; two censored alike are not told apart."""
    hardy = breaking_point(levels((0.5, 20), (0.0002, 20)))
    c = compare_all_points({"hardy": hardy, "usual": breaking_point(levels(*GRADUAL)), "other": hardy})
    assert (c["hardy", "usual"].ratio, c["hardy", "usual"].verdict()) == (None, "better")
    assert c["usual", "other"].verdict() == "worse"
    assert c["hardy", "other"].p == pytest.approx(1)
    assert c["hardy", "usual"].family == 3
    assert c["hardy", "usual"].adjusted == pytest.approx(3 * c["hardy", "usual"].p)


def test_the_interval_covers_under_the_search_that_is_made():
    """80 searches of ten seeds a level, their p0* anywhere: at least 89 % of the intervals hold it, at most all."""
    rng = np.random.default_rng(7)
    ladder, seeds = tuple(range(2, 11)), 10
    covered, widths = 0, []
    for _ in range(80):
        middle, slope = -rng.uniform(3, 9) * math.log(2), rng.choice([1.0, 3.0, 1000.0])
        outcomes: dict[int, int] = {}
        while wanted := walk(ladder, 1, lambda v, o=outcomes: 2 * o[v] >= seeds if v in o else None).wanted:
            for v in wanted:
                outcomes[v] = rng.binomial(seeds, special.expit(slope * (-v * math.log(2) - middle)))
        point = breaking_point([Level(2.0**-v, int(k), seeds) for v, k in outcomes.items()])
        low, high = point.low or 0.0, point.high or 1.0
        covered += low <= math.exp(middle) <= high
        if point.low and point.high:
            widths.append(high / low)
    assert covered >= 0.89 * 80
    assert np.median(widths) < 4  # an interval that always covers would be no use


def test_a_profile_is_made_once():
    """Pairs of rules share the profile of each."""
    found = tuple(sorted(levels(*GRADUAL), key=lambda level: level.p0))
    assert profile(found) is profile(found)
    assert dataclasses.is_dataclass(profile(found))
    assert profile(found).deviance.min() == 0


@pytest.mark.parametrize(
    ("shape", "share", "slope"),
    [("logistic", 1 / (1 + math.exp(-1)), 1 / (2 + 2 * math.cosh(1))),
     ("gumbel", 1 - 2 ** -math.e, math.log(2) * math.e * 2 ** -math.e),
     ("reversed gumbel", 2 ** (-1 / math.e), math.log(2) / math.e * 2 ** (-1 / math.e))],
)  # fmt: skip
def test_the_shapes_are_what_they_are_called(shape, share, slope):
    """P at z = 1 of each shape with P = 1/2 at 0, and Firth's penalty from n P'^2 / (P (1 - P)) of two levels."""
    found = levels((math.exp(-3), 7), (math.exp(-1), 12))
    one, half = np.array(-4.0), np.array([1.0])  # z = 1 at the harder level; a slope of 1/3 would be z = 1 at the other
    plain, penalised = likelihoods(found[:1], one, half, shape)
    assert plain[0] == pytest.approx(7 * math.log(share) + 13 * math.log(1 - share))
    assert penalised[0] == -math.inf  # one level bears no slope
    near = np.array([1e-6])  # both levels at P = 1/2, where P' is that of z = 0
    flat = {"logistic": 0.25, "gumbel": math.log(2) / 2, "reversed gumbel": math.log(2) / 2}[shape]
    plain, penalised = likelihoods(found, np.array(-2.0), near, shape)
    weight = 20 * flat**2 / 0.25
    assert plain[0] == pytest.approx(40 * math.log(0.5), rel=1e-4)
    assert penalised[0] - plain[0] == pytest.approx(math.log(2 * weight * 2 * weight) / 2, rel=1e-4)
    step = 1e-5  # and at z = 1 by a finite difference of P
    plus, minus = (math.exp(likelihoods([Level(math.exp(-3), 1, 1)], np.array(-4.0 + d), half, shape)[0][0])
                   for d in (-step, step))  # fmt: skip
    assert (plus - minus) / (2 * step) == pytest.approx(slope, rel=1e-4)
