"""What every table of a suite has to say beside its own notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tpobench.report.model import Section
from tpobench.unverified import Unverified


def noted(section: Section, other_data: Sequence[Unverified]) -> Section:
    """The section with a note below every table: a table taken from a report still says what it was made with."""
    suite = section.suite.partition("@")[0]  # of several versions
    data = sorted({found.data for found in other_data if suite in found.suites})
    if not data:
        return section
    note = f"Unverified data: not the published {', '.join(data)}"
    return dataclasses.replace(
        section, tables=tuple(dataclasses.replace(t, notes=(*t.notes, note)) for t in section.tables)
    )
