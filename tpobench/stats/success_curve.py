"""P(learn) as a curve over log p0: its likelihood, and which middles of it the data allow.

P(learn) = F(b (log p0 - log p0*)) with F(0) = 1/2 and slope b > 0, for three shapes of F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy

from tpobench.stats.guard import Floats

Shape = Literal["logistic", "gumbel", "reversed gumbel"]
SHAPES: tuple[Shape, ...] = ("logistic", "gumbel", "reversed gumbel")
STEP = 0.02  # of log p0*: breaking points are computed to 2%
BEYOND = 2.0  # how far outside the levels p0* is looked for, in log p0: a factor of 7
SLOPES = np.geomspace(0.05, 500.0, 64)  # of b, per unit of log p0
LEAST_DETERMINANT = 1e-250


@dataclass(frozen=True)
class Level:
    """One level of difficulty: how many seeds learned."""

    p0: float
    learned: int
    runs: int

    @property
    def share(self) -> float:
        """Of the seeds that learned."""
        return self.learned / self.runs


@dataclass(frozen=True)
class Profile:
    """Deviance of each log p0* of a lattice of multiples of STEP from the best of them: 0 at the best."""

    start: int  # of the lattice: log p0* = STEP * (start + i)
    deviance: Floats

    @property
    def log_p0(self) -> Floats:
        """The lattice."""
        return np.asarray(STEP * (self.start + np.arange(len(self.deviance))), dtype=np.float64)

    def over(self, first: int, last: int) -> Floats:
        """Deviances at the multiples first to last - 1; beyond the lattice that of its nearest end."""
        index = np.clip(np.arange(first, last) - self.start, 0, len(self.deviance) - 1)
        return np.asarray(self.deviance[index])


def _lattice(levels: Sequence[Level]) -> tuple[int, Floats]:
    x = [math.log(level.p0) for level in levels]
    start, end = math.floor((min(x) - BEYOND) / STEP), math.ceil((max(x) + BEYOND) / STEP)
    return start, STEP * np.arange(start, end + 1, dtype=np.float64)


def estimate(levels: Sequence[Level]) -> float:
    """Log p0* of the logistic curve, by penalised likelihood."""
    _, middle = _lattice(levels)
    _, penalised = likelihoods(levels, middle[:, None], SLOPES, "logistic")
    return float(middle[penalised.max(axis=1).argmax()])


def slope_at(levels: Sequence[Level], middle: float) -> float:
    """The logistic curve's slope, given its middle."""
    return float(SLOPES[likelihoods(levels, np.array(middle), SLOPES, "logistic")[1].argmax()])


@lru_cache(maxsize=64)
def profile(levels: tuple[Level, ...]) -> Profile:
    """The smaller of two deviances, of the likelihood and of the penalised one, each over all slopes and shapes."""
    start, middle = _lattice(levels)
    by_shape = [likelihoods(levels, middle[:, None], SLOPES, shape) for shape in SHAPES]
    both = np.max([[plain.max(axis=1), penalised.max(axis=1)] for plain, penalised in by_shape], axis=0)
    return Profile(start, np.asarray((2 * (both.max(axis=1, keepdims=True) - both)).min(axis=0)))


def likelihoods(levels: Sequence[Level], middle: Floats, slope: Floats, shape: Shape) -> tuple[Floats, Floats]:
    """l and l + log det(I) / 2 of log p0* `middle` and `slope`, broadcast against each other.

    l = sum_i k_i log P_i + (n_i - k_i) log(1 - P_i), I = sum_i w_i (1, x_i)(1, x_i)' with w = n P'^2 / (P (1 - P)).
    """
    x = np.log([level.p0 for level in levels])
    likelihood, total, first, second = (np.zeros(np.broadcast_shapes(middle.shape, slope.shape)) for _ in range(4))
    for level, log_p0 in zip(levels, x, strict=True):
        log_p, log_q, log_w = _curve(slope * (log_p0 - middle), shape)
        likelihood += level.learned * log_p + (level.runs - level.learned) * log_q
        w = level.runs * np.exp(log_w)
        total += w
        first += w * (log_p0 - x.mean())
        second += w * (log_p0 - x.mean()) ** 2
    determinant = total * second - first**2
    possible = determinant > LEAST_DETERMINANT
    penalty = np.where(possible, np.log(np.where(possible, determinant, 1.0)) / 2, -np.inf)
    return likelihood, np.asarray(likelihood + penalty)


def _curve(z: Floats, shape: Shape) -> tuple[Floats, Floats, Floats]:
    """log P, log(1 - P) and the log weight of information at z, with P = 1/2 at 0 and rising."""
    if shape == "logistic":
        log_p = -np.logaddexp(0.0, -z)
        return log_p, log_p - z, 2 * log_p - z
    if shape == "reversed gumbel":
        log_p, log_q, log_w = _curve(-z, "gumbel")
        return log_q, log_p, log_w
    t = math.log(2) * np.exp(np.clip(z, -600.0, 600.0))  # P = 1 - exp(-t)
    log_q, log_p = -t, np.log(-np.expm1(-t))
    return log_p, log_q, np.clip(2 * (np.log(t) - t) - log_p - log_q, -1400.0, 700.0)


def interval(profile: Profile, best: float, confidence: float) -> tuple[float, float]:
    """All log p0* whose deviance is at most the chi-squared quantile, and the estimate."""
    low, high = within(profile.log_p0, profile.deviance, float(scipy.stats.chi2.ppf(confidence, 1)))
    return min(best, low), max(best, high)


def within(x: Floats, deviance: Floats, limit: float) -> tuple[float, float]:
    """The least and the largest x of a deviance within the limit, between points of the lattice by a straight line."""
    inside = np.flatnonzero(deviance <= limit)

    def end(i: int, outward: int) -> float:
        j = i + outward
        if not 0 <= j < len(x):
            return float(x[i])
        return float(x[i] + (x[j] - x[i]) * (limit - deviance[i]) / (deviance[j] - deviance[i]))

    return end(int(inside[0]), -1), end(int(inside[-1]), 1)


def shifted(a: Profile, b: Profile) -> tuple[Floats, Floats]:
    """min_m a(m + d) + b(m) over all m, for shifts d of the lattice: (shifts, deviances), shift 0 in the middle."""
    first, last = min(a.start, b.start), max(a.start + len(a.deviance), b.start + len(b.deviance))
    width = last - first
    windows = np.lib.stride_tricks.sliding_window_view(a.over(first - width, last + width), width)
    shifts = STEP * np.arange(-width, width + 1, dtype=np.float64)  # row j of the windows is a, shifted by j - width
    return shifts, np.asarray((windows + b.over(first, last)).min(axis=1))
