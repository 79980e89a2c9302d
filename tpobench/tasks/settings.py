"""The settings of every kind of task: names, types, defaults and limits, in one place and without heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

TARGETS = ("copy", "flip", "reverse_copy", "reverse_flip")
REWARDS = ("bag_of_tokens", "sequential", "terminal")


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - an assertion with a message for the user
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class BanditSettings:
    """One context, `arms` arms, `samples` tallied draws a step; arm 0 pays 1 (TPO section 3.1)."""

    kind: ClassVar[str] = "bandit"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "draws", "candidates"})

    arms: int = 100
    samples: int = 100
    baseline: float = 0.5

    def __post_init__(self) -> None:
        _require(self.arms >= 2, "arms must be at least 2")
        _require(self.samples >= 2, "samples must be at least 2")

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: logits, their gradient, and the draws."""
        return 64 * (self.arms + self.samples)


@dataclass(frozen=True)
class ContextsSettings:
    """`contexts` contexts of `arms` arms with N(0, 1) logits and exact population updates (TPO section 3.2)."""

    kind: ClassVar[str] = "contexts"
    offers: ClassVar[frozenset[str]] = frozenset({"label", "draws", "candidates"})

    contexts: int = 100
    arms: int = 10

    def __post_init__(self) -> None:
        _require(self.contexts >= 1, "contexts must be at least 1")
        _require(self.arms >= 2, "arms must be at least 2")

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound: a dozen tensors of the logits' shape."""
        return 128 * self.contexts * self.arms


@dataclass(frozen=True)
class SequenceSettings:
    """A transformer answers a prompt of `length` tokens with its `target` transform (TPO sections 3.4 to 3.7).

    `prompts` B contexts a step, `candidates` K rollouts of each.
    """

    kind: ClassVar[str] = "sequence"
    offers: ClassVar[frozenset[str]] = frozenset({"draws", "candidates"})

    vocabulary: int = 2
    length: int = 10
    target: str = "reverse_copy"
    reward: str = "terminal"
    prompts: int = 100
    candidates: int = 8

    def __post_init__(self) -> None:
        _require(self.vocabulary >= 2, "vocabulary must be at least 2")
        _require(1 <= self.length <= 64, "length must be between 1 and 64")
        _require(self.target in TARGETS, f"target must be one of {', '.join(TARGETS)}")
        _require(self.reward in REWARDS, f"reward must be one of {', '.join(REWARDS)}")
        _require(self.prompts >= 1, "prompts must be at least 1")
        _require(self.candidates >= 1, "candidates must be at least 1")

    @property
    def bytes_per_seed(self) -> int:
        """Memory that one more seed in a stack takes, as an upper bound.

        20 KB per token of the undeduplicated batch is what the transformer's activations take where prefixes differ
        most (measured 4 to 19.6 KB in float32).
        """
        return 20_000 * self.prompts * self.length * (1 + self.candidates)


SETTINGS: dict[str, type[BanditSettings | ContextsSettings | SequenceSettings]] = {
    s.kind: s for s in (BanditSettings, ContextsSettings, SequenceSettings)
}
