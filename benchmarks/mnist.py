"""Cost of one update of the MNIST bandit, by algorithm and by part, on one thread; and what stacking seeds saves.

usage: TPOBENCH_DATA_DIR=FOLDER python benchmarks/mnist.py [--data digits] [--allow-unverified-data] [--updates 300]

Per algorithm: CPU milliseconds per update of all seeds together (median over updates), split into gathering images, the
forward pass, drawing and scoring, credit, loss with backward, and the optimiser; per seed; and per seed where each seed
is trained alone.  The fraction of the matrix-multiply peak, measured in the same run, counts the work of dense
layers (2 floating-point operations per multiply-add, of all pixels): skipping black pixels is how it is reached.
Last: an evaluation on all test images, and the diagnostics of an evaluation.
"""

import argparse
import hashlib
import statistics
import time

import torch
from clock import Laps, matmul_peak

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.data import files as data
from tpobench.policies.mlp import Shape
from tpobench.policies.noise import Noise
from tpobench.tasks.catalog import MnistSettings
from tpobench.tasks.mnist import Inputs, MnistTask
from tpobench.tasks.task import Step
from tpobench.training.loop import loss_gradient, make_optimizer
from tpobench.training.watch import finite_seeds

NAMES = ("tpo", "dg", "reinforce", "grpo_batch", "group_pg", "ce")
PARTS = ("images", "forward", "draw", "credit", "backward", "optimizer")
WARM_UP = 10


def data_sha256(*, unverified: bool) -> str:
    """What the settings say of the images: nothing of the published ones, else the fingerprint of the copy at hand."""
    if not unverified:
        return ""
    names = [file.name for file in data.files_of("mnist")]
    return data.fingerprint({n: hashlib.sha256(data.read(n)[0]).hexdigest() for n in names})


def dense_work(shape: Shape, images: int) -> float:
    """Floating-point operations of an update with dense layers: forward, kernels' gradients, activations' gradients."""
    P, H, K = shape
    return 2.0 * images * (2 * (P * H + H * H + H * K) + H * H + H * K)


def measure(name: str, settings: MnistSettings, seeds: int, updates: int) -> dict[str, float]:
    """Median CPU milliseconds of each part of an update, of an evaluation and of its diagnostics."""
    task = MnistTask(settings, Noise("benchmark", "", tuple(range(seeds))))
    algorithm, policy = ALGORITHMS[name], task.make_policy()
    optimizer, rows = make_optimizer("adam", 1e-3, policy), []
    for step in range(updates + WARM_UP):
        lap = Laps()
        index, label, uniform = task._drawn(step)
        bags = task._train.bags(index, policy.shape.rows)
        lap("images")
        inputs = Inputs(*bags, policy.log_probs(*bags), policy.theta._version)
        lap("forward")
        action = task.draw(inputs.log_probs, uniform)
        rollout = task.score(inputs, label, action)
        lap("draw")
        credit = algorithm.credit_for(rollout.groups)
        lap("credit")
        gradient = loss_gradient(task, policy, algorithm, rollout, credit, at_snapshot=True)
        lap("backward")
        with torch.no_grad():
            optimizer.step(policy.theta, gradient[0])
            assert finite_seeds(policy.theta).all()
        lap("optimizer")
        rows.append(lap.spent)
    medians = {part: statistics.median(r[part] for r in rows[WARM_UP:]) for part in PARTS}
    medians["total"] = statistics.median(sum(r.values()) for r in rows[WARM_UP:])
    task.evaluate(policy, rollout)
    for part, call in (
        ("evaluation", lambda: task.evaluate(policy, rollout)),
        ("diagnostics", lambda: task.examine(policy, Step(rollout, algorithm, credit, gradient))),
    ):
        start = time.process_time()
        call()
        medians[part] = 1e3 * (time.process_time() - start)
    medians["work"] = seeds * dense_work(policy.shape, settings.contexts)
    return medians


def main() -> None:
    """Measure every algorithm and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--allow-unverified-data", action="store_true", help="take images that are not the published")
    parser.add_argument("--algos", default=",".join(NAMES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--updates", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sha256 = data_sha256(unverified=options.allow_unverified_data)
    settings, S = MnistSettings(data=options.data, data_sha256=sha256), options.seeds
    print(f"CPU milliseconds, {S} seeds side by side, one thread, float32")
    columns = ("update", *PARTS, "per seed", "per seed, alone", "of matmul peak", "evaluation", "diagnostics")
    print("| algorithm | " + " | ".join(columns) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for name in options.algos.split(","):
        peak = matmul_peak()
        m, alone = measure(name, settings, S, options.updates), measure(name, settings, 1, options.updates)
        share = m["work"] / (m["total"] / 1e3) / peak
        times = [m["total"], *(m[p] for p in PARTS), m["total"] / S, alone["total"]]
        cells = [*(f"{t:.2f}" for t in times), f"{share:.0%}", f"{m['evaluation']:.0f}", f"{m['diagnostics']:.0f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
