"""A value printed as the threshold is not below it, for whoever asks: check, report, compare, lint, search."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import REPORTING, record

from tpobench.check.evidence import Runs, measures_of
from tpobench.lint import ResultSet, lint_sets
from tpobench.lint.outcomes import misleading
from tpobench.planning.levels import outcome_of
from tpobench.report.breaking_point import searched
from tpobench.report.details import detail_table
from tpobench.report.overall import suite_tables
from tpobench.report.rows import make_rows
from tpobench.scores.cells import read_cells
from tpobench.scores.options import ReportOptions
from tpobench.scores.reporting import Reporting
from tpobench.scores.scalars import scalar_of, scalars_of
from tpobench.stats.censored import first_crossing
from tpobench.stats.curves import below_threshold
from tpobench.suites.search import Search

# 0.05 itself, the 32-bit number nearest to it, and a mean of such values that rounding leaves a little below.
AT = [0.05, float(np.float32(0.05)), 0.05 - 1e-17, 0.05 * (1 - 2e-16)]
SEARCH = {"axis": "length", "easiest": 4, "hardest": 8, "learned": 0.05}


def runs(final, rules=("tpo",), reporting=None):
    """Two cells of three seeds that end at `final`."""
    scoring = {**REPORTING, "thresholds": [0.05], **(reporting or {})}
    return [
        record(rule, seed, [0.9] * 5 + [final] * 5, cell={"length": n}, success=0.5 / n, reporting=scoring)
        for rule in rules
        for n in (4, 8)
        for seed in range(3)
    ]


def solved(final):
    """How many of three seeds each reader takes as solved, by its name."""
    found = runs(final)
    cells = read_cells(found)[0]["simulated"]
    arm, reporting = cells[0].arms["tpo"], cells[0].reporting
    row = make_rows(cells[:1], scalars_of(reporting, 10)[0], ["tpo"], ReportOptions())[0]
    details = detail_table(cells, scalars_of(reporting, 10)[0], "", ReportOptions()).rows[0]
    overall = suite_tables("simulated", cells, ["tpo"], ReportOptions())[0].rows[0]
    search = searched(read_cells(runs(final, reporting={"search": SEARCH}))[0]["simulated"])[0]
    specs = [type("Spec", (), {"run_id": r.id}) for r in found[:3]]
    alone = Runs({r.spec["seed"]: r for r in found[:3]})
    return {
        "check": 3 - sum(measures_of(alone)[0].failed(alone).values()),
        "compare": 3 - int(scalar_of("rate", reporting, 10).values(arm).sum()),
        "report": row.entries["tpo"].data["solved"]["count"],
        "details": next(cell.data["count"] for cell in details if cell.data and "count" in cell.data),
        "suite": overall[3].data["count"] / 2,
        "breaking point": search.learned(search.cells[0], "tpo")[0],
        "search": outcome_of(specs, {r.id: r for r in found}, Search(**SEARCH)).learned,
        "steps": int(np.isfinite(first_crossing(arm.curves["error"], arm.axes["step"], 0.05, 3)).sum()),
    }


@pytest.mark.parametrize("final", AT)
def test_a_final_value_of_exactly_the_level_is_solved_for_nobody(final):
    """Every reader says 0 of 3."""
    assert set(solved(final).values()) == {0}, solved(final)


@pytest.mark.parametrize("final", [0.0, 0.0499999, 0.04999999])
def test_what_is_printed_below_the_level_is_solved_for_everybody(final):
    """Down to the seventh digit, which records have: 3 of 3."""
    assert set(solved(final).values()) == {3}, solved(final)


def codes(final):
    found = lint_sets([ResultSet("r", tuple(runs(final, ("tpo", "grpo"))))]).findings
    return {f.code.code for f in found}


def test_lint_counts_solved_runs_like_the_report():
    """L081 calls a cell solved whose runs all end below the level, not one whose runs end at it."""
    assert "L081" not in set().union(*map(codes, AT))
    assert "L081" in codes(0.04)
    assert not misleading(np.array([AT[2]] * 5 + [0.9]), Reporting(solved=0.05))  # no seed is solved
    assert misleading(np.array([0.049] * 5 + [0.9]), Reporting(solved=0.05))


def test_any_threshold_and_value_can_be_compared():
    """Infinite and beyond the range of single precision, without a warning."""
    with np.errstate(all="raise"):
        assert below_threshold([-1e300, 1e300, np.inf, -np.inf], 0.0).tolist() == [True, False, False, True]
        assert below_threshold(0.5, -np.inf) == np.False_
        assert below_threshold([1.0], 1e300).tolist() == [True]
