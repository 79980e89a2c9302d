"""A suite whose rules break on purpose, the command line as a child, and a search for processes left behind."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil

from tpobench.identity import canonical
from tpobench.planning.plan import plan_runs
from tpobench.records.store import Store
from tpobench.suites.load import build_suite

RULES = Path(__file__).parent / "faulty_rules.py"
SUITE = """
title = "rules that break on purpose"
seeds = 3
algorithms = ["clean"]
[task]
kind = "contexts"
contexts = 3
arms = 4
[training]
steps = 4
epochs = 1
optimizer = "normalized"
learning_rate = 0.1
seed_batch = {seed_batch}
"""


def suite_file(folder, seed_batch=1):
    """faults.toml in `folder`."""
    path = folder / "faults.toml"
    path.write_text(SUITE.format(seed_batch=seed_batch), encoding="utf-8")
    return path


def plan(rules, seeds, seed_batch=1, **training):
    """Runs of suite "faults"."""
    import tomllib

    from tpobench.plugins.load import load_plugins

    load_plugins([RULES])
    document = tomllib.loads(SUITE.format(seed_batch=seed_batch))
    document["training"] |= training
    suite = build_suite("faults", document, "faults.toml")
    return plan_runs(suite, rules, seeds)


def records_of(folder):
    """(rule, seed) -> record."""
    return {(r.spec["algorithm"], r.spec["seed"]): r for r in Store(folder).load()[0]}


def measured(record):
    """What a run measured, whatever its rule is called."""
    return canonical([record.status, record.curve, record.facts, record.counts, record.first_nonfinite_step])


def payloads(folder):
    """Run id -> the bytes that every execution must reproduce."""
    return {r.id: canonical(r.payload) for r in Store(folder).load()[0]}


def marked(mark):
    """Every living process with this mark in the environment it was started in, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TPOBENCH_FAULT_MARK") == mark and process.status() != "zombie":
                found.append(process)
    return found


@contextmanager
def room_for(size):
    """Files of this process and its children cannot grow beyond `size` bytes, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _words(process):
    """The command line of a process, of one that has ended what says so."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "plugin_check"


class Command:
    """The command line in a process group of its own, recognisable with all its descendants."""

    def __init__(self, *words, ignored=(), cwd=None, **environment) -> None:
        self.mark = uuid.uuid4().hex
        self.streams = tempfile.NamedTemporaryFile(), tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed on exit
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tpobench", *map(str, words)],
            stdout=self.streams[0],
            stderr=self.streams[1],
            env={**os.environ, **environment, "TPOBENCH_FAULT_MARK": self.mark},
            start_new_session=True,
            cwd=cwd,
            preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored],  # noqa: PLW1509 - no threads
        )

    def said(self):
        """Standard error so far."""
        return Path(self.streams[1].name).read_text(encoding="utf-8")

    def end(self, timeout=60):
        """(exit code, standard output, standard error)."""
        code = self.process.wait(timeout=timeout)
        return code, Path(self.streams[0].name).read_text(encoding="utf-8"), self.said()

    def alive(self):
        """Every process of this command that still runs."""
        return marked(self.mark)

    def children(self):
        """The slots; not where plugins are tried."""
        return [p for p in self.alive() if p.pid != self.process.pid and "tpobench.plugins" not in _words(p)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.alive():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()
        for stream in self.streams:
            stream.close()


def wait_for(condition, seconds=30.0):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    msg = f"still waiting after {seconds} s"
    raise TimeoutError(msg)
