"""How completions are asked for and graded where an engine draws them: the same text, the same grades as here."""

from __future__ import annotations

import json
from typing import Any

from tpobench.tasks.catalog import LanguageSettings
from tpobench.tasks.language import RIGHT
from tpobench.tasks.problems import GRADES, Problem


def row(problem: Problem, task: LanguageSettings, *, begun: bool) -> dict[str, Any]:
    """A problem as verl reads it, and as TRL's trainer can: messages, and the answer as JSON."""
    user = {"role": "user", "content": problem.question, **({"begun": problem.begun} if begun else {})}
    return {
        "data_source": task.problems,
        "prompt": [{"role": "system", "content": task.system}] * bool(task.system) + [user],
        "reward_model": {"style": "rule", "ground_truth": json.dumps(problem.answer)},
    }


def chat_template(task: LanguageSettings, own: str, *, begun: bool) -> str:
    """A template in Jinja that renders messages as `Weights.encode` does; empty where it is the model's own.

    own: the model's.
    """
    pieces = (json.dumps(piece, ensure_ascii=False) for piece in task.template.split("{question}"))
    asked = "{{ " + " + messages[-1]['content'] + ".join(pieces) + " }}"
    template = asked if task.template else own.removesuffix("\n") if begun else ""  # which Jinja drops at the end alone
    return template + "{{ messages[-1]['begun'] }}" * begun


def grade(problems: str, completion: str, truth: str, grader: str) -> float:
    """From 0 to 1, of a completion that has its end."""
    return GRADES[problems](completion, Problem("", "", json.loads(truth)), grader)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, *, grader: str, **_: Any
) -> dict[str, float]:
    """verl's reward: `score` is the grade, and `acc` whether all is right."""
    del extra_info
    score = grade(data_source, solution_str, ground_truth, grader)
    return {"score": score, "acc": float(score >= RIGHT)}
