"""The comparison with committed files: what it lets pass and what it names."""

import pytest
from golden import differences


@pytest.mark.parametrize(
    ("found", "committed"),
    [
        ({"a": [1, 6.000000000000003]}, {"a": [1, 6.0]}),
        (6.0000000001, 6),
        (0.0, 1e-15),
        ("0.59 [0.50, 0.69] | .02 | 1.9e-06 | 10", "0.59 [0.50, 0.70] | .02 | 2.0e-06 | 10"),
        ("−0.47 of 3", "−0.48 of 3"),
        (None, None),
    ],
)  # fmt: skip
def test_what_a_processor_may_change_is_no_difference(found, committed):
    """Last bits of a number (a part in 1e9), and in print the last digit that they round to."""
    assert list(differences(found, committed)) == []


@pytest.mark.parametrize(
    ("found", "committed"),
    [
        ({"a": [1, 6.00001]}, {"a": [1, 6.0]}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": None}),
        ([1.0], [1.0, 2.0]),
        ("0.59", "0.61"),
        ("10 seeds", "11 seeds"),
        ("better", "worse"),
        ("0.5 better", "0.5 worse"),
        ("-0.01", "+0.01"),
        (True, 1.5),
        (None, 0.0),
    ],
)  # fmt: skip
def test_anything_else_is_named(found, committed):
    """Other numbers, counts, words, keys and lengths."""
    assert len(list(differences(found, committed))) == 1
