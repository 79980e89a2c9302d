"""Cost of one training step of the sequence suites, by shape and by part, on one thread.

usage: python benchmarks/sequence.py [--steps 10] [--shape d] [--json]

Per shape: milliseconds of processor time per episode and seed (median over steps, and the smallest), split into
rollout, packing of the prefix tree, forward with loss, backward and optimiser, and the fraction of the matrix-multiply
peak measured in the same run.
Useful work counts the distinct (prompt, prefix) tokens only, at 2 floating-point operations per multiply-add of the
linear layers, once for the rollout and three times per epoch; padding, attention and the optimiser count as waste.
"start" is the untrained policy, "late" one taught by cross-entropy until 90 % of its rollouts are right.  Token rules
(d) have one rollout per prompt, with K = 8 next tokens in each state.
"""

import argparse
import json
import statistics

import numpy as np
import torch
from clock import Laps, matmul_peak

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import build_paths, pack
from tpobench.policies.transformer import HIDDEN, LAYERS, MODEL
from tpobench.tasks.catalog import SequenceSettings, TokensSettings
from tpobench.tasks.rewards import target_tokens
from tpobench.tasks.sequence import Inputs, SequenceTask
from tpobench.tasks.task import Rollout
from tpobench.tasks.tokens import TokensTask
from tpobench.training.loop import contributing_rows, make_optimizer

MULTIPLY_ADDS_PER_TOKEN = LAYERS * (4 * MODEL * MODEL + 2 * MODEL * HIDDEN)
SHAPES = [
    ("a start", "tpo", {"length": 10, "prompts": 100, "candidates": 8}, False),
    ("a late", "tpo", {"length": 10, "prompts": 100, "candidates": 8}, True),
    ("b start", "tpo", {"length": 8, "prompts": 256, "candidates": 32}, False),
    ("c PPO", "ppo", {"length": 10, "prompts": 100, "candidates": 1}, False),
    ("c DG", "dg", {"length": 10, "prompts": 100, "candidates": 1}, False),
    ("c PPO B=800", "ppo", {"length": 10, "prompts": 800, "candidates": 1}, False),
    ("d TPO_token start", "tpo_token", {"vocabulary": 16, "length": 10, "prompts": 100, "candidates": 8}, False),
    ("d TPO_token late", "tpo_token", {"vocabulary": 16, "length": 10, "prompts": 100, "candidates": 8}, True),
]
PARTS = ("rollout", "pack", "loss", "backward", "optimizer")


def teach(task: SequenceTask, policy, success: float) -> None:
    """Cross-entropy on right answers until the mean probability of a right rollout reaches `success`."""
    s, optimizer = task.settings, make_optimizer("muon", 1e-3, policy)
    for step in range(2000):
        prompts = task.noise.integers("teach", step, s.vocabulary, (100, s.length))
        answer = target_tokens(prompts, s.target, s.vocabulary).unsqueeze(2)
        inputs = Inputs(build_paths(prompts.numpy(), answer.numpy(), s.vocabulary))
        sequence_logp = task._logp(policy, inputs, None).sum(-1)
        if sequence_logp.exp().mean() > success:
            return
        gradient = torch.autograd.grad(-sequence_logp.mean(), policy.parameters)
        optimizer.step(policy.theta, torch.cat([g.flatten(1) for g in gradient], dim=1))


def measure(name: str, shape: dict, *, late: bool, steps: int) -> dict[str, float]:
    """Median milliseconds of every part of a step, and useful floating-point operations per step."""
    algorithm, noise = ALGORITHMS[name], Noise("benchmark", "", (0,))
    token = algorithm.unit == "token"
    task = TokensTask(TokensSettings(**shape), noise) if token else SequenceTask(SequenceSettings(**shape), noise)
    policy = task.make_policy()
    if late:
        teach(task, policy, 0.9)
    start, epochs = policy.theta.clone(), algorithm.max_epochs or 4
    rows = []
    for step in range(steps + 2):
        policy.theta.copy_(start)  # every step is timed from the same policy
        optimizer = make_optimizer("muon", 1e-3, policy)
        lap = Laps()
        rollout = task.rollout(policy, step)
        credit = algorithm.credit_for(rollout.groups)
        lap("rollout")
        useful = tokens_of(rollout, None)
        if token:
            rollout.inputs.places[None] = task._places(policy, rollout.inputs, None)
        else:
            rollout.inputs.trees[None] = pack(rollout.inputs.paths, task.settings.vocabulary)
        lap("pack")
        for epoch in range(epochs):
            keep = contributing_rows(algorithm, rollout.groups, at_snapshot=epoch == 0)
            groups, weights = rollout.groups, credit
            if keep is not None:
                groups, weights = groups.rows(keep), credit.index_select(1, keep)
            if keep is not None and not len(keep):
                continue
            loss = algorithm.loss(task.logp(policy, rollout, keep), groups, weights).sum()
            lap("loss")
            gradient = torch.autograd.grad(loss, policy.parameters)
            flat = torch.cat([g.flatten(1) for g in gradient], dim=1)
            lap("backward")
            optimizer.step(policy.theta, flat)
            lap("optimizer")
            useful += 3 * tokens_of(rollout, keep)
            lap.restart()
        lap.spent["total"] = sum(lap.spent.values())
        lap.spent["flop"] = 2.0 * useful * MULTIPLY_ADDS_PER_TOKEN
        rows.append(lap.spent)
    found = {k: statistics.median(r[k] for r in rows[2:]) for k in (*PARTS, "total", "flop")}
    return {**found, "least": min(r["total"] for r in rows[2:])}


def tokens_of(rollout: Rollout, keep: torch.Tensor | None) -> int:
    """Distinct tokens, prompts included, that the log-probs of the contexts `keep` (b,) take."""
    paths = rollout.inputs.paths
    if keep is None:
        return len(paths.row) + paths.prompts.size
    path, prompts = paths.path, paths.prompt_of
    if rollout.groups.reward.shape[1] == prompts.shape[1]:
        path = path[:, keep.numpy()]
    else:  # contexts are states: each takes the path that leads to it
        T = paths.actions.shape[-1]
        keep, until = keep.div(T, rounding_mode="floor"), keep.remainder(T).numpy()
        path = path[:, keep.numpy()]
        path = path[:, np.arange(T - 1) < until[:, None, None]]
    return len(np.unique(path)) + len(np.unique(prompts[:, keep.numpy()])) * paths.prompts.shape[1]


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--shape", default="", help="how the names of the shapes to measure begin")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for label, name, shape, late in (s for s in SHAPES if s[0].startswith(options.shape)):
        peak = matmul_peak()
        results[label] = measure(name, shape, late=late, steps=options.steps)
        results[label]["peak"] = results[label]["flop"] / (results[label]["total"] / 1e3) / peak
        results[label]["peak_gflops"] = peak / 1e9
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print("milliseconds of processor time per episode and seed, one thread, float32")
    print("| shape | total | least | " + " | ".join(PARTS) + " | of matmul peak | peak GFLOP/s |")
    print("|" + "---|" * (len(PARTS) + 5))
    for label, r in results.items():
        parts = " | ".join(f"{r[p]:.1f}" for p in PARTS)
        print(f"| {label} | {r['total']:.1f} | {r['least']:.1f} | {parts} | {r['peak']:.0%} | {r['peak_gflops']:.0f} |")


if __name__ == "__main__":
    main()
