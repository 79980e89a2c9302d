"""What a policy-update rule is: a credit, a fit, and what they ask of a task."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from tpobench.algorithms.groups import OPTIONAL, CandidateGroups
from tpobench.errors import UsageError, unknown
from tpobench.limits import Within

Credit = Callable[..., Tensor]  # (groups, *, hyperparameters) -> (S, B, K), (S, B, K, T), or (S, B, K, K) over pairs
Fit = Callable[..., Tensor]  # (logp, groups, credit, *, hyperparameters) -> (S, B)
Keep = Callable[[CandidateGroups], Tensor]  # (groups) -> (S, B)
Value = float | bool | str | None  # None: off
Compares = Literal["nothing", "candidates", "draws"]
Unit = Literal["sequence", "token"]
CreditOver = Literal["candidates", "pairs"]
ZeroGradient = Literal["never", "at_snapshot", "always"]
NO_DEFAULT: Any = inspect.Parameter.empty
ARGUMENTS = {"credit": ("groups",), "fit": ("logp", "groups", "credit"), "keep": ("groups",)}


@dataclass(frozen=True)
class Algorithm:
    """A named policy-update rule; its defaults are the published rule.

    L(theta) = sum_S mean_B keep * fit(log pi_theta, groups, credit(groups)).  What reads the present theta is `fit`,
    everything else is `credit`.

    Raises:
        UsageError: unknown, ambiguous or ill-typed hyperparameters, or a value that the fields do not allow.
    """

    name: str
    credit: Credit = field(hash=False)
    fit: Fit = field(hash=False)
    compares: Compares = "nothing"  # what a context must offer: one draw, scored candidates, or i.i.d. draws
    unit: Unit = "sequence"  # what a candidate is: a whole answer, or the next token in a state
    credit_over: CreditOver = "candidates"  # what has a share of the credit: a candidate, or (i over j)
    keep: Keep | None = None  # contexts that count, (S, B)
    max_epochs: int | None = None
    needs: frozenset[str] = frozenset()  # optional fields of CandidateGroups
    zero_gradient_on_flat: ZeroGradient = "never"  # on a group of equal rewards and equal scores
    hyper: Mapping[str, Value] = field(default_factory=dict, hash=False)  # what differs from the functions' defaults
    paper: str = ""  # arXiv id and equation
    default_of: str = ""  # the library that runs it where nothing is chosen

    def __post_init__(self) -> None:
        where = f"rule '{self.name}'"
        for name, choice, valid in (
            ("compares", self.compares, get_args(Compares)),
            ("unit", self.unit, get_args(Unit)),
            ("credit_over", self.credit_over, get_args(CreditOver)),
            ("zero_gradient_on_flat", self.zero_gradient_on_flat, get_args(ZeroGradient)),
        ):
            if choice not in valid:
                raise unknown(f"value of {name}", choice, valid, where)
        needs: Any = self.needs  # a file may give one name, or a list
        object.__setattr__(self, "needs", frozenset({needs} if isinstance(needs, str) else needs))
        for name in sorted(self.needs):
            if name not in OPTIONAL:
                raise unknown("optional field", name, OPTIONAL, where)
        for part, arguments in ARGUMENTS.items():
            if part != "keep" or self.keep is not None:
                _check_arguments(f"{where}: {part}", getattr(self, part), arguments)
        credit, fit = _keyword_only(self.credit), _keyword_only(self.fit)
        for name in sorted(credit.keys() & fit.keys()):
            msg = f"{where}: both credit and fit take '{name}'; rename one of them"
            raise UsageError(msg)
        for name, default in (credit | fit).items():
            if default is NO_DEFAULT:
                msg = f"{where}: hyperparameter '{name}' has no default; give it the published value"
                raise UsageError(msg)
            if default is not None and not isinstance(default, bool | int | float | str):
                msg = f"{where}: hyperparameter '{name}' is {default!r}; give a number, true or false, or a text"
                raise UsageError(msg)
        for name, value in self.hyper.items():
            if name not in credit and name not in fit:
                raise unknown("hyperparameter", name, credit | fit, where)
            off = (credit | fit)[name] is None
            _check_value(f"{where}: hyperparameter '{name}'", value, self.kinds[name], self.ranges.get(name), off=off)

    @property
    def hyperparameters(self) -> dict[str, Value]:
        """Every hyperparameter of the rule with its value."""
        return {**_keyword_only(self.credit), **_keyword_only(self.fit), **self.hyper}

    @cached_property
    def kinds(self) -> dict[str, type]:
        """What each hyperparameter is: of its default's type, or of its annotation's where that is None (off)."""
        return {k: _kind(f, k, v) for f in (self.credit, self.fit) for k, v in _keyword_only(f).items()}

    @cached_property
    def ranges(self) -> dict[str, Within]:
        """The range of each hyperparameter that declares one."""
        return {k: r for f in (self.credit, self.fit) for k in _keyword_only(f) if (r := _range(f, k))}

    def with_hyper(self, **overrides: Value) -> Algorithm:
        """The same rule with other hyperparameters."""
        return dataclasses.replace(self, hyper={**self.hyper, **overrides})

    def credit_for(self, groups: CandidateGroups) -> Tensor:
        """Credit of every candidate, without gradient: (S, B, K), (S, B, K, T) by token, or (S, B, K, K) over pairs.

        Raises:
            UsageError: the groups lack what the rule needs, or the credit is of another shape.
        """
        for name in sorted(self.needs):
            if getattr(groups, name, None) is None:
                msg = f"rule '{self.name}' needs '{name}', which this task does not offer; choose a task that does"
                raise UsageError(msg)
        with torch.no_grad():
            credit = self._credit(groups.with_only(self.needs))
        candidates, tokens = groups.old_logp.shape[:3], groups.old_logp.shape
        pairs = torch.Size((*candidates, candidates[-1]))
        shapes = (pairs,) if self.credit_over == "pairs" else (candidates, tokens)
        _check_shape(f"rule '{self.name}': credit", credit, *shapes)
        return credit

    def loss(self, logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
        """Loss of each context, (S, B), differentiable in logp (S, B, K, T); the caller averages B and sums S.

        Raises:
            UsageError: fit or keep gives anything but one number for each context.
        """
        groups = groups.with_only(self.needs)
        loss = self._fit(logp, groups, credit)
        _check_shape(f"rule '{self.name}': fit", loss, logp.shape[:2])
        return loss if self.keep is None else loss * self.keep_for(groups)

    def keep_for(self, groups: CandidateGroups) -> Tensor:
        """Which contexts count: (S, B).

        Raises:
            UsageError: keep gives anything but one number for each context.
        """
        if self.keep is None:
            return torch.ones_like(groups.reward[..., 0])
        keep = _bind(self.keep, {})(groups.with_only(self.needs))
        _check_shape(f"rule '{self.name}': keep", keep, groups.reward.shape[:2])
        return keep

    @cached_property
    def _credit(self) -> Credit:
        return _bind(self.credit, self.hyper)

    @cached_property
    def _fit(self) -> Fit:
        return _bind(self.fit, self.hyper)


def _check_shape(what: str, value: Any, *shapes: torch.Size) -> None:
    """A tensor of another shape would be broadcast into a wrong update without a word."""
    if isinstance(value, Tensor) and value.shape in shapes:
        return
    given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    msg = f"{what} gives {given}; it must give a tensor of shape {' or '.join(str(tuple(s)) for s in shapes)}"
    raise UsageError(msg)


def _check_arguments(what: str, function: Any, arguments: tuple[str, ...]) -> None:
    """A part of a rule is called with its arguments by position; everything else is a keyword-only hyperparameter."""
    call = f"({', '.join(arguments)}, *, ...)" if arguments != ARGUMENTS["keep"] else "(groups)"
    if not callable(function):
        msg = f"{what} is {function!r}; give a function {call}"
        raise UsageError(msg)
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin that does not tell
        return
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if extra := positional[len(arguments) :]:
        written = ", ".join(str(p).replace(" = ", "=") for p in extra)
        msg = (
            f"{what} takes '{extra[0].name}' by position, and hyperparameters are keyword-only; put a * before them: "
            f"({', '.join(p.name for p in positional[: len(arguments)])}, *, {written})"
        )
        raise UsageError(msg)
    try:
        signature.bind(*arguments, **_keyword_only(function))
    except TypeError as error:
        msg = f"{what} cannot be called as {call}: {error}"
        raise UsageError(msg) from error


def _keyword_only(function: Callable[..., Tensor]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _kind(function: Callable[..., Tensor], name: str, default: Value) -> type:
    if default is not None:
        return type(default)
    inside = {part for each in _alternatives(function, name) for part in (each, *get_args(each))}
    return next((kind for kind in (bool, str, float, int) if kind in inside), float)


def _range(function: Callable[..., Tensor], name: str) -> Within | None:
    """What stands at the parameter, `eta: Annotated[float, Within(0, 1)]`, also where None is an alternative."""
    parts = (part for each in _alternatives(function, name) for part in getattr(each, "__metadata__", ()))
    return next((part for part in parts if isinstance(part, Within)), None)


def _alternatives(function: Callable[..., Tensor], name: str) -> tuple[Any, ...]:
    """The annotation of a parameter, taken apart where it is a union."""
    try:
        hint = get_type_hints(function, include_extras=True).get(name)
    except Exception:  # noqa: BLE001 - a plug-in may annotate with names that only a type checker knows
        return ()
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _bind(function: Callable[..., Tensor], hyper: Mapping[str, Value]) -> Callable[..., Tensor]:
    names = _keyword_only(function)
    bound = partial(function, **{k: v for k, v in hyper.items() if k in names})

    def call(*arguments: Any) -> Tensor:
        process = os.getpid()
        try:
            return bound(*arguments)
        finally:
            if os.getpid() != process:
                os._exit(0)  # a copy that the function forked: it would train on, and fork again at the next update

    return call


def _check_value(what: str, value: Value, kind: type, within: Within | None, *, off: bool) -> None:
    """A value is of its default's kind: true or false, text, or a finite number of the parameter's range."""
    if value is None and off:
        return
    if kind in {bool, str}:
        if type(value) is not kind:
            msg = f"{what} is {value!r}; give {'true or false' if kind is bool else 'a text'}"
            raise UsageError(msg)
        return
    if value is None or isinstance(value, bool | str) or not math.isfinite(value):
        msg = f"{what} is {value!r}; give a finite number"
        raise UsageError(msg)
    if within is not None and not within.holds(value):
        msg = f"{what} is {value!r}; give a number of {within}"
        raise UsageError(msg)
