"""One table and its writers: a terminal that fits, a pipe that is plain, and the same document in every format."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_helpers import record, write
from rich.cells import cell_len
from test_html import Page
from test_names import HOSTILE, commands
from test_report_latex import balanced

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.cli.base import FORMATS
from tpobench.execution.doctor import Problem, Section
from tpobench.tables.exports import csv_text, flat
from tpobench.tables.latex import HEAD, latex
from tpobench.tables.markdown import markdown
from tpobench.tables.model import (
    PAGES,
    Advice,
    Deferred,
    Document,
    Figure,
    Glance,
    Heading,
    Legend,
    Lines,
    Links,
    Table,
    TableCell,
    View,
    table_of,
)
from tpobench.tables.page import LIBRARIES, SCRIPT, html_page, script
from tpobench.tables.terminal import ROWS, Screen, aligned, fitted, glance_text, screen_of, terminal
from tpobench.tables.writers import WRITERS

STYLES = re.compile(r"\x1b\[[\d;]*m")
WIDE = table_of(
    ("cell", "rule", "mean [95%]", "difference [95%]", "test", "seeds"),
    [(f"length={n}, reward=terminal", rule, f"{n}.25 [{n}.01, {n}.50]", "-0.006 [-0.029, 0.016]", "perm-t", 20)
     for n in (4, 16) for rule in ("tpo_no_anchor", "grpo")],
)  # fmt: skip


def document(*blocks, **fields):
    return Document("Title", blocks, **fields)


def every_block(name):
    """A document in which every text is `name`."""
    cells = (TableCell(name, best=True), TableCell(name, leader=True), TableCell(name, alert=True))
    table = Table("t", name, (name, name + "1", name + "2"), (cells,), name, (name,))
    marks = [Lines((name, name), mark) for mark in ("", "bullet", "strong", "quote", "code", "verbatim")]
    blocks = (Heading(name, name), table, dataclasses.replace(table, folded=True), *marks, Legend("a", "b", "c."),
              Links({name: "stem"}), Advice(name, (name,), "why `a`", "do `b`"),
              Figure(name, name, name, svg=b"<svg/>"),
              View("choices", name, name, name, {name: [name, 1.0]}))  # fmt: skip
    return Document(name, blocks)


# ---- terminal


def test_a_pipe_gets_plain_aligned_columns_with_nothing_cut():
    """Numbers to the right, `-` for none, six digits of a float, no column that is empty, no style."""
    long = "x" * 300
    text = terminal(document(table_of(("name", "n", "", "mean"), [("tpo", 1, "", 0.12345678), (long, None, "", 2.0)])))
    first, second, third = text.splitlines()
    assert first == f"{'name':<300}  n      mean"
    assert second == f"{'tpo':<300}  1  0.123457"
    assert third == f"{long}  -         2"


@pytest.mark.parametrize("row", [("1",), ("1", "2", "3")])
def test_a_row_unlike_its_header_is_an_error_and_never_a_lost_cell(row):
    """The terminal dropped what was too much, without a word."""
    with pytest.raises(ValueError, match=f"a row of {len(row)} cells under a header of 2"):
        table_of(("a", "b"), [("1", "2"), row], "n")


def test_marks_are_characters_where_there_are_no_styles():
    """One star for the best group, two for the leader, and a legend that says so."""
    table = Table("t", "", ("a",), ((TableCell("1", best=True),), (TableCell("2", True, True),), (TableCell("3"),)))
    legend = Legend("the best", "the leader", "More.")
    assert terminal(document(legend, table)).splitlines() == [
        "*: the best; **: the leader. More.", "", "a", "1 *", "2 **", "3",
    ]  # fmt: skip
    styled = terminal(document(legend, table), Screen(80, styled=True)).splitlines()
    assert styled[0] == "bold: the best; underlined: the leader. More."
    assert [styled[i] for i in (3, 4, 5)] == ["\x1b[1m1\x1b[0m", "\x1b[1;4m2\x1b[0m", "3"]


def test_a_table_that_fits_is_the_same_on_a_screen_and_in_a_pipe():
    """Width changes nothing where there is room."""
    assert terminal(document(WIDE), Screen(160)) == terminal(document(WIDE))


def test_what_every_row_says_is_said_once_where_room_is_short():
    """Long entries take several lines, intervals stay whole."""
    assert terminal(document(WIDE), Screen(60)).splitlines() == [
        "cell             rule           mean [95%]",
        "length=4,        tpo_no_anchor  4.25 [4.01, 4.50]",
        "reward=terminal",
        "length=4,        grpo           4.25 [4.01, 4.50]",
        "reward=terminal",
        "length=16,       tpo_no_anchor  16.25 [16.01, 16.50]",
        "reward=terminal",
        "length=16,       grpo           16.25 [16.01, 16.50]",
        "reward=terminal",
        "in every row: difference [95%] -0.006 [-0.029, 0.016];",
        "  test perm-t; seeds 20",
    ]


def test_a_table_too_wide_for_its_words_comes_in_parts_that_name_their_rows():
    """Each part begins with the columns that tell the rows apart."""
    header = ("cell", "rule", *(f"column_{i}" for i in range(9)))
    rows = [(cell, rule, *(f"{cell}{rule}{i}" for i in range(9))) for cell in "ab" for rule in ("tpo", "grpo")]
    text = terminal(document(table_of(header, rows)), Screen(60))
    parts = [part.splitlines() for part in text.split("\n\n")]
    assert len(parts) == 2
    assert all(line.split()[:2] == ["cell", "rule"] for line, *_ in parts)
    assert all([row.split()[:2] for row in body] == [["a", "tpo"], ["a", "grpo"], ["b", "tpo"], ["b", "grpo"]]
               for _, *body in parts)  # fmt: skip
    assert [word for line, *_ in parts for word in line.split()[2:]] == list(header[2:])


def test_rows_that_no_few_columns_tell_apart_are_numbered():
    """Each part begins with the number of its rows."""
    rows = [[letter * 25 for letter in row] for row in ("pq1s", "pq2t", "ru1s")]
    text = terminal(document(table_of(("a", "b", "c", "d"), rows)), Screen(60))
    parts = [part.splitlines() for part in text.split("\n\n")]
    assert len(parts) > 1
    assert all([line.split()[0] for line in part] == ["#", "1", "2", "3"] for part in parts)


def test_room_goes_to_the_column_that_is_tallest():
    """A long note beside short entries: they take two lines, so that it takes few."""
    note = " ".join(["word"] * 24)
    rows = [("length=4, matching=prompts", "6.9 (n=20)", note), ("length=8, matching=prompts", "7.2 (n=20)", note[:60])]
    assert terminal(document(table_of(("where", "printed", "note"), rows)), Screen(60)).splitlines() == [
        "where             printed     note",
        "length=4,         6.9 (n=20)  word word word word word word",
        "matching=prompts              word word word word word word",
        "                              word word word word word word",
        "                              word word word word word word",
        "length=8,         7.2 (n=20)  word word word word word word",
        "matching=prompts              word word word word word word",
    ]


ENTRY = st.text("ab ,|/[]结é", max_size=60).map(str.strip) | st.text("ab结", min_size=30, max_size=60)
TEXTS = st.lists(ENTRY, min_size=5, max_size=5)


@given(header=TEXTS, rows=st.lists(TEXTS, min_size=1, max_size=4), width=st.integers(40, 120))
@settings(max_examples=60, deadline=None)
def test_no_line_is_wider_than_the_screen_and_no_character_is_lost(header, rows, width):
    """Whatever the texts are: wide characters, words of 60 letters, brackets that never close."""
    text = terminal(document(table_of(header, rows)), Screen(width))
    assert max(map(cell_len, text.splitlines()), default=0) <= width
    for letter in "ab结":
        for column in zip(header, *rows, strict=True):
            if any(column[1:]):  # a column that is empty in every row is left out
                assert text.count(letter) >= max(entry.count(letter) for entry in column)


def test_lines_are_wrapped_between_words_and_what_is_to_be_copied_is_not():
    """Further lines are indented."""
    words = " ".join(["word"] * 20)
    assert terminal(document(Lines((words,))), Screen(60)).splitlines() == [
        " ".join(["word"] * 11), "  " + " ".join(["word"] * 9),
    ]  # fmt: skip
    assert terminal(document(Lines((words,), "verbatim")), Screen(60)) == words


def test_words_of_an_answer_are_broken_between_them_and_stay_indented():
    """On a screen below where their line begins; a pipe has every line as it is."""
    lines = ["mine keeps its contract", "  + seeds are independent, a seed alone is that seed in a stack", "", "next"]
    assert fitted(lines, Screen(40)).splitlines() == [
        "mine keeps its contract", "  + seeds are independent, a seed", "    alone is that seed in a stack", "", "next",
    ]  # fmt: skip
    assert fitted(lines).splitlines() == lines


def test_a_glance_is_a_verdict_one_table_that_fits_and_the_way_on():
    """Columns without room are left out and named, the last first; a command is never broken."""
    rows = [(f"length={n}, reward=terminal", f"{n}.25 [{n}.01, {n}.50]", f"{n} words", str(n) * 30, "same")
            for n in (4, 6)]  # fmt: skip
    header = ("cell", "mean [95%]", "words", "last", "all")
    command = "tpobench compare tpo grpo --in results/a-very-long-name"
    then = (("two algorithms", command), ("one", "tpobench list"))
    seen = Glance(
        "A leads.", table_of(header, rows, notes=("what it means",)), ("a note",), ("report/report.md",), then
    )
    assert glance_text(seen, Screen(60)).splitlines() == [
        "A leads.", "",
        "cell                       mean [95%]         words",
        "length=4, reward=terminal  4.25 [4.01, 4.50]  4 words",
        "length=6, reward=terminal  6.25 [6.01, 6.50]  6 words",
        "in every row: all same", "not shown: last", "",
        "a note", "what it means", "",
        "wrote report/report.md", "two algorithms:", f"  {command}", "one: tpobench list",
        "everything: the same with --full",
    ]  # fmt: skip


@given(rows=st.lists(TEXTS, min_size=2, max_size=4), width=st.sampled_from((80, 100, 160)))
@settings(max_examples=40, deadline=None)
def test_a_glance_never_is_wider_than_the_screen_nor_taller_than_two_lines_a_row(rows, width):
    """Entries of words: with the first two columns at the least."""
    header = ("first", "second", "third", "fourth", "fifth")
    words = [[" ".join(entry.replace("/", " ").replace("|", " ").split()[:6]) or "-" for entry in row] for row in rows]
    text = glance_text(Glance("So.", table_of(header, words)), Screen(width))
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    body = lines[2 : lines.index("", 2)]
    said = sum(line.startswith(("in every row", "not shown", "  ")) for line in body)
    assert len(body) - said <= 3 + 2 * len(rows)


def test_a_long_table_says_how_many_rows_are_left_out():
    """At a glance the first forty are enough."""
    text = glance_text(Glance("So.", table_of(("n",), [(i,) for i in range(ROWS + 5)])), Screen(80))
    assert "not shown: 5 more rows" in text


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, tty) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


def test_a_pipe_has_no_width_and_a_dumb_terminal_no_styles(monkeypatch):
    """Even where COLUMNS and FORCE_COLOR are set, as many CI systems do."""
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert screen_of(Stream(tty=False)) == Screen(None, styled=False)
    assert screen_of(Stream(tty=True)) == Screen(70, styled=True)
    monkeypatch.setenv("TERM", "dumb")
    assert screen_of(Stream(tty=True)) == Screen(70, styled=False)


def test_styles_are_no_colours():
    """Bold, dim and underlined only, so that NO_COLOR asks for nothing more."""
    text = terminal(every_block("a"), Screen(80, styled=True))
    assert set(STYLES.findall(text)) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[4m", "\x1b[1;4m"} != set()


def test_a_column_of_values_is_aligned_as_the_verbs_do_it():
    """Progress on standard error has columns without a document."""
    assert aligned(["cell", "n"], [["a", 1], ["bb", 22]]) == "cell   n\na      1\nbb    22"


# ---- names


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_no_text_of_any_block_commands_a_terminal_or_becomes_markup(name):
    """In all formats that are written from blocks."""
    found = every_block(name)
    texts = {n: WRITERS[n](found) for n in ("terminal", "md", "latex", "html")}
    for path in (*LIBRARIES, SCRIPT):
        texts["html"] = texts["html"].replace(script(path), "")
    assert all(commands(text) == set() for text in texts.values())
    assert commands(STYLES.sub("", terminal(found, Screen(80, styled=True)))) == set()
    page = Page(texts["html"])
    assert page.unclosed == []
    assert page.all("b") == []
    assert name in json.loads(page.all("script", id="data")[0]["text"])[0] or not name.isprintable()
    ids = [e["id"] for e in page.found if "id" in e]
    assert len(ids) == len(set(ids))
    body = texts["latex"].replace(HEAD, "")
    assert body.count("\\begin{") == body.count("\\end{")
    assert "\\input" not in body


# ---- formats


def test_each_format_has_the_texts_and_leaves_out_what_it_does_without():
    """A block can be for some formats only."""
    found = document(Lines(("for pages",), without=("terminal",)), Lines(("for people",), without=PAGES), WIDE)
    for name in ("terminal", "md", "latex", "html"):
        text = WRITERS[name](found)
        assert ("for pages" in text, "for people" in text) == (name != "terminal", name == "terminal")
        assert "[16.01, 16.50]" in text


def test_markdown_has_a_heading_a_table_and_a_list_of_advice():
    """Blank lines between blocks, none between items; words of code stay code."""
    table = Table("t", "", ("a", "b"), ((TableCell("1", alert=True), TableCell("2")),))
    advice = Advice("error L1 x", ("here", "there"), "why `a_b` matters", "do")
    assert markdown(document(table, advice, advice)) == (
        "# Title\n\n| a | b |\n| --- | --- |\n| **1** | 2 |\n\n"
        + 2 * "- **error L1 x**: why `a_b` matters. *Do:* do.\n  - here\n  - there\n"
    )


def test_latex_has_the_lines_beside_the_tables():
    """Small paragraphs, escaped; the title of the document stands in the caption of a table without one."""
    drawn = Figure("f", "seen\nhere", path="figures/f.png", printed="figures/f.pdf")
    text = latex(document(Lines(("100% of a_b",), "strong"), WIDE, Advice("x", (), "see `a_b`", "do"), drawn))
    assert "\\centering\\tpofigure{figures/f.pdf}\n\\caption{seen here}\n" in text
    balanced(text)
    assert r"{\footnotesize\raggedright \textbf{100\% of a\_b}\par}" in text
    assert r"see \texttt{a\_b}. \emph{Do:} do." in text
    assert "\\caption{Title.}\n\\label{tab:Title-table}" in text


def test_a_page_links_to_its_tables_and_its_ids_are_unique():
    """Also where two tables have one name."""
    one, two = (dataclasses.replace(WIDE, title=title) for title in ("One", "Two"))
    page = Page(html_page(document(Heading("Part", "part"), one, two, Links({"other": "other"}))))
    assert [e["href"] for e in page.all("a")] == ["#main", "#part", "#part-table", "#part-table-2", "other.html"]
    assert page.unclosed == []
    assert html_page(document(WIDE)).count("<nav") == 0


def test_csv_has_values_in_full_and_the_numbers_behind_rounded_entries():
    """What a spreadsheet would run begins with an apostrophe; of several tables each line names its own."""
    rounded = Table("r", "", ("mean",), ((TableCell("0.1 [0, 1]", data={"estimate": {"value": 0.1234567890123}}),),))
    bare = table_of(("name", "n"), [("=1+1", 1 / 3), ("b", None)], "bare")
    assert csv_text(document(bare)) == "name,n\n'=1+1,0.3333333333333333\nb,\n"
    assert csv_text(document(rounded, bare)).splitlines() == [
        "table,mean,mean.estimate.value,name,n", 'r,"0.1 [0, 1]",0.1234567890123,,',
        "bare,,,'=1+1,0.3333333333333333", "bare,,,b,",
    ]  # fmt: skip
    given_lines = document(bare, records=({"b": 1}, {"a": 2}), columns=("a",))
    assert csv_text(given_lines) == "a,b\n,1\n2,\n"


def test_records_within_records_are_flat_in_csv():
    """Their names are joined by dots."""
    assert flat({"a": {"b": {"c": 1}, "d": None}, "e": ["x", "y"]}) == {"a.b.c": 1, "a.d": "", "e": "x; y"}


# ---- every verb


@pytest.fixture
def stored(tmp_path):
    """Two rules of twelve seeds, and a table of them for an audit."""
    rng = np.random.default_rng(3)
    values = {rule: rng.normal(0.3, 0.05, 12) for rule in "ab"}
    write(tmp_path / "one", *(record(s, "ok", float(e), changes={"algorithm": rule}, provenance={"seed_scheme": "s"})
                              for rule, own in values.items() for s, e in enumerate(own)))  # fmt: skip
    lines = [f"{rule},t,{s},{e}" for rule, own in values.items() for s, e in enumerate(own)]
    (tmp_path / "x.csv").write_text("\n".join(["algorithm,task,seed,error", *lines]) + "\n", encoding="utf-8")


VERBS = {
    "status": ("status", "one"),
    "compare": ("compare", "a", "b", "--in", "one"),
    "power": ("power", "one", "--algos", "a"),
    "lint": ("lint", "one"),
    "audit": ("audit", "x.csv", "--lower"),
    "list": ("list", "algorithms"),
    "show": ("show", "suite", "sparse"),
    "plan": ("plan", "--suite", "bandit"),
    "data": ("data", "list"),
    "doctor": ("doctor",),
    "reproduce": ("reproduce", "fig9", "--list"),
    "check": ("check", "one", "--baseline", "base.jsonl", "--no-run"),
}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_prints_a_table_answers_in_every_format(command_line, tmp_path, monkeypatch, verb):
    """Each is what it claims to be; the terminal's is the default, and --json is the last."""
    machine = [Section("cores", "2", {"cores": 2}, (Problem("optional", "none", "buy"),))]
    monkeypatch.setattr("tpobench.execution.doctor.examine", lambda *_: machine)
    if verb == "check":
        write(tmp_path / "old", *(record(s, "ok", 0.3 + s / 100, changes={"algorithm": "a"}) for s in range(12)))
        assert command_line("baseline", "update", "base.jsonl", "old", "--reason", "first")[0] == 0
    texts, codes = {}, set()
    for name in FORMATS:
        code, texts[name], _ = command_line(*VERBS[verb], "--format", name)
        codes.add(code)
    assert len(codes) == 1
    assert codes <= {0, 3, 4, 7} | ({1} if verb == "check" else set())
    assert texts["md"].startswith("# ")
    assert texts["latex"].startswith(HEAD)
    assert Page(texts["html"]).unclosed == []
    rows = list(csv.reader(io.StringIO(texts["csv"])))
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 1
    assert isinstance(json.loads(texts["json"]), dict)
    assert texts["json"].isascii()
    assert "\x1b" not in "".join(texts.values())
    if verb == "audit":  # Markdown unless told otherwise
        assert command_line(*VERBS[verb])[1] == texts["md"]
    else:
        assert command_line(*VERBS[verb])[1] == texts["terminal"]
        assert command_line(*VERBS[verb], "--json")[1] == texts["json"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("status", "one", "--format", "pdf"), "unknown format 'pdf'; valid: csv, html, json, latex, md, terminal"),
        (("status", "one", "--format", "csv", "--json"), "--json and --format csv cannot both hold; leave one"),
        (("report", "one", "--format", "terminal,md"), "--format terminal writes no files: give it alone"),
        (("audit", "x.csv", "--format", "terminal", "--out", "o"), "--format terminal is no file"),
        (("reproduce", "fig9", "--list", "--format", "md,csv"), "--list answers in one format; leave out csv"),
    ],
)
def test_a_format_that_cannot_be_is_one_line(command_line, words, said):
    """What, where, what would work."""
    code, out, err = command_line(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.usefixtures("stored")
def test_a_report_on_the_terminal_writes_no_files(command_line, tmp_path):
    """Its tables, with stars for the best group, and nothing below report/."""
    code, out, err = command_line("report", "one", "--format", "terminal")
    assert (code, err) == (0, "")
    assert "*: the best and every algorithm not distinguishable from it" in out
    assert "Pairwise tests" in out
    assert not (tmp_path / "report").exists()


@pytest.fixture
def people(monkeypatch):
    """Standard output is a terminal of 100 columns, without styles."""
    for module in ("base", "stored", "inspect"):
        monkeypatch.setattr(f"tpobench.cli.{module}.on_pipe", lambda: False)
    monkeypatch.setattr("tpobench.tables.terminal.screen_of", lambda _: Screen(100))


GLANCES = {
    "compare": "A (a) cannot be told from B (b) (final1, lower is better).",
    "power": "The least differences that 12 seeds find reach 12 (error in %: ",
    "lint": "Nothing that misleads: 2 notes in 24 runs of 1 result set.",
    "audit": "t: ",
    "list": "{algorithms} algorithms.",
    "plan": "400 runs to do, 0 done before: CPU time",
    "check": "CHANGED WITHIN NOISE: 2 cells compared",
    "report": "",
}


@pytest.mark.usefixtures("stored", "people")
@pytest.mark.parametrize("verb", GLANCES)
def test_people_see_the_outcome_and_programs_everything(command_line, tmp_path, monkeypatch, verb):
    """On a terminal the verdict comes first and fits; --full has what a pipe has."""
    if verb == "check":
        write(tmp_path / "old", *(record(s, "ok", 0.3 + s / 100, changes={"algorithm": "a"}) for s in range(12)))
        assert command_line("baseline", "update", "base.jsonl", "old", "--reason", "first")[0] == 0
    words = VERBS.get(verb, ("report", "one", "--figures", "none"))
    _, seen, _ = command_line(*words)
    _, full, _ = command_line(*words, "--full")
    assert max(map(cell_len, seen.splitlines())) <= 100
    assert seen.splitlines()[-1] == "everything: the same with --full"
    assert "the same with --full" not in full
    assert seen.startswith(GLANCES[verb].format(algorithms=len(ALGORITHMS)))  # other tests register some
    if verb == "report":
        assert "wrote report/one/report.md" in seen
    for module in ("base", "stored", "inspect"):
        monkeypatch.setattr(f"tpobench.cli.{module}.on_pipe", lambda: True)
    assert "the same with --full" not in command_line(*words)[1]


def test_numbers_are_made_for_the_formats_that_write_them_alone():
    """CSV and JSON have the rows and the data of a document that a page never asks for."""
    made = []
    document = Document(
        "x", (), Deferred(lambda: {"a": made.append("json") or 1}), lambda: [{"b": made.append("csv") or 2}]
    )
    assert WRITERS["md"](document) == "# x\n"
    assert made == []
    assert (json.loads(WRITERS["json"](document)), WRITERS["csv"](document)) == ({"a": 1}, "b\n2\n")
    assert made == ["json", "csv"]
