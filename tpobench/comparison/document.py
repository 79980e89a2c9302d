"""Comparisons and detections to read, and every row of them in full precision."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from tpobench.comparison import Compared
from tpobench.comparison.detection import Detection, Detections
from tpobench.comparison.rows import ComparedRow
from tpobench.scores.pilots import POWER
from tpobench.scores.suite_level import SuiteTest
from tpobench.scores.text import difference_text, least_text, share_text
from tpobench.stats.compare import plain
from tpobench.stats.power import MOST_SEEDS, two_digits
from tpobench.stats.texts import p_text, pairing_text, seeds_text
from tpobench.tables.exports import flat
from tpobench.tables.model import PLACE, Document, Glance, Lines, Table, TableCell, dense, table_of


def comparison_document(compared: Compared) -> Document:
    """What is compared, one row per cell (and algorithm), a line per suite, the notes, and the signature."""
    lead = [f"A = {compared.a}", f"B = {compared.b}", f"{compared.measure.name}: {compared.measure.words}"]
    if compared.settings:
        lead.append(f"A -> B: {'; '.join(compared.settings)}")
    suites = [_suite(name, test, compared) for name, test in compared.suites.items()]
    lines = [*(suites or ["1 row: no suite-level test"]), _family(compared), *compared.notes]
    blocks = (Lines(tuple(lead)), _table(compared), Lines(tuple(lines)), Lines((compared.signature,), "code"))
    data = compared.as_dict()
    title, records = f"{compared.a} against {compared.b}", tuple(map(flat, data["comparisons"]))
    return Document(title, blocks, data, records, glance=_comparison_glance(compared))


SHORT = ("cell", "algorithm", "A is", "A − B [95%]", "Holm p", "A, {}", "B", "seeds")


def _comparison_glance(compared: Compared) -> Glance:
    """In how many rows A is better, and the columns that say so."""
    table, names = _table(compared), [name.format(compared.measure.unit) for name in SHORT]
    columns = [table.header.index(name) for name in names if name in table.header]
    rows = tuple(tuple(row[i] for i in columns) for row in table.rows)
    short = Table("comparisons", "", tuple(table.header[i] for i in columns), rows)
    return Glance(f"{_outcome(compared)}.", short, (*compared.notes, HOLM), then=_next(compared))


HOLM = "Holm p: corrected for all rows together; below .05 the difference is told from chance"


def _outcome(compared: Compared) -> str:
    verdicts = [row.verdict for row in compared.rows]
    better, worse, n = verdicts.count("better"), verdicts.count("worse"), len(verdicts)
    rest, a, b = n - better - worse, f"A ({compared.a})", f"B ({compared.b})"
    measure = f"{compared.measure.name}, {compared.measure.better} is better"
    if n == 1:
        (verdict,) = verdicts
        known = {"better": f"{a} is better than {b}", "worse": f"{a} is worse than {b}"}
        return f"{known.get(verdict, f'{a} cannot be told from {b}')} ({measure})"
    open_rows = f"; {rest} cannot be told" if rest else ""
    return f"{a} is better than {b} in {better} of {n} rows and worse in {worse}{open_rows} ({measure})"


def _next(compared: Compared) -> tuple[tuple[str, str], ...]:
    told = all(row.verdict in {"better", "worse"} for row in compared.rows)
    return () if told else (("the seeds that would tell", f"tpobench power {PLACE}"),)


def _table(compared: Compared) -> Table:
    unit = compared.measure.unit
    header = (
        "cell", "algorithm", "seeds", f"A, {unit}", "B", "A − B [95%]", "P(A better) [95%]", "paired, variance", "test",
        "p", "Holm p", "least p", "A is",
    )  # fmt: skip
    return dense(Table("comparisons", "", header, tuple(_cells(row, compared) for row in compared.rows)))


def _cells(row: ComparedRow, compared: Compared) -> tuple[TableCell, ...]:
    c, m = row.comparison, compared.measure
    shown = m.difference(c)
    ends = shown.difference, shown.low, shown.high
    if m.kind == "rate":  # failures are compared, successes are what people read
        ends = tuple(None if v is None else -v + 0.0 for v in (c.difference, c.high, c.low))  # type: ignore[assignment]
    tested = c.status in {"tested", "identical"}
    pairs = c.runs[0] if c.test == "sign-flip" else None
    texts = (
        row.label, row.key.algorithm, seeds_text((len(row.a.seeds), len(row.b.seeds)), common=pairs),
        m.shown(row.a)[0], m.shown(row.b)[0], difference_text(*ends, m.scale),
        share_text(c.better, c.better_low, c.better_high), _pairing(row), c.test or "-",
        p_text(c.p) if tested else "", p_text(c.adjusted) if tested else "", least_text(c.smallest), row.verdict,
    )  # fmt: skip
    return tuple(map(TableCell, texts))


def _pairing(row: ComparedRow) -> str:
    """`r=.26, saved 24%` of the variance."""
    text = pairing_text(row.comparison).replace("pairing ", "").replace(" of the variance", "")
    return text or ("yes" if row.pairing == "paired" else "no")


def _suite(name: str, row: SuiteTest, compared: Compared) -> str:
    c, rows = row.comparison, sum(r.key.suite == name for r in compared.rows)
    if c.difference is None:
        return f"{name}: {c.reason or 'no suite-level test'}"
    p = "" if c.p is None else f", p {p_text(c.p)} ({c.test}, least {least_text(c.smallest)})"
    holm = f", Holm over {row.family} suites {p_text(row.adjusted)}" if row.family > 1 else ""
    reason = f" ({c.reason})" if c.reason and c.p is not None else ""
    return (
        f"{name}: mean score over {rows} rows, A − B {difference_text(c.difference, c.low, c.high)}, P(A better) "
        f"{share_text(c.better, None, None)}{p}{holm}: A is {row.verdict()}{reason}; "
        f"score 0 at the worst value, 1 at {compared.measure.best:g}"
    )


def _family(compared: Compared) -> str:
    least = [row.comparison.smallest for row in compared.rows if row.comparison.smallest is not None]
    if not compared.family or not least:
        return "family: no row has a test"
    ends = sorted({least_text(min(least)), least_text(max(least))}, reverse=True)
    level = plain(0.05 / compared.family)
    return (
        f"family: {compared.family} test{'s' if compared.family > 1 else ''}, Holm at .05: the first needs p <= "
        f"{level}; smallest attainable p {' to '.join(ends)}"
    )


def detections_document(detections: Detections) -> Document:
    """A table for each cell, algorithms before pairs."""
    detects = (
        f"detects: the least difference found with probability {POWER:.0%} at the level that Holm asks of the smallest "
        "p of a cell; spreads at their upper 80% bound"
    )
    measure = detections.measure
    lead = Lines((f"{measure.name}, {measure.unit}: {measure.words}", detects))
    blocks = (lead, *_detections(detections), Lines((detections.signature,), "code"))
    data, title = detections.as_dict(), "What the seeds can detect"
    records = tuple(map(flat, data["detections"]))
    return Document(title, blocks, data, records, glance=_detections_glance(detections))


def _detections_glance(detections: Detections) -> Glance:
    """The least difference of every pair, or algorithm where there is one alone, and the seeds for the observed one."""
    pairs, measure = [row for row in detections.rows if len(row.arms) == 2], detections.measure
    rows = sorted(pairs or detections.rows, key=_hardness)
    several, what = len({(row.suite, row.cell) for row in rows}) > 1, "pair" if pairs else "algorithm"
    header = (*(["cell"] * several), what, "observed", "seeds for it", "found from", "seeds")
    table = table_of(header, [_detection_row(row, measure.scale, several=several) for row in rows], "detections")
    notes = ("Found from: the least true difference that a test would find with 80% probability",)
    return Glance(f"{_enough(rows, measure.scale)} ({measure.unit}: {measure.words}).", table, notes)


def _enough(rows: Sequence[Detection], scale: float) -> str:
    """For how many of them the seeds at hand would do."""
    seeds = sorted({row.power.runs for row in rows})
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    sizes = [row.power.detectable for row in rows if row.power.detectable is not None]
    most = (
        f"the least differences that {counts} seeds find reach {two_digits(max(sizes) * scale)}"
        if sizes
        else "no difference of any size can be found from so few"
    )
    wanted = [power for row in rows if (power := row.expected or row.power).target]
    enough = sum(power.needed is not None and power.needed <= power.runs for power in wanted)
    if not wanted:
        return most[0].upper() + most[1:]
    return f"{counts} seeds are enough to find the difference in {enough} of {len(rows)} rows; {most}"


def _hardness(row: Detection) -> tuple[float, float]:
    """Those that take most seeds first."""
    power = row.expected or row.power
    return -(power.needed or math.inf), -(row.power.detectable or 0.0)


def _detection_row(row: Detection, scale: float, *, several: bool) -> list[object]:
    power = row.expected or row.power
    needed = None if power.target is None else f">{MOST_SEEDS}" if power.needed is None else str(power.needed)
    found = row.power.reason if row.power.detectable is None else two_digits(row.power.detectable * scale)
    return [
        *([row.cell] if several else []),
        " - ".join(row.arms),
        f"{row.observed * scale:.3g}",
        needed,
        found,
        row.power.runs,
    ]


def _detections(detections: Detections) -> Iterator[Table]:
    for i, ((suite, cell), rows) in enumerate(itertools.groupby(detections.rows, lambda r: (r.suite, r.cell)), 1):
        members = list(rows)
        title = f"{suite}, {cell} (family of {members[0].power.family})"
        header = ("algorithm or pair", "observed", "what its seeds tell")
        yield Table(f"cell-{i}", title, header, tuple(_detection(row, detections.measure.scale) for row in members))


def _detection(row: Detection, scale: float) -> tuple[TableCell, ...]:
    what = "difference" if len(row.arms) == 2 else "mean"
    observed = f"{what} {row.observed * scale:.3g}" + ", paired" * row.paired
    return tuple(map(TableCell, (" - ".join(row.arms), observed, row.words(scale))))
