"""`league`: every algorithm on the same tasks, as published and with its learning rate tuned."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import ForceOption, JsonOption, PluginOption, algorithms_of, app, say, show, split, spread
from tpobench.cli.data import located
from tpobench.cli.kernel import settled
from tpobench.cli.runs import require_results, run_all
from tpobench.cli.training import OutOption, Training, require_not_stopped, warn_of_threads
from tpobench.errors import NothingToDo

if TYPE_CHECKING:
    from tpobench.league.model import League
    from tpobench.league.standings import Standings
    from tpobench.planning.plan import Plan
    from tpobench.records.store import RunRecord

FOLDER = "league"


def league(
    *,
    algos: Annotated[
        list[str] | None, typer.Option("--algos", "-a", help="Whose runs are made; default: all of the catalogue.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Another league, as a TOML file.")] = None,
    out: OutOption = Path("results"),
    no_run: Annotated[bool, typer.Option("--no-run", help="Build it from the runs that are there.")] = False,
    plugin: PluginOption = None,
    training: Training,
    format_: Annotated[
        list[str] | None, typer.Option("--format", help="Of the files: md, latex, html, csv, json.")
    ] = None,
    figures: Annotated[str, typer.Option("--figures", help="png, pdf, svg (with commas), or none.")] = "png",
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Rank all algorithms on the same tasks.

    Each as published and with its learning rate tuned; what is missing is run first.

    $ tpobench league --algos tpo,grpo,ppo
    """
    from tpobench.league.documents import league_document
    from tpobench.league.model import PACKAGED, load_league
    from tpobench.plugins.load import load_plugins
    from tpobench.scores.options import FIGURE_FORMATS, require_valid
    from tpobench.tables.writers import ENDINGS

    formats, endings = split(format_) or ["md", "json"], [] if figures == "none" else split([figures])
    require_valid(formats, ENDINGS, "format")
    require_valid(endings, FIGURE_FORMATS, "figure format")
    if plugin:
        load_plugins(plugin)
    played, root = load_league(file or PACKAGED), out / FOLDER
    if not no_run:
        _train(played, algorithms_of(algos), root, training, plugin or [])
    table = _standings(played, root)
    written = _written(table, root, formats, endings, force=force)
    show(league_document(table), "json" if as_json else "terminal")
    if not as_json:
        say(f"written: {len(written)} files in {root}")


app.command("league")(spread(league))


def _train(played: League, algos: list[str], root: Path, training: Training, plugin: list[str]) -> None:
    """What is missing of the runs of some algorithms, in one budget of time and cost."""
    from tpobench.algorithms.catalog import ALGORITHMS
    from tpobench.league.standings import searched_rates
    from tpobench.planning.design import Fixed

    options, workers = training.options(), training.workers()
    kernel = settled(training.kernel, [event.suite for event in played.events], training.device)
    wanted = algos or list(ALGORITHMS)
    plans: list[tuple[Path, Plan]] = [
        (root / plan.suite.name, plan) for plan in played.plans(wanted, training.device, kernel)
    ]
    plans = located(plans, options, training.data_dir, allow_unverified=training.allow_unverified_data, only_warn=False)
    warn_of_threads((plan for _, plan in plans), workers.processes)
    with workers.begin(options, plugin) as by:
        answers, refused = run_all([(folder, Fixed(plan)) for folder, plan in plans], by)
        rates = {n: of for n, of in searched_rates(played, _records(played, root)).items() if n in wanted}
        searches = [(root / d.plan.suite.name, d) for d in played.searches(rates, training.device, kernel)]
        more, refused_searches = run_all(searches, by)
    answers, refused = answers + more, refused | refused_searches
    require_not_stopped([a["folder"] for a in answers], by.stop)
    for refusal in refused.values():
        say(f"tpobench: {refusal}")
    require_results(answers)


def _records(played: League, root: Path) -> dict[str, list[RunRecord]]:
    """By suite, those of the search for breaking points among them."""
    from tpobench.records.store import Store

    return {name: list(Store(root / name).known()[0].values()) for name in played.suites}


def _standings(played: League, root: Path) -> Standings:
    """From the records in the folder.

    Raises:
        NothingToDo: there are none.
    """
    from tpobench.league.standings import standings

    records = _records(played, root)
    if not any(records.values()):
        msg = f"no results of the league in {root}; without --no-run they are made"
        raise NothingToDo(msg)
    return standings(played, records)


def _written(table: Standings, root: Path, formats: list[str], endings: list[str], *, force: bool) -> list[Path]:
    from tpobench.league.documents import league_document
    from tpobench.league.pictures import league_pictures
    from tpobench.report.figures import save
    from tpobench.report.files import write_files
    from tpobench.tables.writers import ENDINGS, WRITERS

    pictures = league_pictures(table) if endings else []
    files = {f"figures/{p.name}.{ending}": save(p, ending) for p in pictures for ending in endings}
    shown = {Path(f"figures/{p.name}.{endings[0]}"): p.caption for p in pictures}
    document = league_document(table, shown)
    files |= {f"league.{ENDINGS[n]}": WRITERS[n](document).encode() for n in formats}
    return write_files(root, files, force=force)
