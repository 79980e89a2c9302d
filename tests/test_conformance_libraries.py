"""TRL's, verl's and OpenRLHF's own functions, where they are installed: what docs/conformance.md prints of them."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from conformance_libraries import CHECKS, MARK, held  # noqa: E402 - benchmarks are no package

TABLE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8").partition(MARK)[2].splitlines()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE if line.startswith("| ")][1:]


def test_the_table_has_a_row_for_every_check():
    """In the order of the checks, with the outcome that is expected of each."""
    assert [row[:2] + row[3:4] for row in ROWS] == [[c.library, c.what, c.outcome] for c in CHECKS]


@pytest.mark.parametrize("i", range(len(CHECKS)), ids=[f"{c.library}-{c.what}" for c in CHECKS])
@pytest.mark.filterwarnings("default")
def test_a_library_computes_what_the_table_says(i):
    """Its outcome against the algorithm, and what it is identified as."""
    check, row = CHECKS[i], ROWS[i]
    pytest.importorskip(check.library)
    findings, identity = held(check)
    assert findings.outcome == row[3]
    assert row[5].startswith(identity.headline.removeprefix("IDENTIFIED: ").partition("; ")[0])
