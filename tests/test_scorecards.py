"""Scorecards as people and scripts read them: counts, texts, full numbers, and how they were made."""

import csv
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from reproduce_helpers import falling, run_of

from tpobench.errors import UsageError
from tpobench.paper.evidence import gather
from tpobench.paper.item_plans import plan_items
from tpobench.paper.items import ITEMS
from tpobench.paper.scorecard import score
from tpobench.paper.scorecards import write_scorecards
from tpobench.paper.scorecards.documents import document_of, summary_document
from tpobench.paper.scorecards.exports import data_of, rows_of
from tpobench.paper.scorecards.tables import heading, tables_of
from tpobench.paper.scorecards.texts import what
from tpobench.suites.load import load_suite
from tpobench.tables.markdown import markdown


@cache
def card(name="table3", scale="paper"):
    """Table 3 as if every rule ended where the prompt-matched half of the table says, plus a little for every seed."""
    item = ITEMS[name]
    suites = {part.suite: load_suite(part.suite, scale=scale) for part in item.parts}
    printed = {(n.algorithm, n.cell["length"], n.matching): n.printed.value for n in ITEMS["table3"].numbers}
    evidence = {}
    for suite, plan in plan_items([item], suites, None).items():
        known = [
            run_of(s, plan.suite, falling(_end(printed, s), s.seed))
            for s in plan.specs
            if s.algorithm != "ppo" or s.cell["length"] != 9
        ]
        evidence[suite] = gather(plan, known)
    return score(item, evidence, scale)


def _end(printed, spec):
    """Above the bound where a bound is printed; 30 % at lengths that the table does not have."""
    return min(printed.get((spec.algorithm, spec.cell.get("length"), "prompts"), 0.3) + 0.01, 0.97)


def row(found, **wanted):
    (only,) = [r for r in rows_of(found) if wanted.items() <= r.items()]
    return only


def test_the_head_counts_numbers_and_claims_by_verdict():
    """40 numbers, two of them of a rule and length that was not run."""
    counts = card().number_counts
    assert sum(counts.values()) == 40
    assert counts["not run"] == 2
    assert heading(card())[1] == (
        f"printed numbers: {counts['agrees']} agree, {counts['differs']} differ, 2 not run"
    )  # fmt: skip
    assert counts["agrees"] >= 18


def test_a_number_stands_beside_ours_with_its_prediction_interval():
    """In the unit of the paper, with the seeds of both."""
    found = row(card(), kind="number", cell="length=7, matching=prompts", rule="tpo")
    assert (found["printed"], found["printed_seeds"], found["seeds"]) == ("6.9", 20, 20)
    assert found["low"] < found["ours"] < found["high"]
    page = markdown(document_of(card()))
    (line,) = [x for x in page.splitlines() if x.startswith("| length=7, matching=prompts | tpo |")]
    assert "| last error, % | 6.9 (n=20) |" in line
    assert f"{100 * found['ours']:.1f}"[:3] in line
    assert "the paper prints more than one number for this configuration, also 1.8 (tab3/interaction/H7)" in line


def test_figures_stand_above_the_numbers_with_their_captions():
    """A picture says nothing of its seeds."""
    lines = markdown(document_of(card(), {Path("figures/table3.png"): "Final error, 20 seeds"})).splitlines()
    at = lines.index("![table3](figures/table3.png)")
    assert lines[at + 2] == "*Final error, 20 seeds*"
    assert at < lines.index("### Printed numbers")


def test_what_is_computed_from_a_rule_is_named_in_words():
    """Of the gains by concentration the bin is named, of a score whose it is and when."""
    named = {what(SimpleNamespace(number=n)) for n in ITEMS["fig4b"].numbers}
    assert "surplus gain at concentration [0.75, 1]" in named
    assert "u of the drawn class, not rewarded" in named
    assert "expected update vs PG" in named


def test_a_bound_has_a_one_sided_limit():
    """`>95` stands against the upper limit of what other seeds would give."""
    page = markdown(document_of(card()))
    (line,) = [x for x in page.splitlines() if x.startswith("| length=10, matching=prompts | dg |")]
    assert "| >95 (n=20) |" in line
    assert "| <= 9" in line
    assert "| agrees |" in line


def test_both_halves_of_a_grouped_rule_are_the_same_runs():
    """Ours are equal, what is printed is not."""
    left, right = (row(card(), kind="number", cell=f"length=10, matching={m}", rule="tpo")
                   for m in ("prompts", "interactions"))  # fmt: skip
    assert left["ours"] == right["ours"]
    assert (left["printed"], right["printed"]) == ("7.4", "19.0")


def test_what_was_not_run_says_why():
    """Numbers and comparisons of PPO at length 9."""
    found = row(card(), kind="number", cell="length=9, matching=prompts", rule="ppo")
    assert (found["verdict"], found["note"], found["ours"]) == ("not run", "none of 20 runs is done", "")
    assert card().not_run == "none of 20 runs is done"
    answer = row(card(), kind="comparison", cell="length=9, matching=prompts", what="tpo < ppo: final error")
    assert (answer["verdict"], answer["note"]) == ("not run", "none of 20 runs is done")


def test_the_signature_names_what_everything_was_made_with():
    """Scale, suites, seeds, interval, tests, adjustment."""
    parts = card().signature.split("|")
    assert "scale:paper" in parts
    assert "suites:terminal_reward v1" in parts
    assert "seeds:0-19" in parts
    assert "numbers:studentized-prediction" in parts
    assert any(p.startswith("claims:") and "sign-flip" in p for p in parts)
    assert f"adj:max-p-holm/{card().claim_family}+holm/{card().family}" in parts
    assert markdown(document_of(card())).splitlines()[-1] == f"`{card().signature}`"


def test_deviations_stand_below_every_page():
    """Those of the suite file."""
    page = markdown(document_of(card()))
    assert all(f"terminal_reward deviates from the paper: {text[:40]}" in page for text in card().suites[0].deviations)


def test_full_numbers_are_in_the_json():
    """Printed text and value, prediction, every comparison."""
    found = data_of(card())
    first = found["numbers"][0]
    assert (first["printed"]["text"], first["printed"]["value"]) == ("6.9", pytest.approx(0.069))
    assert first["prediction"]["runs"] == 20
    assert found["claims"][0]["comparisons"][0]["found"]["family"] == card().family
    assert found["counts"]["numbers"] == dict(card().number_counts)


def test_files_are_named_by_item_and_scale_and_the_same_card_gives_the_same_bytes(tmp_path):
    """And CSV and JSON can be read again."""
    for place in ("a", "b"):
        write_scorecards([card(), card("fig9")], tmp_path / place, ("md", "json", "csv"))
    names = sorted(p.name for p in (tmp_path / "a").glob("[!.]*"))
    assert names == sorted(f"{stem}.{e}" for stem in ("table3", "fig9", "scorecard") for e in ("md", "json", "csv"))
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    assert len(json.loads((tmp_path / "a" / "scorecard.json").read_text())["items"]) == 2
    table = list(csv.DictReader((tmp_path / "a" / "table3.csv").read_text().splitlines()))
    assert len([r for r in table if r["kind"] == "number"]) == 40
    with pytest.raises(UsageError, match="unknown scorecard format 'pdf'"):
        write_scorecards([card()], tmp_path / "c", ("pdf",))


def test_the_summary_has_a_row_per_item_with_the_reason_of_what_is_missing():
    """Counts in the order of the header."""
    page = markdown(summary_document([card(), card("fig9")]))
    (line,) = [x for x in page.splitlines() if x.startswith("| fig9 |")]
    assert line.startswith(
        "| fig9 | Language models | 0 | 0 | 0 | 0 | 8 | 1 of 1 | 0 | 0 | 0 | 0 | 2 | 2 | language models"
    )
    assert "[table3](table3.md)" in page


def test_at_the_quick_scale_values_are_left_out():
    """No table of numbers, the claims on the quick cells."""
    quick = card("table3", "quick")
    assert [t.name for t in tables_of(quick)] == ["claims", "comparisons"]
    assert heading(quick)[1].endswith("values are not (40 printed numbers)")
    assert "task.prompts 100 -> " in markdown(document_of(quick))
    assert "length=3" in markdown(document_of(quick))
