"""Which records were made with other data than the published: a table of theirs must say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tpobench.records.store import FINISHED, RunRecord

SHOWN = 12  # hex digits


@dataclass(frozen=True)
class Unverified:
    """Runs that read one unverified copy of a data set."""

    data: str
    fingerprint: str
    suites: tuple[str, ...]
    algorithms: tuple[str, ...]
    runs: int
    files: Mapping[str, str]  # those that differ, with their sha256; empty where no record tells

    def __str__(self) -> str:
        from tpobench.data.files import CATALOG  # noqa: PLC0415 - a report without data does without

        parts = [
            f"{name} has sha256 {sha256[:SHOWN]}…"
            + (f", the published file {CATALOG[name].sha256[:SHOWN]}…" if name in CATALOG else "")
            for name, sha256 in self.files.items()
        ]
        which = "; ".join(parts) or f"its fingerprint is {self.fingerprint[:SHOWN]}…"
        runs = f"{self.runs} run{'s' * (self.runs != 1)} of {', '.join(self.suites)}"
        return f"Unverified data: {runs} read a copy of {self.data} that is not the published data ({which})"

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "data": self.data, "fingerprint": self.fingerprint, "suites": list(self.suites),
            "rules": list(self.algorithms), "runs": self.runs, "files": dict(self.files),
        }  # fmt: skip


def unverified(records: Iterable[RunRecord]) -> tuple[Unverified, ...]:
    """One entry per unverified copy that any results rest on; the same records in any order, the same entries."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        task = record.spec.get("task") or {}
        if record.status in FINISHED and (mark := task.get("data_sha256", "")):
            groups.setdefault((str(task.get("data", "data")), str(mark)), []).append(record)
    return tuple(
        Unverified(
            data,
            mark,
            tuple(sorted({str(r.spec["suite"]) for r in group})),
            tuple(sorted({str(r.spec["algorithm"]) for r in group})),
            len(group),
            dict(sorted({pair for r in group for pair in _other_files(r)})),
        )
        for (data, mark), group in sorted(groups.items(), key=lambda item: item[0])
    )


def _other_files(record: RunRecord) -> list[tuple[str, str]]:
    files = record.provenance.get("data")
    if not isinstance(files, Mapping):
        return []
    return [
        (str(name), str(file.get("sha256", "")))
        for name, file in files.items()
        if isinstance(file, Mapping) and file.get("verified") is False
    ]
