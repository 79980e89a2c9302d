"""Cost of one training step of the sequence suites, by shape, kernel and part, on one thread.

usage: python benchmarks/sequence.py [--kernels plain,native] [--seeds 5] [--steps 4] [--shape d] [--json]

Per shape: milliseconds of processor time per episode and seed (median over steps, mean over seeds), split into rollout,
packing of the prefix tree, forward with loss, backward and optimiser; how many times as fast the second kernel is (mean
over seeds, beside its goal); and the fraction of the matrix-multiply peak measured in the same run.  The kernels take
turns step by step, on the same prompts and uniforms, so that what else the machine does falls on both.
Useful work counts the N distinct prefixes of a batch only, at 2 floating-point operations per multiply-add of the
linear layers, once for the rollout and three times per epoch; padding, attention and the optimiser count as waste.
"start" is the untrained policy, "late" one taught by cross-entropy until 90 % of its rollouts are right.  Token rules
(d) have one rollout per prompt, with K = 8 next tokens in each state.  The kernel `static` computes equal prefixes as
often as they were drawn and leaves no context out: what it costs on a CPU never to wait for a device.
"""

import argparse
import json
import statistics

import numpy as np
import torch
from clock import Laps, matmul_peak

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.native import forest
from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import Paths
from tpobench.policies.transformer import HIDDEN, LAYERS, MODEL
from tpobench.tasks.catalog import SequenceSettings, TokensSettings
from tpobench.tasks.rewards import target_tokens
from tpobench.tasks.sequence import Inputs, SequenceTask
from tpobench.tasks.settings import STATIC_KERNEL
from tpobench.tasks.task import Rollout
from tpobench.tasks.tokens import TokensTask
from tpobench.training.loop import contributing_rows, make_optimizer

MULTIPLY_ADDS_PER_TOKEN = LAYERS * (4 * MODEL * MODEL + 2 * MODEL * HIDDEN)
A = {"length": 10, "prompts": 100, "candidates": 8}
SINGLE = {"length": 10, "prompts": 100, "candidates": 1}
TOKENS = {"vocabulary": 16, **A}
SHAPES = [  # name, algorithm, settings, whether it is taught, how many times as fast the native kernel should be
    ("a start", "tpo", A, False, 3.3),
    ("a late", "tpo", A, True, 3.0),
    ("b start", "tpo", {"length": 8, "prompts": 256, "candidates": 32}, False, 3.3),
    ("c PPO", "ppo", SINGLE, False, 2.6),
    ("c DG", "dg", SINGLE, False, None),
    ("c PPO B=800", "ppo", {**SINGLE, "prompts": 800}, False, 3.4),
    ("d TPO_token start", "tpo_token", TOKENS, False, 2.3),
    ("d TPO_token late", "tpo_token", TOKENS, True, None),
]
PARTS = ("rollout", "pack", "loss", "backward", "optimizer")


def make_task(name: str, shape: dict, seed: int, kernel: str) -> SequenceTask:
    """The task of an algorithm."""
    noise = Noise("benchmark", "", (seed,))
    if ALGORITHMS[name].unit == "token":
        return TokensTask(TokensSettings(**shape), noise, kernel)
    return SequenceTask(SequenceSettings(**shape), noise, kernel)


def teach(task: SequenceTask, policy, success: float) -> None:
    """Cross-entropy on right answers until the mean probability of a right rollout reaches `success`."""
    s, optimizer = task.settings, make_optimizer("muon", 1e-3, policy)
    for step in range(2000):
        prompts = task.noise.integers("teach", step, s.vocabulary, (100, s.length))
        answer = target_tokens(prompts, s.target, s.vocabulary).unsqueeze(2)
        sequence_logp = task._logp(policy, Inputs(policy.paths(prompts, answer)), None).sum(-1)
        if sequence_logp.exp().mean() > success:
            return
        gradient = torch.autograd.grad(-sequence_logp.mean(), policy.parameters)
        optimizer.step(policy.theta, torch.cat([g.flatten(1) for g in gradient], dim=1))


def train_step(task: SequenceTask, policy, algorithm, step: int) -> tuple[dict[str, float], int, int]:
    """Milliseconds of every part of a step, distinct prefixes of its batch, and of all passes over it."""
    optimizer = make_optimizer("muon", 1e-3, policy)
    lap = Laps()
    rollout = task.rollout(policy, step)
    credit = algorithm.credit_for(rollout.groups)
    lap("rollout")
    distinct = passes = tokens_of(task, rollout, None)
    lap.restart()
    if algorithm.unit == "token":
        rollout.inputs.places[None] = task._places(policy, rollout.inputs, None)
    else:
        rollout.inputs.trees[None] = policy.pack(rollout.inputs.paths)
    lap("pack")
    for epoch in range(algorithm.max_epochs or 4):
        static = task.kernel == STATIC_KERNEL  # which leaves nothing out
        keep = None if static else contributing_rows(algorithm, rollout.groups, at_snapshot=epoch == 0)
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
        passes += 3 * tokens_of(task, rollout, keep)
        lap.restart()
    lap.spent["total"] = sum(lap.spent.values())
    return lap.spent, distinct, passes


def tokens_of(task: SequenceTask, rollout: Rollout, keep: torch.Tensor | None) -> int:
    """Distinct prefixes, prompts included, that the log-probs of the contexts `keep` (b,) take."""
    batch = forest.Sequences(*whole(rollout.inputs.paths))
    rows, reach = None if keep is None else keep.numpy(), None
    if rows is not None and isinstance(task, TokensTask):  # contexts are states: each takes the path that leads to it
        T = task.settings.length
        states, (rows, of) = rows, np.unique(rows // T, return_inverse=True)
        reach = np.zeros(len(rows), dtype=np.int64)
        np.maximum.at(reach, of, states % T)
    return forest.pack(batch, task.settings.vocabulary, keep=rows, reach=reach).tokens


def whole(paths) -> tuple[np.ndarray, np.ndarray]:
    """Prompts (S, B, H) and answers of what the policy of any kernel packs."""
    prompts = paths.prompts[paths.prompt_of] if isinstance(paths, Paths) else paths.prompts
    return np.asarray(prompts), np.asarray(paths.actions)


def measure(name: str, shape: dict, *, late: bool, steps: int, seed: int, kernels: list[str]) -> dict[str, dict]:
    """By kernel: median milliseconds of every part of a step, its N, and useful floating-point operations."""
    algorithm = ALGORITHMS[name]
    tasks = {kernel: make_task(name, shape, seed, kernel) for kernel in kernels}
    policies = {kernel: task.make_policy() for kernel, task in tasks.items()}
    teacher = kernels[-1]
    if late:
        teach(tasks[teacher], policies[teacher], 0.9)
    start = policies[teacher].theta.clone()
    rows: dict[str, list] = {kernel: [] for kernel in kernels}
    for step in range(steps + 1):  # the first one warms up
        for kernel in kernels:
            policies[kernel].theta.copy_(start)  # every step is timed from the same policy
            rows[kernel].append(train_step(tasks[kernel], policies[kernel], algorithm, step))
    medians = {}
    for kernel, results in rows.items():
        spent, distinct, passes = zip(*results[1:], strict=True)
        medians[kernel] = {k: statistics.median(r[k] for r in spent) for k in (*PARTS, "total")}
        medians[kernel] |= {"N": statistics.median(distinct)}
        medians[kernel] |= {"flop": 2.0 * MULTIPLY_ADDS_PER_TOKEN * statistics.median(passes)}
    return medians


def averaged(seeds: list[dict[str, dict]], peaks: list[float], kernels: list[str]) -> dict[str, dict]:
    """Means over seeds, with the share of the peak, and how many times as fast as the first each kernel is."""
    means = {k: {x: statistics.mean(seed[k][x] for seed in seeds) for x in seeds[0][k]} for k in kernels}
    for k, mean in means.items():
        peak = statistics.mean(peaks)
        mean["peak"] = mean["flop"] / (mean["total"] / 1e3) / peak
        mean["peak_gflops"] = peak / 1e9
        ratios = [seed[kernels[0]]["total"] / seed[k]["total"] for seed in seeds]
        mean["ratio"], mean["ratio_sd"] = statistics.mean(ratios), statistics.pstdev(ratios)
    return means


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", default="plain,native")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--shape", default="", help="how the names of the shapes to measure begin")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kernels, results = options.kernels.split(","), {}
    if not options.json:
        print("milliseconds of processor time per episode and seed, one thread, float32")
        print("| shape | N | kernel | total | " + " | ".join(PARTS) + " | times as fast (goal) | of matmul peak |")
        print("|" + "---|" * (len(PARTS) + 6))
    for label, name, shape, late, goal in (s for s in SHAPES if s[0].startswith(options.shape)):
        seeds, peaks = [], []
        for seed in range(options.seeds):
            peaks.append(matmul_peak(0.5))
            seeds.append(measure(name, shape, late=late, steps=options.steps, seed=seed, kernels=kernels))
        results[label] = averaged(seeds, peaks, kernels)
        for k, r in results[label].items() if not options.json else ():
            parts = " | ".join(f"{r[p]:.1f}" for p in PARTS)
            aim = f" ({goal})" if goal and k == "native" else ""
            times = f"{r['ratio']:.2f} ± {r['ratio_sd']:.2f}{aim}"
            of_peak = f"{r['peak']:.0%} of {r['peak_gflops']:.0f} GFLOP/s"
            print(f"| {label} | {r['N']:.0f} | {k} | {r['total']:.1f} | {parts} | {times} | {of_peak} |", flush=True)
    if options.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
