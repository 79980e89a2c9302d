"""Findings to read: a block for each code, with where, why it matters and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any

from tpobench.lint import SEVERITIES, Checks, Finding
from tpobench.printable import brief, first_of
from tpobench.tables.exports import flat
from tpobench.tables.model import Advice, Document, Glance, Lines, Table, table_of

SCHEMA = 1
MOST_CELLS = 3  # that a line names
MOST_LETTERS = 60  # of a place, in a table


def advices(checks: Checks, place: Callable[[Finding], str]) -> list[Advice]:
    """One for each code; `place` says where a finding is."""
    return [
        Advice(
            f"{code.severity} {code.code} {code.name}",
            tuple(": ".join(part for part in (place(f), f.what) if part) for f in findings),
            code.why,
            code.remedy,
        )
        for code, findings in groupby(checks.findings, lambda finding: finding.code)  # which are sorted by it
    ]


def lint_document(checks: Checks) -> Document:
    """All findings, and how many there are of each kind."""
    counts = Counter(f.code.severity for f in checks.findings)
    counted = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind in SEVERITIES if (n := counts[kind]))
    sets = f"{len(checks.sets)} result set{'s' if len(checks.sets) > 1 else ''}"
    end = Lines((f"{checks.runs} runs in {sets}: {counted or 'nothing found'}",))
    data: dict[str, Any] = {
        "schema": SCHEMA, "sets": list(checks.sets), "runs": checks.runs, "errors": counts["error"],
        "warnings": counts["warning"], "notes": counts["note"], "findings": [f.as_dict() for f in checks.findings],
    }  # fmt: skip
    found = (*advices(checks, _place), end)
    records = tuple(map(flat, data["findings"]))
    return Document("tpobench lint", found, data, records, glance=_glance(checks, counted or "nothing found", sets))


def _glance(checks: Checks, counted: str, sets: str) -> Glance:
    """How bad it is, and a row for each code."""
    verdict = {
        "error": "The results mislead as they are",
        "warning": "The results can be used with care",
    }.get(checks.worst(), "Nothing that misleads")
    verdict = f"{verdict}: {counted} in {checks.runs} runs of {sets}."
    return Glance(verdict, findings_table(checks, _place) if checks.findings else None)


def findings_table(checks: Checks, place: Callable[[Finding], str]) -> Table:
    """A row for each code: what it is, how often and where first, and what to do."""
    rows = []
    for code, found in groupby(checks.findings, lambda finding: finding.code):
        findings = list(found)
        where = place(findings[0])
        more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
        rows.append(
            (code.code, code.severity, code.name.replace("-", " "), brief(where, MOST_LETTERS) + more, code.remedy)
        )
    return table_of(("code", "severity", "what", "where", "do"), rows, "findings")


def _place(finding: Finding) -> str:
    cells = first_of(finding.cells, MOST_CELLS, "; ", " cells")
    return ", ".join(part for part in (finding.suite, cells) if part)
