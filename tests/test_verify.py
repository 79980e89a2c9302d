"""A record is evidence because training the run again gives the same bytes; verify says where it does not, and why."""

import dataclasses
import json

import pytest
from record_helpers import command, record, relabel, write

from tpobench.execution.verify import DIFFERS, IDENTICAL, IMPOSSIBLE, choose, verify
from tpobench.identity import canonical
from tpobench.records.store import load_packed

HERE = {"torch": "2.13.0", "cpu": "x", "threads": 1}


class Trainer:
    """Gives what it is told to give, and remembers the jobs."""

    def __init__(self, *results) -> None:
        self.results = {r.id: r for r in results}
        self.jobs = []

    def __call__(self, job, reporting) -> list:
        self.jobs.append((job, reporting))
        return [self.results[s.run_id] for s in job.specs if s.run_id in self.results]


def check(then, now, has_device=lambda device: device == "cpu"):
    """The verdict on one record when training it again gives `now`."""
    (verdict,) = verify([then], Trainer(*now), has_device)
    return verdict


def test_the_draw_is_random_and_repeatable():
    """It depends on the seed and the ids alone; failures are not drawn; more runs than there are is all of them."""
    runs = [record(s) for s in range(50)]
    drawn = choose([*runs, record(99, "failed")], 5, seed=0)
    assert choose(reversed(runs), 5, seed=0) == drawn
    assert choose(runs, 6, seed=0)[:5] == drawn
    assert choose(runs, 5, seed=1) != drawn
    assert {r.id for r in choose([*runs, record(99, "failed")], 1000, 0)} == {r.id for r in runs}
    first = [choose(runs, 1, seed)[0].spec["seed"] for seed in range(300)]
    assert len(set(first)) >= 45  # of 50: one run stays undrawn with probability (49/50)^300 = 0.002


def test_equal_payloads_are_identical_whatever_they_cost():
    """Cost, origin and attempts are not part of it."""
    then = record(0, cost={"wall_s": 1.0}, provenance={"torch": "2.4.0"}, attempts=2)
    verdict = check(then, [record(0, provenance=HERE)])
    assert (verdict.outcome, verdict.text) == (IDENTICAL, "")


def test_a_difference_is_explained_by_another_torch_cpu_or_number_of_threads():
    """The metric, the first step, the largest difference, then and now."""
    then = record(0, error=0.5, provenance={**HERE, "torch": "2.4.0", "git": "a"})
    verdict = check(then, [record(0, error=0.25, provenance={**HERE, "git": "b"})])
    assert verdict.outcome == DIFFERS
    assert verdict.text == (
        "error at step 1: 0.5 against 0.25, largest difference 0.25; torch 2.4.0 then, 2.13.0 now, git a then, b now, "
        "which explains it"
    )


def test_a_difference_that_nothing_explains_is_a_run_that_does_not_reproduce():
    """Another commit alone does not excuse it: a changed rule has a new version."""
    verdict = check(record(0, provenance={**HERE, "git": "a"}), [record(0, error=0.1, provenance={**HERE, "git": "b"})])
    assert verdict.text.endswith(
        "torch, CPU and threads are as they were (git a then, b now): this run does not reproduce"
    )
    verdict = check(record(0), [record(0, error=0.1, provenance=HERE)])
    assert verdict.text.endswith("the record does not say where it was made")


def test_divergence_is_a_result_and_must_come_back():
    """At the same step."""
    then = record(0, "diverged", error=None, first_nonfinite_step=1)
    assert check(then, [then]).outcome == IDENTICAL
    assert check(then, [record(0)]).outcome == DIFFERS
    assert "first_nonfinite_step" in check(then, [relabel(then, first_nonfinite_step=0)]).text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"algorithm": "mine"}, "no algorithm 'mine' here; name its file with --plugin"),
        ({"algorithm_version": "0f3a"}, "made with version 0f3a of tpo, here is version 1"),
        ({"device": "cuda"}, "made on device cuda, which this machine does not have"),
        ({"precision": 16}, "described differently (precision)"),
    ],
)
def test_what_cannot_be_trained_here_is_said_and_not_trained(changes, reason):
    """Neither a pass nor a failure."""
    trainer = Trainer()
    (verdict,) = verify([record(0, changes=changes)], trainer, lambda device: device == "cpu")
    assert verdict.outcome == IMPOSSIBLE
    assert reason in verdict.text
    assert trainer.jobs == []


def test_a_training_that_breaks_proves_nothing():
    """Its reason is passed on; a training that was stopped has none."""
    verdict = check(record(0), [record(0, "oom", reason="9 GiB of memory")])
    assert (verdict.outcome, verdict.text) == (IMPOSSIBLE, "training it again ended with status oom: 9 GiB of memory")
    assert check(record(0), []).outcome == IMPOSSIBLE


def test_runs_of_one_stack_are_trained_together_in_the_block_they_were_trained_in():
    """Seeds 5 and 6 of blocks of 4 are one job of seeds 4 to 7; seed 0 is another; answers keep the order."""
    runs = [record(s, changes={"seed_batch": 4}) for s in (5, 0, 6)]
    trainer = Trainer(*runs)
    verdicts = verify(runs, trainer, lambda _: True)
    assert [v.record.spec["seed"] for v in verdicts] == [5, 0, 6]
    assert {v.outcome for v in verdicts} == {IDENTICAL}
    assert [([s.seed for s in j.specs], j.seeds) for j, _ in trainer.jobs] == [
        ([5, 6], (4, 5, 6, 7)),
        ([0], (0, 1, 2, 3)),
    ]
    assert trainer.jobs[0][1] == runs[0].reporting


@pytest.fixture
def tpobench(monkeypatch, capsys):
    """Runs the command line: (exit code, stdout, stderr)."""
    return lambda *words: command(monkeypatch, capsys, *words)


@pytest.mark.slow
def test_a_suite_trained_here_verifies_and_a_forged_number_does_not(tpobench, tmp_path):
    """With real training: 0 from the packed file, 6 from a run directory with the first forged step named."""
    words = ["run", "--suite", "bandit", "--smoke", "--algos", "tpo,grpo", "--out", tmp_path, "--jobs", "1"]
    code, _, err = tpobench(*words)
    assert code == 0, err
    assert tpobench("pack", tmp_path)[0] == 0
    code, out, err = tpobench("verify", tmp_path / "bandit-smoke.jsonl", "--runs", "2", "--json")
    assert code == 0, err
    assert [v["outcome"] for v in json.loads(out)["runs"]] == ["identical"] * 2
    assert tpobench("verify", tmp_path / "bandit-smoke.jsonl", "--runs", "2")[1].startswith(
        "2 runs drawn: 2 identical\n"
    )

    records, _ = load_packed(tmp_path / "bandit-smoke.jsonl")
    victim = records[0]
    curve = {**victim.curve, "error": [*victim.curve["error"][:-1], 0.125]}
    write(tmp_path / "forged", dataclasses.replace(victim, curve=curve))
    code, out, err = tpobench("verify", tmp_path / "forged")
    assert (code, out.splitlines()[0]) == (6, "1 run drawn: 1 differs")
    step = victim.curve["step"][-1]
    assert f"error at step {step}: 0.125 against {canonical(victim.curve['error'][-1])}" in out
    assert "this run does not reproduce" in out
    assert err.splitlines()[-1].startswith("tpobench: 1 of 1 runs differ from their records")


def test_nothing_to_verify_is_4(tpobench, tmp_path):
    """No results, only failures, or only rules that are not here."""
    assert tpobench("verify", tmp_path)[0] == 4
    write(tmp_path / "a", record(0, "failed", reason="no luck"))
    code, _, err = tpobench("verify", tmp_path / "a")
    assert (code, "no run in" in err) == (4, True)
    write(tmp_path / "b", record(0, changes={"algorithm": "mine"}))
    code, out, err = tpobench("verify", tmp_path / "b")
    assert (code, "no algorithm 'mine' here" in out, "none of the 1 runs drawn" in err) == (4, True, True)
