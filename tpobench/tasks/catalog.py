"""Every kind of task: its settings, what is known of it, and the class that is trained.

A new kind is a class here and a task beside it; a user's own takes one call of `register_task` in a plugin.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tpobench.data.files import MODELS
from tpobench.errors import UsageError, unknown
from tpobench.identity import NEUTRAL, chosen
from tpobench.limits import Number, Within
from tpobench.tasks.graders import GRADERS
from tpobench.tasks.model_memory import ModelSize
from tpobench.tasks.settings import (
    COUNTERS,
    ERROR,
    GRADIENT_NORM,
    HASH,
    MISALIGNMENT,
    OPTIMIZERS,
    POSITIVE,
    SHARE,
    WORST_ERROR,
    Arms,
    Batch,
    Candidates,
    DataSettings,
    GroupSettings,
    Metric,
    TaskSettings,
    require,
)

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Unit

TARGETS = ("copy", "flip", "reverse_copy", "reverse_flip")
REWARDS = ("bag_of_tokens", "sequential", "terminal")
PARTIAL = ("graph_coloring", "knights_knaves")  # Reasoning Gym's, which grades between 0 and 1
PROBLEM_NAMES = ("add", "words", "gsm8k", *PARTIAL)
FETCHED = frozenset({"gsm8k", *MODELS})  # by `data fetch`
PRECISIONS = ("bfloat16", "training")  # of a pretrained model's weights; or that of all other numbers
VOCABULARY = 2**18  # more tokens than language models have
NATIVE_TOKENS = 254  # a byte less the mark of an end; with the longest prompts, 24 MB of tables


@dataclass(frozen=True)
class BanditSettings(TaskSettings):
    """One context, `arms` arms, `samples` tallied draws a step; arm 0 pays 1 (TPO section 3.1)."""

    kind: ClassVar[str] = "bandit"
    task: ClassVar[str] = "tpobench.tasks.bandit:BanditTask"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "draws", "candidates", "greedy_reward", "value", "entropy"})
    metrics: ClassVar[tuple[Metric, ...]] = (ERROR, MISALIGNMENT)
    tiny: ClassVar[Mapping[str, Any]] = {"arms": 7, "samples": 9}

    arms: Arms = 100
    samples: Annotated[int, Within(2, 10**8)] = 100
    baseline: Number = 0.5

    @property
    def interactions_per_step(self) -> int:
        """Every draw."""
        return self.samples

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: logits, their gradient, and the draws."""
        return 64 * (self.arms + self.samples)


@dataclass(frozen=True)
class ContextsSettings(TaskSettings):
    """`contexts` contexts of `arms` arms with N(0, 1) logits and exact population updates (TPO section 3.2)."""

    kind: ClassVar[str] = "contexts"
    task: ClassVar[str] = "tpobench.tasks.bandit:ContextsTask"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "draws", "candidates", "greedy_reward", "value", "entropy"})
    metrics: ClassVar[tuple[Metric, ...]] = (ERROR, MISALIGNMENT)
    tiny: ClassVar[Mapping[str, Any]] = {"contexts": 5, "arms": 4}

    contexts: Batch = 100
    arms: Arms = 10

    @property
    def interactions_per_step(self) -> int:
        """One per context."""
        return self.contexts

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: a dozen tensors of the logits' shape."""
        return 128 * self.contexts * self.arms


@dataclass(frozen=True)
class SequenceSettings(GroupSettings):
    """A transformer answers a prompt of `length` tokens with its `target` transform (TPO sections 3.4 to 3.7).

    `prompts` B contexts a step, `candidates` K rollouts of each.  The error is that of these rollouts; with `held_out`,
    1 - the probability of the whole right answer, exact, over so many prompts that are drawn for that alone.
    """

    kind: ClassVar[str] = "sequence"
    task: ClassVar[str] = "tpobench.tasks.sequence:SequenceTask"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates", "greedy_reward", "value", "entropy"})
    metrics: ClassVar[tuple[Metric, ...]] = (ERROR, GRADIENT_NORM)
    diagnostics: ClassVar[tuple[Metric, ...]] = (
        Metric("all_fail", within=SHARE),
        Metric("some_success", within=SHARE),
        Metric("weight_failure", within=POSITIVE),
        Metric("weight_success", within=POSITIVE),
    )
    optimizers: ClassVar[tuple[str, ...]] = OPTIMIZERS
    counted: ClassVar[tuple[str, ...]] = ("prompts", "candidates")
    takes_kernel: ClassVar[bool] = True
    unstreamed: ClassVar[frozenset[str]] = frozenset(counted)  # the budget depends on the algorithm, the prompts do not
    tiny: ClassVar[Mapping[str, Any]] = {"length": 2, "prompts": 6, "candidates": 4}

    vocabulary: Annotated[int, Within(2, 2**16)] = 2
    length: Annotated[int, Within(1, 64)] = 10
    target: str = "reverse_copy"
    reward: str = "terminal"
    prompts: Batch = 100
    candidates: Candidates = 8
    held_out: Annotated[int, Within(0, 10**6)] = field(default=0, metadata=NEUTRAL)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.target in TARGETS, f"target must be one of {', '.join(TARGETS)}")
        require(self.reward in REWARDS, f"reward must be one of {', '.join(REWARDS)}")

    @property
    def offered(self) -> frozenset[str]:
        """Where every token has a reward, each position's is one of several rewards."""
        return super().offered | ({"rewards"} if self.reward != "terminal" else frozenset())

    @property
    def interactions_per_step(self) -> int:
        """K rollouts of each prompt."""
        return self.prompts * self.candidates

    @property
    def why_not_native(self) -> str:
        """The kernel sorts tokens as bytes, and tabulates them by position."""
        if self.vocabulary > NATIVE_TOKENS:
            return f"the native kernel takes a vocabulary of at most {NATIVE_TOKENS} tokens"
        return ""

    @property
    def scored_rollouts(self) -> int | None:
        """Those of the step, where no held-out prompts are."""
        return None if self.held_out else self.interactions_per_step

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound.

        20 KB per token of the undeduplicated batch is what the transformer's activations take where prefixes differ
        most (measured 4 to 19.6 KB in float32).
        """
        return 20_000 * self.prompts * self.length * (1 + self.candidates)

    def serving(self, unit: Unit) -> TaskSettings:
        """Next tokens are candidates where every token has a reward: there, the task of the kind `tokens`.

        Raises:
            ValueError: a reward for the whole answer.
        """
        if unit == self.unit:
            return self
        terminal = "compares next tokens, which need a reward for every token; task.reward is terminal"
        require(self.reward != "terminal", terminal)
        return task_settings({**dataclasses.asdict(self), "kind": TokensSettings.kind})

    def budget(self, matching: str) -> tuple[TaskSettings, float] | None:
        """One rollout per prompt, where others draw K of each of B prompts.

        prompts:       B prompts
        interactions:  B K prompts, learning rate times sqrt(K) for the K times larger batch
        """
        if matching == "prompts":
            return dataclasses.replace(self, candidates=1), 1.0
        K = self.candidates
        return dataclasses.replace(self, prompts=self.prompts * K, candidates=1), math.sqrt(K)


@dataclass(frozen=True)
class TokensSettings(SequenceSettings):
    """The same task under a reward for every token, with K next tokens in each state of one rollout (TPO section 3.4).

    `prompts` B rollouts a step, `candidates` K tokens in each of the `length` states that a rollout passes.
    """

    kind: ClassVar[str] = "tokens"
    task: ClassVar[str] = "tpobench.tasks.tokens:TokensTask"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates"})
    unit: ClassVar[str] = "token"
    streams_of: ClassVar[str] = SequenceSettings.kind  # algorithms of both units see the same prompts

    reward: str = "bag_of_tokens"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.reward != "terminal", "reward must be bag_of_tokens or sequential: next tokens are scored alone")

    @property
    def interactions_per_step(self) -> int:
        """One rollout of each prompt, however many next tokens are drawn beside it."""
        return self.prompts

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: one rollout per prompt, and the groups."""
        groups = 64 * self.prompts * self.length * (self.candidates + self.vocabulary)
        return 20_000 * self.prompts * self.length * 2 + groups

    def serving(self, unit: Unit) -> TaskSettings:
        """Algorithms of whole answers have the task `sequence`.

        Raises:
            ValueError: they are asked for here.
        """
        whole = "needs whole answers; on task 'sequence' it runs beside the algorithms that compare next tokens"
        require(unit == self.unit, whole)
        return self

    def budget(self, matching: str) -> None:  # noqa: ARG002 - the same under both
        """One rollout per prompt however algorithms are matched."""
        return


@dataclass(frozen=True)
class SampledSettings(GroupSettings):
    """`contexts` contexts of `arms` arms, `candidates` K draws with replacement in each (not in the TPO paper).

    Logits start from N(0, skew^2), and the right arm's `handicap` lower: skew makes arms unequal, and with it how
    likely the right one is from context to context; handicap makes the right arm alone unlikely in all of them.
    Draws come from pi^(1 / sampler_temperature), normalised, with N(0, sampler_noise^2) on every logit, fresh at each
    step: what corrections of the sampler are for.  Rewards carry N(0, reward_noise^2).  With `formatted`, that many
    arms, of which the right one is one, pay a second reward of `format_reward`.  With `tasks`, context b is of task
    b mod tasks, and handicaps rise evenly from 0 in the first task to `handicap` in the last.
    """

    kind: ClassVar[str] = "sampled"
    task: ClassVar[str] = "tpobench.tasks.sampled:SampledTask"
    offers: ClassVar[frozenset[str]] = frozenset(
        {"draws", "candidates", "greedy_reward", "value", "entropy", "task_index"}
    )
    metrics: ClassVar[tuple[Metric, ...]] = (ERROR, MISALIGNMENT)
    counted: ClassVar[tuple[str, ...]] = ("contexts", "candidates")
    unstreamed: ClassVar[frozenset[str]] = frozenset({"candidates"})
    tiny: ClassVar[Mapping[str, Any]] = {"contexts": 6, "arms": 5, "candidates": 4}

    contexts: Batch = 100
    arms: Arms = 10
    candidates: Candidates = 8
    skew: Annotated[float, Within(0, 10)] = 1.0
    handicap: Annotated[float, Within(0, 20)] = 0.0
    sampler_temperature: Annotated[float, Within(0.1, 10)] = field(default=1.0, metadata=NEUTRAL)
    sampler_noise: Annotated[float, Within(0, 10)] = field(default=0.0, metadata=NEUTRAL)
    reward_noise: Annotated[float, Within(0, 10)] = field(default=0.0, metadata=NEUTRAL)
    formatted: Annotated[int, Within(0, 10**7)] = field(default=0, metadata=NEUTRAL)
    format_reward: Annotated[float, Within(0, 100)] = field(default=1.0, metadata=NEUTRAL)
    tasks: Annotated[int, Within(0, 10**4)] = field(default=0, metadata=NEUTRAL)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.formatted <= self.arms, "formatted must be at most arms, of which it says how many")
        require(self.tasks != 1 and self.tasks <= self.contexts, "tasks must be 0, or 2 to as many as contexts")

    @property
    def mismatched(self) -> bool:
        """Whether draws come from another policy than the one that is trained."""
        return self.sampler_temperature != 1 or self.sampler_noise > 0

    @property
    def offered(self) -> frozenset[str]:
        """Where draws come from another policy, its log-probs too; both rewards where there are two."""
        given = {"rollout_logp": self.mismatched, "rewards": self.formatted > 0}
        return super().offered | {name for name, has in given.items() if has}

    def recorded(self, *, diagnostics: bool = False) -> tuple[Metric, ...]:
        """With the error of the worst of several tasks."""
        worst = (WORST_ERROR,) if self.tasks else ()
        return (*super().recorded(diagnostics=diagnostics), *worst)

    @property
    def interactions_per_step(self) -> int:
        """K draws in each context."""
        return self.contexts * self.candidates

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: a dozen tensors of logits and of draws."""
        return 128 * self.contexts * (self.arms + 2 * self.candidates)


class CompletionSettings(GroupSettings):
    """Kinds of language models that answer `prompts` problems a step, and `held_out` others, `samples` times each."""

    counted: ClassVar[tuple[str, ...]] = ("prompts", "candidates")
    counters: ClassVar[tuple[Metric, ...]] = COUNTERS

    prompts: int  # these are declared by each kind, at their places among the fields
    held_out: int
    samples: int
    grader: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.grader in GRADERS, f"grader must be one of {', '.join(GRADERS)}")

    @property
    def interactions_per_step(self) -> int:
        """K completions of each problem."""
        return self.prompts * self.candidates

    @property
    def scored_rollouts(self) -> int:
        """The sampled completions of held-out problems."""
        return self.held_out * self.samples


@dataclass(frozen=True)
class TinyMathSettings(CompletionSettings):
    """A small language model answers arithmetic word problems in GSM8K's format; exact match is rewarded.

    Problems have 1 to `operations` operations.  The start comes from `warm_steps` supervised updates on a corpus with
    a share `right` of right solutions, with which its pass rate rises.  `prompts` B problems a step, `candidates` K
    completions of each; `held_out` problems are evaluated with a greedy and `samples` sampled completions each.
    """

    kind: ClassVar[str] = "tiny_math"
    task: ClassVar[str] = "tpobench.tasks.tiny_math:TinyMathTask"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates", "greedy_reward", "entropy"})
    metrics: ClassVar[tuple[Metric, ...]] = (
        ERROR, Metric("greedy_error", "lower", SHARE), Metric("reward", "higher", SHARE), GRADIENT_NORM,
    )  # fmt: skip
    diagnostics: ClassVar[tuple[Metric, ...]] = (
        Metric("largest_p_old", within=SHARE),
        Metric("effective_size", within=POSITIVE),
        Metric("entropy", within=POSITIVE),
        Metric("length", within=POSITIVE),
        Metric("clipped", within=SHARE),
    )
    optimizers: ClassVar[tuple[str, ...]] = OPTIMIZERS
    unstreamed: ClassVar[frozenset[str]] = frozenset({*CompletionSettings.counted, "grader"})
    tiny: ClassVar[Mapping[str, Any]] = {
        "right": 0.5, "warm_steps": 100, "prompts": 4, "candidates": 4, "held_out": 6, "samples": 2,
    }  # fmt: skip

    operations: Annotated[int, Within(2, 4)] = 2
    right: Annotated[float, SHARE] = 0.25
    warm_steps: Annotated[int, Within(1, 10**5)] = 600
    prompts: Batch = 16
    candidates: Candidates = 8
    held_out: Annotated[int, Within(1, 128)] = 128
    samples: Annotated[int, Within(1, 1024)] = 4
    grader: str = "strict"

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: as for `sequence`, with its longer answers."""
        tokens = 11 + 4 * self.operations + (6 * self.operations + 3) * self.candidates
        evaluated = 4000 * self.held_out * (1 + self.samples) * (14 + 10 * self.operations)
        return 20_000 * self.prompts * tokens + evaluated


@dataclass(frozen=True)
class LanguageSettings(CompletionSettings):
    """A pretrained causal language model answers `problems`, and LoRA factors of it are trained (TPO section 3.8).

    `model` is a name of `tpobench data fetch`, a folder, a name on the hub, or `random`.  `prompts` B problems a step,
    `candidates` K completions of at most `new_tokens` T tokens each; those that were cut count as wrong unless
    `cut_counts`.  A token whose text the pattern `stop` matches ends a completion, as the model's own ends do.  The
    question stands in the model's chat template, or in `template` in place of {question}.  Completions are scored and
    differentiated for `micro_batch` problems at a time, 0 for all: the gradient is that of the whole batch.
    """

    kind: ClassVar[str] = "language"
    task: ClassVar[str] = "tpobench.tasks.language:LanguageTask"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates", "greedy_reward", "entropy", "rollout_logp"})
    metrics: ClassVar[tuple[Metric, ...]] = TinyMathSettings.metrics
    diagnostics: ClassVar[tuple[Metric, ...]] = (*TinyMathSettings.diagnostics, Metric("sampler_gap", within=POSITIVE))
    unstreamed: ClassVar[frozenset[str]] = TinyMathSettings.unstreamed | {
        "precision", "micro_batch", "data_sha256", "model_sha256",
    }  # fmt: skip
    tiny: ClassVar[Mapping[str, Any]] = {
        "model": "random", "precision": "training", "largest": 4, "prompts": 6, "candidates": 8, "new_tokens": 2,
        "rank": 4, "held_out": 2, "samples": 32, "cut_counts": True,
    }  # fmt: skip

    model: str = "smollm2"
    problems: str = "add"
    largest: Annotated[int, Within(4, 999)] = 99
    prompts: Batch = 8
    candidates: Candidates = 8
    new_tokens: Annotated[int, Within(1, 2**16)] = 6
    rank: Annotated[int, Within(1, 1024)] = 8
    alpha: Annotated[float, Within(1e-3, 1e4)] = 16.0
    precision: str = "bfloat16"
    held_out: Annotated[int, Within(1, 2000)] = 64
    samples: Annotated[int, Within(1, 1024)] = 4
    grader: str = "flexible"
    micro_batch: Annotated[int, Within(0, 10**6)] = field(default=0, metadata=NEUTRAL)
    cut_counts: bool = field(default=False, metadata=NEUTRAL)
    stop: str = field(default="", metadata=NEUTRAL)
    template: str = field(default="", metadata=NEUTRAL)
    system: str = field(default="", metadata=NEUTRAL)
    thinking: bool = field(default=False, metadata=NEUTRAL)
    data_sha256: str = field(default="", metadata=NEUTRAL)
    model_sha256: str = field(default="", metadata=NEUTRAL)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.problems in PROBLEM_NAMES, f"problems must be one of {', '.join(PROBLEM_NAMES)}")
        require(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}")
        for name, text in (("data_sha256", self.data_sha256), ("model_sha256", self.model_sha256)):
            require(HASH.fullmatch(text) is not None, f"{name} must be 64 hexadecimal digits, or empty")
        require(not self.template or "{question}" in self.template, "template must have {question} in it")
        require(is_pattern(self.stop), "stop must be a regular expression, such as [.\\n]")

    @classmethod
    def reads(cls, task: Mapping[str, Any]) -> Mapping[str, str]:
        """The model, where `data fetch` brings it, and GSM8K."""
        named = {
            "model_sha256": str(task.get("model", cls.model)),
            "data_sha256": str(task.get("problems", cls.problems)),
        }
        return {key: name for key, name in named.items() if name in FETCHED}

    @classmethod
    def packages(cls, task: Mapping[str, Any]) -> tuple[str, ...]:
        """Hugging Face's, and Reasoning Gym for its problems."""
        return ("transformers", *(("reasoning_gym",) if task.get("problems", cls.problems) in PARTIAL else ()))

    @property
    def partial(self) -> bool:
        """Whether an answer can be graded between 0 and 1."""
        return self.problems in PARTIAL

    def recorded(self, *, diagnostics: bool = False) -> tuple[Metric, ...]:
        """With the mean grade on held-out problems where it is not the share of right answers."""
        partial = (Metric("held_out_score", "higher", SHARE),) if self.partial else ()
        return (*super().recorded(diagnostics=diagnostics), *partial)

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: logits of its completions, in four copies."""
        return 16 * VOCABULARY * (self.micro_batch or self.prompts) * self.candidates * self.new_tokens

    def job_bytes(self, seeds: int) -> int | None:
        """Where the model's files are here: weights, factors, what a graph keeps, logits."""
        size = ModelSize.of(self.model, 2 if self.precision == "bfloat16" else 4)
        graph, rows = self.bytes_per_seed // (16 * VOCABULARY), self.prompts * self.candidates
        return None if size is None else size.bytes_of_job(seeds, self.prompts, rows, self.new_tokens, graph, self.rank)


@dataclass(frozen=True)
class MnistSettings(DataSettings):
    """A network of two hidden layers names the class of an image; one class is drawn for each (TPO section 3.3).

    `contexts` images a step, drawn with replacement; `hidden` units in each hidden layer.
    """

    kind: ClassVar[str] = "mnist"
    task: ClassVar[str] = "tpobench.tasks.mnist:MnistTask"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "candidates", "greedy_reward"})  # one draw an image
    metrics: ClassVar[tuple[Metric, ...]] = (ERROR, GRADIENT_NORM)
    diagnostics: ClassVar[tuple[Metric, ...]] = tuple(
        Metric(f"{name}{i}") for name in ("count", "gain_sum", "scalar_sum", "surplus_sum") for i in range(4)
    )
    takes_kernel: ClassVar[bool] = True
    tiny: ClassVar[Mapping[str, Any]] = {"data": "digits", "contexts": 30, "hidden": 8}

    contexts: Batch = 100
    hidden: Annotated[int, Within(1, 10**5)] = 50

    @property
    def undiagnosed(self) -> frozenset[str]:
        """The gains on test images are those of an update from labels and probabilities alone."""
        return frozenset({"greedy_reward", "ref_logp", "progress", "uniform"})

    @property
    def interactions_per_step(self) -> int:
        """One class for each image."""
        return self.contexts

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound.

        Parameters, gradient and moments, a batch of images with its activations, and the log-probs of all test images.
        """
        pixels = 784
        parameters = self.hidden * (pixels + self.hidden + 16)
        return 4 * (8 * parameters + 4 * self.contexts * (pixels + 4 * self.hidden)) + 10_000_000


def is_pattern(text: str) -> bool:
    """Whether it is a regular expression."""
    try:
        re.compile(text)
    except re.error:
        return False
    return True


TASKS: dict[str, type[TaskSettings]] = {
    s.kind: s
    for s in (
        BanditSettings,
        ContextsSettings,
        SequenceSettings,
        TokensSettings,
        SampledSettings,
        MnistSettings,
        TinyMathSettings,
        LanguageSettings,
    )
}
PACKAGED_KINDS = frozenset(TASKS)


def register_task(settings: type[TaskSettings]) -> type[TaskSettings]:
    """Add a kind of task to TASKS, by the class of its settings.

    Raises:
        UsageError: it is no such class, names no kind, or another one has its name.
    """
    kind = getattr(settings, "kind", None)
    if not (isinstance(settings, type) and issubclass(settings, TaskSettings) and isinstance(kind, str)):
        msg = (
            f"register_task({settings!r}): give the class of the settings, a dataclass that extends TaskSettings and "
            'says kind: ClassVar[str] = "..."'
        )
        raise UsageError(msg)
    if TASKS.get(kind, settings) is not settings:
        msg = f"task kind '{kind}' exists already; give yours another name"
        raise UsageError(msg)
    TASKS[kind] = settings
    return settings


def declared(task: Mapping[str, Any]) -> type[TaskSettings] | None:
    """What is known of the kind of a recorded task; None where it came with a plugin that is not here."""
    return TASKS.get(str(task.get("kind")))


def task_settings(task: Mapping[str, Any], where: str = "the run") -> TaskSettings:
    """The settings in a run's spec.

    Raises:
        UsageError: of a kind, or with settings, that are not known here.
    """
    values = {k: v for k, v in task.items() if k != "kind"}
    if (settings := declared(task)) is None:
        raise unknown_kind(task.get("kind"), where)
    names = [f.name for f in dataclasses.fields(settings)]
    for name in values.keys() - names:
        raise unknown("key", f"task.{name}", [f"task.{n}" for n in names], where)
    try:
        return settings(**values)
    except (TypeError, ValueError) as error:
        msg = f"{where}: task.{error}"
        raise UsageError(msg) from error


def unknown_kind(kind: object, where: str) -> UsageError:
    """A kind of task that is not here; one of a plugin is where its file is named."""
    error = unknown("task.kind", str(kind), TASKS, where)
    return UsageError(f"{error}; a kind of your own comes with --plugin FILE")


def recorded_metrics(task: Mapping[str, Any], *, diagnostics: bool = False) -> tuple[str, ...]:
    """The names of the metrics in the curve of a run with these settings."""
    settings = task_settings(task)
    return tuple(metric.name for metric in (*settings.recorded(diagnostics=diagnostics), *settings.counters))


def chosen_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task's kind and settings without neutral ones that are off."""
    settings = declared(task)
    return dict(task) if settings is None else chosen(task, settings)


def streams(task: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a task's random numbers depend on.

    Not the budget, and not whether candidates are answers or next tokens: both depend on the algorithm, and all see the
    same random numbers.  Nor which copy of the data is read.
    """
    settings, values = declared(task), chosen_task(task)
    if settings is None:
        return values
    streamed = {k: v for k, v in values.items() if k not in settings.unstreamed}
    return {**streamed, "kind": settings.streams_of or settings.kind}
