"""What goes along with the policy of a run: the untrained policy, a critic, and what modifiers remember."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from tpobench.algorithms.algorithm import Algorithm, Memory
from tpobench.policies.optimizers import Optimizer
from tpobench.tasks.task import Policy, Rollout, Task
from tpobench.training.sampler import Sampler


@dataclass
class Critic:
    """V(state), the expected reward, by binary cross-entropy to the rewards, in [0, 1], of the answers through it."""

    state: ClassVar[tuple[str, ...]] = ("theta", "optimizer")

    policy: Any
    optimizer: Optimizer

    @property
    def theta(self) -> Tensor:
        """Its parameters, which those of its network view."""
        theta: Tensor = self.policy.theta
        return theta

    def value(self, task: Task, rollout: Rollout) -> Tensor:
        """V of the state before each token, without graph: (S, B, K, T)."""
        with torch.no_grad():
            return task.value(self.policy, rollout)

    def fit(self, task: Task, rollout: Rollout, epochs: int) -> None:
        """As many gradient steps as the policy takes, each seed its own."""
        groups = rollout.groups
        target = groups.reward.clamp(0, 1).unsqueeze(-1).expand_as(groups.mask)
        weight = groups.weight.unsqueeze(-1) * groups.mask
        for _ in range(epochs):
            value = task.value(self.policy, rollout).clamp(1e-6, 1 - 1e-6)
            loss = (weight * binary_cross_entropy(value, target, reduction="none")).sum((2, 3)).mean(1).sum()
            gradient = torch.autograd.grad(loss, list(self.policy.parameters))
            with torch.no_grad():
                self.optimizer.step(self.policy.theta.flatten(1), torch.cat([g.flatten(1) for g in gradient], dim=1))

    def take(self, places: list[int]) -> None:
        """Give every seed the parameters and the state of the seed at the place named for it."""
        with torch.no_grad():
            self.policy.theta.copy_(self.policy.theta[places])
        self.optimizer.take(places)


@dataclass
class Companions:
    """Those that an algorithm asks for in its needs and by its modifiers, and what draws for it."""

    state: ClassVar[tuple[str, ...]] = ("critic", "memory", "sampler")

    reference: Policy | None = None
    kept_near: bool = False  # whether the loop adds a KL to the reference
    critic: Critic | None = None
    memory: Memory = field(default_factory=dict)
    sampler: Sampler = field(default_factory=Sampler)

    @classmethod
    def of(
        cls,
        task: Task,
        algorithm: Algorithm,
        optimizer: Callable[[Any], Optimizer],
        training: Mapping[str, Any] = MappingProxyType({}),
    ) -> Companions:
        """`optimizer` makes the one that a network is trained by; `training` has the settings of a run."""
        kept_near = bool(training.get("kl_reference"))
        reference = task.make_policy() if kept_near or "ref_logp" in algorithm.needs else None
        network = task.make_critic() if "value" in algorithm.needs else None
        critic = None if network is None else Critic(network, optimizer(network))
        return cls(reference, kept_near, critic, sampler=Sampler.of(task, training))

    def take(self, task: Task, places: list[int]) -> None:
        """Give every seed what the seed at the place named for it has; the task is that of the seeds after that."""
        self.sampler.take(task, places)
        self.memory = {name: value[places] for name, value in self.memory.items()}
        if self.reference is not None:
            self.reference = task.make_policy()
        if self.critic is not None:
            self.critic.take(places)

    def prepared(
        self, task: Task, policy: Policy, algorithm: Algorithm, rollout: Rollout, *, step: int = 0, steps: int = 1
    ) -> Rollout:
        """The rollout with what the algorithm needs beyond it, as its modifiers leave it.

        step: of `steps`.  A greedy answer is scored, so it is an interaction.
        """
        fields: dict[str, Any] = {"progress": step / steps} if "progress" in algorithm.needs else {}
        if self.reference is not None:
            with torch.no_grad():
                fields["ref_logp"] = task.logp(self.reference, rollout, None)
        if self.critic is not None:
            fields["value"] = self.critic.value(task, rollout)
        if "entropy" in algorithm.needs:
            fields["entropy"] = task.entropy(policy, rollout)
        if "uniform" in algorithm.needs:
            fields["uniform"] = task.noise.uniform("tokens", step, tuple(rollout.groups.mask.shape[1:]))
        if "rewards" in algorithm.needs and rollout.groups.rewards is None:  # each position's is one of several
            fields["rewards"] = rollout.groups.token_reward
        if greedy := "greedy_reward" in algorithm.needs:
            fields["greedy_reward"] = task.greedy_reward(policy, rollout)
        groups = dataclasses.replace(rollout.groups, **fields) if fields else rollout.groups
        scored = rollout.interactions + greedy * groups.reward.shape[1]
        batch = algorithm.prepare(groups, self.memory)
        if self.kept_near:  # modifiers leave an algorithm what it needs
            batch = dataclasses.replace(batch, ref_logp=groups.ref_logp)
        return dataclasses.replace(rollout, groups=batch, interactions=scored)

    def learn(self, task: Task, rollout: Rollout, epochs: int) -> None:
        """The critic, from a rollout that the policy has used."""
        if self.critic is not None:
            self.critic.fit(task, rollout, epochs)
