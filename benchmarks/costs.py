"""What an update of the paper's runs costs, cell by cell: milliseconds of processor time per update and seed.

python benchmarks/costs.py [--suites terminal_reward,tokens] [--kernel native] [--updates 6]

Per suite, cell and algorithm one seed takes its first updates; their median stands, and hours are those of all runs
that the suite plans, at that cost.  Later updates have fewer distinct prefixes and cost less, except of algorithms
that skip groups of equal rewards: these are many at first.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections import defaultdict

import torch
from documents import markdown

from tpobench.planning.plan import Job, RunSpec, plan_runs
from tpobench.suites.load import load_suite
from tpobench.training.loop import train

SEQUENCES = ("terminal_reward", "tokens", "variations", "temperature", "dg_epochs", "group_size", "epochs", "why")
HOUR = 3.6e6  # milliseconds


def milliseconds(spec: RunSpec, updates: int) -> float:
    """Of one update: the median over the intervals between updates, the first of which warms up."""
    clock: list[float] = []
    job = Job((spec,), (spec.seed,), until=updates)
    for _ in train(job, begin=lambda _: clock.append(time.process_time())):
        pass
    spans = [1e3 * (after - before) for before, after in itertools.pairwise(clock)]
    return statistics.median(spans[1:])


def rows_of(name: str, kernel: str, updates: int) -> list[list[str]]:
    """One row per cell and matching of a suite."""
    plan = plan_runs(load_suite(name), kernel=kernel)
    costs: dict[str, dict[str, list[float]]] = defaultdict(dict)
    first = {(str(dict(s.cell)), s.matching, s.algorithm): s for s in reversed(plan.specs)}
    seeds = len({s.seed for s in plan.specs})
    for (_, matching, algorithm), spec in sorted(first.items(), key=lambda entry: plan.specs.index(entry[1])):
        cost = milliseconds(spec, updates)
        label = ", ".join(f"{k}={v}" for k, v in spec.cell.items()) or "-"
        hours = cost * int(spec.training["steps"]) * seeds / HOUR
        costs[f"{label}, {matching}" if matching != "any" else label][algorithm] = [cost, hours]
    return [
        [
            name,
            cell,
            ", ".join(f"{a} {cost:.0f}" for a, (cost, _) in by.items()),
            f"{sum(h for _, h in by.values()):.1f}",
        ]
        for cell, by in costs.items()
    ]


def main() -> None:
    """Print one table: a cell a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", default=",".join(SEQUENCES))
    parser.add_argument("--kernel", choices=["plain", "native"], default="native")
    parser.add_argument("--updates", type=int, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in given.suites.split(",") for row in rows_of(name, given.kernel, given.updates)]
    print(markdown(["suite", "cell", "ms per update", "hours for all seeds"], rows, "---"))


if __name__ == "__main__":
    main()
