"""List what the TPO paper prints: one row per number or statement, as place, method, quantity and value.

Usage: python tests/extracts/make_paper_rows.py NUMBERS_CSV

NUMBERS_CSV is a hand-made reading of arXiv 2604.06159 with the columns id, setting, algorithm, metric, value, section;
what is kept here are the keys and values against which tpobench/paper/printed.csv is tested for completeness.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS = {"id": "place", "algorithm": "method", "metric": "quantity", "value": "value"}


def main(source: Path) -> None:
    """Write paper_rows.csv."""
    with source.open(encoding="utf-8", newline="") as lines:
        rows = [{new: row[old] for old, new in COLUMNS.items()} for row in csv.DictReader(lines)]
    with (HERE / "paper_rows.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS.values(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
