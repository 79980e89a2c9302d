"""Bytes of a file -> a grid of text, before anybody knows what its columns mean; or a line on what is wrong.

Reads comma, semicolon and tab separated text, UTF-8 or UTF-16, with quotes, a byte order mark, blank lines and comments
above the header; JSON and JSON lines (`json_grids`); each also compressed with gzip.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tpobench.errors import NothingToDo, UsageError
from tpobench.printable import brief

GZIP = b"\x1f\x8b"
LARGEST_FILE = 2**30  # bytes of text
LONG, MANY = 40, 20  # characters of a value, and columns, that a message shows


@dataclass(frozen=True)
class Grid:
    """A table as text: every row is as wide as the header."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]  # where each row stands
    unit: str = "line"  # what `lines` counts: lines of text, or records of JSON
    separator: str = ","

    def at(self, row: int) -> str:
        """`x.csv line 7`."""
        return f"{self.path} {self.unit} {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The cells below one name."""
        i = self.header.index(name)
        return [row[i] for row in self.rows]

    @property
    def listed(self) -> str:
        """The names of the header, as a message shows them."""
        named = [short(name) for name in self.header if name]
        return (", ".join(named[:MANY]) + (", …" if len(named) > MANY else "")) or "none"


def plain(cell: object) -> str:
    """One line without space around it."""
    return " ".join(str(cell).split())


short = partial(brief, most=LONG)  # so much of a value as a message shows


def read_grid(path: Path) -> Grid:
    """The table in a file.

    Raises:
        UsageError: no such file, no text, or no table.
        NothingToDo: no rows.
    """
    from tpobench.audit.json_grids import json_grid  # noqa: PLC0415 - it builds grids

    text = _text(path)
    grid = json_grid(path, text) if text.lstrip()[:1] in {"[", "{"} else _separated(path, text)
    twice = sorted({name for name in grid.header if name and grid.header.count(name) > 1})
    if twice:
        msg = f"{path} has two columns named '{short(twice[0])}'; rename one"
        raise UsageError(msg)
    return grid


def _text(path: Path) -> str:
    """The text, line ends unified."""
    raw = _bytes(path)
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        msg = f"{path} line {line}: not {encoding.removesuffix('-sig')} text; save the table as CSV in UTF-8"
        raise UsageError(msg) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        msg = f"{path} line {line}: a zero byte, so this is no text; save the table as CSV in UTF-8"
        raise UsageError(msg)
    if not text.strip():
        msg = f"{path} is empty: nothing to audit"
        raise NothingToDo(msg)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes(path: Path) -> bytes:
    try:
        kind = path.stat()
        if stat.S_ISCHR(kind.st_mode) or stat.S_ISBLK(kind.st_mode):
            msg = f"cannot read {path}: a device, no file"
            raise UsageError(msg)
        raw = path.read_bytes() if kind.st_size <= LARGEST_FILE else None
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise UsageError(msg) from error
    if raw is not None and raw.startswith(GZIP):
        raw = _unpacked(path, raw)
    if raw is None or len(raw) > LARGEST_FILE:
        msg = f"{path} holds more than {LARGEST_FILE >> 30} GiB; audit a part of it, such as the last rows of each run"
        raise UsageError(msg)
    return raw


def _unpacked(path: Path, raw: bytes) -> bytes:
    """The text in a gzip file of one or several members, at most one byte more than is read."""
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST_FILE + 1)
    except EOFError as error:
        msg = f"cannot read {path}: a gzip file that breaks off"
        raise UsageError(msg) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        msg = f"cannot read {path}: a damaged gzip file ({error})"
        raise UsageError(msg) from error


def _separated(path: Path, text: str) -> Grid:
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        msg = f"{path} is empty: nothing to audit"
        raise NothingToDo(msg)
    separator = max(",;\t", key=lines[first].count)
    if (stated := re.fullmatch(r"sep=([,;\t|])", lines[first])) and any(map(str.strip, lines[first + 1 :])):
        separator, first = stated[1], first + 1  # Excel's own line
    records = _records(path, "\n".join(lines[first:]), separator, first)
    _, header = next(records)
    body = [(line, cells) for line, cells in records if any(cell.strip() for cell in cells)]
    for line, cells in body:
        if any(cells[len(header) :]):
            msg = (
                f"{path} line {line}: {len(cells)} fields, the header has {len(header)}; quote values that hold the "
                "separator"
            )
            raise UsageError(msg)
    width = len(header)
    rows = tuple((*map(plain, cells[:width]), *[""] * (width - len(cells))) for _, cells in body)
    return Grid(path, tuple(map(plain, header)), rows, tuple(line for line, _ in body), separator=separator)


def _records(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Each record with the line that it begins at; quoted fields may hold line ends."""
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=separator, skipinitialspace=True, strict=True)
    line = skipped + 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            what = str(error)
            if "end of data" in what:
                what = "a quote that is never closed"
            elif "expected after" in what:
                what = "text after a closing quote; double the quotes within a value"
            msg = f"{path} line {line}: {what}"
            raise UsageError(msg) from error
        if cells is None:
            return
        yield line, cells
        line = skipped + reader.line_num + 1
