"""Estimates that tables and figures share: one number per arm, computed once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.stats.censored import StepsEstimate, steps_estimate
from tpobench.stats.estimate import (
    Estimate,
    Floats,
    Intervals,
    iqm_estimate,
    mean_estimate,
    median_estimate,
    rate_estimate,
    tail_estimate,
)

SEED = 0  # of every resampling: the same records give the same bytes
CACHED = 2**16  # estimates in memory: tables and figures of one report ask for the same ones, cell after cell

rate_of = lru_cache(CACHED)(rate_estimate)  # share k / n with Wilson's interval


def mean_of(values: Floats, options: ReportOptions, reporting: Reporting) -> Estimate:
    """Mean of the metric over seeds with the interval that the options ask for, clipped to the ends of its scale."""
    ends = float(reporting.loss(reporting.best)), float(reporting.loss(reporting.worst))
    return reporting.estimate(_mean(_bytes(reporting.loss(values)), ends, options.ci, options.paper_intervals))


def median_of(values: Floats, reporting: Reporting) -> Estimate:
    """Median over seeds."""
    return reporting.estimate(median_estimate(reporting.loss(values)))


def iqm_of(values: Floats, reporting: Reporting) -> Estimate:
    """Interquartile mean over seeds."""
    return reporting.estimate(_iqm(_bytes(reporting.loss(values))))


def tail_of(values: Floats, reporting: Reporting) -> Estimate:
    """Mean of the worst quarter of the seeds."""
    return reporting.estimate(_tail(_bytes(reporting.loss(values))))


def _bytes(values: Floats) -> bytes:
    return np.ascontiguousarray(values, dtype=np.float64).tobytes()


@lru_cache(CACHED)
def _mean(values: bytes, ends: tuple[float, float], ci: Intervals, paper: bool) -> Estimate:  # noqa: FBT001 - a key
    x, rng = np.frombuffer(values), np.random.default_rng(SEED)
    return mean_estimate(x, rng=rng, lowest=ends[0], highest=ends[1], ci=ci, paper_compat=paper)


@lru_cache(CACHED)
def _iqm(values: bytes) -> Estimate:
    return iqm_estimate(np.frombuffer(values), rng=np.random.default_rng(SEED))


@lru_cache(CACHED)
def _tail(values: bytes) -> Estimate:
    return tail_estimate(np.frombuffer(values), rng=np.random.default_rng(SEED))


def steps_of(times: Floats, budget: float) -> StepsEstimate:
    """Count reached, median, restricted mean and ERT over seeds; times are inf where never reached."""
    return _steps(_bytes(times), budget)


@lru_cache(CACHED)
def _steps(times: bytes, budget: float) -> StepsEstimate:
    return steps_estimate(np.frombuffer(times), budget, rng=np.random.default_rng(SEED))
