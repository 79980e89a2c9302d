"""Families of tests: Holm, partial conjunctions, and how many resamples a family needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

RESAMPLES = 9999


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p: max_{j <= i} min(1, (m - j + 1) p_(j)); None stays None and is not counted in m."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p))
        adjusted[i] = running
    return adjusted


def partial_conjunction(ps: Sequence[float], at_least: int) -> float:
    """p of "fewer than u of n effects are real": min(1, (n - u + 1) p_(u)); u = n is the largest p.

    Rejecting needs u small p; where fewer than u effects are real, n - u + 1 or more of the nulls are true and one of
    them is among those u. No independence is asked. u = n is the intersection-union test (Berger 1982), u < n the
    test of Benjamini and Heller (Biometrics 64, 2008) with Bonferroni's bound. ValueError unless 1 <= u <= n.
    """
    if not 1 <= at_least <= len(ps):
        raise ValueError(f"at least {at_least} of {len(ps)} effects cannot be asked for")
    return min(1.0, (len(ps) - at_least + 1) * sorted(ps)[at_least - 1])


def resamples_for(family: int, alpha: float = 0.05) -> int:
    """max(9999, 10 m / alpha): a floor of 1/10000 must not be what decides in a large family."""
    return max(RESAMPLES, math.ceil(10 * family / alpha))
