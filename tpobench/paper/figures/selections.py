"""What each figure of the paper shows: suites, cells, algorithms, metrics, panels, chosen from the runs of its item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tpobench.paper.claim import PROMPTS, Pick
from tpobench.paper.claims_sparse import FIG8_CELLS
from tpobench.paper.figures.gains import gain_panel
from tpobench.paper.figures.runs import Runs
from tpobench.paper.item_plans import picked
from tpobench.report.figures.bars import Bars
from tpobench.report.figures.curves import FEW, Curves
from tpobench.report.figures.grid import PanelGrid
from tpobench.report.figures.layout import spelled
from tpobench.report.figures.panel import Line, Panel
from tpobench.report.figures.points import Points, final_series
from tpobench.report.figures.style import ONE_EPOCH, ramp

ERROR = "Error (%)"
FINAL = "Final error (%)"
COSINE = "1 \N{MINUS SIGN} cosine"
LEAST_ERROR, LEAST_ANGLE = 0.01, 1e-4  # in percent, and 1 - cos: where the paper's log axes end
LEAST_NORM = 1e-3  # of a gradient; a batch without a success has none
NARROW = 101  # points of a curve in a panel that shares the page with three others

# ---- tabular and image bandits


def _bandit(runs: Runs, suite: str, oracle: str, says: str) -> PanelGrid:
    algorithms = [name for name in runs.algorithms(suite) if name != "ce"]  # which has no angle to itself
    error = Curves("(a) Error", ERROR, runs.lines(suite), log=True, floor=LEAST_ERROR)
    angle = Curves(f"(b) Misalignment to {oracle}", COSINE, runs.lines(suite, algorithms, "misalignment"), log=True,
                   floor=LEAST_ANGLE)  # fmt: skip
    return PanelGrid([[error, angle]], says)


def _images(runs: Runs, title: str = "") -> Curves:
    return Curves(title, "Test error (%)", runs.lines("mnist"), log=True, floor=LEAST_ERROR)


def _hero(runs: Runs) -> PanelGrid:
    lengths = runs.values("terminal_reward", "length")
    longest = {"length": max(lengths)} if lengths else {}
    title = f"(b) Reversal, terminal reward, H = {max(lengths)}" if lengths else "(b) Reversal, terminal reward"
    reversal = Curves(title, ERROR, runs.lines("terminal_reward", **longest, **PROMPTS))
    says = "(a) Test error of the image bandit; (b) error of whole sequences under terminal reward, prompts matched"
    return PanelGrid([[_images(runs, "(a) Image bandit"), reversal]], says)


def _mnist(runs: Runs) -> PanelGrid:
    return PanelGrid([[_images(runs)]], "Test error of the image bandit, one action sampled for each image")


def _mechanism(runs: Runs) -> PanelGrid:
    says = (
        "First-order gain in the probability of the true class beyond that of the algorithm's one-vs-rest surrogate, "
        "on misclassified test images, by the share of the wrong-class mass that the likeliest wrong class holds"
    )
    return PanelGrid([[gain_panel(runs.lines("mnist", metric="surplus gain"), runs.options)]], says)


# ---- sequences with a reward per token


def _vocabularies(runs: Runs) -> PanelGrid:
    panels = [
        Curves(f"V = {v}", ERROR, runs.lines("tokens", vocabulary=v), points=NARROW)
        for v in runs.values("tokens", "vocabulary")
    ]
    return PanelGrid([panels], "Reverse copy, share of wrong tokens, by size V of the vocabulary", shared=True)


def _variations(runs: Runs) -> PanelGrid:
    matched = [(m, r) for m in _matchings(runs, "variations") for r in runs.values("variations", "reward")]
    rows = [
        [Curves(spelled(t), ERROR, runs.lines("variations", matching=m, target=t, reward=r), points=NARROW)
         for t in runs.values("variations", "target")]
        for m, r in matched
    ]  # fmt: skip
    says = "Task variations: columns by target, rows by reward and by what the algorithms are given equally"
    labels = [f"{spelled(r).capitalize()}\n{m} matched" for m, r in matched]
    return PanelGrid(rows, says, labels, shared=True, height=1.4)


def _matchings(runs: Runs, suite: str) -> list[str]:
    """Prompts first, as the paper has it."""
    several = [m for m in ("prompts", "interactions") if m in runs.values(suite, "matching")]
    return several or [""]


def _by_value(runs: Runs, suite: str, axis: str, sign: str) -> list[Curves]:
    """A panel per algorithm with a line per value of an axis, light to dark."""
    values = sorted(runs.values(suite, axis))
    looks = list(zip(values, ramp(len(values)), strict=True))
    return [
        Curves(f"({letter}) {algorithm}", ERROR, [runs.line(suite, algorithm, runs.cell(suite, {axis: v}),
                                                       label=f"{sign} = {v:g}", style=style) for v, style in looks])
        for letter, algorithm in zip("abc", runs.algorithms(suite), strict=False)
    ]  # fmt: skip


def _temperatures(runs: Runs) -> PanelGrid:
    panels = _by_value(runs, "temperature", "eta", "η")
    return PanelGrid([panels], "Reverse copy, share of wrong tokens, by temperature η of the target", shared=True)


# ---- sequences with a terminal reward


def _lengths(runs: Runs, matchings: Sequence[str], says: str, pick: Pick | None = None) -> PanelGrid:
    lengths = picked(sorted(runs.values("terminal_reward", "length")), pick)
    rows = [
        [Curves(f"H = {h}", ERROR, runs.lines("terminal_reward", matching=m, length=h), points=NARROW) for h in lengths]
        for m in matchings
    ]
    labels = [f"{m.capitalize()} matched" if len(matchings) > 1 else "" for m in matchings]
    return PanelGrid(rows, says, labels, shared=True)


def _terminal(runs: Runs) -> PanelGrid:
    says = "Terminal reward: share of wrong sequences by length H, rows by what the algorithms are given equally"
    return _lengths(runs, _matchings(runs, "terminal_reward"), says)


def _ablations(runs: Runs) -> PanelGrid:
    says = "Ablations under terminal reward, prompts matched: share of wrong sequences by length H"
    return _lengths(runs, ("prompts",), says, FIG8_CELLS["length"])


# ---- why it works


def _why(runs: Runs, metric: str | None = None, without: Iterable[str] = ()) -> list[Line]:
    """The algorithms of suite `why`; beside TPO that of one epoch, from the sweep over epochs."""
    once = runs.line("epochs", "tpo", runs.cell("epochs", {"epochs": 1}), metric, "tpo, 1 epoch", ONE_EPOCH)
    tpo, *others = runs.lines("why", [name for name in runs.algorithms("why") if name not in without], metric)
    return [replace(tpo, label=f"tpo, {_epochs(tpo)} epochs") if tpo.arm else tpo, once, *others]


def _epochs(line: Line) -> int:
    """Gradient steps of an update."""
    axes = line.arm.axes if line.arm else {}
    return round(float(axes["gradient_steps"][-1] / axes["step"][-1])) if "gradient_steps" in axes else 1


def _norms(title: str, lines: Sequence[Line]) -> Curves:
    return Curves(title, "Norm of the gradient", lines, log=True, floor=LEAST_NORM, points=FEW)


ALONE = ("ppo", "dg")  # one answer per prompt: they have no groups


def _gradients(runs: Runs) -> PanelGrid:
    summed = {"grpo": runs.most_candidates("why")}  # our loss is a mean over candidates, the paper's a sum
    norms = [replace(x, style=replace(x.style, line="-"), times=summed.get(x.algorithm, 1.0))
             for x in _why(runs, "gradient_norm")]  # fmt: skip
    weights = [
        replace(x, style=replace(x.style, line=dash), label=hidden + x.label)  # _ is in no legend
        for metric, dash, hidden in (("weight_success", "-", ""), ("weight_failure", "--", "_"))
        for x in _why(runs, metric, ALONE)
    ]
    panels = [_norms("(a) Gradient", norms),
              Curves("(b) Successes solid, failures dashed", "Weight", weights, points=FEW)]  # fmt: skip
    says = (
        "(a) Norm of the gradient, for grpo of the sum over candidates; (b) mean weight of candidates (|advantage|; "
        "target mass of TPO), 0 where none is"
    )
    return PanelGrid([panels], says)


def _groups(runs: Runs) -> PanelGrid:
    failing = Curves("(a) All candidates fail", "Share of groups", _why(runs, "all_fail", ALONE), points=FEW)
    some = Curves("(b) Some candidate succeeds", "Share of prompts", _why(runs, "some_success"), points=FEW)
    says = "(a) Share of groups without a success; (b) share of prompts with one (ppo and dg try once per prompt)"
    return PanelGrid([[failing, some]], says)


def _sweep(runs: Runs, suite: str, axis: str, sign: str) -> PanelGrid:
    """Curves of each algorithm by value, then final errors of all over the values."""
    values = sorted(runs.values(suite, axis))
    cells, ticks = [runs.cell(suite, {axis: v}) for v in values], [(float(v), f"{v:g}") for v in values]
    series = [
        final_series([runs.line(suite, algorithm, cell) for cell in cells], values, runs.options)
        for algorithm in runs.algorithms(suite)
    ]
    final = Points("(c) Final error", f"{axis.capitalize()} {sign}", FINAL, ticks, series, base=2)
    says = f"Share of wrong sequences (a, b) over training and (c) at the end, by {axis} {sign}"
    return PanelGrid([[*_by_value(runs, suite, axis, sign), final]], says, shared=True)


def _masking(runs: Runs) -> PanelGrid:
    lines = runs.lines("why")
    bars = Bars("(b) Final error", "", FINAL, [(line.label, [line]) for line in lines])
    says = (
        "Groups of equal rewards kept or left out (grpo_masked): share of wrong sequences (a) over training, (b) last"
    )
    return PanelGrid([[Curves("(a) Over training", ERROR, lines), bars]], says)


def _reuse(runs: Runs) -> PanelGrid:
    panels = [Curves("(a) Error", ERROR, _why(runs)), _norms("(b) Gradient", _why(runs, "gradient_norm"))]
    return PanelGrid([panels], "Several epochs and one: (a) share of wrong sequences, (b) norm of the gradient")


def _dg_epochs(runs: Runs) -> PanelGrid:
    rows: list[list[Panel]] = [[Curves("(a) Terminal reward", ERROR, runs.lines("dg_epochs"))]]
    bars: list[Panel] = []
    for letter, reward in zip("bcdef", runs.values("variations", "reward"), strict=False):
        groups = [
            (spelled(t), runs.lines("variations", target=t, reward=reward, **PROMPTS))
            for t in runs.values("variations", "target")
        ]
        bars.append(Bars(f"({letter}) Final error, {spelled(reward)}", "Target", FINAL, groups))
    says = "DG with one epoch and with several: (a) over training under terminal reward; (b, c) at the end, by target"
    return PanelGrid([*rows, bars] if bars else rows, says)


SELECTIONS: Mapping[str, Callable[[Runs], PanelGrid]] = {
    "fig1": _hero,
    "fig2": partial(
        _bandit, suite="bandit", oracle="the oracle gradient",
        says="One context: (a) error 1 \N{MINUS SIGN} π(y*) and (b) misalignment of the update to the oracle gradient",
    ),
    "fig3": partial(
        _bandit, suite="contexts", oracle="cross-entropy",
        says="Many contexts, exact updates: (a) mean error, (b) misalignment of the update to that of cross-entropy",
    ),
    "fig4a": _mnist,
    "fig4b": _mechanism,
    "table1": _vocabularies,
    "table2": _variations,
    "table3": _terminal,
    "fig8": _ablations,
    "fig10": _gradients,
    "fig11": _groups,
    "fig12": partial(_sweep, suite="group_size", axis="candidates", sign="K"),
    "fig13": _masking,
    "fig14": _reuse,
    "fig15": partial(_sweep, suite="epochs", axis="epochs", sign="E"),
    "table5": _temperatures,
    "fig17": _dg_epochs,
}  # fmt: skip
