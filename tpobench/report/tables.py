"""The tables of one suite and the line that says how their numbers came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tpobench import __version__
from tpobench.report.rows import MetricRow
from tpobench.scores.cells import Cell
from tpobench.scores.estimates import SEED, mean_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.scalars import Scalar
from tpobench.scores.text import difference_text, least_text, seed_ranges, share_text
from tpobench.stats.compare import Comparison
from tpobench.stats.estimate import RESAMPLES
from tpobench.stats.multiplicity import resamples_for
from tpobench.stats.texts import p_text, seeds_text
from tpobench.tables.model import Table, TableCell, numbers_of

TESTS = (
    "Cell", "A", "B", "Seeds", "A − B [95% CI]", "P(A better) [95% CI]", "p", "Holm p", "Least p", "Tests", "A is",
)  # fmt: skip


TESTS_NOTE = (
    "P(A better): probability that a seed of A beats one of B. Holm p: p corrected for all tests of its family, of "
    "which Tests is the number. Least p: the smallest that so few seeds can give"
)


def metric_table(rows: Sequence[MetricRow], metric: Scalar, algorithms: Sequence[str], signature: str) -> Table:
    """Cells down, algorithms across, the initial success probability p0 in between."""
    body = [(TableCell(r.cell.label), success_entry(r.cell), *(r.entries[name] for name in algorithms)) for r in rows]
    return Table(metric.name, metric.title, ("Cell", "p0", *algorithms), tuple(body), signature, notes_of(rows))


def algorithms_table(rows: Mapping[Scalar, MetricRow], algorithms: Sequence[str], signature: str) -> Table:
    """One cell only: algorithms down, metrics across."""
    body = [(TableCell(name), *(row.entries[name] for row in rows.values())) for name in algorithms]
    first, notes = next(iter(rows.values())), notes_of(list(rows.values()))
    header = ("Algorithm", *(m.title for m in rows))
    success = success_entry(first.cell).text
    if success:
        notes = (f"{first.cell.label}: initial success probability p0 = {success}", *notes)
    return Table("summary", f"Summary: {first.cell.label}", header, tuple(body), signature, notes)


def notes_of(rows: Sequence[MetricRow]) -> tuple[str, ...]:
    """Every note once, one line for all that is dominated by a seed."""
    notes = dict.fromkeys(n for row in rows for n in row.notes)
    where = "; ".join(dict.fromkeys(d for row in rows for d in row.dominated))
    warning = (
        f"One seed holds most of the sum, so that the interval covers less than it says (try --ci studentized): {where}"
    )
    return (*notes, *([warning] if where else []))


def success_entry(cell: Cell) -> TableCell:
    """p0 to two digits; empty where it was not recorded."""
    return TableCell("" if cell.success is None else f"{cell.success:.2g}", data={"p0": cell.success})


def pairwise_table(rows: Sequence[MetricRow], metric: Scalar, signature: str) -> Table:
    """A against B in every cell: difference, P(A better), p, Holm p, the least p possible, family, verdict."""
    body = [_pair(row.cell, pair, c, metric) for row in rows for pair, c in row.comparisons.items()]
    title = f"Pairwise tests: {metric.bare_title}"
    note: tuple[str, ...] = (
        ("A − B is the difference of the mean of min(steps, budget)",) if metric.test == "times" else ()
    )
    note = (TESTS_NOTE, *note)
    used = {c.test for row in rows for c in row.comparisons.values()}
    if "boschloo" in used:
        note += ("An algorithm without a run that lasted is compared by its count of diverged runs (Boschloo)",)
    return Table(f"tests-{metric.name}", title, TESTS, tuple(body), signature, note, folded=True)


def _pair(cell: Cell, pair: tuple[str, str], c: Comparison, metric: Scalar) -> tuple[TableCell, ...]:
    return comparison_cells((cell.label, *pair, _seeds(cell, pair, c)), metric.difference(c), c.verdict(), metric.scale)


def comparison_cells(
    lead: tuple[str, ...], shown: Comparison, verdict: str, scale: float = 1.0
) -> tuple[TableCell, ...]:
    """A row of a table of tests: `lead`, then difference, P(better), p, Holm p, the least p, family and verdict.

    shown: in the direction that the table speaks of.
    """
    none = shown.status == "untestable"
    texts = (
        *lead, difference_text(shown.difference, shown.low, shown.high, scale),
        share_text(shown.better, shown.better_low, shown.better_high),
        "" if none else p_text(shown.p), "" if none else p_text(shown.adjusted), least_text(shown.smallest),
        str(shown.family) if shown.p is not None else "",
    )  # fmt: skip
    return (*map(TableCell, texts), TableCell(verdict, data=numbers_of(shown)))


def _seeds(cell: Cell, pair: tuple[str, str], c: Comparison) -> str:
    n, m = (len(cell.arms[name].seeds) for name in pair)
    text = seeds_text((n, m), common=c.runs[0] if c.test == "sign-flip" else None)
    return text if c.correlation is None else f"{text}, r={c.correlation:.2f}"


def signature_of(suite: str, metric: Scalar, rows: Sequence[MetricRow], options: ReportOptions) -> str:
    """How the numbers came about, on one line: `tpobench 0.1.0|suite:sparse|metric:final50|seeds:0-9|...`."""
    arms = [arm for row in rows for arm in row.cell.arms.values()]
    comparisons = [c for row in rows for c in row.comparisons.values()]
    families = {c.family for c in comparisons if c.p is not None}
    tests = sorted({c.test for c in comparisons if c.test})
    pairing = sorted({"yes" if t == "sign-flip" else "no" for t in tests})
    resamples = max([RESAMPLES, *(resamples_for(len(row.comparisons)) for row in rows)])
    return "|".join([
        f"tpobench {__version__}", f"suite:{suite}", f"metric:{metric.name}",
        f"seeds:{seed_ranges(sorted({s for arm in arms for s in arm.seeds}))}",
        f"pair:{'+'.join(pairing) or 'none'}", f"ci:{_intervals(metric, rows, options)}",
        f"test:{'+'.join(tests) or 'none'}", f"adj:holm/{'+'.join(str(f) for f in sorted(families)) or 0}",
        f"B:{resamples}", f"rng:{SEED}", f"diverged:{options.diverged}",
        *(["conventions:paper"] * options.paper_compat),
    ])  # fmt: skip


SHORT = {"t": "t95", "bca-expanded": "bca-exp95", "bca": "bca95", "studentized": "boot-t95", "percentile": "pct95"}


def _intervals(metric: Scalar, rows: Sequence[MetricRow], options: ReportOptions) -> str:
    if metric.test == "times":
        return "median-exact95"
    methods = {
        mean_of(metric.values(arm), options, row.cell.reporting).method
        for row in rows
        for arm in row.cell.arms.values()
    }
    return "+".join(sorted(SHORT.get(m, m) for m in methods if m != "none")) or "none"
