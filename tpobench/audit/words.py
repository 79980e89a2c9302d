"""What an audit says in sentences, and the document of all it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench import __version__
from tpobench.audit.outcomes import Outcome
from tpobench.audit.reading import Sheet
from tpobench.audit.runs import Runs
from tpobench.lint import SEVERITIES, Checks, Finding
from tpobench.lint.document import advices
from tpobench.scores.pairing import Pair
from tpobench.scores.suite_level import SuiteLevel
from tpobench.stats.compare import Comparison, tie_group
from tpobench.tables.exports import table_data
from tpobench.tables.model import Block, Document, Glance, Heading, Legend, Lines, Table, table_of
from tpobench.tables.readable import Readable

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
STATUSES = {"failed": "missing"}  # a run of a table has no value, and nobody knows why
LEGEND = Legend(
    "the best and every algorithm not distinguishable from it (Holm over all pairs of the task, 5%)",
    "the best mean",
    "Intervals are 95%. Median, IQM (mean of the middle half) and CVaR25 (mean of the worst quarter) are over seeds.",
)


@dataclass(frozen=True)
class Audit(Readable):
    """A table's findings, verdicts, and the numbers behind them: by task, and over all tasks where they have ends."""

    sheet: Sheet
    runs: Runs
    checks: Checks
    tables: tuple[Table, ...]
    verdicts: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    overall: SuiteLevel | None

    def document(self) -> Document:
        """Verdicts, findings and tables."""
        return audit_document(self)

    def frame(self) -> pd.DataFrame:
        """Every pair of algorithms in every task, A against B."""
        import pandas as pd  # noqa: PLC0415 - an audit need not wait for it

        return pd.DataFrame([
            {"task": o.task, "a": t.a, "b": t.b, "verdict": t.verdict, **vars(t.comparison)}
            for o in self.outcomes for t in o.tests.values()
        ])  # fmt: skip


def verdict(
    place: str, scores: Mapping[str, float], tests: Mapping[Pair, Comparison], lost: Collection[str] = ()
) -> str:
    """One sentence of a task: who is best, who cannot be told from it, who is worse, and who could not be tested.

    Args:
        place: the task.
        scores: mean of each algorithm, lower better.
        tests: every pair, adjusted.
        lost: of which every run diverged.
    """
    if len(scores) < 2:
        return f"{place}: one algorithm, nothing to compare"
    best, tied = tie_group({n: (v,) for n, v in scores.items()}, tests, failed=lost)
    if not best:
        return f"{place}: no verdict, every run of every algorithm diverged"
    against = {n: tests.get((best, n)) or tests[n, best] for n in scores if n != best}
    worse = [n for n, c in against.items() if c.adjusted is not None and c.adjusted < 0.05]
    same = [n for n in tied if n != best]
    parts = [f"{best} has the best mean"]
    if worse:
        parts.append(f"better than {', '.join(worse)}")
    if same:
        parts.append(f"not distinguishable from {', '.join(same)}, which is not shown to be equal")
    reasons: dict[str, list[str]] = {}
    for n, c in against.items():
        if n in lost and n not in worse:
            reasons.setdefault("every run of it diverged", []).append(n)
        elif n not in {*worse, *same}:
            reasons.setdefault(c.reason or c.status, []).append(n)
    parts += [f"no test against {', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return f"{place}: " + "; ".join(parts)


def audit_document(audit: Audit) -> Document:
    """Verdicts, findings and tables."""
    sheet = audit.sheet
    findings: list[Block] = [*advices(audit.checks, _place)]
    blocks: list[Block] = [
        Lines((_lead(audit),)), Lines((f"Names: {'; '.join(sheet.sources)}.",)),
        Heading("Verdicts", "verdicts"), Lines(tuple(f"{v}." for v in audit.verdicts), "bullet"),
        Heading("Findings", "findings"), *(findings or [Lines(("None.",))]),
        Heading("Tables", "tables"), LEGEND, *audit.tables,
    ]  # fmt: skip
    return Document(f"Audit of {sheet.name}", tuple(blocks), _data(audit), glance=_glance(audit))


def _glance(audit: Audit) -> Glance:
    """Who is best in how many tasks, then of several tasks a row each, of one a row per algorithm."""
    counts = Counter(f.code.severity for f in audit.checks.findings)
    found = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind in SEVERITIES if (n := counts[kind]))
    notes = tuple(filter(None, (_lead(audit), f"Findings: {found}." if found else "")))
    tables = [table for table in audit.tables if table.name.startswith("task-")]
    if len(tables) == 1:
        return Glance(f"{audit.verdicts[0]}.", replace(tables[0], signature="", title=""), notes)
    bodies = [(task, *_best(table)) for task, table in zip(audit.runs.tasks, tables, strict=True)]
    leaders = Counter(name for _, name, _, tied in bodies if name and not tied).most_common()
    first = f"{', '.join(f'{name} in {n}' for name, n in leaders)} of {len(tables)} tasks" if leaders else ""
    verdict = f"Best, and told from all others: {first}." if first else "In no task is the best told from all others."
    return Glance(verdict, table_of(("task", "best", "mean [95%]", "not told from it"), bodies, "best"), notes)


def _best(table: Table) -> tuple[str, str, str]:
    """The leader of a task with its mean, and who is not told from it."""
    leader = next((row for row in table.rows if row[2].leader), None)
    tied = [row[0].text for row in table.rows if row[2].best and row is not leader]
    return ("", "", "") if leader is None else (leader[0].text, leader[2].text, ", ".join(tied))


def _lead(audit: Audit) -> str:
    runs = audit.runs
    way = "lower" if runs.scale.lower else "higher"
    return (
        f"{len(runs.runs)} runs of {len(runs.algorithms)} algorithms on {len(runs.tasks)} tasks; "
        f"{runs.scale.metric}{' in percent' if audit.sheet.percent else ''}, {way} is better"
        + (f"; a run counts by the mean of the last {_window(runs)} of its rows" if runs.stepped else "")
        + ("; seeds are words, numbered in alphabetical order" if runs.numbered else "") + "."
    )  # fmt: skip


def _window(runs: Runs) -> str:
    return "tenth" if runs.window is None else str(runs.window)


def _place(finding: Finding) -> str:
    return "; ".join(c.removeprefix("task=") for c in finding.cells)


def _data(audit: Audit) -> dict[str, Any]:
    """Everything in full precision; null is `not computable`, and a reason stands beside it."""
    runs, scale = audit.runs, audit.runs.scale
    return {
        "schema": SCHEMA,
        "tpobench": __version__,
        "file": Path(audit.sheet.path).name or audit.sheet.path,
        "names": list(audit.sheet.sources),
        "metric": scale.metric,
        "better": "lower" if scale.lower else "higher",
        "window": _window(runs) if runs.stepped else None,
        "best": dict(scale.best),
        "worst": dict(scale.worst),
        "verdicts": list(audit.verdicts),
        "findings": [f.as_dict() for f in audit.checks.findings],
        "tables": [table_data(t) for t in audit.tables],
        "runs": [
            {"algorithm": r.algorithm, "task": r.task, "seed": r.name, "value": r.value,
             "window": r.record.reporting["window"] if runs.stepped else None,
             "status": STATUSES.get(r.record.status, r.record.status)}
            for r in runs.runs
        ],
    }  # fmt: skip
