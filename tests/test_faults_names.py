"""Locales of another alphabet, file names that are no text, private files: every verb works or says why."""

import json
import os
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from fault_helpers import RULES, suite_file
from record_helpers import SUITE, command, record, write, write_jsonl

from tpobench.records.store import write_atomically

NO_TEXT = os.fsdecode(b"no\xff text")
LOCALES = {
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "coerced": {"LC_ALL": "C"},
    "strict": {"PYTHONIOENCODING": "ascii:strict"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
}  # fmt: skip
TITLE = "café ± 结果"
LOCALE = pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)


def child(folder, locale, *words):
    """The command line in a process of its own: exit code and the bytes that it writes."""
    done = subprocess.run(
        [sys.executable, "-m", "tpobench", *map(str, words)], cwd=folder, capture_output=True, check=False,
        env={**os.environ, **locale}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def few(folder, name=NO_TEXT):
    """Finished and failed runs in a folder whose name is no text, and a table and a suite of such names."""
    reporting = {**record().reporting, "title": TITLE}
    runs = [record(s, reporting=reporting, error=0.1 * s) for s in range(4)]
    runs.append(record(4, "failed", reason=TITLE, reporting=reporting))
    write(folder / name / "tiny", *runs, suite={**SUITE, "title": TITLE})
    table = "algorithm,task,seed,value\n" + "".join(f"{a},é,{s},0.{s}\n" for a in "ab" for s in range(4))
    write_jsonl(folder / f"{name}-b.jsonl", *runs[:4])
    (folder / f"{name}.csv").write_text(table, encoding="utf-8")
    return folder / name


@pytest.mark.slow
@LOCALE
def test_a_whole_run_in_any_locale(tmp_path, locale):
    """From the suite to the report, through a worker; files are UTF-8, the terminal gets what it can show."""
    path = suite_file(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("rules that break on purpose", TITLE), encoding="utf-8")
    code, out, err = child(tmp_path, locale, "run", "--suite", path, "--plugin", RULES, "--out", NO_TEXT, "--seeds=1")
    assert (code, out) == (0, b""), err
    code, out, err = child(tmp_path, locale, "report", NO_TEXT, "--out", f"{NO_TEXT}/r", "--figures=none", "-f", "md")
    assert code == 0, err
    out.decode(locale.get("PYTHONIOENCODING", "utf-8").partition(":")[0])
    assert TITLE in (tmp_path / NO_TEXT / "r" / "report.md").read_text(encoding="utf-8")


@LOCALE
def test_what_a_script_reads_is_the_same_in_any_locale(tmp_path, locale):
    """`--json` is ASCII: no question marks in place of names."""
    few(tmp_path)
    code, out, err = child(tmp_path, locale, "status", NO_TEXT, "--json")
    assert code == 0, err
    (broken,) = json.loads(out.decode("ascii"))["failed"]
    assert (broken["reason"], os.fsencode(broken["folder"])) == (TITLE, os.fsencode(f"{NO_TEXT}/tiny"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status", NO_TEXT], 0, ""),
        (["report", NO_TEXT, "--out", f"{NO_TEXT}-r", "--figures=none", "-f", "md,csv,latex,html,json"], 0, "wrote"),
        (["pack", NO_TEXT], 0, "packed"),
        (["merge", NO_TEXT, "--out", f"{NO_TEXT}-m"], 0, "next"),
        (["lint", NO_TEXT], 3, ""),
        (["power", NO_TEXT], 0, ""),
        (["compare", NO_TEXT, NO_TEXT], 0, ""),
        (["audit", f"{NO_TEXT}.csv", "--higher"], 0, ""),
        (["audit", f"{NO_TEXT}.csv", "--higher", "-f", "md,json", "--out", f"{NO_TEXT}-a"], 0, "wrote"),
        (["baseline", "update", f"{NO_TEXT}.jsonl", f"{NO_TEXT}-b.jsonl", "--reason", "new"], 0, "wrote"),
        (["doctor", "--out", NO_TEXT], 0, ""),
        (["data", "list", "--data-dir", NO_TEXT], 0, ""),
        (["plan", "--suite", "bandit", "--out", NO_TEXT], 0, ""),
        (["plan", "--suite", f"{NO_TEXT}.toml"], 2, "the file name is the suite's name"),
        (["plan", "--suite", "bandit", "--plugin", f"{NO_TEXT}.py"], 2, "no plugin at"),
        (["plan", "--suite", "bandit", "--name", NO_TEXT], 2, "--name no\\udcff text: use a-z"),
        (["plan", "--suite", "bandit", "--set", f"title={NO_TEXT}"], 2, "is no text in this locale"),
        (["baseline", "update", "b.jsonl", f"{NO_TEXT}/tiny", "--reason", NO_TEXT], 2, "--reason is no text"),
        (["audit", f"{NO_TEXT}.csv", "--metric", NO_TEXT, "--higher"], 0, ""),
    ],
    ids=lambda value: " ".join(value[:2]).replace(NO_TEXT, "X") if isinstance(value, list) else "",
)  # fmt: skip
def test_names_of_files_that_are_no_text(monkeypatch, capsys, tmp_path, words, code, said):
    """Every verb takes them as they are, or says in one line why not."""
    monkeypatch.chdir(tmp_path)
    few(tmp_path)
    (tmp_path / f"{NO_TEXT}.toml").write_text("", encoding="utf-8")
    found, out, err = command(monkeypatch, capsys, *words)
    assert found == code, err
    assert said in err
    assert "\udcff" not in out + err
    assert code != 2 or err.count("\n") == 1
    for path in tmp_path.rglob("*"):
        if path.suffix in {".md", ".tex", ".csv", ".html", ".json", ".jsonl"} and path.is_file():
            path.read_bytes().decode("utf-8")


def test_check_reports_of_such_names_are_text(monkeypatch, capsys, tmp_path):
    """JUnit and summary, of a baseline whose name is none, to files whose names are none."""
    monkeypatch.chdir(tmp_path)
    for name in (NO_TEXT, f"{NO_TEXT}-b"):
        write_jsonl(tmp_path / f"{name}.jsonl", *(record(s) for s in range(4)))
    files = [tmp_path / f"{NO_TEXT}.xml", tmp_path / f"{NO_TEXT}.md"]
    code, out, err = command(monkeypatch, capsys, "check", f"{NO_TEXT}.jsonl", "--no-run", "--baseline",
                             f"{NO_TEXT}-b.jsonl", "--junit", files[0], "--summary", files[1])  # fmt: skip
    assert code in {0, 4}, err
    assert "\udcff" not in out + err
    ET.fromstring(files[0].read_bytes())  # noqa: S314 - our own
    files[1].read_bytes().decode("utf-8")


def test_an_audit_as_json_is_ascii_on_a_terminal(monkeypatch, capsys, tmp_path):
    """As all JSON that a verb answers with; a file of it is UTF-8."""
    few(tmp_path)
    code, out, _ = command(monkeypatch, capsys, "audit", tmp_path / f"{NO_TEXT}.csv", "--higher", "--format", "json")
    assert code == 0
    assert out.isascii()
    assert {r["task"] for r in json.loads(out)["runs"]} == {"é"}
    assert json.loads(out)["file"] == f"{NO_TEXT}.csv"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read(tmp_path, umask, mode):
    """Files of colleagues where the user shares, private ones where not; an old file's mode gives way too."""
    before = os.umask(umask)
    try:
        for text in ("old", "new"):
            write_atomically(tmp_path / "a" / "record.json", text)
    finally:
        os.umask(before)
    (path,) = (tmp_path / "a").iterdir()
    assert path.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
