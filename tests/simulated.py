"""Records as a suite leaves them, simulated: bimodal final errors, diverged and failed runs."""

from __future__ import annotations

import math

import numpy as np

from tpobench.records.results import Results
from tpobench.records.store import RunRecord
from tpobench.scores.cells import arm_of_values
from tpobench.scores.pairing import compare_family
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import Scalar

REPORTING = {
    "metric": "error", "window": 5, "thresholds": [0.1, 0.01], "persist": 3, "solved": 0.05, "worst": 1.0,
    "title": "Simulated suite",
}  # fmt: skip


def record(
    algorithm,
    seed,
    error,
    *,
    cell=None,
    matching="any",
    status="ok",
    reason="",
    success=0.01,
    suite="simulated",
    reward="terminal",
    reporting=None,
    **metrics,
):
    """One run with the errors as they were measured, every ten updates."""
    steps = list(range(0, 10 * len(error), 10))
    curve = {"step": steps, "interactions": [64 * s for s in steps], "gradient_steps": [4 * s for s in steps]}
    curve |= {"error": list(error), **metrics}
    spec = {
        "suite": suite, "suite_version": 1, "cell": cell or {}, "matching": matching,
        "task": {"kind": "sequence", "reward": reward}, "training": {"steps": steps[-1] if steps else 0},
        "algorithm": algorithm, "seed": seed,
    }  # fmt: skip
    return RunRecord(
        id=f"{suite}-{algorithm}-{seed}-{cell}-{matching}",
        spec=spec,
        status=status,
        reason=reason,
        facts={"initial_success": success},
        curve=curve if error else {},
        reporting=REPORTING if reporting is None else reporting,
        provenance={"seed_scheme": "common"},
    )


def search_results(rewards=("terminal", "dense")):
    """A search over lengths for each reward: tpo learns up to 16, grpo up to 8, ppo at every level; ten seeds each."""
    search = {"axis": "length", "easiest": 4, "hardest": 32, "learned": 0.5}
    learn = {"tpo": (10, 10, 7, 0), "grpo": (10, 6, 1, 0), "ppo": (10, 10, 10, 10)}
    return Results(tuple(
        record(name, seed, [0.9, 0.1 if seed < count else 0.9], cell={"length": length, "reward": reward},
               success=1 / length**2, reporting={**REPORTING, "window": 1, "search": search})
        for reward in rewards
        for name, counts in learn.items()
        for length, count in zip((4, 8, 16, 32), counts, strict=True)
        for seed in range(10)
    ))  # fmt: skip


def learning_curve(rng, speed, *, solves, evaluations=101):
    """Falls to nearly nothing where it solves the task, to a plateau where it does not."""
    t = np.arange(evaluations) * 10
    floor = 0.002 if solves else rng.uniform(0.6, 0.95)
    curve = floor + (1 - floor) / (1 + np.exp((t - 1000 / speed) / 60))
    return [float(v) for v in np.clip(curve + rng.normal(0, 0.004, evaluations), 0, 1)]


def grid(rules, *, lengths=(4, 6, 8, 10), rewards=("terminal",), seeds=20, matchings=("any",)):
    """Rules x cells x seeds; the longer the sequence the fewer seeds solve it."""
    rng = np.random.default_rng(7)
    records = []
    for matching in matchings:
        for reward in rewards:
            for length in lengths:
                cell = {"length": length, "reward": reward} if len(rewards) > 1 else {"length": length}
                for k, rule in enumerate(rules):
                    chance = math.exp(-0.03 * (k + 0.5) * length) if reward == "terminal" else 0.97
                    for seed in range(seeds):
                        curve = learning_curve(rng, 8 - 0.5 * length, solves=rng.random() < chance)
                        misalignment = [0.02 * (k + 1) * (1 + 0.2 * rng.normal()) for _ in curve[:-1]] + [None]
                        records.append(
                            record(rule, seed, curve, cell=cell, matching=matching, reward=reward,
                                   success=2.0**-length, misalignment=misalignment)
                        )  # fmt: skip
    return Results(tuple(records))


def family(arms, streams=None):
    """Every pair of arms that map seeds to values, adjusted; all of one stream where none is given."""
    streams = streams or dict.fromkeys(arms, "common")
    reporting = Reporting()
    made = {name: arm_of_values(name, values, reporting, stream=streams[name]) for name, values in arms.items()}
    return compare_family(made, Scalar("final", reporting))
