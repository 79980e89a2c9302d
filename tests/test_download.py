"""What is fetched is verified before it has its name: whatever a server sends, no wrong file is ever found."""

import dataclasses
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from data_helpers import put, serving

from tpobench.data.download import fetch
from tpobench.data.files import DataFile, Found, Missing, find
from tpobench.errors import StorageFull, UsageError

PUBLISHED = bytes(range(256)) * 2000  # 512,000 bytes in several chunks
OTHER = PUBLISHED.replace(b"\x07", b"\x08", 1)
PACKED = gzip.compress(PUBLISHED, 6, mtime=1)
FILE = DataFile("toy", "numbers-idx1", hashlib.sha256(PUBLISHED).hexdigest(), len(PUBLISHED))
TOY = {FILE.name: FILE}
PATH = "/mnist/numbers-idx1.gz"
MIRRORED = "/toy/numbers-idx1.gz"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """The servers of these tests are asked directly."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def at(*hosts, path=PATH):
    """The file with its addresses."""
    return dataclasses.replace(FILE, urls=tuple(host + path for host in hosts))


def only(place, *files, **how):
    """The outcome of one file."""
    (outcome,) = fetch(files, place, **how)
    return outcome


def left(place):
    """Files below a folder, locks apart."""
    return sorted(p.name for p in place.rglob("*") if p.is_file() and p.suffix != ".lock")


def cut(handler):
    """Promise everything, send half."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PACKED)))
    handler.end_headers()
    handler.wfile.write(PACKED[: len(PACKED) // 2])


def silent(handler):
    """Promise everything, send nothing for longer than anyone waits here."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PACKED)))
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(1)


def endless(handler):
    """Send until the other side hangs up."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 2**16)
    except OSError:
        pass


def test_a_good_file_is_fetched_verified_and_found(tmp_path):
    """It keeps the form it came in, and nothing else stays behind."""
    with serving({PATH: PACKED}) as (host, _):
        outcome = only(tmp_path, at(host))
    path = tmp_path / "toy" / "numbers-idx1.gz"
    assert (outcome.status, outcome.path, outcome.text) == ("fetched", path, host + PATH)
    assert path.read_bytes() == PACKED
    assert left(tmp_path) == ["numbers-idx1.gz"]
    assert find("toy/numbers-idx1", tmp_path, TOY) == Found(FILE, path, verified=True, sha256=FILE.sha256)


def test_a_file_that_was_compressed_anew_is_the_same_file(tmp_path):
    """What counts is what is in it."""
    with serving({PATH: gzip.compress(PUBLISHED, 1, mtime=99)}) as (host, _):
        assert only(tmp_path, at(host)).status == "fetched"


def test_a_plain_file_stays_plain(tmp_path):
    """As its address names it."""
    with serving({"/a/numbers-idx1": PUBLISHED}) as (host, _):
        assert only(tmp_path, at(host, path="/a/numbers-idx1")).path == tmp_path / "toy" / "numbers-idx1"
    assert left(tmp_path) == ["numbers-idx1"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (gzip.compress(OTHER, mtime=0), hashlib.sha256(OTHER).hexdigest()),
        (gzip.compress(OTHER, mtime=0), FILE.sha256),
        (PACKED[:-40], "cannot be read"),
        (b"<html>please sign in</html>", "cannot be read"),
        (b"", "0 bytes"),
        (404, "HTTP 404"),
        (503, "HTTP 503"),
        (cut, f"ended after {len(PACKED) // 2} of {len(PACKED)} bytes"),
        (silent, "timed out"),
        (endless, "more than"),
    ],
    ids=["other", "other-both", "damaged", "page", "empty", "404", "503", "cut", "silent", "endless"],
)
def test_a_bad_answer_leaves_nothing_and_says_why(tmp_path, answer, told):
    """Each with its own words; the next address of the file is asked, and here has it."""
    with serving({PATH: answer}) as (host, _), serving({PATH: PACKED}) as (second, _):
        outcome = only(tmp_path, at(host), silence_s=0.3)
        assert outcome.status == "failed"
        assert told in outcome.text
        assert host in outcome.text
        assert left(tmp_path) == []
        assert isinstance(find("toy/numbers-idx1", tmp_path, TOY), Missing)
        assert only(tmp_path, at(host, second), silence_s=0.3).text == second + PATH


def test_a_host_that_is_not_there_is_told(tmp_path):
    """A port that nobody listens on."""
    with serving({}) as (host, _):
        pass
    outcome = only(tmp_path, at(host))
    assert (outcome.status, "refused" in outcome.text) == ("failed", True)


def test_what_is_here_is_not_fetched_again(tmp_path):
    """In any of the usual layouts; and a command that was cut short goes on with the files that it lacks."""
    second = dataclasses.replace(FILE, file="labels", folders=("TOY/raw",))
    put(tmp_path / "TOY" / "raw" / "labels", PUBLISHED)
    with serving({PATH: PACKED}) as (host, asked):
        files = [at(host), dataclasses.replace(second, urls=(f"{host}/mnist/labels.gz",))]
        assert [o.status for o in fetch(files, tmp_path)] == ["fetched", "already here"]
        assert [o.status for o in fetch(files, tmp_path)] == ["already here", "already here"]
        assert asked == [PATH]


def test_one_file_that_fails_does_not_keep_the_others_away(tmp_path):
    """Files are independent."""
    lost = dataclasses.replace(FILE, file="lost")
    with serving({PATH: PACKED}) as (host, _):
        files = [dataclasses.replace(lost, urls=(f"{host}/lost.gz",)), at(host)]
        assert [o.status for o in fetch(files, tmp_path)] == ["failed", "fetched"]


def test_a_mirror_is_asked_first(tmp_path, monkeypatch):
    """Its folders are named after the data sets; what it lacks comes from the published addresses."""
    with serving({MIRRORED: PACKED}) as (mirror, seen), serving({PATH: PACKED}) as (host, asked):
        monkeypatch.setenv("TPOBENCH_MIRROR", mirror + "/")
        assert only(tmp_path / "a", at(host)).text == mirror + MIRRORED
        monkeypatch.setenv("TPOBENCH_MIRROR", f"{mirror}/elsewhere")
        assert only(tmp_path / "b", at(host)).text == host + PATH
    assert (seen, asked) == ([MIRRORED, "/elsewhere" + MIRRORED], [PATH])


@pytest.mark.parametrize("address", ["ftp://host/x", "file:///etc", "host.example"])
def test_a_mirror_is_an_http_address(tmp_path, monkeypatch, address):
    """Nothing else is ever opened."""
    monkeypatch.setenv("TPOBENCH_MIRROR", address)
    with pytest.raises(UsageError, match="http:// or https://"):
        only(tmp_path, at("http://127.0.0.1:9"))


def test_offline_asks_nobody(tmp_path, monkeypatch):
    """What is here is still found; what is not says how to get it."""
    monkeypatch.setenv("TPOBENCH_OFFLINE", "1")
    with serving({PATH: PACKED}) as (host, asked):
        outcome = only(tmp_path, at(host))
        put(tmp_path / "toy" / "numbers-idx1.gz", PUBLISHED)
        assert only(tmp_path, at(host)).status == "already here"
        assert asked == []
    assert outcome.status == "failed"
    assert "TPOBENCH_OFFLINE" in outcome.text
    assert str(tmp_path / "toy" / "numbers-idx1.gz") in outcome.text


def test_a_file_that_is_in_the_way_is_kept_unless_told_otherwise(tmp_path):
    """It may be somebody's own; --force replaces it, but never by a worse one."""
    path = put(tmp_path / "toy" / "numbers-idx1.gz", OTHER)
    with serving({PATH: PACKED}) as (host, asked):
        outcome = only(tmp_path, at(host))
        assert (outcome.status, asked, gzip.decompress(path.read_bytes()) == OTHER) == ("failed", [], True)
        assert "--force" in outcome.text
        assert only(tmp_path, at(host, path="/none"), force=True).status == "failed"
        assert gzip.decompress(path.read_bytes()) == OTHER
        assert only(tmp_path, at(host), force=True).status == "fetched"
        assert path.read_bytes() == PACKED


def test_two_commands_at_once_fetch_a_file_once(tmp_path):
    """The second waits for the first, and finds it there."""
    with serving({PATH: lambda h: (time.sleep(0.2), slowly(h))}) as (host, asked):
        outcomes = []
        threads = [threading.Thread(target=lambda: outcomes.append(only(tmp_path, at(host)).status)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["already here", "already here", "fetched"]
    assert asked == [PATH]
    assert left(tmp_path) == ["numbers-idx1.gz"]


def slowly(handler):
    """In two halves."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PACKED)))
    handler.end_headers()
    handler.wfile.write(PACKED[:1000])
    handler.wfile.flush()
    time.sleep(0.05)
    handler.wfile.write(PACKED[1000:])


def test_a_folder_that_takes_no_files_is_told(tmp_path):
    """A file where the folder should be, as root may write anywhere else."""
    (tmp_path / "toy").write_text("in the way")
    with serving({PATH: PACKED}) as (host, _), pytest.raises(StorageFull, match="--data-dir"):
        only(tmp_path, at(host))


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_no_file_that_is_found(tmp_path):
    """Half of it has arrived; the next command starts over, and nothing of the first stays."""
    half = threading.Event()

    def stop_in_the_middle(handler):
        if half.is_set():
            slowly(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(PACKED)))
        handler.end_headers()
        handler.wfile.write(PACKED[: len(PACKED) // 2])
        handler.wfile.flush()
        half.set()
        time.sleep(0.5)

    program = (
        "import sys; from pathlib import Path; from tpobench.data.files import DataFile\n"
        "from tpobench.data.download import fetch\n"
        f"list(fetch([DataFile('toy', 'numbers-idx1', {FILE.sha256!r}, {FILE.size}, (), (sys.argv[1],))],"
        " Path(sys.argv[2])))"
    )
    with serving({PATH: stop_in_the_middle}) as (host, _):
        child = subprocess.Popen([sys.executable, "-c", program, host + PATH, str(tmp_path)])
        assert half.wait(20)
        time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert isinstance(find("toy/numbers-idx1", tmp_path, TOY), Missing)
        assert only(tmp_path, at(host)).status == "fetched"
    assert left(tmp_path) == ["numbers-idx1.gz"]


# ---- the command line


@pytest.fixture
def published(monkeypatch, tmp_path):
    """gsm8k is two files of this test's server, and the user's cache is empty."""
    from tpobench.data.files import CATALOG

    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: tmp_path / "cache" / name)
    answers = {f"/gsm8k/{name}.jsonl": f'{{"question": "{name}"}}\n'.encode() for name in ("train", "test")}
    with serving(answers) as (host, asked):
        for path, contents in answers.items():
            data = DataFile(
                "gsm8k",
                path.rpartition("/")[2],
                hashlib.sha256(contents).hexdigest(),
                len(contents),
                (),
                (host + path,),
            )
            monkeypatch.setitem(CATALOG, data.name, data)
        yield answers, asked


def test_fetch_says_one_line_per_file_and_list_finds_them(command_line, published, tmp_path):
    """In the folder that was named; a second time nothing is asked."""
    code, out, _ = command_line("data", "fetch", "gsm8k", "--data-dir", tmp_path / "d")
    assert code == 0
    assert [line.partition(" from ")[0] for line in out.splitlines()] == [
        "gsm8k/train.jsonl: fetched",
        "gsm8k/test.jsonl: fetched",
    ]
    assert all("verified: " + str(tmp_path / "d") in line for line in out.splitlines())
    code, out, _ = command_line("data", "fetch", "gsm8k", "--data-dir", tmp_path / "d", "--json")
    assert (code, [f["status"] for f in json.loads(out)["files"]]) == (0, ["already here", "already here"])
    assert len(published[1]) == 2
    code, out, _ = command_line("data", "list", "--data-dir", tmp_path / "d", "--json")
    status = {f["file"]: (f["status"], f["path"]) for f in json.loads(out)["files"]}
    assert code == 0
    assert status["gsm8k/test.jsonl"] == ("verified", str(tmp_path / "d" / "gsm8k" / "test.jsonl"))
    assert status["mnist/t10k-labels-idx1-ubyte"] == ("missing", "-")
    assert status["digits/digits"] == ("verified", "in scikit-learn")


@pytest.mark.usefixtures("published")
def test_the_default_is_the_users_cache(command_line, tmp_path):
    """Where every run looks."""
    assert command_line("data", "fetch", "gsm8k")[0] == 0
    assert left(tmp_path / "cache" / "tpobench") == ["test.jsonl", "train.jsonl"]


def test_a_file_that_cannot_be_had_is_5(command_line, published, tmp_path):
    """The others are there, and the same command goes on."""
    answers, _ = published
    lost = answers.pop("/gsm8k/test.jsonl")
    code, out, err = command_line("data", "fetch", "gsm8k", "--data-dir", tmp_path / "d")
    assert code == 5
    assert "gsm8k/test.jsonl: failed: http://127.0.0.1" in out
    assert "HTTP 404" in out
    assert err.splitlines()[-1] == "tpobench: 1 of 2 files are not here; the same command goes on with them"
    answers["/gsm8k/test.jsonl"] = lost
    assert command_line("data", "fetch", "gsm8k", "--data-dir", tmp_path / "d")[0] == 0


def test_unknown_data_sets_are_refused_and_digits_need_no_fetching(command_line):
    """With what there is."""
    code, _, err = command_line("data", "fetch", "mnits")
    assert (code, err.strip()) == (
        2, "tpobench: unknown data set 'mnits'; did you mean 'mnist'? valid: digits, gsm8k, mnist, smollm2"
    )  # fmt: skip
    code, _, err = command_line("data", "fetch", "digits")
    assert (code, "nothing to fetch" in err) == (0, True)


@pytest.mark.usefixtures("published")
def test_a_copy_that_is_read_first_is_told(command_line, monkeypatch, tmp_path):
    """Fetching into the cache does not help where the environment names a folder with another file."""
    put(tmp_path / "env" / "gsm8k" / "test.jsonl", b"other")
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path / "env"))
    code, _, err = command_line("data", "fetch", "gsm8k")
    assert code == 0
    assert f"runs read {tmp_path / 'env' / 'gsm8k' / 'test.jsonl'} first" in err


@pytest.mark.usefixtures("published")
def test_a_full_disk_is_6(command_line, monkeypatch, tmp_path):
    """In one line, with the remedy."""
    monkeypatch.setattr("tpobench.data.download.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    code, _, err = command_line("data", "fetch", "gsm8k", "--data-dir", tmp_path / "d")
    assert (code, len(err.splitlines())) == (6, 1)
    assert "No space; name another folder with --data-dir" in err
    assert left(tmp_path / "d") == []


def test_the_environment_is_read_at_every_call(monkeypatch):
    """TPOBENCH_OFFLINE=0 and an empty value allow the network."""
    from tpobench.data.download import offline

    for value, forbidden in (("1", True), ("yes", True), ("0", False), ("", False)):
        monkeypatch.setitem(os.environ, "TPOBENCH_OFFLINE", value)
        assert offline() == forbidden
