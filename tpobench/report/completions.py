"""What two algorithms answer to the same held-out problems, before training and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tpobench.records.store import RunRecord
from tpobench.scores.cells import Cell
from tpobench.tables.model import Table, TableCell

HEADER = ("Problem", "Right answer", "Completion", "Before")
NOTE = (
    "The first held-out problems, at the noise of the evaluation, so both algorithms start from the same completions; "
    "a semicolon stands for a new line. right, wrong, or the reward where it is neither 1 nor 0"
)
WIDEST = 100  # characters of a line that a paper has room for
VERDICTS = {1.0: "right", 0.0: "wrong"}

Completion = Mapping[str, Any]


def completion_tables(cells: Sequence[Cell]) -> list[Table]:
    """A table for each cell that has two algorithms with completions under one seed."""
    tables = []
    for cell in cells:
        names = _pair(cell)
        first, second = ({int(r.spec["seed"]): r for r in _written(cell, name)} for name in names)
        if shared := first.keys() & second.keys():
            tables.append(_table(cell, names, first[min(shared)], second[min(shared)]))
    return tables


def _written(cell: Cell, name: str) -> list[RunRecord]:
    return [r for r in cell.runs.get(name, ()) if r.completions]


def _pair(cell: Cell) -> tuple[str, str]:
    """The first algorithm and the one that ends best of the others; empty where there are not two."""
    first, *others = [name for name in cell.arms if _written(cell, name)] or [""]
    losses = {name: cell.reporting.sign * float(cell.arms[name].final.mean()) for name in others}
    return first, min(losses, key=losses.__getitem__, default="")


def _table(cell: Cell, names: tuple[str, str], first: RunRecord, second: RunRecord) -> Table:
    rows = tuple(_rows(first.completions, second.completions))
    texts = [part for row in rows for entry in row for part in entry.text.split("; ")]
    name = "-".join(("completions", *(f"{k}-{v}" for k, v in cell.axes.items()), *filter(None, (cell.condition,))))
    return Table(
        name, f"What is answered: {cell.label}, seed {first.spec['seed']}",
        (*HEADER, *(f"{name}, after" for name in names)), rows, notes=(NOTE,), folded=True,
        without=("latex",) if max(map(len, texts), default=0) > WIDEST else (),
    )  # fmt: skip


def _rows(first: Sequence[Completion], second: Sequence[Completion]) -> Iterator[tuple[TableCell, ...]]:
    """Of each problem the greedy completions and the sampled ones."""
    starts, *ends = (_by_question(completions, last) for completions, last in ((first, 0), (first, 1), (second, 1)))
    for question, start in starts.items():
        for way in ("greedy", "sampled"):
            asked = (question, start["answer"]) if way == "greedy" else ("", "")
            after = (_entry(end[question], way) if question in end else TableCell("-") for end in ends)
            yield *(TableCell(_line(text)) for text in (*asked, way)), _entry(start, way), *after


def _by_question(completions: Sequence[Completion], last: int) -> dict[str, Completion]:
    """Those from before training, or those from its end."""
    return {c["question"]: c for c in completions if bool(c["step"]) == bool(last)}


def _entry(completion: Completion, way: str) -> TableCell:
    text, reward = completion[way], completion[f"{way}_reward"]
    verdict = VERDICTS.get(reward, f"{reward:.2g}")
    return TableCell(f"{verdict}: {_line(text)}", data={"text": text, "reward": reward})


def _line(text: str) -> str:
    """On one line; a paper breaks it at its semicolons."""
    return "; ".join(part.strip() for part in text.splitlines() if part.strip())
