"""The parts of benchmarks/calibration.py: what is counted, what is drawn, and that every injected bug is one."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.groups import CandidateGroups, sequence_logp
from tpobench.plugins import load as plugins
from tpobench.policies.optimizers import NormalizedStep
from tpobench.stats import gate, intervals, suite_level
from tpobench.stats.gate import CellEvidence, Margin
from tpobench.suites.load import load_suite

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import calibration  # noqa: E402
from calibration_bugs import BUGS, Bug, jobs_of, judge_bug, train  # noqa: E402
from calibration_coverage import Case, counted, coverage, fewer_resamples, iqm, mean_case, rate_coverage, tail  # noqa: E402
from calibration_gate import ONE_SHOT_ALL, TEN, Scenario, evidence, fired, gate_rates, ten_percent  # noqa: E402
from calibration_populations import Population, noisy_cells, shapes, stream, thinned, times  # noqa: E402
from calibration_tables import END, MARK, coverage_table, into_document, percent  # noqa: E402
from calibration_tests import Null, adaptive, boschloo_rate, error_rate, permutation, suite_null, suites  # noqa: E402


def case(truth, low, high):
    return Case("mean", "any", 5, "fixed", truth, lambda _: (low, high))


# --- coverage


def test_covered_below_and_above_are_counted():
    """Of [0, 1], [2, 3], [-2, -1] and [0, 0.5], two hold 0.5, one lies above it and one below."""
    found = counted(case(0.5, 0, 0), [(0, 1), (2, 3), (-2, -1), (0, 0.5)], 5)
    assert (found.covered, found.above, found.below) == (0.5, 0.25, 0.25)
    assert found.none == pytest.approx(0.2)
    assert found.se == pytest.approx(0.25)  # sqrt(.5 * .5 / 4)


def test_a_population_without_any_interval_has_no_coverage():
    """Five seeds give no interval of a median, so there is nothing to cover."""
    found = coverage(case(0.5, None, None), 3)
    assert (found.covered, found.none) == (None, 1.0)


def test_never_is_covered_by_an_interval_that_ends_in_never():
    """A crossing that is never reached is held by [100, inf] and missed by [100, 200]."""
    found = counted(case(math.inf, 0, 0), [(100, math.inf), (100, 200)], 2)
    assert (found.covered, found.below) == (0.5, 0.5)


def test_wilson_coverage_is_a_sum_over_outcomes():
    """n = 1 at rate .1: 0/1 gives [0, .79] and holds it, 1/1 gives [.21, 1] and does not."""
    found = rate_coverage(0.1, 1)
    assert found.covered == pytest.approx(0.9)
    assert (found.above, found.se) == (pytest.approx(0.1), 0.0)


def test_truths_of_a_population_by_hand():
    """1..4: interquartile mean 2.5, worst quarter 4.  One failure in ten: the worst quarter is 1 of 2.5 values."""
    assert iqm(np.array([1.0, 2, 3, 4])) == 2.5
    assert tail(np.array([1.0, 2, 3, 4])) == 4
    assert tail(shapes()["10% failures (0/1)"].values) == pytest.approx(0.4)


def test_the_default_interval_of_normal_seeds_covers_as_it_says():
    """t at n = 5 on normal values: within 3 standard errors of .95; a 5-seed percentile interval would be at .85."""
    found = coverage(mean_case(shapes()["normal"], 5), 1000)
    assert found.covered == pytest.approx(0.95, abs=3 * 0.007)


def test_resamples_are_put_back():
    """Cutting the resamples of the simulation leaves the library as it was."""
    before = intervals.RESAMPLES
    with fewer_resamples(99):
        assert intervals.RESAMPLES == 99
    assert before == intervals.RESAMPLES == 9999


# --- populations


def test_shapes_have_the_moments_they_are_named_after():
    """Normal .3 +- .1; ten per cent of ones; a bimodal mean in the middle; a lognormal of median .1."""
    s = shapes()
    assert (s["normal"].mean, s["normal"].sd) == (pytest.approx(0.3), pytest.approx(0.1, rel=1e-3))
    assert s["10% failures (0/1)"].mean == pytest.approx(0.1)
    assert s["bimodal"].mean == pytest.approx(0.5, abs=1e-4)
    assert np.median(s["lognormal"].values) == pytest.approx(0.1, rel=1e-3)


def test_recorded_steps_are_those_of_the_published_runs():
    """16 to 18 of the 20 published TPO runs get below 1%, depending on how long that must last; budgets are 2000."""
    found = times(thinned()["published TPO"], 0.01).values
    assert len(found) == 20
    assert 14 <= np.isfinite(found).sum() <= 18
    assert found[np.isfinite(found)].max() < 2000


def test_forty_noisy_cells_all_vary():
    """No cell of the false-alarm run is one that could not raise any."""
    cells = noisy_cells()
    assert len(cells) == 40
    assert min(p.sd for p in cells) >= 0.01


def test_streams_depend_on_names_alone():
    """A row's numbers are the same whatever else is run."""
    assert stream("a", 5).random() == stream("a", 5).random() != stream("a", 10).random()


# --- tests under the null


def test_errors_are_counted():
    """A test that is wrong in every other repeat has the rate .5."""
    flip = iter([True, False] * 50)
    found = error_rate(Null("t", "s", "5", lambda _: next(flip)), 100)
    assert (found.rate, found.repeats, found.se) == (0.5, 100, 0.05)


def test_boschloo_at_four_seeds_rejects_only_full_separation():
    """4/4 against 0/4 and its mirror: 2 / 2^8 at rate one half."""
    assert boschloo_rate(0.5, 4, 4).rate == pytest.approx(2 / 2**8)


def test_the_permutation_row_would_see_a_broken_test():
    """Where the arms do differ (by 3 sd) nearly every repeat rejects, so the row is not zero by construction."""
    p = shapes()["normal"]
    shifted = Population("shifted", p.values + 3 * p.sd)
    assert error_rate(permutation(p, shifted, 10, 10, "apart"), 40).rate > 0.9


def test_the_adaptive_row_leaves_the_rule_that_differs_out():
    """Two equal rules and one 20 sd away: only the equal pair can be an error, and it hardly ever is."""
    assert error_rate(adaptive(shapes()["normal"], 3, 20.0), 40).rate <= 0.15


class Rising(Population):
    """Every arm that is drawn is 10 above the one before it."""

    calls = iter(range(10_000))

    def draw(self, rng, n):
        return super().draw(rng, n) + 10 * next(self.calls)


def test_the_adaptive_row_counts_every_pair_of_equal_rules():
    """Were two rules called equal far apart, each repeat would be an error."""
    assert error_rate(adaptive(Rising("rising", shapes()["normal"].values), 2), 20).rate == 1.0


def test_suites_without_a_difference_have_none():
    """The mean scores of both arms are equal in each; in the last one quiet tasks and the noisy one cancel."""
    for tasks in suites().values():
        assert sum(x.mean - y.mean for x, y in tasks.values()) == pytest.approx(0, abs=1e-12)
    assert {round(x.mean - y.mean, 9) for x, y in list(suites().values())[-1].values()} == {0.07, -0.01}


def test_rows_of_one_test_are_made_again_in_their_place(monkeypatch):
    """The others stay as they are, in their order; the library has its intervals afterwards."""
    shipped = suite_level._compared
    quiet = {"t": (shapes()["normal"],) * 2}
    monkeypatch.setattr(calibration, "nulls", lambda: [suite_null("s", quiet, 5)])
    rows = [{"test": name} for name in ("sign-flip", "suite level: old", "boschloo")]
    found = calibration.renewed(replace(calibration.QUICK, processes=1), rows, "suite level")
    assert [r["test"] for r in found] == ["sign-flip", "suite level: stratified permutation", "boschloo"]
    assert (found[1]["setting"], found[1]["repeats"]) == ("s", 20)
    assert suite_level._compared is shipped


# --- the gate


def test_ten_percent_worse_is_judged_on_all_seeds():
    """Mean 1 against 1.2 over screen and reserve fires; against 1.05 it does not."""
    cell = CellEvidence("c", {0: 1.0}, {0: 1.4}, Margin(), {1: 1.0}, {1: 1.0})
    assert ten_percent(cell)
    assert not ten_percent(replace(cell, candidate={0: 1.1}))


def test_a_scenario_draws_screen_and_reserve():
    """10 + 10 seeds of both arms, none shared between the stages, the candidate's values its own."""
    cell = evidence(shapes()["normal"], "c", Scenario(10, 0.0, "none", "noisy"), stream("x"), changed=False)
    assert [len(v) for v in (cell.baseline, cell.candidate, cell.reserve_baseline, cell.reserve_candidate)] == [10] * 4
    assert not cell.baseline.keys() & cell.reserve_baseline.keys()
    assert not set(cell.baseline.values()) & set(cell.candidate.values())


def test_bitwise_equal_cells_raise_nothing_and_a_large_shift_is_seen_by_all():
    """Equal values: no rule fires.  One cell worse by 10 sd: every rule names it, at 10 + 10 seeds."""
    equal = [
        evidence(p, f"c{i}", Scenario(10, 0.0, "none", "unchanged"), stream(i), changed=False)
        for i, p in enumerate(noisy_cells(4))
    ]
    assert not any(fired(equal, 0).values())
    found = gate_rates(Scenario(10, 10.0, "default", "unchanged"), 3, cells=3)
    assert {r.rate for r in found} == {1.0}
    assert {TEN, ONE_SHOT_ALL} < {r.rule for r in found}


def test_the_simulation_leaves_the_gate_as_it_was():
    """Fewer sign flips hold inside a simulation only."""
    gate_rates(Scenario(10, 0.0, "none", "unchanged"), 1, cells=2)
    assert gate.resamples_for(40) == 9999


# --- the injected bugs


@pytest.fixture
def wrong_rules():
    """The rules of benchmarks/bugs beside the right ones, and the catalogue as it was afterwards."""
    rules, versions, loaded = dict(ALGORITHMS), dict(plugins.VERSIONS), dict(plugins._loaded)
    for path in dict.fromkeys(b.path for b in BUGS):
        plugins.load_plugin(plugins.read_plugin(path))
    yield ALGORITHMS
    for now, before in ((ALGORITHMS, rules), (plugins.VERSIONS, versions), (plugins._loaded, loaded)):
        now.clear()
        now.update(before)


def groups(batch=2, uniform=False):
    """Contexts of 4 candidates and 2 tokens; rewards 0 to 3 in the first, 0 to 30 in the second."""
    old = torch.full((1, batch, 4, 2), -1.0, dtype=torch.float64)
    if not uniform:
        old = old - torch.linspace(0, 0.7, 4, dtype=torch.float64)[:, None]
    reward = torch.arange(4, dtype=torch.float64).expand(1, batch, 4) * torch.tensor([1.0, 10.0])[:batch, None]
    return CandidateGroups(
        old_logp=old, mask=torch.ones_like(old), reward=reward, baseline=reward.mean(-1, keepdim=True),
        weight=torch.full_like(reward, 0.25), score=reward, draws=4.0,
    )  # fmt: skip


def gradient(rule, of, moved=0.0):
    """d loss / d logp where theta has moved: candidate 3 gained `moved` per token, candidate 0 lost it."""
    shift = moved * torch.tensor([-1.0, 0.0, 0.0, 1.0], dtype=torch.float64)[:, None]
    logp = (of.old_logp + shift).requires_grad_()
    loss = ALGORITHMS[rule].loss(logp, of, ALGORITHMS[rule].credit_for(of)).sum()
    return torch.autograd.grad(loss, logp)[0]


DIFFERS = [
    ("tpo", "tpo_flipped_sign", 0.0),
    ("grpo", "grpo_flipped_kl", 0.3),
    ("dg", "dg_lost_stop_gradient", 0.0),
    ("tpo", "tpo_lost_stop_gradient", 0.0),
    ("tpo", "tpo_unfrozen_target", 0.3),
    ("tpo", "tpo_undivided", 0.0),
    ("grpo", "grpo_batch_deviation", 0.0),
    ("ppo", "ppo_no_clipping", 0.3),
    ("tpo", "tpo_anchor_left_out", 0.0),
]


@pytest.mark.parametrize(("right", "bug", "moved"), DIFFERS)
@pytest.mark.usefixtures("wrong_rules")
def test_every_bug_changes_the_gradient(right, bug, moved):
    """On a small batch the wrong rule's gradient is not the right one's, by far more than rounding."""
    of = groups()
    assert (gradient(bug, of, moved) - gradient(right, of, moved)).abs().max() > 1e-3


def test_every_bug_of_the_benchmark_is_tested(wrong_rules):
    """The list above names all of them; the learning rate is no bug of a gradient and has its own test."""
    assert {bug for _, bug, _ in DIFFERS} <= {b.wrong for b in BUGS if b.rate == 1}
    assert len({b.bug for b in BUGS}) >= 20
    assert {b.wrong for b in BUGS} <= wrong_rules.keys()


@pytest.mark.usefixtures("wrong_rules")
def test_the_flipped_target_takes_mass_from_the_best():
    """TPO raises the candidate of the highest score; with the sign flipped descent lowers it."""
    of = groups()
    assert (gradient("tpo", of)[0, :, 3] < 0).all()
    assert (gradient("tpo_flipped_sign", of)[0, :, 3] > 0).all()


@pytest.mark.usefixtures("wrong_rules")
def test_the_flipped_kl_term_pushes_away_from_the_snapshot():
    """At the snapshot k3 is flat and both rules agree; away from it the penalty's gradient is the other way round."""
    of = groups()
    without = gradient("grpo_no_kl", of, 0.3)
    assert torch.equal(gradient("grpo", of), gradient("grpo_flipped_kl", of))
    assert torch.allclose(gradient("grpo", of, 0.3) - without, without - gradient("grpo_flipped_kl", of, 0.3))


@pytest.mark.usefixtures("wrong_rules")
def test_an_unfrozen_target_differs_after_the_first_epoch_only():
    """At the snapshot the present theta is the old one; later the target runs ahead, and the pull does not fade."""
    of = groups()
    assert torch.allclose(gradient("tpo", of), gradient("tpo_unfrozen_target", of))
    right, moving = (gradient(rule, of, 0.3)[0, 0, 3].abs().max() for rule in ("tpo", "tpo_unfrozen_target"))
    assert moving > right


@pytest.mark.usefixtures("wrong_rules")
def test_a_target_with_gradient_adds_the_derivative_of_q():
    """L = -sum q log p: through the target comes -sum_k dq_k log p_k = q (sum q log p - log p) on top of p - q."""
    of = groups()
    log_p = sequence_logp(of.old_logp, of.mask).log_softmax(-1)
    q = ALGORITHMS["tpo"].credit_for(of)
    extra = q * ((q * log_p).sum(-1, keepdim=True) - log_p)
    found = gradient("tpo_lost_stop_gradient", of) - gradient("tpo", of)
    assert torch.allclose(found, extra.unsqueeze(-1).expand_as(found))


@pytest.mark.usefixtures("wrong_rules")
def test_the_gate_with_gradient_adds_its_own_slope():
    """g A log pi differentiated: beside w g A comes -w g (1 - g) A^2 log pi."""
    of = groups()
    A, logp = (of.reward - of.baseline).unsqueeze(-1), of.old_logp
    g = torch.sigmoid(-A * logp)
    slope = 0.25 * g * (1 - g) * A**2 * logp
    assert torch.allclose(gradient("dg_lost_stop_gradient", of) - gradient("dg", of), slope)


@pytest.mark.usefixtures("wrong_rules")
def test_undivided_scores_follow_the_scale_of_the_reward():
    """Standardised, rewards ten times as large give the same target; undivided, nearly all of it on one candidate."""
    of = groups()
    q, wrong_q = (ALGORITHMS[rule].credit_for(of)[0] for rule in ("tpo", "tpo_undivided"))
    assert torch.allclose(q[0], q[1])
    assert wrong_q[1, 3] > 0.99 > wrong_q[0, 3] + 0.1


@pytest.mark.usefixtures("wrong_rules")
def test_the_deviation_of_the_batch_is_no_bug_with_one_context():
    """It mixes contexts: with one of them the two rules are the same, with two of unlike rewards they are not."""
    assert torch.allclose(gradient("grpo", groups(1)), gradient("grpo_batch_deviation", groups(1)))


@pytest.mark.usefixtures("wrong_rules")
def test_clipping_does_nothing_until_a_ratio_leaves_its_range():
    """Moved by .1 per token all ratios are within 1 +- .2 and the rules agree; by .3 the clipped rule stops."""
    of = groups()
    assert torch.equal(gradient("ppo", of, 0.1), gradient("ppo_no_clipping", of, 0.1))
    assert (gradient("ppo", of, 0.3)[0, :, 3] == 0).all()
    assert (gradient("ppo_no_clipping", of, 0.3)[0, :, 3] < 0).all()


@pytest.mark.usefixtures("wrong_rules")
def test_the_anchor_does_nothing_where_the_old_policy_is_uniform():
    """p_old constant over the candidates cancels in q; it matters where p_old is not."""
    assert torch.allclose(gradient("tpo", groups(uniform=True)), gradient("tpo_anchor_left_out", groups(uniform=True)))


@pytest.mark.usefixtures("wrong_rules")
def test_a_learning_rate_off_by_two_is_that_of_the_job_and_a_loss_off_by_two_is_nothing():
    """The wrong rules run at twice and half the suite's rate; a doubled gradient takes the same normalised step."""
    suite = load_suite("ci")
    bugs = [b for b in BUGS if b.rate != 1]
    found = {m.job.specs[0].algorithm: m.job.specs[0].training["learning_rate"] for m in jobs_of(suite, [0], bugs)}
    expected = {"tpo": 1.0, "grpo": 1.0, "tpo_double_rate": 2.0, "tpo_half_rate": 0.5, "grpo_double_rate": 2.0}
    assert {name: rate / suite.training.learning_rate for name, rate in found.items()} == expected
    theta, direction = torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 2.0]])
    steps = []
    for scale in (1.0, 2.0):
        moved = theta.clone()
        NormalizedStep(0.1).step(moved, scale * direction)
        steps.append(moved)
    assert torch.equal(*steps)


@pytest.mark.usefixtures("wrong_rules")
def test_a_bug_is_judged_against_the_right_rule_on_the_same_seeds():
    """Trained for real: the flipped sign is called regressed in every split, the right rule against itself in none."""
    bug = next(b for b in BUGS if b.wrong == "tpo_flipped_sign")
    itself = Bug("none", bug.file, "tpo", "tpo", "nothing")
    seeds = range(40)
    messages = jobs_of(load_suite("ci"), seeds, [bug])
    records = [r for m in messages for r in train(m)]
    whole, learning, *cells = judge_bug(records, bug, seeds, 3)
    assert (learning.cell, learning.detected) == ("learning", 1.0)
    assert (whole.cell, whole.detected, whole.first) == ("any", 1.0, "regressed")
    assert all(c.difference > 0 for c in cells)
    whole, _, *cells = judge_bug(records, itself, seeds, 3)
    assert (whole.detected, whole.improved, whole.unchanged) == (0.0, 0.0, 1.0)


# --- what is published


def test_the_document_holds_the_tables_of_the_committed_numbers():
    """docs/calibration.md is what the committed results/calibration.json gives."""
    text = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    document = json.loads((ROOT / "results" / "calibration.json").read_text(encoding="utf-8"))
    parts = {name: found["rows"] for name, found in document["parts"].items()}
    assert set(parts) == {"coverage", "tests", "gate", "bugs", "unchanged"}
    assert into_document(text, parts, name="calibration.md") == text
    assert "python benchmarks/calibration.py --json results/calibration.json --docs docs/calibration.md" in text


def test_a_table_is_put_between_its_markers():
    """What stands between the markers is replaced, the rest is kept; no markers is one clear line."""
    row = {
        "statistic": "mean", "population": "p", "n": 5, "method": "t", "covered": 0.9, "se": 0.01, "none": 0.0,
    }  # fmt: skip
    mark, end = MARK.format(part="coverage"), END.format(part="coverage")
    found = into_document(f"before\n{mark}\nold\n{end}\nafter", {"coverage": [row]}, name="page.md")
    assert found == f"before\n{mark}\n\n{coverage_table([row])}\n\n{end}\nafter"
    for text, missing in (("nothing", f"'{mark}'"), (f"{end}\n{mark}", f"'{end}' below '{mark}'")):
        with pytest.raises(SystemExit, match=f"^page.md: no marker {missing}; .*$"):
            into_document(text, {"coverage": [row]}, name="page.md")


def test_low_coverage_is_set_in_bold():
    """91.9% is below what a 95% interval may be called by more than three points; 93% is not."""
    rows = [
        {"statistic": "mean", "population": "p", "n": n, "method": "t", "covered": c, "se": None, "none": 0.0}
        for n, c in ((5, 0.919), (10, 0.93))
    ]
    assert coverage_table(rows).splitlines()[-1] == "| mean | t | p | **91.9** | 93.0 |"
    assert percent(0.946, 0.0061) == "94.6 ± 0.6"
