"""Two arms that are claimed not to differ: is the difference of their means within a margin, or beyond it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.compare import Comparison, compare
from tpobench.stats.multiplicity import RESAMPLES


@dataclass(frozen=True)
class Equivalence:
    """p of |difference| >= M (small: equivalent) and, two-sided, of |difference| <= M (small: they differ)."""

    within: float | None
    beyond: float | None
    test: str = ""


def equivalence(
    a: ArrayLike,
    b: ArrayLike,
    margin: float,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    resamples: int = RESAMPLES,
) -> Equivalence:
    """Two one-sided tests of mean(a) - mean(b) against -M and M, each by the guarded test of arms shifted by M.

    within = max(p of difference <= -M, p of difference >= M).
    Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15(6), 657-680.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    lower, upper = (compare(x + by, y, rng=rng, paired=paired, resamples=resamples) for by in (margin, -margin))
    above, below = _one_sided(lower, 1), _one_sided(upper, -1)
    within = None if above is None or below is None else max(above, below)
    if lower.difference is not None and lower.difference < 0:
        return Equivalence(within, lower.p, lower.test)
    outside = upper.difference is not None and upper.difference > 0
    return Equivalence(within, upper.p if outside else None if within is None else 1.0, upper.test)


def _one_sided(shifted: Comparison, sign: int) -> float | None:
    """Of a shifted difference not having the sign; none without a test."""
    if shifted.p is None or shifted.difference is None:
        return None
    return shifted.p / 2 if sign * shifted.difference > 0 else 1 - shifted.p / 2
