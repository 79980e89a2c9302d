"""The league's ranking of any results: own tables and runs that no league planned."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tpobench.errors import NothingToDo, UsageError
from tpobench.league.standings import Track, track_of
from tpobench.printable import first_of
from tpobench.records.results import Results
from tpobench.scores.cells import Arm, Cell, algorithm_order, read_cells
from tpobench.scores.pairing import PAIRED, pairing
from tpobench.scores.scalars import scalar_of
from tpobench.stats.guard import Floats
from tpobench.stats.suite_level import shared_tasks
from tpobench.tables.model import Document
from tpobench.tables.readable import Readable


@dataclass(frozen=True)
class Ranking(Readable):
    """Algorithms over the tasks that all of them have, best first; tasks weigh the same."""

    track: Track
    metric: str
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]  # tasks that some algorithm lacks
    seeds: tuple[int, ...]

    def document(self) -> Document:
        """A verdict, the ranking, and who beats whom."""
        from tpobench.league.documents import ranking_document  # noqa: PLC0415 - it reads this module

        return ranking_document(self)


def ranking(results: Results, metric: str = "final") -> Ranking:
    """Every algorithm of some results on the tasks that all have: score 1 at the best value, 0 at the worst.

    Raises:
        NothingToDo: no finished run, or no task that all algorithms have.
        UsageError: an unknown metric, one algorithm alone, or tasks without fixed ends.
    """
    suites, _ = read_cells(results.records)
    cells = {_task(cell, several=len(suites) > 1): cell for cells in suites.values() for cell in cells}
    names = sorted({name for cell in cells.values() for name in cell.arms}, key=algorithm_order)
    if len(names) < 2:
        msg = f"a ranking needs two algorithms with finished runs, and there is {first_of(names, 1) or 'none'}"
        raise UsageError(msg) if names else NothingToDo(msg)
    shared, left = shared_tasks({n: {t: c.arms[n].final for t, c in cells.items() if n in c.arms} for n in names})
    if not shared:
        msg = f"no task that all of {first_of(names, 8)} have: nothing to rank them on"
        raise NothingToDo(msg)
    references = {task: cells[task].reporting.reference for task in shared}
    open_ended = [t for t, r in references.items() if not (math.isfinite(r.best) and math.isfinite(r.worst))]
    if open_ended:
        msg = (
            f"no ranking over all tasks: {first_of(open_ended, 5)} {'has' if len(open_ended) == 1 else 'have'} no "
            "fixed ends; give best and worst (a number, or one for each task). The best of the compared runs is no "
            "reference: every score would change when an algorithm is added"
        )
        raise UsageError(msg)
    arms = {n: {t: _values(cells[t], cells[t].arms[n], metric) for t in shared} for n in names}
    track = track_of("", arms, references, paired=_paired([cells[t] for t in shared], names))
    seeds = sorted({s for task in shared for n in names for s in cells[task].arms[n].seeds})
    return Ranking(track, metric, shared, left, tuple(seeds))


def _task(cell: Cell, *, several: bool) -> str:
    label = cell.label.removeprefix("task=")
    return f"{cell.suite}: {label}" if several and label else label or cell.suite


def _values(cell: Cell, arm: Arm, metric: str) -> Floats:
    """In the order of the seeds, so that paired arms have those of one seed in one place."""
    values = scalar_of(metric, cell.reporting, len(arm.axes["step"])).values(arm)
    return values[sorted(range(len(arm.seeds)), key=lambda i: arm.seeds[i])]


def _paired(cells: Sequence[Cell], names: Sequence[str]) -> bool:
    """Whether equal seeds share their random numbers, for all algorithms and everywhere."""
    pairs = [(c.arms[a], c.arms[b]) for c in cells for a, b in itertools.pairwise(names)]
    return all(set(a.seeds) == set(b.seeds) and pairing(a, b) == PAIRED for a, b in pairs)
