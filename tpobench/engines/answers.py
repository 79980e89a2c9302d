"""The answers of a rollout batch as engines hold them, flat and in any order, and an algorithm's update of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm, Memory
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.slope import slope
from tpobench.algorithms.trial import sequences
from tpobench.errors import UsageError

ALWAYS = frozenset({"draws", "candidates"})  # what groups of sampled answers offer
TRL_OFFERS = ALWAYS | {"progress", "entropy", "rewards"}
VERL_OFFERS = ALWAYS | {"ref_logp", "rollout_logp"}


@dataclass(frozen=True)
class Answers:
    """N answers, K to each of B prompts, in any order; tokens after an answer's end have mask 0.

    Raises:
        UsageError: prompts have different numbers of answers.
    """

    old_logp: Tensor  # (N, T) log pi_old of each token
    mask: Tensor  # (N, T)
    reward: Tensor  # (N,)
    prompt: Tensor  # (N,) whole numbers, equal for answers to one prompt
    ref_logp: Tensor | None = None  # (N, T)
    rollout_logp: Tensor | None = None  # (N, T)
    entropy: Tensor | None = None  # (N, T)
    rewards: Tensor | None = None  # (N, M)
    progress: float | None = None

    def __post_init__(self) -> None:
        least, most = int(self._sizes.min()), int(self._sizes.max())
        if least != most:
            msg = f"a batch has {least} to {most} answers to a prompt; groups must be whole"
            raise UsageError(msg)

    @cached_property
    def _sizes(self) -> Tensor:
        """Answers to each prompt: (B,)."""
        counts = torch.bincount(self.prompt)
        return counts[counts > 0]

    @cached_property
    def order(self) -> Tensor:
        """Where the answers of group after group stand: (N,)."""
        return self.prompt.argsort(stable=True)

    def grouped(self, x: Tensor) -> Tensor:
        """(N, ...) -> (1, B, K, ...), in float32 or more."""
        return (
            x[self.order].reshape(1, len(self._sizes), -1, *x.shape[1:]).to(torch.promote_types(x.dtype, torch.float32))
        )

    def flat(self, x: Tensor) -> Tensor:
        """(1, B, K, ...) -> (N, ...), as the answers stand."""
        return x.flatten(0, 2)[self.order.argsort()]

    @cached_property
    def groups(self) -> CandidateGroups:
        """As algorithms read them; the baseline is the mean of the batch, as for the tasks of language models."""
        reward, mask = self.grouped(self.reward), self.grouped(self.mask)
        optional = {name: self._optional(name) for name in ("ref_logp", "rollout_logp", "entropy", "rewards")}
        old_logp = self.grouped(self.old_logp) * mask
        return CandidateGroups.of_rollouts(old_logp, mask, reward, progress=self.progress, **optional)

    def _optional(self, name: str) -> Tensor | None:
        x: Tensor | None = getattr(self, name)
        return None if x is None else self.grouped(x)


class Update:
    """What an algorithm makes of a rollout batch, once: its groups as the modifiers leave them, and their credit.

    kl: of the KL to the reference that is added to the loss, as in `training.kl_reference`.
    """

    def __init__(self, algorithm: Algorithm, answers: Answers, memory: Memory | None = None, kl: float = 0.0) -> None:
        self.algorithm, self.answers, self.kl = algorithm, answers, kl
        self.groups = algorithm.prepare(answers.groups, {} if memory is None else memory)
        self.credit = algorithm.credit_for(self.groups)
        if kl:  # which modifiers may drop
            self.groups = dataclasses.replace(self.groups, ref_logp=answers.groups.ref_logp)

    def loss(self, logp: Tensor, *, silent: bool = False) -> Tensor:
        """L = mean_B fit(log pi, groups, credit) + kl KL, as the built-in loop has it: logp (N, T) -> a number.

        silent: without the part of groups that say nothing, whose gradient is 0 but for rounding.
        """
        grouped = self.answers.grouped(logp) * self.groups.mask
        return self.algorithm.objective(grouped, self.groups, self.credit, silent=silent, kl=self.kl).mean()

    def gradient(self, logp: Tensor) -> tuple[Tensor, Tensor]:
        """L, and g = dL / dlogp (N, T), which ties no answer to another any more.

        Rounding of what is 0 would be a step of full length to Adam.
        """
        silent = self.algorithm.silent_on_flat(at_snapshot=torch.equal(logp, self.answers.old_logp))
        return self.loss(logp.detach()), slope(partial(self.loss, silent=silent), logp)[1]


def why_not(algorithm: Algorithm, offers: Collection[str] = ALWAYS, epochs: int = 1) -> str:
    """Why an engine, which trains on whole answers with an optimizer of its own, cannot serve an algorithm, or ''."""
    missing = sorted(algorithm.needs - set(offers))
    return (
        "compares next tokens, and answers are whole" * (algorithm.unit == "token")
        or "takes a step of its own, not an optimizer's" * (algorithm.step is not None)
        or f"needs {', '.join(missing)}, which the engine does not offer" * bool(missing)
        or f"uses a batch {algorithm.max_epochs} time, not {epochs}" * (epochs > (algorithm.max_epochs or epochs))
    )


def require_served(algorithm: Algorithm, engine: str, offers: Collection[str] = ALWAYS, epochs: int = 1) -> None:
    """An engine can train an algorithm.

    Raises:
        UsageError: it cannot.
    """
    if reason := why_not(algorithm, offers, epochs):
        msg = f"{engine}: algorithm '{algorithm.name}' {reason}; `tpobench list algorithms` has others"
        raise UsageError(msg)


def by_row(algorithm: Algorithm) -> bool:
    """Whether a credit of rewards alone, and a fit of every answer alone, are the whole algorithm: found by trial.

    Then its loss can be taken where other answers to the prompt, and their rewards, are not at hand.
    """
    if algorithm.needs or algorithm.modifiers or algorithm.keep is not None or algorithm.credit_is == "pairs":
        return False
    case = sequences(algorithm)
    groups = dataclasses.replace(case.groups, weight=torch.full_like(case.groups.reward, 1 / case.logp.shape[2]))
    credit = algorithm.credit_for(groups)
    elsewhere = dataclasses.replace(groups, old_logp=groups.old_logp - 1)
    if not torch.equal(credit, algorithm.credit_for(elsewhere)):
        return False
    S, B, K, T = case.logp.shape
    ones = torch.ones(S, B * K, 1, dtype=case.logp.dtype)
    old_logp, mask = (x.reshape(S, B * K, 1, T) for x in (groups.old_logp, groups.mask))
    alone = CandidateGroups(old_logp, mask, reward=ones, baseline=ones, weight=ones, score=ones, draws=1)

    def slopes(logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
        return slope(lambda x: algorithm.loss(x, groups, credit).sum(), logp)[1].flatten()

    together = slopes(case.logp, groups, credit)
    apart = slopes(case.logp.reshape(S, B * K, 1, T), alone, credit.reshape(S, B * K, 1, *credit.shape[3:]))
    return torch.allclose(K * together, apart, rtol=1e-9, atol=1e-12)
