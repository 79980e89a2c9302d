"""A report as a document: its tables and figures to read, and seed by seed what they round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from tpobench import __version__
from tpobench.report.model import Report, Section
from tpobench.scores.cells import Cell, Problem
from tpobench.scores.scalars import Scalar
from tpobench.tables.exports import table_data
from tpobench.tables.model import PLACE, Block, Deferred, Document, Glance, Heading, Legend, Lines, Mark, table_of

SCHEMA = 2
COLUMNS = ("suite", "cell", "matching", "p0", "algorithm", "seed", "status", "reason")
BOLD = (
    "the best and every algorithm not distinguishable from it (Holm over all pairs of the row, 5%), if any of its runs "
    "got there"
)


SIGNATURES = (
    "Each line below says how the numbers of some tables came about. metric: the number of a seed, such as final20 "
    "(mean of its last 20 evaluations), area (mean over training), steps0.1m3 (updates until it passes 0.1 in 3 "
    "evaluations in a row). pair: whether equal seeds were compared as pairs. ci: the kind of 95% interval. test: of "
    "two algorithms. adj: Holm's correction, and for how many tests. B: resamples, drawn with the seed rng. diverged: "
    "how runs that diverged were scored. docs/statistics.md explains each."
)


def document_of(report: Report) -> Document:
    """Of each suite the answer, one table and the first figures, then the details; at the end how all came about."""
    blocks: list[Block] = []
    for section in report.sections:
        blocks += _section(section, _directions(section))
    blocks += _problems(report)
    blocks += [Lines((f"{copy}.",)) for copy in report.unverified]
    signatures = dict.fromkeys(
        line for section in report.sections for table in section.tables for line in table.signature.splitlines()
    )
    blocks += [
        Heading("How these numbers came about", "signatures"),
        Lines((SIGNATURES,)),
        Lines(tuple(signatures), "code"),
    ]
    return Document(
        "tpobench report",
        tuple(blocks),
        Deferred(partial(_data, report)),
        partial(seed_rows, report),
        COLUMNS,
        glance=_glance(report),
    )


def _section(section: Section, directions: str) -> Iterator[Block]:
    yield Heading(section.title or section.suite, section.suite)
    for lines, mark in ((section.answer.sentences[:1], "strong"), (section.answer.sentences[1:], "")):
        if lines:
            yield Lines(lines, cast("Mark", mark))
    yield from section.views[:1]
    if section.answer.table is not None and section.answer.table not in section.tables:
        yield section.answer.table
    yield from (*section.views[1:], *section.figures)
    yield Lines(("In detail",), "strong", without=("latex",))
    yield Legend(BOLD, "the best point estimate", f"Intervals are 95%; {directions}.")
    for table in section.tables:
        alone = table.name == "summary" or section.answer.table is table
        yield replace(table, signature="", folded=not alone)


def _glance(report: Report) -> Glance:
    """Of one suite its answer; of several the first sentence of each."""
    lost = [f"{len(report.problems)} runs have no result"] * bool(report.problems)
    if len(report.sections) == 1:
        (section,) = report.sections
        verdict, *more = section.answer.sentences or ("No verdict.",)
        notes = [*more, *(f"{line}." for line in lost)]
        return Glance(verdict, section.answer.table, tuple(notes), then=_next(section))
    rows = [(section.suite, " ".join(section.answer.sentences[:1])) for section in report.sections]
    verdict = "; ".join([f"{len(rows)} suites", *lost]) + "."
    return Glance(
        verdict, table_of(("suite", "verdict"), rows), then=(("one suite alone", f"tpobench report {PLACE}/SUITE"),)
    )


def _next(section: Section) -> tuple[tuple[str, str], ...]:
    arms = next((list(cell.arms) for cell in section.cells if len(cell.arms) > 1), [])
    return (("two algorithms, cell by cell", f"tpobench compare {arms[0]} {arms[1]} --in {PLACE}"),) if arms else ()


def _directions(section: Section) -> str:
    higher = any(scalar.better == "higher" for scalar in section.metrics)
    return "lower is better (↓), higher where ↑ says so" if higher else "lower is better (↓)"


def _problems(report: Report) -> list[Block]:
    """What a paper that includes the tables does without."""
    blocks: list[Block] = []
    if report.problems:
        header = ("Suite", "Cell", "Algorithm", "Seeds", "Status", "Reason")
        blocks.append(Heading("Runs without a result", "problems", without=("latex",)))
        blocks.append(table_of(header, grouped(report.problems), "problems", without=("latex",)))
    if report.quarantined:
        blocks.append(Lines((damaged(report.quarantined),), without=("latex",)))
    return blocks


def damaged(count: int) -> str:
    """What was left out, and how to get it back."""
    some = "1 damaged record was" if count == 1 else f"{count} damaged records were"
    return f"{some} left out; run the suite again to replace {'it' if count == 1 else 'them'}."


def grouped(problems: Sequence[Problem]) -> list[tuple[str, str, str, str, str, str]]:
    """Problems that differ only in their seed, on one line."""
    seeds: dict[tuple[str, str, str, str, str], list[int]] = {}
    for p in problems:
        seeds.setdefault((p.suite, p.where, p.algorithm, p.status, p.reason), []).append(p.seed)
    return [(k[0], k[1], k[2], ", ".join(map(str, sorted(v))), k[3], k[4]) for k, v in sorted(seeds.items())]


def _data(report: Report) -> dict[str, Any]:
    """Every table entry with its numbers, and the per-seed values; null is `none` or `never`."""
    return {
        "schema": SCHEMA,
        "tpobench": __version__,
        "suites": [_suite(section) for section in report.sections],
        "runs": seed_rows(report),
        "quarantined": report.quarantined,
        "unverified_data": [copy.as_dict() for copy in report.unverified],
    }


def _suite(section: Section) -> dict[str, Any]:
    return {
        "name": section.suite,
        "title": section.title,
        "answer": {
            "sentences": list(section.answer.sentences),
            "table": None if section.answer.table is None else table_data(section.answer.table),
        },
        "tables": [table_data(t) for t in section.tables],
        "figures": [{"name": f.name, "caption": f.caption} for f in section.figures],
    }


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
