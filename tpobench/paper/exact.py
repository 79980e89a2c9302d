"""Printed numbers that follow from the algorithms alone, computed through the catalogue's credit and fit, no formula.

The tabular task of section 3.2 with one context of 10 actions, and the image bandit's groups for one image of 10
classes (appendices B and C).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.noise import Noise
from tpobench.policies.tables import TablePolicy
from tpobench.tasks.bandit import ContextsTask
from tpobench.tasks.catalog import ContextsSettings
from tpobench.tasks.classification import classify, one_hot
from tpobench.tasks.mechanism import expected_update
from tpobench.training.loop import loss_gradient

ACTIONS = 10
SCORES = "group_pg"  # the algorithm whose credit is TPO's standardised scores
UNEVEN = (0.2, 0.35, 0.15, 0.1, 0.08, 0.05, 0.03, 0.02, 0.015, 0.005)  # probabilities of 10 classes, for appendix C


def exact(name: str, arguments: tuple[str, ...]) -> float:
    """The number of an algorithm: a kind of EXACT with its arguments.

    coefficient p       beta(p) of the exact update beta (e_y - pi), the right action having probability p
    odds                by what TPO's target multiplies the odds of the right action
    score right|wrong   TPO's standardised score of an action
    success|failure drawn|other
                        the same for one drawn class, right or wrong, and for a class that was not drawn
    expected other      size of the algorithm's expected update on an image, in that of another algorithm
    """
    kind, *rest = arguments
    return EXACT[kind](name, *rest)


def coefficient(name: str, p: str) -> float:
    """-dL/dlogit_y / (1 - p), for the exact update of one context."""
    task, policy = _context(float(p))
    algorithm, rollout = ALGORITHMS[name], task.rollout(policy, 0)
    credit = algorithm.credit_for(rollout.groups)
    (gradient,) = loss_gradient(task, policy, algorithm, rollout, credit, at_snapshot=True)
    return -float(gradient[0, 0, 0]) / (1 - float(p))


def _context(p: float) -> tuple[ContextsTask, TablePolicy]:
    task = ContextsTask(ContextsSettings(contexts=1, arms=ACTIONS), Noise("exact", "", (0,), torch.float64))
    logits = torch.zeros(1, 1, ACTIONS, dtype=torch.float64)
    logits[..., 0] = math.log(p * (ACTIONS - 1) / (1 - p))
    return task, TablePolicy.from_logits(logits)


def odds(name: str) -> float:
    """q_y / (1 - q_y) over p / (1 - p), at any p."""
    task, policy = _context(0.1)
    q = float(ALGORITHMS[name].credit_for(task.rollout(policy, 0).groups)[0, 0, 0])
    return q / (1 - q) / (0.1 / 0.9)


def score(name: str, action: str) -> float:
    """The standardised score of the right action, or of another."""
    task, policy = _context(0.1)
    del name  # TPO's scores are the credit of the algorithm that keeps them
    u = ALGORITHMS[SCORES].credit_for(task.rollout(policy, 0).groups)
    return float(u[0, 0, 0 if action == "right" else 1])


def drawn_score(name: str, who: str, *, drawn: int) -> float:
    """The standardised score where class `drawn` was drawn, of it or of another; class 0 is right."""
    del name
    log_pi = _uneven()
    label, action = (torch.full((1, 1), k) for k in (0, drawn))
    u = ALGORITHMS[SCORES].credit_for(classify(log_pi, label, one_hot(action, log_pi)))
    return float(u[0, 0, drawn if who == "drawn" else 2])


def _uneven() -> Tensor:
    """Log pi of one image of class 0."""
    return torch.tensor(UNEVEN, dtype=torch.float64).log().log_softmax(-1).view(1, 1, -1)


def expected(name: str, other: str) -> float:
    """|E g| of one algorithm over that of another, the expectation over the drawn class."""
    first, second = _expected(name), _expected(other)
    return float((first @ second) / (second @ second))


def _expected(name: str) -> Tensor:
    return expected_update(ALGORITHMS[name], _uneven(), torch.zeros(1, 1, dtype=torch.int64)).flatten()


EXACT: Mapping[str, Callable[..., float]] = {
    "coefficient": coefficient,
    "odds": odds,
    "score": score,
    "success": partial(drawn_score, drawn=0),
    "failure": partial(drawn_score, drawn=1),
    "expected": expected,
}
