"""Coverage of the default intervals: how often a nominal 95% interval holds the truth it was computed for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from calibration_populations import (
    BUDGET,
    Curves,
    Population,
    areas,
    finals,
    published,
    recorded_curves,
    recorded_examples,
    shapes,
    stream,
    thinned,
    times,
)
from scipy import stats

from tpobench.stats import intervals
from tpobench.stats.censored import mean_curve_crossing
from tpobench.stats.compare import difference_interval, probability_better
from tpobench.stats.estimate import (
    Estimate,
    iqm_estimate,
    mean_estimate,
    median_estimate,
    rate_estimate,
    tail_estimate,
)
from tpobench.stats.intervals import superiority_intervals

SEEDS = (5, 10, 20)
Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Case:
    """An interval of n seeds of a population, and what it should hold."""

    statistic: str
    population: str
    n: int
    method: str
    truth: float
    ends: Callable[[np.random.Generator], Ends]


@dataclass(frozen=True)
class Coverage:
    """Shares of the repeats: covered and missed (the interval below or above the truth), of those with an interval."""

    statistic: str
    population: str
    n: int
    method: str
    repeats: int
    covered: float | None
    se: float | None  # 0: computed exactly
    below: float | None
    above: float | None
    none: float  # share of repeats without an interval

    def as_dict(self) -> dict[str, Any]:
        """For json."""
        return asdict(self)


@contextmanager
def fewer_resamples(count: int) -> Iterator[None]:
    """Bootstrap intervals with fewer than their 9999 resamples: a simulation repeats them thousands of times."""
    resamples, intervals.RESAMPLES = intervals.RESAMPLES, count
    try:
        yield
    finally:
        intervals.RESAMPLES = resamples


def coverage(case: Case, repeats: int, resamples: int = 1999) -> Coverage:
    """Draw, estimate, count."""
    rng = stream("coverage", case.statistic, case.population, case.n, case.method)
    with fewer_resamples(resamples):
        ends = [case.ends(rng) for _ in range(repeats)]
    given = [(low, high) for low, high in ends if low is not None and high is not None]
    return counted(case, given, repeats)


def counted(case: Case, given: list[tuple[float, float]], repeats: int) -> Coverage:
    """Shares of the intervals that hold the truth, lie below it, lie above it; rounding is no miss."""
    slack = 1e-9 * max(1.0, abs(case.truth)) if math.isfinite(case.truth) else 0.0
    below = sum(high < case.truth - slack for _, high in given)
    above = sum(low > case.truth + slack for low, _ in given)
    k, none = len(given), 1 - len(given) / repeats
    head = (case.statistic, case.population, case.n, case.method, repeats)
    if not k:
        return Coverage(*head, None, None, None, None, none)
    share = 1 - (below + above) / k
    return Coverage(*head, share, math.sqrt(share * (1 - share) / k), below / k, above / k, none)


def _of(estimate: Estimate) -> Ends:
    return estimate.low, estimate.high


def _tiled(values: np.ndarray) -> np.ndarray:
    """Four copies, so that a quarter of the population is a whole number of values."""
    return np.sort(np.tile(values, 4))


def iqm(values: np.ndarray) -> float:
    """Interquartile mean of a population."""
    return float(stats.trim_mean(_tiled(values), 0.25))


def tail(values: np.ndarray) -> float:
    """Mean of the worst quarter of a population."""
    return float(_tiled(values)[-len(values) :].mean())


def mean_case(p: Population, n: int, ci: str = "auto", statistic: str = "mean") -> Case:
    """The mean with its default interval, or with another one."""

    def ends(rng: np.random.Generator) -> Ends:
        return _of(mean_estimate(p.draw(rng, n), rng=rng, lowest=p.lowest, highest=p.highest, ci=ci))

    method = ci if ci != "auto" else "t" if n < 10 else "BCa, expanded"
    return Case(statistic, p.name, n, method, p.mean, ends)


def iqm_case(p: Population, n: int) -> Case:
    """The interquartile mean."""

    def ends(rng: np.random.Generator) -> Ends:
        return _of(iqm_estimate(p.draw(rng, n), rng=rng, lowest=p.lowest, highest=p.highest))

    return Case("IQM", p.name, n, "percentile, expanded", iqm(p.values), ends)


def tail_case(p: Population, n: int) -> Case:
    """The mean of the worst quarter."""

    def ends(rng: np.random.Generator) -> Ends:
        return _of(tail_estimate(p.draw(rng, n), rng=rng, lowest=p.lowest, highest=p.highest))

    return Case("CVaR25", p.name, n, "percentile, expanded", tail(p.values), ends)


def median_case(p: Population, n: int) -> Case:
    """The median with its order-statistic interval; inf is a value."""
    truth = float(np.median(p.values))
    return Case("median", p.name, n, "order statistics", truth, lambda rng: _of(median_estimate(p.draw(rng, n))))


def difference_case(x: Population, y: Population, n: int) -> Case:
    """The difference of two independent means."""

    def ends(rng: np.random.Generator) -> Ends:
        return difference_interval(x.draw(rng, n), y.draw(rng, n), paired=False)

    return Case("difference", f"{x.name} - {y.name}", n, "Welch", x.mean - y.mean, ends)


def paired_case(x: Population, y: Population, n: int) -> Case:
    """The difference of two means over common seeds: pairs are drawn together."""
    assert len(x.values) == len(y.values)

    def ends(rng: np.random.Generator) -> Ends:
        chosen = rng.integers(0, len(x.values), n)
        return difference_interval(x.values[chosen], y.values[chosen], paired=True)

    return Case("difference", f"{x.name} - {y.name}, same seeds", n, "paired t", x.mean - y.mean, ends)


def superiority_case(x: Population, y: Population, n: int) -> Case:
    """P(X < Y) + P(X = Y) / 2."""
    few = (p.values if len(p.values) <= 1000 else p.values[20::40] for p in (x, y))
    truth = probability_better(*few)

    def ends(rng: np.random.Generator) -> Ends:
        arms = x.draw(rng, n)[None], y.draw(rng, n)[None]
        low, high = (float(end[0]) for end in superiority_intervals(*arms, rng, 0.95, paired=False))
        return (None, None) if math.isnan(low) else (low, high)

    return Case("P(better)", f"{x.name} vs {y.name}", n, "percentile", truth, ends)


def crossing_case(c: Curves, threshold: float, n: int) -> Case:
    """The paper's crossing of the mean curve."""
    truth = mean_curve_crossing(c.curves, c.steps, threshold, rng=stream("truth")).value
    assert truth is not None

    def ends(rng: np.random.Generator) -> Ends:
        drawn = c.curves[rng.integers(0, len(c.curves), n)]
        crossing = mean_curve_crossing(drawn, c.steps, threshold, rng=rng, draws=1000)
        if crossing.low is None:  # all resamples agree: what is printed is that one number, or "never"
            return crossing.value, crossing.value
        return crossing.low, crossing.high

    name = f"{c.name}, mean curve to {threshold:.0%} ({'never' if math.isinf(truth) else f'{truth:.0f}'})"
    return Case("mean-curve crossing", name, n, "percentile of curves", truth, ends)


def restricted(p: Population, budget: float = BUDGET) -> Population:
    """min(t, T) of steps to a threshold."""
    return Population(p.name, np.minimum(p.values, budget), 0.0, budget)


def rate_coverage(p: float, n: int) -> Coverage:
    """Wilson's interval of a share, by summing over all outcomes: no simulation error."""
    weights = stats.binom.pmf(np.arange(n + 1), n, p)
    estimates = [rate_estimate(k, n) for k in range(n + 1)]
    below = float(sum(w for w, e in zip(weights, estimates, strict=True) if e.high is not None and e.high < p))
    above = float(sum(w for w, e in zip(weights, estimates, strict=True) if e.low is not None and e.low > p))
    return Coverage("solved rate", f"rate {p:g}", n, "Wilson", 0, 1 - below - above, 0.0, below, above, 0.0)


def cases() -> list[Case]:
    """Every row of the coverage table but the exact ones."""
    return list(_cases())


def _cases() -> Iterator[Case]:
    curves = published()
    tpo, grpo, dg = (finals(c) for c in curves.values())
    reached = [times(curves[name], at) for name, at in (("published TPO", 0.01), ("published GRPO", 0.01))]
    s = shapes()
    doubled = Population("lognormal x 2", 2 * s["lognormal"].values, 0.0)
    wide = Population("normal, sd x 4", 0.3 + 4 * (s["normal"].values - 0.3))
    recorded = recorded_examples()
    populations = [*shapes().values(), *recorded.values()]
    near = [recorded[f"sparse length={at} reward=terminal {algorithm}"] for at, algorithm in ((4, "tpo"), (6, "grpo"))]
    pairs = [(tpo, grpo), (near[0], near[1]), (s["normal"], wide), (s["lognormal"], doubled)]
    for n in SEEDS:
        for p in populations:
            yield mean_case(p, n)
            yield iqm_case(p, n)
            yield median_case(p, n)
            yield tail_case(p, n)
        for p in (tpo, grpo, s["10% failures (0/1)"]):
            yield mean_case(p, n, ci="studentized")
        for c in curves.values():
            yield mean_case(areas(c), n, statistic="AUC")
        for p in reached:
            yield median_case(p, n)
            yield mean_case(restricted(p), n, statistic="RMST")
        for x, y in pairs:
            yield difference_case(x, y, n)
            yield superiority_case(x, y, n)
        yield paired_case(tpo, grpo, n)
        yield paired_case(tpo, dg, n)
        for name, threshold in (("published TPO", 0.1), ("published TPO", 0.01), ("published DG", 0.5)):
            yield crossing_case(thinned()[name], threshold, n)
        yield crossing_case(recorded_curves("bandit", "bandit grpo"), 0.1, n)


def rates() -> list[Coverage]:
    """The exact rows."""
    return [rate_coverage(p, n) for n in SEEDS for p in (0.05, 0.1, 0.3, 0.5, 0.6, 0.9)]
