"""Every mistake that a result set can show is found where it is, and nothing is found where there is none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from record_helpers import record as tiny
from record_helpers import write
from typer.testing import CliRunner

from tpobench.cli import inspect
from tpobench.errors import NothingToDo
from tpobench.lint import CODES, SEVERITIES, ResultSet, lint, lint_sets
from tpobench.lint.outcomes import resolution
from tpobench.records.store import RunRecord
from tpobench.stats.compare import plain

ROOT = Path(__file__).parent.parent
REPORTING = {
    "metric": "error", "window": 5, "thresholds": [0.1], "persist": 3, "solved": 0.05, "worst": 1.0, "title": "Clean",
}  # fmt: skip
ORIGIN = {
    "tpobench": "0.1.0", "git": "abc", "torch": "2.13.0", "platform": "linux", "cpu": "x", "seed_scheme": "philox/1",
}  # fmt: skip
SCALE = {"tpo": 0.2, "grpo": 0.3, "dg": 0.45}
EVALUATIONS = 21


def run(rule, seed, length, *, suite="clean", final=None, noise=0.01):
    """One run whose error falls from 0.9 to about `final` within 100 updates, different in every digit by seed."""
    rng = np.random.default_rng([seed, length, sorted(SCALE).index(rule)])
    t = np.linspace(0, 1, EVALUATIONS)
    end = SCALE[rule] + 0.02 * rng.normal() if final is None else final
    error = np.clip(end + (0.9 - end) * np.exp(-6 * t) + noise * rng.normal(size=len(t)), 0, 1)
    steps = list(range(0, 5 * EVALUATIONS, 5))
    spec = {
        "suite": suite, "suite_version": 1, "cell": {"length": length}, "matching": "any",
        "task": {"kind": "sequence", "length": length, "prompts": 8, "candidates": 4},
        "training": {"steps": 100, "epochs": 4, "learning_rate": 0.1, "optimizer": "muon", "record_every": 5},
        "algorithm": rule, "algorithm_version": "1", "hyper": {"eta": 1.0}, "seed": seed, "dtype": "float32",
        "threads": 1, "device": "cpu",
    }  # fmt: skip
    curve = {
        "step": steps, "interactions": [32 * s for s in steps], "gradient_steps": [4 * s for s in steps],
        "error": [float(v) for v in error],
    }  # fmt: skip
    started = f"2026-01-01T00:{seed // 60:02d}:{seed % 60:02d}+00:00"
    return RunRecord(
        id=f"{suite}-{rule}-{seed}-{length}", spec=spec, status="ok", curve=curve, reporting=REPORTING,
        cost={"wall_s": 1.0}, provenance={**ORIGIN, "started_utc": started},
    )  # fmt: skip


def clean(seeds=range(20), rules=tuple(SCALE), lengths=(4, 8)):
    """Three rules in two cells with twenty seeds, well done."""
    return [run(rule, seed, length) for rule in rules for length in lengths for seed in seeds]


def changed(records, of, change):
    """The same records, those that `of` picks changed."""
    return [change(r) if of(r) else r for r in records]


def spec(record, **parts):
    """The same run under another spec; a mapping is merged into the part it names."""
    merged = {k: {**record.spec[k], **v} if isinstance(v, dict) else v for k, v in parts.items()}
    return replace(record, spec={**record.spec, **merged})


def curve(record, **columns):
    return replace(record, curve={**record.curve, **columns})


def reporting(record, **keys):
    return replace(record, reporting={**record.reporting, **keys})


def origin(record, **keys):
    return replace(record, provenance={k: v for k, v in {**record.provenance, **keys}.items() if v is not None})


def every(_record):
    return True


def is_dg(record):
    return record.spec["algorithm"] == "dg"


def one_cell(record):
    return record.spec["cell"]["length"] == 8


def findings(records, **fields):
    return lint_sets([ResultSet("results/x", tuple(records), **fields)]).findings


def found(records, code, **fields):
    """The findings of one code, each as (cells, rules, what)."""
    return [(f.cells, f.algorithms, f.what) for f in findings(records, **fields) if f.code.code == code]


BOTH = ("length=4", "length=8")


def test_nothing_is_found_where_nothing_is_wrong():
    """Twenty varied seeds, three rules, equal budgets, a recorded origin: no finding, not even a note."""
    assert [(f.code.code, f.what) for f in findings(clean())] == []


def test_unequal_seeds_are_named_seed_by_seed():
    """L001 in the cell where it is, with the rule that lacks seeds; nothing in the other cell."""
    records = [r for r in clean() if not (is_dg(r) and one_cell(r) and r.spec["seed"] > 16)]
    assert found(records, "L001") == [(("length=8",), ("dg",), "seeds 0-19: dg lacks 17-19")]


def test_a_rule_without_a_cell_is_missing_there_unless_it_was_skipped():
    """L002 for cells never run; a skipped record says that the task cannot serve the rule."""
    records = [r for r in clean() if not (is_dg(r) and one_cell(r))]
    assert found(records, "L002") == [(("length=8",), ("dg",), "no runs of dg")]
    excused = replace(run("dg", 0, 8), status="skipped", reason="needs a label", curve={})
    assert found([*records, excused], "L002") == []
    assert found([*records, excused], "L001") == []


def test_runs_without_a_result_are_dropped_runs_and_not_unequal_seeds():
    """L003 counts them by status; the seeds were asked for, so L001 is silent."""
    records = changed(
        clean(), lambda r: is_dg(r) and r.spec["seed"] in {3, 4, 9} and one_cell(r),
        lambda r: replace(r, status="oom" if r.spec["seed"] == 9 else "crashed", curve={}),
    )  # fmt: skip
    what = "dg: 3 of 20 runs without a result (2 crashed, 1 oom), seeds 3-4,9"
    assert found(records, "L003") == [(("length=8",), ("dg",), what)]
    assert found(records, "L001") == []


def test_damaged_records_are_dropped_runs():
    """L003 of the set as a whole."""
    assert found(clean(), "L003", damaged=2) == [((), (), "2 damaged records were left out")]


def test_diverged_runs_are_counted():
    """L004, a note: they are scored as worst."""
    records = changed(
        clean(), lambda r: is_dg(r) and one_cell(r) and r.spec["seed"] < 2, lambda r: replace(r, status="diverged")
    )
    assert found(records, "L004") == [(("length=8",), ("dg",), "dg: 2 of 20 diverged, scored the worst value")]


def test_seeds_that_nobody_ran_inside_the_range_are_asked_about():
    """L005 for both cells at once; reserve seeds that start at 20 are no hole."""
    assert found(clean(seeds=[*range(7), *range(8, 20)]), "L005") == [(BOTH, (), "seeds 0-6,8-19: nobody ran 7")]
    assert found(clean(seeds=range(20, 40)), "L005") == []


HOLM = f"{plain(0.05 / 3)} (Holm, 3 tests): cannot reject"


@pytest.mark.parametrize(
    ("seeds", "what"),
    [
        (1, "1 seed: no test at all"),
        (3, f"n=3: smallest possible p {plain(1 / 10)} > {HOLM}; need 5 seeds"),
        (4, f"n=4: smallest possible p {plain(1 / 35)} > {HOLM}; need 5 seeds"),
        (5, None),
    ],
)
def test_too_few_seeds_for_any_test_of_the_family(seeds, what):
    """L006: 2 / C(2n, n) against .05 / 3."""
    expected = [] if what is None else [(BOTH, ("tpo", "grpo", "dg"), what)]
    assert found(clean(seeds=range(seeds)), "L006") == expected


def test_few_seeds_warn_and_a_few_more_are_noted():
    """L007 below 5, L008 from 5 to 9, neither from 10 on."""
    rules = ("tpo", "grpo", "dg")
    assert found(clean(seeds=range(4)), "L007") == [(BOTH, rules, "n = 4")]
    assert found(clean(seeds=range(4)), "L008") == found(clean(seeds=range(5)), "L007") == []
    assert found(clean(seeds=range(5)), "L008") == [(BOTH, rules, "n = 5")]
    assert found(clean(seeds=range(9)), "L008") == [(BOTH, rules, "n = 9")]
    assert found(clean(seeds=range(10)), "L008") == []


def test_evaluations_of_one_run_under_several_seeds_are_no_replicates():
    """L009: seed 5 is the training run of seed 2, evaluated once more at the end."""

    def copy(r):
        own = run(r.spec["algorithm"], 2, r.spec["cell"]["length"]).curve["error"]
        return curve(r, error=[*own[:-1], own[-1] + 0.001])

    records = changed(clean(), lambda r: is_dg(r) and one_cell(r) and r.spec["seed"] == 5, copy)
    assert found(records, "L009") == [(("length=8",), ("dg",), "dg: seeds 2 and 5 have the same training curve")]


def test_curves_that_agree_where_nothing_moves_are_no_copies():
    """Two seeds that solve the task early, or never leave the worst value, share most points by right."""
    flat = changed(clean(), is_dg, lambda r: curve(r, error=[1.0] * EVALUATIONS))
    solved = changed(clean(), is_dg, lambda r: curve(r, error=[0.9 - 0.001 * r.spec["seed"], *[0.0] * 20]))
    assert found(flat, "L009") == found(flat, "L010") == found(solved, "L009") == found(solved, "L010") == []


def test_a_cell_in_which_the_seed_changes_nothing_is_deterministic():
    """L010, and not the 190 pairs of L009."""
    records = changed(clean(), is_dg, lambda r: curve(r, error=run("dg", 0, 4).curve["error"]))
    assert found(records, "L010") == [(BOTH, ("dg",), "dg: all 20 seeds are identical")]
    assert found(records, "L009") == []


def test_longer_training_of_one_rule_is_an_unequal_budget():
    """L020 in updates; samples and gradient steps follow from it and are not told again."""
    longer = [10 * k for k in range(EVALUATIONS)]
    records = changed(clean(), is_dg, lambda r: curve(r, step=longer, interactions=longer, gradient_steps=longer))
    assert found(records, "L020") == [(BOTH, ("tpo", "grpo", "dg"), "updates differ: 200 for dg; 100 for tpo, grpo")]
    assert found(records, "L022") == found(records, "L060") == []


def test_a_run_that_ends_early_is_an_unequal_budget():
    """L020 within one rule."""
    records = changed(
        clean(), lambda r: is_dg(r) and one_cell(r) and not r.spec["seed"],
        lambda r: replace(r, curve={k: v[:11] for k, v in r.curve.items()}),
    )  # fmt: skip
    ((cells, _, what),) = found(records, "L020")
    assert (cells, what) == (("length=8",), "updates differ: 100 for tpo, grpo; 50 and 100 for dg")


def test_samples_may_differ_where_the_suite_matches_by_prompts():
    """L020 without a declared matching, the note L021 with it."""
    single = changed(clean(), is_dg, lambda r: curve(r, interactions=[8 * s for s in r.curve["step"]]))
    what = "samples differ: 3200 for tpo, grpo; 800 for dg"
    assert found(single, "L020") == [(BOTH, ("tpo", "grpo", "dg"), what)]
    declared = changed(single, is_dg, lambda r: spec(r, matching="prompts"))
    assert found(declared, "L020") == []
    assert found(declared, "L021") == [(BOTH, ("tpo", "grpo", "dg"), what)]


def test_fewer_gradient_steps_are_noted():
    """L022: one epoch where others take four."""
    records = changed(clean(), is_dg, lambda r: curve(r, gradient_steps=r.curve["step"]))
    what = "gradient steps differ: 400 for tpo, grpo; 100 for dg"
    assert found(records, "L022") == [(BOTH, ("tpo", "grpo", "dg"), what)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: spec(r, task={"vocabulary": 3}), "task.vocabulary differs: tpo none; grpo none; dg 3"),
        (lambda r: spec(r, training={"optimizer": "adam"}), 'training.optimizer differs: tpo "muon"; grpo "muon"; dg "adam"'),  # noqa: E501
        (lambda r: spec(r, dtype="bfloat16"), 'dtype differs: tpo "float32"; grpo "float32"; dg "bfloat16"'),
        (lambda r: reporting(r, window=7), "report.window differs: tpo 5; grpo 5; dg 7"),
        (lambda r: spec(r, task={"prompts": 32, "candidates": 1}), None),
        (lambda r: spec(r, training={"learning_rate": 0.2, "epochs": 1}), None),
    ],
)  # fmt: skip
def test_rules_of_a_cell_share_what_the_suite_decides(change, what):
    """L023: task, optimizer, precision, metric; batch shape, learning rate and epochs are the rule's own."""
    records = changed(clean(), is_dg, change)
    assert [f[2] for f in found(records, "L023")] == ([] if what is None else [what])


def test_several_settings_of_one_rule_in_one_cell_are_pooled_seeds():
    """L024 names the setting; it is no doubled seed and no unequal task."""
    records = changed(clean(), lambda r: is_dg(r) and r.spec["seed"] > 9, lambda r: spec(r, hyper={"eta": 0.5}))
    assert found(records, "L024") == [(BOTH, ("dg",), "dg has 2 settings: hyper.eta 1.0 and 0.5")]
    assert found(records, "L023") == found(records, "L027") == []


def test_a_seed_that_ran_twice_counts_twice():
    """L027: once on each device."""
    again = [spec(r, device="cuda") for r in clean() if is_dg(r) and one_cell(r) and r.spec["seed"] < 2]
    assert found([*clean(), *again], "L027") == [(("length=8",), ("dg",), "dg: seeds 0-1 have several runs")]


def sweep(rules, rates):
    """One result set per learning rate."""
    return [
        ResultSet(f"results/rate{rate}", tuple(spec(r, training={"learning_rate": rate}) for r in clean(rules=rules)))
        for rate in rates
    ]


def test_a_rule_that_was_tuned_alone_is_found_across_result_sets():
    """L025: three learning rates for tpo, one for the others; none where all had three."""
    alone = lint_sets([ResultSet("results/x", tuple(clean())), *sweep(("tpo",), (0.2, 0.4))]).findings
    assert [(f.algorithms, f.what) for f in alone if f.code.code == "L025"] == [
        (("tpo",), "settings tried: tpo 3, dg 1, grpo 1")
    ]
    together = lint_sets(sweep(tuple(SCALE), (0.1, 0.2, 0.4))).findings
    assert [f.code.code for f in together] == []


def test_several_versions_of_a_suite_are_told_apart():
    """L026, and every version is judged by itself."""
    records = changed(clean(), one_cell, lambda r: spec(r, suite_version=2))
    assert found(records, "L026") == [((), (), "versions 1 and 2 side by side")]
    assert found(records, "L001") == found(records, "L002") == []


def test_runs_without_a_seed_scheme_are_named():
    """L040."""
    records = changed(clean(), is_dg, lambda r: origin(r, seed_scheme=None))
    assert found(records, "L040") == [(BOTH, ("dg",), "no seed scheme on record for dg")]
    assert found(records, "L041") == []


def test_seed_schemes_must_not_be_mixed():
    """L041: pairing would pair strangers."""
    records = changed(clean(), is_dg, lambda r: origin(r, seed_scheme="mt19937/2"))
    what = "tpo philox/1; grpo philox/1; dg mt19937/2"
    assert found(records, "L041") == [(BOTH, ("tpo", "grpo", "dg"), what)]


def test_origins_that_differ_between_rules_are_named_key_by_key():
    """L042 for torch; not where every rule comes from the same two machines."""
    records = changed(clean(), is_dg, lambda r: origin(r, torch="2.4.0"))
    what = "torch differs: tpo 2.13.0; grpo 2.13.0; dg 2.4.0"
    assert found(records, "L042") == [(BOTH, ("tpo", "grpo", "dg"), what)]
    spread = changed(clean(), lambda r: r.spec["seed"] > 9, lambda r: origin(r, cpu="y"))
    assert found(spread, "L042") == []


def test_runs_of_a_changed_checkout_are_counted():
    """L043 of the suite as a whole."""
    records = changed(clean(), is_dg, lambda r: origin(r, git="abc-dirty"))
    assert found(records, "L043") == [((), ("dg",), "40 runs are from abc-dirty")]


def later(record):
    return origin(record, started_utc="2026-01-01T03:00:20+00:00")


def test_seeds_added_after_a_pause_are_asked_about():
    """L044: seeds 0-9 were complete and readable for three hours before 10-19 began."""
    records = changed(clean(), lambda r: r.spec["seed"] > 9, later)
    what = "seeds 10-19 were started 3 hours after seeds 0-9 had ended"
    assert found(records, "L044") == [((), (), what)]


def test_a_run_that_was_cut_short_and_continued_is_no_peeking():
    """No table could be read: one rule lacked its last seed before the pause."""
    records = changed(clean(), lambda r: r.spec["seed"] > 9 or (is_dg(r) and r.spec["seed"] == 9), later)
    assert found(records, "L044") == []


@pytest.mark.parametrize(("seconds", "asked"), [(45, False), (90, True)])
def test_a_pause_is_a_minute(seconds, asked):
    """The last of the first ten seeds ended ten seconds after midnight."""
    at = f"2026-01-01T00:{(seconds + 10) // 60:02d}:{(seconds + 10) % 60:02d}+00:00"
    records = changed(clean(), lambda r: r.spec["seed"] > 9, lambda r: origin(r, started_utc=at))
    assert [f[2] for f in found(records, "L044")] == [
        "seeds 10-19 were started 1.5 minutes after seeds 0-9 had ended"
    ] * asked


def test_a_rule_that_is_added_later_is_no_peeking():
    """The seeds of dg are those that the others had."""
    assert found(changed(clean(), is_dg, later), "L044") == []


def test_a_long_run_is_no_pause():
    """The first seeds were still training when the others began."""
    records = changed(clean(), lambda r: r.spec["seed"] > 9, later)
    busy = changed(records, lambda r: r.spec["seed"] == 0, lambda r: replace(r, cost={"wall_s": 11_000.0}))
    assert found(busy, "L044") == []


def plan(looks=4, rules=("tpo", "grpo", "dg"), lengths=(4, 8)):
    """What plan.json holds of five seeds at each look."""
    cells = [
        {"cell": {"length": n}, "matching": "any", "algorithms": list(rules), "family": 3, "level": 0.025,
         "paths": 9999}
        for n in lengths
    ]  # fmt: skip
    return {
        "schema": 1, "seeds": f"adaptive:5x{looks}", "text": "", "suite": "clean", "per_look": 5, "looks": looks,
        "alpha": 0.05, "rng": 0, "cells": cells,
    }  # fmt: skip


def adaptive(dg=10):
    """tpo .2, grpo .3 and dg .45, far apart for their spread of .02: the second look decides everything."""
    return [r for r in clean(seeds=range(max(10, dg))) if r.spec["seed"] < (dg if is_dg(r) else 10)]


def test_seeds_under_a_recorded_plan_are_no_peeking():
    """No finding while the plan is followed, though ten seeds came three hours late; without it L044."""
    records = changed(adaptive(), lambda r: r.spec["seed"] > 4, later)
    assert [f.code.code for f in findings(records, plan=plan())] == []
    assert {f.code.code for f in findings(records)} == {"L044"}


def test_seeds_after_the_decision_are_not_the_plans():
    """L045 names the rule and its seeds; unequal seeds are the plan's own doing."""
    records = adaptive(dg=15)
    what = "dg: decided at 10 seeds, yet there are 10-14"
    assert found(records, "L045", plan=plan()) == [(BOTH, ("dg",), what)]
    assert found(records, "L001", plan=plan()) == []


def test_a_plan_that_was_stopped_by_hand_is_unfinished():
    """L046: dg has only half of the second look."""
    what = "1 of at most 4 looks taken, not decided: tpo, grpo, dg"
    assert [f[2] for f in found(adaptive(dg=7), "L046", plan=plan())] == [what]


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (plan(rules=("tpo", "grpo")), [(BOTH, ("dg",), "algorithms that the plan does not name: dg")]),
        (plan(lengths=(4,)), [(("length=8",), ("tpo", "grpo", "dg"), "a cell that the plan does not have")]),
        ({"damaged": "plan.json is damaged"}, [((), (), "plan.json is damaged")]),
    ],
)
def test_runs_that_the_plan_does_not_have_are_an_error(recorded, expected):
    """L045 for rules and cells outside the plan, and for a plan that cannot be read."""
    assert found(adaptive(), "L045", plan=recorded) == expected


def test_rules_measured_at_different_steps_cannot_be_compared():
    """L060: the same budget, half the evaluations."""
    records = changed(clean(), is_dg, lambda r: replace(r, curve={k: v[::2] for k, v in r.curve.items()}))
    assert found(records, "L060") == [(BOTH, ("tpo", "grpo", "dg"), "evaluations on the way: tpo 21; grpo 21; dg 11")]
    assert found(records, "L020") == []


@pytest.mark.parametrize(("window", "code"), [(21, "L061"), (50, "L061"), (1, "L062"), (20, None)])
def test_a_window_lies_between_one_point_and_the_curve(window, code):
    """L061: as long as the curve or longer; L062: one point."""
    records = changed(clean(), every, lambda r: reporting(r, window=window))
    assert {f.code.code for f in findings(records)} & {"L061", "L062"} == ({code} if code else set())


def on_grid(record, answers):
    return curve(record, error=[round(round(v * answers) / answers, 7) for v in record.curve["error"]])


def test_a_threshold_below_the_evaluation_is_found_from_the_values():
    """L063: errors in steps of 1/24 are below 4% only at zero; in steps of 1/192 they are below 10% at many values."""
    coarse = changed(clean(), every, lambda r: reporting(on_grid(r, 24), thresholds=[0.1, 0.04]))
    what = "error is measured in steps of 4.2%, threshold 4%"
    assert found(coarse, "L063") == [(BOTH, (), what)]
    assert found(changed(clean(), every, lambda r: on_grid(r, 192)), "L063") == []


def test_a_grid_is_seen_through_rounding_and_not_in_noise():
    """Multiples of 1/192 written with seven digits have a grid; numbers without one have none."""
    assert resolution(np.round(np.arange(193) / 192, 7)) == pytest.approx(1 / 192, rel=1e-3)
    assert resolution(np.random.default_rng(0).random(50)) is None
    assert resolution(np.array([0.0, 0.5, 1.0])) is None


def test_more_evaluations_in_a_row_than_there_are_can_never_be_had():
    """L063."""
    records = changed(clean(), every, lambda r: reporting(r, persist=22))
    assert found(records, "L063") == [(BOTH, (), "22 evaluations in a row below a threshold, curves of 21")]


def test_the_first_crossing_is_noted():
    """L064 at one evaluation in a row."""
    records = changed(clean(), every, lambda r: reporting(r, persist=1))
    assert [f[0] for f in found(records, "L064")] == [BOTH]


def test_a_worst_value_that_is_not_the_worst_makes_diverging_pay():
    """L065: dg ends near .45 where diverged runs are scored .4."""
    records = changed(clean(lengths=(8,)), every, lambda r: reporting(r, worst=0.4))
    ((_, rules, what),) = found(records, "L065")
    assert (rules, what.split(" > ")[1]) == (("dg",), "worst 40%")


def test_the_best_of_several_evaluations_is_optimistic():
    """L066, by the name of the metric."""
    records = [curve(reporting(r, metric="best_error"), best_error=r.curve["error"]) for r in clean()]
    assert found(records, "L066") == [(BOTH, (), "the metric is best_error")]


def test_a_mean_between_two_kinds_of_seeds_comes_with_the_solved_rate():
    """L080: 12 of 20 seeds at zero, 8 at .8: mean .32, median 0."""

    def split(r):
        end = 0.0 if r.spec["seed"] < 12 else 0.8
        return curve(r, error=[*r.curve["error"][:-5], *[end] * 5])

    records = changed(clean(), lambda r: is_dg(r) and one_cell(r), split)
    what = "dg: mean 32%, median 0%; 12/20 [39%, 78%] solved"
    assert found(records, "L080") == [(("length=8",), ("dg",), what)]


def test_a_cell_that_everybody_solves_alike_ranks_nobody():
    """L081; not where errors below the threshold still differ."""
    alike = [run(rule, seed, 4, final=0.01) for rule in SCALE for seed in range(20)]
    assert [f[2] for f in found(alike, "L081")] == ["all 60 runs are solved, no pair of algorithms differs"]
    apart = [run(rule, s, 4, final=f, noise=0.001) for rule, f in zip(SCALE, (0.005, 0.02, 0.03), strict=True) for s in range(20)]  # noqa: E501  # fmt: skip
    assert found(apart, "L081") == []


def test_a_cell_in_which_nobody_learns_ranks_nobody():
    """L082; not where one rule gets away from the start."""
    stuck = [run(rule, seed, 4, final=0.89) for rule in SCALE for seed in range(20)]
    assert [f[2] for f in found(stuck, "L082")] == ["all 60 runs are where they began, no pair of algorithms differs"]
    assert found([r for r in stuck if not is_dg(r)] + [run("dg", s, 4) for s in range(20)], "L082") == []


def test_every_code_is_found_by_a_test_or_by_the_audit():
    """No code is a promise: each occurs in this file, or in that of the audit."""
    tests = "".join((ROOT / "tests" / name).read_text(encoding="utf-8") for name in ("test_lint.py", "test_audit.py"))
    assert [c for c in CODES if f'"{c}"' not in tests] == []


def test_every_code_is_explained():
    """docs/lint.md has a heading for every code, with its name and severity, and no other; commands.md counts them."""
    assert f"[{len(CODES)} findings](lint.md)" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### L")]
    assert headings == [f"{c.code} {c.name} ({c.severity})" for c in CODES.values()]


def test_runs_on_other_data_than_the_published_are_told():
    """L047 names the file that differs and both hashes; a run on the published data has none."""
    task = {"data": "mnist", "data_sha256": "f" * 64}
    files = {"mnist/t10k-labels-idx1-ubyte": {"sha256": "e" * 64, "verified": False},
             "mnist/train-labels-idx1-ubyte": {"sha256": "d" * 64, "verified": True}}  # fmt: skip
    records = changed(clean(), is_dg, lambda r: origin(spec(r, task=task), data=files))
    assert found(records, "L047") == [
        ((), ("dg",),
         ("Unverified data: 40 runs of clean read a copy of mnist that is not the published data "
          "(mnist/t10k-labels-idx1-ubyte has sha256 eeeeeeeeeeee…, the published file ff7bcfd416de…)"))
    ]  # fmt: skip
    published = changed(clean(), is_dg, lambda r: spec(r, task={"data": "mnist", "data_sha256": ""}))
    assert found(published, "L047") == []


def test_findings_come_worst_first():
    """Errors, warnings, notes, whatever the order of the checks."""
    records = changed(clean(seeds=range(9)), is_dg, lambda r: origin(r, git="a-dirty", seed_scheme="other"))
    kinds = [f.code.severity for f in findings(records)]
    assert kinds == sorted(kinds, key=SEVERITIES.index)
    assert set(kinds) == set(SEVERITIES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sparse", {"L022", "L080"}),
        ("bandit", {"L043", "L062"}),
        ("contexts", {"L043", "L062"}),
    ],
)
def test_the_committed_results_have_the_findings_that_are_true_of_them(name, expected):
    """sparse: rules of one epoch beside four, cells that some seeds solve; bandits: one last point; no error in any."""
    checks = lint(ROOT / "results" / f"{name}.jsonl")
    codes = {f.code.code for f in checks.findings}
    assert codes - {"L043"} == expected - {"L043"}  # the commit is known only once the records are made again
    assert checks.worst() in {"note", "warning"}


def call(*words):
    """The verb by itself: (exit code, standard output)."""
    app = typer.Typer()
    app.command("lint")(inspect.lint_)
    app.command("other")(lambda: None)
    answer = CliRunner().invoke(app, ["lint", *map(str, words)])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.exit_code, answer.stdout


def test_exit_codes_tell_errors_from_warnings_and_notes(tmp_path):
    """Notes 0, warnings 0 and 3 under --strict, errors 3."""
    quiet = {"reporting": {**REPORTING, "window": 1, "thresholds": []}, "provenance": ORIGIN}

    def some(rule, seeds):
        return [tiny(s, error=0.5 + 0.01 * s, changes={"algorithm": rule}, **quiet) for s in seeds]

    notes = write(tmp_path / "notes", *some("tpo", range(10)), *some("grpo", range(10)))
    assert call(notes)[0] == call(notes, "--strict")[0] == 0
    warned = write(tmp_path / "warned", *some("tpo", range(2)), *some("grpo", range(2)))
    assert (call(warned)[0], call(warned, "--strict")[0]) == (0, 3)
    flawed = write(tmp_path / "flawed", *some("tpo", range(10)), *some("grpo", range(9)))
    code, out = call(flawed)
    assert code == 3
    assert out.splitlines()[:2] == ["error L001 unequal-seeds", "  tiny, bandit: seeds 0-9: grpo lacks 9"]


def test_json_is_one_object_with_every_finding(tmp_path):
    """Code, name, severity, place, numbers, reason and remedy."""
    folder = write(tmp_path / "x", tiny(0), tiny(0, changes={"algorithm": "dg"}), tiny(1))
    code, out = call(folder, "--json")
    answer = json.loads(out)
    assert (code, answer["runs"], answer["errors"]) == (3, 3, 1)
    first = answer["findings"][0]
    assert {k: first[k] for k in ("code", "name", "severity", "suite", "cells", "rules", "what")} == {
        "code": "L001", "name": "unequal-seeds", "severity": "error", "suite": "tiny", "cells": ["bandit"],
        "rules": ["dg"], "what": "seeds 0-1: dg lacks 1",
    }  # fmt: skip
    assert first["why"]
    assert first["remedy"]


def test_a_plan_is_read_from_its_folder(tmp_path):
    """plan.json beside the runs; a damaged one is a finding, not a crash."""
    folder = write(tmp_path / "x", tiny(0))
    assert "L045" not in {f.code.code for f in lint(folder).findings}
    (folder / "plan.json").write_text("{", encoding="utf-8")
    (what,) = [f.what for f in lint(folder).findings if f.code.code == "L045"]
    assert "is damaged" in what


def test_nothing_to_lint_is_its_own_error(tmp_path):
    """Exit code 4, in one line."""
    with pytest.raises(NothingToDo, match="no results to lint at"):
        lint(tmp_path / "nowhere")
    assert NothingToDo.exit_code == 4
