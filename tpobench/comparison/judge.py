"""Two arms under one measure: one guarded test, paired where the design says so; then Holm over the declared family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tpobench.scores.cells import Arm
from tpobench.scores.estimates import SEED
from tpobench.scores.measure import Measure
from tpobench.scores.sides import Entry, Key
from tpobench.stats.compare import PAIRS_NEEDED, Comparison, adjust, compare
from tpobench.stats.estimate import RESAMPLES, rate_estimate
from tpobench.stats.multiplicity import holm, resamples_for
from tpobench.stats.outcomes import compare_rates, compare_times
from tpobench.stats.suite_level import Reference, SuiteComparison, suite_compare

ALPHA = 0.05


@dataclass(frozen=True)
class Row:
    """A against B in one cell; lower is better, `found` is adjusted over all rows."""

    key: Key
    label: str
    a: Arm
    b: Arm
    found: Comparison
    pairing: str  # "paired", or why not

    @property
    def verdict(self) -> str:
        """Of A."""
        return self.found.verdict(ALPHA)


@dataclass(frozen=True)
class SuiteRow:
    """A against B over all rows of one suite; scores are higher better, references fixed."""

    suite: str
    found: SuiteComparison
    adjusted: float | None
    family: int

    def verdict(self, alpha: float = ALPHA) -> str:
        """Of A."""
        if self.adjusted is not None and self.adjusted < alpha and self.found.difference is not None:
            return "better" if self.found.difference > 0 else "worse"
        return "not distinguishable" if self.found.p is not None else self.found.reason


def judge(keys: Sequence[Key], a: Mapping[Key, Entry], b: Mapping[Key, Entry], measure: Measure) -> tuple[Row, ...]:
    """Every row tested, the family of all rows adjusted by Holm."""
    resamples = resamples_for(len(keys), ALPHA)
    pairings = {key: pairing(a[key], b[key], measure) for key in keys}
    raw = {
        (str(i), ""): _compared(a[key].arm, b[key].arm, measure, paired=pairings[key] == "paired", resamples=resamples)
        for i, key in enumerate(keys)
    }
    found = adjust(raw, ALPHA).values()
    return tuple(
        Row(key, _label(key, a[key]), a[key].arm, b[key].arm, c, pairings[key])
        for key, c in zip(keys, found, strict=True)
    )


def _label(key: Key, entry: Entry) -> str:
    return entry.cell.axes_label if key.matching == "any" else entry.cell.label


def pairing(a: Entry, b: Entry, measure: Measure) -> str:
    """Decided by the design, never by the correlation seen: equal streams and at least ten common seeds."""
    common = len(set(a.arm.seeds) & set(b.arm.seeds))
    if measure.kind in {"steps", "rate"}:
        return "no: ranks and counts are compared unpaired"
    if not a.stream or not b.stream:
        return "no: seed_scheme unknown or mixed"
    if a.stream != b.stream:
        return "no: other seed_scheme or task, so equal seeds share no random numbers"
    return "paired" if common >= PAIRS_NEEDED else f"no: {common} common seeds, pairing takes {PAIRS_NEEDED}"


def _compared(a: Arm, b: Arm, measure: Measure, *, paired: bool, resamples: int) -> Comparison:
    rng = np.random.default_rng(SEED)
    if measure.kind == "rate":
        return compare_failures(measure.values(a), measure.values(b))
    if measure.kind == "steps":
        times = measure.times(a), measure.times(b)
        return compare_times(*times, a.budget, b.budget, rng=rng, resamples=resamples)
    x, y = a.by_seed(measure.values(a)), b.by_seed(measure.values(b))
    common = sorted(x.keys() & y.keys())
    u, v = ([s[seed] for seed in (common if paired else sorted(s))] for s in (x, y))
    found = compare(u, v, rng=rng, paired=paired, resamples=resamples)
    if all(a.diverged) == all(b.diverged):
        return found
    # An arm without a run that lasted has no spread to test with: the counts of diverged runs are compared.
    lost = compare_rates(sum(a.diverged), len(a.seeds), sum(b.diverged), len(b.seeds))
    return replace(lost, difference=found.difference, better=found.better)


def compare_failures(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Comparison:
    """Shares of failed seeds by Boschloo, their difference with Newcombe's interval, P(better) = (1 - difference) / 2.

    Newcombe 1998, hybrid score interval (method 10): Wilson's limits of the two shares put together.
    """
    k, n, l, m = int(sum(a)), len(a), int(sum(b)), len(b)
    found = compare_rates(k, n, l, m)
    x, y = rate_estimate(k, n), rate_estimate(l, m)
    if None in {x.value, x.low, x.high, y.value, y.low, y.high} or x.value is None or y.value is None:
        return found
    difference = x.value - y.value
    low = difference - np.hypot(x.value - (x.low or 0.0), (y.high or 0.0) - y.value)
    high = difference + np.hypot((x.high or 0.0) - x.value, y.value - (y.low or 0.0))
    return replace(
        found, difference=difference, low=float(low), high=float(high), better=(1 - difference) / 2,
        better_low=float(1 - high) / 2, better_high=float(1 - low) / 2,
    )  # fmt: skip


def judge_suites(rows: Sequence[Row], measure: Measure) -> tuple[SuiteRow, ...]:
    """One stratified test per suite of at least two rows, normalised by fixed references; Holm over the suites."""
    raw: dict[str, SuiteComparison] = {}
    for suite in dict.fromkeys(row.key.suite for row in rows):
        own = [row for row in rows if row.key.suite == suite]
        if len(own) < 2:
            continue
        names = [f"{row.label} {row.key.algorithm}".strip() for row in own]
        references: dict[str, Reference] = {n: measure.reference(r.a) for n, r in zip(names, own, strict=True)}
        a, b = ({n: measure.values(arm) for n, arm in zip(names, arms, strict=True)}
                for arms in ([r.a for r in own], [r.b for r in own]))  # fmt: skip
        found = suite_compare(a, b, references, rng=np.random.default_rng(SEED), resamples=RESAMPLES)
        least = None if found.smallest is None else max(found.smallest, 2 / (RESAMPLES + 1))
        raw[suite] = replace(found, smallest=least)
    adjusted = holm([c.p for c in raw.values()])
    family = sum(c.p is not None for c in raw.values())
    return tuple(SuiteRow(s, c, q, family) for (s, c), q in zip(raw.items(), adjusted, strict=True))
