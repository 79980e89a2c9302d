"""Claims and printed numbers against simulated runs: every verdict, and what is said where there is none."""

import math
from dataclasses import replace

import numpy as np
import pytest
from reproduce_helpers import STEPS, evidence_of, falling, run_of, sequences, tiny

from tpobench.paper.claim import AREA, FINAL, Claim, Measure, Quantity, below, claim
from tpobench.paper.claim_verdicts import judge, together
from tpobench.paper.evidence import Evidence, NotRun, gather
from tpobench.paper.items import Part
from tpobench.paper.number_verdicts import measure
from tpobench.paper.printed import SETTINGS, Number, numbers
from tpobench.paper.sample import sample
from tpobench.planning.plan import plan_runs
from tpobench.stats.reproduction import Printed
from tpobench.suites.load import load_suite

APART = {"tpo": 0.02, "grpo": 0.3, "dg": 0.6, "reinforce": 0.6}
TO_10 = Measure("steps", threshold=0.1)


def judged(claims, own):
    return judge(claims, {own.plan.suite.name: own})


def one(found, own):
    return judged([found], own)[0]


def number(statistic, value, *, algorithm="tpo", seeds=20, rounding=0.0, bound="", cell=None, matching="", **fields):
    """A printed number of the tiny suite."""
    return Number(
        item="table9", section="9", place="tab9", method=algorithm, quantity="error", text=f"{value:g}", suite="tiny",
        cell=cell or {}, matching=matching, algorithm=algorithm, statistic=statistic,
        printed=Printed(value, seeds, rounding, bound), **fields,
    )  # fmt: skip


# ---- claims


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [("tpo", "grpo", "holds"), ("grpo", "tpo", "contradicted"), ("tpo", ("grpo", "dg"), "holds"),
     ("grpo", ("tpo", "dg"), "contradicted")],
)  # fmt: skip
def test_what_the_seeds_can_tell_holds_or_is_contradicted(low, high, verdict):
    """Twenty paired seeds far apart; one contradicted comparison is enough for the claim."""
    assert one(claim("", "", below("tiny", low, high)), evidence_of(tiny(), APART)).verdict == verdict


def test_what_the_seeds_cannot_tell_points_the_same_way_or_is_undecided():
    """Two seeds whose order is as claimed, or the other way: no test can tell."""
    own = evidence_of(tiny(seeds=2), APART)
    for low, high, verdict in (("tpo", "grpo", "points the same way"), ("grpo", "tpo", "undecided")):
        found = one(claim("", "", below("tiny", low, high)), own)
        assert found.verdict == verdict
        assert "cannot reject" in found.answers[0].reason or found.answers[0].comparison.p > 0.05


@pytest.mark.parametrize(
    ("found", "spare", "proven", "verdict"),
    [
        (["holds", "points the same way"], 0, True, "holds"),
        (["holds", "points the same way"], 0, False, "points the same way"),
        (["holds", "undecided"], 0, False, "undecided"), (["holds", "contradicted"], 0, False, "contradicted"),
        (["holds", "not run"], 0, False, "not run"), (["contradicted", "not run"], 0, False, "contradicted"),
        (["holds", "holds", "contradicted"], 1, True, "holds"),
        (["holds", "undecided", "undecided"], 1, False, "undecided"),
        (["holds", "points the same way", "undecided"], 1, False, "points the same way"),
        (["contradicted", "contradicted", "holds"], 1, False, "contradicted"),
    ],
)  # fmt: skip
def test_several_comparisons_make_one_verdict(found, spare, proven, verdict):
    """All must come out as claimed, or all but `spare`: 'in 7 of 8 settings'."""
    assert together(found, spare, proven=proven) == verdict


def test_a_claim_has_the_largest_p_of_its_comparisons():
    """Five seeds, 12 comparisons: none is significant among twelve (2/252 = .0079 each), all of them together are."""
    own = evidence_of(sequences(seeds=5), {"tpo": 0.1, "grpo": 0.3, "ppo": 0.6})
    found = one(claim("", "", *(below("lengths", "tpo", ("grpo", "ppo"), scalar) for scalar in (FINAL, AREA))), own)
    ps = [a.comparison.p for a in found.answers]
    assert len(ps) == 12
    assert (found.p, found.adjusted) == (max(ps), max(ps))
    assert [a.verdict for a in found.answers] == ["points the same way"] * 12
    assert (found.verdict, found.counts) == ("holds", "12 as claimed (0 significant alone)")


def test_holm_adjusts_claims_over_the_claims_of_the_item():
    """Three claims, one the wrong way: its p is 1 whatever its test says, and one of no difference."""
    own = evidence_of(tiny(), APART)
    right = [claim("", "", below("tiny", "tpo", rules)) for rules in ("grpo", ("grpo", "dg"))]
    found = judged([*right, claim("", "", below("tiny", "grpo", "tpo")),
                    claim("", "", below("tiny", "dg", "reinforce"), similar=True)], own)  # fmt: skip
    least = found[0].answers[0].comparison.p
    alike = found[3].answers[0].within
    assert [j.p for j in found] == [pytest.approx(p) for p in (least, least, 1.0, alike)]
    assert [j.adjusted for j in found] == [pytest.approx(p) for p in (3 * least, 3 * least, 1.0, 4 * alike)]


def test_a_claim_with_a_spare_comparison_pays_for_the_choice():
    """All but one of three: the second smallest p, twice."""
    own = evidence_of(tiny(), {**APART, "dg": 0.02})
    found = one(claim("", "", below("tiny", "tpo", ("grpo", "dg", "reinforce")), spare=1), own)
    ps = sorted(a.comparison.p for a in found.answers)
    assert found.p == pytest.approx(2 * ps[1])
    assert found.verdict == "holds"


def test_holm_adjusts_over_all_comparisons_of_the_item():
    """Two claims, four comparisons: the smallest p counts four times."""
    own = evidence_of(tiny(), APART)
    found = judged([claim("", "", below("tiny", "tpo", ("grpo", "dg"))),
                    claim("", "", below("tiny", "grpo", ("dg", "reinforce")))], own)  # fmt: skip
    answers = [a.comparison for j in found for a in j.answers]
    assert [c.family for c in answers] == [4] * 4
    assert [c.test for c in answers] == ["sign-flip"] * 4
    assert min(c.adjusted for c in answers) == pytest.approx(4 * min(c.p for c in answers))


@pytest.mark.parametrize(
    ("end", "verdict"), [(0.603, "holds"), (0.64, "holds"), (0.66, "undecided"), (0.72, "contradicted")]
)
def test_a_claim_of_no_difference_is_tested_against_the_margin_of_the_gate(end, verdict):
    """10 % of .6 is .06: a clear difference of .003 or .04 is none, one of .06 is open, one of .12 contradicts."""
    own = evidence_of(tiny(), {**APART, "dg": end, "reinforce": 0.6}, noise=0.01)
    found = one(claim("", "", below("tiny", "dg", "reinforce"), similar=True), own)
    (answer,) = found.answers
    assert answer.margin == pytest.approx(0.06, abs=0.002)
    assert found.verdict == verdict


def test_what_is_alike_needs_a_margin():
    """There is none for updates to a threshold."""
    found = one(claim("", "", below("tiny", "tpo", "grpo", TO_10), similar=True), evidence_of(tiny(), APART))
    assert found.verdict == "not run"
    assert found.answers[0].reason == "no margin says which differences of updates to error < 0.1 are small"


def test_runs_that_are_missing_make_a_claim_not_run():
    """And say how many; unless what there is contradicts it already."""
    own = evidence_of(tiny(), {"tpo": 0.3, "grpo": 0.02})
    found = one(claim("", "", below("tiny", "tpo", "dg")), own)
    assert (found.verdict, found.answers[0].reason) == ("not run", "none of 20 runs is done")
    assert one(claim("", "", below("tiny", "tpo", ("grpo", "dg"))), own).verdict == "contradicted"


def test_runs_that_failed_give_their_reason():
    """The first of them, with their number."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo", "grpo"])
    records = [run_of(s, suite, falling(0.1, s.seed)) for s in plan.specs if s.algorithm == "tpo"]
    records += [run_of(s, suite, [1.0], status="oom", reason="4.1 GiB") for s in plan.specs if s.algorithm == "grpo"]
    found = one(claim("", "", below("tiny", "tpo", "grpo")), gather(plan, records))
    assert (found.verdict, found.answers[0].reason) == ("not run", "20 of 20 runs oom: 4.1 GiB")


def test_some_seeds_that_are_missing_are_said_beside_the_result():
    """Seventeen of twenty."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo", "grpo"])
    records = [run_of(s, suite, falling(APART[s.algorithm], s.seed)) for s in plan.specs if s.seed < 17]
    found = one(claim("", "", below("tiny", "tpo", "grpo")), gather(plan, records))
    assert found.verdict == "holds"
    assert found.answers[0].notes == ("3 of 20 runs of tpo missing", "3 of 20 runs of grpo missing")


def test_rules_that_no_matching_changes_are_compared_once():
    """TPO against GRPO at two lengths is two comparisons, against PPO four."""
    own = evidence_of(sequences(), {"tpo": 0.1, "grpo": 0.3, "ppo": 0.6})
    found = one(claim("", "", below("lengths", "tpo", ("grpo", "ppo"))), own)
    assert [(a.where, a.text) for a in found.answers] == [
        ("length=3", "tpo < grpo: final error"),
        ("length=4", "tpo < grpo: final error"),
        ("length=3, matching=prompts", "tpo < ppo: final error"),
        ("length=3, matching=interactions", "tpo < ppo: final error"),
        ("length=4, matching=prompts", "tpo < ppo: final error"),
        ("length=4, matching=interactions", "tpo < ppo: final error"),
    ]
    assert found.verdict == "holds"
    assert found.counts == "6 as claimed (6 significant alone)"


def test_cells_of_one_rule_are_compared_with_each_other():
    """By place on an axis; other lengths have other prompts, so equal seeds are no pairs."""
    ends = {("grpo", 3): 0.1, ("grpo", 4): 0.5, ("tpo", 3): 0.05, ("tpo", 4): 0.05, "ppo": 0.5}
    own = evidence_of(sequences(), ends)
    longer = below("lengths", Quantity("grpo", {"length": "min"}), Quantity("grpo", {"length": "max"}))
    found = one(claim("", "", longer), own)
    (answer,) = found.answers
    assert (found.verdict, answer.text) == ("holds", "grpo (length=3) < grpo (length=4): final error")
    assert answer.comparison.test == "perm-t"
    step = one(claim("", "", below("lengths", "grpo", Quantity("grpo", {"length": "next"}))), own)
    assert [a.text for a in step.answers] == ["grpo (length=3) < grpo (length=4): final error"]


def test_a_cell_is_compared_with_all_others_and_not_with_itself():
    """The longest of two lengths has one other."""
    ends = {("grpo", 3): 0.1, ("grpo", 4): 0.5, "tpo": 0.05, "ppo": 0.5}
    found = one(
        claim("", "", below("lengths", "grpo", Quantity("grpo", {"length": 4}))), evidence_of(sequences(), ends)
    )
    assert [a.text for a in found.answers] == ["grpo (length=3) < grpo (length=4): final error"]
    assert found.verdict == "holds"


def test_the_lead_of_a_rule_is_compared_between_cells():
    """GRPO lies 5 points behind TPO at length 3, 45 at length 4."""
    ends = {("grpo", 3): 0.1, ("grpo", 4): 0.5, ("tpo", 3): 0.05, ("tpo", 4): 0.05, "ppo": 0.5}
    lead = below("lengths", Quantity("grpo", {"length": 3}, minus="tpo"), Quantity("grpo", {"length": 4}, minus="tpo"))
    found = one(claim("", "", lead), evidence_of(sequences(), ends))
    (answer,) = found.answers
    assert (found.verdict, answer.text) == (
        "holds", "(grpo − tpo) (length=3) < (grpo − tpo) (length=4): final error",
    )  # fmt: skip
    assert answer.comparison.difference == pytest.approx(-0.4, abs=0.03)


def test_a_lead_in_updates_that_the_budget_cuts_off_decides_nothing():
    """TPO takes 3 and 9 updates, GRPO 6 and never: its lead of 3 has grown to at least 11, which shows that it grew.

    DG never gets there at either length: its lead is at least 17, then at least 11, which does not show that it fell.
    """
    suite = sequences(algorithms=["tpo", "grpo", "dg"], grid={"length": [3, 4]})
    plan = plan_runs(suite)
    first = {("tpo", 3): 3, ("tpo", 4): 9, ("grpo", 3): 6}
    at = [first.get((s.algorithm, s.cell["length"]), 99) + s.seed % 2 for s in plan.specs]
    curves = [[1.0 if t < k else 0.0 for t in range(STEPS + 1)] for k in at]
    own = gather(plan, [run_of(s, suite, curve) for s, curve in zip(plan.specs, curves, strict=True)])
    leads = [[Quantity(rule, {"length": at}, minus="tpo") for at in ("min", "max")] for rule in ("grpo", "dg")]
    claims = [claim("", "", below("lengths", *pair, TO_10)) for lead in leads for pair in (lead, lead[::-1])]
    assert [j.verdict for j in judged(claims, own)] == ["holds", "contradicted", "undecided", "undecided"]
    (answer,) = judged(claims, own)[2].answers
    assert answer.reason == "20 of 40 differences are bounds, which could turn the order: no test"
    assert (answer.comparison.p, answer.comparison.difference) == (None, None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [("tpo", 0.1, "holds"), ("grpo", 0.1, "contradicted"), (0.1, "grpo", "holds"), (0.1, "tpo", "contradicted")],
)
def test_a_scalar_is_compared_with_a_constant(low, high, verdict):
    """Sign flips of its distance from the constant."""
    found = one(claim("", "", below("tiny", low, high)), evidence_of(tiny(), APART))
    assert (found.verdict, found.answers[0].comparison.test) == (verdict, "sign-flip")


def test_updates_to_a_threshold_are_compared_by_ranks():
    """Censored at the budget: GRPO never gets below 10 %; two that never do are identical."""
    own = evidence_of(tiny(), APART)
    found = one(claim("", "", below("tiny", "tpo", "grpo", TO_10)), own)
    assert (found.verdict, found.answers[0].comparison.test) == ("holds", "mann-whitney")
    never = one(claim("", "", below("tiny", "grpo", "dg", TO_10)), own)
    assert (never.verdict, never.answers[0].reason) == ("undecided", "identical (bitwise)")


def test_twice_as_fast_is_tested_at_twice_the_updates():
    """TPO takes 4 to 6 updates, GRPO 7 to 9, DG 15 to 17: only DG takes more than twice as many."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo", "grpo", "dg"])
    first = {"tpo": 4, "grpo": 7, "dg": 15}
    at = [first[s.algorithm] + s.seed % 3 for s in plan.specs]
    curves = [[1.0 if t < k else 0.0 for t in range(STEPS + 1)] for k in at]
    own = gather(plan, [run_of(s, suite, curve) for s, curve in zip(plan.specs, curves, strict=True)])
    found = judged(
        [claim("", "", below("tiny", Quantity("tpo", times=2.0), rule, TO_10)) for rule in ("grpo", "dg")], own
    )
    assert [j.verdict for j in found] == ["contradicted", "holds"]
    assert found[1].answers[0].text == "2 × tpo < dg: updates to error < 0.1"


def test_two_moments_of_the_same_runs_are_paired_by_nature():
    """Also with fewer seeds than two arms need for pairing."""
    own = evidence_of(tiny(seeds=8), APART)
    early, late = Measure("at"), Measure("late")
    found = one(claim("", "", below("tiny", Quantity("tpo", scalar=late), Quantity("tpo", scalar=early))), own)
    (answer,) = found.answers
    assert (found.verdict, answer.comparison.test) == ("holds", "sign-flip")
    assert answer.text == "tpo, mean error over the last quarter < tpo, error before the first update"


def test_a_side_may_be_multiplied_by_a_number_of_the_task():
    """Of 4 candidates: 20 % is above 10 % and below 4 times that."""
    own = evidence_of(sequences(algorithms=["tpo", "grpo"]), {"tpo": 0.2, "grpo": 0.1})
    assert own.plan.suite.task["candidates"] == 4
    found = one(claim("", "", below("lengths", "tpo", Quantity("grpo", times="candidates"))), own)
    assert (found.verdict, found.answers[0].text) == ("holds", "tpo < 4 × grpo: final error")


@pytest.mark.parametrize(
    ("scalar", "value"),
    [(Measure("late"), 17.5), (Measure("area"), 10.0), (Measure("at", share=0.25), 5.0), (Measure("peak"), 20.0),
     (Measure("peak_step"), 20.0), (FINAL, 18.0)],
)  # fmt: skip
def test_scalars_of_a_curve(scalar, value):
    """Of 0, 1, ..., 20 at updates 0 to 20: late is 15 to 20, final the window of 5."""
    suite = tiny(seeds=1)
    plan = plan_runs(suite, ["tpo"])
    own = gather(plan, [run_of(s, suite, [float(t) for t in range(STEPS + 1)]) for s in plan.specs])
    assert sample(own.entry("tpo", {}), scalar).values == {0: value}


def test_a_diagnostic_is_taken_where_it_was_measured():
    """Not at the last evaluation; over the whole training, at its peak, and at the update of the peak."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo", "grpo"])
    peak = {s.run_id: (5 if s.algorithm == "tpo" else 15) + s.seed % 3 for s in plan.specs}
    records = [
        run_of(
            s, suite, falling(0.1, s.seed), norm=[*(4.0 if t == peak[s.run_id] else 1.0 for t in range(STEPS)), None]
        )
        for s in plan.specs
    ]
    own = gather(plan, records)
    area = one(claim("", "", below("tiny", "tpo", "grpo", Measure("area", "norm"))), own)
    assert area.answers[0].comparison.difference == pytest.approx(0.0, abs=1e-12)
    later = one(claim("", "", below("tiny", "tpo", "grpo", Measure("peak_step", "norm"))), own)
    assert later.answers[0].comparison.difference == pytest.approx(-10)
    missing = one(claim("", "", below("tiny", "tpo", "grpo", Measure("late", "weight"))), own)
    assert missing.answers[0].reason == "the runs do not record weight"


def test_a_ratio_leaves_out_seeds_without_a_denominator():
    """Gains of a bin in which a seed has no example are no gains of 0."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo"])
    records = [
        run_of(s, suite, falling(0.1, s.seed), gain=[2.0 + s.seed / 100] * (STEPS + 1),
               count=[0.0 if s.seed == 3 else 4.0] * (STEPS + 1))
        for s in plan.specs
    ]  # fmt: skip
    found = one(claim("", "", below("tiny", 0.0, "tpo", Measure("ratio", "gain", over="count", step=10))),
                gather(plan, records))  # fmt: skip
    assert found.verdict == "holds"
    assert found.answers[0].comparison.runs == (19, 19)
    assert found.answers[0].comparison.difference == pytest.approx(-(2.0 + (190 - 3) / 1900) / 4)


def test_diverged_runs_score_the_worst_value():
    """An arm that always diverges loses, by the counts; its diagnostics are not there."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo", "grpo"])
    records = [
        run_of(s, suite, falling(0.1, s.seed), norm=[1.0] * (STEPS + 1)) if s.algorithm == "tpo"
        else run_of(s, suite, [1.0, *[None] * STEPS], status="diverged", norm=[None] * (STEPS + 1))
        for s in plan.specs
    ]  # fmt: skip
    own = gather(plan, records)
    found = one(claim("", "", below("tiny", "tpo", "grpo")), own)
    assert (found.verdict, found.answers[0].comparison.test) == ("holds", "boschloo")
    norm = one(claim("", "", below("tiny", "tpo", "grpo", Measure("late", "norm"))), own)
    assert norm.answers[0].reason == "all runs of grpo diverged"


def test_a_claim_without_comparisons_says_why():
    """What no suite trains."""
    (found,) = judge([Claim("", "", why_not="no suite trains language models")], {})
    assert (found.verdict, found.reason) == ("not run", "no suite trains language models")


# ---- evidence


def test_runs_of_another_machine_count_and_runs_of_other_settings_do_not():
    """Threads and devices change the last bits, not the experiment."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo"])
    elsewhere = [replace(s, device="cuda", threads=4, seed_batch=20) for s in plan.specs]
    other = [replace(s, training={**s.training, "learning_rate": 0.2}) for s in plan.specs]
    assert len(gather(plan, [run_of(s, suite, falling(0.1)) for s in elsewhere]).records) == 20
    assert gather(plan, [run_of(s, suite, falling(0.1)) for s in other]).records == ()


def test_the_planned_run_counts_before_one_of_its_seed_from_elsewhere():
    """And a finished one before a broken one."""
    suite = tiny(seeds=1)
    plan = plan_runs(suite, ["tpo"])
    (spec,) = plan.specs
    own, other = run_of(spec, suite, falling(0.1)), run_of(replace(spec, threads=4), suite, falling(0.2))
    assert gather(plan, [other, own]).records == (own,)
    broken = run_of(spec, suite, [1.0], status="failed", reason="x")
    assert gather(plan, [broken, other]).records == (other,)


def test_an_item_rests_on_its_own_parts_whatever_else_was_planned():
    """Rules and cells of other items are left out, of the plan and of the records."""
    own = evidence_of(sequences(), {"tpo": 0.1, "grpo": 0.3, "ppo": 0.6})
    part = own.limited([Part("lengths", ("ppo",), {"length": "min", "matching": "prompts"})])
    assert {(r.spec["algorithm"], r.spec["cell"]["length"], r.spec["matching"]) for r in part.records} == {
        ("ppo", 3, "prompts")
    }
    assert (len(part.records), len(part.plan.specs)) == (20, 20)
    both = own.limited([Part("lengths", ("tpo",)), Part("lengths", ("grpo",), {"length": "max"})])
    assert len(both.records) == 20 * (2 + 1)
    with pytest.raises(NotRun, match="has no runs of grpo at length=3"):
        both.entry("grpo", {"length": 3})


def test_results_on_an_unverified_copy_are_named():
    """They count, and the scorecard says what they were made with."""
    suite = tiny(task={"kind": "mnist", "data": "digits"}, algorithms=["tpo"])
    plan = plan_runs(suite)
    specs = [replace(s, task={**s.task, "data_sha256": "f00d"}) for s in plan.specs]
    own = gather(plan, [run_of(s, suite, falling(0.1)) for s in specs])
    assert len(own.records) == 20
    assert [(u.fingerprint, u.runs) for u in own.unverified] == [("f00d", 20)]


# ---- numbers


def measured(printed, own, scale="paper"):
    return measure(printed, {"tiny": own}, scale)


def test_the_final_error_is_the_last_evaluation():
    """Not the mean over the suite's window, which holds the fall before it."""
    own = evidence_of(tiny(), APART)
    last = np.mean([r.curve["error"][-1] for r in own.of(own.place("tpo", {}, ""))])
    found = measured(number("final:error", 0.02, rounding=0.0005), own)
    assert found.prediction.value == pytest.approx(last)
    assert found.verdict == "agrees"
    assert (found.prediction.runs, found.prediction.method) == (20, "studentized-prediction")
    assert measured(number("final:error", 0.2), own).verdict == "differs"
    assert measured(number("final:error", 0.05, bound="below"), own).verdict == "agrees"
    assert measured(number("final:error", 0.95, bound="above"), own).verdict == "differs"


def test_one_failed_seed_that_would_be_enough_is_said():
    """2 % against 6 %: the printed mean may hold one seed of twenty at 80 %."""
    found = measured(number("final:error", 0.06), evidence_of(tiny(), APART))
    assert found.verdict == "differs"
    assert found.notes == ("one failed seed more among the 20 behind it would be enough for the difference",)
    assert measured(number("final:error", 0.2), evidence_of(tiny(), APART)).notes == ()


def test_values_are_compared_at_the_scale_of_the_paper_only():
    """At the quick scale nothing is said of a number."""
    assert measured(number("final:error", 0.02), evidence_of(tiny(), APART), "quick").verdict == "not compared"


def test_updates_to_a_threshold_are_those_of_the_mean_curve():
    """`never` where it is not reached, and agrees with that."""
    own = evidence_of(tiny(), APART)
    curves = np.array([r.curve["error"] for r in own.of(own.place("tpo", {}, ""))])
    first = int((curves.mean(axis=0) < 0.1).argmax())
    assert measured(number("crossing:error:0.1", float(first)), own).verdict == "agrees"
    assert measured(number("crossing:error:0.1", float(first + 5)), own).verdict == "differs"
    assert measured(number("crossing:error:0.1", math.inf), own).verdict == "differs"
    assert measured(number("crossing:error:0.1", math.inf, algorithm="dg"), own).verdict == "agrees"


def test_updates_are_compared_on_the_coarser_grid():
    """Evaluated every 5 updates, a printed 12 is 15, and it is said."""
    training = {"steps": STEPS, "epochs": 1, "optimizer": "normalized", "learning_rate": 0.1, "record_every": 5}
    suite = tiny(training=training)
    plan = plan_runs(suite, ["tpo"])
    own = gather(plan, [run_of(s, suite, [1.0, 0.8, 0.5 - s.seed / 100, 0.04, 0.02]) for s in plan.specs])
    found = measured(number("crossing:error:0.1", 12.0), own)
    assert (found.verdict, found.prediction.value) == ("agrees", 15)
    assert found.notes == ("evaluated every 5 updates, and the printed 12 taken up to that grid",)
    assert measured(number("crossing:error:0.1", 7.0), own).verdict == "differs"


def test_a_value_at_an_update_a_ratio_a_fact_and_a_decay_are_measured():
    """Each by its own kind; a moment that was not recorded is replaced by the nearest, and said."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo"])
    norm = [0.1, 0.5, 2.0, 1.0, 0.5, 0.15, *[0.1] * (STEPS - 5)]
    records = [
        run_of(s, suite, falling(0.1, s.seed), facts={"initial_success": 0.004 + s.seed / 1e5},
               norm=[v * (1 + s.seed / 100) for v in norm], gain=[0.3 + s.seed / 1000] * (STEPS + 1),
               count=[4.0] * (STEPS + 1))
        for s in plan.specs
    ]  # fmt: skip
    own = gather(plan, records)
    assert measured(number("at:norm:2", 2.19, rounding=0.05), own).prediction.value == pytest.approx(2.19)
    assert measured(number("at:norm:99", 0.1), own).notes[-1] == "measured at update 20, the nearest to 99"
    assert measured(number("ratio:gain:count:10", 0.077), own).verdict == "agrees"
    assert measured(number("fact:initial_success", 0.0041), own).verdict == "agrees"
    assert measured(number("decay:norm:0.1", 5.0), own).verdict == "agrees"
    assert measured(number("decay:norm:0.1", 2.0), own).verdict == "differs"


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (number("final:error", 0.1, algorithm="ppo"), "tiny has no runs of ppo"),
        (number("final:error", 0.1, algorithm="reinforce"), "none of 20 runs is done"),
        (replace(number("final:error", 0.1), suite="other"), "suite other is not there"),
        (number("at:norm:3", 0.1), "the runs do not record norm"),
    ],
)
def test_a_number_that_was_not_run_says_why(printed, reason):
    """Not planned, not done, no suite, not recorded."""
    found = measured(printed, evidence_of(tiny(), {"tpo": 0.1}))
    assert (found.verdict, found.notes) == ("not run", (reason,))


def test_a_suite_whose_data_is_missing_gives_that_as_the_reason():
    """For all of its numbers and claims."""
    own = Evidence(plan_runs(tiny(), ["tpo", "grpo"]), unavailable="mnist, which tiny reads, is not here")
    assert measured(number("final:error", 0.1), own).notes == ("mnist, which tiny reads, is not here",)
    found = one(claim("", "", below("tiny", "tpo", "grpo", AREA), below("tiny", "tpo", "grpo", FINAL)), own)
    assert {a.reason for a in found.answers} == {"mnist, which tiny reads, is not here"}


def test_equal_seeds_are_no_difference_that_anybody_could_tell():
    """All 20 end at 0: up to 4 of 20 others may not, so 0.02 and 20 % agree, and 21 % does not."""
    suite = tiny()
    plan = plan_runs(suite, ["tpo"])
    own = gather(plan, [run_of(s, suite, [1.0] * STEPS + [0.0]) for s in plan.specs])
    verdicts = [measured(number("final:error", printed), own).verdict for printed in (0.0, 0.0002, 0.2, 0.21)]
    assert verdicts == ["agrees", "agrees", "agrees", "differs"]


def test_numbers_of_other_data_are_not_compared():
    """Digits are not MNIST, at whatever scale."""
    suite = load_suite("mnist", ["task.data=digits", "seeds=2"])
    plan = plan_runs(suite, ["tpo"])
    own = {"mnist": gather(plan, [run_of(s, suite, falling(0.03, s.seed)) for s in plan.specs])}
    (printed,) = [n for n in numbers() if (n.place, n.algorithm, n.kind) == ("fig4a", "tpo", "final")]
    found = measure(printed, own)
    assert (found.verdict, found.notes) == ("not run", ("trained on digits, the printed number is of mnist",))


def test_a_number_of_other_settings_neither_agrees_nor_differs(monkeypatch):
    """Whatever ours is: 20 updates here, 2,000 behind the printed one; the settings of both are said."""
    own = evidence_of(tiny(), APART)
    monkeypatch.setitem(SETTINGS, "unstated", {"training.steps": 2000})
    for value in (0.02, 0.5):
        found = measured(number("final:error", value, note="unstated"), own)
        assert (found.verdict, found.notes[0]) == ("other settings", "training.steps 20, the paper 2000")
    monkeypatch.setitem(SETTINGS, "unstated", {"training.steps": STEPS})
    assert measured(number("final:error", 0.5, note="unstated"), own).verdict == "differs"
