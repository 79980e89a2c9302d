"""What is computed again against what is committed, possibly made on another processor."""

import math
import re

# Sums differ in their last bits from processor to processor; nothing that is committed depends on more than those.
RELATIVE = 1e-9
NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|[-+−]?\.\d+")


def differences(found, committed, where="$"):
    """Each place that differs by more than `RELATIVE`, in texts by more than the last digit of a number."""
    if isinstance(found, dict) and isinstance(committed, dict):
        for key in found.keys() | committed.keys():
            if key in found and key in committed:
                yield from differences(found[key], committed[key], f"{where}.{key}")
            else:
                yield f"{where}: only one has {key}"
    elif isinstance(found, list) and isinstance(committed, list) and len(found) == len(committed):
        for i, pair in enumerate(zip(found, committed, strict=True)):
            yield from differences(*pair, f"{where}[{i}]")
    elif isinstance(found, str) and isinstance(committed, str):
        if not _same_text(found, committed):
            yield f"{where}: {found!r} is not {committed!r}"
    elif isinstance(found, float) and isinstance(committed, int | float):
        if not math.isclose(found, committed, rel_tol=RELATIVE, abs_tol=1e-12):
            yield f"{where}: {found} is not {committed}"
    elif found != committed:
        yield f"{where}: {found!r} is not {committed!r}"


def _same_text(found, committed):
    """Equal but for the last digit of each number."""
    if NUMBER.split(found) != NUMBER.split(committed):
        return False
    pairs = zip(NUMBER.findall(found), NUMBER.findall(committed), strict=True)
    return all(abs(_value(a) - _value(b)) <= 1.001 * max(_last_digit(a), _last_digit(b)) for a, b in pairs if a != b)


def _value(number):
    return float(number.replace("−", "-"))


def _last_digit(number):
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])) if "." in mantissa or exponent else 0.0
