"""The one training loop: rollout -> credit -> epochs of fit.  It knows no algorithm and no task by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import CandidateGroups, contributing, scores_differ
from tpobench.algorithms.slope import slope
from tpobench.policies.noise import Noise, NoiseAhead
from tpobench.policies.optimizers import Adam, NormalizedStep, Optimizer, clipped
from tpobench.tasks.catalog import streams, task_settings
from tpobench.tasks.settings import COMPLETIONS, NONFINITE_PART, STATIC_KERNEL
from tpobench.tasks.task import Observes, Parted, Policy, Rollout, Step, Task, Writes
from tpobench.training.companions import Companions
from tpobench.training.state import Snapshot, restore, tensors_of
from tpobench.training.watch import Forward, Update, Watch, on_host

if TYPE_CHECKING:
    from tpobench.planning.plan import Job


Begin = Callable[[int, Callable[[], Snapshot | None]], None]


class Measurement(NamedTuple):
    """One metric of every trained seed after `step` updates."""

    step: int
    interactions: int  # rollouts drawn so far, per seed
    gradient_steps: int  # optimiser steps so far
    metric: str
    value: tuple[Any, ...]  # one per seed; nan from the step at which a seed's parameters are not finite


@dataclass
class Trained:
    """What updates change."""

    state: ClassVar[tuple[str, ...]] = ("theta", "optimizer", "companions", "counted")

    theta: Tensor
    optimizer: Optimizer
    companions: Companions
    counted: dict[str, Tensor] = field(default_factory=dict)  # what the rollouts so far count: name -> (S,)

    def learn(self, task: Task, rollout: Rollout, epochs: int) -> None:
        """What else learns from a rollout that the policy has used, and what it counts."""
        self.companions.learn(task, rollout, epochs)
        self.counted = {name: self.counted.get(name, 0) + count for name, count in rollout.counts.items()}

    def counts(self, rollout: Rollout) -> dict[str, Tensor]:
        """What has been counted before a rollout."""
        return {name: self.counted.get(name, torch.zeros_like(count)) for name, count in rollout.counts.items()}

    def take(self, task: Task, places: list[int]) -> None:
        """Give every seed what the seed at the place named for it has; the task is that of the seeds after that."""
        with torch.no_grad():
            self.theta.copy_(self.theta[places])
        self.optimizer.take(places)
        self.companions.take(task, places)
        self.counted = {name: count[places] for name, count in self.counted.items()}

    def go_on_from(self, tensors: Mapping[str, Tensor], task: Task) -> None:
        """Take the state of a run that was interrupted."""
        restore(self, {name: tensor.to(self.theta.device) for name, tensor in tensors.items()})
        self.companions.sampler.again(task)


def snapshot(watch: Watch, trained: Trained, step: int, interactions: int, gradient_steps: int) -> Snapshot | None:
    """The state before update `step`, None while a loss is unreported."""
    return None if watch.unreported else Snapshot(step, interactions, gradient_steps, tensors_of(trained))


def train(
    job: Job,
    begin: Begin = lambda *_: None,
    seen: Callable[[Tensor], Tensor] = lambda x: x,
    resume: Snapshot | None = None,
) -> Iterator[Measurement]:
    """Train all seeds of a job side by side and yield their metrics before every recorded update and at the end.

    step 0 is the untrained policy.  The last measurement is taken on one more rollout, which is not charged.
    begin: called with each step before anything of it is done, and with what gives the state of the run there (None
        while a loss is unreported).  seen: called with the gradient (S, D) of every gradient step, before it is taken.
    resume: such a state; the run goes on from there, bit for bit, and yields what was not measured before.
    """
    start, interactions, gradient_steps, tensors = resume or Snapshot(0, 0, 0, {})
    spec, stack = job.specs[0], job.stack(max(start - 1, 0))
    task = make_task(spec.suite, spec.task, stack, dtype=spec.dtype, device=spec.device, kernel=spec.kernel)
    algorithm = dataclasses.replace(ALGORITHMS[spec.algorithm], hyper=spec.hyper)  # what is not named is off
    policy = task.make_policy()
    theta = policy.theta
    make = partial(
        make_optimizer, str(spec.training["optimizer"]), float(spec.training["learning_rate"]),
        decay=float(spec.training.get("weight_decay", 0.0)),
    )  # fmt: skip
    optimizer, companions = make(policy), Companions.of(task, algorithm, make, spec.training)
    steps, epochs, every = (int(spec.training[k]) for k in ("steps", "epochs", "record_every"))
    between = int(spec.training.get("evaluate_every", every))  # two evaluations
    static, trained = spec.kernel == STATIC_KERNEL, Trained(theta, optimizer, companions)
    if resume is not None:
        trained.go_on_from(tensors, task)
    watch = Watch(algorithm, theta, static=static)

    def measure(
        step: int, metrics: Mapping[str, Tensor], texts: Iterable[tuple[Any, ...]] = ()
    ) -> Iterator[Measurement]:
        finite = watch.finite()
        masked = [torch.where(finite, value, torch.nan) for value in metrics.values()]
        for name, value in zip(metrics, on_host(torch.stack(masked)) if masked else (), strict=True):
            yield Measurement(step, interactions, gradient_steps, name, tuple(value))
        for value in texts:
            yield Measurement(step, interactions, gradient_steps, COMPLETIONS, value)

    if resume is None:
        yield from measure(0, task.facts(policy))
    for step in range(start, steps + 1):
        if job.until is not None and step > job.until:
            return
        begin(step, partial(snapshot, watch, trained, step, interactions, gradient_steps))
        record, leaving = step % every == 0 or step == steps, bool(job.left) and job.stack(step) != stack
        if record or leaving or not static:  # a step that is not recorded asks a device for nothing
            for lost_in, part in watch.losses():
                yield Measurement(lost_in, interactions, gradient_steps, NONFINITE_PART, part)
        if leaving:
            places, stack = [stack.index(seed) for seed in job.stack(step)], job.stack(step)
            task = make_task(spec.suite, spec.task, stack, dtype=spec.dtype, device=spec.device, kernel=spec.kernel)
            trained.take(task, places)
        rollout = companions.sampler.rollout(task, policy, step)
        if record:
            measured = (
                partial(task.evaluate, policy) if step % between == 0 or step == steps else partial(observed, task)
            )
            yield from measure(
                step,
                {**trained.counts(rollout), **measured(companions.sampler.present(task, policy, rollout, step))},
                written(task, policy, watch.finite()) if step in {0, steps} else (),
            )
        if step == steps or not any(watch.alive):
            return
        batch = companions.prepared(task, policy, algorithm, rollout, step=step, steps=steps)
        credit = algorithm.credit_for(batch.groups)
        update = Update(batch.groups, credit, [])
        for epoch in range(epochs):
            gradient = loss_gradient(
                task, policy, algorithm, batch, credit,
                at_snapshot=epoch == 0 and companions.sampler.at_snapshot, passes=update.passes, static=static,
                kl=float(spec.training.get("kl_reference", 0.0)),
            )  # fmt: skip
            if record and epoch == 0:
                first = Step(rollout, algorithm, credit, gradient)
                diagnosis = {
                    **task.diagnose(policy, first),
                    **(task.examine(policy, first) if spec.training.get("diagnostics") else {}),
                }
            flat = clipped(seen(side_by_side(gradient)), float(spec.training.get("max_grad_norm", 0.0)))
            take_step(task, policy, algorithm, batch, credit, flat, optimizer)
        trained.learn(task, rollout, epochs)
        watch.note(step, update)
        if record:
            yield from measure(step, diagnosis)
        interactions, gradient_steps = interactions + batch.interactions, gradient_steps + epochs


def observed(task: Task, rollout: Rollout) -> Mapping[str, Tensor]:
    """What a recorded point between two evaluations has: nothing where every metric is an evaluation's."""
    return task.observe(rollout) if isinstance(task, Observes) else {}


def written(task: Task, policy: Policy, finite: Tensor) -> Iterator[tuple[Any, ...]]:
    """Completions of the seeds whose parameters are finite, of a task that has any: one of each seed."""
    if isinstance(task, Writes):
        texts = zip(task.completions(policy), on_host(finite), strict=True)
        yield tuple(of_seed if sound else () for of_seed, sound in texts)


def loss_gradient(
    task: Task,
    policy: Policy,
    algorithm: Algorithm,
    rollout: Any,
    credit: Tensor,
    *,
    at_snapshot: bool,
    passes: list[Forward] | None = None,
    static: bool = False,
    kl: float = 0.0,
) -> tuple[Tensor, ...]:
    """d/d parameters of sum_S mean_B (loss + kl KL to the reference), on the contexts that can contribute only.

    The log-probs of the forward pass are added to `passes`.  static: contexts that cannot contribute have weight 0 in
    place of being left out, since what depends on how many they are must wait for the device.  kl: every context
    contributes.  A task that scores parts of a batch is differentiated in these, to the same gradient.
    """
    groups: CandidateGroups = rollout.groups
    B = groups.reward.shape[1]
    rows = None if static or kl else contributing_rows(algorithm, groups, at_snapshot=at_snapshot)
    if rows is not None and len(rows) == 0:
        return tuple(torch.zeros_like(p) for p in policy.parameters)
    parts = parts_of(task, groups, rows)
    if rows is not None:
        groups, credit = groups.rows(rows), credit.index_select(1, rows)
    silent = (static or bool(kl)) and algorithm.silent_on_flat(at_snapshot=at_snapshot)  # where none is left out

    def total(logp: Tensor) -> Tensor:
        losses = algorithm.objective(logp, groups, credit, silent=silent, kl=kl)
        return losses.sum() / B  # the normaliser is that of the full batch

    whole = len(parts) == 1
    with torch.set_grad_enabled(whole):
        scored = [task.logp(policy, rollout, part) for part in parts]
        logp = scored[0] if whole else torch.cat(scored, 1)
    if passes is not None:
        passes.append(Forward(logp.detach(), rows))
    if whole:
        return gradient_of(total(logp), policy)
    slopes = torch.split(slope(total, logp)[1], [len(part) for part in parts], 1)
    weighed = zip(parts, slopes, strict=True)
    each = [gradient_of((g * task.logp(policy, rollout, part)).sum(), policy) for part, g in weighed]
    return tuple(torch.stack(gradients).sum(0) for gradients in zip(*each, strict=True))


def side_by_side(gradient: Sequence[Tensor]) -> Tensor:
    """By all parameters of each seed: (S, D)."""
    return torch.cat([g.flatten(1) for g in gradient], dim=1) if len(gradient) > 1 else gradient[0].flatten(1)


def gradient_of(loss: Tensor, policy: Policy) -> tuple[Tensor, ...]:
    """By the parameters, 0 by those on which the loss does not depend."""
    gradient = torch.autograd.grad(loss, list(policy.parameters), allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for p, g in zip(policy.parameters, gradient, strict=True))


def parts_of(task: Task, groups: CandidateGroups, rows: Tensor | None) -> Sequence[Any]:
    """The contexts, None for all of them, as many at a time as the task scores."""
    at_once = task.at_once if isinstance(task, Parted) else 0
    places = torch.arange(groups.reward.shape[1], device=groups.reward.device) if rows is None else rows
    return torch.split(places, at_once) if 0 < at_once < len(places) else [rows]


def take_step(
    task: Task,
    policy: Any,
    algorithm: Algorithm,
    rollout: Rollout,
    credit: Tensor,
    gradient: Tensor,
    optimizer: Optimizer,
) -> None:
    """Change the parameters in place, by the algorithm's own step or by the optimizer; the gradient is (S, D)."""
    if algorithm.own_step is None:
        with torch.no_grad():
            optimizer.step(policy.theta.flatten(1), gradient)
        return
    groups = rollout.groups
    algorithm.own_step(
        policy.theta,
        policy.parameters,
        gradient,
        lambda: task.logp(policy, rollout, None),
        lambda logp: algorithm.loss(logp, groups, credit).mean(1),
        groups,
    )


def contributing_rows(algorithm: Algorithm, groups: CandidateGroups, *, at_snapshot: bool) -> Tensor | None:
    """Contexts whose gradient may be non-zero for some seed, or None for all of them; skipping the rest is exact."""
    if not algorithm.silent_on_flat(at_snapshot=at_snapshot) or bool(scores_differ(groups).any(0).all()):
        return None
    useful = contributing(groups).any(0)
    return None if bool(useful.all()) else useful.nonzero().squeeze(-1)


def make_task(
    suite: str, task: Mapping[str, Any], seeds: tuple[int, ...], *, dtype: str, device: str, kernel: str = "plain"
) -> Any:
    """The task of a run spec; its noise is keyed by everything but the budget, which depends on the algorithm."""
    cell = json.dumps(streams(task), sort_keys=True)
    noise_of = NoiseAhead if kernel == STATIC_KERNEL else Noise
    settings = task_settings(task)
    instance: Any = settings.make(noise_of(suite, cell, seeds, dtype=getattr(torch, dtype), device=device))
    return dataclasses.replace(instance, kernel=kernel) if settings.takes_kernel else instance


def make_optimizer(name: str, learning_rate: float, policy: Any, *, decay: float = 0.0) -> Optimizer:
    """normalized | adam | adamw | muon; Muon asks the policy which of its parameters are matrices."""
    if name == "normalized":
        return NormalizedStep(learning_rate)
    if name in {"adam", "adamw"}:
        return Adam(learning_rate, decay=decay)
    muon: Optimizer = policy.muon(learning_rate)
    return muon
