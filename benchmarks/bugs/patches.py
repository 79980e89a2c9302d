"""Bugs beside the algorithms: random streams, snapshots, optimisers, what is evaluated.

`PATCHES` says what is changed while an algorithm of harness.py is trained.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tpobench.policies.noise import Noise
from tpobench.policies.optimizers import Adam, Muon, NormalizedStep
from tpobench.tasks.sequence import SequenceTask
from tpobench.training import loop
from tpobench.training.sampler import Sampler


@contextmanager
def patched(place: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """An attribute replaced for a while."""
    right = getattr(place, name)
    setattr(place, name, wrap(right))
    try:
        yield
    finally:
        setattr(place, name, right)


def still(generator: Any) -> Any:
    """The numbers of step 1 in every later step."""
    return lambda self, role, seed, step: generator(self, role, seed, min(step, 1))


def shared(generator: Any) -> Any:
    """The numbers of seed 0 for every seed."""
    return lambda self, role, seed, step: generator(self, role, 0, step)  # noqa: ARG005 - that is the bug


def stale(rollout: Any) -> Any:
    """Log-probs of the snapshot one update late."""

    def late(self: Sampler, task: Any, policy: Any, step: int) -> Any:
        fresh = rollout(self, task, policy, step)
        before, self.before = getattr(self, "before", policy.theta.detach().clone()), policy.theta.detach().clone()
        with loop.torch.no_grad():
            now = policy.theta.clone()
            policy.theta.copy_(before)
            old = task.logp(policy, fresh, None)
            policy.theta.copy_(now)
        return replace(fresh, groups=replace(fresh.groups, old_logp=old))

    return late


def decaying(make: Any) -> Any:
    """A learning rate that falls by a tenth with every step."""

    def made(name: str, learning_rate: float, policy: Any) -> Any:
        optimizer = make(name, learning_rate, policy)
        step, taken = optimizer.step, iter(range(10**6))

        def slower(theta: Any, gradient: Any) -> None:
            before = theta.clone()
            step(theta, gradient)
            theta.copy_(before + 0.9 ** next(taken) * (theta - before))

        optimizer.step = slower
        return optimizer

    return made


def unscaled(make: Any) -> Any:
    """Adam where Muon or a normalised step was asked for, and the other way round."""

    def made(name: str, learning_rate: float, policy: Any) -> Any:
        right = make(name, learning_rate, policy)
        return Adam(learning_rate) if isinstance(right, Muon | NormalizedStep) else NormalizedStep(learning_rate)

    return made


def on_the_batch(error: Any) -> Any:  # noqa: ARG001 - it is replaced
    """The reward of the rollouts in place of held-out prompts."""
    return lambda self, policy, reward: 1 - reward  # noqa: ARG005 - that is the bug


PATCHES: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "tpo_still_stream": (Noise, "generator", still),
    "grpo_still_stream": (Noise, "generator", still),
    "grpo_shared_stream": (Noise, "generator", shared),
    "grpo_stale_snapshot": (Sampler, "rollout", stale),
    "tpo_decaying_rate": (loop, "make_optimizer", decaying),
    "tpo_other_optimizer": (loop, "make_optimizer", unscaled),
    "tpo_evaluated_on_the_batch": (SequenceTask, "error", on_the_batch),
}
