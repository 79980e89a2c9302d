"""The gate's rules, cell by cell and as a family: equal, screened, confirmed, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tpobench.stats.gate import (
    MARGINS,
    CellEvidence,
    GatePlan,
    Margin,
    confirm_cells,
    decide,
    margin_value,
    outcome_of,
    refusal,
    reserve_needed,
    screen_cells,
)

PUBLISHED = np.load(Path(__file__).parent / "extracts" / "published_curves.npz")
FINAL = {name: (PUBLISHED[name] / PUBLISHED["of"])[:, -50:].mean(axis=1) for name in ("tpo", "grpo")}
POINT = Margin(floor=0.01)
RNG = np.random.default_rng(0)
BASE, RESERVE = RNG.normal(0.2, 0.02, 10), RNG.normal(0.2, 0.02, 10)
NOISE, FRESH = RNG.normal(0, 0.005, 10), RNG.normal(0, 0.005, 10)


def seeds(values, start=0):
    return {start + i: float(v) for i, v in enumerate(values)}


def cell(candidate, confirmed=None, *, baseline=BASE, reserve=RESERVE, name="c", margin=POINT, **kwargs):
    fresh = {} if confirmed is None else seeds(confirmed, 100)
    return CellEvidence(name, seeds(baseline), seeds(candidate), margin, seeds(reserve, 100), fresh, **kwargs)


def verdict(*args, plan=None, **kwargs):
    return decide([cell(*args, **kwargs)], plan).verdicts[0]


def test_equal_values_are_unchanged_without_statistics():
    """Same seeds, same platform, every value equal: no test, no interval needed, green."""
    report = decide([cell(BASE)])
    found = report.verdicts[0]
    assert (found.status, found.stage, found.reason, found.p) == ("unchanged", "exact", "identical (bitwise)", None)
    assert report.outcome == "passed"


def test_values_within_the_tolerance_are_unchanged():
    """--rtol 1e-6 forgives the last bits; without it they are tested."""
    found = verdict(BASE * (1 + 1e-7), plan=GatePlan(rtol=1e-6))
    assert (found.status, found.reason) == ("unchanged", "equal within 1e-06")
    assert verdict(BASE * (1 + 1e-7)).status == "ok"


def digits(distance, **fields):
    """The verdict on one exact cell, `distance` away from the baseline's digits."""
    exact = CellEvidence("e", {0: 0.0}, {0: distance}, Margin(1e-6), exact=True, where="error is 2, was 1", **fields)
    return decide([exact])


def test_an_exact_cell_is_the_same_or_changed_without_statistics():
    """Last digits may differ, anything more is red; on other random numbers it says nothing, and no test is refused."""
    assert [digits(d).verdicts[0].status for d in (0.0, 1e-7, 1e-3)] == ["unchanged", "unchanged", "changed"]
    assert (digits(1e-3).outcome, digits(1e-3).verdicts[0].reason) == ("regressed", "error is 2, was 1")
    assert (digits(1e-3, redrawn=True).verdicts[0].status, digits(1e-3, redrawn=True).outcome) == ("redrawn", "passed")


def test_the_margin_is_never_finer_than_the_seeds_can_tell():
    """3.2 sd sqrt(2 / 10) of all baseline values; a margin that was asked for by hand has none of it."""
    values, more = [0.0, 0.2] * 5, [0.1] * 2
    sd = np.std([*values, *more], ddof=1)
    noisy = cell(values, baseline=values, reserve=more, margin=MARGINS["error"])
    assert margin_value(noisy) == pytest.approx(3.2 * sd * np.sqrt(0.2))
    assert margin_value(cell(values, baseline=values, reserve=more, margin=Margin(0.01, 0.1))) == pytest.approx(0.01)


def test_small_noise_is_non_inferior():
    """The upper one-sided bound lies below the margin of one point."""
    found = verdict(BASE + NOISE)
    assert found.status == "ok"
    assert found.high < found.margin == 0.01
    expected = stats.ttest_rel(BASE + NOISE, BASE).confidence_interval(0.90)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_regression_is_flagged_then_confirmed_on_fresh_seeds():
    """+5 points on screen and reserve seeds: regressed, by the adjusted p of the reserve seeds alone."""
    screened = screen_cells([cell(BASE + 0.05 + NOISE)], GatePlan())
    assert screened[0].status == "flagged"
    assert screened[0].reason == "flagged on seeds 0-9 (p .00098, sign-flip); confirm on seeds 100-109"
    assert reserve_needed(screened) == ("c",)
    found = verdict(BASE + 0.05 + NOISE, RESERVE + 0.05 + FRESH)
    assert (found.status, found.stage, found.test, found.family) == ("regressed", "confirm", "sign-flip", 1)
    assert found.adjusted == found.p == 1 / 1024
    assert found.reason.startswith("difference +0.051, at least 0.049")
    assert found.reason.endswith(", margin 0.01 (sign-flip, Holm p .00098)")


def test_a_flag_without_reserve_results_is_unconfirmed():
    """Neither green nor red: the reserve seeds are to be run first."""
    report = decide([cell(BASE + 0.05 + NOISE)])
    assert (report.verdicts[0].status, report.outcome) == ("flagged", "unconfirmed")
    half = cell(BASE + 0.05 + NOISE, RESERVE[:5] + 0.05)
    assert decide([half]).outcome == "unconfirmed"


def test_a_flag_that_fresh_seeds_do_not_bear_out_is_no_regression():
    """Worse on the screen seeds, unchanged on the reserve: judged by the reserve."""
    found = verdict(BASE + 0.05 + NOISE, RESERVE + FRESH)
    assert (found.status, found.stage) == ("ok", "confirm")
    assert found.reason.startswith("flagged, not confirmed on seeds 100-109: difference")


def test_an_improvement_is_a_notice():
    """The whole interval better than the margin; still green."""
    report = decide([cell(BASE - 0.05 + NOISE)])
    assert report.verdicts[0].status == "improved"
    assert "consider a baseline update" in report.verdicts[0].reason
    assert report.outcome == "passed"


def test_better_by_less_than_the_margin_is_ok():
    """Half a point is no news in either direction."""
    found = verdict(BASE - 0.005 + NOISE / 10)
    assert found.high < 0
    assert found.status == "ok"


@pytest.mark.parametrize("shift", [0.0085, 0.0115])
@pytest.mark.parametrize("same_scheme", [True, False])
def test_more_seeds_are_needed_than_those_that_did_not_decide(shift, same_scheme):
    """A spread for which 3 or 4 seeds would do, were the difference 0; it is near the margin, and 10 do not decide."""
    quiet = 0.2 + 0.004 * np.linspace(-1, 1, 10)
    found = verdict(quiet + shift + NOISE, baseline=quiet, plan=GatePlan(confirm=False), same_scheme=same_scheme)
    assert found.status == "inconclusive"
    assert found.seeds_needed > 10
    assert f"{found.seeds_needed} seeds needed" in found.reason


def test_noise_wider_than_the_margin_is_inconclusive_and_says_how_many_seeds_decide():
    """Spread of 20 points against a margin of one: neither regressed nor ok."""
    source = np.random.default_rng(1)
    report = decide([cell(source.normal(0.5, 0.2, 10), baseline=source.normal(0.5, 0.2, 10))])
    found = report.verdicts[0]
    assert (found.status, report.outcome) == ("inconclusive", "inconclusive")
    assert found.seeds_needed > 1000
    assert found.reason.endswith(f"{found.seeds_needed} seeds needed")


def test_higher_is_better_turns_the_sign():
    """A reward that falls by .05 is worse by .05; old and new keep their own direction."""
    found = verdict(BASE - 0.05 + NOISE, RESERVE - 0.05 + FRESH, better="higher")
    assert found.status == "regressed"
    assert found.difference == pytest.approx(0.05, abs=0.01)
    assert found.new < found.old
    assert verdict(BASE + 0.05 + NOISE, better="higher").status == "improved"


def test_margins_of_the_kinds():
    """Error one point and 10%, rates 20 points, steps 25% of their logarithm, reward 2%."""
    quiet = 0.2 + (BASE - 0.2) / 10
    same = cell(quiet, baseline=quiet, reserve=quiet, margin=MARGINS["error"])
    assert margin_value(same) == pytest.approx(0.1 * np.mean(quiet))
    assert margin_value(cell(BASE, baseline=[0.01] * 10, reserve=[0.01] * 10, margin=MARGINS["error"])) == 0.01
    assert margin_value(cell(BASE, margin=MARGINS["steps"])) == pytest.approx(np.log(1.25))


def test_steps_are_compared_on_a_logarithmic_scale():
    """Half as many steps again is log 1.5 > log 1.25, whatever the size of the steps."""
    source = np.random.default_rng(2)
    base, reserve = source.lognormal(6, 0.5, 10), source.lognormal(6, 0.5, 10)
    found = verdict(
        1.5 * base, 1.5 * reserve, baseline=base, reserve=reserve, margin=Margin(0.0, 0.25, logarithmic=True)
    )
    assert found.difference == pytest.approx(np.log(1.5))
    assert found.status == "regressed"
    assert (
        verdict(1.2 * base, baseline=base, reserve=reserve, margin=Margin(0.0, 0.25, logarithmic=True)).status == "ok"
    )


def test_constant_arms_that_differ_need_no_test():
    """Always 0 before, always 1 now: regressed without a p; by less than the margin: ok."""
    args = {"baseline": [0.0] * 10, "reserve": [0.0] * 10}
    found = verdict([1.0] * 10, [1.0] * 10, **args)
    assert (found.status, found.p, found.adjusted) == ("regressed", None, None)
    assert found.reason == "deterministic difference +1, margin 0.01; no sampling variance, no test"
    assert verdict([0.005] * 10, **args).status == "ok"
    assert verdict([1.0] * 10, [0.0] * 10, **args).status == "ok"


def test_more_failed_runs_are_found_by_their_rate():
    """Seven of ten runs diverge where none did, and the mean says less: Boschloo flags and confirms."""
    source = np.random.default_rng(4)
    lost = np.arange(10) < 7
    base, reserve = source.normal(0.5, 0.4, 10), source.normal(0.5, 0.4, 10)
    failed = {**seeds(lost), **seeds(lost, 100)}
    found = verdict(
        np.where(lost, 1.0, base), np.where(lost, 1.0, reserve), baseline=base, reserve=reserve,
        failed_baseline=dict.fromkeys(failed, False), failed_candidate={s: bool(v) for s, v in failed.items()},
    )  # fmt: skip
    assert (found.status, found.test, found.hypothesis) == ("regressed", "boschloo", "rate")
    p = stats.boschloo_exact([[7, 0], [3, 10]], alternative="greater").pvalue
    assert found.p == pytest.approx(p)
    assert found.reason.startswith("7/10 runs failed, 0/10 in the baseline (boschloo, Holm p ")


def test_a_failure_more_is_within_the_margin_of_rates():
    """One run in ten is less than 20 points: no rate test, whatever its p."""
    flags = dict.fromkeys([*range(10), *range(100, 110)], False)
    found = verdict(BASE + NOISE, failed_baseline=flags, failed_candidate=flags | {0: True})
    assert (found.status, found.hypothesis) == ("ok", "mean")


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"incomparable": "metric differs"}, "not comparable", "metric differs"),
        ({"crashed": (3,)}, "crashed", "crashed on seed 3, which passed in the baseline"),
        ({"candidate": {}}, "incomplete", "missing"),
        ({"candidate": seeds(BASE[:8])}, "incomplete", "2 of 10 seeds missing: 8, 9"),
        ({"baseline": {}}, "incomplete", "missing in the baseline"),
        ({"candidate": seeds([np.nan, *BASE[1:]])}, "incomplete", "1 values are not finite: score them"),
    ],
)
def test_what_cannot_be_compared_is_never_green(change, status, reason):
    """Each with its reason, and with the outcome that no exit code 0 has."""
    broken = {"name": "c", "baseline": seeds(BASE), "candidate": seeds(BASE), "margin": POINT}
    broken |= {"reserve_baseline": seeds(RESERVE, 100)} | change
    report = decide([CellEvidence(**broken), cell(BASE, name="fine")])
    assert (report.verdicts[0].status, report.verdicts[0].reason) == (status, reason)
    assert report.outcome == ("regressed" if status == "crashed" else "incomplete")


def test_nothing_compared_is_never_green():
    """No cells, or none that could be compared."""
    assert decide([]).outcome == "nothing compared"
    assert decide([cell(BASE, incomparable="other suite")]).outcome == "nothing compared"
    assert outcome_of(()) == "nothing compared"


def forty(n, reserve):
    return [cell(BASE[:n], baseline=BASE[:n], reserve=RESERVE[:reserve], name=f"c{i}") for i in range(40)]


def test_a_set_up_in_which_nothing_can_reject_is_refused():
    """Five seeds and forty cells: .00397 > .00125; and the report is not green."""
    reason = "n=5: smallest possible one-sided p .004 > .00125 (Holm, 40 cells): cannot reject; need 6 seeds"
    assert refusal(GatePlan(confirm=False), forty(5, 0)) == f"check: {reason}"
    assert refusal(GatePlan(), forty(5, 5)) == f"confirm: {reason}"
    report = decide(forty(5, 5))
    assert (report.outcome, report.verdicts) == ("nothing compared", ())
    assert refusal(GatePlan(), forty(5, 0)).startswith("no reserve seeds in the baseline")
    text = "screen: n=2: smallest possible one-sided p .167 > .05 (Holm, 1 cell): cannot reject; need 3 seeds"
    assert refusal(GatePlan(), forty(2, 10)) == text


@pytest.mark.parametrize(("n", "reserve"), [(5, 6), (10, 10), (3, 10)])
def test_a_set_up_that_can_reject_is_not_refused(n, reserve):
    """Six reserve seeds: sign flips could not reach .00125, shuffled labels can and take their place."""
    assert refusal(GatePlan(), forty(n, reserve)) == ""


def test_a_bug_in_every_cell_is_found_in_every_cell():
    """All forty flagged: Holm over forty leaves ten paired seeds enough."""
    cells = [cell(BASE + 0.1 + NOISE, RESERVE + 0.1 + FRESH, name=f"c{i}") for i in range(40)]
    report = decide(cells)
    assert len(report.of("regressed")) == 40
    assert {v.family for v in report.verdicts} == {40}
    assert {v.adjusted for v in report.verdicts} == {40 / 1024}


def test_unconfirmed_cells_count_in_the_family():
    """One of two flagged cells has no reserve results yet: the other is adjusted for two."""
    cells = [
        cell(BASE + 0.05 + NOISE, RESERVE + 0.05 + FRESH, name="a"),
        cell(BASE + 0.05 + NOISE, name="b"),
    ]
    a, b = confirm_cells(cells, screen_cells(cells, GatePlan()), GatePlan())
    assert (a.status, a.adjusted, b.status) == ("regressed", 2 / 1024, "flagged")


def test_confirmation_is_adjusted_for_the_flagged_cells():
    """Three flagged cells, each 2 of 64 sign patterns on the reserve seeds: .031 alone, .094 of three."""
    differences = 0.01 + np.array([0.05, 0.04, 0.03, 0.02, 0.015, -0.001])
    reserve = RESERVE[:6]
    cells = [cell(BASE + 0.1 + NOISE, reserve + differences, reserve=reserve, name=f"c{i}") for i in range(3)]
    found = decide(cells)
    assert {(v.p, v.adjusted) for v in found.verdicts} == {(2 / 64, 6 / 64)}
    assert not found.of("regressed")
    assert decide(cells[:1]).verdicts[0].status == "regressed"


def test_without_confirmation_holm_is_over_all_changed_cells():
    """One shot: a cell that alone would be significant is not among forty noisy ones; a clear one is."""
    source = np.random.default_rng(6)
    noisy = [
        cell(source.normal(0, 1, 10), baseline=source.normal(0, 1, 10), reserve=[], name=f"n{i}") for i in range(39)
    ]
    clear = cell(BASE + 1 + NOISE, reserve=[], name="clear")
    report = decide([*noisy, clear], GatePlan(confirm=False))
    assert [v.name for v in report.of("regressed")] == ["clear"]
    assert report.verdicts[-1].family == 40
    assert report.verdicts[-1].adjusted == pytest.approx(40 / 1024)


def test_one_seed_is_never_ok_by_its_interval():
    """A single pair that differs carries no verdict, even inside the margin."""
    others = [cell(BASE, name=f"c{i}") for i in range(2)]
    found = decide([cell([0.205], baseline=[0.2], reserve=[0.2]), *others]).verdicts[0]
    assert (found.status, found.reason) == ("inconclusive", "difference +0.005; n=1: no test with 1 seed")


def test_cells_of_the_same_name_are_refused():
    """Their verdicts would be mixed up."""
    with pytest.raises(ValueError, match="two cells of the same name"):
        decide([cell(BASE), cell(BASE)])


def test_a_verdict_does_not_depend_on_the_other_cells():
    """Screening a cell alone or among others gives the same p."""
    source = np.random.default_rng(7)
    one = cell(source.normal(0, 1, 20), baseline=source.normal(0, 1, 20))
    alone = screen_cells([one], GatePlan())[0]
    among = screen_cells([cell(BASE + NOISE, name="x"), one], GatePlan())[1]
    assert alone == among


def noisy_cells(source, n, shifted=()):
    """Forty cells of unchanged noise: real bimodal errors, normal and lognormal ones; some shifted by one sd."""
    pools = [FINAL["tpo"], FINAL["grpo"], source.normal(5, 1, 4000), source.lognormal(0, 1, 4000)]

    def arm(i, start, *, shift):
        pool = pools[i % 4]
        return seeds(source.choice(pool, n) + (pool.std() if shift and i in shifted else 0.0), start)

    return [
        CellEvidence(f"c{i}", arm(i, 0, shift=False), arm(i, 0, shift=True), Margin(),
                     arm(i, 100, shift=False), arm(i, 100, shift=True))
        for i in range(40)
    ]  # fmt: skip


def test_false_alarms_per_run_of_forty_unchanged_cells():
    """The hardest case, margin 0: screen and confirm alarm in about 5% of 120 runs; a 10% threshold in all of them."""
    source = np.random.default_rng(8)
    alarms, threshold = 0, 0
    for _ in range(120):
        cells = noisy_cells(source, 10)
        alarms += decide(cells).outcome == "regressed"
        worse = [np.mean([*c.candidate.values()]) > 1.1 * np.mean([*c.baseline.values()]) for c in cells]
        threshold += any(worse)
    assert alarms <= stats.binom.ppf(0.995, 120, 0.05)
    assert threshold == 120


def test_power_of_screen_and_confirm_at_one_standard_deviation():
    """Ten seeds, one cell of forty worse by one sd: found twice as often as by one-shot Holm over the forty."""
    source = np.random.default_rng(9)
    two, one = 0, 0
    for _ in range(60):
        cells = noisy_cells(source, 10, shifted={2})
        two += decide(cells).verdicts[2].status == "regressed"
        one += decide(cells, GatePlan(confirm=False)).verdicts[2].status == "regressed"
    assert two > 0.25 * 60
    assert two > 1.5 * one
