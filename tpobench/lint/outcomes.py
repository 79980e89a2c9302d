"""Measuring and outcomes: what the window, the thresholds and the values themselves can and cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tpobench.lint.model import CellRuns, Finding
from tpobench.records.results import evaluations
from tpobench.records.store import RunRecord
from tpobench.scores.cells import padded
from tpobench.scores.reporting import Reporting
from tpobench.scores.text import rate_text
from tpobench.stats.estimate import rate_estimate
from tpobench.stats.guard import Floats

LEARNT = 0.9  # a final value above this share of the first one is no learning
FINEST = 1e-4  # no threshold is as fine
GRID_POINTS = 10  # distinct values from which a grid is no accident


def schedules(cell: CellRuns) -> Iterator[Finding]:
    """L060: runs that lasted were measured at different steps, though they end at the same one."""
    steps = {n: {tuple(r.curve.get("step", [])) for r in runs} for n, runs in cell.ok.items()}
    every = {s for each in steps.values() for s in each if s}
    if len(every) > 1 and len({s[-1] for s in every}) == 1:
        listed = "; ".join(f"{n} {' and '.join(str(len(s)) for s in sorted(each))}" for n, each in steps.items())
        yield cell.finding("L060", f"evaluations on the way: {listed}", steps)


def window(cell: CellRuns) -> Iterator[Finding]:
    """L061: a window as long as the curve or longer; L062: of one point.  In a table each run has its own window."""
    runs = [r for each in cell.ok.values() for r in each]
    spans = [(Reporting.of(r.reporting).window, evaluations(r)) for r in runs]
    long = [(length, k) for k, length in spans if k >= length > 1]
    if long:
        length, k = min(long)
        yield cell.finding("L061", f"window {k}, curves of {length} evaluations")
    elif spans and all(k == 1 for k, _ in spans) and max(length for _, length in spans) > 1:
        yield cell.finding("L062", f"final {cell.reporting.metric}: the last evaluation alone")


def thresholds(cell: CellRuns) -> Iterator[Finding]:
    """L063: finer than the evaluation, or a stretch longer than the curve; L064: the first crossing counts."""
    r = cell.reporting
    curves = [_curve(run, r.metric) for runs in cell.ok.values() for run in runs]
    longest = max((int(np.isfinite(curve).sum()) for curve in curves), default=0)
    if not r.thresholds or longest < 2:
        return
    if r.persist > longest:
        yield cell.finding("L063", f"{r.persist} evaluations in a row {r.side} a threshold, curves of {longest}")
    grid = resolution(r.loss(np.concatenate(curves))) if r.bounded else None
    fine = [t for t in r.thresholds if grid is not None and r.loss(t) <= grid * (1 + 1e-6)]
    if fine:
        listed = " and ".join(map(r.level, fine))
        yield cell.finding("L063", f"{r.metric} is measured in steps of {r.brief(grid or 0.0)}, threshold {listed}")
    if r.persist == 1:
        yield cell.finding("L064", f"one evaluation {r.side} a threshold counts as reached")


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
    values = record.curve.get(metric, [])
    return np.asarray(padded([values], len(values))[0])


def worst(cell: CellRuns) -> Iterator[Finding]:
    """L065: a run that lasted ends worse than what a diverged run is scored."""
    r = cell.reporting
    limit = float(r.loss(r.worst))
    for name, arm in cell.arms.items():
        losses = r.loss(arm.lasted)
        if len(losses) and losses.max() > limit + 1e-9 * abs(limit):
            beyond = "> worst" if r.sign > 0 else "< worst"
            final = r.brief(arm.lasted[losses.argmax()], 3)
            yield cell.finding("L065", f"{name}: final {final} {beyond} {r.level(r.worst)}", [name])


def best(cell: CellRuns) -> Iterator[Finding]:
    """L066: the metric is the best of several evaluations."""
    if flatters(cell.reporting):
        yield cell.finding("L066", f"the metric is {cell.reporting.metric}")


def flatters(reporting: Reporting) -> bool:
    """Whether a word of the metric's name is the best end of several values: the maximum of an error is its worst."""
    words = set(reporting.metric.lower().split("_"))
    best = "max" if reporting.sign < 0 and "neg" not in words else "min"
    return bool(words & {"best", "peak", best})


def means(cell: CellRuns) -> Iterator[Finding]:
    """L080: some seeds solve the task and some do not, and the median is far from the mean."""
    for name, arm in cell.arms.items():
        x, r = arm.final, cell.reporting
        if misleading(x, r):
            k = int(r.passed(x, r.solved).sum())
            rate = rate_estimate(k, len(x))
            mean, median = r.brief(x.mean()), r.brief(np.median(x))
            what = f"{name}: mean {mean}, median {median}; {k}/{len(x)} {rate_text(rate)} solved"
            yield cell.finding("L080", what, [name])


def misleading(x: Floats, reporting: Reporting) -> bool:
    """Both kinds of seeds, and |mean - median| above a third of a standard deviation and above the loss of `solved`."""
    k = int(reporting.passed(x, reporting.solved).sum())
    far = abs(float(x.mean() - np.median(x)))
    least = float(reporting.loss(reporting.solved)) if reporting.bounded else 0.0
    return len(x) > 4 and 0 < k < len(x) and far > max(float(x.std(ddof=1)) / 3, least)


def saturated(cell: CellRuns) -> Iterator[Finding]:
    """L081: every run solved, L082: none learnt; in both no pair of algorithms can be told apart."""
    arms, r = cell.arms, cell.reporting
    if len(arms) < 2:
        return
    every = np.concatenate([arm.final for arm in arms.values()])
    easy = bool(r.passed(every, r.solved).all())
    hard = all(_unlearnt(run, cell) for runs in cell.finished.values() for run in runs)
    if (easy or hard) and not cell.apart:
        what = f"all {len(every)} runs are {'solved' if easy else 'where they began'}, no pair of algorithms differs"
        yield cell.finding("L081" if easy else "L082", what, arms)


def _unlearnt(record: RunRecord, cell: CellRuns) -> bool:
    """Whether a run ends about where it began, or worse."""
    curve, r = _curve(record, cell.reporting.metric), cell.reporting
    final = cell.losses.get(record.spec["algorithm"], {}).get(record.spec["seed"])
    if final is None or len(curve) < 2:
        return False
    first = float(r.loss(curve[0]))
    return bool(final >= LEARNT * first > 0) if r.bounded else final >= first


CHECKS: Mapping[str, Callable[[CellRuns], Iterator[Finding]]] = {
    "L060": schedules, "L061": window, "L063": thresholds, "L065": worst, "L066": best, "L080": means,
    "L081": saturated,
}  # fmt: skip
