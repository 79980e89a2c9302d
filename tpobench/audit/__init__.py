"""`tpobench audit`: any project's table of (algorithm, task, seed, value), with the treatment of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tpobench.audit.checks import check
from tpobench.audit.choices import Choices, columns_of, scale_of
from tpobench.audit.reading import read_sheet
from tpobench.audit.runs import Runs, runs_of
from tpobench.audit.tables import compare_task, overall, pairs_table, signature_of, task_table
from tpobench.audit.words import Audit, audit_json, audit_markdown, verdict
from tpobench.errors import NothingToDo

__all__ = ["Audit", "Choices", "audit", "audit_json", "audit_markdown"]


def audit(paths: Path | Sequence[Path], choices: Choices) -> Audit:
    """Findings, tables and verdicts of a file, of several, or of all tables in a folder.

    Raises:
        UsageError: the files, their columns or the options are not what an audit needs; one line says what would work.
        NothingToDo: no rows, or none with a value.
    """
    sheet = read_sheet(paths, columns_of(choices), choices.metric)
    tasks = tuple(dict.fromkeys(row.task for row in sheet.rows))
    runs = runs_of(sheet, scale_of(choices, sheet.columns["value"], tasks), choices.window)
    if all(r.value is None for r in runs.runs):
        msg = f"no row of {sheet.path} has a value: nothing to audit"
        raise NothingToDo(msg)
    tests = {task: compare_task(runs, task, paired=choices.paired) for task in runs.tasks}
    tables = [
        task_table(runs, task, tests[task], signature_of(sheet.name, runs, {task: tests[task]})) for task in runs.tasks
    ]
    if len(runs.algorithms) > 1:
        tables.append(pairs_table(runs, tests, signature_of(sheet.name, runs, tests)))
    suite = signature_of(sheet.name, runs, tests, "ci:stratified-bootstrap95|test:stratified-perm|adj:holm")
    scores, why, views = overall(runs, suite)
    verdicts = [verdict(task, _means(runs, task), tests[task], runs.lost(task)) for task in runs.tasks]
    if scores:
        values = {row[0].text: row[1].data["estimate"]["value"] for row in scores[0].rows}
        ranked = {n: -v for n, v in values.items() if v is not None}
        verdicts.append(verdict(f"over {len(runs.tasks)} tasks", ranked, views))
    elif why:
        verdicts.append(why)
    checks = check(runs, sheet, tests, paired=choices.paired)
    return Audit(sheet, runs, checks, (*scores, *tables), tuple(verdicts))


def _means(runs: Runs, task: str) -> dict[str, float]:
    """Mean of each algorithm that has results, lower better."""
    return {n: float(runs.scale.sign * runs.values(task, n).mean()) for n in runs.algorithms if runs.of(task, n)}
