"""Printed numbers against the runs: what ours is, where as many other seeds would fall, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.errors import UsageError
from tpobench.identity import flat
from tpobench.paper.claim import Measure
from tpobench.paper.evidence import Evidence, NotRun
from tpobench.paper.exact import exact
from tpobench.paper.printed import NOTES, SETTINGS, Number, contradictions, parse_printed
from tpobench.paper.sample import measured, sample
from tpobench.planning.plan import plan_runs
from tpobench.policies.optimizers import Block, Muon
from tpobench.policies.transformer import HEADS
from tpobench.records.store import RunRecord
from tpobench.scores.estimates import SEED
from tpobench.scores.scalars import nearest
from tpobench.scores.sides import ArmEntry
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

NumberVerdict = Literal["agrees", "differs", "undecided", "other settings", "not run", "not compared"]
NUMBER_VERDICTS: tuple[str, ...] = get_args(NumberVerdict)[:-1]  # of what is compared, in reading order
ROUNDING = 1e-6  # of numbers that are printed exactly
OF_ALGORITHM = "rule."  # in printed.csv: a setting that is a property of the algorithm
OF_TRANSFORMER = "transformer."  # or of the sequence tasks' policy and of the optimizer of its parameters


@dataclass(frozen=True)
class MeasuredNumber:
    """A printed number and ours."""

    number: Number
    verdict: NumberVerdict
    prediction: Prediction | None = None
    ours: str = ""  # a setting, which is a text
    budget: float = math.inf  # of updates, where steps are counted
    notes: tuple[str, ...] = ()


def measure(number: Number, evidence: Mapping[str, Evidence], scale: str = "paper") -> MeasuredNumber:
    """What became of a printed number at a scale; what runs measure is compared at the scale of the paper only."""
    if number.measured and scale != "paper":
        return MeasuredNumber(number, "not compared")
    try:
        result = _compared(number, evidence)
    except NotRun as reason:
        result = MeasuredNumber(number, "not run", notes=(str(reason),))
    return _noted(result, NOTES.get(number.note, ""), contradictions(number))


def _noted(result: MeasuredNumber, *notes: str) -> MeasuredNumber:
    """With more notes, each once."""
    return replace(result, notes=tuple(dict.fromkeys(note for note in (*result.notes, *notes) if note)))


def _compared(number: Number, evidence: Mapping[str, Evidence]) -> MeasuredNumber:
    if not number.kind:
        raise NotRun(NOTES[number.note])
    if not number.measured:
        return _exact(number) if number.kind == "exact" else _setting(number)
    if number.suite not in evidence:
        msg = f"suite {number.suite} is not there"
        raise NotRun(msg)
    return _measured(number, evidence[number.suite])


def _exact(number: Number) -> MeasuredNumber:
    value = exact(number.algorithm, number.arguments)
    distance, bound = value - number.printed.value, number.printed.bound
    within = abs(distance) <= number.printed.rounding + ROUNDING
    agrees = within if not bound else distance > 0 if bound == "above" else distance < 0
    ours = Prediction(value, None, None, None, None, 0, "exact", "computed from the algorithm")
    return MeasuredNumber(number, "agrees" if agrees else "differs", ours)


def _setting(number: Number) -> MeasuredNumber:
    """A setting of the suite at the scale of the paper, or a property of the algorithm."""
    (path,) = number.arguments
    if path.startswith(OF_ALGORITHM):
        ours = _property(number.algorithm, path)
    elif path.startswith(OF_TRANSFORMER):
        ours = _of_transformer()[path.removeprefix(OF_TRANSFORMER)]
    else:
        ours = _suite_value(number, path)
    same = ours == number.text if isinstance(ours, str) else ours == parse_printed(number.text)[0]
    return MeasuredNumber(number, "agrees" if same else "differs", ours=str(ours))


def _suite_value(number: Number, path: str) -> Any:
    """What the suite, or the runs that it plans for the algorithm, have at a path."""
    try:
        suite = load_suite(number.suite)
    except UsageError as error:
        raise NotRun(str(error)) from error
    if path == "seeds":
        return suite.seeds
    specs = plan_runs(suite, [number.algorithm], [0]).specs
    if not specs:
        msg = f"{number.suite} has no runs of {number.algorithm}"
        raise NotRun(msg)
    return flat(min(specs, key=lambda s: s.matching == "interactions").as_dict()).get(path)


def _property(name: str, path: str) -> str:
    """A column of the paper's table of methods, from the catalogue."""
    algorithm = ALGORITHMS[name]
    properties = {
        "group": algorithm.compares != "nothing",
        "critic": "value" in algorithm.needs,
        "reference": "ref_logp" in algorithm.needs,
    }
    return "yes" if properties[path.removeprefix(OF_ALGORITHM)] else "no"


def _of_transformer() -> dict[str, Any]:
    """Attention heads, and what steps the parameters that Muon does not."""
    matrices = (Block(0, 1, 1, 1, (1.0,)), Block(1, 1, 1, 1, (1.0,)))
    adam = Muon(0.0, matrices, torch.zeros(1, 2)).adam
    return {"heads": HEADS, "others": f"{'Nesterov ' * adam.nesterov}Adam without decay"}


def _measured(number: Number, evidence: Evidence) -> MeasuredNumber:
    data = evidence.plan.suite.task.get("data")
    if data is not None and data != (printed := load_suite(number.suite).task["data"]):
        msg = f"trained on {data}, the printed number is of {printed}"
        raise NotRun(msg)
    entry = evidence.entry(number.algorithm, number.cell, number.matching)
    key = evidence.place(number.algorithm, number.cell, number.matching)
    result = _fact(number, evidence.of(key)) if number.kind == "fact" else MEASURES[number.kind](number, entry)
    if others := _other_settings(number, evidence):
        result = _noted(replace(result, verdict="other settings"), *others)
    return _noted(result, evidence.shortfall(key))


def _other_settings(number: Number, evidence: Evidence) -> list[str]:
    """Settings behind the printed number that the runs do not have: neither agreement nor difference would say much."""
    spec = next(s for s in evidence.plan.specs if s.algorithm == number.algorithm)
    ours = flat(spec.as_dict())
    theirs = SETTINGS.get(number.note, {})
    return [f"{key} {ours[key]}, the paper {value}" for key, value in theirs.items() if ours[key] != value]


def _agreement(number: Number, prediction: Prediction, printed: Printed | None = None) -> MeasuredNumber:
    """What is printed against where as many other seeds would fall."""
    result = agreement(prediction, printed or number.printed)
    return _noted(MeasuredNumber(number, result.verdict, result.prediction), result.reason)


def _predicted(number: Number, values: ArrayLike, highest: float | None = None) -> Prediction:
    """Of the mean over the seeds behind the printed number; of errors clipped to [0, highest]."""
    lowest, most = (-math.inf, math.inf) if highest is None else (0.0, highest)
    return predict_mean(values, number.printed.seeds, rng=np.random.default_rng(SEED), lowest=lowest, highest=most)


def _fact(number: Number, records: Iterable[RunRecord]) -> MeasuredNumber:
    """What is measured once, before the first update."""
    (name,) = number.arguments
    return _agreement(number, _predicted(number, [float(v) for r in records if (v := r.facts.get(name)) is not None]))


def _mean(number: Number, values: Floats, worst: float) -> MeasuredNumber:
    """The mean over seeds; one failed seed more among those behind the printed number is said where it decides."""
    result, printed = _agreement(number, _predicted(number, values, worst)), number.printed
    high = result.prediction.high if result.prediction else None
    if result.verdict == "differs" and high is not None and high < printed.value <= high + worst / printed.seeds:
        note = f"one failed seed more among the {printed.seeds} behind it would be enough for the difference"
        return _noted(result, note)
    return result


def _final(number: Number, entry: ArmEntry) -> MeasuredNumber:
    """The last evaluation, as the paper has it, not the mean over the suite's window."""
    worst = entry.cell.reporting.worst
    _, curves, _ = measured(entry.arm, number.arguments[0], worst)
    return _mean(number, curves[:, -1], worst)


def _at(number: Number, entry: ArmEntry) -> MeasuredNumber:
    metric, step = number.arguments
    reporting = entry.cell.reporting
    steps, curves, _ = measured(entry.arm, metric, reporting.worst if metric == reporting.metric else None)
    at = nearest(steps, float(step))
    note = f"measured at update {steps[at]:g}, the nearest to {step}" if steps[at] != float(step) else ""
    return _noted(_mean(number, curves[:, at], reporting.worst), note)


def _ratio(number: Number, entry: ArmEntry) -> MeasuredNumber:
    metric, over, step = number.arguments
    values = sample(entry, Measure("ratio", metric, over=over, step=int(step))).values
    return _agreement(number, _predicted(number, list(values.values())))


def _crossing(number: Number, entry: ArmEntry) -> MeasuredNumber:
    """First update at which the mean curve is below the threshold, on the coarser of the two grids."""
    metric, threshold, *block = number.arguments
    steps, curves, _ = measured(entry.arm, metric, entry.cell.reporting.worst)
    every = max([float(steps[1] - steps[0]) if len(steps) > 1 else 1.0, *map(float, block)])
    coarse, value = steps % every == 0, number.printed.value
    printed = replace(number.printed, value=value if math.isinf(value) else math.ceil(value / every) * every)
    result = _step(number, printed, curves[:, coarse], first_below(steps[coarse], float(threshold)), steps)
    moved = printed.value != value
    return _noted(result, f"evaluated every {every:g} updates, and the printed {value:g} taken up to that grid" * moved)


def _decay(number: Number, entry: ArmEntry) -> MeasuredNumber:
    """First update after the peak of the mean curve at which it is below a share of the peak."""
    metric, share = number.arguments
    steps, curves, _ = measured(entry.arm, metric, None)
    return _step(number, number.printed, curves, first_decayed(steps, float(share)), steps)


def _step(number: Number, printed: Printed, curves: Floats, statistic: Statistic, steps: Floats) -> MeasuredNumber:
    prediction = predict_step(curves, statistic, printed.seeds, rng=np.random.default_rng(SEED))
    return replace(_agreement(number, prediction, printed), budget=float(steps[-1]))


MEASURES: Mapping[str, Callable[[Number, ArmEntry], MeasuredNumber]] = {
    "final": _final,
    "at": _at,
    "ratio": _ratio,
    "crossing": _crossing,
    "decay": _decay,
}
