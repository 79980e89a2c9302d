"""Images are what their names and hashes say, in the order and the split that every machine has."""

import hashlib

import numpy as np
import pytest
from data_helpers import idx, publish, put, put_mnist, small_mnist

from tpobench.data import files as data
from tpobench.data import images
from tpobench.data.images import load_images, parse_idx, sources
from tpobench.errors import DataUnavailable, UsageError


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch, tmp_path):
    """No images of another test, no data of this machine."""
    monkeypatch.setattr(images, "_loaded", {})
    monkeypatch.setattr(data, "_paths", {})
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: tmp_path / "cache" / name)


def fingerprint_by_hand(files):
    """As `sha256sum` would list them, hashed again."""
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def test_digits_are_split_the_same_way_everywhere():
    """scikit-learn's order; 1,297 to train, 500 to test; the first test image and all counts as published."""
    found = load_images("digits")
    assert (found.train.shape, found.test.shape) == ((1297, 64), (500, 64))
    assert (found.classes, found.highest) == (10, 16)
    assert (found.train.dtype, found.train_label.dtype) == (np.uint8, np.int64)
    assert found.train_label[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert found.train[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # the first line of the first zero
    assert np.bincount(found.test_label).tolist() == [50, 51, 49, 51, 51, 51, 51, 50, 46, 50]
    assert max(found.train.max(), found.test.max()) == 16
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    assert (np.vstack([found.train, found.test]) == pixels).all()
    assert (np.concatenate([found.train_label, found.test_label]) == labels).all()


def test_images_are_read_once_and_cannot_be_changed():
    """One array for all jobs of a process."""
    found = load_images("digits")
    assert load_images("digits") is found
    with pytest.raises(ValueError, match="read-only"):
        found.train[0, 0] = 1


def test_other_digits_are_refused(monkeypatch):
    """Should scikit-learn ever change them; a run that names the change may have them."""
    hashed = sources("digits")
    assert hashed == {}
    load_images("digits")
    own = {"digits/digits": images.DIGITS_SHA256}
    assert sources("digits") == {"digits/digits": {"sha256": images.DIGITS_SHA256, "verified": True}}
    monkeypatch.setattr(images, "DIGITS_SHA256", "0" * 64)
    monkeypatch.setattr(images, "_loaded", {})
    with pytest.raises(DataUnavailable, match=f"the published file has {'0' * 64}"):
        load_images("digits")
    mark = data.fingerprint(own)
    assert load_images("digits", mark).sources["digits/digits"]["verified"] is False


def test_mnist_is_read_from_its_four_files(monkeypatch, tmp_path):
    """Rows of pixels and 64-bit labels; the files say that they are the published ones."""
    files = small_mnist()
    publish(monkeypatch, files)
    put_mnist(tmp_path, files)
    found = load_images("mnist")
    assert (found.train.shape, found.test.shape) == ((30, 36), (20, 36))
    assert found.train_label.tolist() == [*range(10), *range(10), *range(10)]
    assert found.train[13].tolist() == list(files["mnist/train-images-idx3-ubyte"][16 + 13 * 36 : 16 + 14 * 36])
    assert (found.classes, found.highest) == (10, 255)
    assert set(found.sources) == set(files)
    assert all(file["verified"] for file in found.sources.values())
    assert not found.train.flags.writeable


def test_torchvisions_folder_serves(monkeypatch, tmp_path):
    """MNIST/raw, uncompressed."""
    files = small_mnist()
    publish(monkeypatch, files)
    for name, contents in files.items():
        put(tmp_path / "MNIST" / "raw" / name.partition("/")[2], contents)
    assert load_images("mnist").train.shape == (30, 36)


def test_an_unverified_copy_is_read_only_by_its_name(tmp_path):
    """The published bytes are asked for unless the run names the copy, whose fingerprint anybody can compute."""
    files = small_mnist()
    put_mnist(tmp_path, files)
    with pytest.raises(DataUnavailable, match="the published file has ba891046e650"):
        load_images("mnist")
    mark = fingerprint_by_hand(files)
    assert load_images("mnist", mark).train.shape == (30, 36)
    labels = "mnist/t10k-labels-idx1-ubyte"
    assert sources("mnist", mark)[labels] == {"sha256": hashlib.sha256(files[labels]).hexdigest(), "verified": False}


def test_a_copy_that_changed_is_refused(tmp_path, monkeypatch):
    """One label of one image."""
    files = small_mnist()
    put_mnist(tmp_path, files)
    mark = fingerprint_by_hand(files)
    labels = files["mnist/t10k-labels-idx1-ubyte"]
    put(tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz", labels[:-1] + b"\x00")
    with pytest.raises(DataUnavailable, match=f"the run is made with the one of {mark}"):
        load_images("mnist", mark)
    put(tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz", labels)
    first = load_images("mnist", mark)
    monkeypatch.setattr(images, "_loaded", {})
    assert (load_images("mnist", mark).test_label == first.test_label).all()


def test_the_paths_that_were_found_come_first(tmp_path, monkeypatch):
    """A process that was told where to read does; where such a path does not exist it searches itself."""
    files = small_mnist()
    mark = fingerprint_by_hand(files)
    put_mnist(tmp_path / "told", files)
    told = {name: str(tmp_path / "told" / f"{name}.gz") for name in files}
    with pytest.raises(DataUnavailable, match="is in none of"):
        load_images("mnist", mark)
    data.prefer(told)
    load_images("mnist", mark)
    monkeypatch.setattr(images, "_loaded", {})
    put_mnist(tmp_path, files)
    data.prefer(dict.fromkeys(told, "/no/such/file"))
    load_images("mnist", mark)


def test_idx_is_a_header_and_bytes():
    """0 0 8 rank, sizes with the highest byte first, then rows."""
    header = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    assert parse_idx(header + bytes(range(6)), "x").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"\x00\x00\x08",
        bytes([0, 0, 8, 0]),
        bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"ab",
        bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"abcd",
        bytes([0, 0, 8, 3, 0, 0]),
        bytes([0, 0, 9, 1, 0, 0, 0, 1]) + b"a",
        b"<html>",
    ],
)
def test_what_is_no_idx_is_refused(contents):
    """Cut, too long, of another type, or something else."""
    with pytest.raises(DataUnavailable, match="x is no IDX file of unsigned bytes"):
        parse_idx(contents, "x")


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("train-labels-idx1-ubyte", np.zeros(29, np.uint8), "do not belong together: their arrays are 30x6x6, 29,"),
        ("t10k-images-idx3-ubyte", np.zeros((20, 5, 6), np.uint8), "do not belong together"),
        ("t10k-labels-idx1-ubyte", np.full(20, 10, np.uint8), "one class from 0 to 9"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, name, array, told):
    """An unverified copy may hold anything."""
    files = {**small_mnist(), f"mnist/{name}": idx(array)}
    put_mnist(tmp_path, files)
    with pytest.raises(DataUnavailable, match=told):
        load_images("mnist", fingerprint_by_hand(files))


def test_an_unknown_name_is_refused():
    """With the nearest one."""
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        load_images("mnits")


def test_digits_without_scikit_learn_are_unavailable(monkeypatch):
    """In one line, with the remedy."""
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(DataUnavailable, match="pip install scikit-learn"):
        load_images("digits")
