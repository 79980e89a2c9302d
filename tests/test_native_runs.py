"""`--kernel`: the choice is settled once, is part of what a run is, and never changes in silence."""

import json

import pytest
import torch
from harness_helpers import sequence_document, suite

from tpobench.execution import execute
from tpobench.execution.inline import Inline
from tpobench.planning.plan import plan_runs
from tpobench.policies.native.machine import native_kernel
from tpobench.records.store import Store
from tpobench.suites.load import build_suite
from tpobench.training.loop import train

TOML = """
title = "tiny"
seeds = 2
algorithms = ["tpo", "ppo"]
task = {kind = "sequence", length = 3, prompts = 6, candidates = 4}
training = {steps = 3, epochs = 2, optimizer = "muon", learning_rate = 0.001}
"""


@pytest.fixture
def tiny(tmp_path):
    """A suite file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """A machine without one; what this process has compiled before is forgotten."""
    native_kernel.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    yield
    native_kernel.cache_clear()


def planned(kernel, rules=None, **changes):
    return plan_runs(build_suite("tiny", sequence_document(**changes), "f"), rules, [0, 1], kernel=kernel)


def records(folder):
    return Store(folder).known()[0]


def test_plain_has_no_part_in_an_id_and_native_has():
    """The specs differ in one key, which only native has."""
    plain, native = (planned(kernel).specs for kernel in ("plain", "native"))
    assert [spec.as_dict() for spec in planned("plain").specs] == [s.as_dict() for s in plain]
    for a, b in zip(plain, native, strict=True):
        assert a.run_id != b.run_id
        assert "kernel" not in a.as_dict()
        assert b.as_dict() == {**a.as_dict(), "kernel": "native"}


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {**sequence_document()["training"], "dtype": "float64"}},
        {"task": {**sequence_document()["task"], "vocabulary": 300}},
    ],
)
def test_what_the_kernel_cannot_train_is_planned_plain(changes):
    """Another precision, too many tokens; tasks without a transformer."""
    assert {spec.kernel for spec in planned("native", **changes).specs} == {"plain"}
    assert {spec.kernel for spec in plan_runs(suite(), kernel="native").specs} == {"plain"}


@pytest.mark.parametrize("kind", ["sequence", "tokens"])
def test_training_goes_on_as_on_the_plain_path(kind):
    """After few updates nothing but rounding tells the kernels apart."""
    reward, rule = ("bag_of_tokens", "tpo_token") if kind == "tokens" else ("terminal", "tpo")
    task = {"kind": "sequence", "length": 3, "prompts": 12, "candidates": 4, "reward": reward}
    training, both = {**sequence_document()["training"], "seed_batch": 2}, []
    for kernel in ("plain", "native"):
        (job,) = planned(kernel, [rule], task=task, training=training).jobs()
        both.append([m for m in train(job) if m.metric in {"error", "gradient_norm", "initial_success"}])
    for plain, native in zip(*both, strict=True):
        assert plain[:4] == native[:4]
        torch.testing.assert_close(torch.tensor(native.value), torch.tensor(plain.value), rtol=1e-3, atol=1e-5)


def test_the_number_of_workers_changes_no_byte(command_line, tiny, tmp_path, monkeypatch):
    """One process or two, child processes or this one; the records name the compiler and verify."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of the child processes
    payloads = []
    for name, words in (("one", ("--jobs", "1")), ("two", ("--jobs", "2")), ("here", ("--executor", "inline"))):
        code, _, err = command_line("run", "-s", tiny, "--kernel", "native", "--name", name, *words)
        assert code == 0, err
        found = records(tmp_path / "results" / name)
        assert {r.spec["kernel"] for r in found.values()} == {"native"}
        assert {r.provenance["kernel"] for r in found.values()} == {native_kernel().origin}
        payloads.append({i: r.payload for i, r in found.items()})
    assert len(payloads[0]) == 4
    assert payloads[0] == payloads[1] == payloads[2]
    code, out, err = command_line("verify", tmp_path / "results" / "one", "--runs", "1", "--json")
    assert (code, json.loads(out)["runs"][0]["outcome"]) == (0, "identical"), err


@pytest.mark.usefixtures("no_compiler")
def test_auto_without_a_compiler_is_plain_and_says_why(command_line, tiny, tmp_path):
    """One line, and the runs are those of --kernel plain."""
    code, _, err = command_line("run", "-s", tiny, "--kernel", "auto", "--executor", "inline", "--algos", "ppo")
    assert code == 0
    assert err.splitlines()[0] == (
        "tpobench: --kernel auto takes the plain path: no C compiler; install one of cc, gcc, clang"
    )
    assert all("kernel" not in r.spec for r in records(tmp_path / "results" / "tiny").values())


@pytest.mark.usefixtures("no_compiler")
def test_native_that_cannot_be_had_is_refused(command_line, tiny):
    """By this machine, or by the task: one line, before anything runs."""
    code, _, err = command_line("run", "-s", tiny, "--kernel", "native")
    without = "no C compiler; install one of cc, gcc, clang"
    assert (code, err) == (2, f"tpobench: --kernel native: {without}; --kernel auto goes on without it\n")
    code, _, err = command_line("plan", "-s", f"bandit,{tiny}", "--kernel", "native")
    assert code == 2
    assert "suite 'bandit': --kernel native: there is no native kernel for task 'bandit'" in err
    code, _, err = command_line("plan", "-s", tiny, "--kernel", "fast")
    assert (code, err) == (2, "tpobench: unknown kernel 'fast'; valid: auto, native, plain, static\n")


@pytest.mark.usefixtures("no_compiler")
def test_auto_asks_for_no_compiler_where_it_would_not_be_used(command_line):
    """A suite of bandits says nothing about kernels."""
    code, _, err = command_line("plan", "-s", "bandit", "--kernel", "auto")
    assert (code, err) == (0, "")


@pytest.mark.usefixtures("no_compiler")
def test_a_worker_without_a_kernel_fails_with_the_reason(tmp_path):
    """Not the plain path in silence: the run was planned native."""
    plan = planned("native", ["tpo"])
    execute(plan, tmp_path / "r", executor=Inline())
    found = records(tmp_path / "r").values()
    assert {(r.status, r.reason) for r in found} == {
        ("failed", "NoKernel: no C compiler; install one of cc, gcc, clang")
    }


@pytest.mark.parametrize("first", ["plain", "native"])
def test_one_folder_holds_one_kernel(command_line, tiny, first):
    """Seeds of two kernels are not repetitions of one experiment."""
    second = {"plain": "native", "native": "plain"}[first]
    words = ("run", "-s", tiny, "--executor", "inline", "--algos", "ppo", "--seeds")
    assert command_line(*words, "1", "--kernel", first)[0] == 0
    code, _, err = command_line(*words, "2", "--kernel", second)
    assert code == 2
    assert f'holds runs of ppo with kernel = "{first}", these would have "{second}"; keep them apart' in err
