"""Names that command terminals, hide, reorder or mean to be markup, in every place of a record and in every output."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from functools import lru_cache
from html.parser import HTMLParser

import pytest
import record_helpers
from simulated import REPORTING, learning_curve, np, record
from test_check_outputs import judgement, row

from tpobench.check import outputs
from tpobench.cli.base import answer, one_per_line, say, table
from tpobench.printable import printable
from tpobench.records.results import Results
from tpobench.report import make_report
from tpobench.report.document import document_of
from tpobench.report.figures import pictures_of, save
from tpobench.tables.exports import as_csv, as_json
from tpobench.tables.latex import HEAD, tex_escape
from tpobench.tables.markdown import md_code, md_escape
from tpobench.tables.page import LIBRARIES, SCRIPT, script
from tpobench.tables.terminal import terminal
from tpobench.tables.writers import WRITERS

HOSTILE = {
    "newline": "a\nb\r\nc",
    "annotation": "x\n::error title=t::injected",
    "ansi": "a\x1b[31mred\x1b[0m",
    "title": "a\x1b]0;pwned\x07b",
    "c1": "a\x9b31mb\x85c",
    "delete": "a\x7f\x08b",
    "bidi": "a\u202eb\u2066c\u2069\u200f",
    "hidden": "a\u200bb\u2060c\ufeff\xadd",
    "separators": "a\u2028b\u2029c",
    "up": "../../etc/passwd",
    "dash": "--help",
    "script": "<script>alert(1)</script>",
    "attribute": "\"' onload=alert(1) x='",
    "comment": "--><img src=x onerror=alert(1)><!--",
    "template": "{{ 7 * 7 }} {% raw %}",
    "latex": r"\input{x} {} % $ # & _ ^ ~ \\ [2pt] * \end{table}",
    "optional": "[1cm] x",
    "math": "$x_1$ and $$ and $",
    "markdown": "| `a` **b** _c_ ~~d~~ [e](http://f) ![g](h) [^1] &lt; <b>",
    "heading": "# a",
    "bullet": "- [ ] a",
    "number": "1. a",
    "fence": "~~~ a `` b",
    "formula": "=HYPERLINK(\"http://x\",\"y\")",
    "plus": "+1+cmd|' /C calc'!A0",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "underscore": "_hidden",
    "scripts": "结果 نتيجة תוצאה \N{GRINNING FACE} e\u0301",
    "long": "x" * 3000,
}  # fmt: skip
SPECIAL = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def commands(text):
    """Characters that a terminal would obey, or that nobody would see; a line feed ends a line."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}


def results(name):
    """Finished, diverged and failed runs whose rule, suite, cell, title and reason are all `name`, as far as may be."""
    rng = np.random.default_rng(0)
    reporting = REPORTING | {"title": name}
    plain = re.sub(r"[/\\:\0-\x1f]", "", name).lstrip(".")[:100] or "x"  # as the reader of records demands
    finished = [
        record(rule, seed, learning_curve(rng, 2.0, solves=True, evaluations=12), suite=plain, reporting=reporting,
               cell={plain: length, "value": name}, **{plain: [0.5] * 12})
        for rule in (name, "tpo") for seed in range(3) for length in (4, 6)
    ]  # fmt: skip
    failed = record("tpo", 9, [], suite=plain, status="failed", reason=name, cell={plain: 4, "value": name})
    return Results((*finished, failed))


@lru_cache
def written(name):
    """The six texts of a report on hostile names; its figures have a test of their own."""
    document = document_of(make_report(results(name), views=True))
    return {format_: writer(document) for format_, writer in WRITERS.items()}


# ---- terminal


@SPECIAL
def test_no_name_commands_a_terminal(capsys, name):
    """Neither in a table, nor in a line, nor in an error; a name stays on its line."""
    answer(table(["rule", "n"], [[name, 1], ["tpo", 22]]))
    answer(one_per_line([f"failed: {name}", "next"]))
    say(f"tpobench: {name}")
    out, err = capsys.readouterr()
    assert commands(out + err) == set()
    assert out.count("\n") == 5
    assert max(map(len, out.splitlines())) < 3100
    assert not re.search(r"^\s*::", out, re.MULTILINE)


@SPECIAL
def test_an_error_is_one_line_whatever_it_names(command_line, name):
    """Of a suite, a rule, a folder or a file."""
    if "\0" in name:
        return
    for words in (["plan", "--suite", name], ["plan", "--suite", "bandit", f"--algos={name}"],
                  ["plan", "--suite", "bandit", f"--set={name}=1"], ["plan", "--suite=bandit", f"--plugin={name}"],
                  ["status", "--", name], ["audit", "--", name]):  # fmt: skip
        code, out, err = command_line(*words)
        assert code in {2, 4}, (words, err)
        assert out == ""
        assert err.count("\n") == 1
        assert commands(err) == set()


@SPECIAL
def test_json_on_a_terminal_is_ascii_and_says_the_name(command_line, tmp_path, name):
    """What a script reads is the name itself, whatever the terminal can show."""
    reporting = record_helpers.REPORTING | {"title": name}
    broken = record_helpers.record(0, "failed", reason=name, reporting=reporting)
    record_helpers.write(tmp_path / "tiny", broken)
    code, out, _ = command_line("status", tmp_path / "tiny", "--json")
    assert code == 0
    assert json.loads(out)["failed"][0]["reason"] == name
    assert out.isascii()
    code, out, _ = command_line("status", tmp_path / "tiny")
    assert commands(out) == set()
    assert out.count("\n") == 6


def test_what_does_not_print_is_shown_as_json_escapes_it():
    """Visible, on one line, and still the same text inside of JSON."""
    assert (
        printable("a\x1b[31m\n\x9b\u202e\ud800\U000e0041 é 结") == r"a\u001b[31m\n\u009b\u202e\ud800\udb40\udc41 é 结"
    )
    for name in HOSTILE.values():
        assert json.loads(printable(json.dumps(name, ensure_ascii=False))) == name


# ---- Markdown


@SPECIAL
def test_a_markdown_table_stays_a_table(name):
    """Each row has the entries of its header, and nothing but the report's own marks is markup."""
    text = written(name)["md"]
    assert commands(text) == set()
    wide = 0
    for line in text.split("\n"):
        if line.startswith("|"):
            entries = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
            assert wide in {0, entries}, line
            wide = entries
        else:
            wide = 0
    tags = set(re.findall(r"(?<!\\)</?[a-zA-Z!?][^>]*>", re.sub("`.*`", "", text)))
    assert tags <= {"<ins>", "</ins>", "<details>", "<summary>", "</summary>", "</details>"}
    assert not re.search(r"(?<!\\)\]\((?!figures/)", re.sub("`.*`", "", text))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("# a", r"\# a"), ("- a", r"\- a"), ("1. a", r"1\. a"), ("> a", r"\> a"), (">2000", ">2000"), ("-0.3", "-0.3"),
        ("-", "-"), ("[0.1, 0.2]", "[0.1, 0.2]"), ("[a](b)", r"[a\](b)"), ("![a](b)", r"![a\](b)"), ("a|b", r"a\|b"),
        ("[ ] a", r"\[ ] a"), ("[^1]", r"\[^1]"), ("$x$", r"\$x\$"), ("&lt;", r"\&lt;"), ("a & b", "a & b"),
        ("~~a~~", r"\~~a\~~"), ("grpo_no_kl", "grpo_no_kl"), ("_a_", r"\_a\_"), ("<b>", r"\<b>"), ("a\nb", "a b"),
        ("\x1b[1m", r"\\u001b[1m"),
    ],
)  # fmt: skip
def test_markdown_is_escaped_where_it_would_mean_something(text, escaped):
    """And left alone where it reads as it stands."""
    assert md_escape(text) == escaped


def test_code_is_fenced_by_more_backticks_than_it_holds():
    """CommonMark 6.1: the fence is the longest run and one more; a space keeps both apart."""
    assert md_code("a") == "`a`"
    assert md_code("a `` b") == "``` a `` b ```"


# ---- HTML


class Strict(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.values = set(), set(), {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}
        for key, value in attrs:
            self.values.setdefault(key, []).append(value or "")


TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "strong", "u", "nav", "h2", "ul", "li", "a",
    "main", "section", "div", "table", "caption", "thead", "tr", "th", "tbody", "td", "span", "code",
    "details", "summary", "script", "button", "h3",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "http-equiv", "class", "href", "aria-labelledby", "aria-label", "id", "role",
    "tabindex", "scope", "type", "hidden", "data-view",
}  # fmt: skip


@SPECIAL
def test_a_page_has_the_tags_and_attributes_of_its_template_only(name):
    """No name becomes one, no address but the page's own parts and drawings, no script but the package's."""
    text = written(name)["html"]
    for path in (*LIBRARIES, SCRIPT):
        text = text.replace(f"<script>{script(path)}</script>", "<script></script>")
    page = Strict(text)
    assert text.count("<script") == 1 + len((*LIBRARIES, SCRIPT))
    assert page.tags <= TAGS
    assert page.attributes <= ATTRIBUTES
    assert commands(text) == set()
    assert all(re.fullmatch(r"#[A-Za-z0-9.-]+", address) for address in page.values["href"])
    assert "src" not in page.values
    policy = next(value for value in page.values["content"] if "default-src" in value)
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives.pop("script-src").count("'sha256-") == 3
    assert directives == {"default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'",
                          "base-uri": "'none'", "form-action": "'none'"}  # fmt: skip


# ---- LaTeX


@SPECIAL
def test_latex_is_text(name):
    """Specials are escaped, environments and braces close, and pdfTeX has a font for every character."""
    text = written(name)["latex"]
    assert commands(text) == set()
    body = text.replace(HEAD, "")
    assert body.count("\\begin{") == body.count("\\end{")
    plain = re.sub(r"\\[\\{}%&#$_]|(?<!\\)%.*", "", body)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert "\\input" not in plain
    assert not re.search(r"(?m)^[\[*]", body)
    bare = {c for c in re.sub(r"\\tpochar\{\w+\}\{.\}|(?<!\\)%.*", "", body) if not c.isascii()}
    assert all(c < "\u0180" for c in bare)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\\", r"\textbackslash{}"), ("{}", r"\{\}"), ("%", r"\%"), ("$", r"\$"), ("#", r"\#"), ("&", r"\&"),
        ("_", r"\_"), ("^", r"\textasciicircum{}"), ("~", r"\textasciitilde{}"), ("`", r"\`{}"), ("---", "-{}-{}-"),
        ("''", "'{}'"), ("[2pt]", "{}[2pt]"), ("*", "{}*"), ("a[b]*", "a[b]*"), ("\n\n\\par", r"  \textbackslash{}par"),
        ("é ß ł", "é ß ł"), ("结", r"\tpochar{7ED3}{结}"), ("e\u0301", r"e\tpochar{0301}{" + "\u0301}"),
        ("\x1b", r"\textbackslash{}u001b"), ("η", r"$\eta$"),
    ],
)  # fmt: skip
def test_every_special_of_latex_is_escaped(text, escaped):
    """And every character that pdfTeX has no font for is named, or printed where the engine has one."""
    assert tex_escape(text) == escaped


# ---- CSV and JSON


@SPECIAL
def test_csv_holds_no_formula_and_one_line_a_run(name):
    """A spreadsheet sees text, a script the same text after at most one apostrophe."""
    text = written(name)["csv"]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 13 == text.count("\n") - 1
    for entry in (*rows[0], *(value for r in rows for value in r.values())):
        assert not re.match(r"\s*[=+\-@]", entry) or _is_number(entry)
    shown = rows[-1]["reason"]
    unquoted = shown[1:] if re.match(r"'+ *[=+\-@]", shown) else shown
    assert unquoted == printable(name)
    assert all(0 <= float(r["final"]) <= 1 for r in rows[:-1]) if "final" in rows[0] else True


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_numbers_in_csv_stay_numbers():
    """Signs and exponents are no formulas; what only begins like a number is text."""
    written = as_csv(["a", "b"], [{"a": -1.5, "b": "-1.5e-3"}, {"a": "-", "b": "-1+2"}, {"a": "'=x", "b": "+1"}])
    assert written == "a,b\n-1.5,-1.5e-3\n-,'-1+2\n''=x,+1\n"


@SPECIAL
def test_json_holds_every_name_as_it_is(name):
    """Nothing is lost where everything is promised."""
    content = json.loads(written(name)["json"])
    assert content["suites"][0]["title"] == name
    assert {name, "tpo"} == {r["algorithm"] for r in content["runs"]}
    assert content["runs"][-1]["reason"] == name


def test_half_a_character_is_written_as_its_escape():
    """A file's name that is no text comes to Python as such halves, which UTF-8 cannot hold."""
    text = as_json({"file": "a\udcff"})
    assert json.loads(text.encode("utf-8")) == {"file": "a\udcff"}


# ---- figures


@SPECIAL
def test_figures_draw_any_name(name):
    """No name is a formula or a path, none is missing from a legend, and the drawing is valid XML."""
    read = results(name)
    from tpobench.scores.cells import read_cells

    suites, _ = read_cells(read.records)
    ((suite, cells),) = suites.items()
    pictures = pictures_of(suite, cells)
    stems = [p.name for p in pictures]
    assert len(set(stems)) == len(stems)
    for stem in stems:
        assert re.fullmatch(r"[A-Za-z0-9_@+=][A-Za-z0-9._@+=-]{0,199}", stem), stem
    first = pictures[0]
    labels = {t.get_text() for legend in first.figure.legends for t in legend.get_texts()}
    labels |= {a.get_text() for ax in first.figure.axes for a in ax.texts}
    assert len(labels) == 2
    root = ET.fromstring(save(first, "svg"))  # noqa: S314 - our own drawing
    assert root.tag.endswith("svg")


# ---- check


@SPECIAL
def test_check_reports_are_what_they_say(name):
    """JUnit is XML, an annotation one command, a summary's table a table."""
    found = judgement(row(name, "regressed", reason=name), row("tpo", "ok"), notes=(name,))
    root = ET.fromstring(outputs.junit(found))  # noqa: S314 - our own
    assert commands(root.find(".//failure").attrib["message"]) == set()
    ET.fromstring(outputs.junit_of_error(name, "UsageError"))  # noqa: S314 - our own
    (line,) = outputs.github_commands(found)
    assert line.startswith("::error title=")
    assert commands(line) | {c for c in line if c == "\n"} == set()
    assert commands(terminal(outputs.document_of(found))) == set()
    assert not re.search(r"(?m)^\s*::", terminal(outputs.document_of(found)))
    summary = outputs.summary(found)
    assert commands(summary) == set()
    bars = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in summary.split("\n") if line.startswith("|")}
    assert len(bars) == 1
    json.loads(json.dumps(outputs.as_json(found)))


# ---- audit


@SPECIAL
def test_an_audit_shows_any_name(command_line, tmp_path, name):
    """Algorithms, tasks and seeds of a table from anywhere, on the terminal and in files."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["algorithm", "task", "seed", "value"])
    writer.writerows([a, name, f"{name}{s}", 0.1 * s + (a == "b")] for a in (name, "b") for s in range(5))
    (tmp_path / "t.csv").write_text(out.getvalue(), encoding="utf-8", newline="")
    code, text, err = command_line("audit", "t.csv", "--higher")
    assert code in {0, 3}, err
    assert commands(text + err) == set()
    for line in text.split("\n"):
        assert not re.match(r"\s*::", line)
    code, text, err = command_line("audit", "t.csv", "--higher", "--format", "md,json", "--out", "out")
    assert code in {0, 3}, err
    names = {r["algorithm"] for r in json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))["runs"]}
    assert names == {" ".join(name.split()), "b"}
    assert commands((tmp_path / "out" / "audit.md").read_text(encoding="utf-8")) == set()


# ---- the gate


@SPECIAL
def test_a_plugin_cannot_register_such_a_name(command_line, tmp_path, name):
    """An algorithm is named as a suite could name it; one line says how."""
    text = "from tpobench import ALGORITHMS, register\nfrom dataclasses import replace\n"
    path = tmp_path / "rule.py"
    path.write_text(f"{text}register(replace(ALGORITHMS['tpo'], name={name!a}))\n", encoding="utf-8")
    code, out, err = command_line("plan", "--suite", "bandit", "--plugin", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "rule.py: an algorithm's name: 'name' holds '" in err
    assert err.endswith("names are a-z, 0-9, _ and -, at most 64 characters\n")
    assert commands(err) == set()
