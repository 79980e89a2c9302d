"""Reports in their folders: only what a report wrote is replaced, what became stale goes, and the rest stays."""

import hashlib
import json
from pathlib import Path

import pytest
from record_helpers import SUITE, record, snapshot, write, write_jsonl

from tpobench.errors import StorageFull, UsageError
from tpobench.records.store import write_atomically, write_packed
from tpobench.report.files import MANIFEST, write_files

ROOT = Path(__file__).parent.parent
MANIFESTS = sorted((ROOT / "results").rglob(MANIFEST))
PLAIN = ("--figures", "none")


def names(folder):
    """Every file below a folder but the manifest."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


@pytest.fixture
def results(tmp_path):
    """Two result sets: the packed file a.jsonl and the directory b, of other seeds."""
    write_jsonl(tmp_path / "results" / "a.jsonl", record(0), record(1))
    write(tmp_path / "results" / "b", record(2), record(3), suite=SUITE)
    return tmp_path / "results"


@pytest.mark.usefixtures("results")
def test_a_report_has_a_folder_of_its_own(command_line, tmp_path):
    """Named like the results, packed or not; a folder of several by its own name."""
    for path, name in (("results/a.jsonl", "a"), ("results/b", "b"), ("results/b/", "b"), ("results", "results")):
        assert command_line("report", path, *PLAIN)[0] == 0
        assert (tmp_path / "report" / name / "report.md").is_file()
    assert names(tmp_path / "report") == ["a/report.md", "b/report.md", "results/report.md"]


def test_a_report_of_other_results_leaves_nothing_of_the_last(command_line, results, tmp_path):
    """Neither figures nor formats; of the same results what was not asked for again stays."""
    del results
    out = ("--out", "out")
    assert command_line("report", "results/a.jsonl", *out, "--figures", "png,svg", "-f", "md,csv")[0] == 0
    first = names(tmp_path / "out")
    assert {Path(name).suffix for name in first} == {".md", ".csv", ".png", ".svg"}
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    assert command_line("report", "results/a.jsonl", *out, *PLAIN, "-f", "latex")[0] == 0
    assert names(tmp_path / "out") == sorted([*first, "mine.txt", "report.tex"])
    assert command_line("report", "results/b", *out, *PLAIN, "-f", "json")[0] == 0
    assert names(tmp_path / "out") == ["mine.txt", "report.json"]


def test_a_file_of_mine_is_not_replaced(command_line, results, tmp_path):
    """Whether it was there before or is a report that I edited; --force replaces it and keeps a copy."""
    del results
    page = tmp_path / "report" / "a" / "report.md"
    page.parent.mkdir(parents=True)
    for n, text in (("", "my own page"), ("2", "the report, with my comments")):
        page.write_text(text, encoding="utf-8")
        before = snapshot(tmp_path)
        code, out, err = command_line("report", "results/a.jsonl", *PLAIN, "-f", "md,csv")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "report/a/report.md: not written by a report, or changed since; name another folder with --out" in err
        assert snapshot(tmp_path) == before
        assert command_line("report", "results/a.jsonl", *PLAIN, "-f", "md,csv", "--force")[0] == 0
        assert page.with_name(f"report.md.bak{n}").read_text(encoding="utf-8") == text
        assert page.read_text(encoding="utf-8").startswith("# ")


def test_the_same_report_again_changes_no_file(command_line, results, tmp_path):
    """Not even the time of its last change."""
    del results
    words = ("report", "results/a.jsonl", "--figures", "png", "-f", "md,html")
    assert command_line(*words)[0] == 0
    before = snapshot(tmp_path)
    assert command_line(*words)[0] == 0
    assert snapshot(tmp_path) == before


def test_what_i_changed_does_not_go_with_what_is_stale(tmp_path):
    """A figure that I edited is mine."""
    write_files(tmp_path, {"figures/a.svg": b"a", "figures/b.svg": b"b"}, "first")
    (tmp_path / "figures" / "a.svg").write_bytes(b"edited")
    write_files(tmp_path, {"report.md": b"c"}, "second")
    assert names(tmp_path) == ["figures/a.svg", "report.md"]


def test_parts_that_share_a_folder_stay(tmp_path):
    """Scorecards of other items are not stale, and each is replaced by its like."""
    write_files(tmp_path, {"fig2.md": b"old"})
    write_files(tmp_path, {"fig3.md": b"3"})
    write_files(tmp_path, {"fig2.md": b"new"})
    assert names(tmp_path) == ["fig2.md", "fig3.md"]
    assert (tmp_path / "fig2.md").read_bytes() == b"new"


@pytest.mark.parametrize("last", range(1, 5))
def test_a_report_that_is_cut_short_is_written_again(tmp_path, monkeypatch, last):
    """Whichever of its files was the last, its own files are known to be its own."""
    files = {"report.md": b"first", "report.csv": b"first"}
    write_files(tmp_path, files, "first")
    left = iter(range(last))

    def full(path, content):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    again = dict.fromkeys(files, b"second")
    monkeypatch.setattr("tpobench.report.files.write_atomically", full)
    if last < 4:  # two files, and the manifest before and after them
        with pytest.raises(StorageFull, match="No space left"):
            write_files(tmp_path, again, "second")
    monkeypatch.undo()
    for text in (b"second", b"third"):
        write_files(tmp_path, dict.fromkeys(files, text), text.decode())
        assert {(tmp_path / name).read_bytes() for name in files} == {text}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"files": 3, "about": ""}', '{"files": {"../mine": 3}, "about": 1}', "[" * 100_000]
)
def test_a_manifest_that_cannot_be_read_makes_every_file_mine(tmp_path, text):
    """Rather too much is kept than too little."""
    write_files(tmp_path, {"report.md": b"a"}, "first")
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    write_files(tmp_path, {"report.md": b"a"}, "first")
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="not written by a report"):
        write_files(tmp_path, {"report.md": b"b"}, "second")


def test_a_manifest_leads_to_no_file_outside(tmp_path):
    """Names that climb out of the folder are no names of ours."""
    (tmp_path / "mine").write_bytes(b"mine")
    hashes = [hashlib.sha256(b"mine").hexdigest()]
    out = tmp_path / "out"
    out.mkdir()
    document = {"about": "x", "files": {"../mine": hashes, str(tmp_path / "mine"): hashes}}
    (out / MANIFEST).write_text(json.dumps(document), encoding="utf-8")
    write_files(out, {"report.md": b"a"}, "y")
    assert (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.parametrize("out", ["f", "f/below", "f/far/below"])
def test_a_file_in_the_place_of_the_folder_is_2(command_line, results, tmp_path, out):
    """Said before anything is drawn, by every command that writes pages."""
    del results
    (tmp_path / "f").write_text("mine", encoding="utf-8")
    (tmp_path / "scores.csv").write_text(
        "algorithm,task,seed,score\na,t,0,1\na,t,1,2\nb,t,0,3\nb,t,1,4\n", encoding="utf-8"
    )
    for words in (("report", "results/a.jsonl", *PLAIN), ("audit", "scores.csv", "--higher")):
        code, _, err = command_line(*words, "--out", out)
        assert (code, err) == (2, f"tpobench: --out {out}: f is a file; name a folder\n")
    assert (tmp_path / "f").read_text(encoding="utf-8") == "mine"


def test_a_folder_in_the_place_of_a_page_is_6(command_line, results, tmp_path):
    """One line that names it."""
    del results
    (tmp_path / "out" / "report.md").mkdir(parents=True)
    code, _, err = command_line("report", "results/a.jsonl", *PLAIN, "--out", "out")
    assert (code, err) == (6, "tpobench: cannot write out/report.md: Is a directory\n")


def test_an_audit_replaces_its_own_pages_only(command_line, tmp_path):
    """A page of mine is refused; the pages of another table go."""
    table = tmp_path / "scores.csv"
    table.write_text("algorithm,task,seed,score\na,t,0,1\na,t,1,2\nb,t,0,3\nb,t,1,4\n", encoding="utf-8")
    words = ("audit", "scores.csv", "--higher", "--out", "out")
    command_line(*words, "-f", "md,json")
    assert names(tmp_path / "out") == ["audit.json", "audit.md"]
    table.write_text("algorithm,task,seed,score\na,t,0,1\na,t,1,2\nb,t,0,3\nb,t,1,5\n", encoding="utf-8")
    command_line(*words, "-f", "json")
    assert names(tmp_path / "out") == ["audit.json"]
    (tmp_path / "out" / "audit.md").write_text("mine", encoding="utf-8")
    code, _, err = command_line(*words, "-f", "md")
    assert (code, "out/audit.md: not written by a report" in err) == (2, True)
    assert (tmp_path / "out" / "audit.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.parent.name)
def test_a_committed_report_can_be_written_again_in_its_place(path):
    """Its manifest knows every page and figure that git holds, as it is."""
    known = json.loads(path.read_text(encoding="utf-8"))["files"]
    for file in (p for p in path.parent.rglob("*") if p.is_file() and (p.suffix in {".md", ".png"} or p.name in known)):
        if "reproduction" in path.parts and file.parent != path.parent:
            continue  # figures have a manifest of their own
        assert hashlib.sha256(file.read_bytes()).hexdigest() in known[str(file.relative_to(path.parent))]


def test_every_committed_report_has_a_manifest():
    """Those of results, the scorecards, and the league."""
    folders = {p.parent for p in (ROOT / "results" / "report").glob("*/report.md")}
    folders |= {ROOT / "results" / name for name in ("reproduction", "reproduction/figures", "league")}
    assert folders == {p.parent for p in MANIFESTS}


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("report", "loop", *PLAIN), 4),
        (("report", "results/b", *PLAIN, "--out", "loop"), 6),
        (("merge", "results/b", "-o", "loop"), 6),
    ],
)
def test_a_link_to_itself_is_one_line(command_line, tmp_path, words, code):
    """As results, as the folder of a report, and as what to merge into."""
    (tmp_path / "loop").symlink_to("loop")
    found, out, err = command_line(*words)
    assert (found, out, err.count("\n")) == (code, "", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "--suite", "bandit", "--out", "f"), "--out f/bandit: f is a file; name a folder"),
        (("run", "--suite", "bandit", "--smoke", "--out", "f"), "--out f/bandit-smoke: f is a file; name a folder"),
        (("plan", "--suite", "b.toml"), "b.toml: not readable as TOML: no text in UTF-8"),
        (("check", "-b", "x.jsonl", "--no-run", "--waivers", "d"), "--waivers d: cannot be read: Is a directory"),
        (("check", "-b", "x.jsonl", "--no-run", "--waivers", "no"), "--waivers no: cannot be read: No such file"),
    ],
)
def test_a_target_or_a_file_of_settings_of_the_wrong_kind_is_2(command_line, tmp_path, words, said):
    """Before anything is trained, in words about the file and not about how it is read."""
    (tmp_path / "f").write_text("mine", encoding="utf-8")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "d").mkdir()
    write_packed(tmp_path / "x.jsonl", [record(s, "ok", 0.3, changes={"algorithm": "a"}) for s in range(3)])
    code, out, err = command_line(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
