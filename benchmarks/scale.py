"""What thousands of records cost: seconds and memory of every verb that reads them, at three sizes.

python benchmarks/scale.py [--sizes 1000,10000,50000] [--seeds 20] [--verbs plan,status] [--folder DIR]

A grid of single-context bandits, five algorithms and `--seeds` seeds in each cell: as many cells as records need.  The
plan is made, each record assembled and written as `tpobench run` does it; only the curves are drawn, not trained: each
at its algorithm's pace, per seed its own, with noise.  Each verb is a child process, so its seconds and memory hold the
start of Python; this process imports little, because a child's peak is never below that of its parent.  `merge`
unites ten packed parts, `check` compares the records with another draw of them, packed.
"""

from __future__ import annotations

import argparse
import compileall
import dataclasses
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from documents import markdown

if TYPE_CHECKING:
    from tpobench.planning.plan import Job, Plan
    from tpobench.records.store import RunRecord
    from tpobench.training.loop import Measurement

NAMES = ("tpo", "grpo", "dg", "group_pg", "reinforce")
POINTS = 31  # recorded updates of a curve: 0, 5, ..., 150
PARTS = 10
SUITE = """\
title = "A grid of bandits"
version = 1
seeds = {seeds}
algorithms = {names}
task = {{kind = "bandit"}}
training = {{steps = 150, epochs = 1, optimizer = "normalized", learning_rate = 0.1, record_every = 5, seed_batch = {seeds}}}
grid = {{arms = {arms}, samples = {samples}}}
report = {{window = 5, thresholds = [0.1, 0.01]}}
cost = {{ms_per_step = {{default = 0.02}}}}
"""  # noqa: E501 - an inline table is one line


def main() -> None:
    """Print one table: verbs down, sizes across."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,50000", help="numbers of records")
    parser.add_argument("--seeds", type=int, default=20, help="seeds of each algorithm in each cell")
    parser.add_argument("--verbs", default=",".join(VERBS), help="those to time")
    parser.add_argument("--folder", type=Path, help="where the records are made, and kept")
    given = parser.parse_args()
    sizes, verbs = [int(n) for n in given.sizes.split(",")], given.verbs.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        columns = {n: measure(given.folder or Path(scratch), n, given.seeds, verbs) for n in sizes}
    print(markdown(["verb", *(f"{n:,} records" for n in sizes)],
                   [[f"`{verb}`", *(columns[n][verb] for n in sizes)] for verb in verbs]))  # fmt: skip


def measure(root: Path, size: int, seeds: int, verbs: Sequence[str]) -> dict[str, str]:
    """What each verb takes on `size` records."""
    folder = records_in(root, size, seeds)
    for name in ("report", "report-packed", "merged.jsonl", "s.jsonl"):  # by an earlier call
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink(missing_ok=True)
    return {verb: str(timed([word.format(at=folder) for word in VERBS[verb].split()])) for verb in verbs}


def records_in(root: Path, size: int, seeds: int = 20) -> Path:
    """The folder of `size` records, made where it is missing, by a process whose memory is not this one's."""
    folder = root / str(size)
    if not folder.is_dir():
        maker = multiprocessing.Process(target=make, args=(folder, size, seeds))
        maker.start()
        maker.join()
    return folder


# {at}/s: the run directory; {at}/p.jsonl the same records packed; {at}/part*.jsonl in ten parts; {at}/base.jsonl others
VERBS = {
    "plan": "plan --suite {at}/s.toml --out {at}",
    "status": "status {at}/s",
    "report": "report {at}/s --figures none --out {at}/report",
    "report packed": "report {at}/p.jsonl --figures none --out {at}/report-packed",
    "lint": "lint {at}/s",
    "check --no-run": "check {at}/s --baseline {at}/base.jsonl --no-run",
    "merge": "merge " + " ".join(f"{{at}}/part{i}.jsonl" for i in range(PARTS)) + " -o {at}/merged.jsonl",
    "pack": "pack {at}/s",
}


class Used(NamedTuple):
    """What a command took: `1.2 s CPU, 1.3 s, 140 MB`."""

    cpu: float  # seconds, of user and system
    wall: float  # seconds
    peak: float  # MB

    def __str__(self) -> str:
        return f"{self.cpu:.1f} s CPU, {self.wall:.1f} s, {self.peak:.0f} MB"


@cache
def compiled() -> dict[str, str]:
    """The environment of a command, whose package has its bytecode, as where pip installed it."""
    (package,) = importlib.util.find_spec("tpobench").submodule_search_locations
    compileall.compile_dir(package, quiet=2)
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def timed(words: Sequence[str]) -> Used:
    """Seconds and peak memory of one command in a process of its own."""
    environment, start = compiled(), time.perf_counter()
    command = [sys.executable, "-m", "tpobench", *words]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - our own
    _, code, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(code)
    wall = time.perf_counter() - start
    if child.returncode not in {0, 7, 8}:  # what lint and check found is no failure of theirs
        raise SystemExit(f"tpobench {' '.join(words)}: exit {child.returncode}")
    return Used(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def make(folder: Path, size: int, seeds: int) -> None:
    """The records: a run directory, a packed copy, ten packed parts, and another draw of all of them."""
    from tpobench.planning.plan import plan_runs
    from tpobench.records.store import Store, write_packed
    from tpobench.suites.load import load_suite

    folder.mkdir(parents=True)
    cells = -(-size // (len(NAMES) * seeds))
    arms = [10 + i for i in range(-(-cells // 10))]
    samples = [100 + i for i in range(min(cells, 10))]
    text = SUITE.format(seeds=seeds, names=list(NAMES), arms=arms, samples=samples).replace("'", '"')
    (folder / "s.toml").write_text(text, encoding="utf-8")
    plan = plan_runs(load_suite(str(folder / "s.toml")))
    store = Store(folder / "s")
    store.open(plan.suite.as_dict())
    records = sorted(records_of(plan, draw=0), key=lambda r: r.id)[:size]
    for record in records:
        path = store.path_of(record.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.to_line() + "\n", encoding="utf-8")  # without the wait for the disk that `run` needs
    write_packed(folder / "p.jsonl", records)
    for i in range(PARTS):
        write_packed(folder / f"part{i}.jsonl", records[i::PARTS])
    write_packed(folder / "base.jsonl", records_of(plan, draw=1))


def records_of(plan: Plan, draw: int) -> Iterator[RunRecord]:
    """A record of every run of a plan, with curves that are drawn."""
    from tpobench.execution.assemble import assemble
    from tpobench.execution.provenance import provenance

    for job in plan.jobs():
        for record, spec in zip(assemble(job, curves(job, draw), plan.suite.reporting), job.specs, strict=True):
            cost = {"cpu_s": 0.003, "peak_rss_mb": 250.0, "wall_s": 0.003}
            origin = provenance(spec, "2026-01-01T00:00:00+00:00")
            yield dataclasses.replace(record, cost=cost, provenance=origin)


def curves(job: Job, draw: int) -> Iterator[Measurement]:
    """Errors that fall at a pace of the algorithm and of the seed, from 1 - 1/arms on."""
    import numpy as np

    from tpobench.training.loop import Measurement

    spec, S = job.specs[0], len(job.seeds)
    rng = np.random.default_rng(zlib.crc32(f"{spec.cell} {spec.algorithm} {draw}".encode()))
    arms, every = int(spec.task["arms"]), int(spec.training["record_every"])
    pace = 15 * (1 + 2 * NAMES.index(spec.algorithm)) * rng.uniform(0.7, 1.4, S)
    yield Measurement(0, 0, 0, "initial_success", tuple(S * [1 / arms]))
    for step in range(0, POINTS * every, every):
        error = (1 - 1 / arms) * np.exp(-step / pace) * rng.uniform(0.9, 1.1, S)
        for metric, values in (("error", error), ("misalignment", 0.5 * error)):
            yield Measurement(step, step * int(spec.task["samples"]), step, metric, tuple(map(float, values)))


if __name__ == "__main__":
    main()
