"""Write the tables of docs/algorithms.md from the catalogue: `python tests/make_algorithm_tables.py`."""

from __future__ import annotations

from pathlib import Path

from tpobench.algorithms.catalog import FAMILIES
from tpobench.cli.browse import describe

PAGE = Path(__file__).parent.parent / "docs" / "algorithms.md"
MARK = "<!-- what follows is written by tests/make_algorithm_tables.py -->\n"
COLUMNS = {
    "algorithm": "algorithm", "credit": "credit: which candidates gain mass", "fit": "fit: how parameters move",
    "needs": "needs", "paper": "source", "default_of": "default of",
}  # fmt: skip


def tables() -> str:
    """A table for each family."""
    blocks = []
    for family, members in FAMILIES.items():
        rows = [_row(describe(algorithm)) for algorithm in members]
        head = [f"| {' | '.join(COLUMNS.values())} |", f"|{'---|' * len(COLUMNS)}"]
        blocks.append("\n".join([f"\n### {family}\n", *head, *rows, ""]))
    return "".join(blocks)


def _row(row: dict[str, str]) -> str:
    needs = " ".join(x for x in (row["compares"], row["needs"]) if x not in {"nothing", "-"})
    cells = {**row, "algorithm": f"`{row['algorithm']}`", "needs": needs}
    texts = ("" if cells[key] == "-" else cells[key].replace("|", "\\|").replace("*", "\\*") for key in COLUMNS)
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.partition(MARK)[0] + MARK + tables(), encoding="utf-8")
