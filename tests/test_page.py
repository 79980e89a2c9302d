"""The page in a browser: it loads without an error, sorts, filters, chooses, draws, and runs nothing else."""

from __future__ import annotations

import re

import pytest
from browser import CHROMIUM, Browser
from simulated import REPORTING, grid, learning_curve, np, record, search_results
from test_names import HOSTILE

from tpobench.printable import printable
from tpobench.records.results import Results
from tpobench.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

ROWS = (
    "[...document.querySelector('{0}').tBodies[0].rows].filter(r => !r.hidden)"
    ".map(r => r.cells[{1}].textContent.trim())"
)
DETAILS = "#simulated-details-final5"


@pytest.fixture(scope="module")
def browser():
    try:
        tab = Browser()
    except ConnectionError as error:  # as where the command only says how to install it
        pytest.skip(f"this Chromium does not start: {error}")
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three algorithms in four cells, on a page without files of figures."""
    out = tmp_path_factory.mktemp("page")
    found = grid(["tpo", "grpo", "ppo"], lengths=(4, 6), rewards=("terminal", "dense"), seeds=4)
    write_report(found, out, ["html"], figure_formats=[], figures=["improvement"])
    return out / "report.html"


def draw_all(browser):
    """Views are drawn where they come into sight."""
    for i in range(browser.run("document.querySelectorAll('[data-view]').length")):
        browser.run(f"document.querySelectorAll('[data-view]')[{i}].scrollIntoView({{behavior: 'instant'}})")
        browser.settle()


def panels(browser, view):
    return browser.run(f"[...document.querySelectorAll('.{view} .panel h4 span')].map(e => e.textContent)")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_everything_is_drawn_within_the_window_and_nothing_is_asked_of_a_network(browser, page, width, dark):
    """A panel per cell in every view, no error, no request, no wider than the window, light or dark as the reader's."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page, width, dark=dark)
    draw_all(browser)
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} == {"file"}
    assert browser.run("document.documentElement.scrollWidth") <= width
    four = [
        "length=4, reward=dense",
        "length=4, reward=terminal",
        "length=6, reward=dense",
        "length=6, reward=terminal",
    ]
    assert [sorted(panels(browser, view)) for view in ("curves", "pairs", "finals")] == [four] * 3
    assert sorted(panels(browser, "profile")) == ["dense", "terminal"]
    for view in ("curves", "profile"):
        legend = browser.run(f"[...document.querySelectorAll('.{view} .legend span')].map(e => e.textContent.trim())")
        assert legend == ["tpo", "grpo", "ppo"]
    assert browser.run("[...document.querySelectorAll('.panel svg')].every(s => s.getBoundingClientRect().width > 250)")
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    browser.run("document.getElementById('theme').click()")
    assert browser.run("getComputedStyle(document.body).backgroundColor") != back


def test_a_table_is_sorted_by_its_numbers_and_filtered_by_words(browser, page):
    """Up, down, as it was; rows with all of the words."""
    browser.open(page)
    means = ROWS.format(f"{DETAILS} table", 3)
    values = [float(text.split()[0]) for text in browser.run(means)]
    head = f"document.querySelectorAll('{DETAILS} thead button')[3].click()"
    for order in (sorted(values), sorted(values, reverse=True), values):
        browser.run(head)
        assert [float(text.split()[0]) for text in browser.run(means)] == order
    browser.run(
        f"const field = document.querySelector('{DETAILS} input'); field.value = 'grpo length=6'; "
        "field.dispatchEvent(new Event('input'))"
    )
    assert browser.run(ROWS.format(f"{DETAILS} table", 1)) == ["grpo", "grpo"]
    assert browser.run(f"document.querySelector('{DETAILS} output').textContent") == "2 of 12 rows"


def test_what_is_chosen_is_what_tables_and_drawings_show(browser, page):
    """Without an algorithm and a value of an axis: neither rows nor columns, panels nor lines of them."""
    browser.open(page)
    for name in ("grpo", "dense"):
        browser.run(f"[...document.querySelectorAll('.choices label')].find(l => l.title === '{name}').click()")
    assert browser.run("document.querySelector('.choices summary').textContent") == (
        "Show: 2 of 3 algorithms, 2 of 4 cells"
    )
    assert browser.run(ROWS.format(f"{DETAILS} table", 1)) == ["tpo", "ppo"] * 2
    heads = (
        "[...document.querySelectorAll('#simulated-final5 thead th')].filter(h => !h.hidden).map(h => h.textContent)"
    )
    assert [head for head in browser.run(heads) if head in {"tpo", "grpo", "ppo"}] == ["tpo", "ppo"]
    draw_all(browser)
    assert panels(browser, "curves") == ["length=4, reward=terminal", "length=6, reward=terminal"]
    marks = browser.run("[...document.querySelectorAll('.curves .arm')].map(e => e.getAttribute('class'))")
    assert {re.search(r"\ba\d", mark)[0] for mark in marks} == {"a0", "a2"}
    assert browser.run("document.querySelector('.curves .legend').textContent.split(' ').filter(Boolean)") == [
        "tpo", "ppo",
    ]  # fmt: skip
    for shown in (["length=4, reward=terminal"], ["length=4, reward=terminal", "length=6, reward=terminal"]):
        browser.run("document.querySelector('.curves h4 button').click()")
        assert panels(browser, "curves") == shown
        assert browser.run("document.activeElement.closest('.panel').querySelector('h4 span').textContent") == shown[0]


def test_panels_share_a_scale_unless_each_is_to_have_its_own(browser, page):
    """The numbers beside the axes are the same, or are not."""
    browser.open(page)
    draw_all(browser)
    numbers = (
        "[...document.querySelectorAll('.curves .panel svg')]"
        ".map(s => s.querySelector('[aria-label=\"y-axis tick label\"]').textContent)"
    )
    for toggle, same in (("log scale", True), ("same scale", False)):
        browser.run(f"[...document.querySelectorAll('.curves label')].find(l => l.textContent === '{toggle}').click()")
        assert (len(set(browser.run(numbers))) == 1) == same


def point_at(browser, selector):
    """The text that comes up over the first element."""
    x, y = browser.run(
        f"(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}}); "
        "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.settle()
    view = selector.split()[0]
    lines = browser.run(f"[...document.querySelectorAll('{view} [aria-label=tip] tspan')].map(e => e.textContent)")
    return [line.strip("\u200b") for line in lines]  # which an empty line has, to be as high as the others


def test_a_difference_against_another_algorithm_is_the_same_turned_round(browser, page):
    """a - b = -(b - a), its interval too; P(a better) = 1 - P(b better)."""
    browser.open(page)
    draw_all(browser)
    marker = ".pairs [aria-label=dot] path"
    browser.run("document.querySelectorAll('.choices input')[1].click()")  # without grpo
    title, difference, share, p, *verdict = point_at(browser, marker)
    browser.run(
        "const [, against] = document.querySelectorAll('.pairs select'); against.value = 2; "
        "against.dispatchEvent(new Event('change'))"
    )
    turned = point_at(browser, marker)
    assert (title, turned[0]) == ("ppo − tpo", "tpo − ppo")
    d, low, high = map(float, re.findall(r"[-\d.e]+", difference))
    assert [float(v) for v in re.findall(r"[-\d.e]+", turned[1])] == [-d, -high, -low]
    chance, other = (int(text.split(" = ")[1].removesuffix("%")) for text in (share, turned[2]))
    assert chance + other == pytest.approx(100, abs=1)  # two roundings
    assert turned[3:] == [p, *verdict]  # why there is no test


def test_pointing_at_a_curve_says_what_it_is_and_brings_out_its_seeds(browser, page):
    """Algorithm, updates, mean with its interval, seeds."""
    browser.open(page, 1280)
    draw_all(browser)
    text = " ".join(point_at(browser, ".curves .arm.a1 path[transform]"))
    assert re.search(r"(tpo|grpo|ppo).*Updates \d+: [\d.]+ \[[\d.]+, [\d.]+\].*mean of 4 seeds", text), text
    shown = (
        "[...document.querySelectorAll('.curves .seeds')].filter(e => getComputedStyle(e).display !== 'none').length"
    )
    assert browser.run(shown) == 1


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_search_is_drawn_and_chosen_from(browser, tmp_path, width, dark):
    """A panel per group in both views, no wider than the window; rows by sparsity, numbers under the pointer."""
    write_report(search_results(), tmp_path, ["html"], figure_formats=[])
    browser.errors.clear()
    browser.open(tmp_path / "report.html", width, dark=dark)
    draw_all(browser)
    assert browser.errors == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    for view in ("breaking", "levels"):
        assert panels(browser, view) == ["reward=dense", "reward=terminal"]
    names = (
        "[...document.querySelector('.breaking .panel').querySelectorAll('[aria-label=\"y-axis tick label\"] text')]"
        ".map(e => e.textContent)"
    )
    assert browser.run(names) == ["ppo", "tpo", "grpo"]
    browser.run("document.querySelector('.breaking [type=checkbox]').click()")
    assert browser.run(names) == ["tpo", "grpo", "ppo"]
    said = point_at(browser, ".breaking [aria-label=dot] path")
    assert said[0] == "tpo"
    assert re.match(r"0\.\d+ \[0\.\d+, 0\.\d+\]", said[1])
    assert " ".join(said[2:]) == "holds at length 16 (7/10), breaks at length 32 (0/10) 40 seeds at 4 levels"
    said = point_at(browser, ".levels [aria-label=dot].a1 path:nth-child(2)")
    assert said == ["grpo", "length 8, p0 = 0.0156", "6/10 [31%, 83%] learn"]
    for name in ("ppo", "dense"):
        browser.run(f"[...document.querySelectorAll('.choices label')].find(l => l.title === '{name}').click()")
    browser.settle()
    assert browser.run(names) == ["tpo", "grpo"]
    assert panels(browser, "levels") == ["reward=terminal"]
    assert browser.run(ROWS.format("#simulated-breaking-reward-terminal table", 0)) == ["tpo", "grpo"]


def test_a_link_opens_its_table_below_what_stays_at_the_top(browser, page):
    """The first line of the table can be read."""
    browser.open(page)
    assert not browser.run(f"document.querySelector('{DETAILS}').open")
    browser.run(f"document.querySelector('nav a[href=\"{DETAILS}\"]').click()")
    browser.settle()
    assert browser.run(f"document.querySelector('{DETAILS}').open")
    top = browser.run(f"document.querySelector('{DETAILS}').getBoundingClientRect().top")
    assert browser.run("document.querySelector('.choices').getBoundingClientRect().bottom") <= top < 450


def test_paper_has_heads_of_tables_and_what_is_open_in_black_on_white(browser, page):
    """Nothing to press, and no table that was not asked for."""
    browser.open(page, 720, dark=True, paper=True)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("[...document.querySelectorAll('#simulated-final5 th')].every(h => h.innerText.trim())")
    hidden = "#theme, nav, .choices, h4 button, [type=checkbox], details:not([open])"
    assert browser.run(f"[...document.querySelectorAll('{hidden}')].every(e => !e.offsetHeight)")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert len(panels(browser, "finals")) == 4
    assert browser.run("document.documentElement.scrollWidth") <= 720


def test_a_long_table_and_figures_are_made_when_they_are_opened(browser, tmp_path, monkeypatch):
    """No elements before; then what is chosen, to be sorted and filtered; all of it there without scripts."""
    monkeypatch.setattr("tpobench.tables.page.LONG", 10)
    found = grid(["tpo", "grpo", "ppo"], lengths=(4, 6), rewards=("terminal", "dense"), seeds=2)
    write_report(found, tmp_path, ["html"], figure_formats=[], figures=["improvement"])
    pairs = "#simulated-tests-final5"
    browser.open(tmp_path / "report.html")
    assert browser.run(f"document.querySelectorAll('{pairs} tr, .prints img').length") == 0
    browser.run("[...document.querySelectorAll('.choices label')].find(l => l.title === 'ppo').click()")
    browser.run(f"document.querySelector('nav a[href=\"{pairs}\"]').click()")
    assert set(browser.run(ROWS.format(f"{pairs} table", 1)) + browser.run(ROWS.format(f"{pairs} table", 2))) == {
        "tpo", "grpo",
    }  # fmt: skip
    assert browser.run(f"document.querySelectorAll('{pairs} input').length") == 1
    browser.run(f"document.querySelector('{pairs} thead button').click()")
    cells = browser.run(ROWS.format(f"{pairs} table", 0))
    assert cells == sorted(cells)
    browser.run("document.querySelector('.prints summary').click()")
    browser.settle()
    assert browser.run("[...document.querySelectorAll('.prints img')].length") == 1
    browser.open(tmp_path / "report.html", scripts=False)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run(f"document.querySelectorAll('{pairs} tbody tr').length") == 12
    assert browser.run("[...document.images].every(i => i.naturalWidth > 100) && document.images.length") > 0


def test_without_scripts_tables_and_figures_are_there(browser, page):
    """What needs a script does not show, nor do links to it."""
    browser.open(page, scripts=False)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run("document.querySelectorAll('td').length") > 50
    assert browser.run("[...document.images].every(i => i.naturalWidth > 100) && document.images.length") > 0
    assert browser.run(
        "[...document.querySelectorAll('[data-view], #theme, nav [hidden]')].every(e => !e.offsetHeight)"
    )
    assert browser.run("document.querySelector('.prints').open")


def test_no_name_runs_or_becomes_markup(browser, tmp_path):
    """Thirty hostile names as algorithms, cells and title at once: each is shown as text, nothing asks or alerts."""
    rng = np.random.default_rng(0)
    names = list(HOSTILE.values())
    reporting = REPORTING | {"title": HOSTILE["script"]}
    runs = [
        record(name, seed, learning_curve(rng, 2.0, solves=True, evaluations=6), cell={"value": name},
               reporting=reporting)
        for name in names for seed in range(2)
    ] + [record("tpo", 0, [0.5] * 6, cell={"value": name}, reporting=reporting) for name in names]  # fmt: skip
    write_report(Results(tuple(runs)), tmp_path, ["html"], figure_formats=[], figures=["improvement"])
    browser.errors.clear()
    browser.requests.clear()
    browser.open(tmp_path / "report.html")
    draw_all(browser)
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data"}
    tags = set(browser.run("[...document.querySelectorAll('main *, nav *')].map(e => e.localName)"))
    assert not tags & {"script", "iframe", "b", "object", "embed", "form"}
    attributes = set(browser.run("[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"))
    assert not {name for name in attributes if name.startswith("on")}
    shown = browser.run("[...document.querySelectorAll('.choices label span')].map(e => e.textContent)")
    assert {printable(name) for name in names} <= set(shown)
