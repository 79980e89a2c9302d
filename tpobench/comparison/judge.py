"""Every row of a comparison tested, then Holm over the declared family; and one line for each suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tpobench.scores.cells import Arm
from tpobench.scores.estimates import SEED
from tpobench.scores.pairing import compare_arms, pairing
from tpobench.scores.scalars import Scalar
from tpobench.scores.sides import Entry, Key
from tpobench.stats.compare import Comparison, adjust
from tpobench.stats.estimate import RESAMPLES
from tpobench.stats.multiplicity import holm, resamples_for
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


def judge(keys: Sequence[Key], a: Mapping[Key, Entry], b: Mapping[Key, Entry], scalar: Scalar) -> tuple[Row, ...]:
    """Every row tested, the family of all rows adjusted by Holm."""
    resamples = resamples_for(len(keys), ALPHA)
    arms = [(a[key].arm, b[key].arm) for key in keys]
    raw = {(str(i), ""): compare_arms(*pair, scalar, resamples=resamples) for i, pair in enumerate(arms)}
    return tuple(
        Row(key, _label(key, a[key]), *pair, found, pairing(*pair, scalar.test))
        for key, pair, found in zip(keys, arms, adjust(raw, ALPHA).values(), strict=True)
    )


def _label(key: Key, entry: Entry) -> str:
    return entry.cell.axes_label if key.matching == "any" else entry.cell.label


def judge_suites(rows: Sequence[Row], scalar: Scalar) -> tuple[SuiteRow, ...]:
    """One stratified test per suite of at least two rows, normalised by fixed references; Holm over the suites."""
    raw: dict[str, SuiteComparison] = {}
    for suite in dict.fromkeys(row.key.suite for row in rows):
        own = [row for row in rows if row.key.suite == suite]
        if len(own) < 2:
            continue
        names = [f"{row.label} {row.key.algorithm}".strip() for row in own]
        references: dict[str, Reference] = {n: scalar.reference(r.a) for n, r in zip(names, own, strict=True)}
        a, b = ({n: scalar.capped(arm) for n, arm in zip(names, arms, strict=True)}
                for arms in ([r.a for r in own], [r.b for r in own]))  # fmt: skip
        found = suite_compare(a, b, references, rng=np.random.default_rng(SEED), resamples=RESAMPLES)
        least = None if found.smallest is None else max(found.smallest, 2 / (RESAMPLES + 1))
        raw[suite] = replace(found, smallest=least)
    adjusted = holm([c.p for c in raw.values()])
    family = sum(c.p is not None for c in raw.values())
    return tuple(SuiteRow(s, c, q, family) for (s, c), q in zip(raw.items(), adjusted, strict=True))
