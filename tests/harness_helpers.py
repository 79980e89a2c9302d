"""A small suite and a trainer of two lines for the tests of the harness."""

import dataclasses
import json
import math
from collections import defaultdict
from typing import NamedTuple

from tpobench.league.model import load_league
from tpobench.planning.plan import PLAIN_KERNEL, plan_runs
from tpobench.suites.load import build_suite, load_suite


class Row(NamedTuple):
    """The shape of tpobench.training.loop.Measurement."""

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


def toml(value):
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def write_suite(path, text):
    """A suite file of a document."""
    path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in text.items()), encoding="utf-8")


def of_league(specs):
    """The suites of the packaged league by name; that of breaking points at the learning rates of some runs."""
    league = load_league()
    at = {s["cell"]["learning_rate"] for s in specs}
    searched = league.sparsity.suite
    searched = dataclasses.replace(searched, grid={**searched.grid, "learning_rate": tuple(sorted(at))})
    return {searched.name: searched} | {event.suite.name: event.suite for event in league.events}


def recorded_and_planned(path):
    """The ids in a packed file, and those that its suites plan today for the same rules, seeds and stacks of seeds."""
    recorded, planned = set(), set()
    of_suite = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        recorded.add(record["id"])
        of_suite[record["spec"]["suite"]].append(record["spec"])
    for name, specs in of_suite.items():
        seeds = {s["seed"] for s in specs}
        copies = {s["task"].get("data_sha256", "") for s in specs} - {""}  # of the data, where it is not published
        scale = "quick" if name.endswith("-quick") else "paper"
        played = of_league(specs) if path.parent.name == "league" else {}
        suite = played.get(name) or load_suite(name.removesuffix("-quick"), scale=scale)
        for sha in copies:
            suite = dataclasses.replace(suite, task={**suite.task, "data_sha256": sha})
        for kernel, batch in {(s.get("kernel", PLAIN_KERNEL), s["seed_batch"]) for s in specs}:
            suite = dataclasses.replace(suite, training=dataclasses.replace(suite.training, seed_batch=batch))
            plan = plan_runs(suite, sorted({s["algorithm"] for s in specs}), sorted(seeds), kernel=kernel)
            planned |= {s.run_id for s in (*plan.specs, *(skip.spec for skip in plan.skipped))}
    return recorded, planned


def noted_runs(monkeypatch, train):
    """Jobs train by `train` from now on; (rule, arms, seed) of every run trained, a list that grows."""
    seen = []

    def noting(job, begin):
        seen.extend((job.specs[0].algorithm, job.specs[0].task["arms"], s.seed) for s in job.specs)
        return train(job, begin)

    monkeypatch.setattr("tpobench.training.loop.train", noting)
    return seen


def fake_train(job, begin=lambda _: None):
    """error = 1 / (seed + step + 2), nan from step 2 on for seed 7; raises when seed 13 is trained."""
    steps = job.specs[0].training["steps"]
    yield Row(0, 0, 0, "initial_success", tuple(0.25 for _ in job.seeds))
    for step in range(steps + 1):
        begin(step)
        if 13 in job.stack(step) and step == 1:
            msg = "seed 13 is unlucky"
            raise ValueError(msg)
        value = tuple(math.nan if seed == 7 and step >= 2 else 1 / (seed + step + 2) for seed in job.stack(step))
        yield Row(step, 4 * step, step, "error", value)
