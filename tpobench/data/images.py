"""Labelled images for the tasks that classify: MNIST, and scikit-learn's digits as the stand-in that is always here.

What is loaded is hashed as it is read, so that equal specs train on equal bytes on every machine.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tpobench.data import files
from tpobench.errors import DataUnavailable, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATA = ("mnist", "digits")
CLASSES = 10
UNSIGNED_BYTE = 8  # the only IDX type here
DIGITS_TRAIN = 1297  # of 1797
DIGITS = "digits/digits"
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"  # of the pixels, then the labels


@dataclass(frozen=True)
class Images:
    """Images as rows of pixel intensities from 0 to `highest`, each with its class."""

    train: NDArray[np.uint8]  # (N, P)
    train_label: NDArray[np.int64]  # (N,) 0 to classes - 1
    test: NDArray[np.uint8]  # (M, P)
    test_label: NDArray[np.int64]  # (M,)
    classes: int
    highest: int  # the brightest intensity: 255 for MNIST, 16 for the digits
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # file -> {sha256, verified}


_loaded: dict[tuple[str, str], Images] = {}  # by name and hash, so what is kept never goes stale


def load_images(data: str, sha256: str = "") -> Images:
    """The images of a data set, read once per process; the arrays are read-only.

    data: mnist (60,000 and 10,000 images of 28 x 28), or digits (1,797 images of 8 x 8: in scikit-learn's order, the
    first 1,297 are for training and the last 500 for testing, with 46 to 51 test images of each class).
    sha256: the fingerprint of the unverified copy that the run was allowed to use; empty: the published bytes.

    Raises:
        UsageError: no such data set.
        DataUnavailable: no copy is here, or the one that is here has other bytes.
    """
    if data not in DATA:
        raise unknown("data", data, DATA)
    if (data, sha256) not in _loaded:
        _loaded[data, sha256] = _mnist(sha256) if data == "mnist" else _digits(sha256)
    return _loaded[data, sha256]


def sources(data: str, sha256: str = "") -> Mapping[str, Mapping[str, Any]]:
    """Where the images of this process came from: file -> {sha256, verified}; empty where none were loaded."""
    loaded = _loaded.get((data, sha256))
    return {} if loaded is None else loaded.sources


def parse_idx(contents: bytes, name: str) -> NDArray[np.uint8]:
    """The array in an IDX file: 0 0 type rank, then `rank` big-endian sizes, then the bytes in C order.

    Raises:
        DataUnavailable: it is no such file.
    """
    import numpy as np  # noqa: PLC0415 - the command line does without

    rank = contents[3] if len(contents) >= 4 and contents[:3] == bytes((0, 0, UNSIGNED_BYTE)) else 0
    start = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", contents[4:start]) if rank and len(contents) >= start else ()
    if not shape or len(contents) != start + math.prod(shape):
        msg = f"{name} is no IDX file of unsigned bytes; fetch it anew"
        raise DataUnavailable(msg)
    return np.frombuffer(contents, np.uint8, offset=start).reshape(shape)


def _mnist(sha256: str) -> Images:
    names = [file.name for file in files.files_of("mnist")]
    contents = {name: files.read(name)[0] for name in names}
    known = {name: _hash(bytes_) for name, bytes_ in contents.items()}
    published = {file.name: file.sha256 for file in files.files_of("mnist")}
    _require_expected("mnist", known, published, sha256)
    train, train_label, test, test_label = (parse_idx(contents[name], name) for name in names)
    if len(train) != len(train_label) or len(test) != len(test_label) or train.shape[1:] != test.shape[1:]:
        sizes = ", ".join("x".join(map(str, a.shape)) for a in (train, train_label, test, test_label))
        msg = f"the files of mnist here do not belong together: their arrays are {sizes}; fetch them anew"
        raise DataUnavailable(msg)
    return Images(
        train.reshape(len(train), -1),
        _labels(train_label, names[1]),
        test.reshape(len(test), -1),
        _labels(test_label, names[3]),
        classes=CLASSES,
        highest=255,
        sources=_sources(known, published),
    )


def _digits(sha256: str) -> Images:
    """The UCI handwritten digits that scikit-learn carries."""
    import numpy as np  # noqa: PLC0415 - the command line does without

    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # noqa: PLC0415 - a second
    except ImportError as error:
        msg = f"the digits come with scikit-learn, which cannot be imported ({error}); pip install scikit-learn"
        raise DataUnavailable(msg) from error
    pixels, labels = load_digits(return_X_y=True)
    image, label = pixels.astype(np.uint8), labels.astype(np.int64)
    known = {DIGITS: _hash(image.tobytes() + labels.astype(np.uint8).tobytes())}
    published = {DIGITS: DIGITS_SHA256}
    _require_expected("digits", known, published, sha256)
    image.flags.writeable = label.flags.writeable = False
    n = DIGITS_TRAIN
    return Images(
        image[:n], label[:n], image[n:], label[n:], classes=CLASSES, highest=16, sources=_sources(known, published)
    )


def _hash(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def _labels(label: NDArray[np.uint8], name: str) -> NDArray[np.int64]:
    if label.ndim != 1 or label.max(initial=0) >= CLASSES:
        msg = f"{name} does not hold one class from 0 to {CLASSES - 1} for each image; fetch it anew"
        raise DataUnavailable(msg)
    wide = label.astype("int64")
    wide.flags.writeable = False
    return wide


def _sources(known: Mapping[str, str], published: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {name: {"sha256": sha256, "verified": sha256 == published[name]} for name, sha256 in known.items()}


def _require_expected(data: str, known: Mapping[str, str], published: Mapping[str, str], sha256: str) -> None:
    """The bytes are the published ones, or those of the copy that the run names."""
    if sha256:
        fingerprint = files.fingerprint(known)
        if fingerprint != sha256:
            msg = f"the copy of {data} here has fingerprint {fingerprint}, the run is made with the one of {sha256}"
            raise DataUnavailable(msg)
        return
    for name, digest in known.items():
        if digest != published[name]:
            msg = f"{name} here has sha256 {digest}, the published file has {published[name]}"
            raise DataUnavailable(msg)
