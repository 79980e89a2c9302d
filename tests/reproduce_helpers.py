"""Records of planned runs with errors made up for them: nothing is trained."""

from __future__ import annotations

import numpy as np
from harness_helpers import document, sequence_document

from tpobench.paper.evidence import gather
from tpobench.planning.plan import plan_runs
from tpobench.records.store import RunRecord
from tpobench.suites.load import build_suite

STEPS = 20


def tiny(name="tiny", **changes):
    """A bandit suite that is trained for 20 updates by four rules."""
    training = {"steps": STEPS, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.1}
    report = {"window": 5, "thresholds": [0.1, 0.01], "persist": 1}
    base = document(algorithms=["tpo", "grpo", "dg", "reinforce"], seeds=20, training=training, report=report)
    return build_suite(name, {**base, **changes}, name)


def sequences(name="lengths", **changes):
    """Two lengths under both matchings, with two rules that no matching changes and one that it does."""
    grid = {"length": [3, 4], "matching": ["prompts", "interactions"]}
    training = {"steps": STEPS, "epochs": 4, "optimizer": "muon", "learning_rate": 0.001}
    base = sequence_document(
        algorithms=["tpo", "grpo", "ppo"], seeds=20, grid=grid, training=training,
        report={"window": 5, "thresholds": [0.1], "persist": 1},
    )  # fmt: skip
    return build_suite(name, {**base, **changes}, name)


def falling(end, seed=0, *, noise=0.02, steps=STEPS, speed=4.0):
    """An error that falls from 1 to about `end`."""
    random = np.random.default_rng([seed, round(1e6 * end)])
    t = np.linspace(0, 1, steps + 1)
    curve = end + (1 - end) * np.exp(-speed * t / (1 - t + 1e-9)) + noise * random.normal() * t
    return [float(v) for v in np.clip(curve, 0, 1)]


def run_of(spec, suite, error, *, status="ok", reason="", facts=None, provenance=None, **metrics):
    """The record of a planned run."""
    steps = list(range(0, (len(error) - 1) * int(spec.training["record_every"]) + 1, spec.training["record_every"]))
    curve = {"step": steps, "interactions": [64 * s for s in steps], "gradient_steps": steps, "error": list(error)}
    return RunRecord(
        id=spec.run_id,
        spec=spec.as_dict(),
        status=status,
        reason=reason,
        facts=facts or {},
        curve={**curve, **metrics} if status in {"ok", "diverged"} else {},
        reporting=suite.reporting,
        provenance={"seed_scheme": "common", **(provenance or {})},
    )


def evidence_of(suite, ends, *, rules=None, noise=0.02, **changes):
    """Evidence of a whole suite whose errors end near `ends`: of a rule, or of (rule, value of the first axis)."""
    plan = plan_runs(suite, rules)
    records = [
        run_of(s, suite, falling(end, s.seed, noise=noise), **changes)
        for s in plan.specs
        if (end := ends.get((s.algorithm, *s.cell.values()), ends.get(s.algorithm))) is not None
    ]
    return gather(plan, records)
