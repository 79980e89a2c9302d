"""Every reader of a final window takes each run's own last recorded points, and a diverged run at the worst value."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import REPORTING, record

from tpobench.check.evidence import Runs, measures_of
from tpobench.lint.model import ResultSet, cells_of
from tpobench.paper.claim import AREA, FINAL
from tpobench.paper.sample import sample
from tpobench.planning.levels import outcome_of
from tpobench.report.rows import make_rows
from tpobench.scores.cells import final_values, read_cells, scored_curves
from tpobench.scores.options import ReportOptions
from tpobench.scores.scalars import scalar_of, scalars_of
from tpobench.scores.sides import algorithm_side
from tpobench.suites.search import Search

SCORING = {**REPORTING, "window": 2, "thresholds": [0.1], "persist": 2, "solved": 0.05}
# Runs of one rule: whole; measured at every second evaluation only; shorter than the others, and than the window; lost
# within the window, and right after the last evaluation.
RUNS = [
    ([0.9, 0.8, 0.5, 0.09, 0.04, 0.02], "ok", 0.03),
    ([0.9, None, 0.06, None, 0.02, None], "ok", 0.04),
    ([0.9, 0.08, 0.06], "ok", 0.07),
    ([0.3], "ok", 0.3),
    ([0.9, 0.04, 0.02, 0.01, 0.01, None], "diverged", 1.0),
    ([0.9, 0.04, 0.02, 0.01, 0.01, 0.01], "diverged", 1.0),
]
FINALS = [final for _, _, final in RUNS]


@pytest.fixture(name="runs")
def runs_fixture():
    return [
        record("tpo", seed, error, status=status, reporting=SCORING, cell={"length": 4})
        for seed, (error, status, _) in enumerate(RUNS)
    ]


@pytest.fixture(name="cell")
def cell_fixture(runs):
    return read_cells(runs)[0]["simulated"][0]


def by_seed(runs):
    """As `check` has them."""
    return Runs({r.spec["seed"]: r for r in runs})


def test_final_values_are_those_of_each_run_alone_for_every_reader(runs, cell):
    """Records, report, compare, check, lint, search and claims: .03, .04, .07, .3, and 1 twice."""
    arm = cell.arms["tpo"]
    (entry,) = algorithm_side(runs, "tpo").entries.values()
    (linted,) = cells_of(ResultSet("r", tuple(runs)))
    search = Search(axis="length", easiest=4, hardest=8, learned=0.05)
    specs = [type("Spec", (), {"run_id": r.id}) for r in runs]
    readers = {
        "records": final_values(runs),
        "report": arm.final.tolist(),
        "compare": scalar_of("final", cell.reporting, 6).values(arm).tolist(),
        "check": list(measures_of(by_seed(runs))[0].values(by_seed(runs)).values()),
        "lint": linted.arms["tpo"].final.tolist(),
        "claims": list(sample(entry, FINAL).values.values()),
    }
    for name, values in readers.items():
        assert values == pytest.approx(FINALS), name
    row = make_rows([cell], scalars_of(cell.reporting, 6)[0], ["tpo"], ReportOptions())[0]
    assert row.entries["tpo"].data["solved"]["count"] == 2
    assert outcome_of(specs, {r.id: r for r in runs}, search).learned == 2


def test_times_and_areas_are_those_of_each_run_alone(runs, cell):
    """Below .1 twice in a row from updates 30, 20 and 10; a point that was not taken is no evaluation."""
    arm = cell.arms["tpo"]
    expected = [30.0, 20.0, 10.0, np.inf, np.inf, np.inf]
    assert arm.times(0.1).tolist() == expected
    steps = next(m for m in measures_of(by_seed(runs)) if m.kind == "steps")
    assert list(steps.values(by_seed(runs)).values()) == [30.0, 20.0, 10.0, 0.0, 50.0, 50.0]  # at most the budget
    assert list(steps.failed(by_seed(runs)).values()) == [False] * 3 + [True] * 3
    # Trapezoids over the run's own steps: (.48 + .04) / 2 over two spans of 20, (.49 + .07) / 2 over two of 10.
    area = scalar_of("area", cell.reporting, 6).values(arm)
    assert area[1:3].tolist() == pytest.approx([(0.48 + 0.04) / 2, (0.49 + 0.07) / 2])
    (entry,) = algorithm_side(runs, "tpo").entries.values()
    assert list(sample(entry, AREA).values.values()) == pytest.approx(area.tolist())


def test_curves_are_drawn_where_every_run_that_lasted_was_measured():
    """Neither a point that was not taken nor the end of a shorter run is drawn at the worst value."""
    runs = [record("tpo", seed, error, status=status) for seed, (error, status, _) in enumerate(RUNS[:3] + RUNS[4:5])]
    arm = read_cells(runs)[0]["simulated"][0].arms["tpo"]
    common, curves = scored_curves(arm, "error", 1.0)
    assert common.tolist() == [True, False, True, False, False, False]
    assert curves.tolist() == [[0.9, 0.5], [0.9, 0.06], [0.9, 0.06], [0.9, 0.02]]


def test_a_run_without_a_recorded_point_scores_the_worst_value():
    """It has a curve, of which nothing was taken."""
    run = record("tpo", 0, [None, None], reporting=SCORING)
    arm = read_cells([run, record("tpo", 1, [0.5, 0.1], reporting=SCORING)])[0]["simulated"][0].arms["tpo"]
    assert final_values([run])[0] == arm.final[0] == 1.0
