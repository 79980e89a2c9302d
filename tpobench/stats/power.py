"""What the seeds at hand can detect and how many would be needed: the pilot's own seeds through the default test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tpobench.stats.compare import attainable_text
from tpobench.stats.curves import Bools
from tpobench.stats.draws import Table
from tpobench.stats.guard import Floats, Status, guarded_interval
from tpobench.stats.permutation import label_table

MOST_SEEDS = 1000
REPEATS = 400
SIGNS = np.array([-1, 1], dtype=np.int8)


@dataclass(frozen=True)
class Power:
    """Least difference that `runs` seeds per arm detect with probability `power`, and seeds that `target` needs."""

    runs: int
    detectable: float | None
    target: float | None
    needed: int | None
    power: float
    alpha: float
    family: int
    spread: float | None  # sd of the pilot (of its paired differences), inflated
    status: Status = "ok"
    reason: str = ""


def inflation(runs: int, confidence: float = 0.8) -> float:
    """Upper bound of sigma over the sample sd: sqrt((n - 1) / chi2_{1 - confidence, n - 1}).

    Small pilots understate the spread more often than not: 2.12 at 3 seeds, 1.56 at 5, 1.29 at 10, 1.18 at 20.
    """
    return math.sqrt((runs - 1) / float(special.chdtri(runs - 1, confidence)))


def detection(
    pilot: ArrayLike,
    *,
    rng: np.random.Generator,
    runs: int | None = None,
    target: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    family: int = 1,
    paired_with: ArrayLike | None = None,
    only_needed: bool = False,
) -> Power:
    """Least detectable difference of means, by resampling the pilot through the test it is for.

    Both arms are drawn from the pilot, its deviations inflated by `inflation`; one is shifted. The test is the
    studentized permutation test, or the sign-flip test of paired differences, two-sided at alpha / family (what Holm
    asks of the smallest p). Three seeds at least.

    Args:
        pilot: per-seed values of one arm.
        rng: draws arms and labels.
        runs: seeds per arm of the planned comparison; the pilot's own number by default.
        target: a difference to find the seeds for.
        alpha: family-wise level.
        power: wanted probability of detection.
        family: tests in the family.
        paired_with: the other arm on the same seeds, for a paired design.
        only_needed: the seeds for the target alone, which takes half the time.
    """
    x = np.asarray(pilot, dtype=np.float64)
    if paired_with is not None:
        x = x - np.asarray(paired_with, dtype=np.float64)
        x = -x if x.mean() < 0 else x  # what is detected lies in the direction seen, whichever arm is named first
    n = len(x) if runs is None else runs
    paired = paired_with is not None
    plan = Power(n, None, target, None, power, alpha, family, None)
    sound = guarded_interval(lambda v: (float(v.min()), float(v.max())), x, name="power", least=3)
    if sound.status != "ok":
        few = f"{len(x)} seed{'s' if len(x) > 1 else ''}: no estimate of the spread; a pilot needs 3"
        short = sound.status in {"single", "too few"}
        return replace(plan, status="too few" if short else sound.status, reason=few if short else sound.reason)
    deviations = (x - x.mean()) * math.sqrt(len(x) / (len(x) - 1)) * inflation(len(x))
    spread = float(deviations.std())
    level = alpha / family
    rate = _paired_rate if paired else _unpaired_rate
    seed = int(rng.integers(2**63))  # the same draws at every difference: power then grows with it

    def detects(seeds: int, difference: float) -> bool:
        return rate(deviations, difference, seeds, level, np.random.default_rng(seed)) >= power

    reason = attainable_text((n, n), paired=paired, family=family, alpha=alpha)
    least = None if reason or only_needed else _least_difference(lambda d: detects(n, d), spread)
    needed = None
    if target is not None and target != 0:
        needed = _seeds_for(lambda m: detects(m, abs(target)), spread, abs(target), level, power, paired=paired)
    return replace(plan, detectable=least, needed=needed, spread=spread, reason=reason)


def _unpaired_rate(pool: Floats, shift: float, n: int, level: float, rng: np.random.Generator) -> float:
    """Share of repeats in which the studentized permutation test rejects at `level`; labels common to all repeats.

    Of arms of equal size Welch's t grows with the sum of the first alone: t = 2 x̄ / sqrt((Σ z² - 2n x̄²) / (n (n - 1)))
    where the mean of all z is 0, and Σ z² is that of all labels.
    """
    repeats, resamples = _sizes(n, level)
    data = pool[rng.integers(0, len(pool), size=(2 * n, repeats))]
    data[:n] += shift
    data -= data.mean(axis=0)
    return _rate(data[:n].sum(axis=0), data.T, label_table(2 * n, n, rng, resamples).T, level)


def _paired_rate(pool: Floats, shift: float, n: int, level: float, rng: np.random.Generator) -> float:
    """Share of repeats in which the sign-flip test rejects at `level`; signs common to all repeats."""
    repeats, resamples = _sizes(n, level)
    data = pool[rng.integers(0, len(pool), size=(n, repeats))] + shift
    return _rate(data.sum(axis=0), data.T, rng.choice(SIGNS, size=(resamples, n)).T, level)


def _sizes(n: int, level: float) -> tuple[int, int]:
    """Repeats and resamples: enough for the level, and fewer repeats where arms are long."""
    return (REPEATS if n <= 200 else REPEATS // 2), max(499, math.ceil(10 / level))


def _rate(observed: Floats, data: Floats, labels: Table, level: float) -> float:
    """Share of repeats (rows of `data`) whose sum is rejected among those under the labels -1, 0 and 1 (n, resamples).

    In half the digits first, which takes half the time; in all of them where the rounding error could decide: a sum of
    n terms is off by less than n eps Σ|z|.
    """
    observed = observed[:, None]
    null: Table = data.astype(np.float32) @ labels.astype(np.float32)
    error = (len(labels) + 2) * np.finfo(np.float32).eps * np.abs(data).sum(axis=1, keepdims=True)
    rejected = _rejected(observed, null, error, level)
    open_ = ~rejected
    open_[open_] = _rejected(observed[open_], null[open_], -error[open_], level)
    exact = observed[open_]
    rejected[open_] = _rejected(exact, data[open_] @ labels.astype(np.float64), 1e-9 * np.abs(exact), level)
    return float(rejected.mean())


def _rejected(observed: Floats, null: Table, slack: Floats, level: float) -> Bools:
    """Whether either tail is small: observed (repeats, 1), under the null (repeats, resamples)."""
    low, high = ((observed + end).astype(null.dtype) for end in (slack, -slack))
    rejected = _small(null >= high, level)
    others = ~rejected
    rejected[others] = _small(null[others] <= low[others], level)
    return rejected


def _small(extreme: Bools, level: float) -> Bools:
    """Whether twice the share of each row is at most `level`; the observed arrangement counts as one more."""
    count = (extreme @ np.ones(extreme.shape[1], dtype=np.float32)).astype(np.float64)  # as a product: half the time
    return np.asarray(2 * (count + 1) / (extreme.shape[1] + 1) <= level)


def _least_difference(detects: Callable[[float], bool], spread: float) -> float | None:
    """Bisection to 2% between 0 and the first difference, doubled from one sd on, that is detected."""
    low, high = 0.0, spread
    while not detects(high):
        low, high = high, 2 * high
        if high > 1000 * spread:
            return None
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if detects(middle) else (middle, high)
    return high


def _seeds_for(
    detects: Callable[[int], bool], spread: float, target: float, level: float, power: float, *, paired: bool
) -> int | None:
    """Fewest seeds per arm that detect the target, by bisection around the normal guess; None beyond 1000."""
    z = float(special.ndtri(1 - level / 2) + special.ndtri(power))
    guess = max(3, math.ceil((1 if paired else 2) * (z * spread / target) ** 2))
    if guess > 1.2 * MOST_SEEDS:
        return None
    low, high = 1, min(guess, MOST_SEEDS)
    while not detects(high):
        if high == MOST_SEEDS:
            return None
        low, high = high, min(math.ceil(1.3 * high) + 1, MOST_SEEDS)
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if detects(middle) else (middle, high)
    return high


def power_text(power: Power, scale: float = 1.0) -> str:
    """`with 20 seeds this cell detects >= 0.18; 43 seeds for 0.12`."""
    if power.status != "ok":
        return power.reason
    if power.detectable is None:
        text = power.reason or f"with {power.runs} seeds this cell detects no difference of a size worth naming"
    else:
        text = f"with {power.runs} seeds this cell detects >= {two_digits(power.detectable * scale)}"
    if power.target is None:
        return text
    seeds = f"more than {MOST_SEEDS}" if power.needed is None else str(power.needed)
    return f"{text}; {seeds} seeds for {two_digits(abs(power.target) * scale)}"


def two_digits(value: float) -> str:
    """`0.69`, `2.0`, `7.6`, `11`."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value))) if value > 0 else 0}f}"


def seeds_for_margin(
    spread: float, margin: float, *, power: float = 0.8, alpha: float = 0.05, arms: Literal[1, 2] = 2
) -> int | None:
    """Seeds per arm so that an unchanged cell's one-sided upper bound lies below the margin with this power.

    n = arms (z_{1-alpha} + z_power)^2 (spread / margin)^2, with t in place of z; `arms` = 1 for paired differences.
    None where no number of seeds up to 10000 does.
    """
    if not (margin > 0 and math.isfinite(spread)):
        return None
    n = 2
    for _ in range(50):
        freedom = arms * (n - 1)
        t = float(special.stdtrit(freedom, 1 - alpha) + special.stdtrit(freedom, power))
        needed = max(2, math.ceil(arms * (t * spread / margin) ** 2))
        if needed > 10_000:
            needed = 10_001
        if needed == n:
            break
        n = needed if needed < n else min(needed, 2 * n + 1)
    return n if n <= 10_000 else None
