"""What a language model is asked, by name: problems to train on, others to evaluate on, and how completions are graded.

add             What is 27 + 82?                numbers from 2 to `largest`; the answer is begun: 27 + 82 =
words           templated word problems of one step
gsm8k           GSM8K, train and test split
graph_coloring  Reasoning Gym's graph_color     partial scores: .01 for JSON that is no colouring
knights_knaves  Reasoning Gym's                 partial scores: .3 + .7 of the right roles, 0 where none is

What answers that read nothing score on the last two: `benchmarks/blind.py`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tpobench.data import files as data
from tpobench.tasks.graders import is_right

NAMES = ("Tom", "Anna", "Ben", "Mia", "Sam", "Lily")
THINGS = ("apples", "cups", "books", "coins", "pens", "shells")
SUMS_HELD_OUT = 256
WORDS_TRAINED, WORDS_HELD_OUT = 4096, 256
REASONING_TRAINED, REASONING_HELD_OUT = 10_000, 500
LEADING = re.compile(r"\s*(-?\d+)(?![\d,.]*\d)")
GSM8K_ASKS = '{} Let\'s think step by step and output the final answer after "####".'  # as verl prepares GSM8K


class Problem(NamedTuple):
    """A question, the beginning of its answer, and what is right."""

    question: str
    begun: str
    answer: Any  # a number as text, or the entry that Reasoning Gym grades by


def right_answer(problem: Problem) -> str:
    """As text: of an entry the one that Reasoning Gym has, which need not be the only one."""
    return str(problem.answer["answer"] if isinstance(problem.answer, Mapping) else problem.answer)


Grade = Callable[[str, Problem, str], float]  # (completion, problem, grader) -> 0 to 1


@dataclass(frozen=True)
class Problems:
    """A set to train on, one to evaluate on, how a completion is graded, and what else than the model's end ends it."""

    trained: Sequence[Problem]
    held_out: Sequence[Problem]
    grade: Grade
    stop: str = ""  # a token whose text has this ends a completion


def add(largest: int) -> Problems:
    """Sums of two numbers; a completion ends after its first number, which is read."""
    sums = [(a, b) for a in range(2, largest + 1) for b in range(2, largest + 1)]
    order = _stream("add").permutation(len(sums))
    asked = [Problem(f"What is {a} + {b}?", f"{a} + {b} =", str(a + b)) for a, b in (sums[i] for i in order)]
    held_out = min(SUMS_HELD_OUT, len(asked) // 4)
    return Problems(asked[held_out:], asked[:held_out], _leading, stop="[^ 0-9]")


def words(largest: int) -> Problems:
    """A quantity, and what is added to it or taken away."""
    stream = _stream("words")
    asked = dict.fromkeys(_word_problem(stream, largest) for _ in range(2 * (WORDS_TRAINED + WORDS_HELD_OUT)))
    problems = list(asked)[: WORDS_TRAINED + WORDS_HELD_OUT]
    held_out = min(WORDS_HELD_OUT, len(problems) // 4)
    return Problems(problems[held_out:], problems[:held_out], _by_grader)


def _word_problem(stream: np.random.Generator, largest: int) -> Problem:
    name, thing = (str(stream.choice(words)) for words in (NAMES, THINGS))
    a, more = int(stream.integers(4, largest + 1)), bool(stream.integers(2))
    b = int(stream.integers(2, largest + 1 if more else a))
    change, end = (f"gets {b} more", "now") if more else (f"gives away {b}", "left")
    return Problem(
        f"{name} has {a} {thing} and {change} {thing}. How many {thing} does {name} have {end}?",
        "", str(a + b if more else a - b),
    )  # fmt: skip


def gsm8k(largest: int) -> Problems:  # noqa: ARG001 - its numbers are its own
    """The published splits."""
    return Problems(_gsm8k("train"), _gsm8k("test"), _by_grader)


def _gsm8k(split: str) -> list[Problem]:
    lines = data.read(f"gsm8k/{split}.jsonl")[0].decode().splitlines()
    rows = (json.loads(line) for line in lines)
    return [Problem(GSM8K_ASKS.format(r["question"]), "", _gold(r["answer"])) for r in rows]


def graph_coloring(largest: int) -> Problems:  # noqa: ARG001 - Reasoning Gym's own sizes
    """Colour the vertices of a graph, in JSON."""
    return _reasoning("graph_color")


def knights_knaves(largest: int) -> Problems:  # noqa: ARG001 - as above
    """Who tells the truth, who lies?"""
    return _reasoning("knights_knaves")


def _reasoning(name: str) -> Problems:
    """A task of Reasoning Gym at its own settings, with its own grader."""
    import reasoning_gym  # noqa: PLC0415 - an extra

    trained, held_out = (
        reasoning_gym.create_dataset(name, size=size, seed=seed)
        for seed, size in enumerate((REASONING_TRAINED, REASONING_HELD_OUT))
    )
    return Problems(_Entries(trained), _Entries(held_out), _scored(name))


def _scored(name: str) -> Grade:
    """By the task's own grader."""

    def grade(completion: str, problem: Problem, grader: str) -> float:  # noqa: ARG001 - its own
        import reasoning_gym  # noqa: PLC0415 - an extra

        return float(reasoning_gym.get_score_answer_fn(name)(completion.strip(), problem.answer))

    return grade


class _Entries(Sequence[Problem]):
    """Entries of Reasoning Gym, which are made when they are asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        entry = self.dataset[index]
        return Problem(entry["question"], "", entry)


def _gold(solution: str) -> str:
    return solution.rpartition("####")[2].strip()


def _leading(completion: str, problem: Problem, grader: str) -> float:  # noqa: ARG001 - the answer is begun
    match = LEADING.match(completion)
    return float(match is not None and int(match[1]) == int(problem.answer))


def _by_grader(completion: str, problem: Problem, grader: str) -> float:
    return float(is_right(completion, problem.answer, grader))


def _stream(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=int.from_bytes(name.encode(), "little")))


PROBLEMS: dict[str, Callable[[int], Problems]] = {
    f.__name__: f for f in (add, words, gsm8k, graph_coloring, knights_knaves)
}
GRADES: dict[str, Grade] = {  # where the problems themselves are not at hand
    "add": _leading, "words": _by_grader, "gsm8k": _by_grader, "graph_coloring": _scored("graph_color"),
    "knights_knaves": _scored("knights_knaves"),
}  # fmt: skip


@functools.lru_cache(maxsize=4)
def problems_of(name: str, largest: int) -> Problems:
    """The problems of a name, made once per process."""
    return PROBLEMS[name](largest)
