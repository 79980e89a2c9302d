"""What the calibration draws from: recorded per-seed results and standard shapes, each a finite population of values.

A population is sampled with replacement, so its mean, median and tail are known exactly and coverage has a truth.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tpobench.check.arms import by_arm
from tpobench.records.results import load_results
from tpobench.scores.cells import final_values
from tpobench.stats.censored import first_crossing
from tpobench.stats.estimate import area_under_curve, final_window

Floats = NDArray[np.float64]
ROOT = Path(__file__).parent.parent
GRID = 40_000  # quantiles that stand for a continuous shape
EVERY = 10  # of the published curves' 2000 evaluations
BUDGET = 2000.0


@dataclass(frozen=True)
class Population:
    """Values that seeds are drawn from, and the range of the metric."""

    name: str
    values: Floats
    lowest: float = -np.inf
    highest: float = np.inf

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """One value for each of n seeds."""
        return self.values[rng.integers(0, len(self.values), n)]

    @property
    def mean(self) -> float:
        """Of the population."""
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        """Of the population."""
        return float(self.values.std())


@dataclass(frozen=True)
class Curves:
    """Whole error curves that seeds are drawn from: (N, E)."""

    name: str
    curves: Floats
    steps: Floats


def stream(*names: object) -> np.random.Generator:
    """A random stream of its own for every row of the tables, whatever else is computed."""
    return np.random.default_rng([zlib.crc32(str(name).encode()) for name in names])


def _grid(distribution: object) -> Floats:
    return np.asarray(distribution.ppf((np.arange(GRID) + 0.5) / GRID), dtype=np.float64)  # type: ignore[attr-defined]


@cache
def shapes() -> dict[str, Population]:
    """Standard shapes, at the scale of an error."""
    half = GRID // 2
    bimodal = np.concatenate([_grid(stats.norm(m, 0.03))[:: GRID // half] for m in (0.1, 0.9)])
    populations = (
        Population("normal", _grid(stats.norm(0.3, 0.1))),
        Population("lognormal", _grid(stats.lognorm(1.0, scale=0.1)), 0.0),
        Population("bimodal", bimodal),
        Population("10% failures (0/1)", np.repeat([0.0, 1.0], [9, 1]), 0.0, 1.0),
        Population("heavy tail (Lomax 2.5)", 0.1 * _grid(stats.lomax(2.5)), 0.0),
    )
    return {p.name: p for p in populations}


@cache
def published() -> dict[str, Curves]:
    """The published error curves of three algorithms: terminal reward, H = 10, 20 seeds x 2000 episodes."""
    data = np.load(ROOT / "tests" / "extracts" / "published_curves.npz")
    steps = np.arange(2000.0)
    return {
        f"published {name.upper()}": Curves(f"published {name.upper()}", data[name] / float(data["of"]), steps)
        for name in ("tpo", "grpo", "dg")
    }


def finals(curves: Curves) -> Population:
    """Mean error of the last 50 evaluations."""
    return Population(curves.name, final_window(curves.curves, 50, 1.0), 0.0, 1.0)


def areas(curves: Curves) -> Population:
    """Mean error over all steps."""
    return Population(f"{curves.name}, AUC", area_under_curve(curves.curves, curves.steps, 1.0), 0.0, 1.0)


def times(curves: Curves, threshold: float) -> Population:
    """Steps to a threshold, inf where a run never gets there."""
    reached = first_crossing(curves.curves, curves.steps, threshold, 3)
    return Population(f"{curves.name}, steps to {threshold:.0%}", reached, 0.0)


@cache
def thinned() -> dict[str, Curves]:
    """The published curves at every 10th evaluation, where whole curves are resampled."""
    return {name: Curves(name, c.curves[:, ::EVERY], c.steps[::EVERY]) for name, c in published().items()}


@cache
def recorded(suite: str) -> dict[str, Population]:
    """Final errors of every algorithm and cell of a suite's committed records."""
    populations = {}
    for arm, records in by_arm(load_results(ROOT / "results" / f"{suite}.jsonl").records).items():
        values = np.array(final_values(list(records)), dtype=np.float64)
        populations[arm.text] = Population(arm.text, values, 0.0, 1.0)
    return populations


@cache
def recorded_curves(suite: str, arm_text: str) -> Curves:
    """Whole curves of one algorithm in one cell of a suite's committed records."""
    for arm, records in by_arm(load_results(ROOT / "results" / f"{suite}.jsonl").records).items():
        if arm.text == arm_text:
            curves = np.array([r.curve["error"] for r in records], dtype=np.float64)
            return Curves(arm_text, curves, np.array(records[0].curve["step"], dtype=np.float64))
    msg = f"no arm '{arm_text}' in results/{suite}.jsonl"
    raise ValueError(msg)


def recorded_examples() -> dict[str, Population]:
    """The recorded populations of the coverage tables: published curves, and four arms of this repository."""
    populations = {name: finals(c) for name, c in published().items()}
    sparse, bandit = recorded("sparse"), recorded("bandit")
    for name in ("sparse length=6 reward=terminal grpo", "sparse length=4 reward=terminal tpo"):
        populations[name] = sparse[name]
    for name in ("bandit grpo", "bandit reinforce"):
        populations[name] = bandit[name]
    return populations


def noisy_cells(count: int = 40) -> list[Population]:
    """Unchanged noisy cells of one check, all of sd >= 0.01: published and recorded arms, and two of each shape."""
    named = [finals(c) for c in published().values()] + [p for p in shapes().values() for _ in range(2)]
    noisy, wide = ([p for p in of if p.sd >= 0.01] for of in (named, recorded("sparse").values()))
    return noisy + [wide[i % len(wide)] for i in range(count - len(noisy))]
