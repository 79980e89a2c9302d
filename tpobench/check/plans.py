"""What a check has to run: the baseline's own settings, with the algorithms as they are now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from tpobench.algorithms.catalog import ALGORITHMS, base
from tpobench.check.arms import ArmKey, arm_of, settings_differ, settings_of
from tpobench.check.baseline import Baseline
from tpobench.check.evidence import Candidate
from tpobench.errors import UsageError
from tpobench.identity import canonical
from tpobench.planning.plan import OTHER_VERSION, PACKAGED, Plan, RunSpec, other_fields, plan_runs, task_version_of
from tpobench.plugins.load import VERSIONS
from tpobench.records.store import RunRecord
from tpobench.suites.load import ReportSettings, Suite, Training, build_suite
from tpobench.tasks.catalog import declared

TRAINING = {f.name for f in dataclasses.fields(Training)}


def algorithms_here() -> dict[str, str]:
    """Every algorithm that can be run here, with its version."""
    return {name: VERSIONS.get(name, PACKAGED) for name in ALGORITHMS}


def cannot_run(baseline: Baseline, algorithms: Mapping[str, str]) -> tuple[dict[ArmKey, str], dict[ArmKey, str]]:
    """Arms without an algorithm or a task here, and arms whose runs this version cannot read; with why."""
    missing, different = {}, {}
    for arm, records in baseline.arms.items():
        spec = next(iter(records.values())).spec
        if base(arm.algorithm) not in algorithms:
            missing[arm] = f"no algorithm '{arm.algorithm}' here; name its file with --plugin, or install its package"
        elif declared(spec["task"]) is None:
            kind = spec["task"]["kind"]
            missing[arm] = f"no task kind '{kind}' here; name its file with --plugin, or install its package"
        elif odd := other_fields(spec):
            different[arm] = f"{OTHER_VERSION} ({', '.join(odd)})"
    return missing, different


def compare_with_suites(baseline: Baseline, suites: Sequence[Suite]) -> tuple[dict[ArmKey, str], list[ArmKey]]:
    """Arms that the suites, as they are now, define differently or no more; and arms that the baseline lacks."""
    differ: dict[ArmKey, str] = {}
    new: list[ArmKey] = []
    known = algorithms_here()
    for suite in suites:
        pinned = {arm: next(iter(r.values())) for arm, r in baseline.arms.items() if arm.suite == suite.name}
        algorithms = dict.fromkeys([*suite.algorithms, *(arm.algorithm for arm in pinned if arm.algorithm in known)])
        visited = {r.spec["cell"].get(suite.search.axis) for r in pinned.values()} if suite.search else None
        plan = plan_runs(suite, list(algorithms), seeds=[baseline.screen[0]], levels=visited)
        now = {arm_of(spec.as_dict()): settings_of(spec.as_dict(), suite.reporting) for spec in plan.specs}
        for arm, record in pinned.items():
            if arm.algorithm not in known:
                continue
            if arm not in now:
                differ[arm] = f"suite '{suite.name}' has no such cell any more"
            elif changes := settings_differ(settings_of(record.spec, record.reporting), now[arm]):
                differ[arm] = changes
        new += [arm for arm in now if arm not in pinned]
    return differ, new


def changed_defaults(baseline: Baseline) -> list[str]:
    """Algorithms whose defaults here are not what the baseline ran: the baseline's values are run, so say so."""
    notes: dict[str, None] = {}
    for arm, records in baseline.arms.items():
        if arm.algorithm not in ALGORITHMS:
            continue
        algorithm = ALGORITHMS[arm.algorithm]
        stored = next(iter(records.values())).spec["hyper"]
        run = {**dataclasses.replace(algorithm, hyper={}).hyperparameters, **stored}
        for name, default in algorithm.hyperparameters.items():
            if run[name] != default:
                pinned, now = ("off" if v is None else canonical(v) for v in (run[name], default))
                notes[f"{arm.algorithm} is run with {name} = {pinned} as in the baseline, its default is {now}"] = None
    return list(notes)


def due(
    baseline: Baseline,
    candidate: Candidate,
    seeds: Iterable[int],
    arms: Iterable[ArmKey],
    algorithms: Mapping[str, str],
) -> dict[str, list[RunSpec]]:
    """By suite: the runs of some arms and seeds that the candidate has no result of."""
    ordered = sorted(seeds)
    specs: dict[str, list[RunSpec]] = {}
    for arm in arms:
        finished = candidate.finished(arm, ordered)
        for seed in ordered:
            if seed in finished or seed not in baseline.arms[arm]:
                continue
            spec = dict(baseline.arms[arm][seed].spec)
            versions = {"task_version": task_version_of(str(spec["task"]["kind"]))}
            spec |= {"algorithm_version": algorithms[base(arm.algorithm)], **versions}
            specs.setdefault(arm.suite, []).append(RunSpec(**spec))
    return specs


def plan_of(baseline: Baseline, specs: Sequence[RunSpec], meta: Mapping[str, Any] | None = None) -> Plan:
    """A plan of some runs of one suite, seed-major.

    meta: the suite of the folder they go to, where it holds some already.
    """
    name = specs[0].suite
    members = [r for arm, records in baseline.arms.items() if arm.suite == name for r in records.values()]
    suite = suite_of_records(name, members)
    if meta is not None:
        document = {k: v for k, v in meta.items() if k != "name"}
        suite = dataclasses.replace(build_suite(name, document, f"meta.json of {name}"), report=suite.report)
    return Plan(suite, tuple(sorted(specs, key=lambda s: s.seed)))


def suite_of_records(name: str, records: Sequence[RunRecord]) -> Suite:
    """The suite that a set of records is of, as far as they tell; its cost hints are what the runs took."""
    first = records[0]
    axes: dict[str, dict[Any, None]] = {}
    for record in records:
        for axis, value in record.spec["cell"].items():
            key = axis if axis in TRAINING or axis in _fields(record.spec["task"]) else f"hyper.{axis}"
            axes.setdefault(key, {})[value] = None
    fields = {f.name for f in dataclasses.fields(ReportSettings)}
    report: dict[str, Any] = {k: v for k, v in first.reporting.items() if k in fields}
    report["thresholds"] = tuple(report.get("thresholds", ReportSettings.thresholds))
    spec = first.spec
    execution = {k: spec[k] for k in ("seed_batch", "threads", "dtype")}
    try:
        training = Training(**spec["training"], **execution)
        built = ReportSettings(**report)
    except (TypeError, ValueError) as error:
        msg = f"{name}: the baseline's settings are not valid here: {error}"
        raise UsageError(msg) from error
    return Suite(
        name=name,
        title=str(first.reporting.get("title", name)),
        task=dict(spec["task"]),
        training=training,
        algorithms=tuple(dict.fromkeys(str(r.spec["algorithm"]) for r in records)),
        version=int(spec["suite_version"]),
        seeds=len({r.spec["seed"] for r in records}),
        grid={axis: tuple(values) for axis, values in axes.items()},
        report=built,
        cost={"ms_per_step": _cost(records)},
    )


def _fields(task: Mapping[str, Any]) -> set[str]:
    """The settings of a task, those that are off too."""
    settings = declared(task)
    return {*task, *(f.name for f in dataclasses.fields(settings))} if settings else set(task)


def _cost(records: Sequence[RunRecord]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for r in records:
        if "cpu_s" in r.cost:
            each = 1000 * float(r.cost["cpu_s"]) / max(int(r.spec["training"]["steps"]), 1)
            times.setdefault(str(r.spec["algorithm"]), []).append(each)
    return {algorithm: median(ms) for algorithm, ms in times.items()}
