"""Whole curves to one scalar per seed, and the band of their mean: arrays (n, E) of n seeds and E evaluations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tpobench.stats.guard import Floats

Bools = NDArray[np.bool_]


def below_threshold(values: ArrayLike, threshold: float) -> Bools:
    """`values` < `threshold` in the single precision that errors are measured in: the one meaning of solved or reached.

    An error of exactly 1% that was measured in it is not below 1%, though its double is.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.asarray(values, dtype=np.float64).astype(np.float32) < np.float32(threshold))


def final_window(curves: ArrayLike, window: int, worst: float) -> Floats:
    """Mean of the last `window` evaluations of each seed (n, E) -> (n,); a diverged run scores the worst value."""
    x = np.asarray(curves, dtype=np.float64)
    finite = np.asarray(np.isfinite(x).all(axis=1))
    return np.where(finite, np.where(finite[:, None], x, 0.0)[:, -window:].mean(axis=1), worst)


def area_under_curve(curves: ArrayLike, steps: ArrayLike, worst: float) -> Floats:
    """Mean of the metric over the steps: trapezoid / step range, (n, E) -> (n,); worst value after divergence."""
    x, t = np.asarray(curves, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    x = np.where(np.isfinite(x), x, worst)
    if len(t) < 2:
        return np.asarray(x.mean(axis=1))
    return np.asarray(((x[:, 1:] + x[:, :-1]) / 2 * np.diff(t)).sum(axis=1) / (t[-1] - t[0]))


def bootstrap_band(
    curves: ArrayLike, rng: np.random.Generator, *, draws: int = 2000, confidence: float = 0.95
) -> tuple[Floats, Floats] | None:
    """Pointwise percentile band of the mean curve, whole seeds resampled: (n, E) -> two (E,).

    None at one seed, and where a value is not finite: a diverged run has to be scored first.
    """
    x = np.asarray(curves, dtype=np.float64)
    n = len(x)
    if n < 2 or not np.isfinite(x).all():
        return None
    means = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n @ x
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    mean = x.mean(axis=0)  # where all seeds are equal, sums in another order lie beside it by rounding
    return np.minimum(low, mean), np.maximum(high, mean)
