"""Errors a user can meet, each with the exit code of the command line.

TpobenchError            70  internal error
  UsageError              2  unknown suite, algorithm, key or value; broken TOML
  RunsFailed              3  some runs failed
  NothingToDo             4  nothing to run, report or compare
  WorkersBroken           3  child processes cannot start
  DataUnavailable         5  a data set cannot be had
  CorruptResults          6  corrupt, newer-schema or conflicting results
  StorageFull             6  results cannot be written
  Stopped               130  stopped by the user (130) or the system (143)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tpobench.printable import brief


class TpobenchError(Exception):
    """Anything tpobench refuses, in one line: what, where, what would work."""

    exit_code = 70


class UsageError(TpobenchError):
    """Unknown suite, algorithm, key or value, or a suite file that cannot be read."""

    exit_code = 2


class RunsFailed(TpobenchError):
    """Some runs ended without a result."""

    exit_code = 3


class NothingToDo(TpobenchError):
    """Nothing to run, report or compare."""

    exit_code = 4


class WorkersBroken(TpobenchError):
    """Child processes cannot start, so no run can."""

    exit_code = 3


class DataUnavailable(TpobenchError):
    """A data set is neither here nor to be fetched."""

    exit_code = 5


class CorruptResults(TpobenchError):
    """Results that are damaged, conflicting, or written by a newer version."""

    exit_code = 6


class StorageFull(TpobenchError):
    """Results cannot be written: the disk is full, or the folder is read-only."""

    exit_code = 6


class Stopped(TpobenchError):
    """The user or the system stopped the command."""

    exit_code = 130


def words_of(error: BaseException) -> str:
    """What an error says; nothing where it is too broken to say it."""
    try:
        return str(error).strip()
    except Exception:  # noqa: BLE001 - code of users raises it
        return ""


def in_one_line(error: BaseException) -> str:
    """`ValueError: the first line of what it says`."""
    lines = words_of(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def require_text(text: str, what: str) -> str:
    """The text, where a file can hold it.

    Raises:
        UsageError: a word of the command line whose bytes are no text in this locale.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} is no text in this locale; write it in UTF-8 and set LC_ALL=C.UTF-8"
        raise UsageError(msg) from error
    return text


MOST_VALID = 24  # names that a message lists; of more, those that are most alike


def unknown(kind: str, name: str, valid: Iterable[str], where: str = "", *, remedy: str = "") -> UsageError:
    """`unknown algorithm 'TPOO' in X; did you mean 'tpo'? valid: ...; remedy`."""
    name, options = brief(name), sorted(valid)
    by_letters = {option.casefold(): option for option in options}
    near = [by_letters[n] for n in difflib.get_close_matches(name.casefold(), by_letters, n=MOST_VALID // 2, cutoff=0)]
    alike = difflib.get_close_matches(name.casefold(), by_letters, n=1)
    hint = f"did you mean '{by_letters[alike[0]]}'? " if alike else ""
    place = f" in {where}" if where else ""
    more = f" and {len(options) - len(near)} more"
    names = ", ".join(options) if len(options) <= MOST_VALID else ", ".join(sorted(near)) + more
    end = f"; {remedy}" if remedy else ""
    return UsageError(f"unknown {kind} '{name}'{place}; {hint}valid: {names or f'none, there is no {kind}'}{end}")
