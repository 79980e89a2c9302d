"""`run` and `plan`: what is missing, what it costs, and doing it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import (
    GlanceFormat,
    PluginOption,
    ScaleOption,
    SetOption,
    SmokeOption,
    algorithms_of,
    app,
    cell_text,
    failure,
    say,
    say_table,
    show,
    split,
    spread,
    summary,
)
from tpobench.cli.data import data_override, located, require_reader
from tpobench.cli.designs import view_of
from tpobench.cli.kernel import settled
from tpobench.cli.training import OutOption, Training, require_not_stopped, warn_of_threads
from tpobench.errors import NothingToDo, RunsFailed, TpobenchError, UsageError
from tpobench.planning.design import Design, finished
from tpobench.planning.plan import Plan
from tpobench.plugins.load import load_plugins
from tpobench.records.store import BROKEN, Store, other_settings, require_folder
from tpobench.suites.load import ID, load_suite
from tpobench.tables.exports import flat
from tpobench.tables.model import Document, Glance, Table, TableCell, table_of, value_cell
from tpobench.units import duration, size

if TYPE_CHECKING:
    from tpobench.execution.due import Options
    from tpobench.execution.rounds import Machinery
    from tpobench.execution.stop import Stop
    from tpobench.planning.choice import Choice

    Folders = Sequence[tuple[Path, Design]]

ShardOption = Annotated[str | None, typer.Option("--shard", help="k/N: the k-th of N parts, for N machines.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Folder of these runs; default: the suite's name.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost, run nothing.")]


@dataclass(frozen=True)
class Wanted:
    """Which runs."""

    suite: Annotated[list[str], typer.Option("--suite", "-s", help="Suite name or .toml file; repeat or use commas.")]
    algos: Annotated[
        list[str] | None, typer.Option("--algos", "-a", help="Algorithms, or a grid of parts: 'z,loo x clipped,ce'.")
    ] = None
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", help="A count (20), a range (0-9), a list (1,3) or a plan (adaptive:5x4)."),
    ] = None
    smoke: SmokeOption = False
    scale: ScaleOption = "paper"
    set_: SetOption = None
    plugin: PluginOption = None
    out: OutOption = Path("results")
    name: NameOption = None


def run(
    *,
    wanted: Wanted,
    training: Training,
    dry_run: DryRunOption = False,
    format_: GlanceFormat,
    shard: ShardOption = None,
) -> None:
    """Run what is missing of one or more suites.  Finished runs are kept and never repeated.

    $ tpobench run --suite bandit --smoke
    $ tpobench run --suite sparse --algos tpo,grpo,ppo --seeds 20
    """
    from tpobench.planning.choice import parse_choice

    options = training.options(shard)
    choice = parse_choice(wanted.seeds)
    plans = _plans(wanted, choice, training)
    workers = training.workers()
    plans = located(
        plans, options, training.data_dir, allow_unverified=training.allow_unverified_data, only_warn=dry_run
    )
    designs = [(folder, choice.design(plan)) for folder, plan in plans]
    if dry_run:
        _show(designs, workers.processes, options, format_)
        return
    warn_of_threads((plan for _, plan in plans), workers.processes)
    with workers.begin(options, wanted.plugin or []) as by:
        answers, refused = run_all(designs, by)
    if refused and not answers and not by.stop.asked.is_set():
        raise next(iter(refused.values()))
    for refusal in refused.values():
        say(f"tpobench: {refusal}")
    if format_.name != "terminal":
        show(_summaries(answers), format_.name)
    _conclude(answers, by.stop)


PLAN = """Show what `run` would do and what it would cost.

$ tpobench plan --suite sparse --seeds 20
"""
app.command("run")(spread(run))
app.command("plan", help=PLAN)(spread(run, dry_run=True))


def require_name(name: str | None) -> None:
    """What a folder of runs may be called.

    Raises:
        UsageError: something else.
    """
    if name is not None and ID.fullmatch(name) is None:
        msg = f"--name {name}: use a-z, 0-9, _ and -, at most 64 characters, not con or nul"
        raise UsageError(msg)


def _plans(wanted: Wanted, choice: Choice, training: Training) -> list[tuple[Path, Plan]]:
    """Every suite's folder and plan; all made before the first run, so mistakes cost nothing."""
    names, name = split(wanted.suite), wanted.name
    if not names:
        msg = "--suite names no suite; `tpobench list` shows them"
        raise UsageError(msg)
    if name is not None and len(names) > 1:
        msg = f"--name {name}: several suites cannot share one folder; name one suite, or leave --name out"
        raise UsageError(msg)
    require_name(name)
    algos = algorithms_of(wanted.algos) or None
    load_plugins(wanted.plugin or [], suites=names, algorithms=algos)  # a suite may be of a task of theirs
    suites = [
        load_suite(n, [*(wanted.set_ or []), *data_override(n, training.data)], smoke=wanted.smoke, scale=wanted.scale)
        for n in names
    ]
    require_reader(training.data, suites)
    kernel = settled(training.kernel, suites, training.device)
    folders = [wanted.out / (name or (f"{s.name}-smoke" if wanted.smoke else s.name)) for s in suites]
    for folder in folders:
        require_folder(folder)
    return [(folder, choice.plan(s, algos, training.device, kernel)) for folder, s in zip(folders, suites, strict=True)]


def run_all(
    designs: Folders, by: Machinery, *, forgiven: tuple[type[TpobenchError], ...] = (NothingToDo,)
) -> tuple[list[dict[str, Any]], dict[Path, TpobenchError]]:
    """All suites in turn; a time budget and a limit of cost hold for all of them together.

    What the folders rule out is found before the first of them trains.  What is `forgiven` costs its folder only: its
    error is the second part of the answer.
    """
    from tpobench.execution.due import require_affordable

    refused: dict[Path, TpobenchError] = {}
    for folder, design in designs:
        try:
            _require_possible(folder, design, by.options)
        except forgiven as error:
            refused[folder] = error
    possible = [(folder, design) for folder, design in designs if folder not in refused]
    if by.options.max_cost_s is not None:
        known = [Store(folder).known()[0] for folder, _ in possible]
        states = [design.replay(k) for (_, design), k in zip(possible, known, strict=True)]
        require_affordable(zip(states, known, strict=True), by.options)
    answers: list[dict[str, Any]] = []
    for folder, design in possible:
        if by.stop.asked.is_set():
            break
        try:
            answers.append(_run_one(folder, design, by))
            _explain(answers[-1], by.options)
        except forgiven as error:
            refused[folder] = error
    return answers, refused


def _require_possible(folder: Path, design: Design, options: Options) -> None:
    """What the folder holds and the options must allow the runs.  Writes nothing.

    Raises:
        UsageError: they do not.
        CorruptResults: the folder of a search or an adaptive plan cannot be read.
    """
    store = Store(folder)
    design.require(store, sharded=options.shard is not None)
    meta, suite = store.meta(), design.plan.suite.as_dict()
    if meta is not None and other_settings(meta["suite"], suite) is not None:
        store.open(suite)  # says what differs, before it would write anything


def _run_one(folder: Path, design: Design, by: Machinery) -> dict[str, Any]:
    """Round after round of one suite; what came of it."""
    from tpobench.execution.due import due, runs_of
    from tpobench.execution.rounds import Folder, take_rounds

    if note := design.begin(Store(folder)):
        say(f"{folder.name}: {note}")
    state, taken = take_rounds(design.replay, Folder(folder), by)
    known, runs, view = taken.known, state.runs, view_of(folder, state)
    waiting = {s.run_id: s for part in state.waiting for s in part.specs}
    left = runs_of(due(dataclasses.replace(runs, specs=tuple(waiting.values())), known, by.options)[0])
    section = view.after(known)
    rows = summary(runs, known)
    if rows and view.summed_up:
        say_table(_summary(rows))
    if taken.timed_out:
        say(f"the time budget ended the run; {left} runs are left, the same command goes on with them")
    if state.waiting and view.open_parts():
        blocked = sum(due(part, known, by.options)[1] > 0 for part in state.waiting)
        why, option = (
            (f", {blocked} of them because of runs that were given up", " with --retry-failed") if blocked else ("", "")
        )
        say(f"{view.open_parts()}{why}; the same command{option} goes on from there")
    broken = [known[s.run_id] for s in runs.specs if s.run_id in known and known[s.run_id].status in BROKEN]
    return {
        "suite": runs.suite.name,
        "folder": str(folder),
        "already": sum(finished(spec, taken.before) for spec in runs.specs),
        "ran": dict(sorted(taken.ran.items())),
        "elsewhere": taken.elsewhere,
        "left": left,
        "given_up": due(runs, known, by.options)[1],  # those that broke once too often just now too
        "quarantined": taken.quarantined,
        "failed": [failure(record) for record in broken],
        "summary": rows,
        **({view.section: section} if view.section else {}),
    }


def _explain(done: dict[str, Any], options: Options) -> None:
    """One line for everything that was out of the ordinary in a folder."""
    if done["quarantined"]:
        say(f"{done['quarantined']} damaged records were moved to {Path(done['folder'], 'quarantine')} and run again")
    if done["elsewhere"]:
        say(f"{done['elsewhere']} runs were done by another command meanwhile")
    if done["given_up"]:
        say(f"{done['given_up']} runs broke {options.max_attempts} times and are not tried again; --retry-failed does")


def _conclude(answers: Sequence[dict[str, Any]], stop: Stop) -> None:
    """Say what comes next, and end with the exit code of the worst that happened.

    Raises:
        Stopped: by a signal.
        RunsFailed: some runs have no result.
    """
    folders = [a["folder"] for a in answers]
    require_not_stopped(folders, stop)
    say("next: " + "; ".join(f"tpobench report {folder}" for folder in folders))
    require_results(answers)


def require_results(answers: Sequence[dict[str, Any]]) -> None:
    """Go on unless runs failed.

    Raises:
        RunsFailed: some have no result.
    """
    bad = [f for a in answers for f in a["failed"]]
    if bad:
        first = bad[0]
        given_up = any(a["given_up"] for a in answers)  # the same command would leave these as they are
        msg = (
            f"{len(bad)} runs failed, the first: {first['algorithm']} seed {first['seed']} {first['status']}: "
            f"{first['reason']}; run the same command {'with --retry-failed ' * given_up}to retry them"
        )
        raise RunsFailed(msg)


def plan_of_folder(plan: Plan, folder: Path, rows: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Table:
    """A row for each cell and algorithm; reasons where there are any."""
    reasons = any(row["reason"] for row in rows)
    columns = [k for k in rows[0] if k not in {"cpu_s", *([] if reasons else ["reason"])}]
    entries = [[*(row[k] for k in columns), "?" if row["cpu_s"] is None else duration(row["cpu_s"])] for row in rows]
    title = f"{plan.suite.name}: {plan.suite.title} -> {folder}"
    return table_of([*columns, "cpu"], entries, plan.suite.name, title, notes=tuple(notes))


def _summary(rows: Sequence[Mapping[str, Any]], name: str = "", title: str = "") -> Table:
    """Rows of `summary`; a share in percent, whose value scripts have."""
    from tpobench.scores.reporting import Reporting
    from tpobench.stats.texts import rounded

    *columns, final = rows[0]
    r = Reporting(metric=final.removeprefix("final "))
    cells = [
        (
            *(value_cell(row[k]) for k in columns),
            TableCell("-" if row[final] is None else rounded(r.scale * row[final], 4), data={"value": row[final]}),
        )
        for row in rows
    ]
    return Table(name, title, (*columns, final + r.unit), tuple(cells))


def _summaries(answers: Sequence[dict[str, Any]]) -> Document:
    """What came of the runs, a table per suite; on a terminal progress has told it already."""
    tables = [
        _summary(rows, a["suite"], a["folder"])
        for a in answers if (rows := a["summary"])
    ]  # fmt: skip
    several = len(tables) > 1
    records = [{**({"table": a["suite"]} if several else {}), **row} for a in answers for row in a["summary"]]
    return Document("Runs", tuple(tables), {"suites": answers}, records)


def _show(designs: Folders, processes: int, options: Options, format_: GlanceFormat) -> None:
    """What `run` would do, and what it would cost."""
    outlooks = [_outlook(folder, design, processes, options) for folder, design in designs]
    answers = [facts for facts, _ in outlooks]
    records = tuple({"suite": a["suite"], "folder": a["folder"], **flat(row)} for a in answers for row in a["rows"])
    tables = tuple(table for _, table in outlooks)
    data = {"suites": answers, "jobs": processes}
    document = Document("Plan", tables, data, records, glance=_glance(answers, processes, tables))
    show(document, format_.name, full=format_.full)
    if not any(design.plan.specs for _, design in designs):
        msg = "no algorithm of the plan fits its task; see the reasons above, or name others with --algos"
        raise NothingToDo(msg)


def _glance(answers: Sequence[Mapping[str, Any]], processes: int, tables: Sequence[Table]) -> Glance:
    """All runs and what they cost, then a row per suite, or per algorithm of one."""
    rows = [{**row, "suite": a["suite"]} for a in answers for row in a["rows"]]
    by, what = ("suite", "suites") if len(answers) > 1 else ("algorithm", "algorithms")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    todo, done = (sum(row[k] for row in rows) for k in ("todo", "done"))
    cells = len({(row["suite"], row["cell"]) for row in rows})
    spent, around = (_cost([a[k] for a in answers]) for k in ("cpu_s", "wall_s"))
    cost = f": CPU time {spent}, wall time {around} with --jobs {processes}" if todo else ""
    of = f"{_counted(len(groups), what)} on {_counted(cells, 'cells')}"
    verdict = f"{todo:,} runs to do, {done:,} done before{cost} ({of})."
    columns = ("cells", "total", "done", "todo", "failed", "interactions")
    body = [
        [name, len({(r["suite"], r["cell"]) for r in part}), *(sum(r[k] for r in part) for k in columns[1:]),
         _cost([r["cpu_s"] for r in part])] for name, part in groups.items()
    ]  # fmt: skip
    reasons = dict.fromkeys(f"left out: {row['algorithm']}: {row['reason']}" for row in rows if row["reason"])
    notes = [*reasons, *(note for table in tables for note in table.notes[1:])]
    then = ("see them", f"tpobench report {answers[0]['folder']}")
    if todo:
        then = ("run them", "the same command with run in place of plan")
    return Glance(verdict, table_of((by, *columns, "cpu"), body, "plan"), tuple(notes), then=(then,))


def _cost(seconds: Sequence[float | None]) -> str:
    from tpobench.execution.estimate import total

    spent = total(seconds)
    return "unknown" if spent is None else duration(spent)


def _counted(count: int, what: str) -> str:
    return f"{count} {what if count != 1 else what.removesuffix('s')}"


def _outlook(folder: Path, design: Design, processes: int, options: Options) -> tuple[dict[str, Any], Table]:
    """For scripts, and for people."""
    from tpobench.execution.due import bytes_of, due, forecast, too_large
    from tpobench.execution.estimate import Costs, plan_table, total, wall_seconds
    from tpobench.execution.machine import job_memory

    _require_possible(folder, design, options)
    known, _ = Store(folder).known()
    state = design.replay(known)
    plan, view = state.runs, view_of(folder, state)
    jobs, _ = due(plan, known, options)
    rows = [{**vars(r), "cell": cell_text(r.cell)} for r in plan_table(plan, known, jobs)]
    costs = Costs(plan.suite, known, "cpu_s")
    seconds = [costs.of(job) for job in jobs]
    cpu = total(seconds)
    wall = None if cpu is None else wall_seconds([s for s in seconds if s is not None], processes)
    facts: dict[str, Any] = {
        "suite": plan.suite.name, "folder": str(folder), "rows": rows, "cpu_s": cpu, "wall_s": wall,
    }  # fmt: skip
    spent, around = ("unknown" if s is None else duration(s) for s in (cpu, wall))
    notes = [f"estimated CPU time {spent}, wall time {around} with --jobs {processes}"]
    if memory := bytes_of(jobs):
        facts["memory_bytes"] = memory
        notes.append(too_large(jobs, job_memory(processes)) or f"estimated memory of a job {size(memory)}")
    if view.section:
        bounds = forecast(state, known, options)
        facts[view.section], more = view.before(bounds)
        facts[view.section] |= {k: v for k, v in dataclasses.asdict(bounds).items() if k != "unpriced"}
        notes += more
    return facts, plan_of_folder(plan, folder, rows, notes)
