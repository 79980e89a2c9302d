"""Figures in the paper's layout: the numbers drawn are those of the records, and what was not run says so."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from paper_simulated import SHIPPED, everything, runs
from simulated import REPORTING, record

from tpobench.algorithms.catalog import BUILT_IN
from tpobench.errors import UsageError
from tpobench.paper.figures import SELECTIONS, paper_pictures, write_paper_figures
from tpobench.paper.figures import runs as paper_runs
from tpobench.paper.items import ALIASES, ITEMS
from tpobench.records.results import Results
from tpobench.report import ReportOptions
from tpobench.report.figures import save
from tpobench.report.figures.curves import averaged
from tpobench.report.figures.style import RC, ramp, style_of


@pytest.fixture(scope="module")
def drawn():
    """The figure of an item from the records of all suites, drawn once."""
    found, pictures = everything(evaluations=21), {}

    def draw(item):
        if item not in pictures:
            pictures[item] = only(item, found)
        return pictures[item]

    return draw


def results(*groups):
    return Results(tuple(r for group in groups for r in group))


def flat(rule, errors, suite, *, evaluations=10, **kwargs):
    """One run per seed whose error never changes."""
    return [
        record(rule, s, [e] * evaluations, suite=suite, reporting=REPORTING, **kwargs) for s, e in enumerate(errors)
    ]


def only(item, found, how=None):
    (picture,) = paper_pictures(item, found, how)
    return picture


def captions(item, found):
    """By the name of the figure."""
    return {p.name: p.caption for p in paper_pictures(item, found)}


def panel(picture, start):
    return next(ax for ax in picture.figure.axes if ax.get_title().startswith(start))


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def notes(axes):
    return [t.get_text() for t in axes.texts]


PANELS = {
    "fig1": 2, "fig2": 2, "fig3": 2, "fig4a": 1, "fig4b": 1, "table1": 4, "table2": 16, "table3": 8, "fig8": 3,
    "fig10": 2, "fig11": 2, "fig12": 3, "fig13": 2, "fig14": 2, "fig15": 3, "table5": 2, "fig17": 3,
}  # fmt: skip


@pytest.mark.parametrize("item", SELECTIONS)
def test_every_item_has_a_figure_without_an_empty_panel(item, drawn):
    """From the records of all suites; the caption names seeds and scale, nothing is left out."""
    picture = drawn(item)
    assert len(picture.figure.axes) == PANELS[item]
    assert picture.name == item
    assert all("run" not in note for ax in picture.figure.axes for note in notes(ax))
    assert "mean over 3 seeds" in picture.caption
    assert "Paper scale" in picture.caption
    assert "Without runs" not in picture.caption
    assert picture.figure.axes[0].get_ylabel() != ""


def test_a_figure_of_what_a_table_counts_has_both_names():
    """fig5 is table1 under another name."""
    found = results(runs("tokens", evaluations=3))
    assert {item for name, item in ALIASES.items() if name.startswith("fig")} <= SELECTIONS.keys() <= ITEMS.keys()
    assert list(captions("fig5", found)) == ["fig5"]
    assert list(captions("fig5", found).values()) == list(captions("table1", found).values())


def test_an_unknown_item_is_refused_with_the_nearest():
    """One line, and no figure of language models."""
    with pytest.raises(UsageError, match="fig12"):
        paper_pictures("fig_12", results())
    with pytest.raises(UsageError, match="fig9"):
        paper_pictures("fig9", results())


def test_without_records_there_is_no_figure(tmp_path):
    """Nor where only other suites were run."""
    assert paper_pictures("fig2", results()) == []
    assert write_paper_figures("fig2", results(runs("contexts")), tmp_path) == {}
    assert paper_pictures("fig13", results(runs("epochs"))) == []


def test_a_line_is_the_mean_of_the_seeds_in_percent_over_updates_done():
    """(10 + 30) / 2 = 20 from update 0 to update 90."""
    line = lines(only("fig2", results(flat("tpo", [0.1, 0.3], "bandit"))).figure.axes[0])["tpo"]
    assert line.get_xdata().tolist() == list(range(0, 100, 10))
    assert line.get_ydata() == pytest.approx([20] * 10)


def test_diagnostics_are_drawn_as_they_were_recorded():
    """Nothing is scaled, and the last evaluation, at which none was taken, is left out."""
    misalignment = [0.5, 0.25, 0.125, None]
    found = [record("dg", 0, [0.1] * 4, suite="bandit", reporting=REPORTING, misalignment=misalignment)]
    axes = only("fig2", results(found)).figure.axes[1]
    assert lines(axes)["dg"].get_xdata().tolist() == [0, 10, 20]
    assert lines(axes)["dg"].get_ydata() == pytest.approx([0.5, 0.25, 0.125])
    assert axes.get_xlim() == (0, 30)


def band(picture):
    box = picture.figure.axes[0].collections[0].get_paths()[0].get_extents()
    return box.y0, box.y1


def test_the_band_is_the_interval_over_seeds_and_one_seed_has_none():
    """Of two seeds at 10 and 30 the bootstrap's reaches both; 20 ± one standard error, 10 / sqrt(3); one has none."""
    pair, three = flat("tpo", [0.1, 0.3], "bandit"), flat("tpo", [0.1, 0.2, 0.3], "bandit")
    assert band(only("fig2", results(pair))) == pytest.approx((10, 30))
    assert "Band: pointwise 95% bootstrap interval of the mean." in only("fig2", results(pair)).caption
    errors = only("fig2", results(three), ReportOptions(ci="se"))
    assert band(errors) == pytest.approx((20 - 10 / 3**0.5, 20 + 10 / 3**0.5))
    assert "Band: one standard error." in errors.caption
    single = only("fig2", results(flat("tpo", [0.1], "bandit")))
    assert not single.figure.axes[0].collections
    assert "mean over 1 seed. No band: one seed." in single.caption


def test_long_curves_are_averaged_and_the_caption_says_so():
    """403 evaluations: means over 3 of them, the last over 4; of a noisy diagnostic over 9."""
    errors = [i / 1000 for i in range(403)]
    norms = [float(i) for i in range(403)]
    run = record("tpo", 0, errors, suite="why", reporting=REPORTING, gradient_norm=norms)
    picture = only("fig14", results([run]))
    line = lines(picture.figure.axes[0])["tpo, 4 epochs"]
    assert len(line.get_xdata()) == 134
    assert (line.get_xdata()[0], line.get_ydata()[0]) == pytest.approx((10, 0.1))
    assert line.get_ydata()[-1] == pytest.approx(100 * np.mean(errors[-4:]))
    assert lines(picture.figure.axes[1])["tpo, 4 epochs"].get_ydata()[0] == pytest.approx(4)
    assert "Points average up to 9 consecutive evaluations." in picture.caption
    assert "Not smoothed." in only("fig2", results(flat("tpo", [0.1], "bandit", evaluations=201))).caption
    assert (
        "Points average 2 consecutive" in only("fig2", results(flat("tpo", [0.1], "bandit", evaluations=202))).caption
    )


def test_averages_are_over_neighbours():
    """1 2 | 3 4 5."""
    assert averaged(np.array([[1.0, 2, 3, 4, 5]]), 2).tolist() == [[1.5, 4.0]]


def test_zero_is_below_a_log_axis():
    """20 % and 0: the axis is logarithmic, ends at the paper's .01 % and the caption says where zero went."""
    picture = only("fig2", results(flat("tpo", [0.0] * 2, "bandit"), flat("dg", [0.2] * 2, "bandit")))
    axes = picture.figure.axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0
    assert "Log axis: what is smaller than its lower end, and 0, is below it." in picture.caption
    low = only("fig2", results(flat("tpo", [1e-7] * 2, "bandit"), flat("dg", [0.2] * 2, "bandit")))
    assert low.figure.axes[0].get_ylim()[0] == 0.01
    nothing = only("fig2", results(flat("tpo", [0.0] * 2, "bandit")))
    assert nothing.figure.axes[0].get_yscale() == "linear"


def test_a_diverged_run_is_scored_the_worst_value_and_left_out_of_diagnostics():
    """Error (10 + 100) / 2; the norm is that of the run that lasted."""

    def run(seed, error, norm, status):
        return record("tpo", seed, error, suite="why", reporting=REPORTING, status=status, gradient_norm=norm)

    kept, lost = run(0, [0.1] * 3, [2.0] * 3, "ok"), run(1, [0.1, None, None], [9.0, None, None], "diverged")
    picture = only("fig14", results([kept, lost]))
    assert lines(picture.figure.axes[0])["tpo, 4 epochs"].get_ydata() == pytest.approx([10, 55, 55])
    assert lines(picture.figure.axes[1])["tpo, 4 epochs"].get_ydata() == pytest.approx([2, 2, 2])
    assert "Diverged runs are scored the worst value." in picture.caption
    assert "Diverged runs are left out of diagnostics." in picture.caption
    dropped = only("fig14", results([kept, lost]), ReportOptions(diverged="drop"))
    assert lines(dropped.figure.axes[0])["tpo, 4 epochs"].get_ydata() == pytest.approx([10] * 3)
    assert "Diverged runs are left out." in dropped.caption


def test_panels_without_runs_stay_and_say_so():
    """Their title and the names of their axes are there."""
    picture = only("fig1", results(runs("terminal_reward", evaluations=5)))
    axes = panel(picture, "(a)")
    assert notes(axes) == ["not run"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Updates", "Test error (%)")
    assert notes(panel(picture, "(b)")) == []


def test_a_row_in_which_nothing_was_run_is_named_in_the_caption_in_place_of_empty_panels():
    """The half of table 3 with matched prompts has one row with its titles; the bars of figure 17 are a row, too."""
    found = [r for r in runs("terminal_reward", evaluations=5) if r.spec["matching"] == "prompts"]
    picture = only("table3", results(found))
    assert [ax.get_title() for ax in picture.figure.axes] == ["H = 7", "H = 8", "H = 9", "H = 10"]
    assert picture.figure.axes[0].get_ylabel() == "Prompts matched\nError (%)"
    assert picture.caption.endswith("Without runs: interactions matched.")
    other = only("table3", results(r for r in runs("terminal_reward", evaluations=5) if r not in found))
    assert [ax.get_title() for ax in other.figure.axes] == ["H = 7", "H = 8", "H = 9", "H = 10"]
    assert other.caption.endswith("Without runs: prompts matched.")
    curves = only("fig17", results(runs("dg_epochs", evaluations=5)))
    assert len(curves.figure.axes) == 1
    assert "Without runs: (b) Final error, bag of tokens; (c) Final error, sequential." in curves.caption


def test_panels_of_one_quantity_in_a_row_have_one_scale():
    """Curves of both rules of figure 12, not the final errors beside them."""
    a, b, c = only("fig12", results(runs("group_size", evaluations=5))).figure.axes
    assert a.get_ylim() == b.get_ylim() != c.get_ylim()
    assert [ax.get_ylabel() for ax in (a, b, c)] == ["Error (%)", "", "Final error (%)"]


def test_cells_of_the_grid_that_were_not_run_have_a_panel():
    """Lengths 8 and 9 of the suite's 7 to 10."""
    found = [r for r in runs("terminal_reward", evaluations=5) if r.spec["cell"]["length"] in {8, 9}]
    axes = only("table3", results(found)).figure.axes
    assert [ax.get_title() for ax in axes[:4]] == ["H = 7", "H = 8", "H = 9", "H = 10"]
    assert [notes(ax) for ax in axes] == [["not run"], [], [], ["not run"]] * 2


def test_failed_runs_are_told_from_runs_that_were_never_asked_for():
    """`no finished run` beside `not run`."""
    failed = [
        record("tpo_token", 0, [], suite="tokens", cell={"vocabulary": 3}, status="failed", reason="out of memory")
    ]
    other = flat("tpo_token", [0.1], "tokens", cell={"vocabulary": 2})
    axes = only("table1", results(failed, other)).figure.axes
    assert notes(next(ax for ax in axes if ax.get_title() == "V = 3")) == ["no finished run"]


@pytest.mark.parametrize("shipped", [True, False])
def test_any_part_of_the_runs_is_enough_for_a_figure(shipped, monkeypatch):
    """Records of one suite of an item, of one rule in its first cell; also of suites that are not there any more."""
    if not shipped:
        monkeypatch.setattr(paper_runs, "load_suite", refuse)
    for item in SELECTIONS:
        for suite in dict.fromkeys(part.suite for part in ITEMS[item].parts):
            rule, (first, *_) = SHIPPED[suite][0][0], runs(suite, seeds=1, evaluations=3)
            own = [record(rule, 0, [0.1] * 3, suite=suite, cell=dict(first.spec["cell"]), matching="prompts")]
            assert len(paper_pictures(item, results(own))) <= 1


def refuse(*_, **__):
    msg = "no such suite"
    raise UsageError(msg)


def test_rules_without_runs_are_named_in_the_caption():
    """In how many of the panels that have runs."""
    found = [r for r in runs("why", evaluations=5) if r.spec["algorithm"] in {"tpo", "grpo"}]
    caption = captions("fig10", results(found))["fig10"]
    assert caption.endswith("Without runs: tpo, 1 epoch; ppo (in 1 of 2 panels); dg (in 1 of 2 panels).")


def test_the_missing_bar_says_so_in_its_place():
    """Between its neighbours."""
    found = [r for r in runs("why", evaluations=5) if r.spec["algorithm"] != "grpo"]
    axes = panel(only("fig13", results(found)), "(b)")
    assert [t.get_text() for t in axes.get_xticklabels()] == ["tpo", "grpo", "grpo_masked"]
    assert "not run" in notes(axes)
    assert len(axes.patches) == 2


def test_bars_are_final_errors_with_their_intervals_and_values():
    """10, 20 and 30 %: the bar at 20, t interval ± 24.8 cut at 0, and `20` above it."""
    found = results(*(flat(rule, [0.1, 0.2, 0.3], "why") for rule in ("tpo", "grpo", "grpo_masked")))
    picture = only("fig13", found)
    axes = panel(picture, "(b)")
    assert [p.get_height() for p in axes.patches] == pytest.approx([20] * 3)
    low, high = axes.get_lines()[0].get_ydata()
    assert low == pytest.approx(0, abs=1e-9)
    assert high == pytest.approx(20 + 4.3027 * 10 / 3**0.5, rel=1e-4)
    assert notes(axes) == ["20"] * 3
    assert "Final: mean of the last 5 evaluations with 95% interval (t)." in picture.caption
    assert axes.get_ylim()[0] == 0


def test_values_stand_above_the_intervals():
    """So that no bar of an interval runs through a number."""
    axes = panel(only("fig13", results(flat("tpo", [0.1, 0.2, 0.3], "why"))), "(b)")
    value = next(t for t in axes.texts if t.get_text() == "20")
    assert value.xy[1] == pytest.approx(axes.get_lines()[0].get_ydata()[1])


def test_the_bars_of_targets_are_those_of_matched_prompts():
    """Not of matched interactions, which come first in the records and in the alphabet."""
    cell = {"target": "flip", "reward": "sequential"}
    found = [
        r
        for matching, error in (("interactions", 0.5), ("prompts", 0.25))
        for r in flat("dg", [error] * 2, "variations", cell=cell, matching=matching)
    ]
    axes = next(ax for ax in only("fig17", results(found)).figure.axes if "sequential" in ax.get_title())
    assert [p.get_height() for p in axes.patches] == pytest.approx([25])


def test_all_fail_and_some_success_have_their_own_panels():
    """0.75 of the groups without a success, 0.2 of the prompts with one."""
    shares = {"all_fail": [0.75] * 10, "some_success": [0.2] * 10}
    axes = only("fig11", results(flat("grpo", [0.1] * 2, "why", **shares))).figure.axes
    assert lines(axes[0])["grpo"].get_ydata() == pytest.approx([0.75] * 10)
    assert lines(axes[1])["grpo"].get_ydata() == pytest.approx([0.2] * 10)


def test_a_sweep_shows_final_errors_over_the_values_of_its_axis():
    """K on a log2 axis, each value a tick; a line per K in the panel of its rule."""
    cells = [(k, {"candidates": k}) for k in (4, 8, 16, 32, 64)]
    found = results(*(flat("tpo", [0.4 / k] * 2, "group_size", cell=cell) for k, cell in cells))
    picture = only("fig12", found)
    final = panel(picture, "(c)")
    assert [t.get_text() for t in final.get_xticklabels()] == ["4", "8", "16", "32", "64"]
    assert lines(final)["tpo"].get_ydata() == pytest.approx([10, 5, 2.5, 1.25, 0.625])
    assert final.xaxis.get_transform().base == 2
    curves = lines(panel(picture, "(a)"))
    assert list(curves) == ["K = 4", "K = 8", "K = 16", "K = 32", "K = 64"]
    assert curves["K = 16"].get_ydata() == pytest.approx([2.5] * 10)
    assert notes(panel(picture, "(b)")) == ["not run"]


def test_the_gain_of_a_bin_is_the_mean_over_the_seeds_that_have_examples_in_it():
    """At update 2,200, the nearest evaluation, not the last: (6/3 + 8/2) / 2 = 3; one seed has none in bin 0."""
    steps = 400

    def run(seed, sums, counts):
        metrics = {f"surplus_sum{i}": [99.0] * 220 + [float(s)] + [99.0] * (steps - 221) for i, s in enumerate(sums)}
        metrics |= {f"count{i}": [1.0] * 220 + [float(n)] + [1.0] * (steps - 221) for i, n in enumerate(counts)}
        return record("tpo", seed, [0.1] * steps, suite="mnist", reporting=REPORTING, **metrics)

    picture = only("fig4b", results([run(0, (1, 0, 6, -4), (4, 0, 3, 2)), run(1, (0, 0, 8, -4), (0, 0, 2, 4))]))
    axes = picture.figure.axes[0]
    line = lines(axes)["tpo"]
    assert line.get_ydata() == pytest.approx([0.25, 3, -1.5])
    assert line.get_xdata().round().tolist() == [0, 2, 3]
    assert [t.get_text().partition("n = ")[2] for t in axes.get_xticklabels()] == ["4", "0", "5", "6"]
    assert "Measured at update 2,200;" in picture.caption


def test_weights_on_failures_are_dashed_beside_those_on_successes():
    """The same colour and marker; the title says which is which, and no panel has a legend entry for it."""
    picture = only("fig10", results(runs("why", evaluations=5), runs("epochs", evaluations=5)))
    axes = panel(picture, "(b)")
    drawn = {line.get_label(): line for line in axes.get_lines()}
    assert drawn["grpo"].get_linestyle() == "-"
    assert drawn["_grpo"].get_linestyle() == "--"
    assert drawn["grpo"].get_color() == drawn["_grpo"].get_color() == style_of("grpo").colour
    assert axes.get_title() == "(b) Successes solid, failures dashed"
    named = [t.get_text() for t in picture.figure.legends[0].get_texts()]
    assert named == ["tpo, 4 epochs", "tpo, 1 epoch", "grpo", "ppo", "dg"]


def test_the_norm_of_grpo_is_that_of_a_sum_over_candidates():
    """Recorded of a mean over K: drawn K times as high; other rules as recorded."""
    found = [r for r in runs("why", evaluations=5) if r.spec["algorithm"] in {"tpo", "grpo"}]
    task = {"candidates": 8}
    own = [replace(r, spec={**r.spec, "task": task}, curve={**r.curve, "gradient_norm": [0.5] * 5}) for r in found]
    drawn = lines(panel(only("fig10", results(own)), "(a)"))
    assert drawn["grpo"].get_ydata() == pytest.approx([0.5 * 8] * 5)
    (tpo,) = [line for label, line in drawn.items() if label.startswith("tpo")]
    assert tpo.get_ydata() == pytest.approx([0.5] * 5)


def test_one_epoch_comes_from_the_sweep_over_epochs():
    """2 % there and 7 % with four epochs."""
    once = flat("tpo", [0.02] * 2, "epochs", cell={"epochs": 1})
    axes = only("fig14", results(flat("tpo", [0.07] * 2, "why"), once)).figure.axes[0]
    assert lines(axes)["tpo, 1 epoch"].get_ydata() == pytest.approx([2] * 10)
    assert lines(axes)["tpo, 4 epochs"].get_ydata() == pytest.approx([7] * 10)
    assert axes.get_ylim()[0] == 0


def test_rules_that_are_alike_under_every_matching_are_in_all_rows():
    """A run of `any` beside those of prompts and of interactions."""
    cell = {"length": 7}
    found = flat("dg", [0.1], "terminal_reward", cell=cell, matching="prompts")
    found += flat("dg", [0.2], "terminal_reward", cell=cell, matching="interactions")
    found += flat("tpo", [0.3], "terminal_reward", cell=cell, matching="any")
    own = [ax for ax in only("table3", results(found)).figure.axes if lines(ax)]
    ends = [{name: round(float(line.get_ydata()[-1])) for name, line in lines(ax).items()} for ax in own]
    assert ends == [{"tpo": 30, "dg": 10}, {"tpo": 30, "dg": 20}]


def test_scales_never_mix():
    """A figure for each, each from its own records, named apart and named in the caption."""
    found = results(flat("tpo", [0.1] * 2, "bandit"), flat("tpo", [0.3] * 2, "bandit-quick"))
    paper, quick = paper_pictures("fig2", found)
    assert (paper.name, quick.name) == ("fig2", "fig2-quick")
    assert [lines(p.figure.axes[0])["tpo"].get_ydata()[0] for p in (paper, quick)] == pytest.approx([10, 30])
    assert "Paper scale (bandit:" in paper.caption
    assert "Quick scale, smaller than the paper's (bandit-quick:" in quick.caption
    assert only("fig5", results(flat("dg", [0.3], "tokens-quick", cell={"vocabulary": 2}))).name == "fig5-quick"


def test_runs_that_are_fewer_or_shorter_than_the_suite_asks_for_are_not_passed_off_as_it():
    """Two of 100 seeds, 90 of 150 updates."""
    caption = only("fig2", results(flat("tpo", [0.1] * 2, "bandit"))).caption
    assert "Less than suite bandit asks for: 2 of 100 seeds, 90 of 150 updates." in caption
    whole = flat("tpo", [0.1] * 100, "bandit", evaluations=16)
    assert "Less than" not in only("fig2", results(whole)).caption


def test_the_caption_names_the_settings_that_all_runs_share():
    """H differs between the panels, and B between the matchings; K = 8 is that of the rules that have candidates."""
    found = [
        r
        for length in (7, 10)
        for rule, matching, settings in (
            ("dg", "prompts", {"prompts": 100, "candidates": 1}),
            ("dg", "interactions", {"prompts": 800, "candidates": 1}),
            ("tpo", "any", {"prompts": 100, "candidates": 8}),
        )
        for r in flat(rule, [0.1], "terminal_reward", cell={"length": length}, matching=matching)
        if not r.spec["task"].update({"length": length, "vocabulary": 2, **settings})
    ]
    assert "(terminal_reward: terminal reward, V = 2, K = 8, 90 updates)" in only("table3", results(found)).caption
    assert "(terminal_reward: terminal reward, H = 10, V = 2, K = 8," in only("fig1", results(found)).caption


def test_an_unverified_copy_of_the_data_is_named():
    """Of the suite that is drawn, not of another."""
    found = flat("tpo", [0.1], "mnist")
    for r in found:
        r.spec["task"].update({"data": "mnist", "data_sha256": "ab" * 32})
    other = flat("tpo", [0.1], "terminal_reward", cell={"length": 7})
    assert "Unverified data: not the published mnist." in only("fig1", results(found, other)).caption
    assert "Unverified" not in only("table3", results(found, other)).caption


def test_the_last_version_of_a_suite_is_shown():
    """Version 2 at 30 %, not version 1 at 10."""
    old, new = flat("tpo", [0.1], "bandit"), flat("tpo", [0.3], "bandit")
    for r in new:
        r.spec["suite_version"] = 2
    axes = only("fig2", results(new, old)).figure.axes[0]
    assert lines(axes)["tpo"].get_ydata() == pytest.approx([30] * 10)


@pytest.mark.parametrize("item", ["fig4b", "fig12"])
def test_the_same_records_give_the_same_bytes(item):
    """Whatever their order; the caption travels with the file."""
    found = results(*(runs(suite, seeds=2, evaluations=5) for suite in ("mnist", "group_size")))
    again = Results(tuple(reversed(found.records)))
    picture = only(item, found)
    first = save(picture, "png")
    assert first == save(only(item, again), "png")
    assert picture.caption.partition(",")[0].encode() in first


def test_files_are_named_after_the_item(tmp_path):
    """In each format asked for; every file comes with its caption."""
    found = results(runs("bandit", evaluations=5))
    written = write_paper_figures("fig2", found, tmp_path / "figures", ("svg", "png"))
    assert list(written) == [tmp_path / "figures" / "fig2.svg", tmp_path / "figures" / "fig2.png"]
    assert set(written.values()) == {only("fig2", found).caption}
    assert [path.read_bytes()[:5] for path in written] == [b"<?xml", b"\x89PNG\r"]
    with pytest.raises(UsageError, match="gif"):
        write_paper_figures("fig2", found, tmp_path, ("gif",))


@pytest.mark.parametrize("item", ["fig4a", "table2", "fig13", "fig15", "fig17"])
def test_no_text_is_cut_or_covered(item, drawn):
    """Titles, names and numbers lie inside the page and off the legend; no two labels of an axis touch."""
    figure = drawn(item).figure
    with mpl.rc_context(RC):
        figure.draw_without_rendering()
    texts = [t for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts)]
    boxes = [t.get_window_extent() for t in texts if t.get_text()]
    page, names = figure.bbox, figure.legends[0].get_window_extent()
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in [*boxes, names])
    assert not any(b.overlaps(names) for b in boxes)
    for ax in figure.axes:
        ticks = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
        assert not any(a.overlaps(b) for a, b in pairwise(ticks))


def test_an_ordered_quantity_goes_from_light_to_dark():
    """So that its order is seen in grey, with a marker for each value."""
    grey = [np.dot([0.299, 0.587, 0.114], mpl.colors.to_rgb(s.colour)) for s in ramp(5)]
    assert all(a - b > 0.05 for a, b in pairwise(grey))
    assert grey[0] < 0.8
    assert len({s.marker for s in ramp(5)}) == 5
    assert len(ramp(1)) == 1


def test_every_rule_of_the_figures_has_a_fixed_style():
    """None is left to its hash."""
    assert {rule for rules, _ in SHIPPED.values() for rule in rules} <= set(BUILT_IN)
