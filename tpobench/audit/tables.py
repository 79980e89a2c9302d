"""The tables of an audit: every algorithm with its intervals, every pair tested, and scores over all tasks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from tpobench import __version__
from tpobench.audit.checks import Pair
from tpobench.audit.runs import SHARE, Run, Runs
from tpobench.report.model import Table, TableCell
from tpobench.report.overall import score_pair, score_text
from tpobench.report.tables import comparison_cells
from tpobench.scores.cells import rule_order
from tpobench.scores.estimates import SEED
from tpobench.stats.compare import Comparison, adjust, compare_all, tie_group
from tpobench.stats.estimate import RESAMPLES, Estimate, iqm_estimate, mean_estimate, median_estimate, tail_estimate
from tpobench.stats.guard import Floats
from tpobench.stats.multiplicity import holm
from tpobench.stats.outcomes import compare_rates
from tpobench.stats.suite_level import (
    Reference,
    SuiteComparison,
    shared_tasks,
    suite_compare,
    suite_estimate,
)
from tpobench.stats.texts import interval_note, mean_text, seeds_text

HEADER = ("Algorithm", "n", "Mean [95% CI]", "Median [95% CI]", "IQM [95% CI]", "CVaR25 [95% CI]")
PAIRS = (
    "Task", "A", "B", "Seeds", "A − B [95% CI]", "P(A better) [95% CI]", "p", "Holm p", "Least p", "Tests", "A is",
)  # fmt: skip
OVERALL = ("Algorithm", "Score ↑, mean [95% CI]", "Score ↑, IQM [95% CI]")
OVERALL_PAIRS = ("A", "B", "A − B [95% CI]", "P(A better)", "p", "Holm p", "Tests", "A is")


def compare_task(runs: Runs, task: str, *, paired: bool) -> dict[Pair, Comparison]:
    """Every pair of algorithms with results as a report compares them: lower better, adjusted by Holm over the task."""
    arms = {n: runs.of(task, n) for n in sorted(runs.algorithms, key=rule_order)}
    arms = {n: own for n, own in arms.items() if own}
    values = {n: {r.seed: runs.scale.sign * float(r.value or 0.0) for r in own} for n, own in arms.items()}
    found = compare_all(values, seed=SEED, schemes=dict.fromkeys(arms, "as given" if paired else ""))
    lost = {n: sum(r.diverged for r in own) for n, own in arms.items()}
    for (a, b), c in found.items():
        n, m = len(arms[a]), len(arms[b])
        if (lost[a] == n) != (lost[b] == m):  # no spread to test with: counts are what can be compared
            rates = compare_rates(lost[a], n, lost[b], m)
            found[a, b] = replace(rates, difference=c.difference, better=c.better)
    return adjust(found)


def _oriented(runs: Runs, own: Sequence[Run]) -> Floats:
    return runs.scale.sign * np.array([r.value for r in own], dtype=np.float64)


def task_table(runs: Runs, task: str, tests: Mapping[Pair, Comparison], signature: str) -> Table:
    """One task: algorithms down, statistics across; bold is the best and all that cannot be told from it."""
    names = [n for n in runs.algorithms if runs.of(task, n)]
    scores = {n: (float(_oriented(runs, runs.of(task, n)).mean()),) for n in names}
    leader, tied = tie_group(scores, tests, failed=runs.lost(task)) if len(names) > 1 else ("", ())
    body = [_row(runs, task, n, best=n in tied, leader=n == leader) for n in runs.algorithms]
    arrow = "↓" if runs.scale.lower else "↑"
    return Table(
        f"task-{task}", f"{task}: {runs.scale.metric} {arrow}", HEADER, tuple(body), signature,
        tuple(_notes(runs, task, names)),
    )  # fmt: skip


def _row(runs: Runs, task: str, name: str, *, best: bool, leader: bool) -> tuple[TableCell, ...]:
    own = runs.of(task, name)
    if not own:
        return (TableCell(name), TableCell("0"), TableCell("missing"), *(TableCell("") for _ in range(3)))
    x, lost = runs.values(task, name), sum(r.diverged for r in own)
    mean = mean_estimate(x, rng=np.random.default_rng(SEED))
    text = mean_text(mean, diverged=lost, worst=runs.scale.worst.get(task))
    others = [median_estimate(x), iqm_estimate(x, rng=np.random.default_rng(SEED)), tail_of(runs, x)]
    cells = [TableCell(_text(e), data={"estimate": asdict(e)}) for e in others]
    data = {"estimate": asdict(mean), "diverged": lost}
    return (TableCell(name), TableCell(str(len(x))), TableCell(text, best, leader, data), *cells)


def _text(found: Estimate) -> str:
    """As `mean_text`; a statistic of too few seeds says so."""
    return found.reason if found.value is None else mean_text(found)


def tail_of(runs: Runs, values: Floats) -> Estimate:
    """CVaR25 in the file's own direction: the mean of the worst quarter."""
    sign = runs.scale.sign
    found = tail_estimate(sign * values, rng=np.random.default_rng(SEED))
    if sign > 0 or found.value is None:
        return found
    value, low, high = (None if v is None else 0.0 - v for v in (found.value, found.high, found.low))  # no -0.0
    return replace(found, value=value, low=low, high=high)


def _notes(runs: Runs, task: str, names: Sequence[str]) -> list[str]:
    notes = []
    for n in names:
        own = runs.of(task, n)
        kept = np.array([r.value for r in own if not r.diverged], dtype=np.float64)
        if 0 < len(kept) < len(own):
            without = mean_text(mean_estimate(kept, rng=np.random.default_rng(SEED)))
            notes.append(f"{n}: without the {len(own) - len(kept)} diverged {without}")
        if len(own) == 1:
            notes.append("1 seed: no uncertainty")
        elif note := interval_note(runs.values(task, n)):
            notes.append(f"{n}: {note.removesuffix('; try --ci studentized')}")
    return list(dict.fromkeys(notes))


def pairs_table(runs: Runs, tests: Mapping[str, Mapping[Pair, Comparison]], signature: str) -> Table:
    """A against B in every task, in the file's own direction."""
    body = [_pair(runs, task, pair, c) for task, found in tests.items() for pair, c in found.items()]
    return Table("tests", "Pairwise tests", PAIRS, tuple(body), signature)


def _pair(runs: Runs, task: str, pair: Pair, c: Comparison) -> tuple[TableCell, ...]:
    shown = as_shown(runs, c)
    n, m = (len(runs.of(task, name)) for name in pair)
    seeds = seeds_text((n, m), common=c.runs[0] if c.test == "sign-flip" else None)
    return comparison_cells((task, *pair, seeds), shown, c.verdict())


def as_shown(runs: Runs, c: Comparison) -> Comparison:
    """Difference and interval in the file's own direction."""
    if runs.scale.lower:
        return c
    difference, low, high = (None if v is None else 0.0 - v for v in (c.difference, c.high, c.low))
    return replace(c, difference=difference, low=low, high=high)


def overall(runs: Runs, signature: str) -> tuple[list[Table], str, dict[Pair, Comparison]]:
    """Scores over the tasks that all algorithms have, against fixed references; or why there are none."""
    values = {n: {t: runs.values(t, n) for t in runs.tasks if runs.of(t, n)} for n in runs.algorithms}
    shared, left = shared_tasks(values)
    ends = {t: runs.scale.reference(t) for t in shared}
    references = {t: r for t, r in ends.items() if r is not None}
    why = _why_no_score(runs, shared, references)
    if why or len(runs.tasks) < 2:
        return [], why, {}
    within = {n: {t: own[t] for t in sorted(shared)} for n, own in values.items()}
    raw = {
        (a, b): suite_compare(within[a], within[b], references, rng=np.random.default_rng(SEED))
        for a, b in itertools.combinations(sorted(within, key=rule_order), 2)
    }
    views = _adjusted(raw)
    note = "Score: 1 at --best, 0 at --worst, the same for every algorithm; tasks weigh the same"
    notes = (note, *([f"Left out for all, because some algorithm lacks them: {', '.join(left)}"] if left else []))
    body = _scores(within, references, views)
    tables = [Table("overall", f"Over {len(shared)} tasks", OVERALL, body, signature, notes)]
    if raw:
        rows = tuple(score_pair(pair, raw[pair], views[pair]) for pair in raw)
        title = f"Pairwise tests over {len(shared)} tasks"
        tables.append(Table("tests-overall", title, OVERALL_PAIRS, rows, signature))
    return tables, "", views


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


def _adjusted(raw: Mapping[Pair, SuiteComparison]) -> dict[Pair, Comparison]:
    """Each pair with its Holm-adjusted p, lower better as everywhere else."""
    adjusted, family = holm([c.p for c in raw.values()]), sum(c.p is not None for c in raw.values())
    return {
        pair: Comparison(
            c.status, c.reason, (c.runs, c.runs), None if c.difference is None else -c.difference, better=c.better,
            p=c.p, adjusted=q, family=family, test=c.test, smallest=c.smallest,
        )
        for (pair, c), q in zip(raw.items(), adjusted, strict=True)
    }  # fmt: skip


def _scores(
    within: Mapping[str, Mapping[str, Floats]], references: Mapping[str, Reference], views: Mapping[Pair, Comparison]
) -> tuple[tuple[TableCell, ...], ...]:
    means = {n: suite_estimate(own, references, rng=np.random.default_rng(SEED)) for n, own in within.items()}
    ranked = {n: (-e.value,) for n, e in means.items() if e.value is not None}
    leader, tied = tie_group(ranked, views) if len(ranked) > 1 else ("", ())
    rows = []
    for n, own in within.items():
        iqm = suite_estimate(own, references, rng=np.random.default_rng(SEED), statistic="iqm")
        mean = TableCell(score_text(means[n]), n in tied, n == leader, {"estimate": asdict(means[n])})
        rows.append((TableCell(n), mean, TableCell(score_text(iqm), data={"estimate": asdict(iqm)})))
    return tuple(rows)


def signature_of(name: str, runs: Runs, tests: Mapping[str, Mapping[Pair, Comparison]], what: str = "") -> str:
    """How the numbers of the tasks in `tests` came about: `tpobench 0.1.0|audit:x.csv|metric:return|...`."""
    found = [c for each in tests.values() for c in each.values()]
    families = sorted({c.family for c in found if c.p is not None}) or [0]
    used = sorted({c.test for c in found if c.test}) or ["none"]
    arms = [len(runs.of(t, n)) for t in tests for n in runs.algorithms if runs.of(t, n)]
    least, most = min(arms, default=0), max(arms, default=0)
    interval = sorted({"t95" if n < 10 else "bca-exp95" for n in arms if n > 2}) or ["none"]
    value = "as given" if not runs.stepped else f"last{runs.window}" if runs.window else f"last{SHARE:.0%}"
    return "|".join([
        f"tpobench {__version__}", f"audit:{name}", f"metric:{runs.scale.metric}", f"value:{value}",
        f"better:{'lower' if runs.scale.lower else 'higher'}", f"n:{least}" + (f"-{most}" if most > least else ""),
        f"pair:{'yes' if 'sign-flip' in used else 'no'}",
        *([what] if what else
          [f"ci:{'+'.join(interval)}", f"test:{'+'.join(used)}", f"adj:holm/{'+'.join(map(str, families))} per task"]),
        f"B:{RESAMPLES}", f"rng:{SEED}", "diverged:worst",
    ])  # fmt: skip
