"""status, report, pack and merge: packed or unpacked, the answer is the same, and reading changes nothing."""

import json

import pytest
from harness_helpers import fake_train, suite
from record_helpers import SUITE, command, record, relabel, snapshot, write, write_jsonl

from tpobench import execute, plan_runs
from tpobench.execution.inline import Inline
from tpobench.records.store import Store, load_packed, pack, read_plan, sources


@pytest.fixture
def tpobench(monkeypatch, capsys, tmp_path):
    """Runs the command line in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: command(monkeypatch, capsys, *words)


@pytest.fixture
def finished(monkeypatch, tmp_path):
    """Two rules of three seeds, run by the harness with the two-line trainer and packed."""
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)
    execute(plan_runs(suite(), None, range(3)), tmp_path / "results" / "tiny", executor=Inline())
    pack(tmp_path / "results" / "tiny")
    return tmp_path / "results"


def broken(folder):
    """A run directory with every status, a damaged record and a quarantined one."""
    runs = [record(0), record(1, "diverged"), record(2, "failed", reason="ValueError: unlucky", attempts=2)]
    runs += [record(s, "failed", reason="ValueError: unlucky") for s in (3, 4)]
    runs += [record(5, "oom", reason="9 GiB"), record(6, "skipped", reason="needs label"), record(7)]
    write(folder, *runs, suite=SUITE)
    Store(folder).path_of(record(7).id).write_text("{")
    (folder / "quarantine").mkdir()
    (folder / "quarantine" / "0123456789abcdef.json").write_text("{")
    return folder


def test_status_counts_every_status_and_says_why(tpobench, tmp_path):
    """The sum first; a line for each reason; the statuses that occur have columns; the retry is named."""
    broken(tmp_path / "results" / "tiny")
    code, out, _ = tpobench("status")
    verdict, blank, *lines = out.splitlines()
    assert (code, verdict, blank) == (0, "2 of 6 runs have a result, 1 of them diverged; 4 have none.", "")
    assert lines[0].split() == ["folder", "ok", "diverged", "failed", "oom", "skipped", "damaged", "quarantined"]
    assert lines[1].split() == ["results/tiny", "1", "1", "3", "1", "1", "1", "1"]
    assert lines[2:5] == [
        f"failed: results/tiny: tpo seed 2 ({record(2).id}) and 2 more, 2 attempts: ValueError: unlucky",
        f"oom: results/tiny: tpo seed 5 ({record(5).id}): 9 GiB",
        f"skipped: results/tiny: tpo seed 6 ({record(6).id}): needs label",
    ]
    assert lines[5].startswith("4 runs without a result: the `tpobench run` command that made them tries them again")
    assert "--retry-failed" in lines[5]


@pytest.mark.parametrize("words", [
    ["status", "{}"], ["report", "{}"], ["power", "{}"], ["verify", "{}"], ["lint", "{}"], ["pack", "{}"],
    ["compare", "tpo", "grpo", "--in", "{}"], ["export", "{}", "--to", "csv", "--out", "e"],
    ["merge", "{}", "--out", "m"], ["check", "--baseline", "{}"],
])  # fmt: skip
def test_a_file_that_holds_no_records_is_no_results(tpobench, tmp_path, words):
    """One line and exit code 2, not damaged records that a run would make again."""
    for name, text in (("mine.py", "import torch\nprint(1)\n"), ("scores.jsonl", '{"seed": 1, "score": 0.5}\n')):
        (tmp_path / name).write_text(text, encoding="utf-8")
        code, out, err = tpobench(*(word.format(name) for word in words))
        assert (code, out, err.count("\n")) == (2, "", 1), (out, err)
        assert f"{name} is no packed file of tpobench: none of its lines is a record" in err or "ends in .jsonl" in err
        assert {p.name for p in tmp_path.iterdir()} <= {"mine.py", "scores.jsonl"}


def test_status_of_a_sound_folder_is_one_row(tpobench, tmp_path):
    """No empty columns and no advice where nothing is wrong."""
    write(tmp_path / "results" / "tiny", record(0), record(1))
    _, out, _ = tpobench("status")
    verdict, _, *lines = out.splitlines()
    assert verdict == "2 of 2 runs have a result."
    assert [line.split() for line in lines] == [
        ["folder", "ok", "diverged", "failed", "skipped"],
        ["results/tiny", "2", "0", "0", "0"],
    ]


def test_status_is_the_same_packed_and_unpacked(tpobench, tmp_path):
    """Of a directory, of its packed copy, of a folder that holds both, and of one that holds packed files alone."""
    folder = write(tmp_path / "results" / "tiny", record(0), record(1, "crashed", reason="gone"), suite=SUITE)
    pack(folder)
    (tmp_path / "packed").mkdir()
    write_jsonl(tmp_path / "packed" / "tiny.jsonl", record(0), record(1, "crashed", reason="gone"))

    def answer(path):
        code, out, _ = tpobench("status", path, "--json")
        assert code == 0
        (row,) = json.loads(out)["folders"]
        (failed,) = json.loads(out)["failed"]
        assert failed.pop("folder") == row.pop("folder")
        return row, failed

    first = answer("results/tiny")
    assert (first[0]["ok"], first[0]["crashed"], first[1]["reason"], first[1]["attempts"]) == (1, 1, "gone", 1)
    for path in ("results", "results/tiny.jsonl", "packed", "packed/tiny.jsonl", "packed/tiny"):
        assert answer(path) == first


def test_reading_leaves_everything_as_it_was(tpobench, finished, tmp_path):
    """status and report work on results that nobody may write, damaged records included."""
    path = min((finished / "tiny" / "runs").glob("*/*.json"))
    path.write_text(path.read_text()[:-20])
    before = snapshot(finished)
    assert tpobench("status", "results")[0] == 0
    for source in ("results", "results/tiny", "results/tiny.jsonl"):
        assert tpobench("report", source, "--out", "page", "--format", "md,csv")[0] == 0
    assert snapshot(finished) == before
    assert (tmp_path / "page").is_dir()


def test_a_report_is_not_written_into_what_it_reports_on(tpobench, finished):
    """Neither into the directory nor below it; beside it is fine."""
    before = snapshot(finished)
    for out in ("results/tiny", "results/tiny/report", "results/other/../tiny/x"):
        code, _, err = tpobench("report", "results", "--out", out)
        assert (code, "lies inside the results" in err) == (2, True)
    assert snapshot(finished) == before
    assert tpobench("report", "results/tiny", "--out", "results/report")[0] == 0


def test_reports_of_a_directory_and_of_its_packed_copy_are_equal(tpobench, finished, tmp_path):
    """Byte by byte; runs that only the packed copy holds are in the directory's report, as `run` counts them."""
    assert tpobench("report", "results/tiny.jsonl", "--out", "a", "--format", "csv")[0] == 0
    victim = min((finished / "tiny" / "runs").glob("*/*.json"))
    victim.unlink()
    assert tpobench("report", "results/tiny", "--out", "b", "--format", "csv")[0] == 0
    tables = {p.name: p.read_bytes() for p in (tmp_path / "a").glob("*.csv")}
    assert tables
    assert {p.name: p.read_bytes() for p in (tmp_path / "b").glob("*.csv")} == tables


def test_packing_a_packed_file_sorts_it_and_drops_what_is_damaged(tpobench, tmp_path):
    """As after a merge by git: both sides of a conflict are kept once, the markers go where --force lets them."""
    lines = [record(1).to_line(), "<<<<<<< ours", record(0).to_line(), "=======", record(1).to_line()]
    (tmp_path / "tiny.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    before = snapshot(tmp_path)
    code, out, err = tpobench("pack", "tiny.jsonl")
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert "tiny.jsonl line 2 and 1 more cannot be read and would be lost; repair tiny.jsonl, or --force" in err
    assert snapshot(tmp_path) == before
    code, out, err = tpobench("pack", "tiny.jsonl", "--force", "--json")
    assert code == 0
    assert json.loads(out) == {"files": ["tiny.jsonl"], "damaged": 2, "copies": ["tiny.jsonl.bak"]}
    assert "2 damaged records were left out" in err
    assert (tmp_path / "tiny.jsonl.bak").read_text(encoding="utf-8").splitlines() == lines
    records, damaged = load_packed(tmp_path / "tiny.jsonl")
    assert ([r.spec["seed"] for r in records], damaged) == ([0, 1], 0)


def test_packing_a_folder_packs_everything_in_it(tpobench, tmp_path):
    """Run directories and packed files without one; a file of another kind is refused."""
    write(tmp_path / "results" / "a", record(0))
    write_jsonl(tmp_path / "results" / "b.jsonl", record(1), record(0))
    assert tpobench("pack")[0] == 0
    assert [r.spec["seed"] for r in load_packed(tmp_path / "results" / "a.jsonl")[0]] == [0]
    assert [r.spec["seed"] for r in load_packed(tmp_path / "results" / "b.jsonl")[0]] == [0, 1]
    (tmp_path / "runs.txt").write_text(record(0).to_line())
    assert tpobench("pack", "runs.txt")[0] == 2


FOREIGN = {
    "JSON lines": '{"loss": 0.5, "id": 3}\n{"loss": 0.25, "id": 4}\n',
    "of another schema": '{"schema": 9, "rows": []}\n',
    "text": "my notes\n",
    "zeros": "\0" * 400,
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_file_of_another_kind_is_never_rewritten(tpobench, tmp_path, kind, force):
    """Named itself, as the packed copy of a directory, or as the target of a merge: one line, and nothing changes."""
    write(tmp_path / "mine", record(0), suite=SUITE)
    (tmp_path / "mine.jsonl").write_text(FOREIGN[kind], encoding="utf-8")
    before = snapshot(tmp_path)
    for words in (("pack", "mine.jsonl"), ("pack", "mine"), ("merge", "mine", "-o", "mine.jsonl")):
        code, out, err = tpobench(*words, *force)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "mine.jsonl is no packed file of tpobench" in err
    assert snapshot(tmp_path) == before


def test_a_file_of_another_kind_beside_results_is_left_alone(tpobench, tmp_path):
    """`pack results` packs what is ours, and says what is not."""
    write(tmp_path / "results" / "tiny", record(0), suite=SUITE)
    notes = tmp_path / "results" / "notes.jsonl"
    notes.write_text(FOREIGN["JSON lines"], encoding="utf-8")
    code, _, err = tpobench("pack")
    assert code == 0
    assert "results/notes.jsonl is no packed file of tpobench" in err
    assert "packed results/tiny.jsonl: 1 runs" in err
    assert notes.read_text(encoding="utf-8") == FOREIGN["JSON lines"]
    (tmp_path / "results" / "tiny").rename(tmp_path / "away")
    (tmp_path / "results" / "tiny.jsonl").unlink()
    assert tpobench("pack")[0] == 4


def test_packing_twice_changes_nothing(tpobench, tmp_path):
    """A directory, a packed file, and a folder of several: the same bytes, and files that are right are left alone."""
    write(tmp_path / "results" / "a", record(1), record(0), suite=SUITE)
    write_jsonl(tmp_path / "results" / "b.jsonl", record(1), record(0))
    assert tpobench("pack")[0] == 0
    before = snapshot(tmp_path)
    for path in ("results", "results/a", "results/a.jsonl", "results/b.jsonl", "results/b"):
        assert tpobench("pack", path)[0] == 0
    assert snapshot(tmp_path) == before
    assert (tmp_path / "results" / "a.jsonl").read_bytes() == (tmp_path / "results" / "b.jsonl").read_bytes()


PLAN = {"schema": 1, "text": "adaptive:5x4|alpha:0.05", "seeds": "adaptive:5x4"}


def test_a_plan_of_seeds_goes_with_the_packed_file(tpobench, tmp_path):
    """Through `pack` and `merge`, packed or not; without it planned looks would be taken for peeking."""
    folder = write(tmp_path / "a", record(0), suite=SUITE)
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    assert tpobench("pack", "a")[0] == 0
    folder.rename(tmp_path / "away")
    for words in (("pack", "a.jsonl"), ("merge", "a.jsonl", "-o", "b.jsonl"), ("merge", "b.jsonl", "-o", "c"),
                  ("pack", "c")):  # fmt: skip
        assert tpobench(*words)[0] == 0
    for source in ("a.jsonl", "b.jsonl", "c", "c.jsonl"):
        assert read_plan(tmp_path / source) == PLAN


@pytest.mark.parametrize("text", [json.dumps({**PLAN, "text": "adaptive:4x5"}), "my plan"])
def test_another_plan_in_the_place_of_a_plan_asks_for_force(tpobench, tmp_path, text):
    """Whether it is another plan of tpobench or another file, a copy of it stays."""
    folder = write(tmp_path / "a", record(0), suite=SUITE)
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    place = tmp_path / "a.plan.json"
    place.write_text(text, encoding="utf-8")
    before = snapshot(tmp_path)
    code, out, err = tpobench("pack", "a")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "a.plan.json is not the plan that the runs follow" in err
    assert snapshot(tmp_path) == before
    assert tpobench("pack", "a", "--force")[0] == 0
    assert json.loads(place.read_text(encoding="utf-8")) == PLAN
    assert (tmp_path / "a.plan.json.bak").read_text(encoding="utf-8") == text


def test_a_damaged_plan_is_not_packed_over_a_sound_one(tpobench, tmp_path):
    """Nothing is written, by force neither."""
    folder = write(tmp_path / "a", record(0), suite=SUITE)
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    assert tpobench("pack", "a")[0] == 0
    (folder / "plan.json").write_text("{", encoding="utf-8")
    before = snapshot(tmp_path)
    for words in ((), ("--force",)):
        assert tpobench("pack", "a", *words)[0] == 6
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (record(0, error=0.25).to_line(), "two different results of run"),
        (relabel(record(0), schema=9).to_line(), "schema 9, this tpobench reads up to 1; upgrade tpobench"),
    ],
)
def test_records_in_conflict_and_of_a_newer_version_are_not_packed(tpobench, tmp_path, line, said):
    """Which of two results is right, nobody can tell by force."""
    write(tmp_path / "a", record(0), suite=SUITE)
    (tmp_path / "a.jsonl").write_text(f"{line}\n", encoding="utf-8")
    before = snapshot(tmp_path)
    for words in ((), ("--force",)):
        code, out, err = tpobench("pack", "a", *words)
        assert (code, out, err.count("\n")) == (6, "", 1)
        assert said in err
    assert snapshot(tmp_path) == before


def test_lines_that_a_merge_cannot_read_are_lost_by_force_alone(tpobench, tmp_path):
    """Those of the target; each forced merge keeps a copy of its own."""
    write(tmp_path / "a", record(0), suite=SUITE)
    torn = f"{record(1).to_line()}\n{record(2).to_line()[:60]}\n"
    place = tmp_path / "all.jsonl"
    for copy in ("all.jsonl.bak", "all.jsonl.bak2"):
        place.write_text(torn, encoding="utf-8")
        before = snapshot(tmp_path)
        code, out, err = tpobench("merge", "a", "-o", "all.jsonl")
        assert (code, out, err.count("\n")) == (6, "", 1)
        assert "all.jsonl line 2 cannot be read and would be lost" in err
        assert snapshot(tmp_path) == before
        code, _, err = tpobench("merge", "a", "-o", "all.jsonl", "--force")
        assert code == 0
        assert f"what was replaced is kept in {copy}" in err
        assert (tmp_path / copy).read_text(encoding="utf-8") == torn
        assert [r.spec["seed"] for r in load_packed(place)[0]] == [0, 1]


def test_a_damaged_record_in_the_way_of_a_merge_is_put_aside(tpobench, tmp_path):
    """Beside what was put aside before, and so is what stands in the place of meta.json."""
    write(tmp_path / "a", record(0), suite=SUITE)
    store = Store(write(tmp_path / "b", record(0), suite=SUITE))
    for n, text in (("", "torn"), ("2", "torn again")):
        store.path_of(record(0).id).write_text(text, encoding="utf-8")
        (store.folder / "meta.json").write_text(text, encoding="utf-8")
        assert tpobench("merge", "a", "-o", "b")[0] == 0
        assert (store.folder / "quarantine" / f"{record(0).id}.json{n}").read_text(encoding="utf-8") == text
        assert (store.folder / f"meta.json.bak{n}").read_text(encoding="utf-8") == text
        assert store.read(record(0).id) == record(0)


@pytest.mark.parametrize("words", [("pack", "a"), ("merge", "a", "-o", "a.jsonl")])
def test_links_and_modes_of_packed_files_are_kept(tpobench, tmp_path, words):
    """A link is written through, a read-only file and a folder in its place are one line."""
    write(tmp_path / "a", record(0), suite=SUITE)
    (tmp_path / "disk").mkdir()
    elsewhere = write_jsonl(tmp_path / "disk" / "x.jsonl", record(1))
    place = tmp_path / "a.jsonl"
    place.symlink_to(elsewhere)
    assert tpobench(*words)[0] == 0
    assert place.is_symlink()
    assert [r.spec["seed"] for r in load_packed(elsewhere)[0]] == [0, 1]
    write(tmp_path / "a", record(2))
    elsewhere.chmod(0o444)
    code, out, err = tpobench(*words)
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert "cannot write a.jsonl: the file is read-only" in err
    place.unlink()
    place.mkdir()
    code, out, err = tpobench(*words)
    assert (code, out, err.count("\n")) == (6, "", 1)
    assert "cannot write a.jsonl: Is a directory" in err


def test_a_merge_into_a_file_of_another_kind_is_refused(tpobench, tmp_path):
    """Before anything is read."""
    write(tmp_path / "a", record(0), suite=SUITE)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    code, out, err = tpobench("merge", "a", "-o", "notes.txt")
    assert (code, out, err) == (
        2, "", "tpobench: notes.txt is a file; name a folder, or a packed file that ends in .jsonl, with -o\n"
    )  # fmt: skip
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_packing_where_nothing_can_be_written_is_6(tpobench, tmp_path, monkeypatch):
    """A full disk is one line, and the old file stays."""
    write(tmp_path / "results" / "a", record(0))
    write_jsonl(tmp_path / "results" / "a.jsonl", record(1))
    before = (tmp_path / "results" / "a.jsonl").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, _, err = tpobench("pack")
    assert code == 6
    assert err == "tpobench: cannot write results/a.jsonl: No space left on device\n"
    assert (tmp_path / "results" / "a.jsonl").read_bytes() == before


def test_merge_tells_what_came_from_where(tpobench, tmp_path):
    """People on standard error, scripts on standard output; damaged records are named."""
    write(tmp_path / "A", record(0), record(1, "failed", reason="x"), suite=SUITE)
    (tmp_path / "B.jsonl").write_text(f"{record(0).to_line()}\n{record(1).to_line()}\n{{\n")
    code, out, err = tpobench("merge", "A", "B.jsonl", "-o", "C")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "1 damaged records were left out: B.jsonl line 3"
    assert lines[1] == "wrote C: 2 runs (2 ok), 2 further copies left out"
    assert [line.split() for line in lines[3:5]] == [["A", "2", "0", "C"], ["B.jsonl", "2", "1", "C"]]
    assert lines[5] == "next: tpobench report C"
    code, out, _ = tpobench("merge", "A", "B.jsonl", "-o", "D", "--json")
    (united,) = json.loads(out)["merged"]
    assert (united["into"], united["runs"], united["statuses"]) == ("D", 2, {"ok": 2})
    assert united["sources"][1] == {"path": "B.jsonl", "records": 2, "damaged": ["B.jsonl line 3"]}


@pytest.mark.parametrize(
    ("second", "code", "message"),
    [
        (record(0, error=0.25), 6, "two different results of run"),
        (relabel(record(1), schema=7), 6, "upgrade tpobench"),
        (record(1, changes={"hyper": {"eta": 2.0}}), 2, "one table must not mix them"),
    ],
)
def test_a_merge_that_is_refused_is_one_line_and_its_exit_code(tpobench, tmp_path, second, code, message):
    """Nothing is written."""
    write(tmp_path / "A", record(0))
    write_jsonl(tmp_path / "B.jsonl", second)
    found, out, err = tpobench("merge", "A", "B.jsonl", "-o", "C")
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert not (tmp_path / "C").exists()


def test_each_suite_is_one_source(tmp_path):
    """A directory stands for its packed copy too; a folder named runs that holds several is no run directory."""
    write(tmp_path / "runs" / "tiny", record(0), suite=SUITE)
    pack(tmp_path / "runs" / "tiny")
    write_jsonl(tmp_path / "runs" / "other.jsonl", record(0))
    (tmp_path / "runs" / "notes").mkdir()
    assert sources(tmp_path / "runs") == [tmp_path / "runs" / "other.jsonl", tmp_path / "runs" / "tiny"]
    assert sources(tmp_path / "runs" / "tiny") == [tmp_path / "runs" / "tiny"]
    assert sources(tmp_path / "runs" / "tiny.jsonl") == [tmp_path / "runs" / "tiny.jsonl"]
    assert sources(tmp_path / "runs" / "other") == [tmp_path / "runs" / "other.jsonl"]
    assert sources(tmp_path / "none") == sources(tmp_path) == []
