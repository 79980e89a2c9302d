"""What the parser of the command line refuses: one line with what, where and what would work, and exit code 2."""

import pytest
from typer.main import get_command

from tpobench.cli import app
from tpobench.cli.refusals import name_of, number_of


def commands(command, path=()):
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


COMMANDS = dict(commands(get_command(app)))
NUMBERS = [(path, name_of(p), number_of(p), getattr(p, "min", None)) for path, c in COMMANDS.items() for p in c.params
           if number_of(p)]  # fmt: skip


def test_the_numbers_of_the_commands_are_seen():
    """Whole ones and others, with their bounds."""
    numbers = {(" ".join(path), name): what for path, name, what, _ in NUMBERS}
    assert numbers["run", "--jobs"] == "a whole number of at least 1"
    assert numbers["power", "--seeds"] == "a whole number of at least 2"
    assert numbers["check", "--rtol"] == "a number of at least 0"
    assert numbers["compare", "--threshold"] == "a number"


@pytest.mark.parametrize(("path", "name", "what", "least"), NUMBERS, ids=[" ".join((*p, n)) for p, n, *_ in NUMBERS])
def test_a_value_that_is_no_such_number_is_refused_on_one_line(command_line, path, name, what, least):
    """A word, a fraction of a whole number, NaN, and what is below the least, of every option of numbers there is."""
    wrong = ["x", "nan", *["1.5"] * ("whole" in what), *([] if least is None else [f"{least - 1:g}"])]
    for value in wrong:
        for words in ((name, value), (f"{name}={value}",)):
            assert command_line(*path, *words) == (2, "", f"tpobench: {name} {value}: write {what}\n")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_that_there_is_none_of_is_refused_with_those_that_there_are(command_line, path):
    """Of every command."""
    code, out, err = command_line(*path, "--hlep")
    assert (code, out, err.count("\n")) == (2, "", 1)
    where = " ".join(("tpobench", *path))
    assert err.startswith(f"tpobench: unknown option '--hlep' in {where}; did you mean '--help'? valid: --")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("bogus",), "unknown command 'bogus'; valid: audit, baseline, "),
        (("data", "ftch"), "unknown command 'ftch' in data; did you mean 'fetch'? valid: fetch, list"),
        (("run",), "--suite is missing; `tpobench run --help` shows what it takes"),
        (("compare",), "A is missing; `tpobench compare --help` shows what it takes"),
        (("run", "--suite"), "option '--suite' requires an argument; `tpobench run --help` shows what it takes"),
        (("report", "a", "b"), "got unexpected extra argument"),
        (("power", "--seeds", "9", "--seeds", "1"), "--seeds 1: write a whole number of at least 2"),
        (("run", "-j0"), "--jobs 0: write a whole number of at least 1"),
    ],
)
def test_whatever_else_the_parser_refuses_is_one_line_too(command_line, words, line):
    """Commands that there are none of, options that are missing or have no value, words too many."""
    code, out, err = command_line(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tpobench: {line}")
