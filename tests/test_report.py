"""The report: rows printed as the statistics demand, rounded views of one object, the same bytes twice."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from simulated import REPORTING, grid, record

from tpobench.errors import CorruptResults, NothingToDo, UsageError
from tpobench.records.results import Results
from tpobench.report import make_report, render_markdown, write_report
from tpobench.report.document import document_of
from tpobench.scores.scalars import scalar_of
from tpobench.scores.text import seed_ranges
from tpobench.stats.estimate import Estimate
from tpobench.stats.texts import mean_text, p_text
from tpobench.tables.exports import csv_text, json_text
from tpobench.tables.latex import latex, tex_escape
from tpobench.tables.markdown import block_text, md_escape
from tpobench.tables.model import Table, TableCell


def flat(algorithm, errors, **kwargs):
    """One run per seed whose error never changes."""
    return [record(algorithm, seed, [e] * 10, **kwargs) for seed, e in enumerate(errors)]


def results(*runs):
    return Results(tuple(r for group in runs for r in group))


def entry(found, table, row, column):
    """The text of one table entry."""
    chosen = next(t for s in make_report(found).sections for t in s.tables if t.name == table)
    line = next(r for r in chosen.rows if r[0].text == row)
    return line[chosen.header.index(column) if isinstance(column, str) else column]


def verdict(found):
    """The last column of the first pairwise test."""
    tables = [t for s in make_report(found).sections for t in s.tables if t.name.startswith("tests-final")]
    return tables[0].rows[0][-1].text


SPREAD = [0.01 * i for i in range(20)]


@pytest.mark.parametrize(
    ("found", "printed"),
    [
        (results(flat("tpo", [0.071])), "7.10 (n=1); 0/1 solved"),
        (results(flat("tpo", [0.071, 0.093])), "7.1 and 9.3 (n=2); 0/2 solved"),
        (results(flat("tpo", [0.07] * 5)), "7.00 (all 5 seeds identical); 0/5 solved"),
        (results(flat("tpo", [0.01, 0.02, 0.03, 0.04, 0.05])), "3.0 [1.0, 5.0]; 4/5 solved"),
        (
            results(flat("tpo", SPREAD[:18]), [record("tpo", s, [0.5, None], status="diverged") for s in (18, 19)]),
            "18 [8, 40] (2/20 diverged, scored 100.0); 5/20 solved",
        ),
        (results([record("tpo", s, [0.5, None], status="diverged") for s in range(20)]), "diverged 20/20"),
    ],
    ids=["one seed", "two seeds", "identical", "five seeds", "some diverged", "all diverged"],
)
def test_final_errors_are_printed_as_the_seeds_allow(found, printed):
    """Never a zero-width bar, a dropped run or a nan."""
    assert entry(found, "summary", "tpo", 1).text == printed


@pytest.mark.parametrize(
    ("first", "second", "printed"),
    [
        ([0.1], [0.2], "n=1: no test with 1 seed"),
        ([0.1, 0.2], [0.5, 0.7], "n=2: smallest possible p .333 > .05 (Holm, 1 test): cannot reject; need 4 seeds"),
        (SPREAD, SPREAD, "identical (bitwise)"),
        ([0.2] * 5, [0.3] * 5, "deterministic difference -0.1; no sampling variance, no test"),
        (SPREAD, [e + 0.5 for e in SPREAD], "better"),
        (SPREAD, [e + 0.01 * (-1) ** i for i, e in enumerate(SPREAD)], "not distinguishable"),
    ],
)
def test_verdicts_say_what_could_be_known(first, second, printed):
    """A reason where there is no test; `not distinguishable` only where there was one."""
    assert verdict(results(flat("tpo", first), flat("grpo", second))) == printed


def test_times_are_printed_with_their_counts():
    """Reached by all, by none."""
    found = results(flat("tpo", [0.0] * 20), flat("grpo", [0.5] * 20))
    assert entry(found, "summary", "tpo", 2).text == "0 [0, 0] (20/20)"
    assert entry(found, "summary", "grpo", 2).text == ">90 (0/20; rate <= 16%)"
    assert not entry(found, "summary", "grpo", 2).best


def test_one_seed_is_footnoted():
    """No uncertainty, said below the table."""
    assert "1 seed: no uncertainty" in render_markdown(results(flat("tpo", [0.1])))


def test_the_effect_of_dropping_diverged_runs_is_shown_beside():
    """The default scores them; the sensitivity line drops them."""
    runs = [record("tpo", s, [0.5, None], status="diverged") for s in (5,)]
    found = render_markdown(results(flat("tpo", [0.01, 0.02, 0.03, 0.04, 0.05]), runs))
    assert "without the 1 diverged run 3.0 [1.0, 5.0]" in found


def test_a_rule_without_result_is_missing_and_its_reason_listed():
    """Never 0, never left out."""
    lost = [record("ppo", s, [], status="failed", reason="killed | out of memory") for s in (0, 1)]
    found = results(flat("tpo", [0.1] * 2), lost)
    assert entry(found, "summary", "ppo", 1).text == "missing"
    assert r"| simulated | - | ppo | 0, 1 | failed | killed \| out of memory |" in render_markdown(found)


def test_unequal_seeds_are_named():
    """A rule with fewer seeds says how many, and the test how many it used."""
    found = results(flat("tpo", SPREAD), flat("grpo", [0.5 + e for e in SPREAD[:17]]))
    assert entry(found, "summary", "grpo", 1).text.endswith("; n=17")
    assert entry(found, "tests-final5", "sequence", "Seeds").text == "17 pairs (common of 20 and 17), r=1.00"


def test_the_best_group_is_bold_and_the_best_mean_underlined():
    """tpo and grpo are alike, dg is far."""
    near = [e + 0.01 * (-1) ** (i // 2) + 0.001 for i, e in enumerate(SPREAD)]
    found = results(flat("tpo", SPREAD), flat("grpo", near), flat("dg", [0.5 + e for e in SPREAD]))
    marks = [(c.best, c.leader) for c in (entry(found, "summary", r, 1) for r in ("tpo", "grpo", "dg"))]
    assert marks == [(True, True), (True, False), (False, False)]
    text = render_markdown(found)
    assert re.search(r"\| tpo \| \*\*<ins>9.5 \[.*?</ins>\*\* \|", text)
    assert re.search(r"\| grpo \| \*\*9.6 \[[^|<]*\*\* \|", text)
    assert re.search(r"\| dg \| 59.5 \[", text)
    assert r"tpo & \tpostack{\tpobest{\tpoleader{9.5 [" in latex(document_of(make_report(found)))


def test_without_a_possible_test_only_the_best_mean_is_bold():
    """And the table says why."""
    found = results(flat("tpo", [0.01, 0.02]), flat("grpo", [0.3, 0.5]))
    assert [entry(found, "summary", r, 1).best for r in ("tpo", "grpo")] == [True, False]
    assert "no test possible, only the best mean is bold" in render_markdown(found)


def test_a_grid_has_cells_as_rows_with_p0_and_rules_as_columns():
    """Cells in the order of their numbers; rules in the order of the catalogue, TPO first."""
    table = make_report(grid(["grpo", "tpo"], lengths=(10, 8), seeds=3)).sections[0].tables[0]
    assert table.header == ("Cell", "p0", "tpo", "grpo")
    assert [(r[0].text, r[1].text) for r in table.rows] == [("length=8", "0.0039"), ("length=10", "0.00098")]


def test_p0_is_the_geometric_mean_over_seeds():
    """sqrt(.1 x .001) = .01."""
    runs = [record("tpo", s, [0.1] * 10, success=p) for s, p in enumerate([0.1, 0.001])]
    assert make_report(results(runs)).sections[0].cells[0].success == pytest.approx(0.01)


def test_rules_that_are_alike_under_every_matching_appear_under_each():
    """`any` repeats beside `prompts` and `interactions`."""
    found = results(
        flat("grpo", [0.2], matching="prompts"), flat("grpo", [0.3], matching="interactions"), flat("tpo", [0.1])
    )
    rows = make_report(found).sections[0].tables[0].rows
    assert [r[0].text for r in rows] == ["sequence, matching=interactions", "sequence, matching=prompts"]
    assert [r[2].text for r in rows] == ["10.0 (n=1); 0/1 solved"] * 2


def test_the_signature_says_how_the_numbers_were_made():
    """Suite, metric, seeds, pairing, interval, test, family, resamples."""
    found = make_report(grid(["tpo", "grpo", "dg"], lengths=(4, 6), seeds=10))
    assert found.sections[0].tables[0].signature == (
        "tpobench 0.1.0|suite:simulated|metric:final5|seeds:0-9|pair:yes|ci:bca-exp95|test:sign-flip|adj:holm/3|B:9999"
        "|rng:0|diverged:worst"
    )


def test_markdown_and_latex_are_rounded_views_of_the_json():
    """Every table text stands in both, every number that a text rounds stands in the json beside it."""
    report = make_report(grid(["tpo", "grpo"], lengths=(4, 8), seeds=12))
    tables = json.loads(json_text(document_of(report)))["suites"][0]["tables"]
    md, tex = render_markdown(grid(["tpo", "grpo"], lengths=(4, 8), seeds=12)), latex(document_of(report))
    rounded = {}
    for name, cell in ((table["name"], cell) for table in tables for row in table["rows"] for cell in row):
        assert md_escape(cell["text"]) in md
        assert all(tex_escape(part) in tex for part in cell["text"].split("; "))
        e = cell.get("estimate", {})
        found = re.match(r"(\d+\.?(\d*)) \[(\d+\.?\d*), (\d+\.?\d*)\]", cell["text"])
        if found and e.get("low") is not None:
            scale = 1 if name == "suite" or name.startswith("details-steps") else 100
            shown = [float(found.group(i)) for i in (1, 3, 4)]
            assert shown == [round(scale * v, len(found.group(2))) for v in (e["value"], e["low"], e["high"])]
            rounded[name] = rounded.get(name, 0) + 1
    assert {"final5", "area", "suite", "details-final5", "details-steps0.1m3"} <= set(rounded)


def test_csv_holds_every_seed_in_full_precision():
    """The mean of its rows is the estimate of the json, to the last bit that a sum leaves."""
    report = make_report(grid(["tpo", "grpo"], lengths=(4, 8), seeds=12))
    rows = list(csv.DictReader(io.StringIO(csv_text(document_of(report)))))
    assert len(rows) == 48
    chosen = [float(r["final5"]) for r in rows if r["algorithm"] == "tpo" and r["cell"] == "length=8"]
    cell = json.loads(json_text(document_of(report)))["suites"][0]["tables"][0]["rows"][1][2]
    assert sum(chosen) / 12 == pytest.approx(cell["estimate"]["value"], rel=1e-14)
    assert [json.loads(json_text(document_of(report)))["runs"][i]["final5"] for i in range(48)] == [
        float(r["final5"]) for r in rows
    ]


def test_json_has_no_nan_and_never_is_null():
    """Infinite times become null; strict parsers read the file."""
    text = json_text(document_of(make_report(results(flat("tpo", [0.5] * 3)))))
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in json"))
    assert content["runs"][0]["steps0.1m3"] is None


def test_two_writes_are_equal_byte_by_byte(tmp_path):
    """Figures included, and independent of the order of the records."""
    found = grid(["tpo", "grpo"], lengths=(4,), seeds=3)
    shuffled = Results(tuple(reversed(found.records)))
    first = write_report(found, tmp_path / "a")
    second = write_report(shuffled, tmp_path / "b")
    assert [p.relative_to(tmp_path / "a") for p in first] == [p.relative_to(tmp_path / "b") for p in second]
    assert {p.suffix for p in first} == {".md", ".tex", ".csv", ".json", ".html", ".png", ".pdf", ".svg"}
    assert [p.name for p, q in zip(first, second, strict=True) if p.read_bytes() != q.read_bytes()] == []


def test_the_tables_of_a_grid_do_not_depend_on_the_order_of_the_records():
    """Resampling starts from the same seed for every entry."""
    found = grid(["tpo", "grpo"], lengths=(4, 8), seeds=6)
    assert json_text(document_of(make_report(found))) == json_text(
        document_of(make_report(Results(tuple(reversed(found.records)))))
    )


def test_every_figure_of_the_markdown_exists(tmp_path):
    """Links resolve, captions name band and seeds."""
    found = grid(["tpo", "grpo"], lengths=(4, 8), seeds=3)
    write_report(found, tmp_path, ["md"], figure_formats=["png"], figures=["all"])
    text = (tmp_path / "report.md").read_text()
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
    assert len(links) == len(set(links)) == 7
    assert all((tmp_path / link).is_file() for link in links)
    assert "mean over 3 seeds. Band: pointwise 95% bootstrap interval of the mean" in text


def test_a_table_without_a_signature_has_no_line_for_one():
    """As those of scorecards, whose page says how all of them came about."""
    table = Table("t", "Title", ("a",), ((TableCell("1"),),), "")
    assert block_text(table).splitlines() == ["### Title", "", "| a |", "| --- |", "| 1 |"]


def test_markdown_escapes_what_would_become_markup():
    """Cell borders, emphasis, tags and links; rule names stay readable."""
    assert md_escape("a|b *c* _d_ <b> [e](f) g_h") == r"a\|b \*c\* \_d\_ \<b> [e\](f) g_h"
    assert md_escape(">90 (0/20; rate <= 16%)") == ">90 (0/20; rate <= 16%)"


def test_times_under_budgets_that_differ_are_compared_by_the_log_rank_test():
    """Ranks of censored times need one budget; the log-rank test does not, and the table says so."""
    found = results(flat("tpo", SPREAD), [record("grpo", s, [0.3] * 20) for s in range(20)])
    assert "budgets differ (90, 190 updates): log-rank tests, differences up to the least" in render_markdown(found)
    row = entry(found, "tests-steps0.1m3", "sequence", "A is")
    assert (row.text, row.data["test"], row.data["difference"]) == ("better", "logrank", -45.0)


def test_runs_measured_at_different_steps_are_refused():
    """One rule in one cell has one grid of steps."""
    first = record("tpo", 0, [0.1] * 10)
    other = replace(first, spec={**first.spec, "seed": 1}, curve={**first.curve, "step": list(range(10))})
    with pytest.raises(CorruptResults, match="different steps"):
        make_report(Results((first, other)))


def test_nothing_finished_is_nothing_to_report():
    """One line, with the reason of the first failure."""
    found = Results((record("tpo", 0, [], status="failed", reason="worker died"),))
    with pytest.raises(NothingToDo, match=r"1 failed or skipped: worker died"):
        make_report(found)


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    """With the valid ones named."""
    with pytest.raises(UsageError, match="unknown report format 'markdwn'"):
        write_report(results(flat("tpo", [0.1])), tmp_path, ["markdwn"])
    assert list(tmp_path.iterdir()) == []


def test_damaged_records_are_mentioned():
    """The count of what was left out."""
    found = SimpleNamespace(records=flat("tpo", [0.1]), quarantined=3)
    assert "3 damaged records were left out" in render_markdown(found)


def test_other_metrics_are_not_percentages():
    """Only errors are shares."""
    reporting = {**REPORTING, "metric": "loss"}
    runs = [record("tpo", s, [0.1 * (s + 1)] * 10, reporting=reporting, loss=[0.1 * (s + 1)] * 10) for s in range(3)]
    table = make_report(results(runs)).sections[0].tables[0]
    assert table.header[1] == "Loss ↓, mean of the last 5 evaluations"
    assert table.rows[0][1].text.startswith("0.20 [0.00, 0.45]")


@pytest.mark.parametrize(
    ("low", "high", "printed"),
    [(0.03, 0.227, "8.7 [3.0, 22.7]"), (0.0866, 0.0874, "8.700 [8.660, 8.740]"), (0.0, 0.9, "9 [0, 90]")],
)
def test_two_digits_of_the_interval_decide_the_rounding(low, high, printed):
    """Half widths of 9.85, .04 and 45 percent."""
    assert mean_text(Estimate(0.087, low, high, 20, "t"), 100.0) == printed


def test_small_things_are_printed_shortly():
    """p values without leading zero, seeds as ranges."""
    assert [p_text(p) for p in (1.0, 0.31, 0.0034, 0.0002)] == ["1", ".31", ".0034", "<.001"]
    assert seed_ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


def test_a_run_lost_after_its_last_measurement_scores_the_worst_value():
    """The status decides: final error 1 and never below a threshold, whatever the curve shows."""
    arm = make_report(results([record("tpo", 0, [0.0] * 10, status="diverged")])).sections[0].cells[0].arms["tpo"]
    assert (arm.final.tolist(), arm.times(0.1).tolist()) == ([1.0], [float("inf")])


def test_the_area_of_a_diverged_run_is_filled_with_the_worst_value():
    """.5, .5, 1, 1 over equal steps: (.5 + .75 + 1) / 3."""
    arm = make_report(results([record("tpo", 0, [0.5, 0.5, None, None], status="diverged")])).sections[0].cells[0].arms
    assert scalar_of("area", arm["tpo"].reporting, 2).values(arm["tpo"]).tolist() == pytest.approx([0.75])


def test_tables_say_which_rule_made_its_own_nan():
    """A mistake in a rule is no divergence of what it trains, though it is scored as one."""
    reason = "not finite at step 5: the rule's own credit is not finite in update 4"
    broken = [replace(r, status="diverged", reason=reason) for r in flat("mine", [0.5, 0.5])]
    plain = [replace(r, status="diverged", reason="not finite at step 5") for r in flat("ppo", [0.5, 0.5])]
    text = render_markdown(results(flat("tpo", [0.1, 0.2]), broken, plain))
    assert f"mine made what is not finite itself in 2 diverged runs, the first {reason}" in text
    assert "ppo made" not in text
