"""`reproduce`: every figure and table of the TPO paper, run where runs are missing and scored against its print."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import (
    NOTICE,
    DataDirOption,
    ForceOption,
    JsonOption,
    ScaleOption,
    answer,
    app,
    say,
    split,
    table,
)
from tpobench.cli.data import AllowUnverifiedOption, DataOption, data_override, located
from tpobench.cli.kernel import KernelOption, settled
from tpobench.cli.runs import (
    AttemptsOption,
    BudgetOption,
    DeviceOption,
    ExecutorOption,
    JobsOption,
    MaxCostOption,
    MemoryOption,
    OutOption,
    RetryOption,
    SchedulerOption,
    TimeoutOption,
    executor_for,
    options_for,
    require_not_stopped,
    require_results,
    run_all,
    warn_of_threads,
)
from tpobench.errors import CorruptResults, DataUnavailable, NothingToDo, RunsFailed, TpobenchError, UsageError
from tpobench.units import duration, parse_bytes

if TYPE_CHECKING:
    from tpobench.execution.engine import Executor, Options
    from tpobench.execution.stop import Stop
    from tpobench.paper.evidence import Evidence
    from tpobench.paper.items import Item
    from tpobench.paper.scorecard import Scorecard
    from tpobench.planning.plan import Plan

FOLDER = "reproduction"
FORGIVEN = (NothingToDo, UsageError, CorruptResults)  # cost the items of one suite, not the others

ItemsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ITEM]...", help="fig2, table3, ..., or all.")]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="A count (20), a range (0-9) or a list (1,3).")]
ListOption = Annotated[bool, typer.Option("--list", help="The items, with their suites, runs and cost; runs nothing.")]
NoRunOption = Annotated[bool, typer.Option("--no-run", help="Score the runs that are there; train nothing.")]
FormatOption = Annotated[list[str] | None, typer.Option("--format", help="md, json, csv; repeat or use commas.")]
FiguresOption = Annotated[str, typer.Option("--figures", help="png, pdf, svg (with commas), or none.")]


@dataclass
class _Work:
    """What stands behind the items: a plan and a folder per suite, and why some of them cannot be run."""

    out: Path
    plans: dict[str, Plan]
    unavailable: dict[str, str] = field(default_factory=dict)
    errors: dict[str, TpobenchError] = field(default_factory=dict)

    def folder(self, suite: str) -> Path:
        return self.out / self.plans[suite].suite.name

    def lose(self, suite: str, error: TpobenchError) -> None:
        """Go on without the runs of a suite, and say why."""
        text = str(error).replace("--name NAME", "another --out FOLDER")  # of `run`; folders are named by suites here
        self.errors[suite] = error
        self.unavailable[suite] = text.partition("\n")[0]
        say(f"tpobench: {text}")

    def require_runs(self) -> None:
        """What could not be run costs its items, and the command ends with what kept it from running.

        Raises:
            RunsFailed: results that clash or cannot be read leave runs undone.
            DataUnavailable: a suite has no data here.
        """
        unread = [name for name, error in self.errors.items() if isinstance(error, DataUnavailable)]
        other = [name for name in self.errors if name not in unread]
        for names, kind in ((other, RunsFailed), (unread, DataUnavailable)):
            if names:
                msg = f"runs of {names[0]} are missing: {self.unavailable[names[0]]}"
                raise kind(msg)


@app.command()
def reproduce(
    *,
    items: ItemsArgument = None,
    list_: ListOption = False,
    scale: ScaleOption = "paper",
    seeds: SeedsOption = None,
    jobs: JobsOption = None,
    out: OutOption = Path("results"),
    no_run: NoRunOption = False,
    format_: FormatOption = None,
    figures: FiguresOption = "png",
    as_json: JsonOption = False,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified_data: AllowUnverifiedOption = False,
    device: DeviceOption = "cpu",
    kernel: KernelOption = "plain",
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    time_budget: BudgetOption = None,
    max_cost: MaxCostOption = None,
    run_timeout: TimeoutOption = None,
    memory_limit: MemoryOption = None,
    max_attempts: AttemptsOption = 3,
    retry_failed: RetryOption = False,
    force: ForceOption = False,
) -> None:
    """Reproduce figures and tables of the TPO paper: run what is missing, then score every number and claim."""
    from tpobench.execution.stop import Stop, stopping
    from tpobench.paper.items import chosen
    from tpobench.paper.scorecards import require_formats
    from tpobench.planning.devices import parse_device
    from tpobench.scores.options import FIGURE_FORMATS, check

    if list_:
        _list(chosen(split(items)), as_json=as_json)
        return
    if not split(items):
        msg = "name an item, such as fig2 or table3, or all; `tpobench reproduce --list` shows them and what they cost"
        raise UsageError(msg)
    wanted = chosen(split(items))
    formats, endings = split(format_) or ["md", "json"], [] if figures == "none" else split([figures])
    require_formats(formats)
    for ending in endings:
        check(ending, FIGURE_FORMATS, "figure format")
    options = options_for(time_budget, max_cost, run_timeout, max_attempts, retry_failed=retry_failed)
    memory = None if memory_limit is None else parse_bytes(memory_limit, "--memory-limit")
    make, processes = executor_for(executor, scheduler, jobs, memory, parse_device(device)[1])
    work = _work(wanted, scale, seeds, data, device, kernel, out)
    answers: list[dict[str, Any]] = []
    if work.plans and not no_run:
        _locate(work, options, data_dir, allow_unverified=allow_unverified_data)
        plans = {work.folder(name): plan for name, plan in work.plans.items() if name not in work.unavailable}
        warn_of_threads(plans.items(), processes)
        with stopping(Stop(), NOTICE) as stop:
            answers = _run(work, plans, make(), options, stop)
            require_not_stopped([a["folder"] for a in answers], stop)
    _require_something(work, wanted)
    cards = _scored(work, wanted, scale)
    written = _written(work, cards, formats, endings, force=force)
    _tell(work, cards, written, answers, as_json=as_json)
    require_results(answers)
    work.require_runs()


def _work(
    items: Sequence[Item], scale: str, seeds: str | None, data: str | None, device: str, kernel: str, out: Path
) -> _Work:
    """The plans of all suites behind the items, made before the first run, so mistakes cost nothing.

    Raises:
        UsageError: a suite, scale or seed that is not valid, or a folder whose seeds follow an adaptive plan.
    """
    from tpobench.paper.design import plan_items
    from tpobench.planning.datasets import need_of
    from tpobench.planning.looks import is_adaptive, require_no_plan
    from tpobench.planning.plan import parse_seeds
    from tpobench.suites.load import load_suite

    if is_adaptive(seeds):
        msg = f"--seeds {seeds}: the paper's numbers are compared at fixed seeds; give a count, a range or a list"
        raise UsageError(msg)
    names = dict.fromkeys(part.suite for item in items for part in item.parts)
    suites = {name: load_suite(name, data_override(name, data), scale=scale) for name in names}
    if data is not None and not any(need_of(suite.task) for suite in suites.values()):
        msg = f"--data {data}: none of {', '.join(item.name for item in items)} reads data; leave it out"
        raise UsageError(msg)
    wanted = None if seeds is None else parse_seeds(seeds)
    work = _Work(out, plan_items(items, suites, wanted, device, settled(kernel, suites.values(), device)))
    for name in work.plans:
        require_no_plan(work.folder(name))
    return work


def _locate(work: _Work, options: Options, data_dir: Path | None, *, allow_unverified: bool) -> None:
    """Plans that know where their data lies; a suite without its data is left out and says so."""
    for name, plan in work.plans.items():
        pair = (work.folder(name), plan)
        try:
            ((_, work.plans[name]),) = located(
                [pair], options, data_dir, allow_unverified=allow_unverified, only_warn=False
            )
        except DataUnavailable as error:
            work.lose(name, error)


def _run(
    work: _Work, plans: Mapping[Path, Plan], executor: Executor, options: Options, stop: Stop
) -> list[dict[str, Any]]:
    """What is missing of all suites, in one budget of time and cost."""
    try:
        answers, refused = run_all(plans.items(), executor, options, (), stop, None, forgiven=FORGIVEN)
    finally:
        executor.close()
    for folder, error in refused.items():
        name = next(n for n in work.plans if work.folder(n) == folder)
        work.lose(name, error)
    return answers


def _require_something(work: _Work, items: Sequence[Item]) -> None:
    """A scorecard has at least one run, or an item that needs none.

    Raises:
        TpobenchError: why none of the suites has any: without data, settings that clash, or never run.
    """
    from tpobench.records.store import Store

    if any(not item.parts for item in items) or any(Store(work.folder(n)).known()[0] for n in work.plans):
        return
    if work.errors:
        raise next(iter(work.errors.values()))
    msg = f"no results of {', '.join(i.name for i in items)} in {work.out}; without --no-run they are made"
    raise NothingToDo(msg)


def _scored(work: _Work, items: Sequence[Item], scale: str) -> list[Scorecard]:
    from tpobench.paper.scorecard import score

    evidence = {name: _evidence(work, name) for name in work.plans}
    return [score(item, evidence, scale) for item in items]


def _evidence(work: _Work, name: str) -> Evidence:
    from tpobench.paper.evidence import gather
    from tpobench.records.store import Store

    try:
        known, _ = Store(work.folder(name)).known()
    except CorruptResults as error:
        work.lose(name, error)
        known = {}
    return gather(work.plans[name], known.values(), unavailable=work.unavailable.get(name, ""))


def _written(
    work: _Work, cards: Sequence[Scorecard], formats: Sequence[str], endings: Sequence[str], *, force: bool
) -> list[Path]:
    """The pages, and the figures that they show."""
    from tpobench.paper.scorecards import write_scorecards

    out = work.out / FOLDER
    figures = {c.item.name: _drawn(c, out / "figures", endings, force=force) for c in cards} if endings else {}
    return [
        *write_scorecards(cards, out, formats, figures, force=force),
        *(p for paths in figures.values() for p in paths),
    ]


def _drawn(card: Scorecard, out: Path, endings: Sequence[str], *, force: bool) -> dict[Path, str]:
    """Files and captions."""
    from tpobench.paper.figures import ITEMS
    from tpobench.paper.figures.files import write_paper_figures
    from tpobench.records.results import Results

    if card.item.name not in ITEMS:
        return {}
    return write_paper_figures(card.item.name, Results(card.records), out, endings, force=force)


def _tell(
    work: _Work,
    cards: Sequence[Scorecard],
    written: Sequence[Path],
    answers: Sequence[dict[str, Any]],
    *,
    as_json: bool,
) -> None:
    from tpobench.paper.scorecards.data import data_of
    from tpobench.paper.scorecards.terminal import lines_of, summary_lines

    if as_json:
        from tpobench.report.data import finite

        found = {"items": [data_of(c) for c in cards], "suites": list(answers), "files": [str(p) for p in written]}
        answer(json.dumps(finite(found), allow_nan=False))
        return
    for line in lines_of(cards[0], table) if len(cards) == 1 else summary_lines(cards, table):
        answer(line)
    say(f"written: {len(written)} files in {work.out / FOLDER}")


def _list(items: Sequence[Item], *, as_json: bool) -> None:
    """Items with what is behind them, at both scales."""
    from tpobench.paper.design import cost_of, plan_items
    from tpobench.suites.load import SCALES, load_suite

    names = dict.fromkeys(part.suite for item in items for part in item.parts)
    suites = {scale: {name: load_suite(name, scale=scale) for name in names} for scale in SCALES}
    rows = []
    for item in items:
        costs = {scale: cost_of(plan_items([item], suites[scale], None).values()) for scale in SCALES}
        rows.append({
            "item": item.name, "title": item.title, "section": item.section, "numbers": len(item.numbers),
            "claims": len(item.claims), "suites": ", ".join(dict.fromkeys(p.suite for p in item.parts)) or "-",
            **{f"{scale}_{key}": value for scale, c in costs.items()
               for key, value in (("runs", c.runs), ("cpu_s", c.cpu_s))},
        })  # fmt: skip
    if as_json:
        answer(json.dumps({"items": rows}))
        return
    header = ["item", "title", "section", "suites", "numbers", "claims", "runs", "CPU time", "quick runs", "quick CPU"]
    answer(table(header, [_listed(row) for row in rows]))
    answer("\nItems share runs: those of several items are made once.  CPU time is estimated.")


def _listed(row: Mapping[str, Any]) -> list[Any]:
    cells = [row[k] for k in ("item", "title", "section", "suites", "numbers", "claims")]
    for scale in ("paper", "quick"):
        cpu = row[f"{scale}_cpu_s"]
        cells += [row[f"{scale}_runs"], "?" if cpu is None else duration(cpu)]
    return cells
