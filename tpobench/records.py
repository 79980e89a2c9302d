"""One run, one file: the record, its canonical bytes, and the folder that holds the records of a suite.

results/<name>/meta.json                  schema, tpobench version and the resolved suite
results/<name>/runs/<id[:2]>/<id>.json    one run, replaced as a whole or not at all
results/<name>/quarantine/                damaged records; their runs are due again
results/<name>.jsonl                      `tpobench pack`: one sorted line per run, for git
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpobench.errors import CorruptResults, UsageError

SCHEMA = 1
STATUSES = ("ok", "diverged", "failed", "skipped")
FINISHED = ("ok", "diverged")  # results; everything else is due again at the next invocation
IDENTITY = ("name", "version", "task", "training", "hyper")  # parts of a suite that every record of one folder shares


class DamagedRecord(Exception):
    """A record that is truncated, malformed, or not what its name says."""


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces; nan and infinity are refused, so equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class RunRecord:
    """Everything known of one run; the only thing that reports, comparisons and checks ever read."""

    id: str
    spec: Mapping[str, Any]
    status: str  # ok | diverged | failed | skipped
    reason: str = ""
    facts: Mapping[str, float | None] = field(default_factory=dict)  # measured once, before the first update
    curve: Mapping[str, list[Any]] = field(default_factory=dict)  # step, interactions, gradient_steps and the metrics
    counts: Mapping[str, int] = field(default_factory=dict)  # interactions and gradient_steps of the whole run
    first_nonfinite_step: int | None = None
    reporting: Mapping[str, Any] = field(default_factory=dict)  # the suite's [report] and title
    attempts: int = 1
    cost: Mapping[str, Any] = field(default_factory=dict)  # wall_s, cpu_s (per seed), peak_rss_mb (of the job)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def payload(self) -> dict[str, Any]:
        """What the same spec must reproduce: all but cost, provenance and attempts."""
        return {k: v for k, v in self.as_dict().items() if k not in {"cost", "provenance", "attempts"}}

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def to_line(self) -> str:
        """Canonical JSON, one line."""
        return canonical(self.as_dict())


def parse_record(text: str, where: str, expected_id: str | None = None) -> RunRecord:
    """The record in `text`.

    Raises:
        DamagedRecord: not a record, or another run's.
        CorruptResults: written by a newer tpobench.
    """
    from tpobench.plan import spec_id  # noqa: PLC0415 - plan needs `canonical` from here

    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DamagedRecord(where) from error
    if not isinstance(raw, dict) or type(raw.get("schema")) is not int:
        raise DamagedRecord(where)
    if raw["schema"] > SCHEMA:
        msg = f"{where} has record schema {raw['schema']}, this tpobench reads up to {SCHEMA}; upgrade tpobench"
        raise CorruptResults(msg)
    if raw.keys() != {f.name for f in dataclasses.fields(RunRecord)} or raw["status"] not in STATUSES:
        raise DamagedRecord(where)
    record = RunRecord(**raw)
    if not isinstance(record.spec, dict) or record.id != spec_id(record.spec) or expected_id not in {None, record.id}:
        raise DamagedRecord(where)
    return record


def read_record(path: Path) -> RunRecord:
    """The record in one file, whose name must be its run id."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedRecord(str(path)) from error
    return parse_record(text, str(path), path.stem)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` as a whole: after a crash at any point the old file or the new one is there, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        Path(name).chmod(0o644)  # mkstemp makes it private; results are for colleagues too
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Store:
    """The folder results/<name>."""

    folder: Path

    @property
    def packed(self) -> Path:
        """The packed copy beside the folder."""
        return self.folder.parent / f"{self.folder.name}.jsonl"

    def path_of(self, run_id: str) -> Path:
        """Where a run's record lies."""
        return self.folder / "runs" / run_id[:2] / f"{run_id}.json"

    def open(self, suite: Mapping[str, Any]) -> None:
        """Make the folder ready for runs of this suite.

        Raises:
            UsageError: it holds runs of the same suite under other settings, which one table must not mix.
        """
        from tpobench import __version__  # noqa: PLC0415 - the package imports nothing at its own top either

        meta, path = self.meta(), self.folder / "meta.json"
        if meta is not None:
            old, new = _identity(meta["suite"]), _identity(suite)
            for key in sorted(old.keys() | new.keys()):
                if old.get(key) != new.get(key):
                    msg = (
                        f"{self.folder} holds runs with {key} = {_show(old, key)}, these would have "
                        f"{_show(new, key)}; keep them apart with --name NAME"
                    )
                    raise UsageError(msg)
        text = canonical({"schema": SCHEMA, "tpobench": __version__, "suite": suite}) + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)

    def meta(self) -> dict[str, Any] | None:
        """The contents of meta.json, None where there is none or it is damaged."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return meta if isinstance(meta, dict) and isinstance(meta.get("suite"), dict) else None

    def write(self, record: RunRecord) -> None:
        """Write one record atomically."""
        write_atomically(self.path_of(record.id), record.to_line() + "\n")

    def load(self, *, quarantine: bool = False) -> tuple[list[RunRecord], int]:
        """All records of the folder, sorted, and how many were damaged; `quarantine` moves those out of the way."""
        records, damaged = [], 0
        for path in sorted((self.folder / "runs").glob("*/*.json")):
            try:
                records.append(read_record(path))
            except DamagedRecord:
                damaged += 1
                if quarantine:
                    (self.folder / "quarantine").mkdir(exist_ok=True)
                    path.replace(self.folder / "quarantine" / path.name)
        return sorted(records, key=sort_key), damaged

    def known(self, *, quarantine: bool = False) -> tuple[dict[str, RunRecord], int]:
        """Records by id, those of the packed copy included, and the number of damaged ones."""
        records, damaged = self.load(quarantine=quarantine)
        packed, torn = load_packed(self.packed) if self.packed.is_file() else ([], 0)
        return merge_copies([*packed, *records]), damaged + torn


def _identity(suite: Mapping[str, Any]) -> dict[str, Any]:
    grid = suite.get("grid") or {}
    fixed = {
        k: {n: v for n, v in part.items() if n not in grid} if isinstance(part := suite.get(k), dict) else part
        for k in IDENTITY
    }
    return {**_flat(fixed), "grid": sorted(grid.keys() - {"matching"})}


def _flat(suite: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in suite.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _show(flat: Mapping[str, Any], key: str) -> str:
    return canonical(flat[key]) if key in flat else "its default"


def sort_key(record: RunRecord) -> tuple[str, str, str, str, int, str]:
    """Reading order: suite, cell, matching, rule, seed."""
    s = record.spec
    return str(s["suite"]), canonical(s["cell"]), str(s["matching"]), str(s["algorithm"]), int(s["seed"]), record.id


def load_packed(path: Path) -> tuple[list[RunRecord], int]:
    """The records of a packed file and the number of damaged lines."""
    records, damaged = [], 0
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            records.append(parse_record(line.decode("utf-8", "replace"), f"{path} line {number}"))
        except DamagedRecord:
            damaged += 1
    return records, damaged


def merge_copies(records: Iterable[RunRecord]) -> dict[str, RunRecord]:
    """One record per id, sorted; a result replaces a failure, later copies replace earlier ones.

    Raises:
        CorruptResults: two results of one id differ, so the run does not reproduce.
    """
    merged: dict[str, RunRecord] = {}
    for record in records:
        other = merged.get(record.id)
        if other is not None and other.status in FINISHED:
            if record.status not in FINISHED:
                continue
            if canonical(other.payload) != canonical(record.payload):
                msg = (
                    f"two different results of run {record.id} ({record.spec['suite']}, {record.spec['algorithm']}, "
                    f"seed {record.spec['seed']}); they should be equal, delete the one you do not trust"
                )
                raise CorruptResults(msg)
        merged[record.id] = record
    return {r.id: r for r in sorted(merged.values(), key=sort_key)}


def pack(folder: Path) -> Path:
    """Write results/<name>.jsonl, one sorted line per run; runs that only the old packed file holds are kept."""
    store = Store(folder)
    records, _ = store.known()
    write_atomically(store.packed, "".join(f"{r.to_line()}\n" for r in records.values()))
    return store.packed


def run_folders(root: Path) -> Iterator[Path]:
    """The run directories directly below `root`."""
    if root.is_dir():
        yield from (p for p in sorted(root.iterdir()) if (p / "runs").is_dir() or (p / "meta.json").is_file())
