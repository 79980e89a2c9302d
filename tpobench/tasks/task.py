"""What the training loop asks of a task and of a policy; it knows nothing else of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.groups import CandidateGroups
from tpobench.policies.noise import Noise


class Policy(Protocol):
    """Parameters stacked over seeds: every tensor has a leading axis S."""

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Leaf tensors that require grad, each (S, ...)."""
        ...


@dataclass(frozen=True)
class Rollout:
    """One batch of scored candidates, and what the task needs to score it again under new parameters."""

    groups: CandidateGroups
    inputs: Any
    interactions: int  # scored rollouts (or draws) per seed
    counts: Mapping[str, Tensor] = field(default_factory=dict)  # of the settings' counters, as float64: name -> (S,)


@dataclass(frozen=True)
class Step:
    """The update about to be made from a rollout: the algorithm, its credit, and its first gradient."""

    rollout: Rollout
    algorithm: Algorithm
    credit: Tensor  # (S, B, K), or (S, B, K, T)
    gradient: Sequence[Tensor]  # d loss / d parameters, one per policy parameter


@runtime_checkable
class Observes(Protocol):
    """A task some of whose metrics cost nothing beside the batch."""

    def observe(self, rollout: Rollout) -> Mapping[str, Tensor]:
        """Those of `evaluate`, at recorded points between evaluations: name -> (S,)."""
        ...


@runtime_checkable
class Writes(Protocol):
    """A task whose answers are texts."""

    def completions(self, policy: Any) -> Sequence[Sequence[Mapping[str, Any]]]:
        """Of each seed what the policy answers to a few held-out problems, at the same noise in every step."""
        ...


@runtime_checkable
class Parted(Protocol):
    """A task whose batch is scored in parts, since the graph of a whole one is too large."""

    @property
    def at_once(self) -> int:
        """Contexts in a part; 0: all."""
        ...


class Task(Protocol):
    """A source of candidate groups whose log-probs depend on a policy's parameters."""

    @property
    def noise(self) -> Noise:
        """Its random numbers, by role and step."""
        ...

    def make_policy(self) -> Any:
        """Fresh parameters, one slice per seed of the task's noise."""
        ...

    def facts(self, policy: Any) -> Mapping[str, Tensor]:
        """What holds of the untrained policy, such as `initial_success`: name -> (S,)."""
        ...

    def rollout(self, policy: Any, step: int) -> Rollout:
        """Draw and score candidates under the present policy, with the noise of `step`; no gradient."""
        ...

    def logp(self, policy: Any, rollout: Rollout, rows: Tensor | None) -> Tensor:
        """Log-probs of the rollout's tokens under `policy`, with graph: (S, B, K, T), or (S, b, K, T) for `rows`."""
        ...

    def greedy_reward(self, policy: Any, rollout: Rollout) -> Tensor:
        """Reward of the most probable answer in every context, where `greedy_reward` is offered: (S, B)."""
        ...

    def entropy(self, policy: Any, rollout: Rollout) -> Tensor:
        """Of the policy before each token, where `entropy` is offered, without graph: (S, B, K, T)."""
        ...

    def make_critic(self) -> Any:
        """A fresh network for values, a Policy, where `value` is offered."""
        ...

    def value(self, critic: Any, rollout: Rollout) -> Tensor:
        """Its value of the state before each token, within (0, 1), with graph: (S, B, K, T)."""
        ...

    def evaluate(self, policy: Any, rollout: Rollout) -> Mapping[str, Tensor]:
        """Metrics of the policy that drew `rollout`, before any update on it: name -> (S,)."""
        ...

    def diagnose(self, policy: Any, step: Step) -> Mapping[str, Tensor]:
        """Diagnostics of the step: name -> (S,)."""
        ...

    def examine(self, policy: Any, step: Step) -> Mapping[str, Tensor]:
        """Further diagnostics, for suites that ask with `training.diagnostics = true`: name -> (S,)."""
        ...
