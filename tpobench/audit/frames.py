"""A table in memory -> a grid of text: a DataFrame, or a dictionary for each row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from tpobench.audit.grids import Grid, plain
from tpobench.errors import NothingToDo, UsageError
from tpobench.printable import brief

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | Sequence[Mapping[str, object]]"
Source: TypeAlias = "str | Path | Sequence[str | Path] | Rows"  # a table: files and folders, or rows
NAME = Path("the table")


def in_memory(source: Source) -> TypeGuard[Rows]:
    """Whether a table is there already, not in files."""
    if isinstance(source, str | Path):
        return False
    return hasattr(source, "columns") or not source or any(isinstance(row, Mapping) for row in source)


def frame_grid(table: Rows) -> Grid:
    """Its cells as text, rows counted from 0; a named index is a column, NaN and None of a DataFrame are missing.

    Raises:
        UsageError: a row that is no mapping, or two columns of one name.
        NothingToDo: no rows.
    """
    records = _records(table)
    if not records:
        msg = f"{NAME} has no rows: nothing to audit"
        raise NothingToDo(msg)
    header = list(dict.fromkeys(name for record in records for name in record))
    names = [plain(name) for name in header]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"{NAME} has two columns named '{brief(twice)}'; rename one"
        raise UsageError(msg)
    rows = tuple(tuple(_text(record.get(name)) for name in header) for record in records)
    return Grid(NAME, tuple(names), rows, tuple(range(len(rows))), "row")


def _records(table: Rows) -> list[Mapping[Any, Any]]:
    if isinstance(table, Sequence):
        odd = next((i for i, row in enumerate(table) if not isinstance(row, Mapping)), None)
        if odd is not None:
            msg = f"{NAME} row {odd}: no mapping of columns to values, such as {{'algorithm': 'ppo', 'value': 1.0}}"
            raise UsageError(msg)
        return list(table)
    if not table.columns.is_unique:
        msg = f"{NAME} has two columns named '{table.columns[table.columns.duplicated()][0]}'; rename one"
        raise UsageError(msg)
    indexed = table.reset_index() if any(table.index.names) else table
    present = indexed.notna().to_numpy()
    names = list(indexed.columns)
    cells = [indexed.iloc[:, i].tolist() for i in range(len(names))]
    return [{name: cells[j][i] if present[i, j] else None for j, name in enumerate(names)} for i in range(len(indexed))]


def _text(value: object) -> str:
    """A cell as a file would have it: empty where nothing is, every digit of a number."""
    if value is None:
        return ""
    value = value.item() if hasattr(value, "item") else value  # of numpy
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    return plain(json.dumps(value) if isinstance(value, list | dict) else value)
