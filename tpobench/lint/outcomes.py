"""Measuring and outcomes: what the window, the thresholds and the values themselves can and cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tpobench.lint.model import CellRuns, Finding
from tpobench.records.store import RunRecord
from tpobench.scores.reporting import Reporting
from tpobench.stats.compare import compare_all
from tpobench.stats.curves import below_threshold
from tpobench.stats.estimate import rate_estimate
from tpobench.stats.guard import Floats

BEST = re.compile(r"(^|_)(best|max|min|peak)(_|$)")
LEARNT = 0.9  # a final value above this share of the first one is no learning
FINEST = 1e-4  # no threshold is as fine
GRID_POINTS = 10  # distinct values from which a grid is no accident


def schedules(cell: CellRuns) -> Iterator[Finding]:
    """L060: runs that lasted were measured at different steps, though they end at the same one."""
    steps = {n: {tuple(r.curve.get("step", [])) for r in runs} for n, runs in cell.ok.items()}
    every = {s for own in steps.values() for s in own if s}
    if len(every) > 1 and len({s[-1] for s in every}) == 1:
        listed = "; ".join(f"{n} {' and '.join(str(len(s)) for s in sorted(own))}" for n, own in steps.items())
        yield cell.found("L060", f"evaluations on the way: {listed}", steps)


def window(cell: CellRuns) -> Iterator[Finding]:
    """L061: a window as long as the curve or longer; L062: of one point.  In a table each run has its own window."""
    runs = [r for own in cell.ok.values() for r in own]
    spans = [(Reporting.of(r.reporting).window, len(r.curve.get("step", []))) for r in runs]
    long = [(length, k) for k, length in spans if k >= length > 1]
    if long:
        length, k = min(long)
        yield cell.found("L061", f"window {k}, curves of {length} evaluations")
    elif spans and all(k == 1 for k, _ in spans) and max(length for _, length in spans) > 1:
        yield cell.found("L062", f"final {cell.reporting.metric}: the last evaluation alone")


def thresholds(cell: CellRuns) -> Iterator[Finding]:
    """L063: finer than the evaluation, or a stretch longer than the curve; L064: the first crossing counts."""
    r = cell.reporting
    curves = [_curve(run, r.metric) for runs in cell.ok.values() for run in runs]
    longest = max(map(len, curves), default=0)
    if not r.thresholds or longest < 2:
        return
    if r.persist > longest:
        yield cell.found("L063", f"{r.persist} evaluations in a row below a threshold, curves of {longest}")
    grid = resolution(np.concatenate(curves))
    fine = [t for t in r.thresholds if grid is not None and t <= grid * (1 + 1e-6)]
    if fine:
        listed = " and ".join(f"{t:g}" for t in fine)
        yield cell.found("L063", f"{r.metric} is measured in steps of {grid:.2g}, threshold {listed}")
    if r.persist == 1:
        yield cell.found("L064", "one evaluation below a threshold counts as reached")


def resolution(values: Floats) -> float | None:
    """The grid on which all values lie, None where there is none: 1/N of a share of N answers."""
    x = np.unique(np.round(values[np.isfinite(values)], 6))
    gaps = np.diff(x)
    gaps = gaps[gaps > 2e-6]  # what rounding to seven digits leaves of equal values
    if len(x) < GRID_POINTS or not len(gaps) or gaps.min() < FINEST:
        return None
    grid = float(x.max() / np.round(x.max() / gaps.min()))  # the largest value knows it best
    return grid if np.abs(x - grid * np.round(x / grid)).max() < 3e-6 else None


def _curve(record: RunRecord, metric: str) -> Floats:
    return np.array([np.nan if v is None else v for v in record.curve.get(metric, [])], dtype=np.float64)


def worst(cell: CellRuns) -> Iterator[Finding]:
    """L065: a run that lasted ends worse than what a diverged run is scored."""
    limit = cell.reporting.worst
    for name, runs in cell.ok.items():
        seeds = {r.spec["seed"] for r in runs}
        high = [v for s, v in cell.finals.get(name, {}).items() if s in seeds and v > limit * (1 + 1e-9)]
        if high:
            yield cell.found("L065", f"{name}: final {max(high):.3g} > worst {limit:g}", [name])


def best(cell: CellRuns) -> Iterator[Finding]:
    """L066: the metric is the best of several evaluations."""
    if BEST.search(cell.reporting.metric.lower()):
        yield cell.found("L066", f"the metric is {cell.reporting.metric}")


def means(cell: CellRuns) -> Iterator[Finding]:
    """L080: some seeds solve the task and some do not, and the median is far from the mean."""
    for name, values in cell.finals.items():
        x = np.array(list(values.values()))
        if misleading(x, cell.reporting.solved):
            k = int(below_threshold(x, cell.reporting.solved).sum())
            rate = rate_estimate(k, len(x))
            interval = f" [{rate.low:.2f}, {rate.high:.2f}]" if rate.low is not None and rate.high is not None else ""
            what = f"{name}: mean {x.mean():.2g}, median {np.median(x):.2g}; {k}/{len(x)}{interval} solved"
            yield cell.found("L080", what, [name])


def misleading(x: Floats, solved: float) -> bool:
    """Both kinds of seeds, and |mean - median| above a third of a standard deviation and above `solved`."""
    k = int(below_threshold(x, solved).sum())
    far = abs(float(x.mean() - np.median(x)))
    return len(x) > 4 and 0 < k < len(x) and far > max(float(x.std(ddof=1)) / 3, solved)


def saturated(cell: CellRuns) -> Iterator[Finding]:
    """L081: every run solved, L082: none learnt; in both no pair of rules can be told apart."""
    finals, runs = cell.finals, [r for own in cell.finished.values() for r in own]
    if len(finals) < 2:
        return
    every = np.concatenate([np.array(list(own.values())) for own in finals.values()])
    easy, hard = bool(below_threshold(every, cell.reporting.solved).all()), all(_unlearnt(r, cell) for r in runs)
    if (easy or hard) and not any(c.adjusted is not None and c.adjusted < 0.05 for c in compare_all(finals).values()):
        what = f"all {len(every)} runs are {'solved' if easy else 'where they began'}, no pair of rules differs"
        yield cell.found("L081" if easy else "L082", what, finals)


def _unlearnt(record: RunRecord, cell: CellRuns) -> bool:
    curve = _curve(record, cell.reporting.metric)
    final = cell.finals.get(record.spec["algorithm"], {}).get(record.spec["seed"])
    return final is not None and len(curve) > 1 and bool(final >= LEARNT * curve[0] > 0)


CHECKS: Mapping[str, Callable[[CellRuns], Iterator[Finding]]] = {
    "L060": schedules, "L061": window, "L063": thresholds, "L065": worst, "L066": best, "L080": means,
    "L081": saturated,
}  # fmt: skip
