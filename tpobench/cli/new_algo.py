"""`new-algo`: a plug-in file of one algorithm, and the test of its contract beside it."""
# ruff: noqa: PLC0415 - `tpobench --help` must not wait for torch and pandas

from __future__ import annotations

import keyword
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated

import typer

from tpobench.cli.base import app, say, write_file
from tpobench.errors import UsageError

PLUGIN = '''\
"""{name}: what it does, in a line, and where it is from."""

from tpobench import register
from tpobench.algorithms.algorithm import Algorithm


def credit(groups):
    """A_k = r_k - sum_j w_j r_j: which candidates gain mass, (S, B, K)."""
    return groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)


def fit(logp, groups, credit):
    """L = -sum_k w_k A_k sum_t log pi_kt: how the parameters move, (S, B)."""
    return -(groups.weight * credit * (logp * groups.mask).sum(-1)).sum(-1)


register(Algorithm("{name}", credit, fit, compares="candidates", max_epochs=1, paper="{name}"))
'''
TEST = '''\
"""{name} keeps the contract of an algorithm, promise by promise."""

from pathlib import Path

import pytest

from tpobench import ALGORITHMS
from tpobench.algorithms.contract import CONTRACT, examine
from tpobench.plugins.load import load_plugin, read_plugin

load_plugin(read_plugin(Path(__file__).with_name("{file}")))


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.text)
def test_it_keeps_its_contract(promise):
    """What `tpobench validate` prints."""
    (result,) = examine(ALGORITHMS["{name}"], [promise])
    assert result.state == "kept", " ".join(map(str, result.breaches))
'''


@app.command("new-algo")
def new_algo(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called, such as my_algo.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file; default: NAME.py here.")] = None,
) -> None:
    """Write a plug-in of one algorithm, and the test of its contract.  It works as it is and is there to be edited.

    $ tpobench new-algo my_algo
    """
    path = out or Path(f"{name}.py")
    _require_new(name)
    test = path.with_name(f"test_{path.stem}.py")
    if path.suffix != ".py" or not _is_module(path.stem):
        msg = (
            f"{path}: a plug-in is a Python file, named with letters, digits and _ and ending in .py; give one as --out"
        )
        raise UsageError(msg)
    if not path.exists() and (path.stem in sys.stdlib_module_names or PathFinder.find_spec(path.stem)):
        msg = f"{path}: '{path.stem}' is a module of Python or of a package, which it would hide; give another as --out"
        raise UsageError(msg)
    for file in (path, test):
        if file.exists():
            msg = f"{file} exists already and is left as it is; give another file as --out"
            raise UsageError(msg)
    write_file(path, PLUGIN.format(name=name))
    write_file(test, TEST.format(name=name, file=path.name))
    say(f"{path}: the algorithm, to be edited; {test}: the test of its contract")
    say(f"next: tpobench run --suite sparse --algos tpo,grpo,{name} --plugin {path} --smoke")


def _require_new(name: str) -> None:
    """A name that a suite, a Python file and the catalogue can take.

    Raises:
        UsageError: it is none.
    """
    from tpobench.algorithms.catalog import BUILT_IN
    from tpobench.plugins.installed import ALGORITHMS_OF, installed_names
    from tpobench.suites.load import ID

    if not _is_module(name) or ID.fullmatch(name) is None:
        msg = f"'{name}' is no name of an algorithm here; use a-z, 0-9 and _, beginning with a letter, such as my_algo"
        raise UsageError(msg)
    if name in {*BUILT_IN, *installed_names(ALGORITHMS_OF)}:
        msg = (
            f"algorithm '{name}' exists already; `tpobench list algorithms` shows all of them, give yours another name"
        )
        raise UsageError(msg)


def _is_module(name: str) -> bool:
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
