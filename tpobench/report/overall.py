"""The suite as a whole: scores against fixed references over the cells that every algorithm has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tpobench import __version__
from tpobench.scores.cells import Cell
from tpobench.scores.estimates import SEED, rate_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.pairing import Pair
from tpobench.scores.suite_level import SuiteLevel, SuiteTest, suite_level
from tpobench.scores.text import difference_text, seed_ranges, share_text
from tpobench.stats.guard import Floats
from tpobench.stats.suite_level import RESAMPLES, SuiteEstimate, shared_tasks
from tpobench.stats.texts import p_text
from tpobench.tables.model import Table, TableCell, numbers_of

Scores = Mapping[str, Mapping[str, Floats]]  # algorithm -> cell -> per-seed values
HEADER = ("Algorithm", "Score ↑, mean [95% CI]", "Score ↑, IQM [95% CI]", "Solved [95% CI]")
PAIRS = ("A", "B", "A − B [95% CI]", "P(A better)", "p", "Holm p", "Tests", "A is")


def suite_tables(suite: str, cells: Sequence[Cell], algorithms: Sequence[str], options: ReportOptions) -> list[Table]:
    """Aggregates and pairwise tests per matching; none for a suite of one cell."""
    tables = []
    for condition in sorted({c.condition for c in cells}):
        matched = [c for c in cells if c.condition == condition and c.arms]
        if len(matched) > 1:
            tables += _tables(suite, matched, algorithms, condition, options)
    return tables


def _tables(
    suite: str, cells: Sequence[Cell], algorithms: Sequence[str], condition: str, options: ReportOptions
) -> list[Table]:
    scores = {name: {c.label: c.arms[name].final for c in cells if name in c.arms} for name in algorithms}
    scores = {name: tasks for name, tasks in scores.items() if tasks}
    shared, left = shared_tasks(scores)
    notes = _notes(cells, algorithms, scores, left)
    title = "Over all cells" + (f", matching={condition}" if condition else "")
    tail = f"-{condition}" if condition else ""
    if len(shared) < 2:
        return []
    references = {c.label: c.reporting.reference for c in cells}
    aggregates = suite_level(
        {name: {task: tasks[task] for task in shared} for name, tasks in scores.items()},
        references,
        {name for c in cells for name in c.arms.keys() - set(c.ranked)},
    )
    signature = _signature(suite, cells, len(shared), aggregates, options)
    shown = [c for c in cells if c.label in shared]
    tables = [Table(f"suite{tail}", title, HEADER, _overall(shown, aggregates), signature, notes)]
    if aggregates.tests:
        name, body = f"tests-suite{tail}", tuple(score_pair(pair, test) for pair, test in aggregates.tests.items())
        title = f"Pairwise tests: {title[0].lower()}{title[1:]}"
        tables.append(Table(name, title, PAIRS, body, signature, folded=True))
    return tables


def _notes(cells: Sequence[Cell], algorithms: Sequence[str], scores: Scores, left: Sequence[str]) -> tuple[str, ...]:
    worst = " or ".join(f"{w:g}" for w in sorted({c.reporting.worst for c in cells}))
    best = " or ".join(f"{b:g}" for b in sorted({c.reporting.best for c in cells}))
    metric = cells[0].reporting.metric
    score = f"Score: 1 at a final {metric} of {best}, 0 at {worst}, the same references for every algorithm"
    notes = [f"{score}; cells weigh the same, seeds are resampled within cells. IQM: mean of the middle half"]
    if left:
        notes.append(f"Cells without some of the algorithms are left out for all: {'; '.join(left)}")
    missing = [name for name in algorithms if name not in scores]
    return (*notes, *([f"Without any result: {', '.join(missing)}"] if missing else []))


def _overall(cells: Sequence[Cell], aggregates: SuiteLevel) -> tuple[tuple[TableCell, ...], ...]:
    rows = []
    for name in aggregates.means:
        finals = [(c.reporting, c.arms[name].final) for c in cells]
        solved = sum(int(reporting.passed(values, reporting.solved).sum()) for reporting, values in finals)
        runs = sum(len(values) for _, values in finals)
        share = {"count": solved, "estimate": numbers_of(rate_of(solved, runs))}
        rows.append((*score_cells(name, aggregates), TableCell(f"{solved}/{runs}", data=share)))
    return tuple(rows)


def score_cells(name: str, aggregates: SuiteLevel) -> tuple[TableCell, TableCell, TableCell]:
    """An arm, the mean of its scores and their interquartile mean."""
    mean, iqm = aggregates.means[name], aggregates.iqms[name]
    return (
        TableCell(name),
        TableCell(score_text(mean), name in aggregates.tied, name == aggregates.leader, {"estimate": numbers_of(mean)}),
        TableCell(score_text(iqm), data={"estimate": numbers_of(iqm)}),
    )


def score_text(estimate: SuiteEstimate) -> str:
    """`0.953 [0.937, 0.967]`, or why there is none."""
    if estimate.value is None:
        return estimate.reason
    interval = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}" + (f" ({estimate.reason})" if estimate.reason else "")


def score_pair(pair: Pair, test: SuiteTest) -> tuple[TableCell, ...]:
    """A row of a table of tests over all tasks."""
    c = test.comparison
    texts = (
        *pair, difference_text(c.difference, c.low, c.high), share_text(c.better, None, None), p_text(c.p),
        p_text(test.adjusted), str(test.family) if c.p is not None else "", test.verdict(),
    )  # fmt: skip
    data = {**numbers_of(c), "adjusted": test.adjusted, "family": test.family}
    return (*(TableCell(t) for t in texts[:-1]), TableCell(texts[-1], data=data))


def _signature(suite: str, cells: Sequence[Cell], shared: int, aggregates: SuiteLevel, options: ReportOptions) -> str:
    seeds = seed_ranges(sorted({s for c in cells for a in c.arms.values() for s in a.seeds}))
    tested = [t.comparison.test for t in aggregates.tests.values() if t.comparison.p is not None]
    return "|".join([
        f"tpobench {__version__}", f"suite:{suite}", f"metric:score/{shared}cells", f"seeds:{seeds}",
        "ci:stratified-bootstrap95", f"test:{'+'.join(sorted(set(tested))) or 'none'}", f"adj:holm/{len(tested)}",
        f"B:{RESAMPLES}", f"rng:{SEED}", f"diverged:{options.diverged}",
    ])  # fmt: skip
