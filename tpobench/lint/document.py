"""Findings to read: a block for each code, with where, why it matters and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any

from tpobench.lint import SEVERITIES, Checks, Finding
from tpobench.printable import first_of
from tpobench.tables.exports import flat
from tpobench.tables.model import Advice, Document, Lines

SCHEMA = 1
MOST_CELLS = 3  # that a line names


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
    return Document("tpobench lint", (*advices(checks, _place), end), data, tuple(map(flat, data["findings"])))


def _place(finding: Finding) -> str:
    cells = first_of(finding.cells, MOST_CELLS, "; ", " cells")
    return ", ".join(part for part in (finding.suite, cells) if part)
