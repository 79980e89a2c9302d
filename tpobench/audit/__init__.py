"""`tpobench audit`: any project's table of (algorithm, task, seed, value), with the treatment of a report.

reading      files -> rows of (algorithm, task, seed, step, value)
paths        which files are read, and the names that their paths give
frames       a table in memory -> a grid of text
grids        bytes -> a grid of text
json_grids   the same of JSON
trackers     what wandb and TensorBoard download, taken apart into runs
layouts      which columns hold what
names        when two spellings are one name
numbers      numbers as people write them
directions   which way is better, from the name of a metric
choices      what the file cannot say
runs         rows -> one scalar per (algorithm, task, seed)
outcomes     one task as objects: means, tests, the leader
checks       the findings of lint that a bare table can show
tables       the tables of an audit
words        its sentences, and its document
"""

from __future__ import annotations

from tpobench import called
from tpobench.audit.checks import check
from tpobench.audit.choices import Choices, columns_of, scale_of
from tpobench.audit.frames import Source
from tpobench.audit.outcomes import losses_of, lost, outcome_of
from tpobench.audit.reading import Sheet, read_sheet
from tpobench.audit.runs import Runs, runs_of
from tpobench.audit.tables import overall, pairs_table, signature_of, task_table
from tpobench.audit.words import Audit, audit_document, verdict
from tpobench.errors import NothingToDo

__all__ = ["Audit", "Choices", "audit", "audit_document", "read_runs"]

called.install(__name__)


def read_runs(source: Source, choices: Choices) -> tuple[Sheet, Runs]:
    """The rows of a table, and the runs that they are.

    Raises:
        UsageError: the table, its columns or the options are not what is needed; one line says what would work.
        NothingToDo: no rows, or none with a value.
    """
    sheet = read_sheet(source, columns_of(choices), choices.metric)
    tasks = tuple(dict.fromkeys(row.task for row in sheet.rows))
    runs = runs_of(sheet, scale_of(choices, sheet.columns["value"], tasks), choices.window, paired=choices.paired)
    if all(r.value is None for r in runs.runs):
        msg = f"no row of {sheet.path} has a value: nothing to audit"
        raise NothingToDo(msg)
    return sheet, runs


def audit(source: Source, choices: Choices) -> Audit:
    """Findings, tables and verdicts of a file, of several, of all tables in a folder, or of a table in memory.

    Raises:
        UsageError: the table, its columns or the options are not what is needed; one line says what would work.
        NothingToDo: no rows, or none with a value.
    """
    sheet, runs = read_runs(source, choices)
    outcomes = tuple(outcome_of(runs, task) for task in runs.tasks)
    tables = [task_table(runs, outcome, signature_of(sheet.name, runs, [outcome.task])) for outcome in outcomes]
    if len(runs.algorithms) > 1:
        tables.append(pairs_table(outcomes, signature_of(sheet.name, runs, runs.tasks)))
    suite = signature_of(sheet.name, runs, runs.tasks, "ci:stratified-bootstrap95|test:stratified-perm|adj:holm")
    scores, why, level = overall(runs, suite)
    verdicts = [verdict(t, losses_of(runs.arms(t)), runs.cells[t].tests, lost(runs.arms(t))) for t in runs.tasks]
    if level is not None:
        ranked = {n: -e.value for n, e in level.means.items() if e.value is not None}
        losses = {pair: test.of_losses for pair, test in level.tests.items()}
        verdicts.append(verdict(f"over {len(runs.tasks)} tasks", ranked, losses))
    elif why:
        verdicts.append(why)
    return Audit(sheet, runs, check(runs, sheet), (*scores, *tables), tuple(verdicts), outcomes, level)
