"""A scorecard as tables: printed numbers, claims, and the comparisons behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tpobench.paper.claim_verdicts import CLAIM_VERDICTS, JudgedClaim
from tpobench.paper.number_verdicts import NUMBER_VERDICTS, MeasuredNumber
from tpobench.paper.scorecard import ORDERINGS_ONLY, Scorecard, UsedSuite
from tpobench.paper.scorecards.texts import counted, margin_text, ours_text, predicted_text, printed_text, tested, what
from tpobench.stats.texts import p_text
from tpobench.tables.model import Table, table_of

HOW_NUMBERS = (
    "A number agrees where it lies in the 95% prediction interval: where the same statistic of as many other seeds as "
    "stand behind it is to be expected, given ours; bounds and 'never' at one-sided 95%; rounding is allowed for. "
    "Final errors are those of the last evaluation, as the paper has them; claims use the window of the suite"
)
HOW_CLAIMS = (
    "A claim holds where all its comparisons together are significant: its p is the largest of theirs, 5% by Holm over "
    "the claims of the item. It is contradicted where a comparison is significant the other way, 5% by Holm over all "
    "comparisons of the item; it points the same way where all of them do so and their p is too large. Where the paper "
    "allows exceptions, as many comparisons are spared. A claim of no difference holds where two one-sided tests put "
    "the difference within the margin of `tpobench check` (of errors 1 point, or 10% where that is more), and is "
    "contradicted where the difference is significantly beyond it. Other settings: compared where the paper's settings "
    "are not at hand, which is no evidence for or against the claim"
)


def heading(card: Scorecard) -> list[str]:
    """What became of the item, in two or three lines."""
    lines = [f"{card.item.name}: {card.item.title} (section {card.item.section}), scale {card.scale}"]
    compared = Counter({v: n for v, n in card.number_counts.items() if v != "not compared"})
    if compared:
        lines.append(f"printed numbers: {counted(compared, NUMBER_VERDICTS)}")
    if card.computed_counts:
        lines.append(f"computed without runs: {counted(card.computed_counts, NUMBER_VERDICTS)}")
    if card.number_counts["not compared"]:
        lines.append(f"{ORDERINGS_ONLY} ({card.number_counts['not compared']} printed numbers)")
    if card.claims:
        lines.append(f"claims: {counted(card.claim_counts, CLAIM_VERDICTS)}")
    return lines


def tables_of(card: Scorecard) -> list[Table]:
    """Numbers, claims, comparisons."""
    shown = [m for m in card.numbers if m.verdict != "not compared"]
    tables = []
    if shown:
        tables.append(_numbers_table(shown))
    if card.claims:
        tables.append(_claims_table(card))
    if any(j.answers for j in card.claims):
        tables.append(_comparisons_table(card))
    return tables


def _numbers_table(shown: Sequence[MeasuredNumber]) -> Table:
    header = ("Where", "Algorithm", "What", "Printed", "Ours", "95% of as many seeds", "Verdict", "Note")
    rows = [
        (m.number.where or m.number.suite or "-", m.number.algorithm or m.number.method, what(m), printed_text(m),
         ours_text(m), predicted_text(m), m.verdict, "; ".join(m.notes))
        for m in shown
    ]  # fmt: skip
    notes = (HOW_NUMBERS,) if any(m.number.measured for m in shown) else ()
    return table_of(header, rows, "numbers", "Printed numbers", notes=notes)


def _claims_table(card: Scorecard) -> Table:
    header = ("", "Claim", "Section", "Verdict", "Holm p", "Comparisons", "Note")
    rows = [
        (
            str(i),
            j.claim.text,
            j.claim.section,
            j.verdict,
            p_text(j.adjusted),
            j.counts if j.answers else j.reason,
            _claim_note(j),
        )
        for i, j in enumerate(card.claims, 1)
    ]
    return table_of(header, rows, "claims", "Claims", notes=(HOW_CLAIMS,))


def _claim_note(judged: JudgedClaim) -> str:
    missing = next((a.reason for a in judged.answers if a.verdict == "not run" and a.reason), "")
    remark = f"the paper: {judged.claim.note}" if judged.claim.note else ""
    elsewhere = judged.claim.elsewhere if judged.answers else ""
    return "; ".join(part for part in (missing, elsewhere, remark) if part)


def _comparisons_table(card: Scorecard) -> Table:
    header = ("Claim", "Cell", "Comparison", "Difference [95%]", "P(lower)", "Test", "p", "Holm p", "Seeds", "Verdict",
              "Note")  # fmt: skip
    rows = [
        (str(i), a.where, a.text, *tested(a), a.verdict, "; ".join(filter(None, (a.reason, margin_text(a), *a.notes))))
        for i, j in enumerate(card.claims, 1)
        for a in j.answers
    ]
    return table_of(header, rows, "comparisons", "Comparisons behind the claims", folded=True)


def notes_of(card: Scorecard) -> list[str]:
    """Deviations of the suites, what the quick scale changes, missing runs, other data."""
    lines = [f"{s.name}: {s.note}" for s in card.suites if s.note]
    lines += [str(copy) for copy in card.unverified]
    for suite in card.suites:
        lines += [f"{suite.name} deviates from the paper: {text}" for text in suite.deviations]
        if suite.changes:
            lines.append(f"{suite.name} differs from the scale of the paper: {_changes(suite)}")
    return lines


def _changes(suite: UsedSuite) -> str:
    changes = (c for c in suite.changes if not c.key.startswith("cost"))
    return "; ".join(f"{c.key} {_plain(c.paper)} -> {_plain(c.quick)}" for c in changes)


def _plain(value: Any) -> str:
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
