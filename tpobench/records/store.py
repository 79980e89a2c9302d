"""One run, one file: the record, its canonical bytes, and the folder that holds the records of a suite.

results/<name>/meta.json                  schema, tpobench version and the resolved suite
results/<name>/runs/<id[:2]>/<id>.json    one run, replaced as a whole or not at all
results/<name>/quarantine/                damaged records; their runs are due again
results/<name>/claims/                    locks of jobs in the hands of a running `tpobench run`, and how far they are
results/<name>.jsonl                      `tpobench pack`: one sorted line per run, for git
"""

from __future__ import annotations

import dataclasses
import errno
import gc
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tpobench.errors import CorruptResults, StorageFull, UsageError
from tpobench.identity import canonical, chosen, flat, seedless, spec_id, text_id
from tpobench.limits import load_json, parse_json
from tpobench.printable import brief, first_of
from tpobench.records.shapes import OWN, REPORTING, SEED, SEED_PLAN, SHARED, fault_of, fault_of_run
from tpobench.tasks.settings import COUNTERS

if TYPE_CHECKING:
    from filelock import FileLock

HEARD = ".heard"  # ending of what a long job says of itself
SCHEMA = 1
PLAN_SCHEMA = 1
LATER = frozenset({"completions"})  # fields of a record that came after its schema
COUNTED = frozenset(counter.name for counter in COUNTERS)  # columns and counts that came after it
PLAN_FILE = "plan.json"  # of a folder whose seeds follow an adaptive plan
LONGEST_PATH = 4096
MOST_ARMS = 2**14  # that are remembered: those of a suite of 2,000 cells
SEED_TEXT = re.compile("0|[1-9][0-9]{0,9}")
PACKED = ".jsonl"  # the ending of a packed file
FINISHED = ("ok", "diverged")  # results
BROKEN = ("failed", "timeout", "crashed", "oom")  # trouble: due again at the next invocation, up to a limit
STATUSES = (*FINISHED, *BROKEN, "skipped")
IDENTITY = ("name", "version", "task", "training", "algorithm")  # of a suite: shared by all records of a folder


class DamagedRecord(Exception):
    """A record that is truncated, malformed, or not what its name says: where it lies, and what is wrong with it."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{brief(where, LONGEST_PATH)}: {fault}")
        self.where, self.fault = where, fault


@dataclass(frozen=True)
class RunRecord:
    """Everything known of one run; the only thing that reports, comparisons and checks ever read."""

    id: str
    spec: Mapping[str, Any]
    status: str  # one of STATUSES
    reason: str = ""
    facts: Mapping[str, float | None] = field(default_factory=dict)  # measured once, before the first update
    curve: Mapping[str, list[Any]] = field(default_factory=dict)  # step, interactions, gradient_steps and the metrics
    counts: Mapping[str, int] = field(default_factory=dict)  # of the whole run: interactions, gradient_steps, tokens ..
    first_nonfinite_step: int | None = None
    reporting: Mapping[str, Any] = field(default_factory=dict)  # the suite's [report] and title
    attempts: int = 1
    cost: Mapping[str, Any] = field(default_factory=dict)  # wall_s, cpu_s (per seed), peak_rss_mb (of the job)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    completions: Sequence[Mapping[str, Any]] = ()  # of a language model, before and after; not written where empty

    @property
    def payload(self) -> dict[str, Any]:
        """What the same spec must reproduce: all but cost, provenance and attempts."""
        return {k: v for k, v in self.as_dict().items() if k not in {"cost", "provenance", "attempts"}}

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in fields.items() if name not in LATER or value}

    @cached_property
    def order(self) -> tuple[str, str, str, str, int, str]:
        """Reading order: suite, cell, matching, algorithm, seed."""
        s = self.spec
        return str(s["suite"]), canonical(s["cell"]), str(s["matching"]), str(s["algorithm"]), int(s["seed"]), self.id

    @cached_property
    def settings(self) -> str:
        """Canonical text of the spec without its seed: the same for all seeds of an arm."""
        return seedless(self.spec)

    def to_line(self) -> str:
        """Canonical JSON, one line."""
        return canonical(self.as_dict())


FIELDS = {f.name for f in dataclasses.fields(RunRecord)}


def same(first: RunRecord, second: RunRecord) -> bool:
    """Byte for byte, apart from cost, provenance, attempts, and what one was made too early to hold."""
    a, b = first.payload, second.payload
    return canonical(_shared(a, b)) == canonical(_shared(b, a))


def _shared(payload: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Without what records have had for a while only, where the other one lacks it."""
    shared = {name: value for name, value in payload.items() if name not in LATER or name in other}
    for name in ("curve", "counts"):
        shared[name] = {k: v for k, v in payload[name].items() if k not in COUNTED or k in other[name]}
    return shared


def parse_record(text: str, where: str, expected_id: str | None = None) -> RunRecord:
    """The record in `text`.

    Raises:
        DamagedRecord: not a record, or another run's.
        CorruptResults: written by a newer tpobench.
    """
    raw = _as_written(text) or _looked_at(text, where)
    if expected_id not in {None, raw["id"]}:
        raise DamagedRecord(where, f"it is run {raw['id']}")
    record = object.__new__(RunRecord)
    vars(record).update(raw)  # at once; the constructor of a frozen class sets field by field
    return record


class _Arm(NamedTuple):
    """What the records of an arm share: all that follows their reason, but for the seed."""

    fields: Mapping[str, Any]
    before: str  # the seed, in the canonical text of the spec
    after: str


_ARMS: dict[tuple[str, str], _Arm] = {}  # those that were sound once, by their text before and after the seed


def _as_written(text: str) -> dict[str, Any] | None:
    """The fields of a sound record in a text of `to_line`; None where all of it is yet to be looked at.

    Where `{A}` and `{B}` are objects of JSON, so is `{A,B}`, with the members of both.
    """
    own, _, shared = text.partition(',"reporting":')
    before, _, rest = shared.partition(',"seed":')
    seed, _, after = rest.partition(",")
    try:
        arm = _ARMS.get((before, after)) or _arm(before, after)
        raw = parse_json(own + "}") if arm and SEED_TEXT.fullmatch(seed) and "\\u" not in own else None
    except ValueError:
        return None
    if arm is None or type(raw) is not dict or not raw.keys() <= OWN.known.keys() or OWN.fault(raw):
        return None
    raw |= {**arm.fields, "spec": {**arm.fields["spec"], "seed": int(seed)}}
    sound = raw["id"] == text_id(f"{arm.before}{seed}{arm.after}") and SEED(int(seed))
    return raw if sound and not fault_of_run(raw, result=raw["status"] in FINISHED) else None


def _arm(before: str, after: str) -> _Arm | None:
    """The arm of records with such text before and after their seeds, None where it is not sound or not canonical."""
    first, second = (parse_json(f'{{"reporting":{before},"seed":{seed},{after}') for seed in (0, 1))
    if "\\u" in before + after or type(first) is not dict or first.keys() != SHARED.known.keys() or SHARED.fault(first):
        return None
    spec, status, reporting = first["spec"], first["status"], first["reporting"]
    if first["schema"] > SCHEMA or status not in STATUSES or REPORTING[status in FINISHED].fault(reporting):
        return None
    arm = _Arm(first, before.partition(',"spec":')[2] + ',"seed":', "," + after.rpartition(',"status":')[0])
    if second != {**first, "spec": {**spec, "seed": 1}} or canonical(spec) != f"{arm.before}0{arm.after}":
        return None  # it is the seed of something else, or the id is not that of this text
    if len(_ARMS) < MOST_ARMS:
        _ARMS[before, after] = arm
    return arm


def _looked_at(text: str, where: str) -> dict[str, Any]:
    """The fields of any record in JSON, or what is wrong with them, as `parse_record`."""
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise DamagedRecord(where, f"not JSON: {error}") from error
    if not isinstance(raw, dict) or type(raw.get("schema")) is not int:
        raise DamagedRecord(where, "no record")
    if raw["schema"] > SCHEMA:
        msg = f"{where} has record schema {raw['schema']}, this tpobench reads up to {SCHEMA}; upgrade tpobench"
        raise CorruptResults(msg)
    if odd := (raw.keys() | LATER) ^ FIELDS:
        raise DamagedRecord(where, f"{brief(min(odd))} is {'missing' if odd & FIELDS else 'no field of a record'}")
    if raw["status"] not in STATUSES:
        raise DamagedRecord(where, f"status is {brief(repr(raw['status']))}")
    if fault := fault_of(raw, result=raw["status"] in FINISHED):
        raise DamagedRecord(where, fault)
    if "\\u" in text and not _can_be_written(raw):
        raise DamagedRecord(where, "half of a surrogate pair, which no file can hold")
    if raw["id"] != spec_id(raw["spec"]):
        raise DamagedRecord(where, f"the id of its spec is not {brief(raw['id'])}")
    return raw


def _can_be_written(value: object) -> bool:
    try:
        canonical(value).encode()
    except ValueError:
        return False
    return True


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles, which would go through all records time and again: they hold none.

    A verb that has read them rests until they are gone: searches that start again would go through all three times.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def read_record(path: Path) -> RunRecord:
    """The record in one file, whose name must be its run id."""
    try:
        with path.open("rb", buffering=0) as file:
            text = file.readall().decode()
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise DamagedRecord(str(path), str(error)) from error
    return parse_record(text, str(path), path.stem)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` as a whole: after a crash at any point the old file or the new one is there, never a part.

    A symbolic link stays one, and a file that is read-only stays as it is.

    Raises:
        OSError: it is read-only or a folder, or its folder takes no files.
    """
    path = Path(os.path.realpath(path))
    if path.is_file() and not os.lstat(path).st_mode & 0o222:  # which keeps nobody from replacing it
        raise PermissionError(errno.EACCES, "the file is read-only", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{secrets.token_hex(8)}.tmp"  # tempfile's are private; whose these are, the umask says
    try:
        with part.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def set_aside(path: Path) -> Path:
    """Copy a file that is going to be replaced to NAME.bak, or .bak2 and so on: no older copy is ever overwritten."""
    content = path.read_bytes()
    for copy in _numbered(path.with_name(f"{path.name}.bak")):
        with suppress(FileExistsError), copy.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            return copy
    raise AssertionError


def _numbered(path: Path) -> Iterator[Path]:
    """`path`, and after it `path` with 2, 3 and so on at its end."""
    yield path
    yield from (path.with_name(f"{path.name}{n}") for n in itertools.count(2))


def _sync_folder(folder: Path) -> None:
    """The new name survives a loss of power, too, where the system can be asked for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
            CorruptResults: it was made by a newer tpobench.
        """
        from tpobench import __version__  # noqa: PLC0415 - the package imports nothing at its own top either

        meta, path = self.meta(), self.folder / "meta.json"
        if meta is not None and (other := other_settings(meta["suite"], suite)) is not None:
            key, old, new = other
            msg = (
                f"{self.folder} holds runs with {key} = {old}, these would have {new}; keep them apart with --name NAME"
            )
            raise UsageError(msg)
        if meta is not None and isinstance(schema := meta.get("schema"), int) and schema > SCHEMA:
            msg = f"{path} has schema {schema}, this tpobench reads up to {SCHEMA}; upgrade tpobench"
            raise CorruptResults(msg)
        text = canonical({"schema": SCHEMA, "tpobench": __version__, "suite": suite}) + "\n"
        if not path.is_file() or path.read_bytes() != text.encode():
            if meta is None and path.is_file():
                set_aside(path)
            write_atomically(path, text)

    def bind(self, suite: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
        """Make the folder ready for runs of this suite that follow a plan, which is there before the first of them.

        Raises:
            UsageError: it holds runs under other settings, or another plan.
            CorruptResults: it was made by a newer tpobench.
            StorageFull: it cannot be written.
        """
        try:
            self.open(suite)  # refuses other settings before a plan binds the folder
            write_plan(self.folder / PLAN_FILE, plan, force=False)
        except OSError as error:
            msg = f"cannot record the plan in {self.folder}: {error.strerror or error}; nothing was run"
            raise StorageFull(msg) from error

    def meta(self) -> dict[str, Any] | None:
        """The contents of meta.json, None where there is none or it is damaged."""
        try:
            meta = load_json((self.folder / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return meta if isinstance(meta, dict) and isinstance(meta.get("suite"), dict) else None

    def checkpoint(self, key: str) -> Path:
        """Where the state of a job lies while it is trained, and after it was interrupted."""
        return self.folder / "claims" / f"{key}.checkpoint"

    def heard(self, key: str) -> Path:
        """Where the last that a long job said of itself lies while it is trained, and after it was interrupted."""
        return self.folder / "claims" / f"{key}{HEARD}"

    def claim(self, key: str) -> FileLock | None:
        """The lock of a job, or None while another process holds it.  The kernel frees it when its holder dies.

        Raises:
            StorageFull: no lock can be made in the folder.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - only `run` needs it

        folder = self.folder / "claims"
        lock = FileLock(folder / f"{key}.lock", thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            return None
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return lock

    def read(self, run_id: str) -> RunRecord | None:
        """A run's unpacked record, None where there is none or it is damaged."""
        try:
            return read_record(self.path_of(run_id))
        except (OSError, DamagedRecord):
            return None

    def write(self, record: RunRecord) -> None:
        """Write one record atomically."""
        write_atomically(self.path_of(record.id), record.to_line() + "\n")

    @uncollected()
    def load(self, *, quarantine: bool = False) -> tuple[list[RunRecord], int]:
        """All records of the folder, sorted, and how many were damaged; `quarantine` moves those out of the way.

        Raises:
            CorruptResults: a record cannot be read, or was written by a newer tpobench.
        """
        records, damaged = [], 0
        for path in sorted((self.folder / "runs").glob("*/*.json"), key=str):
            try:
                records.append(read_record(path))
            except DamagedRecord:
                damaged += 1
                if quarantine:
                    self.quarantine(path)
            except FileNotFoundError:
                continue  # another command put it aside meanwhile
            except OSError as error:
                msg = f"{path} cannot be read: {error.strerror or error}; repair it or delete it, its run is due again"
                raise CorruptResults(msg) from error
        return sorted(records, key=attrgetter("order")), damaged

    def quarantine(self, path: Path) -> None:
        """Move a damaged record out of the way, beside those that were moved before."""
        folder = self.folder / "quarantine"
        folder.mkdir(exist_ok=True)
        place = next(p for p in _numbered(folder / path.name) if not p.exists())
        with suppress(FileNotFoundError):  # another command was faster
            path.replace(place)

    def known(self, *, quarantine: bool = False) -> tuple[dict[str, RunRecord], int]:
        """Records by id, those of the packed copy included, and the number of damaged ones."""
        records, damaged = self.load(quarantine=quarantine)
        packed, torn = load_packed(self.packed) if self.packed.is_file() else ([], 0)
        return merge_copies([*packed, *records]), damaged + torn


def unwritable(folder: Path, error: OSError) -> StorageFull:
    """The one line for a disk that is full, or a folder that takes no files."""
    return StorageFull(
        f"cannot write to {folder}: {error.strerror or error}; finished runs are kept, the same command goes on when "
        "there is room"
    )


def other_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first key, and its two values, in which two resolved suites define different experiments; None if none."""
    a, b = _identity(old), _identity(new)
    keys = (k for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k))
    return next(((k, _show(a, k), _show(b, k)) for k in keys), None)


def _identity(suite: Mapping[str, Any]) -> dict[str, Any]:
    from tpobench.suites.model import Training  # noqa: PLC0415 - reading records needs no suites
    from tpobench.tasks.catalog import chosen_task  # noqa: PLC0415 - as above

    grid = table if isinstance(table := suite.get("grid"), dict) else {}
    suite = {"algorithm": suite.get("hyper", {}), **suite}  # as the settings of single algorithms were called before
    fixed = {
        k: {n: v for n, v in part.items() if n not in grid} if isinstance(part := suite.get(k), dict) else part
        for k in IDENTITY
    }
    if isinstance(task := fixed["task"], dict):
        fixed["task"] = chosen_task(task)
    if isinstance(training := fixed["training"], dict):
        fixed["training"] = chosen(training, Training)
    return {**flat(fixed), "grid": sorted(grid.keys() - {"matching"})}


def _show(identity: Mapping[str, Any], key: str) -> str:
    return brief(canonical(identity[key])) if key in identity else "its default"


@uncollected()
def load_packed(path: Path) -> tuple[list[RunRecord], int]:
    """The records of a packed file and the number of damaged lines."""
    lines = [record for _, record in packed_lines(path)]
    records = [record for record in lines if record is not None]
    return records, len(lines) - len(records)


def packed_lines(path: Path) -> Iterator[tuple[str, RunRecord | None]]:
    """Each line of a packed file: where it stands, and its record, None where it is damaged."""
    for where, parsed in _parsed_lines(path):
        yield where, parsed if isinstance(parsed, RunRecord) else None


def _parsed_lines(path: Path, having: bytes = b"") -> Iterator[tuple[str, RunRecord | DamagedRecord]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path} line {number}"
        if not line.strip() or having not in line:
            continue
        try:
            yield where, parse_record(line.decode("utf-8"), where)
        except DamagedRecord as damaged:
            yield where, damaged
        except UnicodeDecodeError as error:
            yield where, DamagedRecord(where, str(error))


def records_like(path: Path, prefix: str) -> tuple[dict[str, tuple[str, RunRecord]], list[DamagedRecord]]:
    """The runs at `path` whose ids begin so, each with the place of its best copy, and damaged ones; reads no others.

    Raises:
        CorruptResults: written by a newer tpobench.
    """
    runs: dict[str, tuple[str, RunRecord]] = {}
    damages = []
    for where, parsed in itertools.chain.from_iterable(_copies_like(source, prefix) for source in sources(path)):
        if isinstance(parsed, DamagedRecord):
            damages.append(parsed)
        elif parsed.id.startswith(prefix) and (parsed.id not in runs or parsed.status in FINISHED):
            runs[parsed.id] = (where, parsed)
    return runs, damages


def _copies_like(source: Path, prefix: str) -> Iterator[tuple[str, RunRecord | DamagedRecord]]:
    packed = source if source.is_file() else Store(source).packed
    if packed.is_file():
        yield from _parsed_lines(packed, having=f'"id":"{prefix}'.encode())
    for file in sorted((source / "runs").glob(f"{prefix[:2]}*/{prefix}*.json")):
        try:
            yield str(file), read_record(file)
        except DamagedRecord as damaged:
            yield str(file), damaged
        except FileNotFoundError:
            continue  # another command put it aside meanwhile


def damaged_in(path: Path) -> list[DamagedRecord]:
    """What is set aside of the results at `path`, each with its place and its fault; reads them again."""
    return [damage for source in sources(path) for damage in _damages(source)]


def _damages(source: Path) -> Iterator[DamagedRecord]:
    packed = source if source.is_file() else Store(source).packed
    for file in sorted((source / "runs").glob("*/*.json")):
        try:
            read_record(file)
        except DamagedRecord as damaged:
            yield damaged
        except FileNotFoundError:
            continue  # another command put it aside meanwhile
    if packed.is_file():
        yield from (parsed for _, parsed in _parsed_lines(packed) if isinstance(parsed, DamagedRecord))


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
            if not same(other, record):
                msg = (
                    f"two different results of run {record.id} ({record.spec['suite']}, {record.spec['algorithm']}, "
                    f"seed {record.spec['seed']}); they should be equal, delete the one you do not trust"
                )
                raise CorruptResults(msg)
        merged[record.id] = record
    return {r.id: r for r in sorted(merged.values(), key=attrgetter("order"))}


class Packed(NamedTuple):
    """What `pack` has written."""

    path: Path
    runs: int
    damaged: int  # records that were left out
    copies: tuple[Path, ...]  # of old files that held what is left out


def pack(source: Path, *, force: bool = False) -> Packed:
    """Write results/<name>.jsonl, one sorted line per run, and the plan of its seeds beside it.

    Runs that only the old packed file holds are kept.  Equal files are left alone.

    Args:
        source: a run directory, or a packed file.
        force: lines of the old packed file that cannot be read may go, and another plan; copies of the files stay.

    Raises:
        UsageError: what lies there is no packed file, or it follows another plan.
        CorruptResults: two results of a run differ, lines cannot be read, or are of a newer tpobench.
    """
    store = Store(source.with_suffix("") if source.suffix == PACKED and source.is_file() else source)
    old: list[RunRecord] = []
    torn: list[str] = []
    if store.packed.is_file():
        require_ours(store.packed)
        for where, record in packed_lines(store.packed):
            old += [] if record is None else [record]
            torn += [where] if record is None else []
    records, damaged = store.load()
    merged = merge_copies([*old, *records])
    require_readable(store.packed, torn, force=force)
    plan = read_plan(source)  # which seeds were planned is part of what the runs say
    copies = [set_aside(store.packed)] if torn else []
    copies += write_plan(plan_copy(store.packed), plan, force=force)
    write_packed(store.packed, merged.values())
    return Packed(store.packed, len(merged), damaged + len(torn), tuple(copies))


def write_plan(path: Path, plan: Mapping[str, Any] | None, *, force: bool) -> list[Path]:
    """Write the plan of adaptive seeds, where there is one, and give a copy of another one that it replaces.

    Raises:
        UsageError: another plan, or another file, lies there, and `force` does not let it go.
    """
    if plan is None:
        return []
    copies = []
    if path.is_file():
        try:
            old = parse_json(path.read_text(encoding="utf-8"))
        except ValueError:
            old = None
        if old == plan:
            return []
        if not force:
            msg = f"{path} is not the plan that the runs follow; move it away, or --force goes on and keeps a copy"
            raise UsageError(msg)
        copies.append(set_aside(path))
    write_atomically(path, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
    return copies


def read_plan(source: Path) -> dict[str, Any] | None:
    """The plan recorded for a run directory (or for the one a packed file was made from), None where there is none.

    `text` is for a signature line; `cells`, `per_look` and `looks` say which seeds belong to it.

    Raises:
        CorruptResults: plan.json is damaged or of a newer tpobench.
    """
    folder = source.with_suffix("") if source.suffix == PACKED else source
    places = (folder / PLAN_FILE, plan_copy(Store(folder).packed))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    try:
        plan: dict[str, Any] = load_json(path.read_text(encoding="utf-8"))
        newer = isinstance(plan, dict) and type(plan.get("schema")) is int and plan["schema"] != PLAN_SCHEMA
        if not newer and (fault := SEED_PLAN.fault(plan)):
            raise ValueError(fault)
    except (OSError, ValueError) as error:
        msg = f"{path} is damaged, so nobody can tell which seeds were planned; restore it, or start anew ({error})"
        raise CorruptResults(msg) from error
    if newer:
        msg = f"{path} has plan schema {plan['schema']}, this tpobench reads {PLAN_SCHEMA}; upgrade tpobench"
        raise CorruptResults(msg)
    return plan


def require_ours(path: Path) -> None:
    """A packed file may be read as results and rewritten, any other file may not.

    Raises:
        UsageError: none of its lines is a record, or was one; or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            ours = map(_resembles_record, filter(None, map(bytes.strip, file)))
            foreign = not next(ours, True) and not any(ours)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise UsageError(msg) from error
    if foreign:
        msg = f"{path} is no packed file of tpobench: none of its lines is a record; it is left as it is"
        raise UsageError(msg)


def _resembles_record(line: bytes) -> bool:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith(b'{"attempts":')  # how they begin: a torn one
    return isinstance(raw, dict) and {"id", "spec", "status"} <= raw.keys()


def require_readable(path: Path, torn: Sequence[str], *, force: bool) -> None:
    """What is rewritten must have been read.

    Raises:
        CorruptResults: lines of `path` at `torn` could not, and `force` does not let them go.
    """
    if torn and not force:
        lines = first_of(torn, 1)
        msg = f"{lines} cannot be read and would be lost; repair {path}, or --force goes on and keeps a copy"
        raise CorruptResults(msg)


def plan_copy(packed: Path) -> Path:
    """Where the plan of adaptive seeds lies beside a packed file."""
    return packed.with_suffix(".plan.json")


def write_packed(path: Path, records: Iterable[RunRecord]) -> None:
    """One line per record; an equal file is left alone."""
    _write_changed(path, _lines(records))


def _lines(records: Iterable[RunRecord]) -> str:
    return "".join(f"{r.to_line()}\n" for r in records)


def _write_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_bytes() != text.encode():
        write_atomically(path, text)


def write_source(target: Path, records: Sequence[RunRecord], suite: Mapping[str, Any] | None = None) -> None:
    """Write records to a packed file (whose name ends in .jsonl) or a run directory; equal files are left alone.

    Damaged records in the way are put into quarantine.

    Raises:
        UsageError: the directory holds runs of the suite under other settings.
    """
    if target.suffix == PACKED:
        write_packed(target, records)
        return
    store = Store(target)
    if suite is not None:
        store.open(suite)
    for record in records:
        path = store.path_of(record.id)
        if path.is_file() and store.read(record.id) is None:
            store.quarantine(path)
        _write_changed(path, _lines([record]))


def run_folders(root: Path) -> Iterator[Path]:
    """The run directories directly below `root`."""
    if root.is_dir():
        yield from (p for p in sorted(root.iterdir()) if is_run_folder(p))


def is_run_folder(path: Path) -> bool:
    """A folder of one suite's runs; a folder named runs that holds several is none."""
    return (path / "meta.json").is_file() or next((path / "runs").glob("[0-9a-f][0-9a-f]"), None) is not None


def sources(path: Path) -> list[Path]:
    """The run directories and packed files that `path` names or directly holds, each suite's once.

    A run directory stands for its packed copy beside it too, as it does for `tpobench run`.

    Raises:
        UsageError: a file that is no packed file.
    """
    if path.is_file():
        require_ours(path)
    if path.is_file() or is_run_folder(path):
        return [path]
    packed = Store(path).packed
    if not path.exists() and packed.is_file():
        return [packed]
    folders = list(run_folders(path))
    alone = [p for p in path.glob("*.jsonl") if p.is_file() and p.with_suffix("") not in folders]
    return sorted([*folders, *alone])


def read_source(source: Path) -> tuple[dict[str, RunRecord], int]:
    """The records of a run directory or a packed file by id, sorted, and the number of damaged ones.  Writes nothing.

    Raises:
        CorruptResults: written by a newer tpobench, or two copies of a run differ.
    """
    if source.is_dir():
        return Store(source).known()
    records, damaged = load_packed(source)
    return merge_copies(records), damaged


def require_folder(out: Path) -> None:
    """A folder, or a place where one can be made.

    Raises:
        UsageError: a file is in the way.
    """
    nearest = next((place for place in (out, *out.parents) if place.exists()), out)
    if nearest.exists() and not nearest.is_dir():
        msg = f"--out {out}: {nearest} is a file; name a folder"
        raise UsageError(msg)
