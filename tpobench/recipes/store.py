"""The records of imported runs in their folders, beside what is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tpobench.identity import canonical
from tpobench.recipes.logs import Run, record_of
from tpobench.records.store import RunRecord, Store, merge_copies, unwritable


@dataclass(frozen=True)
class Brought:
    """What an import did."""

    folders: tuple[Path, ...]
    records: tuple[RunRecord, ...]  # of runs that have begun
    new: int  # of them, those that were not there like this
    waiting: int  # runs that have logged nothing


def bring(runs: Sequence[Run], out: Path, name: str | None = None) -> Brought:
    """Write the records of runs, a suite's into out/SUITE, or into out/`name`.

    Raises:
        UsageError: the folder holds runs of the suite under other settings.
        CorruptResults: it holds another result of one of these runs.
        StorageFull: it cannot be written.
    """
    begun = [(run, record) for run in runs if (record := record_of(run)) is not None]
    folders: dict[Path, list[tuple[Run, RunRecord]]] = defaultdict(list)
    for run, record in begun:
        folders[out / (name or str(run.spec["suite"]))].append((run, record))
    new = 0
    for folder, members in folders.items():
        store = Store(folder)
        try:
            for run, _ in members:
                store.open(run.document["suite"])
            known, _ = store.known(quarantine=True)
            merged = merge_copies([*known.values(), *(record for _, record in members)])
            for record in merged.values():
                before = known.get(record.id)
                if before is None or canonical(before.payload) != canonical(record.payload):
                    store.write(record)
                    new += 1
        except OSError as error:
            raise unwritable(folder, error) from error
    return Brought(tuple(folders), tuple(record for _, record in begun), new, len(runs) - len(begun))
