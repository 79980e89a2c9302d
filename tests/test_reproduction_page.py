"""The published page of reproduction says what the committed records say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from golden import differences

from tpobench.paper.evidence import gather
from tpobench.paper.item_plans import plan_items
from tpobench.paper.items import ITEMS
from tpobench.planning.plan import plan_runs
from tpobench.records.results import load_results
from tpobench.records.store import FINISHED
from tpobench.suites.load import load_suite

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAGE = ROOT / "docs" / "reproduction.md"
SUITES = sorted({part.suite for item in ITEMS.values() for part in item.parts})
sys.path.insert(0, str(ROOT / "benchmarks"))

import agreement  # noqa: E402 - benchmarks are no package
import reproduction_page  # noqa: E402
from documents import put_between  # noqa: E402


def test_the_scorecards_of_the_page_are_the_committed_ones():
    """Made again from results/reproduction, nothing changes."""
    text, found = PAGE.read_text(encoding="utf-8"), reproduction_page.page(RESULTS)
    assert put_between(text, reproduction_page.BEGIN, reproduction_page.END, found, name="page") == text


@pytest.mark.parametrize(
    ("item", "scale"), [("fig1", "paper"), ("fig3", "paper"), ("fig4b", "paper"), ("table5", "quick")]
)
def test_the_committed_scorecards_are_those_of_the_committed_records(command_line, tmp_path, item, scale):
    """Scored again from the packed runs, every number is the same, but for what processors add up differently."""
    for packed in RESULTS.glob("*.jsonl"):
        (tmp_path / packed.name).symlink_to(packed)
    code, _, err = command_line("reproduce", item, "--no-run", "--scale", scale, "--out", str(tmp_path))
    assert code == 0, err
    name = f"{item}{'-quick' * (scale == 'quick')}.json"
    again, published = (json.loads((folder / "reproduction" / name).read_text()) for folder in (tmp_path, RESULTS))
    assert list(differences(again, published)) == []


@pytest.mark.parametrize("suite", SUITES)
def test_the_committed_records_hold_all_that_reproduce_runs_at_the_quick_scale(suite):
    """Every seed of every rule in every cell, finished."""
    plan = plan_items(ITEMS.values(), {name: load_suite(name, scale="quick") for name in SUITES}, None)[suite]
    assert finished(plan) == len(plan.specs) > 0


@pytest.mark.parametrize("suite", ["mnist", "terminal_small", "skewed"])
def test_the_committed_records_hold_suites_at_the_settings_of_the_paper(suite):
    """Every default seed of every default rule."""
    plan = plan_runs(load_suite(suite))
    assert finished(plan) == len(plan.specs) > 0


def finished(plan):
    """Runs of a plan that are finished among the committed ones."""
    known = gather(plan, load_results(RESULTS / f"{plan.suite.name}.jsonl").records).records
    return sum(r.status in FINISHED for r in known)


def test_our_stochastic_suites_agree_with_the_reference_s_runs():
    """The table of the page, and none of its tests rejects: final errors and curves, six rules and four."""
    rows = agreement.compare_all(RESULTS)
    text = PAGE.read_text(encoding="utf-8")
    again = put_between(text, agreement.BEGIN, agreement.END, agreement.table(rows), name="page")
    assert list(differences(again.splitlines(), text.splitlines())) == []
    assert len(rows) == 6 + 4
    assert min(p for row in rows for p in row.p) > 0.05
