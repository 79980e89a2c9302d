"""A search in a report: the breaking point of every algorithm, the seeds that learned at each level, and every pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tpobench import __version__
from tpobench.errors import CorruptResults
from tpobench.report.model import Answer
from tpobench.scores.cells import Cell, algorithm_order
from tpobench.scores.options import ReportOptions
from tpobench.scores.text import seed_ranges
from tpobench.stats.breaking_point import BreakingPoint, PointComparison, Reversal, breaking_point, compare_all_points
from tpobench.stats.compare import Comparison, tie_group
from tpobench.stats.success_curve import Level
from tpobench.stats.texts import p_text
from tpobench.suites.search import Search
from tpobench.tables.model import Table, TableCell

HEADER = ("Algorithm", "p0* ↓ [95% CI]", "Holds at", "Breaks at", "Levels", "Seeds")
PAIRS = ("A", "B", "p0* of A / p0* of B [95% CI]", "p", "Holm p", "Tests", "A is")


@dataclass(frozen=True)
class Searched:
    """The levels that the algorithms visited under one matching and at one point of the other axes."""

    label: str  # empty where there is one only
    search: Search
    cells: tuple[Cell, ...]  # easiest first
    points: Mapping[str, BreakingPoint]

    def value(self, cell: Cell) -> int:
        """The cell's level."""
        return int(cell.axes[self.search.axis])

    def learned(self, cell: Cell, algorithm: str) -> tuple[int, int] | None:
        """Seeds that learned at a level and seeds that ran, None where the algorithm did not visit it."""
        return _learned(cell, algorithm, self.search)


def search_of(cells: Sequence[Cell]) -> Search | None:
    """The suite's [search] table as its records have it, None where there is none."""
    raw = next((c.reporting.search for c in cells if c.reporting.search is not None), None)
    if raw is None:
        return None
    try:
        return Search(**raw)
    except (TypeError, ValueError) as error:
        msg = f"the records of {cells[0].suite} hold no valid search: {error}"
        raise CorruptResults(msg) from error


def searched(cells: Sequence[Cell]) -> list[Searched]:
    """Every group of cells that differ in the level only; nothing for a suite without a search."""
    search = search_of(cells)
    if search is None:
        return []
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.arms and search.axis in cell.axes:
            groups.setdefault(_label(cell, search.axis), []).append(cell)
    for members in groups.values():
        members.sort(key=lambda c: int(c.axes[search.axis]))
    return [Searched(label, search, tuple(members), _points(members, search)) for label, members in groups.items()]


def _label(cell: Cell, axis: str) -> str:
    others = [f"{k}={v}" for k, v in cell.axes.items() if k != axis]
    return ", ".join(others + ([f"matching={cell.condition}"] if cell.condition else []))


def _learned(cell: Cell, algorithm: str, search: Search) -> tuple[int, int] | None:
    arm = cell.arms.get(algorithm)
    return None if arm is None else (int(arm.reporting.passed(arm.final, search.learned).sum()), len(arm.seeds))


def _points(cells: Sequence[Cell], search: Search) -> dict[str, BreakingPoint]:
    algorithms = sorted({name for c in cells for name in c.arms}, key=algorithm_order)
    known = {name: [(c.success, _learned(c, name, search)) for c in cells if c.success] for name in algorithms}
    return {
        name: breaking_point([Level(p0, *counts) for p0, counts in levels if p0 and counts])
        for name, levels in known.items()
    }


def search_tables(suite: str, cells: Sequence[Cell], options: ReportOptions) -> list[Table]:
    """Breaking points, seeds that learned, and pairwise tests, for every group of cells."""
    groups = searched(cells)
    tables = []
    for group in groups:
        tail = "-" + "-".join(group.label.replace("=", "-").split(", ")) if group.label else ""
        comparisons = compare_all_points(group.points)
        signature = _signature(suite, group, comparisons, options)
        tables += [_summary(group, comparisons, signature, tail), _levels(group, signature, tail)]
        if comparisons:
            tables.append(_pairs(group, comparisons, signature, tail))
    return tables


def search_answer(cells: Sequence[Cell], tables: Sequence[Table]) -> Answer:
    """Who learns under the sparsest reward, and the table of breaking points."""
    groups = searched(cells)
    sentences = [_sentence(group) for group in groups]
    table = next((t for t in tables if t.name.startswith("breaking")), None)
    return Answer(tuple(sentences) or ("No level was run.",), table)


def _sentence(group: Searched) -> str:
    leader, tied = _best(group.points, compare_all_points(group.points))
    place = f"{group.label}: " if group.label else ""
    if not leader:
        return f"{place}no verdict, since no algorithm learns at two levels or more."
    others = ", ".join(name for name in tied if name != leader)
    end = f"not told from {others}" if others else "told from all others"
    return f"{place}{leader} learns under the sparsest reward, p0* {point_text(group.points[leader])}, {end}."


def _title(text: str, group: Searched) -> str:
    return f"{text}: {group.label}" if group.label else text


def _summary(
    group: Searched, comparisons: Mapping[tuple[str, str], PointComparison], signature: str, tail: str
) -> Table:
    leader, tied = _best(group.points, comparisons)
    rows = []
    for name, point in group.points.items():
        holds, breaks = bracket(group, name)
        texts = (holds, breaks, str(len(point.levels)), str(point.runs))
        entry = TableCell(point_text(point), name in tied, name == leader, {"point": asdict(point)})
        rows.append((TableCell(name), entry, *map(TableCell, texts)))
    title = _title("Breaking point p0*: where half of the seeds still learn", group)
    return Table(f"breaking{tail}", title, HEADER, tuple(rows), signature, tuple(_notes(group)))


def _best(
    points: Mapping[str, BreakingPoint], comparisons: Mapping[tuple[str, str], PointComparison]
) -> tuple[str, tuple[str, ...]]:
    """The least p0*, and every algorithm that learns somewhere and that the tests cannot tell from it."""
    ranked = {name: (hardness(point),) for name, point in points.items() if point.status != "untestable"}
    if len(ranked) < 2:
        return "", ()
    views = {
        pair: Comparison("untestable" if c.p is None else "tested", p=c.p, adjusted=c.adjusted, family=c.family)
        for pair, c in comparisons.items()
    }
    return tie_group(ranked, views, failed=[name for name in ranked if points[name].status == "nowhere"])


def hardness(point: BreakingPoint) -> float:
    """By which breaking points are put in order, the sparsest reward first: log p0*, as far as levels bound it."""
    if point.value is not None:
        return math.log(point.value)
    return -math.inf if point.status == "everywhere" else math.inf


def bracket(group: Searched, algorithm: str) -> tuple[str, str]:
    """The hardest level at which at least half of the seeds learned, the easiest at which fewer did, with counts."""
    counts = [(group.value(c), k) for c in group.cells if (k := group.learned(c, algorithm)) is not None]
    holds = [(v, k, n) for v, (k, n) in counts if 2 * k >= n]
    breaks = [(v, k, n) for v, (k, n) in counts if 2 * k < n]
    return tuple(
        "" if chosen is None else f"{group.search.axis} {chosen[0]} ({chosen[1]}/{chosen[2]})"
        for chosen in (holds[-1] if holds else None, breaks[0] if breaks else None)
    )  # type: ignore[return-value]


def point_text(point: BreakingPoint) -> str:
    """`0.0031 [0.0022, 0.0039]`; an end that no level bounds says so; words where there is no estimate."""
    if point.status == "untestable":
        return point.reason
    hardest, easiest = point.levels[0], point.levels[-1]
    if point.status == "everywhere":
        bound = "" if point.high is None else f"; p0* below {number(point.high)}"
        return f"learns down to {number(hardest.p0, 3)} ({hardest.learned}/{hardest.runs}){bound}"
    if point.status == "nowhere":
        bound = "" if point.low is None else f"; p0* above {number(point.low)}"
        return f"learns nowhere: {easiest.learned}/{easiest.runs} at {number(easiest.p0, 3)}{bound}"
    narrow = point.low is not None and point.high is not None and point.high < 2 * point.low
    digits = 3 if narrow else 2
    low = f"<{number(hardest.p0, 3)}" if point.low is None else number(point.low, digits)
    high = f">{number(easiest.p0, 3)}" if point.high is None else number(point.high, digits)
    return f"{number(point.value or 0.0, digits)} [{low}, {high}]"


def number(p0: float, digits: int = 2) -> str:
    """So many significant digits: `0.0031`, `9.8e-05`; three for levels, which are known."""
    return f"{p0:.{digits}g}"


def meaning(group: Searched) -> str:
    """What p0 and p0* are, and what counts as learned."""
    r = group.cells[0].reporting
    final = f"final {r.metric}" + (f" (mean of the last {r.window})" if r.window > 1 else "")
    return (
        "p0: chance that the untrained policy is fully rewarded; p0*: the p0 at which half of the seeds learn. A seed "
        f"learned if its {final} is {r.side} {group.search.learned:g}"
    )


def _notes(group: Searched) -> Iterator[str]:
    yield meaning(group)
    if any(p.status == "estimated" and None in {p.low, p.high} for p in group.points.values()):
        yield "<, > at an end of an interval: no level that was run bounds it there"
    unknown = [str(group.value(c)) for c in group.cells if not c.success]
    if unknown:
        yield f"Without a p0, so left out: {group.search.axis} {', '.join(unknown)}"
    yield from reversals(group.points)
    turned = [f"{n} ({p.inversions})" for n, p in group.points.items() if p.inversions and p.reversal is None]
    if turned:
        yield f"Neighbouring levels of which the harder has the larger share, within chance: {', '.join(turned)}"


def reversals(points: Mapping[str, BreakingPoint]) -> list[str]:
    """A sentence on each algorithm that learns at a harder level and not at an easier one, beyond chance."""
    return [_reversed(name, point.reversal) for name, point in points.items() if point.reversal is not None]


def _reversed(name: str, reversal: Reversal) -> str:
    easier, harder = (f"{x.learned}/{x.runs} at {number(x.p0, 3)}" for x in (reversal.easier, reversal.harder))
    return (
        f"{name} is not monotone, so no one point says where it breaks: of its seeds {easier} learn, and {harder} "
        f"(p {p_text(reversal.p)})"
    )


def _levels(group: Searched, signature: str, tail: str) -> Table:
    algorithms = list(group.points)
    rows = []
    for cell in group.cells:
        counts = {name: group.learned(cell, name) for name in algorithms}
        entries = [
            TableCell("" if k is None else f"{k[0]}/{k[1]}", data={} if k is None else {"learned": k[0], "runs": k[1]})
            for k in counts.values()
        ]
        success = TableCell("" if not cell.success else number(cell.success, 3), data={"p0": cell.success})
        rows.append((TableCell(str(group.value(cell))), success, *entries))
    title = _title("Seeds that learned at each level visited", group)
    header = (group.search.axis.replace("_", " ").capitalize(), "p0", *algorithms)
    return Table(f"levels{tail}", title, header, tuple(rows), signature, ("Blank: not visited by that algorithm",))


def _pairs(group: Searched, comparisons: Mapping[tuple[str, str], PointComparison], signature: str, tail: str) -> Table:
    rows = []
    for (a, b), c in comparisons.items():
        texts = (a, b, ratio_text(c), p_text(c.p), p_text(c.adjusted), "" if c.p is None else str(c.family))
        rows.append((*map(TableCell, texts), TableCell(c.verdict(), data=asdict(c))))
    note = "Below 1: A still learns under sparser rewards than B. Blank: one of the two has no estimate, only bounds"
    title = _title("Pairwise tests: breaking points", group)
    return Table(f"tests-breaking{tail}", title, PAIRS, tuple(rows), signature, (note,), folded=True)


def ratio_text(c: PointComparison) -> str:
    """`0.44 [0.22, 0.77]`."""
    if c.ratio is None:
        return ""
    if c.low is None or c.high is None:
        return number(c.ratio)
    digits = 3 if c.high < 2 * c.low else 2
    return f"{number(c.ratio, digits)} [{number(c.low, digits)}, {number(c.high, digits)}]"


def _signature(
    suite: str, group: Searched, comparisons: Mapping[tuple[str, str], PointComparison], options: ReportOptions
) -> str:
    r = group.cells[0].reporting
    seeds = sorted({s for c in group.cells for a in c.arms.values() for s in a.seeds})
    family = sum(c.p is not None for c in comparisons.values())
    return "|".join([
        f"tpobench {__version__}", f"suite:{suite}", f"metric:breaking-point/{group.search.axis}",
        f"learned:final{r.window}{r.relation}{group.search.learned:g}", f"seeds:{seed_ranges(seeds)}", "ci:profile95",
        f"test:{'likelihood-ratio' if family else 'none'}", f"adj:holm/{family}", f"diverged:{options.diverged}",
    ])  # fmt: skip


def search_data(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Breaking points and comparisons in full, for scripts."""
    return [
        {
            "where": group.label,
            "axis": group.search.axis,
            "points": {name: asdict(point) for name, point in group.points.items()},
            "levels": {
                name: {str(group.value(c)): k for c in group.cells if (k := group.learned(c, name)) is not None}
                for name in group.points
            },
            "pairs": [
                {"a": a, "b": b, **asdict(c), "verdict": c.verdict()}
                for (a, b), c in compare_all_points(group.points).items()
            ],
        }
        for group in searched(cells)
    ]
