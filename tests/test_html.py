"""The HTML page: one file, valid and accessible, dark where the reader is, equal to the json beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import pytest
from simulated import grid, record

from tpobench.records.results import Results
from tpobench.report import make_report, write_report
from tpobench.report.document import document_of
from tpobench.tables.model import Document, table_of
from tpobench.tables.page import FOLDER, LIBRARIES, anchor, compact_path, html_page

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes and texts; complains about what is left open."""

    def __init__(self, text) -> None:
        super().__init__()
        self.stack, self.found, self.unclosed = [], [], []
        self.feed(text)
        self.unclosed += self.stack

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.found.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop()["tag"] != tag:
            self.unclosed.append(tag)

    def handle_data(self, data):
        for element in self.stack:
            element["text"] += data

    def all(self, tag, **attrs):
        return [e for e in self.found if e["tag"] == tag and all(e.get(k) == v for k, v in attrs.items())]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One page with figures, and the json made from the same records."""
    out = tmp_path_factory.mktemp("report")
    failed = record("ppo", 0, [], status="failed", reason="killed <b>", cell={"length": 4})
    found = grid(["tpo", "grpo"], lengths=(4, 6, 8), seeds=6)
    files = write_report(Results((*found.records, failed)), out, ["html", "json"], figure_formats=[])
    assert [f.name for f in files] == ["report.html", "report.json"]
    return Page((out / "report.html").read_text()), json.loads((out / "report.json").read_text())


def test_nothing_is_loaded_from_elsewhere(written):
    """No link, every script and image in the page itself."""
    page, _ = written
    assert not page.all("link") + page.all("iframe")
    assert not any("src" in e for e in page.all("script"))
    assert all(e["src"].startswith("data:image/svg+xml,") for e in page.all("img"))
    assert all(e["href"].startswith("#") for e in page.all("a"))
    style = page.all("style")[0]["text"]
    assert "url(" not in style
    assert "@import" not in style


def test_no_script_runs_but_those_of_the_package(written):
    """The page names the hash of each of its scripts, and allows no other."""
    page, _ = written
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    allowed = re.findall(r"'(sha256-[^']+)'", policy)
    texts = [e["text"] for e in page.all("script") if e.get("type") != "application/json"]
    assert allowed == [f"sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}" for t in texts]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy


def test_the_notice_names_the_libraries_as_they_are():
    """Version, source and hash of each, and the licenses of what is in them."""
    notice = (FOLDER / "vendor" / "NOTICE").read_text(encoding="utf-8")
    for path in LIBRARIES:
        content = (FOLDER / path).read_bytes()
        assert hashlib.sha256(content).hexdigest() in notice
        version = re.search(rb"v(\d+\.\d+\.\d+)", content[:100])[1].decode()
        assert f" {version}, file dist/{path.partition('/')[2]}" in notice
    assert "THE SOFTWARE IS PROVIDED" in notice


def test_the_markup_is_closed_and_ids_are_unique(written):
    """What opens closes, and every link of the contents has its place."""
    page, _ = written
    assert page.unclosed == []
    ids = [e["id"] for e in page.found if "id" in e]
    assert len(ids) == len(set(ids))
    assert {e["href"][1:] for e in page.all("a")} <= set(ids)
    labels = {e["aria-labelledby"] for e in page.found if "aria-labelledby" in e}
    assert labels <= set(ids)


def test_tables_can_be_read_by_a_screen_reader(written):
    """A language, one h1, captions, column and row headers, a text for every figure."""
    page, content = written
    (suite,) = content["suites"]
    tables, rows = suite["tables"], suite["answer"]["table"]["rows"]
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert sorted(e["text"] for e in page.all("caption")) == sorted(t["title"] for t in tables)
    # and one run without a result
    assert len(page.all("th", scope="row")) == sum(len(t["rows"]) for t in tables) + len(rows) + 1
    assert all(e["alt"] and e["alt"] == caption["text"] for e, caption in
               zip(page.all("img"), page.all("figcaption"), strict=True))  # fmt: skip


def test_every_entry_of_the_json_stands_in_the_page(written):
    """The same texts, marked alike."""
    page, content = written
    shown = [(e["text"].strip(), (e.get("class") or "").split()) for e in page.all("td")]
    (suite,) = content["suites"]
    tables = suite["tables"]
    entries = [cell for table in (suite["answer"]["table"], *tables) for row in table["rows"] for cell in row[1:]]
    for cell, (text, marks) in zip(entries, shown, strict=False):
        assert text == cell["text"]
        assert ("best" in marks, "leader" in marks) == (cell["best"], cell["leader"])
    assert any(cell["best"] for cell in entries)
    assert all(t["signature"].splitlines()[0] in {e["text"] for e in page.all("code")} for t in tables)


def test_figures_are_drawings(written):
    """Well-formed svg, one for each figure of the json."""
    page, content = written
    images = page.all("img")
    assert len(images) == len(content["suites"][0]["figures"]) == 3
    for image in images:
        root = ET.fromstring(unquote_to_bytes(image["src"].partition(",")[2]))  # noqa: S314 - our own drawing
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_the_page_follows_the_readers_choice_of_light_or_dark(written):
    """Every colour is a pair."""
    (colours,) = re.findall(r":root \{([^}]*)\}", written[0].all("style")[0]["text"])
    assert "color-scheme: light dark;" in colours
    pairs = re.findall(r"--\w+: light-dark\((#\w{6}), (#\w{6})\);", colours)
    assert len(pairs) == colours.count("--") > 5


def test_no_name_takes_an_id_of_the_page_itself():
    """A suite `data` beside suites `data-2` and `main`: every id once, and the numbers where the script looks."""
    runs = [
        record(name, seed, [0.5, 0.1], suite=suite)
        for suite in ("data", "data-2", "main", "theme")
        for name in ("tpo", "grpo")
        for seed in range(2)
    ]
    page = Page(html_page(document_of(make_report(Results(tuple(runs)), views=True))))
    ids = [e["id"] for e in page.found if "id" in e]
    assert len(ids) == len(set(ids))
    assert json.loads(page.all("script", id="data")[0]["text"])[0]["drawing"] == "choices"


def test_an_interval_stays_in_one_line():
    """The estimate with its interval, then how many got there."""
    text = html_page(Document("Times", (table_of(("Algorithm", "Updates"), [("tpo", "6900 [6000, 7400] (20/20)")]),)))
    assert (
        '<td class="long"><span class="whole">6900 [6000, 7400]</span> <span class="whole">(20/20)</span></td>' in text
    )


def test_an_entry_of_one_part_has_no_element_of_its_own():
    """A page may have a hundred thousand; what is short stays on one line, and what is long says so."""
    row = ("tpo", ".002", "4.2 [3.2, 5.5]", "not distinguishable, for want of seeds")
    text = html_page(Document("Entries", (table_of(("Algorithm", "p", "Mean", "A is"), [row]),)))
    assert '<td>.002</td><td>4.2 [3.2, 5.5]</td><td class="long">not distinguishable, for want of seeds</td>' in text


def test_a_path_is_the_same_line_in_fewer_letters():
    """Tenths of a point, no letter that is implied, no step on the spot; curves and closed shapes stay."""
    line = b"M 138.55 297.4 L 153.40 297.4 L 153.4 297.41 L 153.449 287.00 "
    assert compact_path(line) == b"M138.5 297.4 153.4 297.4 153.4 287"
    assert compact_path(b"M 0 10 Q 1 2 3 4 Q 5 6 7 8 z M 1 1 L 1 1 M 2 2 L 3 3 C 1 2 3 4 5 6 L 7 8") == (
        b"M0 10Q1 2 3 4 5 6 7 8zM1 1 1 1M2 2 3 3C1 2 3 4 5 6L7 8"
    )


def test_texts_of_records_are_never_markup(written):
    """A reason with a tag in it is shown as it was."""
    page, _ = written
    assert [e["text"] for e in page.all("td") if "killed" in e["text"]] == ["killed <b>"]
    assert page.all("b") == []


def test_a_report_without_problems_has_no_such_section():
    """Nor a link to it."""
    text = html_page(document_of(make_report(grid(["tpo"], lengths=(4,), seeds=2))))
    assert "Runs without a result" not in text
    assert Page(text).unclosed == []


def test_anchors_are_plain():
    """Letters, digits, dots and dashes."""
    assert anchor("terminal_reward@2", "steps0.1m3") == "terminal-reward-2-steps0.1m3"
