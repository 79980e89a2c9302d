"""DG at length 7 of table 3: ours beside the authors' code, also from its initial parameters and on its random draws.

usage: python benchmarks/dg_length_7.py [--results results] [--docs docs/reproduction.md]
       python benchmarks/dg_length_7.py --rounding SEED [--updates 2000] [--kernel native]
       PYTHON benchmarks/dg_length_7.py --checkout CHECKOUT --arm ARM [--seeds 20] [--updates 2000] [--kernel native]

The first prints what all runs say: our records of the suite `terminal_reward` (its own 20 seeds, and those that
were run to settle the question), and tests/extracts/dg_length_7.npz.  The second prints what rounding does: how far
the kernels' results differ along a run of one of them, every tenth update taken by both from the same parameters, and
how fast float32 and float64 part from one start.  The third adds runs to the extract.  CHECKOUT is a
working copy of the TPO paper's public code (it has src/tpo), and PYTHON must have JAX, Flax and Optax beside what
tpobench needs.  ARM is one of

authors       the authors' training loop itself
start,draws   our engine from the reference's initial parameters, on its prompts and with its Gumbel noise
start         the same on draws of our own
draws         our own initial parameters, on the reference's prompts and noise

With two tokens the Gumbel argmax takes token 1 where g_1 - g_0 >= log p_0 - log p_1, and inversion of the CDF takes it
where u >= p_0, so u = sigma(g_1 - g_0) makes of one the other, exactly but for rounding.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from agreement import mean_text
from documents import fill, markdown
from flax_arrays import flax_arrays
from torch import Tensor

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.planning.plan import parse_seeds
from tpobench.policies.noise import Noise
from tpobench.records.results import load_results
from tpobench.stats.permutation import rank_permutation, studentized_permutation
from tpobench.tasks.catalog import SequenceSettings
from tpobench.tasks.sequence import Inputs, SequenceTask
from tpobench.tasks.task import Rollout
from tpobench.training.loop import loss_gradient, make_optimizer

EXTRACT = Path(__file__).parent.parent / "tests" / "extracts" / "dg_length_7.npz"
BEGIN, END = "<!-- dg at length 7: made by benchmarks/dg_length_7.py -->", "<!-- end of dg at length 7 -->"
LENGTH, PROMPTS, LEARNING_RATE = 7, 100, 1e-3
RECORDS = ("terminal_reward.jsonl", "further/dg_length_7.jsonl")
STUCK = 0.6  # of the rollouts are wrong, or more
EVERY = 10  # updates between those that both kernels take
DIFFERENCES = ("reward", "log-probs", "gradient, of its norm", "step, of its norm")
LEVELS, PARTED = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), 200  # of log-probs, and updates in which precisions part
HALF, BLOCK = 1000, 50  # updates; half way, errors are means over a block of them
AUTHORS, BOTH, START, DRAWS = ARMS = ("authors", "start,draws", "start", "draws")
NAMES = {
    AUTHORS: "the authors' code",
    BOTH: "ours from its initial parameters on its draws",
    START: "ours from its initial parameters",
    DRAWS: "ours on its draws",
    "plain": "ours, plain kernel, seeds 40 to 49",
}
OURS = "ours, both kernels"
HEAD = [
    "runs", f"after {HALF:,} updates, %", f"{STUCK:.0%} or more", "after 2,000, %", "0", f"{STUCK:.0%} or more",
    "p mean", "p rank", f"p {STUCK:.0%}",
]  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """What the authors' code starts a seed from and draws, through its own functions; both are pure in the seed."""

    checkout: Path

    def initial(self, seed: int) -> dict[str, np.ndarray]:
        """Parameters by `Dense_0.kernel` and so on."""
        import jax
        from tpo.models import CausalTransformer

        model = CausalTransformer(vocab_size=2, max_seq_len=2 * LENGTH)
        tree = model.init(jax.random.PRNGKey(seed), np.zeros((1, 2 * LENGTH), dtype=np.int32))["params"]
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {".".join(part.key for part in path): np.asarray(leaf) for path, leaf in leaves}

    def sampler(self) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
        """By seed and update: prompts (B, H), and the uniforms (B, H) that its Gumbel noise amounts to."""
        import jax

        @jax.jit
        def drawn(seed: Any, step: Any) -> Any:
            for_prompts, rest = jax.random.split(jax.random.fold_in(jax.random.PRNGKey(seed), step))
            prompts = jax.random.randint(for_prompts, (PROMPTS, LENGTH), 0, 2)
            uniforms = []
            for _ in range(LENGTH):
                key, rest = jax.random.split(rest)
                gumbel = jax.random.gumbel(key, (PROMPTS, 2))
                uniforms.append(jax.nn.sigmoid(gumbel[:, 1] - gumbel[:, 0]))
            return prompts, jax.numpy.stack(uniforms, axis=1)

        return lambda seed, step: tuple(np.asarray(x) for x in drawn(seed, step))

    def train(self, seeds: list[int], updates: int) -> np.ndarray:
        """Errors (seeds, updates) of its own loop, a seed at a time."""
        from tpo.experiments._trial import run_trial

        shape = {"sequence_length": LENGTH, "vocab_size": 2, "num_episodes": updates, "batch_size": PROMPTS}
        settings = {"eta": 1.0, "ppo_epsilon": 0.2, "ppo_epochs": 4, "learning_rate": LEARNING_RATE / 10}
        where = {"target_type": "reverse_copy", "reward_type": "terminal", "algorithms": ("dg",)}
        runs = [run_trial(num_seeds=1, seed_offset=seed, **shape, **settings, **where)["dg"] for seed in seeds]
        return np.concatenate([np.asarray(run) for run in runs])


@dataclass(frozen=True)
class ReferenceDraws(Noise):
    """Prompts and uniforms of the reference, for one seed; everything else is our own."""

    draw: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None

    def integers(self, role: str, step: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Its prompts (1, B, H)."""
        if self.draw is None or role != "prompt":
            return super().integers(role, step, high, shape)
        return torch.from_numpy(self.draw(self.seeds[0], step)[0].astype(np.int64)).view(1, *shape)

    def uniform(self, role: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Its noise (1, B, 1, H)."""
        if self.draw is None or role != "action":
            return super().uniform(role, step, shape)
        return torch.from_numpy(self.draw(self.seeds[0], step)[1].copy()).view(1, *shape).clamp_max(1 - 2.0**-24)


def train(reference: Reference, arm: str, seed: int, updates: int, kernel: str) -> np.ndarray:
    """Errors (updates,) of our engine."""
    theirs = arm.split(",")
    noise = ReferenceDraws("dg_length_7", "", (seed,), draw=reference.sampler() if DRAWS in theirs else None)
    settings = SequenceSettings(2, LENGTH, reward="terminal", prompts=PROMPTS, candidates=1)
    task = SequenceTask(settings, noise, kernel)
    policy = task.make_policy()
    if START in theirs:
        initial = reference.initial(seed)
        with torch.no_grad():
            for name, view in flax_arrays(policy.at).items():
                view.copy_(torch.from_numpy(initial[name].copy()))
    optimizer, errors = make_optimizer("muon", LEARNING_RATE, policy), []
    for step in range(updates):
        rollout = task.rollout(policy, step)
        errors.append(1 - rollout.groups.reward.mean().item())
        optimizer.step(policy.theta, gradient_of(task, policy, rollout))
    return np.array(errors)


def rounding(seed: int, updates: int, kernel: str) -> dict[str, float]:
    """Largest differences between the kernels along a run of one, every tenth update of which both take."""
    settings = SequenceSettings(2, LENGTH, reward="terminal", prompts=PROMPTS, candidates=1)
    tasks = {k: SequenceTask(settings, Noise("dg_length_7", "", (seed,)), k) for k in ("plain", "native")}
    policies = {k: task.make_policy() for k, task in tasks.items()}
    optimizers = {k: make_optimizer("muon", LEARNING_RATE, policy) for k, policy in policies.items()}
    other, largest = ({"plain", "native"} - {kernel}).pop(), dict.fromkeys(DIFFERENCES, 0.0)
    for step in range(updates):
        start, compared = policies[kernel].theta.clone(), [kernel, other] if step % EVERY == 0 else [kernel]
        policies[other].theta.copy_(start)
        rollouts = {k: tasks[k].rollout(policies[k], step) for k in compared}
        gradients = {k: gradient_of(tasks[k], policies[k], rollout) for k, rollout in rollouts.items()}
        for k, policy in policies.items():  # one gradient for both optimizers, whose states stay alike
            optimizers[k].step(policy.theta, gradients[kernel].clone())
        if len(compared) == 2:
            groups, (one, two) = [r.groups for r in rollouts.values()], gradients.values()
            steps = [policy.theta - start for policy in policies.values()]
            reward, logp = ((getattr(groups[0], n) - getattr(groups[1], n)).abs().max() for n in ("reward", "old_logp"))
            gaps = (reward, logp, (one - two).norm() / one.norm(), (steps[0] - steps[1]).norm() / steps[0].norm())
            for name, gap in zip(DIFFERENCES, gaps, strict=True):
                largest[name] = max(largest[name], float(gap.nan_to_num()))  # 0 / 0 before the first success
    return largest


def precisions(seed: int, updates: int) -> list[float]:
    """The largest difference of log-probs between float32 and float64 from one start, after each update."""
    settings = SequenceSettings(2, LENGTH, reward="terminal", prompts=PROMPTS, candidates=1)
    tasks = [SequenceTask(settings, Noise("dg_length_7", "", (seed,), dtype=d)) for d in (torch.float32, torch.float64)]
    policies = [task.make_policy() for task in tasks]
    optimizers = [make_optimizer("muon", LEARNING_RATE, policy) for policy in policies]
    probe, gaps = tasks[0].rollout(policies[0], updates).inputs, []
    for step in range(updates):
        for task, policy, optimizer in zip(tasks, policies, optimizers, strict=True):
            rollout = task.rollout(policy, step)
            optimizer.step(policy.theta, gradient_of(task, policy, rollout))
        answers = probe.paths.actions
        single, double = (
            task._logp(policy, Inputs(policy.paths(probe.prompts, torch.from_numpy(answers))), None).detach().double()
            for task, policy in zip(tasks, policies, strict=True)
        )
        gaps.append(float((single - double).abs().max()))
    return gaps


def gradient_of(task: SequenceTask, policy: Any, rollout: Rollout) -> Tensor:
    """DG's gradient (1, D)."""
    dg = ALGORITHMS["dg"]
    parts = loss_gradient(task, policy, dg, rollout, dg.credit_for(rollout.groups), at_snapshot=True)
    return torch.cat([g.flatten(1) for g in parts], dim=1)


def wrong(errors: np.ndarray) -> np.ndarray:
    """Errors as counts of wrong answers, of PROMPTS."""
    return np.rint(errors * PROMPTS).astype(np.uint8)


def add(extract: Path, arm: str, seeds: list[int], curves: np.ndarray) -> None:
    """Put runs into the extract: ARM/seeds (n,) and ARM/wrong (n, updates), sorted by seed."""
    arrays = dict(np.load(extract)) if extract.is_file() else {}
    runs = dict(zip(arrays.get(f"{arm}/seeds", ()), arrays.get(f"{arm}/wrong", ()), strict=True))
    runs |= dict(zip(seeds, curves, strict=True))
    arrays[f"{arm}/seeds"] = np.array(sorted(runs))
    arrays[f"{arm}/wrong"] = np.stack([runs[seed] for seed in sorted(runs)])
    np.savez_compressed(extract, **arrays)


def recorded(results: Path) -> dict[str, np.ndarray]:
    """Error curves of our records by the kernel that computed them, of both files."""
    curves: dict[str, dict[int, list[float]]] = {}
    for name in RECORDS:
        for record in load_results(results / name).records:
            spec = record.spec
            if (spec["algorithm"], spec["cell"], spec["matching"]) == ("dg", {"length": LENGTH}, "prompts"):
                kernel = str(spec.get("kernel", "plain"))
                curves.setdefault(kernel, {})[int(spec["seed"])] = record.curve["error"]
    return {f"ours, {kernel} kernel": np.array([c[s] for s in sorted(c)]) for kernel, c in curves.items()}


def extracted(extract: Path) -> dict[str, np.ndarray]:
    """Error curves by arm, of the extract."""
    arrays = np.load(extract)
    return {arm: arrays[f"{arm}/wrong"] / PROMPTS for arm in NAMES if f"{arm}/wrong" in arrays}


def table(ours: dict[str, np.ndarray], curves: dict[str, np.ndarray]) -> str:
    """Markdown: what every arm has half way and at the end, and whether it ends unlike the authors' code."""
    authors = curves[AUTHORS]
    arms = {NAMES[AUTHORS]: authors, **ours, OURS: np.concatenate(list(ours.values()))}
    arms |= {NAMES[arm]: curve for arm, curve in curves.items() if arm != AUTHORS}
    rows = []
    for name, curve in arms.items():
        half = curve[:, HALF - BLOCK : HALF].mean(1)
        row = [name, mean_text(half), stuck(half)]
        if curve.shape[1] > HALF:
            final, theirs = curve[:, -1], authors[:, -1]
            tests = (studentized_permutation, rank_permutation)
            ps = [*(test(final, theirs, np.random.default_rng(0)) for test in tests), fisher(final, theirs)]
            tested = [f"{p:.3f}" for p in ps] if curve is not authors else [""] * len(ps)
            row += [mean_text(final), f"{(final == 0).sum()}/{len(final)}", stuck(final), *tested]
        rows.append(row + [""] * (len(HEAD) - len(row)))
    return markdown(HEAD, rows)


def stuck(errors: np.ndarray) -> str:
    """How many are stuck, of how many."""
    return f"{(errors >= STUCK).sum()}/{len(errors)}"


def fisher(x: np.ndarray, y: np.ndarray) -> float:
    """Fisher's exact test of the shares that are stuck, two-sided."""
    counts = [[int((side >= STUCK).sum()), int((side < STUCK).sum())] for side in (x, y)]
    return float(scipy.stats.fisher_exact(np.array(counts)).pvalue)


def partings(extract: Path) -> str:
    """Markdown: how far our engine follows the reference, seed by seed, from the same start on the same draws."""
    arrays = np.load(extract)
    theirs, ours = (
        dict(zip(arrays[f"{a}/seeds"].tolist(), arrays[f"{a}/wrong"], strict=True)) for a in (AUTHORS, BOTH)
    )
    rows = []
    for seed in sorted(theirs.keys() & ours.keys()):
        differs = theirs[seed] != ours[seed]
        parting = int(differs.argmax()) if differs.any() else len(differs)
        unrewarded = int((theirs[seed][:parting] == PROMPTS).sum())
        rows.append([str(seed), str(parting), str(unrewarded), f"{ours[seed][-1]} %", f"{theirs[seed][-1]} %"])
    return markdown(["seed", "updates alike", "of them without a success", "ours ends at", "theirs ends at"], rows)


def main() -> None:
    """Add runs to the extract, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--extract", type=Path, default=EXTRACT)
    parser.add_argument("--rounding", type=int, metavar="SEED")
    parser.add_argument("--checkout", type=Path)
    parser.add_argument("--arm", choices=ARMS)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("12"))
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--kernel", choices=["plain", "native"], default="native")
    given = parser.parse_args()
    if (given.checkout is None) != (given.arm is None):
        parser.error("give --checkout and --arm together, or neither")
    torch.set_num_threads(1)
    if given.rounding is not None:
        for name, largest in rounding(given.rounding, given.updates, given.kernel).items():
            print(f"largest difference between the kernels in {name}: {largest:.1e}")
        gaps = np.array(precisions(given.rounding, min(given.updates, PARTED)))
        for level in LEVELS:
            above = f"from update {(gaps > level).argmax() + 1} on" if (gaps > level).any() else "never"
            print(f"log-probs of float32 and float64 differ by more than {level:g} {above}")
        return
    if given.checkout is None:
        text = table(recorded(given.results), extracted(given.extract)) + "\n\n" + partings(given.extract)
        print(text)
        if given.docs is not None:
            fill(given.docs, BEGIN, END, text)
        return
    if not (given.checkout / "src" / "tpo").is_dir():
        parser.error(f"{given.checkout} has no src/tpo; give a checkout of the authors' code")
    sys.path.insert(0, str(given.checkout / "src"))
    reference = Reference(given.checkout)
    for seed in given.seeds:
        if given.arm == AUTHORS:
            errors = reference.train([seed], given.updates)[0]
        else:
            errors = train(reference, given.arm, seed, given.updates, given.kernel)
        add(given.extract, given.arm, [seed], wrong(errors)[None])
        print(f"{given.arm} seed {seed}: {errors[-1]:.2f}", flush=True)


if __name__ == "__main__":
    main()
