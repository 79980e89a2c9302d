"""Comparisons and detections to read, and every row of them in full precision."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tpobench.comparison import Compared
from tpobench.comparison.detection import POWER, Detection, Detections
from tpobench.comparison.rows import ComparedRow
from tpobench.scores.suite_level import SuiteTest
from tpobench.scores.text import difference_text, least_text, share_text
from tpobench.stats.compare import plain
from tpobench.stats.texts import p_text, pairing_text, seeds_text
from tpobench.tables.exports import flat
from tpobench.tables.model import Document, Lines, Table, TableCell, dense


def comparison_document(compared: Compared) -> Document:
    """What is compared, one row per cell (and algorithm), a line per suite, the notes, and the signature."""
    lead = [f"A = {compared.a}", f"B = {compared.b}", f"{compared.measure.name}: {compared.measure.words}"]
    if compared.settings:
        lead.append(f"A -> B: {'; '.join(compared.settings)}")
    suites = [_suite(name, test, compared) for name, test in compared.suites.items()]
    lines = [*(suites or ["1 row: no suite-level test"]), _family(compared), *compared.notes]
    blocks = (Lines(tuple(lead)), _table(compared), Lines(tuple(lines)), Lines((compared.signature,), "code"))
    data = compared.as_dict()
    return Document(f"{compared.a} against {compared.b}", blocks, data, tuple(map(flat, data["comparisons"])))


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
    lead = Lines((f"{detections.measure.name}: {detections.measure.words}", detects))
    blocks = (lead, *_detections(detections), Lines((detections.signature,), "code"))
    data = detections.as_dict()
    return Document("What the seeds can detect", blocks, data, tuple(map(flat, data["detections"])))


def _detections(detections: Detections) -> Iterator[Table]:
    for i, ((suite, cell), rows) in enumerate(itertools.groupby(detections.rows, lambda r: (r.suite, r.cell)), 1):
        members = list(rows)
        title = f"{suite}, {cell} (family of {members[0].power.family})"
        header = ("algorithm or pair", "observed", "what its seeds tell")
        yield Table(f"cell-{i}", title, header, tuple(map(_detection, members)))


def _detection(row: Detection) -> tuple[TableCell, ...]:
    what = "difference" if len(row.arms) == 2 else "mean"
    observed = f"{what} {row.observed:.3g}" + ", paired" * row.paired
    return tuple(map(TableCell, (" - ".join(row.arms), observed, row.text)))
