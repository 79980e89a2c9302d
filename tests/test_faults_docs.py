"""The table of faults names tests that exist, and every fault test is in it."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
NAMED = set(re.findall(r"`(test_\w+)`", (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")))


def names_in(pattern):
    """Names of the test functions in the files of that name."""
    for path in TESTS.glob(pattern):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node.name


def test_every_test_named_in_the_table_exists():
    """A fault without its test is a promise."""
    assert len(NAMED) > 40
    assert NAMED - set(names_in("test_*.py")) == set()


def test_every_fault_test_is_in_the_table():
    """A test of a fault that nobody can read about helps its author only."""
    kinds = ("commands", "files", "names", "runs", "stop", "store")
    own = {name for kind in kinds for name in names_in(f"test_faults_{kind}.py")}
    assert own - NAMED == {"test_a_traceback_is_kept_and_is_no_part_of_the_payload"}
