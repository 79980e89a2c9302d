"""Suite -> RunSpecs and Jobs: the grid, the seeds, budget matching, and which rule fits which task."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tpobench.errors import UsageError, unknown
from tpobench.records import SCHEMA, canonical
from tpobench.suite import Cell, Suite, Value

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm

DEVICES = ("cpu", "cuda")
TRAINING_KEYS = ("steps", "epochs", "optimizer", "learning_rate", "record_every")
ANY_MATCHING = "any"
MAX_SEED = 2**31


def spec_id(spec: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON, 16 hex digits."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunSpec:
    """One (cell, algorithm, seed), fully resolved; equal specs give equal results."""

    suite: str
    suite_version: int
    cell: Mapping[str, Value]  # the grid axes' values, without matching
    matching: str  # prompts | interactions | any (the rule is the same under both)
    task: Mapping[str, Value]
    training: Mapping[str, Value]
    algorithm: str
    algorithm_version: str
    hyper: Mapping[str, Value]
    seed: int
    seed_batch: int
    threads: int
    device: str
    dtype: str
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """The spec as plain values."""
        return dataclasses.asdict(self)

    @cached_property
    def run_id(self) -> str:
        """Content address: the same settings have the same id on every machine."""
        return spec_id(self.as_dict())

    @property
    def group(self) -> str:
        """What two specs share when they differ in nothing but the seed."""
        return canonical({k: v for k, v in self.as_dict().items() if k != "seed"})


@dataclass(frozen=True)
class Job:
    """RunSpecs that differ only in seed, trained in one stacked batch."""

    specs: tuple[RunSpec, ...]  # the seeds wanted
    seeds: tuple[int, ...]  # the seeds trained: the whole aligned block, so that company changes no byte


class Skipped(NamedTuple):
    """A rule that a cell's task cannot serve."""

    cell: Mapping[str, Value]
    algorithm: str
    reason: str
    spec: RunSpec  # of the first seed; its record keeps the reason visible in the tables


@dataclass(frozen=True)
class Plan:
    """The runs of a suite in the order they are taken, and what cannot run."""

    suite: Suite
    specs: tuple[RunSpec, ...]
    skipped: tuple[Skipped, ...] = ()

    def jobs(self, done: Iterable[str] = ()) -> list[Job]:
        """The jobs for all specs whose id is not in `done`, in plan order."""
        done = set(done)
        blocks: dict[tuple[str, int], list[RunSpec]] = {}
        for spec in self.specs:
            if spec.run_id not in done:
                blocks.setdefault((spec.group, spec.seed // spec.seed_batch), []).append(spec)
        return [Job(tuple(specs), _aligned(specs[0])) for specs in blocks.values()]


def _aligned(spec: RunSpec) -> tuple[int, ...]:
    first = spec.seed // spec.seed_batch * spec.seed_batch
    return tuple(range(first, first + spec.seed_batch))


def plan_runs(
    suite: Suite,
    algorithms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
) -> Plan:
    """Every (cell, algorithm, seed) of a suite, seed-major, so that a plan cut short is still balanced.

    Raises:
        UsageError: unknown rule, hyperparameter or device, or no such device here.
    """
    _check_device(device)
    rules = _rules(suite, suite.algorithms if algorithms is None else algorithms)
    wanted = range(suite.seeds) if seeds is None else seeds
    specs: dict[str, RunSpec] = {}  # by id: a rule that is the same under every matching is planned once
    skipped: dict[str, Skipped] = {}
    cells = suite.cells
    for seed in sorted(set(wanted)):
        for cell in cells:
            for rule in rules:
                reason = why_not(rule, cell)
                if not reason:
                    spec = resolve(suite, cell, rule, seed, device)
                    specs.setdefault(spec.run_id, spec)
                elif seed == min(wanted):
                    spec = resolve(suite, cell, rule, 0, device)
                    skipped.setdefault(spec.run_id, Skipped(cell.axes, rule.name, reason, spec))
    return Plan(suite, tuple(specs.values()), tuple(skipped.values()))


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cuda":
        import torch  # noqa: PLC0415 - planning on the CPU does not need it here

        if not torch.cuda.is_available():
            msg = "device cuda: torch sees no CUDA device on this machine; use --device cpu"
            raise UsageError(msg)


def _rules(suite: Suite, names: Sequence[str]) -> list[Algorithm]:
    from tpobench.algorithms.catalog import ALGORITHMS  # noqa: PLC0415 - imports torch

    for name in (*names, *suite.hyper):
        if name not in ALGORITHMS:
            raise unknown("rule", name, ALGORITHMS, f"suite '{suite.name}'")
    rules = []
    for name in dict.fromkeys(names):
        hyper = {k: v for k, v in suite.hyper.get(name, {}).items() if k != "epochs"}
        rules.append(ALGORITHMS[name].with_hyper(**hyper))
    return rules


def why_not(rule: Algorithm, cell: Cell) -> str:
    """Why the cell's task cannot serve the rule, empty when it can."""
    offers = cell.task.offers
    if rule.compares != "nothing" and rule.compares not in offers:
        return f"compares {rule.compares}, which task '{cell.task.kind}' does not offer"
    missing = sorted(rule.needs - offers)
    if missing:
        return f"needs {', '.join(missing)}, which task '{cell.task.kind}' does not offer"
    if rule.compares != "nothing" and getattr(cell.task, "candidates", 2) < 2:
        return "compares candidates, and task.candidates is 1"
    return ""


def resolve(suite: Suite, cell: Cell, rule: Algorithm, seed: int, device: str) -> RunSpec:
    """The run of one rule and one seed in one cell, every default written out."""
    task = {"kind": cell.task.kind, **dataclasses.asdict(cell.task)}
    training = {k: getattr(cell.training, k) for k in TRAINING_KEYS}
    matching = ANY_MATCHING
    if task["kind"] == "sequence" and rule.compares == "nothing":
        matching = cell.training.matching
        task, training = match_budget(task, training, matching)
    training["epochs"] = suite.hyper.get(rule.name, {}).get(
        "epochs", min(cell.training.epochs, rule.max_epochs or cell.training.epochs)
    )
    return RunSpec(
        suite=suite.name,
        suite_version=suite.version,
        cell=dict(cell.axes),
        matching=matching,
        task=task,
        training=training,
        algorithm=rule.name,
        algorithm_version=_version(rule.name),
        hyper=_like_defaults(rule),
        seed=seed,
        seed_batch=cell.training.seed_batch,
        threads=cell.training.threads,
        device=device,
        dtype=cell.training.dtype,
    )


def match_budget(
    task: dict[str, Any], training: dict[str, Any], matching: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a rule that uses one rollout per prompt gets where others draw K of each of B prompts.

    prompts:       B prompts, 1 rollout each
    interactions:  B K prompts, 1 rollout each, learning rate times sqrt(K) for the K times larger batch
    """
    K = task["candidates"]
    if matching == "prompts":
        return {**task, "candidates": 1}, training
    rate = training["learning_rate"] * math.sqrt(K)
    return {**task, "prompts": task["prompts"] * K, "candidates": 1}, {**training, "learning_rate": rate}


def _version(name: str) -> str:
    from tpobench.execution.plugins import VERSIONS  # noqa: PLC0415 - keeps the import order one-way

    return VERSIONS.get(name, "1")


def _like_defaults(rule: Algorithm) -> dict[str, Value]:
    """Hyperparameters in the type of the published defaults, so that 1 and 1.0 have one id."""
    defaults = dataclasses.replace(rule, hyper={}).hyperparameters
    values = rule.hyperparameters
    return {k: float(v) if isinstance(defaults[k], float) else v for k, v in sorted(values.items())}


def interactions_of(spec: RunSpec) -> int:
    """Rollouts that a run draws: updates times what one update draws."""
    task = spec.task
    if task["kind"] == "sequence":
        per_step = int(task["prompts"]) * int(task["candidates"])
    else:
        per_step = int(task.get("samples", task.get("contexts", 0)))  # exact updates count one per context
    return int(spec.training["steps"]) * per_step


def parse_seeds(text: str) -> list[int]:
    """`20` is the first twenty seeds, `0-9` a range with both ends, `1,3` single ones.

    Raises:
        UsageError: anything else.
    """
    seeds: list[int] = []
    parts = [p.strip() for p in text.split(",")]
    for part in parts:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part, re.ASCII)
        if match is None or int(match[2] or match[1]) >= MAX_SEED:
            msg = f"--seeds {text}: write a count such as 20, a range such as 0-9, or a list such as 1,3"
            raise UsageError(msg)
        first, last = int(match[1]), match[2]
        seeds += range(first) if len(parts) == 1 and last is None else range(first, int(last or first) + 1)
    if not seeds:
        msg = f"--seeds {text}: names no seed; write a count such as 20, a range such as 0-9, or a list such as 1,3"
        raise UsageError(msg)
    return sorted(set(seeds))
