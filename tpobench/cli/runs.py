"""`run` and `plan`: what is missing, what it costs, and doing it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import (
    NOTICE,
    DataDirOption,
    JsonOption,
    PluginOption,
    ScaleOption,
    SetOption,
    SmokeOption,
    answer,
    app,
    cell_text,
    failure,
    require_one_job,
    say,
    split,
    summary,
    table,
)
from tpobench.cli.data import AllowUnverifiedOption, DataOption, data_override, located, require_reader
from tpobench.cli.kernel import KernelOption, settled
from tpobench.errors import NothingToDo, RunsFailed, Stopped, TpobenchError, UsageError, unknown
from tpobench.printable import printable
from tpobench.units import duration, parse_bytes, parse_duration

if TYPE_CHECKING:
    from tpobench.execution.engine import Executor, Options
    from tpobench.execution.stop import Stop
    from tpobench.planning.plan import Plan

EXECUTORS = ("local", "inline", "dask")

SuiteOption = Annotated[
    list[str], typer.Option("--suite", "-s", help="Suite name or .toml file; repeat or use commas.")
]
AlgosOption = Annotated[list[str] | None, typer.Option("--algos", "-a", help="Rules; repeat or use commas.")]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", help="A count (20), a range (0-9), a list (1,3) or a plan (adaptive:5x4).")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one per CPU, or per GPU.")
]
OutOption = Annotated[Path, typer.Option("--out", "--results", help="Folder of all results.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Folder of these runs; default: the suite's name.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, or several: cuda:0,cuda:1.")]
ExecutorOption = Annotated[
    str, typer.Option("--executor", help="local: isolated processes; inline: this process; dask: a cluster.")
]
SchedulerOption = Annotated[str | None, typer.Option("--scheduler", help="Address of the Dask scheduler.")]
ShardOption = Annotated[str | None, typer.Option("--shard", help="k/N: the k-th of N parts, for N machines.")]
BudgetOption = Annotated[str | None, typer.Option("--time-budget", help="Stop in time (20m), with balanced seeds.")]
MaxCostOption = Annotated[str | None, typer.Option("--max-cost", help="Refuse to start above this CPU time (2h).")]
TimeoutOption = Annotated[
    str | None, typer.Option("--run-timeout", help="Limit of one job; default: 10 times its estimate, at least 10m.")
]
MemoryOption = Annotated[
    str | None, typer.Option("--memory-limit", help="Limit of one job (4G); default: its share of the machine.")
]
AttemptsOption = Annotated[int, typer.Option("--max-attempts", min=1, help="At a run that breaks, over all commands.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Try them again, however often they broke.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost, run nothing.")]


@app.command()
def run(
    *,
    suite: SuiteOption,
    algos: AlgosOption = None,
    seeds: SeedsOption = None,
    set_: SetOption = None,
    scale: ScaleOption = "paper",
    smoke: SmokeOption = False,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
    out: OutOption = Path("results"),
    name: NameOption = None,
    plugin: PluginOption = None,
    device: DeviceOption = "cpu",
    kernel: KernelOption = "plain",
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    time_budget: BudgetOption = None,
    max_cost: MaxCostOption = None,
    run_timeout: TimeoutOption = None,
    memory_limit: MemoryOption = None,
    max_attempts: AttemptsOption = 3,
    retry_failed: RetryOption = False,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified_data: AllowUnverifiedOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Run what is missing of one or more suites; finished runs are kept and never repeated."""
    from tpobench.execution.stop import Stop, stopping

    options = options_for(time_budget, max_cost, run_timeout, max_attempts, shard, retry_failed=retry_failed)
    memory = None if memory_limit is None else parse_bytes(memory_limit, "--memory-limit")
    plans, devices = _plans(
        suites=suite,
        algos=algos,
        seeds=seeds,
        overrides=set_,
        plugins=plugin,
        device=device,
        kernel=kernel,
        out=out,
        name=name,
        scale=scale,
        smoke=smoke,
        data=data,
    )
    make, processes = executor_for(executor, scheduler, jobs, memory, devices)
    plans = located(plans, options, data_dir, allow_unverified=allow_unverified_data, only_warn=dry_run)
    if dry_run:
        _show_plans(plans, processes, options, seeds, as_json=as_json)
        return
    warn_of_threads(plans, processes)
    with stopping(Stop(), NOTICE) as stop:
        chosen = make()
        try:
            answers, refused = run_all(plans, chosen, options, plugin or [], stop, seeds)
        finally:
            chosen.close()
    if refused and not answers and not stop.asked.is_set():
        raise next(iter(refused.values()))
    for refusal in refused.values():
        say(f"tpobench: {refusal}")
    if as_json:
        answer(json.dumps({"suites": answers}))
    _conclude(answers, stop)


def _without(function: Callable[..., None], **fixed: Any) -> Callable[..., None]:
    """`function` with some options fixed and gone from the command line."""

    @functools.wraps(function)
    def called(**kwargs: Any) -> None:
        function(**kwargs, **fixed)

    signature = inspect.signature(function, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.name not in fixed]
    called.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in kept}
    return called


app.command("plan", help="Show what `run` would do and what it would cost.")(_without(run, dry_run=True))


def options_for(
    time_budget: str | None,
    max_cost: str | None,
    run_timeout: str | None,
    max_attempts: int,
    shard: str | None = None,
    *,
    retry_failed: bool,
) -> Options:
    """How far an invocation goes, from its words.

    Raises:
        UsageError: not a duration, or not a shard.
    """
    from tpobench.execution.engine import Options

    return Options(
        time_budget_s=None if time_budget is None else parse_duration(time_budget, "--time-budget"),
        max_cost_s=None if max_cost is None else parse_duration(max_cost, "--max-cost"),
        timeout_s=None if run_timeout is None else parse_duration(run_timeout, "--run-timeout"),
        max_attempts=max_attempts,
        retry_failed=retry_failed,
        shard=None if shard is None else parse_shard(shard),
    )


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` is the second of eight parts.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        msg = f"--shard {text}: write k/N with 1 <= k <= N, such as 1/4 for the first of four parts"
        raise UsageError(msg)
    return int(match[1]), int(match[2])


def executor_for(
    name: str, scheduler: str | None, jobs: int | None, memory: int | None, devices: tuple[int, ...]
) -> tuple[Callable[[], Executor], int]:
    """How to make the executor, and how many jobs it runs at a time as far as that is known before it is made."""
    from tpobench.execution.machine import cores

    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    if (name == "dask") != (scheduler is not None):
        msg = "--executor dask needs --scheduler ADDRESS, such as tcp://10.0.0.1:8786, and --scheduler needs it"
        raise UsageError(msg)
    if scheduler is not None:
        from tpobench.execution.cluster import Dask

        if jobs is not None:
            msg = f"--executor dask uses every thread of the cluster, so --jobs {jobs} cannot hold; leave it out"
            raise UsageError(msg)
        return functools.partial(Dask, scheduler, memory_limit=memory), 1
    if name == "inline":
        from tpobench.execution.inline import Inline

        require_one_job(jobs)
        return Inline, 1
    from tpobench.execution.local import Local

    processes = jobs or (len(devices) or cores())
    return functools.partial(Local, processes, memory, devices), processes


def _plans(
    *,
    suites: Sequence[str],
    algos: Sequence[str] | None,
    seeds: str | None,
    overrides: Sequence[str] | None,
    plugins: Sequence[str] | None,
    device: str,
    kernel: str,
    out: Path,
    name: str | None,
    scale: str,
    smoke: bool,
    data: str | None = None,
) -> tuple[list[tuple[Path, Plan]], tuple[int, ...]]:
    """Every suite's folder and plan, and the CUDA devices; all made before the first run, so mistakes cost nothing."""
    from tpobench.cli.search import require_plain_seeds
    from tpobench.planning.devices import parse_device
    from tpobench.planning.looks import is_adaptive, require_no_plan, seeds_of
    from tpobench.planning.plan import parse_seeds, plan_runs
    from tpobench.plugins.load import load_plugins
    from tpobench.suites.load import ID, load_suite

    names = split(suites)
    if not names:
        msg = "--suite names no suite; `tpobench list` shows them"
        raise UsageError(msg)
    if name is not None and len(names) > 1:
        msg = f"--name {name}: several suites cannot share one folder; name one suite, or leave --name out"
        raise UsageError(msg)
    if name is not None and ID.fullmatch(name) is None:
        msg = f"--name {name}: use a-z, 0-9, _ and -, at most 64 characters, not con or nul"
        raise UsageError(msg)
    wanted = None if seeds is None else list(seeds_of(seeds)) if is_adaptive(seeds) else parse_seeds(seeds)
    if plugins:  # a suite may be of a task of theirs
        load_plugins(plugins)
    loaded = [load_suite(n, [*(overrides or []), *data_override(n, data)], smoke=smoke, scale=scale) for n in names]
    require_reader(data, loaded)
    require_plain_seeds(loaded, seeds)
    _, devices = parse_device(device)
    folders = [name or (f"{s.name}-smoke" if smoke else s.name) for s in loaded]
    chosen = split(algos) or None
    ends = [s.search.ends if s.search else None for s in loaded]  # a search plans its other levels when it wants them
    kernel = settled(kernel, loaded, device)
    made = [plan_runs(s, chosen, wanted, device, levels=e, kernel=kernel) for s, e in zip(loaded, ends, strict=True)]
    plans = [(out / folder, plan) for folder, plan in zip(folders, made, strict=True)]
    if not is_adaptive(seeds):
        for folder, _ in plans:
            require_no_plan(folder)
    return plans, devices


def warn_of_threads(plans: Iterable[tuple[Path, Plan]], processes: int) -> None:
    """Say so where the jobs would use more threads than there are CPUs."""
    from tpobench.execution.machine import cores

    threads = max((spec.threads for _, plan in plans for spec in plan.specs), default=1)
    if threads > 1 and threads * processes > cores():
        say(
            f"tpobench: {processes} jobs of {threads} threads share {cores()} CPUs; --jobs {max(1, cores() // threads)}"
        )


def run_all(
    plans: Iterable[tuple[Path, Plan]],
    executor: Executor,
    options: Options,
    plugins: Sequence[str],
    stop: Stop,
    seeds: str | None,
    *,
    forgiven: tuple[type[TpobenchError], ...] = (NothingToDo,),
) -> tuple[list[dict[str, Any]], dict[Path, TpobenchError]]:
    """All suites in turn; a time budget and a limit of cost hold for all of them together.

    What the folders rule out is found before the first of them trains.  What is `forgiven` costs its folder only: its
    error is the second part of the answer.
    """
    from tpobench.cli.adaptive import run_adaptive
    from tpobench.cli.search import is_search, require_affordable_searches, run_search
    from tpobench.execution.engine import require_affordable
    from tpobench.planning.looks import is_adaptive, make_plan
    from tpobench.records.store import Store

    plans = list(plans)
    refused: dict[Path, TpobenchError] = {}
    for folder, plan in plans:
        try:
            _require_possible(folder, plan, options, seeds)
        except forgiven as error:
            refused[folder] = error
    plans = [(folder, plan) for folder, plan in plans if folder not in refused]
    if options.max_cost_s is not None and not is_adaptive(seeds):
        priced = [(plan, Store(folder).known()[0]) for folder, plan in plans]
        require_affordable([found for found in priced if not is_search(found[0])], options)
        require_affordable_searches([found for found in priced if is_search(found[0])], options)
    answers: list[dict[str, Any]] = []
    start, whole = time.monotonic(), options.time_budget_s
    for folder, plan in plans:
        if stop.asked.is_set():
            break
        if whole is not None:
            options = dataclasses.replace(options, time_budget_s=max(0.0, whole - (time.monotonic() - start)))
        try:
            if is_adaptive(seeds) and plan.specs:
                adaptive = make_plan(str(seeds), plan)
                answers.append(run_adaptive(folder, adaptive, executor, options, plugins, stop))
            elif is_search(plan):
                answers.append(run_search(folder, plan, executor, options, plugins, stop))
            else:
                answers.append(_run_one(folder, plan, executor, options, plugins, stop))
            _explain(answers[-1], options)
        except forgiven as error:
            refused[folder] = error
    return answers, refused


def _require_possible(folder: Path, plan: Plan, options: Options, seeds: str | None) -> None:
    """What the folder holds and the options must allow the runs.  Writes nothing.

    Raises:
        UsageError: they do not.
        CorruptResults: the folder of a search or an adaptive plan cannot be read.
    """
    from tpobench.cli import adaptive, search
    from tpobench.planning.looks import is_adaptive, make_plan
    from tpobench.records.store import Store, other_settings

    store = Store(folder)
    if is_adaptive(seeds) and plan.specs:
        adaptive.require_possible(make_plan(str(seeds), plan), store, options)
    elif search.is_search(plan):
        search.require_possible(plan, store.known()[0], options)
    meta, suite = store.meta(), plan.suite.as_dict()
    if meta is not None and other_settings(meta["suite"], suite) is not None:
        store.open(suite)  # says what differs, before it would write anything


def _run_one(
    folder: Path, plan: Plan, executor: Executor, options: Options, plugins: Sequence[str], stop: Stop
) -> dict[str, Any]:
    from tpobench.execution.engine import due, execute
    from tpobench.execution.progress import progress_for
    from tpobench.records.store import BROKEN, FINISHED, Store

    store = Store(folder)
    if not plan.specs:
        execute(plan, store, executor=executor)  # records why, and says so
    known, _ = store.known()
    already = sum(s.run_id in known and known[s.run_id].status in FINISHED for s in plan.specs)
    mine, _ = due(plan, known, options)
    with progress_for(folder.name, sum(len(job.specs) for job in mine), already, sys.stderr) as progress:
        outcome = execute(plan, store, 1, progress, plugins, executor=executor, options=options, stop=stop)
    known, _ = store.known()
    rows = summary(plan, known)
    if rows:
        say(table(list(rows[0]), [list(r.values()) for r in rows]))
    if outcome.timed_out:
        say(f"the time budget ended the run; {outcome.left} runs are left, the same command goes on with them")
    broken = [known[s.run_id] for s in plan.specs if s.run_id in known and known[s.run_id].status in BROKEN]
    return {
        "suite": plan.suite.name,
        "folder": str(folder),
        "already": outcome.already,
        "ran": dict(sorted(outcome.counts.items())),
        "elsewhere": len(outcome.elsewhere),
        "left": outcome.left,
        "given_up": due(plan, known, options)[1],  # those that broke once too often just now too
        "quarantined": outcome.quarantined,
        "failed": [failure(record) for record in broken],
        "summary": rows,
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


def require_not_stopped(folders: Sequence[str], stop: Stop) -> None:
    """Go on unless a signal stopped the runs.

    Raises:
        Stopped: it did.
    """
    if stop.asked.is_set():
        kept = f"finished runs are kept in {', '.join(folders)}" if folders else "nothing was run"
        msg = f"stopped; {kept}, the same command goes on from there"
        stopped = Stopped(msg)
        stopped.exit_code = stop.exit_code
        raise stopped


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


def _show_plans(
    plans: Iterable[tuple[Path, Plan]], processes: int, options: Options, seeds: str | None, *, as_json: bool
) -> None:
    from tpobench.cli import search
    from tpobench.cli.adaptive import adaptive_costs, costs_text
    from tpobench.execution.engine import due
    from tpobench.execution.estimate import Costs, plan_table, total, wall_seconds
    from tpobench.planning.looks import is_adaptive, make_plan
    from tpobench.records.store import Store

    answers: list[dict[str, Any]] = []
    empty = True
    for folder, whole in plans:
        known, _ = Store(folder).known()
        plan = search.shown(whole, known)
        jobs, _ = due(plan, known, options)
        rows = [{**vars(r), "cell": cell_text(r.cell)} for r in plan_table(plan, known, jobs)]
        costs = Costs(plan.suite, known, "cpu_s")
        seconds = [costs.of(job) for job in jobs]
        cpu = total(seconds)
        wall = None if cpu is None else wall_seconds([s for s in seconds if s is not None], processes)
        answers.append({"suite": plan.suite.name, "folder": str(folder), "rows": rows, "cpu_s": cpu, "wall_s": wall})
        adaptive = adaptive_costs(folder, make_plan(str(seeds), plan), options) if is_adaptive(seeds) else None
        if adaptive is not None:
            answers[-1]["adaptive"] = adaptive
        searching = search.search_costs(whole, known, options) if search.is_search(whole) else None
        if searching is not None:
            answers[-1]["search"] = searching
        empty = empty and not plan.specs
        if not as_json:
            for row in rows:
                row["cpu"] = "?" if row["cpu_s"] is None else duration(row["cpu_s"])
                del row["cpu_s"]
            if not any(r["reason"] for r in rows):
                rows = [{k: v for k, v in r.items() if k != "reason"} for r in rows]
            answer(printable(f"{plan.suite.name}: {plan.suite.title} -> {folder}"))
            answer(table(list(rows[0]), [list(r.values()) for r in rows]))
            around = "unknown" if wall is None else duration(wall)
            spent = "unknown" if cpu is None else duration(cpu)
            answer(f"estimated CPU time {spent}, wall time {around} with --jobs {processes}\n")
            for line in [] if adaptive is None else costs_text(adaptive):
                answer(line)
            for line in [] if searching is None else search.costs_text(searching):
                answer(line)
    if as_json:
        answer(json.dumps({"suites": answers, "jobs": processes}))
    if empty:
        msg = "no rule of the plan fits its task; see the reasons above, or name others with --algos"
        raise NothingToDo(msg)
