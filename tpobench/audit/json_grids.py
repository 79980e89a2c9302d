"""JSON and JSON lines -> a grid of text: records, columns, and what pandas writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tpobench.audit.grids import Grid, plain, short
from tpobench.errors import NothingToDo, UsageError

FORMS = 'write an array of records, [{"algorithm": ..., "task": ..., "seed": ..., "value": ...}, ...]'
SCALARS = ("Wall time", "Step", "Value")  # the header of TensorBoard's tables
OURS = ({"schema", "id", "spec", "status"}, {"schema", "tpobench"})  # a run's record; what tpobench writes beside it


def json_grid(path: Path, text: str) -> Grid:
    """The table in a JSON text.

    Raises:
        UsageError: no JSON, none of the forms that are tables, or tpobench's own records.
        NothingToDo: no records.
    """
    try:
        return _table(path, _loaded(path, text))
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or not text.lstrip().startswith("{"):
            msg = f"{path} line {error.lineno}: no JSON ({error.msg})"
            raise UsageError(msg) from error
        return _lines(path, text)
    except RecursionError as error:
        msg = f"{path}: JSON that is nested too deeply for a table; {FORMS}"
        raise UsageError(msg) from error


def _loaded(path: Path, text: str) -> Any:
    """Numbers stay as they are spelled; a name that occurs twice in one record is refused, not overwritten."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            msg = f"{path}: a record has two values named '{short(plain(twice))}'; keep one"
            raise UsageError(msg)
        return record

    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=once)


def _lines(path: Path, text: str) -> Grid:
    records, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = _loaded(path, line)
        except json.JSONDecodeError as error:
            msg = f"{path} line {number}: no JSON ({error.msg}); write one record per line"
            raise UsageError(msg) from error
        if not isinstance(record, dict):
            msg = f"{path} line {number}: no record; write one object per line"
            raise UsageError(msg)
        records.append(record)
        lines.append(number)
    return _grid(path, records, lines, "line")


def _table(path: Path, content: Any) -> Grid:
    if _is_scalars(content):
        content = _named(path, SCALARS, content)
    if _is_records(content):
        return _grid(path, content)
    if not isinstance(content, dict):
        msg = f"{path}: no table; {FORMS}"
        raise UsageError(msg)
    _refuse_ours(path, content)
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # pandas, orient="split"
        return _grid(path, _named(path, content["columns"], content["data"]))
    tables = [name for name, part in content.items() if part and _is_records(part)]
    if len(tables) == 1:  # also pandas, orient="table"
        return _grid(path, content[tables[0]])
    if tables:
        msg = f"{path}: {', '.join(map(short, tables))} could each be the table; {FORMS}"
        raise UsageError(msg)
    if content and all(isinstance(part, list) for part in content.values()):
        return _grid(path, _named(path, list(content), _transposed(path, content)))
    if content and all(isinstance(part, dict) for part in content.values()):
        return _grid(path, _by_index(path, content))
    return _grid(path, [content])


def _is_records(part: object) -> bool:
    return isinstance(part, list) and all(isinstance(r, dict) for r in part)


def _is_scalars(part: object) -> bool:
    """What TensorBoard downloads."""
    return isinstance(part, list) and bool(part) and all(isinstance(r, list) and len(r) == len(SCALARS) for r in part)


def _refuse_ours(path: Path, record: Mapping[str, Any]) -> None:
    if any(record.keys() >= keys for keys in OURS):
        msg = f"{path} is tpobench's own: use `tpobench report`, `compare` or `lint` on its results"
        raise UsageError(msg)


def _named(path: Path, columns: Sequence[Any], rows: Iterable[Any]) -> list[dict[str, Any]]:
    names = [_text(name) for name in columns]
    if len(set(names)) < len(names):
        msg = f"{path} has two columns named '{short(next(n for n in names if names.count(n) > 1))}'; rename one"
        raise UsageError(msg)
    records = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            msg = f"{path} record {number}: not as many values as there are columns ({len(names)})"
            raise UsageError(msg)
        records.append(dict(zip(names, row, strict=True)))
    return records


def _transposed(path: Path, columns: Mapping[str, list[Any]]) -> list[list[Any]]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        (a, n), (b, m) = min(lengths.items(), key=lambda p: p[1]), max(lengths.items(), key=lambda p: p[1])
        msg = f"{path}: column '{short(a)}' has {n} values, '{short(b)}' has {m}; {FORMS}"
        raise UsageError(msg)
    return [list(row) for row in zip(*columns.values(), strict=True)]


def _by_index(path: Path, parts: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """pandas' orient="columns" ({column: {row: value}}) and "index" ({row: {column: value}}); rows are numbers."""
    inner = dict.fromkeys(name for part in parts.values() for name in part)
    by_row, by_column = all(map(str.isdecimal, parts)), all(map(str.isdecimal, inner))
    if by_row == by_column:
        msg = f"{path}: an object of objects does not say which are the rows; {FORMS}"
        raise UsageError(msg)
    if by_row:
        return list(parts.values())
    return [{name: part.get(row) for name, part in parts.items()} for row in inner]


def _grid(
    path: Path, records: Sequence[Mapping[str, Any]], lines: Sequence[int] | None = None, unit: str = "record"
) -> Grid:
    if not records:
        msg = f"{path} has no records: nothing to audit"
        raise NothingToDo(msg)
    for record in records:
        _refuse_ours(path, record)
    names = tuple(dict.fromkeys(name for record in records for name in record))
    rows = tuple(tuple(_text(record.get(name)) for name in names) for record in records)
    return Grid(path, tuple(map(_text, names)), rows, tuple(lines or range(1, len(records) + 1)), unit)


def _text(value: object) -> str:
    """A value as a cell; empty where it is null, JSON again where it is nested."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return plain(text.encode("utf-8", "replace").decode())  # halves of surrogate pairs cannot be printed
