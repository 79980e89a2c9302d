"""What draws the candidates: the policy that is trained, what it was some updates ago, or the untrained one, once."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from tpobench.tasks.task import Rollout, Task


@dataclass
class Sampler:
    """Draws with the parameters of `lag` updates ago (the untrained ones before there are so many), or once for all.

    pi_old is the policy that is trained when the update begins, or, with `old_logp` sampler, what drew; offline it is
    the untrained policy, which drew.
    """

    state: ClassVar[tuple[str, ...]] = ("past",)

    policy: Any = None  # whose parameters are those of the past; None where the policy that is trained draws
    lag: int = 0
    offline: bool = False
    old_logp: str = "policy"
    past: deque[Tensor] = field(default_factory=deque)  # the parameters of the last `lag` updates, the oldest first
    frozen: Rollout | None = None

    @classmethod
    def of(cls, task: Task, training: Mapping[str, Any]) -> Sampler:
        """As the settings of a run's training say."""
        chosen = {k: training[k] for k in ("lag", "offline", "old_logp") if k in training}
        behind = bool(chosen.get("lag") or chosen.get("offline"))
        return cls(task.make_policy() if behind else None, **chosen, past=deque(maxlen=chosen.get("lag", 0) + 1))

    @property
    def at_snapshot(self) -> bool:
        """Whether pi_old is the policy with which an update begins."""
        return not self.offline and self.old_logp == "policy"

    def rollout(self, task: Task, policy: Any, step: int) -> Rollout:
        """The candidates of an update, with log-probs of the policy and of what drew them; no gradient."""
        if self.offline:
            return self._frozen(task)
        with torch.no_grad():
            rollout = task.rollout(self._drawing(policy), step)
            groups = rollout.groups
            sampler = groups.old_logp if groups.rollout_logp is None else groups.rollout_logp
            if self.old_logp == "sampler":
                groups = dataclasses.replace(groups, old_logp=sampler, rollout_logp=sampler)
            elif self.lag:
                groups = dataclasses.replace(groups, old_logp=task.logp(policy, rollout, None), rollout_logp=sampler)
        return rollout if groups is rollout.groups else dataclasses.replace(rollout, groups=groups)

    def present(self, task: Task, policy: Any, rollout: Rollout, step: int) -> Rollout:
        """Candidates that the policy draws itself, to measure it by: `rollout` where it did."""
        return rollout if self.policy is None else task.rollout(policy, step)

    def take(self, task: Task, places: list[int]) -> None:
        """Give every seed what the seed at the place named for it has; the task is that of the seeds after that."""
        self.past = deque((theta[places] for theta in self.past), self.past.maxlen)
        if self.offline:
            drew, self.policy, self.frozen = self.frozen is not None, task.make_policy(), None
            if drew:
                self._frozen(task)

    def again(self, task: Task) -> None:
        """Draw once more what had been drawn once for all when the run was interrupted."""
        if self.offline:
            self._frozen(task)

    def _drawing(self, policy: Any) -> Any:
        """A policy with the parameters that draw."""
        if self.policy is None:
            return policy
        self.past.append(policy.theta.detach().clone())
        self.policy.theta.copy_(self.past[0])
        return self.policy

    def _frozen(self, task: Task) -> Rollout:
        """What the untrained policy drew, which is drawn and counted at the first update alone."""
        if self.frozen is not None:
            return self.frozen
        rollout = task.rollout(self.policy, 0)
        groups = rollout.groups
        if self.old_logp == "sampler" and groups.rollout_logp is not None:
            rollout = dataclasses.replace(rollout, groups=dataclasses.replace(groups, old_logp=groups.rollout_logp))
        counted = {name: torch.zeros_like(count) for name, count in rollout.counts.items()}
        self.frozen = dataclasses.replace(rollout, interactions=0, counts=counted)
        return rollout
