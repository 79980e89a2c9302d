"""The authors' code beside ours: cost of a training step, in one process and in turn.

usage: PYTHON benchmarks/reference.py CHECKOUT [--shape a] [--episodes 2] [--rounds 5]

CHECKOUT is a working copy of the TPO paper's public code (it has src/tpo); PYTHON must have JAX, Flax and Optax beside
what tpobench needs.  Both run the shapes of sequence.py: the reference its compiled training loop, whose compilation is
not counted, and ours a step of each kernel.  Milliseconds of processor time per episode and seed, medians over rounds;
each round times the reference, then our kernels.  Of a loop of one episode the compiler drops the update, whose result
nothing reads, so there are at least two.  The reference recomputes every sequence, taught policies cost it as much as
untrained ones.  It spreads over all cores and we take one: in seconds on the clock it is nearer.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sequence import SHAPES, make_task, teach, train_step

from tpobench.algorithms.catalog import ALGORITHMS

GOALS = {"a start": 13, "a late": 38, "b start": 45, "c PPO": 3.5, "c DG": 4.5, "d TPO_token start": 27}
WARM_UP = 1


def reference_loop(name: str, shape: dict, episodes: int) -> Callable[[np.ndarray], object]:
    """The reference's compiled loop over some episodes of an algorithm, by seed."""
    from tpo.experiments._trial import _build_trial_run_fns

    task = make_task(name, shape, 0, "plain").settings
    loops = _build_trial_run_fns(
        (name,),
        sequence_length=task.length,
        vocab_size=task.vocabulary,
        num_episodes=episodes,
        batch_size=task.prompts,
        learning_rate=1e-4,  # which it multiplies by ten
        eta=1.0,
        ppo_epsilon=0.2,
        ppo_epochs=4,
        k_candidates=task.candidates if task.candidates > 1 else None,
        target_type=task.target,
        reward_type=task.reward,
    )
    return loops[name]


def measure(name: str, shape: dict, *, late: bool, episodes: int, rounds: int, kernels: list[str]) -> dict[str, float]:
    """Median milliseconds per episode of the reference and of our kernels, and the distinct prefixes of a step."""
    import jax

    loop, algorithm = reference_loop(name, shape, episodes), ALGORITHMS[name]
    tasks = {kernel: make_task(name, shape, 0, kernel) for kernel in kernels}
    policies = {kernel: task.make_policy() for kernel, task in tasks.items()}
    if late:
        teach(tasks[kernels[-1]], policies[kernels[-1]], 0.9)
    start = policies[kernels[-1]].theta.clone()
    spent: dict[str, list[float]] = {"reference": [], **{kernel: [] for kernel in kernels}, "N": []}
    for step in range(rounds + WARM_UP):
        before = time.process_time()
        jax.block_until_ready(loop(np.array([step])))
        spent["reference"].append(1e3 * (time.process_time() - before) / episodes)
        for kernel in kernels:
            policies[kernel].theta.copy_(start)
            laps, distinct, _ = train_step(tasks[kernel], policies[kernel], algorithm, step)
            spent[kernel].append(laps["total"])
        spent["N"].append(distinct)
    return {k: statistics.median(values[WARM_UP:]) for k, values in spent.items()}


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--kernels", default="plain,native")
    parser.add_argument("--shape", default="", help="how the names of the shapes to measure begin")
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.episodes < 2:
        parser.error("--episodes must be at least 2")
    if not (options.checkout / "src" / "tpo").is_dir():
        parser.error(f"{options.checkout} has no src/tpo; give a checkout of the authors' code")
    sys.path.insert(0, str(options.checkout / "src"))
    torch.set_num_threads(1)
    kernels = options.kernels.split(",")
    print("milliseconds of processor time per episode and seed, float32; in brackets: times as fast as the reference")
    print("| shape | N | reference | " + " | ".join(kernels) + " | goal |")
    print("|" + "---|" * (len(kernels) + 4))
    for label, name, shape, late, _ in (s for s in SHAPES if s[0].startswith(options.shape)):
        m = measure(name, shape, late=late, episodes=options.episodes, rounds=options.rounds, kernels=kernels)
        ours = " | ".join(f"{m[k]:.1f} ({m['reference'] / m[k]:.1f})" for k in kernels)
        print(f"| {label} | {m['N']:.0f} | {m['reference']:.0f} | {ours} | {GOALS.get(label, '')} |", flush=True)


if __name__ == "__main__":
    main()
