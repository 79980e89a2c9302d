"""`check --against REF`: the merge base is trained here, by its own sources, and what was changed is held to it."""

import json
import subprocess

import pytest
from check_helpers import TOML
from record_helpers import command

import tpobench.cli.check  # registers the verb

MINE = """
from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient


def credit(groups):
    return SIGN(groups.reward - groups.baseline)


register(Algorithm("mine", credit=credit, fit=policy_gradient, max_epochs=1, paper="ours"))
"""


def git(*words):
    """A git command in this folder."""
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


@pytest.fixture
def tpobench(monkeypatch, capsys, tmp_path):
    """The command line in a repository that holds a suite and an algorithm."""
    monkeypatch.chdir(tmp_path)
    text = TOML.format(steps=4, seeds=20, algorithms=["mine"]).replace("'", '"')
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.py").write_text(MINE.replace("SIGN", "+"), encoding="utf-8")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "first")
    return lambda *words: command(monkeypatch, capsys, *words)


def test_a_change_is_held_to_the_commit_it_was_made_on(tpobench, tmp_path):
    """Unchanged, every value is equal; with the sign turned it is worse on the same machine, and no tree is left."""
    words = ("check", "--against", "main", "--suite", "tiny.toml", "--plugin", "mine.py", "--executor", "inline")
    code, out, err = tpobench(*words, "--json", "--expect-unchanged")
    assert code == 0, err
    assert {c["status"] for c in json.loads(out)["cells"]} == {"unchanged"}
    (tmp_path / "mine.py").write_text(MINE.replace("SIGN", "-"), encoding="utf-8")
    code, out, _ = tpobench(*words, "--json")
    assert (code, json.loads(out)["outcome"]) == (1, "regressed")
    listed = subprocess.run(["git", "worktree", "list"], check=True, capture_output=True, text=True).stdout
    assert len(listed.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name a baseline with --baseline FILE, or a commit with --against REF"),
        (("--against", "main", "--baseline", "b.jsonl"), "name a baseline with --baseline FILE"),
        (("--against", "main"), "name them with --suite"),
        (("--against", "nowhere", "--suite", "tiny.toml"), "--against: git merge-base: fatal"),
        (("--against", "main", "--suite", "tiny.toml", "--plugin", "/mine.py"), "lies outside the repository"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(tpobench, words, told):
    """In one line."""
    code, out, err = tpobench("check", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
