"""Replay recorded MNIST updates of the TPO authors' code in float64: the same images, the same classes named.

usage: TPOBENCH_DATA_DIR=FOLDER python benchmarks/mnist_replay.py MNIST_REPLAY.npz [--allow-unverified-data]

The file holds, for one seed of the reference run in float64, `init/Dense_i.{kernel,bias}`, the training images of every
step `batch_idx` (steps, 100), and by algorithm `actions` (steps, 100), the `loss` before each update, the parameters
`params_after_{1,10,200}/Dense_i.{kernel,bias}` and `test_err_after_200`.

Prints the largest difference of each.  Rounding alone grows with the updates where training is chaotic, so the last two
columns are those of our own run against a second one, whose initial weights differ by 1e-15 of themselves.

GRPO parts from the recorded run by more than its twin does: the reference standardises the rewards of a batch in
float32, whatever the rest is computed in, so its advantages have 24 bits and ours 53.
"""

import argparse

import numpy as np
import torch
from mnist import data_sha256

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.mlp import Layers, MLPPolicy
from tpobench.policies.noise import Noise
from tpobench.policies.optimizers import Adam
from tpobench.tasks.catalog import MnistSettings
from tpobench.tasks.mnist import MnistTask

NAMES = {"ce": "ce", "pg": "reinforce", "dg": "dg", "tpo": "tpo", "grpo": "grpo_batch", "group_pg": "group_pg"}
CHECKPOINTS = (1, 10, 200)
HALF = 100
COLUMNS = (
    f"loss, first {HALF}",
    "loss",
    *(f"parameters after {n}" for n in CHECKPOINTS),
    "test error",
    f"twin: loss, first {HALF}",
    "twin: loss",
)


def recorded_parameters(recorded, prefix: str) -> list[torch.Tensor]:
    """Recorded arrays, whose kernels are (in, out), in the order and orientation of theta."""
    arrays = [recorded[f"{prefix}/Dense_{i}.{part}"] for i in range(3) for part in ("kernel", "bias")]
    arrays[4] = arrays[4].T  # in theta the last kernel has its classes first
    return [torch.from_numpy(np.ascontiguousarray(a, dtype=np.float64)) for a in arrays]


def initial(task: MnistTask, recorded, *, twin: bool) -> MLPPolicy:
    """The recorded initial parameters, or their twin."""
    policy = task.make_policy()
    with torch.no_grad():
        places = Layers.of(policy.theta, policy.shape)
        for place, value in zip(places, recorded_parameters(recorded, "init"), strict=True):
            place.copy_(value.view_as(place))
        if twin:
            signs = torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(0)).sign()
            policy.theta.mul_(1 + 1e-15 * signs.double())
    return policy


def replay(task: MnistTask, recorded, name: str, *, twin: bool = False) -> tuple[np.ndarray, dict[int, Layers], float]:
    """Losses before each update, theta after the checkpoints, and the final test error."""
    algorithm, policy, optimizer = ALGORITHMS[NAMES[name]], initial(task, recorded, twin=twin), Adam(1e-3)
    label = torch.from_numpy(task._images.train_label[recorded["batch_idx"]])
    action = torch.from_numpy(recorded[f"{name}/actions"].astype(np.int64))
    losses, thetas = [], {}
    for step, index in enumerate(recorded["batch_idx"]):
        rollout = task.score(task.look(policy, index[None]), label[step, None], action[step, None])
        credit = algorithm.credit_for(rollout.groups)
        loss = algorithm.loss(task.logp(policy, rollout, None), rollout.groups, credit).mean()
        (gradient,) = torch.autograd.grad(loss, policy.theta)
        losses.append(loss.item())
        with torch.no_grad():
            optimizer.step(policy.theta, gradient)
        if step + 1 in CHECKPOINTS:
            thetas[step + 1] = Layers.of(policy.theta.detach().clone(), policy.shape)
    return np.array(losses), thetas, task.evaluate(policy, rollout)["error"].item()


def differences(task: MnistTask, recorded, name: str) -> list[float]:
    """The columns of one algorithm."""
    losses, thetas, error = replay(task, recorded, name)
    off = np.abs(losses - recorded[f"{name}/loss"])
    twin = np.abs(losses - replay(task, recorded, name, twin=True)[0])
    parameters = [
        max(
            (ours - theirs.view_as(ours)).abs().max().item()
            for ours, theirs in zip(thetas[n], recorded_parameters(recorded, f"{name}/params_after_{n}"), strict=True)
        )
        for n in CHECKPOINTS
    ]
    last = abs(error - float(recorded[f"{name}/test_err_after_200"]))
    return [off[:HALF].max(), off.max(), *parameters, last, twin[:HALF].max(), twin.max()]


def main() -> None:
    """Replay every algorithm of the file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--allow-unverified-data", action="store_true", help="take images that are not the published")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sha256 = data_sha256(unverified=options.allow_unverified_data)
    task = MnistTask(MnistSettings(data_sha256=sha256), Noise("replay", "", (0,), dtype=torch.float64))
    with np.load(options.file) as recorded:
        print("| algorithm | " + " | ".join(COLUMNS) + " |")
        print("|" + "---|" * (len(COLUMNS) + 1))
        for name in (n for n in NAMES if f"{n}/actions" in recorded.files):
            row = differences(task, recorded, name)
            print(f"| {name} | " + " | ".join(f"{x:.1e}" for x in row) + " |", flush=True)


if __name__ == "__main__":
    main()
