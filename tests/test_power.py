"""What seeds can detect: published tables, the pilot's own shape, and what is printed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tpobench.stats.permutation import studentized_permutation
from tpobench.stats.power import (
    _arms,
    _detects,
    _pairs,
    _rejected,
    _resamples,
    _turns,
    detection,
    inflation,
    power_text,
    seeds_for_margin,
)

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
FINAL = {name: (PUBLISHED[name] / PUBLISHED["of"])[:, -50:].mean(axis=1) for name in ("tpo", "grpo")}
NORMAL = np.random.default_rng(0).normal(0, 1, 2000)
NORMAL = (NORMAL - NORMAL.mean()) / NORMAL.std() / inflation(2000)


def found(pilot, **kwargs):
    return detection(pilot, rng=np.random.default_rng(1), **kwargs)


@pytest.mark.parametrize(("n", "factor"), [(3, 2.12), (5, 1.56), (10, 1.29), (20, 1.18)])
def test_small_pilots_are_inflated(n, factor):
    """sqrt((n - 1) / chi2 at .2): the upper 80% bound of the spread."""
    assert inflation(n) == pytest.approx(factor, abs=0.005)


@pytest.mark.parametrize(("n", "sds"), [(5, 2.02), (10, 1.33), (20, 0.91), (50, 0.57)])
def test_detectable_differences_of_normal_data_are_the_tabulated_ones(n, sds):
    """80% power, two-sided .05, in sd; the normal pilot is so long that its inflation was divided out."""
    assert found(NORMAL, runs=n).detectable == pytest.approx(sds, rel=0.07)


def test_a_family_costs_sensitivity():
    """A level of .005, as Holm over 10: 1.22 sd at 20 seeds."""
    assert found(NORMAL, runs=20, family=10).detectable == pytest.approx(1.22, rel=0.07)


@pytest.mark.parametrize(("d", "n"), [(0.8, 26), (1.0, 17), (1.5, 9), (2.0, 6)])
def test_seeds_for_a_normal_difference_are_the_tabulated_ones(d, n):
    """Per arm, for 80% power."""
    assert found(NORMAL, runs=20, target=d).needed == pytest.approx(n, abs=max(1, 0.1 * n))


def test_the_detectable_difference_is_detected_by_the_real_test():
    """200 pairs of arms from TPO's errors, spread as said and shifted as said: the permutation test finds 80%."""
    said = found(FINAL["tpo"])
    source = np.random.default_rng(5)
    x = FINAL["tpo"]
    pool = (x - x.mean()) * math.sqrt(20 / 19) * inflation(20)
    assert said.spread == pytest.approx(pool.std())
    draws = [(source.choice(pool, 20) + said.detectable, source.choice(pool, 20)) for _ in range(200)]
    hits = [studentized_permutation(a, b, source, 199) <= 0.05 for a, b in draws]
    assert 0.7 < np.mean(hits) < 0.92


def test_published_pilots_in_units_of_error():
    """20 seeds: TPO detects about 20 points of error, GRPO about 50 (18 and 41 before inflation)."""
    tpo, grpo = found(FINAL["tpo"]), found(FINAL["grpo"])
    assert tpo.detectable / inflation(20) == pytest.approx(0.18, abs=0.025)
    assert grpo.detectable / inflation(20) == pytest.approx(0.43, abs=0.035)


def test_strongly_correlated_pairs_detect_far_less():
    """Noise shared by both arms cancels in the differences."""
    source = np.random.default_rng(2)
    common = source.normal(0, 1, 20)
    a, b = common + source.normal(0, 0.1, 20), common + source.normal(0, 0.1, 20)
    paired, unpaired = found(a, paired_with=b), found(a)
    assert paired.detectable < 0.3 * unpaired.detectable


def test_seeds_that_cannot_reject_detect_nothing():
    """Three per arm: the smallest p is .1; the seeds for a target are still told."""
    few = found(NORMAL[:50], runs=3, target=2.0)
    assert few.detectable is None
    text = "n=3: smallest possible p .1 > .05 (Holm, 1 test): cannot reject; need 4 seeds"
    assert few.reason == text
    assert power_text(few) == f"{text}; {few.needed} seeds for 2.0"


@pytest.mark.parametrize(
    ("pilot", "status", "reason"),
    [
        ([], "missing", "missing"),
        ([0.1], "too few", "1 seed: no estimate of the spread; a pilot needs 3"),
        ([0.1, 0.2], "too few", "2 seeds: no estimate of the spread; a pilot needs 3"),
        ([0.1] * 5, "constant", "all 5 seeds identical: no interval"),
        ([0.1, 0.2, math.nan], "not finite", "1 of 3 values are not finite"),
    ],
)
def test_a_pilot_without_a_spread_says_so(pilot, status, reason):
    """A status and its reason, no number, and the reason is what is printed."""
    none = found(pilot, target=0.1)
    assert (none.status, none.reason, none.detectable, none.needed) == (status, reason, None, None)
    assert power_text(none) == reason


def test_what_is_printed():
    """Two digits, the seeds at hand, and the seeds for the target, or that there are none to speak of."""
    told = found(FINAL["tpo"], target=0.12)
    assert power_text(told) == f"with 20 seeds this cell detects >= {told.detectable:.2f}; {told.needed} seeds for 0.12"
    assert power_text(found(FINAL["tpo"], target=0.01)).endswith("; more than 1000 seeds for 0.010")
    assert power_text(told, 100.0).endswith(f"; {told.needed} seeds for 12")


def test_the_same_generator_gives_the_same_answer():
    """Pure but for the generator that is passed in."""
    assert found(FINAL["tpo"], target=0.2) == found(FINAL["tpo"], target=0.2)


@pytest.mark.parametrize(("arms", "n"), [(1, 27), (2, 51)])
def test_seeds_for_a_margin_of_half_a_spread(arms, n):
    """arms (1.645 + .842)^2 / .25 = 25 or 50, and one or two for t in place of z; checked by simulation."""
    assert seeds_for_margin(1.0, 0.5, arms=arms) == n
    source = np.random.default_rng(0)
    x = source.normal(0, 1, (2000, n)) - (source.normal(0, 1, (2000, n)) if arms == 2 else 0)
    half = 1.69 * x.std(axis=1, ddof=1) / math.sqrt(n)
    assert np.mean(x.mean(axis=1) + half < 0.5) == pytest.approx(0.8, abs=0.04)


def test_a_margin_without_size_has_no_seeds():
    """Zero margins and hopeless ones."""
    assert seeds_for_margin(1.0, 0.0) is None
    assert seeds_for_margin(1.0, 0.001) is None
    assert seeds_for_margin(0.0, 0.1) == 2


@pytest.mark.parametrize("most", [49, 99])
def test_ties_are_ties_in_half_the_digits(most):
    """Tenths, whose sums tie time and again, are counted as whole numbers are: rounding decides nothing."""
    source = np.random.default_rng(3)
    whole, signs = source.integers(-2, 5, size=(200, 9)), source.choice([-1, 1], size=(9, 999))
    null, observed = whole @ signs, whole.sum(axis=1, keepdims=True)
    expected = np.minimum((null >= observed).sum(axis=1), (null <= observed).sum(axis=1)) <= most
    assert 0.1 < expected.mean() < 0.9  # some of each
    tenths = whole * 0.1
    assert (_rejected(tenths, tenths.sum(axis=1), signs.astype(np.float32), most) == expected).all()


POOLS = {"normal": np.random.default_rng(4).normal(0, 1, 10), "two values": np.array(5 * [-1.0, 1.0])}


def shifted(redrawn, pool, difference, n=6):
    """The same draws at every difference, and which repeats are rejected in all digits."""
    rng = np.random.default_rng(6)
    data, observed, draw = redrawn(POOLS[pool], difference, n, rng)
    resamples, most = _resamples(0.05)
    null = data @ draw(resamples).T.astype(np.float64)
    slack, middle = 1e-9 * np.abs(observed[:, None]), observed[:, None]
    tail = np.minimum((null >= middle - slack).sum(axis=1), (null <= middle + slack).sum(axis=1))
    return redrawn(POOLS[pool], difference, n, np.random.default_rng(6)), tail <= most


@pytest.mark.parametrize("redrawn", [_arms, _pairs])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("difference", [0.1, 1.0, 1.3])
def test_detected_is_what_a_share_of_all_repeats_detects(redrawn, pool, difference):
    """Whichever repeats are tested first: yes at the share that is rejected, no at the least beyond it."""
    asked, rejected = shifted(redrawn, pool, difference)
    share = rejected.mean()
    assert _detects(*asked, 0.05, share)
    asked, _ = shifted(redrawn, pool, difference)
    assert not _detects(*asked, 0.05, share + 0.5 / len(rejected))


@pytest.mark.parametrize(("difference", "detected", "drawn"), [(0.1, False, 100), (1.0, True, 500)])
def test_labels_are_drawn_until_no_share_can_be_reached(difference, detected, drawn):
    """A fifth of them is enough where next to nothing is rejected; none is left out where most is."""
    (data, observed, draw), rejected = shifted(_arms, "normal", difference)
    assert (rejected.mean() > 0.3) == detected
    asked = []
    assert _detects(data, observed, lambda count: asked.append(count) or draw(count), 0.05, 0.3) == detected
    assert sum(asked) == pytest.approx(drawn, abs=1)


@pytest.mark.parametrize("redrawn", [_arms, _pairs])
@pytest.mark.parametrize("pool", POOLS)
def test_a_repeat_turns_where_its_test_does(redrawn, pool):
    """Not rejected up to the first difference, rejected beyond the last; between them lie rounding and ties."""
    first, last = _turns(*shifted(redrawn, pool, 0.0)[0], 6, 0.05)
    known = []
    for difference in (0.1, 0.5, 1.0, 1.5, 2.0):  # whole and half ones are where the sums of two values tie
        rejected = shifted(redrawn, pool, difference)[1]
        assert rejected[last < difference].all()
        assert not rejected[first >= difference].any()
        known.append(np.mean((last < difference) | (first >= difference)))
    assert np.mean(known) > (0.9 if pool == "normal" else 0.6)
