"""A function held against an algorithm, or against all of them: what was found, in words and numbers."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tpobench.algorithms import advantages, credit
from tpobench.algorithms.algorithm import Algorithm, Value
from tpobench.algorithms.catalog import require_algorithm
from tpobench.algorithms.promises import PromiseResult
from tpobench.algorithms.trial import Case
from tpobench.conformance import invariances
from tpobench.conformance.calls import Answer, Function
from tpobench.conformance.cases import SINGLE, batch, cases
from tpobench.conformance.conventions import Scale, explained, filled
from tpobench.conformance.identify import EQUAL, EQUAL_SINGLE, Identity, Match, Target, identify, usual_credit
from tpobench.conformance.invariances import Subject
from tpobench.conformance.parts import (
    Parts,
    Setting,
    admitted,
    keyword_only,
    of_catalog,
    parts_of,
    sample_whitened_centered_reward,
    sample_whitened_return,
)
from tpobench.errors import RunsFailed, UsageError
from tpobench.printable import first_of

DIFFERS, UNKNOWN = 1, 7  # exit codes
State = Literal["agrees", "differs", "not finite", "raises"]


@dataclass(frozen=True)
class CaseResult:
    """One batch: both losses, and how far the gradients are apart."""

    name: str
    state: State
    loss: float
    ours: float
    off: float  # |theirs - ours| / |ours|
    cosine: float
    scale: float  # of theirs on ours
    counts: bool = True  # towards the verdict
    reason: str = ""


@dataclass(frozen=True)
class Findings:
    """What a function computes, where it parts from an algorithm, and which invariances it keeps."""

    function: Function
    algorithm: Algorithm | None
    results: tuple[CaseResult, ...]
    identity: Identity | None  # None where it agrees with the algorithm that was named
    scale: Scale | None  # of theirs on the algorithm's in every case, where that explains all
    promises: tuple[PromiseResult, ...]
    unused: tuple[str, ...]
    single: str = ""  # what becomes of single answers where an algorithm was identified
    strict: bool = False

    @property
    def agrees(self) -> bool:
        """Whether every batch that counts has the algorithm's gradient."""
        return self.algorithm is not None and all(r.state == "agrees" for r in self.results if r.counts)

    @property
    def broken(self) -> list[PromiseResult]:
        """Invariances that are broken; with `strict` limits too."""
        return [p for p in self.promises if p.state == "broken" or (self.strict and p.state == "limited")]

    @property
    def exit_code(self) -> int:
        """0 agrees or identified, 1 differs or breaks an invariance, 7 unknown."""
        if self.broken or (self.algorithm is not None and not self.agrees):
            return DIFFERS
        return UNKNOWN if self.algorithm is None and not (self.identity and self.identity.known) else 0

    @property
    def outcome(self) -> str:
        """The verdict in a word."""
        if self.algorithm is not None:
            return "agrees" if self.agrees else "differs"
        return "identified" if self.identity and self.identity.known else "unknown"

    @property
    def best(self) -> Match | None:
        """What it was identified as."""
        return self.identity.matches[0] if self.identity and self.identity.known else None

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        if self.algorithm is not None:
            counted = [r for r in self.results if r.counts]
            agree = sum(r.state == "agrees" for r in counted)
            word = "AGREES WITH" if self.agrees else "DIFFERS FROM"
            text = f"{word} {self.algorithm.name}: gradient equal on {agree} of {len(counted)} batches"
        elif self.best is not None:
            text = f"IDENTIFIED: {_name_of(self.best, self.function)}"
        else:
            text = "UNKNOWN: no combination of the catalogue's credits, aggregations and fits has this gradient"
        return text + (f"; {len(self.broken)} invariances broken" if self.broken else "")

    @property
    def differences(self) -> tuple[str, ...]:
        """By which conventions it parts from the algorithm that was named, or from the nearest of the catalogue."""
        if self.scale is not None and not self.scale.exact:
            return (self.scale.text,)
        if self.best is None:
            return ()
        nearest = self.algorithm if self.algorithm is not None else nearest_algorithm(self.best, self.function)
        parted = () if nearest is None else parted_by(self.best.parts, parts_of(nearest), self.function)
        return (*parted, *self.best.differences)


def conformance(
    function: Callable[..., Any] | Function,
    algorithm: str | None = None,
    *,
    hyper: Mapping[str, Value] | None = None,
    given: Mapping[str, Any] | None = None,
    advantage: Callable[..., Any] | None = None,
    strict: bool = False,
) -> Findings:
    """Hold a loss against an algorithm of the catalogue, or against all of them.

    Args:
        function: takes flat tensors by name, such as (log_probs, old_log_probs, advantages, mask); gives the loss.
        algorithm: its name; None: identify it.
        hyper: hyperparameters of the algorithm.
        given: parameters of the function that are constants.
        advantage: makes the advantages that the function is handed; else they are ours.
        strict: limits count as broken.

    Raises:
        UsageError: no such algorithm or hyperparameter, or a parameter that is not known by name.
        RunsFailed: the function raises on a plain batch, or its loss does not depend on the log-probs.
    """
    reference = None if algorithm is None else _reference(algorithm, hyper or {})
    asked = function if isinstance(function, Function) else _function(function, given or {}, advantage)
    chosen = usual_credit() if reference is None else _handed_by(reference, asked)
    subject = Subject(asked, chosen)
    subject = dataclasses.replace(subject, function=asked.presented(subject.batch(batch("a plain batch", 0))))
    if reference is not None and subject.function.makes_advantages:
        msg = f"{asked.name} makes advantages and no loss; identify it without --as, or name a loss beside it"
        raise UsageError(msg)
    answers = {case.name: subject.ask(subject.batch(case)) for case in cases()}
    if not any(a.finite for a in answers.values()):
        msg = f"{subject.function.name} gives nan or inf on every batch, so there is nothing to compare"
        raise RunsFailed(msg)
    results = () if reference is None else tuple(_held(reference, case, answers[case.name]) for case in cases())
    agrees = bool(results) and all(r.state == "agrees" for r in results if r.counts)
    identity = None if agrees else identify(_target(subject))
    return Findings(
        subject.function, reference, results, identity, _scale(results), tuple(invariances.keep(subject)),
        tuple(invariances.unused(subject)), _single(identity, subject), strict,
    )  # fmt: skip


def assert_conforms(
    function: Callable[..., Any], algorithm: str, *, strict: bool = False, advantage: Callable[..., Any] | None = None,
    given: Mapping[str, Any] | None = None, **hyper: Value,
) -> None:  # fmt: skip
    """For pytest: the function has the algorithm's gradient on every batch, and breaks no invariance.

    assert_conforms(loss, "grpo_trl", clip_high=0.28)

    Raises:
        AssertionError: it has not; the message is what `tpobench conformance` prints.
    """
    from tpobench.conformance.document import text_of  # noqa: PLC0415 - it reads this module

    findings = conformance(function, algorithm, hyper=hyper, given=given, advantage=advantage, strict=strict)
    if findings.exit_code:
        raise AssertionError(text_of(findings))


def _function(function: Callable[..., Any], given: Mapping[str, Any], advantage: Callable[..., Any] | None) -> Function:
    name = getattr(function, "__name__", type(function).__name__)
    inner = None if advantage is None else _function(advantage, {}, None)
    return Function(name, function, given, inner)


def _reference(name: str, hyper: Mapping[str, Value]) -> Algorithm:
    algorithm = require_algorithm(name, "--as", remedy="").with_hyper(**hyper)
    if why := admitted(algorithm):
        msg = f"algorithm '{name}' cannot be compared: {why}"
        raise UsageError(msg)
    return algorithm


def _handed_by(algorithm: Algorithm, function: Function) -> Setting:
    """The credit that the function is handed as advantages: the algorithm's, before it is aggregated."""
    if function.handed_advantages and algorithm.credit_is == "pairs":
        msg = f"the credit of '{algorithm.name}' is a share of each pair, which no advantages are; take rewards instead"
        raise UsageError(msg)
    if algorithm.credit_is == "pairs":
        return usual_credit()
    plain = inspect.unwrap(algorithm.credit)
    return Setting(plain, tuple((k, algorithm.hyperparameters[k]) for k in keyword_only(plain)))


def _target(subject: Subject) -> Target:
    """The answers from which it is identified: advantages that are handed over are the usual ones."""
    usual = dataclasses.replace(subject, credit=usual_credit())
    answers = {case.name: usual.ask(usual.batch(case)) for case in cases()}
    finite = {name: a for name, a in answers.items() if a.finite}
    single = any(a.dtype != torch.float64 for a in finite.values())
    return Target(
        {case.name: finite[case.name].gradient.view(1, *case.logp.shape[1:]).double() for case in cases()
         if case.name in finite},
        {name: a.loss for name, a in finite.items()},
        subject.function.handed_advantages,
        subject.function.constants,
        EQUAL_SINGLE if single else EQUAL,
        subject.function.makes_advantages,
    )  # fmt: skip


def _ours(algorithm: Algorithm, case: Case) -> tuple[float, Tensor]:
    """The loss and its gradient, (N, T); nothing of single answers where an algorithm needs two to compare."""
    x = case.logp.detach().clone().requires_grad_()
    try:
        groups = algorithm.prepare(case.groups, {})
        loss = algorithm.loss(x, groups, algorithm.credit_for(groups)).mean()
    except RuntimeError:
        if case.name != SINGLE:
            raise
        return 0.0, torch.zeros_like(case.logp).flatten(0, 2)
    (gradient,) = torch.autograd.grad(loss, x)
    return float(loss.detach()), gradient.flatten(0, 2)


def _held(algorithm: Algorithm, case: Case, answer: Answer) -> CaseResult:
    ours, g = _ours(algorithm, case)
    counts = case.name != SINGLE or algorithm.compares == "nothing"
    if not answer.finite:
        state: State = "raises" if answer.error else "not finite"
        nan = math.nan
        return CaseResult(case.name, state, answer.loss, ours, nan, nan, nan, counts, answer.error)
    t = answer.gradient.double()
    size, other = float(g.norm()), float(t.norm())
    nothing = max(size, other) < 1e-12
    off = 0.0 if nothing else float((t - g).norm()) / size if size >= 1e-12 else math.inf
    dot = float((t * g).sum())
    cosine = dot / (size * other) if size * other > 1e-24 else math.nan
    scale = dot / size**2 if size >= 1e-12 else math.nan
    tolerance = EQUAL if answer.dtype == torch.float64 else EQUAL_SINGLE
    return CaseResult(
        case.name, "agrees" if off <= tolerance else "differs", answer.loss, ours, off, cosine, scale, counts
    )


def _scale(results: Sequence[CaseResult]) -> Scale | None:
    """What one scale in every case means, where the gradients have one direction in each."""
    deciding = [r for r in results if r.counts and r.state in {"agrees", "differs"}]
    if not deciding or any(abs(abs(r.cosine) - 1) > 1e-10 for r in deciding if math.isfinite(r.cosine)):
        return None
    by_name = {case.name: case for case in cases()}
    return explained([r.scale for r in deciding], [by_name[r.name] for r in deciding])


def _single(identity: Identity | None, subject: Subject) -> str:
    """What becomes of single answers, on which nothing was identified."""
    if identity is None or not identity.known or subject.function.makes_advantages:
        return ""
    case = next(case for case in cases() if case.name == SINGLE)
    usual = dataclasses.replace(subject, credit=usual_credit())
    answer = usual.ask(usual.batch(case))
    if not answer.finite:
        return ""
    return "single answers (K = 1) move nothing" if not bool((answer.gradient != 0).any()) else ""


# ---- words


def equation(function: Callable[..., Any]) -> str:
    """The first line of its docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")


CONVENTIONS = {
    (credit.standardized_reward, advantages.sample_standardized_reward): "population instead of sample standard "
    "deviation over {K} answers of a group",
    (advantages.sample_standardized_reward, credit.standardized_reward): "sample instead of population standard "
    "deviation over {K} answers of a group",
    (advantages.centered_reward, advantages.leave_one_out_advantage): "baseline with the answer itself: (K - 1) / K",
    (advantages.leave_one_out_advantage, advantages.centered_reward): "baseline without the answer itself: K / (K - 1)",
    (advantages.centered_reward, advantages.sample_standardized_reward): "not divided by the group's deviation",
    (advantages.sample_standardized_reward, advantages.centered_reward): "divided by the group's deviation",
    (sample_whitened_centered_reward, advantages.whitened_centered_reward): "sample instead of population standard "
    "deviation over {tokens} tokens of the batch",
    (sample_whitened_return, advantages.whitened_return): "sample instead of population standard deviation over "
    "{tokens} tokens of the batch",
    (credit.batch_standardized_reward, advantages.sample_standardized_reward): "mean and deviation of the whole batch "
    "in place of each group's: group ids are not used",
    (credit.baseline_advantage, advantages.sample_standardized_reward): "the batch's mean reward as baseline in place "
    "of each group's, and no deviation",
}


def parted_by(theirs: Parts, ours: Parts, function: Function) -> tuple[str, ...]:
    """In which parts two differ, the credit left out where it is ours."""
    theirs = theirs.filled
    texts = []
    if not function.handed_advantages:
        texts += _of_setting("credit", theirs.credit, ours.credit)
    if theirs.aggregation != ours.aggregation and not function.makes_advantages:
        texts.append(f"aggregation {theirs.aggregation} in place of {ours.aggregation}")
    if not function.makes_advantages:
        texts += _of_setting("fit", theirs.fit, ours.fit)
    return tuple(texts)


def _of_setting(part: str, theirs: Setting, ours: Setting) -> list[str]:
    texts = []
    if theirs.zero_baseline:
        texts.append("the reward itself, without a baseline")
    elif theirs.function is not ours.function:
        convention = CONVENTIONS.get((theirs.function, ours.function))
        first = cases()[0]
        in_words = f"{part} {theirs.function.__name__} in place of {ours.function.__name__}"
        texts.append(filled(convention, first) if convention else in_words)
    if theirs.over:
        texts.append(over_text())
    mine, yours = dict(theirs.hyper), dict(ours.hyper)
    texts += [f"{name} {_value(mine[name])} in place of {_value(yours[name])}" for name in mine
              if name in yours and mine[name] != yours[name]]  # fmt: skip
    return texts


def _value(value: Value) -> str:
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def over_text() -> str:
    """`sample instead of population standard deviation over 12 answers of the batch`, as in the first batch."""
    case = cases()[0]
    return f"sample instead of population standard deviation over {case.groups.reward.numel()} answers of the batch"


def nearest_algorithm(match: Match, function: Function) -> Algorithm | None:
    """The algorithm of the catalogue with fewest differences, the libraries' defaults first; None if no part is."""
    theirs = match.parts.filled

    def distance(a: Algorithm) -> tuple[float, ...]:
        p = parts_of(a)
        same = [] if function.makes_advantages else [p.fit.function is theirs.fit.function,
                                                     p.aggregation == theirs.aggregation]  # fmt: skip
        same += [] if function.handed_advantages else [p.credit.function is theirs.credit.function]
        return (-sum(same), len(parted_by(theirs, p, function)), -bool(a.default_of), -bool("grpo" in a.name))

    nearest = min(of_catalog(), key=distance)
    return nearest if distance(nearest)[0] <= (-1 if function.makes_advantages else -2) else None


def _name_of(match: Match, function: Function) -> str:
    text = " x ".join(name for _, name, _ in described(match, function))
    if (function.makes_advantages or function.handed_advantages) and not match.differences:
        same = [a.name for a in of_catalog() if not parted_by(match.parts, parts_of(a), function)]
        what = "credit" if function.makes_advantages else "loss"
        return f"{text}, the {what} of {first_of(same, 8)}" if same else text
    return f"{text}, which is {' and '.join(match.algorithms)}" if match.algorithms else text


def described(match: Match, function: Function) -> list[tuple[str, str, str]]:
    """Its parts: which, their name with hyperparameters, their equation."""
    parts = match.parts.filled if match.parts.credit.scaled else match.parts
    rows = [("credit", shown(parts.credit), equation(parts.credit.function))]
    if function.handed_advantages:
        again = parts.credit.function is not credit.baseline_advantage
        rows = [("credit", f"{shown(parts.credit)} of the advantages it is handed", rows[0][2])] if again else []
    if function.makes_advantages:
        return rows
    from tpobench.algorithms import aggregation  # noqa: PLC0415 - a module of many names

    scale = equation(getattr(aggregation, parts.aggregation, _token_sum))
    return [*rows, ("aggregation", parts.aggregation, scale), ("fit", shown(parts.fit), equation(parts.fit.function))]


def _token_sum() -> None:
    """sum over an answer's tokens."""


def shown(setting: Setting) -> str:
    """A part with the hyperparameters that are on."""
    hyper = [(k, v) for k, v in dataclasses.replace(setting).hyper if v is not None]
    if ("clip_high", dict(hyper).get("clip")) in hyper:
        hyper = [(k, v) for k, v in hyper if k != "clip_high"]
    return dataclasses.replace(setting, hyper=tuple(hyper)).name + (f", {over_text()}" if setting.over else "")
