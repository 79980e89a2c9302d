"""Trying an algorithm on tiny groups: every kind of groups that a task may give it, and what its parts answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.groups import ON_REQUEST, CandidateGroups
from tpobench.algorithms.promises import Breach, Broken, line_of
from tpobench.errors import TpobenchError

S, B, K, T = 3, 4, 6, 5
PER_TOKEN = ("old_logp", "ref_logp", "rollout_logp", "value")
PER_CANDIDATE = (*PER_TOKEN, "mask", "reward", "weight", "score", "token_reward", "rewards", "uniform", "entropy")
PER_CONTEXT = ("label", "greedy_reward", "task_index")
NEAR, FAR = 0.2, 2.0  # log-ratios to the snapshot


@dataclass(frozen=True)
class Case:
    """Groups, and the log-probs (S, B, K, T) of a policy that has left their snapshot."""

    name: str
    groups: CandidateGroups
    logp: Tensor

    def but(self, **fields: Tensor | None) -> Case:
        """The same with other fields of its groups."""
        return dataclasses.replace(self, groups=dataclasses.replace(self.groups, **fields))  # type: ignore[arg-type]

    def each(self, function: Callable[[Tensor], Tensor], names: Iterable[str]) -> Case:
        """`function` applied to the named fields, and to logp."""
        values = {n: getattr(self.groups, n) for n in names}
        changed = self.but(**{n: function(x) for n, x in values.items() if x is not None})
        return dataclasses.replace(changed, logp=function(self.logp))


@dataclass(frozen=True)
class Answer:
    """An algorithm's answer to a case: credit (S, B, K) or (S, B, K, T), keep (S, B), loss (S, B), d loss / d logp."""

    credit: Tensor
    keep: Tensor | None
    loss: Tensor
    gradient: Tensor

    @cached_property
    def parts(self) -> dict[str, tuple[Tensor, ...]]:
        """The numbers of each part of the algorithm, in the order in which they are made."""
        keep = {} if self.keep is None else {"keep": (self.keep,)}
        return {"credit": (self.credit,), **keep, "fit": (self.loss, self.gradient)}


def sequences(
    algorithm: Algorithm,
    *,
    seed: int = 0,
    flat: float | None = None,
    dense: bool = False,
    candidates: int = K,
    contexts: int = B,
    by: float = NEAR,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """Sampled answers with padding; context 0 has equal rewards of 1, with `flat` all have that reward.

    An algorithm that compares next tokens has one token.  `dense`: a reward and a baseline for every token.
    """
    tokens = 1 if algorithm.unit == "token" else T
    rng = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    token_reward = (random(S, contexts, candidates, tokens) > 0.5) * (0.5 + random(S, contexts, 1, 1))
    if flat is None:
        token_reward[:, 0] = 1
        if candidates > 1:  # the others differ
            token_reward[:, 1:, 0], token_reward[:, 1:, -1] = 1, 0
    else:
        token_reward.fill_(flat)
    old_logp = -2 * random(S, contexts, candidates, tokens)
    lengths = 1 + (random(S, contexts, candidates, 1) * tokens).long()
    weight = 0.2 + random(S, contexts, candidates)
    noise = torch.randn(old_logp.shape, generator=rng, dtype=torch.float64)
    name = "mixed rewards" if flat is None else "groups that all succeed" if flat else "groups that all fail"
    return _case(
        f"{name}{', a reward for every token' if dense else ''}{', K = 1' if candidates == 1 else ''}",
        dtype,
        rng,
        logp=old_logp + by * noise,
        old_logp=old_logp,
        mask=(torch.arange(tokens) < lengths).double(),
        reward=token_reward.mean(-1),
        baseline=torch.full((S, 1, 1, 1) if dense else (S, 1, 1), 0.4, dtype=torch.float64),
        weight=weight / weight.sum(-1, keepdim=True),
        score=token_reward.mean(-1),
        token_reward=token_reward if dense else None,
        draws=candidates,
    )


def tallied(algorithm: Algorithm, *, seed: int = 0, undrawn: float = 1.0, dtype: torch.dtype = torch.float64) -> Case:
    """Every arm a candidate, weighted by how often it was drawn; `undrawn` is what those would pay that nobody drew."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(S, B, K, generator=rng, dtype=torch.float64)
    drawn = torch.randint(4, (S, B, K), generator=rng)
    drawn[..., 0], drawn[..., 1] = 0, 1
    if algorithm.compares == "nothing":  # one arm named in each context, as for images
        drawn = torch.nn.functional.one_hot(drawn.argmax(-1), K)
    N = drawn.sum(-1, keepdim=True)
    reward = torch.where(drawn == 0, undrawn, torch.rand(S, B, K, generator=rng, dtype=torch.float64))
    weight = drawn / N.double()
    old_logp = logits.log_softmax(-1).unsqueeze(-1)
    noise = torch.randn(S, B, K, 1, generator=rng, dtype=torch.float64)
    return _case(
        "arms that nobody drew",
        dtype,
        rng,
        logp=old_logp + NEAR * noise,
        old_logp=old_logp,
        mask=torch.ones_like(old_logp),
        reward=reward,
        baseline=torch.full((S, 1, 1), 0.4, dtype=torch.float64),
        weight=weight,
        score=torch.where(drawn == 0, undrawn, weight * (reward - 0.4)),
        draws=float(N.max()),
    )


def exact(algorithm: Algorithm, *, dtype: torch.dtype = torch.float64) -> Case:
    """Every arm a candidate, weighted by its probability: nothing is drawn."""
    case = tallied(algorithm, seed=5, dtype=dtype)
    weight = case.groups.old_logp.squeeze(-1).exp()
    groups = dataclasses.replace(case.groups, weight=weight, score=case.groups.reward, draws=float("inf"))
    return Case("exact updates", groups, case.logp)


def _case(
    name: str, dtype: torch.dtype, rng: torch.Generator, *, logp: Tensor, draws: float, **fields: Tensor | None
) -> Case:
    old_logp, reward, weight = fields["old_logp"], fields["reward"], fields["weight"]
    assert old_logp is not None  # noqa: S101 - for the type checker
    assert reward is not None  # noqa: S101 - the same
    assert weight is not None  # noqa: S101 - the same
    fields["ref_logp"] = old_logp - 0.1
    fields["rollout_logp"] = old_logp + 0.3 * old_logp.cos()  # of a sampler that has not pi_old's probabilities
    fields["uniform"] = torch.rand(old_logp.shape, generator=rng, dtype=torch.float64)
    fields["entropy"] = 0.7 * torch.rand(old_logp.shape, generator=rng, dtype=torch.float64)
    fields["value"] = 0.5 + 0.4 * old_logp.sin()
    fields["rewards"] = torch.stack([reward, reward.square() - 0.2 * old_logp[..., 0].sin()], -1)
    fields["greedy_reward"] = 0.5 * (weight * reward).sum(-1)
    typed = {name: None if x is None else x.to(dtype) for name, x in fields.items()}
    label = torch.randint(reward.shape[-1], reward.shape[:2], generator=rng)
    task_index = torch.arange(reward.shape[1]).expand(S, -1) % 3
    groups = CandidateGroups(**typed, draws=draws, label=label, task_index=task_index, progress=0.25)  # type: ignore[arg-type]
    return Case(name, groups, logp.to(dtype))


def cases(algorithm: Algorithm, dtype: torch.dtype = torch.float64) -> Iterator[Case]:
    """Every kind of groups that a task may give the algorithm."""
    yield sequences(algorithm, dtype=dtype)
    for reward in (0.0, 1.0):
        yield sequences(algorithm, flat=reward, dtype=dtype)
    far = sequences(algorithm, seed=1, by=FAR, dtype=dtype)
    yield dataclasses.replace(far, name=f"log-ratios of {FAR:g}")
    yield dataclasses.replace(sequences(algorithm, seed=2, contexts=1, dtype=dtype), name="a batch of one context")
    yield tallied(algorithm, dtype=dtype)
    yield exact(algorithm, dtype=dtype)
    if algorithm.compares == "nothing":
        yield sequences(algorithm, seed=3, candidates=1, dtype=dtype)


def with_token_rewards(algorithm: Algorithm) -> Iterator[Case]:
    """The same where every token has a reward; an algorithm that compares nothing sees single answers."""
    for flat in (None, 0.0, 1.0):
        yield sequences(algorithm, dense=True, flat=flat, candidates=1 if algorithm.compares == "nothing" else K)


def prepared(algorithm: Algorithm, case: Case) -> Case:
    """The case as the modifiers of an algorithm leave it."""
    return dataclasses.replace(case, groups=algorithm.prepare(case.groups, {})) if algorithm.modifiers else case


def ask(algorithm: Algorithm, case: Case) -> Answer:
    """The algorithm's answer to a case.

    Raises:
        Broken: a part raised, or gave no tensor of its shape.
    """
    groups = prepared(algorithm, case).groups
    credit = answer_of(algorithm, "credit", case, lambda r: r.credit_for(groups))
    keep = None
    if algorithm.keep is not None:
        keep = answer_of(algorithm, "keep", case, lambda r: r.keep_for(groups))
    leaf = case.logp.detach().clone().requires_grad_()
    loss = answer_of(algorithm, "fit", case, lambda r: r.loss(leaf, groups, credit))
    if not loss.requires_grad:
        what = "gives a loss that does not depend on logp, so it has no gradient"
        raise Broken(Breach("fit", what, "compute it from logp, without .detach(), .item(), numpy or torch.no_grad()"))
    try:
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    except RuntimeError as error:
        what = f"cannot be differentiated: {line_of(error)}"
        raise Broken(Breach("fit", what, "write it in torch operations, none of them in place")) from error
    return Answer(credit, keep, loss.detach(), gradient)


def answer_of(algorithm: Algorithm, where: str, case: Case, call: Callable[[Algorithm], Tensor]) -> Tensor:
    """What a part of the algorithm answers.

    Raises:
        Broken: it raised, or gave no tensor of its shape.
    """
    try:
        return call(algorithm)
    except TpobenchError as error:
        what = str(error).removeprefix(f"algorithm '{algorithm.name}': {where} ")
        raise Broken(Breach(where, f"{what}, where (S, B, K, T) = {tuple(case.logp.shape)}", SHAPES[where])) from error
    except Exception as error:
        undeclared = _undeclared(algorithm, call)
        if undeclared:
            fields = ", ".join(f"'{name}'" for name in undeclared)
            what = f"reads groups.{' and groups.'.join(undeclared)}, which the algorithm does not declare"
            raise Broken(Breach(where, what, f"write needs=frozenset({{{fields}}}) in Algorithm(...)")) from error
        what = f"raises on {case.name}: {line_of(error)}"
        raise Broken(Breach(where, what, f"write it for logp of shape {tuple(case.logp.shape)}")) from error


SHAPES = {
    "credit": "give one number for every candidate, in torch, such as groups.advantage",
    "fit": "sum over tokens and candidates only: (groups.weight * (x * groups.mask).sum(-1)).sum(-1)",
    "keep": "give one number for every context",
}


def _undeclared(algorithm: Algorithm, call: Callable[[Algorithm], Tensor]) -> tuple[str, ...]:
    """The fields without which a part raises, and which the algorithm does not declare."""
    for names in (*((name,) for name in ON_REQUEST), ON_REQUEST):
        extra = tuple(name for name in names if name not in algorithm.needs)
        try:
            call(dataclasses.replace(algorithm, needs=algorithm.needs | set(extra)))
        except Exception:  # noqa: BLE001, S112 - then that was not it
            continue
        return extra
    return ()


def differences(
    one: Answer,
    other: Answer,
    select: Callable[[Tensor], Tensor] = lambda x: x,
    align: Callable[[Tensor], Tensor] = lambda x: x,
    tolerance: float = 0.0,
) -> Iterator[tuple[str, float]]:
    """The first part of an algorithm whose numbers are not the same in two answers, and by how much they differ.

    `select` is applied to the numbers of `one`, `align` to those of `other`.  A part is at fault only while what it is
    given is the same, so the first one is named alone.
    """
    for where, numbers in one.parts.items():
        for a, b in zip(numbers, other.parts[where], strict=True):
            difference = (select(a).double() - align(b).double()).abs()
            bound = tolerance * (1 + select(a).double().abs())
            if bool((difference > bound).any()):
                yield where, float(difference.max())
                return
