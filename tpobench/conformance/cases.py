"""Batches on which losses are compared: drawn from a seed, in float64, of every kind that has hidden a fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from torch import Tensor

from tpobench.algorithms.groups import CandidateGroups
from tpobench.algorithms.trial import Case

NEAR, FAR = 0.25, 2.0  # standard deviation of log-ratios to the snapshot
CLOSE = 1e-4  # rewards so near each other that what is added to their deviation shows
EXTREME = 200.0  # a log-ratio that nobody should meet
JOINT = " + "  # between the names of stacked cases
SINGLE = "single answers (K = 1)"
HANDED = frozenset({"ref_logp", "rollout_logp", "greedy_reward", "value", "entropy", "progress"})  # fields that a
# function can be given; an algorithm that needs others cannot be compared


def batch(
    name: str,
    seed: int,
    shape: tuple[int, int, int] = (3, 4, 6),
    *,
    off: float = NEAR,
    rewards: str = "real",
    lengths: str = "ragged",
) -> Case:
    """Groups (1, B, K, T) of sampled answers, and the log-probs of a policy `off` their snapshot.

    rewards: real numbers, the last of three groups of equal ones; binary; close to each other; or none.
    lengths: ragged, with the first answer as long as the batch; even; or ragged with masked tokens in between.
    """
    B, K, T = shape
    rng = torch.Generator().manual_seed(seed)

    def random(*size: int) -> Tensor:
        return torch.rand(1, B, K, *size, generator=rng, dtype=torch.float64)

    def noise(by: float) -> Tensor:
        return by * torch.randn(1, B, K, T, generator=rng, dtype=torch.float64)

    old_logp = -2 * random(T) - 0.05
    logp = (old_logp + noise(off)).clamp_max(-1e-3) if off else old_logp.clone()
    length = min(2, T) + (random(1) * (T - 1)).floor()  # of two tokens one can be left out
    mask = (torch.arange(T) < length).double() if lengths != "even" else torch.ones_like(old_logp)
    mask[:, 0, 0] = 1
    if lengths == "masked":
        mask = mask * (random(T) > 0.3)
        mask = torch.where(mask.sum(-1, keepdim=True) > 1, mask, (torch.arange(T) >= T - 2).double())
    reward = _rewards(rewards, random)
    groups = CandidateGroups(
        old_logp=old_logp, mask=mask, reward=reward, baseline=reward.mean((1, 2), keepdim=True),
        weight=torch.full_like(reward, 1 / K), score=reward, draws=K, greedy_reward=0.3 + 0 * reward[..., 0],
        ref_logp=(old_logp + noise(0.3)).clamp_max(-1e-3), rollout_logp=(old_logp + noise(0.4)).clamp_max(-1e-3),
        value=random(T), entropy=0.7 * random(T), progress=0.0,
    )  # fmt: skip
    return Case(name, groups, logp)


def _rewards(kind: str, random: Callable[..., Tensor]) -> Tensor:
    reward = 2 * random() - 0.5
    if kind == "none":
        return torch.zeros_like(reward)
    if kind == "close":
        return CLOSE * random()
    if kind == "binary":
        reward = (random() > 0.5).double()
        reward[:, 0, 0], reward[:, 0, -1] = 1, 0
    if reward.shape[1] > 2:
        reward[:, -1] = 1
    return reward


@lru_cache
def on_policy() -> tuple[Case, ...]:
    """Batches at the snapshot, where ratios are 1 and nothing is clipped."""
    return (
        batch("on policy", 1, off=0.0),
        batch("on policy, rewards near each other", 2, off=0.0, rewards="close"),
        batch("on policy, other sizes", 3, (2, 5, 7), off=0.0, rewards="binary"),
    )


@lru_cache
def cases() -> tuple[Case, ...]:
    """Every batch on which a function is asked."""
    return (
        batch("ragged answers", 4),
        *on_policy(),
        batch("equal lengths", 5, lengths="even"),
        batch("successes and failures", 6, rewards="binary"),
        batch("rewards near each other", 7, rewards="close"),
        batch("masked middles", 8, lengths="masked"),
        batch("far off-policy", 9, off=FAR),
        batch("far off-policy, other sizes", 10, (2, 5, 7), off=FAR, rewards="binary"),
        batch("groups that all fail", 11, rewards="none"),
        batch("one token", 12, (3, 4, 1)),
        fine(),
        batch(SINGLE, 13, (6, 1, 6)),
    )


def fine() -> Case:
    """Ratios from 0.4 to 1.6 in steps of 0.005, for advantages above and below 0: where is it clipped?"""
    case = batch("ratios side by side", 14, (2, 4, 60), lengths="even")
    sign = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64).expand(1, 2, 4)
    step = torch.arange(240, dtype=torch.float64).view(60, 1, 2, 2).permute(1, 2, 3, 0)  # so that no answer's ratio is
    # beyond all bounds
    ratio = 0.4 + 0.005 * (step + 0.5)
    log_ratio = torch.empty_like(case.logp)
    log_ratio[:, :, sign[0, 0] == 1] = log_ratio[:, :, sign[0, 0] == 0] = ratio.log()
    old_logp = case.groups.old_logp - 0.6
    case = case.but(old_logp=old_logp, reward=sign, score=sign, baseline=torch.full_like(sign[..., :1], 0.5))
    return dataclasses.replace(case, logp=old_logp + log_ratio)


def uneven() -> Case:
    """Four groups of which the first two have long answers: micro-batches and ranks with different token counts."""
    case = batch("uneven micro-batches", 15, (4, 4, 8))
    length = torch.tensor([8.0, 7.0, 2.0, 3.0], dtype=torch.float64).view(1, 4, 1, 1)
    return case.but(mask=(torch.arange(8) < length).double().expand_as(case.logp).contiguous())


def extreme() -> Case:
    """Log-ratios of +-200."""
    case = batch(f"log-ratios of {EXTREME:g}", 16)
    sign = torch.where(torch.arange(case.logp.numel()).view_as(case.logp) % 2 == 0, 1.0, -1.0)
    return dataclasses.replace(case.but(old_logp=-EXTREME - 1 + 0 * case.logp), logp=-EXTREME - 1 + EXTREME * sign)


def stacked(parts: Iterable[Case]) -> list[Case]:
    """Cases of one shape side by side, as seeds are: algorithms do not mix them."""
    shapes: dict[torch.Size, list[Case]] = {}
    for case in parts:
        shapes.setdefault(case.logp.shape[1:], []).append(case)
    return [_stack(of) for of in shapes.values()]


def _stack(parts: list[Case]) -> Case:
    def joined(name: str) -> object:
        values = [getattr(case.groups, name) for case in parts]
        return torch.cat(values) if isinstance(values[0], Tensor) else values[0]

    groups = CandidateGroups(**{f.name: joined(f.name) for f in dataclasses.fields(CandidateGroups)})  # type: ignore[arg-type]
    return Case(JOINT.join(case.name for case in parts), groups, torch.cat([case.logp for case in parts]))
