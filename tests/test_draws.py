"""Draws that are remembered are those that would have been drawn, and leave the generator where it would be."""

import numpy as np
import pytest
from scipy import stats

from tpobench.stats import draws
from tpobench.stats.guard import quiet
from tpobench.stats.intervals import RESAMPLES, bca_intervals, percentile_intervals, resampled_counts, resampled_means
from tpobench.stats.permutation import label_table, random_labellings, sign_flip, sign_table


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    """Each test begins without tables."""
    monkeypatch.setattr(draws, "_memory", draws._Memory())


def fresh():
    return np.random.default_rng(3)


@pytest.mark.parametrize("most", [0, 2**27])
@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937])
def test_tables_and_what_follows_them_are_those_of_the_generator(most, bits, monkeypatch):
    """First time and again, remembered or not: numpy's own counts, labels and indices, then numpy's next numbers."""
    monkeypatch.setattr(draws, "MOST_BYTES", most)
    reference = np.random.Generator(bits(3))
    counts = reference.multinomial(7, np.full(7, 1 / 7), size=50)
    places = reference.permuted(np.tile(np.arange(9), (40, 1)), axis=1)[:, :4]
    indices = reference.integers(0, 5, size=(30, 5))
    after = reference.random(3)
    for _ in range(2):
        rng = np.random.Generator(bits(3))
        np.testing.assert_array_equal(resampled_counts(7, rng, 50), counts)
        labels = random_labellings(9, 4, rng, 40)
        assert (labels.sum(1) == 4).all()
        assert np.take_along_axis(labels, places, 1).all()
        np.testing.assert_array_equal(draws.seeds_again(5, rng, 30), indices.T)
        np.testing.assert_array_equal(rng.random(3), after)
    assert len(draws._memory.tables) == (3 if most and bits is np.random.PCG64 else 0)


def test_labels_are_those_of_shuffled_places():
    """More than fit a cache, whose rows are no whole bytes, in parts as at once; then numpy's next numbers."""
    reference, rng = fresh(), fresh()
    places = reference.permuted(np.tile(np.arange(61), (1001, 1)), axis=1)
    labels = np.concatenate([label_table(61, 20, rng, 300), label_table(61, 20, rng, 701)])
    np.testing.assert_array_equal(labels.nonzero()[1].reshape(1001, 20), np.sort(places[:, :20], axis=1))
    assert rng.random() == reference.random()


def test_signs_are_those_that_numpy_chooses():
    """In parts as at once, also behind half a word of the stream; then numpy's next numbers."""
    for before in (0, 3):
        reference, rng = fresh(), fresh()
        for source in (reference, rng):
            source.integers(5, size=before)
        signs = reference.choice([-1, 1], size=(101, 9))
        np.testing.assert_array_equal(np.concatenate([sign_table(9, rng, 60), sign_table(9, rng, 41)]), signs)
        assert rng.random() == reference.random()


def test_a_generator_elsewhere_in_its_stream_draws_something_else():
    """Remembered by state, not by size."""
    rng = fresh()
    assert not np.array_equal(resampled_counts(7, rng, 50), resampled_counts(7, rng, 50))


def test_bca_is_that_of_scipy():
    """The remembered resamples give scipy's ends but for rounding, of skewed values with ties and without."""
    for x in (fresh().gamma(2.0, size=12), np.round(fresh().gamma(0.5, size=20), 1), np.repeat([0.0, 1.0], [15, 4])):
        found = stats.bootstrap((x,), np.mean, n_resamples=RESAMPLES, confidence_level=0.9, method="BCa", rng=fresh())
        for _ in range(2):
            ends = np.concatenate(bca_intervals(np.stack([x, x]), fresh(), 0.9))
            assert ends == pytest.approx(np.repeat(found.confidence_interval, 2), rel=1e-13, abs=0)


def test_bca_is_none_where_that_of_scipy_is_none():
    """All but one of the seeds equal, and that one beside them by rounding."""
    x = np.append(np.full(19, 0.1), np.nextafter(0.1, 1.0))
    with quiet():
        found = stats.bootstrap((x,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=fresh()).confidence_interval
        assert np.isnan(found).all()
        assert np.isnan(bca_intervals(x[None], fresh(), 0.95)).all()


def test_resamples_are_drawn_once_for_all_arms_of_as_many_seeds(monkeypatch):
    """A report of many arms draws its tables once per size and test."""
    asked = []
    monkeypatch.setattr(draws, "_seeds_again", lambda rng, n, k: asked.append(n) or rng.integers(0, n, size=(n, k)))
    for arm in range(6):
        percentile_intervals(np.arange(8.0)[None] + arm, fresh(), 0.9)
        percentile_intervals(np.arange(9.0)[None] + arm, fresh(), 0.9)
    assert asked == [8, 8, 9, 9]  # which seeds, and how often each


@pytest.mark.parametrize("n", [2, 7, 20, 129, 300])
def test_resampled_means_are_those_of_numpy(n):
    """As `x[indices].mean(axis=1)` but for rounding, and on the same side of x̄ where as many hundredths meet it."""
    x = np.stack(
        [fresh().lognormal(sigma=3, size=n), np.round(fresh().random(n), 2), np.repeat([0.1, 0.7], [1, n - 1])]
    )
    indices = fresh().integers(0, n, size=(RESAMPLES, n))
    means, expected = resampled_means(x, fresh()), np.array([row[indices].mean(axis=1) for row in x])
    np.testing.assert_allclose(means, expected, rtol=1e-14)
    middle = x.mean(axis=1, keepdims=True)
    np.testing.assert_array_equal(np.sign(means - middle), np.sign(expected - middle))


def test_sign_flips_are_those_of_numpy():
    """More signs than can be listed: p from `rng.choice([-1, 1])`, with the observed signs counted once more."""
    x = fresh().normal(0.3, size=20)
    signs = fresh().choice([-1.0, 1.0], size=(9999, 20))
    above, below = (signs @ x >= x.sum()).sum() + 1, (signs @ x <= x.sum()).sum() + 1
    assert sign_flip(x, fresh()) == sign_flip(x, fresh()) == pytest.approx(2 * min(above, below) / 10_000, abs=1e-12)
