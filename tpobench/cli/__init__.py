"""The command line: parse, call one library function, print, exit code.

help         how help reads: its groups, its order, its examples
refusals     what the parser of the command line refuses, on one line
base         what every verb shares: the application, its options, and how it speaks
training     the options of every verb that trains
kernel       `--kernel`
designs      what is told of the ways in which runs are chosen
runs         `run` and `plan`
browse       `list` and `show suite`
details      `show algo` and `show run`
stored       `status`, `report`, `pack` and `merge`
export       `export`
compare      `compare` and `power`
check        `check`
against      the merge base, trained here for `check`
candidates   whose results `check` judges
baselines    `baseline update`
inspect      `lint` and `audit`
recipe       `recipe` and `import`
reproduce    `reproduce`
league       `league`
data         `data fetch` and `data list`
validate     `validate`
new_algo     `new-algo`
verify       `verify`
watch        `watch`
conformance  `conformance`
machine      `doctor`
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from tpobench import __version__
from tpobench.cli import (
    browse,
    check,
    compare,
    conformance,
    data,
    details,
    export,
    inspect,
    league,
    machine,
    new_algo,
    recipe,
    reproduce,
    runs,
    stored,
    validate,
    verify,
    watch,
)
from tpobench.cli.base import BROKEN_PIPE, answer, app, say
from tpobench.errors import DataUnavailable, TpobenchError, UsageError
from tpobench.printable import printable

__all__ = ["app", "main"]

INTERNAL_ERROR = 70


def _version(*, value: bool) -> None:
    if value:
        answer(f"tpobench {__version__}, Python {sys.version.split()[0]}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda value: _version(value=value), is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del version


def _open_standard_files() -> None:
    """Where 0, 1 or 2 is closed the next file would take its place, and be written to as if it were a terminal."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdin, sys.stdout, sys.stderr = (
        Path(os.devnull).open(mode, encoding="utf-8") if stream is None else stream  # noqa: SIM115 - for good
        for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
    )


def main() -> None:
    """Entry point: every expected error is one line and its exit code, an unexpected one is 70."""
    _open_standard_files()
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever the shell says of windows
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a title may hold what the terminal cannot show
    try:
        app()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # in what the parser of the command line says itself
            sys.exit(BROKEN_PIPE)
        raise
    except DataUnavailable as error:
        say(f"tpobench: {error}")  # a line for each file and remedy
        sys.exit(error.exit_code)
    except TpobenchError as error:
        say(printable(f"tpobench: {error}"))
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if isinstance(error, OSError) and error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:  # of any path in the words
            say(printable(f"tpobench: {error.filename}: {error.strerror}"))
            sys.exit(UsageError.exit_code)
        if os.environ.get("TPOBENCH_DEBUG") == "1":
            traceback.print_exc()
        say(printable(f"tpobench: internal error: {type(error).__name__}: {error}; TPOBENCH_DEBUG=1 shows where"))
        sys.exit(INTERNAL_ERROR)
