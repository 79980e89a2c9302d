"""Every verb that reads records does work in proportion to their number: calls are counted, nothing is timed."""

import dataclasses
import gc
import sys
import weakref
from datetime import UTC, datetime, timedelta

import pytest
from harness_helpers import document

import tpobench.records.store
from tpobench.check import candidate_of, gate_cells, read_baseline
from tpobench.execution.assemble import assemble
from tpobench.execution.estimate import plan_table
from tpobench.lint import ResultSet, lint_sets
from tpobench.planning.plan import plan_runs
from tpobench.records.merge import merge
from tpobench.records.results import Results
from tpobench.records.store import Store, write_packed
from tpobench.report import ReportOptions, make_report
from tpobench.report.document import document_of
from tpobench.suites.load import build_suite
from tpobench.tables.markdown import markdown
from tpobench.training.loop import Measurement

SEEDS, POINTS = 2, 4


def plan(cells):
    """Two rules and two seeds in each cell."""
    grid = {"arms": list(range(2, 2 + cells))}
    return plan_runs(build_suite("tiny", document(algorithms=["tpo", "dg"], seeds=SEEDS, grid=grid), "x"))


def records(cells):
    """A run every two minutes, seed after seed: after each the table could have been looked at."""
    made = plan(cells)
    found = []
    for job in made.jobs():
        errors = [
            tuple(1 / (1 + step + seed + len(job.specs[0].algorithm)) for seed in job.seeds) for step in range(POINTS)
        ]
        found += assemble(job, [Measurement(i, i, i, "error", e) for i, e in enumerate(errors)], made.suite.reporting)
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        dataclasses.replace(
            r, cost={"wall_s": 1.0}, provenance={"started_utc": (when + i * timedelta(minutes=2)).isoformat()}
        )
        for i, r in enumerate(sorted(found, key=lambda r: r.spec["seed"]))
    ]


def calls(work):
    """Functions called, those of C included."""
    count = 0

    def seen(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def verbs(folder, cells):
    """What the commands do with the records of so many cells; each is called first, so that nothing is met new."""
    made, suite = records(cells), plan(cells)
    store, packed = Store(folder / "runs"), folder / "all.jsonl"
    for r in made:
        store.write(r)
    write_packed(packed, made)
    for i in range(3):
        write_packed(folder / f"part{i}.jsonl", made[i::3])
    parts = [folder / f"part{i}.jsonl" for i in range(3)]
    return {
        "plan": lambda: plan(cells).jobs(),
        "plan table": lambda: plan_table(suite, {r.id: r for r in made}, suite.jobs()),
        "status": store.known,
        "lint": lambda: lint_sets([ResultSet("all", tuple(made))]),
        "report": lambda: markdown(document_of(make_report(Results(tuple(made)), options=ReportOptions(ci="t")))),
        "merge": lambda: merge(parts, folder / "merged.jsonl"),
        "pack": lambda: write_packed(packed, made),
        "check": lambda: checked(packed),
    }


def checked(packed):
    """Each cell of a baseline beside the same records."""
    base = read_baseline(packed)
    return gate_cells(base, candidate_of(base, base.records))


VERBS = ("plan", "plan table", "status", "lint", "report", "merge", "pack", "check")


@pytest.mark.parametrize("verb", VERBS)
def test_four_times_the_records_take_four_times_the_calls(verb, tmp_path):
    """16 and 64 records of 4 and of 16 cells, after a first call that imports and remembers what it needs."""
    counts = []
    for cells in (16, 4, 16):
        folder = tmp_path / str(len(counts))
        counts.append(calls(verbs(folder, cells)[verb]))
    assert counts[2] <= 4.4 * counts[1]


def test_a_command_reads_each_record_once(tmp_path, monkeypatch, command_line):
    """`status`, `report` and `check` parse as many records as there are."""
    parsed = []
    parse = tpobench.records.store.parse_record
    monkeypatch.setattr("tpobench.records.store.parse_record", lambda *words: parsed.append(1) or parse(*words))
    for r in (made := records(3)):
        Store(tmp_path / "runs").write(r)
    write_packed(tmp_path / "base.jsonl", made)
    for sets, words in (
        (1, "status runs"), (1, "report runs --figures none"), (2, "check runs --baseline base.jsonl --no-run"),
    ):  # fmt: skip
        parsed.clear()
        assert command_line(*words.split())[0] in {0, 4}  # too few seeds to check by
        assert len(parsed) == sets * 3 * 2 * SEEDS


@pytest.mark.parametrize(
    "words",
    ["status runs", "report runs --figures none", "lint runs", "export runs --to csv --out tables", "pack runs",
     "merge runs --out all.jsonl", "check runs --baseline base.jsonl --no-run"],
)  # fmt: skip
def test_nothing_goes_through_the_records_that_a_command_holds(words, tmp_path, monkeypatch, command_line):
    """They hold no cycles: the collector of cycles starts again when the last of them is gone."""
    for r in (made := records(3)):
        Store(tmp_path / "runs").write(r)
    write_packed(tmp_path / "base.jsonl", made)
    assert command_line(*words.split())[0] in {0, 4}  # imports what it needs; too few seeds to check by
    held, searches = [], []
    parse = tpobench.records.store.parse_record

    def parsed(*given):
        record = parse(*given)
        held.append(weakref.ref(record))
        return record

    def search(phase, _):
        searches.append(phase == "start" and any(record() is not None for record in held))

    monkeypatch.setattr("tpobench.records.store.parse_record", parsed)
    gc.callbacks.append(search)
    before = gc.get_threshold()
    gc.set_threshold(20)
    try:
        command_line(*words.split(), *(["--force"] if words.startswith(("report", "export")) else []))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(search)
    assert held
    assert searches
    assert not any(searches)


def test_a_suite_of_two_thousand_cells_is_planned_and_reported():
    """One seed: 4,000 runs; the page has a line for each cell in each table, and stays below 300 bytes a line."""
    made = plan_runs(
        build_suite("tiny", document(algorithms=["tpo", "dg"], grid={"arms": list(range(2, 2002))}), "x"), None, [0]
    )
    assert len(made.specs) == 4000
    found = []
    for job in made.jobs():
        rows = [Measurement(i, i, i, "error", (1 / (1 + i),)) for i in range(2)]
        found += assemble(job, rows, made.suite.reporting)
    page = markdown(document_of(make_report(Results(tuple(found)))))
    assert page.count("| arms=2001 |") == page.count("| arms=2 |") > 1
    assert len(page) < 300 * page.count("\n")
