"""The records of a folder as they come: a file is read once, and again only when it was replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tpobench.records.store import FINISHED, DamagedRecord, RunRecord, Store, packed_lines, read_record


class Stamp(NamedTuple):
    """Differs where a file was replaced."""

    mtime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """From what the system says of the file."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


class Reader:
    """What is known of a run directory and the packed copy beside it after each `refresh`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files: dict[str, tuple[Stamp, RunRecord | DamagedRecord]] = {}
        self._packed: dict[str, RunRecord] = {}
        self._packed_stamp: Stamp | None = None

    def refresh(self) -> bool:
        """Read what is new, forget what is gone; whether there was any of that.  Writes nothing.

        Raises:
            CorruptResults: a record was written by a newer tpobench.
        """
        files: dict[str, tuple[Stamp, RunRecord | DamagedRecord]] = {}
        news = self._refresh_packed()
        for path, stamp in _record_files(self.store.folder / "runs"):
            before = self._files.get(path)
            if before is not None and before[0] == stamp:
                files[path] = before
                continue
            try:
                files[path] = stamp, _scored_part(read_record(Path(path)))
            except DamagedRecord as damaged:
                files[path] = stamp, damaged
            except FileNotFoundError:
                continue  # another command put it aside meanwhile
            except OSError as error:
                files[path] = stamp, DamagedRecord(path, error.strerror or str(error))
            news = True
        news = news or len(files) != len(self._files)
        self._files = files
        return news

    def _refresh_packed(self) -> bool:
        try:
            stamp = Stamp.of(self.store.packed.stat())
        except OSError:
            stamp = None
        if stamp == self._packed_stamp:
            return False
        lines = packed_lines(self.store.packed) if stamp else ()
        self._packed = {r.id: _scored_part(r) for _, r in lines if r is not None}
        self._packed_stamp = stamp
        return True

    @property
    def known(self) -> dict[str, RunRecord]:
        """The records by id; a result stands before a failure."""
        loose = {r.id: r for _, r in self._files.values() if isinstance(r, RunRecord)}
        return {**self._packed, **{i: r for i, r in loose.items() if r.status in FINISHED or i not in self._packed}}

    @property
    def ended(self) -> dict[str, float]:
        """When each unpacked record was written, in seconds of the clock of the folder."""
        return {r.id: stamp.mtime_ns / 1e9 for stamp, r in self._files.values() if isinstance(r, RunRecord)}

    @property
    def damaged(self) -> list[DamagedRecord]:
        """The unpacked files that are no records."""
        return [r for _, r in self._files.values() if isinstance(r, DamagedRecord)]


def _record_files(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """The files that `Store.load` reads, without a system call more than one for each."""
    for part in _entries(folder):
        for entry in _entries(part.path):
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                try:
                    stamp = Stamp.of(entry.stat())
                except FileNotFoundError:
                    continue
                yield entry.path, stamp


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _scored_part(record: RunRecord) -> RunRecord:
    """Without what nobody looks at while runs are in progress: ten thousand records stay in memory."""
    shown = {"step", record.reporting.get("metric")}
    return replace(record, curve={k: v for k, v in record.curve.items() if k in shown}, provenance={}, completions=())
