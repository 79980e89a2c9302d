"""A full disk, damaged and hostile files, several commands at once: what is finished stays, and nothing is believed."""

import ast
import io
import json
import os
import random
import re
import signal
from pathlib import Path

import pytest
from fault_helpers import RULES, Command, payloads, plan, records_of, room_for, suite_file, wait_for

from tpobench import cli
from tpobench.errors import CorruptResults, StorageFull, UsageError
from tpobench.execution import Inline, execute
from tpobench.execution.local import Local
from tpobench.records.store import DamagedRecord, Store, parse_record
from tpobench.suites.load import load_suite

PACKAGE = Path(__file__).parent.parent / "tpobench"


@pytest.fixture
def tpobench(monkeypatch, capsys, tmp_path):
    """Runs the command line in this process and an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["tpobench", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


def run(seeds, folder, executor=None):
    return execute(plan(["clean"], seeds), folder, executor=executor or Inline(), plugins=[RULES])


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


# ---- a disk that is full, a folder that takes nothing


@pytest.mark.parametrize(
    "make", [Inline, pytest.param(lambda: Local(1), marks=pytest.mark.slow)], ids=["inline", "local"]
)
def test_a_full_disk_keeps_what_is_finished_and_tears_nothing(tmp_path, make):
    """One line; no part of a file is left; with room again the same command goes on."""
    run([0, 1], tmp_path / "faults")
    before = files(tmp_path)
    smallest = min(len(text) for path, text in before.items() if path.parent.parent.name == "runs")
    executor = make()
    with room_for(smallest // 2), pytest.raises(StorageFull, match=r"finished runs are kept, .* when there is room"):
        run(range(4), tmp_path / "faults", executor)
    executor.close()
    assert files(tmp_path) == before
    assert (outcome := run(range(4), tmp_path / "faults")).counts == {"ok": 2}
    assert outcome.already == 2


def test_a_disk_that_is_full_from_the_start_is_6(tpobench, tmp_path):
    """Nothing can be written: not the settings, and not the log of a worker."""
    words = ["run", "--suite", suite_file(tmp_path), "--plugin", RULES]
    with room_for(100):
        code, out, err = tpobench(*words, "--executor", "inline")
    assert (code, out) == (6, "")
    assert err.splitlines()[-1].startswith("tpobench: cannot write to results/faults: File too large; ")
    assert files(tmp_path / "results") == {}


def test_no_room_for_a_log_is_6(tpobench, tmp_path, monkeypatch):
    """Temporary files lie on a disk, too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    code, _, err = tpobench("run", "--suite", suite_file(tmp_path), "--plugin", RULES)
    assert code == 6
    assert err.startswith("tpobench: the log of a worker cannot be written: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["results", "results/faults", "results/faults/runs", "results/faults/claims",
                                  "results/faults/meta.json"])  # fmt: skip
def test_a_folder_that_cannot_be_written_is_6(tpobench, tmp_path, name):
    """Here something else stands in its place, which stops root, too; a target that is a file is bad input, 2."""
    named = name in {"results", "results/faults"}
    place = tmp_path / name
    if name.endswith("meta.json"):
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("mine", encoding="utf-8")
    before = files(tmp_path)
    suite = suite_file(tmp_path)
    for executor in ("inline", "local"):
        code, _, err = tpobench("run", "--suite", suite, "--plugin", RULES, "--executor", executor)
        assert code == (2 if named else 6), err
        reason = f"--out results/faults: {name} is a file" if named else "cannot write to results/faults: "
        assert err.splitlines()[-1].startswith(f"tpobench: {reason}")
    assert before.items() <= files(tmp_path).items()
    assert not list(tmp_path.glob("results/faults/runs/*/*"))


# ---- damaged records


def test_a_record_cut_at_any_byte_is_damaged_and_run_again(tmp_path):
    """No prefix of a record is a record; the run is due, and comes back as it was."""
    run([0, 1], tmp_path)
    before = files(tmp_path / "runs")
    path, text = min(before.items())
    for length in range(len(text) - 1):  # the last byte is the line's end
        with pytest.raises(DamagedRecord):
            parse_record(text[:length].decode(), f"the first {length} bytes")
    for length in (0, 1, len(text) // 2, len(text) - 2):
        path.write_bytes(text[:length])
        outcome = run([0, 1], tmp_path)
        assert (outcome.quarantined, outcome.already, outcome.counts) == (1, 1, {"ok": 1})
        assert text[:length] in {p.read_bytes() for p in (tmp_path / "quarantine").iterdir()}
        assert payloads(tmp_path) == {p.stem: _payload(t) for p, t in before.items()}


def _payload(line):
    from tpobench.identity import canonical

    return canonical(parse_record(line.decode(), "here").payload)


def test_a_byte_that_changes_makes_no_other_run_of_a_record(tmp_path):
    """Any byte, any value: it stays a record of the same run or is damaged; nothing else is ever raised."""
    run([0], tmp_path)
    ((path, text),) = files(tmp_path / "runs").items()
    chance = random.Random(0)  # noqa: S311 - not for secrets
    damaged = 0
    for place in range(0, len(text), 2):
        path.write_bytes(text[:place] + bytes([chance.choice(b'\x00\xff\x80"{}[],:9eE-x\\')]) + text[place + 1 :])
        (records, torn), _ = Store(tmp_path).load(), damaged
        damaged += torn
        assert [r.id for r in records] == [path.stem] * (1 - torn)
    assert damaged > len(text) / 4


@pytest.mark.parametrize(
    "text",
    [b"", b"\0" * 500, b"\xff\xfe garbage", b"null", b"[]", b"{}", b"[" * 100_000, b'{"schema":1}', b'{"schema":"1"}',
     b'{"schema":1e999}', b"NaN"],
    ids=lambda t: repr(t[:12]),
)  # fmt: skip
@pytest.mark.parametrize("place", ["record", "meta.json"])
def test_garbage_in_place_of_a_file_costs_that_file(tmp_path, text, place):
    """Garbage for a record is put aside; garbage for the settings is replaced."""
    run([0], tmp_path)
    before = payloads(tmp_path)
    path = next(iter(files(tmp_path / "runs"))) if place == "record" else tmp_path / "meta.json"
    path.write_bytes(text)
    outcome = run([0], tmp_path)
    assert outcome.quarantined == (place == "record")
    assert payloads(tmp_path) == before
    assert json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))["schema"] == 1


def test_a_record_under_another_name_is_no_record(tmp_path):
    """The name of a file is not believed, and neither is its place."""
    run([0, 1], tmp_path)
    before = payloads(tmp_path)
    first, second = sorted(files(tmp_path / "runs"))
    second.write_bytes(first.read_bytes())
    (first.parent / "0123456789abcdef.json").write_bytes(first.read_bytes())
    (first.parent / "folder.json").mkdir()
    outcome = run([0, 1], tmp_path)
    assert (outcome.quarantined, outcome.already, outcome.counts) == (3, 1, {"ok": 1})
    assert payloads(tmp_path) == before


@pytest.mark.parametrize("place", ["record", "meta.json", "packed"])
def test_what_a_newer_version_wrote_is_left_alone(tmp_path, place):
    """Not put aside, not overwritten, and nothing is added to it."""
    folder = tmp_path / "faults"
    run([0], folder)
    path = {"record": next(iter(files(folder / "runs"))), "meta.json": folder / "meta.json",
            "packed": tmp_path / "faults.jsonl"}[place]  # fmt: skip
    source = next(iter(files(folder / "runs"))) if place == "packed" else path
    path.write_text(re.sub(r'"schema":1,("spec"|"status"|"suite":\{|"tpobench")', r'"schema":9,\1',
                           source.read_text(encoding="utf-8")), encoding="utf-8")  # fmt: skip
    assert '"schema":9' in path.read_text(encoding="utf-8")
    before = files(tmp_path)
    with pytest.raises(CorruptResults, match="schema 9, this tpobench reads up to 1; upgrade tpobench"):
        run([0, 1], folder)
    assert files(tmp_path) == before


# ---- several commands


def start(tmp_path, *words, **environment):
    arguments = ["run", "--suite", suite_file(tmp_path), "--plugin", RULES, "--seeds", 6, "--out", tmp_path, *words]
    return Command(*arguments, FAULT_JOURNAL=str(tmp_path / "journal"), **environment)


def journal(tmp_path):
    path = tmp_path / "journal"
    return sorted(map(int, path.read_text(encoding="utf-8").split())) if path.exists() else []


@pytest.mark.slow
def test_two_commands_share_the_work(tmp_path):
    """Both end well, every run is trained once, and a damaged record is put aside once."""
    run([5], tmp_path / "faults")
    (path,) = files(tmp_path / "faults" / "runs")
    path.write_bytes(b"torn")
    with (
        start(tmp_path, "--executor", "inline", FAULT_PAUSE="0.1") as first,
        start(tmp_path, "--executor", "inline", FAULT_PAUSE="0.1") as second,
    ):
        ends = [first.end(), second.end()]
    assert [end[0] for end in ends] == [0, 0], ends
    assert journal(tmp_path) == [0, 1, 2, 3, 4, 5]
    run(range(6), tmp_path / "alone")
    assert payloads(tmp_path / "faults") == payloads(tmp_path / "alone")
    assert {r.attempts for r in records_of(tmp_path / "faults").values()} == {1}


@pytest.mark.slow
def test_a_command_takes_over_from_one_that_died(tmp_path):
    """The runs that the other had in hand are due again the moment it is gone."""
    with start(tmp_path, "--executor", "inline", FAULT_STUCK="c", FAULT_STUCK_FROM="0") as first:
        wait_for(lambda: journal(tmp_path) == [0])
        with start(tmp_path, "--executor", "inline") as second:
            wait_for(lambda: len(records_of(tmp_path / "faults")) == 5)
            assert second.process.poll() is None
            first.process.send_signal(signal.SIGKILL)
            code, _, err = second.end()
    assert code == 0, err
    assert journal(tmp_path) == [0, 0, 1, 2, 3, 4, 5]
    assert all(r.status == "ok" for r in records_of(tmp_path / "faults").values())


# ---- hostile and unusual files, names and terminals

HEAD = 'title = "t"\nseeds = 1\nalgorithms = ["clean"]\n'
BODY = '[task]\nkind = "contexts"\n[training]\nsteps = 1\nepochs = 1\noptimizer = "normalized"\nlearning_rate = 0.1\n'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("big", HEAD + BODY + "#" * 1_000_000, "larger than 1 MB"),
        ("torn", (HEAD + BODY)[:60], "not readable as TOML"),
        ("bytes", b"title = '\xff'", "not readable as TOML"),
        ("zeros", b"\0" * 100, "not readable as TOML"),
        ("deep", "title = " + "[" * 100_000, "not readable as TOML"),
        ("yaml", "!!python/object/apply:os.system ['touch hacked']", "not readable as TOML"),
        ("tag", HEAD.replace('"t"', '"!!python/name:os.system"').replace("seeds = 1", "seeds = '!!int 1'") + BODY,
         "'seeds' is"),
        ("up", HEAD.replace("clean", "../../up") + BODY, "../../up"),
        ("root", HEAD.replace("clean", "/etc/passwd") + BODY, "/etc/passwd"),
        ("nothing", HEAD.replace("clean", "") + BODY, "algorithms"),
        ("unknown", HEAD + BODY + "[hyper.nobody]\neta = 1.0\n", "nobody"),
        ("nan", HEAD + BODY.replace("0.1", "nan"), "'training.learning_rate' is nan"),
        ("inf", HEAD + BODY.replace("0.1", "inf"), "'training.learning_rate' is inf"),
        ("nanhyper", HEAD + BODY + "[hyper.clean]\neta = nan\n", "eta"),
        ("date", HEAD + BODY.replace("0.1", "2020-01-01"), "'training.learning_rate' is"),
        ("con", HEAD + BODY, "not con or nul"),
        ("Upper", HEAD + BODY, "use a-z, 0-9, _ and -"),
        ("ünïcode", HEAD + BODY, "use a-z, 0-9, _ and -"),
        ("a b", HEAD + BODY, "use a-z, 0-9, _ and -"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 9 else "",
)  # fmt: skip
def test_a_hostile_suite_file_is_one_line_and_2(tpobench, tmp_path, name, text, words):
    """It is data: nothing in it is run, expanded, or made a path."""
    path = tmp_path / f"{name}.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = tpobench("run", "--suite", path, "--plugin", RULES, "--executor", "inline")
    assert (code, out) == (2, ""), err
    assert words in err
    assert err.count("\n") == 1
    assert len(err) < 1000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "con", "nul", "com1", ".", "..", "a/b", "A", "x" * 65, "ünï", "-x", ""]
)
def test_a_name_that_is_no_folder_is_refused(tpobench, tmp_path, name):
    """Not outside of --out, and not what some systems cannot have."""
    words = ["run", "--suite", suite_file(tmp_path), "--plugin", RULES, "--executor", "inline", f"--name={name}"]
    code, _, err = tpobench(*words)
    assert code == 2
    assert f"--name {name}: " in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "hostile",
    [
        {"suite": "../../../up"},
        {"suite": "/etc/up"},
        {"matching": "/../up"},
        {"cell": {"../../up": 1}},
        {"curve": "../../../up"},
        {"algorithm": "../../up"},
        {"cell": {"contexts": "/../../up"}},
    ],
    ids=str,
)
def test_names_in_a_record_never_become_paths(tpobench, tmp_path, hostile):
    """What reads a record writes where it is told, and nowhere else."""
    from tpobench.identity import canonical, spec_id

    place = tmp_path / "deep" / "down"
    run([0], place / "faults")
    ((_, text),) = files(place / "faults" / "runs").items()
    raw = json.loads(text)
    if metric := hostile.get("curve"):
        raw["curve"][metric] = raw["curve"]["error"]
    else:
        raw["spec"] |= hostile
    raw["spec"]["seed"] = 1
    raw["id"] = spec_id(raw["spec"])
    raw["reporting"]["title"] = "../../../title"
    path = place / "faults" / "runs" / raw["id"][:2] / f"{raw['id']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(canonical(raw) + "\n", encoding="utf-8")
    before = files(tmp_path)
    for words in (["status", place], ["merge", place / "faults", "-o", place / "merged"], ["pack", place],
                  ["report", place / "faults", "--out", place / "out", "--format", "md,csv"]):  # fmt: skip
        code, _, err = tpobench(*words)
        assert code == 0, (words, err)
    allowed = (place / "faults.jsonl", place / "merged.jsonl", place / "merged", place / "out")
    new = set(files(tmp_path)) - set(before)
    assert new
    assert [p for p in new if not any(p.is_relative_to(a) for a in allowed)] == []
    assert before.items() <= files(tmp_path).items()


def test_any_script_fits_any_terminal(tpobench, tmp_path, monkeypatch):
    """Titles from right to left, folders in three scripts, an ASCII terminal: question marks there, UTF-8 in files."""
    title = "\u202eכותרת عنوان 标题 \u0000".replace("\0", "") + " | $x_1$ <script>"
    path = suite_file(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("rules that break on purpose", title), encoding="utf-8")
    out = tmp_path / "ünï código 结果 \N{GRINNING FACE}"
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True) for _ in range(2)]
    monkeypatch.setattr("sys.stdout", streams[0])
    monkeypatch.setattr("sys.stderr", streams[1])
    words = ["run", "--suite", path, "--plugin", RULES, "--executor", "inline", "--out", out]
    for verb in (["plan", *words[1:5], "--out", out], words, ["status", out], ["show", "suite", path],
                 ["report", out / "faults", "--out", out / "rapport", "--format", "md"]):  # fmt: skip
        assert tpobench(*verb)[0] == 0, (verb, streams[1].buffer.getvalue())
    assert b"?" in streams[0].buffer.getvalue()
    assert all(r.reporting["title"] == title for r in records_of(out / "faults").values())
    assert title.encode() in next(iter(files(out / "faults" / "runs").values()))


@pytest.mark.slow
def test_without_cuda_a_cuda_plan_is_refused_with_the_reason(tpobench, tmp_path, monkeypatch):
    """At plan time, exit code 2, and nothing is written."""
    from tpobench.planning.devices import probe

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    probe.cache_clear()
    for verb in ("plan", "run"):
        code, _, err = tpobench(verb, "--suite", suite_file(tmp_path), "--plugin", RULES, "--device", "cuda")
        assert code == 2
        assert re.fullmatch(r"tpobench: device cuda: torch \S+ (is built without CUDA|sees no CUDA device); .*\n", err)
    probe.cache_clear()
    assert not (tmp_path / "results").exists()


# ---- no code in data


def test_nothing_reads_code_from_a_file_of_results():
    """No pickle, no eval, no YAML; `exec` is for plugins alone, and torch loads weights only."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or "", *(alias.name for alias in node.names)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "yaml", "joblib.load"}
            assert not {name.partition(".")[0] for name in names} & forbidden, (path, names)
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            assert called not in {"eval", "__import__", "joblib.load", "np.loads", "pd.read_pickle"}, where
            assert called != "exec" or path.name == "beside.py", where
            words = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert words.get("allow_pickle") != "True", where
            assert called != "torch.load" or words.get("weights_only") == "True", where
            assert words.get("shell") != "True", where


@pytest.mark.parametrize("call", [load_suite, lambda p: parse_record(p.read_text(encoding="utf-8"), "here")])
def test_data_that_looks_like_code_is_refused(tmp_path, call):
    """The classic of every YAML and pickle reader."""
    path = tmp_path / "evil.toml"
    path.write_text("!!python/object/apply:os.system ['touch hacked']", encoding="utf-8")
    with pytest.raises((UsageError, DamagedRecord)):
        call(path)


def test_nothing_is_decided_by_the_time_of_day():
    """Durations are monotonic; the date is for people, in records and baselines."""
    for path in [*(PACKAGE / "records").rglob("*.py"), *(PACKAGE / "execution").rglob("*.py")]:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        called = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
        dates = [name for name in called if re.search(r"\btime\.time$|\.(now|utcnow|today|stat)$", name)]
        assert dates == (["datetime.now"] if path.name == "job.py" else []), path  # `started_utc`


def test_a_record_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Contents first, then the name, then the folder: a loss of power leaves the old file or the new one."""
    from tpobench.records.store import write_atomically

    events, fsync, replace = [], os.fsync, Path.replace

    def synced(handle):
        events.append(Path(f"/proc/self/fd/{handle}").readlink().suffix or "folder")
        fsync(handle)

    def renamed(path, target):
        events.append("name")
        return replace(path, target)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomically(tmp_path / "a" / "record.json", "whole")
    assert events == [".tmp", "name", "folder"]
    assert (tmp_path / "a" / "record.json").read_text(encoding="utf-8") == "whole"
