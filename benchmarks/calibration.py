"""How far the statistics of tpobench can be trusted, measured: coverage, false positives, false alarms, bugs seen.

python benchmarks/calibration.py [--quick] [--part coverage|tests|gate|bugs|unchanged]... [--test NAME] [--json FILE]
    [--docs FILE]

Prints the tables of docs/calibration.md.  --json writes the numbers (parts that are not run keep theirs), --docs puts
the tables of all numbers into a document between its markers.  --quick is a rehearsal with too few repeats to publish.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from calibration_bugs import BUGS, Bug, jobs_of, judge_bug, judge_unchanged, train
from calibration_coverage import cases, coverage, rates
from calibration_gate import gate_rates, scenarios
from calibration_tables import into_document, table
from calibration_tests import SIZES, boschloo_rates, error_rate, nulls

import tpobench
from tpobench.suites.load import load_suite

Rows = list[dict[str, Any]]
GATE = ("ci", "ci_sampled", "ci_sequence", "ci_exact", "ci_exact_sequence")


@dataclass(frozen=True)
class Size:
    """Repeats of each part."""

    coverage: int = 1000
    tests: int = 1500
    gate: int = 400
    seeds: int = 40  # of each right and each wrong algorithm
    splits: int = 100
    suites: tuple[str, ...] = GATE
    unchanged: int = 80  # seeds of each right algorithm, of which a check and its baseline take 40 each
    checks: int = 400
    processes: int = 2


QUICK = Size(coverage=10, tests=20, gate=4, splits=5, suites=("ci", "ci_exact"), checks=10)


def spread(size: Size, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
    """`function` of every item, over the processes."""
    return list(joblib.Parallel(size.processes)(joblib.delayed(function)(item, *args) for item in items))


def coverage_rows(size: Size) -> Rows:
    """Part 1."""
    return [r.as_dict() for r in [*spread(size, coverage, cases(), size.coverage), *rates()]]


def test_rows(size: Size) -> Rows:
    """Part 2."""
    exact = [r for rates_of_size in spread(size, boschloo_rates, SIZES) for r in rates_of_size]
    return [r.as_dict() for r in [*spread(size, error_rate, nulls(), size.tests), *exact]]


def renewed(size: Size, rows: Rows, test: str) -> Rows:
    """The rows of part 2, of which those of one test are made again, in the place of the old ones."""
    again = [null for null in nulls() if null.test.startswith(test)]
    place = next((i for i, row in enumerate(rows) if row["test"].startswith(test)), len(rows))
    others = [[row for row in some if not row["test"].startswith(test)] for some in (rows[:place], rows[place:])]
    return [*others[0], *(r.as_dict() for r in spread(size, error_rate, again, size.tests)), *others[1]]


def gate_rows(size: Size) -> Rows:
    """Part 3."""
    return [r.as_dict() for several in spread(size, gate_rates, scenarios(), size.gate) for r in several]


def bug_rows(size: Size, bugs: Sequence[Bug] = BUGS) -> Rows:
    """Part 4."""
    seeds = range(size.seeds)
    messages = [m for name in size.suites for m in jobs_of(load_suite(name), seeds, bugs)]
    records = [r for job in spread(size, train, messages) for r in job]
    return [row.as_dict() for bug in bugs for row in judge_bug(records, bug, seeds, size.splits)]


def unchanged_rows(size: Size) -> Rows:
    """Part 5."""
    right = [Bug("none", bug.file, bug.right, bug.right, "") for bug in {b.right: b for b in BUGS}.values()]
    suites = [s for s in map(load_suite, size.suites) if not s.report.exact]
    messages = [m for suite in suites for m in jobs_of(suite, range(size.unchanged), right)]
    records = [r for job in spread(size, train, messages) for r in job]
    return judge_unchanged(records, range(size.unchanged), size.checks)


PARTS: dict[str, Callable[[Size], Rows]] = {
    "coverage": coverage_rows, "tests": test_rows, "gate": gate_rows, "bugs": bug_rows,
    "unchanged": unchanged_rows,
}  # fmt: skip


def origin() -> dict[str, str]:
    """What the numbers were made with."""
    import numpy as np
    import scipy
    import torch

    versions = {m.__name__: str(m.__version__) for m in (np, scipy, torch, tpobench)}
    return {"python": platform.python_version(), **versions}


def main() -> None:
    """Run the parts asked for, print their tables, write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rehearsal of less than a minute")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (repeatable)")
    parser.add_argument(
        "--test", help="of part tests the rows of this test alone; the others of --json stay as they are"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--docs", type=Path, help="put the tables into this document")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = QUICK if options.quick else Size()
    size = Size(**{**vars(chosen), "processes": options.processes})
    known = options.json is not None and options.json.is_file()
    document = json.loads(options.json.read_text(encoding="utf-8")) if known else {"parts": {}}
    if options.test:
        stored = document["parts"]["tests"]
        stored["rows"] = renewed(size, stored["rows"], options.test)
        print(f"{table('tests', [r for r in stored['rows'] if r['test'].startswith(options.test)])}\n", flush=True)
        write(options.json, document)
    for part in options.part or (() if options.test else PARTS):
        begin = time.perf_counter()
        rows = PARTS[part](size)
        seconds = round(time.perf_counter() - begin)
        sizes = {"bugs": ("seeds", "splits", "suites"), "unchanged": ("unchanged", "checks")}.get(part, (part,))
        repeats = {name: vars(size)[name] for name in sizes}
        document["parts"][part] = {"seconds": seconds, "size": repeats, "origin": origin(), "rows": rows}
        print(f"{table(part, rows)}\n\n{part}: {len(rows)} rows in {seconds} s\n", flush=True)
        if options.json:
            write(options.json, document)
    if options.docs:
        parts = {name: part["rows"] for name, part in _rounded(document)["parts"].items()}
        text = options.docs.read_text(encoding="utf-8")
        options.docs.write_text(into_document(text, parts, name=options.docs), encoding="utf-8")


def write(path: Path, document: dict[str, Any]) -> None:
    """The numbers of all parts."""
    path.write_text(json.dumps(_rounded(document), indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Five digits: the last bits of a simulation say nothing, and differ between machines."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
