"""A small suite and a trainer of two lines for the tests of the harness."""

import math
from typing import NamedTuple

from tpobench.suite import build_suite


class Row(NamedTuple):
    """The shape of tpobench.train.Measurement."""

    step: int
    interactions: int
    gradient_steps: int
    metric: str
    value: tuple[float, ...]


def document(**changes):
    """A valid suite file as a document."""
    base = {
        "title": "tiny",
        "seeds": 3,
        "algorithms": ["tpo", "reinforce"],
        "task": {"kind": "bandit", "arms": 5, "samples": 4},
        "training": {"steps": 4, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.1},
    }
    return {**base, **changes}


def sequence_document(**changes):
    """A valid suite file of the sequence task."""
    task = {"kind": "sequence", "length": 3, "prompts": 6, "candidates": 4}
    training = {"steps": 2, "epochs": 4, "optimizer": "muon", "learning_rate": 0.001}
    return {**document(algorithms=["tpo", "ppo"], task=task, training=training), **changes}


def suite(**changes):
    """A valid suite."""
    return build_suite("tiny", document(**changes), "tiny.toml")


def noted_runs(monkeypatch, train):
    """Jobs train by `train` from now on; (rule, arms, seed) of every run trained, a list that grows."""
    seen = []

    def noting(job):
        seen.extend((job.specs[0].algorithm, job.specs[0].task["arms"], s.seed) for s in job.specs)
        return train(job)

    monkeypatch.setattr("tpobench.train.train", noting)
    return seen


def fake_train(job):
    """error = 1 / (seed + step + 2), nan from step 2 on for seed 7; raises when seed 13 is trained."""
    steps = job.specs[0].training["steps"]
    yield Row(0, 0, 0, "initial_success", tuple(0.25 for _ in job.seeds))
    for step in range(steps + 1):
        if 13 in job.seeds and step == 1:
            msg = "seed 13 is unlucky"
            raise ValueError(msg)
        value = tuple(math.nan if seed == 7 and step >= 2 else 1 / (seed + step + 2) for seed in job.seeds)
        yield Row(step, 4 * step, step, "error", value)
