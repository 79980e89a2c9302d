"""What every algorithm promises, tried on tiny groups before it trains: no suite, no data, a fraction of a second.

A promise that is broken makes an algorithm's numbers wrong without a word (seeds that leak into each other, padding
that counts), so the algorithm is refused.  A limit is loud where it is met, and only told: groups of a kind that the
algorithm raises on, ratios at which it overflows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.groups import ROUNDING, contributing
from tpobench.algorithms.promises import Breach, Broken, Promise, PromiseResult, name_of, try_promises
from tpobench.algorithms.trial import (
    PER_CANDIDATE,
    PER_CONTEXT,
    PER_TOKEN,
    Answer,
    Case,
    K,
    S,
    answer_of,
    ask,
    cases,
    differences,
    prepared,
    sequences,
    tallied,
    with_token_rewards,
)

EXTREME = 200.0  # log-ratios that nobody should meet


def _answers(algorithm: Algorithm) -> Iterator[Breach]:
    for case in cases(algorithm):
        yield from _typed(ask(algorithm, case), case)
    yield from _typed(
        ask(algorithm, sequences(algorithm, dtype=torch.float32)), sequences(algorithm, dtype=torch.float32)
    )


def _typed(answer: Answer, case: Case) -> Iterator[Breach]:
    dtype = case.logp.dtype
    for where, value in (("credit", answer.credit), ("fit", answer.loss)):
        if value.dtype != dtype:
            what = f"gives {name_of(value.dtype)} for groups of {name_of(dtype)}"
            remedy = "stay in the groups' own type: .to(groups.reward.dtype), and torch.full_like for constants"
            raise Broken(Breach(where, what, remedy))
    if answer.credit.requires_grad:
        raise Broken(Breach("credit", "carries a gradient", "credit is a constant of the update: .detach() it"))
    yield from ()


def _finite(algorithm: Algorithm) -> Iterator[Breach]:
    for dtype in (torch.float64, torch.float32):
        for case in (*cases(algorithm, dtype), *_possible(algorithm, with_token_rewards(algorithm))):
            if breach := _nonfinite(algorithm, case):
                yield breach
                return


def _nonfinite(algorithm: Algorithm, case: Case) -> Breach | None:
    answer = ask(algorithm, case)
    for where, numbers in answer.parts.items():
        for value, what in zip(numbers, ("", " in its gradient"), strict=False):
            if not bool(value.isfinite().all()):
                kind = "nan" if bool(value.isnan().any()) else "inf"
                reward = case.groups.reward[
                    ~value.isfinite().flatten(2).all(-1) if value.dim() > 2 else ~value.isfinite()
                ]
                flat = where == "credit" and bool((reward.amax(-1) == reward.amin(-1)).all())
                place = "a group of equal rewards" if flat else case.name
                return Breach(where, f"gives {kind}{what} on {place}", FLAT if flat else OVERFLOW)
    return None


FLAT = (
    "groups of equal rewards are common, and their deviation is 0: use "
    "tpobench.algorithms.groups.standardize(groups.reward, groups.weight), which gives 0 there"
)
OVERFLOW = (
    "bound what is exponentiated, such as (logp - groups.old_logp).clamp(-20, 20).exp(), and keep 0 out of divisions, "
    "roots and logarithms"
)


def _seeds(algorithm: Algorithm) -> Iterator[Breach]:
    for case, other in _kinds(algorithm):
        names = (*PER_CANDIDATE, *PER_CONTEXT)
        mixed = {n: _from_seed_1(getattr(case.groups, n), getattr(other.groups, n)) for n in names}
        changed = dataclasses.replace(case.but(**mixed), logp=torch.cat([case.logp[:1], other.logp[1:]]))
        for where, by in differences(ask(algorithm, case), ask(algorithm, changed), _first, _first):
            what = f"mixes seeds: for seed 0 it changes by {by:.2g} when only other seeds' groups change"
            yield Breach(where, what, SEEDS)
            return
        alone = case.each(_first, (*names, "baseline"))
        for where, by in differences(ask(algorithm, case), ask(algorithm, alone), _first, tolerance=ROUNDING):
            yield Breach(where, f"depends on how many seeds are trained side by side: it changes by {by:.2g}", SEEDS)
            return


SEEDS = (
    "reduce over candidates, .mean(-1, keepdim=True), or over the batch of each seed, .mean((1, 2), keepdim=True), "
    "never over all"
)


def _first(x: Tensor) -> Tensor:
    return x[:1]


def _from_seed_1(x: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if x is None or other is None else torch.cat([x[:1], other[1:]])


def _kinds(algorithm: Algorithm) -> Iterator[tuple[Case, Case]]:
    """Two batches of each kind of groups that the algorithm can take."""
    yield sequences(algorithm), sequences(algorithm, seed=1)
    yield tallied(algorithm), tallied(algorithm, seed=1)
    several = 1 if algorithm.compares == "nothing" else K
    if dense := [*_possible(algorithm, (sequences(algorithm, dense=True, seed=s, candidates=several) for s in (0, 1)))]:
        yield dense[0], dense[-1]


def _possible(algorithm: Algorithm, cases: Iterable[Case]) -> Iterator[Case]:
    """The cases that the algorithm does not raise on: those it does are a limit of it, told elsewhere."""
    for case in cases:
        try:
            ask(algorithm, case)
        except Broken:
            continue
        yield case


def _candidates(algorithm: Algorithm) -> Iterator[Breach]:
    for case, _ in _kinds(algorithm):
        order = torch.arange(case.logp.shape[2]).roll(1).flip(0)
        permuted = case.each(lambda x, o=order: x[:, :, o], PER_CANDIDATE)  # type: ignore[misc]
        assert permuted.groups.label is not None  # noqa: S101 - all cases have labels
        permuted = permuted.but(label=order.argsort()[permuted.groups.label])

        def reordered(x: Tensor, o: Tensor = order) -> Tensor:
            x = x[:, :, o] if x.dim() > 2 else x
            return x[..., o] if over_pairs(algorithm, x) else x

        for where, by in differences(ask(algorithm, case), ask(algorithm, permuted), reordered, tolerance=ROUNDING):
            what = f"depends on the order of the candidates: it changes by {by:.2g} when they are permuted"
            remedy = (
                "treat all alike; argmax, sort and topk take the first of equal ones: x == x.amax(-1, keepdim=True)"
            )
            yield Breach(where, what, remedy)
            return


ORDER = "treat all alike; argmax, sort and topk take the first of equal ones: write x == x.amax(-1, keepdim=True)"


def over_pairs(algorithm: Algorithm, x: Tensor) -> bool:
    """Whether it is a credit (S, B, K, K); trial groups have other numbers of tokens than of candidates."""
    return algorithm.credit_is == "pairs" and x.dim() == 4 and x.shape[2] == x.shape[3]


def _contexts(algorithm: Algorithm) -> Iterator[Breach]:
    for case, _ in _kinds(algorithm):
        order = torch.arange(case.logp.shape[1]).roll(1).flip(0)

        def reordered(x: Tensor, o: Tensor = order) -> Tensor:
            return x[:, o]

        permuted = case.each(reordered, (*PER_CANDIDATE, *PER_CONTEXT))
        for where, by in differences(ask(algorithm, case), ask(algorithm, permuted), reordered, tolerance=ROUNDING):
            what = f"depends on the order of the contexts: it changes by {by:.2g} when they are permuted"
            yield Breach(where, what, "treat all alike; what spans a batch must not depend on its order")
            return


def _masked(algorithm: Algorithm) -> Iterator[Breach]:
    for case, _ in _kinds(algorithm):
        groups, padding = case.groups, case.groups.mask == 0
        refilled = case.each(lambda x, p=padding: torch.where(p, -3.0, x.double()), PER_TOKEN)  # type: ignore[misc]
        one, other = ask(algorithm, case), ask(algorithm, refilled)

        def real(x: Tensor, mask: Tensor = groups.mask) -> Tensor:
            return x * mask if x.dim() == 4 and not over_pairs(algorithm, x) else x

        for where, by in differences(one, other, real, real):
            yield Breach(where, f"counts masked tokens: it changes by {by:.2g} when log-probs of padding do", MASK)
            return
        if bool((one.gradient[padding] != 0).any()):
            yield Breach(
                "fit", f"moves masked tokens: their gradient is {float(one.gradient[padding].abs().max()):.2g}", MASK
            )
            return


MASK = (
    "sum over tokens with the mask: (x * groups.mask).sum(-1), or "
    "tpobench.algorithms.groups.sequence_logp(logp, groups.mask)"
)


def _undrawn(algorithm: Algorithm) -> Iterator[Breach]:
    for seed in (0, 1):
        one, other = (ask(algorithm, tallied(algorithm, seed=seed, undrawn=reward)) for reward in (1.0, -7.0))
        for where, by in differences(one, other):
            what = f"uses the reward of candidates that nobody drew: it changes by {by:.2g} when these do"
            yield Breach(where, what, "look at candidates of groups.weight > 0 only")
            return


def _in_place(algorithm: Algorithm) -> Iterator[Breach]:
    for case, _ in _kinds(algorithm):
        groups, logp = case.groups, case.logp.clone().requires_grad_()
        fields = {f.name: getattr(groups, f.name) for f in dataclasses.fields(groups)}
        watched = {f"groups.{name}": x for name, x in fields.items() if isinstance(x, Tensor)}
        originals = {name: x.clone() for name, x in watched.items()}
        groups = prepared(algorithm, case).groups
        if breach := _written("prepare", watched, originals):
            yield breach
            return
        credit = algorithm.credit_for(groups)
        if breach := _written("credit", watched, originals):
            yield breach
            return
        algorithm.keep_for(groups)
        if breach := _written("keep", watched, originals):
            yield breach
            return
        watched |= {"credit": credit, "logp": logp.detach()}
        originals |= {"credit": credit.clone(), "logp": case.logp}
        algorithm.loss(logp * 1, groups, credit)
        if breach := _written("fit", watched, originals):
            yield breach
            return


def _written(where: str, watched: Mapping[str, Tensor], originals: Mapping[str, Tensor]) -> Breach | None:
    for name, value in originals.items():
        if not torch.allclose(watched[name], value, rtol=0, atol=0, equal_nan=True):
            remedy = "later epochs and every metric read it: make a new tensor, without a trailing _ or out="
            return Breach(where, f"writes into {name}", remedy)
    return None


def _deterministic(algorithm: Algorithm) -> Iterator[Breach]:
    case, other = sequences(algorithm), sequences(algorithm, seed=1)
    first = ask(algorithm, case)
    ask(algorithm, other)
    for again in (ask(algorithm, case), ask(algorithm, case)):
        for where, by in differences(first, again):
            what = f"answers the same groups differently the next time, by {by:.2g}"
            remedy = "keep nothing between calls and draw no random numbers: a run must be repeatable"
            yield Breach(where, what, remedy)
            return


def _rows(algorithm: Algorithm) -> Iterator[Breach]:
    """Contexts are skipped, and batches cut, with the credit of the whole batch: fit and keep see a part of it."""
    rows = torch.tensor([0, 2])
    for case in (prepared(algorithm, case) for case, _ in _kinds(algorithm)):
        credit = algorithm.credit_for(case.groups)
        part = dataclasses.replace(case, groups=case.groups.rows(rows), logp=case.logp[:, rows])
        if algorithm.keep is not None:
            difference = (
                (algorithm.keep_for(case.groups)[:, rows] * 1.0 - algorithm.keep_for(part.groups) * 1.0).abs().max()
            )
            if difference > ROUNDING:
                yield Breach("keep", f"of a context changes by {float(difference):.2g} when others are not there", ROWS)
                return
        whole = algorithm.loss(case.logp, case.groups, credit)[:, rows]
        try:
            alone = answer_of(algorithm, "fit", part, lambda r, p=part, c=credit: r.loss(p.logp, p.groups, c[:, rows]))  # type: ignore[misc]
        except Broken as error:
            yield error.breach
            return
        difference = ((whole - alone).abs() / (1 + whole.abs())).max()
        if difference > ROUNDING:
            yield Breach("fit", f"of a context changes by {float(difference):.2g} when others are not there", ROWS)
            return


ROWS = "fit and keep may be given a part of a batch: what spans the batch belongs in credit"


def _micro_batches(algorithm: Algorithm) -> Iterator[Breach]:
    """With g = dL/dlogp taken once, back-propagating (logp_b g_b).sum() context by context is the whole gradient."""
    for case in (prepared(algorithm, case) for case, _ in _kinds(algorithm)):
        rng = torch.Generator().manual_seed(4)
        shape = case.logp.shape
        x = torch.randn(*shape, 7, generator=rng, dtype=torch.float64)
        parameter = torch.randn(S, 7, generator=rng, dtype=torch.float64, requires_grad=True)

        def logp(rows: slice, x: Tensor = x, parameter: Tensor = parameter) -> Tensor:
            return torch.nn.functional.logsigmoid(torch.einsum("sbktd,sd->sbkt", x[:, rows], parameter))

        credit = algorithm.credit_for(case.groups)
        (direct,) = torch.autograd.grad(algorithm.loss(logp(slice(None)), case.groups, credit).sum(), parameter)
        leaf = logp(slice(None)).detach().requires_grad_()
        (g,) = torch.autograd.grad(algorithm.loss(leaf, case.groups, credit).sum(), leaf)
        pieces = [(logp(slice(b, b + 1)) * g[:, b : b + 1]).sum() for b in range(shape[1])]
        (micro,) = torch.autograd.grad(torch.stack(pieces).sum(), parameter)
        difference = float(((micro - direct).abs() / (1 + direct.abs())).max())
        if not difference <= ROUNDING:
            what = f"has another gradient when the batch is cut into pieces, by {difference:.2g} in float64"
            yield Breach("fit", what, "write it as a function of logp alone, in torch operations")
            return


def _flat(algorithm: Algorithm) -> Iterator[Breach]:
    """Groups of equal rewards and equal scores are skipped where the algorithm declares that they have no gradient."""
    if algorithm.zero_gradient_on_flat == "never":
        return
    for case in (sequences(algorithm), sequences(algorithm, flat=0.0), sequences(algorithm, flat=1.0)):
        flat = ~contributing(prepared(algorithm, case).groups)
        if not bool(flat.any()):
            continue
        here = ask(algorithm, dataclasses.replace(case, logp=case.groups.old_logp)).gradient[flat].abs().max()
        away = ask(algorithm, case).gradient[flat].abs().max()
        declared = f'and zero_gradient_on_flat is declared "{algorithm.zero_gradient_on_flat}"'
        remedy = 'declare zero_gradient_on_flat="never", or give such groups a credit of exactly 0'
        if here > ROUNDING:
            what = f"has a gradient of {float(here):.2g} on {_flat_name(case)} at the snapshot"
            yield Breach(
                "fit", f'{what}, and zero_gradient_on_flat is declared "{algorithm.zero_gradient_on_flat}"', remedy
            )
            return
        if algorithm.zero_gradient_on_flat == "always" and away > ROUNDING:
            what = f"has a gradient of {float(away):.2g} on {_flat_name(case)} away from the snapshot"
            yield Breach("fit", f"{what}, {declared}", remedy)
            return


def _flat_name(case: Case) -> str:
    return "a group of equal rewards" if case.name.startswith("mixed") else case.name


def _token_rewards(algorithm: Algorithm) -> Iterator[Breach]:
    for case in with_token_rewards(algorithm):
        ask(algorithm, case)
    yield from ()


def _extreme(algorithm: Algorithm) -> Iterator[Breach]:
    for dtype in (torch.float64, torch.float32):
        for flat in (None, 1.0):
            case = sequences(algorithm, dtype=dtype, flat=flat)
            low = case.groups.old_logp.clone()
            low[..., 0], low[:, 1, 0] = -EXTREME, -EXTREME
            for old, logp in ((case.groups.old_logp, low), (low, case.groups.old_logp), (low, low)):
                name = f"log-probs of {-EXTREME:g} in {name_of(dtype)}"
                extreme = dataclasses.replace(case.but(old_logp=old), logp=logp, name=name)
                if breach := _nonfinite(algorithm, extreme):
                    yield breach
                    return


def _default_dtype(algorithm: Algorithm) -> Iterator[Breach]:
    """A constant of torch's default type rounds float64 numbers to float32."""
    case, before = sequences(algorithm), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        single = ask(algorithm, case)
        torch.set_default_dtype(torch.float64)
        double = ask(algorithm, case)
    finally:
        torch.set_default_dtype(before)
    for where, by in differences(double, single):
        what = f"rounds float64 groups to float32: it is off by {by:.2g}"
        yield Breach(where, what, "make constants of the groups' type: torch.full_like(x, 1.05), x.new_tensor(...)")


ANSWERS = Promise("credit is (S, B, K), loss (S, B), both of the groups' type, and the loss has a gradient", _answers)
FIRST = (  # an algorithm that breaks one of these breaks others with it, and is not tried any further
    ANSWERS,
    Promise("groups, credit and log-probs are read, not written", _in_place),
    Promise("the same groups get the same answer: nothing is kept between calls, nothing drawn", _deterministic),
    Promise("everything is finite, on groups that all fail or all succeed too", _finite),
)
CONTRACT = (
    *FIRST,
    Promise("seeds are independent", _seeds),
    Promise("the order of the candidates does not matter", _candidates),
    Promise("the order of the contexts does not matter", _contexts),
    Promise("masked tokens neither count nor move", _masked),
    Promise("rewards of candidates that nobody drew are not used", _undrawn),
    Promise("fit and keep judge each context alone, so that contexts can be skipped", _rows),
    Promise("micro-batches give the whole gradient, in float64 to 1e-12", _micro_batches),
    Promise("zero_gradient_on_flat is as declared", _flat),
)
LIMITS = (
    Promise("it takes rewards for every token", _token_rewards, refuses=False),
    Promise("log-probs of -200 leave everything finite", _extreme, refuses=False),
    Promise("float64 is exact: no constant is float32", _default_dtype, refuses=False),
)


def examine(algorithm: Algorithm, promises: Iterable[Promise[Algorithm]] = (*CONTRACT, *LIMITS)) -> list[PromiseResult]:
    """What becomes of every promise.  Without a finite answer of the right shape the others cannot be tried."""
    return try_promises(algorithm, promises, FIRST)
