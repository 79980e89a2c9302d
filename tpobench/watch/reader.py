"""The records of a folder as they come: a file is read once, and again only when it was replaced."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tpobench.limits import load_json
from tpobench.records.store import FINISHED, HEARD, DamagedRecord, RunRecord, Store, packed_lines, read_record


class Stamp(NamedTuple):
    """Differs where a file was replaced."""

    mtime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """From what the system says of the file."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


@dataclass(frozen=True)
class InProgress:
    """What a long job said last; it goes on, or was stopped there."""

    algorithm: str
    cell: dict[str, Any]
    matching: str
    seeds: tuple[int, ...]  # without a result yet
    update: int
    updates: int
    reward: float | None  # of a language model: mean of the last rollouts
    tokens_per_s: float | None
    at: float  # seconds of the clock of the folder


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
    def in_progress(self) -> list[InProgress]:
        """What is said of runs without a result, the latest first; a file that cannot be read says nothing."""
        done = {i for i, r in self.known.items() if r.status in FINISHED}
        said = [_said(entry, done) for entry in _entries(self.store.folder / "claims") if entry.name.endswith(HEARD)]
        return sorted((s for s in said if s is not None and s.seeds), key=lambda s: -s.at)

    @property
    def damaged(self) -> list[DamagedRecord]:
        """The unpacked files that are no records."""
        return [r for _, r in self._files.values() if isinstance(r, DamagedRecord)]


def _said(entry: os.DirEntry[str], done: Collection[str]) -> InProgress | None:
    try:
        raw, at = load_json(Path(entry.path).read_text(encoding="utf-8")), entry.stat().st_mtime
        reward, rate = (None if raw.get(k) is None else float(raw[k]) for k in ("reward", "tokens_per_s"))
        seeds = tuple(int(seed) for run, seed in raw["seeds"].items() if run not in done)
        place = str(raw["algorithm"]), dict(raw["cell"]), str(raw["matching"])
        return InProgress(*place, seeds, int(raw["update"]), int(raw["updates"]), reward, rate, at)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


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
