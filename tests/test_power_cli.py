"""`power`: what the seeds at hand can tell, at the family size that the report has."""

import json

import numpy as np
import pytest
from record_helpers import record, write

import tpobench.cli.compare  # noqa: F401 - registers the verb
from tpobench.comparison import detection
from tpobench.comparison.detection import Target, detect, parse_target
from tpobench.errors import NothingToDo, UsageError
from tpobench.records.results import Results
from tpobench.stats.power import detection as detected

RNG = np.random.default_rng(5)
NOISE = {rule: RNG.normal(0.3, 0.05, 20) for rule in "abc"}


def runs(algorithm, errors, scheme="s"):
    """One run per seed."""
    return [
        record(seed, "ok", float(e), changes={"algorithm": algorithm}, provenance={"seed_scheme": scheme})
        for seed, e in enumerate(errors)
    ]


def results(*parts):
    return Results(tuple(r for part in parts for r in part))


def rows(found):
    return {row.arms: row for row in found.rows}


def test_every_rule_and_every_pair_is_judged_at_the_family_of_its_cell():
    """Three rules: three rows of their own, three pairs, a family of three."""
    found = detect(results(*(runs(rule, values[:10]) for rule, values in NOISE.items())))
    assert list(rows(found)) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c")]
    assert {row.power.family for row in found.rows} == {3}
    alone = detected(NOISE["a"][:10], rng=np.random.default_rng(0), family=3)
    assert rows(found)["a",].power == alone
    assert alone.detectable != detected(NOISE["a"][:10], rng=np.random.default_rng(0), family=1).detectable


def test_a_paired_cell_detects_more_where_seeds_agree():
    """Errors that rise and fall together: the pair detects far less than one rule's own spread would let it."""
    shared = RNG.normal(0, 0.1, 12)
    held = [runs(rule, 0.5 + shared + 0.01 * RNG.normal(size=12)) for rule in "ab"]
    pair = rows(detect(results(*held)))["a", "b"]
    assert pair.paired
    assert pair.power.detectable < 0.25 * rows(detect(results(*held)))["a",].power.detectable
    few = rows(detect(results(*(own[:9] for own in held))))["a", "b"]
    other = rows(detect(results(held[0], runs("b", 0.5 + shared, scheme="other"))))["a", "b"]
    assert (few.paired, other.paired) == (False, False)
    assert other.power.detectable > 3 * pair.power.detectable


def test_a_target_is_a_difference_or_a_share_of_the_mean():
    """`0.12` is the same for all, `25%` follows each rule."""
    assert parse_target("0.12") == Target(0.12)
    assert parse_target(" 25% ") == Target(0.25, relative=True)
    held = results(runs("a", NOISE["a"][:10]), runs("b", 2 * NOISE["b"][:10]))
    same, share = detect(held, target=Target(0.12)), detect(held, target=Target(0.25, relative=True))
    assert [row.power.target for row in same.rows] == [0.12, 0.12, 0.12]
    assert [row.power.target for row in share.rows] == [
        pytest.approx(0.25 * NOISE["a"][:10].mean()), pytest.approx(0.5 * NOISE["b"][:10].mean()),
        pytest.approx(0.25 * NOISE["a"][:10].mean()),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many", "%", ""])
def test_a_target_that_is_none_is_refused(text):
    """One line that says what would work."""
    with pytest.raises(UsageError, match=r"write a difference such as 0\.12"):
        parse_target(text)


def test_more_seeds_detect_less_and_smaller_targets_need_more():
    """Monotone both ways, and the seeds needed for what is detectable are about those at hand."""
    held = results(runs("a", NOISE["a"]))
    five, fifty = (detect(held, seeds=n).rows[0].power.detectable for n in (5, 50))
    assert fifty < 0.5 * five
    now = detect(held).rows[0].power.detectable
    needed = detect(held, target=Target(now)).rows[0].power.needed
    assert 18 <= needed <= 22
    assert detect(held, target=Target(now / 2)).rows[0].power.needed > 3 * needed


def test_what_cannot_be_estimated_says_why():
    """Two seeds, equal seeds, and too few for the family."""
    few = detect(results(runs("a", [0.1, 0.2]), runs("b", [0.3] * 10), runs("c", NOISE["c"][:4])))
    assert rows(few)["a",].text == "2 seeds: no estimate of the spread; a pilot needs 3"
    assert "identical" in rows(few)["b",].text
    assert rows(few)["c",].text.startswith("n=4: smallest possible p .029 > .017 (Holm, 3 tests): cannot reject")


def test_an_open_pair_says_how_many_seeds_its_difference_would_take():
    """0.04 of a spread of 0.05 at ten seeds is not enough; without a target the observed difference is one."""
    values = NOISE["a"][:10] - NOISE["a"][:10].mean()
    pair = rows(detect(results(runs("a", 0.3 + values), runs("b", 0.34 - values, scheme="t"))))["a", "b"]
    assert pair.observed == pytest.approx(-0.04)
    assert pair.expected.needed > 10
    assert pair.text.endswith(f"; {pair.expected.needed} seeds for the observed 0.04")
    assert (pair.power.target, pair.power.needed) == (None, None)


@pytest.mark.slow
def test_several_processes_find_the_same(monkeypatch):
    """Each detection is a function of its own numbers."""
    held = results(*(runs(rule, values[:10]) for rule, values in NOISE.items()))
    serial = detect(held)
    monkeypatch.setattr(detection, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(detection, "cores", lambda: 2)
    assert detect(held) == serial


def test_the_lines_are_those_of_the_design(command_line, tmp_path):
    """`with 20 seeds this cell detects >= 5.5; 16 seeds for 6.0` in percent, rules before pairs, the signature last."""
    write(tmp_path / "one", *runs("a", NOISE["a"]), *runs("b", NOISE["b"]))
    code, out, err = command_line("power", "one", "--mde", "0.06")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[3] == "tiny, bandit (family of 1)"
    found = detect(results(runs("a", NOISE["a"]), runs("b", NOISE["b"])), target=Target(0.06)).rows
    p = found[0].power
    assert lines[4].split("  ")[0] == "algorithm or pair"
    assert lines[5].endswith(f"  with 20 seeds this cell detects >= {100 * p.detectable:.1f}; {p.needed} seeds for 6.0")
    assert [line.split("  ")[0] for line in lines[5:8]] == ["a", "b", "a - b"]
    assert "metric:final1|pilot seeds:0-19|power:0.8|alpha:0.05|adj:holm/1" in lines[-1]
    code, out, _ = command_line("power", "one", "--json", "--algos", "b")
    (row,) = json.loads(out)["detections"]
    assert (row["arms"], row["power"]["runs"], row["power"]["family"]) == (["b"], 20, 1)


def test_mistakes_are_one_line(command_line, tmp_path):
    """What, where, what would work."""
    write(tmp_path / "one", *runs("a", NOISE["a"]))
    write(tmp_path / "none", record(0, "failed", changes={"algorithm": "a"}))
    for words, code, said in (
        (["one", "--target", "x"], 2, "--target x: write a difference such as 0.12"),
        (["one", "-m", "steps"], 2, "unknown metric 'steps'; valid: area, final"),
        (["one", "-a", "b"], 2, "unknown algorithm 'b' in the results; valid: a"),
        (["nowhere"], 4, "no results at nowhere"),
        (["none"], 4, "no finished run to learn the spread from"),
    ):
        got, out, err = command_line("power", *words)
        assert (got, out, err.count("\n")) == (code, "", 1)
        assert said in err
    with pytest.raises(NothingToDo):
        detect(results([record(0, "failed", changes={"algorithm": "a"})]))
