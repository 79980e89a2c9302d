"""The settings of every kind of task: names, types, defaults and limits, in one place and without heavy imports."""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from tpobench.data.images import DATA
from tpobench.errors import UsageError, unknown
from tpobench.identity import chosen
from tpobench.limits import Number, Within, require_within

TARGETS = ("copy", "flip", "reverse_copy", "reverse_flip")
REWARDS = ("bag_of_tokens", "sequential", "terminal")
BUDGET_KEYS = ("prompts", "candidates")
PLAIN = ("adam", "normalized")  # optimizers of any vector of parameters
OPTIMIZERS = ("muon", *PLAIN)  # muon turns matrices, which only the transformer has
Arms = Annotated[int, Within(2, 10**7)]
Batch = Annotated[int, Within(1, 10**8)]  # what fits into memory, `bytes_per_seed` says
Candidates = Annotated[int, Within(1, 10**6)]
NONFINITE_PART = "nonfinite_part"  # what is measured of a seed that is lost: its place in PARTS
PARTS = ("", "credit", "fit")  # of a rule, which gave the first number that is not finite; neither: it overflowed
OWN_PART = "the rule's own"  # how the reason of such a record begins to say so
HASH = re.compile(r"([0-9a-f]{64})?")


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - an assertion with a message for the user
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class TaskSettings(ABC):
    """What plans, checks and reports ask of a kind of task; a kind that leaves one of these out cannot be made."""

    kind: ClassVar[str]
    offers: ClassVar[frozenset[str]]  # what rules may need: label, draws, candidates
    optimizers: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[str, ...]]
    diagnostics: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def interactions_per_step(self) -> int:
        """Rollouts that one update draws; exact updates count one per context."""

    @property
    @abstractmethod
    def scored_rollouts(self) -> int | None:
        """N_eval, the rollouts whose failures one recorded error counts; None where it is computed exactly."""

    @property
    @abstractmethod
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound."""


@dataclass(frozen=True)
class BanditSettings(TaskSettings):
    """One context, `arms` arms, `samples` tallied draws a step; arm 0 pays 1 (TPO section 3.1)."""

    kind: ClassVar[str] = "bandit"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "draws", "candidates"})
    optimizers: ClassVar[tuple[str, ...]] = PLAIN
    metrics: ClassVar[tuple[str, ...]] = ("error", "misalignment")
    diagnostics: ClassVar[tuple[str, ...]] = ()

    arms: Arms = 100
    samples: Annotated[int, Within(2, 10**8)] = 100
    baseline: Number = 0.5

    def __post_init__(self) -> None:
        require_within(self)

    @property
    def interactions_per_step(self) -> int:
        """Every draw."""
        return self.samples

    @property
    def scored_rollouts(self) -> None:
        """The error is the policy's own, not a share of draws."""
        return

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: logits, their gradient, and the draws."""
        return 64 * (self.arms + self.samples)


@dataclass(frozen=True)
class ContextsSettings(TaskSettings):
    """`contexts` contexts of `arms` arms with N(0, 1) logits and exact population updates (TPO section 3.2)."""

    kind: ClassVar[str] = "contexts"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "draws", "candidates"})
    optimizers: ClassVar[tuple[str, ...]] = PLAIN
    metrics: ClassVar[tuple[str, ...]] = ("error", "misalignment")
    diagnostics: ClassVar[tuple[str, ...]] = ()

    contexts: Batch = 100
    arms: Arms = 10

    def __post_init__(self) -> None:
        require_within(self)

    @property
    def interactions_per_step(self) -> int:
        """One per context."""
        return self.contexts

    @property
    def scored_rollouts(self) -> None:
        """The error is the policy's own, not a share of draws."""
        return

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: a dozen tensors of the logits' shape."""
        return 128 * self.contexts * self.arms


@dataclass(frozen=True)
class SequenceSettings(TaskSettings):
    """A transformer answers a prompt of `length` tokens with its `target` transform (TPO sections 3.4 to 3.7).

    `prompts` B contexts a step, `candidates` K rollouts of each.
    """

    kind: ClassVar[str] = "sequence"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates"})
    optimizers: ClassVar[tuple[str, ...]] = OPTIMIZERS
    metrics: ClassVar[tuple[str, ...]] = ("error", "gradient_norm")
    diagnostics: ClassVar[tuple[str, ...]] = ("all_fail", "some_success", "weight_failure", "weight_success")

    vocabulary: Annotated[int, Within(2, 2**16)] = 2
    length: Annotated[int, Within(1, 64)] = 10
    target: str = "reverse_copy"
    reward: str = "terminal"
    prompts: Batch = 100
    candidates: Candidates = 8

    def __post_init__(self) -> None:
        require_within(self)
        _require(self.target in TARGETS, f"target must be one of {', '.join(TARGETS)}")
        _require(self.reward in REWARDS, f"reward must be one of {', '.join(REWARDS)}")

    @property
    def interactions_per_step(self) -> int:
        """K rollouts of each prompt."""
        return self.prompts * self.candidates

    @property
    def scored_rollouts(self) -> int:
        """Those of the step."""
        return self.interactions_per_step

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound.

        20 KB per token of the undeduplicated batch is what the transformer's activations take where prefixes differ
        most (measured 4 to 19.6 KB in float32).
        """
        return 20_000 * self.prompts * self.length * (1 + self.candidates)


@dataclass(frozen=True)
class TokensSettings(SequenceSettings):
    """The same task under a reward for every token, with K next tokens in each state of one rollout (TPO section 3.4).

    `prompts` B rollouts a step, `candidates` K tokens in each of the `length` states that a rollout passes.
    """

    kind: ClassVar[str] = "tokens"

    reward: str = "bag_of_tokens"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.reward != "terminal", "reward must be bag_of_tokens or sequential: next tokens are scored alone")

    @property
    def interactions_per_step(self) -> int:
        """One rollout of each prompt, however many next tokens are drawn beside it."""
        return self.prompts

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: one rollout per prompt, and the groups."""
        groups = 64 * self.prompts * self.length * (self.candidates + self.vocabulary)
        return 20_000 * self.prompts * self.length * 2 + groups


@dataclass(frozen=True)
class SampledSettings(TaskSettings):
    """`contexts` contexts of `arms` arms, `candidates` K draws with replacement in each (not in the TPO paper).

    Logits start from N(0, skew^2), and the right arm's `handicap` lower: skew makes arms unequal, and with it how
    likely the right one is from context to context; handicap makes the right arm alone unlikely in all of them.
    """

    kind: ClassVar[str] = "sampled"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates"})
    optimizers: ClassVar[tuple[str, ...]] = PLAIN
    metrics: ClassVar[tuple[str, ...]] = ("error", "misalignment")
    diagnostics: ClassVar[tuple[str, ...]] = ()

    contexts: Batch = 100
    arms: Arms = 10
    candidates: Candidates = 8
    skew: Annotated[float, Within(0, 10)] = 1.0
    handicap: Annotated[float, Within(0, 20)] = 0.0

    def __post_init__(self) -> None:
        require_within(self)

    @property
    def interactions_per_step(self) -> int:
        """K draws in each context."""
        return self.contexts * self.candidates

    @property
    def scored_rollouts(self) -> None:
        """The error is the policy's own, not a share of draws."""
        return

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: a dozen tensors of logits and of draws."""
        return 128 * self.contexts * (self.arms + 2 * self.candidates)


@dataclass(frozen=True)
class MnistSettings(TaskSettings):
    """A network of two hidden layers names the class of an image; one class is drawn for each (TPO section 3.3).

    `contexts` images a step, drawn with replacement; `hidden` units in each hidden layer.  `data_sha256` names the
    unverified copy of the data that the run was allowed to use; empty: the published bytes.
    """

    kind: ClassVar[str] = "mnist"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "candidates"})  # one draw an image: no draws to compare
    optimizers: ClassVar[tuple[str, ...]] = PLAIN
    metrics: ClassVar[tuple[str, ...]] = ("error", "gradient_norm")
    diagnostics: ClassVar[tuple[str, ...]] = tuple(
        f"{name}{i}" for name in ("count", "gain_sum", "scalar_sum", "surplus_sum") for i in range(4)
    )

    data: str = "mnist"
    data_sha256: str = ""
    contexts: Batch = 100
    hidden: Annotated[int, Within(1, 10**5)] = 50

    def __post_init__(self) -> None:
        require_within(self)
        _require(self.data in DATA, f"data must be one of {', '.join(DATA)}")
        _require(
            HASH.fullmatch(self.data_sha256) is not None,
            "data_sha256 must be 64 hexadecimal digits, or empty for the published data",
        )

    @property
    def interactions_per_step(self) -> int:
        """One class for each image."""
        return self.contexts

    @property
    def scored_rollouts(self) -> None:
        """The error is the policy's own, not a share of draws."""
        return

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound.

        Parameters, gradient and moments, a batch of images with its activations, and the log-probs of all test images.
        """
        pixels = 784
        parameters = self.hidden * (pixels + self.hidden + 16)
        return 4 * (8 * parameters + 4 * self.contexts * (pixels + 4 * self.hidden)) + 10_000_000


SETTINGS: dict[str, type[TaskSettings]] = {
    s.kind: s
    for s in (BanditSettings, ContextsSettings, SequenceSettings, TokensSettings, SampledSettings, MnistSettings)
}


def task_settings(task: Mapping[str, Any], where: str = "the run") -> TaskSettings:
    """The settings in a run's spec.

    Raises:
        UsageError: of a kind, or with settings, that are not known here.
    """
    values = {k: v for k, v in task.items() if k != "kind"}
    if (kind := str(task.get("kind"))) not in SETTINGS:
        raise unknown("task.kind", kind, SETTINGS, where)
    names = [f.name for f in dataclasses.fields(SETTINGS[kind])]
    for name in values.keys() - names:
        raise unknown("key", f"task.{name}", [f"task.{n}" for n in names], where)
    try:
        return SETTINGS[kind](**values)
    except (TypeError, ValueError) as error:
        msg = f"{where}: task.{error}"
        raise UsageError(msg) from error


def recorded_metrics(task: Mapping[str, Any], *, diagnostics: bool = False) -> tuple[str, ...]:
    """The metrics in the curve of a run with these settings; groups of one have no share that is informative."""
    settings = SETTINGS[str(task["kind"])]
    grouped = ("informative",) if int(task.get("candidates", 1)) > 1 else ()
    return (*settings.metrics, *grouped, *(settings.diagnostics if diagnostics else ()))


def chosen_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task's kind and settings without neutral ones that are off."""
    settings = SETTINGS.get(str(task.get("kind")))
    return dict(task) if settings is None else chosen(task, settings)


def streams(task: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a task's random numbers depend on.

    Not the budget, and not whether candidates are answers or next tokens: both depend on the rule, and rules see the
    same random numbers.  Nor which copy of the data is read.
    """
    kept = {k: v for k, v in chosen_task(task).items() if k not in (*BUDGET_KEYS, "data_sha256")}
    return {**kept, "kind": "sequence"} if kept.get("kind") == TokensSettings.kind else kept
