"""Durations and sizes as people write and read them."""

from __future__ import annotations

import re

from tpobench.errors import UsageError
from tpobench.printable import brief

SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_duration(text: str, where: str) -> float:
    """Seconds in `90s`, `20m`, `1h30m` or `2d`.

    Raises:
        UsageError: anything else, or nothing.
    """
    parts = re.findall(r"(\d{1,12}(?:\.\d{1,12})?)(min|s|m|h|d)", text, re.ASCII)
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        msg = f"{where} {brief(text)}: write a duration such as 90s, 20m or 1h30m"
        raise UsageError(msg)
    return seconds


def parse_bytes(text: str, where: str) -> int:
    """Bytes in `500M`, `4G`, `4GB` or `4GiB`; units are powers of 1024.

    Raises:
        UsageError: anything else, or less than a megabyte.
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?) ?([KMGT]?)(?:i?B)?", text, re.ASCII | re.IGNORECASE)
    size = int(float(match[1]) * BYTES[match[2].upper()]) if match else 0
    if size < BYTES["M"]:
        msg = f"{where} {brief(text)}: write a size of at least 1M, such as 500M or 4G"
        raise UsageError(msg)
    return size


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(number: float) -> str:
    """`512 MiB`, `3.5 GiB`."""
    return f"{number / 2**20:.0f} MiB" if number < 2**30 else f"{number / 2**30:.1f} GiB"
