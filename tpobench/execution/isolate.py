"""A job in a child process; a stack of seeds that breaks is trained on without the guilty seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tpobench.execution.job import Message
from tpobench.execution.slots import DAY_S, SlotPool
from tpobench.records.store import FINISHED, RunRecord

Train = Callable[[Message], "list[RunRecord]"]


def train_isolated(pool: SlotPool, message: Message, timeout_s: float = DAY_S) -> list[RunRecord]:
    """One record per wanted seed, whatever happens to the child.  Empty when the pool was killed meanwhile.

    Raises:
        WorkersBroken: a child process cannot start at all.
    """
    records = train_apart(lambda part: pool.run(part, timeout_s), message)
    return [] if pool.killed.is_set() else records


def train_apart(train: Train, message: Message) -> list[RunRecord]:
    """One record per wanted seed; a seed that breaks its stack leaves it at that update, and the others go on.

    What may have come from outside is tried again first, so that seeds without a fault keep the bytes of the whole
    stack.  A seed that leaves does so at the same update in every execution and whichever seeds are wanted, so the
    bytes of those that stay are reproduced as well.  Halving finds one guilty seed of S in about 2 log2 S short jobs.
    """
    records = train(message)
    job = message.job
    if _sound(records) or len(job.seeds) == 1:
        return records
    message = replace(message, watched=True)  # for the update at which it breaks
    if any(r.status != "failed" for r in records):
        records = train(message)
    ends: dict[str, RunRecord] = {}
    while not _sound(records):
        step = int(records[0].provenance.get("step", 0))
        guilty = _guilty(train, message.of(job.suspects(step)), step)
        if not guilty:  # no seed breaks alone, so all of them do together
            break
        ends |= {r.id: r for r in guilty}
        job = job.without([r.spec["seed"] for r in guilty], step)
        records = train(message.of(job)) if job.specs else []
    ends |= {r.id: r for r in records}
    return [ends[spec.run_id] for spec in message.job.specs if spec.run_id in ends]


def _guilty(train: Train, message: Message, step: int) -> list[RunRecord]:
    """The broken records of those wanted seeds that break at `step` without the others."""
    broken: list[RunRecord] = []
    for part in message.job.parts():
        records = train(message.of(part.alone(step)))
        if not _sound(records):
            broken += records if len(part.specs) == 1 else _guilty(train, message.of(part), step)
    return broken


def _sound(records: list[RunRecord]) -> bool:
    return all(r.status in FINISHED for r in records)
