"""`watch`: a run in progress."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpobench.cli.base import (
    AnswerFormat,
    PluginOption,
    algorithms_of,
    answer,
    app,
    cell_text,
    failure,
    show,
    spread,
)
from tpobench.errors import NothingToDo, UsageError
from tpobench.planning.choice import parse_choice
from tpobench.plugins.load import load_plugins
from tpobench.records.store import DamagedRecord, RunRecord, Store, is_run_folder, read_plan, run_folders
from tpobench.suites.load import build_suite
from tpobench.tables.model import Document, Lines, Table, TableCell, dense
from tpobench.units import duration, parse_duration

if TYPE_CHECKING:
    from tpobench.planning.design import Design
    from tpobench.watch.reader import InProgress, Reader
    from tpobench.watch.state import ArmState, State

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.-~=+*#"  # from low to high; the second where the first cannot be written
WIDTH = 8  # characters of a curve
MOST_REASONS = 5
MOST_RUNNING = 8  # jobs in progress
INTERRUPTED = 130


@app.command()
@spread
def watch(
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The run directory, such as results/sparse.")],
    algos: Annotated[
        list[str] | None,
        typer.Option("--algos", "-a", help="As given to `run`; default: the suite's, and all that ran."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="As given to `run`; default: the suite's, and all that ran.")
    ] = None,
    every: Annotated[str, typer.Option("--every", help="How often to look, such as 5s or 1m.")] = "5s",
    once: Annotated[bool, typer.Option("--once", help="Show one state and end, as in a pipe.")] = False,
    plugin: PluginOption = None,
    format_: AnswerFormat,
) -> None:
    """Follow a run, here or on another machine: seeds done, curves, time left, failures.  Writes nothing.

    $ tpobench watch results/sparse
    """
    from tpobench.watch.reader import Reader

    pause = parse_duration(f"{every}s" if every.isdecimal() else every, "--every")
    reader, states = Reader(Store(path)), _Watched(path, algos, seeds, plugin or [])
    reader.refresh()
    state = states.after(reader.known, reader.ended)
    if once or format_.name != "terminal" or not sys.stdout.isatty():
        show(_document(path, state, reader, time.time()), format_.name)
        return
    try:
        with _screen() as draw:
            while True:
                draw(_document(path, state, reader, time.time()))
                if state.complete:
                    return
                time.sleep(pause)
                if reader.refresh():
                    state = states.after(reader.known, reader.ended)
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error


class _Watched:
    """The folder that is watched, and how its runs are chosen."""

    def __init__(self, path: Path, algos: Sequence[str] | None, seeds: str | None, plugins: Sequence[str]) -> None:
        meta = _require_run_folder(path)
        self._algorithms = algorithms_of(algos) or None
        name = str(meta["suite"].get("name", path.name))
        suite = _as_written(meta["suite"])  # of a file, or a package, that need not be here
        task, algorithms = suite.get("task"), self._algorithms or suite.get("algorithms")
        load_plugins(
            plugins,
            algorithms=map(str, algorithms if isinstance(algorithms, list) else ()),
            kinds=[str(task["kind"])] if isinstance(task, dict) and "kind" in task else (),
        )
        self._suite = build_suite(name, suite, str(path / "meta.json"))
        plan = read_plan(path)
        self._choice = parse_choice(seeds if seeds is not None or plan is None else plan["seeds"])
        self._ran: set[tuple[Any, Any]] | None = None
        self._design: Design

    def after(self, known: dict[str, RunRecord], ended: dict[str, float]) -> State:
        """What these records say."""
        from tpobench.watch.state import choose, state_of

        ran = {(r.spec["algorithm"], r.spec["seed"]) for r in known.values()}
        if ran != self._ran:
            self._ran, self._design = ran, choose(self._choice, self._suite, self._algorithms, known.values())
        return state_of(self._design, known, ended)


def _as_written(suite: dict[str, Any]) -> dict[str, Any]:
    """A resolved suite as a file may say it: the levels of a search follow from its table alone."""
    document = {k: v for k, v in suite.items() if k != "name"}
    axis = search.get("axis") if isinstance(search := suite.get("search"), dict) else None
    tables = {k: document[k] for k in ("task", "training", "grid") if isinstance(document.get(k), dict)}
    return document | {k: {n: v for n, v in table.items() if n != axis} for k, table in tables.items()}


def _require_run_folder(path: Path) -> dict[str, Any]:
    """What meta.json says of a run directory.

    Raises:
        NothingToDo: there is none.
        UsageError: it is something else.
    """
    if path.is_file():
        msg = f"{path} is a file; watch needs the run directory that `tpobench run` writes to, such as results/sparse"
        raise UsageError(msg)
    if (meta := Store(path).meta()) is not None:
        return meta
    if names := [str(p) for p in run_folders(path)]:
        msg = f"{path} holds several runs; watch one of them: {', '.join(names)}"
        raise UsageError(msg)
    if is_run_folder(path):
        msg = f"{path}/meta.json is missing or damaged, so nobody can tell what is planned; `tpobench run` writes it"
        raise UsageError(msg)
    msg = f"no runs in {path} yet; `tpobench run` makes the folder when it begins, results/SUITE without --name"
    raise NothingToDo(msg)


@contextmanager
def _screen() -> Iterator[Callable[[Document], None]]:
    """Draws a document over the last one; on a dumb terminal a line when runs have ended, the document at the end."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from tpobench.tables.terminal import screen_of, terminal

    console = Console(file=sys.stdout)
    if console.is_dumb_terminal:
        last: list[tuple[int, int]] = []

        def line(document: Document) -> None:
            ended = document.data["done"], len(document.data["failed"])
            if document.data["complete"]:
                answer(terminal(document, screen_of(sys.stdout)), styled=True)
            elif ended not in last:
                last[:] = [ended]
                answer(document.data["totals"])

        yield line
        return
    with Live(
        console=console,
        auto_refresh=False,
        vertical_overflow="ellipsis",
        redirect_stdout=False,  # what stands for it says that it is no terminal, and has no encoding
        redirect_stderr=False,
    ) as live:
        yield lambda document: live.update(
            Text.from_ansi(terminal(document, screen_of(sys.stdout)), no_wrap=True), refresh=True
        )


def _document(path: Path, state: State, reader: Reader, now: float) -> Document:
    """Totals, what failed, and the tables: what must be seen comes first, where the screen is too small for all."""
    left, damaged, running = state.left_s(now), reader.damaged, reader.in_progress
    totals = _totals(path, state, left, now)
    reasons = _reasons(state.broken, damaged)
    in_progress = [_in_progress(running, now)] if running else []
    blocks = (Lines((totals,), "strong"), Lines(tuple(reasons)), *in_progress, _table(state))
    arms = [{**vars(arm), "curve": list(arm.curve)} for arm in state.arms]
    data = {
        "folder": str(path), "totals": totals, "complete": state.complete, "left_s": left,
        "planned": state.planned, "more": state.more, "done": state.done, "diverged": state.diverged,
        "metric": state.reporting.metric, "arms": arms, "failed": [failure(r) for r in state.broken],
        "damaged": [{"where": d.where, "fault": d.fault} for d in damaged], "others": state.others,
        "in_progress": [{**vars(job), "heard_s": max(0.0, now - job.at)} for job in running],
    }  # fmt: skip
    rows = tuple(
        {**row, "cell": cell_text(row["cell"]), "curve": " ".join(f"{v:g}" for v in row["curve"])} for row in arms
    )
    return Document(f"Runs in {path}", blocks, data, rows)


def _totals(path: Path, state: State, left: float | None, now: float) -> str:
    """`results/sparse: 58/90 runs done, 1 failed, about 3 min 20 s left, the last ended 4 s ago`."""
    parts = [f"{path}: {state.done}/{state.planned} runs done"]
    parts += [f"{n} {what}" for n, what in ((state.diverged, "diverged"), (len(state.broken), "failed")) if n]
    if state.complete:
        parts.append("all have ended")
    else:
        parts.append("time left unknown" if left is None else f"about {duration(left)} left")
        parts += [] if state.last is None else [f"the last ended {duration(max(0.0, now - state.last))} ago"]
    if state.more:
        parts.append(f"at most {state.more} more may follow by what comes of these")
    if state.others:
        parts.append(f"{state.others} records of other runs")
    return ", ".join(parts)


def _reasons(broken: Sequence[RunRecord], damaged: Sequence[DamagedRecord]) -> list[str]:
    """A line for each status and reason, the most frequent first, however many runs share it."""
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in broken:
        groups[record.status, record.reason].append(record)
    lines = []
    for (status, reason), same in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = failure(same[0])
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        where = " ".join(t for t in (first["algorithm"], first["cell"]) if t != "-")
        lines.append(f"{status}: {where} seed {first['seed']}{more}: {reason}")
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        lines.append(f"damaged: {damaged[0].where}{more}: {damaged[0].fault}; `tpobench run` makes them again")
    hidden = len(lines) - MOST_REASONS
    return lines[:MOST_REASONS] + ([f"and {hidden} more reasons: tpobench status"] if hidden > 0 else [])


def _in_progress(running: Sequence[InProgress], now: float) -> Table:
    """Of each long job how far it is, the latest heard of first; one that was stopped was heard of long ago."""
    from tpobench.scores.text import seed_ranges

    header = ("in progress", "cell", "seeds", "update", "reward", "tokens a second", "heard")
    rows = [
        (
            job.algorithm, cell_text(job.cell), seed_ranges(job.seeds), f"{job.update} of {job.updates}",
            "" if job.reward is None else f"{job.reward:.2f}",
            "" if job.tokens_per_s is None else f"{job.tokens_per_s:.0f}", f"{duration(max(0.0, now - job.at))} ago",
        )
        for job in running[:MOST_RUNNING]
    ]  # fmt: skip
    more = len(running) - len(rows)
    notes = (f"and {more} more jobs",) if more > 0 else ()
    return dense(Table("in-progress", "", header, tuple(tuple(map(TableCell, row)) for row in rows), notes=notes))


def _table(state: State) -> Table:
    """Cells x algorithms, the longer side down; rows with runs to do come first."""
    several = len({arm.matching for arm in state.arms} - {"any"}) > 1
    entries: dict[str, dict[str, ArmState]] = defaultdict(dict)
    r = state.reporting
    for arm in state.arms:
        cell = (cell_text(arm.cell) if arm.cell else r.metric + r.unit) + (
            f" matching={arm.matching}" if several else ""
        )
        entries[cell][arm.algorithm] = arm
    algorithms = list(dict.fromkeys(arm.algorithm for arm in state.arms))
    texts = {c: _entries(by_algorithm, state) for c, by_algorithm in entries.items()}
    if len(entries) >= len(algorithms):
        head, sides = "cell", [(c, [(c, a) for a in algorithms]) for c in entries]
        columns = algorithms
    else:
        head, sides = "algorithm", [(a, [(c, a) for c in entries]) for a in algorithms]
        columns = list(entries)
    sides.sort(key=lambda row: all(_ended(entries[c].get(a)) for c, a in row[1]))
    rows = tuple((TableCell(name), *(texts[c].get(a, TableCell("-")) for c, a in places)) for name, places in sides)
    title = f"seeds done, {r.metric}{r.unit} {r.arrow} at the end, its mean curve (one scale in each cell)"
    return Table("runs", title, (head, *columns), rows)


def _ended(arm: ArmState | None) -> bool:
    return arm is None or arm.done + arm.failed == arm.planned


def _entries(arms: dict[str, ArmState], state: State) -> dict[str, TableCell]:
    """Of one cell, whose curves share a scale: `7/10 0.0312 █▆▃▂▁▁▁▁`."""
    values = [v for arm in arms.values() for v in arm.curve]
    low, high = min(values, default=0.0), max(values, default=0.0)
    return {name: TableCell(_entry(arm, state, low, high), alert=arm.failed > 0) for name, arm in arms.items()}


def _entry(arm: ArmState, state: State, low: float, high: float) -> str:
    value = "" if arm.value is None else f"{state.reporting.scale * arm.value:.3g}"
    failed = f"{arm.failed} failed" if arm.failed else ""
    return " ".join(t for t in (f"{arm.done}/{arm.planned}", failed, value, sparkline(arm.curve, low, high)) if t)


def sparkline(curve: Sequence[float], low: float, high: float) -> str:
    """A curve in a few characters, each the mean of its part: from `low`, the lowest block, to `high`, the highest."""
    blocks = BLOCKS if _writable(BLOCKS) else PLAIN
    count, top = min(WIDTH, len(curve)), len(blocks) - 1
    parts = [curve[i * len(curve) // count : (i + 1) * len(curve) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in parts]
    return "".join(blocks[round(top * (m - low) / (high - low)) if high > low else 0] for m in means)


def _writable(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
