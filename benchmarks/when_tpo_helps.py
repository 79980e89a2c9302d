"""When does TPO help?  Its contrasts with other algorithms, and how they move along a scale, from committed records.

python benchmarks/when_tpo_helps.py [--results results] [--docs docs/when_tpo_helps.md]

QUESTIONS are all contrasts that the page makes, those against TPO among them; the contrasts of a question are one
family, adjusted by Holm together.  Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from documents import markdown, page_command

from tpobench.records.results import load_results
from tpobench.report.breaking_point import searched
from tpobench.scores.cells import Arm, Cell, read_cells
from tpobench.scores.pairing import PAIRED, Sample, compare_arms, compare_samples, pairing
from tpobench.scores.scalars import scalar_of
from tpobench.scores.suite_level import compare_suites
from tpobench.stats.breaking_point import compare_points
from tpobench.stats.compare import Comparison
from tpobench.stats.multiplicity import holm
from tpobench.stats.texts import p_text

BEGIN, END = "<!-- contrasts: made by benchmarks/when_tpo_helps.py -->", "<!-- end of contrasts -->"
ALPHA = 0.05
UNTOLD = "cannot be told"
Cells = Sequence[Cell]


@dataclass(frozen=True)
class Effect:
    """TPO against another; a `sign` below 0 is for TPO, p is before adjustment."""

    text: str
    sign: float | None
    p: float | None
    seeds: int


@dataclass(frozen=True)
class Contrast:
    """One row: what is compared, where, and how it is measured on the cells of its suite."""

    where: str
    against: str
    measured: Callable[[Cells], Effect]
    readings: tuple[str, str] = ("for TPO", "against TPO")  # of a loss that is lower, of one that is higher


def final(against: str, of: str = "tpo", **axes: object) -> Contrast:
    """Final loss in one cell."""

    def measured(cells: Cells) -> Effect:
        (cell,) = chosen(cells, axes)
        return points(finals(cell.arms[of], cell.arms[against]))

    return Contrast(text(axes) or "its cell", named(against, of), measured)


def overall(against: str, of: str = "tpo", **axes: object) -> Contrast:
    """Mean loss over all cells that both were trained in, from the worst value (1) to the best (0) of each."""

    def measured(cells: Cells) -> Effect:
        both = {c.label: c for c in chosen(cells, axes) if {of, against} <= c.arms.keys()}
        a, b = ({label: c.arms[name].final for label, c in both.items()} for name in (of, against))
        ends = {label: c.reporting.reference for label, c in both.items()}
        test = compare_suites({against: (a, b, ends)})[against]
        low, high = (None if end is None else -end for end in (test.comparison.high, test.comparison.low))
        return points(replace(test.of_losses, low=low, high=high))

    return Contrast(", ".join(filter(None, ["all cells", text(axes)])), named(against, of), measured)


def trend(axis: str, against: str, of: str = "tpo", **axes: object) -> Contrast:
    """By how much the difference moves from the first value of an axis to the last: a line through all, seed by seed.

    change = (x_E - x_1) sum_e (x_e - mean x) d_e / sum_e (x_e - mean x)^2, x the rank of the value, d the final losses.
    """

    def measured(cells: Cells) -> Effect:
        along = sorted(chosen(cells, axes), key=lambda c: float(c.axes[axis]))
        rank = np.arange(len(along)) - (len(along) - 1) / 2
        weights = (len(along) - 1) * rank / (rank @ rank)
        changes = []
        for name in (of, against):
            arms = [c.arms[name] for c in along]
            values = weights @ np.array([arm.reporting.loss(arm.final) for arm in arms])
            changes.append(Sample(arms[0].by_seed(values)))
        paired = pairing(along[0].arms[of], along[0].arms[against]) == PAIRED
        return points(compare_samples(*changes, paired=paired))

    where = ", ".join(filter(None, [f"change along {axis}", text(axes)]))
    return Contrast(where, named(against, of), measured, ("moves TPO's way", "moves away from TPO"))


def change(axis: str, low: object, high: object, name: str = "tpo", **axes: object) -> Contrast:
    """An algorithm at one value of an axis against itself at another."""

    def measured(cells: Cells) -> Effect:
        ends = [chosen(cells, {**axes, axis: value})[0].arms[name] for value in (high, low)]
        return points(finals(*ends))

    where = ", ".join(filter(None, [f"{axis} {low} → {high}", text(axes)]))
    return Contrast(where, f"`{name}` itself", measured, ("more helps", "more hurts"))


def breaks(against: str, of: str = "tpo") -> Contrast:
    """The success probability at which half of the seeds still learn, as a ratio."""

    def measured(cells: Cells) -> Effect:
        (group,) = searched(cells)
        c = compare_points(group.points[of], group.points[against])
        interval = "" if c.low is None or c.high is None else f" [{c.low:.2g}, {c.high:.2g}]"
        return Effect("–" if c.ratio is None else f"× {c.ratio:.2g}{interval}", c.shift, c.p, group.points[of].runs)

    return Contrast("p0* (ratio)", named(against, of), measured)


def named(against: str, of: str) -> str:
    """The opponent; both where it is not the method of the page's title."""
    return f"`{against}`" if of == "tpo" else f"`{of}` against `{against}`"


def text(axes: Mapping[str, object]) -> str:
    """`length=8, reward=terminal`."""
    return ", ".join(f"{k}={v}" for k, v in axes.items())


def chosen(cells: Cells, axes: Mapping[str, object]) -> list[Cell]:
    """The cells at these values of the grid; `matching` chooses among several."""
    return [c for c in cells if all((c.matching if k == "matching" else c.axes[k]) == v for k, v in axes.items())]


def finals(a: Arm, b: Arm) -> Comparison:
    """Of the final losses."""
    return compare_arms(a, b, scalar_of("final", a.reporting, len(a.axes["step"])))


def points(c: Comparison) -> Effect:
    """Differences of losses in points of a percent."""
    assert c.difference is not None
    interval = "" if c.low is None or c.high is None else f" [{100 * c.low:+.1f}, {100 * c.high:+.1f}]"
    return Effect(f"{100 * c.difference:+.1f}{interval}", c.difference, c.p, min(c.runs))


@dataclass(frozen=True)
class Question:
    """What may make TPO better or worse, and the contrasts that tell, by packed file."""

    title: str
    contrasts: Mapping[str, Sequence[Contrast]]


TERMINAL = {"reward": "terminal"}
QUESTIONS = (
    Question(
        "Success probability",
        {
            "breaking_point_sequence": [breaks("grpo"), breaks("dg"), breaks("ppo")],
            "breaking_point": [breaks("grpo"), breaks("dg")],
            "sparse": [
                overall("grpo"),
                overall("dg"),
                trend("length", "grpo", **TERMINAL),
                trend("length", "dg", **TERMINAL),
            ],
        },
    ),
    Question(
        "Length of answers under terminal reward",
        {
            "terminal_reward": [final(name, length=n) for n in (7, 8) for name in ("grpo", "dg", "ppo")],
            "terminal_reward-quick": [trend("length", name, matching="prompts") for name in ("grpo", "dg", "ppo")],
        },
    ),
    Question(
        "Easy tasks",
        {
            "bandit": [final("grpo"), final("dg")],
            "contexts": [final("grpo"), final("dg"), final("ce")],
            "mnist": [final("grpo_batch"), final("dg"), final("ce")],
            "terminal_small": [final("grpo"), final("dg")],
        },
    ),
    Question(
        "Reward for every token",
        {
            "tokens-quick": [overall("grpo_token", "tpo_token"), overall("dg", "tpo_token")],
            "variations-quick": [overall("grpo_token", "tpo_token"), overall("dg", "tpo_token")],
        },
    ),
    Question(
        "Skew of the start",
        {
            "skewed": [
                overall("grpo"),
                overall("dg"),
                *(trend("skew", name, arms=arms) for arms in (10, 100) for name in ("grpo", "dg")),
            ],
        },
    ),
    Question(
        "Epochs on a batch",
        {
            "reuse": [
                overall("grpo_trl"),
                overall("ppo"),
                change("epochs", 1, 16, learning_rate=0.1),
                change("epochs", 1, 16, "grpo_trl", learning_rate=0.1),
                trend("epochs", "grpo_trl", learning_rate=0.1),
            ],
            "epochs-quick": [overall("grpo"), trend("epochs", "grpo")],
        },
    ),
    Question("Learning rate", {"reuse": [trend("learning_rate", name, epochs=4) for name in ("grpo_trl", "ppo")]}),
    Question("Group size", {"group_size-quick": [overall("grpo"), trend("candidates", "grpo")]}),
    Question(
        "Stale and frozen samples",
        {
            "stale": [
                overall("grpo_trl"),
                overall("cispo"),
                trend("lag", "grpo_trl", old_logp="policy", sampler_noise=0.0),
            ],
            "offline": [overall("grpo_trl"), overall("raft"), overall("dpo_online")],
        },
    ),
    Question("Language: word problems", {"tiny_math-quick": [overall("grpo"), overall("reinforce")]}),
)


def page(results: Path) -> str:
    """How the contrasts came out, and a table for each question."""
    packed = {name for question in QUESTIONS for name in question.contrasts}
    cells = {name: cells_of(results / f"{name}.jsonl") for name in packed}
    answers = [answered(question, cells) for question in QUESTIONS]
    readings = [row[-1] for rows in answers for row in rows]
    words = dict.fromkeys(
        [
            *Contrast.readings,
            *(w for q in QUESTIONS for cs in q.contrasts.values() for c in cs for w in c.readings),
            UNTOLD,
        ]
    )
    counts = "; ".join(f"{word}: {readings.count(word)}" for word in words)
    tables = [f"### {q.title}\n\n" + markdown(HEAD, rows, "---") for q, rows in zip(QUESTIONS, answers, strict=True)]
    return "\n\n".join([f"{len(readings)} contrasts. {counts}.", *tables])


def answered(question: Question, cells: Mapping[str, Cells]) -> list[list[str]]:
    """A row for each contrast, adjusted by Holm over all of the question."""
    rows = [
        (name, contrast, contrast.measured(cells[name])) for name, cs in question.contrasts.items() for contrast in cs
    ]
    adjusted = holm([effect.p for *_, effect in rows])
    return [
        [name, c.where, c.against, effect.text, str(effect.seeds), p_text(p), reading(c, effect, p)]
        for (name, c, effect), p in zip(rows, adjusted, strict=True)
    ]


HEAD = ("records", "where", "TPO against", "difference [95 %]", "seeds", "Holm p", "reads")


def cells_of(path: Path) -> list[Cell]:
    """Of the one suite of a packed file."""
    ((_, cells),) = read_cells(load_results(path).records)[0].items()
    return cells


def reading(contrast: Contrast, effect: Effect, adjusted: float | None) -> str:
    """By the adjusted p; the direction is that of the difference."""
    if adjusted is None or adjusted >= ALPHA or not effect.sign:
        return UNTOLD
    return contrast.readings[effect.sign > 0]


if __name__ == "__main__":
    page_command(__doc__, page, BEGIN, END)
