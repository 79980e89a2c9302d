"""Formulas that are written out because scipy's wrappers take a hundred times as long give scipy's numbers."""

import math

import numpy as np
import pytest
from scipy import stats

from tpobench.stats.estimate import median_estimate
from tpobench.stats.intervals import RESAMPLES, ordered_intervals, quantiles, wilson_interval
from tpobench.stats.permutation import mann_whitney, ranks


def samples(count, least=3):
    """Skewed arms of 3 to 24 seeds, in turn with many ties, some and none."""
    rng = np.random.default_rng(5)
    for i in range(count):
        n, m = rng.integers(least, 25, size=2)
        yield np.round(rng.gamma(1.0, size=n), i % 3 * 7), np.round(rng.gamma(1.3, size=m), i % 3 * 7)


def test_wilson():
    """Every count of up to 30 runs, none and all included."""
    for n in range(1, 31):
        for k in range(n + 1):
            expected = stats.binomtest(k, n).proportion_ci(0.9, method="wilson")
            assert wilson_interval(k, n, 0.9) == pytest.approx(tuple(expected), abs=1e-14)


def test_median():
    """The order statistics of a quantile test, and none where it has none."""
    for n in range(2, 60):
        x = np.arange(n, dtype=float)
        ends, found = stats.quantile_test(x, p=0.5).confidence_interval(0.95), median_estimate(x)
        if math.isfinite(ends.low) and math.isfinite(ends.high):
            assert (found.low, found.high) == (ends.low, ends.high)
        else:
            assert found.low is None


def test_mann_whitney():
    """Corrected for ties and for continuity."""
    for x, y in samples(60):
        assert mann_whitney(x, y) == pytest.approx(stats.mannwhitneyu(x, y, method="asymptotic").pvalue, rel=1e-12)


def test_ranks():
    """Ties at their mean rank."""
    for x, y in samples(30):
        pooled = np.concatenate([x, y])
        np.testing.assert_array_equal(ranks(pooled), stats.rankdata(pooled))


@pytest.mark.parametrize("n", [5, 20, 300])
def test_trimmed_means(n):
    """Percentiles of `trim_mean` and of the worst quarter of the same resamples, ties and seeds above a byte too."""
    for digits in (1, 9):
        x = np.round(np.random.default_rng(n).gamma(0.5, size=n), digits)
        table = x[np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))]
        for first, last, expected in (
            (n // 4, n - n // 4, stats.trim_mean(table, 0.25, axis=1)),
            (n - n // 4, n, np.sort(table, axis=1)[:, n - n // 4 :].mean(axis=1)),
        ):
            for _ in range(2):
                found = ordered_intervals(x[None], first, last, np.random.default_rng(0), 0.9)
                assert np.ravel(found) == pytest.approx(np.quantile(expected, [0.05, 0.95]), rel=1e-13)


def test_quantiles():
    """Numpy's interpolation to the last bit, NaN left out; no ends at a share that is NaN, and none of NaN alone."""
    for x, _ in samples(60):
        for low, high in ((0.025, 0.975), (0.31, 0.31), (0.0, 1.0)):
            assert quantiles(np.append(x, math.nan), low, high) == tuple(np.quantile(x, [low, high]))
    assert np.isnan(quantiles(np.arange(9.0), math.nan, 0.9)).all()
    assert np.isnan(quantiles(np.full(9, math.nan), 0.1, 0.9)).all()
