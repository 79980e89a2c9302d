"""Records -> report: tables per suite and metric, pairwise tests, figures.

answer           what it says first: who leads, where that cannot be told
rows             one cell under one metric
tables           the tables of one suite
overall          the suite as a whole
effects          main effects of the parts of algorithms
details          the long tables
completions      what two algorithms answer to the same problems
breaking_point   a search: breaking points, and every pair
paper            the paper's conventions
notes            what every table of a suite has to say
model            sections of tables and figures
figures/         figures
views/           what a page draws
document         a report to read
files            its files in their folder
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tpobench import called
from tpobench.errors import NothingToDo
from tpobench.identity import canonical
from tpobench.records.results import Results
from tpobench.report.answer import answer_of
from tpobench.report.breaking_point import search_answer, search_of, search_tables
from tpobench.report.completions import completion_tables
from tpobench.report.details import detail_table
from tpobench.report.document import document_of
from tpobench.report.effects import effect_tables
from tpobench.report.files import write_files
from tpobench.report.model import Report, Section
from tpobench.report.notes import noted
from tpobench.report.overall import suite_tables
from tpobench.report.paper import paper_table
from tpobench.report.rows import MetricRow, make_rows
from tpobench.report.tables import algorithms_table, metric_table, pairwise_table, signature_of
from tpobench.scores.cells import Cell, Problem, algorithm_order, read_cells
from tpobench.scores.options import FIGURE_FORMATS, Diverged, ReportOptions, require_valid
from tpobench.scores.scalars import Scalar, scalars_of
from tpobench.scores.unverified import unverified
from tpobench.stats.estimate import Intervals
from tpobench.tables.model import Document, Figure, Table, View
from tpobench.tables.writers import ENDINGS, WRITERS

if TYPE_CHECKING:
    from tpobench.report.figures import Picture

__all__ = ["FIGURE_FORMATS", "ReportOptions", "make_report", "render_markdown", "report_files", "write_report"]

called.install(__name__)

Suites = Mapping[str, list[Cell]]
DETAILED = ("final", "steps")  # numbers with a long table of their own


def write_report(
    results: Results,
    out: str | Path,
    formats: Sequence[str] = ("md", "latex", "csv", "json", "html"),
    *,
    ci: Intervals = "auto",
    paper_compat: bool = False,
    diverged: Diverged = "worst",
    figure_formats: Sequence[str] = FIGURE_FORMATS,
    figures: Sequence[str] = (),
    force: bool = False,
) -> list[Path]:
    """Write report.md, .tex, .csv, .json, .html as asked, and figures below figures/; the same records, the same bytes.

    Files that a report wrote are replaced, and those of an earlier report of other results go.

    Args:
        results: what to report.
        out: folder, made where it is missing.
        formats: md, latex, csv, json, html.
        ci: interval of means: auto, t, bca, bca-expanded, studentized, percentile, se.
        paper_compat: the paper's conventions: last evaluation, first crossing, s.e. with ddof 0, crossing of the mean.
        diverged: worst (scored the worst value), drop (left out, counted), fail (refused).
        figure_formats: png, pdf, svg; none for no figure files.
        figures: kinds, such as curves, final or improvement; all; the first three of a suite where none is named.
        force: replace files that no report wrote, too; copies of them stay.

    Raises:
        NothingToDo: no finished run.
        RunsFailed: diverged runs under `fail`.
        UsageError: an unknown format or option, or files that no report wrote.
        StorageFull: the folder cannot be written.
    """
    options = ReportOptions(ci, paper_compat, diverged)
    return report_files(results, out, formats, options, figure_formats=figure_formats, figures=figures, force=force)[1]


def report_files(
    results: Results,
    out: str | Path,
    formats: Sequence[str],
    options: ReportOptions,
    *,
    figure_formats: Sequence[str] = FIGURE_FORMATS,
    figures: Sequence[str] = (),
    force: bool = False,
) -> tuple[Document, list[Path]]:
    """What `write_report` writes, and where."""
    require_valid(formats, ENDINGS, "report format")
    require_valid(figure_formats, FIGURE_FORMATS, "figure format")
    suites, problems = _read(results, options)
    pictures = _pictures(suites, options, figures) if figure_formats or "html" in formats else {}
    drawn = _drawn(pictures, figure_formats, html="html" in formats) if pictures else {}
    shown = _noted(pictures, drawn, figure_formats)
    document = document_of(_report(results, suites, problems, shown, options, views="html" in formats))
    files = {f"report.{ENDINGS[name]}": WRITERS[name](document).encode() for name in dict.fromkeys(formats)}
    files |= {f"figures/{name}": content for name, content in drawn.items() if name.endswith(tuple(figure_formats))}
    return document, write_files(Path(out), files, _about(results, options), force=force)


def _about(results: Results, options: ReportOptions) -> str:
    """A hash of what a report is made of: the runs (equal ids have equal results), their scoring, and the options."""
    runs = sorted(f"{r.id} {r.status} {canonical(r.reporting)}" for r in results.records)
    return hashlib.sha256("\n".join([repr(options), str(results.quarantined), *runs]).encode()).hexdigest()


def render_markdown(results: Results, options: ReportOptions | None = None) -> str:
    """The tables as Markdown, without figures."""
    return WRITERS["md"](document_of(make_report(results, options)))


def make_report(results: Results, options: ReportOptions | None = None, *, views: bool = False) -> Report:
    """All tables of all suites, without figures; `views` are what a page draws beside them.

    Raises:
        NothingToDo: no finished run.
    """
    options = options or ReportOptions()
    suites, problems = _read(results, options)
    return _report(results, suites, problems, {}, options, views=views)


def _read(results: Results, options: ReportOptions) -> tuple[Suites, list[Problem]]:
    suites, problems = read_cells(results.records, options)
    if not any(cell.arms or cell.dropped for cells in suites.values() for cell in cells):
        reasons = sorted({p.reason for p in problems if p.reason})
        detail = f" ({len(problems)} failed or skipped: {reasons[0]})" if reasons else ""
        msg = f"no finished run to report{detail}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    return suites, problems


def _report(
    results: Results,
    suites: Suites,
    problems: Sequence[Problem],
    figures: Mapping[str, Sequence[Figure]],
    options: ReportOptions,
    *,
    views: bool = False,
) -> Report:
    # algorithms without a result have a column
    with_problems = {s: {p.algorithm for p in problems if p.suite == s} for s in suites}
    other_data = unverified(results.records)
    sections = [
        noted(
            _section(s, cells, with_problems[s], figures.get(s, ()), options, views=views), other_data, results.records
        )
        for s, cells in suites.items()
    ]
    return Report(tuple(sections), tuple(problems), results.quarantined, other_data)


def _section(
    suite: str,
    cells: list[Cell],
    with_problems: set[str],
    figures: Sequence[Figure],
    options: ReportOptions,
    *,
    views: bool,
) -> Section:
    reporting = cells[0].reporting
    arms = [arm for cell in cells for arm in cell.arms.values()]
    algorithms = sorted({a for c in cells for a in (*c.arms, *c.dropped)} | with_problems, key=algorithm_order)
    metrics = scalars_of(reporting, max((len(arm.axes["step"]) for arm in arms), default=reporting.window))
    if search_of(cells) is not None:
        tables = tuple(sorted(search_tables(suite, cells, options), key=lambda table: table.folded))
        answer = search_answer(cells, tables)
        drawn = _search_views(cells, algorithms) if views else ()
        return Section(suite, reporting.title, tables, tuple(figures), tuple(cells), tuple(metrics), answer, drawn)
    rows = {m: make_rows(cells, m, algorithms, options) for m in metrics}
    tables = _tables(suite, rows, algorithms, options)
    final = next(m for m in rows if m.kind == "final")
    answer = answer_of(rows[final], final, algorithms)
    drawn = _views(cells, algorithms, rows, options) if views else ()
    return Section(suite, reporting.title, tables, tuple(figures), tuple(cells), tuple(metrics), answer, drawn)


def _tables(
    suite: str, rows: Mapping[Scalar, list[MetricRow]], algorithms: Sequence[str], options: ReportOptions
) -> tuple[Table, ...]:
    signatures = {m: signature_of(suite, m, metric_rows, options) for m, metric_rows in rows.items()}
    cells = [row.cell for row in next(iter(rows.values()))]
    if len(cells) == 1:
        tables = [algorithms_table({m: row for m, (row,) in rows.items()}, algorithms, "\n".join(signatures.values()))]
    else:
        tables = [metric_table(metric_rows, m, algorithms, signatures[m]) for m, metric_rows in rows.items()]
    if options.paper_compat:
        tables += [paper_table(cells, t, algorithms, suite) for t in cells[0].reporting.thresholds]
    tables += suite_tables(suite, cells, algorithms, options)
    tables += completion_tables(cells)
    final = next(m for m in rows if m.kind == "final")
    tables += effect_tables(cells, final, signatures[final])
    tables += [detail_table(cells, m, signatures[m], options) for m in rows if m.kind in DETAILED]
    if len(algorithms) > 1:
        tables += [pairwise_table(metric_rows, m, signatures[m]) for m, metric_rows in rows.items()]
    return tuple(sorted(tables, key=lambda table: table.folded))


def _views(
    cells: Sequence[Cell], algorithms: Sequence[str], rows: Mapping[Scalar, list[MetricRow]], options: ReportOptions
) -> tuple[View, ...]:
    from tpobench.report.views import views_of  # noqa: PLC0415 - as figures

    return views_of(cells, algorithms, rows, options)


def _search_views(cells: Sequence[Cell], algorithms: Sequence[str]) -> tuple[View, ...]:
    from tpobench.report.views import search_views  # noqa: PLC0415 - as figures

    return search_views(cells, algorithms)


def _pictures(suites: Suites, options: ReportOptions, kinds: Sequence[str]) -> dict[str, list[Picture]]:
    from tpobench.report.figures import pictures_of  # noqa: PLC0415 - tables alone must not wait for matplotlib

    return {suite: pictures_of(suite, cells, options, kinds) for suite, cells in suites.items()}


def _drawn(pictures: Mapping[str, Sequence[Picture]], formats: Sequence[str], *, html: bool) -> dict[str, bytes]:
    """File name -> bytes; an HTML page needs the svg, whether or not it becomes a file."""
    from tpobench.report.figures import save  # noqa: PLC0415 - see above

    endings = [e for e in FIGURE_FORMATS if e in formats or (html and e == "svg")]
    return {f"{p.name}.{e}": save(p, e) for of_suite in pictures.values() for p in of_suite for e in endings}


def _noted(
    pictures: Mapping[str, Sequence[Picture]], drawn: Mapping[str, bytes], formats: Sequence[str]
) -> dict[str, list[Figure]]:
    """What the texts say of each figure: the best file for a browser to link to, and for LaTeX to include."""
    linked, printed = (
        next((e for e in endings if e in formats), "") for endings in (("png", "svg", "pdf"), ("pdf", "png"))
    )

    def path(name: str, ending: str) -> str:
        return ending and f"figures/{name}.{ending}"

    return {
        suite: [
            Figure(
                p.name, p.caption, p.title, path(p.name, linked), path(p.name, printed),
                drawn.get(f"{p.name}.svg", b""), p.wide,
            )
            for p in of_suite
        ]
        for suite, of_suite in pictures.items()
    }  # fmt: skip
