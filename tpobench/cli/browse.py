"""`list` and `show suite`: what there is."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import (
    AnswerFormat,
    GlanceFormat,
    PluginOption,
    ScaleOption,
    SetOption,
    SmokeOption,
    app,
    show,
    spread,
)
from tpobench.cli.help import Application
from tpobench.errors import UsageError, unknown
from tpobench.plugins.load import load_plugins
from tpobench.suites.load import SUITES, load_suite, scale_changes, suite_names
from tpobench.tables.exports import flat
from tpobench.tables.model import PAGES, Block, Document, Glance, Heading, Lines, Table, table_of

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Algorithm

show_app = Application(
    help="""Show one suite, algorithm or stored run in full.

    $ tpobench show suite sparse
    """
)
app.add_typer(show_app, name="show")


@app.command("list")
@spread
def list_(
    *,
    what: Annotated[str, typer.Argument(metavar="WHAT", help="suites, algorithms (or algos), or all.")] = "all",
    classes: Annotated[
        str | None, typer.Option("--classes", help="Which algorithms are one and the same on this suite, by gradient.")
    ] = None,
    set_: SetOption = None,
    plugin: PluginOption = None,
    format_: GlanceFormat,
) -> None:
    """List the suites and the algorithms.  Those that installed packages bring are among them.

    $ tpobench list
    $ tpobench list algos --classes reuse
    """
    what = "algorithms" if what == "algos" else what
    from tpobench.plugins.check import load_installed
    from tpobench.plugins.installed import ALGORITHMS_OF, SUITES_OF, TASKS_OF

    if set_ and classes is None:
        msg = "--set changes a suite; name it: tpobench list algos --classes reuse --set epochs=4"
        raise UsageError(msg)
    if classes and what == "suites":
        msg = "--classes is of algorithms: tpobench list algos --classes SUITE"
        raise UsageError(msg)
    if classes and what in {"all", "algorithms"}:
        show(_classes(classes, set_ or [], plugin or []), format_.name, full=format_.full)
        return

    if what not in {"suites", "algorithms", "all"}:
        raise unknown("thing to list", what, ["suites", "algorithms", "all"])
    load_plugins(plugin or [])
    broken = load_installed(
        (*((SUITES_OF, TASKS_OF) * (what != "algorithms")), *((ALGORITHMS_OF,) * (what != "suites")))
    )
    listing: dict[str, list[dict[str, Any]]] = {}
    tables: list[Table] = []
    if what != "algorithms":
        listing["suites"] = rows = list(_list_suites(broken))
        tables.append(table_of(list(rows[0]), [list(row.values()) for row in rows], "suites"))
    if what != "suites":
        listing["algorithms"] = _list_algorithms()
        tables += _by_family(listing["algorithms"])
    title = f"tpobench: {' and '.join(listing)}"
    if broken:
        listing["unusable"] = [{"what": name, "why": why} for name, why in broken.items()]
        tables.append(table_of(["what", "why"], list(broken.items()), "unusable", "what cannot be used"))
    show(Document(title, tuple(tables), listing, glance=_glance(listing, broken)), format_.name, full=format_.full)


def _glance(listing: Mapping[str, Sequence[Mapping[str, Any]]], broken: Mapping[str, str]) -> Glance:
    """How many there are, and the suites; without them the algorithms."""
    counts = " and ".join(f"{len(rows)} {what}" for what, rows in listing.items() if what != "unusable")
    suites, notes = listing.get("suites"), [f"cannot be used: {name}: {why}" for name, why in broken.items()]
    then = [("one suite", "tpobench show suite sparse")] * (suites is not None)
    if suites is not None:
        rows = [[s["suite"], s["title"], s["cells"], s["seeds"], s["algorithms"].count(",") + 1] for s in suites]
        table = table_of(("suite", "what", "cells", "seeds", "algorithms"), rows, "suites")
        then += [("the algorithms", "tpobench list algos")] * ("algorithms" in listing)
        then.append(("what one would cost", "tpobench plan --suite sparse"))
    else:
        columns = ("algorithm", "family", "compares", "needs", "paper")
        table = table_of(columns, [[row[k] for k in columns] for row in listing["algorithms"]], "algorithms")
        then.append(("one algorithm", "tpobench show algo tpo"))
    return Glance(f"{counts}.", table, tuple(notes), then=tuple(then))


def _classes(name: str, changes: Sequence[str], plugins: Sequence[str]) -> Document:
    """All algorithms that the suite can serve, those that are one and the same there on one line."""
    from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
    from tpobench.execution.classes import SEEDS, TOLERANCE, UPDATES, classes_of

    load_plugins(plugins, suites=[name], algorithms=())
    suite = load_suite(name, changes)
    listed = (*BUILT_IN, *sorted(ALGORITHMS.keys() - set(BUILT_IN)))
    classes = classes_of(suite, suite.algorithms if suite.swept else dict.fromkeys((*listed, *suite.algorithms)))
    how = f"{len(SEEDS)} seeds, the first {UPDATES} updates, unit gradients to {TOLERANCE:g}"
    algorithms = sum(map(len, classes.members))
    notes = [
        f"{algorithms} algorithms, {len(classes.members)} classes; members take the same gradient steps ({how})",
        *([f"Only the suite's own algorithms: its grid sweeps {', '.join(suite.swept)}"] if suite.swept else []),
    ]
    members = sorted(classes.members, key=lambda names: -len(names))
    tables = [table_of(("class", "size", "algorithms"), [(m[0], len(m), ", ".join(m)) for m in members], "classes",
                       f"Classes on {suite.name}", notes=tuple(notes))]  # fmt: skip
    cells = [
        {"cell": " ".join(f"{k}={v}" for k, v in cell) or "-", "algorithms": sum(map(len, of)), "classes": len(of)}
        for cell, of in classes.by_cell.items()
    ]
    if len(cells) > 1:
        rows = [list(row.values()) for row in cells]
        tables.append(table_of(list(cells[0]), rows, "classes-by-cell", "Cell by cell"))
    if classes.skipped:
        tables.append(table_of(("algorithm", "why it is not served"), list(classes.skipped.items()), "not-served",
                               "Not served"))  # fmt: skip
    data = {
        "suite": suite.name,
        "classes": [list(m) for m in members],
        "cells": cells,
        "skipped": dict(classes.skipped),
    }
    first = f"{algorithms} algorithms are {len(classes.members)} classes on {suite.name}."
    glance = Glance(first, tables[0], then=(("the suite", f"tpobench show suite {suite.name}"),))
    return Document(f"Classes on {suite.name}", tuple(tables), data, glance=glance)


@show_app.command("suite")
@spread
def show_suite(
    *,
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Its name, or a .toml file.")],
    set_: SetOption = None,
    scale: ScaleOption = "paper",
    smoke: SmokeOption = False,
    plugin: PluginOption = None,
    format_: AnswerFormat,
) -> None:
    """Show a suite's settings, and how it differs from what was published.  What is off is left out.

    $ tpobench show suite sparse
    """
    load_plugins(plugin or [], suites=[suite], algorithms=())
    show(suite_document(suite, set_ or [], scale, smoke=smoke), format_.name)


def suite_document(suite: str, changes: Sequence[str] = (), scale: str = "paper", *, smoke: bool = False) -> Document:
    """Its settings, how it differs from what was published, and what the scale changes."""
    resolved = load_suite(suite, changes, smoke=smoke, scale=scale).as_dict()
    scaled = [c._asdict() for c in scale_changes(suite)] if scale == "quick" else []
    settings = {k: v for k, v in resolved.items() if k != "deviations"}
    blocks = [*settings_blocks(settings), *_differences(resolved["deviations"], scaled)]
    records = tuple({"setting": k, "value": v} for k, v in flat(settings).items())
    data = {**resolved, "scale": scale, "scale_changes": scaled}
    return Document(f"Suite {resolved['name']}", tuple(blocks), data, records)


def settings_blocks(settings: Mapping[str, Any]) -> Iterator[Block]:
    """Lines of TOML at a terminal, tables on a page: what stands alone first."""
    alone = {k: v for k, v in settings.items() if not isinstance(v, dict)}
    for name, values in {"": alone, **{k: v for k, v in settings.items() if isinstance(v, dict) and v}}.items():
        lines = [f"[{name}]"] * bool(name) + [f"{k} = {_toml(v)}" for k, v in values.items()]
        yield Lines(tuple(lines), "verbatim", without=PAGES)
        rows = [(k, _toml(v)) for k, v in values.items()]
        yield table_of(("setting", "value"), rows, name or "suite", name, without=("terminal",))


def _differences(deviations: Sequence[str], changes: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    quick = [f"{c['key']}: {_toml(c['paper'])} -> {_toml(c['quick'])}" for c in changes]
    for title, lines, mark in (
        ("Deviations from the published protocol" + " (of the scale paper)" * bool(changes), deviations, "- "),
        ("What the quick scale changes (paper -> quick)", quick, ""),
    ):
        if lines:
            yield Lines((title, *(mark + line for line in lines)), without=PAGES)
            yield Heading(title, title, without=("terminal",))
            yield Lines(tuple(lines), "bullet", without=("terminal",))


def _toml(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _list_suites(broken: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every suite; one of a plugin that is not valid is told among what is broken."""
    for name in suite_names():
        try:
            s = load_suite(name)
        except UsageError as error:
            if name not in SUITES:
                raise
            broken[f"suite '{name}'"] = str(error)
            continue
        yield {
            "suite": s.name,
            "cells": math.prod(map(len, s.grid.values())),
            "seeds": s.seeds,
            "quick": "yes" if s.quick else "-",
            "algorithms": ",".join(s.algorithms),
            "title": s.title,
        }


def _list_algorithms() -> list[dict[str, Any]]:
    """Every algorithm, by family in the order of the catalogue, what users registered last."""
    from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN

    return [describe(ALGORITHMS[name]) for name in (*BUILT_IN, *sorted(ALGORITHMS.keys() - set(BUILT_IN)))]


def describe(algorithm: Algorithm) -> dict[str, Any]:
    """What one is, in words: its equations as its functions state them."""
    from tpobench.algorithms.catalog import family_of

    return {
        "family": family_of(algorithm.name),
        "algorithm": algorithm.name,
        "credit": equation(algorithm.credit),
        "fit": equation(algorithm.fit),
        "compares": algorithm.compares,
        "needs": " ".join(sorted(algorithm.needs)) or "-",
        "hyperparameters": " ".join(f"{k}={'off' if v is None else v}" for k, v in algorithm.hyperparameters.items())
        or "-",
        "default_of": algorithm.default_of or "-",
        "paper": algorithm.paper,
    }


def equation(function: Callable[..., Any]) -> str:
    """What a function of an algorithm computes: the first line of what it says of itself."""
    lines = (inspect.getdoc(function) or "-").splitlines()
    return lines[0].removesuffix(".")


LISTED = ("algorithm", "compares", "needs", "hyperparameters", "default_of", "paper")


def _by_family(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """A table for each family; the equations are in --json and in docs/algorithms.md."""
    families = dict.fromkeys(row["family"] for row in rows)
    members = {family: [row for row in rows if row["family"] == family] for family in families}
    return [
        table_of(LISTED, [[row[k] for k in LISTED] for row in listed], f"algorithms-{family}", family)
        for family, listed in members.items()
    ]
