"""Printed numbers that follow from the algorithms alone, computed through the catalogue's credit and fit, no formula.

The tabular task of section 3.2 with one context of 10 actions, and the image bandit's groups for one image of 10
classes (appendices B and C).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.paper import forms
from tpobench.tasks.classification import classify, one_hot


def exact(name: str, arguments: tuple[str, ...]) -> float:
    """The number of an algorithm: a kind of EXACT with its arguments.

    coefficient p       beta(p) of the exact update beta (e_y - pi), the right action having probability p
    odds                by what TPO's target multiplies the odds of the right action
    score right|wrong   TPO's standardised score of an action
    success|failure drawn|other
                        the same for one drawn class, right or wrong, and for a class that was not drawn
    expected other      size of the algorithm's expected update on an image, in that of another algorithm
    curve, vanishing    beta(p) at all p: its distance from the printed formula, and its order as p falls to 0
    update even|uneven  the expected update on an image: its distance from the printed formula
    proposition maximizer|gradient|stationary
                        how far proposition 1 is from true
    flat first|later    gradient of a group without a success in the first epoch, and its pull in later ones
    first_success, all_fail suite
                        of a uniform policy in a suite
    """
    kind, *rest = arguments
    return EXACT[kind](name, *rest)


def odds(name: str) -> float:
    """q_y / (1 - q_y) over p / (1 - p), at any p."""
    task, policy = forms.context(0.1)
    q = float(ALGORITHMS[name].credit_for(task.rollout(policy, 0).groups)[0, 0, 0])
    return q / (1 - q) / (0.1 / 0.9)


def score(name: str, action: str) -> float:
    """The standardised score of the right action, or of another."""
    task, policy = forms.context(0.1)
    del name  # TPO's scores are the credit of the algorithm that keeps them
    u = ALGORITHMS[forms.SCORES].credit_for(task.rollout(policy, 0).groups)
    return float(u[0, 0, 0 if action == "right" else 1])


def drawn_score(name: str, who: str, *, drawn: int) -> float:
    """The standardised score where class `drawn` was drawn, of it or of another; class 0 is right."""
    del name
    log_pi = forms.image(forms.UNEVEN)
    label, action = (torch.full((1, 1), k) for k in (0, drawn))
    u = ALGORITHMS[forms.SCORES].credit_for(classify(log_pi, label, one_hot(action, log_pi)))
    return float(u[0, 0, drawn if who == "drawn" else 2])


def expected(name: str, other: str) -> float:
    """|E g| of one algorithm over that of another, the expectation over the drawn class."""
    first, second = (forms.expected(one, forms.image(forms.UNEVEN)) for one in (name, other))
    return float((first @ second) / (second @ second))


EXACT: Mapping[str, Callable[..., float]] = {
    "coefficient": forms.coefficient,
    "odds": odds,
    "score": score,
    "success": partial(drawn_score, drawn=0),
    "failure": partial(drawn_score, drawn=1),
    "expected": expected,
    "curve": forms.curve,
    "vanishing": forms.vanishing,
    "update": forms.update,
    "proposition": forms.proposition,
    "flat": forms.flat,
    "first_success": forms.first_success,
    "all_fail": forms.all_fail,
}
