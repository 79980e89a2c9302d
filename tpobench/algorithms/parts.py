"""Algorithms put together from parts: `loo-clipped` is the leave-one-out advantage behind the clipped ratio.

A grid of them takes an algorithm apart: `z,loo,maxrl x clipped,cispo,ce` trains all nine, and a report of their runs
has the main effect of every part.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping

from tpobench.algorithms.advantages import (
    batch_scaled_reward,
    centered_reward,
    leave_one_out_advantage,
    mean_scaled_reward,
    sample_standardized_reward,
)
from tpobench.algorithms.algorithm import Algorithm, Credit, Fit, Modifier
from tpobench.algorithms.credit import batch_standardized_reward, standardized_reward
from tpobench.algorithms.fit import clipped_token_ratio, cross_entropy, delightful_gradient, policy_gradient
from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.lazy import Tensor
from tpobench.algorithms.ranges import Temperature
from tpobench.algorithms.ratios import capped_weight, soft_gate
from tpobench.algorithms.softmax import log_softmax, softmax
from tpobench.errors import UsageError, unknown

TIMES = " x "  # between the factors of a grid
JOINT = "-"  # between a credit and a fit
CREDITS: Mapping[str, Credit] = {
    "centered": centered_reward, "z": standardized_reward, "bessel": sample_standardized_reward,
    "loo": leave_one_out_advantage, "maxrl": mean_scaled_reward, "batch": batch_scaled_reward,
    "batch_z": batch_standardized_reward,
}  # fmt: skip
FITS: Mapping[str, Fit] = {
    "pg": policy_gradient, "clipped": clipped_token_ratio, "cispo": capped_weight, "sapo": soft_gate,
    "dg": delightful_gradient, "ce": cross_entropy,
}  # fmt: skip
OF_TARGETS = ("ce",)  # fits that take a distribution over the candidates
OF_SAMPLES = ("pg", "dg")  # fits without a ratio: a batch is used once


def tilted_by(credit: Credit) -> Credit:
    """The target q_k ~ p_old(k) exp(A_k / eta) of an advantage, as TPO makes it of its z-score."""

    @functools.wraps(credit)
    def target(groups: CandidateGroups, *, eta: Temperature = 1.0, **hyper: float) -> Tensor:
        return softmax(log_softmax(groups.old_sequence_logp) + credit(groups, **hyper) / eta)

    target.__doc__ = "q_k ~ p_old(k) exp(A_k / eta), " + (credit.__doc__ or "").strip().splitlines()[0]
    return target


def parts_of(name: str) -> tuple[str, ...]:
    """(credit, fit, modifiers) of `loo-clipped+icepop`, without those that it has not; () of any other name."""
    plain, *modifiers = name.split("+")
    credit, _, fit = plain.partition(JOINT)
    return (credit, fit, *modifiers) if credit in CREDITS and fit in FITS else ()


def put_together(name: str) -> Algorithm:
    """The algorithm of a credit and a fit.

    Raises:
        KeyError: the name is not of two parts.
    """
    if not parts_of(name):
        raise KeyError(name)
    credit, fit = parts_of(name)[:2]
    targets = fit in OF_TARGETS
    return Algorithm(
        name,
        tilted_by(CREDITS[credit]) if targets else CREDITS[credit],
        FITS[fit],
        compares="draws",
        credit_is="target" if targets else "advantage",
        max_epochs=1 if fit in OF_SAMPLES else None,
        paper=f"parts: credit {credit}, fit {fit}",
    )


def expanded(text: str, modifiers: Mapping[str, Modifier]) -> Iterator[str]:
    """The names of a grid `z,loo x clipped,ce`, or `z,loo x clipped x none,icepop`, in its order.

    Raises:
        UsageError: not two or three lists of parts.
    """
    where = f"--algos '{text}'"
    factors = [[part.strip() for part in factor.split(",") if part.strip()] for factor in text.split(TIMES)]
    if len(factors) not in {2, 3} or not all(factors):
        msg = f"{where}: write credits x fits, such as 'z,loo x clipped,ce', or credits x fits x modifiers"
        raise UsageError(msg)
    kinds = {"credit": CREDITS, "fit": FITS, "modifier": {"none": None, **modifiers}}
    for (kind, valid), parts in zip(kinds.items(), factors, strict=False):
        for part in parts:
            if part not in valid:
                raise unknown(kind, part, valid, where)
    for credit, fit, *more in itertools.product(*factors):
        yield credit + JOINT + fit + "".join(f"+{m}" for m in more if m != "none")
