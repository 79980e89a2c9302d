"""Suite -> RunSpecs and Jobs: the grid, the seeds, budget matching, and which algorithm fits which task."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tpobench.algorithms.catalog import ALGORITHMS, base, require_algorithm
from tpobench.errors import UsageError
from tpobench.identity import NEUTRAL, chosen, neutral_defaults, seedless, spec_id
from tpobench.printable import brief
from tpobench.records.store import SCHEMA
from tpobench.suites.load import GridCell, Suite, Value
from tpobench.suites.model import TUNED
from tpobench.tasks.catalog import recorded_metrics, task_settings

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm
    from tpobench.tasks.settings import TaskSettings

SPEC_KEYS = ("matching", "seed_batch", "threads", "dtype")  # of [training]: fields of the spec itself
ANY_MATCHING = "any"
PACKAGED = "1"  # the version of every algorithm of the catalogue
OTHER_VERSION = "made by another version of tpobench, whose runs are described differently"
PLAIN_KERNEL, NATIVE_KERNEL = "plain", "native"
THIS_ENGINE = "tpobench"  # the training loop here
MAX_SEED = 2**31
MAX_RUNS = 1_000_000
STACK_SHARE = 0.6  # of a device's memory for the seeds of one job; the rest is for kernels and fragmentation


@dataclass(frozen=True)
class RunSpec:
    """One (cell, algorithm, seed), fully resolved; equal specs give equal results."""

    suite: str
    suite_version: int
    cell: Mapping[str, Value]  # the grid axes' values, without matching
    matching: str  # prompts | interactions | any (the algorithm is the same under both)
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
    task_version: str = field(default="", metadata=NEUTRAL)  # the hash of its file for a plugin's kind of task
    kernel: str = field(default=PLAIN_KERNEL, metadata=NEUTRAL)  # plain | native | static
    engine: str = field(default=THIS_ENGINE, metadata=NEUTRAL)  # the trainer, where `tpobench import` brought the run

    def as_dict(self) -> dict[str, Any]:
        """The spec as plain values."""
        return chosen(
            {k: dict(v) if isinstance(v := getattr(self, k), Mapping) else v for k in self.__dataclass_fields__}, self
        )

    @cached_property
    def run_id(self) -> str:
        """Content address: the same settings have the same id on every machine."""
        return spec_id(self.as_dict())

    @property
    def origins(self) -> frozenset[str]:
        """The versions of the plugins that the run's algorithm and task come from; none for those of the package."""
        return frozenset({self.algorithm_version, self.task_version} - {PACKAGED, ""})

    @property
    def group(self) -> str:
        """What two specs share when they differ in nothing but the seed."""
        return seedless(self.as_dict())


@dataclass(frozen=True)
class Job:
    """RunSpecs that differ only in seed, trained in one stacked batch."""

    specs: tuple[RunSpec, ...]  # the seeds wanted
    seeds: tuple[int, ...]  # the seeds trained: the whole aligned block, so that company changes no byte
    left: tuple[tuple[int, int], ...] = ()  # (seed, update) for seeds that broke, in the order in which they broke
    until: int | None = None  # the last update, where the run is not to be finished

    @property
    def key(self) -> str:
        """One name for the block, whichever of its seeds are wanted: 16 hex digits."""
        return spec_id({"group": self.specs[0].group, "block": self.round})

    @property
    def round(self) -> int:
        """Which block of seeds this is; a round holds one block of every cell and algorithm."""
        return self.specs[0].seed // self.specs[0].seed_batch

    def position(self, spec: RunSpec) -> int:
        """Where a wanted seed lies in the stack."""
        return spec.seed % len(self.seeds)

    def stack(self, update: int) -> tuple[int, ...]:
        """The seeds side by side at an update: a copy of the first sound one replaces each that has left.

        The shapes and the places of the others stay, and what they compute in the company of copies is the same in
        every execution.
        """
        gone = {seed for seed, since in self.left if since <= update}
        sound = next(seed for seed in self.seeds if seed not in gone)
        return tuple(sound if seed in gone else seed for seed in self.seeds)

    def parts(self) -> list[Job]:
        """Two halves of the wanted seeds (one job where one is wanted), trained in the same stack to the same bytes."""
        middle = (len(self.specs) + 1) // 2
        return [replace(self, specs=part) for part in (self.specs[:middle], self.specs[middle:]) if part]

    def suspects(self, update: int) -> Job:
        """The same with every seed wanted that is in the stack at an update."""
        return replace(self, specs=tuple(replace(self.specs[0], seed=s) for s in dict.fromkeys(self.stack(update))))

    def alone(self, update: int) -> Job:
        """The same up to and including an update, at which the algorithm sees the wanted seeds only."""
        wanted = {spec.seed for spec in self.specs}
        others = tuple((seed, update) for seed in self.stack(update) if seed not in wanted)
        return replace(self, left=self.left + others, until=update)

    def without(self, seeds: Iterable[int], update: int) -> Job:
        """The same with these seeds leaving the stack at an update."""
        gone = tuple(seeds)
        wanted = tuple(spec for spec in self.specs if spec.seed not in gone)
        return replace(self, specs=wanted, left=self.left + tuple((seed, update) for seed in gone))


class Skipped(NamedTuple):
    """An algorithm that a cell's task cannot serve."""

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
    data: Mapping[str, str] = field(default_factory=dict)  # data file -> where it lies here; see `datasets.with_data`
    at: Callable[[Collection[int]], Plan] | None = field(default=None, compare=False, repr=False)  # at other levels

    def jobs(self, done: Iterable[str] = ()) -> list[Job]:
        """The jobs for all specs whose id is not in `done`, in plan order."""
        done = set(done)
        blocks: dict[tuple[str, int], list[RunSpec]] = {}
        for spec in self.specs:
            if spec.run_id not in done:
                blocks.setdefault((spec.group, spec.seed // spec.seed_batch), []).append(spec)
        return [Job(tuple(specs), aligned_block(specs[0])) for specs in blocks.values()]


def aligned_block(spec: RunSpec) -> tuple[int, ...]:
    """The seeds that are trained with this one."""
    first = spec.seed // spec.seed_batch * spec.seed_batch
    return tuple(range(first, first + spec.seed_batch))


def plan_runs(
    suite: Suite,
    algorithms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    *,
    levels: Collection[int] | None = None,
    kernel: str = PLAIN_KERNEL,
) -> Plan:
    """Every (cell, algorithm, seed) of a suite, seed-major, so that a plan cut short is still balanced.

    levels: of a suite that searches, all by default; `Plan.at` makes the plan of others.
    kernel: what trains the cells that can have it: `plain`, `native` or `static`.

    Raises:
        UsageError: unknown algorithm, hyperparameter or device, no such device here, or a metric that is not recorded.
    """
    from tpobench.planning.devices import parse_device, smallest_memory  # noqa: PLC0415 - one-way imports at the top

    kind, indices = parse_device(device)
    memory = smallest_memory(indices) if indices else None
    entries = _entries(suite, suite.algorithms if algorithms is None else algorithms)
    wanted = range(suite.seeds) if seeds is None else seeds
    part = suite if levels is None else suite.at(levels)
    count = len(wanted) * math.prod(map(len, part.grid.values())) * len(entries)
    if count > MAX_RUNS:
        msg = f"suite '{suite.name}': {count:,} runs, at most {MAX_RUNS:,} make a plan; take fewer seeds or cells"
        raise UsageError(msg)
    first = min(wanted, default=0)
    resolved: list[RunSpec] = []  # the run of the first seed in every cell, by every algorithm that the cell can serve
    skipped: dict[str, Skipped] = {}
    for cell, algorithm in itertools.product(part.cells if wanted else (), entries):
        reason = why_not(cell, algorithm)
        spec = resolve(suite, cell, algorithm, 0 if reason else first, kind, memory, kernel)
        if reason:
            skipped.setdefault(spec.run_id, Skipped(cell.axes, algorithm.name, reason, spec))
        else:
            _require_recorded(suite.report.metric, spec)
            resolved.append(spec)
    specs: dict[str, RunSpec] = {}  # by id: an algorithm that is the same under every matching is planned once
    for seed in sorted(set(wanted)):
        for spec in resolved:
            run = dataclasses.replace(spec, seed=seed)
            specs.setdefault(run.run_id, run)

    def at(other: Collection[int]) -> Plan:
        return plan_runs(suite, algorithms, seeds, device, levels=other, kernel=kernel)

    return Plan(suite, tuple(specs.values()), tuple(skipped.values()), at=at)


def why_not(cell: GridCell, algorithm: Algorithm) -> str:
    """Why an algorithm cannot be trained in a cell, empty where it can."""
    if cell.training.offline and "greedy_reward" in algorithm.needs:
        return "needs greedy_reward, of answers that offline training does not draw"
    if cell.training.kl_reference and algorithm.step is not None:
        return "takes a step of its own, to whose loss no KL to the untrained policy is added"
    stale = {"rollout_logp"} if cell.training.lag else set()  # which a lag gives on any task
    asked = dataclasses.replace(algorithm, needs=algorithm.needs - stale)
    return cell.task.why_not(asked, diagnostics=cell.training.diagnostics)


def _require_recorded(metric: str, spec: RunSpec) -> None:
    """A run must record what it is scored by, or it is trained for nothing."""
    examined = bool(spec.training.get("diagnostics"))
    recorded = recorded_metrics(spec.task, diagnostics=examined)
    if metric not in recorded:
        more = recorded_metrics(spec.task, diagnostics=True)
        hint = "; it is with training.diagnostics=true" if metric in more else ""
        msg = (
            f"suite '{spec.suite}': report.metric={metric} is not recorded in runs of {spec.algorithm}{hint}; "
            f"they record {', '.join(recorded)}"
        )
        raise UsageError(msg)


def _entries(suite: Suite, names: Sequence[str]) -> list[Algorithm]:
    """The entries of the catalogue, or of what is installed, with the suite's hyperparameters."""
    from tpobench.plugins.load import load_plugins  # noqa: PLC0415 - keeps the import order one-way

    if elsewhere := [name for name in (*names, *suite.algorithm) if base(name) not in ALGORITHMS]:
        load_plugins(algorithms=elsewhere)
    for name in (*names, *suite.algorithm):
        require_algorithm(name, f"suite '{suite.name}'")
    entries = []
    for name in dict.fromkeys(names):
        hyper = {k: v for k, v in suite.algorithm.get(name, {}).items() if k not in TUNED}
        entries.append(require_algorithm(name, f"suite '{suite.name}'").with_hyper(**hyper))
        for key in (key for key in suite.swept if key not in entries[-1].hyperparameters):
            declared = ", ".join(sorted(entries[-1].hyperparameters)) or "none"
            msg = (
                f"suite '{suite.name}': the grid sweeps hyper.{key}, which algorithm '{name}' does not have "
                f"(it has {declared}); leave the algorithm out, or the axis"
            )
            raise UsageError(msg)
    return entries


def _in_cell(algorithm: Algorithm, cell: GridCell) -> Algorithm:
    """The algorithm with the cell's hyperparameters, whole numbers where its defaults are whole."""
    whole = {k for k, kind in algorithm.kinds.items() if kind is int}
    hyper = {k: int(v) if k in whole and isinstance(v, float) and v.is_integer() else v for k, v in cell.hyper.items()}
    return algorithm.with_hyper(**hyper) if hyper else algorithm


def resolve(
    suite: Suite,
    cell: GridCell,
    algorithm: Algorithm,
    seed: int,
    device: str = "cpu",
    memory_bytes: int | None = None,
    kernel: str = PLAIN_KERNEL,
) -> RunSpec:
    """The run of one algorithm and one seed in one cell, every default written out but those of neutral settings.

    On a device with memory of its own, seeds are stacked as wide as that allows.
    """
    algorithm = _in_cell(algorithm, cell)
    settings, rate, matching = _served(cell, algorithm)
    task = {"kind": settings.kind, **chosen(dataclasses.asdict(settings), settings)}
    training = chosen(dataclasses.asdict(cell.training), cell.training)
    training = {k: v for k, v in training.items() if k not in SPEC_KEYS}
    training["epochs"] = min(cell.training.epochs, algorithm.max_epochs or cell.training.epochs)
    training |= {k: v for k, v in suite.algorithm.get(algorithm.name, {}).items() if k in TUNED}
    training["learning_rate"] *= rate
    return RunSpec(
        suite=suite.name,
        suite_version=suite.version,
        cell=dict(cell.axes),
        matching=matching,
        task=task,
        training=training,
        algorithm=algorithm.name,
        algorithm_version=version_of(algorithm.name),
        hyper=_like_defaults(algorithm),
        seed=seed,
        seed_batch=cell.training.seed_batch if memory_bytes is None else widest_stack(suite, task, memory_bytes),
        threads=cell.training.threads,
        device=device,
        dtype=cell.training.dtype,
        task_version=task_version_of(settings.kind),
        kernel=PLAIN_KERNEL if kernel == NATIVE_KERNEL and why_not_native(cell, device) else kernel,
    )


def _served(cell: GridCell, algorithm: Algorithm) -> tuple[TaskSettings, float, str]:
    """The task of an algorithm's runs in a cell, the factor of its learning rate, and the matching that sets both."""
    try:
        task = cell.task.serving(algorithm.unit)
    except ValueError:  # the run is skipped
        return cell.task, 1.0, ANY_MATCHING
    budget = task.budget(cell.training.matching) if algorithm.compares == "nothing" else None
    return (task, 1.0, ANY_MATCHING) if budget is None else (*budget, cell.training.matching)


def why_not_native(cell: GridCell, device: str) -> str:
    """Why the native kernel cannot train a cell on a kind of device; empty where it can."""
    if device != "cpu":
        return f"the native kernel runs on CPUs, not on {device}"
    if cell.training.dtype != "float32":
        return f"the native kernel computes in float32, and training.dtype is {cell.training.dtype}"
    return cell.task.why_not_native


def widest_stack(suite: Suite, task: Mapping[str, Any], memory_bytes: int) -> int:
    """Seeds that fit side by side into a device's memory, at most all of the suite's."""
    return max(1, min(suite.seeds, int(STACK_SHARE * memory_bytes) // task_settings(task).bytes_per_seed))


def other_fields(spec: Mapping[str, Any]) -> list[str]:
    """The fields of a recorded spec that this version does not have, and of those it has the ones that are missing."""
    return sorted((RunSpec.__dataclass_fields__.keys() ^ spec.keys()) - neutral_defaults(RunSpec).keys())


def version_of(algorithm: str) -> str:
    """1 for the catalogue, the hash of its file for a plugin's algorithm."""
    from tpobench.plugins.load import VERSIONS  # noqa: PLC0415 - keeps the import order one-way

    return VERSIONS.get(base(algorithm), PACKAGED)


def task_version_of(kind: str) -> str:
    """Empty for the kinds of the package, the hash of its file for a plugin's."""
    from tpobench.plugins.load import TASK_VERSIONS  # noqa: PLC0415 - as above

    return TASK_VERSIONS.get(kind, "")


def _like_defaults(algorithm: Algorithm) -> dict[str, Value]:
    """Hyperparameters in the type of the published defaults, so that 1 and 1.0 have one id; None is left out."""
    values = {k: v for k, v in sorted(algorithm.hyperparameters.items()) if v is not None}
    return {k: float(v) if algorithm.kinds[k] is float else v for k, v in values.items()}


def interactions_of(spec: RunSpec) -> int:
    """Rollouts that a run draws: updates times what one update draws."""
    draws = 1 if spec.training.get("offline") else int(spec.training["steps"])
    return draws * task_settings(spec.task).interactions_per_step


def parse_seeds(text: str) -> list[int]:
    """`20` is the first twenty seeds, `0-9` a range with both ends, `1,3` single ones.

    Raises:
        UsageError: anything else.
    """
    seeds: list[int] = []
    where = f"--seeds {brief(text)}"
    parts = [p.strip() for p in text.split(",")]
    for part in parts:
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII)
        if match is None or int(match[2] or match[1]) >= MAX_SEED:
            msg = f"{where}: write a count such as 20, a range such as 0-9, or a list such as 1,3"
            raise UsageError(msg)
        first, last = int(match[1]), match[2]
        named = range(first) if len(parts) == 1 and last is None else range(first, int(last or first) + 1)
        if len(seeds) + len(named) > MAX_RUNS:
            msg = f"{where}: names more than {MAX_RUNS:,} seeds"
            raise UsageError(msg)
        seeds += named
    if not seeds:
        msg = f"{where}: names no seed; write a count such as 20, a range such as 0-9, or a list such as 1,3"
        raise UsageError(msg)
    return sorted(set(seeds))
