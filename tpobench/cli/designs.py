"""What people and scripts are told of the three ways in which runs are chosen: before the runs, and after them."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.cli.base import cell_text, say, table
from tpobench.planning.design import FixedState, Known, State
from tpobench.records.store import PLAN_FILE, read_plan
from tpobench.units import duration

if TYPE_CHECKING:
    from tpobench.execution.due import Forecast
    from tpobench.planning.levels import LevelsState
    from tpobench.planning.looks import LooksState

UNDECIDED = "not distinguishable"  # pairs that the terminal is spared; the report has them


class View:
    """Of runs that are all made at once there is no more to tell than of any run."""

    section = ""  # of the answers to scripts
    summed_up = True  # whether people get a row per cell and algorithm

    def __init__(self, folder: Path, state: Any) -> None:
        self.folder, self.state = folder, state

    def open_parts(self) -> str:
        """`1 of 2 cells are still open`, of the parts that are not over; empty where they are not spoken of."""
        return ""

    def before(self, forecast: Forecast) -> tuple[dict[str, Any], list[str]]:
        """For `plan`: to scripts, and to people."""
        del forecast
        return {}, []

    def after(self, known: Known) -> dict[str, Any]:
        """For `run`: people are told the tables, and the answer is for scripts."""
        del known
        return {}


class LooksView(View):
    """Adaptive seeds."""

    state: LooksState

    section = "adaptive"

    def open_parts(self) -> str:
        """Cells or searches."""
        return f"{len(self.state.waiting)} of {len(self.state.cells)} cells are still open"

    def before(self, forecast: Forecast) -> tuple[dict[str, Any], list[str]]:
        """The plan, whether the folder follows it, and how far it is."""
        design, looks, recorded = self.state.design, self.state.look, read_plan(self.folder) is not None
        facts = {"plan": design.text, "recorded": recorded, "looks_taken": looks, "wide": design.cut_stacks}
        lines = [f"{design.text} ({f'{looks} looks taken' if recorded else 'not yet recorded'})"]
        return facts, [*lines, still_to_do(forecast), *([design.cut_stacks] if design.cut_stacks else [])]

    def after(self, known: Known) -> dict[str, Any]:
        """The decisions."""
        del known
        from tpobench.scores.reporting import Reporting
        from tpobench.stats.texts import rounded

        state, rows = self.state, self.state.rows()
        r = Reporting.of(state.runs.suite.reporting)
        matchings = len({row["matching"] for row in rows}) > 1
        shown = [
            [cell_text(row["cell"]) + (f" matching={row['matching']}" if matchings else ""), row["a"], row["b"],
             row["status"],
             row["look"], row["seeds"], None if row["difference"] is None else rounded(r.scale * row["difference"], 3)]
            for row in rows
        ]  # fmt: skip
        say(table(["cell", "A", "B", "A is", "look", "seeds", f"A − B{r.unit}"], shown))
        return {
            "plan": state.design.text, "file": str(self.folder / PLAN_FILE), "looks": state.look, "runs": state.used,
            "most_runs": len(state.runs.specs), "done": not state.waiting, "decisions": rows,
        }  # fmt: skip


class LevelsView(View):
    """Searches."""

    state: LevelsState

    section = "search"
    summed_up = False  # a row per level that was visited: the tables of the search have them

    def open_parts(self) -> str:
        """Cells or searches."""
        return f"{len(self.state.waiting)} of {len(self.state.tracks)} searches are not done"

    def before(self, forecast: Forecast) -> tuple[dict[str, Any], list[str]]:
        """How many searches are over."""
        searches, done = len(self.state.tracks), len(self.state.tracks) - len(self.state.waiting)
        lines = [f"search: {done} of {searches} done", still_to_do(forecast)]
        return {"searches": searches, "done": done}, lines

    def after(self, known: Known) -> dict[str, Any]:
        """The levels of every search, and the breaking points."""
        return {"done": not self.state.waiting, "tracks": self.state.rows(), "points": _points(known)}


def _points(known: Known) -> list[dict[str, Any]]:
    """The tables of the report, as far as there are results."""
    from tpobench.report.breaking_point import search_data, search_tables
    from tpobench.scores.cells import read_cells
    from tpobench.scores.options import ReportOptions

    suites, _ = read_cells(known.values(), ReportOptions())
    points: list[dict[str, Any]] = []
    for suite, cells in suites.items():
        for each in search_tables(suite, cells, ReportOptions()):
            rows = [[c.text for c in row] for row in each.rows if not (each.folded and row[-1].text == UNDECIDED)]
            say(f"\n{each.title}")
            say(table(each.header, rows) if rows else "none of them tells two algorithms apart")
            for note in each.notes if rows else ():
                say(f"  {note}")
        points += search_data(cells)
    return points


def still_to_do(forecast: Forecast) -> str:
    """`least: 30 runs, CPU time 2 min 00 s; most: ...`."""
    least, most = (
        f"{runs} runs, CPU time {'unknown' if cpu_s is None else duration(cpu_s)}"
        for runs, cpu_s in (
            (forecast.least_runs, forecast.least_cpu_s), (forecast.most_runs, forecast.most_cpu_s)
        )
    )  # fmt: skip
    return f"least: {least}; most: {most}"


def view_of(folder: Path, state: State) -> View:
    """How the runs of a design are told of."""
    if isinstance(state, FixedState):
        return View(folder, state)
    from tpobench.planning.levels import LevelsState
    from tpobench.planning.looks import LooksState

    views: dict[type, type[View]] = {LooksState: LooksView, LevelsState: LevelsView}
    return views[type(state)](folder, state)
