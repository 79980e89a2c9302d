"""`new-algo`: what it writes keeps its contract as it is, and nothing is overwritten."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.contract import CONTRACT
from tpobench.errors import UsageError
from tpobench.plugins.load import load_plugin, read_plugin


def test_what_it_writes_keeps_its_contract_and_trains(command_line, tmp_path: Path, monkeypatch) -> None:
    """A plug-in of about ten lines with an equation at each part, and a test that passes; both by other names too."""
    monkeypatch.setattr("tpobench.plugins.check.require_contract", lambda _: None)
    code, out, err = command_line("new-algo", "fresh", "--out", "deep/file.py")
    assert (code, out) == (0, "")
    assert (
        err.splitlines()[-1] == "next: tpobench run --suite sparse --algos tpo,grpo,fresh --plugin deep/file.py --smoke"
    )
    text = (tmp_path / "deep" / "file.py").read_text(encoding="utf-8")
    assert len([line for line in text.splitlines() if line]) <= 12
    test = runpy.run_path(str(tmp_path / "deep" / "test_file.py"))["test_it_keeps_its_contract"]
    for promise in CONTRACT:
        test(promise)
    assert [f.__doc__.partition(":")[0] for f in (ALGORITHMS["fresh"].credit, ALGORITHMS["fresh"].fit)] == [
        "A_k = r_k - sum_j w_j r_j", "L = -sum_k w_k A_k sum_t log pi_kt",
    ]  # fmt: skip
    run = ("--suite", "sparse", "--plugin", "deep/file.py", "--smoke", "--json")
    plan = json.loads(command_line("plan", "--algos", "tpo,grpo,fresh", *run)[1])
    assert {(row["algorithm"], row["reason"]) for row in plan["suites"][0]["rows"]} == {
        ("tpo", ""), ("grpo", ""), ("fresh", ""),
    }  # fmt: skip
    code, _, err = command_line("run", "--algos", "fresh", *run, "--executor", "inline", "--set", "length=2")
    assert code == 0, err


def test_the_test_that_it_writes_can_fail(command_line, tmp_path: Path) -> None:
    """With the promise that is broken and how to keep it."""
    assert command_line("new-algo", "fresh")[0] == 0
    path = tmp_path / "fresh.py"
    path.write_text(path.read_text(encoding="utf-8").replace(".sum(-1, keepdim=True)", ".sum()"), encoding="utf-8")
    test = runpy.run_path(str(tmp_path / "test_fresh.py"))["test_it_keeps_its_contract"]
    promise = next(p for p in CONTRACT if p.text == "seeds are independent")
    with pytest.raises(AssertionError, match="credit mixes seeds"):
        test(promise)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["tpo"], "algorithm 'tpo' exists already; `tpobench list algorithms` shows all of them"),
        (["my-algo"], "'my-algo' is no name of an algorithm here; use a-z, 0-9 and _"),
        (["Mine"], "'Mine' is no name of an algorithm here"),
        (["class"], "'class' is no name of an algorithm here"),
        (["2fast"], "'2fast' is no name of an algorithm here"),
        (["../mine"], "'../mine' is no name of an algorithm here"),
        (["random"], "random.py: 'random' is a module of Python or of a package, which it would hide"),
        (["mine", "--out", "torch.py"], "torch.py: 'torch' is a module of Python or of a package"),
        (["mine", "--out", "mine.txt"], "mine.txt: a plug-in is a Python file"),
        (["mine", "--out", "my-algo.py"], "my-algo.py: a plug-in is a Python file"),
        (["mine", "--out", "there.py"], "there.py exists already and is left as it is"),
        (["there"], "there.py exists already"),
        (["half"], "test_half.py exists already"),
    ],
)
def test_names_and_files_that_are_taken_are_refused(command_line, tmp_path: Path, words: list[str], line: str) -> None:
    """In one line, and nothing is written."""
    for name in ("there.py", "test_half.py"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    code, out, err = command_line("new-algo", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tpobench: {line}")
    assert {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir()} == {
        "there.py": "mine",
        "test_half.py": "mine",
    }


def test_a_file_of_it_is_a_plugin_that_others_cannot_replace(command_line, tmp_path: Path) -> None:
    """Two files of one name are refused, as any two plug-ins are."""
    for out in ("one.py", "two.py"):
        assert command_line("new-algo", "fresh", "--out", out)[0] == 0
    load_plugin(read_plugin(tmp_path / "one.py"))
    with pytest.raises(UsageError, match="algorithm 'fresh' exists already"):
        load_plugin(read_plugin(tmp_path / "two.py"))
