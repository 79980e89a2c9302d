"""Numbers as people write them: decimal commas, thousands, percent, and the same number spelled in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from tpobench.audit.grids import Grid, short
from tpobench.errors import UsageError

# No value at all; nan and inf are values of runs that diverged.
MISSING = {"", "na", "n/a", "#n/a", "-", "–", "—", "null", "none"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
LARGEST = 1e100  # squares of larger numbers overflow
_ANY = r"[+-]?\d*[.,]?\d+([eE][+-]?\d+)?\s*%?"
MEAN_AND_SPREAD = re.compile(
    rf"\$?\s*{_ANY}\s*(±|\+/?-|\$?\\pm\s?\$?|\()\s*{_ANY}\s*\)?\s*\$?|{_ANY}\s*[\[(]{_ANY}\s*[,;]\s*{_ANY}[\])]",
    re.ASCII,
)
SPACED = re.compile(r"([+-]?\d{1,3})(([ '’]\d{3})+)([.,]\d+)?", re.ASCII)  # thousands that no decimal mark can be
# What a number says of the mark before its decimals: both marks tell, so do several thousands, and so does a group of
# digits that no thousands can have.  D is the mark, T the other one.
_TELLING = r"[+-]?(\d{1,3}(T\d{3})+D\d*|\d{1,3}(T\d{3}){2,}|\d*D(\d{1,2}|\d{4,})|0*D\d+|\d{4,}D\d*|\d*D\d+[eE][+-]?\d+)"
POINT = re.compile(_TELLING.replace("D", r"\.").replace("T", ","), re.ASCII)
COMMA = re.compile(_TELLING.replace("T", r"\.").replace("D", ","), re.ASCII)
EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
GROUPED = {",": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?", re.ASCII),
           ".": re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?", re.ASCII)}  # fmt: skip


def exact(text: str) -> Decimal | None:
    """The number that a text is, whatever its spelling: 1, 01, +1, 1.0 and 1e0 are one; None for a word."""
    if not NUMBER.fullmatch(text):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        return None
    return number if number.is_finite() else None


@dataclass(frozen=True)
class Numbers:
    """How the numbers of one file are written."""

    mark: str = "."  # before the decimals

    def plain(self, text: str) -> str:
        """As Python spells it; without a percent sign."""
        text = text.replace("−", "-").removesuffix("%").rstrip()
        if spaced := SPACED.fullmatch(text):
            text = spaced[1] + re.sub(r"[ '’]", "", spaced[2]) + (spaced[4] or "")
        other = "," if self.mark == "." else "."
        if GROUPED[other].fullmatch(text):
            text = text.replace(other, "")
        return text.replace(",", ".") if self.mark == "," else text


def numbers_of(grid: Grid, columns: Iterable[str]) -> Numbers:
    """How the numbers in some columns are written; a comma decides decimals only where it separates no columns.

    Raises:
        UsageError: some have a decimal comma and some a point, or a comma could be either.
    """
    first: dict[str, str] = {}
    for name in columns:
        for row, cell in enumerate(grid.column(name)):
            text = cell.replace("−", "-").removesuffix("%").rstrip()
            for mark, pattern in ((".", POINT), (",", COMMA), ("?", EITHER)):
                if mark not in first and pattern.fullmatch(text):
                    first[mark] = f"'{short(cell)}' ({grid.unit} {grid.lines[row]})"
    if "." in first and "," in first and grid.separator != ",":
        msg = f"{grid.path}: {first['.']} has a decimal point and {first[',']} a decimal comma; write all in one way"
        raise UsageError(msg)
    if "." in first or (grid.separator == "," and "?" not in first):
        return Numbers()
    if "," in first and grid.separator != ",":
        return Numbers(",")
    if "?" in first and grid.separator != ";":
        msg = f"{grid.path}: {first['?']} may have a decimal comma or a thousand; write it without the comma"
        raise UsageError(msg)
    return Numbers("," if "?" in first else ".")
