"""What parts two losses whose equations are the same: how they are scaled, and what they take for their inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from tpobench.algorithms.fit import clipped_sequence_ratio, policy_gradient
from tpobench.algorithms.groups import CandidateGroups, has_reward_variance
from tpobench.algorithms.measure import length
from tpobench.algorithms.modifiers import MODIFIERS
from tpobench.algorithms.ratios import clipped_with_reference_kl
from tpobench.algorithms.regressions import quadratic_trust
from tpobench.algorithms.trial import Case
from tpobench.conformance.cases import HANDED
from tpobench.conformance.parts import Setting, gradient_of

SAME = 1e-6  # relative difference of scales that are one


# ---- scales


def _bessel(n: float) -> float:
    return math.sqrt((n - 1) / n) if n > 1 else math.nan


def _tokens(case: Case) -> float:
    return float(case.groups.mask.sum())


def _answers(case: Case) -> int:
    return case.groups.reward.numel()


def _draws(case: Case) -> int:
    return case.logp.shape[2]


def _informative(case: Case) -> float:
    return float(has_reward_variance(case.groups).mean())


def _inverse(x: float) -> float:
    return 1 / x if x else math.nan


SCALES: dict[str, Callable[[Case], float]] = {
    "summed over answers, not averaged": _answers,
    "summed over groups, not averaged": lambda case: case.logp.shape[1],
    "summed over the answers of a group, not averaged": _draws,
    "sample instead of population standard deviation over {K} answers of a group": lambda case: _bessel(_draws(case)),
    "population instead of sample standard deviation over {K} answers of a group": lambda c: 1 / _bessel(_draws(c)),
    "sample instead of population standard deviation over {N} answers of the batch": lambda c: _bessel(_answers(c)),
    "population instead of sample standard deviation over {N} answers of the batch": lambda c: 1 / _bessel(_answers(c)),
    "sample instead of population standard deviation over {tokens} tokens of the batch": lambda c: _bessel(_tokens(c)),
    "population instead of sample standard deviation over {tokens} tokens of the batch": lambda c: (
        1 / _bessel(_tokens(c))
    ),
    "baseline without the answer itself: K / (K - 1)": lambda case: 1 / _bessel(_draws(case)) ** 2,
    "baseline with the answer itself: (K - 1) / K": lambda case: _bessel(_draws(case)) ** 2,
    "divided by the groups whose rewards differ": lambda case: _inverse(_informative(case)),
}


@dataclass(frozen=True)
class Scale:
    """Theirs is `factor` times ours, by a convention or by none that is known; of every case alike, or not."""

    factor: float
    convention: str = ""

    @property
    def exact(self) -> bool:
        """Whether there is nothing to explain."""
        return not self.convention and abs(self.factor - 1) <= SAME

    @property
    def complexity(self) -> int:
        """How much has to be said."""
        return 2 * bool(self.convention) + (abs(self.factor - 1) > SAME) + (self.factor < 0)

    @property
    def text(self) -> str:
        """A clause, empty where the two are equal."""
        if self.factor < 0 and abs(self.factor + 1) <= SAME:
            return "; ".join(filter(None, (self.convention, "of the other sign: it ascends")))
        times = "" if abs(self.factor - 1) <= SAME else f"{self.factor:.6g} times ours in every case"
        return "; ".join(filter(None, (self.convention, times)))


def explained(scales: Sequence[float], cases: Sequence[Case]) -> Scale | None:
    """What a scale for each case means, nan where a case does not tell; None where no convention fits."""
    known = [(scale, case) for scale, case in zip(scales, cases, strict=True) if math.isfinite(scale)]
    if not known:
        return Scale(1.0)
    options = []
    for convention, of in {"": lambda _: 1.0, **SCALES}.items():
        quotients = [scale / value for scale, case in known if math.isfinite(value := of(case))]
        if len(quotients) == len(known) and max(quotients) - min(quotients) <= SAME * abs(quotients[0]):
            options.append(Scale(quotients[0], filled(convention, known[0][1])))
    return min(options, key=lambda scale: scale.complexity, default=None)


def filled(convention: str, case: Case) -> str:
    """With the numbers of a case."""
    return convention.format(K=_draws(case), N=_answers(case), tokens=f"{_tokens(case):g}")


# ---- penalties: what is added to a loss, as fits of the catalogue give it where there is no credit


def _by_length(gradient: Tensor, groups: CandidateGroups) -> Tensor:
    return gradient * length(groups).unsqueeze(-1)


def _to_reference(case: Case) -> Case:
    return case.but(old_logp=case.groups.ref_logp)


def _to_snapshot(case: Case) -> Case:
    return case.but(ref_logp=case.groups.old_logp)


def _k1(case: Case) -> Tensor:
    return gradient_of(Setting(policy_gradient), case, -torch.ones_like(case.groups.reward))[1]


def _k2(case: Case) -> Tensor:
    zero = torch.zeros_like(case.groups.reward)
    return _by_length(gradient_of(Setting(quadratic_trust, (("beta", 1.0),)), case, zero)[1], case.groups)


def _k3(case: Case, *, kl_ratio: bool = False) -> Tensor:
    fit = Setting(clipped_with_reference_kl, (("kl", 1.0), ("kl_ratio", kl_ratio)))
    return _by_length(gradient_of(fit, case, torch.zeros_like(case.groups.reward))[1], case.groups)


def _k3_upside_down(case: Case) -> Tensor:
    assert case.groups.ref_logp is not None  # noqa: S101 - all cases have one
    return -_k3(dataclasses.replace(case, logp=2 * case.groups.ref_logp - case.logp))


def _k3_of_answers(case: Case) -> Tensor:
    return gradient_of(Setting(clipped_sequence_ratio, (("kl", 1.0),)), case, torch.zeros_like(case.groups.reward))[1]


PENALTIES: dict[str, Callable[[Case], Tensor]] = {
    "KL to the reference policy, estimator k3": _k3,
    "KL to the reference policy, estimator k3 times the ratio": lambda case: _k3(case, kl_ratio=True),
    "KL to the reference policy, estimator k2": lambda case: _k2(_to_reference(case)),
    "KL by estimator k1 (whose gradient is that of log pi, whatever the reference)": _k1,
    "KL from the reference policy (k3 upside down: log pi / pi_ref in place of log pi_ref / pi)": _k3_upside_down,
    "KL to the snapshot, estimator k3": lambda case: _k3(_to_snapshot(case)),
    "KL to the snapshot, estimator k2": _k2,
    "KL to the snapshot, estimator k3 times the ratio": lambda case: _k3(_to_snapshot(case), kl_ratio=True),
    "KL to the snapshot by the ratio of whole answers, estimator k3": _k3_of_answers,
}


# ---- token weights of modifiers


def weights(case: Case) -> Iterator[tuple[str, Tensor]]:
    """What each modifier that only weighs tokens multiplies their gradient with."""
    for name, modifier in MODIFIERS.items():
        if modifier.prepare is not None and modifier.needs <= HANDED:
            prepared = modifier.prepare(case.groups, {})
            if prepared.token_weight is not None and torch.equal(prepared.reward, case.groups.reward):
                yield name, prepared.token_weight.expand_as(case.logp)


# ---- inputs that are taken for others


@dataclass(frozen=True)
class Variant:
    """The same equations on other inputs."""

    text: str
    case: Callable[[Case], Case] = lambda case: case
    negative: bool = False  # of the advantage
    mirrored: bool = False  # log pi_old - log pi in place of log pi - log pi_old


def _mask(change: Callable[[Tensor], Tensor]) -> Callable[[Case], Case]:
    return lambda case: case.but(mask=change(case.groups.mask))


def _late(mask: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(mask[..., :1]), mask[..., :-1]], -1)


def _early(mask: Tensor) -> Tensor:
    return torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)


def _without_first(mask: Tensor) -> Tensor:
    return mask * (mask.cumsum(-1) > 1)


def _without_last(mask: Tensor) -> Tensor:
    return mask * (mask.flip(-1).cumsum(-1).flip(-1) > 1)


VARIANTS = (
    Variant("the advantage is negated", negative=True),
    Variant("the ratio is upside down: pi_old / pi", mirrored=True),
    Variant("the mask is one token early: token t counts where token t + 1 should", _mask(_early)),
    Variant("the mask is one token late: token t counts where token t - 1 should", _mask(_late)),
    Variant("the first token of every answer is left out", _mask(_without_first)),
    Variant("the last token of every answer is left out", _mask(_without_last)),
    Variant("the mask is not used: padding counts", _mask(torch.ones_like)),
    Variant("the ratio is taken to the reference policy", _to_reference),
    Variant("the ratio is taken to the sampler's log-probs", lambda case: case.but(old_logp=case.groups.rollout_logp)),
)
WRONG_SIDE = "the larger of the two terms is taken in place of the smaller: it clips on the wrong side"


@lru_cache
def gates() -> tuple[str, ...]:
    """Modifiers that weigh tokens in every epoch."""
    return tuple(name for name, modifier in MODIFIERS.items() if modifier.gate is not None)
