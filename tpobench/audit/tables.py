"""The tables of an audit: every algorithm with its intervals, every pair tested, and scores over all tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from tpobench import __version__
from tpobench.audit.outcomes import Outcome, PairTest
from tpobench.audit.runs import SHARE, Runs
from tpobench.report.overall import PAIRS, score_cells, score_pair
from tpobench.report.tables import TESTS, comparison_cells
from tpobench.scores.cells import Arm
from tpobench.scores.estimates import SEED, iqms_of, mean_of, medians_of, tails_of
from tpobench.scores.options import ReportOptions
from tpobench.scores.suite_level import SuiteLevel, suite_level
from tpobench.stats.estimate import RESAMPLES, Estimate
from tpobench.stats.suite_level import Reference, shared_tasks
from tpobench.stats.texts import interval_note, mean_text, seeds_text
from tpobench.tables.model import Table, TableCell

HEADER = ("Algorithm", "n", "Mean [95% CI]", "Median [95% CI]", "IQM [95% CI]", "CVaR25 [95% CI]")
OVERALL = ("Algorithm", "Score ↑, mean [95% CI]", "Score ↑, IQM [95% CI]")


def task_table(runs: Runs, outcome: Outcome, signature: str) -> Table:
    """One task: algorithms down, statistics across; bold is the best and all that cannot be told from it."""
    task, arms = outcome.task, runs.arms(outcome.task)
    body = [_row(n, arms.get(n), outcome) for n in runs.algorithms]
    arrow = "↓" if runs.scale.lower else "↑"
    notes = list(dict.fromkeys(note for n in runs.algorithms if n in arms for note in _notes(n, arms[n])))
    return Table(f"task-{task}", f"{task}: {runs.scale.metric} {arrow}", HEADER, tuple(body), signature, tuple(notes))


def _row(name: str, arm: Arm | None, outcome: Outcome) -> tuple[TableCell, ...]:
    if arm is None:
        return (TableCell(name), TableCell("0"), TableCell("missing"), *(TableCell("") for _ in range(3)))
    x, r, diverged = arm.final, arm.reporting, sum(arm.diverged)
    mean, best, leader = outcome.means[name], name in outcome.tied, name == outcome.leader
    text = mean_text(mean, diverged=diverged, worst=r.worst)
    others = [of([(x, r)])[0] for of in (medians_of, iqms_of, tails_of)]
    cells = [TableCell(_text(e), data={"estimate": asdict(e)}) for e in others]
    data = {"estimate": asdict(mean), "diverged": diverged}
    return (TableCell(name), TableCell(str(len(x))), TableCell(text, best, leader, data), *cells)


def _text(estimate: Estimate) -> str:
    """As `mean_text`; a statistic of too few seeds says so."""
    return estimate.reason if estimate.value is None else mean_text(estimate)


def _notes(name: str, arm: Arm) -> Iterator[str]:
    if 0 < sum(arm.diverged) < len(arm.seeds):
        without = mean_text(mean_of(arm.lasted, ReportOptions(), arm.reporting))
        yield f"{name}: without the {sum(arm.diverged)} diverged {without}"
    if len(arm.seeds) == 1:
        yield "1 seed: no uncertainty"
    elif note := interval_note(arm.reporting.loss(arm.final)):
        yield f"{name}: {note.removesuffix('; try --ci studentized')}"


def pairs_table(outcomes: Sequence[Outcome], signature: str) -> Table:
    """A against B in every task, in the file's own direction."""
    body = [_pair(outcome, test) for outcome in outcomes for test in outcome.tests.values()]
    return Table("tests", "Pairwise tests", ("Task", *TESTS[1:]), tuple(body), signature)


def _pair(outcome: Outcome, test: PairTest) -> tuple[TableCell, ...]:
    c = test.comparison
    n, m = (len(outcome.finals[name]) for name in (test.a, test.b))
    seeds = seeds_text((n, m), common=c.runs[0] if c.test == "sign-flip" else None)
    return comparison_cells((outcome.task, test.a, test.b, seeds), c, test.verdict)


def overall(runs: Runs, signature: str) -> tuple[list[Table], str, SuiteLevel | None]:
    """Scores over the tasks that all algorithms have, against fixed references; or why there are none."""
    cells = runs.cells
    values = {n: {t: c.arms[n].final for t, c in cells.items() if n in c.arms} for n in runs.algorithms}
    shared, left = shared_tasks(values)
    ends = {t: runs.scale.reference(t) for t in shared}
    references = {t: r for t, r in ends.items() if r is not None}
    why = _why_no_score(runs, shared, references)
    if why or len(runs.tasks) < 2:
        return [], why, None
    level = suite_level({n: {t: x[t] for t in sorted(shared)} for n, x in values.items()}, references)
    note = "Score: 1 at --best, 0 at --worst, the same for every algorithm; tasks weigh the same"
    notes = (note, *([f"Left out for all, because some algorithm lacks them: {', '.join(left)}"] if left else []))
    body = tuple(score_cells(n, level) for n in level.means)
    tables = [Table("overall", f"Over {len(shared)} tasks", OVERALL, body, signature, notes)]
    if level.tests:
        rows = tuple(score_pair(pair, test) for pair, test in level.tests.items())
        title = f"Pairwise tests over {len(shared)} tasks"
        tables.append(Table("tests-overall", title, PAIRS, rows, signature))
    return tables, "", level


def _why_no_score(runs: Runs, shared: Sequence[str], references: Mapping[str, Reference]) -> str:
    if len(runs.tasks) < 2:
        return ""
    if len(shared) < 2:
        return "no score over all tasks: fewer than two tasks have results of every algorithm"
    lacking = [t for t in shared if t not in references]
    if not lacking:
        return ""
    return (
        f"no score over all tasks: {', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no fixed ends; give "
        "--best and --worst (a number, or TASK=NUMBER). The best of the compared runs is no reference: every score "
        "would change when an algorithm is added"
    )


def signature_of(name: str, runs: Runs, tasks: Sequence[str], what: str = "") -> str:
    """How the numbers of some tasks came about: `tpobench 0.1.0|audit:x.csv|metric:return|...`."""
    cells = [runs.cells[t] for t in tasks]
    comparisons = [c for cell in cells for c in cell.tests.values()]
    families = sorted({c.family for c in comparisons if c.p is not None}) or [0]
    used = sorted({c.test for c in comparisons if c.test}) or ["none"]
    counts = [len(arm.seeds) for cell in cells for arm in cell.arms.values()]
    least, most = min(counts, default=0), max(counts, default=0)
    interval = sorted({"t95" if n < 10 else "bca-exp95" for n in counts if n > 2}) or ["none"]
    value = "as given" if not runs.stepped else f"last{runs.window}" if runs.window else f"last{SHARE:.0%}"
    return "|".join([
        f"tpobench {__version__}", f"audit:{name}", f"metric:{runs.scale.metric}", f"value:{value}",
        f"better:{'lower' if runs.scale.lower else 'higher'}", f"n:{least}" + (f"-{most}" if most > least else ""),
        f"pair:{'yes' if 'sign-flip' in used else 'no'}",
        *([what] if what else
          [f"ci:{'+'.join(interval)}", f"test:{'+'.join(used)}", f"adj:holm/{'+'.join(map(str, families))} per task"]),
        f"B:{RESAMPLES}", f"rng:{SEED}", "diverged:worst",
    ])  # fmt: skip
