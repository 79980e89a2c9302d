"""Memory and speed of a language model's update, part by part: tokens a second, and the most memory meanwhile.

python benchmarks/language.py [--models tiny,smollm2] [--algo tpo] [--set task.new_tokens=64] [--device cuda]

`tiny` is the model of suite `tiny_math`; any other name is a model of kind `language` on the batch of suite `smol_add`:
`smollm2`, a folder, a name on the hub, or `random`.  Of the same batches: generation (sampling), log-probs (without
graph), loss (log-probs with graph and the algorithm's loss), and update (loss, gradient and optimiser step; every
group, informative or not).  Tokens are those of the completions, ends included.  On a CPU seconds are processor time
on one thread, memory is what is resident, with all libraries; on a GPU seconds are of the clock, memory is torch's.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psutil
import torch
from documents import markdown

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import load_suite
from tpobench.tasks.task import Rollout
from tpobench.training.loop import loss_gradient, make_optimizer, make_task

TINY = "tiny"
HEAD = ("model and batch", "part", "tokens a second", "ms", "peak memory, GiB")
POLL_S = 0.002


class Measured(NamedTuple):
    """One pass of a part."""

    seconds: float
    tokens: int
    peak_bytes: int


def spec_of(model: str, algorithm: str, overrides: list[str], device: str) -> Any:
    """The first run of the suite that a model is measured on."""
    chosen = overrides if model == TINY else [f"task.model={model}", *overrides]
    suite = load_suite(
        "tiny_math" if model == TINY else "smol_add", chosen, scale="quick" if model == TINY else "paper"
    )
    return dataclasses.replace(plan_runs(suite, [algorithm], [0]).specs[0], device=device)


def parts_of(task: Any, policy: Any, spec: Any, rollout: Rollout) -> Iterator[tuple[str, Callable[[], object]]]:
    """What one update is made of."""
    algorithm, groups = dataclasses.replace(ALGORITHMS[spec.algorithm], hyper=spec.hyper), rollout.groups
    credit = algorithm.credit_for(groups)
    optimizer = make_optimizer(str(spec.training["optimizer"]), float(spec.training["learning_rate"]), policy)
    uniform = task.noise.uniform("benchmark", 0, tuple(groups.mask.shape[1:]))

    def again() -> Rollout:
        """The batch without what an earlier part has packed of it."""
        tree = {"trees": {}} if hasattr(rollout.inputs, "trees") else {}
        return dataclasses.replace(rollout, inputs=dataclasses.replace(rollout.inputs, **tree))

    def generation() -> object:
        if spec.task["kind"] == "tiny_math":
            return policy.sample(rollout.inputs.prompts, uniform)
        return policy.sample(0, rollout.inputs.prompts[0], uniform[0], task.stops)

    def log_probs() -> object:
        with torch.no_grad():
            return task.logp(policy, again(), None)

    def loss() -> object:
        return algorithm.loss(task.logp(policy, again(), None), groups, credit).sum()

    def update() -> object:
        gradient = loss_gradient(task, policy, algorithm, again(), credit, at_snapshot=True, static=True)
        with torch.no_grad():
            return optimizer.step(policy.theta.flatten(1), torch.cat([g.flatten(1) for g in gradient], dim=1))

    yield from (("generation", generation), ("log-probs", log_probs), ("loss", loss), ("update", update))


def timed(part: Callable[[], object], tokens: int, device: str) -> Measured:
    """One pass."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        start = time.perf_counter()
        part()
        torch.cuda.synchronize()
        return Measured(time.perf_counter() - start, tokens, torch.cuda.max_memory_allocated())
    process, ended = psutil.Process(), threading.Event()
    peak = process.memory_info().rss

    def poll() -> None:
        nonlocal peak
        while not ended.wait(POLL_S):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=poll)
    thread.start()
    start = time.process_time()
    part()
    seconds = time.process_time() - start
    ended.set()
    thread.join()
    return Measured(seconds, tokens, peak)


def rows_of(model: str, algorithm: str, overrides: list[str], device: str, repeats: int) -> Iterator[list[str]]:
    """One row per part: medians over batches, the first of which warms up, and the peak of all."""
    spec = spec_of(model, algorithm, overrides, device)
    task = make_task(spec.suite, spec.task, (0,), dtype=spec.dtype, device=device)
    policy, measured = task.make_policy(), defaultdict(list)
    for step in range(repeats + 1):
        with torch.no_grad():
            rollout = task.rollout(policy, step)
        for name, part in parts_of(task, policy, spec, rollout):
            measured[name].append(timed(part, int(rollout.groups.mask.sum()), device))
    B, K, T = rollout.groups.mask.shape[1:]
    label = f"{model}, {B} problems × {K} completions of at most {T} tokens"
    for name, passes in measured.items():
        rates = [m.tokens / m.seconds for m in passes[1:]]
        milliseconds = 1e3 * statistics.median(m.seconds for m in passes[1:])
        peak = max(m.peak_bytes for m in passes) / 2**30
        yield [label, name, f"{statistics.median(rates):.0f}", f"{milliseconds:.0f}", f"{peak:.2f}"]
        label = ""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=f"{TINY},smollm2")
    parser.add_argument("--algo", default="tpo")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args()
    torch.set_num_threads(1)
    rows = [r for model in a.models.split(",") for r in rows_of(model, a.algo, a.overrides, a.device, a.repeats)]
    print(markdown(HEAD, rows))


if __name__ == "__main__":
    main()
