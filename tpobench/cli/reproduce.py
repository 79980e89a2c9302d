"""`reproduce`: every figure and table of the TPO paper, run where runs are missing and scored against its print."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import AnswerFormat, ForceOption, JsonOption, ScaleOption, app, say, show, split, spread
from tpobench.cli.data import data_override, located
from tpobench.cli.kernel import settled
from tpobench.cli.runs import require_results, run_all
from tpobench.cli.training import OutOption, Training, require_not_stopped, warn_of_threads
from tpobench.errors import CorruptResults, DataUnavailable, NothingToDo, RunsFailed, TpobenchError, UsageError
from tpobench.planning.design import Fixed, require_no_plan
from tpobench.planning.plan import Plan
from tpobench.records.results import Results
from tpobench.records.store import Store, require_folder
from tpobench.suites.load import SCALES, load_suite
from tpobench.tables.model import Document, Lines, table_of
from tpobench.units import duration

if TYPE_CHECKING:
    from tpobench.execution.due import Options
    from tpobench.execution.rounds import Machinery
    from tpobench.paper.evidence import Evidence
    from tpobench.paper.items import Item
    from tpobench.paper.scorecard import Scorecard

FOLDER = "reproduction"
FORGIVEN = (NothingToDo, UsageError, CorruptResults)  # cost the items of one suite, not the others

ItemsArgument = Annotated[list[str] | None, typer.Argument(metavar="ITEM", help="fig2, table3, ..., or all.")]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="A count (20), a range (0-9) or a list (1,3).")]
ListOption = Annotated[bool, typer.Option("--list", help="The items, with their suites, runs and cost; runs nothing.")]
NoRunOption = Annotated[bool, typer.Option("--no-run", help="Score the runs that are there; train nothing.")]
FilesOption = Annotated[
    list[str] | None,
    typer.Option("--format", help="Of the files: md, latex, html, csv, json; repeat or use commas. With --list: one."),
]
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


def reproduce(
    *,
    items: ItemsArgument = None,
    list_: ListOption = False,
    scale: ScaleOption = "paper",
    seeds: SeedsOption = None,
    out: OutOption = Path("results"),
    no_run: NoRunOption = False,
    training: Training,
    format_: FilesOption = None,
    figures: FiguresOption = "png",
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Reproduce figures and tables of the TPO paper.

    What is missing is run, then every printed number and claim is scored.

    $ tpobench reproduce --list
    $ tpobench reproduce table3 --scale quick
    """
    from tpobench.paper.items import chosen
    from tpobench.scores.options import FIGURE_FORMATS, require_valid
    from tpobench.tables.writers import ENDINGS

    if list_:
        name, *others = split(format_) or ["terminal"]
        if others:
            msg = f"--list answers in one format; leave out {', '.join(others)}"
            raise UsageError(msg)
        _list(chosen(split(items)), AnswerFormat(name, as_json).name)
        return
    if not split(items):
        msg = "name an item, such as fig2 or table3, or all; `tpobench reproduce --list` shows them and what they cost"
        raise UsageError(msg)
    wanted = chosen(split(items))
    formats, endings = split(format_) or ["md", "json"], [] if figures == "none" else split([figures])
    require_valid(formats, ENDINGS, "scorecard format")
    require_valid(endings, FIGURE_FORMATS, "figure format")
    require_folder(out)
    options, workers = training.options(), training.workers()
    work = _work(wanted, scale, seeds, training, out)
    answers: list[dict[str, Any]] = []
    if work.plans and not no_run:
        _locate(work, options, training)
        warn_of_threads((plan for name, plan in work.plans.items() if name not in work.unavailable), workers.processes)
        with workers.begin(options) as by:
            answers = _run(work, by)
        require_not_stopped([a["folder"] for a in answers], by.stop)
    _require_something(work, wanted)
    cards = _scored(work, wanted, scale)
    written = _written(work, cards, formats, endings, force=force)
    _tell(work, cards, written, answers, as_json=as_json)
    require_results(answers)
    work.require_runs()


app.command("reproduce")(spread(reproduce))


def _work(items: Sequence[Item], scale: str, seeds: str | None, training: Training, out: Path) -> _Work:
    """The plans of all suites behind the items, made before the first run, so mistakes cost nothing.

    Raises:
        UsageError: a suite, scale or seed that is not valid, or a folder whose seeds follow an adaptive plan.
    """
    from tpobench.paper.item_plans import plan_items
    from tpobench.planning.choice import parse_choice

    choice, data = parse_choice(seeds), training.data
    if choice.looks:
        msg = f"--seeds {seeds}: the paper's numbers are compared at fixed seeds; give a count, a range or a list"
        raise UsageError(msg)
    names = dict.fromkeys(part.suite for item in items for part in item.parts)
    suites = {name: load_suite(name, data_override(name, data), scale=scale) for name in names}
    if data is not None and not any("data" in suite.task for suite in suites.values()):
        msg = f"--data {data}: none of {', '.join(item.name for item in items)} reads data; leave it out"
        raise UsageError(msg)
    kernel = settled(training.kernel, suites.values(), training.device)
    work = _Work(out, plan_items(items, suites, choice.seeds, training.device, kernel))
    for name in work.plans:
        require_no_plan(work.folder(name))
    return work


def _locate(work: _Work, options: Options, training: Training) -> None:
    """Plans that know where their data lies; a suite without its data is left out and says so."""
    for name, plan in work.plans.items():
        pair, allow = (work.folder(name), plan), training.allow_unverified_data
        try:
            ((_, work.plans[name]),) = located(
                [pair], options, training.data_dir, allow_unverified=allow, only_warn=False
            )
        except DataUnavailable as error:
            work.lose(name, error)


def _run(work: _Work, by: Machinery) -> list[dict[str, Any]]:
    """What is missing of all suites, in one budget of time and cost."""
    folders = {work.folder(name): name for name in work.plans if name not in work.unavailable}
    answers, refused = run_all([(f, Fixed(work.plans[name])) for f, name in folders.items()], by, forgiven=FORGIVEN)
    for folder, error in refused.items():
        work.lose(folders[folder], error)
    return answers


def _require_something(work: _Work, items: Sequence[Item]) -> None:
    """A scorecard has at least one run, or an item that needs none.

    Raises:
        TpobenchError: why none of the suites has any: without data, settings that clash, or never run.
    """
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
    from tpobench.paper.figures import SELECTIONS, write_paper_figures

    if card.item.name not in SELECTIONS:
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
    from tpobench.paper.scorecards.documents import document_of, summary_document
    from tpobench.paper.scorecards.exports import data_of

    document = document_of(cards[0]) if len(cards) == 1 else summary_document(cards)
    data = {"items": [data_of(c) for c in cards], "suites": list(answers), "files": [str(p) for p in written]}
    show(replace(document, data=data), "json" if as_json else "terminal")
    if not as_json:
        say(f"written: {len(written)} files in {work.out / FOLDER}")


def _list(items: Sequence[Item], name: str) -> None:
    """Items with what is behind them, at both scales."""
    from tpobench.paper.item_plans import cost_of, plan_items

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
    header = ["item", "title", "section", "suites", "numbers", "claims", "runs", "CPU time", "quick runs", "quick CPU"]
    blocks = (
        table_of(header, [_listed(row) for row in rows], "items"),
        Lines(("Items share runs: those of several items are made once.  CPU time is estimated.",)),
    )
    show(Document("Figures and tables of the TPO paper", blocks, {"items": rows}, tuple(rows)), name)


def _listed(row: Mapping[str, Any]) -> list[Any]:
    cells = [row[k] for k in ("item", "title", "section", "suites", "numbers", "claims")]
    for scale in ("paper", "quick"):
        cpu = row[f"{scale}_cpu_s"]
        cells += [row[f"{scale}_runs"], "?" if cpu is None else duration(cpu)]
    return cells
