"""Seeds: the same for every algorithm, none dropped, enough of them, and really varied."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tpobench.lint.model import CellRuns, Finding, seeds_of
from tpobench.records.shapes import AXES
from tpobench.records.store import BROKEN, RunRecord
from tpobench.scores.cells import Arm, padded
from tpobench.scores.pairing import PAIRED, pairing
from tpobench.scores.text import seed_ranges
from tpobench.stats.compare import attainable_text
from tpobench.stats.guard import Floats
from tpobench.stats.permutation import smallest_p

COPY = 0.9  # share of the moves of two curves that agree, from which they are one training run
MOVES = 10  # fewer can agree by chance


def unequal(cell: CellRuns) -> Iterator[Finding]:
    """L001: algorithms of one cell whose runs, whatever became of them, have different seeds."""
    seeds = {n: seeds_of(runs) for n, runs in cell.runs.items() if any(r.status != "skipped" for r in runs)}
    if len({tuple(s) for s in seeds.values()}) > 1:
        every = sorted({s for ran in seeds.values() for s in ran})
        lacking = {n: [s for s in every if s not in ran] for n, ran in seeds.items()}
        short = {n: missing for n, missing in lacking.items() if missing}
        listed = "; ".join(f"{n} lacks {seed_ranges(missing)}" for n, missing in short.items())
        yield cell.finding("L001", f"seeds {seed_ranges(every)}: {listed}", short)


def missing(cell: CellRuns) -> Iterator[Finding]:
    """L002: algorithms of the suite without any run here, not even a skipped one; in a search each has its levels."""
    absent = [n for n in cell.algorithms if n not in cell.runs and cell.reporting.search is None]
    if absent:
        yield cell.finding("L002", f"no runs of {', '.join(absent)}", absent)


def dropped(cell: CellRuns) -> Iterator[Finding]:
    """L003: runs without a result."""
    for name, runs in cell.runs.items():
        broken = [r for r in runs if r.status in BROKEN]
        if broken:
            kinds = ", ".join(f"{n} {status}" for status, n in sorted(Counter(r.status for r in broken).items()))
            what = f"{name}: {len(broken)} of {len(runs)} runs without a result ({kinds}), seeds "
            yield cell.finding("L003", what + seed_ranges(seeds_of(broken)), [name])


def diverged(cell: CellRuns) -> Iterator[Finding]:
    """L004: k of n runs diverged."""
    for name, runs in cell.finished.items():
        lost = [r for r in runs if r.status == "diverged"]
        if lost:
            yield cell.finding("L004", f"{name}: {len(lost)} of {len(runs)} diverged, scored the worst value", [name])


def skipped(cell: CellRuns) -> Iterator[Finding]:
    """L005: seeds inside the range that no algorithm ran."""
    ran = seeds_of(r for runs in cell.runs.values() for r in runs if r.status != "skipped")
    holes = sorted(set(range(ran[0], ran[-1] + 1)) - set(ran)) if ran and ran[-1] - ran[0] < 100 * len(ran) else []
    if holes:
        yield cell.finding("L005", f"seeds {seed_ranges(ran)}: nobody ran {seed_ranges(holes)}")


def powerless(cell: CellRuns) -> Iterator[Finding]:
    """L006: no test of the family of all pairs can reject at 5% after Holm."""
    pairs = [_sizes(a, b) for a, b in itertools.combinations(cell.arms.values(), 2)]
    if not pairs:
        return
    runs, flips = min(pairs, key=lambda p: smallest_p(*p[0], paired=p[1]))
    if min(runs) == 1:
        yield cell.finding("L006", "1 seed: no test at all", cell.arms)
    elif reason := attainable_text(runs, paired=flips, family=len(pairs)):
        yield cell.finding("L006", reason, cell.arms)


def _sizes(a: Arm, b: Arm) -> tuple[tuple[int, int], bool]:
    """Runs of a comparison, and whether it is paired: on the common seeds."""
    if pairing(a, b) != PAIRED:
        return (len(a.seeds), len(b.seeds)), False
    common = len(set(a.seeds) & set(b.seeds))
    return (common, common), True


def few(cell: CellRuns) -> Iterator[Finding]:
    """L007 below 5 seeds, L008 below 10."""
    for code, lowest, highest in (("L007", 1, 4), ("L008", 5, 9)):
        sizes = {n: len(seeds_of(runs)) for n, runs in cell.finished.items()}
        short = {n: k for n, k in sizes.items() if lowest <= k <= highest}
        if short:
            counts = " to ".join(str(k) for k in sorted({min(short.values()), max(short.values())}))
            yield cell.finding(code, f"n = {counts}", short)


def copies(cell: CellRuns) -> Iterator[Finding]:
    """L009: different seeds with one curve; L010: all seeds with one curve."""
    for name, runs in cell.finished.items():
        if len(seeds_of(runs)) < 2:
            continue
        names = list(dict.fromkeys(k for r in runs for k in r.curve if k not in AXES))
        same = _same(runs, names, cell.reporting.metric)
        if same and all(_equal(runs[0], r, names) for r in runs[1:]):
            yield cell.finding("L010", f"{name}: all {len(runs)} seeds are identical", [name])
        elif same:
            a, b = same[0]
            more = f" (and {len(same) - 1} more pairs)" if len(same) > 1 else ""
            yield cell.finding("L009", f"{name}: seeds {a} and {b} have the same training curve{more}", [name])


def _same(runs: Sequence[RunRecord], names: Sequence[str], metric: str) -> list[tuple[int, int]]:
    """Pairs of seeds whose curves move together, step by step and to the last digit."""
    curves = _matrix(runs, metric)
    with np.errstate(invalid="ignore"):
        change = np.diff(curves, axis=1)
    moves = np.isfinite(change) & (change != 0)
    pairs = []
    for i in range(len(runs) - 1):
        moved = moves[i] | moves[i + 1 :]
        equal = (moved & (curves[i, 1:] == curves[i + 1 :, 1:])).sum(axis=1)
        total = moved.sum(axis=1)
        for k in map(int, np.flatnonzero(equal >= COPY * np.maximum(total, 1))):
            a, b = runs[i], runs[i + 1 + k]
            if total[k] >= MOVES or (total[k] > 1 and _equal(a, b, names)):
                pairs.append((int(a.spec["seed"]), int(b.spec["seed"])))
    return pairs


def _equal(a: RunRecord, b: RunRecord, names: Sequence[str]) -> bool:
    return a.spec["seed"] != b.spec["seed"] and all(a.curve.get(n) == b.curve.get(n) for n in names)


def _matrix(runs: Sequence[RunRecord], metric: str) -> Floats:
    """(n, E), NaN where not measured and after the end of a shorter run."""
    curves = [r.curve.get(metric, []) for r in runs]
    return padded(curves, max(1, *map(len, curves)))


CHECKS: Mapping[str, Callable[[CellRuns], Iterator[Finding]]] = {
    "L001": unequal, "L002": missing, "L003": dropped, "L004": diverged, "L005": skipped, "L006": powerless,
    "L007": few, "L009": copies,
}  # fmt: skip
