"""Records -> report: tables per suite and metric, pairwise tests, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tpobench.errors import NothingToDo, unknown
from tpobench.report.cells import Cell, Results, read_cells, rule_order
from tpobench.report.tables import (
    Metric,
    Row,
    Table,
    make_row,
    metric_table,
    metrics_of,
    pairwise_table,
    rules_table,
    signature_of,
)
from tpobench.report.writers import ENDINGS, WRITERS, FigureNote, Report, Section, markdown

if TYPE_CHECKING:
    from tpobench.report.plots import Picture

__all__ = ["make_report", "render_markdown", "write_report"]


def write_report(results: Results, out: Path, formats: Sequence[str] = ("md", "latex", "csv", "json")) -> list[Path]:
    """Write report.md, .tex, .csv, .json as asked, and the figures below figures/; the same records, the same bytes.

    Raises:
        NothingToDo: no finished run.
        UsageError: an unknown format.
    """
    for name in formats:
        if name not in WRITERS:
            raise unknown("report format", name, WRITERS)
    pictures = _pictures(results)
    report = make_report(results, {s: [FigureNote(p.name, p.caption) for p in found] for s, found in pictures.items()})
    files = {out / f"report.{ENDINGS[name]}": WRITERS[name](report).encode() for name in dict.fromkeys(formats)}
    files |= _figure_files(out / "figures", [p for found in pictures.values() for p in found])
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(files)


def render_markdown(results: Results) -> str:
    """The tables as Markdown, without figures."""
    return markdown(make_report(results))


def make_report(results: Results, figures: Mapping[str, Sequence[FigureNote]] | None = None) -> Report:
    """All tables of all suites.

    Raises:
        NothingToDo: no finished run.
    """
    suites, problems = read_cells(results.records)
    if not any(cell.arms for cells in suites.values() for cell in cells):
        reasons = sorted({p.reason for p in problems if p.reason})
        detail = f" ({len(problems)} failed or skipped: {reasons[0]})" if reasons else ""
        msg = f"no finished run to report{detail}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    asked = {s: {p.algorithm for p in problems if p.suite == s} for s in suites}  # rules without a result have a column
    sections = [_section(s, cells, asked[s], (figures or {}).get(s, ())) for s, cells in suites.items()]
    return Report(tuple(sections), tuple(problems), results.quarantined)


def _section(suite: str, cells: list[Cell], asked: set[str], figures: Sequence[FigureNote]) -> Section:
    reporting = cells[0].reporting
    arms = [arm for cell in cells for arm in cell.arms.values()]
    rules = sorted({arm.algorithm for arm in arms} | asked, key=rule_order)
    metrics = metrics_of(reporting, max((len(arm.axes["step"]) for arm in arms), default=reporting.window))
    rows = {m: [make_row(cell, m, rules) for cell in cells] for m in metrics}
    return Section(suite, reporting.title, _tables(suite, rows, rules), tuple(figures), tuple(cells), tuple(metrics))


def _tables(suite: str, rows: Mapping[Metric, list[Row]], rules: Sequence[str]) -> tuple[Table, ...]:
    signatures = {m: signature_of(suite, m, found) for m, found in rows.items()}
    final = next(iter(rows))
    if len(rows[final]) == 1:
        summary = rules_table({m: found[0] for m, found in rows.items()}, rules, "\n".join(signatures.values()))
        tables = [summary]
    else:
        tables = [metric_table(found, m, rules, signatures[m]) for m, found in rows.items()]
    tests = [pairwise_table(found, m, signatures[m]) for m, found in rows.items()] if len(rules) > 1 else []
    return (*tables, *tests)


def _pictures(results: Results) -> dict[str, list[Picture]]:
    from tpobench.report.plots import pictures_of  # noqa: PLC0415 - tables alone must not wait for matplotlib

    suites, _ = read_cells(results.records)
    return {suite: pictures_of(suite, cells) for suite, cells in suites.items()}


def _figure_files(folder: Path, pictures: Sequence[Picture]) -> dict[Path, bytes]:
    from tpobench.report.plots import save  # noqa: PLC0415 - see above

    return {folder / f"{p.name}.{ending}": save(p, ending) for p in pictures for ending in ("png", "pdf")}
