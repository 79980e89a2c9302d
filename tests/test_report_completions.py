"""What a report shows of language models: completions side by side, and what they cost."""

import re
from dataclasses import replace

import numpy as np
import pytest
from simulated import record

from tpobench.records.results import Results
from tpobench.report import make_report, render_markdown
from tpobench.report.figures import pictures_of
from tpobench.report.figures.curves import _panels
from tpobench.scores.cells import read_cells
from tpobench.scores.options import ReportOptions
from tpobench.tables.writers import WRITERS

HOSTILE = "<b>1 | 2</b>\n#### $7_& %{x}"


def said(step, question, greedy, sampled):
    """A completion in a record: what has a 7 is right."""
    rewards = {f"{way}_reward": float("7" in text) for way, text in (("greedy", greedy), ("sampled", sampled))}
    return {"step": step, "question": question, "answer": "7", "greedy": greedy, "sampled": sampled, **rewards}


def run(algorithm, seed, error, after, tokens=(0, 40, 100), **more):
    """A run of three evaluations that said `after` at its end."""
    completions = tuple(said(step, "3 + 4 =", text, "8") for step, text in ((0, "6"), (20, after)))
    made = record(algorithm, seed, error, tokens=list(tokens), informative=[0.5, 0.25, 0.0], **more)
    return replace(made, completions=completions)


@pytest.fixture
def results():
    """Three algorithms, of which grpo ends best; under seed 0 tpo kept nothing."""
    runs = [run("tpo", s, [0.9, 0.8, 0.7], HOSTILE) for s in (0, 1)]
    runs += [run("grpo", s, [0.9, 0.5, 0.3], "7", (0, 30, 60)) for s in (0, 1)]
    runs += [run("reinforce", s, [0.9, 0.6, 0.5], "5") for s in (0, 1)]
    runs[0] = replace(runs[0], completions=())
    return Results(tuple(runs))


def table_of(results):
    (section,) = make_report(results).sections
    return next(t for t in section.tables if t.name.startswith("completions"))


def test_two_algorithms_are_shown_side_by_side(results):
    """The first and the best of the others, under the first seed of both; what they start from once."""
    table = table_of(results)
    assert table.header == ("Problem", "Right answer", "Completion", "Before", "tpo, after", "grpo, after")
    assert table.title == "What is answered: sequence, seed 1"
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["3 + 4 =", "7", "greedy", "wrong: 6", "right: <b>1 | 2</b>; #### $7_& %{x}", "right: 7"],
        ["", "", "sampled", "wrong: 8", "wrong: 8", "wrong: 8"],
    ]
    assert table.rows[0][4].data == {"text": HOSTILE, "reward": 1.0}


def test_whatever_a_model_says_is_text_in_every_format(results):
    """No table, no markup, no command is made of it."""
    document = make_report(results).document()
    assert r"right: \<b>1 \| 2\</b>; #### \$7\_& %{x}" in render_markdown(results)
    page = WRITERS["html"](document)
    assert "<b>1 | 2</b>" not in page
    assert {"right: &lt;b&gt;1 | 2&lt;/b&gt;;", "#### $7_&amp; %{x}"} <= set(
        re.findall("<span[^>]*>(.*?)</span>", page)
    )
    assert r"\#\#\#\# \$7\_\& \%\{x\}" in WRITERS["latex"](document)


def test_a_line_too_long_for_a_paper_is_left_to_the_other_formats(results):
    """LaTeX would shrink the whole table for it."""
    long = run("tpo", 1, [0.9, 0.8, 0.7], "x" * 300)
    longer = Results((*results.records[:1], long, *results.records[2:]))
    assert table_of(longer).without == ("latex",)
    assert table_of(results).without == ()


def test_one_algorithm_or_none_that_kept_anything_has_no_table(results):
    """There is nothing to set side by side."""
    for kept in (results.records[1:2], [replace(r, completions=()) for r in results.records]):
        (section,) = make_report(Results(tuple(kept))).sections
        assert [t.name for t in section.tables if t.name.startswith("completions")] == []


def test_curves_over_tokens_and_informative_groups_come_first(results):
    """Where tokens are counted; x is the mean number sampled until each evaluation."""
    (cells,) = read_cells(results.records)[0].values()
    assert [p.name for p in pictures_of("s", cells, None, ())] == ["s-curves", "s-tokens", "s-informative"]
    assert len({p.name for p in pictures_of("s", cells)}) == len(pictures_of("s", cells))
    (panel,) = _panels(cells, None, "tokens")
    grpo = next(line for line in panel.lines if line.algorithm == "grpo")
    curve = panel.curve(grpo, ReportOptions())
    assert panel.x == "Tokens sampled"
    np.testing.assert_array_equal(curve.x, [0, 30, 60])
    np.testing.assert_allclose(curve.mean, [90, 50, 30])
    without = [replace(r, curve={k: v for k, v in r.curve.items() if k != "tokens"}) for r in results.records]
    (cells,) = read_cells(without)[0].values()
    assert "s-tokens" not in [p.name for p in pictures_of("s", cells)]
