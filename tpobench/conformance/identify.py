"""Which credit, aggregation and fit of the catalogue a function computes, and by which conventions it differs.

First on the snapshot, where nothing is clipped and few fits differ, which leaves few credits; then on every batch, with
the values that hyperparameters may have.  What is named has the function's gradient on every batch up to 1e-6; what has
not is not named.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.credit import baseline_advantage
from tpobench.algorithms.fit import policy_gradient
from tpobench.algorithms.trial import Case
from tpobench.conformance import conventions, parts
from tpobench.conformance.cases import JOINT, SINGLE, cases, fine, on_policy, stacked
from tpobench.conformance.conventions import Scale, Variant, explained
from tpobench.conformance.parts import AGGREGATIONS, SUM, Bench, Parts, Setting

EQUAL = 1e-6  # relative difference of gradients, in float64
EQUAL_SINGLE = 2e-5  # the same where a function computes in float32
NOTHING = 1e-26  # the square of a gradient that is rounding
HOW = (SUM, *AGGREGATIONS)
PLAIN = Variant("")


@dataclass(frozen=True)
class Match:
    """Parts whose gradient is the function's, with what else has to be said."""

    parts: Parts
    scale: Scale
    penalty: str = ""
    coefficient: float = 0.0
    weight: str = ""  # a modifier
    variant: str = ""

    @property
    def complexity(self) -> tuple[int, float]:
        """What is said first is what takes fewest words."""
        more = 3 * bool(self.penalty) + 3 * bool(self.weight) + 3 * bool(self.variant)
        chosen = [(s, name, value) for s in (self.parts.credit, self.parts.fit) for name, value in s.hyper]
        unusual = sum(value != parts.keyword_only(s.function)[name] for s, name, value in chosen)
        hyper = (not self.parts.names) + HOW.index(self.parts.aggregation) / 10 + unusual / 100
        return self.scale.complexity + more, hyper

    @property
    def differences(self) -> tuple[str, ...]:
        """What the parts do not say."""
        penalty = f"plus {self.coefficient:.6g} times a {self.penalty}" if self.penalty else ""
        weight = f"tokens weighed as by the modifier {self.weight}" if self.weight else ""
        return tuple(filter(None, (self.variant, penalty, weight, self.scale.text)))

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms of the catalogue that it is, where nothing else has to be said."""
        plain = () if self.differences and not (self.weight and len(self.differences) == 1) else self.parts.names
        return tuple(f"{name}+{self.weight}" if self.weight else name for name in plain)


@dataclass(frozen=True)
class Identity:
    """What a function computes: nothing, one thing, or several that the batches do not tell apart."""

    matches: tuple[Match, ...] = ()
    value_of: Match | None = None  # what has its loss, with another gradient
    nearest: tuple[tuple[Parts, float], ...] = ()  # and how far off
    tried: int = 0

    @property
    def known(self) -> bool:
        """Whether it has a name."""
        return bool(self.matches)


@dataclass(frozen=True)
class Target:
    """The gradients of a function on the cases it answers, by name, (1, B, K, T), and its losses."""

    gradients: Mapping[str, Tensor]
    losses: Mapping[str, float]
    handed: bool  # advantages that are ours
    constants: tuple[float, ...] = ()
    tolerance: float = EQUAL
    advantages_only: bool = False

    def on(self, stack: Case) -> Tensor:
        """Its gradient on stacked cases, nan on those it does not answer: (S, B, K, T)."""
        none = torch.full_like(stack.logp[:1], torch.nan)
        return torch.cat([self.gradients.get(name, none) for name in stack.name.split(JOINT)])


class Problem:
    """Cases of one kind, and the candidates on them: made once for all functions."""

    def __init__(self, of: Sequence[Case], variant: Variant) -> None:
        stacks = [variant.case(stack) for stack in stacked(of)]
        if variant.mirrored:  # exp(log pi_old - log pi), whose gradient has the other sign
            stacks = [dataclasses.replace(s, logp=2 * s.groups.old_logp - s.logp) for s in stacks]
        self.sign = -1 if variant.mirrored else 1
        self.stacks, self.bench = stacks, Bench(stacks)
        by_name = {case.name: case for case in of}
        self.cases = [by_name[name] for stack in stacks for name in stack.name.split(JOINT)]
        self.factors = [torch.stack([parts.factor(name, s.groups) for name in HOW]).flatten(2) for s in stacks]

    @cached_property
    def penalties(self) -> list[Tensor]:
        """(J, S, rows, T) on each stack."""
        of = conventions.PENALTIES.values()
        return [self.sign * torch.stack([penalty(s) for penalty in of]).flatten(2, 3) for s in self.stacks]

    @cached_property
    def weights(self) -> dict[str, list[Tensor]]:
        """Modifier -> token weights (S, rows, T) on each stack."""
        each = [dict(conventions.weights(stack)) for stack in self.stacks]
        return {name: [of[name].flatten(1, 2) for of in each] for name in each[0]}

    @cached_property
    def classes(self) -> dict[Setting, tuple[Setting, ...]]:
        """The fits by the gradient they have here, as two credits show."""
        probes = [Setting(baseline_advantage), Setting(baseline_advantage, zero_baseline=True)]
        members: dict[Setting, list[Setting]] = {}
        seen: dict[Setting, Tensor] = {}
        for fit in parts.fits():
            gradient = torch.cat([self.rows(0, probe, fit).flatten() for probe in probes])  # type: ignore[union-attr]
            same = next((f for f, x in seen.items() if torch.allclose(x, gradient, rtol=1e-9, atol=1e-12)), fit)
            members.setdefault(same, []).append(fit)
            seen.setdefault(same, gradient)
        return {fit: tuple(same) for fit, same in members.items()}

    def rows(self, i: int, credit: Setting, fit: Setting) -> Tensor | None:
        """A candidate's gradient on stack i, (S, rows, T)."""
        gradient = self.bench.gradient(i, credit, fit)
        return None if gradient is None else self.sign * gradient.flatten(1, 2)


Pair = tuple[Setting, Setting]  # a credit and a fit
Kind = Callable[["Search", Iterable[Pair]], "list[Match]"]


@lru_cache
def problem(of: str, *, handed: bool, variant: Variant = PLAIN) -> Problem:
    """The cases at the snapshot, all, or the fine one; with advantages that are ours as the reward, and no baseline."""
    chosen = {"snapshot": on_policy(), "all": all_but_fine(), "fine": (fine(),)}[of]
    if variant.case is not PLAIN.case:  # of a single token no mask can be shifted
        chosen = tuple(case for case in chosen if case.logp.shape[-1] > 1)
    return Problem([as_handed(case) for case in chosen] if handed else chosen, variant)


def all_but_fine() -> tuple[Case, ...]:
    """What a name must hold on; single answers are judged apart, for there conventions part."""
    return tuple(case for case in cases() if case.name not in {SINGLE, fine().name})


@lru_cache
def usual_credit() -> Setting:
    """The z-scores that are handed over where no algorithm is named."""
    return parts.parts_of(ALGORITHMS["grpo_trl"]).credit


def as_handed(case: Case) -> Case:
    """The case in which the usual advantages are the reward."""
    A = usual_credit().credit(case.groups)
    return case.but(reward=A, score=A, baseline=torch.zeros_like(A[:, :1, :1]))


# ---- least squares, of many candidates G (M, S, rows, T) and every aggregation (A, S, rows) at once


def _relative(tt: Tensor, explained_part: Tensor) -> Tensor:
    return ((tt - explained_part).clamp_min(0) / tt.clamp_min(NOTHING)).sqrt()


def _solve(t: Tensor, G: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """a and the relative residual of t = a f G, (M, A, S); a is nan where both are nothing."""
    tt = t.square().sum((-1, -2))
    cc = torch.einsum("msr,asr->mas", G.square().sum(-1), factors.square())
    ct = torch.einsum("msr,asr->mas", (G * t).sum(-1), factors)
    nothing, empty = tt <= NOTHING, cc <= NOTHING
    a = ct / torch.where(empty, 1.0, cc)
    off = torch.where(empty, 1.0, _relative(tt, a * ct))
    off = torch.where(nothing, torch.where(empty, 0.0, 1.0), off)
    return torch.where(nothing | empty, torch.nan, a), off


def _solve_two(t: Tensor, G: Tensor, P: Tensor, factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a, b and the relative residual of t = a f G + b f P, (M, A, J, S); nan where a case does not tell."""
    square = factors.square()
    tt = t.square().sum((-1, -2))
    cc = torch.einsum("msr,asr->mas", G.square().sum(-1), square).unsqueeze(2)
    pp = torch.einsum("jsr,asr->ajs", P.square().sum(-1), square)
    cp = torch.einsum("mjsr,asr->majs", torch.einsum("msrt,jsrt->mjsr", G, P), square)
    ct = torch.einsum("msr,asr->mas", (G * t).sum(-1), factors).unsqueeze(2)
    pt = torch.einsum("jsr,asr->ajs", (P * t).sum(-1), factors)
    no_c, no_p = cc <= NOTHING, pp <= NOTHING
    det = cc * pp - cp * cp
    both = ~no_c & ~no_p & (det > 1e-9 * cc * pp)
    safe = torch.where(both, det, 1.0)
    alone = ct / torch.where(no_c, 1.0, cc)
    a = torch.where(both, (ct * pp - pt * cp) / safe, alone)
    b = torch.where(both, (pt * cc - ct * cp) / safe, torch.where(no_c, pt / torch.where(no_p, 1.0, pp), 0.0))
    off = torch.where(tt <= NOTHING, torch.where(no_c & no_p, 0.0, 1.0), _relative(tt, a * ct + b * pt))
    solvable = both & (tt > NOTHING)
    return torch.where(solvable, a, torch.nan), torch.where(solvable, b, torch.nan), off


class Search:
    """Candidates held against one function on one problem."""

    def __init__(self, target: Target, of: Problem) -> None:
        self.of, self.tolerance = of, target.tolerance
        targets = [target.on(stack).flatten(1, 2) for stack in of.stacks]
        self.answered = [t.flatten(1).isfinite().all(-1) for t in targets]
        self.targets = [t.nan_to_num(nan=0.0) for t in targets]
        self.tried = 0
        self.near: list[tuple[float, Parts]] = []

    def plain(self, pairs: Iterable[Pair], weight: str = "") -> list[Match]:
        """Pairs and aggregations with its gradient, up to a scale for each case that can be explained."""
        alive, scales = list(dict.fromkeys(pairs)), {}  # type: ignore[var-annotated]
        for i, (t, answered) in enumerate(zip(self.targets, self.answered, strict=True)):
            alive, G = self._block(i, alive, weight)
            if not alive:
                return []
            a, off = _solve(t, G, self.of.factors[i])
            worst = torch.where(answered, off, 0.0).amax(-1)  # (M, A)
            if i == 0:
                self._note(alive, worst)
                scales = {(pair, j): [] for pair in alive for j in range(len(HOW))}
            for m, pair in enumerate(alive):
                for j in range(len(HOW)):
                    if float(worst[m, j]) > self.tolerance or (j and pair[0].scaled):
                        scales.pop((pair, j), None)
                    elif (pair, j) in scales:
                        scales[pair, j] += torch.where(answered, a[m, j], torch.nan).tolist()
            alive = list(dict.fromkeys(pair for pair, _ in scales))
        return [Match(Parts(*pair, HOW[j]), scale, weight=weight) for (pair, j), of in scales.items()
                if pair in alive and (scale := explained(of, self.of.cases))]  # fmt: skip

    def penalised(self, pairs: Iterable[Pair]) -> list[Match]:
        """The same with a penalty, of one coefficient in every case."""
        alive, solved = list(dict.fromkeys(pairs)), {}  # type: ignore[var-annotated]
        for i, (t, answered) in enumerate(zip(self.targets, self.answered, strict=True)):
            alive, G = self._block(i, alive)
            if not alive:
                return []
            a, b, off = _solve_two(t, G, self.of.penalties[i], self.of.factors[i])
            good = torch.where(answered, off, 0.0).amax(-1) <= self.tolerance  # (M, A, J)
            self.tried += good.numel() if i == 0 else 0
            matches = {(alive[m], j, p): (torch.where(answered, a[m, j, p], torch.nan).tolist(),
                                       torch.where(answered, b[m, j, p], torch.nan).tolist())
                    for m, j, p in good.nonzero().tolist()}  # fmt: skip
            solved = matches if i == 0 else {k: (solved[k][0] + x, solved[k][1] + y) for k, (x, y) in matches.items()
                                          if k in solved}  # fmt: skip
            alive = list(dict.fromkeys(pair for pair, _, _ in solved))
        return [m for (pair, j, p), (a, b) in solved.items() if (m := self._with_penalty(pair, j, p, a, b))]

    def _with_penalty(self, pair: Pair, j: int, p: int, a: list[float], b: list[float]) -> Match | None:
        quotients = [y / x for x, y in zip(a, b, strict=True) if math.isfinite(x) and x]
        scale = explained(a, self.of.cases)
        if not scale or not quotients or max(quotients) - min(quotients) > 1e-4 * abs(quotients[0]):
            return None
        coefficient = sorted(quotients)[len(quotients) // 2]
        name = tuple(conventions.PENALTIES)[p]
        return Match(Parts(*pair, HOW[j]), scale, name, coefficient) if abs(coefficient) > 1e-7 else None

    def _block(self, i: int, pairs: list[Pair], weight: str = "") -> tuple[list[Pair], Tensor]:
        """The gradients (M, S, rows, T) of the pairs that have one on stack i."""
        each = {pair: g for pair in pairs if (g := self.of.rows(i, *pair)) is not None}
        G = torch.stack(list(each.values())) if each else torch.empty(0)
        return list(each), G * self.of.weights[weight][i] if weight and each else G

    def _note(self, pairs: list[Pair], worst: Tensor) -> None:
        self.tried += worst.numel()
        off, how = worst.min(-1)
        self.near += [(float(o), Parts(*pair, HOW[int(h)])) for pair, o, h in zip(pairs, off, how, strict=True)]


# ---- the search


def identify(target: Target) -> Identity:
    """What a function computes, by the gradients it has on every batch."""
    near: list[tuple[float, Parts]] = []
    tried = 0
    for variant in (PLAIN, *conventions.VARIANTS):
        stages = Stages(target, variant)
        matches = stages.matches()
        tried += stages.tried
        near = near or sorted(stages.near, key=lambda n: n[0])
        if matches:
            return Identity(tuple(sorted(_distinct(matches), key=lambda m: m.complexity)), tried=tried)
    value = next(iter(_same_value(target)), None)
    return Identity((), value, tuple((p, off) for off, p in near[:3]), tried)


def _distinct(matches: list[Match]) -> list[Match]:
    """Those of which least has to be said, each once."""
    least = min(m.complexity[0] for m in matches)
    return list({m.parts.filled: m for m in matches if m.complexity[0] == least}.values())


class Stages:
    """On the snapshot, then on all batches, then where clipping begins; alone, with a penalty, then weighed."""

    def __init__(self, target: Target, variant: Variant) -> None:
        self.target, self.variant = target, variant
        screen = variant if variant.case is not PLAIN.case else PLAIN  # signs do not show on the snapshot
        self.snapshot, self.all, self.fine = (
            Search(target, problem(of, handed=target.handed, variant=v))
            for of, v in (("snapshot", screen), ("all", variant), ("fine", variant))
        )
        self.few = variant.case is not PLAIN.case
        credited = parts.credit_settings(handed=target.handed, constants=target.constants, few=self.few)
        classes = [Setting(policy_gradient)] if target.advantages_only else list(self.snapshot.of.classes)
        pairs = [] if target.advantages_only else [(p.credit, p.fit) for p in parts.wholes()]
        if target.handed:  # of the credit only its scale is left
            pairs = [
                (dataclasses.replace(Setting(baseline_advantage), scaled=c.scaled), f) for c, f in pairs if c.scaled
            ]
        self.pairs = [*itertools.product(credited, classes), *pairs]

    @property
    def tried(self) -> int:
        """Combinations, aggregations counted."""
        return self.snapshot.tried + self.all.tried

    @property
    def near(self) -> list[tuple[float, Parts]]:
        """Combinations and how far off they are."""
        return self.all.near or self.snapshot.near

    def matches(self) -> list[Match]:
        """Those of the first stage that has any."""
        kinds: list[Kind] = [Search.plain]
        if self.variant is PLAIN and not self.target.advantages_only:
            kinds += [Search.penalised, *(partial(Search.plain, weight=w) for w in self.snapshot.of.weights)]
        return next((matches for kind in kinds if (matches := self._through(kind))), [])

    def _through(self, kind: Kind) -> list[Match]:
        survivors = {(m.parts.credit, m.parts.fit): None for m in kind(self.snapshot, self.pairs)}
        pairs = [pair for credit, fit in survivors for pair in self._refined(credit, fit)]
        last = kind(self.fine, [(m.parts.credit, m.parts.fit) for m in kind(self.all, pairs)])
        agreeing = {(m.parts, m.penalty) for m in last}
        return [self._named(m) for m in kind(self.all, [(m.parts.credit, m.parts.fit) for m in last])
                if (m.parts, m.penalty) in agreeing or not bool(self.fine.answered[0].all())]  # fmt: skip

    def _refined(self, credit: Setting, fit: Setting) -> Iterator[Pair]:
        """A credit with every fit that is this one on the snapshot, at all values of its hyperparameters."""
        credit = dataclasses.replace(credit, negative=self.variant.negative)
        if self.target.advantages_only:
            yield credit, fit
            return
        constants = () if self.few else self.target.constants
        for member in self.snapshot.of.classes.get(fit, (fit,)):
            yield from ((credit, each) for each in parts.refined(member, constants))

    def _named(self, match: Match) -> Match:
        credit = dataclasses.replace(match.parts.credit, negative=False)
        named = dataclasses.replace(match, parts=dataclasses.replace(match.parts, credit=credit))
        if not self.variant.negative or match.scale.factor > 0:
            return dataclasses.replace(named, variant=self.variant.text)
        scale = dataclasses.replace(match.scale, factor=-match.scale.factor)
        return dataclasses.replace(named, variant=conventions.WRONG_SIDE, scale=scale)


def _same_value(target: Target) -> Iterator[Match]:
    """Candidates that have its loss on every batch, whatever their gradient."""
    of = problem("all", handed=target.handed)
    for credit in parts.credit_settings(handed=target.handed, constants=target.constants):
        for fit, how in itertools.product(parts.fits(), HOW):
            if all(_has_losses(target, credit, fit, how, stack) for stack in of.stacks):
                yield Match(Parts(credit, fit, how), Scale(1.0))


def _has_losses(target: Target, credit: Setting, fit: Setting, how: str, stack: Case) -> bool:
    losses = [target.losses.get(name, math.nan) for name in stack.name.split(JOINT)]
    theirs = torch.tensor(losses, dtype=torch.float64)
    known = theirs.isfinite()
    A, by = credit.credit(stack.groups), parts.factor(how, stack.groups)
    try:
        with torch.no_grad():
            A = A * (by.unsqueeze(-1) if A.dim() == 4 else by)
            ours = fit.function(stack.logp, stack.groups, A, **dict(fit.hyper)).mean(1)
    except RuntimeError:
        return False
    size = 1e-6 * theirs[known].abs().amax() if bool(known.any()) else 0.0
    return bool(known.any()) and bool(((ours - theirs)[known].abs() <= size + 1e-12).all())
