"""CSV and JSON: everything in full precision; the other formats round what these hold."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tpobench.printable import printable
from tpobench.tables.model import Document, Table, TableCell

FORMULA = re.compile(r"'* *[=+\-@]")
NUMBER = re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?|-|[+-]?(inf|nan)")


def csv_text(document: Document) -> str:
    """A line per record of the document, or else per row of its tables, each with its table where there are several."""
    rows = records_of(document)
    columns = [*document.columns, *(k for k in dict.fromkeys(k for r in rows for k in r) if k not in document.columns)]
    return as_csv(columns, rows)


def records_of(document: Document) -> Sequence[Mapping[str, Any]]:
    """The lines of CSV."""
    if document.records is None:
        return _entries(document.tables)
    return document.records() if callable(document.records) else document.records


def _entries(tables: Sequence[Table]) -> list[dict[str, Any]]:
    several = len(tables) > 1
    return [
        {**({"table": table.name} if several else {}),
         **{k: v for name, cell in zip(table.header, row, strict=True) for k, v in _entry(name, cell)}}
        for table in tables for row in table.rows
    ]  # fmt: skip


def _entry(name: str, cell: TableCell) -> Iterator[tuple[str, Any]]:
    """The value of an entry that is one; else its text, and each number behind it in a column of its own."""
    if "value" in cell.data:
        yield from _leaves(name, cell.data["value"])
    else:
        yield name, cell.text
        yield from _leaves(name, cell.data)


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers within numbers on one level, as a line of CSV has them: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    return dict(_leaves("", row))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple):
        yield name, "; ".join(map(str, value))
    else:
        yield name, "" if value is None else value


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A line for each row; text that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_csv_text, columns))
    writer.writerows([_csv_text(row.get(k, "")) for k in columns] for row in rows)
    return out.getvalue()


def _csv_text(value: object) -> object:
    if type(value) is not str:
        return value
    text = printable(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def json_text(document: Document) -> str:
    """Everything; null is `none` or `never`."""
    return as_json(document.data)


def as_json(content: object) -> str:
    """A file of JSON; halves of surrogate pairs, which no UTF-8 can hold, as their escapes."""
    text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def table_data(table: Table) -> dict[str, Any]:
    """A table with everything behind its cells, as JSON has it."""
    rows = [[{"text": c.text, "best": c.best, "leader": c.leader, **c.data} for c in row] for row in table.rows]
    return {
        "name": table.name, "title": table.title, "header": table.header, "rows": rows, "notes": table.notes,
        "signature": table.signature,
    }  # fmt: skip


def finite(value: object) -> object:
    """The value with null for what JSON cannot say."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
