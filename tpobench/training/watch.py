"""Which seeds have parameters that are not finite, since which update, and which part of the algorithm gave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.groups import CandidateGroups
from tpobench.tasks.settings import PARTS


def on_host(x: Tensor) -> list[Any]:
    """The numbers of a tensor: here the static kernel waits for the device, and nowhere else."""
    numbers: list[Any] = x.tolist()
    return numbers


class Forward(NamedTuple):
    """One forward pass of an update."""

    logp: Tensor  # (S, b, K, T), without graph
    rows: Tensor | None  # the contexts (b,), None for all


class Update(NamedTuple):
    """What an update was made from."""

    groups: CandidateGroups
    credit: Tensor
    passes: list[Forward]  # one for each epoch that had contexts


class Watch:
    """Takes note of every update, and says when it is asked which seeds were lost in which.

    static: taking note asks the device for nothing, so that many updates may lie between two questions; of each seed
    the update that it was lost in is kept, chosen on the device.
    """

    def __init__(self, algorithm: Algorithm, theta: Tensor, *, static: bool) -> None:
        self.algorithm, self.theta, self.static = algorithm, theta, static
        self._finite, self._step = self.finite(), 0
        self.alive: list[bool] = on_host(self._finite)  # as of the last question
        self._update: Update | None = None
        self._lost_in = torch.zeros(len(theta), dtype=torch.int64, device=theta.device)

    def finite(self) -> Tensor:
        """Which seeds have finite parameters only: (S,)."""
        return self.theta.flatten(1).isfinite().all(1) if self.static else finite_seeds(self.theta)

    @property
    def unreported(self) -> bool:
        """Whether a seed was lost since the last question."""
        return bool(on_host(self._finite) != self.alive)

    def note(self, step: int, update: Update) -> None:
        """An update is done."""
        finite = self.finite()
        if self.static:
            lost = self._finite & ~finite
            self._lost_in = torch.where(lost, step, self._lost_in)
            update = update if self._update is None else by_seed(lost, update, self._update)
        self._finite, self._step, self._update = finite, step, update

    def losses(self) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Updates in which seeds were lost since the last question, with the place in PARTS of each: (step, (S,))."""
        before, self.alive = self.alive, on_host(self._finite)
        lost = [was and not now for was, now in zip(before, self.alive, strict=True)]
        if self._update is None or not any(lost):
            return
        parts = nonfinite_part(self.algorithm, self._update)
        lost_in = on_host(self._lost_in) if self.static else [self._step] * len(lost)
        for step in sorted({at for at, gone in zip(lost_in, lost, strict=True) if gone}):
            each = zip(parts, lost_in, lost, strict=True)
            yield step, tuple(float(part) * (gone and at == step) for part, at, gone in each)


def finite_seeds(theta: Tensor) -> Tensor:
    """Which seeds have finite parameters only: (S,).  A finite sum has finite terms, and a sum is quickly taken."""
    flat = theta.flatten(1)
    finite = flat.sum(1).isfinite()
    return finite if bool(finite.all()) else flat.isfinite().all(1)


def by_seed(chosen: Tensor, update: Update, other: Update) -> Update:
    """Of the chosen seeds (S,) the one update, of the rest the other; their shapes are equal."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *(1,) * (a.dim() - 1)), a, b)

    tensors: dict[str, Any] = {
        k: pick(v, getattr(other.groups, k)) for k, v in vars(update.groups).items() if isinstance(v, Tensor)
    }
    passes = [Forward(pick(a.logp, b.logp), a.rows) for a, b in zip(update.passes, other.passes, strict=True)]
    groups = dataclasses.replace(update.groups, **tensors)
    return Update(groups, pick(update.credit, other.credit), passes)


def nonfinite_part(algorithm: Algorithm, update: Update) -> list[int]:
    """Which of PARTS gave the first number that is not finite in an update after which parameters are not: (S,).

    Found afterwards, from the log-probs of every epoch: `fit` if loss or d loss / d logp is not finite where logp is.
    """
    groups, credit, passes = update
    part = torch.where(_finite(credit), 0, PARTS.index("credit"))
    undecided = part == 0
    for logp, rows in passes:
        some, its = (groups, credit) if rows is None else (groups.rows(rows), credit.index_select(1, rows))
        with torch.enable_grad():
            leaf = logp.clone().requires_grad_()
            loss = algorithm.loss(leaf, some, its)
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        undecided = undecided & _finite(logp)
        fails = undecided & ~(_finite(loss) & _finite(gradient))
        part = torch.where(fails, PARTS.index("fit"), part)
        undecided = undecided & ~fails
    return [int(p) for p in on_host(part)]


def _finite(x: Tensor) -> Tensor:
    """Which seeds have finite numbers only: (S,)."""
    return x.isfinite().flatten(1).all(1)
