"""`conformance`: is somebody else's loss the algorithm it is taken for, and if none is named, which one is it?"""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpobench.cli.base import AnswerFormat, app, require_places, show, split, spread, write_file
from tpobench.cli.check import JunitOption
from tpobench.errors import TpobenchError, UsageError

if TYPE_CHECKING:
    from tpobench.algorithms.algorithm import Value
    from tpobench.conformance import Findings


def conformance_(
    *,
    function: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="A loss: mytrainer.py:loss, or package.module:loss.")
    ],
    as_: Annotated[
        str | None, typer.Option("--as", help="The algorithm that it should be; without it: which one is it?")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a hyperparameter of the algorithm: clip_high=0.28.")
    ] = None,
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="NAME=VALUE, a parameter of the function that is a constant.")
    ] = None,
    advantage: Annotated[
        str | None,
        typer.Option("--advantage", help="MODULE:FUNCTION that makes its advantages; without it they are ours."),
    ] = None,
    path: Annotated[
        Path, typer.Option("--path", help="Folder whose modules can be imported; default: the working directory.")
    ] = Path(),
    strict: Annotated[bool, typer.Option("--strict", help="Limits end with exit code 1 too.")] = False,
    junit: JunitOption = None,
    format_: AnswerFormat,
) -> None:
    """Hold a loss against an algorithm, or say which one it is.  What every loss should keep is tried too.

    $ tpobench conformance mytrainer.py:loss --as grpo_trl
    """
    from tpobench.conformance import document

    require_places([junit] if junit is not None else [])
    try:
        findings = _findings(function, as_, advantage, path, _values(set_), _values(with_), strict=strict)
    except TpobenchError as error:
        if junit is not None:
            write_file(junit, document.junit_of_error(str(error), type(error).__name__))
        raise
    if junit is not None:
        write_file(junit, document.junit(findings))
    show(document.document_of(findings), format_.name)
    if findings.exit_code:
        raise typer.Exit(findings.exit_code)


app.command("conformance")(spread(conformance_))


def _findings(
    target: str,
    algorithm: str | None,
    advantage: str | None,
    path: Path,
    hyper: Mapping[str, Value],
    given: Mapping[str, Value],
    *,
    strict: bool,
) -> Findings:
    from tpobench.conformance import conformance
    from tpobench.conformance.calls import Function, load_function
    from tpobench.plugins.undisturbed import undisturbed

    if hyper and algorithm is None:
        msg = "--set is a hyperparameter of the algorithm; name it with --as"
        raise UsageError(msg)
    with undisturbed():
        inner = None if advantage is None else Function(advantage, load_function(advantage, path))
        function = Function(target, load_function(target, path), given, inner)
        return conformance(function, algorithm, hyper=hyper, strict=strict)


def _values(words: list[str] | None) -> dict[str, Value]:
    from tpobench.suites.reading import parse_value

    values = {}
    for word in split(words):
        name, equals, text = word.partition("=")
        if not equals or not name:
            msg = f"'{word}' sets nothing; write NAME=VALUE, such as clip_high=0.28"
            raise UsageError(msg)
        values[name] = parse_value(text)
    return values
