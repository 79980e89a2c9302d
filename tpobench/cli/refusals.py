"""What the parser of the command line refuses, as everything else is: what, where, what would work, on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from tpobench.errors import UsageError, unknown
from tpobench.printable import brief

REFUSAL: Any = typer.BadParameter.__base__  # of click, or of the copy of it that newer versions of Typer have
ASKED_FOR_NOTHING = "NoArgsIsHelpError"  # which shows the help


@contextmanager
def refused_in_one_line(command: Any, path: str, args: Sequence[str]) -> Iterator[None]:
    """Of what the parser refuses within it.

    Raises:
        UsageError: an option that there is none of or that is missing, or a value that it cannot have.
    """
    words = list(args)  # which the parser takes away
    try:
        yield
    except REFUSAL as error:
        if type(error).__name__ == ASKED_FOR_NOTHING:
            raise
        raise _refusal(error, command, path, words) from None


def refuse_nan(command: Any, args: Sequence[str]) -> None:
    """No range holds NaN, and not every one excludes it.

    Raises:
        UsageError: an option whose value it is.
    """
    for parameter in command.params:
        value = _value(parameter, args) if (number := number_of(parameter)) else None
        if value is not None and value.strip().lower().lstrip("+-") == "nan":
            msg = f"{name_of(parameter)} {value}: write {number}"
            raise UsageError(msg)


def _refusal(error: Any, command: Any, path: str, args: Sequence[str]) -> UsageError:
    where = f"tpobench {path}".rstrip()
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if kind == "NoSuchOption":
        options = [name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")]
        return unknown("option", error.option_name, [*options, "--help"], where)
    if kind == "MissingParameter" and parameter is not None:
        return UsageError(f"{name_of(parameter)} is missing; `{where} --help` shows what it takes")
    text = " ".join(error.format_message().split()).removesuffix(".")
    if parameter is not None and (number := number_of(parameter)) and (value := _value(parameter, args)) is not None:
        return UsageError(f"{name_of(parameter)} {brief(value)}: write {number}")
    return UsageError(f"{text[:1].lower()}{text[1:]}; `{where} --help` shows what it takes")


def _value(parameter: Any, args: Sequence[str]) -> str | None:
    """What was written for an option, the last time."""
    for i, word in reversed(list(enumerate(args))):
        for name in parameter.opts:
            if word == name:
                return args[i + 1] if i + 1 < len(args) else None
            if word.startswith(f"{name}=" if name.startswith("--") else name):
                return word.removeprefix(name).removeprefix("=")
    return None


def name_of(parameter: Any) -> str:
    """`--jobs`, `PATH`: its longest spelling."""
    argument = parameter.param_type_name == "argument"
    return str((parameter.metavar or parameter.name).upper() if argument else max(parameter.opts, key=len))


def number_of(parameter: Any) -> str:
    """What an option of numbers takes: `a whole number of at least 1`; empty for any other."""
    kind = getattr(parameter, "type", parameter)  # newer versions of Typer have no types of click
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    name = re.match("int|float", getattr(annotation, "__name__", "") or str(getattr(kind, "name", "")))
    if name is None:
        return ""
    ends = {"of at least": getattr(kind, "min", None), "of at most": getattr(kind, "max", None)}
    bounds = " and ".join(f"{words} {end:g}" for words, end in ends.items() if end is not None)
    return f"{'a whole number' if name[0] == 'int' else 'a number'} {bounds}".rstrip()
