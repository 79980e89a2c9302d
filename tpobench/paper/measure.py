"""Printed numbers against the runs: what ours is, where as many other seeds would fall, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tpobench.errors import UsageError
from tpobench.paper.claim import Scalar
from tpobench.paper.design import lookup
from tpobench.paper.evidence import Evidence, NotRun
from tpobench.paper.exact import exact
from tpobench.paper.printed import NOTES, Number, contradictions, parse_printed
from tpobench.paper.sample import measured, sample
from tpobench.planning.plan import plan_runs
from tpobench.scores.estimates import SEED
from tpobench.scores.scalars import nearest
from tpobench.scores.sides import Entry
from tpobench.stats.estimate import Floats
from tpobench.stats.reproduction import (
    Prediction,
    Printed,
    Statistic,
    agreement,
    first_below,
    first_decayed,
    predict_mean,
    predict_step,
)
from tpobench.suites.load import load_suite

Verdict = Literal["agrees", "differs", "undecided", "not run", "not compared"]
ROUNDING = 1e-6  # of numbers that are printed exactly


@dataclass(frozen=True)
class Measured:
    """A printed number and ours."""

    number: Number
    verdict: Verdict
    prediction: Prediction | None = None
    ours: str = ""  # a setting, which is a text
    budget: float = math.inf  # of updates, where steps are counted
    notes: tuple[str, ...] = ()


def measure(number: Number, evidence: Mapping[str, Evidence], scale: str = "paper") -> Measured:
    """What became of a printed number at a scale; what runs measure is compared at the scale of the paper only."""
    if number.measured and scale != "paper":
        return Measured(number, "not compared")
    try:
        found = _found(number, evidence)
    except NotRun as reason:
        found = Measured(number, "not run", notes=(str(reason),))
    known = [NOTES.get(number.note, ""), contradictions(number)]
    return replace(found, notes=tuple(dict.fromkeys(note for note in (*found.notes, *known) if note)))


def _found(number: Number, evidence: Mapping[str, Evidence]) -> Measured:
    if not number.kind:
        raise NotRun(NOTES[number.note])
    if not number.measured:
        return _exact(number) if number.kind == "exact" else _setting(number)
    if number.suite not in evidence:
        msg = f"suite {number.suite} is not there"
        raise NotRun(msg)
    return _measured(number, evidence[number.suite])


def _exact(number: Number) -> Measured:
    value = exact(number.rule, number.arguments)
    agrees = abs(value - number.printed.value) <= number.printed.rounding + ROUNDING
    return Measured(number, "agrees" if agrees else "differs", _point(value))


def _point(value: float) -> Prediction:
    return Prediction(value, None, None, None, None, 0, "exact", "computed from the rule")


def _setting(number: Number) -> Measured:
    """A setting of the suite at the scale of the paper, or a property of the rule."""
    (path,) = number.arguments
    ours = _property(number.rule, path.removeprefix("rule.")) if path.startswith("rule.") else _held(number, path)
    same = ours == number.text if isinstance(ours, str) else ours == parse_printed(number.text)[0]
    return Measured(number, "agrees" if same else "differs", ours=str(ours))


def _held(number: Number, path: str) -> Any:
    """What the suite, or the runs that it plans for the rule, have at a path."""
    try:
        suite = load_suite(number.suite)
    except UsageError as error:
        raise NotRun(str(error)) from error
    if path == "seeds":
        return suite.seeds
    specs = plan_runs(suite, [number.rule], [0]).specs
    if not specs:
        msg = f"{number.suite} has no runs of {number.rule}"
        raise NotRun(msg)
    return lookup(min(specs, key=lambda s: s.matching == "interactions"), path)


def _property(rule: str, name: str) -> str:
    """A column of the paper's table of methods, from the catalogue."""
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch

    algorithm = ALGORITHMS[rule]
    found = {
        "group": algorithm.compares != "nothing",
        "critic": "value" in algorithm.needs,
        "reference": "ref_logp" in algorithm.needs,
    }
    return "yes" if found[name] else "no"


def _measured(number: Number, own: Evidence) -> Measured:
    data = own.plan.suite.task.get("data")
    if data is not None and data != (printed := load_suite(number.suite).task["data"]):
        msg = f"trained on {data}, the printed number is of {printed}"
        raise NotRun(msg)
    entry = own.entry(number.rule, number.cell, number.matching)
    key = own.place(number.rule, number.cell, number.matching)
    found = MEASURES[number.kind](number, entry, own)
    return replace(found, notes=(*found.notes, *filter(None, [own.shortfall(key)])))


def _mean(number: Number, values: Floats, worst: float) -> Measured:
    """The mean over seeds; one failed seed more among those behind the printed number is said where it decides."""
    printed = number.printed
    rng = np.random.default_rng(SEED)
    found = agreement(predict_mean(values, printed.seeds, rng=rng, lowest=0.0, highest=worst), printed)
    notes = [found.reason] if found.reason else []
    high = found.prediction.high
    if found.verdict == "differs" and high is not None and high < printed.value <= high + worst / printed.seeds:
        notes.append(f"one failed seed more among the {printed.seeds} behind it would be enough for the difference")
    return Measured(number, found.verdict, found.prediction, notes=tuple(notes))


def _final(number: Number, entry: Entry, own: Evidence) -> Measured:
    """The last evaluation, as the paper has it, not the mean over the suite's window."""
    del own
    worst = entry.cell.reporting.worst
    _, curves, _ = measured(entry.arm, number.arguments[0], worst)
    return _mean(number, curves[:, -1], worst)


def _at(number: Number, entry: Entry, own: Evidence) -> Measured:
    metric, step = number.arguments
    reporting = entry.cell.reporting
    steps, curves, _ = measured(entry.arm, metric, reporting.worst if metric == reporting.metric else None)
    at = nearest(steps, float(step))
    found = _mean(number, curves[:, at], reporting.worst)
    del own
    note = f"measured at update {steps[at]:g}, the nearest to {step}"
    return found if steps[at] == float(step) else replace(found, notes=(*found.notes, note))


def _ratio(number: Number, entry: Entry, own: Evidence) -> Measured:
    del own
    metric, over, step = number.arguments
    scalar = Scalar("ratio", metric, over=over, step=int(step))
    values = list(sample(entry, scalar).values.values())
    found = agreement(predict_mean(values, number.printed.seeds, rng=np.random.default_rng(SEED)), number.printed)
    return Measured(number, found.verdict, found.prediction, notes=(found.reason,) if found.reason else ())


def _fact(number: Number, entry: Entry, own: Evidence) -> Measured:
    """What is measured once, before the first update."""
    del entry
    (name,) = number.arguments
    key = own.place(number.rule, number.cell, number.matching)
    values = [float(v) for r in own.of(key) if (v := r.facts.get(name)) is not None]
    found = agreement(predict_mean(values, number.printed.seeds, rng=np.random.default_rng(SEED)), number.printed)
    return Measured(number, found.verdict, found.prediction, notes=(found.reason,) if found.reason else ())


def _crossing(number: Number, entry: Entry, own: Evidence) -> Measured:
    """First update at which the mean curve is below the threshold, on the coarser of the two grids."""
    del own
    metric, threshold, *block = number.arguments
    steps, curves, _ = measured(entry.arm, metric, entry.cell.reporting.worst)
    every = max([float(steps[1] - steps[0]) if len(steps) > 1 else 1.0, *map(float, block)])
    kept = steps % every == 0
    value = number.printed.value
    printed = replace(number.printed, value=value if math.isinf(value) else math.ceil(value / every) * every)
    found = _step(number, printed, curves[:, kept], first_below(steps[kept], float(threshold)), steps)
    note = f"evaluated every {every:g} updates, and the printed {value:g} taken up to that grid"
    return found if printed.value == value or math.isinf(value) else replace(found, notes=(*found.notes, note))


def _decay(number: Number, entry: Entry, own: Evidence) -> Measured:
    """First update after the peak of the mean curve at which it is below a share of the peak."""
    del own
    metric, share = number.arguments
    steps, curves, _ = measured(entry.arm, metric, None)
    return _step(number, number.printed, curves, first_decayed(steps, float(share)), steps)


def _step(number: Number, printed: Printed, curves: Floats, statistic: Statistic, steps: Floats) -> Measured:
    prediction = predict_step(curves, statistic, printed.seeds, rng=np.random.default_rng(SEED))
    found = agreement(prediction, printed)
    return Measured(
        number, found.verdict, prediction, budget=float(steps[-1]), notes=(found.reason,) if found.reason else ()
    )


MEASURES: Mapping[str, Callable[[Number, Entry, Evidence], Measured]] = {
    "final": _final,
    "at": _at,
    "ratio": _ratio,
    "fact": _fact,
    "crossing": _crossing,
    "decay": _decay,
}
