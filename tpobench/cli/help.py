"""How help reads: commands by their purpose in the order of work, common options before rare ones, examples as typed.

A line of a docstring that begins with `$ ` is an example.  Nothing is cut short: what does not fit is wrapped.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from tpobench.cli.refusals import refuse_nan, refused_in_one_line
from tpobench.errors import unknown

Function = TypeVar("Function", bound=Callable[..., Any])
EXAMPLE = "$ "
WIDEST = 100  # columns, of a wider terminal too: longer lines are hard to read
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Run (choose what to train, and train it)": (
        "list", "show", "plan", "run", "new-algo", "validate", "league", "reproduce", "recipe", "data", "doctor",
    ),
    "Look (at what the runs say)": ("watch", "status", "report", "compare", "power"),
    "Judge (a change, results, a loss)": ("check", "baseline", "lint", "audit", "verify", "conformance"),
    "Share (results between machines and people)": ("pack", "merge", "export", "import"),
}  # fmt: skip
COMMON, SELDOM = "Options", "Rare options"
RARE = frozenset({
    "--kernel", "--executor", "--scheduler", "--shard", "--time-budget", "--max-cost", "--run-timeout",
    "--memory-limit", "--max-attempts", "--retry-failed", "--data", "--data-dir", "--allow-unverified-data",
    "--margin", "--rtol", "--confirm", "--waivers", "--ci", "--diverged", "--paper-compat", "--classes",
    "--install-completion", "--show-completion",
})  # fmt: skip
KINDS = {"str": "TEXT", "path": "PATH", "int": "N", "float": "NUMBER"}


class Verb(TyperCommand):
    """A command."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Its words read."""
        refuse_nan(self, args)
        with refused_in_one_line(self, path_of(info_name, parent), args):
            return super().make_context(info_name, args, parent, **extra)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, what it does, its options, examples."""
        self.format_usage(ctx, formatter)
        _write_text(self, formatter)
        _write_options(self, ctx, formatter)
        _write_examples(self, formatter)


class Verbs(TyperGroup):
    """A command that has commands."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Its own words read."""
        with refused_in_one_line(self, path_of(info_name, parent), args):
            return super().make_context(info_name, args, parent, **extra)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names.

        Raises:
            UsageError: there is none of that name.
        """
        if self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.list_commands(ctx), path_of(ctx.info_name, ctx.parent))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of GROUPS, others after them as they were declared."""
        names = super().list_commands(ctx)
        ranks = {name: rank for rank, name in enumerate(name for group in GROUPS.values() for name in group)}
        return sorted(names, key=lambda name: ranks.get(name, len(ranks))) if ctx.parent is None else names

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, what it is, its commands, its options, examples."""
        self.format_usage(ctx, formatter)
        _write_text(self, formatter)
        names = self.list_commands(ctx)
        groups = GROUPS if ctx.parent is None else {}
        listed = {name for group in groups.values() for name in group}
        for title, group in (*groups.items(), ("Commands", [name for name in names if name not in listed])):
            if rows := [(name, first_sentence(self.commands[name])) for name in group if name in names]:
                with formatter.section(title):
                    formatter.write_dl(_aligned(rows, names))
        _write_options(self, ctx, formatter)
        _write_examples(self, formatter)


class Application(typer.Typer):
    """Commands whose help reads so."""

    def __init__(self, **settings: Any) -> None:
        plain: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "pretty_exceptions_enable": False}
        super().__init__(cls=Verbs, context_settings={"max_content_width": WIDEST}, **plain, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """As Typer's."""
        return super().command(name, cls=Verb, **settings)


def path_of(name: str | None, parent: Any) -> str:
    """The words before the options of a command: `data fetch`; none of the program itself."""
    names = [name] if parent is not None else []
    while parent is not None and parent.parent is not None:
        names.append(parent.info_name)
        parent = parent.parent
    return " ".join(filter(None, reversed(names)))


def lines_of(command: Any) -> list[str]:
    """Its help, line by line."""
    return inspect.cleandoc(command.help or "").splitlines()


def examples_of(command: Any) -> list[str]:
    """The lines that are typed."""
    return [line.removeprefix(EXAMPLE) for line in lines_of(command) if line.startswith(EXAMPLE)]


def text_of(command: Any) -> str:
    """What it does, without examples."""
    text = "\n".join(line for line in lines_of(command) if not line.startswith(EXAMPLE)).strip()
    return re.sub(" +", " ", text)


def first_sentence(command: Any) -> str:
    """What a list of commands says of it."""
    return re.split(r"(?<=\.)\s", text_of(command), maxsplit=1)[0]


def _aligned(rows: list[tuple[str, str]], names: list[str]) -> list[tuple[str, str]]:
    """As wide in every group."""
    width = max(map(len, names))
    return [(name.ljust(width), text) for name, text in rows]


def _write_text(command: Any, formatter: Any) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(text_of(command))


def options_of(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Arguments, options and rare options: how each is typed, and what it is; what there is none of is left out."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], COMMON: [], SELDOM: []}
    for parameter in command.get_params(ctx):
        if record := parameter.get_help_record(ctx):
            argument = parameter.param_type_name == "argument"
            title = "Arguments" if argument else SELDOM if RARE.intersection(parameter.opts) else COMMON
            sections[title].append(_readable(*record, argument=argument))
    return {title: rows for title, rows in sections.items() if rows}


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    for title, rows in options_of(command, ctx).items():
        with formatter.section(title):
            formatter.write_dl(rows)


def _readable(name: str, text: str, *, argument: bool) -> tuple[str, str]:
    """`--runs N` for `--runs <int range>`; an argument is its own name."""
    kind = r" ?<(?:list\[)?(\w+)[^<>]*>"
    name = re.sub(kind, lambda m: "" if argument else " " + KINDS.get(m[1].lower(), m[1].upper()), name)
    return name, re.sub(r"\bx>=(\S+)\]$", r"at least \1]", text)


def _write_examples(command: Any, formatter: Any) -> None:
    if examples := examples_of(command):
        with formatter.section("Examples" if len(examples) > 1 else "Example"):
            for line in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
