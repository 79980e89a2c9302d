"""`check`: has a change made any algorithm learn worse than the baseline says?"""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli import baselines  # noqa: F401 - registers `baseline update`
from tpobench.cli.against import trained_reference
from tpobench.cli.base import (
    DataDirOption,
    GlanceFormat,
    PluginOption,
    SetOption,
    app,
    require_places,
    say,
    show,
    split,
    spread,
    write_file,
)
from tpobench.cli.candidates import MARK, Candidates, forget, require_apart, require_same_code, uncommitted
from tpobench.cli.training import JobsOption, require_not_stopped, workers_for
from tpobench.errors import StorageFull, TpobenchError, UsageError
from tpobench.planning.datasets import with_data
from tpobench.planning.plan import Plan
from tpobench.plugins.load import load_plugins
from tpobench.printable import first_of
from tpobench.records.store import uncollected
from tpobench.suites.load import load_suite

if TYPE_CHECKING:
    from tpobench.check import Baseline, Candidate, Judgement
    from tpobench.check.arms import ArmKey
    from tpobench.check.code import Code
    from tpobench.check.gate import Gate, GateState
    from tpobench.cli.training import Workers
    from tpobench.stats.gate import GatePlan, Margin

CACHE = Path("results") / "check"
EXECUTORS = ("local", "inline")  # other machines may compute other last bits
JunitOption = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML, one test case per cell.")]
SummaryOption = Annotated[
    Path | None, typer.Option("--summary", help="Append Markdown to this file; default: $GITHUB_STEP_SUMMARY.")
]


@dataclass(frozen=True)
class Asked:
    """The words of the command line."""

    baseline: Annotated[
        Path | None, typer.Option("--baseline", "-b", help="Packed baseline (its log beside it), or any results.")
    ] = None
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REF", help="Train the merge base with REF here, as the baseline."),
    ] = None
    results: Annotated[
        Path | None,
        typer.Argument(
            metavar="RESULTS",
            help="Results of the code under test; default: results/check, a folder per state of the code.",
        ),
    ] = None
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite", "-s", help="Judge these suites of the baseline only, and against their present settings."
        ),
    ] = None
    set_: SetOption = None
    plugin: PluginOption = None
    strict: Annotated[bool, typer.Option("--strict", help="Exit 7 where a cell is inconclusive or improved.")] = False
    expect_unchanged: Annotated[
        bool, typer.Option("--expect-unchanged", help="For refactorings: exit 1 unless every cell is bitwise equal.")
    ] = False
    waivers: Annotated[
        Path | None, typer.Option("--waivers", help="TOML file of regressions accepted until a day.")
    ] = None
    jobs: JobsOption = None
    margin: Annotated[
        list[str] | None, typer.Option("--margin", help="KIND=FLOOR,REL: error=0.01,0.1, steps=0,0.25, rate=0.2.")
    ] = None
    no_run: Annotated[bool, typer.Option("--no-run", help="Judge the results that are there; train nothing.")] = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what an earlier check of this code left.")] = False
    confirm: Annotated[
        bool, typer.Option("--confirm/--no-confirm", help="Confirm on reserve seeds, or decide on the screen alone.")
    ] = True
    rtol: Annotated[float, typer.Option("--rtol", min=0.0, help="Relative difference that still counts as equal.")] = (
        0.0
    )
    executor: Annotated[str, typer.Option("--executor", help="local: isolated processes; inline: this process.")] = (
        "local"
    )
    data_dir: DataDirOption = None


@dataclass(frozen=True)
class _Request:
    """What was asked for, parsed."""

    asked: Asked
    baseline: Baseline
    suites: tuple[str, ...]
    code: Code
    root: Path  # of the candidate's results
    margins: Mapping[str, Margin]
    plan: GatePlan
    versions: Mapping[str, str]  # of the algorithms here
    workers: Workers

    @property
    def runs(self) -> bool:
        """Whether what is missing is trained."""
        return not self.asked.no_run


def check(
    *,
    asked: Asked,
    format_: GlanceFormat,
    junit: JunitOption = None,
    summary: SummaryOption = None,
) -> None:
    """Say whether any algorithm learns worse than the baseline.  What is missing is run first; every cell is judged.

    $ tpobench check --baseline results/baselines/ci.jsonl
    """
    with uncollected() if asked.no_run else nullcontext():  # what is trained may leave cycles
        exit_code = _check(asked, format_, junit, summary)
    if exit_code:
        raise typer.Exit(exit_code)


def _check(asked: Asked, format_: GlanceFormat, junit: Path | None, summary: Path | None) -> int:
    """The exit code, once all is said."""
    from tpobench.check import outputs

    step = os.environ.get("GITHUB_STEP_SUMMARY")
    page = summary or (Path(step) if step else None)
    require_places([file for file in (junit, page) if file is not None])
    try:
        judgement = _judge(_request(asked))
    except TpobenchError as error:  # a check that was not made is seen wherever its verdict would have been
        if junit is not None:
            write_file(junit, outputs.junit_of_error(str(error), type(error).__name__))
        _append(page, outputs.summary_of_error(str(error)))
        raise
    if junit is not None:
        write_file(junit, outputs.junit(judgement))
    _append(page, outputs.summary(judgement))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in outputs.github_commands(judgement):
            say(line)
    show(outputs.document_of(judgement), format_.name, full=format_.full)
    return judgement.exit_code


app.command("check")(spread(check))


def _request(asked: Asked) -> _Request:
    from tpobench.check.baseline import read_baseline
    from tpobench.check.code import code_under_test
    from tpobench.check.evidence import parse_margins
    from tpobench.check.plans import algorithms_here
    from tpobench.stats.gate import GatePlan

    workers = workers_for(asked.executor, asked.jobs, executors=EXECUTORS)
    if asked.set_ and not asked.suite:
        msg = "--set changes a suite; name it with --suite, or leave --set out to take the baseline's own settings"
        raise UsageError(msg)
    margins = parse_margins(asked.margin or [])
    names = split(asked.suite)
    path = _baseline_of(asked, names)
    baseline = read_baseline(path)
    if names:
        baseline = baseline.only([Path(n).stem for n in names])
    specs = [record.spec for records in baseline.arms.values() for record in records.values()]
    code = code_under_test(
        load_plugins(
            asked.plugin or [],
            suites=names,
            algorithms={s["algorithm"] for s in specs},
            kinds={str(s["task"]["kind"]) for s in specs},
        )
    )
    root = CACHE / code.key if asked.results is None else asked.results
    require_apart(path, root)
    if asked.fresh:
        forget(root, no_run=asked.no_run)
    return _Request(
        asked,
        baseline=baseline,
        suites=tuple(names),
        code=code,
        root=root,
        margins=margins,
        plan=GatePlan(
            confirm=asked.confirm and not asked.expect_unchanged, rtol=asked.rtol, rate_margin=margins["rate"].floor
        ),
        versions=algorithms_here(),
        workers=workers,
    )


def _baseline_of(asked: Asked, suites: Sequence[str]) -> Path:
    """Where the baseline lies, trained first with --against."""
    if (asked.baseline is None) == (asked.against is None):
        msg = "check against what? name a baseline with --baseline FILE, or a commit with --against REF"
        raise UsageError(msg)
    if asked.against is None:
        assert asked.baseline is not None  # noqa: S101 - for the type checker
        return asked.baseline
    if not suites:
        msg = "--against trains suites of the reference; name them with --suite"
        raise UsageError(msg)
    return trained_reference(asked.against, suites, asked.plugin or [], CACHE)


def _judge(request: _Request) -> Judgement:
    """Compare, after running what is missing: first the screen, then the reserve seeds of what it flagged."""
    from tpobench.check.gate import Gate
    from tpobench.check.judgement import judge, waiver_notes
    from tpobench.check.plans import cannot_run
    from tpobench.check.waivers import in_force, read_waivers
    from tpobench.stats.gate import decide

    base, versions = request.baseline, request.versions
    waivers = read_waivers(request.asked.waivers) if request.asked.waivers else ()
    missing, different = cannot_run(base, versions) if request.runs else ({}, {})
    differ, notes = _against_suites(request)
    place = Candidates(request.root)
    gate = Gate(
        base, request.plan, request.margins, versions, request.runs, different | differ, missing, place.settings
    )
    state, trained = _completed(request, gate, place)
    accepted, remarks = in_force(waivers, state.cells, dt.datetime.now(dt.UTC).date())
    report = decide([c.evidence for c in state.cells], request.plan)
    report = dataclasses.replace(
        report, refusal=re.sub(r"check without confirm\w*", "use --no-confirm", report.refusal)
    )
    notes += _notes(request, state.candidate, place.damaged, remarks)
    return waiver_notes(
        judge(
            state.cells,
            report,
            accepted,
            baseline=base,
            plan=request.plan,
            margins=request.margins,
            notes=tuple(notes),
            strict=request.asked.strict,
            expect_unchanged=request.asked.expect_unchanged,
            version=str(request.code.facts["tpobench"]),
            origin=_origin(request, state.candidate, trained),
        )
    )


def _completed(request: _Request, gate: Gate, place: Candidates) -> tuple[GateState, int]:
    """The state once nothing is missing that may be run, and how many runs were made for it."""
    from tpobench.execution.due import Options
    from tpobench.execution.rounds import take_rounds

    known = place.known()
    before = gate.replay(known).candidate
    if request.runs:
        require_same_code(request.root, request.code, before, adding=False)

    def prepared(plans: Sequence[Plan]) -> list[Plan]:
        located = with_data(plans, request.asked.data_dir, fixed=True)
        require_same_code(request.root, request.code, before, adding=True)
        return located

    with request.workers.begin(Options(retry_failed=True), request.asked.plugin or []) as by:
        state, taken = take_rounds(gate.replay, place, by, prepared, known)
    require_not_stopped([request.root], by.stop)
    return state, len(taken.tried)


def _against_suites(request: _Request) -> tuple[dict[ArmKey, str], list[str]]:
    """With --suite: which cells it defines otherwise now.  Without: which defaults the check does not see."""
    from tpobench.check.plans import changed_defaults, compare_with_suites

    if not request.suites:
        return {}, [
            f"{text}; name the suite with --suite to compare settings" for text in changed_defaults(request.baseline)
        ]
    suites = [load_suite(name, request.asked.set_ or []) for name in request.suites]
    differ, new = compare_with_suites(request.baseline, suites)
    if not new:
        return differ, []
    named = first_of([arm.text for arm in new], 5)
    return differ, [f"not in the baseline, so not judged: {named}"]


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
    if any(uncommitted(r.provenance.get("git")) for r in old):
        notes.append("the baseline was made from uncommitted code")
    if (
        new
        and request.runs
        and request.asked.results is not None  # else the folder is named by the code
        and not (request.root / MARK).is_file()
        and uncommitted(request.code.facts["git"])
    ):
        notes.append(f"the code here is not committed: whether {request.root} was made with it cannot be told")
    notes += map(str, unverified(old))
    if damaged:
        notes.append(f"{damaged} damaged records in {request.root} were left out")
    return notes


def _origin(request: _Request, candidate: Candidate, trained: int) -> dict[str, Any]:
    records = sum(map(len, candidate.arms.values()))
    return {"path": str(request.root), "runs": records, "made_now": trained, "code": request.code.as_dict()}


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
