"""What answers that do not read the question score on Reasoning Gym's problems: the floor under every curve.

python benchmarks/blind.py        (extra rlvr)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from documents import markdown

from tpobench.tasks.problems import problems_of

Answer = Callable[[dict[str, Any], np.random.Generator], str]
PROBLEMS = 200  # held out, as the suites evaluate
DRAWS = 5  # of the random answers to each problem


def coloring(color: Callable[[int, np.random.Generator], int]) -> Answer:
    """Every vertex gets a colour, whatever the edges."""

    def answer(metadata: dict[str, Any], stream: np.random.Generator) -> str:
        return json.dumps({str(v): color(v, stream) for v in metadata["puzzle"]["vertices"]})

    return answer


def roles(is_knight: Callable[[np.random.Generator], bool]) -> Answer:
    """Everybody gets a role in the words of the question, whatever is said."""

    def answer(metadata: dict[str, Any], stream: np.random.Generator) -> str:
        terms = metadata["knight_knave_terms"]
        words = [terms["a_knight"] if is_knight(stream) else terms["a_knave"] for _ in metadata["names"]]
        return ", and ".join(f"{name} is {word}" for name, word in zip(metadata["names"], words, strict=True)) + "."

    return answer


BLIND: dict[str, dict[str, Answer]] = {
    "graph_coloring": {
        "a random colour for each vertex": coloring(lambda _, stream: int(stream.integers(1, 4))),
        "colours 1, 2, 3 in turn": coloring(lambda v, _: 1 + v % 3),
        "one colour for all": coloring(lambda *_: 1),
        "{}": lambda *_: "{}",
    },
    "knights_knaves": {
        "a random role for each": roles(lambda stream: bool(stream.integers(2))),
        "knights all": roles(lambda _: True),
        "knaves all": roles(lambda _: False),
    },
}


def main() -> None:
    """Print one table: an answer a row."""
    rows = []
    for name, answers in BLIND.items():
        problems = problems_of(name, 0)
        asked = problems.held_out[:PROBLEMS]
        for label, answer in answers.items():
            stream = np.random.default_rng(0)
            grades = np.array(
                [
                    problems.grade(answer(problem.answer["metadata"], stream), problem, "")
                    for problem in asked
                    for _ in range(DRAWS if "random" in label else 1)
                ]
            )
            rows.append([f"`{name}`", label, f"{grades.mean():.2f}", f"{(grades >= 1).mean():.2f}"])
    print(markdown(["problems", "answer", "mean grade", "wholly right"], rows))


if __name__ == "__main__":
    main()
