"""What a kind of task declares beside its settings: everything that plans, records, checks and reports ask of it.

Light: nothing here imports torch, so suites and records are read without it.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tpobench.data.images import DATA
from tpobench.limits import Within, require_within

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm, Unit
    from tpobench.policies.noise import Noise
    from tpobench.tasks.task import Task

Better = Literal["lower", "higher", "neither"]
PLAIN = ("adam", "adamw", "normalized")  # optimizers of any vector of parameters
OPTIMIZERS = ("muon", *PLAIN)  # muon turns matrices, which only the transformer has
UNITS: Mapping[str, str] = {"sequence": "whole answers", "token": "next tokens"}  # what a candidate is
Arms = Annotated[int, Within(2, 10**7)]
Batch = Annotated[int, Within(1, 10**8)]  # what fits into memory, `bytes_per_seed` says
Candidates = Annotated[int, Within(1, 10**6)]
STATIC_KERNEL = "static"  # shapes that do not depend on what is drawn, in steps that never wait for a device
NONFINITE_PART = "nonfinite_part"  # what is measured of a seed that is lost: its place in PARTS
PARTS = ("", "credit", "fit")  # of an algorithm, which gave the first number that is not finite; neither: it overflowed
OWN_PART = "the rule's own"  # how the reason of such a record begins to say so
COMPLETIONS = "completions"  # what is measured where a task's answers are texts: a few of them
HASH = re.compile(r"([0-9a-f]{64})?")


ANY = Within(-float("inf"), float("inf"))
SHARE = Within(0, 1)
POSITIVE = Within(0, float("inf"))


@dataclass(frozen=True)
class Metric:
    """A number that a task records: which way it is better, and the values that it can take."""

    name: str
    better: Better = "neither"
    within: Within = ANY


ERROR = Metric("error", "lower", SHARE)
WORST_ERROR = Metric("worst_error", "lower", SHARE)  # the error of the task that has the largest
MISALIGNMENT = Metric("misalignment", "lower", Within(0, 2))  # 1 - cos of the update and an oracle's
GRADIENT_NORM = Metric("gradient_norm", within=POSITIVE)  # of the first gradient of a step
INFORMATIVE = Metric("informative", within=SHARE)  # share of contexts whose candidates differ in reward
PROMPTS = Metric("prompts", within=POSITIVE)  # asked in training so far
TOKENS = Metric("tokens", within=POSITIVE)  # sampled in training so far
COUNTERS = (PROMPTS, TOKENS)  # of language models, beside interactions
INITIAL_SUCCESS = Metric("initial_success", "higher", SHARE)  # the axis of sparsity that all tasks share


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - an assertion with a message for the user
    """A condition on the values of settings.

    Raises:
        ValueError: it does not hold.
    """
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class TaskSettings(ABC):
    """The settings of a kind of task, in its fields, and what is known of the kind, in its class.

    A field is an int, a float, a str or a bool with a default; its bounds stand in its type, `Annotated[int, Within(2,
    100)]`.  One that is NEUTRAL (`tpobench.identity`) is no part of a run's id while it is off.
    """

    kind: ClassVar[str]
    task: ClassVar[Any]  # the class that is trained, made as task(settings, noise); "module:class", so that torch waits
    offers: ClassVar[frozenset[str]]  # what algorithms may need: candidates, draws, optional fields of CandidateGroups
    metrics: ClassVar[tuple[Metric, ...]]  # of every recorded step; the first is what the task is about
    diagnostics: ClassVar[tuple[Metric, ...]] = ()  # recorded too with training.diagnostics
    counters: ClassVar[tuple[Metric, ...]] = ()  # sums over the rollouts so far of what each counts
    facts: ClassVar[tuple[Metric, ...]] = (INITIAL_SUCCESS,)  # of the untrained policy
    unit: ClassVar[str] = "sequence"  # what a candidate is
    optimizers: ClassVar[tuple[str, ...]] = PLAIN
    counted: ClassVar[tuple[str, ...]] = ()  # settings that a record must name, since they say what a step draws
    unstreamed: ClassVar[frozenset[str]] = frozenset()  # settings that the random numbers do not depend on
    streams_of: ClassVar[str] = ""  # the kind whose random numbers these tasks share
    takes_kernel: ClassVar[bool] = False  # whether it has a field `kernel`; others compute the same whichever it is
    tiny: ClassVar[Mapping[str, Any]] = {}  # settings of a task that is made and stepped in milliseconds

    def __post_init__(self) -> None:
        require_within(self)

    @classmethod
    def reads(cls, task: Mapping[str, Any]) -> Mapping[str, str]:  # noqa: ARG003 - nothing here
        """What runs with these settings read: the setting that names an unverified copy -> the data set."""
        return {}

    @classmethod
    def packages(cls, task: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG003 - none here
        """Those beyond the base installation that training with these settings needs."""
        return ()

    @property
    def offered(self) -> frozenset[str]:
        """What an algorithm may need with these settings, and what the training loop gives on every task."""
        return self.offers | {"ref_logp", "progress", "uniform"}

    @property
    def undiagnosed(self) -> frozenset[str]:
        """What an algorithm must not need where `training.diagnostics` are taken."""
        return frozenset()

    @property
    @abstractmethod
    def interactions_per_step(self) -> int:
        """Rollouts that one update draws; exact updates count one per context."""

    @property
    @abstractmethod
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound."""

    def job_bytes(self, seeds: int) -> int | None:  # noqa: ARG002 - small here
        """Memory of a job with so many seeds side by side, where it may be more than a machine has; None elsewhere."""
        return None

    @property
    def why_not_native(self) -> str:
        """Why the native kernel cannot train it; empty where it can."""
        return f"there is no native kernel for task '{self.kind}'"

    @property
    def scored_rollouts(self) -> int | None:
        """N_eval, the rollouts whose mean the first metric is, so 1 / N_eval resolves it; None where it is exact."""
        return None

    def recorded(self, *, diagnostics: bool = False) -> tuple[Metric, ...]:
        """The metrics in the curve of a run with these settings."""
        return (*self.metrics, *(self.diagnostics if diagnostics else ()))

    def serving(self, unit: Unit) -> TaskSettings:
        """The task that algorithms of a unit are run on.

        Raises:
            ValueError: it has no candidates of that unit.
        """
        require(unit == self.unit, f"compares {UNITS[unit]}, which task '{self.kind}' does not offer")
        return self

    def why_not(self, algorithm: Algorithm, *, diagnostics: bool = False) -> str:
        """Why the task cannot serve an algorithm, empty when it can."""
        try:
            self.serving(algorithm.unit)
        except ValueError as error:
            return str(error)
        if algorithm.compares != "nothing" and algorithm.compares not in self.offered:
            return f"compares {algorithm.compares}, which task '{self.kind}' does not offer"
        if missing := ", ".join(sorted(algorithm.needs - self.offered)):
            return f"needs {missing}, which task '{self.kind}' does not offer"
        odd = ", ".join(sorted(algorithm.needs & self.undiagnosed)) if diagnostics else ""
        return f"needs {odd}, which the diagnostics of task '{self.kind}' do not have" if odd else ""

    def budget(self, matching: str) -> tuple[TaskSettings, float] | None:  # noqa: ARG002 - the same under both here
        """What an algorithm that looks at single rollouts gets under a matching, and what its learning rate is times.

        None: what all algorithms get, whatever the matching.
        """
        return None

    def make(self, noise: Noise) -> Task:
        """The task under these settings."""
        task: Any = self.task
        if isinstance(task, str):
            module, _, name = task.partition(":")
            task = getattr(importlib.import_module(module), name)
        instance: Task = task(self, noise)
        return instance


class GroupSettings(TaskSettings):
    """Kinds whose setting `candidates` is K, the rollouts of one context that algorithms may compare."""

    candidates: int  # declared by each kind, at its place among the fields

    def recorded(self, *, diagnostics: bool = False) -> tuple[Metric, ...]:
        """With the share of informative groups; groups of one have none."""
        grouped = (INFORMATIVE,) if self.candidates > 1 else ()
        return (*self.metrics, *grouped, *(self.diagnostics if diagnostics else ()))

    def why_not(self, algorithm: Algorithm, *, diagnostics: bool = False) -> str:
        """A group of one has nothing to compare."""
        alone = algorithm.compares != "nothing" and self.candidates < 2
        return (
            super().why_not(algorithm, diagnostics=diagnostics)
            or "compares candidates, and task.candidates is 1" * alone
        )


@dataclass(frozen=True)
class DataSettings(TaskSettings):
    """Kinds that read a data set.

    `data_sha256` names the unverified copy of the data that the run was allowed to use; empty: the published bytes.
    """

    unstreamed: ClassVar[frozenset[str]] = frozenset({"data_sha256"})

    data: str = "mnist"
    data_sha256: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.data in DATA, f"data must be one of {', '.join(DATA)}")
        require(
            HASH.fullmatch(self.data_sha256) is not None,
            "data_sha256 must be 64 hexadecimal digits, or empty for the published data",
        )

    @classmethod
    def reads(cls, task: Mapping[str, Any]) -> Mapping[str, str]:
        """The data set that is named."""
        return {"data_sha256": str(task.get("data", cls.data))}
