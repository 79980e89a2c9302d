"""The suite as a whole: tasks fixed, seeds random; scores against fixed references, never against the compared runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tpobench.stats.draws import Table, times_again
from tpobench.stats.estimate import Estimate
from tpobench.stats.guard import Floats, Status, Tested, TestStatus, guarded_interval, guarded_tests
from tpobench.stats.intervals import (
    expanded_level,
    ordered_means,
    quantiles,
    resampled_win_rates,
    separated,
    win_rate,
    wins,
)
from tpobench.stats.permutation import label_table, smallest_p, studentized, tail_p, welch_parts

RESAMPLES = 9999
DRAWS = 2000
ENOUGH = 5  # seeds: below, stratified intervals cover .85 to .9 of what they say
Statistic = Literal["mean", "iqm"]


@dataclass(frozen=True)
class Reference:
    """Ends of a task's scale, stored in the suite: adding an algorithm never changes the others' scores."""

    worst: float
    best: float


@dataclass(frozen=True)
class SuiteEstimate:
    """Aggregate of normalised scores (1: best) over all tasks."""

    value: float | None
    low: float | None
    high: float | None
    tasks: int
    runs: int  # seeds of the task that has least
    statistic: Statistic
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class SuiteComparison:
    """Arm A against B over all tasks: difference of mean scores (> 0: A better), P(A better) averaged over tasks."""

    status: TestStatus
    reason: str = ""
    tasks: int = 0
    runs: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    better: float | None = None
    p: float | None = None
    test: str = ""
    smallest: float | None = None
    better_low: float | None = None
    better_high: float | None = None


def normalise(values: ArrayLike, reference: Reference) -> Floats:
    """(x - worst) / (best - worst): 0 at the worst, 1 at the best.

    Raises:
        ValueError: the two ends are equal.
    """
    width = reference.best - reference.worst
    if width == 0 or not math.isfinite(width):
        msg = f"a reference needs two different ends, got worst {reference.worst:g} and best {reference.best:g}"
        raise ValueError(msg)
    return np.asarray((np.asarray(values, dtype=np.float64) - reference.worst) / width)


def shared_tasks(arms: Mapping[str, Mapping[str, ArrayLike]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tasks that every arm has values for, and those left out for all because some arm lacks them."""
    every = list(dict.fromkeys(task for tasks in arms.values() for task in tasks))
    shared = [t for t in every if all(t in tasks and np.size(tasks[t]) for tasks in arms.values())]
    return tuple(shared), tuple(t for t in every if t not in shared)


def _scores(tasks: Mapping[str, ArrayLike], references: Mapping[str, Reference]) -> list[Floats]:
    unknown = [name for name in tasks if name not in references]
    if unknown:
        msg = f"no reference scores for {', '.join(unknown)}: a suite-level score needs fixed ends for every task"
        raise ValueError(msg)
    return [normalise(x, references[name]) for name, x in tasks.items()]


def suite_estimate(
    tasks: Mapping[str, ArrayLike],
    references: Mapping[str, Reference],
    *,
    rng: np.random.Generator,
    statistic: Statistic = "mean",
    confidence: float = 0.95,
) -> SuiteEstimate:
    """Mean over tasks, or interquartile mean over all runs, with a percentile interval of seeds resampled per task.

    Raises:
        ValueError: a task without a reference.
    """
    scores = _scores(tasks, references)
    runs = min((len(x) for x in scores), default=0)
    empty = SuiteEstimate(None, None, None, len(scores), runs, statistic)
    if runs == 0:
        return _with(empty, "missing", "missing")
    pooled = np.concatenate(scores)
    if statistic == "iqm" and len(pooled) < 4:
        return _with(empty, "too few", f"{len(pooled)} runs: no IQM; need 4")

    def ends(_: Floats) -> tuple[float, float]:
        times = [times_again(len(x), rng, DRAWS) for x in scores]
        return quantiles(_aggregate(scores, times, statistic), (1 - confidence) / 2, (1 + confidence) / 2)

    value = float(_aggregate(scores, [np.ones((len(x), 1)) for x in scores], statistic)[0])
    interval = guarded_interval(ends, _within(scores), name="stratified bootstrap", around=value)
    if interval.status == "not finite":
        return _with(empty, interval.status, interval.reason)
    reason = interval.reason or narrow_text(runs)
    return SuiteEstimate(value, interval.low, interval.high, len(scores), runs, statistic, interval.status, reason)


def narrow_text(runs: int) -> str:
    """`3 seeds: CI too narrow below 5`; empty from 5 on."""
    return f"{runs} seeds: CI too narrow below {ENOUGH}" if runs < ENOUGH else ""


def _with(empty: SuiteEstimate, status: Status, reason: str) -> SuiteEstimate:
    return SuiteEstimate(None, None, None, empty.tasks, empty.runs, empty.statistic, status, reason)


def _aggregate(scores: Sequence[Floats], times: Sequence[Table], statistic: Statistic) -> Floats:
    """One number per draw, in which each of the (n,) scores of a task occurs `times` (n, draws)."""
    if statistic == "mean":
        return np.asarray(np.mean([x @ t / len(x) for x, t in zip(scores, times, strict=True)], axis=0))
    pooled = np.concatenate(scores)
    cut = len(pooled) // 4
    return ordered_means(pooled, np.concatenate(times), cut, len(pooled) - cut)


Tasks = Mapping[str, ArrayLike]  # task -> (n,)
Arms = tuple[Sequence[Floats], Sequence[Floats]]  # the scores of both, task by task


def suite_compare(
    a: Tasks,
    b: Tasks,
    references: Mapping[str, Reference],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> SuiteComparison:
    """`suite_compare_pairs` of one pair."""
    return suite_compare_pairs([(a, b, references)], rng=rng, resamples=resamples, confidence=confidence)[0]


def suite_compare_pairs(
    sides: Sequence[tuple[Tasks, Tasks, Mapping[str, Reference]]],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> list[SuiteComparison]:
    """Stratified permutation tests of differences of mean scores: labels shuffled within each task, two-sided.

    t = sum_tasks (mean x - mean y) / sqrt(sum_tasks (s_x^2 / n + s_y^2 / m))

    Every pair starts from the same state of `rng`, so that pairs of as many seeds share their labels.

    Raises:
        ValueError: the arms of a pair have different tasks, or one has no reference.
    """
    pairs = [_scored(*side) for side in sides]
    start = rng.bit_generator.state
    tests = _stratified(pairs, rng, resamples)
    comparisons = []
    for (x, y), (tested, state) in zip(pairs, tests, strict=True):
        rng.bit_generator.state = state or start
        comparisons.append(_compared(x, y, tested, rng, confidence))
    return comparisons


def _scored(a: Tasks, b: Tasks, references: Mapping[str, Reference]) -> Arms:
    if set(a) != set(b):
        msg = f"tasks differ: {', '.join(sorted(set(a) ^ set(b)))}; compare the shared ones"
        raise ValueError(msg)
    tasks = list(a) if list(a) == list(b) else sorted(a)  # the same for (a, b) and (b, a)
    x, y = (_scores({task: arm[task] for task in tasks}, references) for arm in (a, b))
    return x, y


def _compared(
    x: Sequence[Floats], y: Sequence[Floats], tested: Tested, rng: np.random.Generator, confidence: float
) -> SuiteComparison:
    runs = min((len(v) for v in (*x, *y)), default=0)
    if tested.status in {"missing", "not finite"}:
        return SuiteComparison(tested.status, tested.reason, len(x), runs)
    low, high = _difference_interval(x, y, rng, confidence)
    lower = [(-u, -v) for u, v in zip(x, y, strict=True)]  # scores are higher better
    better = improvement_estimate(lower, paired=[False] * len(x), rng=rng, confidence=confidence)
    return SuiteComparison(
        tested.status,
        tested.reason or narrow_text(runs),
        len(x),
        runs,
        difference=_difference(x, y),
        low=low,
        high=high,
        better=better.value,
        p=tested.p,
        test=tested.test,
        smallest=tested.smallest,
        better_low=better.low,
        better_high=better.high,
    )


def _stratified(
    pairs: Sequence[Arms], rng: np.random.Generator, resamples: int
) -> list[tuple[Tested, dict[str, Any] | None]]:
    """The test of each pair, and the state in which it leaves the generator, None where it drew nothing."""
    start: Any = rng.bit_generator.state
    tests: dict[int, tuple[Tested, dict[str, Any] | None]] = {}
    alike: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    ordered = [(y, x) if _second_first(x, y) else (x, y) for x, y in pairs]
    for i, (x, y) in enumerate(ordered):
        if refused := _no_test(x, y):
            tests[i] = refused, None
        else:
            alike[tuple((len(u), len(v)) for u, v in zip(x, y, strict=True))].append(i)
    for sizes, rows in alike.items():
        rng.bit_generator.state = start
        arms = (np.array([np.concatenate(ordered[i][side]) for i in rows]) for side in (0, 1))
        least = min(1.0, 2 * math.prod(smallest_p(*size, alternative="greater") for size in sizes))
        test = partial(_stratified_p, sizes=sizes, rng=rng, resamples=resamples)
        tested = guarded_tests(test, *arms, name="stratified-perm", smallest=least)
        state: Any = rng.bit_generator.state
        tests |= {i: (t, state if t.test else None) for i, t in zip(rows, tested, strict=True)}
    return [tests[i] for i in range(len(pairs))]


def _no_test(x: Sequence[Floats], y: Sequence[Floats]) -> Tested | None:
    if not x or min(len(v) for v in (*x, *y)) == 0:
        return Tested(None, "missing", "missing")
    if min(len(v) for v in (*x, *y)) == 1:
        return Tested(None, "untestable", "n=1: no test with 1 seed")
    constant = all(v.min() == v.max() for v in (*x, *y))  # False where a value is NaN
    if constant and not np.array_equal(np.concatenate(x), np.concatenate(y)):
        return Tested(None, "deterministic", "deterministic difference in every task; no sampling variance, no test")
    return None


def _stratified_p(
    x: Floats, y: Floats, *, sizes: Sequence[tuple[int, int]], rng: np.random.Generator, resamples: int
) -> Floats:
    """P of pairs (p, all seeds of all tasks), whose tasks have these `sizes`: (p,)."""
    ends = np.cumsum(sizes, axis=0)[:-1]
    tasks = zip(np.split(x, ends[:, 0], axis=1), np.split(y, ends[:, 1], axis=1), strict=True)
    parts = [_task_parts(u, v, rng, resamples) for u, v in tasks]
    difference, variance = (reduce(add, part) for part in zip(*parts, strict=True))
    t = np.round(studentized(difference, variance), 9)
    return tail_p(t[:, 1:], t[:, 0], exact=False)


def _task_parts(x: Floats, y: Floats, rng: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
    """The differences of means of (p, n) and (p, m) and their variances: each (p, 1 + resamples).

    As observed, and under shuffled labels common to all pairs.
    """
    n, m = x.shape[1], y.shape[1]
    pooled = np.concatenate([x, y], axis=1)
    pooled = pooled - pooled.mean(axis=1, keepdims=True)
    observed = np.repeat([[True, False]], [n, m], axis=1)
    labels = label_table(n + m, n, rng, resamples)
    return welch_parts(np.concatenate([observed, labels]), pooled.T)


def _difference_interval(
    x: Sequence[Floats], y: Sequence[Floats], rng: np.random.Generator, confidence: float
) -> tuple[float | None, float | None]:
    if _second_first(x, y):
        low, high = _difference_interval(y, x, rng, confidence)
        return None if high is None else -high, None if low is None else -low

    def ends(_: Floats) -> tuple[float, float]:
        drawn_x, drawn_y = (_aggregate(v, [times_again(len(u), rng, DRAWS) for u in v], "mean") for v in (x, y))
        return quantiles(drawn_x - drawn_y, (1 - confidence) / 2, (1 + confidence) / 2)

    interval = guarded_interval(ends, _within((*x, *y)), name="stratified bootstrap", around=_difference(x, y))
    return interval.low, interval.high


def _difference(x: Sequence[Floats], y: Sequence[Floats]) -> float:
    return float(np.mean([u.mean() - v.mean() for u, v in zip(x, y, strict=True)]))


def _within(scores: Sequence[Floats]) -> Floats:
    """Scores less the first of their task: constant within each task is constant to a bootstrap stratified by task."""
    within = np.concatenate([v - v[0] for v in scores])
    return within if min(len(v) for v in scores) > 1 else within[:1]


def improvement_estimate(
    tasks: Sequence[tuple[Floats, Floats]],
    *,
    paired: Sequence[bool],
    rng: np.random.Generator,
    draws: int = DRAWS,
    confidence: float = 0.95,
) -> Estimate:
    """Mean over tasks of P(X < Y) + P(X = Y) / 2, percentile interval from seeds resampled within each task.

    Agarwal et al. 2021, arXiv:2108.13264, section 4.3.  `paired` says of each task whether X and Y have the same seeds,
    which are then resampled together, as the noise streams are common to all algorithms, and at the expanded level.  No
    interval from one seed, nor where every seed of one arm is the lower in every task: each resample would repeat that,
    and a width of zero would read as certainty.
    """
    swapped = _second_first([x for x, _ in tasks], [y for _, y in tasks])
    if swapped:
        tasks = [(y, x) for x, y in tasks]
    each = list(zip([wins(x, y) for x, y in tasks], paired, strict=True))
    value = float(np.mean([win_rate(won, paired=p) for won, p in each]))
    value = 1 - value if swapped else value
    runs = min(min(won.shape) for won, _ in each)
    if runs < 2:
        return Estimate(value, None, None, runs, "none", "single", "1 seed: no uncertainty")
    if all(separated(won, paired=p) for won, p in each):
        return Estimate(value, None, None, runs, "none", "constant", "fully separated: no interval")

    def ends(_: Floats) -> tuple[float, float]:
        drawn = np.mean([resampled_win_rates([won], rng, draws, paired=p)[0] for won, p in each], axis=0)
        level = expanded_level(runs, confidence) if any(paired) else confidence
        low, high = quantiles(drawn, (1 - level) / 2, (1 + level) / 2)
        return (1 - high, 1 - low) if swapped else (low, high)

    name = "stratified bootstrap"
    interval = guarded_interval(ends, [0.0, 1.0], name=name, lowest=0.0, highest=1.0, around=value)
    return Estimate(value, interval.low, interval.high, runs, "percentile", interval.status, interval.reason)


def _second_first(x: Sequence[Floats], y: Sequence[Floats]) -> bool:
    """Whether Y is the first of the two arms in the order that `in_order` gives them, task by task."""
    return [(len(v), v.tolist()) for v in x] > [(len(v), v.tolist()) for v in y]
