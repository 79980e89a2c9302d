"""The page that says when TPO helps says what the committed records say, against TPO as for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tpobench.scores.cells import Cell, arm_of_values
from tpobench.scores.reporting import Reporting

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "when_tpo_helps.md"
sys.path.insert(0, str(ROOT / "benchmarks"))

import when_tpo_helps as page  # noqa: E402 - benchmarks are no package
from documents import put_between  # noqa: E402

SEEDS = range(12)


def cell(axis: float, **losses: float) -> Cell:
    """A cell of twelve seeds, all arms moved alike by the seed and `second` a little by itself."""
    own = {n: 0.001 * (n == "grpo") for n in losses}
    values = {n: {s: at + 0.01 * s + own[n] * (s % 3) for s in SEEDS} for n, at in losses.items()}
    reporting = Reporting()
    arms = {n: arm_of_values(n, v, reporting, stream="one") for n, v in values.items()}
    return Cell("made", {"x": axis}, "", {}, reporting, arms, None)


@pytest.mark.slow
def test_the_tables_of_the_page_are_those_of_the_committed_records():
    """Made again from results/*.jsonl, nothing changes."""
    text = PAGE.read_text(encoding="utf-8")
    assert put_between(text, page.BEGIN, page.END, page.page(ROOT / "results"), name=PAGE) == text


def test_a_trend_is_the_line_through_all_values_of_an_axis():
    """TPO behind by 0, 4 and 2 points at 3 values: the line rises by (-1 * 0 + 0 * 4 + 1 * 2) / 2 a value, 2 in all.

    grpo has 0.1 point more on average, the same everywhere, so no trend of its own.
    """
    cells = [cell(1, tpo=0.2, grpo=0.2), cell(2, tpo=0.34, grpo=0.3), cell(3, tpo=0.42, grpo=0.4)]
    effect = page.trend("x", "grpo").measured(cells)
    assert effect.text.startswith("+2.0")
    assert effect.seeds == 12


def test_what_speaks_against_tpo_reads_so():
    """The same arms changed over give the same p and the opposite reading."""
    contrast = page.final("grpo", x=1)
    worse, better = (contrast.measured([cell(1, tpo=a, grpo=0.2)]) for a in (0.3, 0.1))
    assert [page.reading(contrast, e, e.p) for e in (worse, better)] == ["against TPO", "for TPO"]
    assert worse.p == better.p
    assert page.reading(contrast, worse, 0.2) == page.UNTOLD
