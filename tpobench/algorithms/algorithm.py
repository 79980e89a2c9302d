"""What a policy-update algorithm is: a credit, a fit, and what they ask of a task."""

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

from tpobench.algorithms.groups import OPTIONAL, CandidateGroups, contributing
from tpobench.algorithms.lazy import Tensor, torch
from tpobench.algorithms.measure import reference_kl
from tpobench.errors import UsageError, unknown
from tpobench.limits import Within

Credit = Callable[..., Tensor]  # (groups, *, hyperparameters) -> (S, B, K), (S, B, K, T), or (S, B, K, K) over pairs
Fit = Callable[..., Tensor]  # (logp, groups, credit, *, hyperparameters) -> (S, B)
Keep = Callable[[CandidateGroups], Tensor]  # (groups) -> (S, B)
Memory = dict[str, Tensor]  # (S, ...) each: what modifiers keep from step to step of a run
Prepare = Callable[..., CandidateGroups]  # (groups, memory, *, hyperparameters) -> groups
Gate = Callable[..., Tensor]  # (logp, groups, credit, *, hyperparameters) -> (S, B, K, T | 1)
StepRule = Callable[..., None]  # (theta, parameters, gradient, logp, loss, groups, *, hyperparameters)
Value = float | bool | str | None  # None: off
Compares = Literal["nothing", "candidates", "draws"]
Unit = Literal["sequence", "token"]
CreditIs = Literal["advantage", "density", "target", "pairs"]
ZeroGradient = Literal["never", "at_snapshot", "always"]
NO_DEFAULT: Any = inspect.Parameter.empty
ARGUMENTS = {
    "credit": ("groups",), "fit": ("logp", "groups", "credit"), "keep": ("groups",), "prepare": ("groups", "memory"),
    "gate": ("logp", "groups", "credit"), "step": ("theta", "parameters", "gradient", "logp", "loss", "groups"),
}  # fmt: skip


@dataclass(frozen=True)
class Modifier:
    """What stands before or beside any algorithm, as in `tpo+icepop`; at its neutral setting it changes no bit.

    `prepare` changes the groups once per batch, before credit: their rewards, or `token_weight`.  `gate` gives a factor
    of each token's gradient in every epoch, from an advantage.
    """

    name: str
    prepare: Prepare | None = field(default=None, hash=False)
    gate: Gate | None = field(default=None, hash=False)
    needs: frozenset[str] = frozenset()
    paper: str = ""

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """Its parts."""
        return {k: f for k, f in (("prepare", self.prepare), ("gate", self.gate)) if f is not None}


@dataclass(frozen=True)
class Algorithm:
    """A named policy-update algorithm; its defaults are the published algorithm.

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
    credit_is: CreditIs = "advantage"  # signed; or a density q / w, a distribution q, or a share of each (i over j)
    keep: Keep | None = None  # contexts that count, (S, B)
    modifiers: tuple[Modifier, ...] = ()  # applied in this order
    step: StepRule | None = field(default=None, hash=False)  # its own, in place of the task's optimizer
    max_epochs: int | None = None
    needs: frozenset[str] = frozenset()  # optional fields of CandidateGroups
    zero_gradient_on_flat: ZeroGradient = "never"  # on a group of equal rewards and equal scores
    hyper: Mapping[str, Value] = field(default_factory=dict, hash=False)  # what differs from the functions' defaults
    paper: str = ""  # arXiv id and equation
    default_of: str = ""  # the library that runs it where nothing is chosen

    def __post_init__(self) -> None:
        where = f"algorithm '{self.name}'"
        for name, choice, valid in (
            ("compares", self.compares, get_args(Compares)),
            ("unit", self.unit, get_args(Unit)),
            ("credit_is", self.credit_is, get_args(CreditIs)),
            ("zero_gradient_on_flat", self.zero_gradient_on_flat, get_args(ZeroGradient)),
        ):
            if choice not in valid:
                raise unknown(f"value of {name}", choice, valid, where)
        needs: Any = self.needs  # a file may give one name, or a list
        object.__setattr__(self, "needs", frozenset({needs} if isinstance(needs, str) else needs))
        for name in sorted(self.needs):
            if name not in OPTIONAL:
                raise unknown("optional field", name, OPTIONAL, where)
        for part in ("credit", "fit", *(name for name in ("keep", "step") if getattr(self, name) is not None)):
            _check_arguments(f"{where}: {part}", getattr(self, part), ARGUMENTS[part])
        for modifier in self.modifiers:
            for part, function in modifier.functions.items():
                _check_arguments(f"{where}: {modifier.name}", function, ARGUMENTS[part])
        defaults = self._defaults(where)
        for name, value in self.hyper.items():
            if name not in defaults:
                raise unknown("hyperparameter", name, defaults, where)
            what, off = f"{where}: hyperparameter '{name}'", defaults[name] is None
            _check_value(what, value, self.kinds[name], self.ranges.get(name), off=off)

    def _defaults(self, where: str) -> dict[str, Value]:
        """Hyperparameters with their defaults, each of one function only."""
        defaults: dict[str, Value] = {}
        takers: dict[str, str] = {}
        for taker, function in self._parts:
            for name, default in _keyword_only(function).items():
                if name in takers:
                    msg = f"{where}: both {takers[name]} and {taker} take '{name}'; rename one of them"
                    raise UsageError(msg)
                if default is NO_DEFAULT:
                    msg = f"{where}: hyperparameter '{name}' has no default; give it the published value"
                    raise UsageError(msg)
                if default is not None and not isinstance(default, bool | int | float | str):
                    msg = f"{where}: hyperparameter '{name}' is {default!r}; give a number, true or false, or a text"
                    raise UsageError(msg)
                takers[name], defaults[name] = taker, default
        return defaults

    @property
    def _parts(self) -> tuple[tuple[str, Callable[..., Any]], ...]:
        """The functions that take hyperparameters, each with the name of whose it is."""
        parts = tuple((m.name, f) for m in self.modifiers for f in m.functions.values())
        return (("credit", self.credit), ("fit", self.fit), *((("step", self.step),) if self.step else ()), *parts)

    @property
    def hyperparameters(self) -> dict[str, Value]:
        """Every hyperparameter of the algorithm with its value."""
        return {**{k: v for _, f in self._parts for k, v in _keyword_only(f).items()}, **self.hyper}

    @cached_property
    def kinds(self) -> dict[str, type]:
        """What each hyperparameter is: of its default's type, or of its annotation's where that is None (off)."""
        return {k: _kind(f, k, v) for _, f in self._parts for k, v in _keyword_only(f).items()}

    @cached_property
    def ranges(self) -> dict[str, Within]:
        """The range of each hyperparameter that declares one."""
        return {k: r for _, f in self._parts for k in _keyword_only(f) if (r := _range(f, k))}

    def with_hyper(self, **overrides: Value) -> Algorithm:
        """The same algorithm with other hyperparameters."""
        return dataclasses.replace(self, hyper={**self.hyper, **overrides})

    def modified(self, *modifiers: Modifier) -> Algorithm:
        """`tpo` with `icepop` is `tpo+icepop`.

        Raises:
            UsageError: a gate where credit is no advantage, or one hyperparameter of both.
        """
        for modifier in modifiers:
            if modifier.gate is not None and self.credit_is != "advantage":
                msg = f"'{self.name}' does not admit '{modifier.name}', which reads an advantage; its credit is a "
                raise UsageError(msg + {"pairs": "share of each pair"}.get(self.credit_is, self.credit_is))
        return dataclasses.replace(
            self,
            name="+".join((self.name, *(m.name for m in modifiers))),
            modifiers=(*self.modifiers, *modifiers),
            needs=self.needs.union(*(m.needs for m in modifiers)),
            paper="; ".join((self.paper, *(f"{m.name}: {m.paper}" for m in modifiers))),
        )

    def silent_on_flat(self, *, at_snapshot: bool) -> bool:
        """Whether a group of equal rewards and scores is declared to have exactly zero gradient."""
        return self.zero_gradient_on_flat in (("always", "at_snapshot") if at_snapshot else ("always",))

    def prepare(self, groups: CandidateGroups, memory: Memory) -> CandidateGroups:
        """The groups as the modifiers leave them, once per batch; what they keep for the next goes into `memory`."""
        self._require_fields(groups)
        if not self.modifiers:
            return groups
        groups = groups.with_only(self.needs)
        with torch.no_grad():
            for modifier in self.modifiers:
                if modifier.prepare is not None:
                    groups = _bind(modifier.prepare, self.hyper)(groups, memory)
        return groups

    def _require_fields(self, groups: CandidateGroups) -> None:
        for name in sorted(self.needs):
            if getattr(groups, name, None) is None:
                msg = f"algorithm '{self.name}' needs '{name}', which this task does not offer; choose a task that does"
                raise UsageError(msg)

    def credit_for(self, groups: CandidateGroups) -> Tensor:
        """Credit of every candidate, without gradient: (S, B, K), (S, B, K, T) by token, or (S, B, K, K) over pairs.

        Raises:
            UsageError: the groups lack what the algorithm needs, or the credit is of another shape.
        """
        self._require_fields(groups)
        with torch.no_grad():
            credit = self._credit(groups.with_only(self.needs))
        candidates, tokens = groups.old_logp.shape[:3], groups.old_logp.shape
        pairs = torch.Size((*candidates, candidates[-1]))
        shapes = (pairs,) if self.credit_is == "pairs" else (candidates, tokens)
        _check_shape(f"algorithm '{self.name}': credit", credit, *shapes)
        return credit

    def loss(self, logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor:
        """Loss of each context, (S, B), differentiable in logp (S, B, K, T); the caller averages B and sums S.

        Raises:
            UsageError: fit or keep gives anything but one number for each context.
        """
        groups = groups.with_only(self.needs)
        if (weight := self._token_weight(logp, groups, credit)) is not None:
            logp = logp.detach() + weight * (logp - logp.detach())  # the value as it is, the gradient times the weight
        loss: Tensor = self._fit(logp, groups, credit)
        _check_shape(f"algorithm '{self.name}': fit", loss, logp.shape[:2])
        return loss if self.keep is None else loss * self.keep_for(groups)

    def objective(
        self, logp: Tensor, groups: CandidateGroups, credit: Tensor, *, silent: bool = False, kl: float = 0.0
    ) -> Tensor:
        """What is minimised, loss + kl KL(pi, pi_ref) of each context: (S, B).

        silent: the loss of flat groups is 0, where its gradient is 0 but for rounding, a step of full length to Adam.
        """
        losses = self.loss(logp, groups, credit)
        if silent:
            losses = torch.where(contributing(groups), losses, 0.0)
        return losses + kl * reference_kl(logp, groups) if kl else losses

    def keep_for(self, groups: CandidateGroups) -> Tensor:
        """Which contexts count: (S, B).

        Raises:
            UsageError: keep gives anything but one number for each context.
        """
        if self.keep is None:
            return torch.ones_like(groups.reward[..., 0])
        keep: Tensor = _bind(self.keep, {})(groups.with_only(self.needs))
        _check_shape(f"algorithm '{self.name}': keep", keep, groups.reward.shape[:2])
        return keep

    def _token_weight(self, logp: Tensor, groups: CandidateGroups, credit: Tensor) -> Tensor | None:
        """The factor of each token's gradient: what modifiers set, times their gates."""
        weight = groups.token_weight
        with torch.no_grad():
            for gate in self._gates:
                factor = gate(logp.detach(), groups, credit)
                weight = factor if weight is None else weight * factor
        return weight

    @cached_property
    def own_step(self) -> StepRule | None:
        """Its step with its hyperparameters, None where the task's optimizer takes it."""
        return self.step and _bind(self.step, self.hyper)

    @cached_property
    def _gates(self) -> tuple[Gate, ...]:
        return tuple(_bind(m.gate, self.hyper) for m in self.modifiers if m.gate is not None)

    @cached_property
    def _credit(self) -> Credit:
        return _bind(self.credit, self.hyper)

    @cached_property
    def _fit(self) -> Fit:
        return _bind(self.fit, self.hyper)


def _check_shape(what: str, value: Any, *shapes: torch.Size) -> None:
    """A tensor of another shape would be broadcast into a wrong update without a word."""
    if isinstance(value, torch.Tensor) and value.shape in shapes:
        return
    actual = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
    msg = f"{what} gives {actual}; it must give a tensor of shape {' or '.join(str(tuple(s)) for s in shapes)}"
    raise UsageError(msg)


def _check_arguments(what: str, function: Any, arguments: tuple[str, ...]) -> None:
    """A part of an algorithm gets its arguments by position; everything else is a keyword-only hyperparameter."""
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


def _keyword_only(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _kind(function: Callable[..., Any], name: str, default: Value) -> type:
    if default is not None:
        return type(default)
    inside = {part for each in _alternatives(function, name) for part in (each, *get_args(each))}
    return next((kind for kind in (bool, str, float, int) if kind in inside), float)


def _range(function: Callable[..., Any], name: str) -> Within | None:
    """What stands at the parameter, `eta: Annotated[float, Within(0, 1)]`, also where None is an alternative."""
    parts = (part for each in _alternatives(function, name) for part in getattr(each, "__metadata__", ()))
    return next((part for part in parts if isinstance(part, Within)), None)


def _alternatives(function: Callable[..., Any], name: str) -> tuple[Any, ...]:
    """The annotation of a parameter, taken apart where it is a union."""
    try:
        hint = get_type_hints(function, include_extras=True).get(name)
    except Exception:  # noqa: BLE001 - a plug-in may annotate with names that only a type checker knows
        return ()
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _bind(function: Callable[..., Any], hyper: Mapping[str, Value]) -> Callable[..., Any]:
    names = _keyword_only(function)
    bound = partial(function, **{k: v for k, v in hyper.items() if k in names})

    def call(*arguments: Any) -> Any:
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
