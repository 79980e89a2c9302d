"""What the mistakes that `lint` looks for do to a conclusion: the numbers of docs/lint.md and docs/statistics.md.

python benchmarks/mistakes.py

Simulated with a fixed seed, 4000 repeats unless said; "published" are the curves of the TPO authors (terminal reward,
H = 10, 20 seeds) in tests/extracts/published_curves.npz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from tpobench.stats.censored import first_crossing
from tpobench.stats.suite_level import Reference, suite_estimate

CURVES = Path(__file__).parent.parent / "tests" / "extracts" / "published_curves.npz"
REPEATS = 4000
ALPHA = 0.05


def main() -> None:
    """Print one line per mistake."""
    rng = np.random.default_rng(0)
    print(f"adding 5 seeds at a time up to 40 and testing each time: {peeking(rng):.0%} false positives")
    print(
        f"50 evaluations of 5 runs as 250 points, noise as large as the spread: {replicates(rng):.0%} false positives"
    )
    lasting, worst = dropped(rng)
    print(f"6 of 20 runs of one arm diverge: found in {lasting:.0%} of studies if dropped, {worst:.0%} if scored worst")
    best = rng.normal(size=(REPEATS, 20)).max(axis=1).mean()
    print(f"the best of 20 noisy evaluations: {best:+.1f} standard deviations")
    print(f"suite-level intervals of 8 tasks at 3 seeds: {coverage(rng):.0%} of nominal 95%")
    for n in (3, 5, 10, 20):
        print(f"{n} seeds detect {smallest_difference(n, rng):.1f} standard deviations with 80% power")
    published()


def peeking(rng: np.random.Generator) -> float:
    """Share of studies of two equal arms that are ever significant by Welch's test."""
    x = rng.normal(size=(2, REPEATS, 40))
    looks = [stats.ttest_ind(x[0, :, :n], x[1, :, :n], axis=1, equal_var=False).pvalue for n in range(5, 41, 5)]
    return float((np.min(looks, axis=0) < ALPHA).mean())


def replicates(rng: np.random.Generator) -> float:
    """Evaluations of one run share its luck."""
    runs = rng.normal(size=(2, REPEATS, 5, 1)) + rng.normal(size=(2, REPEATS, 5, 50))
    flat = runs.reshape(2, REPEATS, 250)
    return float((stats.ttest_ind(flat[0], flat[1], axis=1, equal_var=False).pvalue < ALPHA).mean())


def dropped(rng: np.random.Generator) -> tuple[float, float]:
    """Two arms that are equal where they last, .1 with a standard deviation of .03; 6 of 20 runs of one diverge."""
    a, b = rng.normal(0.1, 0.03, size=(2, REPEATS, 20))
    lasting = stats.ttest_ind(a, b[:, 6:], axis=1, equal_var=False).pvalue
    b[:, :6] = 1.0
    worst = stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue
    return float((lasting < ALPHA).mean()), float((worst < ALPHA).mean())


def coverage(rng: np.random.Generator, repeats: int = 400) -> float:
    """Of the mean score of 8 normal tasks."""
    references = {str(t): Reference(worst=1.0, best=0.0) for t in range(8)}
    covered = 0
    for _ in range(repeats):
        estimate = suite_estimate({t: rng.normal(0.5, 0.1, 3) for t in references}, references, rng=rng)
        covered += estimate.low is not None and estimate.high is not None and estimate.low <= 0.5 <= estimate.high
    return covered / repeats


def smallest_difference(n: int, rng: np.random.Generator) -> float:
    """Of two normal arms by Welch's test, in standard deviations."""
    base = rng.normal(size=(2, REPEATS, n))
    for difference in np.arange(0.1, 6, 0.05):
        p = stats.ttest_ind(base[0] + difference, base[1], axis=1, equal_var=False).pvalue
        if (p < ALPHA).mean() >= 0.8:
            return float(difference)
    return float("inf")


def published() -> None:
    """What depends on how the published TPO runs are read."""
    with np.load(CURVES) as curves:
        error = (curves["tpo"] / curves["of"]).astype(np.float32)  # errors are counts of wrong answers
    final = error[:, -50:].mean(axis=1)
    print(f"published TPO: last evaluation {error[:, -1].mean():.1%}, last 50 {final.mean():.1%}")
    bad = int((final > 0.1).sum())
    print(f"published TPO: mean {final.mean():.3f}, IQM {stats.trim_mean(final, 0.25):.4f}, {bad} of 20 above 10%")
    for persist in (1, 50):
        steps = first_crossing(error, np.arange(error.shape[1]), 0.01, persist)
        print(f"published TPO to 1%, {persist} in a row: median {np.median(steps):.0f}, {np.isfinite(steps).sum()}/20")


if __name__ == "__main__":
    main()
