"""`check`: has a change made any rule learn worse than the baseline says?"""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli import baselines  # noqa: F401 - registers `baseline update`
from tpobench.cli.base import (
    NOTICE,
    DataDirOption,
    JsonOption,
    PluginOption,
    SetOption,
    answer,
    app,
    require_one_job,
    say,
    split,
)
from tpobench.errors import Stopped, StorageFull, TpobenchError, UsageError, unknown

if TYPE_CHECKING:
    from tpobench.check import Baseline, Candidate, GateCell, Judgement
    from tpobench.check.arms import Arm
    from tpobench.check.code import Code
    from tpobench.execution.engine import Executor
    from tpobench.execution.stop import Stop
    from tpobench.planning.plan import Plan, RunSpec
    from tpobench.records.store import RunRecord
    from tpobench.stats.gate import GatePlan, Margin

CACHE = Path("results") / "check"
MARK = "code.json"  # in a folder that `check` filled: the code its results belong to
EXECUTORS = ("local", "inline")

BaselineOption = Annotated[
    Path, typer.Option("--baseline", "-b", help="Packed baseline (its log beside it), or any results.")
]
CandidateArgument = Annotated[
    Path | None,
    typer.Argument(help="Results of the code under test; default: results/check, a folder per state of the code."),
]
SuitesOption = Annotated[
    list[str] | None,
    typer.Option("--suite", "-s", help="Judge these suites of the baseline only, and against their present settings."),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit 7 where a cell is inconclusive.")]
JunitOption = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML, one test case per cell.")]
SummaryOption = Annotated[
    Path | None, typer.Option("--summary", help="Append Markdown to this file; default: $GITHUB_STEP_SUMMARY.")
]
WaiversOption = Annotated[Path | None, typer.Option("--waivers", help="TOML file of regressions accepted until a day.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one per CPU.")]
MarginOption = Annotated[
    list[str] | None, typer.Option("--margin", help="KIND=FLOOR,REL: error=0.01,0.1, steps=0,0.25, rate=0.2.")
]
NoRunOption = Annotated[bool, typer.Option("--no-run", help="Judge the results that are there; train nothing.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Train again what an earlier check of this code left.")]
ConfirmOption = Annotated[
    bool, typer.Option("--confirm/--no-confirm", help="Confirm on reserve seeds, or decide on the screen alone.")
]
RtolOption = Annotated[float, typer.Option("--rtol", min=0.0, help="Relative difference that still counts as equal.")]
ExecutorOption = Annotated[str, typer.Option("--executor", help="local: isolated processes; inline: this process.")]


@dataclass(frozen=True)
class _Request:
    """What the command line asked for, parsed."""

    baseline: Baseline
    code: Code
    root: Path  # of the candidate's results
    own: bool  # the root is the cache, keyed by the code
    plugins: tuple[str, ...]
    suites: tuple[str, ...]
    overrides: tuple[str, ...]
    margins: Mapping[str, Margin]
    plan: GatePlan
    rules: Mapping[str, str]
    runs: bool
    strict: bool
    waivers: Path | None
    data_dir: Path | None


@app.command()
def check(
    *,
    results: CandidateArgument = None,
    baseline: BaselineOption,
    suite: SuitesOption = None,
    set_: SetOption = None,
    plugin: PluginOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    junit: JunitOption = None,
    summary: SummaryOption = None,
    waivers: WaiversOption = None,
    jobs: JobsOption = None,
    margin: MarginOption = None,
    no_run: NoRunOption = False,
    fresh: FreshOption = False,
    confirm: ConfirmOption = True,
    rtol: RtolOption = 0.0,
    executor: ExecutorOption = "local",
    data_dir: DataDirOption = None,
) -> None:
    """Say whether any rule in any cell learns worse than the baseline; run what is missing first."""
    from tpobench.check import outputs

    step = os.environ.get("GITHUB_STEP_SUMMARY")
    page = summary or (Path(step) if step else None)
    try:
        request = _request(
            results, baseline, suite=suite, overrides=set_, plugins=plugin, margin=margin, no_run=no_run, fresh=fresh,
            confirm=confirm, rtol=rtol, strict=strict, waivers=waivers, executor=executor, jobs=jobs, data_dir=data_dir,
        )  # fmt: skip
        judgement = _judge(request, executor, jobs)
    except TpobenchError as error:  # a check that was not made is seen wherever its verdict would have been
        _write(junit, outputs.junit_of_error(str(error), type(error).__name__))
        _append(page, outputs.markdown_of_error(str(error)))
        raise
    _write(junit, outputs.junit(judgement))
    _append(page, outputs.markdown(judgement))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in outputs.github_commands(judgement):
            say(line)
    answer(json.dumps(outputs.as_json(judgement)) if as_json else outputs.text(judgement))
    if judgement.exit_code:
        raise typer.Exit(judgement.exit_code)


def _request(
    results: Path | None,
    path: Path,
    *,
    suite: Sequence[str] | None,
    overrides: Sequence[str] | None,
    plugins: Sequence[str] | None,
    margin: Sequence[str] | None,
    no_run: bool,
    fresh: bool,
    confirm: bool,
    rtol: float,
    strict: bool,
    waivers: Path | None,
    executor: str,
    jobs: int | None,
    data_dir: Path | None,
) -> _Request:
    from tpobench.check.baseline import read_baseline
    from tpobench.check.code import code_under_test
    from tpobench.check.evidence import parse_margins
    from tpobench.check.plans import rules_here
    from tpobench.plugins.load import load_plugins
    from tpobench.stats.gate import GatePlan

    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "inline":
        require_one_job(jobs)
    if overrides and not suite:
        msg = "--set changes a suite; name it with --suite, or leave --set out to take the baseline's own settings"
        raise UsageError(msg)
    margins = parse_margins(margin or [])
    names = split(suite)
    held = read_baseline(path)
    code = code_under_test(load_plugins(plugins or []))
    root = CACHE / code.key if results is None else results
    _require_apart(path, root)
    if fresh:
        _forget(root, no_run=no_run)
    return _Request(
        baseline=held.only([Path(n).stem for n in names]) if names else held,
        code=code,
        root=root,
        own=results is None,
        plugins=tuple(plugins or ()),
        suites=tuple(names),
        overrides=tuple(overrides or ()),
        margins=margins,
        plan=GatePlan(confirm=confirm, rtol=rtol, rate_margin=margins["rate"].floor),
        rules=rules_here(),
        runs=not no_run,
        strict=strict,
        waivers=waivers,
        data_dir=data_dir,
    )


def _require_apart(baseline: Path, root: Path) -> None:
    """A baseline compared with itself is always unchanged."""
    from tpobench.records.store import Store, sources

    def files(path: Path) -> set[Path]:
        return {p.resolve() for s in sources(path) for p in ([s, Store(s).packed] if s.is_dir() else [s])}

    same = files(baseline) & files(root)
    if same:
        msg = f"{root} holds the baseline itself ({min(same)}); name the folder of the code under test, or leave it out"
        raise UsageError(msg)


def _forget(root: Path, *, no_run: bool) -> None:
    """Remove what an earlier check left; nobody else's results."""
    if no_run:
        msg = "--fresh trains again and --no-run trains nothing; choose one of them"
        raise UsageError(msg)
    if root.is_dir() and not (root / MARK).is_file():
        msg = f"--fresh removes only what `check` made, and {root} was not made by it; name another folder"
        raise UsageError(msg)
    if root.is_dir():
        shutil.rmtree(root)


def _judge(request: _Request, executor: str, jobs: int | None) -> Judgement:
    """Compare, after running what is missing: first the screen, then the reserve seeds of what it flagged."""
    from tpobench.check.evidence import gate_cells
    from tpobench.check.judgement import judge, waiver_notes
    from tpobench.check.plans import cannot_run
    from tpobench.check.waivers import in_force, read_waivers
    from tpobench.stats.gate import decide, refusal, reserve_needed, screen_cells

    base = request.baseline
    waivers = read_waivers(request.waivers) if request.waivers else ()
    missing, different = cannot_run(base, request.rules) if request.runs else ({}, {})
    differ, notes = _against_suites(request)
    different |= differ
    records, damaged = _load(request.root)
    found = _candidate(request, records)
    if request.runs:
        _require_same_code(request, found, adding=False)

    def cells(candidate: Candidate) -> list[GateCell]:
        return gate_cells(base, candidate, request.margins, different, missing)

    refused = refusal(request.plan, [c.evidence for c in cells(found)])
    candidate, made = found, 0
    if request.runs and not refused:
        runnable = [a for a in base.arms if a not in {**missing, **different, **found.incomparable}]
        with _trainer(request, executor, jobs, found) as train:
            candidate, ran = train(candidate, base.screen, runnable)
            made += ran
            if request.plan.confirm:
                judged = cells(candidate)
                flagged = reserve_needed(screen_cells([c.evidence for c in judged], request.plan))
                suspects = dict.fromkeys(c.arm for c in judged if c.name in flagged)
                if suspects:
                    say(f"confirming {len(flagged)} flagged cells on {len(base.reserve)} reserve seeds")
                candidate, ran = train(candidate, base.reserve, list(suspects))
                made += ran
    judged = cells(candidate)
    held, told = in_force(waivers, judged, dt.datetime.now(dt.UTC).date())
    report = decide([c.evidence for c in judged], request.plan)
    report = dataclasses.replace(
        report, refusal=re.sub(r"check without confirm\w*", "use --no-confirm", report.refusal)
    )
    notes += _notes(request, candidate, damaged, told)
    return waiver_notes(
        judge(
            judged,
            report,
            held,
            baseline=base,
            plan=request.plan,
            margins=request.margins,
            notes=tuple(notes),
            strict=request.strict,
            version=str(request.code.facts["tpobench"]),
            origin=_origin(request, candidate, made),
        )
    )


def _against_suites(request: _Request) -> tuple[dict[Arm, str], list[str]]:
    """With --suite: which cells it defines otherwise now.  Without: which defaults the check does not see."""
    from tpobench.check.plans import changed_defaults, compare_with_suites
    from tpobench.suites.load import load_suite

    if not request.suites:
        return {}, [
            f"{text}; name the suite with --suite to compare settings" for text in changed_defaults(request.baseline)
        ]
    suites = [load_suite(name, request.overrides) for name in request.suites]
    differ, new = compare_with_suites(request.baseline, suites)
    if not new:
        return differ, []
    named = ", ".join(arm.text for arm in new[:5]) + (f" and {len(new) - 5} more" if len(new) > 5 else "")
    return differ, [f"not in the baseline, so not judged: {named}"]


def _load(root: Path) -> tuple[list[RunRecord], int]:
    """The candidate's records so far, and the number of damaged ones."""
    from tpobench.records.store import merge_copies, read_source, sources

    found: list[RunRecord] = []
    damaged = 0
    for source in sources(root):
        held, torn = read_source(source)
        found += held.values()
        damaged += torn
    return list(merge_copies(found).values()), damaged


def _candidate(request: _Request, records: Iterable[RunRecord]) -> Candidate:
    from tpobench.check.evidence import candidate_of

    return candidate_of(request.baseline, records, request.rules if request.runs else None)


@contextmanager
def _trainer(request: _Request, executor: str, jobs: int | None, found: Candidate) -> Iterator[Any]:
    """A function that runs what is missing of some seeds and arms: (candidate, seeds, arms) -> (candidate, runs)."""
    from tpobench.check.plans import due
    from tpobench.execution.inline import Inline
    from tpobench.execution.local import Local
    from tpobench.execution.machine import cores
    from tpobench.execution.stop import Stop, stopping
    from tpobench.planning.datasets import with_data

    workers: list[Executor] = []

    def train(candidate: Candidate, seeds: Sequence[int], arms: Sequence[Arm]) -> tuple[Candidate, int]:
        wanted = due(request.baseline, candidate, seeds, arms, request.rules)
        if not wanted:
            return candidate, 0
        plans = with_data([_plan(request, specs) for specs in wanted.values()], request.data_dir, fixed=True)
        if not workers:
            _require_same_code(request, found, adding=True)
            workers.append(Inline() if executor == "inline" else Local(jobs or cores()))
        for plan in plans:
            _run(request, plan, workers[0], stop)
        return _candidate(request, _load(request.root)[0]), sum(map(len, wanted.values()))

    with stopping(Stop(), NOTICE) as stop:
        try:
            yield train
        finally:
            for worker in workers:
                worker.close()


def _plan(request: _Request, specs: Sequence[RunSpec]) -> Plan:
    """A plan of some runs of one suite, whose settings are those of the candidate's folder where it holds some."""
    from tpobench.check.plans import plan_of
    from tpobench.records.store import Store

    meta = Store(_folder(request.root, specs[0].suite)).meta() or {}
    return plan_of(request.baseline, specs, meta.get("suite"))


def _run(request: _Request, plan: Plan, executor: Executor, stop: Stop) -> None:
    """Train some runs of one suite into the candidate's folder."""
    from tpobench.execution.engine import Options, execute
    from tpobench.execution.progress import progress_for
    from tpobench.records.store import Store

    store = Store(_folder(request.root, plan.specs[0].suite))
    with progress_for(f"check {plan.specs[0].suite}", len(plan.specs), 0, sys.stderr) as progress:
        execute(
            plan, store, 1, progress, request.plugins, executor=executor, options=Options(retry_failed=True), stop=stop
        )
    if stop.asked.is_set():
        msg = f"stopped; finished runs are kept in {store.folder}, the same command goes on from there"
        stopped = Stopped(msg)
        stopped.exit_code = stop.exit_code
        raise stopped


def _folder(root: Path, suite: str) -> Path:
    """Where the runs of a suite go: beside those that are there."""
    from tpobench.records.store import PACKED, Store, is_run_folder, run_folders

    if root.suffix == PACKED:
        return root.with_suffix("")
    if is_run_folder(root):
        return root
    held = (f for f in run_folders(root) if ((Store(f).meta() or {}).get("suite") or {}).get("name") == suite)
    return next(held, root / suite)


def _require_same_code(request: _Request, found: Candidate, *, adding: bool) -> None:
    """Refuse results of another state of the code, where they can be told; `adding` runs to them asks for certainty."""
    mark, facts = request.root / MARK, request.code.facts
    records = [r for arm in found.arms.values() for r in arm.values()]
    remedy = "judge them as they are with --no-run, or name a new folder"
    if mark.is_file():
        if _key(mark) != request.code.key:
            msg = f"{request.root} holds results of another state of the code; train them again with --fresh, {remedy}"
            raise UsageError(msg)
        return
    if adding and not records:
        _write(mark, json.dumps(request.code.as_dict(), indent=1) + "\n")
    if adding and records and _uncommitted(facts["git"]):
        msg = f"{request.root} holds results, and the code here is not committed, so they may be another's; {remedy}"
        raise UsageError(msg)
    for record in records:
        for name in ("tpobench", "git", "torch"):
            then, now = record.provenance.get(name), facts[name]
            if then != now:
                msg = f"{request.root} holds results made with {name} {then}, here is {now}; {remedy}"
                raise UsageError(msg)


def _key(mark: Path) -> object:
    """Which state of the code a mark names; a damaged one names none."""
    from tpobench.limits import load_json

    try:
        named = load_json(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return named.get("key") if isinstance(named, dict) else None


def _uncommitted(commit: object) -> bool:
    return str(commit).endswith("-dirty")


def _notes(request: _Request, candidate: Candidate, damaged: int, waivers: Sequence[str]) -> list[str]:
    """What a reader should know beside the verdicts."""
    from tpobench.check.evidence import platform_of
    from tpobench.scores.unverified import unverified

    notes = list(waivers)
    new = [r for arm in candidate.arms.values() for r in arm.values()]
    old = [r for arm in request.baseline.arms.values() for r in arm.values()]
    for name, of in (("cpu", lambda r: r.provenance.get("cpu")), ("platform", lambda r: " ".join(platform_of(r)))):
        there, here = {str(of(r)) for r in old}, {str(of(r)) for r in new}
        if new and there != here:
            notes.append(f"{name} of the baseline: {', '.join(sorted(there))}; here: {', '.join(sorted(here))}")
    if any(_uncommitted(r.provenance.get("git")) for r in old):
        notes.append("the baseline was made from uncommitted code")
    if (
        new
        and request.runs
        and not request.own
        and not (request.root / MARK).is_file()
        and _uncommitted(request.code.facts["git"])
    ):
        notes.append(f"the code here is not committed: whether {request.root} was made with it cannot be told")
    notes += map(str, unverified(old))
    if damaged:
        notes.append(f"{damaged} damaged records in {request.root} were left out")
    return notes


def _origin(request: _Request, candidate: Candidate, made: int) -> dict[str, Any]:
    held = sum(map(len, candidate.arms.values()))
    return {"path": str(request.root), "runs": held, "made_now": made, "code": request.code.as_dict()}


def _write(path: Path | None, text: str) -> None:
    from tpobench.records.store import write_atomically

    if path is None:
        return
    try:
        write_atomically(path, text)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StorageFull(msg) from error


def _append(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StorageFull(msg) from error
