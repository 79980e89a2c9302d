"""Which completions are right, by each grader."""

import pytest

from tpobench.errors import UsageError
from tpobench.tasks.catalog import task_settings
from tpobench.tasks.graders import GRADERS, is_right

# completion, gold, and the verdicts strict, flexible, verl-strict, lm-eval-strict, lm-eval-flexible
TRICKY = [
    ("6 * 7 = <<6*7=42>>42.\n#### 42", "42", "11111"),
    ("#### 1,234", "1,234", "11111"),
    ("#### $42", "42", "11001"),
    ("#### 42.00", "42", "11000"),
    ("#### 42.", "42", "11011"),
    ("#### -5", "-5", "11111"),
    ("#### −5", "-5", "11000"),
    ("####42", "42", "11001"),
    ("#### **42**", "42", "11001"),
    ("#### 42 apples", "42", "11111"),
    ("#### 3.5", "3", "00000"),
    ("#### 7\n#### 42", "42", "11101"),
    ("#### 42\nQuestion: how many?\n#### 3", "42", "00010"),
    ("The answer is 42.", "42", "01001"),
    ("The answer is $1,042.", "1042", "01001"),
    (r"\boxed{42}", "42", "01001"),
    (r"\boxed{42\text{ km}}", "42", "01001"),
    (r"\boxed{\$1,042}", "1042", "01001"),
    ("It costs 5.00 dollars", "5", "01000"),
    ("The answer is 12-7=5", "5", "00001"),
    ("#### 4", "42", "00000"),
    ("no number", "42", "00000"),
    ("", "42", "00000"),
    ("#### 42\n" + "x" * 301, "42", "11011"),
]
MALFORMED = ["####", "#### ", "#### ,", "#### -", "#### $.", "#### .", "....", "$$", ",,,", r"\boxed{", "answer is",
             "#### ٤٢", "\x00#### \ud800", "#### 1e400", "#### nan", "#### " + "-" * 10**4]  # fmt: skip


@pytest.mark.parametrize(("completion", "gold", "verdicts"), TRICKY, ids=range(len(TRICKY)))
def test_tricky_completions_are_judged_as_each_grader_does(completion, gold, verdicts):
    """Those of other projects as their own functions judge them (verl 0.9.1, lm-evaluation-harness 0.4.13)."""
    assert "".join(str(int(is_right(completion, gold, grader))) for grader in GRADERS) == verdicts


@pytest.mark.parametrize("grader", GRADERS)
def test_what_is_no_number_is_wrong_and_no_error(grader):
    """Marks without a number, digits of other scripts, bytes that are no text."""
    assert [text for text in MALFORMED if is_right(text, "42", grader)] == []
    assert not is_right("#### " + "9" * 10**4, "42", grader)


def test_an_unknown_grader_is_one_line():
    """What would be valid."""
    with pytest.raises(UsageError, match=r"task\.grader must be one of strict, flexible, verl-strict"):
        task_settings({"kind": "tiny_math", "grader": "lenient"})
