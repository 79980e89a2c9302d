"""One report, four texts: Markdown and LaTeX round what CSV and JSON hold in full."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpobench import __version__
from tpobench.report.cells import Cell, Problem
from tpobench.report.tables import Metric, Table, TableCell

SCHEMA = 1


@dataclass(frozen=True)
class FigureNote:
    """A figure's file name, without its ending, and the caption below it."""

    name: str
    caption: str


@dataclass(frozen=True)
class Section:
    """One suite: its tables, its figures, and the cells they were made from."""

    suite: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[FigureNote, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Report:
    """What every writer gets."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...] = ()
    quarantined: int = 0


# Markdown


def markdown(report: Report) -> str:
    """GitHub-flavoured Markdown; bold is the best and all not distinguishable from it, underlined the best mean."""
    lines = ["# tpobench report", ""]
    lines += ["**Bold**: the best and every rule not distinguishable from it (Holm over all pairs of the row, 5%). "]
    lines[-1] += "<ins>Underlined</ins>: the best point estimate. Intervals are 95%; lower is better (↓)."
    for section in report.sections:
        lines += ["", f"## {md_escape(section.title or section.suite)}"]
        for table in section.tables:
            lines += ["", *_md_table(table)]
        for figure in section.figures:
            lines += [
                "",
                f"![{md_escape(figure.name)}](figures/{figure.name}.png)",
                "",
                f"*{md_escape(figure.caption)}*",
            ]
    lines += _md_problems(report)
    return "\n".join(lines) + "\n"


def _md_table(table: Table) -> Iterator[str]:
    folded = table.name.startswith("tests-")  # every pair of every cell: long, and read on demand
    yield f"<details><summary>{html.escape(table.title)}</summary>" if folded else f"### {md_escape(table.title)}"
    yield ""
    yield "| " + " | ".join(map(md_escape, table.header)) + " |"
    yield "|" + " --- |" * len(table.header)
    for row in table.rows:
        yield "| " + " | ".join(map(_md_cell, row)) + " |"
    for note in table.notes:
        yield f"\n{md_escape(note)}."
    for line in table.signature.splitlines():
        yield f"\n`{line}`"
    if folded:
        yield "\n</details>"


def _md_cell(cell: TableCell) -> str:
    text = md_escape(cell.text)
    text = f"<ins>{text}</ins>" if cell.leader else text
    return f"**{text}**" if cell.best else text


def _md_problems(report: Report) -> list[str]:
    lines = []
    if report.problems:
        lines += ["", "## Runs without a result", "", "| Suite | Cell | Rule | Seeds | Status | Reason |"]
        lines += ["|" + " --- |" * 6]
        lines += ["| " + " | ".join(md_escape(str(v)) for v in p) + " |" for p in grouped(report.problems)]
    if report.quarantined:
        lines += ["", f"{report.quarantined} damaged records were left out; run the suite again to replace them."]
    return lines


def grouped(problems: Sequence[Problem]) -> list[tuple[str, str, str, str, str, str]]:
    """Problems that differ only in their seed, on one line."""
    seeds: dict[tuple[str, str, str, str, str], list[int]] = {}
    for p in problems:
        seeds.setdefault((p.suite, p.where, p.algorithm, p.status, p.reason), []).append(p.seed)
    return [(k[0], k[1], k[2], ", ".join(map(str, sorted(v))), k[3], k[4]) for k, v in sorted(seeds.items())]


def md_escape(text: str) -> str:
    """Plain text: no emphasis, links, tags or cell borders; `grpo_no_kl` and `>2000` stay as they are."""
    text = re.sub(r"([\\`*|])", r"\\\1", text.replace("\n", " "))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)
    return re.sub(r"<(?=[A-Za-z/!?])", r"\<", re.sub(r"\](?=[(\[:])", r"\]", text))


# LaTeX

TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "↓": r"$\downarrow$", "−": "$-$",
    "≤": r"$\le$", "|": r"\textbar{}", "\n": " ",
}  # fmt: skip


def tex_escape(text: str) -> str:
    """Plain text for LaTeX, comparison signs and arrows in math."""
    text = "".join(TEX.get(c, c) for c in text)
    return text.replace("$<$=", r"$\le$").replace("$>$=", r"$\ge$")


def latex(report: Report) -> str:
    r"""Tables to `\input` into a paper that loads booktabs; redefine \tpobest and \tpoleader to restyle."""
    lines = [
        "% tpobench report; needs \\usepackage{booktabs}",
        "\\providecommand{\\tpobest}[1]{\\textbf{#1}}",
        "\\providecommand{\\tpoleader}[1]{\\underline{#1}}",
    ]
    for section in report.sections:
        for table in section.tables:
            lines += ["", *_tex_table(section, table)]
        lines += [f"% figure: figures/{f.name}.pdf" for f in section.figures]
    return "\n".join(lines) + "\n"


def _tex_table(section: Section, table: Table) -> Iterator[str]:
    notes = "".join(f" {tex_escape(note)}." for note in table.notes)
    yield "\\begin{table}"
    yield "\\centering\\small"
    yield f"\\caption{{{tex_escape(section.title or section.suite)}: {tex_escape(table.title)}.{notes}}}"
    yield f"\\label{{tab:{section.suite.replace('_', '-')}-{table.name.replace('_', '-')}}}"
    yield f"\\begin{{tabular}}{{@{{}}{'l' * len(table.header)}@{{}}}}"
    yield "\\toprule"
    yield " & ".join(map(tex_escape, table.header)) + " \\\\"
    yield "\\midrule"
    for row in table.rows:
        yield " & ".join(map(_tex_cell, row)) + " \\\\"
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield ""
    for line in table.signature.splitlines():
        yield f"{{\\scriptsize\\ttfamily {tex_escape(line)}\\par}}"
    yield "\\end{table}"


def _tex_cell(cell: TableCell) -> str:
    text = tex_escape(cell.text)
    text = f"{{}}{text}" if text.startswith("[") else text  # after \\ a bracket would be a length
    text = f"\\tpoleader{{{text}}}" if cell.leader else text
    return f"\\tpobest{{{text}}}" if cell.best else text


# CSV and JSON


def seed_rows(report: Report) -> list[dict[str, Any]]:
    """One row per run: where it belongs, how it ended, and its scalars in full; a time of inf is `never`."""
    rows = [row for section in report.sections for cell in section.cells for row in _cell_rows(cell, section.metrics)]
    rows += [
        {"suite": p.suite, "cell": p.where, "algorithm": p.algorithm, "seed": p.seed, "status": p.status,
         "reason": p.reason}
        for p in report.problems
    ]  # fmt: skip
    return rows


def _cell_rows(cell: Cell, metrics: Sequence[Metric]) -> Iterator[dict[str, Any]]:
    place = {"suite": cell.suite, "cell": cell.label, "matching": cell.matching, "p0": cell.success}
    for name, arm in cell.arms.items():
        values = {m.name: m.values(arm) for m in metrics}
        for i, seed in enumerate(arm.seeds):
            status = "diverged" if arm.diverged[i] else "ok"
            scalars = {k: float(v[i]) for k, v in values.items()}
            yield {**place, "algorithm": name, "seed": seed, "status": status, "reason": "", **scalars}


def csv_text(report: Report) -> str:
    """Per-seed values, one line per run; floats in full precision."""
    rows = seed_rows(report)
    columns = ["suite", "cell", "matching", "p0", "algorithm", "seed", "status", "reason"]
    columns += [k for k in dict.fromkeys(k for row in rows for k in row) if k not in columns]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def json_text(report: Report) -> str:
    """Everything: every table entry with its numbers, and the per-seed values; null is `none` or `never`."""
    content = {
        "schema": SCHEMA,
        "tpobench": __version__,
        "suites": [
            {
                "name": s.suite,
                "title": s.title,
                "tables": [_json_table(t) for t in s.tables],
                "figures": [{"name": f.name, "caption": f.caption} for f in s.figures],
            }
            for s in report.sections
        ],
        "runs": seed_rows(report),
        "quarantined": report.quarantined,
    }
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_table(table: Table) -> dict[str, Any]:
    rows = [[{"text": c.text, "best": c.best, "leader": c.leader, **c.data} for c in row] for row in table.rows]
    return {
        "name": table.name, "title": table.title, "header": table.header, "rows": rows, "notes": table.notes,
        "signature": table.signature,
    }  # fmt: skip


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


WRITERS = {"md": markdown, "latex": latex, "csv": csv_text, "json": json_text}
ENDINGS = {"md": "md", "latex": "tex", "csv": "csv", "json": "json"}
