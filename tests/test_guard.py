"""Every trap of the raw calls: what scipy and numpy answer, and what the guard answers instead; and every printed case.

Each trap is one case: a raw call with what it is known to return, and our status and reason for the same data.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from simulated import family

from tpobench.stats.censored import crossing_text, mean_curve_crossing, steps_estimate, steps_text
from tpobench.stats.compare import attainable_text, compare, holm
from tpobench.stats.estimate import mean_estimate, median_estimate, rate_estimate
from tpobench.stats.guard import guarded_interval, guarded_test
from tpobench.stats.outcomes import compare_rates, compare_times
from tpobench.stats.sequential import SequentialPlan, look_at
from tpobench.stats.texts import (
    interval_note,
    mean_text,
    p_text,
    pairing_text,
    seeds_text,
)

DRAWN = np.random.default_rng(3)
LOW, HIGH = DRAWN.normal(0, 1, 20), DRAWN.normal(10, 1, 20)
NAN, INF = np.array([math.nan, *LOW[1:]]), np.array([math.inf, *LOW[1:]])


def rng():
    return np.random.default_rng(0)


def raw(call):
    """A raw call's answer, its warnings unheard as in a script."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return call()


def permuted(a, b):
    return stats.permutation_test((a, b), lambda x, y: x.mean() - y.mean(), n_resamples=999, rng=rng()).pvalue


def permuted_t(a, b):
    method = stats.PermutationMethod(n_resamples=999, rng=rng())
    return stats.ttest_ind(a, b, equal_var=False, method=method).pvalue


def bca(x):
    return stats.bootstrap((x,), np.mean, method="BCa", rng=rng()).confidence_interval


def excludes(found):
    """Some interval of no width does not hold the value it is around; which one depends on the processor's sums."""
    return any(interval.low == interval.high != value for value, interval in found)


def is_nan(found):
    return bool(np.all(np.isnan(found)))


def fooled(known):
    """As bad as known up to scipy 1.17; later ones answer nan."""
    return lambda found: known(found) or bool(np.isnan(getattr(found, "low", found)))


def equals(p, rel=0.02):
    return lambda found: found == pytest.approx(p, rel=rel)


def claims(answer):
    """A method that answers the same whatever it is given."""
    return lambda *_: answer


def mean_of(values, **kwargs):
    return mean_estimate(values, rng=rng(), **kwargs)


def compared(a, b, **kwargs):
    return compare(a, b, rng=rng(), **kwargs)


TRAPS = {
    "BCa of a constant is nan": (
        lambda: bca([0.5] * 20), is_nan,
        lambda: mean_of([0.5] * 20), "constant", "all 20 seeds identical: no interval"),
    "BCa of other constants excludes them by one ulp": (
        lambda: [(v, bca([v] * n)) for v in (0.1, 0.3, 0.7) for n in (3, 10, 20, 30)], excludes,
        lambda: mean_of([0.1] * 20), "constant", "all 20 seeds identical: no interval"),
    "BCa of a NaN is nan": (
        lambda: bca(NAN), is_nan, lambda: mean_of(NAN), "not finite", "1 of 20 values are not finite"),
    "Welch calls two constants certain": (
        lambda: stats.ttest_ind([0.3] * 20, [0.4] * 20, equal_var=False).pvalue, lambda p: p < 1e-100,
        lambda: compared([0.3] * 20, [0.4] * 20), "deterministic",
        "deterministic difference -0.1; no sampling variance, no test"),
    "a studentized permutation gives its minimum for inf": (
        lambda: permuted_t(INF, HIGH), fooled(equals(0.002)),
        lambda: compared(INF, HIGH), "not finite", "1 values are not finite: score them"),
    "a permutation test gives its minimum for one NaN": (
        lambda: permuted(NAN, HIGH), fooled(equals(0.002)),
        lambda: compared(NAN, HIGH), "not finite", "1 values are not finite: score them"),
    "a permutation test gives its minimum for NaN alone": (
        lambda: permuted(np.full(20, math.nan), HIGH), fooled(equals(0.002)),
        lambda: compared([math.nan] * 20, HIGH), "not finite", "20 values are not finite: score them"),
    "a permutation test gives its minimum for inf": (
        lambda: permuted(INF, HIGH), equals(0.002),
        lambda: compared(INF, HIGH), "not finite", "1 values are not finite: score them"),
    "the paired t of two equal differences is certain": (
        lambda: stats.ttest_rel([1.0, 2.0], [1.1, 2.1]).pvalue, lambda p: p < 1e-14,
        lambda: compared([1.0, 2.0], [1.1, 2.1], paired=True), "tested", ""),
    "the paired t calls two constants certain": (
        lambda: stats.ttest_rel([0.3] * 20, [0.4] * 20).pvalue, lambda p: p < 1e-100,
        lambda: compared([0.3] * 20, [0.4] * 20, paired=True), "deterministic",
        "deterministic difference -0.1; no sampling variance, no test"),
    "the paired t broadcasts 1 against 20": (
        lambda: stats.ttest_rel([0.1], LOW).pvalue, math.isfinite,
        lambda: guarded_test(claims(0.5), [0.1], LOW, name="t", paired=True), "unequal",
        "paired arms need the same seeds, got 1 and 20"),
    "wilcoxon of equal arms is nan or 1": (
        lambda: stats.wilcoxon([0.5] * 20, [0.5] * 20, method="approx").pvalue, is_nan,
        lambda: compared([0.5] * 20, [0.5] * 20, paired=True), "identical", "identical (bitwise)"),
    "wilcoxon broadcasts 1 against 20": (
        lambda: stats.wilcoxon([0.1], LOW).pvalue, math.isfinite,
        lambda: guarded_test(claims(0.5), [0.1], LOW, name="w", paired=True), "unequal",
        "paired arms need the same seeds, got 1 and 20"),
    "wilcoxon ranks inf - inf": (
        lambda: stats.wilcoxon([math.inf] * 3 + list(LOW[3:9]), [math.inf] * 3 + list(HIGH[3:9])).pvalue,
        lambda p: not math.isnan(p) and p < 0.05,
        lambda: compared([math.inf] * 3 + list(LOW[3:9]), [math.inf] * 3 + list(HIGH[3:9]), paired=True),
        "not finite", "6 values are not finite: score them"),
    "Brunner-Munzel is nan at n = 2": (
        lambda: stats.brunnermunzel([0.1, 0.2], [0.8, 0.9]).pvalue, is_nan,
        lambda: compared([0.1, 0.2], [0.8, 0.9]), "tested", ""),
    "Brunner-Munzel is nan for two constants": (
        lambda: stats.brunnermunzel([0.1] * 20, [0.2] * 20).pvalue, is_nan,
        lambda: compared([0.1] * 20, [0.2] * 20), "deterministic",
        "deterministic difference -0.1; no sampling variance, no test"),
    "Brunner-Munzel is nan at perfect separation": (
        lambda: stats.brunnermunzel(LOW, HIGH).pvalue, is_nan, lambda: compared(LOW, HIGH), "tested", ""),
    "dunnett says p = 1 for a NaN": (
        lambda: stats.dunnett(NAN, LOW, control=HIGH).pvalue, lambda p: bool(np.all(p == 1)),
        lambda: compared(NAN, HIGH), "not finite", "1 values are not finite: score them"),
    "quantile_test counts a NaN as a value": (
        lambda: stats.quantile_test(NAN, p=0.5).confidence_interval(),
        fooled(lambda found: math.isfinite(found.low) and math.isfinite(found.high)),
        lambda: median_estimate(NAN), "not finite", "1 values are NaN"),
    "the log-rank test of two arms that never got there is nan": (
        lambda: stats.logrank(
            stats.CensoredData(right=[2000.0] * 5), stats.CensoredData(right=[2000.0] * 5)).pvalue, is_nan,
        lambda: compare_times([math.inf] * 5, [math.inf] * 5, 2000, 2000, rng=rng(), test="logrank"), "untestable",
        "never reached in either arm: no test"),
    "numpy's spread of one value is 0": (
        lambda: np.std([0.071]), equals(0.0), lambda: mean_of([0.071]), "single", "1 seed: no uncertainty"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_of_the_raw_calls_becomes_a_status(name):
    """The raw answer is as bad as known, and ours is a status with a reason, and never a NaN."""
    call, known, ours, status, reason = TRAPS[name]
    assert known(raw(call)), raw(call)
    found = ours()
    assert (found.status, found.reason) == (status, reason)
    numbers = [v for v in vars(found).values() if isinstance(v, float)]
    assert not any(math.isnan(v) for v in numbers)
    if status not in {"tested", "identical"}:
        assert getattr(found, "p", None) is None


def test_perfect_separation_and_equal_differences_have_sound_p():
    """Where raw calls give nan or 1e-17: the permutation floor, 1/3 at two seeds, and .5 for two pairs."""
    assert compared(LOW, HIGH).p == pytest.approx(2e-4)
    assert compared([0.1, 0.2], [0.8, 0.9]).p == pytest.approx(1 / 3)
    assert compared([1.0, 2.0], [1.1, 2.1], paired=True).p == 0.5
    assert compare_rates(20, 20, 20, 20).p == 1.0


def test_a_family_with_an_untested_member_is_adjusted_without_it():
    """statsmodels' Holm counts a NaN in m; None is not counted here."""
    assert holm([0.01, None, 0.03]) == [0.02, None, 0.03]


def test_a_diverged_run_is_never_called_equal():
    """AdaStop calls an arm with a NaN "equal"; scored at the worst value it loses, without a score it is refused."""
    plan = SequentialPlan(("a", "b"), per_look=5, looks=4)
    lost = {"a": np.linspace(0, 0.1, 5), "b": [math.nan] * 5}
    assert look_at(plan, lost, worst=1.0).decisions["a", "b"].status == "better"
    with pytest.raises(ValueError, match="5 values of b are not finite: give the worst score"):
        look_at(plan, lost)


@pytest.mark.parametrize("p", [math.nan, math.inf, -0.1, 1.5])
def test_an_impossible_p_is_not_computable(p):
    """Whatever a method returns that is no p-value is a reason, not a number."""
    found = guarded_test(claims(p), LOW, HIGH, name="odd")
    assert (found.p, found.status, found.reason) == (None, "not computable", "odd: not computable for these values")


def test_an_asymptotic_p_never_falls_below_what_labels_can_give():
    """A method that claims 1e-30 at 20 against 20 seeds is held to the least p of its labels."""
    assert guarded_test(claims(1e-30), LOW, HIGH, name="bold", smallest=0.01).p == 0.01


@pytest.mark.parametrize("ends", [None, (math.nan, 1.0), (0.0, math.inf), (2.0, 1.0), (5.0, 6.0)])
def test_an_impossible_interval_is_not_computable(ends):
    """No ends, a NaN, an open end, swapped ends, or an interval without its own estimate."""
    found = guarded_interval(claims(ends), [0.0, 1.0], name="odd", around=0.5)
    assert (found.low, found.high, found.status) == (None, None, "not computable")


# What is printed, row by row.


def test_one_seed_is_printed_without_a_spread():
    """n = 1: the value, no ±, no test, and the footnote."""
    assert mean_text(mean_of([0.071])) == "0.0710 (n=1)"
    assert mean_text(mean_of([0.071]), 100.0) == "7.10 (n=1)"
    assert interval_note([0.071]) == "1 seed: no uncertainty"
    assert compared([0.071], [0.9]).reason == "n=1: no test with 1 seed"


def test_two_seeds_are_printed_as_their_values():
    """n = 2: both values, and the smallest p that two seeds can give."""
    assert mean_text(mean_of([0.3, 0.1])) == "0.10 and 0.30 (n=2)"
    found = family({"a": {0: 0.1, 1: 0.2}, "b": {0: 0.8, 1: 0.9}})["a", "b"]
    text = "n=2: smallest possible p .333 > .05 (Holm, 1 test): cannot reject; need 4 seeds"
    assert (found.status, found.reason) == ("untestable", text)


def test_an_unattainable_level_is_printed():
    """Five seeds in a family of forty tests; with seven it can reject."""
    text = "n=5: smallest possible p .0079 > .00125 (Holm, 40 tests): cannot reject; need 7 seeds"
    assert attainable_text((5, 5), family=40) == text
    assert attainable_text((7, 7), family=40) == ""


def test_identical_and_deterministic_arms_are_printed():
    """Bitwise equal arms have p = 1 and difference 0; different constants have no test."""
    same = compared([0.2] * 5, [0.2] * 5)
    assert (same.reason, same.p, same.difference) == ("identical (bitwise)", 1.0, 0.0)
    text = "deterministic difference -0.1; no sampling variance, no test"
    assert compared([0.1] * 5, [0.2] * 5).reason == text
    assert mean_text(mean_of([0.2] * 5)) == "0.200 (all 5 seeds identical)"


def test_diverged_runs_are_printed_and_weighed():
    """Two of twenty diverged: scored or dropped, and counted; all diverged: no mean at all."""
    values = np.array([0.0, 0.1] * 9 + [1.0, 1.0])
    found = mean_of(values, lowest=0.0, highest=1.0, ci="t")
    assert mean_text(found, diverged=2, worst=1.0) == "0.14 [0.01, 0.28] (2/20 diverged, scored 1.0)"
    kept = mean_of(values[:18], ci="t")
    assert mean_text(kept, diverged=2, lost=2) == "0.050 [0.024, 0.076] (2/20 diverged, dropped)"
    assert mean_text(mean_of([1.0] * 20), diverged=20, worst=1.0) == "diverged 20/20"


@pytest.mark.parametrize(
    ("times", "printed"),
    [
        ([865] * 6 + [1000, 1100, 1200, 1400, 1454] + [math.inf] * 9, "1427 [865, >2000] (11/20)"),
        ([math.inf] * 20, ">2000 (0/20; rate <= 16%)"),
        ([], "missing"),
    ],
)
def test_never_reached_is_printed(times, printed):
    """Some, all, or no runs at all; never a dash, never the mean of those that got there."""
    assert steps_text(steps_estimate(times, 2000, rng=rng())) == printed


def test_missing_cells_and_unequal_seeds_are_printed():
    """`missing`; `n=20 vs 17`; pairs on the common seeds say so."""
    assert mean_text(mean_of([])) == "missing"
    assert compared([], LOW).reason == "missing"
    assert rate_estimate(0, 0).reason == "missing"
    assert crossing_text(mean_curve_crossing(np.empty((0, 3)), [0, 1, 2], 0.1, rng=rng())) == "missing"
    assert seeds_text((20, 17)) == "n=20 vs 17"
    assert seeds_text((20, 20)) == "n=20"
    assert seeds_text((20, 17), common=17) == "17 pairs (common of 20 and 17)"
    assert seeds_text((20, 20), common=20) == "20 pairs"


def test_pairing_prints_its_correlation_and_its_worth():
    """r and the share of the variance that pairing took away, or added."""
    near, far = compared([0, 1, 2], [0, 2, 4], paired=True), compared([0, 1, 2], [4, 2, 0], paired=True)
    assert pairing_text(near) == "r=1.00, pairing saved 80% of the variance"
    assert pairing_text(far) == "r=-1.00, pairing added 80% of the variance"
    assert pairing_text(compared(LOW, HIGH)) == ""


@pytest.mark.parametrize(("p", "text"), [(None, ""), (0.0002, "<.001"), (0.0034, ".0034"), (0.31, ".31"), (1.0, "1")])
def test_p_is_printed_or_blank(p, text):
    """Never "nan", never "ns"."""
    assert p_text(p) == text


def test_one_dominant_seed_is_pointed_out():
    """More than half of the sum in one seed: the ordinary intervals cover less than they say."""
    note = "1 of 10 seeds holds 90% of the sum: intervals cover less than they say; try --ci studentized"
    assert interval_note([0.01] * 9 + [0.81]) == note
    assert interval_note([0.1] * 10) == ""
