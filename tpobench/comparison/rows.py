"""Every row of a comparison tested, then Holm over the declared family; and one line for each suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tpobench.scores.cells import Arm
from tpobench.scores.pairing import compare_arms, pairing
from tpobench.scores.scalars import Scalar
from tpobench.scores.sides import ArmEntry, Key
from tpobench.scores.suite_level import References, SuiteTest, Values, compare_suites
from tpobench.stats.compare import Comparison, adjust
from tpobench.stats.multiplicity import resamples_for

ALPHA = 0.05


@dataclass(frozen=True)
class ComparedRow:
    """A against B in one cell; lower is better, `comparison` is adjusted over all rows."""

    key: Key
    label: str
    a: Arm
    b: Arm
    comparison: Comparison
    pairing: str  # "paired", or why not

    @property
    def verdict(self) -> str:
        """Of A."""
        return self.comparison.verdict(ALPHA)


def tested_rows(
    keys: Sequence[Key], a: Mapping[Key, ArmEntry], b: Mapping[Key, ArmEntry], scalar: Scalar
) -> tuple[ComparedRow, ...]:
    """Every row tested, the family of all rows adjusted by Holm."""
    resamples = resamples_for(len(keys), ALPHA)
    arms = [(a[key].arm, b[key].arm) for key in keys]
    raw = {(str(i), ""): compare_arms(*pair, scalar, resamples=resamples) for i, pair in enumerate(arms)}
    return tuple(
        ComparedRow(key, _label(key, a[key]), *pair, comparison, pairing(*pair, scalar.test))
        for key, pair, comparison in zip(keys, arms, adjust(raw, ALPHA).values(), strict=True)
    )


def _label(key: Key, entry: ArmEntry) -> str:
    return entry.cell.axes_label if key.matching == "any" else entry.cell.label


def judge_suites(rows: Sequence[ComparedRow], scalar: Scalar) -> dict[str, SuiteTest]:
    """One test per suite of at least two rows; Holm over the suites."""
    suites: dict[str, list[ComparedRow]] = {}
    for row in rows:
        suites.setdefault(row.key.suite, []).append(row)
    return compare_suites({suite: _sides(members, scalar) for suite, members in suites.items() if len(members) > 1})


def _sides(rows: Sequence[ComparedRow], scalar: Scalar) -> tuple[Values, Values, References]:
    names = [f"{row.label} {row.key.algorithm}".strip() for row in rows]
    a, b = (
        {n: scalar.capped(arm) for n, arm in zip(names, arms, strict=True)}
        for arms in ([row.a for row in rows], [row.b for row in rows])
    )
    return a, b, {n: scalar.reference(row.a) for n, row in zip(names, rows, strict=True)}
