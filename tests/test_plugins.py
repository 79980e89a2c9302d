"""Plugin files: what lies beside them, what they may not touch, and that a broken one costs one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.algorithms.contract import examine
from tpobench.errors import UsageError
from tpobench.execution.job import Message
from tpobench.planning.plan import plan_runs
from tpobench.plugins import check as plugin_check
from tpobench.plugins import load as plugins
from tpobench.plugins.load import load_plugin, load_plugins, read_plugin
from tpobench.suites.load import load_suite

HEAD = """
from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient
"""
CREDIT = "def credit(groups):\n    return groups.reward - groups.reward.mean(-1, keepdim=True)\n"
TAIL = "register(Algorithm({name!r}, credit, policy_gradient, compares='candidates', paper='ours'))\n"
SEED_MIXING = "def credit(groups):\n    a = groups.advantage\n    return (a - a.mean()) / (a.std() + 1e-8)\n"


def plugin(folder: Path, top: str = "", credit: str = CREDIT, name: str = "mine") -> Path:
    """A plugin file of one rule."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(top + HEAD + credit + TAIL.format(name=name), encoding="utf-8")
    return path


def write(folder: Path, texts: dict[str, str]) -> None:
    """Python files of a folder, by their names without .py."""
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def scale(name: str) -> float:
    """What the rule multiplies a reward by."""
    import torch

    from tpobench.algorithms.trial import sequences

    groups = sequences(ALGORITHMS[name]).groups
    return float((ALGORITHMS[name].credit_for(groups) / groups.reward).nan_to_num().max() // torch.tensor(1.0))


def scaled(top: str, factor: str) -> tuple[str, str]:
    """A plugin whose credit is the reward times a number from beside it."""
    return top, f"def credit(groups):\n    return groups.reward * {factor}\n"


# ---- files beside a plugin


def test_files_beside_a_plugin_are_imported_and_are_part_of_its_version(tmp_path: Path) -> None:
    """Modules, packages, helpers of helpers, relative and late imports; what is not imported is no part of it."""
    texts = {
        "helper_rules": "import deep.down\nfrom deep import beside_down\nTWO = deep.down.TWO * beside_down.ONE\n",
        "deep/down": "from .beside_down import ONE\nTWO = 2 * ONE\n",
        "deep/beside_down": "ONE = 1\n",
        "late": "import helper_rules\nFACTOR = helper_rules.TWO + 1\n",
        "stranger": "raise RuntimeError\n",
    }
    write(tmp_path, texts)
    path = plugin(
        tmp_path,
        "from .helper_rules import TWO\n",
        "def credit(groups):\n    import late\n    return groups.reward * late.FACTOR\n",
    )
    read = read_plugin(path)
    assert sorted(read.beside) == ["deep/beside_down.py", "deep/down.py", "helper_rules.py", "late.py"]
    load_plugin(read)
    assert scale("mine") == 3
    assert "helper_rules" not in sys.modules
    versions = {read.version}
    for name in ("deep/down", "late", "helper_rules"):
        write(tmp_path, {name: texts[name] + "# edited\n"})
        versions.add(read_plugin(path).version)
    assert len(versions) == 4
    write(tmp_path, {"stranger": ""})
    assert read_plugin(path).version in versions


def test_an_edit_beside_a_plugin_is_seen(tmp_path: Path) -> None:
    """The rule is another one, under another version."""
    path = plugin(tmp_path, *scaled("from factors import A\n", "A"))
    for factor in (2, 5):
        write(tmp_path, {"factors": f"A = {factor}\n"})
        load_plugin(read_plugin(path))
        assert scale("mine") == factor
    assert plugins.VERSIONS["mine"] == read_plugin(path).version


def test_a_plugin_without_files_beside_it_keeps_its_version(tmp_path: Path) -> None:
    """Records of earlier versions of tpobench stay those of the same rule: the first digits of its text's SHA-256."""
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n", encoding="utf-8")
    assert read_plugin(path).version == "9e26bf369911"


def test_plugins_with_helpers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    """Each has its own, at once and later."""
    for name, factor in (("one", 3), ("other", 7)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, {"helpers": f"A = {factor}\n"})
        load_plugin(read_plugin(plugin(tmp_path / name, *scaled("import helpers\n", "helpers.A"), name=name)))
    assert (scale("one"), scale("other")) == (3, 7)


@pytest.mark.parametrize("name", ["random", "torch", "tpobench", "_ast"])
def test_a_helper_does_not_hide_a_module_of_python_or_of_a_package(tmp_path: Path, name: str) -> None:
    """The plugin, the command and every worker import what they always do."""
    write(tmp_path, {name: "raise ImportError('hijacked')\n"})
    read = read_plugin(plugin(tmp_path, f"import {name}\n"))
    assert read.beside == {}
    load_plugin(read)


def test_what_is_beside_a_plugin_travels_with_its_jobs(tmp_path: Path) -> None:
    """A worker elsewhere has no such file."""
    write(tmp_path, {"helpers": "A = 4\n", "package/__init__": "B = 1\n"})
    path = plugin(tmp_path, *scaled("import helpers, package\n", "helpers.A * package.B"))
    read = read_plugin(path)
    load_plugin(read)
    (job, *_) = plan_runs(load_suite("bandit", ["training.steps=2"]), ["mine"], [0]).jobs()
    text = Message(job, {}, (read,)).to_json()
    for file in tmp_path.rglob("*.py"):
        file.unlink()
    code = (
        "import sys; from tpobench.execution.job import Message, train_job\n"
        "print([r.status for r in train_job(Message.from_json(sys.stdin.read()))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.strip() == "['ok']", done.stderr


@pytest.mark.parametrize(
    ("texts", "top", "words"),
    [
        ({}, "x = 1\nimport nothing_of_that_name\n", ", line 2: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ({"helper": "\n\n1 / 0\n"}, "import helper\n", ", helper.py line 3: ZeroDivisionError"),
        ({"helper": "def f(:\n"}, "import helper\n", ", helper.py line 1: SyntaxError"),
        ({"helper": "import lost\n"}, "import helper\n", ", helper.py line 1: ModuleNotFoundError: No module named 'lost'"),
        ({"helper": "A = 1\n"}, "from helper import B\n", ", line 1: ImportError: cannot import name 'B'"),
    ],
)  # fmt: skip
def test_an_error_of_a_plugin_names_file_and_line(tmp_path: Path, texts: dict[str, str], top: str, words: str) -> None:
    """In the plugin, or in what lies beside it."""
    write(tmp_path, texts)
    path = plugin(tmp_path, top)
    with pytest.raises(UsageError) as refusal:
        load_plugin(read_plugin(path))
    assert f"plugin {path}{words}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("page", ["README.md", "tpobench/algorithms/catalog.py"])
def test_the_example_in_print_keeps_its_contract(tmp_path: Path, page: str) -> None:
    """What users copy first."""
    text = (Path(__file__).parent.parent / page).read_text(encoding="utf-8")
    printed = re.search(
        r"# mine.py\n(.*?)```" if page == "README.md" else r"(def advantage_over_best.*?)\"\"\"", text, re.DOTALL
    )
    assert printed
    path = tmp_path / "mine.py"
    path.write_text(HEAD + printed[1], encoding="utf-8")
    load_plugin(read_plugin(path))
    assert {f.state for f in examine(ALGORITHMS["mine"])} == {"kept"}


# ---- the catalogue is not theirs


@pytest.mark.parametrize(
    "meddling",
    [
        "A['tpo'] = dataclasses.replace(A['grpo'], name='tpo')",
        "del A['tpo']",
        "A.clear()",
        "A['tpo'].hyper['eta'] = 2.0",
        "object.__setattr__(A['tpo'], 'credit', A['ce'].credit)",
        "A['mine'] = A['tpo']",
        "A['mine'] = 5",
        "catalog.ALGORITHMS = {}",
    ],
)
def test_a_plugin_cannot_change_other_rules(tmp_path: Path, meddling: str) -> None:
    """One line, and the catalogue is what it was."""
    from tpobench.algorithms import catalog

    before = {name: (rule.credit, rule.fit, rule.hyperparameters) for name, rule in ALGORITHMS.items()}
    top = f"import dataclasses\nfrom tpobench.algorithms import catalog\nA = catalog.ALGORITHMS\n{meddling}\n"
    credit = CREDIT if "'mine'" not in meddling else CREDIT + TAIL.format(name="other")
    path = tmp_path / "meddler.py"
    path.write_text(top + HEAD + credit + ("" if "'mine'" in meddling else TAIL.format(name="mine")), encoding="utf-8")
    with pytest.raises(UsageError, match="register"):
        load_plugin(read_plugin(path))
    assert {name: (rule.credit, rule.fit, rule.hyperparameters) for name, rule in ALGORITHMS.items()} == before
    assert catalog.ALGORITHMS is ALGORITHMS
    assert ALGORITHMS.keys() == before.keys()


# ---- tried in a child process first


# ruff: noqa: E501 - tables of little files
HOSTILE = {
    "ends": ("import os; os._exit(0)\n", CREDIT, "while it is loaded: it ends the process (exit code 0)"),
    "segfaults": ("import ctypes; ctypes.string_at(0)\n", CREDIT, "while it is loaded: it ends the process (SIGSEGV)"),
    "interrupts": ("raise KeyboardInterrupt\n", CREDIT, "it raises KeyboardInterrupt"),
    "leaves a thread": ("import threading, time; threading.Thread(target=time.sleep, args=(9999,)).start()\n", CREDIT, "it leaves a thread running"),
    "exits in a rule": ("", "def credit(groups):\n    import os\n    os._exit(3)\n", "while algorithm 'mine' is tried on tiny groups: it ends"),
    "meddles in a rule": ("import tpobench\n", "def credit(groups):\n    tpobench.ALGORITHMS.pop('tpo', 0)\n    return groups.reward\n", "changes the algorithm 'tpo'"),
    "mixes seeds": ("", SEED_MIXING, "algorithm 'mine': credit mixes seeds"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_plugin_costs_one_line(tmp_path: Path, name: str) -> None:
    """It is loaded and tried in a child process before anything else of it runs; then it is refused."""
    top, credit, words = HOSTILE[name]
    with pytest.raises(UsageError) as refusal:
        load_plugins([plugin(tmp_path, top, credit)])
    assert words in str(refusal.value)
    assert "mine" not in ALGORITHMS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("top", "limit", "words"),
    [
        ("while True: pass\n", ("CHECK_S", 1.0), "while it is loaded: it takes more than 1"),
        ("import time; time.sleep(9999)\n", ("MEMORY_BYTES", 2**20), "while it is loaded: it takes more than 1"),
    ],
)
def test_a_plugin_that_hangs_or_grows_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: str, limit: tuple[str, float], words: str
) -> None:
    """The command that names it goes on."""
    monkeypatch.setattr(plugin_check, *limit)
    with pytest.raises(UsageError) as refusal:
        load_plugins([plugin(tmp_path, top)])
    assert words in str(refusal.value)


@pytest.mark.slow
def test_what_a_plugin_writes_into_the_pipes_is_no_answer(tmp_path: Path) -> None:
    """Only lines with the token of this child count."""
    write_all = "for fd in (1, *range(3, 30)):\n    try: os.write(fd, b'{\"done\":[]}\\n')\n    except OSError: pass\n"
    noise = "import os\n" + write_all
    (examined,) = plugin_check.examine_plugins([read_plugin(plugin(tmp_path, noise))])
    assert examined.error == ""
    assert {f.state for f in examined.algorithms["mine"]} == {"kept"}


def tpobench(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "tpobench", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_broken_rule_is_refused_before_it_trains(tmp_path: Path, verb: str) -> None:
    """With what it does, and with the line that shows how; nothing is written."""
    path = plugin(tmp_path / "p", credit=SEED_MIXING)
    done = tpobench(
        verb, "--suite", "bandit", "--smoke", "--algos", "mine", "--plugin", path, "--out", "r", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "algorithm 'mine': credit mixes seeds: for seed 0 it changes by" in done.stderr
    assert ".mean(-1, keepdim=True)" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_validate_prints_the_contract_of_a_file(tmp_path: Path) -> None:
    """Every promise with its state, exit code 2 for a broken one; as JSON too."""
    path = plugin(tmp_path / "p", credit=SEED_MIXING)
    done = tpobench("validate", "--plugin", path, "--json", cwd=tmp_path)
    (rule,) = json.loads(done.stdout)["rules"]
    states = {p["promise"]: p["state"] for p in rule["promises"]}
    assert done.returncode == 2
    assert (rule["rule"], rule["plugin"], rule["kept"]) == ("mine", str(path), False)
    assert states["seeds are independent"] == "broken"
    assert states["the order of the candidates does not matter"] == "kept"
    (breach,) = next(p["breaches"] for p in rule["promises"] if p["state"] == "broken")
    assert breach["where"] == "credit"


def test_validate_prints_the_contract_of_a_rule(command_line) -> None:
    """A rule of the catalogue keeps all of it; an unknown one, or none, is refused."""
    code, out, _ = command_line("validate", "tpo,grpo")
    assert code == 0
    assert "tpo keeps its contract\n  + credit is (S, B, K)" in out
    assert "grpo keeps its contract" in out
    assert command_line("validate", "tpoo")[0] == 2
    assert command_line("validate")[0] == 2
