"""Several files and folders: which are read, and the names that their paths give where no column does.

The pieces of a path are its folders, below the one folder that was given or the one that all arguments lie in, and the
parts of the file's name between `_`.  The seed is the piece of a word and a number (`seed_3`, `run-3`, `s3`), else the
only number.  Pieces that say nothing (`progress`) are left out, and where there are too many what is the same in all
files; what remains is the algorithm and then the task: `ppo/walker/seed_3.csv`, `ppo_walker_3.csv`.  Anything else is
refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tpobench.algorithms.catalog import BUILT_IN
from tpobench.audit.grids import short
from tpobench.audit.names import SEED_WORD, seed_key
from tpobench.errors import NothingToDo, UsageError

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
SAYS_NOTHING = frozenset({
    "progress", "result", "results", "data", "metric", "metrics", "log", "logs", "eval", "evaluation", "evaluations",
    "monitor", "score", "scores", "curve", "curves", "table", "output",
})  # fmt: skip
NAMED_SEED = re.compile(rf"{SEED_WORD}[ _-]?(\d{{1,18}})", re.IGNORECASE | re.ASCII)
NUMBER = re.compile(r"\d{1,18}", re.ASCII)
IN_NAME = re.compile(rf"(?:^|[_-])({SEED_WORD}[_-]?\d{{1,18}})(?=[_-]|$)", re.IGNORECASE | re.ASCII)
ALGORITHMS = {*BUILT_IN, "sac", "td3", "dqn", "ddpg", "a2c", "a3c", "trpo", "impala", "rainbow"}
ONE_TASK = "all"  # the name of a task that nothing names


@dataclass(frozen=True)
class File:
    """A file, and the folder below which its path gives names."""

    path: Path
    root: Path
    run: str = ""  # the name of one run in it, which stands for the file's

    @property
    def pieces(self) -> list[str]:
        """`ppo/walker_seed_3.csv`: ppo, walker, seed_3."""
        name = self.path.name[: -len(".gz")] if self.path.name.lower().endswith(".gz") else self.path.name
        stem = name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in ENDINGS else name
        *above, stem = (self.run or stem).split("/")
        folders = [*Path(os.path.relpath(self.path.parent, self.root)).parts, *above]
        parts = IN_NAME.split(stem)  # what is no seed, a seed, what is no seed, ...
        pieces = [[part] if i % 2 else part.split("_") for i, part in enumerate(parts)]
        return [*folders, *(piece for part in pieces for piece in part if piece.strip("-"))]


def files_of(arguments: Sequence[Path]) -> list[File]:
    """The files themselves, and those below folders, in the order of their names; each once.

    Raises:
        UsageError: a name that no file can have, or a folder that cannot be read.
        NothingToDo: a folder without any.
    """
    every = [Path(os.path.normpath(p.absolute())) for p in arguments]
    files: list[File] = []
    try:
        root = (
            every[0] if len(every) == 1 and every[0].is_dir() else Path(os.path.commonpath([p.parent for p in every]))
        )
        for path in arguments:
            below = [File(p, root) for p in (_tables(path) if path.is_dir() else [path])]
            if not below:
                msg = f"no table ({', '.join(ENDINGS)}, also with .gz) below {path}: nothing to audit"
                raise NothingToDo(msg)
            files += below
    except OSError as error:
        msg = f"cannot read {short(str(error.filename))}: {error.strerror}"
        raise UsageError(msg) from error
    return list({os.path.realpath(f.path): f for f in files}.values())


def _tables(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.name.lower().removesuffix(".gz").endswith(ENDINGS) and path.is_file():
            yield path


def names_from_paths(
    files: Sequence[File], missing: Sequence[str], seeds: Sequence[frozenset[Decimal | str]]
) -> list[dict[str, str]]:
    """The names that the path of each file gives, of those (algorithm, task, seed) that no column gives.

    `seeds` are those in the columns of each file: a bare number in a path that is not its seed is part of a name.

    Raises:
        UsageError: the paths have more or fewer pieces than names, or their order is not sure.
    """
    pieces, names = [], []
    for file, known in zip(files, seeds, strict=True):
        numbers, others = _apart(file.pieces, known)
        if "seed" in missing and len(numbers) != 1:
            what = f"has several numbers that could be it ({', '.join(numbers)})" if numbers else "has none"
            msg = f"{file.path}: no column gives the seed, and the path {what}; name the files like ppo/seed_3.csv"
            raise UsageError(msg)
        pieces.append(others)
        names.append({"seed": numbers[0]} if "seed" in missing else {})
    roles = [role for role in ("algorithm", "task") if role in missing]
    if not roles:
        return names
    for file, left, name in zip(files, _reduced(pieces, len(roles)), names, strict=True):
        values = [*left, ONE_TASK] if roles == ["algorithm", "task"] and len(left) == 1 else left
        if len(values) != len(roles):
            msg = (
                f"{file.path}: no column gives {' and '.join(roles)}, and the pieces of the path do not either "
                f"({', '.join(values) or 'none'}); add columns, or name the files ALGORITHM/TASK/SEED.csv"
            )
            raise UsageError(msg)
        if len(roles) > 1 and values[1].casefold() in ALGORITHMS and values[0].casefold() not in ALGORITHMS:
            msg = (
                f"{file.path}: a path gives the algorithm before the task, and '{values[1]}' is an "
                "algorithm; add columns"
            )
            raise UsageError(msg)
        name.update(zip(roles, values, strict=True))
    return names


def _apart(pieces: Sequence[str], known: frozenset[Decimal | str]) -> tuple[list[str], list[str]]:
    """Numbers of seeds, and the other pieces; a bare number is a seed where no other piece and no column says more."""
    seeds = [p for p in pieces if NAMED_SEED.fullmatch(p)]
    if not seeds:
        seeds = [p for p in pieces if NUMBER.fullmatch(p) and (not known or known == {seed_key(p)})]
    return [NAMED_SEED.sub(r"\1", p) for p in seeds], [p for p in pieces if p not in seeds]


def _reduced(pieces: Sequence[Sequence[str]], wanted: int) -> list[list[str]]:
    """Without what says nothing, and what all share where there are more pieces than names; one name takes the rest."""
    paths = [[p for p in path if p.casefold() not in SAYS_NOTHING] or list(path) for path in pieces]
    if any(len(path) > wanted for path in paths) and len({len(path) for path in paths}) == 1:
        alike = [len(set(column)) == 1 for column in zip(*paths, strict=True)]
        paths = [[p for p, same in zip(path, alike, strict=True) if not same] for path in paths]
    return [["_".join(path)] for path in paths] if wanted == 1 and all(paths) else paths
