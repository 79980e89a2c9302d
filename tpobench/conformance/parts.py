"""The catalogue taken apart: its credits, aggregations and fits, with the values their hyperparameters may have."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from tpobench.algorithms import aggregation
from tpobench.algorithms.advantages import (
    batch_scaled_reward,
    centered_reward,
    gae_advantage,
    whitened,
    whitened_centered_reward,
)
from tpobench.algorithms.algorithm import Algorithm, Value
from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
from tpobench.algorithms.credit import baseline_advantage, batch_standardized_reward
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.trial import Case
from tpobench.conformance.cases import HANDED, batch

SUM = "token_sum"  # what a fit does by itself
AGGREGATIONS = {a.__name__: a for a in (
    aggregation.token_mean, aggregation.sequence_mean, aggregation.constant_mean, aggregation.informative_token_mean,
)}  # fmt: skip
EPSILON = "epsilon"
USUAL: dict[str, tuple[Value, ...]] = {  # values that libraries choose, besides those of the catalogue
    EPSILON: (0.0, 1e-9, 1e-8, 1e-6, 1e-5, 1e-4),
    "clip": (0.1, 0.2, 0.3),
    "clip_high": (None, 0.28, 0.3),
    "dual_clip": (None, 3.0),
    "cap": (1.2, 1.28, 2.0, 3.0, 5.0, 10.0),
}
STRUCTURAL = {"kl", "k2"}  # coefficients of a penalty, which is estimated


@dataclass(frozen=True)
class Setting:
    """A credit or a fit with its hyperparameters; `over`: by Bessel's deviation, over answers or tokens of a batch."""

    function: Callable[..., Tensor]
    hyper: tuple[tuple[str, Value], ...] = ()
    over: str = ""  # answers: of the batch
    scaled: str = ""  # an aggregation, where a fit is not proportional to its credit
    negative: bool = False
    zero_baseline: bool = False

    @property
    def name(self) -> str:
        """`sample_standardized_reward(epsilon=1e-06)`."""
        text = ", ".join(f"{k}={_text(v)}" for k, v in self.hyper)
        name = "reward" if self.zero_baseline else self.function.__name__
        return f"{name}({text})" if text else name

    def but(self, **hyper: Value) -> Setting:
        """With other values."""
        return dataclasses.replace(self, hyper=tuple({**dict(self.hyper), **hyper}.items()))

    def credit(self, groups: CandidateGroups) -> Tensor:
        """A of a credit's setting, (S, B, K) or (S, B, K, T)."""
        if self.zero_baseline:
            groups = dataclasses.replace(groups, baseline=torch.zeros_like(groups.baseline))
        hyper = dict(self.hyper)
        root = _bessel_root(self.over, groups)
        if root is not None and isinstance(epsilon := hyper.get(EPSILON), float):  # the catalogue adds it to the
            # population's deviation: (root std + epsilon) = root (std + epsilon / root)
            hyper[EPSILON] = epsilon / float(root.flatten()[0])
        with torch.no_grad():
            A = self.function(groups, **hyper)
        A = -A if self.negative else A
        A = A if root is None else A / (root.unsqueeze(-1) if A.dim() == 4 else root)
        return _scaled(A, factor(self.scaled, groups)) if self.scaled else A


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bessel_root(over: str, groups: CandidateGroups) -> Tensor | None:
    """sqrt(n / (n - 1)), n the answers of the batch: (S, 1, 1)."""
    if not over:
        return None
    n = torch.full_like(groups.reward[:, 0, 0], groups.reward[0].numel())
    return (n / (n - 1).clamp_min(1)).sqrt().view(-1, 1, 1)


def keyword_only(function: Callable[..., Tensor]) -> dict[str, Value]:
    """The hyperparameters of a part, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def admitted(algorithm: Algorithm) -> str:
    """Why an algorithm cannot be compared with a function of flat tensors, empty if it can."""
    if missing := algorithm.needs - HANDED:
        return f"it needs {', '.join(sorted(missing))}, which no function is handed"
    if algorithm.unit == "token":
        return "its candidates are next tokens, not answers"
    return ""


@lru_cache
def of_catalog() -> tuple[Algorithm, ...]:
    """The algorithms that can be taken apart."""
    return tuple(a for n in sorted(BUILT_IN) if not admitted(a := ALGORITHMS[n]) and not a.modifiers and a.keep is None)


@dataclass(frozen=True)
class Parts:
    """Which credit, fit and aggregation."""

    credit: Setting
    fit: Setting
    aggregation: str = SUM

    @property
    def names(self) -> tuple[str, ...]:
        """The algorithms of the catalogue that are these parts."""
        return tuple(a.name for a in of_catalog() if parts_of(a) == self.filled)

    @property
    def filled(self) -> Parts:
        """The same with every hyperparameter written out."""
        credit = dataclasses.replace(_filled(self.credit), scaled="")
        return Parts(credit, _filled(self.fit), self.credit.scaled or self.aggregation)


def _filled(setting: Setting) -> Setting:
    hyper = {**keyword_only(setting.function), **dict(setting.hyper)}
    if "clip" in hyper and hyper.get("clip_high", 0.0) is None:  # no other bound above 1 than below
        hyper["clip_high"] = hyper["clip"]
    return dataclasses.replace(setting, hyper=tuple(hyper.items()))


@lru_cache
def parts_of(algorithm: Algorithm) -> Parts:
    """The parts of an algorithm of the catalogue, every hyperparameter written out."""
    credit, hyper = inspect.unwrap(algorithm.credit), algorithm.hyperparameters
    settings = [Setting(f, tuple((k, hyper[k]) for k in keyword_only(f))) for f in (credit, algorithm.fit)]
    groups = batch("ragged", 0).groups
    scale = algorithm.credit_for(groups)
    plain = settings[0].credit(groups)
    how = next((n for n, a in AGGREGATIONS.items() if torch.equal(_scaled(plain, factor(n, groups)), scale)), SUM)
    return Parts(settings[0], settings[1], how).filled


def _scaled(A: Tensor, by: Tensor) -> Tensor:
    return A * (by.unsqueeze(-1) if A.dim() == 4 else by)


def factor(name: str, groups: CandidateGroups) -> Tensor:
    """What an aggregation multiplies a credit with, (S, B, K)."""
    return _one(groups) if name == SUM else AGGREGATIONS[name](_one)(groups)


def _one(groups: CandidateGroups) -> Tensor:
    """1."""
    return torch.ones_like(groups.reward)


def credit_settings(*, handed: bool, constants: Iterable[float] = (), few: bool = False) -> list[Setting]:
    """Every credit that is an advantage; of advantages that are handed over, what may be done to them once more.

    few: of usual values only those of the catalogue.
    """
    whole = [Setting(f, over="answers") for f in (batch_standardized_reward, batch_scaled_reward)]
    whole.append(Setting(sample_whitened_centered_reward))
    if handed:
        again = (batch_standardized_reward, batch_scaled_reward, whitened_centered_reward)
        base = [Setting(baseline_advantage), *map(Setting, again), *whole]
    else:
        functions = dict.fromkeys(inspect.unwrap(a.credit) for a in of_catalog() if a.credit_is == "advantage")
        more = (Setting(sample_whitened_return), Setting(baseline_advantage, zero_baseline=True))
        base = [*map(Setting, functions), *more, *whole]
    catalogued = (a.hyperparameters.get(EPSILON) for a in of_catalog())
    usual = tuple(dict.fromkeys(e for e in catalogued if e is not None)) if few else USUAL[EPSILON]
    floors = [*usual, *(c for c in constants if 0 < c < 0.1 and c not in usual)]
    return [s for each in base for s in _with(each, floors, constants)]


def _with(credit: Setting, floors: Iterable[Value], constants: Iterable[float]) -> Iterator[Setting]:
    hyper = keyword_only(credit.function)
    if EPSILON in hyper:
        yield from (credit.but(**{EPSILON: value}) for value in floors)
        return
    yield credit
    for a in of_catalog():  # other values of the catalogue
        if inspect.unwrap(a.credit) is credit.function:
            other = {k: v for k, v in a.hyper.items() if k in hyper and v != hyper[k]}
            yield from [credit.but(**other)] if other else []
    if "kl" in hyper:
        yield from (credit.but(kl=c) for c in (0.0, *constants) if 0 <= c < 1 and c != hyper["kl"])


def fits() -> list[Setting]:
    """Every fit of an advantage, each with the values that algorithms of the catalogue give it."""
    settings = (_filled(Setting(a.fit, tuple((k, v) for k, v in a.hyper.items() if k in keyword_only(a.fit))))
                for a in of_catalog() if a.credit_is == "advantage")  # fmt: skip
    return list(dict.fromkeys(settings))


def wholes() -> list[Parts]:
    """Algorithms whose credit is no advantage, which only their own fit can read; or whose fit adds to it."""
    candidates = []
    for a in of_catalog():
        p = parts_of(a)
        if a.credit_is != "advantage":
            candidates.append(p)
        elif p.aggregation != SUM and not proportional(p.fit):
            candidates.append(Parts(dataclasses.replace(p.credit, scaled=p.aggregation), p.fit))
    return candidates


@lru_cache
def proportional(fit: Setting) -> bool:
    """Whether a fit of twice the credit has twice the gradient."""
    case = batch("ragged", 0)
    A = baseline_advantage(case.groups)
    once, twice = (gradient_of(fit, case, by * A)[1] for by in (1, 2))
    return torch.allclose(2 * once, twice, rtol=1e-9, atol=1e-12)


def sample_whitened_centered_reward(groups: CandidateGroups) -> Tensor:
    """A = z over the batch's tokens of r - mean r, by the sample standard deviation."""
    return whitened(centered_reward(groups).unsqueeze(-1).expand_as(groups.mask), groups, correction=True)


def sample_whitened_return(groups: CandidateGroups, *, kl: float = 0.01) -> Tensor:
    """A_t = z over the batch's tokens of the return with a KL, by the sample standard deviation."""
    none = dataclasses.replace(groups, value=torch.zeros_like(groups.old_logp))
    return gae_advantage(none, lam=1.0, kl=kl)


def refined(setting: Setting, constants: Iterable[float]) -> list[Setting]:
    """A fit with the usual values of its hyperparameters, and with the numbers that the function itself names."""
    hyper = dict(_filled(setting).hyper)
    ranges = Algorithm("refined", baseline_advantage, setting.function).ranges
    defaults = keyword_only(setting.function)
    grid = []
    for name, value in hyper.items():
        numbers = [c for c in constants if name in ranges and ranges[name].holds(c) and c > 1e-5]
        if name.startswith("clip"):  # a trainer may name 1 + clip
            numbers += [c for x in constants for c in (round(x - 1, 12), round(1 - x, 12)) if 1e-5 < c < 1]
        values = [value, defaults[name], *USUAL.get(name, ()), *numbers]
        is_number = isinstance(value, int | float | None) and not isinstance(value, bool)
        grid.append(dict.fromkeys(values if is_number else (True, False)) if name not in STRUCTURAL else {value: None})
    combined = itertools.islice(itertools.product(*grid), 4000)
    return list(dict.fromkeys(_filled(setting.but(**dict(zip(hyper, v, strict=True)))) for v in combined))


class Bench:
    """Candidates' gradients on stacked cases, each computed once."""

    def __init__(self, stacks: list[Case]) -> None:
        self.stacks = stacks
        self._credits: dict[tuple[int, Setting], Tensor] = {}
        self._gradients: dict[tuple[int, Setting, Setting], Tensor | None] = {}

    def credit(self, i: int, credit: Setting) -> Tensor:
        """A on stack i."""
        if (i, credit) not in self._credits:
            self._credits[i, credit] = credit.credit(self.stacks[i].groups)
        return self._credits[i, credit]

    def gradient(self, i: int, credit: Setting, fit: Setting) -> Tensor | None:
        """d/dlogp of the loss, mean over contexts, on stack i: (S, B, K, T); None where the fit cannot read A."""
        if (i, credit, fit) not in self._gradients:
            try:
                gradient = gradient_of(fit, self.stacks[i], self.credit(i, credit))[1]
            except RuntimeError:  # a credit of tokens, a fit of answers
                gradient = None
            self._gradients[i, credit, fit] = gradient
        return self._gradients[i, credit, fit]


def gradient_of(fit: Setting, stack: Case, A: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of every seed, (S,), and its gradient by the log-probs, (S, B, K, T)."""
    x = stack.logp.detach().clone().requires_grad_()
    loss = fit.function(x, stack.groups, A, **dict(fit.hyper)).mean(1)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach(), gradient
