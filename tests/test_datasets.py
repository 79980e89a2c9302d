"""Runs know their data before the first of them starts, equal specs train on equal bytes, no report hides a copy."""

import dataclasses
import hashlib
import json

import pytest
from data_helpers import publish, put, put_mnist, small_mnist
from record_helpers import record, write

from tpobench.data import files as data
from tpobench.data import images
from tpobench.errors import DataUnavailable, UsageError
from tpobench.execution import Inline, Local, execute
from tpobench.execution.job import Message, train_job
from tpobench.planning.choice import parse_choice
from tpobench.planning.datasets import has_needs, paths_of, with_data
from tpobench.planning.plan import plan_runs
from tpobench.records.results import load_results
from tpobench.records.store import Store
from tpobench.report import make_report
from tpobench.report.document import document_of
from tpobench.scores.unverified import unverified
from tpobench.suites.load import build_suite
from tpobench.tables.exports import json_text
from tpobench.tables.latex import latex
from tpobench.tables.markdown import markdown
from tpobench.tables.page import html_page

LABELS = "mnist/t10k-labels-idx1-ubyte"
DOCUMENT = {
    "title": "tiny", "seeds": 2, "algorithms": ["tpo"], "task": {"kind": "mnist", "contexts": 5, "hidden": 3},
    "training": {"steps": 2, "epochs": 1, "optimizer": "adam", "learning_rate": 0.01},
}  # fmt: skip
SUITE = """
title = "tiny"
seeds = 2
algorithms = ["tpo"]
[task]
kind = "mnist"
contexts = 5
hidden = 3
[training]
steps = 2
epochs = 1
optimizer = "adam"
learning_rate = 0.01
"""


@pytest.fixture(autouse=True)
def _no_data(monkeypatch, tmp_path):
    """No images of another test, no data of this machine."""
    monkeypatch.setattr(images, "_loaded", {})
    monkeypatch.setattr(data, "_paths", {})
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: tmp_path / "cache" / name)


def plan(seeds=2, **task):
    return plan_runs(
        build_suite("tiny", {**DOCUMENT, "task": {**DOCUMENT["task"], **task}}, "tiny.toml"), None, range(seeds)
    )


def tables():
    """A plan that reads nothing."""
    task = {"kind": "bandit", "arms": 5, "samples": 4}
    return plan_runs(build_suite("plain", {**DOCUMENT, "task": task}, "plain.toml"))


def mark_of(files):
    """The fingerprint of a copy."""
    return data.fingerprint({name: hashlib.sha256(contents).hexdigest() for name, contents in files.items()})


# ---- plans


def test_a_published_copy_changes_no_run(monkeypatch, tmp_path):
    """The plan learns the paths, the runs keep their ids; plans without data are left alone."""
    publish(monkeypatch, small_mnist())
    put_mnist(tmp_path / "d")
    plain, before = tables(), plan()
    first, second = with_data([plain, before], tmp_path / "d")
    assert first is plain
    assert second.specs == before.specs
    assert second.data[LABELS] == str(tmp_path / "d" / f"{LABELS}.gz")
    assert (has_needs(plain), has_needs(before)) == (False, True)


def test_missing_data_says_everything_that_helps(tmp_path):
    """Files, sizes, hashes, who reads them, where was searched, and what would work."""
    with pytest.raises(DataUnavailable) as refused:
        with_data([plan()], tmp_path / "d")
    text = str(refused.value)
    assert text.splitlines()[0] == "mnist, which tiny reads, is not here: 4 of 4 files are missing"
    for part in (
        f"mnist/t10k-labels-idx1-ubyte: 10008 bytes, sha256 {data.CATALOG[LABELS].sha256}",
        f"searched: {tmp_path / 'd'}, {tmp_path / 'cache' / 'tpobench'}",
        f"`tpobench data fetch mnist --data-dir {tmp_path / 'd'}`",
        "TPOBENCH_DATA_DIR",
        "--data digits",
        "sparse, bandit and tiny_math need no data",
    ):
        assert part in text
    with pytest.raises(DataUnavailable) as given:
        with_data([plan()], fixed=True)
    assert "digits" not in str(given.value)


def test_another_copy_is_refused_with_both_hashes(tmp_path):
    """And the ways out: the published files, or the flag."""
    files = small_mnist()
    put_mnist(tmp_path / "d", files)
    with pytest.raises(DataUnavailable) as refused:
        with_data([plan()], tmp_path / "d")
    text = str(refused.value)
    assert text.splitlines()[0] == "mnist here is not the published data: 4 of 4 files differ"
    assert hashlib.sha256(files[LABELS]).hexdigest() in text
    assert data.CATALOG[LABELS].sha256 in text
    assert f"`tpobench data fetch mnist --data-dir {tmp_path / 'd'} --force`" in text
    assert "--allow-unverified-data" in text


def test_an_unverified_copy_has_runs_of_its_own(tmp_path):
    """Specs and the suite of meta.json carry the copy's fingerprint; resolving again changes nothing."""
    files = small_mnist()
    put_mnist(tmp_path / "d", files)
    before = plan()
    (after,) = with_data([before], tmp_path / "d", allow_unverified=True)
    assert {spec.task["data_sha256"] for spec in after.specs} == {mark_of(files)}
    assert after.suite.task["data_sha256"] == mark_of(files)
    assert not {s.run_id for s in before.specs} & {s.run_id for s in after.specs}
    assert [dataclasses.replace(s, task={**s.task, "data_sha256": ""}) for s in after.specs] == list(before.specs)
    assert with_data([after], tmp_path / "d") == [after]


def test_a_named_copy_is_the_only_one_that_will_do(tmp_path):
    """Also under the flag: the run says which bytes it is made with."""
    files = small_mnist()
    put_mnist(tmp_path / "d", files)
    with pytest.raises(DataUnavailable, match=f"fingerprint {'f' * 64}, the one in .* has {mark_of(files)}"):
        with_data([plan(data_sha256="f" * 64)], tmp_path / "d", allow_unverified=True)


def test_a_copy_that_cannot_be_read_is_never_allowed(tmp_path):
    """There is nothing to train on, so the flag is not offered."""
    put_mnist(tmp_path / "d")
    (tmp_path / "d" / f"{LABELS}.gz").write_bytes(b"cut")
    with pytest.raises(DataUnavailable, match="cannot be read") as refused:
        with_data([plan()], tmp_path / "d", allow_unverified=True)
    assert "--allow-unverified-data" not in str(refused.value)


def test_the_fingerprint_of_the_published_data_is_no_other_data(monkeypatch, tmp_path):
    """Naming it is the same as naming none, so the runs have the usual ids."""
    files = small_mnist()
    publish(monkeypatch, files)
    put_mnist(tmp_path / "d", files)
    (named,) = with_data([plan(data_sha256=mark_of(files))], tmp_path / "d")
    assert named.specs == plan().specs


def test_data_on_an_axis_is_found_for_each_cell(tmp_path):
    """mnist and digits side by side; only the specs of mnist name its copy."""
    put_mnist(tmp_path / "d")
    suite = build_suite("tiny", {**DOCUMENT, "grid": {"data": ["mnist", "digits"]}}, "tiny.toml")
    (found,) = with_data([plan_runs(suite)], tmp_path / "d", allow_unverified=True)
    marks = {spec.task["data"]: spec.task["data_sha256"] for spec in found.specs}
    assert marks == {"mnist": mark_of(small_mnist()), "digits": ""}
    assert found.suite.task["data_sha256"] == ""


def test_every_level_of_a_search_names_the_copy(tmp_path):
    """Not the two ends alone: what is planned later reads the same bytes, and its specs say so."""
    put_mnist(tmp_path / "d")
    task = {"kind": "mnist", "contexts": 5}
    search = {"axis": "hidden", "easiest": 2, "hardest": 9, "learned": 0.5}
    choice = parse_choice("2")
    ends = choice.plan(build_suite("tiny", {**DOCUMENT, "task": task, "search": search}, "tiny.toml"))
    (found,) = with_data([ends], tmp_path / "d", allow_unverified=True)
    (todo,) = choice.design(found).replay({}).next(()).plans
    specs = [*todo.specs, *todo.at([5]).specs]
    assert {spec.task["hidden"] for spec in specs} == {2, 5, 9}
    assert {spec.task["data_sha256"] for spec in specs} == {mark_of(small_mnist())}
    assert todo.data == found.data != {}


# ---- runs


def test_runs_train_on_what_was_found_and_record_it(tmp_path):
    """In this process; `data` of the provenance has every file with its hash."""
    files = small_mnist()
    put_mnist(tmp_path / "d", files)
    (found,) = with_data([plan()], tmp_path / "d", allow_unverified=True)
    execute(found, tmp_path / "r", executor=Inline())
    records = load_results(tmp_path / "r").records
    assert [r.status for r in records] == ["ok", "ok"]
    assert records[0].provenance["data"][LABELS] == {
        "sha256": hashlib.sha256(files[LABELS]).hexdigest(),
        "verified": False,
    }
    assert len(records[0].provenance["data"]) == 4
    assert Store(tmp_path / "r").meta()["suite"]["task"]["data_sha256"] == mark_of(files)


def test_execute_looks_for_the_data_itself(monkeypatch, tmp_path):
    """A library call needs no more than the environment; nothing is written without data, and none read when done."""
    with pytest.raises(DataUnavailable):
        execute(plan(), tmp_path / "r", executor=Inline())
    assert not (tmp_path / "r").exists()
    files = small_mnist()
    publish(monkeypatch, files)
    put_mnist(tmp_path / "d", files)
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path / "d"))
    assert execute(plan(), tmp_path / "r", executor=Inline()).counts == {"ok": 2}
    assert load_results(tmp_path / "r").records[0].provenance["data"][LABELS]["verified"] is True
    monkeypatch.delenv("TPOBENCH_DATA_DIR")
    assert execute(plan(), tmp_path / "r", executor=Inline()).already == 2
    with pytest.raises(DataUnavailable):
        execute(plan(3), tmp_path / "r", executor=Inline())


@pytest.mark.slow
def test_child_processes_read_the_paths_and_check_them_again(tmp_path):
    """Equal to inline byte for byte; a file that changes after it was found fails the runs, with the reason."""
    put_mnist(tmp_path / "d")
    (found,) = with_data([plan()], tmp_path / "d", allow_unverified=True)
    with Local(1) as local:
        execute(found, tmp_path / "local", executor=local)
        execute(found, tmp_path / "inline", executor=Inline())
    payloads = [[r.payload for r in load_results(tmp_path / name).records] for name in ("local", "inline")]
    assert payloads[0] == payloads[1]
    put(tmp_path / "d" / f"{LABELS}.gz", small_mnist()[LABELS][:-1] + b"\x00")
    with Local(1) as local:
        assert execute(found, tmp_path / "changed", executor=local).counts == {"failed": 2}
    reasons = {r.reason for r in load_results(tmp_path / "changed").records}
    assert len(reasons) == 1
    assert "DataUnavailable: the copy of mnist here has fingerprint" in reasons.pop()


def test_on_another_machine_a_run_searches_itself(monkeypatch, tmp_path):
    """Where the path does not exist; without a copy the run fails with one reason that fits into a line."""
    files = small_mnist()
    publish(monkeypatch, files)
    (job, *_) = plan(1).jobs()
    message = Message(job, {}, (), dict.fromkeys(files, "/no/such/file"))
    assert Message.from_json(message.to_json()) == message
    (lost,) = train_job(message)
    assert (lost.status, "data" in lost.provenance) == ("failed", False)
    assert lost.reason.startswith("DataUnavailable: mnist/train-images-idx3-ubyte (")
    assert "data fetch mnist" in lost.reason
    put_mnist(tmp_path / "d", files)
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path / "d"))
    (done,) = train_job(message)
    assert done.status == "ok"


def test_records_find_their_own_copy(tmp_path):
    """A record names what it read: nothing else can verify it."""
    files = small_mnist()
    put_mnist(tmp_path / "d", files)
    own = {"kind": "mnist", "data": "mnist", "data_sha256": mark_of(files)}
    assert paths_of([own, {"kind": "bandit"}], tmp_path / "d")[LABELS] == str(tmp_path / "d" / f"{LABELS}.gz")
    assert paths_of([{"kind": "bandit"}]) == {}
    with pytest.raises(DataUnavailable, match="not the published data"):
        paths_of([{**own, "data_sha256": ""}], tmp_path / "d")


def test_an_unknown_data_set_is_refused():
    """In records of another version, say."""
    with pytest.raises(UsageError, match="unknown data 'cifar'"):
        paths_of([{"kind": "mnist", "data": "cifar"}])


# ---- reports


def other(seed, status="ok"):
    """A result made with a copy of MNIST."""
    files = {LABELS: {"sha256": "e" * 64, "verified": False}}
    task = {"kind": "mnist", "data": "mnist", "data_sha256": "f" * 64}
    return record(seed, status, changes={"task": task}, provenance={"data": files})


def test_every_format_of_a_report_says_what_the_data_was(tmp_path):
    """Below each table of the suite, and once with the files and both hashes; JSON has them in full."""
    told = "2 runs of tiny read a copy of mnist that is not the published data"
    report = make_report(load_results(write(tmp_path / "r", other(0), other(1), other(2, "failed"))))
    for text in (markdown(document_of(report)), html_page(document_of(report)), latex(document_of(report))):
        assert told in text
        assert "ff7bcfd416de" in text
        assert "eeeeeeeeeeee" in text
        assert text.count("not the published mnist") == sum(len(s.tables) for s in report.sections)
    (found,) = json.loads(json_text(document_of(report)))["unverified_data"]
    assert (found["data"], found["files"], found["runs"]) == ("mnist", {LABELS: "e" * 64}, 2)


def test_a_report_on_published_data_says_nothing(tmp_path):
    """No note, no footer."""
    report = make_report(load_results(write(tmp_path / "r", record(0), record(1))))
    assert report.unverified == ()
    for text in (markdown(document_of(report)), html_page(document_of(report)), latex(document_of(report))):
        assert "Unverified" not in text
    assert json.loads(json_text(document_of(report)))["unverified_data"] == []


def test_a_record_without_files_is_told_by_its_fingerprint():
    """Whatever lost them."""
    bare = dataclasses.replace(other(0), provenance={})
    assert str(unverified([bare])[0]) == (
        "Unverified data: 1 run of tiny read a copy of mnist that is not the published data "
        "(its fingerprint is ffffffffffff…)"
    )


# ---- the command line


@pytest.fixture
def suite(tmp_path):
    """The path of a suite file."""
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def run(*words):
    return ("run", "--executor", "inline", "--algos", "tpo", *words)


def test_run_stops_before_the_first_run_and_plan_goes_on(command_line, suite, tmp_path):
    """5 without data, with another copy, and from two suites of which one has all it needs; nothing is written."""
    code, out, err = command_line(*run("--suite", suite))
    assert (code, out) == (5, "")
    assert "is not here: 4 of 4 files are missing" in err.splitlines()[0]
    put_mnist(tmp_path / "d")
    code, _, err = command_line(*run("--suite", f"bandit,{suite}", "--data-dir", tmp_path / "d"))
    assert (code, "is not the published data" in err) == (5, True)
    assert not (tmp_path / "results").exists()
    code, out, err = command_line("plan", "--suite", suite)
    assert (code, "tpo" in out) == (0, True)
    assert err.startswith("tpobench: `run` would stop: mnist, which tiny reads")


def test_the_flag_runs_on_the_copy_and_verify_wants_the_same(command_line, suite, tmp_path):
    """A second command finds the runs done; a later one on other bytes is refused by its folder."""
    folder = put_mnist(tmp_path / "d")
    words = run("--suite", suite, "--data-dir", folder, "--allow-unverified-data", "--json")
    code, out, _ = command_line(*words)
    assert (code, json.loads(out)["suites"][0]["ran"]) == (0, {"ok": 2})
    code, out, _ = command_line(*words)
    assert (code, json.loads(out)["suites"][0]["already"]) == (0, 2)
    code, out, err = command_line("plan", "--suite", suite, "--algos", "tpo", "--data-dir", folder, "--json")
    assert (code, json.loads(out)["suites"][0]["rows"][0]["done"]) == (0, 2)
    assert err.startswith("tpobench: `run` would stop: mnist")
    code, _, err = command_line("verify", "results/tiny")
    assert (code, "mnist is not here" in err) == (5, True)
    put(folder / f"{LABELS}.gz", small_mnist()[LABELS][:-1] + b"\x00")
    code, _, err = command_line(*words)
    assert (code, "task.data_sha256" in err) == (2, True)
    code, _, err = command_line("verify", "results/tiny", "--data-dir", folder)
    assert (code, "the runs read an unverified copy of mnist" in err) == (5, True)


@pytest.mark.slow
def test_verify_reads_the_copy_of_the_record(command_line, suite, tmp_path):
    """In a child process, without any flag."""
    folder = put_mnist(tmp_path / "d")
    assert command_line(*run("--suite", suite, "--data-dir", folder, "--allow-unverified-data"))[0] == 0
    code, out, _ = command_line("verify", "results/tiny", "--data-dir", folder, "--runs", "1")
    assert (code, out.startswith("1 run drawn: 1 identical\nidentical: tiny tpo")) == (0, True)


def test_check_trains_on_the_data_of_the_baseline(command_line, suite, tmp_path):
    """Missing data is 5 before any run; with it the runs are the baseline's own, and the page names the copy."""
    folder = put_mnist(tmp_path / "d")
    made = command_line(*run("--suite", suite, "--seeds", "12", "--data-dir", folder, "--allow-unverified-data"))
    assert (made[0], command_line("pack", "results/tiny")[0]) == (0, 0)
    words = ("check", "fresh", "--baseline", "results/tiny.jsonl", "--executor", "inline", "--no-confirm")
    code, _, err = command_line(*words)
    assert (code, "is not here: 4 of 4" in err, "digits" in err) == (5, True, False)
    assert not (tmp_path / "fresh").exists()
    code, out, _ = command_line(*words, "--data-dir", folder)
    assert code == 0
    assert "read a copy of mnist that is not the published data" in out


def test_data_is_a_setting_of_the_suites_that_read_some(command_line, suite):
    """--data digits needs no download; suites without data do without it, and alone they refuse it."""
    code, out, _ = command_line(*run("--suite", suite, "--data", "digits", "--json"))
    assert (code, json.loads(out)["suites"][0]["ran"]) == (0, {"ok": 2})
    record_ = load_results("results/tiny").records[0]
    assert record_.spec["task"]["data"] == "digits"
    assert record_.provenance["data"]["digits/digits"]["verified"] is True
    code, out, _ = command_line("plan", "--suite", f"{suite},bandit", "--data", "digits", "--json")
    assert (code, len(json.loads(out)["suites"])) == (0, 2)
    code, _, err = command_line(*run("--suite", "bandit", "--data", "digits"))
    assert (code, err.strip()) == (
        2, "tpobench: --data digits: no task of bandit reads data; leave it out, or name a suite such as mnist"
    )  # fmt: skip
    code, _, err = command_line(*run("--suite", suite, "--data", "cifar", "--name", "x"))
    assert (code, "data must be one of mnist, digits" in err) == (2, True)
