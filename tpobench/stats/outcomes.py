"""Arms compared by what they reached and when: counts by Boschloo, censored times by ranks, means or log-rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tpobench.stats.censored import censored
from tpobench.stats.compare import Comparison, compare
from tpobench.stats.guard import Floats, guarded_test
from tpobench.stats.multiplicity import RESAMPLES
from tpobench.stats.permutation import Alternative, in_order, smallest_p

TimesTest = Literal["auto", "mwu", "rmst", "logrank"]


def boschloo(successes: tuple[int, int], runs: tuple[int, int], *, alternative: Alternative = "two-sided") -> float:
    """Boschloo's unconditional exact p for two shares; `greater`: the first share is larger."""
    (k, l), (n, m) = successes, runs
    if k + l in {0, n + m}:
        return 1.0  # equal shares of 0 or 1 are no evidence, whatever an optimiser makes of 0/0
    if alternative == "two-sided" and (n, k) > (m, l):
        (k, n), (l, m) = (l, m), (k, n)
    return float(scipy.stats.boschloo_exact([[k, l], [n - k, m - l]], alternative=alternative).pvalue)


def compare_rates(successes_a: int, runs_a: int, successes_b: int, runs_b: int) -> Comparison:
    """Shares k/n of two independent arms (solved, reached, diverged); difference = A - B, no direction of better."""
    x = np.repeat([1.0, 0.0], [successes_a, runs_a - successes_a])
    y = np.repeat([1.0, 0.0], [successes_b, runs_b - successes_b])
    runs = (runs_a, runs_b)
    tested = guarded_test(
        lambda u, v: boschloo((int(u.sum()), int(v.sum())), (len(u), len(v))),
        x,
        y,
        name="boschloo",
        least=1,
        constant=True,
    )
    if tested.status != "tested":
        return Comparison(tested.status, tested.reason, runs)
    least = boschloo((runs_a, 0), runs)
    difference = float(x.mean() - y.mean())
    return Comparison("tested", "", runs, difference, p=tested.p, test="boschloo", smallest=min(1.0, least))


def compare_times(
    times_a: ArrayLike,
    times_b: ArrayLike,
    budgets_a: ArrayLike,
    budgets_b: ArrayLike,
    *,
    rng: np.random.Generator,
    test: TimesTest = "auto",
    resamples: int = RESAMPLES,
) -> Comparison:
    """Censored steps of two arms; the difference is that of the means of min(t, T) up to the common budget T.

    `auto` is Mann-Whitney on min(t, T) where all budgets are equal and the log-rank test where they differ; `rmst` is
    the studentized permutation test of the restricted means. Times beyond their own run's budget count as censored.
    """
    x, y = np.asarray(times_a, dtype=np.float64), np.asarray(times_b, dtype=np.float64)
    budget_x = np.broadcast_to(np.asarray(budgets_a, dtype=np.float64), x.shape)
    budget_y = np.broadcast_to(np.asarray(budgets_b, dtype=np.float64), y.shape)
    if not len(x) or not len(y) or np.isnan(x).any() or np.isnan(y).any():
        return compare(x, y, rng=rng)
    budgets = np.concatenate([budget_x, budget_y])
    common = float(budgets.min())
    differ = common < budgets.max()
    if test == "auto":
        test = "logrank" if differ else "mwu"
    if differ and test == "mwu":
        msg = f"budgets differ ({common:g} to {budgets.max():g}): ranks of censored times need one; use logrank or rmst"
        raise ValueError(msg)
    if not (x <= budget_x).any() and not (y <= budget_y).any():
        return Comparison("untestable", "never reached in either arm: no test", (len(x), len(y)))
    comparison = compare(np.minimum(x, common), np.minimum(y, common), rng=rng, rank=test == "mwu", resamples=resamples)
    return _logrank(comparison, x, y, budget_x, budget_y) if test == "logrank" else comparison


def _logrank(comparison: Comparison, x: Floats, y: Floats, budget_x: Floats, budget_y: Floats) -> Comparison:
    """The log-rank p in place of the one of the restricted means."""

    def method(_x: Floats, _y: Floats) -> float:
        u, v = in_order(np.stack([x, budget_x], axis=1), np.stack([y, budget_y], axis=1))
        return float(scipy.stats.logrank(censored(*u.T), censored(*v.T)).pvalue)

    tested = guarded_test(method, x, y, name="logrank", infinite=True, smallest=smallest_p(len(x), len(y)))
    return replace(
        comparison, status=tested.status, reason=tested.reason, p=tested.p, adjusted=None, test=tested.test,
        smallest=tested.smallest,
    )  # fmt: skip
