"""Exports are the runs as other tools read them, checked with the tools' own readers where they are installed."""

import csv
import io
import json
import os
import struct
import subprocess
import sys

import pytest
from record_helpers import command, record, write, write_jsonl

from tpobench.audit import Choices, audit
from tpobench.exports import FORMATS, export_files
from tpobench.exports.runs import tracked_runs
from tpobench.records.results import Results, load_results

RUNS = (
    record(0, error=0.5, facts={"initial_success": 0.25}),
    record(1, error=0.125),
    record(0, changes={"algorithm": "grpo"}, status="diverged"),
    record(1, changes={"algorithm": "grpo"}, status="failed", reason="RuntimeError: no, \"never\""),
)  # fmt: skip


@pytest.fixture
def results(tmp_path):
    return load_results(write(tmp_path / "tiny", *RUNS))


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_csv_has_a_row_per_run_and_step(results):
    """Three curves of two steps and a run without one; numbers and quotes come back."""
    table = rows(export_files(results, "csv")["runs.csv"])
    assert len(table) == 7
    tpo = [(r["seed"], r["step"], r["interactions"], r["error"]) for r in table if r["algorithm"] == "tpo"]
    assert sorted(tpo) == [("0", "0", "0", "0.75"), ("0", "1", "4", "0.5"), ("1", "0", "0", "0.75"), ("1", "1", "4", "0.125")]  # noqa: E501  # fmt: skip
    (failed,) = [r for r in table if r["status"] == "failed"]
    assert (failed["reason"], failed["step"], failed["error"]) == ('RuntimeError: no, "never"', "", "")
    assert {r["initial_success"] for r in table if (r["algorithm"], r["seed"]) == ("tpo", "0")} == {"0.25"}


def test_an_exported_table_can_be_audited(tmp_path, monkeypatch, capsys):
    """`export --to csv`, then `audit`: the last recorded errors of every run."""
    runs = [record(s, error=2.0**-s, changes={"algorithm": a}) for a in ("tpo", "grpo") for s in range(3)]
    path = write_jsonl(tmp_path / "tiny.jsonl", *runs)
    code, out, err = command(monkeypatch, capsys, "export", path, "--to", "csv", "--out", tmp_path / "out")
    assert (code, out, err) == (0, "", f"wrote {tmp_path / 'out' / 'runs.csv'}: 6 runs\n")
    read = audit(tmp_path / "out" / "runs.csv", Choices(metric="error", columns=("task=suite",), window=1))
    assert sorted((r.algorithm, r.record.spec["seed"], r.value) for r in read.runs.runs) == sorted(
        (r.spec["algorithm"], r.spec["seed"], r.curve["error"][-1]) for r in runs
    )


def test_a_run_is_named_by_suite_cell_algorithm_and_seed():
    """A name that no folder can have becomes one that it can; runs of one name have their ids behind."""
    plain = record()
    celled = record(3, changes={"cell": {"length": 4, "reward": "a/b"}, "algorithm": "tpo+tis", "matching": "steps"})
    cpu, cuda = record(1), record(1, changes={"device": "cuda"})
    named = [run.path for run in tracked_runs(Results((plain, celled, cpu, cuda)))]
    assert named == [
        "tiny/all/tpo/seed_0",
        "tiny/length=4,reward=a_b,matching=steps/tpo+tis/seed_3",
        f"tiny/all/tpo/seed_1_{cpu.id}",
        f"tiny/all/tpo/seed_1_{cuda.id}",
    ]


def test_what_others_wrote_is_not_replaced(tmp_path, monkeypatch, capsys):
    """Without --force; with it the old file stays as a copy.  The same export again changes nothing."""
    source, out = write(tmp_path / "tiny", *RUNS), tmp_path / "out"
    out.mkdir()
    (out / "runs.csv").write_text("mine")
    words = ("export", source, "--to", "csv", "-o", out)
    code, _, err = command(monkeypatch, capsys, *words)
    assert (code, (out / "runs.csv").read_text()) == (2, "mine")
    assert "runs.csv: not written by a report, or changed since" in err
    assert command(monkeypatch, capsys, *words, "--force")[0] == 0
    assert [p.read_text() for p in out.glob("runs.csv.*")] == ["mine"]
    first = (out / "runs.csv").read_bytes()
    code, answered, _ = command(monkeypatch, capsys, *words, "--json")
    assert (code, json.loads(answered)) == (0, {"files": [str(out / "runs.csv")], "runs": 4})
    assert (out / "runs.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--to", "excel", "--out", "out"), "unknown format 'excel' in --to; valid: csv, "),
        (("--to", "csv", "--out", "tiny/out"), "--out tiny/out lies inside the results tiny; name another folder"),
        (("--to", "csv", "--out", "tiny.jsonl"), "--out tiny.jsonl: tiny.jsonl is a file; name a folder"),
    ],
)
def test_a_wrong_word_is_one_line(tmp_path, monkeypatch, capsys, words, line):
    """What, where, what would work; and nothing is written."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tiny", *RUNS)
    write_jsonl(tmp_path / "tiny.jsonl", *RUNS)
    code, out, err = command(monkeypatch, capsys, "export", "tiny", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert line in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("format_", "package", "extra"), [(f, p, e) for f, (_, p, e) in FORMATS.items() if e])
def test_a_missing_package_is_one_line(tmp_path, monkeypatch, capsys, format_, package, extra):
    """With the command that installs it; and nothing is written."""
    write(tmp_path / "tiny", *RUNS)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = command(monkeypatch, capsys, "export", tmp_path / "tiny", "--to", format_, "-o", tmp_path / "out")
    assert (code, err.count("\n"), (tmp_path / "out").exists()) == (2, 1, False)
    assert f"--to {format_} needs the package {package} " in err
    assert f"pip install 'tpobench[{extra}]'" in err


def test_parquet_is_the_same_table():
    """As pyarrow reads it: every column has one type, also an axis of numbers and words."""
    parquet = pytest.importorskip("pyarrow.parquet")
    celled = [record(s, changes={"cell": {"level": c}}) for s, c in enumerate((1, "all", 0.5))]
    table = parquet.read_table(io.BytesIO(export_files(Results((*RUNS, *celled)), "parquet")["runs.parquet"]))
    assert table.column("level").to_pylist()[-6:] == ["1", "1", "all", "all", "0.5", "0.5"]
    assert table.column("error").to_pylist()[:4] == [0.75, 0.5, 0.75, 0.125]
    assert table.column("error").to_pylist()[6:7] == [None]
    assert [table.schema.field(n).type.__str__() for n in ("seed", "error")] == ["int64", "double"]


def test_tensorboard_reads_the_runs(results, tmp_path, monkeypatch, capsys):
    """Its own reader finds a run in each folder with its curve, and the hyperparameters; equal runs are equal bytes."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    out = tmp_path / "out"
    code, _, err = command(monkeypatch, capsys, "export", tmp_path / "tiny", "--to", "tensorboard", "-o", out)
    assert (code, err) == (0, f"wrote 4 files below {out}: 4 runs\n")
    events = EventMultiplexer().AddRunsFromDirectory(str(out)).Reload()
    assert set(events.Runs()) == {run.path for run in tracked_runs(results)}
    config = events.SummaryMetadata("tiny/all/tpo/seed_1", "_hparams_/session_start_info").plugin_data.content
    assert b"algorithm" in config
    curves = EventAccumulator(str(out / "tiny/all/tpo/seed_1")).Reload()
    assert [(e.step, e.value) for e in curves.Scalars("error")] == [(0, 0.75), (1, 0.125)]
    assert [(e.step, e.value) for e in curves.Scalars("interactions")] == [(0, 0.0), (1, 4.0)]
    assert export_files(results, "tensorboard") == export_files(results, "tensorboard")


def offline_records(content):
    """The records of a log of wandb: blocks of 32 KiB of pieces, each behind its checksum, length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    at, record = 7, b""  # behind the header of the file
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # whole, or the last piece
            yield Record.FromString(record)
            record = b""


def test_wandb_has_the_runs(tmp_path, monkeypatch, capsys):
    """Its offline runs hold every curve under the record's id, and nothing of this machine."""
    pytest.importorskip("wandb")
    write(tmp_path / "tiny", *RUNS)
    monkeypatch.setenv("HOME", str(tmp_path))
    out = tmp_path / "out"
    code, _, err = command(monkeypatch, capsys, "export", tmp_path / "tiny", "--to", "wandb", "-o", out)
    assert (code, err) == (0, f"wrote 4 files below {out}: 4 runs\n")
    run = RUNS[1]
    content = (out / f"offline-run-{run.id}" / f"run-{run.id}.wandb").read_bytes()
    records = list(offline_records(content))
    (head,) = [r.run for r in records if r.HasField("run")]
    config = {c.key: json.loads(c.value_json) for c in head.config.update}
    assert (head.project, head.run_group, head.display_name) == ("tiny", "all", "tiny/all/tpo/seed_1")
    assert (config["algorithm"], config["seed"], head.host) == ("tpo", 1, "tpobench")
    assert str(tmp_path).encode() not in content
    rows = [{"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in r.history.item}
            for r in records if r.HasField("history")]  # fmt: skip
    assert [(r["_step"], r["error"], r["interactions"]) for r in rows] == [(0, 0.75, 0.0), (1, 0.125, 4.0)]


def test_trackio_reads_the_runs(tmp_path, monkeypatch, capsys):
    """Its own storage finds every run with its curve and its configuration; the user's own projects are not touched."""
    pytest.importorskip("trackio")
    write(tmp_path / "tiny", *RUNS)
    out, mine = tmp_path / "out", tmp_path / "mine"
    monkeypatch.setenv("TRACKIO_DIR", str(mine))
    code, _, err = command(monkeypatch, capsys, "export", tmp_path / "tiny", "--to", "trackio", "-o", out)
    assert (code, err) == (0, f"wrote {out / 'tiny.db'}: 4 runs\n")
    assert not mine.exists()
    script = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as s; n = 'tiny/all/tpo/seed_1'; "
        "print(json.dumps([sorted(s.get_runs('tiny')), s.get_logs('tiny', n), s.get_run_config('tiny', n)]))"
    )
    env = {**os.environ, "TRACKIO_DIR": str(out)}
    said = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    names, logs, config = json.loads(said)
    assert names == sorted(run.path for run in tracked_runs(Results(RUNS)))
    assert [(row["step"], row["error"], row["interactions"]) for row in logs] == [(0, 0.75, 0.0), (1, 0.125, 4.0)]
    assert (config["algorithm"], config["seed"]) == ("tpo", 1)
