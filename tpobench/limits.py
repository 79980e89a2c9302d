"""What a file, an option and a setting may hold: bounds of numbers, declared at their field, and of whole documents."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import orjson

LARGEST = 1e35  # of a measured number: what a float32 holds, a thousandfold too
LONGEST = 10_000  # characters of a text
DEEPEST = 16  # tables and lists within each other
BITS = 64  # of an integer, as TOML has it
MAX_BYTES = 1_000_000  # of a file that holds settings


@dataclass(frozen=True)
class Within:
    """The numbers that a setting takes, both ends included: `steps: Annotated[int, Within(1, 10**8)]`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"at least {_named(self.low)} and at most {_named(self.high)}"

    def holds(self, value: Any) -> bool:
        """Whether a number, or every number of a tuple, is one of them."""
        return all(self.low <= v <= self.high for v in (value if isinstance(value, tuple) else (value,)))


def _named(end: float) -> str:
    return f"{end:,}" if isinstance(end, int) else f"{end:g}"


NUMBER = Within(-1e15, 1e15)  # of a setting that nothing else bounds
Number = Annotated[float, NUMBER]


@lru_cache
def field_types(settings: type) -> dict[str, Any]:
    """The type of every field of a settings class."""
    hints = get_type_hints(settings)
    return {f.name: hints[f.name] for f in dataclasses.fields(settings)}


@lru_cache
def bounds_of(settings: type) -> tuple[tuple[str, Within], ...]:
    """The bounds that the fields of a settings class declare, by their names."""
    hints = get_type_hints(settings, include_extras=True)
    fields = [f.name for f in dataclasses.fields(settings)]
    return tuple((n, b) for n in fields for b in getattr(hints[n], "__metadata__", ()) if isinstance(b, Within))


def require_within(settings: Any) -> None:
    """Every number of a settings class lies within the bounds that its field declares, or is off (a neutral default).

    Raises:
        ValueError: one does not.
    """
    cls: Any = type(settings)  # which a type checker takes for unhashable
    for name, bounds in bounds_of(cls):
        value, field = getattr(settings, name), cls.__dataclass_fields__[name]
        off = bool(field.metadata.get("neutral")) and value == field.default
        if not off and not bounds.holds(value):
            msg = f"{name} must be {bounds}"
            raise ValueError(msg)


def load_toml(text: str) -> dict[str, Any]:
    """The tables in `text`.

    Raises:
        ValueError: not TOML, or beyond the limits.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError:
        _too_deep()
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's own limit of digits
        _too_long()
    require_plain(document)
    return document


def load_json(text: str) -> Any:
    """The value in `text`; nan and infinity are Python's, not JSON's.

    Raises:
        ValueError: not JSON, or beyond the limits.
    """
    document = parse_json(text)
    require_plain(document)
    return document


def parse_json(text: str) -> Any:
    """`load_json` for long lists of numbers: what is read is yet to be checked.

    Raises:
        ValueError: not JSON.
    """
    try:
        if _read_alike(text):
            return orjson.loads(text)
    except ValueError:  # what it refuses, `json` may take, and says what is wrong
        pass
    try:
        return _DECODER.decode(text)
    except RecursionError:
        _too_deep()
    except json.JSONDecodeError:
        raise
    except ValueError:  # as above
        _too_long()


def _read_alike(text: str) -> bool:
    """Whether orjson reads what `json` would: of integers beyond 64 bits it makes floats, and it goes deeper."""
    encoded = text.encode()
    numbers = encoded.translate(_TO_ZERO, _OPENINGS)
    return _LONG not in numbers and len(encoded) - len(numbers) < _DEEP


_LONG, _TO_ZERO, _OPENINGS = b"0" * 19, bytes.maketrans(b"123456789", b"000000000"), b"[{"
_DEEP = 500  # within each other, `json` takes them wherever it is called


def _refuse(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is no number", constant, 0)


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _too_deep() -> NoReturn:
    msg = f"more than {DEEPEST} tables and lists within each other"
    raise ValueError(msg)


def _too_long() -> NoReturn:
    msg = f"an integer of more than {BITS} bits"
    raise ValueError(msg)


def require_plain(value: Any) -> None:
    """Numbers, texts, tables and lists of a size that everything else can take.

    Raises:
        ValueError: naming the limit.
    """
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    _too_deep()


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, str) and len(value) > LONGEST:
        msg = f"a text of {len(value):,} characters, at most {LONGEST:,}"
        raise ValueError(msg)
    elif isinstance(value, int) and value.bit_length() > BITS:
        _too_long()


def read_settings(path: Path) -> str:
    """The text of a file that people write.

    Raises:
        OSError: it cannot be read.
        ValueError: too large, or not UTF-8.
    """
    if path.stat().st_size > MAX_BYTES:
        msg = "larger than 1 MB; such a file holds settings, not data"
        raise ValueError(msg)
    return path.read_text(encoding="utf-8")


def toml_fault(error: OSError | ValueError) -> str:
    """Why a file of settings cannot be taken: it is not there, it is no file, no text, or no TOML."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if isinstance(error, UnicodeDecodeError):
        return "not readable as TOML: no text in UTF-8"
    return f"not readable as TOML: {error}"
