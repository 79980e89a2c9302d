"""What every verb shares: the application, its options, and how it speaks.

Answers go to standard output, progress and everything else to standard error; with --json standard output is one
object.  What waits for torch, numpy or pandas is imported where a verb needs it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from tpobench.cli.help import Application
from tpobench.errors import StorageFull, UsageError, unknown
from tpobench.planning.plan import Plan
from tpobench.printable import printable, printable_lines
from tpobench.records.store import STATUSES, DamagedRecord, RunRecord, sources, write_atomically
from tpobench.tables.exports import finite
from tpobench.tables.model import Document, Table

app = Application(
    name="tpobench",
    help="""The place where a policy-update algorithm proves itself: suites x algorithms x sparsity x seeds.
    `tpobench COMMAND --help` has the options of a command, and an example.

    $ tpobench list
    $ tpobench run --suite bandit --smoke
    $ tpobench report results/bandit-smoke
    """,
)

FORMATS = ("terminal", "md", "latex", "html", "csv", "json")
MOST_DAMAGES = 5  # that a line names
BROKEN_PIPE = 128 + 13  # as if SIGPIPE had ended it
NOTICE = "\ntpobench: stopping; running jobs finish first, Ctrl-C again ends them now\n"

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
FullOption = Annotated[bool, typer.Option("--full", help="On a terminal everything, as in a pipe.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, such as training.steps=100; commas sweep (length=3,4).")
]
ScaleOption = Annotated[str, typer.Option("--scale", help="paper: the suite as it stands; quick: its [quick] table.")]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="The suite's few-second version.")]
PluginOption = Annotated[
    list[str] | None, typer.Option("--plugin", help="Python file of your algorithms, tasks or suites.")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of data files; else $TPOBENCH_DATA_DIR, else the user's cache."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace also what cannot be read or is not ours; the old file stays as *.bak.")
]
PathArgument = Annotated[
    Path, typer.Argument(metavar="PATH", help="A run directory, a folder of several, or a packed .jsonl.")
]


@dataclass(frozen=True)
class AnswerFormat:
    """In which of FORMATS a verb answers.

    Raises:
        UsageError: there is no such format, or two were asked for.
    """

    format_: Annotated[
        str, typer.Option("--format", help="terminal, md, latex, html, csv or json (as --json), on standard output.")
    ] = "terminal"
    as_json: JsonOption = False

    def __post_init__(self) -> None:
        if self.format_ not in FORMATS:
            raise unknown("format", self.format_, FORMATS)
        if self.as_json and self.format_ not in {"terminal", "json"}:
            msg = f"--json and --format {self.format_} cannot both hold; leave one of them out"
            raise UsageError(msg)

    @property
    def name(self) -> str:
        """The format that was asked for."""
        return "json" if self.as_json else self.format_


@dataclass(frozen=True)
class GlanceFormat(AnswerFormat):
    """The same of a verb that shows the outcome alone on a terminal.

    Raises:
        UsageError: there is no such format, or two were asked for.
    """

    full: FullOption = False


def formats_of(values: Sequence[str] | None, default: Sequence[str]) -> list[str]:
    """The formats of a verb that takes several: `-f md,html -f csv`.

    Raises:
        UsageError: there is no such format.
    """
    return [AnswerFormat(name).name for name in split(values) or default]


def spread(function: Callable[..., None], **fixed: object) -> Callable[..., None]:
    """A verb as its command line: groups of options (dataclasses) spelt out, and those that are `fixed` gone."""
    signature = inspect.signature(function, eval_str=True)
    groups: dict[str, Any] = {
        p.name: p.annotation for p in signature.parameters.values() if dataclasses.is_dataclass(p.annotation)
    }

    @functools.wraps(function)
    def verb(**words: Any) -> None:
        grouped = {name: group(**{f.name: words.pop(f.name) for f in dataclasses.fields(group)})
                for name, group in groups.items()}  # fmt: skip
        function(**words, **grouped, **fixed)

    options = [o for p in signature.parameters.values() if p.name not in fixed
               for o in (_options_of(p.annotation) if p.name in groups else [p])]  # fmt: skip
    verb.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    verb.__annotations__ = {o.name: o.annotation for o in options}
    return verb


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if f.default is dataclasses.MISSING else f.default,
            annotation=hints[f.name],
        )
        for f in dataclasses.fields(group)
    ]


def answer(text: str, *, styled: bool = False) -> None:
    """Say to standard output what was asked for; what is `styled` holds nothing that does not print but its styles.

    Raises:
        Exit: nobody listens any more, as after `| head`; with the exit code that the signal would give.
        StorageFull: it leads to a file that cannot be written.
    """
    try:
        print(text if styled else printable_lines(text), flush=True)  # noqa: T201 - the command line speaks
    except OSError as error:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - Python flushes it when it ends
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE) from error
        msg = f"standard output cannot be written: {error.strerror or error}"
        raise StorageFull(msg) from error


def answer_lines(lines: Sequence[str]) -> None:
    """Answer in words: on a terminal a long line is broken between them, its further lines indented below it."""
    from tpobench.tables.terminal import fitted, screen_of  # noqa: PLC0415 - `--help` must not wait for rich

    answer(fitted(lines, screen_of(sys.stdout)), styled=True)


def on_pipe() -> bool:
    """Whether standard output leads to a program or a file, not to people."""
    return not sys.stdout.isatty()


def say(text: str) -> None:
    """Say to standard error what people want to know.  Work goes on when nobody can hear it."""
    with suppress(OSError):
        print(printable_lines(text), file=sys.stderr, flush=True)  # noqa: T201 - the command line speaks


def say_copies(copies: Sequence[Path]) -> None:
    """Where the files that were replaced are kept."""
    if copies:
        say(f"what was replaced is kept in {', '.join(map(str, copies))}")


def require_places(paths: Iterable[Path]) -> None:
    """Files that will be written can be, as far as folders tell: said before anything is trained for them.

    Raises:
        StorageFull: a folder lies in the place of one, or a file in that of its folder.
    """
    for path in paths:
        nearest = next((p for p in (path, *path.parents) if p.exists()), path)
        if path.is_dir() or (nearest != path and not nearest.is_dir()):
            msg = f"cannot write {path}: {nearest} is a {'folder' if nearest.is_dir() else 'file'}"
            raise StorageFull(msg)


def write_file(path: Path, text: str) -> None:
    """Write a file that was asked for.

    Raises:
        StorageFull: it cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StorageFull(msg) from error


def require_outside(out: Path, path: Path) -> None:
    """A report, or an export, is no part of the results that it is made of.

    Raises:
        UsageError: the folder lies inside them.
    """
    for source in sources(path):
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
            msg = f"--out {out} lies inside the results {source}; name another folder"
            raise UsageError(msg)


def one_per_line(texts: Iterable[object]) -> str:
    """Each text on a line of its own, whatever names it holds."""
    return "\n".join(printable(str(text)) for text in texts)


def split(values: Sequence[str] | None) -> list[str]:
    """`--algos tpo,grpo -a ppo` is three names."""
    return list(dict.fromkeys(part.strip() for value in values or [] for part in value.split(",") if part.strip()))


def algorithms_of(values: Sequence[str] | None) -> list[str]:
    """The names in `--algos`: `tpo,grpo` two, `z,loo x clipped,ce` the four of the grid.

    Raises:
        UsageError: a grid that is not one of parts.
    """
    from tpobench.algorithms.modifiers import MODIFIERS  # noqa: PLC0415 - `--help` must not wait for algorithms
    from tpobench.algorithms.parts import TIMES, expanded  # noqa: PLC0415 - as above

    names = [n for v in values or [] for n in (expanded(v, MODIFIERS) if TIMES in v else split([v]))]
    return list(dict.fromkeys(names))


def cell_text(cell: Mapping[str, object]) -> str:
    """`length=4 reward=terminal`."""
    return " ".join(f"{k}={v}" for k, v in cell.items()) or "-"


def failure(record: RunRecord) -> dict[str, Any]:
    """A run without a result, as people and scripts are told of it."""
    spec = record.spec
    return {
        "id": record.id,
        "cell": cell_text(spec["cell"]),
        "algorithm": spec["algorithm"],
        "seed": spec["seed"],
        "status": record.status,
        "attempts": record.attempts,
        "reason": record.reason,
    }


def set_aside(damages: Sequence[DamagedRecord]) -> str:
    """What was left out of an answer: each damaged record by its place and its fault."""
    listed = "; ".join(map(str, damages[:MOST_DAMAGES]))
    more = f"; and {len(damages) - MOST_DAMAGES} more" if len(damages) > MOST_DAMAGES else ""
    return f"{len(damages)} damaged records were left out: {listed}{more}; `tpobench run` makes them again"


def show(document: Document, name: str, *, full: bool = True) -> None:
    """Answer with a document in one of FORMATS; JSON on one line of ASCII.

    full: all of it on a terminal, too.
    """
    if name == "json":
        answer(json.dumps(finite(document.data), allow_nan=False))
    elif name == "terminal":
        from tpobench.tables.terminal import glance_text, screen_of, terminal  # noqa: PLC0415 - nor for rich

        screen, glance = screen_of(sys.stdout), document.glance
        text = terminal(document, screen) if glance is None or full or on_pipe() else glance_text(glance, screen)
        answer(text, styled=True)
    else:
        from tpobench.tables.writers import WRITERS  # noqa: PLC0415 - nor for jinja

        answer(WRITERS[name](document).rstrip("\n"))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns of plain text for standard error; numbers to the right."""
    from tpobench.tables.terminal import Screen, aligned, screen_of  # noqa: PLC0415 - see above

    return aligned(header, rows, Screen(screen_of(sys.stderr).width))


def say_table(table: Table) -> None:
    """The same of a table of entries."""
    from tpobench.tables.terminal import Screen, screen_of, terminal  # noqa: PLC0415 - see above

    say(terminal(Document("", (table,)), Screen(screen_of(sys.stderr).width)))


def summary(plan: Plan, known: Mapping[str, RunRecord]) -> list[dict[str, Any]]:
    """One row per cell and algorithm: runs by status, and the mean final value of the suite's metric."""
    from tpobench.scores.cells import final_values  # noqa: PLC0415 - see above

    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    for spec in (*plan.specs, *(s.spec for s in plan.skipped)):
        if spec.run_id in known:
            groups.setdefault((cell_text(spec.cell), spec.matching, spec.algorithm), []).append(known[spec.run_id])
    seen = {r.status for records in groups.values() for r in records} | {"ok", "diverged", "failed"}
    rows = []
    for (cell, matching, algorithm), records in groups.items():
        finals = [v for v in final_values(records) if v is not None]
        counts = {s: sum(r.status == s for r in records) for s in STATUSES if s in seen}
        mean = float(f"{sum(finals) / len(finals):.4g}") if finals else None
        metric = "final " + plan.suite.report.metric
        rows.append({"cell": cell, "matching": matching, "algorithm": algorithm, **counts, metric: mean})
    return rows
