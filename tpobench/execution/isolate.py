"""A job in a child process; a stack of seeds that breaks is taken apart until the guilty seed stands alone."""

from __future__ import annotations

from tpobench.execution.job import Message
from tpobench.execution.slots import DAY_S, SlotPool
from tpobench.records import FINISHED, RunRecord


def train_isolated(pool: SlotPool, message: Message, timeout_s: float = DAY_S) -> list[RunRecord]:
    """One record per wanted seed, whatever happens to the child.  Empty when the pool was killed meanwhile.

    Halving finds one guilty seed of S in about 2 log2 S jobs, each of which gives the bytes of the whole stack.

    Raises:
        WorkersBroken: a child process cannot start at all.
    """
    records = pool.run(message, timeout_s)
    if all(r.status in FINISHED for r in records) or len(set(message.job.seeds)) == 1:
        return records
    found: list[RunRecord] = []
    for part in message.job.parts():
        found += train_isolated(pool, message.of(part), timeout_s)
    return [] if pool.killed.is_set() else found
