"""What a long job says of itself, kept beside its claim: `watch` reads files alone, also on another machine."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress

from tpobench.execution.work import Hear
from tpobench.identity import canonical
from tpobench.planning.plan import Job
from tpobench.records.store import Store, write_atomically

LONG_S = 10.0  # a job that has taken less leaves nothing
EVERY_S = 5.0  # from one writing to the next


class Kept:
    """Hears of jobs in progress, writes the last of it down now and then, and passes all on."""

    def __init__(self, store: Store, on: Hear) -> None:
        self._store, self._on = store, on
        self._begun: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def __call__(self, job: Job, news: Mapping[str, float]) -> None:
        """Take note; where nothing can be written the run goes on without."""
        self._on(job, news)
        now, key = time.monotonic(), job.key
        if now - self._begun.setdefault(key, now) < LONG_S or now - self._last.get(key, -math.inf) < EVERY_S:
            return
        self._last[key] = now
        spec = job.specs[0]
        where = {"algorithm": spec.algorithm, "cell": dict(spec.cell), "matching": spec.matching}
        seeds = {s.run_id: s.seed for s in job.specs}
        text = canonical({**where, "seeds": seeds, "updates": int(spec.training["steps"]), **news})
        with suppress(OSError):
            write_atomically(self._store.heard(key), text + "\n")
