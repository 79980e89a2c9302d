"""False positives of the default tests: how often each rejects at .05 where nothing differs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from calibration_populations import BUDGET, Population, finals, published, recorded, shapes, stream, times
from scipy import stats

from tpobench.scores.cells import arm_of_values
from tpobench.scores.pairing import compare_family
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import Scalar
from tpobench.stats import suite_level
from tpobench.stats.compare import sign_flip, studentized_permutation, tie_group
from tpobench.stats.outcomes import boschloo, compare_times
from tpobench.stats.sequential import SequentialPlan, look_at
from tpobench.stats.suite_level import Reference, suite_compare

ALPHA = 0.05
RESAMPLES = 999
SEEDS = (5, 10, 20)


@dataclass(frozen=True)
class Null:
    """A test where the truth is "no difference"; `error` says whether one repeat went wrong."""

    test: str
    setting: str
    n: str
    error: Callable[[np.random.Generator], bool]
    cost: int = 1  # repeats are divided by it


@dataclass(frozen=True)
class ErrorRate:
    """Share of the repeats in which the test was wrong; se 0: computed exactly."""

    test: str
    setting: str
    n: str
    repeats: int
    rate: float
    se: float

    def as_dict(self) -> dict[str, Any]:
        """For json."""
        return asdict(self)


def error_rate(null: Null, repeats: int) -> ErrorRate:
    """Count."""
    rng = stream("tests", null.test, null.setting, null.n)
    count = max(20, repeats // null.cost)
    rate = sum(null.error(rng) for _ in range(count)) / count
    return ErrorRate(null.test, null.setting, null.n, count, rate, math.sqrt(rate * (1 - rate) / count))


def _rejects(p: float | None) -> bool:
    return p is not None and p <= ALPHA


def permutation(x: Population, y: Population, n: int, m: int, setting: str) -> Null:
    """The default test of two independent arms."""

    def error(rng: np.random.Generator) -> bool:
        a, b = x.draw(rng, n), y.draw(rng, m)
        return not np.array_equal(a, b) and _rejects(studentized_permutation(a, b, rng, RESAMPLES))

    return Null("studentized permutation", setting, str(n) if n == m else f"{n} vs {m}", error)


def flips(x: Population, y: Population, n: int, setting: str) -> Null:
    """The default test of arms that share their seeds."""

    def error(rng: np.random.Generator) -> bool:
        return _rejects(sign_flip(x.draw(rng, n) - y.draw(rng, n), rng, RESAMPLES))

    return Null("sign-flip", setting, str(n), error)


def boschloo_rate(p: float, n: int, m: int) -> ErrorRate:
    """Boschloo's two-sided test, by summing over all pairs of counts."""
    rejected = _boschloo_rejections(n, m)
    weights = np.outer(stats.binom.pmf(np.arange(n + 1), n, p), stats.binom.pmf(np.arange(m + 1), m, p))
    size = f"{n}" if n == m else f"{n} vs {m}"
    return ErrorRate("boschloo", f"both rates {p:g}", size, 0, float(weights[rejected].sum()), 0.0)


_REJECTIONS: dict[tuple[int, int], np.ndarray] = {}


def _boschloo_rejections(n: int, m: int) -> np.ndarray:
    if (n, m) not in _REJECTIONS:
        rejected = np.zeros((n + 1, m + 1), dtype=bool)
        for k, l in itertools.product(range(n + 1), range(m + 1)):
            if n == m and l < k:
                rejected[k, l] = rejected[l, k]  # the test does not know the arms' names
            else:
                rejected[k, l] = _rejects(boschloo((k, l), (n, m)))
        _REJECTIONS[n, m] = rejected
    return _REJECTIONS[n, m]


def censored(p: Population, test: str, n: int, *, budgets_differ: bool = False) -> Null:
    """Steps to a threshold of two equal arms; the second arm may have been given half of the budget."""
    budget_b = BUDGET / 2 if budgets_differ else BUDGET

    def error(rng: np.random.Generator) -> bool:
        a, b = p.draw(rng, n), p.draw(rng, n)
        a, b = np.where(a > BUDGET, np.inf, a), np.where(b > budget_b, np.inf, b)
        return _rejects(compare_times(a, b, BUDGET, budget_b, rng=rng, test=test, resamples=RESAMPLES).p)  # type: ignore[arg-type]

    return Null(f"steps: {test}", p.name + (", budgets 2000 and 1000" if budgets_differ else ""), str(n), error, 2)


@contextmanager
def without_intervals() -> Iterator[None]:
    """The suite-level test alone: four fifths of the time go to the intervals beside it."""
    shipped = suite_level._compared
    suite_level._compared = lambda x, y, tested, *_: tested  # type: ignore[assignment]  # noqa: ARG005
    try:
        yield
    finally:
        suite_level._compared = shipped


def suite_null(setting: str, tasks: Mapping[str, tuple[Population, Population]], n: int) -> Null:
    """The stratified test over all tasks of a suite, each with the populations of both arms."""
    references = dict.fromkeys(tasks, Reference(1.0, 0.0))

    def error(rng: np.random.Generator) -> bool:
        a, b = ({name: arms[side].draw(rng, n) for name, arms in tasks.items()} for side in (0, 1))
        with without_intervals():
            return _rejects(suite_compare(a, b, references, rng=rng, resamples=RESAMPLES).p)

    return Null("suite level: stratified permutation", setting, str(n), error, 2)


def suites() -> dict[str, dict[str, tuple[Population, Population]]]:
    """Suites whose mean scores are equal: recorded tasks, and one noisy task beside seven quiet ones."""
    wide = {name: p for name, p in recorded("sparse").items() if p.sd >= 0.01}
    recordings = {name: (wide[name], wide[name]) for name in list(wide)[::5]}

    def normal(mean: float, sd: float) -> Population:
        return Population("normal", mean + sd * (shapes()["normal"].values - 0.3) / 0.1)

    noisy, quiet = normal(0.5, 0.1), normal(0.2, 0.01)
    names = [f"quiet {i}" for i in range(7)]
    ahead = dict.fromkeys(names, (normal(0.19, 0.01), quiet))
    return {
        f"{len(recordings)} recorded tasks": recordings,
        "1 noisy and 7 quiet tasks (sd 10 to 1)": {"noisy": (noisy, noisy), **dict.fromkeys(names, (quiet, quiet))},
        "the same, noisy in one arm": {"noisy": (noisy, normal(0.5, 0.01)), **dict.fromkeys(names, (quiet, quiet))},
        "the same, sd 1 better in the quiet, .7 worse in the noisy": {"noisy": (normal(0.57, 0.1), noisy), **ahead},
    }


def ties(p: Population, n: int, arms: int, lead: float) -> Null:
    """Bold in a table: a true best is dropped.  All arms equal, or the first ahead of the others by `lead` sd."""
    reporting = Reporting()

    def error(rng: np.random.Generator) -> bool:
        drawn = {f"r{i}": p.draw(rng, n) - (lead * p.sd if i == 0 else 0.0) for i in range(arms)}
        sides = {n: arm_of_values(n, dict(enumerate(x.tolist())), reporting, stream="s") for n, x in drawn.items()}
        comparisons = compare_family(sides, Scalar("final", reporting))
        _, tied = tie_group({name: (float(x.mean()),) for name, x in drawn.items()}, comparisons)
        true_best = {"r0"} if lead else set(drawn)
        return bool(true_best - set(tied))

    # In words that do not change: the stream of a row is named by its setting.
    what = f"{arms} equal rules" if not lead else f"{arms} rules, one ahead by {lead:g} sd"
    return Null("tie group: a true best is dropped", f"{what}, {p.name}", str(n), error, 4)


def adaptive(p: Population, arms: int, shifted: float = 0.0) -> Null:
    """The plan adaptive:5x4: any pair of equal algorithms is decided; the last one may differ from the others."""
    names = tuple(f"r{i}" for i in range(arms))
    plan = SequentialPlan(names, 5, 4, ALPHA)
    equal = [pair for pair in plan.pairs if not shifted or names[-1] not in pair]

    def error(rng: np.random.Generator) -> bool:
        values = {name: p.draw(rng, plan.most_seeds) for name in names}
        values[names[-1]] = values[names[-1]] + shifted * p.sd
        decisions = look_at(plan, values).decisions
        return any(decisions[pair].status in {"better", "worse"} for pair in equal)

    # As above.
    what = f"{arms} equal rules" if not shifted else f"{arms - 1} equal rules, one worse by {shifted:g} sd"
    return Null("adaptive:5x4: any equal pair decided", f"{what}, {p.name}", "5 to 20", error, 2)


def nulls() -> list[Null]:
    """Every row but the exact ones."""
    return list(_nulls())


def _nulls() -> Iterator[Null]:
    s = shapes()
    tpo, grpo, _ = (finals(c) for c in published().values())
    normal, skewed = s["normal"], s["lognormal"]
    wide = Population("normal, sd x 4", 0.3 + 4 * (normal.values - 0.3))
    steady = Population("normal, sd / 10", skewed.mean + (normal.values - 0.3) / 10)
    equal = [normal, skewed, s["bimodal"], s["10% failures (0/1)"], s["heavy tail (Lomax 2.5)"], tpo, grpo]
    for n in SEEDS:
        for p in equal:
            yield permutation(p, p, n, n, f"{p.name}, both arms")
        yield permutation(normal, wide, n, n, "normal, sd 1 vs 4")
        yield permutation(wide, normal, n, 2 * n, "normal, sd 4 vs 1, fewer of the wide")
        yield permutation(skewed, steady, n, n, "lognormal vs normal of the same mean")
    for n in (6, 10, 20):
        for p in equal:
            yield flips(p, p, n, f"{p.name}, both arms")
        yield flips(normal, wide, n, "normal, sd 1 vs 4")
        yield flips(skewed, steady, n, "lognormal vs normal of the same mean")
    curves = published()
    populations = [times(curves["published TPO"], 0.01), times(curves["published GRPO"], 0.01)]
    for n, p in itertools.product(SEEDS, populations):
        for test in ("mwu", "rmst", "logrank"):
            yield censored(p, test, n)
        yield censored(p, "logrank", n, budgets_differ=True)
    for setting, tasks in suites().items():
        for n in SEEDS:
            yield suite_null(setting, tasks, n)
    for n in (10, 20):
        yield ties(normal, n, 6, 0.0)
        yield ties(tpo, n, 6, 0.0)
        yield ties(normal, n, 6, 1.0)
    for arms in (2, 3, 5):
        yield adaptive(normal, arms)
        yield adaptive(tpo, arms)
    yield adaptive(normal, 3, 2.0)


SIZES = ((20, 20), (10, 20), (10, 10), (5, 5))


def boschloo_rates(size: tuple[int, int]) -> list[ErrorRate]:
    """The exact rows of one pair of sample sizes."""
    return [boschloo_rate(p, *size) for p in (0.1, 0.5, 0.9)]
