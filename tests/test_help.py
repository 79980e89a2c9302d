"""`--help`: every command in its group, with an example that works, and nothing cut short."""

import re
import shlex

import pytest
from typer.main import get_command

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.cli import app
from tpobench.cli.base import algorithms_of, split
from tpobench.cli.help import GROUPS, RARE, examples_of, first_sentence, text_of
from tpobench.suites.load import suite_names

ROOT = get_command(app)


def commands(command=ROOT, path=()):
    """Every command with its words, groups too."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


COMMANDS = {" ".join(path): command for path, command in commands()}


def parsed(line):
    """The command that a line names, and its options, nothing run."""
    program, *words = shlex.split(line)
    assert program == "tpobench"
    command = ROOT
    while words and hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    return command, command.make_context("", words).params


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_an_example_that_parses(words):
    """Its own options, of suites and algorithms that are there."""
    assert examples_of(COMMANDS[words])
    for line in examples_of(COMMANDS[words]):
        command, options = parsed(line)
        assert line.startswith(f"tpobench {words}")
        assert command in [each for path, each in COMMANDS.items() if path.startswith(words)]
        named = options.get("suite") or ()
        assert {*split([named] if isinstance(named, str) else named)} <= {*suite_names()}
        assert {*algorithms_of(options.get("algos"))} <= ALGORITHMS.keys()


def helped(command_line, monkeypatch, words, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = command_line(*words.split(), "--help")
    assert (code, err) == (0, "")
    return out


@pytest.mark.parametrize("columns", [80, 160])
def test_no_help_is_cut(command_line, monkeypatch, columns):
    """Every word that a command and its options say stands there, in lines that fit."""
    for words, command in COMMANDS.items():
        out = helped(command_line, monkeypatch, words, columns)
        assert max(map(len, out.splitlines())) < columns, words
        flowing = " ".join(out.split())
        said = [text_of(command), *examples_of(command), *(getattr(p, "help", None) or "" for p in command.params)]
        said += map(first_sentence, getattr(command, "commands", {}).values())
        assert [text for text in said if " ".join(text.split()) not in flowing] == [], words


def test_commands_stand_in_their_groups_in_the_order_of_work(command_line, monkeypatch):
    """All of them, each once, a sentence each; what is new says where it belongs."""
    out = helped(command_line, monkeypatch, "", 80)
    sections = dict(re.findall(r"^(\S.*):\n((?:  .*\n)+)", out, re.MULTILINE))
    listed = {title: tuple(re.findall(r"^  (\S+) ", sections[title], re.MULTILINE)) for title in GROUPS}
    assert listed == GROUPS
    assert list(ROOT.list_commands(ROOT.make_context("", ["list"]))) == [n for names in GROUPS.values() for n in names]
    assert "Commands" not in sections
    assert all(re.fullmatch(r"[A-Z][^\n]*\.", first_sentence(each)) for each in COMMANDS.values())


def test_common_options_come_before_rare_ones(command_line, monkeypatch):
    """`run`: what is trained, then on what, then what few need."""
    out = helped(command_line, monkeypatch, "run", 80)
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, re.MULTILINE)
    assert options[:4] == ["--suite", "--algos", "--seeds", "--smoke"]
    common, _, rare = out.partition("\nRare options:\n")
    assert not RARE.intersection(re.findall(r"--[\w-]+", common))
    assert RARE.issuperset(re.findall(r"^  (--[\w-]+)", rare, re.MULTILINE))


def test_every_rare_option_is_one():
    """A name that is misspelt would make nothing rare."""
    assert {o for c in COMMANDS.values() for p in c.params for o in p.opts} >= RARE


def test_arguments_are_written_in_capitals_and_explained():
    """As what is to be replaced, beside commands that are typed as they stand."""
    arguments = [p for each in COMMANDS.values() for p in each.params if p.param_type_name == "argument"]
    assert [p.name for p in arguments if not (p.help and p.metavar and p.metavar.isupper())] == []
