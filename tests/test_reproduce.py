"""The paper as data: nothing is left out, suites that are there measure it, and what follows from rules holds."""

import csv
import math
import re
from collections import Counter
from pathlib import Path

import pytest
from reproduce_helpers import falling, run_of

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.errors import UsageError
from tpobench.paper import mechanism
from tpobench.paper.claim_verdicts import judge
from tpobench.paper.evidence import Evidence, gather
from tpobench.paper.exact import exact
from tpobench.paper.item_plans import NoSuchCell, next_value, picked, plan_items
from tpobench.paper.items import ALIASES, ITEMS, chosen
from tpobench.paper.number_verdicts import measure
from tpobench.paper.printed import NOTES, contradictions, numbers, parse_printed
from tpobench.paper.questions import questions
from tpobench.paper.scorecards.texts import what
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import SCALES, load_suite
from tpobench.tasks.mechanism import EDGES
from tpobench.training.loop import train

ROWS = list(csv.DictReader((Path(__file__).parent / "extracts" / "paper_rows.csv").read_text().splitlines()))
PLAIN = re.compile(r"[~<>]?\d+(\.\d+)?|-")
SUITES = sorted({part.suite for item in ITEMS.values() for part in item.parts})


def key(row):
    return row["place"], row["method"], row["quantity"]


def planned(scale, items):
    """Evidence without any run, for what is planned."""
    suites = {part.suite: load_suite(part.suite, scale=scale) for item in items for part in item.parts}
    return {name: Evidence(plan) for name, plan in plan_items(items, suites, [0]).items()}


def test_everything_that_the_paper_prints_is_represented():
    """223 rows: a number, a setting, or a claim that names it."""
    assert len(ROWS) == 223
    printed = {(n.place, n.method, n.quantity) for n in numbers()}
    covered = {tuple(name.split("|")) for item in ITEMS.values() for c in item.claims for name in c.covers}
    assert {key(row) for row in ROWS} == printed | covered
    assert not printed & covered


def test_the_printed_gain_of_figure_4b_is_of_the_update_and_a_bin_of_its_claims_and_its_panel():
    """So that a number, a claim and a figure are of one evaluation."""
    (gain,) = [n for n in numbers() if n.kind == "ratio"]
    assert gain.arguments == (*mechanism.BINS["[0.75, 1]"], str(mechanism.AT))
    assert len(mechanism.BINS) == len(EDGES) + 1


def test_printed_texts_are_those_of_the_paper():
    """Where a row holds one number it is that; where it holds several, each is in it."""
    values = {}
    for row in ROWS:
        values.setdefault(key(row), []).append(row["value"])
    for n in numbers():
        if n.measured or PLAIN.fullmatch(n.text):
            found = values[n.place, n.method, n.quantity]
            assert any(n.text == v or (not PLAIN.fullmatch(v) and n.text in v) for v in found), (n.place, n.text)
    single = Counter(v for found in values.values() for v in found if PLAIN.fullmatch(v))
    texts = Counter(n.text for n in numbers())
    assert not single - texts


@pytest.mark.parametrize(
    ("text", "percent", "found"),
    [
        ("6.9", True, (6.9, "", 0.05)), ("14", True, (14, "", 0.5)), ("58", False, (58, "", 0)),
        ("0.36", True, (0.36, "", 0.005)), (">95", True, (95, "above", 0)), ("<0.1", True, (0.1, "below", 0)),
        ("-", False, (math.inf, "", 0)), ("~90", True, (90, "", 5)), ("~0.4", True, (0.4, "", 0.05)),
        ("~28", False, (28, "", 0.5)), ("-1/3", False, (-1 / 3, "", 0)), ("1e-3", False, (0.001, "", 0)),
        ("exp(10/3)", False, (math.exp(10 / 3), "", 0)),
    ],
)  # fmt: skip
def test_a_text_is_a_value_a_bound_and_what_rounding_leaves_open(text, percent, found):
    """Half a unit of the last digit; whole numbers of updates and bounds are exact."""
    value, bound, rounding = parse_printed(text, percent=percent)
    assert (value, bound) == (pytest.approx(found[0]), found[1])
    assert rounding == pytest.approx(found[2])


def test_a_text_that_is_no_number_is_refused():
    """A slip in the file is seen at once."""
    with pytest.raises(ValueError, match="'6,9', which is no number"):
        parse_printed("6,9")


def test_labels_of_evaluations_become_updates_done():
    """The paper's steps 1,600 and 2,200 are the policies after 1,800 and 2,400 updates."""
    found = {n.algorithm: n.printed.value for n in numbers() if n.place == "fig4a" and n.kind == "crossing"}
    assert found == {"tpo": 1800, "dg": 2400}


def test_numbers_that_the_paper_itself_contradicts_say_so():
    """Grouped rules are one run under both matchings; one configuration of section 4 is printed four times."""
    by_place = {(n.place, n.algorithm): contradictions(n) for n in numbers() if n.kind == "final"}
    assert "19.0 (tab3/interaction/H10)" in by_place["tab3/prompt/H10", "tpo"]
    assert by_place["tab3/prompt/H10", "ppo"] == ""
    assert "2.6 (fig12/K32)" in by_place["fig13", "tpo"]
    assert "12.7 (sec4.1)" in by_place["fig15/ep4", "grpo"]
    steps = {(n.place, n.algorithm): contradictions(n) for n in numbers() if n.kind == "crossing"}
    assert "also 352 (tab2/bag/reverse_copy)" in steps["tab1/V2", "grpo_token"]


def test_every_number_belongs_to_an_item_and_its_notes_exist():
    """No line of the file is out of reach."""
    assert {n.item for n in numbers()} <= ITEMS.keys()
    assert {n.note for n in numbers()} - {""} <= NOTES.keys()
    assert all(n.printed.seeds > 0 for n in numbers() if n.measured)


def test_every_number_is_measured_by_runs_of_its_own_item():
    """Suite, cell, matching and rule of each are planned by the item alone, at the scale of the paper."""
    for item in ITEMS.values():
        own = planned("paper", [item])
        for n in (n for n in item.numbers if n.measured):
            assert own[n.suite].place(n.algorithm, n.cell, n.matching).algorithm == n.algorithm, n.place


@pytest.mark.parametrize("name", [n for n, item in ITEMS.items() if item.claims and item.parts])
def test_every_claim_can_be_answered_by_the_runs_of_its_item(name):
    """At the scale of the paper each claim has comparisons, and all their runs are planned."""
    own = planned("paper", [ITEMS[name]])
    for claim in ITEMS[name].claims:
        asked = [(c.suite, q) for c in claim.contrasts for q in questions(c, own[c.suite].plan.suite)]
        assert bool(asked) is not bool(claim.why_not), claim.text
        for suite, question in asked:
            for term in (question.low, question.high):
                for algorithm in filter(None, (term.algorithm, term.minus)):
                    cell = {k: v for k, v in term.cell.items() if k != "matching"}
                    assert own[suite].place(algorithm, cell, str(term.cell.get("matching", "")))


@pytest.mark.parametrize("name", [n for n, item in ITEMS.items() if item.claims and item.parts])
def test_claims_find_their_cells_at_the_quick_scale(name):
    """Most claims of an item can be answered with the quick cells, derived from the suites; the others say why not."""
    own = planned("quick", [ITEMS[name]])
    judged = judge(ITEMS[name].claims, own)
    for one in judged:
        assert all("none of" in a.reason or "has no runs of" in a.reason for a in one.answers)
        assert one.answers or one.reason
    answerable = [j for j in judged if j.answers and all("none of" in a.reason for a in j.answers)]
    assert len(answerable) * 2 > sum(not j.claim.why_not for j in judged)


def test_items_are_found_by_name_alias_and_all():
    """Figures that show what a table counts are that table."""
    assert [i.name for i in chosen(["fig7", "table3", "fig2"])] == ["table3", "fig2"]
    assert chosen(["fig2", "all"]) == list(ITEMS.values())
    assert set(ALIASES.values()) <= ITEMS.keys()
    with pytest.raises(UsageError, match="did you mean 'fig2'"):
        chosen(["figg2"])


@pytest.mark.parametrize(
    ("pick", "found"),
    [(None, (8, 4, 16)), ("min", (4,)), ("max", (16,)), ("below_max", (8,)), (8, (8,)), ((4, 32), (4,)),
     ((1, 2), (8, 4, 16))],
)  # fmt: skip
def test_cells_that_stand_in_for_the_paper_s(pick, found):
    """By place on the axis, by value, or all where none of several values is there."""
    assert picked((8, 4, 16), pick) == found


def test_a_cell_that_is_not_there_is_said():
    """Not silently replaced."""
    with pytest.raises(NoSuchCell, match="epochs=2 is no cell of this scale, which has 1, 4"):
        picked((1, 4), 2, "epochs")
    with pytest.raises(NoSuchCell, match="length has one value at this scale, 7"):
        picked((7,), "max", "length")
    assert (next_value((8, 4, 16), 4), next_value((8, 4, 16), 16)) == (8, None)


EXACT = [n for n in numbers() if n.kind == "exact"]


@pytest.mark.parametrize("number", EXACT, ids=lambda n: f"{n.place}-{n.statistic}-{n.text}")
def test_numbers_that_follow_from_the_rules_agree(number):
    """Computed through the catalogue's credit and fit; TPO's beta(p) falls as p -> 0 as DG's does."""
    verdict = "differs" if (number.algorithm, number.statistic) == ("tpo", "exact:vanishing") else "agrees"
    assert measure(number, {}).verdict == verdict


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("tpo", ("coefficient", "0.001"), 0.0263),  # .001 * 27.03 / (.999 + .02803)
        ("dg", ("coefficient", "0.001"), 1 / 1001),
        ("grpo", ("coefficient", "0.2"), 0.5),
        ("tpo", ("vanishing",), 1.0), ("reinforce", ("vanishing",), 1.0), ("grpo", ("vanishing",), 0.5),
        ("grpo", ("flat", "first"), 0.0), ("tpo", ("flat", "later"), 1.0), ("grpo_no_kl", ("flat", "later"), 0.0),
        ("", ("first_success", "why"), 1 / 256), ("", ("all_fail", "why"), (255 / 256) ** 32),
    ],
)  # fmt: skip
def test_what_is_proved_or_computed_by_hand(name, arguments, value):
    """By the formulas of the appendices; TPO's update of a group without a success is p_old - p itself."""
    assert exact(name, arguments) == pytest.approx(value, abs=2e-4)


def test_what_is_not_as_proved_is_seen():
    """Without the anchor the target is not the maximizer; group PG is not pulled back; GRPO's gradient is not p - q."""
    assert exact("tpo_no_anchor", ("proposition", "maximizer")) > 0.01
    assert exact("group_pg", ("flat", "later")) == 0
    assert exact("grpo", ("proposition", "gradient")) > 0.01


def test_a_rule_that_is_not_the_paper_s_has_another_coefficient(monkeypatch):
    """At twice the temperature lambda is exp(5/3), and beta(.1) is .30."""
    monkeypatch.setitem(ALGORITHMS, "tpo", ALGORITHMS["tpo"].with_hyper(eta=2.0))
    assert exact("tpo", ("odds",)) == pytest.approx(math.exp(5 / 3))
    p, by = 0.1, math.exp(5 / 3)
    assert exact("tpo", ("coefficient", "0.1")) == pytest.approx(p * (by - 1) / (1 - p + by * p))
    found = [measure(n, {}) for n in EXACT if n.algorithm == "tpo" and n.text in {"0.73", "~28"}]
    assert [m.verdict for m in found] == ["differs", "differs"]


def test_the_suites_train_with_the_paper_s_settings():
    """Read from the specs of the planned runs, and from the catalogue."""
    found = [measure(n, {}) for n in ITEMS["settings"].numbers]
    assert len(found) == 65
    others = {
        (m.number.algorithm, *m.number.arguments): (m.number.text, m.ours) for m in found if m.verdict != "agrees"
    }
    assert others == {
        ("", "transformer.heads"): ("4", "2"), ("", "transformer.others"): ("AdamW", "Nesterov Adam without decay"),
        ("remax", "rule.reference"): ("yes", "no"), ("pmpo", "rule.reference"): ("yes", "no"),
        ("mdpo", "rule.group"): ("no", "yes"), ("awr", "rule.group"): ("no", "yes"),
        **{(name, "rule.critic"): ("yes", "no") for name in ("awr", "mpo", "vmpo")},
    }  # fmt: skip
    assert all(m.notes for m in found if m.verdict != "agrees")
    assert {"training.learning_rate", "hyper.kl"} <= {what(m) for m in found}


def test_a_setting_that_is_not_the_paper_s_differs(monkeypatch):
    """GRPO's penalty, for one."""
    monkeypatch.setitem(ALGORITHMS, "grpo", ALGORITHMS["grpo"].with_hyper(kl=0.01))
    (found,) = [measure(n, {}) for n in ITEMS["settings"].numbers if n.place == "appF"]
    assert (found.verdict, found.ours) == ("differs", "0.01")


def test_language_models_are_listed_as_not_run_with_the_reason():
    """Every number that is measured, with the command, and the claims of which no small model says anything."""
    found = [measure(n, {}) for n in ITEMS["fig9"].numbers]
    assert [m.verdict for m in found] == ["agrees"] + ["not run"] * 8
    assert all("--suite gsm8k --algos tpo,grpo --device cuda" in m.notes[0] for m in found[1:])
    (early, end, *others) = judge(ITEMS["fig9"].claims, {})
    assert {j.verdict for j in (early, end, *others)} == {"not run"}
    assert all("language models" in j.reason for j in others)


def test_a_claim_compared_in_other_settings_is_neither_shown_nor_refuted():
    """Whatever the comparisons say: TPO ends significantly behind on a small model, which contradicts nothing."""
    card = ITEMS["fig9"]
    plan = plan_items([card], {"tiny_math": load_suite("tiny_math", scale="quick")}, range(10))["tiny_math"]
    ends = {"tpo": 0.6, "grpo": 0.3}
    records = [run_of(s, plan.suite, falling(ends[s.algorithm], s.seed)) for s in plan.specs]
    judged = judge(card.claims, {"tiny_math": gather(plan, records)})
    assert [j.verdict for j in judged] == ["other settings", "other settings", "not run", "not run"]
    assert {a.verdict for a in judged[1].answers} == {"contradicted"}


@pytest.mark.parametrize("suite", SUITES)
def test_suites_behind_items_have_both_scales(suite):
    """At the quick scale with seeds enough for a test, and fewer updates or seeds."""
    paper, quick = (load_suite(suite, scale=scale) for scale in SCALES)
    assert quick.name == f"{suite}-quick"
    assert quick.seeds >= 8
    assert quick.seeds * quick.training.steps < paper.seeds * paper.training.steps


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_the_suites_record_every_metric_that_is_asked_of_them(suite):
    """One job of the smallest version of each rule that claims or numbers name a diagnostic of."""
    asked = {}
    for item in ITEMS.values():
        for n in (n for n in item.numbers if n.suite == suite and n.measured and n.kind != "fact"):
            asked.setdefault(n.algorithm, set()).update(a for a in n.arguments if not a.replace(".", "").isdigit())
        for contrast in (c for one in item.claims for c in one.contrasts if c.suite == suite):
            for side in (*contrast.low, *contrast.high):
                scalar = side.scalar or contrast.scalar
                asked.setdefault(side.algorithm, set()).update({scalar.metric, scalar.over} - {""})
    jobs = {job.specs[0].algorithm: job for job in plan_runs(load_suite(suite, smoke=True)).jobs()}
    for rule, metrics in asked.items():
        if rule and metrics - {"error"}:
            assert metrics <= {row.metric for row in train(jobs[rule])}, rule
