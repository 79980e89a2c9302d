"""The numbers of the TPO paper (arXiv 2604.06159) as data: printed.csv, one line per number.

place, method, quantity   where the paper has it, in its own names
printed                   the text: 6.9, >95 (no meaningful learning), - (never reached), ~90 (approximate)
suite, cell, matching, rule, statistic
                          what measures it here, at the scale of the paper
unit                      % where the text is in percent
seeds                     behind it
rounding                  half width of what the text leaves open, where that is not half a unit of its last digit
twin                      a configuration that the paper prints more than one number for
note                      a key of NOTES
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tpobench.stats.reproduction import Bound, Printed

FILE = Path(__file__).parent / "printed.csv"
NOTES: Mapping[str, str] = {
    "llm": "language models of 1.5 to 1.7 billion parameters take a GPU: tpobench run --suite gsm8k --algos tpo,grpo "
    "--device cuda, and so graph_coloring and knights_knaves; small models in other settings: docs/language.md",
    "curves": "the text has 5.3 for PG and 5.9 for GRPO, the curves of the figure end near 5.6 and 5.7",
    "labels": "the paper labels an evaluation by the first of its 200 updates; compared in updates done, 200 more",
    "label2000": "the evaluation that the paper labels 2,000 comes after 2,200 updates",
    "plot": "read from the plot",
    "decay": "the paper does not say when a norm is near zero; here: below a tenth of the peak, both of the mean curve",
    "unit": "the paper says TPO, not whether it compares sequences or tokens: sequences here; for eta = 1 it prints "
    "96 updates here, and 58 and 55 in tables 1 and 2 for TPO_token",
    "unstated": "the paper does not state length, prompts and candidates; its curve starts at 1 - 2^-5, so H = 5; "
    "its DG is as fast as ours with 256 prompts",
    "heads": "the authors' code, which made the printed numbers, has 2",
    "adam": "the authors' code, which made the printed numbers, has no weight decay and Nesterov momentum there, too",
    "falls": "far below p = 1 / lambda, 0.04 here, TPO's coefficient falls as p does, too: 0.026 at p = 0.001; at p = "
    "0.1 it is the 0.73 that the paper has",
    "baseline": "here the mean of the group is the baseline",
    "critic": "here the mean of the group stands in for the critic",
    "draws": "here the rewards of the group stand in for the critic",
    "no_kl": "without the KL to a fixed policy here",
    "snapshot": "here the KL is to the snapshot",
    "collapse": "in the paper's plot one of ten seeds fails from update 1,750 to 1,910 and recovers before the last",
}
SETTINGS: Mapping[str, Mapping[str, Any]] = {"unstated": {"training.steps": 2000}}  # by note, where a suite has others
FRACTION = re.compile(r"(exp\()?(-?\d+)/(\d+)\)?")
NUMBER = re.compile(r"([~<>]?)(-?(\d+)(?:\.(\d+))?(?:e(-?\d+))?)")


@dataclass(frozen=True)
class Number:
    """One printed number and what measures it here."""

    item: str
    section: str
    place: str
    method: str
    quantity: str
    text: str
    suite: str  # empty: computed from the algorithms, or not run
    cell: Mapping[str, Any]  # axes of the suite
    matching: str
    algorithm: str
    statistic: str  # kind, then its arguments
    printed: Printed  # in the unit of what is measured
    scale: float = 1.0  # 100 where the text is in percent
    twin: str = ""
    note: str = ""

    @property
    def kind(self) -> str:
        """`final`, `crossing`, `at`, `ratio`, `decay`, `fact`, `exact`, `setting`; empty for what is not run."""
        return self.statistic.partition(":")[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of the statistic."""
        return tuple(self.statistic.split(":")[1:])

    @property
    def measured(self) -> bool:
        """Whether training runs stand behind it."""
        return self.kind not in {"", "exact", "setting"}

    @property
    def computed(self) -> bool:
        """Whether it follows from an algorithm or from settings, without runs."""
        return self.kind in {"exact", "setting"}

    @property
    def where(self) -> str:
        """`length=7, matching=prompts`."""
        cell = {**self.cell, "matching": self.matching} if self.matching else self.cell
        return ", ".join(f"{k}={v}" for k, v in cell.items())


@lru_cache(1)
def numbers() -> tuple[Number, ...]:
    """All of them, in the order of the file."""
    return tuple(_number(row) for row in csv.DictReader(FILE.read_text(encoding="utf-8").splitlines()))


def _number(row: Mapping[str, str]) -> Number:
    scale = 100.0 if row["unit"] == "%" else 1.0
    number = Number(
        **{k: row[k] for k in ("item", "section", "place", "method", "quantity", "suite", "matching")},
        algorithm=row["rule"],
        text=row["printed"],
        statistic=row["statistic"],
        cell={k: parse_axis(v) for k, _, v in (part.partition("=") for part in row["cell"].split())},
        printed=Printed(math.nan, int(row["seeds"] or 0)),
        scale=scale,
        twin=row["twin"],
        note=row["note"],
    )
    if not number.kind or number.kind == "setting":
        return number
    value, bound, rounding = parse_printed(row["printed"], percent=scale > 1)
    if row["rounding"]:
        rounding = float(row["rounding"])
    if number.kind == "crossing":
        rounding = 0.0  # a count of updates is exact
        value += _block(number)
    return replace(number, printed=Printed(value / scale, number.printed.seeds, rounding / scale, bound))


def _block(number: Number) -> int:
    """Updates between a label of the paper and the evaluation that it labels."""
    return int(number.arguments[2]) if len(number.arguments) > 2 else 0


def parse_axis(text: str) -> int | float | str:
    """A value of an axis: 8, 0.25 or copy."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_printed(text: str, *, percent: bool = False) -> tuple[float, Bound, float]:
    """Value, bound and rounding of a text, in its own unit.

    Half a unit of the last digit is left open: of the last that is not 0 after `~`, and none by a bound, by a whole
    number that is not in percent, by a fraction and by "never" (-), which is inf.

    Raises:
        ValueError: not a number that the file may hold.
    """
    if text == "-":
        return math.inf, "", 0.0
    if match := FRACTION.fullmatch(text):
        ratio = int(match[2]) / int(match[3])
        return math.exp(ratio) if match[1] else ratio, "", 0.0
    if not (match := NUMBER.fullmatch(text)):
        msg = f"printed.csv holds '{text}', which is no number"
        raise ValueError(msg)
    sign, number, whole, decimals, _ = match.groups()
    value = float(number)
    if sign in {">", "<"}:
        return value, "above" if sign == ">" else "below", 0.0
    zeros = len(whole) - len(whole.rstrip("0")) if sign == "~" else 0
    unit = 10.0 ** (-len(decimals) if decimals else zeros)
    return value, "", 0.5 * unit if decimals or sign or percent else 0.0


def contradictions(number: Number) -> str:
    """What else the paper prints for the same configuration, empty where that is nothing or the same."""
    if not number.twin:
        return ""
    twins = {f"{n.text} ({n.place})": n for n in numbers() if n.twin == number.twin and n.kind == number.kind}
    others = [text for text, n in twins.items() if n.text != number.text]
    return f"the paper prints more than one number for this configuration, also {', '.join(others)}" if others else ""
