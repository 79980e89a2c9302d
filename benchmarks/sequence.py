"""Cost of one training step of the sequence suites, by shape and by part, on one thread.

usage: python benchmarks/sequence.py [--steps 10] [--json]

Per shape: milliseconds per episode and seed (median over steps), split into rollout, packing of the prefix tree,
forward with loss, backward and optimiser, and the fraction of the matrix-multiply peak measured in the same run.
Useful work counts the distinct (prompt, prefix) tokens only, at 2 floating-point operations per multiply-add of the
linear layers, once for the rollout and three times per epoch; padding, attention and the optimiser count as waste.
"start" is the untrained policy, "late" one taught by cross-entropy until 90 % of its rollouts are right.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict

import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.noise import Noise
from tpobench.policies.prefix_tree import build_paths, pack
from tpobench.policies.transformer import HIDDEN, LAYERS, MODEL
from tpobench.tasks.rewards import target_tokens
from tpobench.tasks.sequence import Inputs, SequenceTask
from tpobench.tasks.settings import SequenceSettings
from tpobench.train import contributing_rows, make_optimizer

MULTIPLY_ADDS_PER_TOKEN = LAYERS * (4 * MODEL * MODEL + 2 * MODEL * HIDDEN)
SHAPES = [
    ("a start", "tpo", {"length": 10, "prompts": 100, "candidates": 8}, False),
    ("a late", "tpo", {"length": 10, "prompts": 100, "candidates": 8}, True),
    ("b start", "tpo", {"length": 8, "prompts": 256, "candidates": 32}, False),
    ("c PPO", "ppo", {"length": 10, "prompts": 100, "candidates": 1}, False),
    ("c DG", "dg", {"length": 10, "prompts": 100, "candidates": 1}, False),
    ("c PPO B=800", "ppo", {"length": 10, "prompts": 800, "candidates": 1}, False),
]
PARTS = ("rollout", "pack", "loss", "backward", "optimizer")


def matmul_peak(seconds: float = 1.0) -> float:
    """Floating-point operations per second of a 1024 x 1024 product on this thread."""
    a = torch.randn(1024, 1024)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        a @ a
        done += 1
    return done * 2 * 1024**3 / (time.perf_counter() - start)


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
    task = SequenceTask(SequenceSettings(**shape), Noise("benchmark", "", (0,)))
    algorithm, policy = ALGORITHMS[name], task.make_policy()
    if late:
        teach(task, policy, 0.9)
    start, epochs = policy.theta.clone(), algorithm.max_epochs or 4
    rows = []
    for step in range(steps + 2):
        policy.theta.copy_(start)  # every step is timed from the same policy
        optimizer = make_optimizer("muon", 1e-3, policy)
        spent: dict[str, float] = defaultdict(float)
        clock = time.perf_counter()

        def lap(part: str, spent=spent) -> None:
            nonlocal clock
            now = time.perf_counter()
            spent[part] += 1e3 * (now - clock)
            clock = now

        rollout = task.rollout(policy, step)
        credit = algorithm.credit_for(rollout.groups)
        lap("rollout")
        paths, useful = rollout.inputs.paths, 0
        everything = pack(paths, 2)
        rollout.inputs.trees[None] = everything
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
            kept = paths.row if keep is None else paths.path[:, keep.numpy()]
            prompts = paths.prompt_of if keep is None else paths.prompt_of[:, keep.numpy()]
            tokens = len(set(kept.ravel().tolist())) if keep is not None else len(paths.row)
            useful += 3 * (tokens + len(set(prompts.ravel().tolist())) * task.settings.length)
            clock = time.perf_counter()
        useful += len(paths.row) + len(paths.prompts) * task.settings.length
        spent["total"] = sum(spent.values())
        spent["flop"] = 2.0 * useful * MULTIPLY_ADDS_PER_TOKEN
        rows.append(spent)
    return {k: statistics.median(r[k] for r in rows[2:]) for k in (*PARTS, "total", "flop")}


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for label, name, shape, late in SHAPES:
        peak = matmul_peak()
        results[label] = measure(name, shape, late=late, steps=options.steps)
        results[label]["peak"] = results[label]["flop"] / (results[label]["total"] / 1e3) / peak
        results[label]["peak_gflops"] = peak / 1e9
    if options.json:
        print(json.dumps(results, indent=1))
        return
    print("milliseconds per episode and seed, one thread, float32")
    print("| shape | total | " + " | ".join(PARTS) + " | of matmul peak | peak GFLOP/s |")
    print("|" + "---|" * (len(PARTS) + 4))
    for label, r in results.items():
        parts = " | ".join(f"{r[p]:.1f}" for p in PARTS)
        print(f"| {label} | {r['total']:.1f} | {parts} | {r['peak']:.0%} | {r['peak_gflops']:.0f} |")


if __name__ == "__main__":
    main()
