"""What the paper proves or prints as a formula, against the catalogue's credit, fit and gradients.

One context of the tabular task (section 3.2, appendix B), one image of 10 classes (appendix C), and one group of four
candidates (proposition 1, section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import CandidateGroups
from tpobench.policies.noise import Noise
from tpobench.policies.tables import TablePolicy
from tpobench.suites.load import load_suite
from tpobench.tasks.bandit import ContextsTask
from tpobench.tasks.catalog import ContextsSettings
from tpobench.tasks.mechanism import expected_update
from tpobench.training.loop import loss_gradient

ACTIONS = 10
SCORES = "group_pg"  # the algorithm whose credit is TPO's standardised scores
LAMBDA = math.exp(10 / 3)  # as printed, for 10 actions
UNEVEN = (0.2, 0.35, 0.15, 0.1, 0.08, 0.05, 0.03, 0.02, 0.015, 0.005)  # probabilities of 10 classes, for appendix C
EVEN = (0.2, *(0.8 / 9,) * 9)
GRID = (0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
NEAR_0 = (1e-6, 1e-5)
OLD = (0.4, 0.3, 0.2, 0.1)  # probabilities of four candidates
MOVE = (0.3, -0.2, 0.1, -0.4)  # of their log-probs


def coefficient(name: str, p: str) -> float:
    """-dL/dlogit_y / (1 - p), for the exact update of one context."""
    task, policy = context(float(p))
    algorithm, rollout = ALGORITHMS[name], task.rollout(policy, 0)
    credit = algorithm.credit_for(rollout.groups)
    (gradient,) = loss_gradient(task, policy, algorithm, rollout, credit, at_snapshot=True)
    return -float(gradient[0, 0, 0]) / (1 - float(p))


def context(p: float) -> tuple[ContextsTask, TablePolicy]:
    """One context of 10 actions, the first of which is right and has probability p."""
    task = ContextsTask(ContextsSettings(contexts=1, arms=ACTIONS), Noise("exact", "", (0,), torch.float64))
    logits = torch.zeros(1, 1, ACTIONS, dtype=torch.float64)
    logits[..., 0] = math.log(p * (ACTIONS - 1) / (1 - p))
    return task, TablePolicy.from_logits(logits)


BETA: Mapping[str, Callable[[float], float]] = {  # section 3.2
    "ce": lambda _: 1.0,
    "dg": lambda p: p / (1 + p),
    "grpo": lambda p: math.sqrt(p / (1 - p)),
    "tpo": lambda p: p * (LAMBDA - 1) / (1 - p + LAMBDA * p),
}


def curve(name: str) -> float:
    """The largest relative distance of beta(p) from the printed formula."""
    return max(abs(coefficient(name, repr(p)) / BETA[name](p) - 1) for p in GRID)


def vanishing(name: str) -> float:
    """d log beta / d log p as p falls to 0: 1 where beta falls as p does, 1/2 as sqrt(p), 0 where it stays."""
    low, high = (math.log(coefficient(name, repr(p))) for p in NEAR_0)
    return (high - low) / math.log(NEAR_0[1] / NEAR_0[0])


def image(probabilities: tuple[float, ...]) -> Tensor:
    """Log pi of one image of class 0: (1, 1, 10)."""
    return torch.tensor(probabilities, dtype=torch.float64).log().log_softmax(-1).view(1, 1, -1)


def expected(name: str, log_pi: Tensor) -> Tensor:
    """The expected update of the logits of one image of class 0: (10,)."""
    return expected_update(ALGORITHMS[name], log_pi, torch.zeros(1, 1, dtype=torch.int64)).flatten()


def _gamma(r: Tensor) -> Tensor:
    return r * (LAMBDA - 1) / (LAMBDA * (1 - r) + r)


def _general(name: str, pi: Tensor) -> Tensor:
    """Appendix C: the update of an image whose wrong classes have any probabilities."""
    eye, p, b = torch.eye(len(pi), dtype=pi.dtype), pi[0], pi.square().sum()
    v, wrong = eye[0] - pi, pi[1:, None]
    if name == "dg":
        right = p * (1 - b) * torch.sigmoid((1 - b) * (1 / p).log()) * v
        return right - b * (wrong * torch.sigmoid(-b * (1 / wrong).log()) * (eye[1:] - pi)).sum(0)
    if name == "tpo":
        return p * BETA["tpo"](float(p)) * v + (wrong * _gamma(wrong) * (pi - eye[1:])).sum(0)
    return {"reinforce": 1, "group_pg": 6}[name] * p * v


def _symmetric(name: str, pi: Tensor) -> Tensor:
    """Appendix C: beta_sym(p) (e_y - pi), for wrong classes that are equally likely."""
    p, q = pi[0], pi[1]
    b = p**2 + 9 * q**2
    of_dg = p * (1 - b) * torch.sigmoid((1 - b) * (1 / p).log()) + p * b * torch.sigmoid(-b * (1 / q).log())
    beta = {"dg": of_dg, "tpo": p * BETA["tpo"](float(p)) + p * _gamma(q)}[name]
    return beta * (torch.eye(len(pi), dtype=pi.dtype)[0] - pi)


def update(name: str, wrong: str) -> float:
    """The largest distance of an image's expected update from the printed formula, wrong classes even or uneven."""
    log_pi, printed = (image(EVEN), _symmetric) if wrong == "even" else (image(UNEVEN), _general)
    return float((expected(name, log_pi) - printed(name, log_pi.flatten().exp())).abs().max())


def _group(reward: tuple[float, ...]) -> CandidateGroups:
    old = torch.tensor(OLD, dtype=torch.float64).log().view(1, 1, -1, 1)
    r = torch.tensor(reward, dtype=torch.float64).view(1, 1, -1)
    return CandidateGroups(
        old_logp=old, mask=torch.ones_like(old), reward=r, baseline=torch.zeros(1, 1, 1, dtype=torch.float64),
        weight=torch.full_like(r, 1 / len(OLD)), score=r, draws=len(OLD),
    )  # fmt: skip


def _gradient(name: str, groups: CandidateGroups, logp: Tensor) -> Tensor:
    """d loss / d log-probs of the candidates: (4,)."""
    leaf = logp.detach().requires_grad_()
    loss = ALGORITHMS[name].loss(leaf, groups, ALGORITHMS[name].credit_for(groups)).sum()
    return torch.autograd.grad(loss, leaf)[0].flatten()


def _moved(groups: CandidateGroups) -> Tensor:
    return groups.old_logp + torch.tensor(MOVE, dtype=torch.float64).view(1, 1, -1, 1)


def proposition(name: str, part: str) -> float:
    """How far an algorithm is from a statement of proposition 1, on a group with two successes.

    maximizer    sum q u - KL(q || p_old) of the target, below its largest value log sum p_old exp(u)
    gradient     d loss / d log-probs - (p - q), p being the policy over the candidates after a move
    stationary   d loss / d log-probs where p = q
    """
    groups = _group((1.0, 0.0, 0.0, 1.0))
    q, u = (ALGORITHMS[a].credit_for(groups).flatten() for a in (name, SCORES))
    p_old = groups.old_logp.flatten().softmax(0)
    if part == "maximizer":
        return float((p_old * u.exp()).sum().log() - (q * u - q * (q / p_old).log()).sum())
    if part == "gradient":
        moved = _moved(groups)
        return float((_gradient(name, groups, moved) - (moved.flatten().softmax(0) - q)).abs().max())
    return float(_gradient(name, groups, q.log().view(1, 1, -1, 1)).abs().max())


def flat(name: str, epoch: str) -> float:
    """Of a group without a success: |gradient| in the first epoch; later, the update in that of p_old - p."""
    groups = _group((0.0,) * len(OLD))
    if epoch == "first":
        return float(_gradient(name, groups, groups.old_logp).abs().max())
    moved = _moved(groups)
    back = groups.old_logp.flatten().softmax(0) - moved.flatten().softmax(0)
    return float(-(_gradient(name, groups, moved) @ back) / (back @ back))


def first_success(name: str, suite: str) -> float:
    """(1/V)^H, the chance that a uniform policy answers right."""
    del name
    task = load_suite(suite).task
    return math.pow(float(task["vocabulary"]), -float(task["length"]))


def all_fail(name: str, suite: str) -> float:
    """(1 - (1/V)^H)^K, the chance that none of K candidates of a uniform policy is right."""
    return math.pow(1 - first_success(name, suite), float(load_suite(suite).task["candidates"]))
