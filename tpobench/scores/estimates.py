"""Estimates that tables and figures share: one number per arm, computed once, those of as many seeds together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar, cast

import numpy as np

from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.stats.censored import StepsEstimate, steps_estimates
from tpobench.stats.estimate import (
    Estimate,
    Floats,
    Intervals,
    iqm_estimates,
    mean_estimates,
    median_estimates,
    rate_estimate,
    tail_estimates,
)

SEED = 0  # of every resampling: the same records give the same bytes
CACHED = 2**16  # estimates in memory: tables and figures of one report ask for the same ones, cell after cell
AT_ONCE = 64  # arms: their resampled means fit a cache

T = TypeVar("T")
Arms = Iterable[tuple[Floats, Reporting]]  # numbers (n,) of the seeds of each, and how they are scored
Key = tuple[Any, ...]

rate_of = lru_cache(CACHED)(rate_estimate)  # share k / n with Wilson's interval


def mean_of(values: Floats, options: ReportOptions, reporting: Reporting) -> Estimate:
    """Mean of the metric over seeds with the interval that the options ask for, clipped to the ends of its scale."""
    return means_of([(values, reporting)], options)[0]


def means_of(arms: Arms, options: ReportOptions) -> list[Estimate]:
    """`mean_of` each."""
    return _of_losses(_means, arms, lambda r: (*_ends(r), options.ci, options.paper_intervals))


def medians_of(arms: Arms) -> list[Estimate]:
    """Medians over seeds."""
    return _of_losses(_medians, arms)


def iqms_of(arms: Arms) -> list[Estimate]:
    """Interquartile means over seeds."""
    return _of_losses(_iqms, arms)


def tails_of(arms: Arms) -> list[Estimate]:
    """Means of the worst quarter of the seeds."""
    return _of_losses(_tails, arms)


def steps_of(times: Floats, budget: float) -> StepsEstimate:
    """Count reached, median, restricted mean and ERT over seeds; times are inf where never reached."""
    return all_steps_of([(times, budget)])[0]


def all_steps_of(arms: Iterable[tuple[Floats, float]]) -> list[StepsEstimate]:
    """`steps_of` each: times and budget."""
    return _each(_steps, [(times, (budget,)) for times, budget in arms])


def _of_losses(
    kind: Callable[..., list[Estimate]], arms: Arms, settings: Callable[[Reporting], Key] = lambda _: ()
) -> list[Estimate]:
    arms = list(arms)
    estimates = _each(kind, [(r.loss(values), settings(r)) for values, r in arms])
    return [r.estimate(estimate) for (_, r), estimate in zip(arms, estimates, strict=True)]


def _ends(reporting: Reporting) -> tuple[float, float]:
    return float(reporting.loss(reporting.best)), float(reporting.loss(reporting.worst))


def _each(kind: Callable[..., list[T]], arms: Sequence[tuple[Floats, Key]]) -> list[T]:
    """`kind` of each arm (n,) under its settings; of those that nobody asked for before, as many as can be at once."""
    keys = [(kind, settings, np.ascontiguousarray(x, dtype=np.float64).tobytes()) for x, settings in arms]
    if len(_known) > CACHED:
        _known.clear()
    unknown: dict[Key, dict[Key, None]] = defaultdict(dict)
    for key in keys:
        if key not in _known:
            unknown[key[1], len(key[2])][key] = None
    for (settings, _), alike in unknown.items():
        rest = iter(alike)
        while part := list(islice(rest, AT_ONCE)):
            x = np.array([np.frombuffer(values) for *_, values in part])
            _known.update(zip(part, kind(x, *settings), strict=True))
    return [cast("T", _known[key]) for key in keys]


_known: dict[Key, Any] = {}


def _means(x: Floats, lowest: float, highest: float, ci: Intervals, paper: bool) -> list[Estimate]:  # noqa: FBT001 - a key
    return mean_estimates(x, rng=_rng(), lowest=lowest, highest=highest, ci=ci, paper_compat=paper)


def _medians(x: Floats) -> list[Estimate]:
    return median_estimates(x)


def _iqms(x: Floats) -> list[Estimate]:
    return iqm_estimates(x, rng=_rng())


def _tails(x: Floats) -> list[Estimate]:
    return tail_estimates(x, rng=_rng())


def _steps(times: Floats, budget: float) -> list[StepsEstimate]:
    return steps_estimates(times, budget, rng=_rng())


def _rng() -> np.random.Generator:
    return np.random.default_rng(SEED)
