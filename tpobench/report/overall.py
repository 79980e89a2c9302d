"""The suite as a whole: scores against fixed references over the cells that every rule has."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from tpobench import __version__
from tpobench.report.model import Table, TableCell, numbers_of
from tpobench.scores.cells import Cell
from tpobench.scores.estimates import SEED, rate_of
from tpobench.scores.options import Options
from tpobench.scores.text import difference_text, seed_ranges, share_text
from tpobench.stats.compare import Comparison, tie_group
from tpobench.stats.curves import below_threshold
from tpobench.stats.estimate import RESAMPLES, Floats
from tpobench.stats.multiplicity import holm
from tpobench.stats.suite_level import (
    Reference,
    SuiteComparison,
    SuiteEstimate,
    shared_tasks,
    suite_compare,
    suite_estimate,
)
from tpobench.stats.texts import p_text

Pair = tuple[str, str]
Scores = Mapping[str, Mapping[str, Floats]]  # rule -> cell -> per-seed values
HEADER = ("Rule", "Score ↑, mean [95% CI]", "Score ↑, IQM [95% CI]", "Solved [95% CI]")
PAIRS = ("A", "B", "A − B [95% CI]", "P(A better)", "p", "Holm p", "Tests", "A is")


def suite_tables(suite: str, cells: Sequence[Cell], rules: Sequence[str], how: Options) -> list[Table]:
    """Aggregates and pairwise tests per matching; none for a suite of one cell."""
    tables = []
    for condition in sorted({c.condition for c in cells}):
        own = [c for c in cells if c.condition == condition and c.arms]
        if len(own) > 1:
            tables += _tables(suite, own, rules, condition, how)
    return tables


def _tables(suite: str, cells: Sequence[Cell], rules: Sequence[str], condition: str, how: Options) -> list[Table]:
    scores = {name: {c.label: c.arms[name].final for c in cells if name in c.arms} for name in rules}
    scores = {name: own for name, own in scores.items() if own}
    shared, left = shared_tasks(scores)
    notes = _notes(cells, rules, scores, left)
    title = "Over all cells" + (f", matching={condition}" if condition else "")
    tail = f"-{condition}" if condition else ""
    if len(shared) < 2:
        return []
    references = {c.label: Reference(worst=c.reporting.worst, best=0.0) for c in cells}
    within = {name: {task: own[task] for task in shared} for name, own in scores.items()}
    found = _compared(within, references)
    signature = _signature(suite, cells, len(shared), found, how)
    overall = _overall(cells, within, references, found)
    tables = [Table(f"suite{tail}", title, HEADER, overall, signature, notes)]
    if found:
        name, body = f"tests-suite{tail}", tuple(score_pair(pair, *both) for pair, both in found.items())
        title = f"Pairwise tests: {title[0].lower()}{title[1:]}"
        tables.append(Table(name, title, PAIRS, body, signature, folded=True))
    return tables


def _notes(cells: Sequence[Cell], rules: Sequence[str], scores: Scores, left: Sequence[str]) -> tuple[str, ...]:
    worst = " or ".join(f"{w:g}" for w in sorted({c.reporting.worst for c in cells}))
    score = f"Score: 1 at a final {cells[0].reporting.metric} of 0, 0 at {worst}, the same references for every rule"
    notes = [f"{score}; cells weigh the same, seeds are resampled within cells"]
    if left:
        notes.append(f"Cells without some of the rules are left out for all: {'; '.join(left)}")
    missing = [name for name in rules if name not in scores]
    return (*notes, *([f"Without any result: {', '.join(missing)}"] if missing else []))


def _compared(scores: Scores, references: Mapping[str, Reference]) -> dict[Pair, tuple[SuiteComparison, Comparison]]:
    """Each pair with its Holm-adjusted view, in which lower is better as everywhere else."""
    raw = {
        (a, b): suite_compare(scores[a], scores[b], references, rng=np.random.default_rng(SEED))
        for a, b in itertools.combinations(scores, 2)
    }
    adjusted = holm([c.p for c in raw.values()])
    family = sum(c.p is not None for c in raw.values())
    return {pair: (c, _lower_better(c, q, family)) for (pair, c), q in zip(raw.items(), adjusted, strict=True)}


def _lower_better(c: SuiteComparison, adjusted: float | None, family: int) -> Comparison:
    return Comparison(
        "tested" if c.p is not None else "untestable", c.reason, (c.runs, c.runs),
        None if c.difference is None else -c.difference, p=c.p, adjusted=adjusted, family=family, better=c.better,
        test=c.test,
    )  # fmt: skip


def _overall(
    cells: Sequence[Cell],
    scores: Scores,
    references: Mapping[str, Reference],
    found: Mapping[Pair, tuple[SuiteComparison, Comparison]],
) -> tuple[tuple[TableCell, ...], ...]:
    means = {n: _estimate(own, references, "mean") for n, own in scores.items()}
    ranked = {n: (-e.value,) for n, e in means.items() if e.value is not None}
    leader, tied = tie_group(ranked, {p: c for p, (_, c) in found.items()}) if len(ranked) > 1 else ("", ())
    rows = []
    for name, own in scores.items():
        iqm = _estimate(own, references, "iqm")
        solved = sum(int(below_threshold(own[c.label], c.reporting.solved).sum()) for c in cells if c.label in own)
        runs = sum(len(values) for values in own.values())
        mean = TableCell(score_text(means[name]), name in tied, name == leader, {"estimate": numbers_of(means[name])})
        middle = TableCell(score_text(iqm), data={"estimate": numbers_of(iqm)})
        share = {"count": solved, "estimate": numbers_of(rate_of(solved, runs))}
        rows.append((TableCell(name), mean, middle, TableCell(f"{solved}/{runs}", data=share)))
    return tuple(rows)


def _estimate(own: Mapping[str, Floats], references: Mapping[str, Reference], statistic: str) -> SuiteEstimate:
    rng = np.random.default_rng(SEED)
    return suite_estimate(own, references, rng=rng, statistic="iqm" if statistic == "iqm" else "mean")


def score_text(found: SuiteEstimate) -> str:
    """`0.953 [0.937, 0.967]`, or why there is none."""
    if found.value is None:
        return found.reason
    interval = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{interval}" + (f" ({found.reason})" if found.reason else "")


def score_pair(pair: Pair, c: SuiteComparison, view: Comparison) -> tuple[TableCell, ...]:
    """A row of a table of tests over all tasks; `view` is adjusted, lower better."""
    texts = (
        *pair, difference_text(c.difference, c.low, c.high), share_text(c.better, None, None), p_text(c.p),
        p_text(view.adjusted), str(view.family) if c.p is not None else "", view.verdict(),
    )  # fmt: skip
    data = {**numbers_of(c), "adjusted": view.adjusted, "family": view.family}
    return (*(TableCell(t) for t in texts[:-1]), TableCell(texts[-1], data=data))


def _signature(
    suite: str,
    cells: Sequence[Cell],
    shared: int,
    found: Mapping[Pair, tuple[SuiteComparison, Comparison]],
    how: Options,
) -> str:
    seeds = seed_ranges(sorted({s for c in cells for a in c.arms.values() for s in a.seeds}))
    tests = sorted({c.test for c, _ in found.values() if c.p is not None})
    family = sum(c.p is not None for c, _ in found.values())
    return "|".join([
        f"tpobench {__version__}", f"suite:{suite}", f"metric:score/{shared}cells", f"seeds:{seeds}",
        "ci:stratified-bootstrap95", f"test:{'+'.join(tests) or 'none'}", f"adj:holm/{family}", f"B:{RESAMPLES}",
        f"rng:{SEED}", f"diverged:{how.diverged}",
    ])  # fmt: skip
