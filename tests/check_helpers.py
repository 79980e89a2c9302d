"""A trainer whose quality a test sets rule by rule, and a baseline made with it, for the tests of `check`."""

import math
import signal

import pytest
from harness_helpers import Row
from record_helpers import command

import tpobench.cli.check  # noqa: F401 - registers the verbs

__all__ = ["Bench", "bench_fixture"]

TOML = """
title = "tiny"
seeds = {seeds}
algorithms = {algorithms}

[task]
kind = "bandit"
arms = 5
samples = 4

[training]
steps = {steps}
epochs = 1
optimizer = "normalized"
learning_rate = 0.1
seed_batch = 10

[report]
window = 2
thresholds = [0.5]
persist = 1
"""


class Bench:
    """The command line with a trainer of known quality: error falls from 1 to `final` of the rule, seed by seed."""

    def __init__(self, monkeypatch, capsys, folder) -> None:
        self.monkeypatch, self.capsys, self.folder = monkeypatch, capsys, folder
        self.quality = {}  # rule -> function of the seed that is added to its error from the middle on
        self.trained = []  # (rule, seeds) of every job
        monkeypatch.setattr("tpobench.training.loop.train", self.train)

    def train(self, job, begin):
        """Error 1 in the first half of the updates, 0.3 + noise + what `quality` adds in the second."""
        spec = job.specs[0]
        self.trained.append((spec.algorithm, tuple(s.seed for s in job.specs)))
        added = self.quality.get(spec.algorithm, lambda _: 0.0)
        steps = spec.training["steps"]
        yield Row(0, 0, 0, "initial_success", tuple(0.2 for _ in job.seeds))
        for step in range((steps if job.until is None else job.until) + 1):
            begin(step)
            late = step >= steps // 2
            values = [0.3 + 0.04 * math.sin(7 * seed) + added(seed) if late else 1.0 for seed in job.stack(step)]
            yield Row(step, 4 * step, step, "error", tuple(values))

    def __call__(self, *words) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of a command."""
        return command(self.monkeypatch, self.capsys, *words)

    def suite(self, name="tiny", steps=4, seeds=20, algorithms=("tpo", "reinforce")):
        """Write a suite file."""
        text = TOML.format(steps=steps, seeds=seeds, algorithms=list(algorithms))
        (self.folder / f"{name}.toml").write_text(text.replace("'", '"'), encoding="utf-8")
        return f"{name}.toml"

    def baseline(self, *words, **suite):
        """Run a suite as it should be, and pin the results."""
        file = self.suite(**suite)
        assert self("run", "--suite", file, "--executor", "inline")[0] == 0
        name = file.removesuffix(".toml")
        assert self("baseline", "update", "base.jsonl", f"results/{name}", "--reason", "first", *words)[0] == 0
        self.trained.clear()

    def check(self, *words):
        """`check` in this process."""
        return self("check", "--baseline", "base.jsonl", "--executor", "inline", *words)


@pytest.fixture(name="bench")
def bench_fixture(monkeypatch, capsys, tmp_path):
    """A Bench in an empty folder."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield Bench(monkeypatch, capsys, tmp_path)
    signal.signal(signal.SIGTERM, before)
