"""Scorecards in full precision: JSON and CSV."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tpobench import __version__
from tpobench.paper.claim_verdicts import ClaimComparison, JudgedClaim
from tpobench.paper.number_verdicts import MeasuredNumber
from tpobench.paper.scorecard import Scorecard
from tpobench.paper.scorecards.texts import what

SCHEMA = 1
COLUMNS = (
    "item", "kind", "section", "suite", "cell", "rule", "what", "printed", "printed_seeds", "ours", "low", "high",
    "seeds", "difference", "p", "adjusted_p", "test", "verdict", "note",
)  # fmt: skip


def data_of(card: Scorecard) -> dict[str, Any]:
    """A scorecard with full precision; null is `none`, and `never` is said by `reached`."""
    return {
        "schema": SCHEMA, "tpobench": __version__, "item": card.item.name, "title": card.item.title,
        "section": card.item.section, "scale": card.scale, "numbers": [_number_data(m) for m in card.numbers],
        "claims": [_claim_data(j) for j in card.claims],
        "counts": {"numbers": dict(card.number_counts), "computed": dict(card.computed_counts),
                   "claims": dict(card.claim_counts)},
        "suites": [{**asdict(s), "changes": [c._asdict() for c in s.changes]} for s in card.suites],
        "unverified_data": [copy.as_dict() for copy in card.unverified], "signature": card.signature,
    }  # fmt: skip


def _number_data(measured: MeasuredNumber) -> dict[str, Any]:
    n, p = measured.number, measured.prediction
    return {
        "section": n.section, "suite": n.suite, "cell": dict(n.cell), "matching": n.matching, "rule": n.algorithm,
        "statistic": n.statistic, "printed": {"text": n.text, **asdict(n.printed)},
        "ours": measured.ours if p is None else p.value, "prediction": None if p is None else asdict(p),
        "verdict": measured.verdict, "notes": list(measured.notes),
    }  # fmt: skip


def _claim_data(judged: JudgedClaim) -> dict[str, Any]:
    claim = judged.claim
    return {
        "text": claim.text, "section": claim.section, "note": claim.note, "verdict": judged.verdict,
        "reason": judged.reason, "p": judged.p, "adjusted_p": judged.adjusted,
        "comparisons": [
            {"suite": a.suite, "where": a.where, "text": a.text,
             "found": None if a.comparison is None else asdict(a.comparison),
             "verdict": a.verdict, "reason": a.reason, "notes": list(a.notes), "margin": a.margin, "p_within": a.within}
            for a in judged.answers
        ],
    }  # fmt: skip


def rows_of(card: Scorecard) -> list[dict[str, Any]]:
    """One row per printed number, per claim, and per comparison behind a claim."""
    rows = [_number_row(card.item.name, m) for m in card.numbers]
    for judged in card.claims:
        rows += [_claim_row(card.item.name, judged), *(_answer_row(card.item.name, judged, a) for a in judged.answers)]
    return rows


def _number_row(item: str, measured: MeasuredNumber) -> dict[str, Any]:
    n, p = measured.number, measured.prediction
    return {
        "item": item, "kind": "number", "section": n.section, "suite": n.suite, "cell": n.where, "rule": n.algorithm,
        "what": what(measured), "printed": n.text, "printed_seeds": n.printed.seeds or "",
        "ours": measured.ours if p is None else _full(p.value), "low": "" if p is None else _full(p.low),
        "high": "" if p is None else _full(p.high), "seeds": "" if p is None else p.runs, "verdict": measured.verdict,
        "note": "; ".join(measured.notes),
    }  # fmt: skip


def _claim_row(item: str, judged: JudgedClaim) -> dict[str, Any]:
    claim = judged.claim
    return {
        "item": item, "kind": "claim", "section": claim.section, "what": claim.text, "p": _full(judged.p),
        "adjusted_p": _full(judged.adjusted), "verdict": judged.verdict, "note": judged.reason,
    }  # fmt: skip


def _answer_row(item: str, judged: JudgedClaim, answer: ClaimComparison) -> dict[str, Any]:
    c = answer.comparison
    row = {
        "item": item, "kind": "comparison", "section": judged.claim.section, "suite": answer.suite,
        "cell": answer.where,
        "what": answer.text, "verdict": answer.verdict, "note": answer.reason,
    }  # fmt: skip
    if c is None:
        return row
    return {
        **row, "difference": _full(c.difference), "low": _full(c.low), "high": _full(c.high), "seeds": max(c.runs),
        "p": _full(c.p), "adjusted_p": _full(c.adjusted), "test": c.test,
    }  # fmt: skip


def _full(value: float | None) -> Any:
    return "" if value is None else value
