"""JSON is read by one parser or the other with one meaning: what is taken, what is refused, and each digit."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpobench.limits import _DECODER, parse_json


def read(parse, text):
    """The value with its types and signs, or what is said against it."""
    try:
        return repr(parse(text))
    except RecursionError:
        return "more than 16 tables and lists within each other"
    except json.JSONDecodeError as error:
        return str(error)
    except ValueError as error:
        return "an integer of more than 64 bits" if "digits" in str(error) else str(error)


TEXTS = [
    "18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "1" * 30,
    "1" * 5000, "[1e400, -1e400, 1e-400]", "[-0, -0.0, 0e0]", "[0.1234567890123456789, 12345678901234567890.5]",
    "NaN", "[-Infinity]", '"\\ud800"', '"\ud800"', '"\\ud83d\\ude00"', '"\\u0000\x7f"', '"\t"', '{"a":1,"b":2,"a":3}',
    "[" * 700 + "]" * 700, "[" * 990 + "]" * 990, "[" * 1020 + "]" * 1020, "[" * 10**5, "", " 1 ", "1 2", "[1,]",
    "{1:2}", "01", "1.", ".5", "1e", "tru", "\ufeff1", "[1]\x0c",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_what_parsers_disagree_about_is_as_in_json(text):
    """Large integers, halves of pairs, depth, and what is no JSON."""
    assert read(parse_json, text) == read(_DECODER.decode, text)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(VALUES, st.booleans())
def test_every_value_is_read_as_it_was_written(value, ascii_only):
    """To the last digit."""
    assert repr(parse_json(json.dumps(value, ensure_ascii=ascii_only))) == repr(value)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_every_number_is_that_of_json(text):
    """However many digits it has."""
    assert read(parse_json, text) == read(_DECODER.decode, text)
