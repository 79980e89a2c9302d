"""Two result sets or two rules: what is compared, what is refused, and what the answer rests on."""

import json

import numpy as np
import pytest
from record_helpers import REPORTING, record, write, write_jsonl

import tpobench.cli.compare  # noqa: F401 - registers the verb
from tpobench.comparison import compare_algorithms, compare_sets
from tpobench.errors import NothingToDo, UsageError
from tpobench.records.results import Results
from tpobench.scores.pairing import compare_failures

SCHEME = "philox/1"
SCORED = {**REPORTING, "persist": 1, "solved": 0.05, "thresholds": [0.5, 0.2]}


def run(algorithm, seed, error, *, scheme=SCHEME, reporting=None, status="ok", **changes):
    """A finished run of one rule whose error goes from 0.75 to `error`."""
    return record(
        seed,
        status,
        error,
        changes={"algorithm": algorithm, **changes},
        provenance={} if scheme is None else {"seed_scheme": scheme},
        reporting=SCORED if reporting is None else {**SCORED, **reporting},
    )


def runs(algorithm, errors, **changes):
    """One run per seed."""
    return [run(algorithm, seed, float(e), **changes) for seed, e in enumerate(errors)]


def results(*parts):
    return Results(tuple(r for part in parts for r in part))


TEN = np.linspace(0.1, 0.28, 10)
CELLS = [{"length": 2}, {"length": 4}]


def test_ten_common_seeds_are_paired_and_every_number_is_as_by_hand():
    """A is 0.1 better at nine seeds: exact sign flips, the t interval of the differences, Holm over two cells."""
    differences = np.array([-0.1] * 9 + [0.02])
    found = compare_algorithms(
        results(
            runs("a", TEN + 0.3 + differences, cell=CELLS[0]), runs("b", TEN + 0.3, cell=CELLS[0]),
            runs("a", TEN, cell=CELLS[1]), runs("b", TEN[::-1], cell=CELLS[1]),
        ),
        "a",
        "b",
    )  # fmt: skip
    first, second = (row.comparison for row in found.rows)
    assert (first.test, first.runs, found.family, first.family) == ("sign-flip", (10, 10), 2, 2)
    assert first.p == pytest.approx(4 / 1024)  # the observed signs, one flip less, and both mirrored
    assert first.adjusted == pytest.approx(8 / 1024)
    assert first.smallest == pytest.approx(2 / 1024)
    assert first.difference == pytest.approx(-0.088)
    half = 2.2621571628 * differences.std(ddof=1) / np.sqrt(10)
    assert (first.low, first.high) == (pytest.approx(-0.088 - half), pytest.approx(-0.088 + half))
    assert [row.verdict for row in found.rows] == ["better", "not distinguishable"]
    assert second.correlation == pytest.approx(-1.0)
    assert second.saved == pytest.approx(-1.0)  # opposite seeds: pairing doubles the variance


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({}, {"scheme": "other"}, "other seed_scheme"),
        ({"scheme": None}, {"scheme": None}, "seed_scheme unknown"),
        ({}, {"task": {"kind": "bandit", "arms": 6, "samples": 4}}, "other seed_scheme or task"),
    ],
)
def test_other_random_numbers_are_not_paired_however_they_correlate(first, second, reason):
    """The design decides: equal errors at equal seeds change nothing."""
    found = compare_algorithms(results(runs("a", TEN, **first), runs("b", TEN + 0.01, **second)), "a", "b")
    assert found.rows[0].comparison.test == "perm-t"
    assert found.rows[0].comparison.correlation is None
    assert any(reason in note for note in found.notes)


def test_nine_common_seeds_are_too_few_to_pair_and_unequal_seeds_are_said():
    """Pairing takes ten; with twelve against ten the common ten are paired."""
    found = compare_algorithms(results(runs("a", TEN[:9]), runs("b", TEN)), "a", "b")
    assert found.rows[0].comparison.runs == (9, 10)
    assert "bandit: unequal seeds, n=9 vs 10; 9 in common, all are used" in found.notes
    assert "unpaired in 1 of 1 rows: 9 common seeds, pairing takes 10" in found.notes
    more = compare_algorithms(results(runs("a", [*TEN, 0.5, 0.6]), runs("b", TEN[::-1])), "a", "b")
    assert (more.rows[0].comparison.runs, more.rows[0].comparison.test) == ((10, 10), "sign-flip")
    assert "bandit: unequal seeds, n=12 vs 10; the 10 common ones are paired" in more.notes


@pytest.mark.parametrize("change", [{"prompts": 800, "candidates": 1}, {"kind": "tokens"}])
def test_rules_that_see_the_same_random_numbers_are_paired(change):
    """Prompts, candidates, and whether these are answers or next tokens, change no stream."""
    task = {"kind": "sequence", "length": 3, "prompts": 100, "candidates": 8}
    found = compare_algorithms(
        results(runs("a", TEN, task=task), runs("b", TEN + 0.1, task={**task, **change})), "a", "b"
    )
    assert found.rows[0].comparison.test == "sign-flip"


def test_a_set_against_itself_is_identical():
    """No test, p = 1, difference 0, for each of two rules and two cells."""
    same = results(*(runs(rule, TEN, cell=cell) for rule in ("a", "b") for cell in CELLS))
    found = compare_sets(same, same)
    assert [(row.key.algorithm, row.verdict) for row in found.rows] == [(r, "identical (bitwise)") for r in "abab"]
    assert all((row.comparison.p, row.comparison.difference) == (1.0, 0.0) for row in found.rows)
    assert found.settings == ()


def test_two_settings_are_compared_per_cell_and_rule_and_named():
    """The learning rate that was doubled stands above the table, and rules of one set only are left out by name."""
    training = {"steps": 1, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.2, "record_every": 1}
    a = results(*(runs(rule, TEN) for rule in ("a", "b")))
    b = results(runs("a", TEN / 2, training=training), runs("c", TEN, training=training))
    found = compare_sets(a, b, names=("old", "new"))
    assert [row.key.algorithm for row in found.rows] == ["a"]
    assert found.settings == ("training.learning_rate 0.1 -> 0.2",)
    assert [n for n in found.notes if "only in" in n] == [
        "only in old, left out: bandit b", "only in new, left out: bandit c"
    ]  # fmt: skip
    assert found.rows[0].verdict == "worse"


STEPS = {"epochs": 1, "optimizer": "normalized", "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reporting": {"metric": "loss"}, "curve": True}, "metric is error in old and loss in new"),
        ({"reporting": {"window": 2}}, "window is 1 in old and 2 in new"),
        ({"reporting": {"worst": 2.0}}, "worst is 1.0 in old and 2.0 in new"),
        ({"reporting": {"thresholds": [0.1]}}, "thresholds is 0.5,0.2 in old and 0.1 in new"),
        ({"training": {**STEPS, "steps": 2, "record_every": 1}}, "budget of updates is 1 in old and 2 in new"),
        ({"training": {**STEPS, "steps": 1, "record_every": 5}}, "distance of evaluations is 1 in old and 5 in new"),
        ({"suite_version": 2}, "version of the suite is 1 in old and 2 in new"),
        ({"matching": "prompts"}, "matching is any in old and prompts in new"),
    ],
)
def test_what_one_number_cannot_compare_is_refused(changes, said):
    """Another metric, window, scoring, budget, matching or version: one line with both values."""
    changes = dict(changes)
    other = runs("a", TEN, **{k: v for k, v in changes.items() if k != "curve"})
    if changes.get("curve"):
        from record_helpers import relabel

        other = [relabel(r, curve={**r.curve, "loss": r.curve["error"]}) for r in other]
    with pytest.raises(UsageError) as refusal:
        compare_sets(results(runs("a", TEN)), results(other), names=("old", "new"))
    assert str(refusal.value).startswith(f"not comparable: {said}")
    assert "\n" not in str(refusal.value)


def test_other_numbers_of_rollouts_are_refused_between_sets_only():
    """Twice the interactions is another budget; two rules of one cell are matched by what the cell declares."""
    from record_helpers import relabel

    twice = [relabel(r, curve={**r.curve, "interactions": [0, 8]}) for r in runs("b", TEN)]
    with pytest.raises(UsageError, match="rollouts of a run is 4 in A and 8 in B"):
        compare_sets(results(runs("b", TEN)), results(twice))
    assert compare_algorithms(results(runs("a", TEN), twice), "a", "b").rows[0].verdict == "identical (bitwise)"


def test_nothing_in_common_is_said():
    """Neither side's rules are in the other."""
    with pytest.raises(NothingToDo, match="no cell is in both; A holds tiny a and B holds tiny b"):
        compare_sets(results(runs("a", TEN)), results(runs("b", TEN)))


def test_rules_that_no_matching_changes_count_once():
    """Both rules are the same under prompts and interactions: one test, not two."""
    third = [r for m in ("prompts", "interactions") for r in runs("c", TEN, matching=m)]
    held = results(runs("a", TEN), runs("b", TEN + 0.1), third)
    assert [row.label for row in compare_algorithms(held, "a", "b").rows] == ["bandit"]
    assert [row.key.matching for row in compare_algorithms(held, "a", "c").rows] == ["interactions", "prompts"]
    assert len(compare_sets(held, held).rows) == 4


def test_one_seed_has_a_difference_and_no_test():
    """The reason stands where the verdict would."""
    found = compare_algorithms(results(runs("a", [0.1]), runs("b", [0.3])), "a", "b")
    c = found.rows[0].comparison
    assert (c.difference, c.p, found.family) == (pytest.approx(-0.2), None, 0)
    assert found.rows[0].verdict == "n=1: no test with 1 seed"


def test_a_family_that_no_seed_number_of_this_size_can_reject_says_so():
    """Three seeds against three reach p = .1, whatever they show."""
    found = compare_algorithms(results(runs("a", [0.1, 0.11, 0.12]), runs("b", [0.5, 0.51, 0.52])), "a", "b")
    assert found.rows[0].verdict.startswith("n=3: smallest possible p .1 > .05 (Holm, 1 test): cannot reject; need 4")


def test_an_arm_that_always_diverges_is_compared_by_counts():
    """Ten of ten against none: Boschloo, the difference of the scores kept."""
    lost = [run("b", s, None, status="diverged") for s in range(10)]
    c = compare_algorithms(results(runs("a", TEN), lost), "a", "b").rows[0].comparison
    assert c.test == "boschloo"
    assert c.p < 1e-4
    assert c.difference == pytest.approx(TEN.mean() - 1)


def test_failed_runs_are_not_scored_and_are_said():
    """A crash is no value of the metric."""
    crashed = [record(s, "crashed", changes={"algorithm": "a"}) for s in (10, 11)]
    found = compare_algorithms(results(runs("a", TEN), crashed, runs("b", TEN)), "a", "b")
    assert "a: 2 runs without a result, not scored: a seed 10 crashed, a seed 11 crashed" in found.notes
    assert len(found.rows[0].a.seeds) == 10


def test_the_interval_of_two_shares_is_newcombes():
    """56/70 against 48/80: 0.2 [0.0524, 0.3339] (Newcombe 1998, table II, method 10)."""
    c = compare_failures(np.repeat([1.0, 0.0], [56, 14]), np.repeat([1.0, 0.0], [48, 32]))
    assert (c.difference, c.low, c.high) == (
        pytest.approx(0.2), pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5)
    )  # fmt: skip
    assert (c.better, c.better_low, c.better_high) == (
        pytest.approx(0.4), pytest.approx((1 - c.high) / 2), pytest.approx((1 - c.low) / 2)
    )  # fmt: skip


def test_rate_counts_the_solved_seeds_or_those_that_reached_a_threshold():
    """Solved below 0.05 at the end: 8 of 10 against 2; reached 0.2: 10 against 2."""
    a, b = [0.01] * 8 + [0.1] * 2, [0.01] * 2 + [0.4] * 8
    held = results(runs("a", a), runs("b", b))
    solved = compare_algorithms(held, "a", "b", metric="rate")
    assert solved.measure.name == "solved0.05"
    assert solved.measure.shown(solved.rows[0].a)[0].startswith("8/10 ")
    assert solved.rows[0].comparison.difference == pytest.approx(-0.6)  # of the shares that failed
    reached = compare_algorithms(held, "a", "b", metric="rate", threshold=0.2)
    assert (reached.measure.name, reached.rows[0].comparison.difference) == ("reached0.2m1", pytest.approx(-0.8))
    assert reached.rows[0].verdict == "better"


def test_ranks_decide_who_is_faster_not_the_means():
    """A is faster at 18 of 20 seeds and never gets there at 2: more updates on average, and better by ranks."""
    steps = list(range(0, 1000, 10))

    def reaching(rule, seed, when):
        curve = {"step": steps, "interactions": steps, "gradient_steps": steps}
        error = [0.75 if s < when else 0.1 for s in steps]
        made = run(rule, seed, 0.1)
        return record(
            seed, "ok", changes={"algorithm": rule}, curve={**curve, "error": error}, reporting=made.reporting
        )

    a = [reaching("a", s, 100 if s < 18 else 2000) for s in range(20)]
    b = [reaching("b", s, 110 + 10 * (s % 3)) for s in range(20)]
    found = compare_algorithms(results(a, b), "a", "b", metric="steps")
    c = found.rows[0].comparison
    assert (found.measure.name, c.test) == ("steps0.2m1", "mann-whitney")
    assert c.difference > 0
    assert c.better == pytest.approx(0.9)
    assert (c.adjusted < 0.05, found.rows[0].verdict) == (True, "better")
    assert found.as_dict()["comparisons"][0]["a"]["seeds"]["18"] == 990.0  # the budget: censored


def test_the_suite_line_is_normalised_by_fixed_references():
    """Worst 1 scores 0, error 0 scores 1: the mean difference of two cells, higher is better."""
    held = results(
        runs("a", TEN, cell=CELLS[0]), runs("b", TEN + 0.2, cell=CELLS[0]),
        runs("a", TEN, cell=CELLS[1]), runs("b", TEN + 0.4, cell=CELLS[1]),
    )  # fmt: skip
    (line,) = compare_algorithms(held, "a", "b").suites.values()
    assert (line.comparison.difference, line.comparison.better, line.comparison.test) == (
        pytest.approx(0.3), pytest.approx(0.995, abs=0.01), "stratified-perm"
    )  # fmt: skip
    assert line.verdict() == "better"
    worst2 = Results(tuple(run(r.spec["algorithm"], r.spec["seed"], r.curve["error"][-1], cell=r.spec["cell"],
                               reporting={"worst": 2.0}) for r in held.records))  # fmt: skip
    assert compare_algorithms(worst2, "a", "b").suites["tiny"].comparison.difference == pytest.approx(0.15)
    assert compare_algorithms(results(runs("a", TEN), runs("b", TEN)), "a", "b").suites == {}


@pytest.fixture
def stored(tmp_path):
    """results/one with rules a and b in two cells, and the same packed."""
    made = [*runs("a", TEN, cell=CELLS[0]), *runs("b", TEN + 0.1, cell=CELLS[0]),
            *runs("a", TEN, cell=CELLS[1]), *runs("b", TEN[::-1], cell=CELLS[1])]  # fmt: skip
    write(tmp_path / "one", *made)
    write_jsonl(tmp_path / "two.jsonl", *made)


@pytest.mark.usefixtures("stored")
def test_json_holds_every_seed_in_full_and_is_the_same_twice(command_line):
    """One object on stdout; packed and unpacked give the same bytes."""
    code, out, err = command_line("compare", "a", "b", "--in", "one", "--json")
    assert (code, err) == (0, "")
    assert out == command_line("compare", "a", "b", "--in", "two.jsonl", "--json")[1]
    found = json.loads(out)
    first = found["comparisons"][0]
    assert first["a"]["seeds"] == {str(s): float(v) for s, v in enumerate(TEN)}
    assert (first["family"], found["family"], first["pairing"], first["test"]) == (2, 2, "paired", "sign-flip")
    assert found["suites"][0]["tasks"] == 2
    assert found["signature"].startswith("tpobench ")


@pytest.mark.usefixtures("stored")
def test_results_under_a_seed_plan_say_so(command_line, tmp_path):
    """The looks are no part of these tests, so the signature and a note name the plan."""
    (tmp_path / "one" / "plan.json").write_text('{"schema": 1, "text": "x", "seeds": "adaptive:5x2"}', "utf-8")
    _, out, _ = command_line("compare", "a", "b", "--in", "one")
    assert "the seeds followed adaptive:5x2, and these tests ignore its looks" in out
    assert out.splitlines()[-1].endswith("|seeds by plan:adaptive:5x2")
    assert "adaptive" not in command_line("compare", "a", "b", "--in", "two.jsonl")[1]


@pytest.mark.usefixtures("stored")
def test_the_text_names_the_test_the_family_and_the_suite(command_line):
    """Everything a reader must know stands in it, and the signature is the last line."""
    code, out, _ = command_line("compare", "a", "b", "--in", "one")
    lines = out.splitlines()
    assert code == 0
    assert lines[2] == "final1: error at the end, lower is better"
    assert lines[4].split()[:2] == ["cell", "seeds"]
    assert lines[6].split()[0] == "length=4"
    assert "r=-1.00, added 100%" in lines[6]
    assert any(line.startswith("family: 2 tests, Holm at .05: the first needs p <= .025; ") for line in lines)
    assert any(line.startswith("tiny: mean score over 2 rows, A − B ") for line in lines)
    assert "|metric:final1|seeds:0-9|" in lines[-1]
    code, out, _ = command_line("compare", "one", "two.jsonl", "--algos", "b")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("length=")] == ["b", "b"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a", "c", "--in", "one"], 2, "unknown algorithm 'c' in the results; valid: a, b"),
        (["a", "a", "--in", "one"], 2, "a against itself; name two algorithms of: a, b"),
        (["one", "two.jsonl", "--algos", "c"], 2, "unknown algorithm 'c'"),
        (["one", "two.jsonl", "-m", "fnal"], 2, "unknown metric 'fnal'; did you mean 'final'?"),
        (["one", "two.jsonl", "-m", "steps", "--threshold", "0.3"], 2, "the suite's thresholds: 0.5, 0.2"),
        (["one", "two.jsonl", "--threshold", "0.2"], 2, "--threshold 0.2 goes with --metric steps or rate"),
        (["a", "b", "--in", "one", "--algos", "a"], 2, "--algos a goes with two result sets"),
        (["a", "b"], 4, "no results at a; to compare two algorithms of one result set: tpobench compare a b --in PATH"),
        (["one", "three.jsonl"], 4, "no results at three.jsonl; name a run directory"),
        (["a", "b", "--in", "nowhere"], 4, "no results at nowhere"),
    ],
)
def test_mistakes_are_one_line(command_line, words, code, said):
    """What, where, what would work."""
    got, out, err = command_line("compare", *words)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert said in err
