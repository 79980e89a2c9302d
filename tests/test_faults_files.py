"""Files of every kind cut, zeroed and altered, folders and environments that take nothing: one line, nothing lost."""

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from fault_helpers import RULES, room_for, suite_file
from harness_helpers import document
from hostile_values import VALUES, mutants
from hypothesis import given, settings
from hypothesis import strategies as st
from record_helpers import REPORTING, SUITE, command, record, relabel, write

from tpobench.check.baseline import log_path, read_baseline
from tpobench.check.waivers import read_waivers
from tpobench.errors import TpobenchError
from tpobench.planning.plan import parse_seeds
from tpobench.records.store import PLAN_FILE, Store, pack, read_plan
from tpobench.suites.load import build_suite, load_suite

PLAN = {
    "schema": 1, "seeds": "adaptive:2x2", "text": "adaptive:2x2", "suite": "tiny", "per_look": 2, "looks": 2,
    "alpha": 0.05, "rng": 0,
    "cells": [{"cell": {}, "matching": "any", "algorithms": ["tpo", "grpo"], "paths": 9999}],
}  # fmt: skip
RUNS = [
    record(s, changes={"algorithm": a}, reporting={**REPORTING, "persist": 1}) for a in ("tpo", "grpo") for s in (0, 1)
]
WAIVERS = {"waiver": [{"cell": "-", "rule": "tpo", "until": date(2999, 1, 1), "reason": "known"}]}
VERBS = (
    ["status"], ["report", "--figures", "none", "--out", "report"], ["lint"], ["pack"], ["merge", "-o", "merged.jsonl"],
    ["check", "--no-run", "--baseline", "base.jsonl"],
)  # fmt: skip


@pytest.fixture
def tpobench(monkeypatch, capsys, tmp_path):
    """The command line in this process and an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: command(monkeypatch, capsys, *words)


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "zeroed": lambda data: bytes(len(data)),
    "altered": lambda data: bytes(b ^ (i == len(data) // 2) for i, b in enumerate(data)),  # one bit
    "grown": lambda data: data + b"\xff" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["record", "packed", "plan", "meta", "claim", "baseline", "log", "report"])
def test_a_file_of_any_kind_that_is_damaged_is_one_line_or_set_aside(tpobench, tmp_path, kind, damage):
    """Every verb that meets it ends as it promises, the whole records are reported, and the file itself is kept."""
    folder = write(tmp_path / "results" / "tiny", *RUNS, suite=SUITE)
    (folder / PLAN_FILE).write_text(json.dumps(PLAN), encoding="utf-8")
    assert tpobench("baseline", "update", "base.jsonl", folder, "--reason", "first")[0] == 0
    (folder / "claims").mkdir()
    (folder / "claims" / "0123456789abcdef.lock").write_text("", encoding="utf-8")
    assert tpobench("report", folder, "--figures", "none", "--out", "report")[0] == 0
    path = {
        "record": next(folder.glob("runs/*/*.json")), "packed": Store(folder).packed, "plan": folder / PLAN_FILE,
        "meta": folder / "meta.json", "claim": folder / "claims" / "0123456789abcdef.lock",
        "baseline": tmp_path / "base.jsonl", "log": log_path(tmp_path / "base.jsonl"),
        "report": tmp_path / "report" / "report.md",
    }[kind]  # fmt: skip
    if kind == "packed":
        pack(folder)
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    whole = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p != path}
    for words in VERBS:
        code, _, err = tpobench(words[0], folder, *words[1:])
        assert code in {0, 2, 3, 4, 6}, (words, err)
        changed = words[0] == "report" and kind == "report"  # which stays: somebody may have meant it
        assert words[0] not in {"status", "report"} or code == (2 if changed else 0), err
        assert code not in {2, 4, 6} or err.count("\n") <= 2, err
    assert kind == "report" or "| grpo |" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert {p: p.read_bytes() for p in whole} == whole
    assert kind == "packed" or path.read_bytes() == damaged


def test_a_record_twice_is_one_and_two_results_of_a_run_are_a_conflict(tpobench, tmp_path):
    """Equal copies count once; unequal ones are named and nobody chooses; an edited spec is no record."""
    lines = [r.to_line() for r in RUNS]
    packed = tmp_path / "tiny.jsonl"
    packed.write_text("\n".join([*lines, *lines]) + "\n", encoding="utf-8")
    _, out, _ = tpobench("status", "tiny.jsonl")
    assert out.splitlines()[-1].split()[:2] == ["tiny.jsonl", "4"]
    edited = lines[0].replace('"learning_rate":0.1', '"learning_rate":0.2')
    packed.write_text("\n".join([edited, *lines[1:]]) + "\n", encoding="utf-8")
    _, out, _ = tpobench("status", "tiny.jsonl")
    assert f"tiny.jsonl line 1: the id of its spec is not {RUNS[0].id}" in out
    other = relabel(RUNS[0], curve={**RUNS[0].curve, "error": [0.75, 0.25]}).to_line()
    packed.write_text("\n".join([*lines, other]) + "\n", encoding="utf-8")
    for words in VERBS[:3]:
        code, out, err = tpobench(words[0], "tiny.jsonl", *words[1:])
        assert (code, out) == (6, ""), words
        assert err.startswith(f"tpobench: two different results of run {RUNS[0].id} (tiny, tpo, seed 0)")


def test_a_disk_that_fills_while_results_are_packed_united_or_reported_is_6(tpobench, tmp_path):
    """One line, no part of a file, and what was there stays."""
    folder = write(tmp_path / "results" / "tiny", *RUNS, suite=SUITE)
    for words in (
        ["pack"], ["merge", folder, "-o", "merged.jsonl"], ["report", "--figures", "none", "--out", "report"],
        ["baseline", "update", "base.jsonl", folder, "--reason", "first"],
    ):  # fmt: skip
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with room_for(100):
            code, _, err = tpobench(*words)
        assert code == 6, (words, err)
        assert err.count("\n") == 1
        assert {p: p.read_bytes() for p in before} == before
        assert list(tmp_path.rglob(".*.tmp")) == []


# ---- folders that take nothing, and environments that name none

CHILD = """
import contextlib, io, json, os, sys
from tpobench.cli import main

def answers(folder):
    os.chdir(folder)
    for words in json.loads(commands):
        sys.argv = ["tpobench", *words]
        code, err = 0, io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        yield [code, err.getvalue()]

commands, warm, folder = sys.argv[1:]
allowed = [code for code, _ in answers(warm)]  # and imports what another user may not be able to read
if os.getuid() == 0:  # who may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps([allowed, *answers(folder)]))
"""


def as_nobody(commands, warm, folder):
    """Each command in two like folders, the second as a user who owns nothing: exit codes, [exit code, stderr] each."""
    child = [sys.executable, "-c", CHILD, json.dumps(commands), str(warm), str(folder)]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def public():
    """A folder that other users reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for path in (folder, *folder.rglob("*")):
            with suppress(FileNotFoundError):
                path.chmod(0o755)


def test_a_user_who_may_not_write_gets_one_line(tmp_path, public):
    """`run`, `pack`, `report`, `merge` and `baseline update` say what they cannot write; reading works."""
    write(public / "results" / "tiny", *RUNS, suite=SUITE)
    shutil.copytree(public, tmp_path / "warm")
    for path in (public, *public.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {p: p.read_bytes() for p in public.rglob("*") if p.is_file()}
    suite = ["--suite", "bandit", "--smoke", "--algos", "tpo"]
    reading = [["status"], ["plan", *suite]]
    writing = [
        ["run", *suite, "--executor", "inline"], ["pack"], ["report", "--figures", "none", "--out", "report"],
        ["merge", "results/tiny", "-o", "merged.jsonl"],
        ["baseline", "update", "base.jsonl", "results/tiny", "--reason", "first"],
    ]  # fmt: skip
    allowed, *answers = as_nobody([*reading, *writing], tmp_path / "warm", public)
    assert allowed == [0] * len(answers)
    assert [code for code, _ in answers] == [0] * len(reading) + [6] * len(writing), answers
    for _, err in answers[len(reading) :]:
        assert err.splitlines()[-1].startswith("tpobench: cannot write "), err
    assert {p: p.read_bytes() for p in public.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "environment",
    [{"HOME": None, "XDG_CACHE_HOME": None, "TMPDIR": None}, {"HOME": "/none/here", "TMPDIR": "/none/here"}],
    ids=["unset", "missing"],
)
def test_no_home_and_no_folder_for_temporary_files_are_no_fault(tpobench, tmp_path, monkeypatch, environment):
    """Where the variables name nothing, or a folder that is not there, every verb works."""
    suite_file(tmp_path)
    for name, value in environment.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)  # which Python remembers
    for words in (
        ["plan", "--suite", "faults.toml", "--plugin", RULES],
        ["run", "--suite", "faults.toml", "--plugin", RULES, "--executor", "inline"],
        ["status"], ["pack"], ["report", "--figures", "none", "--out", "report"], ["doctor"],
    ):  # fmt: skip
        code, _, err = tpobench(*words)
        assert code == 0, (words, err)


# ---- whatever a file or an option holds


def only_own_errors(read, *arguments):
    """Nothing but the project's own errors, each one line of a length that people read."""
    said = ""
    try:
        read(*arguments)
    except TpobenchError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 2000


def toml(value):
    """A nested value as TOML: inline tables, and what TOML has no word for as a text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return value.isoformat() if isinstance(value, date) else json.dumps("null" if value is None else value)


def toml_file(document):
    """The tables of a document."""
    if not isinstance(document, dict):
        return toml(document)
    return "\n".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in document.items())


FULL = {
    **document(), "version": 1, "notes": "", "deviations": [], "grid": {"baseline": [0.25, 0.5]},
    "hyper": {"tpo": {"eta": 1.0, "epochs": 2}}, "report": {"metric": "error", "window": 2, "thresholds": [0.1]},
    "search": {"axis": "samples", "easiest": 2, "hardest": 9, "learned": 0.5},
    "cost": {"ms_per_step": {"default": 1.0}},
    "quick": {"seeds": 2, "training.steps": 2}, "smoke": {"seeds": 1},
}  # fmt: skip
MODEST = settings(max_examples=60, deadline=None, derandomize=True)
EACH = tempfile.TemporaryDirectory()


def written(name, text):
    """A file with this text, which is not always what a file can hold."""
    path = Path(EACH.name) / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


@MODEST
@given(mutants(FULL) | VALUES)
def test_no_document_breaks_the_reader_of_suites(changed):
    """As a file and as a document: a suite, or one line."""
    only_own_errors(load_suite, written("tiny.toml", toml_file(changed)))
    if isinstance(changed, dict):
        only_own_errors(build_suite, "tiny", changed, "tiny.toml")


@MODEST
@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_no_text_breaks_the_reader_of_suites_or_waivers(text):
    """Whatever the file holds."""
    only_own_errors(load_suite, written("tiny.toml", text))
    only_own_errors(read_waivers, written("waivers.toml", text))


KEYS = ["training.steps", "steps", "grid.arms", "hyper.tpo.eta", "hyper.eta", "report.thresholds", "seeds",
        "cost.ms_per_step.default", "task.kind", "algorithms", "search.hardest", "smoke", ""]  # fmt: skip


@MODEST
@given(st.sampled_from(KEYS) | st.text(max_size=9), VALUES.map(toml) | st.text(max_size=20))
def test_no_override_breaks_a_suite(key, value):
    """--set KEY=VALUE."""
    path = written("base.toml", toml_file({k: v for k, v in FULL.items() if k != "search"}))
    only_own_errors(load_suite, path, [f"{key}={value}"])


@MODEST
@given(st.text(max_size=12) | st.from_regex(r"[0-9,\- ]{0,30}", fullmatch=True) | VALUES.map(str))
def test_no_text_breaks_the_reader_of_seeds(text):
    """--seeds."""
    only_own_errors(parse_seeds, text)


@MODEST
@given(mutants(WAIVERS) | VALUES)
def test_no_document_breaks_the_reader_of_waivers(changed):
    """--waivers."""
    only_own_errors(read_waivers, written("waivers.toml", toml_file(changed)))


@MODEST
@given(mutants(PLAN) | VALUES, mutants({"schema": 1, "tpobench": "0", "suite": SUITE}) | VALUES)
def test_no_value_breaks_the_readers_of_plans_and_settings(plan, meta):
    """plan.json and meta.json."""
    folder = Path(EACH.name) / "tiny"
    folder.mkdir(exist_ok=True)
    written(f"tiny/{PLAN_FILE}", json.dumps(plan))
    written("tiny/meta.json", json.dumps(meta))
    only_own_errors(read_plan, folder)
    only_own_errors(Store(folder).open, SUITE)


LOG = {
    "schema": 1, "sha256": "0" * 64, "screen": "0", "reserve": "1",
    "log": [{"date": "2026-01-01", "who": "x", "reason": "x", "runs": 4, "sha256": "0", "versions": {"torch": "2"},
             "means": {"tiny tpo final1": 0.5}, "added": [], "removed": [], "changed": {"x": [0.5, None]}}],
}  # fmt: skip


@MODEST
@given(mutants(LOG) | VALUES)
def test_no_value_breaks_the_reader_of_a_baseline(log):
    """Its log; that of its records is a reader of records."""
    path = written("base.jsonl", "".join(f"{r.to_line()}\n" for r in RUNS))
    written("base.log.json", json.dumps(log))
    only_own_errors(read_baseline, path)
