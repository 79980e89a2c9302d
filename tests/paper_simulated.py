"""Records as the suites of the paper's experiments leave them, simulated; few evaluations, every metric."""

from __future__ import annotations

import itertools

import numpy as np
from simulated import REPORTING, record

from tpobench.records.results import Results

SEQUENCE = ("tpo", "grpo", "grpo_no_kl", "grpo_masked", "ppo", "dg")
TOKENS = ("tpo_token", "grpo_token", "dg", "ppo")
TARGETS = ("copy", "flip", "reverse_copy", "reverse_flip")
SPEED = {"tpo": 3.0, "tpo_token": 4.0, "grpo": 1.5, "grpo_token": 2.0, "ppo": 1.0, "dg": 0.8}
SHIPPED = {
    "bandit": (("tpo", "grpo", "dg", "reinforce"), {}),
    "contexts": (("tpo", "grpo", "dg", "reinforce", "ce"), {}),
    "mnist": (("tpo", "dg", "group_pg", "grpo_batch", "reinforce"), {}),
    "tokens": (TOKENS, {"vocabulary": (2, 4, 8, 16)}),
    "variations": ((*TOKENS, "tpo", "grpo", "grpo_no_kl", "dg_multi_epoch"),
                   {"target": TARGETS, "reward": ("bag_of_tokens", "sequential")}),
    "temperature": (("tpo", "tpo_token"), {"eta": (0.25, 0.5, 1.0, 2.0, 4.0)}),
    "terminal_reward": (("tpo", "grpo", "grpo_no_kl", "ppo", "dg", "tpo_no_anchor", "group_pg"),
                        {"length": (7, 8, 9, 10)}),
    "dg_epochs": (("dg", "dg_multi_epoch"), {}),
    "group_size": (("tpo", "grpo"), {"candidates": (4, 8, 16, 32, 64)}),
    "epochs": (("tpo", "grpo"), {"epochs": (1, 2, 4, 8, 16)}),
    "why": (SEQUENCE, {}),
}  # fmt: skip


def runs(suite, *, seeds=3, scale="paper", evaluations=61, matchings=("prompts", "interactions")):
    """Every rule of a suite in every cell."""
    rules, grid = SHIPPED[suite]
    matched = matchings if suite in {"variations", "terminal_reward"} else ("any",)
    name = suite + "-quick" * (scale == "quick")
    rng = np.random.default_rng(sum(map(ord, suite)))
    return [
        record(rule, seed, _error(rng, rule, values, evaluations), suite=name, matching=matching,
               cell=dict(zip(grid, values, strict=True)), reporting=REPORTING, **_metrics(rng, suite, evaluations))
        for values in itertools.product(*grid.values())
        for matching, rule, seed in itertools.product(matched, rules, range(seeds))
    ]  # fmt: skip


def _error(rng, rule, values, evaluations):
    """Falls with the speed of the rule, slower at the greater values of a numeric axis."""
    harder = np.prod([1 / (1 + float(v) / 8) for v in values if isinstance(v, int | float)] or [1])
    t = np.linspace(0, 6, evaluations)
    falling = np.exp(-SPEED.get(rule, 0.7) * harder * t * rng.uniform(0.6, 1.4))
    return [float(v) for v in np.clip(0.9 * falling + rng.normal(0, 0.004, evaluations), 0, 1)]


def _metrics(rng, suite, evaluations):
    def around(level):
        return [float(v) for v in np.abs(level * rng.normal(1, 0.2, evaluations))]

    if suite in {"bandit", "contexts"}:
        return {"misalignment": [*around(0.1)[:-1], None]}
    if suite == "mnist":
        counts = {f"count{i}": [float(3 * i)] * evaluations for i in range(4)}  # no example in the lowest bin
        return counts | {f"surplus_sum{i}": around(0.2 * i * i) for i in range(4)}
    if suite in {"why", "epochs"}:
        names = ("gradient_norm", "all_fail", "some_success", "weight_success", "weight_failure")
        return {name: around(0.1 * (k + 1)) for k, name in enumerate(names)}
    return {}


def everything(**changes):
    """All suites."""
    return Results(tuple(r for suite in SHIPPED for r in runs(suite, **changes)))
