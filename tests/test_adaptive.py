"""Adaptive seeds: the plan comes first, looks decide, and an interruption changes nothing."""

import json
import os
import signal
import zlib

import numpy as np
import pytest
from harness_helpers import Row, document, noted_runs, suite, write_suite

from tpobench.errors import CorruptResults, UsageError
from tpobench.execution import Inline, execute
from tpobench.planning.looks import make_plan, seeds_of
from tpobench.planning.plan import plan_runs
from tpobench.records.store import Store, read_plan

LEVEL = {"tpo": 0.1, "dg": 0.1, "reinforce": 0.6}


def noisy_train(job, _begin=None):
    """error = level of the rule (and of the number of arms) + noise of rule and seed; reinforce is far worse."""
    spec = job.specs[0]
    name = zlib.crc32(f"{spec.algorithm}".encode())
    easy = spec.task["arms"] > 5 and spec.algorithm == "dg"
    for step in range(spec.training["steps"] + 1):
        value = tuple(
            LEVEL[spec.algorithm] + 0.3 * easy + 0.05 * np.random.default_rng([seed, name]).random()
            for seed in job.seeds
        )
        yield Row(step, 4 * step, step, "error", value)


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """The seeds trained, by rule and cell."""
    return noted_runs(monkeypatch, noisy_train)


def plan(text="adaptive:8x3", rules=("tpo", "dg", "reinforce"), **changes):
    return make_plan(text, plan_runs(suite(algorithms=list(rules), **changes), None, seeds_of(text)))


def look(adaptive, folder):
    """Run the next look and read what is decided."""
    store = Store(folder)
    (todo,) = adaptive.replay(store.known()[0]).next(()).plans
    execute(todo, store, executor=Inline())
    return adaptive.replay(store.known()[0])


@pytest.fixture
def tpobench(command_line, tmp_path):
    """The command line on a suite of three rules and two cells, trained in this process."""
    write_suite(tmp_path / "tiny.toml", document(algorithms=["tpo", "dg", "reinforce"], grid={"arms": [5, 6]}))

    def call(verb, *words):
        fixed = ["--suite", "tiny.toml"] + (["--executor", "inline"] if verb == "run" else [])
        return command_line(verb, *fixed, *words)

    return call


def test_a_rule_that_is_clearly_worse_drops_out_after_the_first_look(tmp_path, trained):
    """Reinforce takes 8 seeds; tpo and dg, which nobody can tell apart, take all 24."""
    adaptive = plan()
    (first,) = look(adaptive, tmp_path).cells
    assert (first.look, first.active) == (1, ("tpo", "dg"))
    assert first.result.decisions["tpo", "reinforce"].status == "better"
    assert first.result.decisions["tpo", "dg"].status == "open"
    look(adaptive, tmp_path)
    end = look(adaptive, tmp_path)
    (last,) = end.cells
    assert (last.look, last.done, last.active) == (3, True, ())
    assert last.result.decisions["tpo", "dg"].status == "not distinguishable"
    assert {rule: sum(r == rule for r, _, _ in trained) for rule in LEVEL} == {"tpo": 24, "dg": 24, "reinforce": 8}
    assert (end.next(()), end.waiting, end.used) == (None, (), 24 + 24 + 8)
    rows = {(r["a"], r["b"]): (r["status"], r["look"], r["seeds"]) for r in end.rows()}
    assert rows == {
        ("tpo", "dg"): ("not distinguishable", 3, 24),
        ("tpo", "reinforce"): ("better", 1, 8),
        ("dg", "reinforce"): ("better", 1, 8),
    }


def test_a_look_that_is_not_complete_decides_nothing(tmp_path):
    """One missing seed of an open rule holds the look back; its record brings the decision."""
    adaptive = plan()
    look(adaptive, tmp_path)
    store = Store(tmp_path)
    lost = adaptive.cells[0].specs["dg"][7].run_id
    kept = store.path_of(lost).read_bytes()
    store.path_of(lost).unlink()
    (held,) = adaptive.replay(store.known()[0]).cells
    assert (held.look, held.result, held.active) == (0, None, ("tpo", "dg", "reinforce"))
    store.path_of(lost).write_bytes(kept)
    assert adaptive.replay(store.known()[0]).look == 1


def test_seeds_beyond_a_drop_out_change_no_decision(tmp_path):
    """Sixteen more seeds of the rule that dropped out are not looked at."""
    adaptive = plan()
    first = look(adaptive, tmp_path)
    execute(plan_runs(adaptive.plan.suite, ["reinforce"], range(24)), tmp_path, executor=Inline())
    assert adaptive.replay(Store(tmp_path).known()[0]) == first


def test_alpha_is_shared_by_all_cells_and_a_rule_may_leave_one_of_them():
    """Two cells halve the level; a cell's family is its own pairs."""
    both = plan(grid={"arms": [5, 6]})
    assert [(c.plan.level, c.plan.family, c.plan.cells) for c in both.cells] == [(0.025, 3, 2)] * 2
    assert both.text.startswith("adaptive:8x3|alpha:0.05|family:3|cells:2|")


def test_the_plan_is_there_before_any_record(tpobench, tmp_path, monkeypatch):
    """At the first training plan.json is complete, no record is there, and later looks leave its bytes alone."""
    seen = []
    folder = tmp_path / "results" / "tiny"

    def train(job, _begin=None):
        if not seen:
            seen.append((folder / "plan.json").read_bytes())
            assert not list((folder / "runs").glob("*/*.json"))
        return noisy_train(job)

    monkeypatch.setattr("tpobench.training.loop.train", train)
    code, _, err = tpobench("run", "--seeds", "adaptive:8x3")
    assert code == 0
    assert seen == [(folder / "plan.json").read_bytes()]
    assert "recorded in results/tiny/plan.json" in err.splitlines()[0]
    recorded = read_plan(folder)
    assert (recorded["seeds"], recorded["looks"], recorded["per_look"]) == ("adaptive:8x3", 3, 8)
    assert [c["cell"] for c in recorded["cells"]] == [{"arms": 5}, {"arms": 6}]
    assert read_plan(tmp_path / "results" / "tiny.jsonl") == recorded
    assert read_plan(tmp_path) is None


def test_json_carries_the_decisions_and_the_next_call_repeats_them(tpobench, trained):
    """In the second cell dg is worse too, so all is decided at the first look there; nothing runs twice."""
    code, out, _ = tpobench("run", "--seeds", "adaptive:8x3", "--json")
    (answer,) = json.loads(out)["suites"]
    adaptive = answer["adaptive"]
    assert (code, answer["ran"], answer["failed"], answer["left"]) == (0, {"ok": len(trained)}, [], 0)
    found = {(r["cell"]["arms"], r["a"], r["b"]): (r["status"], r["look"]) for r in adaptive["decisions"]}
    assert found == {
        (5, "tpo", "dg"): ("not distinguishable", 3),
        (5, "tpo", "reinforce"): ("better", 1),
        (5, "dg", "reinforce"): ("better", 1),
        (6, "tpo", "dg"): ("better", 1),
        (6, "tpo", "reinforce"): ("better", 1),
        (6, "dg", "reinforce"): ("better", 1),
    }
    assert (adaptive["runs"], adaptive["most_runs"], adaptive["done"]) == (24 + 24 + 8 + 3 * 8, 2 * 3 * 24, True)
    runs = len(trained)
    code, out, _ = tpobench("run", "--seeds", "adaptive:8x3", "--json")
    (again,) = json.loads(out)["suites"]
    assert (code, len(trained), again["ran"], again["already"]) == (0, runs, {}, runs)
    assert again["adaptive"] == adaptive


def test_an_interrupted_run_takes_the_same_looks_and_decisions(tpobench, monkeypatch, trained):
    """A signal in the middle of the second look: exit 130, and the same command ends where it would have."""
    _, out, _ = tpobench("run", "--seeds", "adaptive:8x3", "--json", "--name", "whole")
    whole = json.loads(out)["suites"][0]["adaptive"]
    trained.clear()

    def train(job, _begin=None):
        trained.extend((job.specs[0].algorithm, s.seed) for s in job.specs)
        if len(trained) == 55:  # 48 runs are the first look
            os.kill(os.getpid(), signal.SIGINT)
        return noisy_train(job)

    monkeypatch.setattr("tpobench.training.loop.train", train)
    code, out, err = tpobench("run", "--seeds", "adaptive:8x3", "--json", "--name", "cut")
    stopped = json.loads(out)["suites"][0]
    assert (code, len(trained)) == (130, 55)
    assert (stopped["adaptive"]["looks"], stopped["adaptive"]["done"], stopped["left"]) == (1, False, 9)
    assert "1 of 2 cells are still open" in err
    code, out, _ = tpobench("run", "--seeds", "adaptive:8x3", "--json", "--name", "cut")
    resumed = json.loads(out)["suites"][0]["adaptive"]
    assert code == 0
    assert {**resumed, "file": ""} == {**whole, "file": ""}


def test_a_failed_run_keeps_its_cell_waiting_and_the_others_go_on(tpobench, monkeypatch):
    """Exit 3; the cell without the failure is decided, the other is where its complete looks left it."""

    def train(job, _begin=None):
        if job.specs[0].task["arms"] == 6 and job.specs[0].algorithm == "dg" and 3 in job.seeds:
            msg = "seed 3 is unlucky"
            raise ValueError(msg)
        return noisy_train(job)

    monkeypatch.setattr("tpobench.training.loop.train", train)
    code, out, err = tpobench("run", "--seeds", "adaptive:8x3", "--json")
    (answer,) = json.loads(out)["suites"]
    looks = {(r["cell"]["arms"], r["a"], r["b"]): r["look"] for r in answer["adaptive"]["decisions"]}
    assert (code, answer["adaptive"]["done"], len(answer["failed"])) == (3, False, 1)
    assert (looks[5, "tpo", "dg"], looks[6, "tpo", "dg"]) == (3, 0)
    assert answer["failed"][0]["attempts"] == 1
    assert err.splitlines()[-1].startswith("tpobench: 1 runs failed, the first: dg seed 3 failed")
    monkeypatch.setattr("tpobench.training.loop.train", noisy_train)
    code, out, _ = tpobench("run", "--seeds", "adaptive:8x3", "--json")
    assert (code, json.loads(out)["suites"][0]["adaptive"]["done"]) == (0, True)


def test_damaged_and_given_up_runs_are_said_once(tpobench, monkeypatch, tmp_path):
    """A record that is damaged is run again; a run that is given up keeps its cell open until --retry-failed."""
    tpobench("run", "--seeds", "adaptive:8x3")
    path = next(p for p in (tmp_path / "results" / "tiny" / "runs").glob("*/*.json") if '"dg"' in p.read_text())
    path.write_text("{", encoding="utf-8")

    def train(job, _begin=None):
        msg = f"{job.key} is unlucky"
        raise ValueError(msg)

    monkeypatch.setattr("tpobench.training.loop.train", train)
    for damaged in (1, 0):
        code, out, err = tpobench("run", "--seeds", "adaptive:8x3", "--json", "--max-attempts", "1")
        (answer,) = json.loads(out)["suites"]
        assert (code, answer["quarantined"], answer["given_up"]) == (3, damaged, 1)
        assert err.count("1 damaged records were moved to results/tiny/quarantine and run again") == damaged
        assert err.count("1 runs broke 1 times and are not tried again; --retry-failed does") == 1
        assert (
            "1 of 2 cells are still open, 1 of them because of runs that were given up; "
            "the same command with --retry-failed goes on from there"
        ) in err
        assert err.splitlines()[-1].endswith("run the same command with --retry-failed to retry them")
    monkeypatch.setattr("tpobench.training.loop.train", noisy_train)
    code, _, err = tpobench("run", "--seeds", "adaptive:8x3", "--retry-failed")
    assert (code, "not tried again" in err) == (0, False)


@pytest.mark.usefixtures("tpobench")
@pytest.mark.parametrize("before", ["2", "adaptive:8x2"])
def test_a_folder_that_cannot_follow_the_plan_costs_nothing_of_the_suites_before_it(
    command_line, tmp_path, trained, before
):
    """Another plan, or results from before any plan, in the second folder: the first one is not begun."""
    (tmp_path / "other.toml").write_bytes((tmp_path / "tiny.toml").read_bytes())
    words = ("run", "--executor", "inline", "--suite")
    assert command_line(*words, "other.toml", "--seeds", before)[0] == 0
    trained.clear()
    code, _, err = command_line(*words, "tiny.toml,other.toml", "--seeds", "adaptive:8x3")
    assert (code, err.count("\n"), trained) == (2, 1, [])
    assert ("records another plan" if "x" in before else "results from before any plan") in err
    assert not (tmp_path / "results" / "tiny").exists()


def test_plan_shows_the_least_and_the_most(tpobench):
    """Before the first look 48 to 144 runs; after the last one nothing is left."""
    code, out, _ = tpobench("plan", "--seeds", "adaptive:8x3")
    assert code == 0
    assert out.splitlines()[-1].startswith("least: 48 runs, CPU time unknown; most: 144 runs")
    assert "|cells:2|paths:" in out.splitlines()[-2]
    assert out.splitlines()[-2].endswith("(not yet recorded)")
    tpobench("run", "--seeds", "adaptive:8x3")
    _, out, _ = tpobench("plan", "--seeds", "adaptive:8x3", "--json")
    costs = json.loads(out)["suites"][0]["adaptive"]
    assert (costs["least_runs"], costs["most_runs"], costs["looks_taken"], costs["recorded"]) == (0, 0, 3, True)


def test_a_folder_keeps_its_plan(tpobench, tmp_path):
    """Another plan, other rules or plain seeds are refused; so is a plan for a folder that was looked at before."""
    tpobench("run", "--seeds", "adaptive:8x3")
    kept = (tmp_path / "results" / "tiny" / "plan.json").read_bytes()
    for words, said in (
        (["--seeds", "adaptive:8x2"], "records another plan (adaptive:8x3|"),
        (["--seeds", "adaptive:8x3", "--algos", "tpo,dg"], "records another plan (adaptive:8x3|"),
        (["--seeds", "30"], "results/tiny follows the plan adaptive:8x3; go on with --seeds adaptive:8x3"),
        ([], "results/tiny follows the plan adaptive:8x3"),
    ):
        code, _, err = tpobench("run", *words)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err
    assert (tmp_path / "results" / "tiny" / "plan.json").read_bytes() == kept
    tpobench("run", "--seeds", "2", "--name", "looked")
    code, _, err = tpobench("run", "--seeds", "adaptive:8x3", "--name", "looked")
    assert (code, err.count("\n")) == (2, 1)
    assert "results/looked holds 12 results from before any plan" in err
    assert not (tmp_path / "results" / "looked" / "plan.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "adaptive"], "--seeds adaptive: write adaptive:5x4 for 5 seeds at each of 4 looks"),
        (["--seeds", "adaptive:0x4"], "--seeds adaptive:0x4: write adaptive:5x4"),
        (["--seeds", "adaptive:500x4"], "1000 seeds at most"),
        (["--seeds", "adaptive:2x2"], "no look can ever decide; take more seeds per look"),
        (["--seeds", "adaptive:8x3", "--algos", "tpo"], "no cell of tiny has two algorithms to compare"),
        (["--seeds", "adaptive:8x3", "--shard", "1/2"], "adaptive seeds cannot be sharded"),
        (["--seeds", "adaptive:8x3", "--max-cost", "1h"], "--max-cost 1 h 00 min: the cost of 144 jobs is unknown"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tpobench, tmp_path, words, said):
    """What, where, what would work, before anything is run."""
    code, out, err = tpobench("run", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "results").exists()


def test_a_damaged_plan_is_said(tmp_path):
    """Nobody may guess which seeds were planned."""
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorruptResults, match="damaged, so nobody can tell"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text('{"schema": 9, "text": "x"}', encoding="utf-8")
    with pytest.raises(CorruptResults, match="plan schema 9"):
        read_plan(tmp_path)


def test_a_stack_that_looks_would_cut_is_said(tpobench):
    """Seeds trained four at a time: looks of six train some of them twice."""
    _, out, _ = tpobench("plan", "--seeds", "adaptive:6x3", "--set", "training.seed_batch=4")
    assert "seeds are trained 4 at a time: looks of 6 cut such stacks" in out
    _, out, _ = tpobench("plan", "--seeds", "adaptive:8x3", "--set", "training.seed_batch=4")
    assert "cut such stacks" not in out


def test_only_cells_with_two_rules_are_planned():
    """One rule alone has nobody to be compared with."""
    with pytest.raises(UsageError, match="no cell of tiny has two algorithms"):
        plan(rules=("tpo",))
