"""Any project's table gets the numbers of a report: checked by hand; and what is no such table gets one clear line."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tpobench.audit import Choices, audit, audit_document
from tpobench.cli import inspect
from tpobench.errors import NothingToDo, UsageError
from tpobench.scores.cells import read_cells
from tpobench.scores.pairing import compare_family
from tpobench.scores.scalars import scalars_of
from tpobench.stats.compare import plain
from tpobench.tables.exports import json_text
from tpobench.tables.markdown import markdown

FOUR = [("tpo", "copy", s, 1 + s) for s in range(4)] + [("dg", "copy", s, 11 + s) for s in range(4)]


@pytest.fixture
def table(tmp_path):
    """Writes a csv and audits it; rows of four are algorithm, task, seed, value."""

    def make(rows, *, header="algorithm,task,seed,value", **choices):
        text = rows if isinstance(rows, str | bytes) else "\n".join([header, *(",".join(map(str, r)) for r in rows)])
        path = tmp_path / "x.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return audit(path, Choices(**{"lower": "higher" not in choices, **choices}))

    return make


def entries(found, name):
    """The rows of one table, as texts."""
    (one,) = [t for t in found.tables if t.name == name]
    return [[c.text for c in row] for row in one.rows]


def data(found, name):
    (one,) = [t for t in found.tables if t.name == name]
    return [[c.data for c in row] for row in one.rows]


def codes(found):
    return {f.code.code for f in found.checks.findings}


def whats(found, code):
    return [(f.cells, f.what) for f in found.checks.findings if f.code.code == code]


def test_the_numbers_of_a_task_are_those_computed_by_hand(table):
    """1, 2, 3, 4: mean 2.5 +- 3.1824 * 1.29099 / 2 = [.4457, 4.5543]; median and IQM 2.5; too few for a tail."""
    found = table(FOUR)
    (_, n, _, median, iqm, tail), _ = entries(found, "task-copy")
    mean = data(found, "task-copy")[0][2]["estimate"]
    assert (mean["value"], mean["method"]) == (2.5, "t")
    assert (mean["low"], mean["high"]) == pytest.approx((0.44574, 4.55426), abs=1e-5)
    assert (n, median, iqm[:3], tail) == (
        "4", "2.50 (4 seeds: no 95% interval of a median; need 6)", "2.5", "4 seeds: no CVaR25; need 8",
    )  # fmt: skip


def test_a_pair_is_tested_by_all_its_labellings(table):
    """Perfect separation of 4 and 4: p = 2 / C(8, 4) = 2/70; difference -10; one test."""
    ((c, *_),) = [row[-1:] for row in data(table(FOUR), "tests")]
    assert (c["difference"], c["better"], c["family"], c["test"]) == (-10.0, 1.0, 1, "perm-t")
    assert c["p"] == c["adjusted"] == c["smallest"] == pytest.approx(2 / 70)
    assert entries(table(FOUR), "tests")[0][-1] == "better"


def test_the_direction_turns_the_verdict_and_not_the_numbers(table):
    """Higher better: the same means and difference, dg ahead, and the tail is the low one."""
    rows = [(a, "copy", s, v + s) for a, v in (("tpo", 1), ("dg", 21)) for s in range(20)]
    low, high = table(rows), table(rows, higher=True)
    assert [r[2] for r in entries(low, "task-copy")] == [r[2] for r in entries(high, "task-copy")]
    assert [t[-1]["difference"] for f in (low, high) for t in data(f, "tests")] == [-20.0, -20.0]
    assert [t[-1] for f in (low, high) for t in entries(f, "tests")] == ["better", "worse"]
    ends = [(t[-1]["low"], t[-1]["high"]) for f in (low, high) for t in data(f, "tests")]
    assert ends[0] == pytest.approx(ends[1])
    assert ends[1][0] < -20 < ends[1][1]
    tails = [data(f, "task-copy")[0][5]["estimate"] for f in (low, high)]
    assert [t["value"] for t in tails] == [18.0, 3.0]  # means of 16 to 20 and of 1 to 5
    assert 1 <= tails[1]["low"] < 3 < tails[1]["high"]
    assert (low.verdicts, high.verdicts) == (
        ("copy: tpo has the best mean; better than dg",), ("copy: dg has the best mean; better than tpo",),
    )  # fmt: skip


def test_bold_is_the_best_and_what_cannot_be_told_from_it(table):
    """tpo and grpo overlap, dg is far away: two are bold, one underlined."""
    rows = [(a, "copy", s, v + 0.1 * s) for a, v in (("tpo", 1.0), ("grpo", 1.1), ("dg", 9.0)) for s in range(8)]
    found = table(rows)
    marks = {row[0].text: (row[2].best, row[2].leader) for row in found.tables[0].rows}
    assert marks == {"tpo": (True, True), "grpo": (True, False), "dg": (False, False)}
    assert found.verdicts == (
        "copy: tpo has the best mean; better than dg; not distinguishable from grpo, which is not shown to be equal",
    )


def test_a_family_too_large_for_its_seeds_says_so(table):
    """Three algorithms with four seeds: 2/70 > .05/3, so nobody is called worse."""
    found = table([*FOUR, *(("grpo", "copy", s, 21 + s) for s in range(4))])
    expected = (
        f"n=4: smallest possible p {plain(2 / 70)} > {plain(0.05 / 3)} (Holm, 3 tests): cannot reject; need 5 seeds"
    )
    assert whats(found, "L006") == [(("task=copy",), expected)]
    assert found.verdicts == (f"copy: tpo has the best mean; no test against dg, grpo ({expected})",)


def test_equal_seeds_are_paired_only_on_demand(table):
    """Common noise of sd 10 hides a difference of 1 from unpaired tests; --paired sees 2 / 2^10."""
    rows = [(a, "copy", s, 10 * (s * 7 % 10) + d + 0.01 * s) for a, d in (("tpo", 0), ("dg", 1)) for s in range(10)]
    rows[0] = ("tpo", "copy", 0, 0.001)
    assert [r[-1]["test"] for r in data(table(rows), "tests")] == ["perm-t"]
    (paired,) = data(table(rows, paired=True), "tests")
    assert (paired[-1]["test"], paired[-1]["p"]) == ("sign-flip", pytest.approx(2 / 2**10))


SUITE = [
    (a, t, s, v + s)
    for t, values in (("copy", {"tpo": 2, "dg": 12}), ("sort", {"tpo": 10, "dg": 30}))
    for a, v in values.items()
    for s in range(5)
]


def test_scores_over_tasks_need_fixed_references(table):
    """Without --best and --worst no score, and the reason says what the best of the compared runs would do."""
    found = table(SUITE)
    assert "overall" not in {t.name for t in found.tables}
    assert found.verdicts[-1].startswith(
        "no score over all tasks: copy, sort have no fixed ends; give --best and --worst"
    )
    assert "would change when an algorithm is added" in found.verdicts[-1]
    half = table(SUITE, best=("0",), worst=("copy=20",))
    assert half.verdicts[-1].startswith("no score over all tasks: sort has no fixed ends")


def test_scores_over_tasks_are_those_computed_by_hand(table):
    """copy: mean 4 of 20 is .8 and 14 is .3; sort: 12 of 40 is .7 and 32 is .2: means .75 and .25."""
    found = table(SUITE, best=("0",), worst=("copy=20", "sort=40"))
    scores = [row[1]["estimate"]["value"] for row in data(found, "overall")]
    assert scores == pytest.approx([0.75, 0.25])
    (pair,) = data(found, "tests-overall")
    assert pair[-1]["difference"] == pytest.approx(0.5)
    assert (pair[-1]["test"], pair[-1]["family"]) == ("stratified-perm", 1)
    assert found.verdicts[-1] == "over 2 tasks: tpo has the best mean; better than dg"


def test_a_task_that_one_algorithm_lacks_leaves_every_score(table):
    """The third task is missing for dg: reported as missing, left out for both."""
    rows = [*SUITE, *(("tpo", "extra", s, s) for s in range(5))]
    found = table(rows, best=("0",), worst=("40",))
    (overall,) = [t for t in found.tables if t.name == "overall"]
    assert overall.title == "Over 2 tasks"
    assert "Left out for all, because some algorithm lacks them: extra" in overall.notes
    assert entries(found, "task-extra")[1][:3] == ["dg", "0", "missing"]
    assert whats(found, "L002") == [(("task=extra",), "no runs of dg")]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "NaN"])
def test_a_diverged_run_needs_the_worst_value(table, text):
    """Refused with line and reason; with --worst it is scored, counted, and left out in a second line only."""
    rows = [*FOUR, ("tpo", "copy", 4, text)]
    with pytest.raises(UsageError, match=r"x.csv line 10: tpo, task copy, seed 4 diverged .* with --worst"):
        table(rows)
    found = table(rows, worst=("20",))
    mean = data(found, "task-copy")[0][2]
    assert (mean["estimate"]["value"], mean["diverged"]) == (6.0, 1)  # (1 + 2 + 3 + 4 + 20) / 5
    assert "(1/5 diverged, scored 20.0)" in entries(found, "task-copy")[0][2]
    assert found.tables[0].notes[0].startswith("tpo: without the 1 diverged 2.5 [0.4")
    assert whats(found, "L004") == [(("task=copy",), "tpo: 1 of 5 diverged, scored the worst value")]


def test_an_algorithm_that_always_diverges_is_compared_by_its_count(table):
    """8 of 8 against 0 of 8: Boschloo, not the difference of a constant."""
    rows = [(a, "copy", s, "nan" if a == "dg" else 0.1 * s) for a in ("tpo", "dg") for s in range(8)]
    found = table(rows, worst=("1",))
    assert entries(found, "task-copy")[1][2] == "diverged 8/8"
    (pair,) = data(found, "tests")
    assert (pair[-1]["test"], pair[-1]["adjusted"] < 0.001) == ("boschloo", True)


@pytest.mark.parametrize("text", ["", "NA", "-", "null"])
def test_a_missing_value_is_a_dropped_run(table, text):
    """It is counted as lost, and no mean is taken over it."""
    found = table([*FOUR, ("tpo", "copy", 4, text)])
    assert whats(found, "L003") == [(("task=copy",), "tpo: 1 of 5 runs without a result (1 failed), seeds 4")]
    assert data(found, "task-copy")[0][2]["estimate"]["value"] == 2.5
    assert json.loads(json_text(audit_document(found)))["runs"][-1]["status"] == "missing"


def test_one_and_two_seeds_are_printed_as_what_they_are(table):
    """n = 1 has no interval and no test, n = 2 shows both values."""
    single = table([("tpo", "copy", 0, 0.071), ("dg", "copy", 0, 0.5)])
    assert entries(single, "task-copy")[0][2] == "0.0710 (n=1)"
    assert single.tables[0].notes == ("1 seed: no uncertainty",)
    assert whats(single, "L006") == [(("task=copy",), "1 seed: no test at all")]
    pair = table([("tpo", "copy", 0, 1.0), ("tpo", "copy", 1, 2.0)])
    assert entries(pair, "task-copy")[0][2] == "1.00 and 2.00 (n=2)"
    assert "tests" not in {t.name for t in pair.tables}


def test_rows_of_a_step_column_are_evaluations_of_one_run(table):
    """20 rows a run in any order: the value is the mean of the last tenth, 2 rows, and n stays 4."""
    rows = [(a, "copy", s, t, 100 - t + s) for t in reversed(range(20)) for a in ("tpo", "dg") for s in range(4)]
    header = "algorithm,task,seed,step,value"
    found = table(rows, header=header)
    assert {r.record.reporting["window"] for r in found.runs.runs} == {2}
    assert [r[1] for r in entries(found, "task-copy")] == ["4", "4"]
    assert data(found, "task-copy")[0][2]["estimate"]["value"] == 81.5 + 1.5  # mean of 81 and 82, seeds 0 to 3
    assert data(table(rows, header=header, window=1), "task-copy")[0][2]["estimate"]["value"] == 81 + 1.5
    assert codes(table(rows, header=header, window=20)) >= {"L061"}


def curve_rows(lengths, value, *, seeds=3):
    """(algorithm, task, seed, step, value) of whole curves; `lengths` by task."""
    return [(a, task, s, t, value(a, task, s, t)) for task, n in lengths.items() for a in ("tpo", "dg") for s in range(seeds) for t in range(n)]  # noqa: E501  # fmt: skip


STEPPED = "algorithm,task,seed,step,value"


@pytest.mark.parametrize("lengths", [{"copy": 20}, {"copy": 20, "long": 400}, {"long": 400, "copy": 20}])
def test_the_window_of_a_run_is_a_tenth_of_its_own_rows(table, lengths):
    """tpo climbs and falls at the end, dg climbs: the last 2 of 20 rows decide, however long another task is."""

    def value(a, _task, s, t):
        return s + (t if a == "dg" or t < 18 else 0)

    found = table(curve_rows(lengths, value), header=STEPPED, higher=True)
    means = [row[2]["estimate"]["value"] for row in data(found, "task-copy")]
    assert means == [1.0, 18.5 + 1.0]  # tpo, dg; seeds 0 to 2
    assert {r.record.reporting["window"] for r in found.runs.runs if r.task == "copy"} == {2}
    assert "L061" not in codes(found)
    assert "last10%" in found.tables[0].signature


def test_two_runs_of_one_task_have_windows_of_their_own(table):
    """300 rows make a window of 30, 10 rows one of 1, which is not as long as its curve; a given one holds for both."""
    rows = [("tpo", "copy", s, t, t) for s, n in ((0, 300), (1, 10)) for t in range(n)]
    found = table(rows, header=STEPPED)
    assert [(r.record.reporting["window"], r.value) for r in found.runs.runs] == [(30, 284.5), (1, 9.0)]
    assert "L061" not in codes(found)
    found = table(rows, header=STEPPED, window=2)
    assert [(r.record.reporting["window"], r.value) for r in found.runs.runs] == [(2, 298.5), (2, 8.5)]
    long = table(rows, header=STEPPED, window=10)
    assert whats(long, "L061") == [(("task=copy",), "window 10, curves of 10 evaluations")]


@pytest.mark.parametrize("text", ["", "nan", "NaN", "NA"])
def test_what_was_not_measured_yet_has_not_diverged(table, text):
    """Nothing at the first of 20 evaluations, and once in between: no divergence, the last two rows are the value."""

    def value(a, _task, s, t):
        return text if a == "tpo" and t in {0, 7} else t + s

    found = table(curve_rows({"copy": 20}, value), header=STEPPED, higher=True)
    assert [row[2]["diverged"] for row in data(found, "task-copy")] == [0, 0]
    assert [r.value for r in found.runs.runs] == [18.5, 19.5, 20.5] * 2
    first = table(
        curve_rows({"copy": 20}, lambda a, _k, s, t: text if a == "tpo" and t == 0 else t + s), header=STEPPED
    )
    assert "L060" not in codes(first)  # the first row is there, its value is not


@pytest.mark.parametrize(
    ("values", "diverged"),
    [
        (["1", "2", "nan"], True),
        (["1", "inf", "nan"], True),
        (["nan", "nan", "nan"], True),
        (["1", "inf", "2"], False),
        (["nan", "inf", "2"], False),
        (["1", "2", ""], False),
        (["", "nan", "2"], False),
    ],
)
def test_a_run_has_diverged_where_it_is_not_finite_at_its_end(table, values, diverged):
    """After it was measured, or never measured at all; an empty cell is no measurement."""
    rows = [("tpo", "copy", s, t, v) for s in range(2) for t, v in enumerate(values)]
    if diverged:
        with pytest.raises(UsageError, match=r"tpo, task copy, seed 0 diverged \((nan|inf)\); leaving such runs out"):
            table(rows, header=STEPPED)
    found = table(rows, header=STEPPED, worst=("9",))
    assert {(r.record.status == "diverged", r.value) for r in found.runs.runs} == {(diverged, 9.0 if diverged else 2.0)}


def test_unequal_budgets_and_schedules_are_found_in_the_steps(table):
    """dg trains twice as long; or is evaluated half as often."""
    header = "algorithm,task,seed,step,value"

    def rows(steps):
        return [(a, "copy", s, t, 1 / (1 + t) + 0.01 * s) for a in ("tpo", "dg") for s in range(5) for t in steps[a]]

    longer = table(rows({"tpo": range(0, 50, 5), "dg": range(0, 100, 10)}), header=header)
    assert whats(longer, "L020") == [(("task=copy",), "updates differ: 90 for dg; 45 for tpo")]
    rarer = table(rows({"tpo": range(0, 51, 5), "dg": range(0, 51, 10)}), header=header)
    assert whats(rarer, "L060") == [(("task=copy",), "evaluations on the way: tpo 11; dg 6")]


def test_unequal_seeds_are_named(table):
    """L001, as in a result set."""
    assert whats(table(FOUR[:-1]), "L001") == [(("task=copy",), "seeds 0-3: dg lacks 3")]


def test_copies_among_scalars_are_found(table):
    """L009: ten seeds, five different values of many digits; L010: one value for all; not for round numbers."""

    def rows(value):
        return [(a, "copy", s, value(s) if a == "dg" else s) for a in ("tpo", "dg") for s in range(10)]

    copies = table(rows(lambda s: 0.123456 + 0.1 * (s // 2)))
    assert whats(copies, "L009") == [(("task=copy",), "dg: 10 seeds have only 5 different values")]
    equal = table(rows(lambda _s: 0.5))
    assert whats(equal, "L010") == [(("task=copy",), "dg: all 10 seeds have the value 0.5")]
    assert {"L009", "L010"}.isdisjoint(codes(table(rows(lambda s: 0.1 * (s // 2)))))
    assert {"L009", "L010"}.isdisjoint(codes(table(rows(lambda _s: 0.0), best=("0",), worst=("10",))))


def test_a_column_that_varies_within_an_algorithm_is_a_hidden_factor(table):
    """L028 for a learning rate of two values; not for wall times, which differ in every run."""
    rows = [(*row, [0.1, 0.2][row[2] % 2], 1.5 + i) for i, row in enumerate(FOUR)]
    found = table(rows, header="algorithm,task,seed,value,lr,wall")
    assert whats(found, "L028") == [(("task=copy",), "column lr is 0.1, 0.2 within tpo, task copy")]


def test_values_beyond_the_ends_of_the_scale_are_found(table):
    """L065: worse than --worst; L081 and L082: all of them at one end, and no difference."""
    assert whats(table(FOUR, worst=("10",)), "L065") == [(("task=copy",), "dg: final 14 > worst 10")]
    near = [(a, "copy", s, 0.001 * (s * k % 7)) for k, a in ((3, "tpo"), (5, "dg")) for s in range(7)]
    what = "all 14 values within 5% of the {} value, no pair of algorithms differs"
    assert whats(table(near, best=("0",), worst=("1",)), "L081") == [(("task=copy",), what.format("best"))]
    assert whats(table(near, higher=True, best=("1",), worst=("0",)), "L082") == [
        (("task=copy",), what.format("worst"))
    ]


def test_a_mean_far_from_its_median_is_noted(table):
    """L080: six near zero and two above a hundred: mean 26.6, median .0035."""
    rows = [("tpo", "copy", s, 100 + s if s > 5 else 0.001 * s) for s in range(8)]
    assert whats(table(rows), "L080") == [(("task=copy",), "tpo: mean 26.6, median 0.0035, from 0 to 107")]


@pytest.mark.parametrize(
    ("metric", "higher", "optimistic"),
    [("best_error", False, True), ("max_return", True, True), ("min_loss", False, True),
     ("best_max_error", False, True), ("max_error", False, False), ("neg_max_error", True, False),
     ("min_return", True, False)],
)  # fmt: skip
def test_the_best_of_several_evaluations_is_optimistic(table, metric, higher, optimistic):
    """L066, by the name of the column; the maximum of an error is its worst."""
    found = table(FOUR, header=f"algorithm,task,seed,{metric}", metric=metric, lower=not higher, higher=higher)
    assert ("L066" in codes(found)) is optimistic


def test_the_signature_of_a_table_counts_the_seeds_of_its_own_task(table):
    """5 seeds in one task and 4 in the other: n:5 and n:4, n:4-5 over both."""
    rows = [
        (a, t, s, s + i) for t, n in (("copy", 5), ("sort", 4)) for i, a in enumerate(("tpo", "dg")) for s in range(n)
    ]
    found = {t.name: t.signature.split("|") for t in table(rows).tables}
    assert [next(p for p in found[n] if p.startswith("n:")) for n in ("task-copy", "task-sort", "tests")] == ["n:5", "n:4", "n:4-5"]  # noqa: E501  # fmt: skip


def test_a_good_table_has_no_findings(table):
    """Ten varied seeds, two algorithms, every task: nothing but what is true."""
    rows = [(a, t, s, v + math.sin(7 * s + v)) for t in ("copy", "sort") for a, v in (("tpo", 3), ("dg", 5)) for s in range(10)]  # noqa: E501  # fmt: skip
    assert codes(table(rows)) == set()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffalgorithm,task,seed,value\ntpo,copy,0,0.5\ndg,copy,0,0.25\n".encode(),
        b"algorithm,task,seed,value\r\ntpo,copy,0,0.5\r\ndg,copy,0,0.25\r\n",
        "algorithm,task,seed,value\ntpo,copy,0,0.5\ndg,copy,0,0.25\n".encode("utf-16"),
        b"\xef\xbb\xbf# made by hand\n\nalgorithm;task;seed;value\ntpo;copy;0;0,5\n\ndg;copy;0;0,25\n",
        b"algorithm\ttask\tseed\tvalue\ntpo\tcopy\t0\t0.5\ndg\tcopy\t0\t0.25\n",
        b'"value","seed","task","algorithm"\n"0.5","0","copy","tpo"\n2.5e-1,0,copy,"dg"\n',
        b"Method, Env ,Run,Score,notes\ntpo,copy,0,.5,\"a,\nb\"\ndg,copy,0,+0.25,\n",
    ],
    ids=["bom", "crlf", "utf-16", "semicolon", "tab", "quoted", "other names"],
)  # fmt: skip
def test_tables_come_in_many_dialects(table, text):
    """Byte order marks, line ends, separators, decimal commas, quotes, other column names and orders."""
    found = table(text)
    assert [(r.algorithm, r.task, r.record.spec["seed"], r.value) for r in found.runs.runs] == [
        ("tpo", "copy", 0, 0.5), ("dg", "copy", 0, 0.25),
    ]  # fmt: skip


HEAD = "algorithm,task,seed,value\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HEAD + "tpo,copy,0,1\ntpo,copy,1,2\ntpo,copy,0,3\n",
         "x.csv lines 2 and 4 are both algorithm tpo, task copy, seed 0; evaluations are no replicates: keep one value per trained run, or name the column of the step with --column step=COLUMN"),  # noqa: E501
        (HEAD.replace("value", "step,value") + "tpo,copy,0,1,1\ntpo,copy,0,1,1\n",
         "x.csv lines 2 and 3 are both algorithm tpo, task copy, seed 0, step 1; keep one"),
        (HEAD + "tpo,copy,0,high\n", "x.csv line 2: value 'high' is no number"),
        (HEAD + "tpo,copy,0,1e308\n", "x.csv line 2: value '1e308' is too large to average; a run that diverged is inf"),  # noqa: E501
        (HEAD + "tpo,copy,0," + "x" * 99 + "\n", f"x.csv line 2: value '{'x' * 40}…' is no number"),
        ('"algo\nrithm",task,seed,value\n',
         "x.csv has no column 'algorithm' (it has algo rithm, task, seed, value); name it with --column algorithm=COLUMN"),  # noqa: E501
        (HEAD + "tpo,copy,0,1_000\n", "x.csv line 2: value '1_000' is no number"),
        (HEAD + '"t\npo",copy,0,1\ntpo,copy,0,"1,5"\n', "x.csv line 4: value '1,5' is no number"),
        (HEAD + "tpo,copy,0,1\n,copy,1,1\n", "x.csv line 3: no algorithm"),
        (HEAD + "tpo,copy\n", "x.csv line 2: no seed"),
        (HEAD + "tpo,copy,0,1,2\n",
         "x.csv line 2: 5 fields, the header has 4; quote values that hold the separator"),
        ("# comment\n" + HEAD + "tpo,copy,0,1\ntpo,copy,0,1,2\n",
         "x.csv line 4: 5 fields, the header has 4; quote values that hold the separator"),
        (HEAD + 'tpo,copy,0,1\ntpo,"copy,1,2\n', "x.csv line 3: a quote that is never closed"),
        ("algorithm,task,seed,value,value\n", "x.csv has two columns named 'value'; rename one"),
        ("algorithm,task,value\na,b,1\n",
         "x.csv has no column 'seed' (it has algorithm, task, value); name it with --column seed=COLUMN"),
        ("algorithm,task,seed,y\na,b,1,1\n",
         "x.csv has no column 'value' (it has algorithm, task, seed, y); name it with --column value=COLUMN or --metric COLUMN"),  # noqa: E501
        ("algorithm,task,seed,error,loss\na,b,1,1,1\n",
         "x.csv: error and loss could both be the value; choose one with --metric COLUMN"),
        (HEAD.replace("value", "step,value") + "tpo,copy,0,soon,1\n", "x.csv line 2: step 'soon' is no number"),
        (HEAD.encode() + b"tpo,copy,0,1\nd\xe9,copy,0,1\n",
         "x.csv line 3: not utf-8 text; save the table as CSV in UTF-8"),
        (HEAD + "tpo,copy,0,1\0\n", "x.csv line 2: a zero byte, so this is no text; save the table as CSV in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_such_table_gets_one_line_with_its_number(table, text, line):
    """What, where, and what would work; never a traceback."""
    with pytest.raises(UsageError) as caught:
        table(text)
    message = str(caught.value)
    assert message[message.index("x.csv") :] == line
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "\n\n# only a comment\n", HEAD, HEAD + "\n\n", HEAD + "tpo,copy,0,\n"])
def test_nothing_to_audit_is_its_own_error(table, text):
    """No text, no rows, or no value at all: exit code 4."""
    with pytest.raises(NothingToDo, match="nothing to audit"):
        table(text)


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        ({"lower": True, "higher": True}, "--lower and --higher exclude each other"),
        ({"lower": False}, "'value' does not say for sure which way is better: add --lower or --higher"),
        ({"best": ("1",), "worst": ("0",)}, "--best 1 is not better than --worst 0 where lower is better"),
        ({"best": ("one",)}, "--best one: write a number, or TASK=NUMBER"),
        ({"worst": ("inf",)}, "--worst inf: write a number, or TASK=NUMBER"),
        ({"worst": ("cpy=1",)}, "unknown task 'cpy' in --worst cpy=1; did you mean 'copy'? valid: copy"),
        ({"columns": ("algorithm",)}, "--column algorithm: write NAME=COLUMN, such as algorithm=method"),
        ({"columns": ("algo=task",)}, "unknown name 'algo' in --column algo=task; valid: algorithm, metric, seed, step, task, value"),  # noqa: E501
        ({"window": 3}, "--window 3: x.csv has no step column; name it with --column step=COLUMN"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_refused(table, choices, line):
    """One line each."""
    with pytest.raises(UsageError) as caught:
        table(FOUR, **choices)
    assert re.sub(r"/\S*/", "", str(caught.value)).replace("did you mean 'algorithm'? ", "") == line


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        *((n, True) for n in (
            "error", "loss", "test_error", "val loss", "final_test_error", "RMSE", "mean_squared_error", "log_loss",
            "brier_score", "cumulative_regret", "best_error", "error (%)",
        )),
        *((n, False) for n in (
            "accuracy", "avg_return", "EpisodeReward", "eval/mean_reward", "success_rate", "top1_accuracy", "neg_rmse",
            "neg_mean_squared_error", "test_neg_mean_absolute_error", "neg_log_loss",
        )),
        *((n, None) for n in (
            "time_alive", "error_free_rate", "reward_std", "loss_reduction", "negative_regret", "error_rate_reduction",
            "inverse_loss", "loss_improvement", "success_time", "score_variance", "cost_savings", "neg_log_likelihood",
            "neg_return", "reward_gap", "time_to_solve", "steps_survived", "1-accuracy", "-loss", "1/error", "|error|",
            "accuracy_loss", "loss2", "reward_dev", "regret-free", "lossless", "time", "steps", "value", "mean",
        )),
    ],
)  # fmt: skip
def test_a_direction_is_taken_from_a_name_that_is_known_as_a_whole(table, metric, lower):
    """One unknown word and the question is asked, in one line."""
    rows = [(a, "copy", s, v) for a, _, s, v in FOUR]
    if lower is None:
        with pytest.raises(UsageError, match="does not say for sure which way is better: add --lower or --higher"):
            table(rows, lower=False, metric=metric)
    else:
        assert table(rows, lower=False, metric=metric).runs.scale.lower is lower


def test_a_loss_that_is_printed_as_an_accuracy_asks(table):
    """The name of the column and the name in print say different things."""
    with pytest.raises(UsageError, match="'accuracy' does not say for sure"):
        table(FOUR, header="algorithm,task,seed,loss", lower=False, metric="accuracy")


def test_the_worse_model_does_not_win_by_its_negated_loss(table):
    """scikit-learn's scorers: -1 is better than -5."""
    rows = [(a, "d", s, v - s / 10) for a, v in (("ridge", -1), ("tree", -5)) for s in range(5)]
    metric, columns = "neg_mean_squared_error", ("algorithm=model", "seed=fold")
    found = table(rows, header=f"model,dataset,fold,{metric}", lower=False, metric=metric, columns=columns)
    assert found.verdicts == ("d: ridge has the best mean; better than tree",)


@pytest.mark.parametrize("other", ["1.0", "01", "1e0", "+1", " 1 ", "seed_1", "\uff11"])
def test_two_spellings_of_a_seed_are_one_seed(table, other):
    """Twice in one arm: refused with both lines and both spellings; in two arms: the same seed."""
    rows = [("tpo", "copy", 0, 1), ("tpo", "copy", 1, 2), ("tpo", "copy", other, 3)]
    with pytest.raises(UsageError, match="lines 3 and 4 are both algorithm tpo, task copy, seed 1") as caught:
        table(rows)
    assert other.strip() == "1" or f"(written '1' and '{other}')" in str(caught.value)
    found = table([("tpo", "copy", 0, 1), ("tpo", "copy", 1, 2), ("dg", "copy", "0.0", 1), ("dg", "copy", other, 3)])
    assert "L001" not in codes(found)
    assert [r.record.spec["seed"] for r in found.runs.runs] == [0, 1, 0, 1]


def test_a_task_that_a_table_turned_into_a_decimal_is_one_task(table):
    """2 and 2.0, as pandas writes whole numbers beside a missing one."""
    found = table([("tpo", "2", 0, 1), ("tpo", "2.0", 1, 2), ("dg", "2.0", 0, 1), ("dg", "2", 1, 3)])
    assert (found.runs.tasks, codes(found) & {"L001", "L002", "L029"}) == (("2",), set())


def test_names_that_look_alike_are_one_finding_each(table):
    """PPO and ppo, acrobot-swingup and acrobot_swingup: no flood of missing cells and unequal seeds."""
    rows = [(a if s < 5 else a.lower(), "acrobot-swingup" if s < 5 else "acrobot_swingup", s, v + math.sin(7 * s + v))
            for a, v in (("PPO", 3), ("SAC", 5)) for s in range(10)]  # fmt: skip
    found = table(rows)
    assert [w for _, w in whats(found, "L029")] == [
        "tasks acrobot-swingup and acrobot_swingup look like one", "algorithms PPO and ppo look like one",
        "algorithms SAC and sac look like one",
    ]  # fmt: skip
    assert {"L001", "L002", "L007", "L008"}.isdisjoint(codes(found))
    assert found.runs.algorithms == ("PPO", "ppo", "SAC", "sac")  # they are said, not pooled


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("PPO", "ppo", True), ("half_cheetah", "HalfCheetah", True), ("a b", "a-b", True), ("a\u2010b", "a-b", True),
        ("caf\u00e9", "cafe\u0301", True), ("\uff30PO", "PPO", True), ("x\u200b", "x", True),
        ("2", "02", True), ("1.50", "1.5", True),
        ("task 1-1", "task 11", False), ("eta=-1", "eta=1", False), ("PPO", "PPO2", False), ("PPO*", "PPO", False),
        ("v1.1", "v1.10", False), ("temp -1", "temp 1", False),
    ],
)  # fmt: skip
def test_what_looks_like_one_name(table, a, b, alike):
    """Case, separators, Unicode forms and spellings of a number; never what tells two names apart."""
    found = table([(n, "copy", s, s + i) for i, n in enumerate((a, b)) for s in range(4)])
    assert ("L029" in codes(found)) is alike


def test_what_was_scored_and_not_measured_makes_no_finding(table):
    """All of dg diverged at --worst: neither copies, nor a deterministic cell, nor a misleading mean, nor a floor."""
    rows = [(a, "copy", s, "nan" if a == "dg" else 0.2 + 0.012345 * s) for a in ("tpo", "dg") for s in range(10)]
    assert codes(table(rows, worst=("1",))) == {"L004"}
    both = [(a, "copy", s, "nan") for a in ("tpo", "dg") for s in range(10)]
    assert codes(table(both, best=("0",), worst=("1",))) == {"L004"}
    some = [(a, "copy", s, "nan" if s < 3 else 0.01 + 0.001 * (s * k % 7)) for k, a in ((3, "tpo"), (5, "dg")) for s in range(10)]  # noqa: E501  # fmt: skip
    assert codes(table(some, best=("0",), worst=("1",))) == {"L004"}


def test_counts_that_reject_are_not_called_powerless(table):
    """3 of 3 diverged against 0 of 3: shuffled labels cannot go below .1, Boschloo's test can."""
    found = table([(a, "copy", s, "nan" if a == "dg" else s) for a in ("tpo", "dg") for s in range(3)], worst=("9",))
    ((*_, pair),) = data(found, "tests")
    assert pair["test"] == "boschloo"
    assert ("L006" in codes(found)) is (pair["adjusted"] >= 0.05)
    assert pair["adjusted"] == pytest.approx(0.03125)  # 2 * .5^6


def report_of(found):
    """p and adjusted p of each pair in the report of the same runs, by task."""
    records = [replace(r.record, curve={**r.record.curve, "step": [0]}) for r in found.runs.runs]
    (cells,) = read_cells(records)[0].values()
    return {
        cell.axes["task"]: {
            pair: (c.p, c.adjusted) for pair, c in compare_family(cell.arms, scalars_of(cell.reporting, 1)[0]).items()
        }
        for cell in cells
    }


@pytest.mark.parametrize("order", [("ppo", "tpo", "dg"), ("dg", "tpo", "ppo"), ("zeta", "alpha", "tpo")])
def test_an_audit_has_the_p_values_of_the_report_of_the_same_runs(table, order):
    """The same pairs, labellings and Holm family, to the last digit and whatever the order of the rows."""
    rng = np.random.default_rng(0)
    rows = [(a, t, s, round(rng.normal(0.4 - 0.05 * i, 0.1), 4))
            for t in ("hop", "walk") for i, a in enumerate(order) for s in range(12)]  # fmt: skip
    found = table(rows, best=("0",), worst=("1",))
    here = {t: {p: (c.p, c.adjusted) for p, c in found.runs.cells[t].tests.items()} for t in ("hop", "walk")}
    assert here == report_of(found)


def test_columns_of_any_name_can_be_chosen(table):
    """--column by role, --metric for the value; the name of the metric tells the direction."""
    rows = "who,where,which,loss,accuracy\ntpo,copy,a,1,0.5\ndg,copy,a,2,0.6\n"
    columns = ("algorithm=who", "task=where", "seed=which")
    found = table(rows, lower=False, columns=columns, metric="accuracy")
    assert ([r.value for r in found.runs.runs], found.runs.scale.lower) == ([0.5, 0.6], False)
    found = table(rows, lower=False, columns=columns, metric="loss")
    assert ([r.value for r in found.runs.runs], found.runs.scale.lower) == ([1.0, 2.0], True)
    assert found.runs.numbered


def test_both_forms_hold_the_same_numbers(table):
    """Markdown rounds what JSON holds in full; JSON has no NaN, and names what was decided."""
    found = table(SUITE, best=("0",), worst=("copy=20", "sort=40"))
    answer, text = json.loads(json_text(audit_document(found))), markdown(audit_document(found))
    assert (answer["better"], answer["best"], answer["worst"]) == (
        "lower",
        {"copy": 0, "sort": 0},
        {"copy": 20, "sort": 40},
    )
    assert answer["verdicts"] == list(found.verdicts)
    for each in answer["tables"]:
        assert each["signature"] in text
        for row in each["rows"]:
            assert all(cell["text"].replace("|", "\\|") in text for cell in row)
    assert json_text(audit_document(found)) == json_text(
        audit_document(table(SUITE, best=("0",), worst=("copy=20", "sort=40")))
    )


def call(*words):
    """The verb by itself: (exit code, standard output)."""
    app = typer.Typer()
    app.command("audit")(inspect.audit_)
    app.command("other")(lambda: None)
    answer = CliRunner().invoke(app, ["audit", *map(str, words)])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.exit_code, answer.stdout


def test_the_verb_prints_one_form_or_writes_both(tmp_path):
    """Markdown by default; both need a folder; errors among the findings end with 3."""
    path, out = tmp_path / "x.csv", tmp_path / "deep" / "out"
    lines = [f"{a},copy,{s},{v + math.sin(7 * s + v)}" for a, v in (("tpo", 3), ("dg", 5)) for s in range(10)]
    path.write_text(HEAD + "\n".join(lines), encoding="utf-8")
    code, text = call(path, "--lower")
    assert (code, text.splitlines()[0]) == (0, "# Audit of x.csv")
    code, text = call(path, "--higher", "--format", "json")
    assert (code, json.loads(text)["better"]) == (0, "higher")
    with pytest.raises(UsageError, match="two formats need a folder"):
        call(path, "--lower", "-f", "md,json")
    assert call(path, "--lower", "-f", "md,json", "--out", out)[0] == 0
    assert sorted(p.name for p in out.glob("[!.]*")) == ["audit.json", "audit.md"]
    path.write_text(HEAD + "\n".join(lines[:-1]), encoding="utf-8")
    assert call(path, "--lower")[0] == 3
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        call(tmp_path / "nothing.csv", "--lower")


def test_an_algorithm_whose_runs_all_diverged_is_not_among_the_best(table):
    """Two seeds cannot tell it from the other, and it is not praised for that; where all are lost nobody leads."""
    seeds = range(2)
    lost = [(a, t, s, "nan") for a, t in (("A", "t"), ("A", "u"), ("B", "u")) for s in seeds]
    found = table([*lost, *(("B", "t", s, 0.2 + s / 100) for s in seeds)], worst=("1",))
    assert found.verdicts[:2] == (
        "t: B has the best mean; no test against A (every run of it diverged)",
        "u: no verdict, every run of every algorithm diverged",
    )
    bold = {t.name: [row[0].text for row in t.rows if row[2].best] for t in found.tables}
    assert (bold["task-t"], bold["task-u"]) == (["B"], [])
