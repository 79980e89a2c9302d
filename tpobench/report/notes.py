"""What every table of a suite has to say beside its own notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from tpobench.records.store import RunRecord
from tpobench.report.model import Section
from tpobench.scores.unverified import Unverified
from tpobench.tasks.settings import OWN_PART


def noted(section: Section, other_data: Sequence[Unverified], records: Iterable[RunRecord]) -> Section:
    """The section with notes below every table: a table taken from a report still says what it was made with."""
    suite = section.suite.partition("@")[0]  # of several versions
    data = sorted({copy.data for copy in other_data if suite in copy.suites})
    notes = [f"Unverified data: not the published {', '.join(data)}"] if data else []
    notes += _own_nan(r for r in records if r.spec["suite"] == suite and OWN_PART in r.reason)
    if not notes:
        return section
    return dataclasses.replace(
        section, tables=tuple(dataclasses.replace(t, notes=(*t.notes, *notes)) for t in section.tables)
    )


def _own_nan(records: Iterable[RunRecord]) -> Iterator[str]:
    """Which algorithms broke their runs themselves: that is a mistake in the algorithm, and no divergence."""
    reasons: dict[str, list[str]] = {}
    for record in records:
        reasons.setdefault(str(record.spec["algorithm"]), []).append(record.reason)
    for algorithm, lines in sorted(reasons.items()):
        runs = f"{len(lines)} diverged run{'s' if len(lines) > 1 else ''}"
        yield f"{algorithm} made what is not finite itself in {runs}, the first {min(lines)}"
