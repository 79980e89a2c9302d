"""One stage of the gate for one cell: its arms, the one-sided tests beyond the margin, and what the bounds say."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tpobench.stats.compare import difference_interval, plain
from tpobench.stats.gate_cells import CellEvidence, GatePlan, GateVerdict, Stage, margin_value
from tpobench.stats.guard import Floats, Tested, guarded_test
from tpobench.stats.outcomes import boschloo
from tpobench.stats.permutation import seeds_needed, sign_flip, smallest_p, studentized_permutation
from tpobench.stats.power import seeds_for_margin
from tpobench.stats.texts import rounded

SIDED = 0.90  # a two-sided 90% interval has one-sided 95% bounds as its ends


@dataclass(frozen=True)
class Arms:
    """The arms of one stage, turned so that larger is worse."""

    x: Floats  # candidate
    y: Floats  # baseline
    margin: float
    paired: bool
    failed: tuple[int, int] | None  # candidate, baseline


def arms_of(cell: CellEvidence, plan: GatePlan, *, reserve: bool, level: float) -> Arms:
    """Values of the common seeds of a stage; `level` is what its smallest p will be held against."""
    baseline = cell.reserve_baseline if reserve else cell.baseline
    candidate = cell.reserve_candidate if reserve else cell.candidate
    seeds = sorted(baseline.keys() & candidate.keys())
    x, y = (np.array([arm[s] for s in seeds], dtype=np.float64) for arm in (candidate, baseline))
    if cell.margin.logarithmic:
        x, y = np.log(np.maximum(x, 1.0)), np.log(np.maximum(y, 1.0))
    if cell.better == "higher":
        x, y = -x, -y
    known = bool(seeds) and all(s in cell.failed_baseline and s in cell.failed_candidate for s in seeds)
    failed = tuple(sum(bool(of[s]) for s in seeds) for of in (cell.failed_candidate, cell.failed_baseline) if known)
    counts = (failed[0], failed[1]) if known else None
    return Arms(x, y, margin_value(cell), is_paired(cell, len(seeds), plan, level), counts)


def is_paired(cell: CellEvidence, runs: int, plan: GatePlan, level: float) -> bool:
    """Sign flips where the seeds mean the same and are enough; not where only shuffled labels can reach the level."""
    flips, shuffles = (smallest_p(runs, runs, paired=p, alternative="greater") for p in (True, False))
    return cell.same_scheme and runs >= plan.paired_from and not (shuffles <= level < flips)


def rng_of(cell: CellEvidence, plan: GatePlan, stage: int) -> np.random.Generator:
    """A stream of the cell's own: verdicts do not depend on which other cells there are."""
    return np.random.default_rng([plan.seed, zlib.crc32(cell.name.encode()), stage])


def mean_test(stage: Arms, rng: np.random.Generator, resamples: int) -> Tested:
    """One-sided p of H0: delta <= M, the candidate shifted by M."""
    least = smallest_p(len(stage.x), len(stage.y), paired=stage.paired, alternative="greater")

    def flip(u: Floats, v: Floats) -> float:
        return float(sign_flip(u - v, rng, resamples, "greater"))

    def shuffle(u: Floats, v: Floats) -> float:
        return studentized_permutation(u, v, rng, resamples, "greater")

    method, name = (flip, "sign-flip") if stage.paired else (shuffle, "perm-t")
    return guarded_test(method, stage.x - stage.margin, stage.y, name=name, paired=stage.paired, smallest=least)


def rate_test(stage: Arms, plan: GatePlan) -> Tested | None:
    """One-sided Boschloo p of more failed runs, where they are more by the margin; None where they are not."""
    if stage.failed is None:
        return None
    n, m = len(stage.x), len(stage.y)
    k, l = stage.failed
    if k / n - l / m <= plan.rate_margin + 1e-12:
        return None
    arms = (np.repeat([1.0, 0.0], [k, n - k]), np.repeat([1.0, 0.0], [l, m - l]))
    tested = guarded_test(
        lambda u, v: boschloo((int(u.sum()), int(v.sum())), (len(u), len(v)), alternative="greater"),
        *arms,
        name="boschloo",
        constant=True,
    )
    return tested if tested.status == "tested" else None


def unattainable(what: str, n: int, level: float, family: int, *, paired: bool) -> str:
    """`confirm: n=5: smallest possible one-sided p .004 > .00125 (Holm, 40 cells): ...`; empty where it can reject."""
    least = smallest_p(n, n, paired=paired, alternative="greater")
    if least <= level:
        return ""
    need = seeds_needed(level, alternative="greater")
    return (
        f"{what}: n={n}: smallest possible one-sided p {plain(least)} > {plain(level)} (Holm, {family} "
        f"cell{'s' if family != 1 else ''}): cannot reject; need {need} seeds"
    )


def described(cell: CellEvidence, stage: Arms, name: Stage, *, reserve: bool) -> GateVerdict:
    """Means, difference, bounds and margin; status still to be decided."""
    baseline = cell.reserve_baseline if reserve else cell.baseline
    candidate = cell.reserve_candidate if reserve else cell.candidate
    seeds = sorted(baseline.keys() & candidate.keys())
    low, high = difference_interval(stage.x, stage.y, paired=stage.paired, confidence=SIDED)
    return GateVerdict(
        cell.name,
        "inconclusive",
        name,
        "",
        old=float(np.mean([baseline[s] for s in seeds])),
        new=float(np.mean([candidate[s] for s in seeds])),
        difference=0.0 if np.array_equal(stage.x, stage.y) else float(stage.x.mean() - stage.y.mean()),
        low=low,
        high=high,
        margin=stage.margin,
        runs=(len(stage.x), len(stage.y)),
    )


def exactly_worse(mean: Tested, base: GateVerdict) -> bool:
    """Both arms constant: no test can be had or is needed."""
    return mean.status == "deterministic" and (base.difference or 0.0) > (base.margin or 0.0)


def by_interval(stage: Arms, base: GateVerdict) -> GateVerdict:
    """OK, IMPROVED or INCONCLUSIVE from the one-sided bounds; equal differences in all seeds are their own bounds."""
    delta, margin, n = base.difference or 0.0, stage.margin, len(stage.x)
    low, high = (delta, delta) if base.low is None or base.high is None else (base.low, base.high)
    if np.array_equal(stage.x, stage.y):
        return replace(base, status="ok", reason="identical (bitwise)")
    ends = amounts(base)
    if n == 1:
        return replace(base, status="inconclusive", reason=f"{ends}; n=1: no test with 1 seed")
    if high < -margin:
        return replace(base, status="improved", reason=f"{ends}; consider a baseline update")
    if high < margin or (high == low and high <= margin):
        return replace(base, status="ok", reason=ends)
    needed = _seeds_needed(stage, delta)
    need = "more than 10000 seeds needed" if needed is None else f"{needed} seeds needed"
    need = need if margin > 0 else "no margin: set a floor"
    return replace(base, status="inconclusive", reason=f"{ends}; {need}", seeds_needed=needed)


def _seeds_needed(stage: Arms, delta: float) -> int | None:
    """Seeds with which an unchanged cell of this spread would be OK four times in five.

    Where those at hand are as many and did not decide, it is no unchanged cell: seeds with which a difference of
    `delta` would be told from the margin.
    """
    if stage.paired:
        spread = float((stage.x - stage.y).std(ddof=1))
    else:
        spread = math.sqrt((stage.x.var(ddof=1) + stage.y.var(ddof=1)) / 2)
    arms: Literal[1, 2] = 1 if stage.paired else 2
    n = len(stage.x)
    needed = seeds_for_margin(spread, stage.margin, arms=arms)
    if needed is None or needed > n:
        return needed
    needed = seeds_for_margin(spread, abs(stage.margin - delta), arms=arms)
    return None if needed is None else max(needed, n + 1)


def regressed_text(arms: Arms, v: GateVerdict) -> str:
    """Size and significance on one line."""
    if v.hypothesis == "rate" and arms.failed is not None:
        (k, l), n, m = arms.failed, len(arms.x), len(arms.y)
        return f"{k}/{n} runs failed, {l}/{m} in the baseline (boschloo, Holm p {short_p(v.adjusted)})"
    told = amounts(replace(v, status="regressed"))
    if v.p is None:
        return f"deterministic {told}; no sampling variance, no test"
    return f"{told} ({v.test}, Holm p {short_p(v.adjusted)})"


def amounts(v: GateVerdict, scale: float = 1.0) -> str:
    """`difference +0.062, at least 0.03, margin 0.025` of a verdict, as its reason has it; at 100 in percentage points.

    The bounds are both there unless it regressed; of one seed there is the difference alone.
    """
    delta, margin = v.difference or 0.0, v.margin or 0.0
    low, high = (delta, delta) if v.low is None or v.high is None else (v.low, v.high)
    least, most, needed = (rounded(scale * end, 2) for end in (low, high, margin))
    text = f"difference {rounded(scale * delta, 2, '+')}" + " percentage points" * (scale != 1)
    if v.status != "regressed":
        bounds = f", one-sided 95% bounds [{least}, {most}], margin {needed}"
        return text + bounds * (v.runs[0] != 1)
    return text + f", at least {least}" * (v.low is not None and v.p is not None) + f", margin {needed}"


def seed_range(arm: Mapping[int, float]) -> str:
    """`20-39`, `1,5,7`."""
    low, high = min(arm), max(arm)
    return f"{low}-{high}" if len(arm) == high - low + 1 else ",".join(map(str, sorted(arm)))


def p_note(tested: Tested) -> str:
    """` (p .0034, sign-flip)`, empty without a p."""
    return f" (p {short_p(tested.p)}, {tested.test})" if tested.p is not None else ""


def short_p(p: float | None) -> str:
    """`.0034`, `<.0001`."""
    return "none" if p is None else plain(p) if p >= 0.0001 else "<.0001"
