r"""Which completions of a GSM8K-style problem are right: graders by name, the text alone decides.

strict            the number after the last `####`, read as a number: $, thousands commas, signs, 42. and 42.00, **42**
flexible          strict where there is a mark; else the last \boxed{...}, else the first number after the last "answer
                  is", else the last number
verl-strict       verl 0.9 `gsm8k.compute_score`: last `#### number` of the last 300 characters, equal as text
lm-eval-strict    lm-evaluation-harness 0.4 `gsm8k`: first `#### number`, equal as text without commas, $ and final dot
lm-eval-flexible  the same task's `flexible-extract`: last number of the text

What cannot be read as a number is a wrong answer, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

MARK = "####"
NUMBER = re.compile(r"[-−]?\s?\$?\s?[-−]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|[-−]?\$?\.[0-9]+")
MARKED = re.compile(r"#### (-?[0-9.,]+)")
ANY_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
BOXED = re.compile(r"\\boxed\{([^\n]*)")
ANSWER_IS = re.compile(r"answer is", re.IGNORECASE)
VERL_CHARACTERS = 300


def strict(completion: str) -> Decimal | None:
    """The number that the text after the last `####` begins with, but for marks of emphasis."""
    _, mark, after = completion.rpartition(MARK)
    match = NUMBER.match(after.lstrip(" \t*_:=$\\")) if mark else None
    signed = re.match(r"\s*[*_]*[-−]", after) is not None
    return None if match is None else _number(match[0], negative=signed)


def flexible(completion: str) -> Decimal | None:
    r"""By mark, box, the words "answer is", or place: the last number."""
    if MARK in completion:
        return strict(completion)
    if boxes := BOXED.findall(completion):
        return _first(boxes[-1])
    if phrases := list(ANSWER_IS.finditer(completion)):
        return _first(completion[phrases[-1].end() :])
    numbers = NUMBER.findall(completion)
    return _number(numbers[-1]) if numbers else None


def _first(text: str) -> Decimal | None:
    match = NUMBER.search(text.replace("\\$", "$"))
    return None if match is None else _number(match[0])


def _number(text: str, *, negative: bool = False) -> Decimal:
    sign = -1 if negative or text[0] in "-−" or "-" in text or "−" in text else 1
    return sign * Decimal("0" + re.sub(r"[^0-9.]", "", text).rstrip("."))


def _by_value(extract: Callable[[str], Decimal | None]) -> Callable[[str, str], bool]:
    return lambda completion, gold: (answer := extract(completion)) is not None and answer == extract(f"{MARK} {gold}")


def _verl_strict(completion: str, gold: str) -> bool:
    numbers = MARKED.findall(completion[-VERL_CHARACTERS:])
    return bool(numbers) and numbers[-1].replace(",", "") == gold.replace(",", "")


def _lm_eval_strict(completion: str, gold: str) -> bool:
    match = MARKED.search(completion)
    return match is not None and _plain(match[1]) == _plain(gold)


def _lm_eval_flexible(completion: str, gold: str) -> bool:
    numbers = ANY_NUMBER.findall(completion)
    return bool(numbers) and _plain(numbers[-1]) == _plain(gold)


def _plain(number: str) -> str:
    return re.sub(r"[,$]|\.$", "", number)


GRADERS: dict[str, Callable[[str, str], bool]] = {
    "strict": _by_value(strict),
    "flexible": _by_value(flexible),
    "verl-strict": _verl_strict,
    "lm-eval-strict": _lm_eval_strict,
    "lm-eval-flexible": _lm_eval_flexible,
}


def is_right(completion: str, gold: str, grader: str = "strict") -> bool:
    """Whether a completion has the answer `gold`, a number as GSM8K writes it, by a grader of GRADERS."""
    return GRADERS[grader](completion, gold)
