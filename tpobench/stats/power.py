"""What the seeds at hand can detect and how many would be needed: the pilot's own seeds through the default test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tpobench.stats.compare import attainable_text
from tpobench.stats.curves import Bools
from tpobench.stats.draws import Table
from tpobench.stats.guard import Floats, Status, guarded_interval, quiet
from tpobench.stats.permutation import label_table, sign_table

MOST_SEEDS = 1000
REPEATS = 400
LOOKS = 5  # at the labels drawn so far
Labels = Callable[[int], Table]  # so many more of them: (resamples, n)
Counts = NDArray[np.uint32]


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
        only_needed: the seeds for the target alone.
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
    redrawn = _pairs if paired else _arms
    seed = int(rng.integers(2**63))  # the same draws at every difference: power then grows with it

    def detects(seeds: int, difference: float) -> bool:
        return _detects(*redrawn(deviations, difference, seeds, np.random.default_rng(seed)), level, power)

    def detects_at_hand(difference: float) -> bool:
        surely, perhaps = (float((turns < difference).mean()) >= power for turns in (last, first))
        return surely or (perhaps and detects(n, difference))

    reason = attainable_text((n, n), paired=paired, family=family, alpha=alpha)
    least = None
    if not (reason or only_needed):
        first, last = _turns(*redrawn(deviations, 0.0, n, np.random.default_rng(seed)), n, level)
        least = _least_difference(detects_at_hand, spread)
    needed = None
    if target is not None and target != 0:
        needed = _seeds_for(lambda m: detects(m, abs(target)), spread, abs(target), level, power, paired=paired)
    return replace(plan, detectable=least, needed=needed, spread=spread, reason=reason)


def _arms(pool: Floats, shift: float, n: int, rng: np.random.Generator) -> tuple[Floats, Floats, Labels]:
    """Two arms in each repeat (repeats, 2n), the sums of the first, and labels common to all repeats.

    Of arms of equal size Welch's t grows with the sum of the first alone: t = 2 x̄ / sqrt((Σ z² - 2n x̄²) / (n (n - 1)))
    where the mean of all z is 0, and Σ z² is that of all labels.
    """
    data = pool[rng.integers(0, len(pool), size=(2 * n, _repeats(n)))]
    data[:n] += shift
    data -= data.mean(axis=0)
    return data.T, data[:n].sum(axis=0), lambda resamples: label_table(2 * n, n, rng, resamples)


def _pairs(pool: Floats, shift: float, n: int, rng: np.random.Generator) -> tuple[Floats, Floats, Labels]:
    """The differences of n pairs in each repeat (repeats, n), their sums, and signs common to all repeats."""
    data = pool[rng.integers(0, len(pool), size=(n, _repeats(n)))] + shift
    return data.T, data.sum(axis=0), lambda resamples: sign_table(n, rng, resamples)


def _repeats(n: int) -> int:
    """Fewer where arms are long."""
    return REPEATS if n <= 200 else REPEATS // 2


def _resamples(level: float) -> tuple[int, int]:
    """Enough for the level, and how many may be as extreme as what is rejected: 2 (most + 1) / (B + 1) <= level.

    The observed arrangement counts as one more.
    """
    resamples = max(499, math.ceil(10 / level))
    return resamples, int(np.count_nonzero(2 * np.arange(1, resamples + 1) / (resamples + 1) <= level)) - 1


def _turns(data: Floats, observed: Floats, draw: Labels, n: int, level: float) -> tuple[Floats, Floats]:
    """Differences up to which each repeat is not rejected, and beyond which it is (repeats,); rounding lies between.

    A difference d adds d (n - Σ L), over the first n labels, more to what is observed than to the sum under the labels
    L, which falls behind at d = (Σ L z - observed) / (n - Σ L): a repeat turns where only `most` are not behind.
    """
    resamples, most = _resamples(level)
    labels = draw(resamples)
    behind = n - labels[:, :n].sum(axis=1, dtype=np.int64)
    null: Table = data.astype(np.float32) @ labels.T.astype(np.float32)
    null -= observed.astype(np.float32)[:, None]
    error = 2 * _rounding(data)
    wrong = _count(null <= -error[:, None]) <= most  # perhaps rejected in the other direction, at the least differences
    null /= np.maximum(behind, 1).astype(np.float32)
    null[:, behind == 0] = np.inf  # what is observed, once more
    null.partition(-most - 1, axis=1)
    turn = null[:, -most - 1].astype(np.float64)
    return np.where(wrong, -np.inf, turn - error), turn + error


def _detects(data: Floats, observed: Floats, draw: Labels, level: float, power: float) -> bool:
    """Whether a share `power` of the repeats, rows of `data`, is rejected: their sums are extreme under the labels.

    The repeats least likely to be are tested first, label by label: where too few of them can be rejected, the others
    need no test and the rest of the labels no draw.
    """
    resamples, most = _resamples(level)
    data, labels = np.ascontiguousarray(data), np.empty((resamples, data.shape[1]), dtype=np.float32)
    with quiet():  # of equal values whose sum is 0
        weakest_first = np.argsort(observed / np.sqrt((data**2).sum(axis=1)))
    weak, others = np.split(weakest_first, [math.ceil(1.5 * (1 - power) * len(data))])
    single, error = data.astype(np.float32), _rounding(data)
    extreme = np.zeros((2, len(weak)), dtype=np.int64)
    for part in np.array_split(labels, LOOKS):
        part[:] = draw(len(part))
        null = single[weak] @ part.T
        low, high = ((observed + end)[weak].astype(np.float32)[:, None] for end in (-error, error))
        extreme += _count(null <= low), _count(null >= high)
        open_ = (extreme <= most).any(axis=0)
        weak, extreme = weak[open_], extreme[:, open_]
        if (len(weak) + len(others)) / len(data) < power:
            return False
    rows = np.concatenate([weak, others])
    return int(np.count_nonzero(_rejected(data[rows], observed[rows], labels.T, most))) / len(data) >= power


def _rejected(data: Floats, observed: Floats, labels: Table, most: int) -> Bools:
    """Whether at most so many of the labels (n, resamples) are as extreme as what is observed, of rows of `data`.

    In half the digits first, which takes half the time; in all of them where the rounding error could decide.
    """
    null: Table = data.astype(np.float32) @ labels
    error = _rounding(data)
    rejected = _few(observed, null, error, most)
    open_ = np.flatnonzero(~rejected)
    open_ = open_[_few(observed[open_], null[open_], -error[open_], most)]
    if len(open_):
        exact = observed[open_]
        rejected[open_] = _few(exact, data[open_] @ labels.astype(np.float64), 1e-9 * np.abs(exact), most)
    return rejected


def _rounding(data: Floats) -> Floats:
    """By which a sum of n terms is off at most in half the digits, of each row: n eps Σ|z|, and two for its bounds."""
    return np.asarray((data.shape[1] + 2) * np.finfo(np.float32).eps * np.abs(data).sum(axis=1))


def _few(observed: Floats, null: Table, slack: Floats, most: int) -> Bools:
    """Whether either tail is small: observed (repeats,), under the null (repeats, resamples)."""
    low, high = ((observed + end).astype(null.dtype)[:, None] for end in (slack, -slack))
    few = _count(null >= high) <= most
    others = ~few
    few[others] = _count(null[others] <= low[others]) <= most
    return few


def _count(marks: Bools) -> Counts:
    """How many of each row (rows, columns) are true: summed as bytes, a quarter of the time."""
    return np.asarray(marks.view(np.uint8).sum(axis=1, dtype=np.uint32))


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
