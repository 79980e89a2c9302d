"""Two arms are paired, tested and, where no test can be made, counted in one way, whoever asks and in either order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from simulated import REPORTING, record

from tpobench.audit import Choices, audit
from tpobench.comparison import compare_algorithms
from tpobench.lint.model import ResultSet, cells_of
from tpobench.lint.seeds import powerless
from tpobench.records.results import Results
from tpobench.report import make_report
from tpobench.scores.cells import read_cells
from tpobench.scores.pairing import PAIRED, compare_arms, compare_families, compare_family, pairing
from tpobench.scores.scalars import scalar_of, scalars_of

SCORING = {**REPORTING, "window": 2, "persist": 2, "thresholds": [0.3, 0.1], "solved": 0.2}
KINDS = ("final", "area", "steps", "rate")


def runs(rule, finals, *, lost=(), steps=8, **fields):
    """Falls from .9 to the final value of each seed, later for larger ones."""
    made = []
    for seed, final in enumerate(finals):
        late = 2 + int(4 * final)
        error = [0.9 if k < late else float(final) for k in range(steps)]
        status = "diverged" if seed in lost else "ok"
        error = [None if seed in lost and k > 3 else e for k, e in enumerate(error)]
        made.append(record(rule, seed, error, status=status, reporting=SCORING, **fields))
    return made


def finals(seed, mean, n=12):
    return np.round(np.random.default_rng(seed).uniform(mean - 0.08, mean + 0.08, n), 3)


def arms(*parts):
    (cell,) = read_cells([r for part in parts for r in part])[0]["simulated"]
    return cell.arms


CASES = {
    "paired": (runs("a", finals(1, 0.2)), runs("b", finals(2, 0.25))),
    "other seeds": (runs("a", finals(1, 0.2)), runs("b", finals(2, 0.25, n=9))),
    "one never lasted": (runs("a", finals(1, 0.2)), runs("b", finals(2, 0.2), lost=range(12))),
    "neither lasted": (runs("a", finals(1, 0.2), lost=range(12)), runs("b", finals(2, 0.2), lost=range(12))),
    "nothing varies": (runs("a", [0.2] * 6), runs("b", [0.4] * 6)),
    "equal": (runs("a", finals(1, 0.2)), runs("b", finals(1, 0.2))),
    "one seed": (runs("a", [0.2]), runs("b", [0.4])),
    "other budgets": (runs("a", finals(1, 0.2)), runs("b", finals(2, 0.25), steps=12)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_order_of_the_arms_turns_the_comparison_and_nothing_else(case, kind):
    """p, status and reason are those of B against A; the difference changes its sign, P(A better) its side."""
    made = arms(*CASES[case])
    scalar = scalar_of(kind, made["a"].reporting, 8)
    found, back = compare_arms(made["a"], made["b"], scalar), compare_arms(made["b"], made["a"], scalar)
    assert (found.p, found.status, found.test, found.smallest) == (back.p, back.status, back.test, back.smallest)
    assert found.runs == back.runs[::-1]
    for one, other in ((found.difference, back.difference), (found.low, back.high), (found.high, back.low)):
        assert (one is None) == (other is None)
        assert one is None or one == pytest.approx(-other, abs=1e-15)
    assert found.better is None or found.better == pytest.approx(1 - back.better)


def test_a_report_a_comparison_and_an_audit_have_one_p(tmp_path):
    """Of two rules of one cell, by their final values: sign flips of the twelve common seeds."""
    a, b = CASES["paired"]
    reported = next(t for t in make_report(Results((*a, *b))).sections[0].tables if t.name == "tests-final2")
    (row,) = compare_algorithms(Results((*a, *b)), "a", "b").rows
    path = tmp_path / "x.csv"
    lines = [f"{n},cell,{s},{v!r}" for n, arm in arms(a, b).items() for s, v in arm.by_seed(arm.final).items()]
    path.write_text("\n".join(["algorithm,task,seed,value", *lines]), encoding="utf-8")
    audited = next(t for t in audit(path, Choices(lower=True, paired=True)).tables if t.name == "tests")
    numbers = ("p", "adjusted", "difference", "low", "high", "better", "test", "runs")
    expected = {k: getattr(row.comparison, k) for k in numbers}
    assert expected["test"] == "sign-flip"
    for table in (reported, audited):
        assert {k: table.rows[0][-1].data[k] for k in numbers} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_cells_compared_at_once_have_the_answers_of_each_alone(kind):
    """Of families of two and of three pairs of as many seeds, of others, and of arms without a test."""
    cells = [arms(*parts) for parts in (*CASES.values(), [*CASES["equal"], runs("c", finals(3, 0.3))])]
    scalar = scalar_of(kind, cells[0]["a"].reporting, 8)
    assert compare_families(cells, scalar) == [compare_family(cell, scalar) for cell in cells]


@pytest.mark.parametrize("kind", ["final", "area", "steps"])
def test_an_arm_of_which_no_run_lasted_is_compared_by_its_count(kind):
    """12 of 12 diverged against none: Boschloo, in a report as in a comparison, of values as of times."""
    a, b = CASES["one never lasted"]
    (row,) = compare_algorithms(Results((*a, *b)), "a", "b", metric=kind).rows
    scalar = scalar_of(kind, row.a.reporting, 8)
    found = compare_family(arms(a, b), scalar)["a", "b"]
    assert (found.test, row.comparison.test, row.verdict) == ("boschloo", "boschloo", "better")
    assert found.p == row.comparison.p == pytest.approx(2 * 0.5**24, rel=0.2)


@pytest.mark.parametrize(
    ("change", "kind", "expected"),
    [
        ({}, "final", PAIRED),
        ({}, "steps", "no: ranks and counts are compared unpaired"),
        ({"seed_scheme": ""}, "final", "no: seed_scheme unknown or mixed"),
        ({"seed_scheme": "other"}, "final",
         "no: other seed_scheme or task, so equal seeds share no random numbers"),
    ],
)  # fmt: skip
def test_the_design_decides_on_pairing(change, kind, expected):
    """One stream of random numbers and ten common seeds; the reason is said where it is not so."""
    a, b = CASES["paired"]
    b = [dataclasses.replace(r, provenance={**r.provenance, **change}) for r in b]
    made = arms(a, b)
    assert pairing(made["a"], made["b"], scalar_of(kind, made["a"].reporting, 8).test) == expected
    few = arms(a, b[:9])
    assert pairing(few["a"], few["b"]) == (expected if change else "no: 9 common seeds, pairing takes 10")


def test_lint_counts_with_the_pairing_of_the_report():
    """Ten seeds of one stream can reject by sign flips in a family that permutations of four seeds could not."""
    known = [*runs("a", finals(1, 0.2, n=10)), *runs("b", finals(2, 0.25, n=10))]
    assert not list(powerless(cells_of(ResultSet("r", tuple(known)))[0]))
    three = [*runs("a", finals(1, 0.2, n=3)), *runs("b", finals(2, 0.25, n=3))]
    assert [f.code.code for f in powerless(cells_of(ResultSet("r", tuple(three)))[0])] == ["L006"]


def test_runs_that_all_diverged_have_the_budget_of_their_suite():
    """Their curves end where they broke: times are censored at the updates that were planned."""
    broken = [record("b", s, [0.9, None], status="diverged", reporting=SCORING) for s in range(4)]
    broken = [dataclasses.replace(r, spec={**r.spec, "training": {"steps": 70}}) for r in broken]
    made = arms(runs("a", [0.2] * 4), broken)
    assert (made["a"].budget, made["b"].budget) == (70.0, 70.0)
    first = next(s for s in scalars_of(made["a"].reporting, 8) if s.kind == "steps")
    assert first.capped(made["b"]).tolist() == [70.0] * 4
