"""What isolation costs: the start of a slot, the overhead of a run, and the speed-up from one job to two.

python benchmarks/execution.py [--runs 200]

Overhead: wall time per run of a plan of tiny runs, each a job of its own, minus the time that the runs themselves
recorded; once in child processes and once in this process (reading, assembling and writing the record are in both).
Speed-up: the same plan of short runs with one slot and with two, the slots started before the clock.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tpobench.execution import Inline, Local, execute
from tpobench.execution.slots import SlotPool
from tpobench.planning.plan import plan_runs
from tpobench.records.store import Store
from tpobench.suites.load import load_suite

REPEATS = 3


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="short runs in the speed-up suite")
    runs = parser.parse_args().runs
    alone, pair = statistics.median(start_seconds(1) for _ in range(REPEATS)), start_seconds(2)
    print(f"start of a slot: {alone:.2f} s, two side by side: {pair:.2f} s")

    tiny = plan_runs(load_suite("bandit", ["seed_batch=1", "steps=2", "arms=10", "samples=10"]), ["tpo"], range(100))
    with Local(1) as local:
        local.start()
        slot = statistics.median(overhead_ms(tiny, local) for _ in range(REPEATS))
    here = statistics.median(overhead_ms(tiny, Inline()) for _ in range(REPEATS))
    print(f"overhead per run: {slot:.2f} ms in a slot, {here:.2f} ms inline")

    short = plan_runs(load_suite("bandit", ["seed_batch=1", "steps=300"]), None, range(runs // 4))
    with Local(1) as single, Local(2) as double:
        single.start()
        double.start()  # the two in turn, so that both see the same load of the machine
        seconds = [(wall(short, single)[0], wall(short, double)[0]) for _ in range(REPEATS)]
    one, two = (statistics.median(column) for column in zip(*seconds, strict=True))
    n, each = len(short.specs), 1000 * one / len(short.specs)
    print(f"{n} runs of {each:.0f} ms: {one:.2f} s with 1 job, {two:.2f} s with 2: {one / two:.2f} times")


def start_seconds(size: int) -> float:
    """Wall time until `size` slots are ready for their first job."""
    begin = time.perf_counter()
    with SlotPool(size) as pool:
        pool.start()
        return time.perf_counter() - begin


def wall(plan, executor) -> tuple[float, float]:
    """Seconds of a whole plan, and of its runs by their own clocks."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        execute(plan, Path(folder) / "runs", executor=executor)
        seconds = time.perf_counter() - begin
        records, _ = Store(Path(folder) / "runs").load()
    assert len(records) == len(plan.specs)
    return seconds, sum(r.cost["wall_s"] for r in records)


def overhead_ms(plan, executor) -> float:
    """Milliseconds per run beyond what the run took."""
    seconds, training = wall(plan, executor)
    return 1000 * (seconds - training) / len(plan.specs)


if __name__ == "__main__":
    main()
