"""The command line: parse, call one library function, print, exit code.

Answers go to standard output, progress and everything else to standard error; with --json standard output is one
object.  Nothing heavy is imported before a verb needs it.
"""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tpobench import __version__
from tpobench.errors import NothingToDo, RunsFailed, TpobenchError, UsageError, unknown

if TYPE_CHECKING:
    from tpobench.plan import Plan
    from tpobench.records import RunRecord

INTERNAL_ERROR = 70
FORMATS = ("md", "latex", "csv", "json")

app = typer.Typer(
    name="tpobench",
    help="The place where a policy-update rule proves itself: suites x rules x sparsity x seeds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
show_app = typer.Typer(no_args_is_help=True, help="Show one thing in full.", rich_markup_mode=None)
app.add_typer(show_app, name="show")

SuiteOption = Annotated[
    list[str], typer.Option("--suite", "-s", help="Suite name or .toml file; repeat or use commas.")
]
AlgosOption = Annotated[list[str] | None, typer.Option("--algos", "-a", help="Rules; repeat or use commas.")]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="A count (20), a range (0-9) or a list (1,3).")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, such as training.steps=100; commas sweep (length=3,4).")
]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="The suite's few-second version.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one per CPU.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
OutOption = Annotated[Path, typer.Option("--out", "--results", help="Folder of all results.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Folder of these runs; default: the suite's name.")]
PluginOption = Annotated[list[str] | None, typer.Option("--plugin", help="Python file that registers your own rules.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
PathArgument = Annotated[Path, typer.Argument(help="A run directory, a folder of several, or a packed .jsonl.")]


class Stopped(TpobenchError):
    """The user, or the system, stopped a run."""

    exit_code = 130


# ---- verbs


def _version(*, value: bool) -> None:
    if value:
        _answer(f"tpobench {__version__}, Python {sys.version.split()[0]}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda value: _version(value=value), is_eager=True)
    ] = False,
) -> None:
    del version


@app.command()
def run(
    *,
    suite: SuiteOption,
    algos: AlgosOption = None,
    seeds: SeedsOption = None,
    set_: SetOption = None,
    smoke: SmokeOption = False,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
    out: OutOption = Path("results"),
    name: NameOption = None,
    plugin: PluginOption = None,
    device: DeviceOption = "cpu",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost, run nothing.")] = False,
) -> None:
    """Run what is missing of one or more suites; finished runs are kept and never repeated."""
    plans = _plans(
        suites=suite,
        algos=algos,
        seeds=seeds,
        overrides=set_,
        plugins=plugin,
        device=device,
        out=out,
        name=name,
        smoke=smoke,
    )
    processes = jobs or os.cpu_count() or 1
    if dry_run:
        _show_plans(plans, processes, as_json=as_json)
        return
    signal.signal(signal.SIGTERM, _terminate)
    answers, refused = [], []
    for folder, plan in plans:
        try:
            answers.append(_run_one(folder, plan, processes, plugin or []))
        except NothingToDo as error:
            refused.append(error)
    if not answers:
        raise refused[0]
    for refusal in refused:
        _say(f"tpobench: {refusal}")
    if as_json:
        _answer(json.dumps({"suites": answers}))
    _say("next: " + "; ".join(f"tpobench report {a['folder']}" for a in answers))
    bad = [f for a in answers for f in a["failed"]]
    if bad:
        first = bad[0]
        msg = (
            f"{len(bad)} runs failed, the first: {first['algorithm']} seed {first['seed']}: {first['reason']}; "
            "run the same command to retry them"
        )
        raise RunsFailed(msg)


@app.command("plan")
def plan_(
    *,
    suite: SuiteOption,
    algos: AlgosOption = None,
    seeds: SeedsOption = None,
    set_: SetOption = None,
    smoke: SmokeOption = False,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
    out: OutOption = Path("results"),
    name: NameOption = None,
    plugin: PluginOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Show what `run` would do and what it would cost."""
    plans = _plans(
        suites=suite,
        algos=algos,
        seeds=seeds,
        overrides=set_,
        plugins=plugin,
        device=device,
        out=out,
        name=name,
        smoke=smoke,
    )
    _show_plans(plans, jobs or os.cpu_count() or 1, as_json=as_json)


@app.command("list")
def list_(
    *,
    what: Annotated[str, typer.Argument(help="suites, algorithms or all.")] = "all",
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the suites and the rules."""
    if what not in {"suites", "algorithms", "all"}:
        raise unknown("thing to list", what, ["suites", "algorithms", "all"])
    found: dict[str, list[dict[str, Any]]] = {}
    if what != "algorithms":
        found["suites"] = _list_suites()
    if what != "suites":
        found["algorithms"] = _list_algorithms(plugin or [])
    if as_json:
        _answer(json.dumps(found))
        return
    for rows in found.values():
        _answer(table(list(rows[0]), [list(row.values()) for row in rows]) + "\n")


@show_app.command("suite")
def show_suite(*, suite: str, set_: SetOption = None, smoke: SmokeOption = False, as_json: JsonOption = False) -> None:
    """Show a suite with every default written out."""
    from tpobench.suite import load_suite

    resolved = load_suite(suite, set_ or [], smoke=smoke).as_dict()
    if as_json:
        _answer(json.dumps(resolved))
        return
    for key, value in resolved.items():
        if not isinstance(value, dict):
            _answer(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in resolved.items():
        if isinstance(value, dict) and value:
            _answer(f"\n[{key}]")
            _answer("\n".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()))


@app.command()
def status(*, path: PathArgument = Path("results"), as_json: JsonOption = False) -> None:
    """Count the runs in a folder by their status, and say why some failed."""
    from collections import Counter

    from tpobench.records import STATUSES, Store, run_folders

    folders = [path] if (path / "runs").is_dir() else list(run_folders(path))
    if not folders:
        msg = f"no runs in {path}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    rows, reasons = [], []
    for folder in folders:
        records, damaged = Store(folder).load(quarantine=True)
        counts = Counter(r.status for r in records)
        rows.append({"folder": str(folder), **{s: counts[s] for s in STATUSES}, "quarantined": damaged})
        reasons += [_failure(r) for r in records if r.status == "failed"]
    if as_json:
        _answer(json.dumps({"folders": rows, "failed": reasons}))
        return
    _answer(table(list(rows[0]), [list(r.values()) for r in rows]))
    for f in reasons:
        _answer(f"failed: {f['algorithm']} seed {f['seed']} ({f['id']}): {f['reason']}")


@app.command()
def report(
    *,
    path: PathArgument = Path("results"),
    formats: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="md, latex, csv, json; repeat or use commas.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path("report"),
    as_json: JsonOption = False,
) -> None:
    """Write tables and figures from finished runs."""
    chosen = _split(formats) or ["md"]
    for each in chosen:
        if each not in FORMATS:
            raise unknown("format", each, FORMATS)
    from tpobench.results import load_results

    results = load_results(path)
    from tpobench.report import write_report  # after the path is known to hold results: it imports matplotlib

    files: list[Path] = write_report(results, out, chosen)
    if results.quarantined:
        _say(f"{results.quarantined} damaged records were left out; `tpobench run` makes them again")
    if as_json:
        _answer(json.dumps({"files": [str(f) for f in files], "quarantined": results.quarantined}))
        return
    for file in files:
        if file.suffix == ".md":
            _answer(file.read_text(encoding="utf-8"))
    _say("\n".join(f"wrote {file}" for file in files))


@app.command("pack")
def pack_(*, path: PathArgument = Path("results"), as_json: JsonOption = False) -> None:
    """Write results/<name>.jsonl, one sorted line per run: small enough for git, and all that `report` needs."""
    from tpobench.records import pack, run_folders

    folders = [path] if (path / "runs").is_dir() else list(run_folders(path))
    if not folders:
        msg = f"no runs in {path}; make some with: tpobench run --suite bandit --smoke"
        raise NothingToDo(msg)
    files = [pack(folder) for folder in folders]
    if as_json:
        _answer(json.dumps({"files": [str(f) for f in files]}))
    else:
        _say("\n".join(f"wrote {f} ({f.stat().st_size / 1e6:.1f} MB)" for f in files))


# ---- what the verbs share


def _plans(
    *,
    suites: Sequence[str],
    algos: Sequence[str] | None,
    seeds: str | None,
    overrides: Sequence[str] | None,
    plugins: Sequence[str] | None,
    device: str,
    out: Path,
    name: str | None,
    smoke: bool,
) -> list[tuple[Path, Plan]]:
    """Every suite's folder and plan; all are made before the first run starts, so mistakes cost nothing."""
    from tpobench.execution.plugins import load_plugins
    from tpobench.plan import parse_seeds, plan_runs
    from tpobench.suite import ID, load_suite

    names = _split(suites)
    if name is not None and len(names) > 1:
        msg = f"--name {name}: several suites cannot share one folder; name one suite, or leave --name out"
        raise UsageError(msg)
    if name is not None and ID.fullmatch(name) is None:
        msg = f"--name {name}: use a-z, 0-9, _ and -, at most 64 characters"
        raise UsageError(msg)
    wanted = None if seeds is None else parse_seeds(seeds)
    loaded = [load_suite(n, overrides or [], smoke=smoke) for n in names]
    if plugins:
        load_plugins(plugins)
    folders = [name or (f"{s.name}-smoke" if smoke else s.name) for s in loaded]
    chosen = _split(algos) or None
    return [(out / folder, plan_runs(s, chosen, wanted, device)) for folder, s in zip(folders, loaded, strict=True)]


def _run_one(folder: Path, plan: Plan, processes: int, plugins: Sequence[str]) -> dict[str, Any]:
    from tpobench.execution import execute
    from tpobench.execution.progress import progress_for
    from tpobench.records import FINISHED, Store

    store = Store(folder)
    known, _ = store.known()
    already = sum(s.run_id in known and known[s.run_id].status in FINISHED for s in plan.specs)
    if not plan.specs:
        execute(plan, store)  # records why, and says so
    try:
        with progress_for(folder.name, len(plan.specs) - already, already, sys.stderr) as progress:
            outcome = execute(plan, store, processes, progress, plugins)
    except KeyboardInterrupt as error:
        msg = f"stopped; finished runs are kept in {folder}, the same command goes on from there"
        stopped = Stopped(msg)
        stopped.exit_code = 143 if error.args == ("SIGTERM",) else 130
        raise stopped from None
    known, _ = store.known()
    rows = _summary(plan, known)
    _say(table(list(rows[0]), [list(r.values()) for r in rows]))
    if outcome.quarantined:
        _say(f"{outcome.quarantined} damaged records were moved to {folder / 'quarantine'} and run again")
    failed = [_failure(known[i]) for i, s in outcome.ran.items() if s == "failed"]
    return {
        "suite": plan.suite.name,
        "folder": str(folder),
        "already": outcome.already,
        "ran": dict(sorted(outcome.counts.items())),
        "quarantined": outcome.quarantined,
        "failed": failed,
        "summary": rows,
    }


def _summary(plan: Plan, known: dict[str, RunRecord]) -> list[dict[str, Any]]:
    """One row per cell and rule: runs by status, and the mean final value of the suite's metric."""
    from tpobench.results import final_value

    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    for spec in (*plan.specs, *(s.spec for s in plan.skipped)):
        if spec.run_id in known:
            groups.setdefault((_cell(spec.cell), spec.matching, spec.algorithm), []).append(known[spec.run_id])
    rows = []
    for (cell, matching, algorithm), records in groups.items():
        finals = [v for v in map(final_value, records) if v is not None]
        counts = {s: sum(r.status == s for r in records) for s in ("ok", "diverged", "failed", "skipped")}
        mean = float(f"{sum(finals) / len(finals):.4g}") if finals else None
        rows.append(
            {
                "cell": cell,
                "matching": matching,
                "algorithm": algorithm,
                **counts,
                "final " + plan.suite.report.metric: mean,
            }
        )
    return rows


def _show_plans(plans: Iterable[tuple[Path, Plan]], processes: int, *, as_json: bool) -> None:
    from tpobench.execution.estimate import job_seconds, plan_table, wall_seconds
    from tpobench.execution.progress import duration
    from tpobench.records import Store

    answers, empty = [], True
    for folder, plan in plans:
        known, _ = Store(folder).known()
        rows = [{**vars(r), "cell": _cell(r.cell)} for r in plan_table(plan, known)]
        seconds = [s for _, s in job_seconds(plan, known)]
        wall = None if None in seconds else wall_seconds([s for s in seconds if s is not None], processes)
        cpu = None if None in seconds else sum(s for s in seconds if s is not None)
        answers.append({"suite": plan.suite.name, "folder": str(folder), "rows": rows, "cpu_s": cpu, "wall_s": wall})
        empty = empty and not plan.specs
        if not as_json:
            for row in rows:
                row["cpu"] = "?" if row["cpu_s"] is None else duration(row["cpu_s"])
                del row["cpu_s"]
            if not any(r["reason"] for r in rows):
                rows = [{k: v for k, v in r.items() if k != "reason"} for r in rows]
            _answer(f"{plan.suite.name}: {plan.suite.title} -> {folder}")
            _answer(table(list(rows[0]), [list(r.values()) for r in rows]))
            total = "unknown" if cpu is None else duration(cpu)
            around = "unknown" if wall is None else duration(wall)
            _answer(f"estimated CPU time {total}, wall time {around} with --jobs {processes}\n")
    if as_json:
        _answer(json.dumps({"suites": answers, "jobs": processes}))
    if empty:
        msg = "no rule of the plan fits its task; see the reasons above, or name others with --algos"
        raise NothingToDo(msg)


def _list_suites() -> list[dict[str, Any]]:
    from tpobench.suite import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    return [
        {
            "suite": s.name,
            "cells": len(s.cells),
            "seeds": s.seeds,
            "algorithms": ",".join(s.algorithms),
            "title": s.title,
        }
        for s in suites
    ]


def _list_algorithms(plugins: Sequence[str]) -> list[dict[str, Any]]:
    from tpobench.algorithms.catalog import ALGORITHMS
    from tpobench.execution.plugins import load_plugins

    load_plugins(plugins)
    return [
        {
            "algorithm": a.name,
            "compares": a.compares,
            "hyperparameters": " ".join(f"{k}={v}" for k, v in a.hyperparameters.items()) or "-",
            "paper": a.paper,
        }
        for a in ALGORITHMS.values()
    ]


def _failure(record: RunRecord) -> dict[str, Any]:
    spec = record.spec
    return {
        "id": record.id,
        "cell": _cell(spec["cell"]),
        "algorithm": spec["algorithm"],
        "seed": spec["seed"],
        "reason": record.reason,
    }


def _cell(cell: Mapping[str, object]) -> str:
    return " ".join(f"{k}={v}" for k, v in cell.items()) or "-"


def _split(values: Sequence[str] | None) -> list[str]:
    """`--algos tpo,grpo -a ppo` is three names."""
    return list(dict.fromkeys(part.strip() for value in values or [] for part in value.split(",") if part.strip()))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns of plain text; numbers to the right."""
    shown = [[("-" if v is None else f"{v:g}" if isinstance(v, float) else str(v)) for v in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *shown]) for i in range(len(header))]
    right = [
        bool(rows) and all(v is None or isinstance(v, int | float) for v in column)
        for column in zip(*rows, strict=True)
    ]
    lines = [list(header), *shown]
    aligned = [[c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def _answer(text: str) -> None:
    print(text)  # noqa: T201 - the command line speaks


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command line speaks


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt("SIGTERM")


def main() -> None:
    """Entry point: every expected error is one line and its exit code, an unexpected one is 70."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a title may hold what the terminal cannot show
    try:
        app()
    except TpobenchError as error:
        _say(f"tpobench: {error}")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if os.environ.get("TPOBENCH_DEBUG") == "1":
            traceback.print_exc()
        _say(f"tpobench: internal error: {type(error).__name__}: {error}; TPOBENCH_DEBUG=1 shows where")
        sys.exit(INTERNAL_ERROR)
