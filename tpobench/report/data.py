"""CSV and JSON: everything in full precision, seed by seed; the other formats round what these hold."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tpobench import __version__
from tpobench.printable import printable
from tpobench.report.model import Report, Table
from tpobench.scores.cells import Cell
from tpobench.scores.scalars import Scalar

SCHEMA = 2
FORMULA = re.compile(r"'* *[=+\-@]")
NUMBER = re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?|-|[+-]?(inf|nan)")
COLUMNS = ("suite", "cell", "matching", "p0", "algorithm", "seed", "status", "reason")


def seed_rows(report: Report) -> list[dict[str, Any]]:
    """One row per run: where it belongs, how it ended, and its scalars in full; a time of inf is `never`."""
    rows = [row for section in report.sections for cell in section.cells for row in _cell_rows(cell, section.metrics)]
    rows += [
        {"suite": p.suite, "cell": p.where, "algorithm": p.algorithm, "seed": p.seed, "status": p.status,
         "reason": p.reason}
        for p in report.problems
    ]  # fmt: skip
    return rows


def _cell_rows(cell: Cell, metrics: Sequence[Scalar]) -> Iterator[dict[str, Any]]:
    place = {"suite": cell.suite, "cell": cell.label, "matching": cell.matching, "p0": cell.success}
    for name, arm in cell.arms.items():
        values = {m.name: m.values(arm) for m in metrics}
        for i, seed in enumerate(arm.seeds):
            status = "diverged" if arm.diverged[i] else "ok"
            scalars = {k: float(v[i]) for k, v in values.items()}
            yield {**place, "algorithm": name, "seed": seed, "status": status, "reason": "", **scalars}
    for name, seeds in cell.dropped.items():
        for seed in seeds:
            yield {**place, "algorithm": name, "seed": seed, "status": "diverged", "reason": "left out of the tables"}


def csv_text(report: Report) -> str:
    """Per-seed values, one line per run; floats in full precision."""
    rows = seed_rows(report)
    columns = [*COLUMNS, *(k for k in dict.fromkeys(k for row in rows for k in row) if k not in COLUMNS)]
    return as_csv(columns, rows)


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


def json_text(report: Report) -> str:
    """Everything: every table entry with its numbers, and the per-seed values; null is `none` or `never`."""
    content = {
        "schema": SCHEMA,
        "tpobench": __version__,
        "suites": [
            {
                "name": s.suite,
                "title": s.title,
                "tables": [table_data(t) for t in s.tables],
                "figures": [{"name": f.name, "caption": f.caption} for f in s.figures],
            }
            for s in report.sections
        ],
        "runs": seed_rows(report),
        "quarantined": report.quarantined,
        "unverified_data": [found.as_dict() for found in report.unverified],
    }
    return as_json(content)


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
