"""The numbers that a page draws: those of tables and figures, with few digits, each once."""

from __future__ import annotations

import json
import re

import pytest
from simulated import record, search_results

from tpobench.records.results import Results
from tpobench.report import make_report
from tpobench.report.breaking_point import searched
from tpobench.report.document import document_of
from tpobench.report.figures.style import DARK, FAMILY_COLOURS, PAPER
from tpobench.scores.cells import read_cells
from tpobench.stats.breaking_point import share_at
from tpobench.tables.page import embedded, html_page


@pytest.fixture(scope="module")
def views():
    """tpo ends at 1, 2, 3 % and grpo at 11, 12, 13 %, in two cells; one run of grpo diverged in the second."""
    runs = [
        record(name, seed, [0.5, 0.5, *[level + 0.01 * seed] * 6], cell={"length": length}, success=2.0**-length)
        for length in (2, 4)
        for name, level in (("tpo", 0.01), ("grpo", 0.11))
        for seed in range(3)
    ]
    lost = record("grpo", 3, [0.5, None], cell={"length": 4}, success=2.0**-4, status="diverged")
    return views_of(Results((*runs, lost)))


def views_of(results):
    """What a page holds of them, by drawing."""
    text = html_page(document_of(make_report(results, views=True)))
    return {view["drawing"]: view for view in json.loads(re.search(r'id="data">(.*?)</script>', text)[1])}


def test_every_algorithm_has_the_looks_of_the_figures_and_every_cell_its_place(views):
    """Colour, dashes and marker; the values of the axis."""
    choices = views["choices"]
    tpo, grpo = choices["algorithms"]
    assert (tpo["name"], tpo["light"], tpo["dark"], tpo["dash"]) == ("tpo", PAPER["tpo"].colour, DARK["#0072B2"], [])
    assert grpo["marker"] == [[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]]]  # a square
    assert choices["axes"] == {"length": ["2", "4"]}
    assert [cell["label"] for cell in choices["cells"]] == ["length=2", "length=4"]


def test_curves_are_means_in_the_unit_of_their_axis_with_every_seed(views):
    """Percent; 50 at the first two evaluations, then the mean of the seeds; a diverged seed at the worst value."""
    (score,) = views["curves"]["metrics"]
    lines = {tuple(line[:2]): line for line in score["lines"]}
    _, _, x, mean, low, high, count, at, seeds = lines[0, 0]
    assert (score["xs"][x], mean, count) == ([0, 10, 20, 30, 40, 50, 60, 70], [50, 50, *[2] * 6], 3)
    assert all(a <= b <= c for a, b, c in zip(low, mean, high, strict=True))
    assert seeds[1] == [1, False, [50, 50, *[2] * 6]]
    assert score["xs"][at] == score["xs"][x]
    assert lines[1, 1][8][3] == [3, True, [50, *[100] * 7]]


def test_finals_and_pairs_say_what_the_tables_say(views):
    """Mean 2 and 12, difference -10, told apart or not; every seed with its end."""
    final = views["finals"]["metrics"][0]
    cell, algorithm, budget, text, value, low, high, seeds = final["rows"][0]
    assert (cell, algorithm, budget, value, seeds) == (0, 0, 70, 2, [[0, False, 1], [1, False, 2], [2, False, 3]])
    assert text.startswith("2.0 [")
    assert low < 2 < high
    assert final["rows"][3][7][3] == [3, True, 100]
    pair = views["pairs"]["metrics"][0]["rows"][0]
    assert pair[:4] == [0, 0, 1, -10]
    assert pair[6] == 1.0
    assert views["pairs"]["verdicts"][pair[8]].startswith("n=3: smallest possible p .1 > .05")
    never = next(metric for metric in views["finals"]["metrics"] if "1%" in metric["title"])
    assert never["rows"][1][7] == [[seed, False, None] for seed in range(3)]


def test_sparsity_has_a_point_for_every_cell_and_algorithm(views):
    """p0 and the final estimate."""
    assert [[p0, value] for _, _, p0, _, value, *_ in views["profile"]["rows"]][:2] == [[0.25, 2], [0.25, 12]]
    assert views["profile"]["panels"] == [["terminal", [0, 1]]]


def test_a_search_has_its_breaking_points_and_the_seeds_of_every_level():
    """As the tables have them: p0* with its interval, an end that no level bounds, and k of n with Wilson's."""
    results = search_results()
    found, groups = views_of(results), searched(read_cells(results.records)[0]["simulated"])
    assert list(found) == ["choices", "breaking", "levels"]
    assert [cell["label"] for cell in found["choices"]["cells"]] == ["reward=dense", "reward=terminal"]
    assert found["choices"]["axes"] == {"reward": ["dense", "terminal"]}
    tpo, grpo, ppo = found["breaking"]["rows"][:3]
    point = groups[0].points["tpo"]
    assert tpo[:6] == [0, 0, 1, *(float(f"{v:.4g}") for v in (point.value, point.low, point.high))]
    assert tpo[8][1:] == ["holds at length 16 (7/10), breaks at length 32 (0/10)", "40 seeds at 4 levels"]
    assert (tpo[6:8], grpo[2], grpo[6:8]) == ([False, False], 2, [False, False])
    assert (ppo[2], ppo[3], ppo[6], ppo[8][1]) == (0, None, True, "holds at length 32 (10/10)")
    group, algorithm, middle, slope, levels = found["levels"]["rows"][0]
    assert (group, algorithm, levels[2]) == (0, 0, [
        "length 16, p0 = 0.00391", 0.003906, 70, pytest.approx(39.7, abs=0.1), pytest.approx(89.2, abs=0.1),
        "7/10 [40%, 89%]",
    ])  # fmt: skip
    share = 1 / (1 + (0.003 / middle) ** -slope)  # as page.js draws it
    assert share == pytest.approx(share_at(point, 0.003), rel=5e-3)
    assert found["levels"]["ends"] == [[pytest.approx(1 / 1024, rel=1e-3), 1 / 16]] * 2


def test_data_in_a_page_is_json_without_markup():
    """Every character of markup is an escape of JSON, every number finite."""
    text = embedded({"</script><!--": ["&", float("inf"), 2.0, 0.1]})
    assert text == r'{"\u003c/script\u003e\u003c!--":["\u0026",null,2,0.1]}'
    assert json.loads(text) == {"</script><!--": ["&", None, 2, 0.1]}


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_is_seen_on_a_dark_page():
    """Contrast 3:1 with its background, as WCAG asks of graphics."""
    back = luminance("#14181d")
    for colour in {*FAMILY_COLOURS.values(), *(style.colour for style in PAPER.values())}:
        assert (luminance(DARK.get(colour, colour)) + 0.05) / (back + 0.05) >= 3, colour
