"""Data files are found where people keep them, and an altered copy never passes for the published one."""

import dataclasses
import gzip
import hashlib

import pytest

from tpobench.data.files import CATALOG, DataFile, Found, Missing, digest, find
from tpobench.errors import UsageError

PUBLISHED = b"the published bytes\n" * 100
OTHER = PUBLISHED.replace(b"published", b"publishEd", 1)
DATA = DataFile("toy", "numbers-idx1", hashlib.sha256(PUBLISHED).hexdigest(), len(PUBLISHED), ("TOY/raw", "raw"))
TOY = {DATA.name: DATA}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The user's cache folder, empty."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: folder / name)
    return folder / "tpobench"


def put(path, contents=PUBLISHED):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(contents) if path.suffix == ".gz" else contents)
    return path


@pytest.mark.parametrize(
    "file",
    ["toy/numbers-idx1", "toy/numbers-idx1.gz", "TOY/raw/numbers-idx1", "raw/numbers-idx1.gz", "numbers-idx1.gz"],
)
def test_a_copy_is_found_in_the_usual_layouts(tmp_path, file):
    """A folder per data set, torchvision's raw folder, the folder itself; plain or gzipped."""
    path = put(tmp_path / "d" / file)
    found = find("toy/numbers-idx1", tmp_path / "d", TOY)
    assert isinstance(found, Found)
    assert found.path.resolve() == path
    assert (found.verified, found.sha256, found.problem) == (True, DATA.sha256, "")


def test_the_hash_is_that_of_the_uncompressed_bytes(tmp_path):
    """Two ways to compress are one copy."""
    for level in (0, 9):
        path = tmp_path / f"{level}.gz"
        path.write_bytes(gzip.compress(PUBLISHED, level, mtime=level))
        assert digest(path) == (DATA.sha256, len(PUBLISHED))
    assert (tmp_path / "0.gz").read_bytes() != (tmp_path / "9.gz").read_bytes()


def test_places_are_searched_in_order(tmp_path, monkeypatch, cache):
    """The folder named on the command line, then the environment's, then the cache."""
    put(cache / "toy" / "numbers-idx1")
    assert find("toy/numbers-idx1", None, TOY).path.is_relative_to(cache)
    put(tmp_path / "env" / "numbers-idx1")
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path / "env"))
    assert find("toy/numbers-idx1", None, TOY).path.is_relative_to(tmp_path / "env")
    assert find("toy/numbers-idx1", tmp_path / "nothing", TOY).path.is_relative_to(tmp_path / "env")
    put(tmp_path / "named" / "numbers-idx1")
    assert find("toy/numbers-idx1", tmp_path / "named", TOY).path.is_relative_to(tmp_path / "named")
    monkeypatch.setenv("TPOBENCH_DATA_DIR", "")
    assert find("toy/numbers-idx1", None, TOY).path.is_relative_to(cache)


def test_an_altered_copy_is_unverified_and_says_why(tmp_path):
    """One letter of one line; both hashes are told."""
    put(tmp_path / "toy" / "numbers-idx1.gz", OTHER)
    found = find("toy/numbers-idx1", tmp_path, TOY)
    assert (found.verified, found.sha256) == (False, hashlib.sha256(OTHER).hexdigest())
    assert found.sha256 in found.problem
    assert DATA.sha256 in found.problem


def test_an_altered_copy_in_the_place_asked_for_is_not_passed_over_in_silence(tmp_path, cache):
    """Whoever names a folder is told about that folder; within it a verified copy comes first."""
    put(cache / "toy" / "numbers-idx1")
    put(tmp_path / "toy" / "numbers-idx1", OTHER)
    assert not find("toy/numbers-idx1", tmp_path, TOY).verified
    good = put(tmp_path / "TOY" / "raw" / "numbers-idx1.gz")
    assert find("toy/numbers-idx1", tmp_path, TOY) == Found(DATA, good, verified=True, sha256=DATA.sha256)


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda _: b"no gzip file", lambda b: b[:40] + b"xxx" + b[43:]])
def test_a_broken_archive_is_unverified(tmp_path, damage):
    """Cut, no archive at all, or with flipped bytes."""
    path = put(tmp_path / "toy" / "numbers-idx1.gz")
    path.write_bytes(damage(path.read_bytes()))
    found = find("toy/numbers-idx1", tmp_path, TOY)
    assert (found.verified, found.path) == (False, path)
    assert found.problem.startswith("cannot be read: ")


def test_a_missing_file_says_what_was_looked_for_and_what_would_work(tmp_path, cache):
    """Name, size, hash, every folder, both remedies."""
    missing = find("toy/numbers-idx1", tmp_path / "d", TOY)
    assert isinstance(missing, Missing)
    assert missing.searched == (tmp_path / "d", cache)
    for part in (
        "toy/numbers-idx1",
        "2000 bytes",
        DATA.sha256,
        str(tmp_path / "d"),
        str(cache),
        "data fetch toy",
        "--data-dir",
    ):
        assert part in str(missing)


def test_an_unknown_name_is_refused():
    """With the nearest one."""
    with pytest.raises(UsageError, match="did you mean 'mnist/t10k-labels-idx1-ubyte'"):
        find("mnist/t10k-labels-idx1-ubyt")


def test_looking_changes_nothing(tmp_path):
    """No folder is made and no file is touched."""
    put(tmp_path / "d" / "toy" / "numbers-idx1.gz")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    find("toy/numbers-idx1", tmp_path / "d", TOY)
    find("toy/numbers-idx1", tmp_path / "none", TOY)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_the_catalogue_is_consistent():
    """IDX headers of 16 and 8 bytes, 60000 and 10000 images of 28 x 28; hashes of 256 bits, no two alike."""
    sizes = {name: data.size for name, data in CATALOG.items()}
    assert sizes["mnist/train-images-idx3-ubyte"] == 16 + 60_000 * 28 * 28
    assert sizes["mnist/train-labels-idx1-ubyte"] == 8 + 60_000
    assert sizes["mnist/t10k-images-idx3-ubyte"] == 16 + 10_000 * 28 * 28
    assert sizes["mnist/t10k-labels-idx1-ubyte"] == 8 + 10_000
    hashes = [bytes.fromhex(data.sha256) for data in CATALOG.values()]
    assert {len(h) for h in hashes} == {32}
    assert len(set(hashes)) == len(hashes) == 7
    assert all(dataclasses.replace(data).name == name for name, data in CATALOG.items())
