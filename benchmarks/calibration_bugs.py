"""Seven bugs in real algorithms, trained on a suite and judged by the gate's rule against the right algorithm's runs.

Right and wrong ones train on the same seeds under the same noise, as in a check.  The seeds are then split at random,
many times, into 10 of the screen and 10 of the reserve: the share of splits in which any measure is called REGRESSED
estimates the probability that a check with such a baseline sees the bug.  Splits share seeds, so the spread of that
estimate is that of the seeds trained, not of the number of splits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from calibration_populations import stream

from tpobench.check.arms import by_arm
from tpobench.check.baseline import Baseline
from tpobench.check.evidence import Candidate, GateCell, gate_cells
from tpobench.children import pin_threads
from tpobench.execution.job import Message, train_job
from tpobench.planning.plan import Job, RunSpec, plan_runs
from tpobench.plugins.load import load_plugin, read_plugin
from tpobench.records.store import RunRecord
from tpobench.stats.gate import CellEvidence, GatePlan, GateVerdict, decide
from tpobench.suites.load import Suite

FOLDER = Path(__file__).parent / "bugs"
SCREEN = RESERVE = 10
ALARMS = ("regressed", "crashed")


@dataclass(frozen=True)
class Bug:
    """A plugin's wrong algorithm, and the right one it stands for."""

    bug: str
    file: str
    right: str
    wrong: str
    what: str
    rate: float = 1.0  # factor of the learning rate

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
)


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
    rates = {b.wrong: b.rate for b in bugs}
    algorithms = [*dict.fromkeys(b.right for b in bugs), *rates]
    jobs = plan_runs(suite, algorithms, seeds).jobs()
    return [Message(_at_rate(job, rates), suite.reporting, plugins) for job in jobs]


def _at_rate(job: Job, rates: Mapping[str, float]) -> Job:
    def changed(spec: RunSpec) -> RunSpec:
        factor = rates.get(spec.algorithm, 1.0)
        rate = float(spec.training["learning_rate"]) * factor
        return replace(spec, training={**spec.training, "learning_rate": rate}) if factor != 1 else spec

    return Job(tuple(changed(spec) for spec in job.specs), job.seeds)


def train(message: Message) -> list[RunRecord]:
    """One job; runs that raise are records too."""
    pin_threads(message.job.specs[0].threads)
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
    """One row for the check as a whole, then one per cell and measure."""
    cells = [c.evidence for c in evidence_of(records, bug, seeds)]
    rng = stream("bugs", bug.wrong)
    orders = [np.asarray(seeds), *(rng.permutation(seeds) for _ in range(splits - 1))]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    alarms = better = 0
    firsts: dict[str, GateVerdict] = {}
    for i, order in enumerate(orders):
        chosen = order[: SCREEN + RESERVE].tolist()
        drawn = [split(c, chosen[:SCREEN], chosen[SCREEN:]) for c in cells]
        verdicts = decide(drawn, GatePlan(seed=i)).verdicts
        statuses = {v.status for v in verdicts}
        alarms += bool(statuses & set(ALARMS))
        better += "improved" in statuses and not statuses & set(ALARMS)
        for v in verdicts:
            counts[v.name][v.status] += 1
        if i == 0:
            firsts = {v.name: v for v in verdicts}
    worst = min(firsts.values(), key=_gravity).status
    same = min(counts[c.name]["unchanged"] for c in cells)
    shares = (alarms / splits, better / splits, same / splits)
    whole = Seen(bug.bug, bug.right, bug.what, "any", *shares, seeds=len(seeds), first=worst)
    return [whole, *(_row(bug, c, counts[c.name], firsts[c.name], splits) for c in cells)]


def _gravity(verdict: GateVerdict) -> int:
    order = ("crashed", "regressed", "incomplete", "inconclusive", "improved", "ok", "unchanged")
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
