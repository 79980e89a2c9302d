"""What a report says first: who leads, where that cannot be told, and how many seeds would tell; in one table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from tpobench.printable import first_of
from tpobench.report.model import Answer
from tpobench.report.rows import MetricRow
from tpobench.report.tables import success_entry
from tpobench.scores.pilots import ALPHA, seeds_that_tell
from tpobench.scores.scalars import Scalar
from tpobench.stats.compare import Comparison
from tpobench.stats.power import MOST_SEEDS, Power
from tpobench.stats.texts import p_text
from tpobench.tables.model import Table, TableCell, numbers_of

MOST = 24  # cells whose seeds are worked out: a tenth of a second each
PLACES = 3  # that a sentence names
NONE = "no verdict"
SEEDS = "Seeds to tell"
HOLM = (
    "Not told from it: no test (5%, corrected by Holm for all pairs of a cell) separates these from the best, which "
    "does not show that they are equal"
)
SEEDS_NOTE = (
    f"{SEEDS}: per algorithm, to separate the best from the nearest of them with 80% probability if the true "
    "difference is the one seen here"
)
P0_NOTE = "p0: probability that the untrained policy is fully rewarded; the smaller, the sparser the reward"
NONE_NOTE = "No verdict: no seed of any algorithm ended solved or held a threshold"


def answer_of(rows: Sequence[MetricRow], final: Scalar, algorithms: Sequence[str]) -> Answer:
    """Of the final results of a suite, a row per cell."""
    rows = [row for row in rows if row.cell.arms]
    if len(algorithms) < 2 or not rows:
        name = next(iter(algorithms), "no algorithm")
        return Answer((f"{name} ran alone, so that there is nothing to compare.",), None)
    needed = {id(row): _needed(row, final) for row in [row for row in rows if row.tied][:MOST]}
    table = _by_cell(rows, final, needed) if len(rows) > 1 else _by_algorithm(rows[0], final, needed)
    return Answer(tuple(_sentences(rows, final, needed)), table)


Needed = dict[int, tuple[str, Power]]  # by row: the nearest algorithm, and the seeds


def _needed(row: MetricRow, final: Scalar) -> tuple[str, Power]:
    """Of those that are not told from the leader, the nearest in the mean."""
    arms = row.cell.arms
    means = {name: float(final.losses(arms[name]).mean()) for name in (row.leader, *row.tied)}
    nearest = min(row.tied, key=lambda name: abs(means[name] - means[row.leader]))
    family = max(1, sum(c.p is not None for c in row.comparisons.values()))
    return nearest, seeds_that_tell(arms[row.leader], arms[nearest], final, family)


def _sentences(rows: Sequence[MetricRow], final: Scalar, needed: Needed) -> Iterator[str]:
    score = f"{final.bare_title[0].lower()}{final.bare_title[1:]}, {final.better} is better"
    leaders = Counter(row.leader for row in rows if row.leader)
    if not leaders:
        yield f"No verdict: no seed of any algorithm succeeded ({score})."
        return
    yield f"{_lead(rows[0]) if len(rows) == 1 else _leads(rows, leaders)} ({score})."
    if needed:
        yield _told(list(needed.values()))
    none = [row.cell.label for row in rows if not row.leader]
    if none:
        yield f"No verdict, since no seed of any algorithm succeeded: {first_of(none, PLACES, '; ', ' cells')}."


def _lead(row: MetricRow) -> str:
    """Of one cell."""
    if certain(row):
        return f"{row.leader} leads, told from all others by {_seeds([row])}"
    others = first_of(row.tied, PLACES) if row.tied else "all others"
    return f"{row.leader} has the best mean, but {_seeds([row])} cannot tell it from {others}"


def _leads(rows: Sequence[MetricRow], leaders: Counter[str]) -> str:
    """Of several."""
    sure = Counter(row.leader for row in rows if certain(row))
    open_rows = [row for row in rows if row.leader and not certain(row)]
    parts = [f"{name} leads in {count}" for name, count in sure.most_common()]
    if not parts:
        name, count = leaders.most_common(1)[0]
        return f"{_seeds(rows)} tell a leader in none of {len(rows)} cells; {name} is ahead most often, in {count}"
    where = f"{', '.join(parts)} of {len(rows)} cells"
    return where + (f"; {_seeds(open_rows)} cannot tell who leads in {len(open_rows)}" if open_rows else "")


def certain(row: MetricRow) -> bool:
    """Whether the tests tell the leader from every other algorithm."""
    others = set(row.cell.ranked) - {row.leader}
    return bool(row.leader and others) and all(_rejected(row, name) for name in others)


def _against_leader(row: MetricRow, name: str) -> Comparison | None:
    return row.comparisons.get((row.leader, name)) or row.comparisons.get((name, row.leader))


def _rejected(row: MetricRow, name: str) -> bool:
    c = _against_leader(row, name)
    return c is not None and c.adjusted is not None and c.adjusted < ALPHA


def _seeds(rows: Sequence[MetricRow]) -> str:
    counts = sorted({len(arm.seeds) for row in rows for arm in row.cell.arms.values()})
    return f"{counts[0]} seed{'s' * (counts[0] > 1)}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _told(needed: Sequence[tuple[str, Power]]) -> str:
    known = [p.needed for _, p in needed if p.status == "ok" and p.target]
    counts = sorted(n for n in known if n is not None)
    if not known:
        return "How many seeds would tell is not known: the spread takes three seeds or more."
    beyond = len(known) - len(counts)
    more = f"more than {MOST_SEEDS}"
    if not counts:
        return f"It would take {more} seeds to tell, if the true differences are those seen here."
    ends = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    tail = f", in {beyond} cell{'s' if beyond > 1 else ''} {more}" if beyond else ""
    return f"About {ends} seeds would tell{tail}, if the true differences are those seen here."


def _seeds_cell(row: MetricRow, needed: Needed) -> TableCell:
    if id(row) not in needed:
        return TableCell("")
    nearest, power = needed[id(row)]
    if power.status != "ok" or not power.target:
        return TableCell("", data={"nearest": nearest, "power": numbers_of(power)})
    count = f">{MOST_SEEDS}" if power.needed is None else str(power.needed)
    text = count if len(row.tied) == 1 else f"{count} ({nearest})"
    return TableCell(text, data={"nearest": nearest, "power": numbers_of(power)})


def _by_cell(rows: Sequence[MetricRow], final: Scalar, needed: Needed) -> Table:
    """Cells down: the leader with its mean, who is not told from it, and the seeds that would tell."""
    body = []
    for row in rows:
        best = row.entries.get(row.leader)
        mean = "" if best is None else best.text.split(";")[0]
        data = {} if best is None else best.data
        body.append((
            TableCell(row.cell.label), TableCell(row.leader or NONE, best=certain(row)),
            TableCell(mean, data=data), TableCell(", ".join(row.tied)), _seeds_cell(row, needed),
            success_entry(row.cell),
        ))  # fmt: skip
    header = ("Cell", "Best", f"{final.title.split(',')[0]} [95% CI]", "Not told from it", SEEDS, "p0")
    return Table("answer", "", header, tuple(body), notes=tuple(_notes(rows, needed)), narrow=4)


def _by_algorithm(row: MetricRow, final: Scalar, needed: Needed) -> Table:
    """One cell: algorithms down, the best first, each against it."""
    means = {name: float(final.losses(arm).mean()) for name, arm in row.cell.arms.items()}
    body = []
    for name, entry in sorted(row.entries.items(), key=lambda item: means.get(item[0], math.inf)):
        mean, _, solved = entry.text.partition("; ")
        c = _against_leader(row, name)
        shown = TableCell(mean, entry.best, entry.leader, entry.data)
        p = TableCell("" if c is None else p_text(c.adjusted))
        body.append((TableCell(name), shown, TableCell(_verdict(row, name, c)), TableCell(solved.split(" ")[0]), p))
    header = ("Algorithm", f"{final.title.split(',')[0]} [95% CI]", "Verdict", "Solved", "Holm p")
    return Table("answer", "", header, tuple(body), notes=tuple(_notes([row], needed)), narrow=4)


def _verdict(row: MetricRow, name: str, c: Comparison | None) -> str:
    if not row.leader:
        return NONE
    if name == row.leader:
        return "best"
    if name in row.tied:
        return f"not told from {row.leader}"
    if c is None or c.adjusted is None:
        return c.reason if c is not None else "not compared"
    return "worse" if c.adjusted < ALPHA else "no test tells"


def _notes(rows: Sequence[MetricRow], needed: Needed) -> Iterator[str]:
    if any(row.tied for row in rows):
        yield HOLM
    if needed and len(rows) > 1:
        yield SEEDS_NOTE
    if len(rows) > 1 and any(row.cell.success for row in rows):
        yield P0_NOTE
    if not all(row.leader for row in rows):
        yield NONE_NOTE
