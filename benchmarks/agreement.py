"""Do our stochastic experiments behave as the reference's do?  Two-sample tests against the reference's own runs.

python benchmarks/agreement.py [--results results] [--docs docs/reproduction.md]

Reads the packed records of the suites `mnist` and `terminal_small`, and tests/extracts/agreement.npz: the reference's
runs of the same settings, 20 seeds on MNIST and 6 on the terminal reward.  Seeds are not shared and trajectories are
chaotic, so distributions are compared over the updates that both have: final errors (terminal_small: means over the
last 25 updates) by the studentized permutation test and by rank sum, whole curves by the largest Welch's t.  p are
Holm-adjusted over all tests of the table; the raw p stands beside.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from documents import fill, markdown

from tpobench.records.results import load_results
from tpobench.stats.estimate import mean_estimate
from tpobench.stats.multiplicity import holm
from tpobench.stats.permutation import curve_permutation, rank_permutation, studentized_permutation

HERE = Path(__file__).parent
EXTRACT = HERE.parent / "tests" / "extracts" / "agreement.npz"
BEGIN, END = "<!-- agreement: made by benchmarks/agreement.py -->", "<!-- end of agreement -->"
OF = {"dg": 100, "ppo": 100, "tpo": 800, "grpo": 800}  # rollouts behind one training error
IMAGES = UPDATES = 10_000  # of MNIST: test images, and updates of a run
BLOCK = 25  # updates averaged to one point of a training curve: one update's error is sampling noise
SUITES = ("mnist", "terminal_small")


@dataclass(frozen=True)
class Pair:
    """Error curves of one algorithm, ours and the reference's, at the same updates."""

    suite: str
    algorithm: str
    updates: int  # that both have
    ours: np.ndarray  # (n, E)
    theirs: np.ndarray  # (m, E)


@dataclass(frozen=True)
class Agreement:
    """One row of the table; p of the final error (mean, rank) and of the whole curve, unadjusted."""

    pair: Pair
    p: tuple[float, float, float]


def reference(suite: str) -> dict[str, np.ndarray]:
    """The reference's error curves by algorithm, (seeds, evaluations)."""
    data = np.load(EXTRACT)
    names = [name.partition("/")[2] for name in data if name.startswith(f"{suite}/") and not name.endswith("/step")]
    return {n: data[f"{suite}/{n}"] / (IMAGES if suite == "mnist" else OF[n]) for n in names}


def pairs(suite: str, results: Path) -> list[Pair]:
    """Our records of a suite beside the reference's, cut to what both have."""
    curves: dict[str, list[list[float]]] = {}
    for record in sorted(load_results(results / f"{suite}.jsonl").records, key=lambda r: int(r.spec["seed"])):
        error = dict(zip(record.curve["step"], record.curve["error"], strict=True))
        curves.setdefault(str(record.spec["algorithm"]), []).append([error[step] for step in sorted(error)])
    sides = []
    for algorithm, theirs in reference(suite).items():
        ours = np.array(curves[algorithm], dtype=np.float64)
        if suite == "mnist":
            assert ours.shape[1] == theirs.shape[1] + 1
            sides.append(Pair(suite, algorithm, UPDATES, ours[:, 1:], theirs))  # theirs starts after 200 updates
        else:
            steps = min(ours.shape[1], theirs.shape[1]) // BLOCK * BLOCK
            sides.append(Pair(suite, algorithm, steps, blocks(ours[:, :steps]), blocks(theirs[:, :steps])))
    return sides


def blocks(curves: np.ndarray) -> np.ndarray:
    """Means over consecutive updates: (n, E) -> (n, E / BLOCK)."""
    return np.asarray(curves.reshape(len(curves), -1, BLOCK).mean(axis=2))


def agreement(pair: Pair) -> Agreement:
    """The three tests of a pair, each with a generator of its own."""
    tests = (studentized_permutation, rank_permutation)
    final = [test(pair.ours[:, -1], pair.theirs[:, -1], np.random.default_rng(0)) for test in tests]
    return Agreement(pair, (final[0], final[1], curve_permutation(pair.ours, pair.theirs, np.random.default_rng(0))))


def table(rows: Sequence[Agreement]) -> str:
    """Markdown: the final errors of both sides in %, and the adjusted p of every test."""
    adjusted = iter(holm([p for row in rows for p in row.p]))
    lines = []
    for row in rows:
        ps = [next(adjusted) for _ in row.p]
        pair = row.pair
        lines.append(
            [
                f"{pair.suite} {pair.algorithm}",
                f"{pair.updates:,}",
                mean_text(pair.ours[:, -1]),
                mean_text(pair.theirs[:, -1]),
            ]
            + [f"{p:.2f} ({raw:.3f})" for p, raw in zip(ps, row.p, strict=True)]
        )
    head = ["suite and algorithm", "updates", "ours", "reference", "p mean", "p rank", "p curve"]
    return markdown(head, lines)


def mean_text(values: np.ndarray) -> str:
    """`2.86 [2.78, 2.94] (20)`: mean error in % with 95 % interval and seeds."""
    mean = mean_estimate(values, rng=np.random.default_rng(0), lowest=0.0, highest=1.0)
    assert mean.value is not None
    interval = "" if mean.low is None or mean.high is None else f" [{100 * mean.low:.2f}, {100 * mean.high:.2f}]"
    return f"{100 * mean.value:.2f}{interval} ({len(values)})"


def compare_all(results: Path) -> list[Agreement]:
    """Every algorithm of every suite that the reference has runs of."""
    return [agreement(pair) for suite in SUITES for pair in pairs(suite, results)]


def main() -> None:
    """Print the table, and put it into a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--docs", type=Path)
    arguments = parser.parse_args()
    text = table(compare_all(arguments.results))
    print(text)
    if arguments.docs is not None:
        fill(arguments.docs, BEGIN, END, text)


if __name__ == "__main__":
    main()
