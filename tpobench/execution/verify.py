"""Train finished runs again and compare: a record that cannot be reproduced is not evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.planning.plan import (
    OTHER_VERSION,
    PACKAGED,
    THIS_ENGINE,
    Job,
    RunSpec,
    aligned_block,
    other_fields,
    task_version_of,
    version_of,
)
from tpobench.records.difference import BITS, Difference, difference, other_origin
from tpobench.records.store import FINISHED, RunRecord
from tpobench.tasks.catalog import TASKS

Trainer = Callable[[Job, dict[str, Any]], Sequence[RunRecord]]  # (job, reporting) -> one record per wanted seed

IDENTICAL, DIFFERS, IMPOSSIBLE = "identical", "differs", "cannot be verified"


@dataclass(frozen=True)
class Verification:
    """What became of one run that was trained again."""

    record: RunRecord
    outcome: str  # identical | differs | cannot be verified
    reason: str = ""  # why it cannot be verified
    difference: Difference | None = None
    origin: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # then and now, where they are unequal

    @property
    def text(self) -> str:
        """One line for people."""
        if self.outcome != DIFFERS:
            return self.reason
        changed = ", ".join(f"{k} {then} then, {now} now" for k, (then, now) in self.origin.items())
        if self.origin.keys() & {*BITS, "device", "kernel", "seed_scheme"}:
            return f"{self.difference}; {changed}, which explains it"
        known = f" ({changed})" if changed else ""
        if not self.record.provenance.keys() >= set(BITS):
            return f"{self.difference}; the record does not say where it was made{known}"
        return f"{self.difference}; torch, CPU and threads are as they were{known}: this run does not reproduce"


def choose(records: Iterable[RunRecord], runs: int, seed: int) -> list[RunRecord]:
    """`runs` finished records drawn at random; the draw depends on the seed and the ids alone, on every machine."""
    finished = [r for r in records if r.status in FINISHED]
    return sorted(finished, key=lambda r: hashlib.sha256(f"{seed} {r.id}".encode()).digest())[:runs]


def verify(records: Iterable[RunRecord], train: Trainer, has_device: Callable[[str], bool]) -> list[Verification]:
    """Train each record's run again, runs of one stacked batch together, and compare the payloads byte for byte."""
    verdicts: dict[str, Verification] = {}
    blocks: dict[tuple[str, str], list[tuple[RunRecord, RunSpec]]] = {}
    chosen = list(records)
    for record in chosen:
        spec, reason = _spec(record, has_device)
        if spec is None:
            verdicts[record.id] = Verification(record, IMPOSSIBLE, reason)
        else:
            reporting = repr(sorted(record.reporting.items()))
            blocks.setdefault((Job((spec,), aligned_block(spec)).key, reporting), []).append((record, spec))
    for pairs in blocks.values():
        specs = tuple(spec for _, spec in pairs)
        again = {r.id: r for r in train(Job(specs, aligned_block(specs[0])), dict(pairs[0][0].reporting))}
        verdicts |= {record.id: _compare(record, again.get(record.id)) for record, _ in pairs}
    return [verdicts[record.id] for record in chosen]


def _spec(record: RunRecord, has_device: Callable[[str], bool]) -> tuple[RunSpec | None, str]:
    """The run's spec, or why it cannot be trained here."""
    if odd := other_fields(record.spec):
        return None, f"{OTHER_VERSION} ({', '.join(odd)})"
    spec = RunSpec(**record.spec)
    if spec.engine != THIS_ENGINE:
        return None, f"trained by {spec.engine}, which only its own command trains again"
    algorithm, kind = spec.algorithm, str(spec.task["kind"])
    if algorithm not in ALGORITHMS or kind not in TASKS:
        absent = f"algorithm '{algorithm}'" if algorithm not in ALGORITHMS else f"task kind '{kind}'"
        return None, f"no {absent} here; name its file with --plugin, or install its package"
    origins = {
        algorithm: (spec.algorithm_version, version_of(algorithm)),
        kind: (spec.task_version, task_version_of(kind)),
    }
    for name, (recorded, here) in origins.items():
        if recorded != here:
            return None, f"made with version {recorded or PACKAGED} of {name}, here is version {here or PACKAGED}"
    if not has_device(spec.device):
        return None, f"made on device {spec.device}, which this machine does not have"
    return spec, ""


def _compare(record: RunRecord, again: RunRecord | None) -> Verification:
    if again is None:
        return Verification(record, IMPOSSIBLE, "the training was stopped")
    if again.status not in FINISHED:
        return Verification(record, IMPOSSIBLE, f"training it again ended with status {again.status}: {again.reason}")
    where = difference(record, again)
    if where is None:
        return Verification(record, IDENTICAL)
    return Verification(record, DIFFERS, difference=where, origin=other_origin(record, again))
