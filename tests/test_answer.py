"""What a report says first: who leads, where that cannot be told, and the seeds that would tell."""

import numpy as np
import pytest
from record_helpers import record

from tpobench.records.results import Results
from tpobench.report import make_report
from tpobench.scores.pilots import seeds_that_tell
from tpobench.scores.scalars import Scalar
from tpobench.stats.power import detection

SCHEME = {"seed_scheme": "s"}
NOISE = np.linspace(-0.04, 0.04, 10)


def runs(cell, **errors):
    """Ten seeds of each algorithm in a cell, spread evenly round its error, each in an order of its own."""
    return [
        record(seed, error=error + float(np.roll(NOISE, 3 * k)[seed]), provenance=SCHEME,
               changes={"algorithm": name, "cell": {"length": cell}})
        for k, (name, error) in enumerate(errors.items()) for seed in range(10)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def section():
    """A cell that tpo wins, one that cannot be told, and one in which nobody succeeds."""
    records = [*runs(2, tpo=0.1, grpo=0.4), *runs(4, tpo=0.21, grpo=0.2), *runs(8, tpo=0.7, grpo=0.9)]
    return make_report(Results(tuple(records))).sections[0]


def test_the_verdict_counts_the_cells(section):
    """Leaders that are told from all others, then what cannot be told; a cell without success has no verdict."""
    verdict, seeds, none = section.answer.sentences
    assert verdict == (
        "tpo leads in 1 of 3 cells; 10 seeds cannot tell who leads in 1 (error (%), at the end, lower is better)."
    )
    assert seeds.startswith("About ")
    assert none == "No verdict, since no seed of any algorithm succeeded: length=8."


def test_the_table_has_a_row_for_each_cell(section):
    """The best, who is not told from it, and the seeds that would tell; nothing is bold where nobody succeeds."""
    first, second, third = [[cell.text for cell in row] for row in section.answer.table.rows]
    assert (first[:2], first[3:5]) == (["length=2", "tpo"], ["", ""])
    assert (second[:2], second[3]) == (["length=4", "grpo"], "tpo")
    assert int(second[4]) > 10
    assert third == ["length=8", "no verdict", "", "", "", ""]
    finals = next(t for t in section.tables if t.name == "final1")
    assert [[c.best or c.leader for c in row[2:]] for row in finals.rows] == [
        [True, False],
        [True, True],
        [False, False],
    ]
    assert any(note == "No verdict, since no seed of any algorithm succeeded: length=8" for note in finals.notes)


def test_the_seeds_are_those_that_power_names(section):
    """One function says them: the seeds for the observed difference of the pair, in the family of the cell."""
    cell = next(c for c in section.cells if c.axes == {"length": 4})
    final = Scalar("final", cell.reporting)
    a, b = cell.arms["grpo"].final, cell.arms["tpo"].final
    wanted = detection(a, rng=np.random.default_rng(0), target=0.01, paired_with=b).needed
    assert seeds_that_tell(cell.arms["grpo"], cell.arms["tpo"], final, 1).needed == wanted
    assert section.answer.table.rows[1][4].text == str(wanted)


def test_one_cell_is_a_row_for_each_algorithm_the_best_first():
    """Each against the best: worse, or not told from it."""
    report = make_report(Results(tuple(runs(2, grpo=0.4, tpo=0.1, dg=0.11))))
    rows = [[cell.text for cell in row] for row in report.sections[0].answer.table.rows]
    assert [(row[0], row[2]) for row in rows] == [("tpo", "best"), ("dg", "not told from tpo"), ("grpo", "worse")]
    assert (
        report.sections[0].answer.sentences[0].startswith("tpo has the best mean, but 10 seeds cannot tell it from dg")
    )


def test_one_algorithm_alone_has_no_verdict():
    """There is nothing to compare it with."""
    report = make_report(Results(tuple(runs(2, tpo=0.1))))
    assert report.sections[0].answer.sentences == ("tpo ran alone, so that there is nothing to compare.",)
    assert report.sections[0].answer.table is None
