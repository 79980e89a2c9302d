"""The suite as a whole: hand-computed scores, stratified intervals and tests, and their level and power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tpobench.stats.suite_level import (
    Reference,
    normalise,
    shared_tasks,
    suite_compare,
    suite_compare_pairs,
    suite_estimate,
)

TASKS = [f"t{i}" for i in range(8)]
ERROR = dict.fromkeys(TASKS, Reference(worst=1.0, best=0.0))


def rng():
    return np.random.default_rng(0)


def drawn(source, n, shift=0.0, sd=0.1):
    return {task: source.normal(0.5 + shift, sd, n) for task in TASKS}


def test_scores_run_from_the_fixed_worst_to_the_fixed_best():
    """An error of .25 is a score of .75; a reward of 4 between 0 and 5 is .8; beyond the ends is beyond 0 and 1."""
    assert normalise([1.0, 0.25, 0.0], Reference(1.0, 0.0)).tolist() == [0.0, 0.75, 1.0]
    assert normalise([4.0, 6.0], Reference(0.0, 5.0)).tolist() == pytest.approx([0.8, 1.2])
    with pytest.raises(ValueError, match="two different ends, got worst 1 and best 1"):
        normalise([0.5], Reference(1.0, 1.0))


def test_a_rule_more_does_not_change_the_scores_of_the_others():
    """Tasks that one rule lacks are left out for all, and nothing else depends on who is compared."""
    arms = {"a": {"t0": [0.1], "t1": [0.2]}, "b": {"t0": [0.3], "t1": []}, "c": {"t1": [0.1], "t0": [0.9]}}
    assert shared_tasks(arms) == (("t0",), ("t1",))
    assert shared_tasks({"a": arms["a"]}) == (("t0", "t1"), ())


def test_the_mean_weighs_tasks_and_the_iqm_runs():
    """Task means .9 and .5 give .7 whatever the seeds; the IQM of 8 runs is the mean of the middle four."""
    tasks = {"t0": [0.1] * 2, "t1": [0.5, 0.4, 0.6, 0.45, 0.55, 0.5]}
    assert suite_estimate(tasks, ERROR, rng=rng()).value == pytest.approx(0.7)
    pooled = np.sort([0.9] * 2 + [0.5, 0.6, 0.4, 0.55, 0.45, 0.5])
    found = suite_estimate(tasks, ERROR, rng=rng(), statistic="iqm")
    assert found.value == pytest.approx(pooled[2:6].mean())
    assert (found.tasks, found.runs) == (2, 2)


def test_few_seeds_are_told_that_the_interval_is_too_narrow():
    """Three seeds: an interval, and a warning with it; five have none."""
    source = np.random.default_rng(1)
    assert suite_estimate(drawn(source, 3), ERROR, rng=rng()).reason == "3 seeds: CI too narrow below 5"
    assert suite_estimate(drawn(source, 5), ERROR, rng=rng()).reason == ""
    assert (
        suite_compare(drawn(source, 4), drawn(source, 4), ERROR, rng=rng()).reason == "4 seeds: CI too narrow below 5"
    )


@pytest.mark.parametrize(("n", "least", "most"), [(3, 0.75, 0.91), (10, 0.89, 0.99)])
def test_stratified_intervals_cover_as_measured(n, least, most):
    """About .87 at 3 seeds, which is why it is flagged, and .94 at 10; 200 suites, seeded."""
    source = np.random.default_rng(4)
    found = [suite_estimate(drawn(source, n), ERROR, rng=source) for _ in range(200)]
    assert least <= np.mean([e.low <= 0.5 <= e.high for e in found]) <= most


def test_one_seed_has_no_interval_and_no_test():
    """The value alone, and why."""
    one = {task: [0.1] for task in TASKS}
    found = suite_estimate(one, ERROR, rng=rng())
    assert (found.value, found.low, found.reason) == (pytest.approx(0.9), None, "1 seed: no uncertainty")
    tested = suite_compare(one, {task: [0.2] for task in TASKS}, ERROR, rng=rng())
    assert (tested.p, tested.low, tested.status) == (None, None, "untestable")
    assert tested.difference == pytest.approx(0.1)


def test_constant_tasks_are_constant_to_a_stratified_bootstrap():
    """Values that differ between tasks but not between seeds have no interval; different ones no test."""
    a, b = ({task: [k / 10 + d] * 5 for k, task in enumerate(TASKS)} for d in (0.0, 0.1))
    assert suite_estimate(a, ERROR, rng=rng()).status == "constant"
    assert suite_compare(a, b, ERROR, rng=rng()).status == "deterministic"
    same = suite_compare(a, a, ERROR, rng=rng())
    assert (same.status, same.p, same.difference) == ("identical", 1.0, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_never_aggregated(bad):
    """A status for the estimate and for the test."""
    broken = drawn(np.random.default_rng(0), 5) | {"t3": np.array([0.1, 0.2, 0.3, 0.4, bad])}
    assert suite_estimate(broken, ERROR, rng=rng()).status == "not finite"
    assert suite_compare(broken, drawn(np.random.default_rng(0), 5), ERROR, rng=rng()).status == "not finite"


def test_nothing_is_missing():
    """No tasks, or a task without runs."""
    assert suite_estimate({}, ERROR, rng=rng()).status == "missing"
    assert suite_compare({"t0": []}, {"t0": [0.1]}, ERROR, rng=rng()).status == "missing"


def test_unknown_or_different_tasks_are_refused():
    """A task without fixed ends has no score; arms are compared on the same tasks."""
    with pytest.raises(ValueError, match="no reference scores for x"):
        suite_estimate({"x": [0.1]}, ERROR, rng=rng())
    with pytest.raises(ValueError, match="tasks differ: t1"):
        suite_compare({"t0": [0.1]}, {"t0": [0.1], "t1": [0.2]}, ERROR, rng=rng())


def test_superiority_is_averaged_over_tasks():
    """All better in one task (1), half of the pairs in the other (1/2): .75, in the direction of the score."""
    a, b = {"t0": [0.1, 0.2], "t1": [0.1, 0.9]}, {"t0": [0.5, 0.6], "t1": [0.5, 0.5]}
    found = suite_compare(a, b, ERROR, rng=rng())
    assert found.better == 0.75
    assert found.difference == pytest.approx((0.4 + 0.0) / 2)
    assert (found.better_low, found.better_high) == (0.5, 1.0)  # of two seeds any may be drawn twice


def test_superiority_in_every_pair_has_no_interval():
    """All resamples are 1: no width that would read as certainty."""
    source = np.random.default_rng(3)
    found = suite_compare(drawn(source, 5, shift=-3), drawn(source, 5), ERROR, rng=rng())
    assert (found.better, found.better_low, found.better_high) == (1.0, None, None)
    assert found.low > 2.8


def test_one_task_alone_gives_the_two_sample_test():
    """All else stratified away, the p is that of the studentized permutation test."""
    source = np.random.default_rng(8)
    x, y = source.normal(0, 1, 12), source.normal(0.8, 1, 12)
    method = stats.PermutationMethod(n_resamples=9999, rng=rng())
    expected = stats.ttest_ind(x, y, equal_var=False, method=method).pvalue
    assert suite_compare({"t0": x}, {"t0": y}, ERROR, rng=rng()).p == pytest.approx(expected, abs=0.01)


def test_a_perfectly_separated_task_does_not_decide_alone():
    """Two constants in one task have an infinite t; it counts as the largest finite one, and the p stays finite."""
    source = np.random.default_rng(3)
    a, b = drawn(source, 6), drawn(source, 6)
    a["t0"], b["t0"] = np.full(6, 0.1), np.full(6, 0.2)
    a["t1"], b["t1"] = np.full(6, 0.2), np.full(6, 0.1)
    assert suite_compare(a, b, ERROR, rng=rng()).p > 0.05


def test_the_test_is_of_the_difference_that_the_verdict_names():
    """A is .4 better in one noisy task and .01 worse in seven quiet ones: ahead by .04, and p is that of this lead.

    A mean of t over tasks is below 0 here: it would call A better by a test that speaks for B.
    """
    source = np.random.default_rng(5)
    a = {
        "t0": 0.3 + 0.05 * source.normal(size=10),
        **{f"t{i}": 0.11 + 0.001 * source.normal(size=10) for i in range(1, 8)},
    }
    b = {
        "t0": 0.7 + 0.05 * source.normal(size=10),
        **{f"t{i}": 0.10 + 0.001 * source.normal(size=10) for i in range(1, 8)},
    }
    clear = suite_compare(a, b, ERROR, rng=rng())
    assert clear.difference == pytest.approx((0.4 - 7 * 0.01) / 8, abs=0.01)
    assert clear.p < 0.001 < clear.low
    b["t0"] = a["t0"][::-1] + 7 * 0.01  # now the tasks cancel, though each differs by several standard errors
    level = suite_compare(a, b, ERROR, rng=rng())
    assert level.p > 0.5
    assert level.low < 0 < level.high


def test_the_stratified_test_keeps_its_level_and_beats_task_means():
    """300 null suites reject about 15 times; half a sd is found more often than by Wilcoxon over 8 task means."""
    source = np.random.default_rng(12)
    null = [_p(source, 0.0, 99) <= 0.05 for _ in range(300)]
    assert stats.binom.ppf(0.005, 300, 0.05) <= sum(null) <= stats.binom.ppf(0.995, 300, 0.05)
    seeds, tasks = [], []
    for _ in range(60):
        a, b = drawn(source, 10, shift=-0.05), drawn(source, 10)
        seeds.append(suite_compare(a, b, ERROR, rng=source, resamples=199).p <= 0.05)
        means = [[np.mean(x) for x in arm.values()] for arm in (a, b)]
        tasks.append(stats.wilcoxon(*means, method="exact").pvalue <= 0.05)
    assert np.mean(seeds) > max(0.7, np.mean(tasks))


def _p(source, shift, resamples):
    return suite_compare(drawn(source, 5, shift), drawn(source, 5), ERROR, rng=source, resamples=resamples).p


def test_pairs_tested_at_once_are_those_tested_one_by_one():
    """Arms that overlap, are separated, equal, constant, of other sizes, of one seed, not finite."""
    source = np.random.default_rng(4)
    arms = [drawn(source, 6), drawn(source, 6, shift=-0.3), drawn(source, 5), dict.fromkeys(TASKS, np.full(6, 0.5))]
    arms += [dict.fromkeys(TASKS, np.full(6, 0.25)), drawn(source, 1), arms[0] | {"t3": np.full(6, math.nan)}]
    pairs = [(a, b, ERROR) for a in arms for b in arms]
    together = suite_compare_pairs(pairs, rng=rng(), resamples=199)
    alone = [suite_compare(*pair, rng=rng(), resamples=199) for pair in pairs]
    assert {c.status for c in together} == {"tested", "identical", "deterministic", "untestable", "not finite"}
    assert list(map(repr, together)) == list(map(repr, alone))  # of a difference that is nan, too
