"""Bugs in real algorithms and in the harness, trained on the gate's suites and judged by its rule.

Right and wrong ones train on the same seeds under the same noise, as in a check.  The seeds are then split at random,
many times, into the screen's and the reserve's: the share of splits in which any measure is called REGRESSED estimates
the probability that a check with such a baseline sees the bug.  Splits share seeds, so the spread of that estimate is
that of the seeds trained, not of the number of splits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bugs.patches import PATCHES, patched
from calibration_populations import stream
from calibration_tables import ANY, DIGITS, LEARNING

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.check.arms import by_arm
from tpobench.check.baseline import Baseline
from tpobench.check.evidence import Candidate, GateCell, gate_cells
from tpobench.children import pin_threads
from tpobench.execution.job import Message, train_job
from tpobench.planning.plan import Job, RunSpec, plan_runs
from tpobench.plugins.load import load_plugin, read_plugin
from tpobench.records.store import RunRecord
from tpobench.stats.gate import CellEvidence, GatePlan, GateVerdict, decide
from tpobench.suites.load import Suite, Value
from tpobench.suites.model import TUNED

FOLDER = Path(__file__).parent / "bugs"
SCREEN = RESERVE = 20
ALARMS = ("regressed", "crashed", "changed")
STAGES = (range(SCREEN), range(SCREEN, SCREEN + RESERVE))


ADVANTAGES = "scores_and_advantages.py"


@dataclass(frozen=True)
class Bug:
    """A plugin's wrong algorithm, and the right one it stands for."""

    bug: str
    file: str
    right: str
    wrong: str
    what: str
    rate: float = 1.0  # factor of the learning rate
    epochs: int | None = None

    @property
    def path(self) -> Path:
        """The plugin file."""
        return FOLDER / self.file


BUGS = (
    Bug("flipped sign", "flipped_sign.py", "tpo", "tpo_flipped_sign", "target falls with the score"),
    Bug("flipped sign", "flipped_sign.py", "grpo", "grpo_flipped_kl", "KL term rewarded"),
    Bug("lost stop-gradient", "lost_stop_gradient.py", "dg", "dg_lost_stop_gradient", "through the gate"),
    Bug("lost stop-gradient", "lost_stop_gradient.py", "tpo", "tpo_lost_stop_gradient", "through the target"),
    Bug("unfrozen target", "unfrozen_target.py", "tpo", "tpo_unfrozen_target", "target anew in every epoch"),
    Bug("wrong standard deviation", "wrong_standard_deviation.py", "tpo", "tpo_undivided", "scores not divided"),
    Bug("wrong standard deviation", "wrong_standard_deviation.py", "grpo", "grpo_batch_deviation", "of the batch"),
    Bug("clipping left out", "no_clipping.py", "ppo", "ppo_no_clipping", "plain ratio"),
    Bug("anchor left out", "no_anchor.py", "tpo", "tpo_anchor_left_out", "target without p_old"),
    Bug("learning rate off by 2", "learning_rate.py", "tpo", "tpo_double_rate", "twice", 2.0),
    Bug("learning rate off by 2", "learning_rate.py", "tpo", "tpo_half_rate", "half", 0.5),
    Bug("learning rate off by 2", "learning_rate.py", "grpo", "grpo_double_rate", "twice", 2.0),
    Bug("stream stands still", "harness.py", "tpo", "tpo_still_stream", "all steps draw as step 1"),
    Bug("stream stands still", "harness.py", "grpo", "grpo_still_stream", "all steps draw as step 1"),
    Bug("seeds share a stream", "harness.py", "grpo", "grpo_shared_stream", "all draw as seed 0"),
    Bug("advantage", ADVANTAGES, "grpo", "grpo_over_largest", "over the largest, not the deviation"),
    Bug("advantage", ADVANTAGES, "grpo", "grpo_not_centred", "not centred"),
    Bug("advantage", ADVANTAGES, "ppo", "ppo_baseline_short_by_one", "baseline divided by n - 1"),
    Bug("wrong standard deviation", ADVANTAGES, "tpo", "tpo_batch_scores", "of the batch"),
    Bug("wrong standard deviation", ADVANTAGES, "tpo", "tpo_sample_deviation", "of the sample"),
    Bug("wrong standard deviation", ADVANTAGES, "grpo", "grpo_sample_deviation", "of the sample"),
    Bug("temperature inverted", ADVANTAGES, "tpo", "tpo_inverted_temperature", "times eta"),
    Bug("gate", "losses.py", "dg", "dg_gate_on_answers", "on the whole answer"),
    Bug("gate", "losses.py", "dg", "dg_gate_of_the_likely", "sign flipped"),
    Bug("flat groups skipped", "losses.py", "tpo", "tpo_flat_skipped", "in every epoch"),
    Bug("flat groups skipped", "losses.py", "grpo", "grpo_flat_skipped", "in every epoch"),
    Bug("KL term", "losses.py", "grpo", "grpo_kl_the_other_way", "the other way round"),
    Bug("bfloat16 log-probs", "losses.py", "tpo", "tpo_bfloat16", "in the loss"),
    Bug("bfloat16 log-probs", "losses.py", "ppo", "ppo_bfloat16", "in the loss"),
    Bug("clip on the wrong side", "losses.py", "ppo", "ppo_clip_on_the_other_side", "the larger gain"),
    Bug("ratio of whole answers", "losses.py", "ppo", "ppo_ratio_of_answers", "at every token"),
    Bug("wrong mask", "losses.py", "grpo", "grpo_without_last_token", "last token left out"),
    Bug("factor of the loss", "losses.py", "tpo", "tpo_doubled_loss", "twice"),
    Bug("stale log-probs", "harness.py", "grpo", "grpo_stale_snapshot", "of the update before"),
    Bug("epochs ignored", "harness.py", "tpo", "tpo_one_epoch", "one", epochs=1),
    Bug("epochs ignored", "harness.py", "ppo", "ppo_one_epoch", "one", epochs=1),
    Bug("learning rate decays", "harness.py", "tpo", "tpo_decaying_rate", "by a tenth a step"),
    Bug("another optimiser", "harness.py", "tpo", "tpo_other_optimizer", "Adam for Muon, and the like"),
    Bug("evaluation", "harness.py", "tpo", "tpo_evaluated_on_the_batch", "on the batch, not on held-out prompts"),
)


# The transformer's cells cost forty times the others', so they are trained for the bugs on which tables say least.
ON_TOKENS = {
    "tpo_still_stream", "grpo_still_stream", "tpo_evaluated_on_the_batch", "dg_gate_on_answers",
    "ppo_ratio_of_answers", "grpo_without_last_token", "ppo_no_clipping", "tpo_unfrozen_target",
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """How one measure of one cell fares under a bug: share of the splits by verdict, and the size of the effect."""

    bug: str
    rule: str  # the algorithm, as calibration.json names it
    what: str
    cell: str  # "any": a check of all cells and measures together
    detected: float  # share of splits
    improved: float
    unchanged: float
    old: float | None = None
    new: float | None = None
    difference: float | None = None  # > 0 is worse; log ratio for steps
    margin: float | None = None
    effect: float | None = None  # the difference in sd of the paired differences
    seeds: int = 0
    first: str = ""  # the verdict on seeds 0-9 and 10-19

    def as_dict(self) -> dict[str, Any]:
        """For json."""
        return asdict(self)


def jobs_of(suite: Suite, seeds: Sequence[int], bugs: Sequence[Bug] = BUGS) -> list[Message]:
    """What is to be trained: the right algorithms and the wrong ones, every cell."""
    plugins = tuple(read_plugin(path) for path in dict.fromkeys(b.path for b in bugs))
    for plugin in plugins:  # not held to the contract: one of these bugs breaks it
        load_plugin(plugin)
    if suite.task["kind"] == "sequence" and not suite.report.exact:
        bugs = [b for b in bugs if b.wrong in ON_TOKENS or b.right == b.wrong]
    wrong = {b.wrong: b for b in bugs}
    algorithms = [*dict.fromkeys(b.right for b in bugs), *wrong]
    chosen = {b.wrong: _taken(b.wrong, suite.algorithm.get(b.right, {})) for b in bugs}
    suite = replace(suite, algorithm={**suite.algorithm, **chosen})
    jobs = plan_runs(suite, algorithms, range(suite.seeds) if suite.report.exact else seeds).jobs()
    return [Message(_mistaken(job, wrong), suite.reporting, plugins) for job in jobs]


def _taken(algorithm: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """What an algorithm takes of another's settings."""
    return {k: v for k, v in values.items() if k in {*TUNED, *ALGORITHMS[algorithm].hyperparameters}}


def _mistaken(job: Job, wrong: Mapping[str, Bug]) -> Job:
    """The job with the settings of its bug, where those are what is wrong."""

    def changed(spec: RunSpec) -> RunSpec:
        bug = wrong.get(spec.algorithm)
        if bug is None or (bug.rate == 1 and bug.epochs is None):
            return spec
        rate = float(spec.training["learning_rate"]) * bug.rate
        epochs = spec.training["epochs"] if bug.epochs is None else bug.epochs
        return replace(spec, training={**spec.training, "learning_rate": rate, "epochs": epochs})

    return Job(tuple(changed(spec) for spec in job.specs), job.seeds)


def train(message: Message) -> list[RunRecord]:
    """One job; runs that raise are records too."""
    pin_threads(message.job.specs[0].threads)
    patch = PATCHES.get(message.job.specs[0].algorithm)
    with patched(*patch) if patch else nullcontext():
        return train_job(message)


def evidence_of(records: Sequence[RunRecord], bug: Bug, seeds: Sequence[int]) -> list[GateCell]:
    """The gate's cells of a bug: the wrong algorithm's results under the right one's name, all seeds in the screen."""
    arms = by_arm(records)
    right = {arm: {r.spec["seed"]: r for r in rs} for arm, rs in arms.items() if arm.algorithm == bug.right}
    wrong = {
        arm._replace(algorithm=bug.right): {r.spec["seed"]: r for r in rs}
        for arm, rs in arms.items()
        if arm.algorithm == bug.wrong
    }
    baseline = Baseline(Path("right"), tuple(records), tuple(seeds), (), (), right)
    return gate_cells(baseline, Candidate(wrong))


def split(cell: CellEvidence, screen: Sequence[int], reserve: Sequence[int]) -> CellEvidence:
    """A cell as a check would see it with these seeds in the baseline."""
    if cell.exact:
        return cell

    def of(values: Mapping[int, float], seeds: Sequence[int]) -> dict[int, float]:
        return {s: values[s] for s in seeds if s in values}

    return replace(
        cell,
        baseline=of(cell.baseline, screen),
        candidate=of(cell.candidate, screen),
        reserve_baseline=of(cell.baseline, reserve),
        reserve_candidate=of(cell.candidate, reserve),
        crashed=tuple(s for s in cell.crashed if s in {*screen, *reserve}),
    )


def judge_bug(records: Sequence[RunRecord], bug: Bug, seeds: Sequence[int], splits: int) -> list[Seen]:
    """Rows of the whole check, of its exact stage and of its trained cells; then one per cell and measure."""
    cells = [c.evidence for c in evidence_of(records, bug, seeds)]
    parts = {
        ANY: {c.name for c in cells},
        DIGITS: {c.name for c in cells if c.exact},
        LEARNING: {c.name for c in cells if not c.exact},
    }
    rng = stream("bugs", bug.wrong)
    orders = [np.asarray(seeds), *(rng.permutation(seeds) for _ in range(splits - 1))]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    alarms, better = Counter[str](), Counter[str]()
    firsts: dict[str, GateVerdict] = {}
    for i, order in enumerate(orders):
        chosen = order[: SCREEN + RESERVE].tolist()
        drawn = [split(c, chosen[:SCREEN], chosen[SCREEN:]) for c in cells]
        verdicts = decide(drawn, GatePlan(seed=i)).verdicts
        for part, names in parts.items():
            statuses = {v.status for v in verdicts if v.name in names}
            alarms[part] += bool(statuses & set(ALARMS))
            better[part] += "improved" in statuses and not statuses & set(ALARMS)
        for v in verdicts:
            counts[v.name][v.status] += 1
        if i == 0:
            firsts = {v.name: v for v in verdicts}
    same = min(counts[c.name]["unchanged"] for c in cells)
    wholes = [
        Seen(
            bug.bug, bug.right, bug.what, part, alarms[part] / splits, better[part] / splits, same / splits,
            seeds=len(seeds), first=min((firsts[name] for name in names), key=_gravity).status,
        )
        for part, names in parts.items() if names
    ]  # fmt: skip
    return [*wholes, *(_row(bug, c, counts[c.name], firsts[c.name], splits) for c in cells)]


def judge_unchanged(records: Sequence[RunRecord], seeds: Sequence[int], checks: int) -> list[dict[str, Any]]:
    """The right algorithms against themselves on other seeds: verdicts of every cell, then of whole checks."""
    arms = {arm: {r.spec["seed"]: r for r in rs} for arm, rs in by_arm(records).items()}
    runs = Baseline(Path("right"), tuple(records), tuple(seeds), (), (), arms)
    cells = [c.evidence for c in gate_cells(runs, Candidate(arms))]
    rng, n, red = stream("unchanged"), SCREEN + RESERVE, 0
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for i in range(checks):
        order = rng.permutation(seeds).tolist()
        verdicts = decide([_redrawn(c, order[:n], order[n : 2 * n]) for c in cells], GatePlan(seed=i)).verdicts
        red += any(v.status in ALARMS for v in verdicts)
        for v in verdicts:
            counts[v.name][v.status] += 1
    named = {name: {status: k / checks for status, k in sorted(c.items())} for name, c in counts.items()}
    statuses = sorted({status for shares in named.values() for status in shares})
    mean = {s: sum(shares.get(s, 0.0) for shares in named.values()) / len(named) for s in statuses}
    return [{"cell": ANY, "red": red / checks, **mean}, *({"cell": name, **shares} for name, shares in named.items())]


def _redrawn(cell: CellEvidence, old: Sequence[int], new: Sequence[int]) -> CellEvidence:
    """A cell whose candidate has seeds of its own under the baseline's numbers."""

    def of(values: Mapping[int, Any], seeds: Sequence[int]) -> dict[int, Any]:
        return {i: values[s] for i, s in enumerate(seeds)}

    screened = split(replace(cell, baseline=of(cell.baseline, old), candidate=of(cell.baseline, new)), *STAGES)
    was, now = of(cell.failed_baseline, old), of(cell.failed_baseline, new)
    return replace(screened, same_scheme=False, failed_baseline=was, failed_candidate=now)


def _gravity(verdict: GateVerdict) -> int:
    order = ("changed", "crashed", "regressed", "incomplete", "inconclusive", "improved", "ok", "redrawn", "unchanged")
    return order.index(verdict.status) if verdict.status in order else len(order)


def _row(bug: Bug, cell: CellEvidence, counts: Counter[str], first: GateVerdict, splits: int) -> Seen:
    seeds = sorted(cell.baseline.keys() & cell.candidate.keys())
    x, y = (np.array([of[s] for s in seeds], dtype=np.float64) for of in (cell.candidate, cell.baseline))
    old, new = (float(x_.mean()) for x_ in (y, x)) if seeds else (None, None)
    u, v = (np.log(np.maximum(a, 1.0)) for a in (x, y)) if cell.margin.logarithmic else (x, y)
    d = u - v
    spread = float(d.std(ddof=1)) if len(d) > 1 else 0.0
    return Seen(
        bug.bug, bug.right, bug.what, cell.name,
        detected=sum(counts[s] for s in ALARMS) / splits,
        improved=counts["improved"] / splits,
        unchanged=counts["unchanged"] / splits,
        old=old, new=new,
        difference=float(d.mean()) if len(d) else None,
        margin=first.margin,
        effect=float(d.mean()) / spread if spread > 0 else None,
        seeds=len(seeds), first=first.status,
    )  # fmt: skip
