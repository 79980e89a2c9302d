"""Words and numbers of a scorecard, rounded for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tpobench.paper.claim_verdicts import ClaimComparison
from tpobench.paper.mechanism import BINS
from tpobench.paper.number_verdicts import MeasuredNumber
from tpobench.scores.text import difference_text, share_text
from tpobench.stats.censored import step_text
from tpobench.stats.estimate import Estimate
from tpobench.stats.texts import decimals, p_text

STEPS = ("crossing", "decay")
PLAIN = {
    "final": "last {}", "crossing": "updates to {} < {}", "at": "{} at update {}", "ratio": "{} / {}", "fact": "{}",
    "decay": "updates to {} < {} x peak",
}  # fmt: skip
EXACT = {  # what is computed from an algorithm itself, by statistic
    "coefficient:0.1": "coefficient at p = 0.1, 10 arms", "odds": "lambda = exp(u of right - u of wrong)",
    "score:right": "u of the right arm", "score:wrong": "u of a wrong arm",
    "success:drawn": "u of the drawn class, rewarded", "success:other": "u of another class, drawn one rewarded",
    "failure:drawn": "u of the drawn class, not rewarded", "failure:other": "u of another class, drawn one not",
    "first_success:why": "(1/V)^H of a uniform policy, %", "all_fail:why": "groups without a success at (1/V)^H, %",
}  # fmt: skip
CONCENTRATIONS: Mapping[tuple[str, ...], str] = {metrics: text for text, metrics in BINS.items()}


def counted(counts: Counter[str], verdicts: Sequence[str]) -> str:
    """`31 agree, 8 differ, 1 not run`: those that occur, in reading order."""
    words = {"agrees": "agree", "differs": "differ", "holds": "hold", "points the same way": "point the same way"}
    groups = [(counts[v], words.get(v, v) if counts[v] != 1 else v) for v in verdicts if counts[v]]
    return ", ".join(f"{n} {word}" for n, word in groups) or "none"


def what(measured: MeasuredNumber) -> str:
    """`last error, %`, `updates to error < 0.01`, `training.epochs`; the paper's own words for what is not run."""
    number = measured.number
    if number.kind == "exact":
        return EXACT.get(":".join(number.arguments), number.quantity)
    if number.kind == "setting":
        return number.arguments[0]
    if not number.measured:
        return number.quantity
    if (concentration := CONCENTRATIONS.get(number.arguments[:2])) is not None:
        return f"surplus gain at concentration {concentration}"
    text = PLAIN[number.kind].format(*number.arguments)
    return f"{text}, %" if number.scale > 1 and "%" not in text else text


def printed_text(measured: MeasuredNumber) -> str:
    """`6.9 (n=20)`."""
    number = measured.number
    text = "never" if number.text == "-" else number.text
    return f"{text} (n={number.printed.seeds})" if number.printed.seeds else text


def ours_text(measured: MeasuredNumber) -> str:
    """`7.12 (n=20)`, `>1000 (n=10)`; blank where there is nothing."""
    p = measured.prediction
    if p is None or p.value is None:
        return measured.ours
    value = _shown(measured, p.value)
    return f"{value} (n={p.runs})" if p.runs else value


def predicted_text(measured: MeasuredNumber) -> str:
    """`[4.1, 12.0]`, `>= 93.1` and `<= 2.0` for bounds; blank where there is no interval."""
    p = measured.prediction
    if p is None or p.low is None or p.high is None or p.least is None or p.most is None:
        return ""
    bound = measured.number.printed.bound
    if bound:
        return f"<= {_shown(measured, p.most)}" if bound == "above" else f">= {_shown(measured, p.least)}"
    return f"[{_shown(measured, p.low)}, {_shown(measured, p.high)}]"


def _shown(measured: MeasuredNumber, value: float) -> str:
    number, p = measured.number, measured.prediction
    if number.kind in STEPS:
        return step_text(value, measured.budget)
    assert p is not None  # noqa: S101 - only called with one
    digits = decimals(Estimate(p.value, p.low, p.high, p.runs, ""), number.scale)
    return f"{value * number.scale:.{min(digits, 4)}f}"


def tested(answer: ClaimComparison) -> tuple[str, ...]:
    """Difference, P(lower), test, p, Holm p, seeds; blank where there is no comparison."""
    c = answer.comparison
    if c is None:
        return ("",) * 6
    n, m = c.runs
    return (
        difference_text(c.difference, c.low, c.high, answer.scale),
        share_text(c.better, None, None),
        c.test or "-", p_text(c.p), p_text(c.adjusted),
        f"{n}" if n == m else f"{n} vs {m}",
    )  # fmt: skip


def margin_text(answer: ClaimComparison) -> str:
    """`margin 1.0: p .03 within it, the other p are of a difference beyond it`; blank where an order is claimed."""
    if answer.margin is None:
        return ""
    margin = f"{answer.margin * answer.scale:.1f}"
    return f"margin {margin}: p {p_text(answer.within)} within it, the other p are of a difference beyond it"
