"""The tables of a report: cells that hold a text and the full numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tpobench import __version__
from tpobench.report.cells import Arm, Cell, Reporting
from tpobench.stats.censored import StepsEstimate, steps_estimate, steps_text
from tpobench.stats.compare import Comparison, compare_all, tie_group
from tpobench.stats.estimate import RESAMPLES, Estimate, Floats, mean_estimate, rate_estimate

SEED = 0  # of every resampling: the same records give the same bytes


@dataclass(frozen=True)
class TableCell:
    """One entry: its rounded text, whether it is in the best group, and its numbers in full."""

    text: str
    best: bool = False  # the best or not distinguishable from it: bold
    leader: bool = False  # the best point estimate: underlined
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Header, rows, what to read below it, and the signature of how it was computed."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    signature: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A per-seed scalar that gets a table: its name, its title, and how to take it from an arm."""

    name: str
    title: str
    values: Callable[[Arm], Floats]
    threshold: float | None = None  # of censored times


def metrics_of(reporting: Reporting, evaluations: int) -> list[Metric]:
    """Final window, steps to each threshold, area under the curve."""
    m, window = reporting.metric, min(reporting.window, evaluations)
    unit = " (%)" if percent(reporting) else ""
    name = m.capitalize()
    last = "at the end" if window == 1 else f"mean of the last {window} evaluations"
    final = Metric(f"final{window}", f"{name}{unit} ↓, {last}", lambda a: a.final)
    steps = [
        Metric(f"steps{t:g}m{reporting.persist}", f"Updates to {name.lower()} < {_level(t, reporting)} ↓", _times(t), t)
        for t in reporting.thresholds
    ]
    return [final, *steps, Metric("area", f"{name}{unit} ↓, mean over all updates", lambda a: a.area)]


def _times(threshold: float) -> Callable[[Arm], Floats]:
    return lambda arm: arm.times[threshold]


def _level(t: float, reporting: Reporting) -> str:
    return f"{100 * t:g}%" if percent(reporting) else f"{t:g}"


def percent(reporting: Reporting) -> bool:
    """Errors are shares and shown in percent; other metrics as they are."""
    return reporting.metric == "error"


def decimals(found: Estimate, scale: float) -> int:
    """Two significant digits of the interval's half width decide the rounding, three of the value without one."""
    value = abs(found.value or 0.0) * scale
    if found.low is not None and found.high is not None and found.high > found.low:
        return min(6, max(0, 1 - math.floor(math.log10((found.high - found.low) * scale / 2))))
    return min(6, max(0, 2 - math.floor(math.log10(value)))) if value > 0 else 0


def mean_text(found: Estimate, scale: float = 1.0) -> str:
    """`8.7 [3.0, 22.7]`, `7.1 (n=1)`, `7.1 and 9.3 (n=2)`, `missing`."""
    if found.value is None:
        return found.reason
    d = decimals(found, scale)
    if found.status == "single":
        return f"{found.value * scale:.{d}f} (n=1)"
    if found.low is None or found.high is None:
        return f"{found.value * scale:.{d}f} (all {found.runs} seeds identical)"
    if found.status == "pair":
        return f"{found.low * scale:.{d}f} and {found.high * scale:.{d}f} (n=2)"
    return f"{found.value * scale:.{d}f} [{found.low * scale:.{d}f}, {found.high * scale:.{d}f}]"


def diverged_text(arm: Arm, worst: float) -> str:
    """`(2/20 diverged, scored 1)`, empty where none did."""
    k = sum(arm.diverged)
    return f" ({k}/{len(arm.seeds)} diverged, scored {worst:.1f})" if k else ""


@dataclass(frozen=True)
class Row:
    """One cell under one metric: an entry per rule, the family of tests, and the notes they need."""

    cell: Cell
    entries: Mapping[str, TableCell]
    comparisons: Mapping[tuple[str, str], Comparison]
    notes: tuple[str, ...]


def make_row(cell: Cell, metric: Metric, rules: Sequence[str]) -> Row:
    """Estimate every rule, test every pair, mark the group tied with the best."""
    censored = metric.threshold is not None
    scored = {
        name: np.minimum(metric.values(arm), arm.budget) if censored else metric.values(arm)
        for name, arm in cell.arms.items()
    }
    budgets = {arm.budget for arm in cell.arms.values()}
    comparable = not censored or len(budgets) == 1
    arms = {name: cell.arms[name].by_seed(values) for name, values in scored.items()} if comparable else {}
    comparisons = compare_all(arms, seed=SEED, rank=censored)
    # Times are ranked as they are printed, by median; the mean of min(t, T) decides between equal medians.
    scores = {
        name: (*([float(np.median(metric.values(cell.arms[name])))] if censored else []), float(np.mean(values)))
        for name, values in scored.items()
    }
    leader, tied = tie_group(scores, comparisons) if len(scores) > 1 and comparable else ("", ())
    if censored and leader and not np.isfinite(metric.values(cell.arms[leader])).any():
        leader, tied = "", ()  # nobody got there: nothing to praise
    entries, notes = {}, []
    most = max(len(arm.seeds) for arm in cell.arms.values()) if cell.arms else 0
    if not comparable:
        notes.append(f"{cell.label}: budgets differ ({_listed(budgets)} updates): times are not compared")
    for name in rules:
        arm = cell.arms.get(name)
        if arm is None:
            entries[name] = TableCell("missing")
            continue
        text, data = _steps_entry(arm, metric) if censored else _mean_entry(cell, arm, metric)
        text += f"; n={len(arm.seeds)}" if 1 < len(arm.seeds) < most and not censored else ""
        entries[name] = TableCell(text, name in tied, name == leader, data)
        notes += _sensitivity(cell, arm, metric)
    notes += _untestable(cell, leader, comparisons)
    return Row(cell, entries, comparisons, tuple(notes))


def _listed(values: set[float]) -> str:
    return ", ".join(f"{v:.0f}" for v in sorted(values))


def _mean_entry(cell: Cell, arm: Arm, metric: Metric) -> tuple[str, dict[str, Any]]:
    r, values = cell.reporting, metric.values(arm)
    found = mean_estimate(values, rng=np.random.default_rng(SEED), lowest=0.0, highest=r.worst)
    data = {"estimate": asdict(found), "diverged": sum(arm.diverged)}
    scale = 100.0 if percent(r) else 1.0
    if all(arm.diverged):
        return f"diverged {len(arm.seeds)}/{len(arm.seeds)}", data
    text = mean_text(found, scale) + diverged_text(arm, r.worst)
    if metric.name.startswith("final"):
        k = int((values < r.solved).sum())
        data["solved"] = {"count": k, **asdict(rate_estimate(k, len(values)))}
        text += f"; {k}/{len(values)} solved"
    return text, data


def _steps_entry(arm: Arm, metric: Metric) -> tuple[str, dict[str, Any]]:
    found = steps_estimate(metric.values(arm), arm.budget, rng=np.random.default_rng(SEED))
    return steps_text(found), {"steps": _plain(found)}


def _plain(found: StepsEstimate) -> dict[str, Any]:
    return asdict(found)


def _sensitivity(cell: Cell, arm: Arm, metric: Metric) -> list[str]:
    k = sum(arm.diverged)
    if not metric.name.startswith("final") or k in {0, len(arm.seeds)}:
        return []
    kept = metric.values(arm)[~np.array(arm.diverged)]
    found = mean_estimate(kept, rng=np.random.default_rng(SEED), lowest=0.0, highest=cell.reporting.worst)
    text = mean_text(found, 100.0 if percent(cell.reporting) else 1.0)
    return [f"{cell.label}, {arm.algorithm}: without the {k} diverged runs {text}"]


def _untestable(cell: Cell, leader: str, comparisons: Mapping[tuple[str, str], Comparison]) -> list[str]:
    notes = []
    counts = {n for c in comparisons.values() for n in c.runs}
    if leader and counts and not any(c.status in {"tested", "identical"} for c in comparisons.values()):
        reasons = sorted({c.reason for c in comparisons.values() if c.status != "deterministic"})
        notes += (
            [f"{cell.label}: no test possible, only the best mean is bold ({'; '.join(reasons)})"] if reasons else []
        )
    if any(len(arm.seeds) == 1 for arm in cell.arms.values()):
        notes.append("1 seed: no uncertainty")
    return notes


def pairwise_table(rows: Sequence[Row], metric: Metric, signature: str) -> Table:
    """A against B in every cell: difference, P(A better), p, Holm p, verdict."""
    header = ("Cell", "A", "B", "Seeds", "A − B [95% CI]", "P(A better)", "p", "Holm p", "A is")
    body = [
        _pair_row(row.cell, pair, comparison, metric) for row in rows for pair, comparison in row.comparisons.items()
    ]
    title = f"Pairwise tests: {metric.title.replace(' ↓', '')}"
    note = ("A − B is the difference of the mean of min(steps, budget)",) if metric.threshold is not None else ()
    return Table(f"tests-{metric.name}", title, header, tuple(body), signature, note)


def _pair_row(cell: Cell, pair: tuple[str, str], c: Comparison, metric: Metric) -> tuple[TableCell, ...]:
    scale = 100.0 if percent(cell.reporting) and metric.threshold is None else 1.0
    n, m = c.runs
    seeds = f"{n} pairs" if c.test == "sign-flip" else str(n) if n == m else f"n={n} vs {m}"
    if c.correlation is not None:
        seeds += f", r={c.correlation:.2f}"
    counts = [len(cell.arms[name].seeds) for name in pair]
    if c.test == "sign-flip" and counts != [n, n]:
        seeds += f" (common of {counts[0]} and {counts[1]})"
    found = Estimate(c.difference, c.low, c.high, n, "welch")
    d = decimals(found, scale)
    difference = "" if c.difference is None else f"{c.difference * scale:+.{d}f}"
    if c.low is not None and c.high is not None:
        difference += f" [{c.low * scale:.{d}f}, {c.high * scale:.{d}f}]"
    untestable = c.status == "untestable"
    texts = (
        cell.label, *pair, seeds, difference,
        "" if c.better is None else f"{c.better:.2f}",
        "" if c.p is None or untestable else p_text(c.p),
        "" if c.adjusted is None or untestable else p_text(c.adjusted),
        c.verdict(),
    )  # fmt: skip
    return (*(TableCell(t) for t in texts[:-1]), TableCell(texts[-1], data=asdict(c)))


def p_text(p: float) -> str:
    """`.0034`, `.31`, `1`, `<.001`."""
    if p < 0.001:
        return "<.001"
    return "1" if p > 0.995 else f"{p:.{2 if p >= 0.01 else 4}f}".lstrip("0")


def signature_of(suite: str, metric: Metric, rows: Sequence[Row]) -> str:
    """How the numbers came about, on one line: `tpobench 0.1.0|suite:sparse|metric:final50|seeds:0-9|...`."""
    arms = [arm for row in rows for arm in row.cell.arms.values()]
    found = [c for row in rows for c in row.comparisons.values()]
    families = {c.family for c in found if c.p is not None}
    tests = sorted({c.test for c in found if c.test})
    pairing = sorted({"yes" if t == "sign-flip" else "no" for t in tests})
    counts = {len(arm.seeds) for arm in arms}
    ci = sorted({"none" if n == 1 else "values" if n == 2 else "t95" if n < 10 else "bca-exp95" for n in counts})
    if metric.threshold is not None:
        ci = ["median-exact95"]
    return "|".join([
        f"tpobench {__version__}", f"suite:{suite}", f"metric:{metric.name}",
        f"seeds:{seed_ranges(sorted({s for arm in arms for s in arm.seeds}))}",
        f"pair:{'+'.join(pairing) or 'none'}", f"ci:{'+'.join(ci) or 'none'}", f"test:{'+'.join(tests) or 'none'}",
        f"adj:holm/{'+'.join(str(f) for f in sorted(families)) or 0}",
        f"B:{max([RESAMPLES, *(200 * len(row.comparisons) for row in rows)])}", f"rng:{SEED}", "diverged:worst",
    ])  # fmt: skip


def seed_ranges(seeds: Sequence[int]) -> str:
    """`0-9`, `0-4,7`."""
    parts: list[list[int]] = []
    for s in seeds:
        if parts and s == parts[-1][1] + 1:
            parts[-1][1] = s
        else:
            parts.append([s, s])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def metric_table(rows: Sequence[Row], metric: Metric, rules: Sequence[str], signature: str) -> Table:
    """Cells down, rules across, the initial success probability p0 in between."""
    body = [
        (TableCell(row.cell.label), success_entry(row.cell), *(row.entries[name] for name in rules)) for row in rows
    ]
    notes = tuple(dict.fromkeys(n for row in rows for n in row.notes))
    return Table(metric.name, metric.title, ("Cell", "p0", *rules), tuple(body), signature, notes)


def rules_table(rows: Mapping[Metric, Row], rules: Sequence[str], signature: str) -> Table:
    """One cell only: rules down, metrics across."""
    body = [(TableCell(name), *(row.entries[name] for row in rows.values())) for name in rules]
    first = next(iter(rows.values()))
    notes = tuple(dict.fromkeys(n for row in rows.values() for n in row.notes))
    success = success_entry(first.cell).text
    if success:
        notes = (f"{first.cell.label}: initial success probability p0 = {success}", *notes)
    return Table("summary", first.cell.label, ("Rule", *(m.title for m in rows)), tuple(body), signature, notes)


def success_entry(cell: Cell) -> TableCell:
    """p0 to two digits; empty where it was not recorded."""
    return TableCell("" if cell.success is None else f"{cell.success:.2g}", data={"p0": cell.success})
