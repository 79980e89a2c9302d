"""Text from elsewhere as it may stand in any output: no character that commands a terminal, hides or reorders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

# Controls, invisible characters, marks that turn the direction of writing, line separators, halves of surrogate pairs.
UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    r"""The text on one line, with `\n`, `\u001b` for what does not print: the escapes of JSON, and valid inside it."""
    return UNPRINTABLE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def brief(text: str, most: int = 80) -> str:
    """The text on one line, as a message can name it or a table hold it: cut after so many characters."""
    line = printable(text)
    return line if len(line) <= most else f"{line[:most]}…"


def first_of(names: Sequence[str], most: int, separator: str = ", ", unit: str = "") -> str:
    """`a, b, c and 2 more`: the first few, and how many are not named."""
    more = f" and {len(names) - most} more{unit}" if len(names) > most else ""
    return separator.join(names[:most]) + more


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]
