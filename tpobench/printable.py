"""Text from elsewhere as it may stand in any output: no character that commands a terminal, hides or reorders."""

from __future__ import annotations

import json
import re

from tpobench.errors import UsageError

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


def shortened(text: str, longest: int) -> str:
    """The text, cut where it is longer than that."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def require_text(text: str, what: str) -> str:
    """The text, where a file can hold it.

    Raises:
        UsageError: a word of the command line whose bytes are no text in this locale.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} is no text in this locale; write it in UTF-8 and set LC_ALL=C.UTF-8"
        raise UsageError(msg) from error
    return text


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]
