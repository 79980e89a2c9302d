"""Suites that a plugin brings: commands know them by name, their text is their identity, a bad one costs one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness_helpers import document, fake_train, write_suite

from tpobench import register_suite
from tpobench.errors import UsageError
from tpobench.planning.plan import plan_runs
from tpobench.plugins.check import examine_suite
from tpobench.plugins.load import load_plugin, read_plugin
from tpobench.suites.load import SUITES, load_suite, suite_names

PLUGIN = "from tpobench import register_suite\nregister_suite('small', {toml!r})\n"


def toml_of(folder: Path, **changes: object) -> str:
    """A suite as the text of a file."""
    write_suite(folder / "text.toml", document(**changes))
    return (folder / "text.toml").read_text(encoding="utf-8")


def written(folder: Path, toml: str = "small.toml", text: str | None = None, **changes: object) -> Path:
    """A plugin of one suite, which stands in a file beside it or in its text."""
    write_suite(folder / "small.toml", document(**changes))
    path = folder / "mine.py"
    path.write_text(text or PLUGIN.format(toml=toml), encoding="utf-8")
    return path


@pytest.fixture
def _untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins are not tried in a child process first, and runs are made by the two-line trainer."""
    monkeypatch.setattr("tpobench.plugins.check.require_contract", lambda _: None)
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)


@pytest.mark.usefixtures("_untried")
def test_commands_know_a_suite_of_a_plugin_by_its_name(command_line, tmp_path: Path) -> None:
    """`plan`, `run`, `show suite` and `list` with --plugin; without it, it is unknown; a report needs no plugin."""
    path = written(tmp_path)
    assert command_line("plan", "--suite", "small")[2].startswith("tpobench: unknown suite 'small'")
    plan = json.loads(command_line("plan", "--suite", "small", "--plugin", path, "--json")[1])
    assert [(s["suite"], s["folder"], len(s["rows"])) for s in plan["suites"]] == [("small", "results/small", 2)]
    code, _, err = command_line("run", "--suite", "small", "--plugin", path, "--executor", "inline")
    assert (code, "6/6 runs" in err) == (0, True)
    assert "samples = 4" in command_line("show", "suite", "small", "--plugin", path)[1]
    listed = json.loads(command_line("list", "suites", "--plugin", path, "--json")[1])["suites"]
    assert [(s["suite"], s["title"]) for s in listed if s["suite"] == "small"] == [("small", "tiny")]
    SUITES.clear()
    assert command_line("report", "results/small", "--figures", "none")[0] == 0


def test_the_text_of_a_suite_is_what_its_runs_are(tmp_path: Path) -> None:
    """Beside the plugin or in it, or in a file of its own, equal texts make equal runs and other texts other runs."""
    ids = {}
    for name, toml, changes in (
        ("beside", "small.toml", {}),
        ("within", toml_of(tmp_path), {}),
        ("edited", "small.toml", {"task": {"kind": "bandit", "arms": 6}}),
    ):
        (tmp_path / name).mkdir()
        load_plugin(read_plugin(written(tmp_path / name, toml, **changes)))
        ids[name] = [s.run_id for s in plan_runs(load_suite("small")).specs]
        SUITES.clear()
    (tmp_path / "text.toml").rename(tmp_path / "small.toml")
    assert ids["beside"] == ids["within"] == [s.run_id for s in plan_runs(load_suite(tmp_path / "small.toml")).specs]
    assert set(ids["beside"]).isdisjoint(ids["edited"])


def test_a_file_of_a_suite_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """So a worker elsewhere, which has none, can load the plugin; and an edit is no edit of the plugin's algorithms."""
    plugin = read_plugin(written(tmp_path))
    (tmp_path / "small.toml").unlink()
    assert load_plugin(plugin).suites == {"small"}
    with pytest.raises(UsageError, match=r"small\.toml: cannot be read"):
        load_suite("small")
    written(tmp_path, seeds=7)
    assert (load_suite("small").seeds, read_plugin(plugin.path).version) == (7, plugin.version)


@pytest.mark.parametrize(
    ("registering", "words"),
    [
        ("register_suite('sparse', 'small.toml')", "suite 'sparse' is one of tpobench; give yours another name"),
        ("register_suite('mnist-quick', 'small.toml')", "suite 'mnist-quick' is one of tpobench"),
        ("SUITES['sparse'] = 'small.toml'", "suite 'sparse' is one of tpobench"),
        ("SUITES['mine'] = 5", "give a name and TOML text, or the path of a file that ends in .toml"),
        ("register_suite('mine', {'title': 'mine'})", "give a name and TOML text, or the path of a file"),
        ("register_suite('My suite', 'small.toml')", "'name' holds 'My suite'; names are a-z"),
        ("register_suite('there', 'other.toml')", "suite 'there' exists already"),
        ("SUITES['there'] = 'other.toml'", "changes the suite 'there'"),
        ("SUITES.clear()", "changes the suite 'there'"),
    ],
)
def test_a_plugin_cannot_take_the_name_of_another_suite(tmp_path: Path, registering: str, words: str) -> None:
    """One line, and the suites are what they were."""
    register_suite("there", tmp_path / "there.toml")
    before = suite_names()
    path = written(
        tmp_path, text=f"from tpobench import SUITES, register_suite\nregister_suite('a', '')\n{registering}\n"
    )
    with pytest.raises(UsageError) as refusal:
        load_plugin(read_plugin(path))
    assert f"plugin {path}, line 3: " in str(refusal.value) or "SUITES" in registering
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert suite_names() == before
    assert SUITES["there"] == tmp_path / "there.toml"


@pytest.mark.parametrize(
    ("changes", "states", "words"),
    [
        ({}, ["kept", "kept"], ""),
        ({"smoke": {"stepz": 1}}, ["broken", "not reached"], "unknown key 'stepz'"),
        ({"algorithms": ["tpoo"]}, ["kept", "broken"], "unknown algorithm 'tpoo' in suite 'small'"),
    ],
)
def test_validate_says_whether_a_suite_can_be_planned(tmp_path: Path, changes, states, words: str) -> None:
    """Every table is checked, and every algorithm is looked for."""
    load_plugin(read_plugin(written(tmp_path, **changes)))
    results = examine_suite("small")
    assert [r.state for r in results] == states
    assert words in " ".join(b.what for r in results for b in r.breaches)


@pytest.mark.slow
@pytest.mark.usefixtures("_untried")
def test_validate_and_list_show_a_suite_that_is_not_valid(command_line, tmp_path: Path) -> None:
    """With exit code 2, promise by promise, and the plugin's other names are usable."""
    path = written(tmp_path, smoke={"stepz": 1})
    code, out, _ = command_line("validate", "--plugin", path, "--json")
    (suite,) = json.loads(out)["suites"]
    assert (code, suite["suite"], suite["plugin"], suite["kept"]) == (2, "small", str(path), False)
    listing = json.loads(command_line("list", "suites", "--plugin", path, "--json")[1])
    assert [row["what"] for row in listing["unusable"]] == ["suite 'small'"]
    assert "unknown key 'stepz'" in listing["unusable"][0]["why"]
    code, out, _ = command_line("validate", "contexts", "sparse")
    assert code == 0
    assert "sparse keeps its contract\n  + it is valid at every scale, and as its smoke version" in out
