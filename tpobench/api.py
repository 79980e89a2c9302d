"""What a notebook calls: the commands that look and judge, on results of tpobench or a table of anybody's.

Data is what `load_results` gives, a path, or a table: a DataFrame, a dictionary for each row, or a file (.csv, .tsv,
.json).  What a table cannot say is said as in `tpobench audit`: `higher=True`, `best=1.0`, `columns={"task": "env"}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, Unpack, overload

from tpobench.audit import Audit, read_runs
from tpobench.audit import audit as audit_of
from tpobench.audit.choices import TableChoices, choices_of
from tpobench.audit.frames import Source
from tpobench.comparison import Compared, compare_algorithms, compare_sets
from tpobench.comparison.detection import Detections, Target, detect, parse_target
from tpobench.errors import UsageError
from tpobench.league.ranking import Ranking, ranking
from tpobench.records.results import Results, load_results
from tpobench.report import make_report
from tpobench.report.model import Report
from tpobench.scores.options import Diverged, ReportOptions
from tpobench.stats.estimate import Intervals

Data: TypeAlias = "Results | Source"
__all__ = ["audit", "compare", "league", "load_table", "power", "report"]

TABLES = (".csv", ".tsv", ".json")  # files of tables; .jsonl is what `pack` writes


def load_table(table: Source, *, metric: str | None = None, **choices: Unpack[TableChoices]) -> Results:
    """A table of (algorithm, task, seed, value) as results: every row, or every curve where there are steps, is a run.

    Args:
        table: a DataFrame, a dictionary for each row, or files and folders of them.
        metric: the column of values, or one of the names in a column of metrics.
        choices: lower, higher, best, worst, columns, window, paired: the options of `tpobench audit`.

    Raises:
        UsageError: the table or its choices are not what is needed; one line says what would work.
        NothingToDo: no rows, or none with a value.
    """
    _, runs = read_runs(table, choices_of(metric, choices))
    return Results(tuple(run.record for run in runs.runs))


def audit(table: Source, *, metric: str | None = None, **choices: Unpack[TableChoices]) -> Audit:
    """Everything that `tpobench audit` prints, as objects: verdicts, findings, and the numbers of every task.

    Args and Raises: as `load_table`.
    """
    return audit_of(table, choices_of(metric, choices))


@overload
def compare(data: Source, /, *, metric: str | None = None, **choices: Unpack[TableChoices]) -> Audit: ...
@overload
def compare(
    data: Data, a: str, b: str, /, *, metric: str | None = None, threshold: float | None = None,
    **choices: Unpack[TableChoices],
) -> Compared: ...  # fmt: skip
@overload
def compare(
    data: Results | str | Path, other: Results | str | Path, /, *, metric: str | None = None,
    threshold: float | None = None, algorithms: Sequence[str] = (),
) -> Compared: ...  # fmt: skip
def compare(
    data: Data,
    /,
    *sides: Data,
    metric: str | None = None,
    threshold: float | None = None,
    algorithms: Sequence[str] = (),
    **choices: Unpack[TableChoices],
) -> Audit | Compared:
    """A table's algorithms, each with each in every task; two algorithms of some data; or two sets of results.

    Args:
        data: alone, a table.
        sides: two algorithms, or the other set of results.
        metric: of results `final`, `area`, `steps` or `rate`; of a table its column of values.
        threshold: of `steps` and `rate`; the suite's last one where it is not given.
        algorithms: of two sets, only these.
        choices: of a table, as `load_table`.

    Raises:
        UsageError: there is no such algorithm or metric, or the sides cannot be compared.
        NothingToDo: they share no cell.
    """
    if not sides and not isinstance(data, Results):
        return audit(data, metric=metric, **choices)
    if len(sides) == 2 and all(isinstance(side, str) for side in sides):
        a, b = map(str, sides)
        results, scalar = _opened(data, metric, choices)
        return compare_algorithms(results, a, b, metric=scalar, threshold=threshold)
    if len(sides) == 1:
        a, b = (str(x) if isinstance(x, str | Path) else default for x, default in ((data, "A"), (sides[0], "B")))
        (before, scalar), (after, _) = (_opened(x, metric, choices) for x in (data, sides[0]))
        return compare_sets(before, after, names=(a, b), metric=scalar, threshold=threshold, algorithms=algorithms)
    msg = "name two algorithms, compare(results, 'tpo', 'grpo'), or a second set of results, compare(before, after)"
    raise UsageError(msg)


def power(
    data: Data,
    *,
    target: float | str | None = None,
    seeds: int | None = None,
    metric: str | None = None,
    algorithms: Sequence[str] = (),
    **choices: Unpack[TableChoices],
) -> Detections:
    """What differences the seeds at hand can detect, and how many seeds it takes to detect `target`.

    Args:
        data: results, or a table.
        target: a difference of the metric, or a share such as "25%" of each algorithm's mean.
        seeds: plan with so many; those at hand where it is not given.
        metric: of results `final` or `area`; of a table its column of values.
        algorithms: only these.
        choices: of a table, as `load_table`.

    Raises:
        UsageError: a target that is none, or an unknown algorithm or metric.
        NothingToDo: no finished run.
    """
    results, scalar = _opened(data, metric, choices)
    goal: Target | None = None if target is None else parse_target(str(target))
    return detect(results, target=goal, seeds=seeds, metric=scalar, algorithms=algorithms)


def league(data: Data, *, metric: str | None = None, **choices: Unpack[TableChoices]) -> Ranking:
    """Every algorithm ranked over the tasks that all have, on scores between fixed ends, with who beats whom.

    `tpobench league` plays one of its own: the same ranking, of runs as published and with learning rates tuned.

    Raises:
        UsageError: tasks without fixed ends (give best and worst), or one algorithm alone.
        NothingToDo: no finished run, or no task that all algorithms have.
    """
    return ranking(*_opened(data, metric, choices))


def report(
    results: Results | str | Path,
    *,
    ci: Intervals = "auto",
    paper_compat: bool = False,
    diverged: Diverged = "worst",
) -> Report:
    """All tables of a report; `write_report` writes them, with the figures.

    Args:
        results: what `load_results` gives, or its path.
        ci: interval of means: auto, t, bca, bca-expanded, studentized, percentile, se.
        paper_compat: the paper's conventions: last evaluation, first crossing, s.e. with ddof 0.
        diverged: worst (scored the worst value), drop (left out, counted), fail (refused).

    Raises:
        NothingToDo: no finished run.
        RunsFailed: diverged runs under `fail`.
    """
    results = results if isinstance(results, Results) else load_results(results)
    return make_report(results, ReportOptions(ci, paper_compat, diverged))


def _opened(data: Data, metric: str | None, choices: TableChoices) -> tuple[Results, str]:
    """Results, and the number of every seed that is meant; the one of a table is its value.

    Raises:
        UsageError: choices of a table beside results, which say everything themselves.
    """
    if isinstance(data, Results):
        results = data
    elif isinstance(data, str | Path) and not Path(data).name.lower().removesuffix(".gz").endswith(TABLES):
        results = load_results(data)
    else:
        return load_table(data, metric=metric, **choices), "final"
    if choices:
        msg = f"{', '.join(choices)}: for a table of your own; results of tpobench say it themselves"
        raise UsageError(msg)
    return results, metric or "final"
