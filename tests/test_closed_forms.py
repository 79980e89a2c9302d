"""The direction of every algorithm's first update in the exact bandit, by hand: beta(p) (e_y - pi).

One arm of probability p pays 1, the others nothing.  Population: the expectation under pi_old.  Finite groups: K draws,
averaged over all that can be drawn, where k ~ Bin(K, p) successes give
beta(p; K) = E_k [k A_success - (K - k) A_failure p / (1 - p)] / K.
"""

# ruff: noqa: ARG005 - a table of formulas that need not use all they are given

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import CandidateGroups

ARMS = 10
P = torch.tensor([0.001, 0.01, 0.1, 0.3, 0.5, 0.9], dtype=torch.float64)
Z = (P / (1 - P)).sqrt()  # of a group's z-scores
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def tilt(scale: Tensor | float) -> Tensor:
    """What a target q ~ pi exp(r scale) asks for: q_y - p over 1 - p."""
    factor = torch.exp(torch.as_tensor(scale, dtype=torch.float64))
    return P * (factor - 1) / (1 - P + factor * P)


TPO = ARMS / math.sqrt(ARMS - 1)  # the difference of z-scores of all arms, each counted once
GRPO = (
    "grpo", "grpo_no_kl", "grpo_masked", "grpo_token_ratio", "grpo_trl", "grpo_verl", "grpo_deepseek", "dapo",
    "gspo", "luspo", "gmpo", "cispo", "cispo_scalerl", "lite_ppo", "sapo", "vespo", "dppo_tv", "grpo_batch",
)  # fmt: skip
PG = (
    "reinforce", "ppo", "rloo", "rloo_clipped", "dr_grpo", "remax", "mdpo", "opo", "pmd_mean", "dro", "raft", "nsr",
    "prime_rl",
)  # fmt: skip
AWR = 1 / ((P * (1 - P)).sqrt() + 1e-5)
POPULATION: dict[str, tuple[Tensor, dict[str, float]]] = {
    **dict.fromkeys(PG, (P, {})),
    **dict.fromkeys(GRPO, (Z, {"epsilon": 0.0})),
    "ce": (torch.ones_like(P), {}),
    "reinforce_pp": (Z, {}),
    "reinforce_pp_baseline": (Z, {}),
    "gvpo": (0.1 * P, {}),
    "rebel": (4 * P, {}),
    "reinforce_rej": (2 * P, {}),
    "topr": (2 * P, {}),
    "w_reinforce": (1.1 * P, {}),
    "dg": (P / (1 + P), {}),
    "maxrl": (torch.ones_like(P), {"epsilon": 0.0}),
    "group_pg": (P * TPO, {}),
    "tpo": (tilt(TPO), {}),
    "tpo_length_norm": (tilt(TPO), {}),
    "lpo_fwd": (tilt(1 / (P * (1 - P)).sqrt()), {}),
    "lpo_rev": (Z, {}),
    "mpo": (tilt(2.0), {}),
    "pmpo": (0.5 + 0.5 * P / (1 - P), {}),
    "kto_online": (0.05 * P, {}),
    "dpo_online": (0.05 / (1 - P), {}),
    "ipo_online": (10 / (1 - P), {}),
    "grpo_passk": (Z, {"epsilon": 0.0}),
    "awr": (P * ((AWR * (1 - P)).exp().clamp(max=20) - (-AWR * P).exp()), {}),
}


def one_token(logp: Tensor, reward: Tensor, weight: Tensor, draws: float) -> CandidateGroups:
    """Candidates (S, B, K) of one token, with a baseline, a greedy reward and a reference that add nothing."""
    nothing = torch.zeros_like(reward)
    return CandidateGroups(
        old_logp=logp.detach().unsqueeze(-1),
        mask=torch.ones_like(logp.detach()).unsqueeze(-1),
        reward=reward,
        baseline=nothing[..., :1],
        weight=weight,
        score=reward,
        draws=draws,
        label=nothing[..., 0].long(),
        greedy_reward=nothing[..., 0],
        ref_logp=logp.detach().unsqueeze(-1),
        progress=0.0,
    )


@pytest.mark.parametrize("name", POPULATION)
def test_population(name: str) -> None:
    """However the wrong arms share what is left.  Every p is a batch of its own, so that none sees another."""
    beta, hyper = POPULATION[name]
    split = torch.arange(1, ARMS, dtype=torch.float64) / (ARMS * (ARMS - 1) / 2)
    logits = torch.cat([P[:, None], (1 - P)[:, None] * split], -1).log().unsqueeze(1).requires_grad_()
    pi = logits.detach().softmax(-1)
    reward = torch.zeros_like(pi)
    reward[..., 0] = 1
    logp = logits.log_softmax(-1)
    algorithm, groups = ALGORITHMS[name].with_hyper(**hyper), one_token(logp, reward, pi, math.inf)
    loss = algorithm.loss(logp.unsqueeze(-1), groups, algorithm.credit_for(groups))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(-gradient, beta.view(-1, 1, 1) * (reward - pi), **CLOSE)


Advantages = Callable[[int, int], tuple[float, float]]  # (k, K) -> of a success, of a failure


def mixed(success: Callable[[float, int], float], failure: Callable[[float, int], float]) -> Advantages:
    """Advantages by the share f of successes, 0 in groups of equal rewards."""
    return lambda k, K: (success(k / K, K), failure(k / K, K)) if 0 < k < K else (0.0, 0.0)


def weighted(difference: Callable[[float, int], float]) -> Advantages:
    """Listwise targets: P is uniform at the snapshot, q ~ exp(r difference)."""

    def of(k: int, K: int) -> tuple[float, float]:
        if k in {0, K}:
            return 0.0, 0.0
        e = math.exp(difference(k / K, K))
        total = k * e + K - k
        return K * e / total - 1, K / total - 1

    return of


def root(f: float) -> float:
    return math.sqrt(f * (1 - f))


FINITE: dict[str, tuple[Advantages, dict[str, float]]] = {
    "reinforce": (lambda k, K: (1.0, 0.0), {}),
    "raft": (lambda k, K: (1.0, 0.0), {}),
    "nsr": (lambda k, K: (0.0, -1.0), {}),
    "topr": (lambda k, K: (1.0, -1.0), {}),
    "w_reinforce": (lambda k, K: (0.1, -1.0), {}),
    "reinforce_rej": (mixed(lambda f, K: 1.0, lambda f, K: -1.0), {}),
    "dr_grpo": (mixed(lambda f, K: 1 - f, lambda f, K: -f), {}),
    "pmd_mean": (mixed(lambda f, K: 1 - f, lambda f, K: -f), {}),
    "rloo": (mixed(lambda f, K: (1 - f) * K / (K - 1), lambda f, K: -f * K / (K - 1)), {}),
    "rebel": (mixed(lambda f, K: 4 * (1 - f) * K / (K - 1), lambda f, K: -4 * f * K / (K - 1)), {}),
    "gvpo": (mixed(lambda f, K: 0.1 * (1 - f) * K / (K - 1), lambda f, K: -0.1 * f * K / (K - 1)), {}),
    "maxrl": (mixed(lambda f, K: (1 - f) / f, lambda f, K: -1.0), {"epsilon": 0.0}),
    "grpo_no_kl": (mixed(lambda f, K: (1 - f) / root(f), lambda f, K: -f / root(f)), {"epsilon": 0.0}),
    "grpo_token_ratio": (
        mixed(
            lambda f, K: (1 - f) / root(f) * math.sqrt(1 - 1 / K),
            lambda f, K: -f / root(f) * math.sqrt(1 - 1 / K),
        ),
        {"epsilon": 0.0},
    ),
    "lpo_fwd": (weighted(lambda f, K: math.sqrt(1 - 1 / K) / root(f)), {}),
    "mpo": (weighted(lambda f, K: 2.0), {}),
    "pmpo": (mixed(lambda f, K: 0.5 / f, lambda f, K: -0.5 / (1 - f)), {"kl": 0.0}),
    "dpo_online": (mixed(lambda f, K: 0.05 / f, lambda f, K: -0.05 / (1 - f)), {}),
    "ipo_online": (mixed(lambda f, K: 10 / f, lambda f, K: -10 / (1 - f)), {}),
    "kto_online": (mixed(lambda f, K: 0.025, lambda f, K: -0.025), {}),
    "grpo_passk": (lambda k, K: (math.sqrt(K) if k == 1 else 0.0, 0.0), {"epsilon": 0.0}),
}


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("name", FINITE)
def test_finite_groups(name: str, K: int) -> None:
    """Every draw of K from three arms, each a batch of its own, weighted by its probability."""
    advantages, hyper = FINITE[name]
    p = 0.3
    logits = torch.tensor([p, 0.2, 0.5], dtype=torch.float64).log().requires_grad_()
    drawn = torch.tensor(list(itertools.product(range(3), repeat=K)))
    logp = logits.log_softmax(-1)[drawn].unsqueeze(1)
    probability = logp.detach().sum(-1).exp()
    reward = (drawn == 0).double().unsqueeze(1)
    algorithm, groups = ALGORITHMS[name].with_hyper(**hyper), one_token(logp, reward, torch.full_like(reward, 1 / K), K)
    loss = algorithm.loss(logp.unsqueeze(-1), groups, algorithm.credit_for(groups))
    (gradient,) = torch.autograd.grad((probability * loss).sum(), logits)
    beta = 0.0
    for k in range(K + 1):
        success, failure = advantages(k, K)
        beta += math.comb(K, k) * p**k * (1 - p) ** (K - k) * (k * success - (K - k) * failure * p / (1 - p)) / K
    expected = beta * torch.tensor([1 - p, -0.2, -0.5], dtype=torch.float64)
    torch.testing.assert_close(-gradient, expected, **CLOSE)
