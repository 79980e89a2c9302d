"""What each figure of the paper shows: its panels, from the suites that hold its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tpobench.paper.figures.numbers import FEW
from tpobench.paper.figures.panels import Bars, Curves, Gains, Line, Panel, Sweep, line_of
from tpobench.paper.figures.runs import Runs
from tpobench.paper.figures.sheet import Sheet
from tpobench.report.figures.style import ONE_EPOCH, ramp

ERROR = "Error (%)"
FINAL = "Final error (%)"
LEAST_ERROR, LEAST_ANGLE = 0.01, 1e-4  # in percent, and 1 - cos: where the paper's log axes end
LEAST_NORM = 1e-3  # of a gradient; a batch without a success has none


@dataclass(frozen=True)
class Item:
    """A figure or table of the paper: the suites that hold its runs, and how it is laid out."""

    suites: Sequence[str]
    layout: Callable[[Runs], Sheet]


def lines(runs: Runs, suite: str, rules: Sequence[str], metric: str | None = None, *, matching: str = "",
          **axes: Any) -> list[Line]:  # fmt: skip
    """The rules in one cell of a suite."""
    cell = runs.cell(suite, axes, matching)
    return [line_of(runs.source(suite, rule, cell), metric) for rule in rules]


# ---- tabular and image bandits


def _bandit(runs: Runs) -> Sheet:
    rules = ("tpo", "grpo", "dg", "reinforce")
    error = Curves("(a) Error", ERROR, lines(runs, "bandit", rules), log=True, floor=LEAST_ERROR)
    angle = Curves("(b) Misalignment to the oracle gradient", "1 \N{MINUS SIGN} cosine",
                   lines(runs, "bandit", rules, "misalignment"), log=True, floor=LEAST_ANGLE)  # fmt: skip
    says = "One context: (a) error 1 \N{MINUS SIGN} π(y*) and (b) misalignment of the update to the oracle gradient"
    return Sheet([[error, angle]], says)


def _contexts(runs: Runs) -> Sheet:
    rules = ("tpo", "grpo", "dg", "reinforce")
    error = Curves("(a) Error", ERROR, lines(runs, "contexts", (*rules, "ce")), log=True, floor=LEAST_ERROR)
    angle = Curves("(b) Misalignment to cross-entropy", "1 \N{MINUS SIGN} cosine",
                   lines(runs, "contexts", rules, "misalignment"), log=True, floor=LEAST_ANGLE)  # fmt: skip
    says = "Many contexts, exact updates: (a) mean error, (b) misalignment of the update to that of cross-entropy"
    return Sheet([[error, angle]], says)


def _images(runs: Runs, title: str, rules: Sequence[str]) -> Curves:
    return Curves(title, "Test error (%)", lines(runs, "mnist", rules), log=True, floor=LEAST_ERROR)


def _hero(runs: Runs) -> Sheet:
    lengths = runs.values("terminal_reward", "length")
    longest = {"length": max(lengths)} if lengths else {}
    title = f"(b) Reversal, terminal reward, H = {max(lengths)}" if lengths else "(b) Reversal, terminal reward"
    reversal = lines(runs, "terminal_reward", ("tpo", "grpo", "dg"), matching="prompts", **longest)
    images = _images(runs, "(a) Image bandit", ("tpo", "grpo_batch", "dg"))
    says = "(a) Test error of the image bandit; (b) error of whole sequences under terminal reward, prompts matched"
    return Sheet([[images, Curves(title, ERROR, reversal)]], says)


def _mnist(runs: Runs) -> Sheet:
    curves = _images(runs, "", ("tpo", "dg", "group_pg", "grpo_batch", "reinforce"))
    return Sheet([[curves]], "Test error of the image bandit, one action sampled for each image")


def _mechanism(runs: Runs) -> Sheet:
    says = (
        "First-order gain in the probability of the true class beyond that of the rule's one-vs-rest surrogate, on "
        "misclassified test images, by the share of the wrong-class mass that the likeliest wrong class holds"
    )
    return Sheet([[Gains("", lines(runs, "mnist", ("tpo", "dg")))]], says)


# ---- sequences with a reward per token


TOKEN_RULES = ("tpo_token", "grpo_token", "dg", "ppo")


def _vocabularies(runs: Runs) -> Sheet:
    found = [(v, lines(runs, "tokens", TOKEN_RULES, vocabulary=v)) for v in runs.values("tokens", "vocabulary")]
    panels = [Curves(f"V = {v}", ERROR, own) for v, own in found]
    return Sheet([panels], "Reverse copy, share of wrong tokens, by size V of the vocabulary", shared=True)


def _variations(runs: Runs) -> Sheet:
    targets, rewards = runs.values("variations", "target"), runs.values("variations", "reward")
    rules = (*TOKEN_RULES, "tpo", "grpo", "grpo_no_kl")
    rows: list[list[Panel]] = []
    for matching in _matchings(runs, "variations"):
        for reward in rewards:
            own = [(t, lines(runs, "variations", rules, matching=matching, target=t, reward=reward)) for t in targets]
            label = f"{_spelled(reward).capitalize()}\n{matching} matched\n{ERROR}"
            rows.append([Curves(_spelled(t) if not rows else "", label, found) for t, found in own])
    says = "Task variations: columns by target, rows by reward and by what the rules are given equally"
    return Sheet(rows, says, shared=True, height=1.4)


def _matchings(runs: Runs, suite: str) -> list[str]:
    """Prompts first, as the paper has it."""
    return sorted((m for m in runs.values(suite, "matching") if m != "any"), key=("prompts", "interactions").index) or [
        ""
    ]


def _spelled(value: Any) -> str:
    return str(value).replace("_", " ")


def _temperatures(runs: Runs) -> Sheet:
    etas = sorted(runs.values("temperature", "eta"))
    styles = dict(zip(etas, ramp(len(etas)), strict=True))
    panels = [
        Curves(f"({letter}) {rule}", ERROR, [_at(runs, "temperature", rule, "eta", eta, "η", styles) for eta in etas])
        for letter, rule in zip("ab", ("tpo", "tpo_token"), strict=True)
    ]
    return Sheet([panels], "Reverse copy, share of wrong tokens, by temperature η of the target", shared=True)


def _at(runs: Runs, suite: str, rule: str, axis: str, value: Any, sign: str, styles: Mapping[Any, Any]) -> Line:
    """One value of an axis as a line."""
    return line_of(
        runs.source(suite, rule, runs.cell(suite, {axis: value})), None, f"{sign} = {value:g}", styles[value]
    )


# ---- sequences with a terminal reward


def _lengths(runs: Runs, rules: Sequence[str], matchings: Sequence[str], says: str) -> Sheet:
    lengths = sorted(runs.values("terminal_reward", "length"))
    rows: list[list[Panel]] = []
    for matching in matchings:
        own = [(h, lines(runs, "terminal_reward", rules, matching=matching, length=h)) for h in lengths]
        label = f"{matching.capitalize()} matched\n{ERROR}" if len(matchings) > 1 else ERROR
        rows.append([Curves(f"H = {h}" if not rows else "", label, found) for h, found in own])
    return Sheet(rows, says, shared=True)


def _terminal(runs: Runs) -> Sheet:
    says = "Terminal reward: share of wrong sequences by length H, rows by what the rules are given equally"
    matchings = _matchings(runs, "terminal_reward")
    return _lengths(runs, ("tpo", "grpo", "grpo_no_kl", "ppo", "dg"), matchings, says)


def _ablations(runs: Runs) -> Sheet:
    says = "Ablations under terminal reward, prompts matched: share of wrong sequences by length H"
    return _lengths(runs, ("tpo", "grpo", "grpo_no_kl", "tpo_no_anchor", "group_pg"), ("prompts",), says)


# ---- why it works


def _why(runs: Runs, rules: Sequence[str], metric: str | None = None) -> list[Line]:
    """The rules of suite `why`; `tpo_1` is TPO with one epoch, from the sweep over epochs."""
    found = []
    for rule in rules:
        if rule == "tpo_1":
            once = runs.source("epochs", "tpo", runs.cell("epochs", {"epochs": 1}))
            found.append(line_of(once, metric, "tpo, 1 epoch", ONE_EPOCH))
        else:
            found += lines(runs, "why", (rule,), metric)
    beside = "tpo_1" in rules
    return [replace(x, label=f"tpo, {_epochs(x)} epochs") if beside and x.label == "tpo" and x.source.arm else x
            for x in found]  # fmt: skip


def _epochs(line: Line) -> int:
    """Gradient steps of an update."""
    axes = line.source.arm.axes if line.source.arm else {}
    return round(float(axes["gradient_steps"][-1] / axes["step"][-1])) if "gradient_steps" in axes else 1


def _norms(title: str, found: Sequence[Line]) -> Curves:
    return Curves(title, "Norm of the gradient", found, log=True, floor=LEAST_NORM, points=FEW)


def _gradients(runs: Runs) -> Sheet:
    summed = {"grpo": runs.most_candidates("why")}  # our loss is a mean over candidates, the paper's a sum
    norms = [replace(x, style=replace(x.style, line="-"), times=summed.get(x.source.rule, 1.0))
             for x in _why(runs, ("tpo", "tpo_1", "grpo", "ppo", "dg"), "gradient_norm")]  # fmt: skip
    weights: list[Line] = []
    for metric, dash, hidden in (("weight_success", "-", ""), ("weight_failure", "--", "_")):  # _ is in no legend
        own = _why(runs, ("tpo", "tpo_1", "grpo"), metric)
        weights += [replace(x, style=replace(x.style, line=dash), label=hidden + x.label) for x in own]
    panels = [
        _norms("(a) Gradient", norms),
        Curves("(b) Successes solid, failures dashed", "Weight", weights, points=FEW),
    ]
    says = (
        "(a) Norm of the gradient, for grpo of the sum over candidates; (b) mean weight of candidates (|advantage|; "
        "target mass of TPO), 0 where none is"
    )
    return Sheet([panels], says)


def _groups(runs: Runs) -> Sheet:
    failing = _why(runs, ("tpo", "tpo_1", "grpo", "grpo_no_kl"), "all_fail")
    some = _why(runs, ("tpo", "tpo_1", "grpo", "grpo_no_kl", "ppo", "dg"), "some_success")
    panels = [Curves("(a) All candidates fail", "Share of groups", failing, points=FEW),
              Curves("(b) Some candidate succeeds", "Share of prompts", some, points=FEW)]  # fmt: skip
    says = "(a) Share of groups without a success; (b) share of prompts with one (ppo and dg try once per prompt)"
    return Sheet([panels], says)


def _sweep(runs: Runs, suite: str, axis: str, sign: str, x: str) -> Sheet:
    """Curves of each rule by value, then final errors of both over the values."""
    values = sorted(runs.values(suite, axis))
    styles = dict(zip(values, ramp(len(values)), strict=True))
    rules = ("tpo", "grpo")
    panels: list[Panel] = [
        Curves(f"({letter}) {rule}", ERROR, [_at(runs, suite, rule, axis, v, sign, styles) for v in values])
        for letter, rule in zip("ab", rules, strict=True)
    ]
    points = [(float(v), runs.cell(suite, {axis: v})) for v in values]
    ends = [line_of(runs.source(suite, rule, cell)) for _, cell in points for rule in rules]
    panels.append(Sweep("(c) Final error", x, FINAL, points, ends))
    return Sheet([panels], f"Share of wrong sequences (a, b) over training and (c) at the end, by {axis} {sign}")


def _masking(runs: Runs) -> Sheet:
    found = lines(runs, "why", ("tpo", "grpo", "grpo_masked"))
    bars = Bars("(b) Final error", "", FINAL, [(line.label, [line]) for line in found])
    says = (
        "Groups of equal rewards kept or left out (grpo_masked): share of wrong sequences (a) over training, (b) last"
    )
    return Sheet([[Curves("(a) Over training", ERROR, found), bars]], says)


def _reuse(runs: Runs) -> Sheet:
    rules = ("tpo", "tpo_1", "dg")
    panels = [Curves("(a) Error", ERROR, _why(runs, rules)), _norms("(b) Gradient", _why(runs, rules, "gradient_norm"))]
    return Sheet([panels], "Several epochs and one: (a) share of wrong sequences, (b) norm of the gradient")


def _dg_epochs(runs: Runs) -> Sheet:
    rules = ("dg", "dg_multi_epoch")
    rows: list[list[Panel]] = [[Curves("(a) Terminal reward", ERROR, lines(runs, "terminal_small", rules))]]
    targets = runs.values("variations", "target")
    bars: list[Panel] = []
    for letter, reward in zip("bcdef", runs.values("variations", "reward"), strict=False):
        own = [(t, lines(runs, "variations", rules, matching="prompts", target=t, reward=reward)) for t in targets]
        groups = [(_spelled(t).replace(" ", "\n"), found) for t, found in own]
        bars.append(Bars(f"({letter}) Final error, {_spelled(reward)}", "Target", FINAL, groups))
    says = "DG with one epoch and with several: (a) over training under terminal reward; (b, c) at the end, by target"
    return Sheet([*rows, bars] if bars else rows, says)


ITEMS: dict[str, Item] = {
    "fig1": Item(("mnist", "terminal_reward"), _hero),
    "fig2": Item(("bandit",), _bandit),
    "fig3": Item(("contexts",), _contexts),
    "fig4a": Item(("mnist",), _mnist),
    "fig4b": Item(("mnist",), _mechanism),
    "table1": Item(("tokens",), _vocabularies),
    "table2": Item(("variations",), _variations),
    "table3": Item(("terminal_reward",), _terminal),
    "fig8": Item(("terminal_reward",), _ablations),
    "fig10": Item(("why", "epochs"), _gradients),
    "fig11": Item(("why", "epochs"), _groups),
    "fig12": Item(("group_size",), partial(_sweep, suite="group_size", axis="candidates", sign="K", x="Candidates K")),
    "fig13": Item(("why",), _masking),
    "fig14": Item(("why", "epochs"), _reuse),
    "fig15": Item(("epochs",), partial(_sweep, suite="epochs", axis="epochs", sign="E", x="Epochs E")),
    "table5": Item(("temperature",), _temperatures),
    "fig17": Item(("terminal_small", "variations"), _dg_epochs),
}
SAME = {"fig5": "table1", "fig6": "table2", "fig7": "table3", "fig16": "table5"}  # a figure of what a table counts
