"""Which half of an algorithm earns its result: main effects of the parts in a full grid of algorithms.

With y(c, f, s) the loss of credit c with fit f at seed s, the effect of a credit is the mean over fits of y(c, f, s)
less that over the other credits, seed by seed; so it has the intervals and tests of two arms.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tpobench.algorithms.parts import parts_of
from tpobench.scores.cells import Arm, Cell
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import PAIRED, Sample, compare_samples, pairing, values_of
from tpobench.stats.compare import Comparison, adjust
from tpobench.stats.draws import times_again
from tpobench.stats.guard import Floats
from tpobench.stats.intervals import quantiles
from tpobench.stats.suite_level import DRAWS

FACTORS = ("credit", "fit", "modifier")
NONE = "none"  # the modifier of an algorithm without one
Place = tuple[str, ...]  # a part of each factor


@dataclass(frozen=True)
class Share:
    """How much of the spread between the algorithms of a cell is one factor's: sums of squares of means, (0, 1)."""

    factor: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Effects:
    """Of one cell: every part against the others of its factor, and the share of every factor and of what is left."""

    cell: Cell
    means: Mapping[tuple[str, str], float]  # (factor, part) -> mean of the metric over seeds and all other factors
    parts: Mapping[tuple[str, str], Comparison]
    shares: tuple[Share, ...]


def grid_of(arms: Mapping[str, Arm]) -> dict[Place, Arm]:
    """The arms by their parts, where every part of a factor meets every part of the others; {} where that is not so."""
    split = {name: parts_of(name) for name in arms}
    grid: dict[Place, Arm] = {(p[0], p[1], "+".join(p[2:]) or NONE): arms[name] for name, p in split.items() if p}
    levels = [sorted({place[i] for place in grid}) for i in range(len(FACTORS))]
    full = set(itertools.product(*levels)) == grid.keys()
    return grid if full and sum(len(level) > 1 for level in levels) > 1 else {}


def effects_of(cell: Cell) -> Effects | None:
    """Main effects in a cell, None where its algorithms are no full grid of parts, or share no seed."""
    grid = grid_of(cell.arms)
    seeds = sorted(set.intersection(*(set(arm.seeds) for arm in grid.values()))) if grid else []
    if not seeds:
        return None
    losses = {p: values_of(arm.by_seed(arm.reporting.loss(arm.final)), seeds) for p, arm in grid.items()}
    values = {p: float(values_of(arm.by_seed(arm.final), seeds).mean()) for p, arm in grid.items()}
    first, *others = grid.values()
    paired = all(pairing(first, other, common=len(seeds)) == PAIRED for other in others)
    means, parts = {}, {}
    for i, factor in enumerate(FACTORS):
        levels = list(dict.fromkeys(place[i] for place in grid))
        for level in levels if len(levels) > 1 else ():
            mine, rest = ([p for p in grid if (p[i] == level) is wanted] for wanted in (True, False))
            means[factor, level] = float(np.mean([values[p] for p in mine]))
            a, b = (Sample(dict(zip(seeds, _mean(losses, places), strict=True))) for places in (mine, rest))
            parts[factor, level] = compare_samples(a, b, paired=paired)
    return Effects(cell, means, adjust(parts), _shares(losses))


def _mean(losses: Mapping[Place, Floats], places: Sequence[Place]) -> list[float]:
    return [float(x) for x in np.mean([losses[p] for p in places], axis=0)]


def _shares(losses: Mapping[Place, Floats]) -> tuple[Share, ...]:
    """Sums of squares of the table of means, with percentile intervals from seeds resampled together."""
    levels = [list(dict.fromkeys(p[i] for p in losses)) for i in range(len(FACTORS))]
    table = np.array([losses[p] for p in itertools.product(*levels)])  # (places, seeds)
    shape, n = [len(level) for level in levels], table.shape[1]
    seen = _split(table.mean(1).reshape(*shape, 1))
    drawn = _split((table @ times_again(n, np.random.default_rng(SEED), DRAWS) / n).reshape(*shape, DRAWS))
    names = [*(f for f, size in zip(FACTORS, shape, strict=True) if size > 1), "together"]
    return tuple(_share(name, seen[name], drawn[name], n) for name in names)


def _split(means: Floats) -> dict[str, Floats]:
    """Shares (draws,) of every factor, and of what only their meeting explains, of means (*levels, draws)."""
    axes = tuple(range(len(FACTORS)))
    centred = means - means.mean(axes, keepdims=True)
    total = np.asarray((centred**2).mean(axes))
    sums = {factor: (centred.mean(tuple(a for a in axes if a != i)) ** 2).mean(0) for i, factor in enumerate(FACTORS)}
    safe = np.where(total > 0, total, 1.0)
    shares = {factor: np.where(total > 0, s / safe, np.nan) for factor, s in sums.items()}
    return {**shares, "together": 1 - np.sum(list(shares.values()), axis=0)}


def _share(name: str, seen: Floats, drawn: Floats, n: int) -> Share:
    value = float(seen[0])
    if not np.isfinite(value):
        return Share(name, None, None, None)
    if n < 2 or not np.isfinite(drawn).all():
        return Share(name, value, None, None)
    low, high = quantiles(drawn, 0.025, 0.975)
    return Share(name, value, low, high)
