"""What a suite is: a task, how it is trained and scored, and a grid over both."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from tpobench.identity import NEUTRAL, chosen
from tpobench.limits import NUMBER, Number, Within, require_within
from tpobench.suites.search import Search, require
from tpobench.tasks.catalog import TASKS
from tpobench.tasks.settings import OPTIMIZERS, TaskSettings

Value = str | int | float | bool

# Names of suites become folders, which some systems cannot have under the names of devices.
ID = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])$)[a-z0-9][a-z0-9_-]{0,63}")
HYPER = "hyper."  # how the axes of hyperparameters begin
MATCHINGS = ("prompts", "interactions")
DTYPES = ("float32", "float64")
OLD_LOGP = ("policy", "sampler")  # whose log-probs pi_old has
DIRECTIONS = ("lower", "higher")  # which values of a metric are better
MOST_POINTS = 10**6  # of a curve
MOST_THRESHOLDS = 100
MOST_CELLS = 10_000
MOST_BYTES = 2**40  # of the seeds of a job
TUNED = ("learning_rate", "epochs")  # settings of the training that one algorithm may have for itself
Points = Annotated[int, Within(1, MOST_POINTS)]


def _one_of(name: str, value: str, valid: Sequence[str]) -> None:
    near = [] if value in valid else difflib.get_close_matches(value, valid, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    require(value in valid, f"{name} must be one of {', '.join(valid)}, not '{value}'{hint}")


@dataclass(frozen=True)
class Training:
    """How every algorithm of the suite is trained."""

    steps: Annotated[int, Within(1, 10**8)]
    epochs: Annotated[int, Within(1, 10**5)]
    optimizer: str
    learning_rate: Annotated[float, Within(0, 1e15)]
    record_every: Annotated[int, Within(1, 10**8)] = 1
    matching: str = "prompts"  # what algorithms are given equally: prompts, or interactions with the environment
    seed_batch: Annotated[int, Within(1, 10**5)] = 1  # seeds trained side by side in one job
    threads: Annotated[int, Within(1, 1024)] = 1
    dtype: str = "float32"
    # updates from one evaluation to the next, where they are dearer than recorded points; 0: at every recorded point
    evaluate_every: Annotated[int, Within(1, 10**8)] = field(default=0, metadata=NEUTRAL)
    diagnostics: bool = field(default=False, metadata=NEUTRAL)  # record why an algorithm learns, beside how well
    lag: Annotated[int, Within(0, 1000)] = field(default=0, metadata=NEUTRAL)  # updates that what draws is behind
    old_logp: str = field(default="policy", metadata=NEUTRAL)  # pi_old: the policy an update begins with, or what drew
    offline: bool = field(default=False, metadata=NEUTRAL)  # the untrained policy draws once, for every update
    # of the KL to the untrained policy that is added to the loss of every algorithm
    kl_reference: Annotated[float, Within(0, 1e6)] = field(default=0.0, metadata=NEUTRAL)
    weight_decay: Annotated[float, Within(0, 1e6)] = field(default=0.0, metadata=NEUTRAL)  # of adamw
    max_grad_norm: Annotated[float, Within(0, 1e15)] = field(default=0.0, metadata=NEUTRAL)  # 0: gradients as they are

    def __post_init__(self) -> None:
        require_within(self)
        require(self.learning_rate > 0, "learning_rate must be positive")
        require(
            self.steps // self.record_every < MOST_POINTS,
            f"record_every must leave a curve at most {MOST_POINTS:,} points",
        )
        require(
            self.evaluate_every % self.record_every == 0,
            f"evaluate_every must be a multiple of record_every, which is {self.record_every}",
        )
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        require(not self.weight_decay or self.optimizer == "adamw", "weight_decay is of optimizer = adamw alone")
        _one_of("matching", self.matching, MATCHINGS)
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("old_logp", self.old_logp, OLD_LOGP)
        require(not (self.offline and self.lag), "lag must be 0 where offline is true: nothing is drawn but once")


@dataclass(frozen=True)
class ReportSettings:
    """How the runs are scored."""

    metric: str = "error"
    window: Points = 50  # the final value is the mean over the last `window` recorded points
    thresholds: Annotated[tuple[float, ...], NUMBER] = (0.1, 0.01)
    persist: Points = 3  # recorded points a threshold must be held to count as reached
    solved: Number = 0.05
    worst: Number = 1.0  # the score of a diverged run
    better: str = field(default="lower", metadata=NEUTRAL)
    best: Number = field(default=math.inf, metadata=NEUTRAL)  # the metric's best value; inf: 0 of a lower, else none
    exact: bool = field(default=False, metadata=NEUTRAL)  # `check` holds every recorded digit against the baseline's

    def __post_init__(self) -> None:
        _one_of("better", self.better, DIRECTIONS)
        sign = -1 if self.better == "higher" else 1
        require(
            math.isinf(self.best) or sign * self.best < sign * self.worst,
            f"best must be better than worst, which is {self.worst:g}, where {self.better} is better",
        )
        require(
            sign > 0 or min(self.solved, *self.thresholds) > self.worst,
            f"worst must be below solved and every threshold where higher is better; it is {self.worst:g}",
        )
        require(ID.fullmatch(self.metric) is not None, "metric must be the name of a metric, such as 'error'")
        require_within(self)
        require(1 <= len(self.thresholds) <= MOST_THRESHOLDS, f"thresholds must hold 1 to {MOST_THRESHOLDS} numbers")


@dataclass(frozen=True)
class GridCell:
    """One point of the grid with everything it decides."""

    axes: Mapping[str, Value]  # the grid axes' values, without matching
    task: TaskSettings
    training: Training
    hyper: Mapping[str, Value] = field(default_factory=dict)  # of every algorithm; each is one of the axes too


@dataclass(frozen=True)
class Suite:
    """A validated suite: a task, how it is trained and scored, and a grid over both."""

    TABLES: ClassVar[tuple[str, ...]] = (
        "task", "training", "algorithm", "grid", "search", "report", "cost", "quick", "smoke",
    )  # fmt: skip

    name: str
    title: str
    task: Mapping[str, Value]  # kind and the fields of its settings, neutral ones where they are set
    training: Training
    algorithms: tuple[str, ...]
    version: Annotated[int, Within(1, 10**9)] = 1
    notes: str = ""
    deviations: tuple[str, ...] = ()  # how it differs from the published protocol, a sentence each
    seeds: Annotated[int, Within(1, 10**6)] = 10
    grid: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    # what one algorithm has other than all: learning_rate and epochs in place of the training's, hyperparameters
    algorithm: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    # its axis is one of the grid's, with every level that a search may visit
    search: Search | None = field(default=None, metadata=NEUTRAL)
    report: ReportSettings = field(default_factory=ReportSettings)
    cost: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)  # overrides that make the scale `quick`
    smoke: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[GridCell]:
        """Every combination of the grid's values, the first axis slowest."""
        return list(self._cells())

    def _cells(self) -> Iterator[GridCell]:
        settings = TASKS[str(self.task["kind"])]
        base = {k: v for k, v in self.task.items() if k != "kind"}
        in_task, in_training = ({f.name for f in dataclasses.fields(cls)} for cls in (settings, Training))
        for values in itertools.product(*self.grid.values()):
            point = dict(zip(self.grid, values, strict=True))
            task = base | {k: v for k, v in point.items() if k in in_task}
            training = {k: v for k, v in point.items() if k in in_training}
            axes = {k.removeprefix(HYPER): v for k, v in point.items() if k != "matching"}
            hyper = {k: axes[k] for k in self.swept}
            yield GridCell(axes, settings(**task), dataclasses.replace(self.training, **training), hyper)  # type: ignore[arg-type]

    def at(self, levels: Collection[int]) -> Suite:
        """The suite with some of the levels that it searches; one without [search] as it is."""
        if self.search is None:
            return self
        axis = self.search.axis
        chosen = tuple(v for v in self.grid[axis] if v in levels)
        return dataclasses.replace(self, grid={**self.grid, axis: chosen})

    @property
    def swept(self) -> tuple[str, ...]:
        """The hyperparameters that are axes of the grid."""
        return tuple(key.removeprefix(HYPER) for key in self.grid if key.startswith(HYPER))

    @property
    def reporting(self) -> dict[str, Any]:
        """The copy of [report] that every record carries."""
        searched = {} if self.search is None else {"search": _chosen(self.search)}
        return _plain({"title": self.title, **_chosen(self.report), **searched})

    def as_dict(self) -> dict[str, Any]:
        """The resolved suite as plain values, as meta.json and `show suite` have it."""
        parts = {"training": self.training, "report": self.report, "search": self.search}
        document = _chosen(self) | {k: _chosen(part) for k, part in parts.items() if part is not None}
        return _plain({k: v for k, v in document.items() if k not in {"quick", "smoke"}})


def _chosen(settings: Any) -> dict[str, Any]:
    return chosen(dataclasses.asdict(settings), settings)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Tuples become lists, as in a JSON file."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
