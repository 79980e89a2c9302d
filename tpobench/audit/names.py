"""When two spellings are one name: of a seed for sure, of a task or an algorithm by the look of it."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from tpobench.audit.numbers import exact

SEED_WORD = r"(?:seed|run|trial|fold|replicate|rep|s|r)"
SEED = re.compile(rf"{SEED_WORD}?[ _-]?(\d{{1,18}})", re.IGNORECASE | re.ASCII)
WHOLE = re.compile(r"(\d+)\.0+", re.ASCII)
DASHES = dict.fromkeys(map(ord, "‐‑‒–—−"), "-")
WITHIN = re.compile(r"(?<=[^\W_])([-_ ])\1*(?=[^\W_])")  # a separator within a name, not a sign before a number


def seed_key(text: str) -> Decimal | str:
    """What is equal for two spellings of one seed: 1, 01, 1.0, 1e0, seed_1; a word is its letters."""
    text = unicodedata.normalize("NFKC", text)
    number = exact(text)
    if number is None and (numbered := SEED.fullmatch(text)):
        return Decimal(numbered[1])
    return text if number is None else number


def first_spelling(text: str, known: dict[str, str]) -> str:
    """2 and 2.0 are one name, by the spelling that `known` met first."""
    return known.setdefault(whole(text), text)


def whole(text: str) -> str:
    """2 for 2.0, as tables turn whole numbers into decimal ones where a value is missing."""
    number = WHOLE.fullmatch(text)
    return number[1] if number else text


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ in case, in `-`, `_` and space, in Unicode form, or in the spelling of a number."""
    groups: dict[Decimal | str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[_look(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _look(name: str) -> Decimal | str:
    text = unicodedata.normalize("NFKC", name).translate(DASHES).casefold()
    text = unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    number = exact(text)
    return WITHIN.sub(_between, text) if number is None else number


def _between(separator: re.Match[str]) -> str:
    """Nothing between letters; between two digits a separator tells 1-1 from 11."""
    before, after = separator.string[separator.start() - 1], separator.string[separator.end()]
    return "-" if before.isdigit() and after.isdigit() else ""
