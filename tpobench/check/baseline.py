"""The pinned baseline: packed records, and beside them the log that says which seeds are for what and why it changed.

results/baselines/ci.jsonl    one record a line, sorted: `report`, `merge` and `verify` read it like any packed file
results/baselines/ci.log.json seeds of the screen and the reserve, and an entry per update: when, who, why, drift
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tpobench.check.arms import ArmKey, by_arm, seeds_in, settings_differ, settings_of
from tpobench.errors import CorruptResults, NothingToDo, RunsFailed, UsageError
from tpobench.limits import load_json
from tpobench.records.shapes import BASELINE_LOG
from tpobench.records.store import FINISHED, RunRecord, merge_copies, read_source, sources

SCHEMA = 1
MAKE_ONE = "make one with: tpobench baseline update {path} results/ci --reason TEXT"


@dataclass(frozen=True)
class Baseline:
    """Results to hold a change against; `check` never changes them."""

    path: Path
    records: tuple[RunRecord, ...]
    screen: tuple[int, ...]  # seeds that every check runs
    reserve: tuple[int, ...]  # seeds that confirm or clear what the screen flags
    log: tuple[Mapping[str, Any], ...] = ()  # oldest first
    arms: Mapping[ArmKey, Mapping[int, RunRecord]] = field(default_factory=dict)
    digest: str = ""  # eight digits of the whole contents

    def only(self, suites: Sequence[str]) -> Baseline:
        """The part that belongs to some suites.

        Raises:
            NothingToDo: there is none.
        """
        stored = ", ".join(sorted({arm.suite for arm in self.arms}))
        records = [r for r in self.records if r.spec["suite"] in suites]
        if not records:
            msg = f"nothing compared: {self.path} holds no runs of suite {', '.join(suites)}, only of {stored}"
            raise NothingToDo(msg)
        part = _baseline(self.path, records, self.screen, self.reserve, self.log)
        return replace(part, digest=self.digest)


def log_path(path: Path) -> Path:
    """Where the log of a baseline lies."""
    return path.with_name(f"{path.name.removesuffix('.jsonl')}.log.json")


def digest_of(records: Iterable[RunRecord]) -> str:
    """sha256 of the records as they are written."""
    return hashlib.sha256("\n".join(r.to_line() for r in records).encode()).hexdigest()


def read_baseline(path: Path) -> Baseline:
    """The baseline at `path`: a packed file with its log, or any results; those are split by seed into two halves.

    Raises:
        NothingToDo: nothing there, or no result in it.
        CorruptResults: damaged records, or records that are not those of the log.
    """
    files = sources(path)
    if not files:
        msg = f"nothing compared: no baseline at {path}; {MAKE_ONE.format(path=path)}"
        raise NothingToDo(msg)
    records: list[RunRecord] = []
    for source in files:
        members, damaged = read_source(source)
        if damaged:
            msg = f"{source}: {damaged} damaged records in the baseline; restore the file, or update it"
            raise CorruptResults(msg)
        records += members.values()
    finished = [r for r in merge_copies(records).values() if r.status in FINISHED]
    if not finished:
        msg = f"nothing compared: the baseline {path} holds no results; {MAKE_ONE.format(path=path)}"
        raise NothingToDo(msg)
    document = _read_log(log_path(path)) if path.is_file() else None
    if document is None:
        screen, reserve = split_seeds({int(r.spec["seed"]) for r in finished})
        return _baseline(path, finished, screen, reserve, ())
    if document["sha256"] != digest_of(finished):
        msg = f"{path} is not what {log_path(path)} says it is; restore both, or use: tpobench baseline update"
        raise CorruptResults(msg)
    return _baseline(path, finished, document["screen"], document["reserve"], document["log"])


def log_of(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The log of the baseline at `path`, empty where there is none.

    Raises:
        CorruptResults: it is damaged, and a new one would lose it.
    """
    document = _read_log(log_path(path))
    return document["log"] if document else ()


def _read_log(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        document = load_json(path.read_text(encoding="utf-8"))
        if fault := BASELINE_LOG.fault(document):
            raise ValueError(fault)
        seeds = {name: seeds_in(document[name]) for name in ("screen", "reserve")}
    except (OSError, ValueError) as error:
        msg = f"{path}: not the log of a baseline: {error}; restore it from version control, or delete it to start anew"
        raise CorruptResults(msg) from error
    if (schema := document["schema"]) > SCHEMA:
        msg = f"{path} has schema {schema}, this tpobench reads up to {SCHEMA}; upgrade tpobench"
        raise CorruptResults(msg)
    return {**document, **seeds, "log": tuple(document["log"])}


def split_seeds(seeds: Iterable[int], screen: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first `screen` seeds (default: half of them, rounded up) and the rest."""
    ordered = sorted(seeds)
    first = (len(ordered) + 1) // 2 if screen is None else screen
    return tuple(ordered[:first]), tuple(ordered[first:])


def _baseline(
    path: Path,
    records: Sequence[RunRecord],
    screen: Sequence[int],
    reserve: Sequence[int],
    log: Sequence[Mapping[str, Any]],
) -> Baseline:
    """Each arm's records by seed; one arm has one definition.

    Raises:
        CorruptResults: it has two.
    """
    arms: dict[ArmKey, Mapping[int, RunRecord]] = {}
    for arm, members in by_arm(records).items():
        first = members[0]
        expected = settings_of(first.spec, first.reporting)
        for other in members[1:]:
            differ = settings_differ(expected, settings_of(other.spec, other.reporting)).replace(" in the baseline", "")
            if differ or first.spec["algorithm_version"] != other.spec["algorithm_version"]:
                reason = differ or "the versions of the algorithm differ"
                msg = f"{path}: {arm.text} has two definitions: {reason}; keep one of them"
                raise CorruptResults(msg)
        arms[arm] = {int(r.spec["seed"]): r for r in members}
        if len(arms[arm]) != len(members):
            msg = f"{path}: {arm.text} has several results of one seed (device, threads or seed_batch differ)"
            raise CorruptResults(msg)
    digest = digest_of(records)[:8]
    return Baseline(path, tuple(records), tuple(screen), tuple(reserve), tuple(log), arms, digest)


def new_baseline(path: Path, records: Iterable[RunRecord], screen: int | None) -> Baseline:
    """What `baseline update` will write: results only, the same seeds in every cell.

    Raises:
        NothingToDo: no results.
        RunsFailed: some runs have none.
        UsageError: cells have different seeds, or too few for a screen and a reserve.
    """
    known = [r for r in records if r.status != "skipped"]
    broken = [r for r in known if r.status not in FINISHED]
    if broken:
        first = broken[0].spec
        msg = (
            f"{len(broken)} runs have no result, the first: {first['algorithm']} seed {first['seed']}; "
            "a baseline needs all of them: run them again"
        )
        raise RunsFailed(msg)
    if not known:
        msg = "no finished runs to make a baseline of; make some with: tpobench run --suite ci"
        raise NothingToDo(msg)
    finished = list(merge_copies(known).values())
    drawn = [r for r in finished if not r.reporting.get("exact")] or finished  # where seeds are no sample, one will do
    seeds = {arm: tuple(sorted(int(r.spec["seed"]) for r in members)) for arm, members in by_arm(drawn).items()}
    first_arm, most = max(seeds.items(), key=lambda item: len(item[1]))
    odd = next((arm for arm, members in seeds.items() if members != most), None)
    if odd is not None:
        msg = f"{odd.text} has {len(seeds[odd])} seeds, {first_arm.text} has {len(most)}; run the missing ones"
        raise UsageError(msg)
    if screen is not None and not 1 <= screen <= len(most):
        msg = f"--screen {screen}: the results hold {len(most)} seeds; name 1 to {len(most)}"
        raise UsageError(msg)
    return _baseline(path, finished, *split_seeds(most, screen), ())
