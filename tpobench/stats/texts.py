"""The words for every case that is not a plain number with an interval: what a table prints, and never prints."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.compare import Comparison
from tpobench.stats.estimate import Estimate, dominated


def percent(share: float) -> str:
    """`82%`: every share of seeds or of pairs of them, a digit more than which no number of seeds can carry."""
    return f"{share:.0%}"


def unit_of(scale: float) -> str:
    """` (%)` behind the name of what is printed times 100."""
    return " (%)" if scale == 100 else ""


def rounded(value: float, digits: int, sign: str = "") -> str:
    """`100`, `0.062`, with a sign `+6.2`: significant digits, and no exponent below a million."""
    return f"{float(f'{value:.{digits}g}'):{sign}g}"


def decimals(estimate: Estimate, scale: float = 1.0) -> int:
    """Two significant digits of the interval's half width decide the rounding, three of the value without one."""
    if estimate.low is not None and estimate.high is not None and 0 < estimate.high - estimate.low < math.inf:
        return min(6, max(0, 1 - math.floor(math.log10((estimate.high - estimate.low) * scale / 2))))
    value = abs(estimate.value or 0.0) * scale
    return min(6, max(0, 2 - math.floor(math.log10(value)))) if 0 < value < math.inf else 0


def mean_text(
    estimate: Estimate, scale: float = 1.0, *, diverged: int = 0, worst: float | None = None, lost: int = 0
) -> str:
    """`0.21 [0.10, 0.35] (2/20 diverged, scored 1.0)`; one to two seeds, equal seeds and lost runs in words.

    Args:
        estimate: of all runs, the diverged ones scored at `worst`.
        scale: 100 to print shares in percent.
        diverged: runs that diverged.
        worst: what they were scored; None where they were dropped.
        lost: diverged runs that were dropped from `estimate` (policy `drop`).
    """
    n = estimate.runs + lost
    if diverged and diverged == n:
        return f"diverged {n}/{n}"
    if estimate.value is None:
        return estimate.reason
    text = _value_text(estimate, scale)
    if diverged:
        scored = "dropped" if lost or worst is None else f"scored {worst * scale:.1f}"
        text += f" ({diverged}/{n} diverged, {scored})"
    return text


def _value_text(estimate: Estimate, scale: float) -> str:
    d = decimals(estimate, scale)
    value = f"{(estimate.value or 0.0) * scale:.{d}f}"
    if estimate.status == "single":
        return f"{value} (n=1)"
    if estimate.status == "constant":
        return f"{value} (all {estimate.runs} seeds identical)"
    if estimate.low is None or estimate.high is None:
        return f"{value} ({estimate.reason})"
    if estimate.status == "pair":
        return f"{estimate.low * scale:.{d}f} and {estimate.high * scale:.{d}f} (n=2)"
    if estimate.method.startswith("se"):
        return f"{value} ± {(estimate.high - estimate.low) / 2 * scale:.{d}f}"
    return f"{value} [{estimate.low * scale:.{d}f}, {estimate.high * scale:.{d}f}]"


def seeds_text(runs: tuple[int, int], *, common: int | None = None) -> str:
    """`n=20`, `n=20 vs 17`, `17 pairs (common of 20 and 17)`."""
    n, m = runs
    if common is None:
        return f"n={n}" if n == m else f"n={n} vs {m}"
    return f"{common} pairs" + ("" if n == m == common else f" (common of {n} and {m})")


def p_text(p: float | None) -> str:
    """`.0034`, `.31`, `1`, `<.001`; blank where there is none."""
    if p is None:
        return ""
    if p < 0.001:
        return "<.001"
    return "1" if p > 0.995 else f"{p:.{2 if p >= 0.01 else 4}f}".lstrip("0")


def pairing_text(comparison: Comparison) -> str:
    """`r=.26, pairing saved 24% of the variance`; empty where the arms were not paired."""
    if comparison.correlation is None or comparison.saved is None:
        return ""
    r = f"{comparison.correlation:.2f}".replace("0.", ".", 1)
    effect = "saved" if comparison.saved >= 0 else "added"
    return f"r={r}, pairing {effect} {percent(abs(comparison.saved))} of the variance"


def interval_note(values: ArrayLike, seeds: int | None = None) -> str:
    """What to know about a mean's interval: too few seeds, or one seed that holds most of the sum."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x) if seeds is None else seeds
    if n == 1:
        return "1 seed: no uncertainty"
    if dominated(x):
        share = percent(float(np.abs(x).max() / np.abs(x).sum()))
        return f"1 of {n} seeds holds {share} of the sum: intervals cover less than they say; try --ci studentized"
    return ""
