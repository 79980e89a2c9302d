"""`status`, `report`, `pack` and `merge`: what to do with finished runs, packed or not."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tpobench.cli.base import (
    AnswerFormat,
    ForceOption,
    FullOption,
    JsonOption,
    PathArgument,
    answer,
    app,
    failure,
    formats_of,
    on_pipe,
    one_per_line,
    require_outside,
    say,
    say_copies,
    set_aside,
    show,
    split,
    spread,
    table,
)
from tpobench.errors import NothingToDo, StorageFull, UsageError
from tpobench.printable import first_of
from tpobench.records.results import load_results
from tpobench.records.store import (
    BROKEN,
    FINISHED,
    PACKED,
    STATUSES,
    RunRecord,
    Store,
    damaged_in,
    pack,
    read_source,
    require_folder,
    require_ours,
    sources,
    uncollected,
)
from tpobench.tables.model import Document, Lines, table_of

if TYPE_CHECKING:
    from tpobench.records.merge import Merged
    from tpobench.scores.options import ReportOptions

ALWAYS_SHOWN = ("ok", "diverged", "failed", "skipped")  # the other statuses only where they occur
MOST_PLACES = 5
FIGURES_HELP = "png, pdf, svg or none; all, or kinds beyond the first three: final, reached, improvement, diagnostics."


@app.command()
@spread
@uncollected()
def status(*, path: PathArgument = Path("results"), format_: AnswerFormat) -> None:
    """Count runs by their status, and say why some have no result.  Writes nothing.

    $ tpobench status results/
    """
    rows: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    for source in _sources(path):
        known, damaged = read_source(source)
        rows.append(_counts(source, known.values(), damaged))
        for record in known.values():
            if record.status in (*BROKEN, "skipped"):
                (skipped if record.status == "skipped" else broken).append({"folder": str(source), **failure(record)})
    damages = damaged_in(path) if any(row["damaged"] for row in rows) else []
    columns = [k for k in rows[0] if k in {"folder", *ALWAYS_SHOWN} or any(r[k] for r in rows)]
    notes = _reasons([*broken, *skipped])
    if broken:
        notes.append(
            f"{len(broken)} runs without a result: the `tpobench run` command that made them tries them again; "
            "with --retry-failed those that used up their attempts too"
        )
    if damages:
        notes.append(set_aside(damages))
    table = table_of(columns, [[r[k] for k in columns] for r in rows], "runs", notes=tuple(notes))
    named = [{"where": d.where, "fault": d.fault} for d in damages]
    data = {"folders": rows, "failed": broken, "skipped": skipped, "damaged": named}
    blocks = (Lines((_outcome(rows),), "strong"), table)
    show(Document(f"Runs in {path}", blocks, data, tuple(rows)), format_.name)


def _sources(path: Path) -> list[Path]:
    folders = sources(path)
    if not folders:
        msg = f"no runs in {path}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    return folders


def _counts(source: Path, records: Iterable[RunRecord], damaged: int) -> dict[str, Any]:
    counts = Counter(r.status for r in records)
    moved = sum(1 for _ in (source / "quarantine").glob("*")) if source.is_dir() else 0
    return {"folder": str(source), **{s: counts[s] for s in STATUSES}, "damaged": damaged, "quarantined": moved}


def _outcome(rows: Sequence[Mapping[str, Any]]) -> str:
    """`58 of 60 runs have a result, 1 of them diverged; 2 have none`."""
    count = {s: sum(row[s] for row in rows) for s in STATUSES}
    finished, tried = sum(count[s] for s in FINISHED), sum(n for s, n in count.items() if s != "skipped")
    diverged = f", {count['diverged']} of them diverged" if count["diverged"] else ""
    without = f"; {tried - finished} have none" if tried > finished else ""
    return f"{finished} of {tried} runs have a result{diverged}{without}."


def _reasons(failures: Sequence[dict[str, Any]]) -> list[str]:
    """One line per folder, status, algorithm and reason, however many runs share them."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for f in failures:
        groups.setdefault((f["folder"], f["status"], f["algorithm"], f["reason"]), []).append(f)
    lines = []
    for (folder, state, algorithm, reason), same in groups.items():
        first, attempts = same[0], max(f["attempts"] for f in same)
        tried = f", {attempts} attempts" if attempts > 1 else ""
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        where = " ".join(t for t in (algorithm, first["cell"]) if t != "-")
        lines.append(f"{state}: {folder}: {where} seed {first['seed']} ({first['id']}){more}{tried}: {reason}")
    return lines


@app.command()
@uncollected()
def report(
    *,
    path: PathArgument = Path("results"),
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", help="md, latex, html, csv, json; repeat or use commas. terminal: shown, not written."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report; default: report/<name>.")] = None,
    ci: Annotated[
        str, typer.Option("--ci", help="Interval of a mean: auto, t, bca, studentized, percentile or se.")
    ] = "auto",
    paper_compat: Annotated[
        bool, typer.Option("--paper-compat", help="The paper's conventions: last evaluation, s.e., first crossing.")
    ] = False,
    diverged: Annotated[
        str, typer.Option("--diverged", help="Diverged runs: worst (scored so), drop or fail.")
    ] = "worst",
    figures: Annotated[list[str] | None, typer.Option("--figures", help=FIGURES_HELP)] = None,
    force: ForceOption = False,
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write tables and figures from finished runs.

    $ tpobench report results/sparse
    $ tpobench report results/sparse --format md,html
    """
    chosen = formats_of(formats, ["md"])
    on_screen = chosen == ["terminal"] and not as_json
    if "terminal" in chosen and not on_screen:
        msg = "--format terminal writes no files: give it alone, without --json"
        raise UsageError(msg)
    from tpobench.report import report_files
    from tpobench.scores.options import FIGURE_FORMATS, FIGURES, ReportOptions, require_valid

    options = ReportOptions(
        cast("Any", ci), paper_compat, cast("Any", diverged)
    )  # checked there, with the nearest valid name
    words = split(figures)
    require_valid(words, (*FIGURE_FORMATS, *FIGURES, "all", "none"), "figure")
    pictures = [] if "none" in words else [f for f in words if f in FIGURE_FORMATS] or ["png", "pdf"]
    kinds = [f for f in words if f in (*FIGURES, "all")]
    if on_screen:
        _show_report(path, options, full=full)
        return
    if out is None:
        out = Path("report", Path(os.path.realpath(path)).name.removesuffix(PACKED) or "results")
    require_folder(out)
    require_outside(out, path)
    results = load_results(path)
    document, files = report_files(results, out, chosen, options, figure_formats=pictures, figures=kinds, force=force)
    if results.quarantined:
        say(set_aside(damaged_in(path)))
    if as_json:
        answer(json.dumps({"files": [str(f) for f in files], "quarantined": results.quarantined}))
        return
    if on_pipe():
        for file in files:
            if file.suffix == ".md":
                answer(file.read_text(encoding="utf-8"))
        say(one_per_line(f"wrote {file}" for file in files))
        return
    show(document.told(path, _places(files)), "terminal", full=full)


def _places(files: Sequence[Path]) -> list[str]:
    """Pages by name, figures by their folder."""
    pages = [str(f) for f in files if f.parent.name != "figures"]
    drawn = [f.parent for f in files if f.parent.name == "figures"]
    return [*pages, *([f"{drawn[0]}/: {len(drawn)} figures"] if drawn else [])]


def _show_report(path: Path, options: ReportOptions, *, full: bool) -> None:
    """The tables on standard output, and no files."""
    from tpobench.report import make_report
    from tpobench.report.document import document_of

    results = load_results(path)
    show(document_of(make_report(results, options=options)).told(path), "terminal", full=full)
    if results.quarantined:
        say(set_aside(damaged_in(path)))


@app.command("pack")
@uncollected()
def pack_(*, path: PathArgument = Path("results"), force: ForceOption = False, as_json: JsonOption = False) -> None:
    """Write results/<name>.jsonl, one sorted line per run.  Small enough for git, and all that `report` needs.

    $ tpobench pack results/sparse
    """
    packed = []
    for source in _packable(path):
        if source.is_file() and source.suffix != PACKED:
            msg = f"{source}: a packed file ends in {PACKED}; rename it, or name a run directory"
            raise UsageError(msg)
        try:
            packed.append(pack(source, force=force))
        except OSError as error:
            msg = f"cannot write {source if source.is_file() else Store(source).packed}: {error.strerror}"
            raise StorageFull(msg) from error
    copies = [c for p in packed for c in p.copies]
    damaged = sum(p.damaged for p in packed)
    if damaged:
        say(f"{damaged} damaged records were left out; `tpobench run` makes them again")
    say_copies(copies)
    if as_json:
        files, backups = [str(p.path) for p in packed], [str(c) for c in copies]
        answer(json.dumps({"files": files, "damaged": damaged, "copies": backups}))
    else:
        say(one_per_line(f"packed {p.path}: {p.runs} runs, {p.path.stat().st_size / 1e6:.1f} MB" for p in packed))


def _packable(path: Path) -> list[Path]:
    """The results that `path` names or holds; files of others beside them are left alone, and said."""
    packable = []
    for source in _sources(path):
        try:
            if source.is_file() and source != path:
                require_ours(source)
        except UsageError as error:
            say(f"tpobench: {error}")
        else:
            packable.append(source)
    if not packable:
        msg = f"no runs in {path} to pack"
        raise NothingToDo(msg)
    return packable


@app.command("merge")
@uncollected()
def merge_(
    *,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="PART", help="Run directories, packed files, or folders of several.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to unite them; what it holds already is kept.")],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Unite the results of several machines: every run once.  Two different results of one run are refused.

    $ tpobench merge part1 part2 --out results/sparse
    """
    from tpobench.records.merge import merge

    united = merge(inputs, out, force=force)
    damaged = [where for m in united for s in m.sources for where in s.damaged]
    if damaged:
        say(f"{len(damaged)} damaged records were left out: {first_of(damaged, MOST_PLACES)}")
    say_copies([c for m in united for c in m.replaced])
    if as_json:
        answer(json.dumps({"merged": [_merged(m) for m in united]}))
        return
    for m in united:
        counts = ", ".join(f"{n} {state}" for state, n in sorted(m.counts.items()))
        say(f"wrote {m.target}: {len(m.records)} runs ({counts or 'none'}), {m.copies} further copies left out")
    rows = [[str(s.path), len(s.located), len(s.damaged), str(m.target)] for m in united for s in m.sources]
    say(table(["from", "records", "damaged", "into"], rows))
    say("next: " + "; ".join(f"tpobench report {m.target}" for m in united))


def _merged(merged: Merged) -> dict[str, Any]:
    return {
        "into": str(merged.target),
        "runs": len(merged.records),
        "statuses": dict(sorted(merged.counts.items())),
        "copies": merged.copies,
        "sources": [
            {"path": str(s.path), "records": len(s.located), "damaged": list(s.damaged)} for s in merged.sources
        ],
    }
