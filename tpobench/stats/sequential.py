"""Adaptive seeds under a plan fixed before the first run: every look may stop, and the family error stays alpha.

A group-sequential permutation test of every pair of algorithms, in the manner of AdaStop (Mathieu et al. 2023,
arXiv:2306.10882): labels are permuted within each batch of seeds, which gives the joint null of the statistics at all
looks. Each pair spends its level linearly over the looks, pairs share alpha by Holm's steps, and an algorithm drops out
when all its pairs are decided. Strong control: a pair of equal algorithms crosses at any look of level gamma with
probability gamma at most, whatever the other pairs do, and Holm needs no more.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tpobench.stats.guard import Floats
from tpobench.stats.permutation import in_order, random_labellings, smallest_p

Pair = tuple[str, str]
PairStatus = Literal["better", "worse", "open", "not distinguishable", "identical"]


@dataclass(frozen=True)
class SequentialPlan:
    """Seeds per look and looks for some algorithms in each of `cells` cells; alpha covers all cells together."""

    algorithms: tuple[str, ...]
    per_look: int = 5
    looks: int = 4
    alpha: float = 0.05
    cells: int = 1
    seed: int = 0
    paths: int = 9999

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs of algorithms, in the order the algorithms were named."""
        return tuple(itertools.combinations(self.algorithms, 2))

    @property
    def family(self) -> int:
        """Pairs in one cell."""
        return len(self.pairs)

    @property
    def level(self) -> float:
        """Family-wise level of one cell."""
        return self.alpha / self.cells

    @property
    def most_seeds(self) -> int:
        """Seeds per algorithm if nothing is decided early."""
        return self.per_look * self.looks


@dataclass(frozen=True)
class PairDecision:
    """A, the first of a pair, against B, lower is better; `look` and `runs` are those of the decision."""

    pair: Pair
    status: PairStatus
    look: int
    runs: int
    difference: float


@dataclass(frozen=True)
class LookResult:
    """What is decided after a look, and the algorithms that still need seeds."""

    look: int
    decisions: Mapping[Pair, PairDecision]
    active: tuple[str, ...]
    done: bool


def parse_plan(
    text: str, algorithms: Sequence[str], *, alpha: float = 0.05, cells: int = 1, seed: int = 0
) -> SequentialPlan:
    """`adaptive:5x4` is 5 seeds at each of 4 looks.

    Raises:
        ValueError: no such form, fewer than two algorithms, or a plan under which nothing could ever be decided.
    """
    match = re.fullmatch(r"(?:adaptive:)?(\d+)x(\d+)", text.strip())
    if not match or 0 in (int(match[1]), int(match[2])):
        msg = f"'{text}' is no seed plan; adaptive:5x4 means 5 seeds at each of 4 looks"
        raise ValueError(msg)
    if len(set(algorithms)) < 2 or len(set(algorithms)) < len(algorithms):
        msg = f"adaptive seeds compare at least two different algorithms, got {', '.join(algorithms) or 'none'}"
        raise ValueError(msg)
    per_look, looks = int(match[1]), int(match[2])
    pairs = math.comb(len(algorithms), 2)
    paths = max(9999, math.ceil(20 * looks * pairs * cells / alpha))
    plan = SequentialPlan(tuple(algorithms), per_look, looks, alpha, cells, seed, paths)
    if first_decisive_look(plan) is None:
        msg = (
            f"{text}: with {pairs} pair{'s' if pairs > 1 else ''} in {cells} cell{'s' if cells > 1 else ''} no look "
            f"can ever decide; take more seeds per look, as adaptive:5x{max(looks, 4)}"
        )
        raise ValueError(msg)
    return plan


def first_decisive_look(plan: SequentialPlan) -> int | None:
    """The first look at which a pair can be decided at all; None where none can."""
    gamma = plan.level / plan.family
    for look in range(1, plan.looks + 1):
        least = 2 * (smallest_p(plan.per_look, plan.per_look, alternative="greater")) ** look
        if least < gamma * look / plan.looks:
            return look
    return None


def plan_text(plan: SequentialPlan) -> str:
    """`adaptive:5x4|alpha:0.05|family:3|cells:1|paths:9999|rng:0`, to be recorded before the first run."""
    return (
        f"adaptive:{plan.per_look}x{plan.looks}|alpha:{plan.alpha:g}|family:{plan.family}|cells:{plan.cells}"
        f"|paths:{plan.paths}|rng:{plan.seed}"
    )


def look_at(plan: SequentialPlan, values: Mapping[str, ArrayLike], *, worst: float | None = None) -> LookResult:
    """Decide what the seeds so far decide; the same values give the same decisions, and no decision is taken back.

    Args:
        plan: as recorded before the first run.
        values: per algorithm its scalars in seed order, whole looks only; an algorithm that dropped out has fewer.
        worst: score of a run that diverged (not finite): never equal to one that did not.

    Raises:
        ValueError: values that do not fit the plan.
    """
    arms = {name: _scored(plan, name, values, worst) for name in plan.algorithms}
    look = max(len(x) for x in arms.values()) // plan.per_look
    strengths = {pair: _strengths(plan, arms[pair[0]], arms[pair[1]], look) for pair in plan.pairs}
    decided: dict[Pair, int] = {}
    for k in range(1, look + 1):
        for name in _active(plan, decided):
            if len(arms[name]) < k * plan.per_look:
                msg = f"{name} has {len(arms[name])} values, and look {k} needs {k * plan.per_look}: it is not decided"
                raise ValueError(msg)
        for pair in _holm(plan, {pair: s[k - 1] for pair, s in strengths.items()}):
            decided.setdefault(pair, k)
    last = look == plan.looks
    decisions = {pair: _decision(plan, pair, arms, decided.get(pair), look, last=last) for pair in plan.pairs}
    active = () if last else _active(plan, decided)
    return LookResult(look, decisions, active, done=not active)


def _scored(plan: SequentialPlan, name: str, values: Mapping[str, ArrayLike], worst: float | None) -> Floats:
    x = np.asarray(values.get(name, ()), dtype=np.float64)
    if not len(x) or len(x) % plan.per_look or len(x) > plan.most_seeds:
        msg = f"{name} has {len(x)} values; a plan of {plan.per_look}x{plan.looks} has {plan.per_look} at each look"
        raise ValueError(msg)
    if not np.isfinite(x).all():
        if worst is None:
            msg = f"{int((~np.isfinite(x)).sum())} values of {name} are not finite: give the worst score of the metric"
            raise ValueError(msg)
        x = np.where(np.isfinite(x), x, worst)
    return x


@lru_cache(maxsize=64)
def _batch_labels(seed: int, look: int, n: int, paths: int) -> Floats:
    """Labels of one batch in every path; path 0 is what was observed."""
    labels = random_labellings(2 * n, n, np.random.default_rng([seed, look]), paths + 1)
    labels[0] = np.repeat([1.0, 0.0], n)
    labels.flags.writeable = False
    return labels


def _path_statistics(plan: SequentialPlan, x: Floats, y: Floats, looks: int) -> list[Floats]:
    """|Welch's t| of all batches so far, at each look, along each path: `looks` arrays (paths + 1,)."""
    n = plan.per_look
    middle = (x.mean() + y.mean()) / 2
    x, y = x - middle, y - middle  # sums of squares below do not cancel
    sums = np.zeros((2, plan.paths + 1))
    totals = np.zeros(2)
    statistics = []
    for k in range(looks):
        batch = np.concatenate([x[k * n : (k + 1) * n], y[k * n : (k + 1) * n]])
        moments = np.stack([batch, batch**2], axis=1)
        sums += (_batch_labels(plan.seed, k + 1, n, plan.paths) @ moments).T
        totals += moments.sum(axis=0)
        size = (k + 1) * n
        mean_x, mean_y = sums[0] / size, (totals[0] - sums[0]) / size
        variance = sums[1] / size - mean_x**2 + (totals[1] - sums[1]) / size - mean_y**2
        variance = np.where(variance <= 1e-12 * totals[1] / size, 0.0, variance) / (size - 1)
        difference = np.abs(mean_x - mean_y)
        difference = np.where(difference <= 1e-12 * math.sqrt(totals[1] / size), 0.0, difference)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(difference == 0, 0.0, difference / np.sqrt(variance))
        statistics.append(
            np.asarray(np.round(t, 9), dtype=np.float64)
        )  # equal labellings are ties, whatever the order of their sums
    return statistics


def _strengths(plan: SequentialPlan, x: Floats, y: Floats, looks: int) -> list[int]:
    """After each look, up to which r the pair has crossed at all of the levels alpha, alpha / 2, ..., alpha / r.

    Taking them one after the other makes the crossings nested, as Holm's steps need them, in spite of ties.
    """
    looks_seen = min(len(x) // plan.per_look, len(y) // plan.per_look, looks)
    x, y = in_order(x[: looks_seen * plan.per_look], y[: looks_seen * plan.per_look])  # a later look keeps the order
    statistics = _path_statistics(plan, x, y, looks_seen)
    first: list[float] = []
    for r in range(1, plan.family + 1):
        crossed = _first_crossing(statistics, plan.level / r, plan.looks)
        if crossed is None:
            break
        first.append(max(crossed, first[-1] if first else 0))
    return [sum(k <= look for k in first) for look in range(1, looks + 1)]


def _first_crossing(statistics: Sequence[Floats], gamma: float, looks: int) -> int | None:
    """The look at which path 0 crosses: at look k at most k gamma / K of all paths have, ties left out.

    Path 0 is exchangeable with the others under equality, so it crosses at any look with probability gamma at most.
    """
    alive: NDArray[np.bool_] = np.ones(len(statistics[0]), dtype=np.bool_)
    each = math.floor(gamma * len(alive) / looks)
    for k, t in enumerate(statistics, start=1):
        budget = k * each - int((~alive).sum())
        if budget <= 0:
            continue
        among = t[alive]
        if budget >= len(among):
            return k
        bound = np.partition(among, len(among) - 1 - budget)[len(among) - 1 - budget]
        crossing = alive & (t > bound)
        if crossing[0]:
            return k
        alive = alive & ~crossing
    return None


def _holm(plan: SequentialPlan, strengths: Mapping[Pair, int]) -> list[Pair]:
    """Holm's steps on "crossed up to level alpha / r": the i-th strongest pair needs r >= m - i."""
    ordered = sorted(strengths, key=lambda pair: -strengths[pair])
    rejected = []
    for i, pair in enumerate(ordered):
        if strengths[pair] < plan.family - i:
            break
        rejected.append(pair)
    return rejected


def _active(plan: SequentialPlan, decided: Mapping[Pair, int]) -> tuple[str, ...]:
    needed = {name for pair in plan.pairs if pair not in decided for name in pair}
    return tuple(name for name in plan.algorithms if name in needed)


def _decision(
    plan: SequentialPlan, pair: Pair, arms: Mapping[str, Floats], decided: int | None, look: int, *, last: bool
) -> PairDecision:
    at = decided or min(look, *(len(arms[name]) // plan.per_look for name in pair))
    x, y = (arms[name][: at * plan.per_look] for name in pair)
    difference = float(x.mean() - y.mean())
    status: PairStatus = "open"
    if decided is not None:
        status = "better" if difference < 0 else "worse"
    elif last:
        status = "identical" if np.array_equal(x, y) else "not distinguishable"
    return PairDecision(pair, status, at, len(x), difference)
