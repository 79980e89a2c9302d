"""Unite result directories and packed files of several machines.

Everything is read and checked before one byte is written.  A merge that was cut short is finished by calling it again.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from tpobench.errors import CorruptResults, NothingToDo, StorageFull, UsageError
from tpobench.identity import canonical, flat
from tpobench.records.difference import difference, other_origin
from tpobench.records.store import (
    FINISHED,
    PACKED,
    PLAN_FILE,
    SCHEMA,
    DamagedRecord,
    RunRecord,
    Store,
    is_run_folder,
    other_settings,
    packed_lines,
    plan_copy,
    read_plan,
    read_record,
    require_ours,
    require_readable,
    same,
    set_aside,
    sources,
    write_plan,
    write_source,
)
from tpobench.suites.load import ID


@dataclass(frozen=True)
class Located:
    """A record and the file, or the line of a file, that holds it."""

    record: RunRecord
    where: str


@dataclass(frozen=True)
class Source:
    """What one run directory or packed file holds."""

    path: Path
    located: tuple[Located, ...]
    damaged: tuple[str, ...]  # where
    suite: Mapping[str, Any] | None  # of its meta.json
    plan: Mapping[str, Any] | None = None  # of adaptive seeds


@dataclass(frozen=True)
class Merged:
    """The runs of one suite, united."""

    target: Path  # a run directory or a packed file
    records: tuple[RunRecord, ...]
    sources: tuple[Source, ...]
    suite: Mapping[str, Any] | None
    plan: Mapping[str, Any] | None = None  # of adaptive seeds
    replaced: tuple[Path, ...] = ()  # copies of files of the target that held what is lost now

    @property
    def torn(self) -> tuple[str, ...]:
        """Lines of a packed target that cannot be read and would be lost."""
        return tuple(where for s in self.sources for where in s.damaged if s.path == self.target and s.path.is_file())

    @property
    def counts(self) -> Counter[str]:
        """Runs by status."""
        return Counter(r.status for r in self.records)

    @property
    def copies(self) -> int:
        """Records that another source holds too, or better."""
        return sum(len(s.located) for s in self.sources) - len(self.records)


def merge(inputs: Sequence[Path], target: Path, *, force: bool = False) -> list[Merged]:
    """Unite `inputs` (run directories, packed files, or folders of several) and what `target` holds into `target`.

    Runs are united by id: identical payloads once, with the cost and provenance of the first; a result beats a
    failure; of two failures the one with more attempts stays.  Folders of several suites are united name by name.

    Args:
        inputs: what to unite.
        target: where to; what it holds is united too.
        force: lines of a packed target that cannot be read may go, and another plan; copies of the files stay.

    Raises:
        NothingToDo: an input is missing, or none holds a run.
        UsageError: different settings of a suite, inputs and target that do not fit together, or a target that is none.
        CorruptResults: two results of one run differ, a newer schema, or lines of the target that cannot be read.
        StorageFull: the target cannot be written.
    """
    united = [unite(path, [read(s) for s in copies]) for path, copies in _by_target(inputs, target).items()]
    if not any(m.records for m in united):
        torn = sum(len(s.damaged) for m in united for s in m.sources)
        beside = f" ({torn} damaged records)" if torn else ""
        msg = f"no runs in {', '.join(map(str, inputs))}{beside}; nothing to merge"
        raise NothingToDo(msg)
    for merged in united:
        require_readable(merged.target, merged.torn, force=force)
    return [dataclasses.replace(merged, replaced=_write(merged, force=force)) for merged in united]


def unite(target: Path, inputs: Sequence[Source]) -> Merged:
    """The union of one suite's sources, the target's own first.  Writes nothing.

    Raises:
        UsageError: different settings, or different suites.
        CorruptResults: two results of one run differ.
    """
    suites = [(s.suite, s.path) for s in inputs if s.suite is not None]
    for suite, path in suites[1:]:
        if (other := other_settings(suites[0][0], suite)) is not None:
            key, first, second = other
            raise _unlike(suites[0][1], path, f"runs with {key}", first, second)
    located = [one for source in inputs for one in source.located]
    chosen = _choose(located)
    _require_one_definition(chosen.values())
    records = sorted((one.record for one in chosen.values()), key=attrgetter("order"))
    plan = _one_plan(inputs)
    return Merged(target, tuple(records), tuple(inputs), suites[0][0] if suites else None, plan)


def _one_plan(inputs: Sequence[Source]) -> Mapping[str, Any] | None:
    plans = [(source.plan, source.path) for source in inputs if source.plan is not None]
    for plan, path in plans[1:]:
        if plan != plans[0][0]:
            raise _unlike(plans[0][1], path, "runs under the seed plan", plans[0][0]["text"], plan["text"])
    return plans[0][0] if plans else None


def read(path: Path) -> Source:
    """Everything in one run directory or packed file.

    Raises:
        CorruptResults: written by a newer tpobench.
        UsageError: it cannot be read.
    """
    located, damaged = [], []
    try:
        for where, record in packed_lines(path) if path.is_file() else _files(path):
            if record is not None:
                located.append(Located(record, where))
            else:
                damaged.append(where)
        suite = _suite(path) if path.is_dir() else None
        return Source(path, tuple(located), tuple(damaged), suite, read_plan(path))
    except OSError as error:
        msg = f"cannot read {error.filename or path}: {error.strerror}"
        raise UsageError(msg) from error


def _files(folder: Path) -> Iterator[tuple[str, RunRecord | None]]:
    for path in sorted((folder / "runs").glob("*/*.json")):
        try:
            yield str(path), read_record(path)
        except DamagedRecord:
            yield str(path), None


def _suite(folder: Path) -> Mapping[str, Any] | None:
    meta = Store(folder).meta()
    if meta is None:
        return None
    if isinstance(meta.get("schema"), int) and meta["schema"] > SCHEMA:
        msg = (
            f"{folder / 'meta.json'} has schema {meta['schema']}, this tpobench reads up to {SCHEMA}; upgrade tpobench"
        )
        raise CorruptResults(msg)
    suite: Mapping[str, Any] = meta["suite"]
    return suite


def _by_target(inputs: Sequence[Path], target: Path) -> dict[Path, list[Path]]:
    """The run directories and packed files to unite in each target; what a target holds comes first."""
    for path in inputs:
        if not path.exists() and not sources(path):
            msg = f"no results at {path}; nothing was merged"
            raise NothingToDo(msg)
    if not any(map(sources, inputs)):
        return {}
    if target.suffix == PACKED and target.is_file():
        require_ours(target)
    elif target.is_file():
        msg = f"{target} is a file; name a folder, or a packed file that ends in {PACKED}, with -o"
        raise UsageError(msg)
    if all(_is_single(path) for path in inputs):
        if target.is_dir() and not is_run_folder(target) and sources(target):
            msg = f"{target} holds several run directories; name the one to merge into, such as {target}/NAME"
            raise UsageError(msg)
        return {target: _distinct([*_existing(target), *(c for path in inputs for c in _copies(sources(path)[0]))])}
    if target.suffix == PACKED or is_run_folder(target):
        kind = "a packed file" if target.suffix == PACKED else "the directory of one suite"
        msg = f"{target} is {kind}, and the inputs hold several; name a folder for them with -o"
        raise UsageError(msg)
    named: dict[str, list[Path]] = {}
    for source in (s for path in inputs for s in sources(path)):
        named.setdefault(_name(source), []).extend(_copies(source))
    return {target / name: _distinct([*_existing(target / name), *copies]) for name, copies in sorted(named.items())}


def _is_single(path: Path) -> bool:
    return path.is_file() or is_run_folder(path) or not path.exists()  # not there: its packed copy is


def _existing(target: Path) -> list[Path]:
    """What the target holds already."""
    paths = [target] if target.suffix == PACKED else _copies(target)
    return [path for path in paths if path.exists()]


def _copies(source: Path) -> list[Path]:
    """A run directory and its packed copy, as `tpobench run` sees them."""
    packed = Store(source).packed
    return [source, packed] if not source.is_file() and packed.is_file() else [source]


def _distinct(paths: Iterable[Path]) -> list[Path]:
    by_real_path: dict[str, Path] = {}
    for path in paths:
        by_real_path.setdefault(os.path.realpath(path), path)
    return list(by_real_path.values())


def _name(source: Path) -> str:
    name = source.resolve().name.removesuffix(PACKED)
    if ID.fullmatch(name) is None:
        msg = f"{source}: the name of a run directory uses a-z, 0-9, _ and -, at most 64 characters; rename it to merge"
        raise UsageError(msg)
    return name


def _choose(located: Iterable[Located]) -> dict[str, Located]:
    chosen: dict[str, Located] = {}
    conflicts: list[tuple[Located, Located]] = []
    for new in located:
        old = chosen.setdefault(new.record.id, new)
        if old.record.status in FINISHED and new.record.status in FINISHED:
            if not same(old.record, new.record):
                conflicts.append((old, new))
        elif new.record.status in FINISHED or (
            old.record.status not in FINISHED and new.record.attempts > old.record.attempts
        ):
            chosen[new.record.id] = new
    if conflicts:
        raise _conflict(*conflicts[0], more=len({old.record.id for old, _ in conflicts}) - 1)
    return chosen


def _conflict(first: Located, second: Located, more: int) -> CorruptResults:
    spec = first.record.spec
    cell = " ".join(f"{k}={v}" for k, v in spec["cell"].items())
    run = ", ".join(filter(None, [spec["suite"], spec["algorithm"], cell, f"seed {spec['seed']}"]))
    origin = other_origin(first.record, second.record)
    machines = "; ".join(f"{k} {a} against {b}" for k, (a, b) in origin.items())
    msg = (
        f"two different results of run {first.record.id} ({run}): {first.where} and {second.where} differ in "
        f"{difference(first.record, second.record)}"
        + (f"; made with {machines}" if machines else "")
        + (f"; {more} more runs differ" if more else "")
        + "; nothing was written, delete the one you do not trust (`tpobench verify` trains it again)"
    )
    return CorruptResults(msg)


def _require_one_definition(chosen: Iterable[Located]) -> None:
    """One cell and algorithm has one definition, or its seeds would not be repetitions of one experiment."""
    first: dict[tuple[str, str, str], Located] = {}
    suite: Located | None = None
    for one in chosen:
        spec = one.record.spec
        suite = suite or one
        if spec["suite"] != suite.record.spec["suite"]:
            raise _unlike(suite.where, one.where, "runs of suite", suite.record.spec["suite"], spec["suite"])
        if one.record.status not in FINISHED:
            continue
        other = first.setdefault((canonical(spec["cell"]), spec["matching"], spec["algorithm"]), one)
        old, new = _settings(other.record), _settings(one.record)
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                what = f"runs of {spec['algorithm']} with {key}"
                raise _unlike(other.where, one.where, what, old.get(key, "nothing"), new.get(key, "nothing"))


def _settings(record: RunRecord) -> dict[str, str]:
    return {k: canonical(v) for k, v in flat(record.spec).items() if k != "seed"}


def _unlike(first: Path | str, second: Path | str, what: str, old: str, new: str) -> UsageError:
    msg = (
        f"{first} holds {what} = {old}, {second} {new}; one table must not mix them, merge them into different folders"
    )
    return UsageError(msg)


def _write(merged: Merged, *, force: bool) -> tuple[Path, ...]:
    """Copies of what is replaced."""
    plan = plan_copy(merged.target) if merged.target.suffix == PACKED else merged.target / PLAN_FILE
    try:
        replaced = [*write_plan(plan, merged.plan, force=force), *([set_aside(merged.target)] if merged.torn else [])]
        write_source(merged.target, merged.records, merged.suite)
    except OSError as error:
        msg = (
            f"cannot write {merged.target}: {error.strerror}; what is written is whole, make room or name another "
            "place with -o and merge again"
        )
        raise StorageFull(msg) from error
    return tuple(replaced)
