"""Two result sets or two algorithms, cell by cell: who is better, by how much, and whether the seeds can tell.

rows        every row tested, then Holm over the family; one line for each suite
detection   what the seeds at hand can detect
document    comparisons and detections to read
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tpobench import __version__
from tpobench.comparison.rows import ALPHA, ComparedRow, judge_suites, tested_rows
from tpobench.errors import NothingToDo, UsageError
from tpobench.printable import first_of
from tpobench.records.results import Results
from tpobench.scores.estimates import SEED
from tpobench.scores.scalars import Scalar, scalar_of
from tpobench.scores.sides import (
    Key,
    Side,
    algorithm_side,
    differences,
    require_comparable,
    require_known,
    scoring_of,
    set_side,
    shared_keys,
)
from tpobench.scores.suite_level import SuiteTest
from tpobench.scores.text import seed_ranges
from tpobench.stats.estimate import RESAMPLES
from tpobench.stats.multiplicity import resamples_for
from tpobench.stats.texts import seeds_text
from tpobench.tables.exports import finite
from tpobench.tables.model import Document
from tpobench.tables.readable import Readable

__all__ = ["Compared", "compare_algorithms", "compare_sets"]

SCHEMA = 1


@dataclass(frozen=True)
class Compared(Readable):
    """A against B: the rows, one line per suite, and what a reader must know beside them."""

    a: str
    b: str
    measure: Scalar
    rows: tuple[ComparedRow, ...]
    suites: Mapping[str, SuiteTest]
    settings: tuple[str, ...]  # in which the two sets differ
    notes: tuple[str, ...]
    plans: tuple[str, ...] = ()  # adaptive seed plans that the results followed

    def document(self) -> Document:
        """What is compared, one row per cell (and algorithm), a line per suite, the notes, and the signature."""
        from tpobench.comparison.document import comparison_document  # noqa: PLC0415 - it reads this module

        return comparison_document(self)

    def under(self, plans: Sequence[str]) -> Compared:
        """The same, of results whose seeds followed recorded plans: the tests here know nothing of the looks."""
        if not plans:
            return self
        note = (
            f"the seeds followed {' and '.join(plans)}, and these tests ignore its looks: for algorithms of one cell "
            "the decisions of `tpobench run` under the plan are the ones that hold"
        )
        return replace(self, plans=tuple(plans), notes=(*self.notes, note))

    @property
    def family(self) -> int:
        """Tests that Holm adjusts for: every row that has one."""
        return sum(row.comparison.p is not None for row in self.rows)

    @property
    def signature(self) -> str:
        """How the numbers came about, on one line."""
        arms = [arm for row in self.rows for arm in (row.a, row.b)]
        tests = sorted({row.comparison.test for row in self.rows} - {""})
        paired = sorted({"yes" if test == "sign-flip" else "no" for test in tests})
        suites = "+".join(dict.fromkeys(row.key.suite for row in self.rows))
        return "|".join([
            f"tpobench {__version__}", f"suite:{suites}", f"metric:{self.measure.name}",
            f"seeds:{seed_ranges(sorted({s for arm in arms for s in arm.seeds}))}",
            f"pair:{'+'.join(paired) or 'none'}", f"test:{'+'.join(tests) or 'none'}", f"adj:holm/{self.family}",
            f"B:{max(RESAMPLES, resamples_for(len(self.rows)))}", f"rng:{SEED}", "diverged:worst",
            *(f"seeds by plan:{plan}" for plan in self.plans),
        ])  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Everything in full precision with the values of every seed; null is `none`, or never reached."""
        content = {
            "schema": SCHEMA, "a": self.a, "b": self.b, "metric": self.measure.name,
            "scalar": self.measure.words,
            "alpha": ALPHA, "family": self.family, "comparisons": [_row(row, self.measure) for row in self.rows],
            "suites": [{"suite": name, **asdict(test.comparison), "adjusted": test.adjusted, "family": test.family,
                        "verdict": test.verdict()} for name, test in self.suites.items()],
            "settings": self.settings, "plans": self.plans, "notes": self.notes, "signature": self.signature,
        }  # fmt: skip
        return {k: finite(v) for k, v in content.items()}


def _row(row: ComparedRow, measure: Scalar) -> dict[str, Any]:
    sides = {
        side: {"seeds": {str(s): v for s, v in arm.by_seed(measure.capped(arm)).items()},
               "diverged": sum(arm.diverged), "estimate": measure.shown(arm)[1]}
        for side, arm in (("a", row.a), ("b", row.b))
    }  # fmt: skip
    return {
        "suite": row.key.suite, "cell": row.label, "matching": row.key.matching, "algorithm": row.key.algorithm,
        **sides, "pairing": row.pairing, **asdict(measure.difference(row.comparison)), "verdict": row.verdict,
    }  # fmt: skip


def compare_sets(
    a: Results,
    b: Results,
    *,
    names: tuple[str, str] = ("A", "B"),
    metric: str = "final",
    threshold: float | None = None,
    algorithms: Sequence[str] = (),
) -> Compared:
    """Two result sets, per cell and algorithm, such as two versions of the code or two settings.

    Raises:
        UsageError: the sets cannot be compared, or hold no such algorithm or metric.
        NothingToDo: no cell and algorithm is in both.
    """
    require_known(algorithms, (*a.records, *b.records), f"{names[0]} and {names[1]}")
    first, second = set_side(names[0], a.records, algorithms), set_side(names[1], b.records, algorithms)
    compared = _compare(first, second, metric, threshold, two_algorithms=False)
    return compared.under(list(dict.fromkeys((*a.plans, *b.plans))))


def compare_algorithms(
    results: Results, a: str, b: str, *, metric: str = "final", threshold: float | None = None
) -> Compared:
    """Two algorithms of one result set, per cell.

    Raises:
        UsageError: no such algorithm or metric, or budgets that differ.
        NothingToDo: no cell holds both.
    """
    known = require_known((a, b), results.records, "the results")
    if a == b:
        msg = f"{a} against itself; name two algorithms of: {', '.join(sorted(known))}"
        raise UsageError(msg)
    records = [r for r in results.records if r.spec["algorithm"] in {a, b}]
    sides = algorithm_side(records, a), algorithm_side(records, b)
    return _compare(*sides, metric, threshold, two_algorithms=True).under(results.plans)


def _compare(a: Side, b: Side, metric: str, threshold: float | None, *, two_algorithms: bool) -> Compared:
    keys, lone = shared_keys(a, b)
    if not keys:
        _refuse_disjoint(a, b)
    require_comparable(a, b, keys, two_algorithms=two_algorithms)
    reporting, evaluations = scoring_of(a, b, keys)
    measure = scalar_of(metric, reporting, evaluations, threshold)
    rows = tested_rows(keys, a.entries, b.entries, measure)
    notes = [*_left_out(a, b, lone), *_broken(a), *_broken(b), *_seeds(rows), *_unpaired(rows)]
    settings = () if two_algorithms else differences(a, b, keys)
    return Compared(a.name, b.name, measure, rows, judge_suites(rows, measure), settings, tuple(notes))


def _refuse_disjoint(a: Side, b: Side) -> None:
    bare = [{(k.suite, k.axes, k.algorithm): k.matching for k in side.entries} for side in (a, b)]
    for place in bare[0]:
        if place in bare[1]:
            msg = (
                f"not comparable: matching is {bare[0][place]} in {a.name} and {bare[1][place]} in {b.name} "
                f"({' '.join(p for p in place if p)}); make both sets with the same matching"
            )
            raise UsageError(msg)
    contents = " and ".join(f"{side.name} holds {_contents(side)}" for side in (a, b))
    msg = f"nothing to compare: no cell is in both; {contents}"
    raise NothingToDo(msg)


def _contents(side: Side) -> str:
    names = sorted({" ".join(p for p in (k.suite, k.algorithm) if p) for k in side.entries})
    return ", ".join(names[:5]) or "no result"


def _left_out(a: Side, b: Side, lone: Sequence[Key]) -> list[str]:
    notes = []
    for side in (a, b):
        names = [f"{side.entries[k].cell.label} {k.algorithm}".strip() for k in lone if k in side.entries]
        if names:
            notes.append(f"only in {side.name}, left out: {first_of(names, 5, '; ')}")
    return notes


def _broken(side: Side) -> list[str]:
    n = len(side.broken)
    if not n:
        return []
    return [f"{side.name}: {n} run{'s' if n > 1 else ''} without a result, not scored: {first_of(side.broken, 3)}"]


def _seeds(rows: Sequence[ComparedRow]) -> list[str]:
    """Unequal seeds are said; a paired test uses the common ones."""
    labels: dict[str, list[str]] = {}  # by what is said of their seeds
    for row in rows:
        if set(row.a.seeds) != set(row.b.seeds):
            common = len(set(row.a.seeds) & set(row.b.seeds))
            paired = row.comparison.test == "sign-flip"
            used = f"the {common} common ones are paired" if paired else f"{common} in common, all are used"
            text = f"unequal seeds, {seeds_text((len(row.a.seeds), len(row.b.seeds)))}; {used}"
            labels.setdefault(text, []).append(f"{row.label} {row.key.algorithm}".strip())
    return [f"{first_of(where, 1, unit=' rows')}: {text}" for text, where in labels.items()]


def _unpaired(rows: Sequence[ComparedRow]) -> list[str]:
    reasons = Counter(row.pairing.removeprefix("no: ") for row in rows if row.pairing != "paired")
    return [f"unpaired in {n} of {len(rows)} rows: {reason}" for reason, n in reasons.items()]
