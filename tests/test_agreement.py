"""Our stochastic experiments behave as the reference's, and the test of whole curves does what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tpobench.stats.permutation import curve_permutation

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from agreement import BLOCK, EXTRACT, OF, Pair, agreement, blocks, reference, table  # noqa: E402 - benchmarks are no package


def test_the_curve_test_is_exact_where_all_labellings_can_be_listed():
    """Two seeds against two: six labellings, two of which are as extreme as perfect separation."""
    x, y = np.array([[0.0, 1.0], [0.1, 1.1]]), np.array([[5.0, 1.0], [5.3, 1.2]])
    assert curve_permutation(x, y, np.random.default_rng(0)) == pytest.approx(2 / 6)


def test_the_curve_test_keeps_its_level():
    """Correlated curves of one population are told apart in about 5 % of cases, however many evaluations there are."""
    rng = np.random.default_rng(1)
    walks = rng.normal(size=(300, 14, 30)).cumsum(axis=2)
    ps = [curve_permutation(w[:8], w[8:], rng, 199) for w in walks]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.09


def test_the_curve_test_sees_a_difference_that_is_gone_at_the_end():
    """A final value hides what the curve shows."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 20, 10))
    y[:, 3:5] += 2.5
    pair = Pair("mnist", "tpo", 10_000, x, y)
    mean, rank, curve = agreement(pair).p
    assert curve < 0.001
    assert min(mean, rank) > 0.1


def test_curves_are_averaged_in_blocks_of_updates():
    """One update's error is mostly sampling noise."""
    assert blocks(np.arange(2.0 * BLOCK)[None]).tolist() == [[(BLOCK - 1) / 2, BLOCK + (BLOCK - 1) / 2]]


def test_the_extract_holds_the_published_means_of_the_reference():
    """MNIST: 20 seeds, final error in % as in the reference's table; terminal reward: six seeds."""
    final = {rule: 100 * errors[:, -1].mean() for rule, errors in reference("mnist").items()}
    expected = {"ce": 2.67, "reinforce": 5.23, "dg": 3.12, "tpo": 2.86, "grpo_batch": 6.94, "group_pg": 7.08}
    assert final == pytest.approx(expected, abs=0.006)
    assert {rule: len(errors) for rule, errors in reference("terminal_small").items()} == dict.fromkeys(OF, 6)
    assert EXTRACT.stat().st_size < 100_000


def test_the_table_adjusts_over_all_its_tests():
    """A raw p stands beside the adjusted one, which is larger."""
    rng = np.random.default_rng(3)
    rows = [agreement(Pair("mnist", rule, 10_000, *rng.uniform(size=(2, 8, 4)))) for rule in ("tpo", "dg")]
    text = table(rows)
    assert text.count("(8)") == 4
    assert "mnist tpo" in text
    assert "p curve" in text
