"""How far the interval of a breaking point can be trusted under the search that is really made, measured.

python benchmarks/breaking_point.py [--repeats 1000] [--processes 2]

Seeds that learn are drawn at random from a known curve, the search picks its levels, and the interval either holds the
true p0* or does not; then two algorithms with one p0* and the same search are compared, and told apart or not.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import joblib
import numpy as np

from tpobench.stats.breaking_point import BreakingPoint, breaking_point, compare_points
from tpobench.stats.success_curve import Level
from tpobench.suites.search import walk

LENGTHS = tuple(range(2, 11))  # levels of p0 = 2^-length
CURVES: dict[str, Callable[[float], float]] = {
    "logistic": lambda z: 1 / (1 + math.exp(-z)),
    "Gumbel": lambda z: 1 - math.exp(-math.log(2) * math.exp(z)),
    "reversed Gumbel": lambda z: math.exp(-math.log(2) * math.exp(-z)),
    "step": lambda z: float(z > 0),
}


@dataclass(frozen=True)
class Case:
    """A true curve: its shape, its slope in logits per factor e of p0, and the seeds of a level."""

    shape: str
    slope: float
    seeds: int


@dataclass(frozen=True)
class Rates:
    """What became of the repeats of a case."""

    coverage: float
    below: float  # p0* lies below the interval
    above: float
    width: float  # median of high / low, where both ends are known
    levels: float
    told_apart: float  # two algorithms of one p0*, at 5%


CASES = [
    Case(shape, slope, seeds)
    for seeds in (8, 10, 20)
    for shape, slope in (("logistic", 1.0), ("logistic", 3.0), ("Gumbel", 1.0), ("Gumbel", 3.0),
                         ("reversed Gumbel", 3.0), ("step", 0.0))
]  # fmt: skip


def simulate(case: Case, middle: float, rng: np.random.Generator) -> BreakingPoint:
    """One search under a true log p0* of `middle`."""
    outcomes: dict[int, int] = {}

    def share(length: int) -> float:
        z = case.slope * (-length * math.log(2) - middle) if case.slope else -length * math.log(2) - middle
        return CURVES[case.shape](min(max(z, -30.0), 30.0))

    def holds(length: int) -> bool | None:
        return None if length not in outcomes else 2 * outcomes[length] >= case.seeds

    while wanted := walk(LENGTHS, 1, holds).wanted:
        outcomes |= {length: int(rng.binomial(case.seeds, share(length))) for length in wanted}
    return breaking_point([Level(2.0**-length, k, case.seeds) for length, k in outcomes.items()])


def rates(case: Case, repeats: int) -> Rates:
    """Coverage, and how often two equal arms are told apart; p0* anywhere between the second and the last level."""
    rng = np.random.default_rng([repeats, case.seeds, int(10 * case.slope), len(case.shape)])
    below = above = apart = levels = 0
    widths = []
    for _ in range(repeats):
        middle = rng.uniform(-9 * math.log(2), -3 * math.log(2))
        first, second = simulate(case, middle, rng), simulate(case, middle, rng)
        below += first.low is not None and middle < math.log(first.low)
        above += first.high is not None and middle > math.log(first.high)
        levels += len(first.levels)
        if first.low is not None and first.high is not None:
            widths.append(first.high / first.low)
        p = compare_points(first, second).p
        apart += p is not None and p < 0.05
    covered = 1 - (below + above) / repeats
    return Rates(covered, below / repeats, above / repeats, float(np.median(widths)), levels / repeats, apart / repeats)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    table = joblib.Parallel(options.processes)(joblib.delayed(rates)(case, options.repeats) for case in CASES)
    print("| true curve | slope | seeds a level | levels | covered | p0* below | p0* above | high / low | told apart |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for case, r in zip(CASES, table, strict=True):
        print(
            f"| {case.shape} | {case.slope or 'infinite'} | {case.seeds} | {r.levels:.1f} | {r.coverage:.3f} | "
            f"{r.below:.3f} | {r.above:.3f} | {r.width:.2f} | {r.told_apart:.3f} |"
        )
    error = math.sqrt(0.95 * 0.05 / options.repeats)
    print(f"\n{options.repeats} repeats: the standard error of a coverage of .95 is {error:.3f}")


if __name__ == "__main__":
    main()
