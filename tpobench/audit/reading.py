"""A table of results from anywhere: bytes -> rows of (algorithm, task, seed, step, value), or a line on what is wrong.

Reads comma, semicolon and tab separated text, UTF-8 or UTF-16, with quotes, a byte order mark, decimal commas (where
the separator is another), further columns and blank lines.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tpobench.errors import NothingToDo, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

NAMES: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("algorithm", "algo", "method", "agent", "rule", "optimizer"),
    "task": ("task", "env", "environment", "env_id", "game", "dataset", "benchmark", "cell"),
    "seed": ("seed", "run", "trial", "replicate"),
    "value": ("value", "score", "return", "reward", "error", "loss", "accuracy", "metric", "result"),
    "step": ("step", "steps", "update", "iteration", "timestep", "timesteps", "epoch", "episode"),
}
NEEDED = ("algorithm", "task", "seed", "value")
MISSING = {"", "na", "n/a", "-", "null", "none"}  # no value at all; nan and inf are values of runs that diverged
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
LARGEST = 1e100  # squares of larger numbers overflow
LONG, MANY = 40, 20  # characters of a value, and columns, that a message shows
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One line of the file; value is None where it is missing, not finite where the run diverged."""

    line: int
    algorithm: str
    task: str
    seed: str
    value: float | None
    step: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # the columns that nobody asked for


@dataclass(frozen=True)
class Sheet:
    """The rows of a file, and which column was taken for what."""

    path: Path
    rows: tuple[Row, ...]
    columns: Mapping[str, str]  # role -> name in the header


def read_sheet(path: Path, chosen: Mapping[str, str], metric: str | None = None) -> Sheet:
    """The rows of a file.

    Args:
        path: of the file.
        chosen: column by role (algorithm, task, seed, value, step), where the header does not say.
        metric: the column of values, where there is one of that name.

    Raises:
        UsageError: no such file, not text, no such column, or a cell that is not what it should be.
        NothingToDo: no rows.
    """
    text, skipped = _text(path)
    separator = _separator(text)
    frame = _frame(path, text, separator, skipped)
    header = [_plain(name) for name in frame.iloc[0]]
    if metric is not None and metric in header:
        chosen = {"value": metric, **chosen}
    columns = _columns(path, header, chosen)
    rows = tuple(_rows(path, frame, header, columns, skipped, decimal_comma=separator != ","))
    if not rows:
        msg = f"{path} has a header and no rows: nothing to audit"
        raise NothingToDo(msg)
    return Sheet(path, rows, columns)


def _plain(cell: object) -> str:
    """One line without space around it."""
    return " ".join(str(cell).split())


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _listed(header: Sequence[str]) -> str:
    return ", ".join(_short(name) for name in header[:MANY] if name) + (", …" if len(header) > MANY else "")


def _text(path: Path) -> tuple[str, int]:
    """The text from the header on, line ends unified, and how many blank and comment lines stood above it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise UsageError(msg) from error
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
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    skipped = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if skipped is None:
        msg = f"{path} is empty: nothing to audit"
        raise NothingToDo(msg)
    return "\n".join(lines[skipped:]), skipped


def _separator(text: str) -> str:
    """The one that splits the header into most columns; a comma where none does."""
    header = text.split("\n", 1)[0]
    return max(",;\t", key=lambda s: len(next(csv.reader([header], delimiter=s), [])))


def _frame(path: Path, text: str, separator: str, skipped: int) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - `tpobench --help` must not wait for pandas

    try:
        # Without a header pandas takes no surplus column for an index, and says which line has too many fields.
        return pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False, na_filter=False,
            skip_blank_lines=False,
        )  # fmt: skip
    except (pd.errors.ParserError, csv.Error) as error:
        raise UsageError(_said(path, str(error), skipped)) from error


def _said(path: Path, message: str, skipped: int) -> str:
    many = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if many:
        line = int(many[2]) + skipped
        return f"{path} line {line}: {many[3]} fields, the header has {many[1]}; quote values that hold the separator"
    quote = re.search(r"EOF inside string starting at row (\d+)", message)
    if quote:
        return f"{path} line {int(quote[1]) + 1 + skipped}: a quote that is never closed"
    return f"{path}: no readable table: {' '.join(message.split())}"


def _columns(path: Path, header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        msg = f"{path} has two columns named '{_short(twice[0])}'; rename one"
        raise UsageError(msg)
    found = {}
    for role, names in NAMES.items():
        if role in chosen:
            if chosen[role] not in header:
                raise unknown("column", chosen[role], [name for name in header if name], str(path))
            found[role] = chosen[role]
            continue
        taken = {*chosen.values(), *found.values()}
        fitting = [n for alias in names for n in header if n.lower() == alias and n not in taken]
        if role == "value" and len(fitting) > 1 and fitting[0].lower() != "value":
            msg = f"{path}: {' and '.join(fitting)} could both be the value; choose one with --metric COLUMN"
            raise UsageError(msg)
        if fitting:
            found[role] = fitting[0]
    missing = [role for role in NEEDED if role not in found]
    if missing:
        role = missing[0]
        msg = (
            f"{path} has no column '{role}' (it has {_listed(header) or 'none'}); "
            f"name it with --column {role}=COLUMN" + (" or --metric COLUMN" if role == "value" else "")
        )
        raise UsageError(msg)
    return found


def _rows(
    path: Path,
    frame: pd.DataFrame,
    header: Sequence[str],
    columns: Mapping[str, str],
    skipped: int,
    *,
    decimal_comma: bool,
) -> Iterator[Row]:
    where = {role: header.index(name) for role, name in columns.items()}
    others = {name: i for i, name in enumerate(header) if name and name not in columns.values()}
    line = skipped + 1
    for cells in frame.itertuples(index=False, name=None):
        this, line = line, line + 1 + sum(str(c).count("\n") for c in cells)  # quoted fields may hold line ends
        if this == skipped + 1 or not any(str(c).strip() for c in cells):
            continue
        texts = {role: _plain(cells[i]) for role, i in where.items()}
        for role in ("algorithm", "task", "seed"):
            if not texts[role]:
                msg = f"{path} line {this}: no {role}"
                raise UsageError(msg)
        step = _number(path, this, "step", texts["step"], decimal_comma=decimal_comma) if "step" in texts else None
        if "step" in texts and (step is None or not math.isfinite(step)):
            msg = f"{path} line {this}: step '{_short(texts['step'])}' is no number"
            raise UsageError(msg)
        value = _number(path, this, "value", texts["value"], decimal_comma=decimal_comma)
        more = {name: _plain(cells[i]) for name, i in others.items()}
        yield Row(this, texts["algorithm"], texts["task"], texts["seed"], value, step, more)


def _number(path: Path, line: int, role: str, text: str, *, decimal_comma: bool) -> float | None:
    if text.lower() in MISSING:
        return None
    plain = text.replace(",", ".") if decimal_comma and DECIMAL_COMMA.fullmatch(text) else text
    if not NUMBER.fullmatch(plain):
        msg = f"{path} line {line}: {role} '{_short(text)}' is no number"
        raise UsageError(msg)
    value = float(plain)
    if abs(value) > LARGEST and plain.lstrip("+-")[:1].lower() != "i":
        msg = f"{path} line {line}: {role} '{_short(text)}' is too large to average; a run that diverged is inf"
        raise UsageError(msg)
    return value
