"""Durations and sizes as people write and read them."""

import pytest

from tpobench.errors import UsageError
from tpobench.units import duration, parse_bytes, parse_duration, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("20min", 1200), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800)],
)
def test_durations_are_read(text, seconds):
    """One unit or several."""
    assert parse_duration(text, "--time-budget") == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "0s", "5 m", "5m!", "5x", "1h 5m", "٣s", "9" * 400 + "s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    """The option, the value and what would work."""
    with pytest.raises(UsageError, match=r"--time-budget .*: write a duration such as 90s, 20m or 1h30m"):
        parse_duration(text, "--time-budget")


@pytest.mark.parametrize(
    ("text", "number"),
    [("500M", 500 * 2**20), ("4G", 2**32), ("4GB", 2**32), ("4 GiB", 2**32), ("1.5g", 3 * 2**29), ("2097152", 2**21)],
)
def test_sizes_are_read(text, number):
    """Units are powers of 1024."""
    assert parse_bytes(text, "--memory-limit") == number


@pytest.mark.parametrize("text", ["", "G", "4X", "-4G", "100", "1K", "nan", "9" * 400 + "G"])
def test_what_is_no_size_is_refused_with_an_example(text):
    """So is a limit that no process could keep."""
    with pytest.raises(UsageError, match=r"--memory-limit .*: write a size of at least 1M, such as 500M or 4G"):
        parse_bytes(text, "--memory-limit")


def test_durations_and_sizes_are_readable():
    """Seconds, minutes, hours; mebibytes and gibibytes."""
    assert [duration(s) for s in (4.21, 59.99, 200, 7500)] == ["4.2 s", "60.0 s", "3 min 20 s", "2 h 05 min"]
    assert [size(n) for n in (512 * 2**20, 3.5 * 2**30)] == ["512 MiB", "3.5 GiB"]
