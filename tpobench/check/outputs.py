"""A judgement as a document, a step summary, JUnit XML and GitHub commands; the command line writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tpobench.check.baseline import log_path
from tpobench.check.judgement import RED, GateRow, Judgement
from tpobench.printable import printable
from tpobench.stats.texts import rounded, unit_of
from tpobench.tables.exports import flat
from tpobench.tables.junit import JunitCase, Kind, junit_text
from tpobench.tables.markdown import block_text, markdown, md_escape
from tpobench.tables.model import PAGES, Block, Document, Glance, Lines, Mark, Table, TableCell, dense

SCHEMA = 1  # of the JSON
NAME = "tpobench check"  # of the JUnit suite
HEADER = ("suite", "cell", "algorithm", "measure", "old", "new", "difference", "interval", "p", "adjusted p", "verdict")
MOST_ANNOTATIONS = 10  # GitHub shows no more errors of one step
SUMMARY_BYTES = 1_000_000  # GitHub drops a step summary above 1 MiB


def cells_of(row: GateRow) -> tuple[TableCell, ...]:
    """A row of the table, in the order of HEADER."""
    v, arm = row.verdict, row.cell.arm
    measure = row.cell.measure + unit_of(row.cell.scale)
    means = ("" if mean is None else rounded(row.cell.scale * mean, 3) for mean in (v.old, v.new))
    texts = (arm.suite, arm.place, arm.algorithm, measure, *means, *difference(row), p_text(v.p), p_text(v.adjusted))
    return (*map(TableCell, texts), TableCell(row.label, alert=v.status in RED))


def difference(row: GateRow) -> tuple[str, str]:
    """`+3.1` and `[1.2, 5.0]`, in percentage points of shares; of logarithms, the ratio: `x1.31`, `[x1.12, x1.53]`."""
    v = row.verdict
    if v.difference is None:
        return "", ""
    ends = [] if v.low is None or v.high is None else [v.low, v.high]
    shown = [
        f"x{rounded(math.exp(d), 3)}" if row.logarithmic else rounded(row.cell.scale * d, 2, "+")
        for d in (v.difference, *ends)
    ]
    return shown[0], f"[{', '.join(shown[1:])}]" if ends else ""


def p_text(p: float | None) -> str:
    """`.0010`, `<.0001`, `1`."""
    if p is None:
        return ""
    if p < 0.0001:
        return "<.0001"
    return "1" if p >= 0.99995 else f"{p:.2g}".removeprefix("0")


def document_of(judgement: Judgement) -> Document:
    """The verdict, what changed, what could not be told, how it was reached, and on pages every cell."""
    b, rows = judgement.baseline, judgement.changed
    quiet = len(judgement.rows) - len(rows)
    updated = f", updated {b.log[-1].get('date')}: {b.log[-1].get('reason')}" if b.log else ""
    measured = [r for r in rows if r.measured]
    blocks: list[Block] = [
        Lines((judgement.headline,), without=PAGES),
        *([_table(measured, "changed", "")] if measured else []),
        _lines([f"{quiet} unchanged: the same values as in the baseline, seed by seed"] if quiet else []),
        *_explained(judgement),
        _lines(judgement.notes, "quote"),
        _table(judgement.rows, "cells", "All cells", folded=True, without=("terminal",)),
        Lines((f"Baseline {b.path}@{b.digest}, made on {made_on(judgement)}{updated}",)),
        Lines((f"Its history: {log_path(b.path)}",), without=("terminal",)),
        _lines(legend(judgement)),
        Lines((judgement.signature,), "code"),
    ]
    data = as_json(judgement)
    title = f"tpobench check: {judgement.headline}"
    shown = tuple(b for b in blocks if b != Lines(()))
    return Document(title, shown, data, tuple(map(flat, data["cells"])), glance=_glance(judgement))


FIRST = ("suite", "cell", "algorithm", "verdict", "measure", "difference", "interval", "old", "new", "adjusted p", "p")


def _glance(judgement: Judgement) -> Glance:
    """The headline, what changed with its verdict first, and why."""
    rows = judgement.changed
    order = [HEADER.index(name) for name in FIRST]
    body = tuple(tuple(cells[i] for i in order) for cells in map(cells_of, rows))
    table = dense(Table("changed", "", FIRST, body)) if rows else None
    why = [f"{label}: {names}: {reason}" for label, names, reason in judgement.reasons]
    return Glance(judgement.headline, table, (*why, *judgement.notes, *legend(judgement)))


def _explained(judgement: Judgement) -> list[Block]:
    """Why, once for each cell: on a terminal where the table's numbers do not say it, on pages for all."""
    better = judgement.of("improved")
    advice = "better than the baseline by more than the margin: if nobody meant that, it is a bug; if so, update it"
    short, full = (
        tuple(f"{label}: {names}: {why}" for label, names, why in reasons)
        for reasons in (judgement.unmeasured, judgement.reasons)
    )
    short = (*short, f"IMPROVED: {advice}") if better else short
    blocks = Lines(short, "bullet", without=PAGES), Lines(full, "bullet", without=("terminal",))
    return [block for block in blocks if block.lines]


def made_on(judgement: Judgement) -> str:
    """`AMD EPYC, torch 2.13.0+cpu`: the processors and the versions that a baseline is of."""
    origins = [r.provenance for r in judgement.baseline.records]
    named = {key: sorted({str(o[key]) for o in origins if o.get(key)}) for key in ("cpu", "torch")}
    return ", ".join((*named["cpu"], *(f"torch {version}" for version in named["torch"]))) or "an unknown machine"


def _table(rows: Sequence[GateRow], name: str, title: str, **more: Any) -> Table:
    return dense(Table(name, title, HEADER, tuple(map(cells_of, rows)), **more))


def _lines(lines: Sequence[str], mark: Mark = "") -> Lines:
    return Lines(tuple(lines), mark if lines else "")


def legend(judgement: Judgement) -> list[str]:
    """What the columns mean, where there are any."""
    if all(r.verdict.difference is None for r in judgement.changed):
        return []
    ratio = "; x: ratio of geometric means" if any(r.logarithmic for r in judgement.changed) else ""
    return [f"difference > 0 is worse{ratio}; interval: two one-sided 95% bounds; old and new: means over seeds"]


# ---- JSON


def as_json(judgement: Judgement) -> dict[str, Any]:
    """One object with everything, at full precision."""
    b = judgement.baseline
    return {
        "schema": SCHEMA,
        "outcome": judgement.outcome,
        "exit_code": judgement.exit_code,
        "headline": judgement.headline,
        "refusal": judgement.refusal,
        "baseline": {
            "path": str(b.path), "digest": b.digest, "runs": len(b.records), "screen": list(b.screen),
            "reserve": list(b.reserve), "updated": b.log[-1].get("date") if b.log else None,
        },
        "candidate": dict(judgement.origin),
        "family": {"cells": len(judgement.rows), **judgement.families},
        "plan": asdict(judgement.plan),
        "margins": {kind: asdict(m) for kind, m in judgement.margins.items()},
        "cells": [_row_json(row) for row in judgement.rows],
        "notes": list(judgement.notes),
        "signature": judgement.signature,
    }  # fmt: skip


def _row_json(row: GateRow) -> dict[str, Any]:
    arm, waiver = row.cell.arm, row.waiver
    return {
        "suite": arm.suite,
        "cell": arm.cell,
        "matching": arm.matching,
        "rule": arm.algorithm,
        "measure": row.cell.measure,
        **asdict(row.verdict),
        "reason": row.told(),
        "logarithmic": row.logarithmic,
        "waived": row.waived,
        "waiver": None if waiver is None else {"until": waiver.until.isoformat(), "reason": waiver.reason},
    }


# ---- JUnit XML


def junit(judgement: Judgement) -> str:
    """One test case per cell: failure = regressed, skipped = inconclusive or waived, error = missing or broken."""
    cases = [_junit_case(row) for row in judgement.rows] or [_broken_case("nothing compared", judgement.headline)]
    return junit_text(NAME, cases, {"headline": judgement.headline, "signature": judgement.signature})


def junit_of_error(message: str, kind: str) -> str:
    """A check that could not be made is one test case with an error, so that no dashboard shows it as absent."""
    return junit_text(NAME, [_broken_case(kind, message)])


def _broken_case(kind: str, message: str) -> JunitCase:
    return JunitCase("tpobench", "check", "error", message, kind, message)


def _junit_case(row: GateRow) -> JunitCase:
    arm = row.cell.arm
    kind, message = _junit_result(row)
    failure = ("", "") if kind in {"", "skipped"} else (row.verdict.status, f"{row.cell.name}: {message}")
    place, name = f"tpobench.{arm.suite}.{arm.place}", f"{arm.algorithm} {row.cell.measure}"
    return JunitCase(place, name, kind, message, *failure, _properties(row))


def _junit_result(row: GateRow) -> tuple[Kind, str]:
    status = row.verdict.status
    if status in RED:
        return ("skipped", f"{row.label}: {row.reason}") if row.waived else ("failure", row.reason)
    if status in {"crashed", "incomplete", "not comparable", "flagged"}:
        return "error", f"{row.label}: {row.reason}"
    return ("skipped", f"{row.label}: {row.reason}") if status in {"inconclusive", "redrawn"} else ("", "")


def _properties(row: GateRow) -> dict[str, str]:
    v = row.verdict
    values: dict[str, Any] = {
        "verdict": row.label, "stage": v.stage, "old": v.old, "new": v.new, "difference": v.difference, "low": v.low,
        "high": v.high, "margin": v.margin, "p": v.p, "p_adj": v.adjusted, "family": v.family or None,
        "test": v.test, "candidate_runs": v.runs[0], "baseline_runs": v.runs[1], "seeds_needed": v.seeds_needed,
        "waived_until": row.waiver.until.isoformat() if row.waived and row.waiver else None,
    }  # fmt: skip
    return {k: str(value) for k, value in values.items() if value not in {None, ""}}


# ---- GitHub


def github_commands(judgement: Judgement) -> list[str]:
    """An `::error` per regressed cell, a `::warning` per improved one; above ten, nine and one that names the rest."""
    rows = judgement.of(*RED)
    better = [command("warning", f"tpobench: {r.cell.name} improved", r.reason) for r in judgement.of("improved")]
    alone = rows if len(rows) <= MOST_ANNOTATIONS else rows[: MOST_ANNOTATIONS - 1]
    lines = [command("error", f"tpobench: {r.cell.name} {r.verdict.status}", r.reason) for r in alone]
    rest = rows[len(alone) :]
    if rest:
        what = " or ".join(sorted({r.verdict.status for r in rest}, reverse=True))
        title = f"tpobench: {len(rest)} more cells {what}"
        lines.append(command("error", title, "\n".join(f"{r.cell.name}: {r.reason}" for r in rest)))
    return lines + better[:MOST_ANNOTATIONS]


def command(kind: str, title: str, message: str) -> str:
    """A workflow command on one line: `%`, CR and LF are escaped in both, `:` and `,` in the title too."""
    data = {"%": "%25", "\r": "%0D", "\n": "%0A"}
    prop = {**data, ":": "%3A", ",": "%2C"}
    return f"::{kind} title={_escaped(title, prop)}::{_escaped(message, data)}"


def _escaped(value: str, codes: dict[str, str]) -> str:
    return printable("".join(codes.get(character, character) for character in value))


# ---- Markdown


def summary(judgement: Judgement, most_bytes: int = SUMMARY_BYTES) -> str:
    """The step summary, never above `most_bytes`: where it is too long the folded table goes first, then the tail."""
    document = document_of(judgement)
    whole = f"#{markdown(document)}"
    if len(whole.encode()) <= most_bytes:
        return whole
    cells = next(i for i, block in enumerate(document.blocks) if isinstance(block, Table) and block.folded)
    head = f"#{markdown(replace(document, blocks=document.blocks[:cells]))}"
    foot = "\n\n".join(map(block_text, document.blocks[cells + 1 :]))
    cut = "\n\nThe table of all cells is too long for a step summary; see --json.\n"
    room = most_bytes - len((cut + foot).encode()) - 2
    lines, size = [], 0
    for line in head.splitlines():
        size += len(line.encode()) + 1
        if size > room:
            break
        lines.append(line)
    return "\n".join(lines) + cut + "\n" + foot + "\n"


def summary_of_error(message: str) -> str:
    """The step summary of a check that could not be made."""
    return f"## tpobench check: not made\n\n{md_escape(message)}\n"
