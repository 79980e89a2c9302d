"""What each kind of figure shows: times, strips, sweeps, probabilities of improvement, log axes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from simulated import grid, record

from tpobench.algorithms.catalog import BUILT_IN
from tpobench.records.results import Results
from tpobench.report import ReportOptions, render_markdown
from tpobench.report.figures import pictures_of, save
from tpobench.report.figures.classes import merged
from tpobench.report.figures.facets import TALL, pages, point_text
from tpobench.report.figures.improvement import improvement
from tpobench.report.figures.layout import legend_columns
from tpobench.report.figures.reached import stairs
from tpobench.report.figures.scales import decades
from tpobench.report.figures.strips import lanes
from tpobench.report.figures.style import RC, STYLES, style_of, told_apart
from tpobench.scores.cells import read_cells
from tpobench.stats.power import two_digits


def flat(algorithm, errors, **kwargs):
    """One run per seed whose error never changes."""
    return [record(algorithm, seed, [e] * 10, **kwargs) for seed, e in enumerate(errors)]


def results(*runs):
    return Results(tuple(r for group in runs for r in group))


def cells_of(found):
    """The cells of the only suite."""
    (cells,) = read_cells(found.records)[0].values()
    return cells


def picture(found, name, how=None):
    """The figure of that name, of the only suite."""
    ((suite, cells),) = read_cells(found.records, how)[0].items()
    return next(p for p in pictures_of(suite, cells, how) if p.name == f"{suite}-{name}")


def arms(*runs):
    """The arms of one cell."""
    return next(iter(read_cells(results(*runs).records)[0].values()))[0].arms


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_the_share_of_seeds_grows_at_their_times_and_ends_at_the_budget():
    """Below 10 % at updates 0, 20, and never: thirds of the seeds, the last counted in n."""
    runs = [record("tpo", s, [0.5] * k + [0.05] * (10 - k)) for s, k in enumerate((0, 2, 10))]
    x, reached = stairs(arms(runs)["tpo"], 0.1, "step")
    assert x.tolist() == [0, 0, 20, 90]
    assert reached.tolist() == [0, 1, 2, 2]
    drawn = lines(picture(results(runs), "reached-0_1").figure.axes[0])["tpo"]
    assert drawn.get_ydata() == pytest.approx([0, 100 / 3, 200 / 3, 200 / 3])
    assert drawn.get_drawstyle() == "steps-post"


def test_times_are_drawn_over_the_budget_the_rules_share():
    """64 rollouts an update, where rules are matched by interactions."""
    runs = [record("tpo", 0, [0.5] * 2 + [0.05] * 8, matching="interactions")]
    axes = picture(results(runs), "reached-0_1").figure.axes[0]
    assert lines(axes)["tpo"].get_xdata().tolist() == [0, 1280, 5760]
    assert axes.get_xlabel() == "Rollouts drawn"


def test_a_threshold_that_nobody_reaches_has_no_figure():
    """Nothing to see."""
    found = cells_of(results(flat("tpo", [0.05] * 3)))
    assert [p.name for p in pictures_of("simulated", found) if "reached" in p.name] == ["simulated-reached-0_1"]


def test_the_caption_of_times_says_how_long_a_threshold_must_hold_and_who_counts():
    """Evaluations in a row, seeds, interval."""
    caption = picture(grid(["tpo"], lengths=(4,), seeds=3), "reached-0_1").caption
    assert caption.startswith("Share of seeds whose error was below 10% in 3 consecutive evaluations by then; 3 seeds")
    assert "never get there included" in caption
    assert "95% Wilson interval" in caption


def test_a_strip_has_a_dot_for_every_seed_and_the_mean_with_its_interval():
    """0 .. 19 %: twenty dots, 9.5 in the middle of its bar; a cross for the diverged run."""
    lost = [record("tpo", 20, [0.1, None], status="diverged")]
    axes = picture(results(flat("tpo", [0.01 * i for i in range(20)]), lost), "final").figure.axes[0]
    drawn = {line.get_label() or line.get_marker(): line for line in axes.get_lines()}
    assert drawn["_seeds"].get_xdata().tolist() == pytest.approx(list(range(20)))
    assert drawn["tpo"].get_xdata()[0] == pytest.approx((190 + 100) / 21)
    crosses = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[100.0]]
    bars = [line for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    assert len(bars) == 1
    assert bars[0].get_xdata()[0] < (190 + 100) / 21 < bars[0].get_xdata()[1]


def test_strips_do_not_start_at_a_bar_and_say_what_the_bars_are():
    """n, interval and its method in the caption."""
    caption = picture(grid(["tpo", "grpo"], lengths=(4,), seeds=12), "final").caption
    assert "a dot per seed" in caption
    assert "mean over 12 seeds with 95% interval (expanded BCa)" in caption
    how = ReportOptions(ci="se")
    assert "with one standard error" in picture(grid(["tpo"], lengths=(4,), seeds=12), "final", how).caption


def test_dots_of_equal_value_do_not_hide_each_other():
    """Eight in a row have eight heights, the same ones every time."""
    assert len(set(lanes(np.zeros(8)))) == 8
    assert lanes(np.array([3.0, 1.0, 2.0])).tolist() == lanes(np.array([3.0, 1.0, 2.0])).tolist() == [-0.5, -1.0, 0.2]


def test_positive_values_over_decades_get_a_log_axis_with_plain_numbers():
    """0.01 to 10 %; a zero anywhere keeps the axis linear, since log axes cannot show it."""
    wide = results(flat("tpo", [0.0001, 0.0002]), flat("grpo", [0.1, 0.2]))
    for name, axis in (("final", "x"), ("curves", "y")):
        figure = picture(wide, name).figure
        with mpl.rc_context(RC):
            figure.draw_without_rendering()
        axes = figure.axes[0]
        assert getattr(axes, f"get_{axis}scale")() == "log"
        assert {"0.1", "1", "10"} <= {t.get_text() for t in getattr(axes, f"get_{axis}ticklabels")()}
    zero = results(flat("tpo", [0.0, 0.0002]), flat("grpo", [0.1, 0.2]))
    assert picture(zero, "final").figure.axes[0].get_xscale() == "linear"
    assert not decades([[1.0, 29.0]])
    assert decades([[1.0, 33.0]])


def test_a_log_axis_has_at_least_three_numbers():
    """From 1.5 to 100 %, which holds two powers of ten: 2, 5, 10 and so on."""
    runs = [record("tpo", s, [1.0, 0.5, 0.1, 0.015]) for s in range(2)]
    axes = picture(results(runs), "curves").figure.axes[0]
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert [t for t in axes.get_yticks() if low <= t <= high] == pytest.approx([2, 5, 10, 20, 50, 100])


def test_a_sweep_has_a_figure_per_numeric_axis_and_a_panel_per_other_point():
    """K = 4, 8, 16 on a log2 axis, its values as ticks; two numbers are no sweep."""
    cells = [{"candidates": k, "reward": r} for k in (4, 8, 16) for r in ("dense", "terminal")]
    found = results(*(flat("tpo", [0.4 / c["candidates"]] * 2, cell=c) for c in cells))
    figure = picture(found, "candidates").figure
    assert [ax.get_title() for ax in figure.axes] == ["reward=dense", "reward=terminal"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["4", "8", "16"]
    assert lines(figure.axes[0])["tpo"].get_xdata() == pytest.approx([4, 8, 16])
    assert lines(figure.axes[0])["tpo"].get_ydata() == pytest.approx([10, 5, 2.5])
    assert figure.axes[0].xaxis.get_transform().base == 2
    two = cells_of(grid(["tpo"], lengths=(4, 8), seeds=2))
    assert "simulated-length" not in [p.name for p in pictures_of("simulated", two)]


def test_an_axis_of_words_has_a_figure_of_bars():
    """A panel per other point, a group per word, a bar per rule with its value; what was not run says so."""
    errors = {("tpo", "dense"): 0.1, ("tpo", "reverse_copy"): 0.2, ("dg", "dense"): 0.3}
    runs = [flat(rule, [e] * 3, cell={"length": n, "reward": r}) for (rule, r), e in errors.items() for n in (4, 6)]
    shown = picture(results(*runs), "reward")
    assert [ax.get_title() for ax in shown.figure.axes] == ["length=4", "length=6"]
    axes = shown.figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["dense", "reverse copy"]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([10, 30, 20])
    assert [t.get_text() for t in axes.texts] == ["10", "30", "20", "not run"]
    assert [t.get_text() for t in shown.figure.legends[0].get_texts()] == ["tpo", "dg"]
    assert shown.caption.startswith("Final error over reward, mean over 3 seeds")
    assert "simulated-reward" not in [p.name for p in pictures_of("simulated", cells_of(results(runs[0])))]


def test_bars_are_never_too_thin_to_be_told_apart():
    """Fifty words by ten rules: 72 bars at most in the width of a page, their values left to the tables."""
    cells = [{"task": f"t{k}"} for k in range(50)]
    found = results(*(flat(n, [0.01 * (i + 1)], cell=c) for c in cells for i, n in enumerate(BUILT_IN[:10])))
    axes = picture(found, "task").figure.axes
    assert {len(ax.patches) for ax in axes} == {60, 70}
    assert len({ax.get_position().x0 for ax in axes}) == 1
    assert [t for ax in axes for t in ax.texts] == []


@pytest.mark.parametrize("name", ["t{}", "a task of many words {}", "acrobot-swingup-sparse-reward-v{}"])
def test_names_below_bars_do_not_touch(name):
    """Side by side, on several lines, or upright where a word is wider than its group."""
    cells = [{"task": name.format(k), "reward": r} for k in range(8) for r in ("dense", "terminal")]
    figure = picture(
        results(*(flat(rule, [0.1], cell=cell) for cell in cells for rule in ("tpo", "dg"))), "task"
    ).figure
    with mpl.rc_context(RC):
        figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [t.get_window_extent() for t in ax.get_xticklabels()]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 for box in boxes)


@pytest.mark.parametrize(
    ("value", "text"), [(0.6944, "0.69"), (2.0, "2.0"), (7.62, "7.6"), (10.77, "11"), (100.0, "100"), (0.0, "0")]
)
def test_values_of_bars_have_two_digits(value, text):
    """Also where the second is a zero."""
    assert two_digits(value) == text


def test_a_legend_takes_as_few_rows_as_the_page_is_wide_for():
    """Five names in one row of a page; in a column the widest of each of three columns decides."""
    names = ["tpo, 4 epochs", "tpo, 1 epoch", "grpo", "ppo", "dg"]
    assert legend_columns(names, 6.75) == 5
    assert legend_columns(names, 3.3) == 3
    assert legend_columns(["a" * 60, "b"], 3.3) == 1


def test_long_curves_are_averaged_in_reports_too():
    """Of 402 evaluations every point is the mean of two, which the caption says; a diagnostic has 50 points at most."""
    runs = [record("tpo", s, [0.5, 0.3] * 201, gradient_norm=[1.0, 3.0] * 201) for s in range(2)]
    score, norm = (picture(results(runs), name) for name in ("curves", "gradient_norm"))
    assert lines(score.figure.axes[0])["tpo"].get_ydata() == pytest.approx([40] * 201)
    assert "Points average 2 consecutive evaluations." in score.caption
    assert len(lines(norm.figure.axes[0])["tpo"].get_ydata()) == 402 // 9
    assert "Points average 9 consecutive evaluations." in norm.caption


def test_a_sweep_that_holds_a_zero_has_a_linear_axis():
    """Skew 0, 1, 2: the uniform policy is not left out; two rules stand side by side around each value."""
    found = results(
        *(
            flat(n, [e * (s + 1)] * 2, cell={"skew": float(s)})
            for s in (0, 1, 2)
            for n, e in (("tpo", 0.1), ("dg", 0.2))
        )
    )
    sweep = picture(found, "skew")
    (axes,) = sweep.figure.axes
    assert axes.get_xscale() == "linear"
    assert "log" not in sweep.caption
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1", "2"]
    x = np.array([lines(axes)[rule].get_xdata() for rule in ("tpo", "dg")])
    assert x.mean(axis=0) == pytest.approx([0, 1, 2])
    assert np.diff(x, axis=0)[0] == pytest.approx([2 / 60] * 3)


def test_parts_of_a_histogram_get_no_curve_of_their_own():
    """Sums and counts per bin are summed up elsewhere; any other metric is drawn."""
    curve = {"count0": [1.0] * 10, "gain_sum2": [0.5] * 10, "gradient_norm": [1.0] * 10}
    runs = [replace(r, curve={**r.curve, **curve}) for r in (record("tpo", seed, [0.1] * 10) for seed in range(3))]
    ((suite, cells),) = read_cells(results(runs).records)[0].items()
    names = {p.name.removeprefix(f"{suite}-") for p in pictures_of(suite, cells)}
    assert "gradient_norm" in names
    assert not {"count0", "gain_sum2"} & names


def test_the_probability_of_improvement_is_named_on_both_sides():
    """A row per pair, left against right."""
    runs = results(flat("tpo", [0.1, 0.2]), flat("grpo", [0.15, 0.3]), flat("ppo", [0.15, 0.15]))
    figure = picture(runs, "improvement").figure
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["tpo", "tpo", "grpo"]
    assert [t.get_text() for t in axes.texts] == ["grpo", "ppo", "ppo"]
    values = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() in {"o", "s"}]
    assert values == pytest.approx([75, 50, 25])


def test_improvement_is_the_mean_over_cells_with_ties_counted_half():
    """(1 x 1/2 + 3 x 1) / 4 = 7/8 and 1/2 average to 11/16; seeds of one rule fully below have no interval."""
    a = arms(flat("tpo", [0.1, 0.2]), flat("grpo", [0.2, 0.3]))
    b = arms(flat("tpo", [0.1, 0.2]), flat("grpo", [0.1, 0.2]))
    found = improvement([a["tpo"], b["tpo"]], [a["grpo"], b["grpo"]], np.random.default_rng(0))
    assert found.value == pytest.approx((7 / 8 + 1 / 2) / 2)
    assert found.low <= found.value < found.high
    apart = arms(flat("tpo", [0.1, 0.2]), flat("grpo", [0.3, 0.4]))
    found = improvement([apart["tpo"]], [apart["grpo"]], np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert improvement([a["tpo"]], [arms(flat("grpo", [0.2]))["grpo"]], np.random.default_rng(0)).low is None


def ending(arm, finals):
    """The arm with other curves, flat ones."""
    return replace(arm, curves={"error": np.tile(finals[:, None], len(arm.axes["step"]))})


def test_the_interval_of_an_improvement_covers():
    """Normal rules half a standard deviation apart: P = Phi(.5 / sqrt 2) = .638 lies in about 95 % of 150 intervals."""
    rng, covered = np.random.default_rng(5), 0
    base = arms(flat("tpo", [0.0] * 20), flat("grpo", [0.0] * 20))
    for _ in range(150):
        cells = [(rng.normal(0, 1, 20), rng.normal(0.5, 1, 20)) for _ in range(2)]
        a = [ending(base["tpo"], x) for x, _ in cells]
        b = [ending(base["grpo"], y) for _, y in cells]
        found = improvement(a, b, rng)
        covered += found.low <= 0.6381 <= found.high
    assert 0.9 <= covered / 150 <= 0.99


def test_few_seeds_are_drawn_one_by_one_beside_the_mean():
    """Thin lines in a panel of its own, and the caption says so."""
    found = picture(grid(["tpo"], lengths=(4,), seeds=5), "curves")
    assert sum(line.get_linewidth() < 0.5 for line in found.figure.axes[0].get_lines()) == 5
    assert "Thin lines: the seeds." in found.caption
    assert "Thin lines" not in picture(grid(["tpo"], lengths=(4,), seeds=11), "curves").caption


def test_single_panels_are_one_column_wide_and_texts_at_least_seven_points():
    """Legible as printed: nothing has to be scaled to 3.3 inches."""
    found = cells_of(grid(["tpo", "grpo"], lengths=(4,), seeds=3))
    for drawn in pictures_of("simulated", found):
        assert drawn.figure.get_figwidth() == 3.3
        texts = [t for ax in drawn.figure.axes for t in (*ax.texts, *ax.get_xticklabels(), ax.xaxis.label, ax.title)]
        assert min(t.get_fontsize() for t in texts) >= 7


def _seen(ax, y):
    """Whether a tick lies on the axis."""
    low, high = sorted(ax.get_ylim())
    return low <= y <= high


def test_many_rules_still_fit():
    """Ten rules in one panel and in three: every text inside its figure, no label over a legend."""
    found = grid(list(BUILT_IN[:10]), lengths=(4, 6, 8), seeds=2)
    drawn = {p.name.removeprefix("simulated-"): p.figure for p in pictures_of("simulated", cells_of(found))}
    assert [n for n in drawn if "improvement" in n] == [f"improvement-{i}" for i in (1, 2, 3)]
    for name in ("final", "improvement-1", "curves", "length"):
        figure = drawn[name]
        with mpl.rc_context(RC):
            figure.draw_without_rendering()
        ticks = [t.label1 for ax in figure.axes for t in ax.yaxis.get_major_ticks() if _seen(ax, t.get_loc())]
        texts = [ax.title for ax in figure.axes] + [t for ax in figure.axes for t in ax.texts] + ticks
        boxes = [t.get_window_extent() for t in texts if t.get_text() and t.get_visible()]
        names = [legend.get_window_extent() for legend in figure.legends]
        page = figure.bbox
        inside = [page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes + names]
        assert all(inside), name
        assert not any(b.overlaps(n) for b in boxes for n in names), name


def test_captions_travel_with_the_files():
    """In the metadata of png, pdf and svg."""
    found = picture(grid(["tpo"], lengths=(4,), seeds=3), "final")
    start = found.caption.split(",")[0].encode()
    assert start in save(found, "png")
    assert start in save(found, "svg")
    assert start in save(found, "pdf").replace(b"\\", b"")


def test_colours_follow_the_rule_and_not_its_neighbours():
    """With and without ppo beside them, tpo and dg look the same."""
    pair, three = grid(["tpo", "dg"], lengths=(4,), seeds=2), grid(["ppo", "tpo", "dg"], lengths=(4,), seeds=2)
    for rule, name in itertools.product(("tpo", "dg"), ("curves", "final", "reached-0_1")):
        looks = [lines(picture(f, name).figure.axes[0])[rule] for f in (pair, three)]
        assert len({(line.get_color(), line.get_marker()) for line in looks}) == 1


def test_algorithms_whose_runs_are_the_same_are_one_line_that_names_them():
    """In every figure, with the look of the first, and listed in the caption; the tables keep a row for each."""
    alike = [[0.5] * 5 + [0.2] * 5, [0.5] * 5 + [0.3] * 5]
    runs = [record(n, s, errors) for n in ("grpo_trl", "grpo_verl", "tpo") for s, errors in enumerate(alike)]
    near = [record("dapo", s, [e * 1.0004 for e in errors]) for s, errors in enumerate(alike)]
    far = [record("gspo", s, [e * 1.01 for e in errors]) for s, errors in enumerate(alike)]
    drawn = picture(results(runs, far), "curves")
    assert list(lines(drawn.figure.axes[0])) == ["tpo = grpo_trl = grpo_verl", "gspo"]
    assert "equal to 0.1%: tpo = grpo_trl = grpo_verl." in drawn.caption
    assert lines(drawn.figure.axes[0])["tpo = grpo_trl = grpo_verl"].get_color() == style_of("tpo").colour
    many = picture(results(runs, near, far), "curves")
    assert list(lines(many.figure.axes[0])) == ["tpo = 3 more", "gspo"]
    assert "tpo = grpo_trl = grpo_verl = dapo" in many.caption
    text = render_markdown(results(runs, near, far))
    assert all(name in text for name in ("grpo_verl", "dapo"))


@pytest.mark.parametrize("change", ["cell", "seed", "point", "diverged"])
def test_who_differs_anywhere_has_a_line_of_its_own(change):
    """In one cell of two, in one seed, at one point, or in how a run ended."""
    errors = {(n, a, s): [0.5] * 10 for n in ("tpo", "dg") for a in (1, 2) for s in (0, 1)}
    if change == "point":
        errors["dg", 2, 1] = [0.5] * 4 + [0.6] + [0.5] * 5
    if change == "diverged":
        errors["dg", 2, 1] = [0.5] * 4 + [None] * 6
    if change == "seed":
        del errors["dg", 2, 1]
    if change == "cell":
        errors = {k: v for k, v in errors.items() if k[:2] != ("dg", 2)}
    status = {k: "diverged" if None in v else "ok" for k, v in errors.items()}
    runs = [record(n, s, v, cell={"arms": a}, status=status[n, a, s]) for (n, a, s), v in errors.items()]
    assert len(merged(cells_of(results(runs)))[0][0].arms) == 2


def test_three_kinds_of_figures_unless_more_are_asked_for():
    """Curves, sparsity, and the next that there is; by name what else; `all` everything."""
    (cells,) = read_cells(grid(["tpo", "grpo"], lengths=(4, 8), seeds=3).records)[0].values()

    def kinds(*words):
        return {p.name.split("-")[1] for p in pictures_of("s", cells, None, words)}

    assert kinds() == {"curves", "sparsity", "reached"}
    assert kinds("final", "improvement") == {"final", "improvement"}
    assert kinds() | kinds("final", "improvement") < kinds("all")


def test_no_two_algorithms_of_a_figure_share_colour_and_line():
    """Of any number: the catalogue, and names that nobody knows; outside the figure the fixed styles hold."""
    names = [*list(BUILT_IN)[:24], *(f"mine_{i}" for i in range(12))]
    with told_apart(names):
        looks = [(style_of(name).colour, style_of(name).line) for name in names]
        assert style_of("tpo") == STYLES["tpo"]
    assert len(set(looks)) == len(names)
    assert style_of("mine_3") == style_of("mine_3")


def lie(points, tall=TALL):
    """Page by page what lies where, with the names of rows and columns."""
    titles = [point_text(p) for p in points]
    return [(list(facets.rows), list(facets.columns), dict(zip(items, facets.places, strict=True)))
            for items, facets in pages(titles, points, titles, tall)]  # fmt: skip


def test_panels_lie_as_the_grid_of_the_suite():
    """The last axis across and all others down, in ascending order; a point that was not run leaves its place empty."""
    points = [{"a": a, "b": b} for b in (10, 2) for a in (16, 1, 4) if (a, b) != (4, 2)]
    ((rows, columns, places),) = lie(points)
    assert (rows, columns) == (["a=1", "a=4", "a=16"], ["b=2", "b=10"])
    assert places == {"a=16, b=10": (2, 1), "a=1, b=10": (0, 1), "a=4, b=10": (1, 1), "a=16, b=2": (2, 0),
                      "a=1, b=2": (0, 0)}  # fmt: skip
    ((rows, columns, _),) = lie([{"a": a, "b": b, "c": c} for a in "xy" for b in (1, 2) for c in "uvw"])
    assert rows == ["a=x, b=1", "a=x, b=2", "a=y, b=1", "a=y, b=2"]
    assert columns == ["c=u", "c=v", "c=w"]


def test_a_grid_that_is_too_long_for_a_page_is_turned_or_cut_between_rows():
    """Five by three on one page with the five across; by the height of a row else in pages of whole rows."""
    points = [{"a": a, "b": b} for a in range(5) for b in range(3)]
    ((rows, columns, _),) = lie(points)
    assert (len(rows), len(columns)) == (3, 5)
    assert [len(rows) for rows, _, _ in lie(points, tall=3 * TALL)] == [1, 1, 1]
    wide = lie([{"a": a, "b": b} for a in range(6) for b in range(6)])
    assert [(len(rows), len(columns)) for rows, columns, _ in wide] == [(3, 3)] * 4


def test_one_axis_makes_a_row_and_what_is_no_grid_three_to_a_row():
    """Five side by side, six three by three; where long titles have room for three, so many; in pages of four rows."""

    def shapes(points):
        titles = [point_text(p) for p in points]
        return [facets.shape for _, facets in pages(points, points, titles)]

    assert shapes([{"eta": e} for e in range(5)]) == [(1, 5)]
    assert shapes([{"eta": e} for e in range(6)]) == [(2, 3)]
    assert shapes([{"reward": f"a word of many letters {e}"} for e in range(5)]) == [(2, 3)]
    assert shapes([{"a": 1}, {"b": 1}, {"c": 1}, {"d": 1}, {"e": 1}]) == [(2, 3)]
    assert shapes([{"a": 1}, {"b": 1}, {"c": 1}, {"d": 1}]) == [(2, 2)]
    assert shapes([{str(i): i} for i in range(14)]) == [(4, 3), (1, 2)]


def test_labels_that_panels_share_stand_once():
    """Values across on top and down at the left, the names of the axes once, numbers at the outside of the grid."""
    cells = [{"epochs": e, "rate": r} for e in (1, 2) for r in (0.1, 0.3) if (e, r) != (2, 0.1)]
    found = picture(results(*(flat("tpo", [0.2], cell=c) for c in cells)), "curves").figure
    shown = [ax for ax in found.axes if ax.axison]
    assert [(ax.get_title(), ax.get_ylabel()) for ax in shown] == [
        ("rate=0.1", "epochs=1"),
        ("rate=0.3", ""),
        ("", "epochs=2"),
    ]
    assert (found.get_supxlabel(), found.get_supylabel()) == ("Updates", "Error (%)")
    numbers = [(ax.xaxis.get_tick_params()["labelbottom"], ax.yaxis.get_tick_params()["labelleft"]) for ax in shown]
    assert numbers == [(True, True), (False, False), (True, True)]
    (empty,) = (ax for ax in found.axes if not ax.axison)
    assert [t.get_text() for t in empty.texts] == ["no data"]


def test_cells_without_a_finished_run_are_named_below_every_figure():
    """They have no panel."""
    failed = record("tpo", 0, [], cell={"length": 8}, status="failed", reason="out of memory")
    found = results(flat("tpo", [0.2], cell={"length": 4}), (failed,))
    assert all(
        p.caption.endswith("Left out, since no run finished: length=8.") for p in pictures_of("s", cells_of(found))
    )


def test_a_sweep_over_decades_has_a_log_axis_and_bars_begin_at_zero():
    """Final errors of 50, 5 and 0.5 %."""
    errors = {4: 0.5, 8: 0.05, 16: 0.005}
    points = picture(results(*(flat("tpo", [e] * 3, cell={"length": n}) for n, e in errors.items())), "length")
    assert points.figure.axes[0].get_yscale() == "log"
    words = picture(results(*(flat("tpo", [e] * 3, cell={"reward": f"r{n}"}) for n, e in errors.items())), "reward")
    assert words.figure.axes[0].get_yscale() == "linear"
    assert words.figure.axes[0].get_ylim()[0] == 0


def test_estimates_of_one_success_probability_are_no_sparsities():
    """0.0971 and 0.0968 print apart and are no profile; 0.10 and 0.08 are."""

    def names(*success):
        runs = [record("tpo", 0, [0.1] * 2, cell={"noise": p}, success=p) for p in success]
        return [p.name for p in pictures_of("s", cells_of(results(runs)))]

    assert "s-sparsity" not in names(0.0971, 0.0948)
    assert "s-sparsity" in names(0.1, 0.08)


def test_bands_of_many_algorithms_are_left_out():
    """Of eleven they would hide each other, and the caption says so."""
    few, many = (picture(grid(list(BUILT_IN[:n]), lengths=(4,), seeds=2), "curves") for n in (10, 11))
    assert [len(p.figure.axes[0].collections) for p in (few, many)] == [10, 0]
    assert "No bands: more than 10 algorithms." in many.caption
