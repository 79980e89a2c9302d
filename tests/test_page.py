"""The page in a browser: it loads without an error, sorts, filters, and runs nothing else."""

from __future__ import annotations

import pytest
from browser import CHROMIUM, Browser
from simulated import REPORTING, grid, learning_curve, np, record
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
    tab = Browser()
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three algorithms in four cells, on a page without files of figures."""
    out = tmp_path_factory.mktemp("page")
    found = grid(["tpo", "grpo", "ppo"], lengths=(4, 6), rewards=("terminal", "dense"), seeds=4)
    write_report(found, out, ["html"], figure_formats=[], figures=["improvement"])
    return out / "report.html"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_fits_the_window_and_asks_nothing_of_a_network(browser, page, width, dark):
    """No error, no request, no wider than the window, light or dark as the reader's."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page, width, dark=dark)
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} == {"file", "data"}
    assert browser.run("document.documentElement.scrollWidth") <= width
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


def test_a_link_opens_its_table(browser, page):
    """And goes there."""
    browser.open(page)
    assert not browser.run(f"document.querySelector('{DETAILS}').open")
    browser.run(f"document.querySelector('nav a[href=\"{DETAILS}\"]').click()")
    browser.settle()
    assert browser.run(f"document.querySelector('{DETAILS}').open")
    assert abs(browser.run(f"document.querySelector('{DETAILS}').getBoundingClientRect().top")) < 450


def test_paper_has_heads_of_tables_and_what_is_open_in_black_on_white(browser, page):
    """Nothing to press, and no table that was not asked for."""
    browser.open(page, 720, dark=True, paper=True)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("[...document.querySelectorAll('#simulated-final5 th')].every(h => h.innerText.trim())")
    hidden = "#theme, nav, input, details:not([open])"
    assert browser.run(f"[...document.querySelectorAll('{hidden}')].every(e => !e.offsetHeight)")
    assert browser.run("document.documentElement.scrollWidth") <= 720


def test_without_scripts_tables_and_figures_are_there(browser, page):
    """What needs a script does not show."""
    browser.open(page, scripts=False)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run("document.querySelectorAll('td').length") > 50
    assert browser.run("[...document.images].every(i => i.naturalWidth > 100) && document.images.length") > 0
    assert not browser.run("document.getElementById('theme').offsetHeight")


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
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data"}
    tags = set(browser.run("[...document.querySelectorAll('main *, nav *')].map(e => e.localName)"))
    assert not tags & {"script", "iframe", "b", "object", "embed", "form"}
    attributes = set(browser.run("[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"))
    assert not {name for name in attributes if name.startswith("on")}
    shown = browser.run("[...document.querySelectorAll('thead th')].map(e => e.textContent)")
    assert {printable(name) for name in names} <= set(shown)
