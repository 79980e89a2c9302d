"""Algorithms put together from parts, and what a grid of them says of each part."""

import numpy as np
import pytest
import torch
from record_helpers import command, record

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.catalog import ALGORITHMS, packaged, register
from tpobench.algorithms.contract import CONTRACT, examine
from tpobench.algorithms.modifiers import MODIFIERS
from tpobench.algorithms.parts import CREDITS, FITS, expanded, parts_of
from tpobench.algorithms.trial import ask, sequences
from tpobench.cli.base import algorithms_of
from tpobench.errors import UsageError
from tpobench.records.results import Results
from tpobench.report import make_report
from tpobench.scores.cells import read_cells
from tpobench.scores.effects import effects_of


def test_a_grid_is_every_credit_with_every_fit():
    """In the order of the words; `none` is no modifier; other names stand beside a grid."""
    assert list(expanded("z,loo x clipped,ce", MODIFIERS)) == ["z-clipped", "z-ce", "loo-clipped", "loo-ce"]
    assert list(expanded("z x pg x none,icepop", MODIFIERS)) == ["z-pg", "z-pg+icepop"]
    assert algorithms_of(["tpo,grpo", "z,loo x ce"]) == ["tpo", "grpo", "z-ce", "loo-ce"]
    assert (parts_of("loo-clipped+icepop"), parts_of("grpo_trl"), parts_of("z-mine")) == (
        ("loo", "clipped", "icepop"), (), (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("z,lou x ce", "did you mean 'loo'? valid: batch"),
        ("z x clip", "did you mean 'clipped'? valid: ce"),
        ("z x ce x icepip", "did you mean 'icepop'"),
        ("z x ", "write credits x fits"),
        ("z x ce x none x none", "write credits x fits"),
    ],
)
def test_a_grid_that_is_none_is_one_clear_line(text, words):
    """With what would be right."""
    with pytest.raises(UsageError) as caught:
        list(expanded(text, MODIFIERS))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", [*(f"{c}-{f}" for c in CREDITS for f in ("clipped", "ce")), *(f"z-{f}" for f in FITS)])
def test_parts_put_together_keep_the_contract(name):
    """As any algorithm of the catalogue: every credit as an advantage and as a target, every fit."""
    assert [f for f in examine(ALGORITHMS[name], CONTRACT) if f.state != "kept"] == []


@pytest.mark.parametrize(
    ("name", "published"),
    [("loo-pg", "rloo"), ("maxrl-pg", "maxrl"), ("bessel-cispo", "cispo"), ("z-ce", "tpo")],
)
def test_parts_of_a_published_algorithm_are_that_algorithm(name, published):
    """One direction where answers have one length, which aggregations divide by; TPO's where score is reward."""
    case = sequences(ALGORITHMS["rloo"])
    weight = torch.full_like(case.groups.weight, 1 / case.groups.weight.shape[-1])
    case = case.but(mask=torch.ones_like(case.groups.mask), score=case.groups.reward, weight=weight)
    ours, theirs = (ask(ALGORITHMS[n], case).gradient for n in (name, published))
    torch.testing.assert_close(ours / ours.norm(), theirs / theirs.norm(), rtol=0, atol=1e-7)  # z divides by std + 1e-8


def test_a_name_of_parts_is_the_packages_own():
    """Any process knows it, and no algorithm of a user may have it."""
    assert packaged("z-ce+icepop")
    assert not packaged("mine-ce")
    assert "loo-clipped" in ALGORITHMS
    with pytest.raises(UsageError, match="a credit and a fit put together"):
        register(Algorithm("z-ce", CREDITS["z"], FITS["pg"]))


def runs(errors):
    return [
        record(seed, error=error, changes={"algorithm": name})
        for name, of_seeds in errors.items()
        for seed, error in enumerate(of_seeds)
    ]


ADDITIVE = {  # .1 for loo, .3 for ce, noise that all share
    name: [base + x for x in (0.0, 0.01, 0.02, 0.03, 0.01, 0.0, 0.02, 0.03, 0.01, 0.02)]
    for name, base in {"z-pg": 0.1, "loo-pg": 0.2, "z-ce": 0.4, "loo-ce": 0.5}.items()
}


def test_main_effects_are_differences_of_means_over_the_other_factor():
    """By hand: loo - z is .1, ce - pg is .3; squares .0025 and .0225 make shares of .1 and .9, and none together."""
    suites, _ = read_cells(runs(ADDITIVE))
    effects = effects_of(suites["tiny"][0])
    differences = {part: c.difference for part, c in effects.parts.items()}
    assert differences == pytest.approx(
        {("credit", "z"): -0.1, ("credit", "loo"): 0.1, ("fit", "pg"): -0.3, ("fit", "ce"): 0.3}, abs=1e-12
    )
    assert effects.means["fit", "ce"] == pytest.approx(0.45 + 0.015)
    assert {s.factor: s.value for s in effects.shares} == pytest.approx({"credit": 0.1, "fit": 0.9, "together": 0.0})
    assert all(s.low <= s.value + 1e-12 and s.value <= s.high + 1e-12 for s in effects.shares)
    verdicts = {part: c.verdict() for part, c in effects.parts.items()}
    assert verdicts[("fit", "ce")] == "worse" or "10" in str(effects.parts["fit", "ce"].reason)


def test_a_grid_with_a_hole_has_no_main_effects():
    """A part that did not meet every other would carry the effect of those that it met."""
    suites, _ = read_cells(runs({name: errors for name, errors in ADDITIVE.items() if name != "z-ce"}))
    assert effects_of(suites["tiny"][0]) is None
    suites, _ = read_cells(runs({"tpo": [0.1, 0.2], "grpo": [0.2, 0.3]}))
    assert effects_of(suites["tiny"][0]) is None


def test_a_report_of_a_grid_has_the_tables():
    """Beside all others; algorithms that are no parts may stand in the same cell."""
    report = make_report(Results(tuple(runs({**ADDITIVE, "tpo": [0.1] * 10}))))
    tables = {t.name: t for t in report.sections[0].tables}
    assert [row[2].text for row in tables["effects"].rows] == ["loo", "z", "ce", "pg"]
    assert [row[1].text for row in tables["shares"].rows] == ["credit", "fit", "together"]
    assert np.isclose(tables["shares"].rows[1][2].data["value"], 0.9)


def test_a_grid_runs_from_the_command_line(tmp_path, monkeypatch, capsys):
    """The records carry the names, and the report has the effects."""
    words = ["run", "--suite", "contexts", "--smoke", "--algos", "z,maxrl x pg,ce", "--out", tmp_path]
    words += ["--executor", "inline"]
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 0, err
    code, out, _ = command(
        monkeypatch, capsys, "report", tmp_path / "contexts-smoke", "--format", "terminal", "--figures", "none"
    )
    assert code == 0
    assert "Which half earns it" in out
