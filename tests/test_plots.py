"""Figures: fixed styles, labels that do not overlap, the same bytes twice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import matplotlib as mpl
import pytest
from simulated import grid, record

from tpobench.algorithms.catalog import BUILT_IN, FAMILIES, family_of
from tpobench.records.results import Results
from tpobench.report.figures import pictures_of, save
from tpobench.report.figures.layout import LABEL, spread
from tpobench.report.figures.style import FAMILY_COLOURS, PAPER, RC, STYLES, style_of
from tpobench.scores.cells import read_cells


def pictures(found):
    return [p for suite, cells in read_cells(found.records)[0].items() for p in pictures_of(suite, cells)]


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_algorithms_of_the_catalogue_look_different_from_each_other():
    """The paper's by colour and line, and by marker; all others by colour, line and marker, within a family by two."""
    assert set(BUILT_IN) == set(STYLES)
    for a, b in itertools.combinations(PAPER.values(), 2):
        assert (a.colour, a.line) != (b.colour, b.line)
        assert a.marker != b.marker
    assert len({(s.colour, s.line, s.marker) for s in STYLES.values()}) == len(STYLES)
    for members in FAMILIES.values():
        assert len({(STYLES[rule.name].line, STYLES[rule.name].marker) for rule in members}) == len(members)


def test_the_family_decides_the_colour():
    """Of all that the paper does not have; and a modified algorithm has the colour and line of what it modifies."""
    for name in set(BUILT_IN) - set(PAPER):
        assert STYLES[name].colour == FAMILY_COLOURS[family_of(name)]
    for name in ("tpo", "rloo"):
        one, other = style_of(name), style_of(f"{name}+icepop")
        assert (one.colour, one.line) == (other.colour, other.line)
        assert other.marker not in {style.marker for style in STYLES.values()}


def test_an_unknown_rule_has_one_style_in_every_figure():
    """It follows from the name."""
    assert style_of("mine") == style_of("mine")
    assert style_of("mine") != style_of("yours")


def test_there_is_a_panel_per_cell_and_a_line_per_rule():
    """Curves, times, final results, profile and sweep; the misalignment where recorded."""
    found = pictures(grid(["tpo", "grpo"], lengths=(4, 6, 8), seeds=3))
    panels = {p.name.removeprefix("simulated-"): len(p.figure.axes) for p in found}
    assert panels == {"curves": 3, "reached-0_1": 3, "reached-0_01": 3, "final": 3, "improvement": 1, "sparsity": 1,
                      "length": 1, "misalignment": 3}  # fmt: skip
    named = [p for p in found if p.name != "simulated-improvement"]  # which names pairs
    assert all(set(lines(ax)) == {"tpo", "grpo"} for p in named for ax in p.figure.axes)


def test_the_line_of_a_rule_is_its_mean_in_percent():
    """(10 + 30) / 2 = 20 at every step."""
    runs = (record("tpo", 0, [0.1] * 10), record("tpo", 1, [0.3] * 10))
    line = lines(pictures(Results(runs))[0].figure.axes[0])["tpo"]
    assert line.get_xdata().tolist() == list(range(0, 100, 10))
    assert line.get_ydata() == pytest.approx([20] * 10)


def test_a_diverged_run_is_drawn_at_the_worst_value():
    """From the step it was lost: (10 + 100) / 2."""
    runs = (record("tpo", 0, [0.1] * 4), record("tpo", 1, [0.1, 0.1, None, None], status="diverged"))
    picture = pictures(Results(runs))[0]
    assert lines(picture.figure.axes[0])["tpo"].get_ydata() == pytest.approx([10, 10, 55, 55])
    assert picture.caption.endswith("Diverged runs are scored the worst value.")


def test_one_seed_has_no_band():
    """Neither in the panel nor in the caption."""
    picture = pictures(grid(["tpo"], lengths=(4,), seeds=1))[0]
    assert len(picture.figure.axes[0].collections) == 0
    assert picture.caption == "Error, mean over 1 seed. No band: one seed."


def test_runs_matched_by_interactions_are_drawn_over_interactions():
    """The x axis is the budget they share."""
    found = {p.name: p for p in pictures(grid(["tpo"], lengths=(4,), seeds=2, matchings=("prompts", "interactions")))}
    labels = [found[f"simulated-curves-{m}"].figure.axes[0].get_xlabel() for m in ("prompts", "interactions")]
    assert labels == ["Updates", "Rollouts drawn"]


def test_the_profile_has_a_panel_per_reward_and_runs_to_the_harder_side():
    """p0 on a reversed log axis."""
    found = pictures(grid(["tpo", "grpo"], rewards=("terminal", "dense"), seeds=3))
    picture = next(p for p in found if p.name == "simulated-sparsity")
    assert [ax.get_title() for ax in picture.figure.axes] == ["dense", "terminal"]
    assert all(ax.get_xscale() == "log" and ax.xaxis_inverted() for ax in picture.figure.axes)
    ticks = [t.get_text() for t in picture.figure.axes[0].get_xticklabels()]
    assert set(ticks) == {"0.062", "0.016", "0.0039", "0.00098"}


def test_panels_share_a_y_axis_from_zero_that_holds_every_line():
    """The last panel's highest line fits too."""
    for ax in pictures(grid(["tpo", "grpo"], seeds=3))[0].figure.axes:
        low, high = ax.get_ylim()
        assert low == 0
        assert high >= max(line.get_ydata().max() for line in lines(ax).values())


def skewed(p0):
    """Two numbers of arms by three skews; `p0` of each."""
    return Results(tuple(
        record("tpo", s, [0.1 * skew] * 10, cell={"skew": skew, "arms": arms}, success=p0(arms, skew), reward="")
        for arms in (10, 100) for skew in (0, 1, 2) for s in range(3)
    ))  # fmt: skip


def test_a_line_of_the_profile_joins_cells_that_differ_in_sparsity_alone():
    """Skews hardly change p0, numbers of arms do: a panel per skew, each line from 10 arms to 100."""
    found = pictures(skewed(lambda arms, skew: (1 + 0.05 * (skew == 1)) / arms))
    picture = next(p for p in found if p.name == "simulated-sparsity")
    assert [ax.get_title() for ax in picture.figure.axes] == ["skew=0", "skew=1", "skew=2"]
    for skew, ax in enumerate(picture.figure.axes):
        line = lines(ax)["tpo"]
        assert line.get_ydata() == pytest.approx([10 * skew] * 2)
        assert line.get_linestyle() == "-"
    assert "a line joins cells that differ in arms alone" in picture.caption


def test_points_whose_p0_prints_alike_are_not_joined():
    """The estimates .1004, .0998 and .01 of p0 over one axis: three points, two of them at one place, and no line."""
    success = {4: 0.1004, 6: 0.0998, 8: 0.01}
    runs = [record("tpo", s, [0.1] * 10, cell={"length": n}, success=success[n]) for n in success for s in range(3)]
    picture = next(p for p in pictures(Results(tuple(runs))) if p.name == "simulated-sparsity")
    line = lines(picture.figure.axes[0])["tpo"]
    assert line.get_xdata() == pytest.approx([0.1, 0.1, 0.01])
    assert line.get_linestyle() == "None"


def test_one_cell_or_no_p0_has_no_profile():
    """A profile needs two sparsities."""
    assert "simulated-sparsity" not in [p.name for p in pictures(grid(["tpo"], lengths=(4,), seeds=2))]
    found = grid(["tpo"], seeds=2)
    unknown = Results(tuple(replace(r, facts={}) for r in found.records))
    assert "simulated-sparsity" not in [p.name for p in pictures(unknown)]


def ending_at(errors):
    """The figure of learning curves of one rule per final error."""
    runs = [record(name, s, [0.9, e]) for name, e in zip(BUILT_IN, errors, strict=False) for s in range(2)]
    return next(p for p in pictures(Results(tuple(runs))) if p.name == "simulated-curves").figure


def test_few_rules_are_labelled_at_their_lines_and_many_in_a_legend():
    """Up to six rules in up to two panels carry their names."""
    few, many = (ending_at([0.05 + 0.14 * k for k in range(n)]) for n in (6, 7))
    assert sorted(t.get_text() for t in few.axes[0].texts) == sorted(BUILT_IN[:6])
    assert few.legends == []
    assert [t.get_text() for t in many.legends[0].get_texts()] == list(BUILT_IN[:7])


@pytest.mark.parametrize(
    "errors", [[0.0, 0.001, 0.002], [0.5, 0.501, 0.502, 0.1], [0.0, 0.04, 0.3], [0.9, 0.89, 0.88, 0.1]]
)
def test_names_that_find_no_room_at_their_lines_stand_in_a_legend(errors):
    """Three lines of one end, or two at the foot of the panel: a name would stand elsewhere."""
    figure = ending_at(errors)
    assert list(figure.axes[0].texts) == []
    assert [t.get_text() for t in figure.legends[0].get_texts()] == list(BUILT_IN[: len(errors)])


@pytest.mark.parametrize("errors", [[0.5, 0.501], [0.05, 0.3, 0.33], [0.1, 0.5, 0.8]])
def test_a_name_is_at_most_half_its_height_from_the_end_of_its_line(errors):
    """Two of one end stand above and below it."""
    ax = ending_at(errors).axes[0]
    ends = {name: line.get_ydata()[-1] for name, line in lines(ax).items()}
    assert len(ax.texts) == len(errors)
    for text in ax.texts:
        end = ax.transAxes.inverted().transform(ax.transData.transform((0, ends[text.get_text()])))[1]
        assert abs(text.xy[1] - end) <= LABEL / 2 + 1e-9


@pytest.mark.parametrize(
    "heights", [[0.5] * 6, [0.0, 0.01, 0.02], [0.99, 1.0, 0.98, 0.1], [0.2, 0.9], [0.05, 0.06, 0.2, 0.21, 0.95], [0.3]]
)
def test_labels_keep_their_order_and_a_gap(heights):
    """At least .085 apart, inside the axes, in the order of the lines; untouched where nothing collides."""
    found = spread(heights, 0.085)
    ordered = sorted(zip(heights, found, strict=True))
    placed = sorted(found)
    assert all(b - a >= 0.085 - 1e-9 for a, b in itertools.pairwise(placed))
    assert min(found) >= -1e-9
    assert max(found) <= 1 + 1e-9
    assert [y for _, y in sorted(set(ordered))] == sorted(y for _, y in set(ordered))
    if min([b - a for a, b in itertools.pairwise(sorted(heights))], default=1) >= 0.085:
        assert found == heights


def test_labels_and_titles_do_not_overlap():
    """No two texts of a figure share pixels, and none leaves it."""
    for picture in pictures(grid(["tpo", "grpo", "ppo"], lengths=(4, 6, 8), rewards=("terminal", "dense"), seeds=3)):
        with mpl.rc_context(RC):
            picture.figure.draw_without_rendering()
        boxes = [ax.title.get_window_extent() for ax in picture.figure.axes if ax.title.get_text()]
        boxes += [t.get_window_extent() for ax in picture.figure.axes for t in ax.texts]
        boxes += [legend.get_window_extent() for legend in picture.figure.legends]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        page = picture.figure.bbox
        assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_same_records_give_the_same_bytes(ending):
    """No date, no random names, no trace of what was drawn or saved before."""
    found = grid(["tpo", "grpo"], lengths=(4,), seeds=3)
    first, second = (pictures(found)[3] for _ in range(2))
    save(second, "png")
    assert save(first, ending) == save(second, ending)
    assert b"dc:date" not in save(first, "svg")
    assert b"CreationDate" not in save(first, "pdf")


def test_figures_leave_the_settings_of_matplotlib_alone():
    """No global state: a notebook keeps its own look."""
    before = dict(mpl.rcParams)
    for picture in pictures(grid(["tpo"], lengths=(4,), seeds=2)):
        save(picture, "png")
    assert dict(mpl.rcParams) == before


def test_tick_labels_of_the_sparsity_axis_keep_their_distance():
    """Eight values over seven octaves: every second one keeps its label, since a sixth of the range lies between."""
    from tpobench.report.figures.profile import apart

    assert apart([2.0**-k for k in range(8, 0, -1)]) == [2.0**-8, 2.0**-6, 2.0**-4, 2.0**-2]
    assert apart([0.014, 0.015, 0.06]) == [0.014, 0.06]
