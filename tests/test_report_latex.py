"""LaTeX: booktabs and nothing else, every special escaped, and it compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

from simulated import grid, record

from tpobench.records.results import Results
from tpobench.report import make_report
from tpobench.report.document import document_of
from tpobench.report.figures import pictures_of
from tpobench.report.model import Report, Section
from tpobench.scores.cells import read_cells
from tpobench.tables.latex import ROWS, latex, tex_escape
from tpobench.tables.model import Document, Figure, Table, TableCell

HOSTILE = 'a_b & 5% #1 $x$ {y} ~^\\ | < > ↓ ↑ − ≤ ≥ ± " – …'
DOCUMENT = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{report.tex}\end{document}"


def hostile():
    """A report whose every text tries to be markup, with a table longer than a page."""
    cells = (TableCell(HOSTILE, best=True, leader=True), TableCell("[0.1, 0.2]"), TableCell("["))
    table = Table("t_1", HOSTILE, (HOSTILE, "B", "C"), (cells,) * (ROWS + 1), f"{HOSTILE}\n{HOSTILE}", (HOSTILE,))
    return Report((Section("s_1@2", HOSTILE, (table,), (), (), ()),))


def balanced(text):
    """Environments and braces close, and every row has as many entries as its header."""
    for tabular in re.findall(r"\\begin\{tabular\}\{@\{\}(l+)@\{\}\}\n\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        rows = [line for line in tabular[1].splitlines() if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {len(tabular[0])}
    assert text.count("\\begin{") == text.count("\\end{") > 0
    plain = re.sub(r"\\[{}%]|%.*", "", text)
    assert plain.count("{") == plain.count("}")


def test_every_special_is_escaped():
    """Every character that LaTeX would interpret."""
    assert tex_escape("a_b & 5% #1 $x$ {y} ~^\\") == (
        r"a\_b \& 5\% \#1 \$x\$ \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert tex_escape("Error ↓ <= >2000 ± 1") == r"Error $\downarrow$ $\le$ $>$2000 $\pm$ 1"
    assert tex_escape("try --ci t") == r"try -{}-ci t"


def test_tables_are_balanced_booktabs():
    """No vertical rules, the marks as macros that authors can redefine, each signature once, at the end."""
    report = make_report(grid(["tpo", "grpo_no_kl"], lengths=(4, 8), seeds=3))
    text = latex(document_of(report))
    balanced(text)
    balanced(latex(document_of(hostile())))
    assert "|l" not in text
    assert "siunitx" not in text
    assert r"\providecommand{\tpobest}[1]{\textbf{#1}}" in text
    signatures = {line for t in report.sections[0].tables for line in t.signature.splitlines()}
    assert text.count(r"\ttfamily") == len(signatures)


def test_long_entries_and_headings_take_two_lines():
    """Marks on each line; what would be an optional argument after a line break is kept apart from it."""
    cell = TableCell("12.3 [10.1, 14.9]; 5/10 solved", best=True)
    table = Table(
        "t", "T", ("Rule", "Error (%) ↓, mean of the last 50 evaluations", "short"), ((cell, cell, cell),), ""
    )
    text = latex(document_of(Report((Section("s", "S", (table,), (), (), ()),))))
    stacked = r"\tpostack{\tpobest{12.3 [10.1, 14.9];} \\ \tpobest{5/10 solved}}"
    assert f"{stacked} & {stacked} & {stacked} \\\\" in text
    assert r"Rule & \tpostack[b]{Error (\%) $\downarrow$, \\ mean of the last 50 evaluations} & short \\" in text


def test_a_table_longer_than_a_page_becomes_several_floats():
    """The caption continues, the label stays unique."""
    text = latex(document_of(hostile()))
    assert text.count(r"\begin{table}") == 2
    assert text.count("(continued)") == 1
    assert text.count(r"\label{tab:s-1-2-t-1}") == 1


def test_many_tables_in_a_row_find_their_pages():
    """LaTeX gives up at more than 18 floats that wait for a page: after every 15 they are set."""
    table = Table("t", "T", ("A",), ((TableCell("a"),),), "")
    text = latex(document_of(Report((Section("s", "S", (table,) * 32, (), (), ()),))))
    runs = [part.count(r"\begin{table}") for part in re.split(r"(?m)^\\tpoflush$", text)]
    assert runs == [15, 15, 2]


def test_latex_compiles(tmp_path):
    """By the TeX that is here; without one, its structure is what can be checked."""
    diverged = [record("tpo", s, [0.5, None], status="diverged") for s in range(3)]
    found = make_report(Results((*diverged, *grid(["tpo", "grpo"], lengths=(4, 8), seeds=3).records)))
    both = replace(found, sections=(*found.sections, *hostile().sections))
    balanced(latex(document_of(both)))
    tex = shutil.which("tectonic") or shutil.which("pdflatex")
    if tex:
        (tmp_path / "report.tex").write_text(latex(document_of(both)), encoding="utf-8")
        (tmp_path / "main.tex").write_text(DOCUMENT, encoding="utf-8")
        options = ["-halt-on-error", "-interaction=nonstopmode"] if tex.endswith("pdflatex") else []
        done = subprocess.run([tex, *options, "main.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "main.pdf").stat().st_size > 10_000


def test_a_figure_as_wide_as_a_page_spans_both_columns():
    """`figure*`; in one column its letters would be half as high as those of the text."""
    wide, one = (latex(Document("t", (Figure("a", "b", printed="a.pdf", wide=wide),))) for wide in (True, False))
    assert r"\begin{figure*}" in wide
    assert r"\end{figure*}" in wide
    assert r"\begin{figure}" in one
    drawn = pictures_of("s", read_cells(grid(["tpo"], lengths=(4, 8), seeds=2).records)[0]["simulated"])
    assert {p.name: p.wide for p in drawn}["s-curves"]
    assert not {p.name: p.wide for p in drawn}["s-sparsity"]


def test_a_narrow_table_explains_the_columns_that_it_shows():
    """Not those for which one column of a paper has no room; what begins with no column's name stays.

    Its headings of more than fourteen letters take two lines.
    """
    notes = ("Not told from it: no test", "p0: of the untrained policy", "Ten seeds: few")
    header = ("Cell", "Not told from it", "p0")
    text = latex(Document("t", (Table("a", "t", header, ((TableCell("x"),) * 3,), notes=notes, narrow=2),)))
    assert r"Cell & \tpostack[b]{Not told \\ from it} \\" in text
    assert "Not told from it: no test" in text
    assert "Ten seeds: few" in text
    assert "untrained" not in text
