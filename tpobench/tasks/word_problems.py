"""Arithmetic word problems with solutions in GSM8K's format, over a vocabulary of whole words.

    Tom has 8 cups . Tom buys 6 . Tom sells 3 . How many cups are left ?
    8 + 6 = 14
    14 - 3 = 11
    #### 11

Numbers 0 to LARGEST are one token each.  Which problems there are, and which of them are held out, depends on the
number of operations alone; a held-out problem shares its numbers and operations with none that is trained on.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpobench.tasks.graders import MARK

Ints = npt.NDArray[np.int64]
LARGEST = 10
NAMES = ("Tom", "Anna", "Ben", "Mia", "Sam", "Lily")
THINGS = ("apples", "cups", "books", "coins", "pens", "shells")
VERBS = {"+": ("gets", "buys", "finds"), "-": ("loses", "sells", "gives")}
END, PAD, LINE = "<end>", "<pad>", "\n"
WORDS = (
    END, PAD, LINE, MARK, "=", *VERBS, ".", "?", "has", "How", "many", "are", "left",
    *NAMES, *THINGS, *VERBS["+"], *VERBS["-"], *map(str, range(LARGEST + 1)),
)  # fmt: skip
TOKEN = {word: token for token, word in enumerate(WORDS)}
HELD_OUT = 128
TRAINED = 2048


class Problem(NamedTuple):
    """A quantity, and what is added to it (or taken away) in turn."""

    start: int
    changes: tuple[int, ...]

    @property
    def states(self) -> tuple[int, ...]:
        """The quantity before and after each change."""
        return tuple(itertools.accumulate(self.changes, initial=self.start))


@dataclass(frozen=True)
class Problems:
    """Problems of a set: prompts as tokens, and answers."""

    problems: tuple[Problem, ...]
    prompts: Ints  # (N, H), padded on the left

    @property
    def answers(self) -> list[str]:
        """The right number of each, as text."""
        return [str(problem.states[-1]) for problem in self.problems]


@functools.cache
def problem_sets(operations: int) -> tuple[Problems, Problems]:
    """Problems of 1 to `operations` operations to train on, and of at least two to evaluate on."""
    stream = np.random.Generator(np.random.Philox(key=operations))
    problems = [_drawn(stream, operations) for _ in range(4 * TRAINED)]
    distinct = list(dict.fromkeys(problems))
    longer = [p for p in distinct if len(p.changes) > 1]  # a held-out problem of one operation would be a fact unseen
    evaluated_on = dict.fromkeys(longer[:HELD_OUT])
    sets = [p for p in distinct if p not in evaluated_on][:TRAINED], list(evaluated_on)
    trained, evaluated = (Problems(tuple(p), np.stack([_prompt(x, stream, operations) for x in p])) for p in sets)
    return trained, evaluated


def prompt_length(operations: int) -> int:
    """H: tokens of the longest prompt."""
    return 11 + 4 * operations


def answer_length(operations: int) -> int:
    """T: tokens of the longest right answer, with its end; no longer than a prompt."""
    return 6 * operations + 3


def _drawn(stream: np.random.Generator, operations: int) -> Problem:
    value = start = int(stream.integers(1, 10))
    changes: list[int] = []
    for _ in range(int(stream.integers(1, operations + 1))):
        choices = [c for c in (*range(-5, 0), *range(1, 6)) if 0 <= value + c <= LARGEST]
        changes.append(choices[stream.integers(len(choices))])
        value += changes[-1]
    return Problem(start, tuple(changes))


def _prompt(problem: Problem, stream: np.random.Generator, operations: int) -> Ints:
    name, thing = (str(stream.choice(words)) for words in (NAMES, THINGS))
    sentences = [f"{name} {stream.choice(VERBS[_sign(c)])} {abs(c)} ." for c in problem.changes]
    words = " ".join([f"{name} has {problem.start} {thing} .", *sentences, f"How many {thing} are left ?"]).split(" ")
    padding = [PAD] * (prompt_length(operations) - len(words))
    return np.array([TOKEN[w] for w in padding + words])


def _sign(change: int) -> str:
    return "+" if change > 0 else "-"


def encode(text: str) -> list[int]:
    """The tokens of a solution, with the end."""
    return [TOKEN[w] for w in text.replace(LINE, f" {LINE} ").split(" ")] + [TOKEN[END]]


def decode(tokens: list[int]) -> str:
    """The text of an answer as far as its end."""
    end = tokens.index(TOKEN[END]) if TOKEN[END] in tokens else len(tokens)
    return " ".join(WORDS[t] for t in tokens[:end]).replace(f" {LINE} ", LINE)


def text_of(prompt: list[int]) -> str:
    """The text of a prompt."""
    return decode([t for t in prompt if t != TOKEN[PAD]])


def solution(problem: Problem, steps: tuple[int, ...] | None = None, final: int | None = None) -> str:
    """A line for each change, and the answer; `steps` and `final` in place of the right ones."""
    changes = problem.changes if steps is None else steps
    states = Problem(problem.start, changes).states
    lines = [f"{a} {_sign(c)} {abs(c)} = {b}" for a, c, b in zip(states, changes, states[1:], strict=False)]
    return LINE.join([*lines, f"{MARK} {states[-1] if final is None else final}"])


def mistaken(problem: Problem, stream: np.random.Generator) -> str:
    """A wrong solution in good form: one step short (70 %), a turned sign (20 %), or another final number."""
    kind, changes = float(stream.random()), problem.changes
    if kind < 0.7:
        return solution(problem, changes[:-1])
    place = int(stream.integers(len(changes)))
    turned = tuple(-c if i == place else c for i, c in enumerate(changes))
    if kind < 0.9 and all(0 <= state <= LARGEST for state in Problem(problem.start, turned).states):
        return solution(problem, turned)
    right = problem.states[-1]
    return solution(problem, final=int(stream.choice([n for n in range(LARGEST + 1) if n != right])))
