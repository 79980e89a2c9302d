"""What every loss should keep, whatever it computes: no reference is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from tpobench.algorithms.promises import Breach, Promise, PromiseResult, try_promises
from tpobench.algorithms.trial import Case
from tpobench.conformance.calls import Answer, Function
from tpobench.conformance.cases import SINGLE, cases, extreme, uneven
from tpobench.conformance.inputs import NUMBERS, TOKENS, Batch, flat
from tpobench.conformance.parts import Setting

EXACT = 1e-9  # relative, of float64 numbers that are summed in another order
COARSE = 0.05  # what bfloat16's 8 bits may cost
COUNTS = frozenset({"batch_tokens", "batch_answers"})  # with either a part of a batch can be scaled as the whole is


@dataclass(frozen=True)
class Subject:
    """A function, and the credit whose advantages it is handed."""

    function: Function
    credit: Setting

    def batch(self, case: Case) -> Batch:
        """A case as the function is handed it."""
        try:
            return flat(case, self.credit.credit(case.groups))
        except RuntimeError:  # of a single answer, where two are compared
            return flat(case, torch.zeros_like(case.groups.reward))

    def ask(self, batch: Batch) -> Answer:
        """Its answer."""
        return self.function.ask(batch)

    def tolerance(self, answer: Answer) -> float:
        """What counts as equal in the precision that it computes in."""
        return EXACT if answer.dtype == torch.float64 else 1e4 * torch.finfo(answer.dtype).eps / 10


def keep(subject: Subject) -> list[PromiseResult]:
    """What becomes of every invariance."""
    counting = bool(subject.function.takes & COUNTS)
    split = "micro-batches and ranks of different token counts add up to the batch"
    promises: list[Promise[Subject]] = [
        Promise("gives finite numbers on every batch", _finite),
        Promise("the same batch gets the same answer, and is read, not written", _same),
        Promise("what stands on padding does not count, and is not moved", _padding),
        Promise("the order of answers does not matter", _order),
        Promise(split, partial(_split, counting=counting), refuses=counting),
        Promise("how far the batch is padded does not matter", _width, refuses=False),
        Promise("single answers (K = 1) give finite numbers", _single, refuses=False),
        Promise("is finite at log-ratios of 200", _extreme, refuses=False),
        Promise("bfloat16 costs no more than its rounding", _bfloat16, refuses=False),
    ]
    return try_promises(subject, promises, promises[:0])


def _off(one: Tensor, other: Tensor) -> float:
    """The difference of two gradients relative to the first; inf where one is not finite."""
    size = float(one.norm())
    difference = float((one - other).norm())
    return difference / max(size, 1e-12) if difference == difference else torch.inf  # noqa: PLR0124 - nan


def _base(subject: Subject) -> tuple[Batch, Answer] | None:
    """The batch on which invariances are tried: the first that the function answers."""
    for case in (c for c in cases() if c.logp.shape[2] > 1 and c.logp.shape[3] > 1):
        batch = subject.batch(case)
        if (answer := subject.ask(batch)).finite and bool((answer.gradient != 0).any()):
            return batch, answer
    return None


def _nonfinite(subject: Subject, case: Case) -> Breach | None:
    answer = subject.ask(subject.batch(case))
    if answer.error:
        return Breach(case.name, f"raises {answer.error}", "answer every batch")
    if answer.finite:
        return None
    reward = case.groups.reward
    flat_group = bool((reward.amax(-1) == reward.amin(-1)).any())
    place = ", which has a group of equal rewards" if flat_group else ""
    remedy = "add an epsilon to the deviation" if flat_group else "keep 0 out of divisions, roots and logarithms"
    return Breach(case.name, f"gives nan or inf on this batch{place}", remedy)


def _finite(subject: Subject) -> Iterator[Breach]:
    breaches = [b for case in cases() if case.name != SINGLE and (b := _nonfinite(subject, case))]
    yield from breaches[:1]
    if len(breaches) > 1:
        yield Breach("and", f"on {len(breaches) - 1} of {len(cases()) - 2} other batches", breaches[1].remedy)


def _single(subject: Subject) -> Iterator[Breach]:
    case = next(case for case in cases() if case.name == SINGLE)
    if breach := _nonfinite(subject, case):
        yield breach


def _extreme(subject: Subject) -> Iterator[Breach]:
    if breach := _nonfinite(subject, extreme()):
        yield Breach(breach.where, "gives nan or inf", "bound log-ratios before exp: (logp - old).clamp(-20, 20)")


def _same(subject: Subject) -> Iterator[Breach]:
    if (base := _base(subject)) is None:
        return
    batch, answer = base
    before = {name: x.clone() for name, x in batch.tensors.items()}
    again = subject.ask(batch)
    for name, x in before.items():
        if not torch.equal(x, batch.tensors[name]):
            yield Breach(name, "is written to", "make a new tensor; what comes after reads it too")
            return
    if (off := _off(answer.gradient, again.gradient)) > 0:
        remedy = "keep nothing between calls and draw no random numbers"
        yield Breach("loss", f"answers the same batch differently the next time, by {off:.2g}", remedy)


def _padding(subject: Subject) -> Iterator[Breach]:
    if (base := _base(subject)) is None:
        return
    batch, answer = base
    masked = batch.tensors["mask"] == 0
    if bool((answer.gradient[masked] != 0).any()):
        yield Breach("mask", "moves masked tokens: their gradient is not 0", MASKED)
        return
    refilled = batch.but(**{name: torch.where(masked, -3.0, x) for name, x in batch.tensors.items() if name in TOKENS})
    if (off := _off(answer.gradient, subject.ask(refilled).gradient)) > subject.tolerance(answer):
        yield Breach("mask", f"counts masked tokens: its gradient changes by {off:.1%} when their log-probs do", MASKED)


MASKED = "multiply by the mask before every sum: (x * mask).sum()"


def _order(subject: Subject) -> Iterator[Breach]:
    if (base := _base(subject)) is None:
        return
    batch, answer = base
    N, K = len(batch.tensors["mask"]), batch.numbers["group_size"]
    index = torch.arange(N).view(-1, K)
    in_groups = subject.function.takes & {"group_size"} or not subject.function.takes & {"group_ids"}
    order = index.flip(0).roll(1, -1).flatten() if in_groups else torch.arange(N).view(K, -1).mT.flatten().flip(0)
    other = subject.ask(batch.rows(order))
    if (off := _off(answer.gradient[order], other.gradient)) > subject.tolerance(answer):
        what = f"depends on the order of the answers: its gradient changes by {off:.1%} when groups are permuted"
        yield Breach("loss", what, "cut no batch into pieces inside; take means over the whole of it")


def _width(subject: Subject) -> Iterator[Breach]:
    if (base := _base(subject)) is None:
        return
    batch, answer = base
    N, T = batch.tensors["mask"].shape

    def wider(name: str, x: Tensor) -> Tensor:
        fill = -1.0 if name in TOKENS else 0.0
        return torch.cat([x, torch.full((N, 3), fill, dtype=x.dtype)], -1) if x.shape == (N, T) else x

    padded = batch.but(**{name: wider(name, x) for name, x in batch.tensors.items()})
    off = _off(torch.cat([answer.gradient, torch.zeros(N, 3)], -1), subject.ask(padded).gradient)
    if off > subject.tolerance(answer):
        what = f"changes by {off:.1%} when the batch is padded by 3 more columns"
        yield Breach("loss", what, "divide by the mask's sum, or by a constant length that it is handed (max_length)")


def _split(subject: Subject, *, counting: bool) -> Iterator[Breach]:
    """Micro-batches are added, ranks averaged, as trainers do; each piece is told the numbers of the whole batch."""
    batch = subject.batch(uneven())
    if subject.ask(batch).error:
        return
    if subject.function.advantage is not None:  # is made of the whole batch before that is cut
        advantages = subject.function.advantage.advantages(batch)
        subject = replace(subject, function=replace(subject.function, advantage=None))
        batch = batch.but(advantages=advantages)
    whole = subject.ask(batch)
    if not whole.finite:
        return
    tolerance = 10 * subject.tolerance(whole)
    for what, number, pieces in (("micro-batches", "accumulation_steps", 2), ("ranks", "world_size", 2)):
        if not counting or (number == "world_size" and number not in subject.function.takes):
            continue
        parts = _pieces(subject, batch.counting(**{number: pieces}), pieces)
        added = torch.cat(parts) / (pieces if number == "world_size" else 1)
        if (off := _off(whole.gradient, added)) > tolerance:
            how = "averaged" if number == "world_size" else "added"
            text = f"of {what} with different token counts, {how}, is {off:.1%} off that of the whole batch"
            yield Breach("gradient", text, SPLIT)
            return
    if not counting and (breach := _averaged(subject, batch, whole, tolerance)):
        yield breach


SPLIT = (
    "divide sums of tokens by the tokens of the whole batch over all micro-batches and ranks (a parameter "
    "num_items_in_batch), times the ranks where their gradients are averaged"
)


def _pieces(subject: Subject, batch: Batch, pieces: int) -> list[Tensor]:
    """The gradients of pieces with whole groups and equally many answers."""
    return [subject.ask(batch.rows(rows)).gradient for rows in torch.arange(len(batch.tensors["mask"])).chunk(pieces)]


def _averaged(subject: Subject, batch: Batch, whole: Answer, tolerance: float) -> Breach | None:
    parts = _pieces(subject, batch, 2)
    tokens = [float(m.sum()) / batch.tokens for m in batch.tensors["mask"].chunk(2)]
    ways = {"added": (1.0, 1.0), "averaged": (0.5, 0.5), "by tokens": tokens}
    off = {way: _off(whole.gradient, torch.cat([w * g for w, g in zip(by, parts, strict=True)]))
           for way, by in ways.items()}  # fmt: skip
    if min(off["added"], off["averaged"]) <= tolerance:
        return None
    averaged = f"averaging micro-batches or ranks of different token counts is {off['averaged']:.1%} off"
    if off["by tokens"] <= tolerance:
        return Breach("gradient", f"is a mean over the tokens it sees: {averaged}", SPLIT)
    what = f"of no weighted mean of micro-batches is that of the batch ({averaged})"
    return Breach("gradient", what, "compute what spans the batch before it is cut, and hand it over")


def _bfloat16(subject: Subject) -> Iterator[Breach]:
    if (base := _base(subject)) is None:
        return
    rounded = base[0].to(torch.bfloat16)
    exact, coarse = subject.ask(rounded.to(torch.float64)), subject.ask(rounded)
    if coarse.error:
        yield Breach("bfloat16", f"raises {coarse.error}", "or convert to float32 inside")
    elif (off := _off(exact.gradient, coarse.gradient.double())) > COARSE:
        yield Breach(
            "bfloat16", f"costs {off:.1%} of the gradient", "convert log-probs to float32 before ratios and sums"
        )


def unused(subject: Subject) -> list[str]:
    """Inputs that it takes and that change nothing, in the order of its parameters."""
    if (base := _base(subject)) is None:
        return []
    batch, answer = base
    rng = torch.Generator().manual_seed(0)

    def another(name: str) -> Batch:
        x = batch.tensors[name]
        order = torch.randperm(len(x), generator=rng)
        noise = 0.5 * torch.randn(x.shape, generator=rng, dtype=torch.float64)
        return batch.but(**{name: x[order] if name in {"group_ids", "mask"} else x + noise.to(x.dtype)})

    def changes(name: str) -> bool:
        other = subject.ask(another(name))
        return bool(other.error) or other.loss != answer.loss or not torch.equal(other.gradient, answer.gradient)

    function = subject.function
    inputs = dict.fromkeys(
        [*function.inputs.values(), *(function.advantage.inputs.values() if function.advantage else ())]
    )
    if function.advantage is not None:
        inputs.pop("advantages", None)  # which it makes itself
    return [name for name in inputs if name not in {*NUMBERS, "log_probs"} and not changes(name)]
