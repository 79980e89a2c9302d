"""A task of a user's own: from a plugin and a suite file to records and a report, and a broken one costs one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tpobench.errors import UsageError
from tpobench.execution.job import plugins_for
from tpobench.planning.plan import plan_runs
from tpobench.plugins import load as plugins
from tpobench.plugins.load import load_plugin, load_plugins, read_plugin
from tpobench.records.results import load_results
from tpobench.suites.load import load_suite
from tpobench.tasks.catalog import TASKS, BanditSettings, register_task

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SUITE = EXAMPLES / "coin.toml"
COIN = (EXAMPLES / "coin.py").read_text(encoding="utf-8")
RULE = """
from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient
register(Algorithm("mine", lambda groups: groups.reward - groups.baseline, policy_gradient, paper="ours"))
"""


def written(folder: Path, text: str = COIN, name: str = "coin") -> Path:
    """A plugin file."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def coin(tmp_path: Path) -> Path:
    """The example's file, loaded."""
    path = written(tmp_path)
    load_plugin(read_plugin(path))
    return path


# ---- what a plan knows of it


def test_a_suite_of_it_loads_and_plans(coin: Path) -> None:
    """Its settings are read and bounded as any; the version of the file is part of the run's id, rules' are not."""
    spec, *_ = plan_runs(load_suite(SUITE), ["tpo"], [0]).specs
    version = read_plugin(coin).version
    assert spec.task == {"kind": "coin", "worse": 0.2, "better": 0.6, "candidates": 4}
    assert (spec.algorithm_version, spec.task_version) == ("1", version)
    assert spec.as_dict()["task_version"] == version
    assert "task_version" not in plan_runs(load_suite("bandit"), ["tpo"], [0]).specs[0].as_dict()
    with pytest.raises(UsageError, match=r"task\.worse must be at least 0 and at most 1"):
        load_suite(SUITE, ["worse=2"])
    with pytest.raises(UsageError, match=r"unknown key 'bettr'.*did you mean 'better'"):
        load_suite(SUITE, ["bettr=0.5"])


def test_an_edit_makes_other_runs(coin: Path) -> None:
    """Results of an edited task do not mix with those before, whichever rule is trained."""
    before = plan_runs(load_suite(SUITE), ["tpo"], [0]).specs[0]
    written(coin.parent, COIN.replace("Both arms alike", "Neither arm better"))
    load_plugin(read_plugin(coin))
    after = plan_runs(load_suite(SUITE), ["tpo"], [0]).specs[0]
    assert before.run_id != after.run_id
    assert (before.task_version, after.task_version) == (before.task_version, read_plugin(coin).version)


def test_a_job_takes_the_files_of_its_rule_and_its_task_along(coin: Path) -> None:
    """A worker elsewhere has neither; other plugins stay away."""
    paths = [coin, written(coin.parent, RULE, "mine"), written(coin.parent, RULE.replace("mine", "other"), "other")]
    read = [read_plugin(path) for path in paths]
    for plugin in read:
        load_plugin(plugin)
    (own, *_), (ours, *_), (elsewhere, *_) = (
        plan_runs(load_suite(suite), [rule], [0]).jobs()
        for suite, rule in ((SUITE, "mine"), (SUITE, "tpo"), ("bandit", "mine"))
    )
    assert [plugins_for(job, read) for job in (own, ours, elsewhere)] == [tuple(read[:2]), (read[0],), (read[1],)]


# ---- what it may not touch


@pytest.mark.parametrize(
    ("meddling", "words"),
    [
        ("del TASKS['bandit']", "changes the task kind 'bandit'"),
        ("TASKS['bandit'] = TASKS['contexts']", "changes the task kind 'bandit'"),
        ("TASKS['bandit'].metrics = ()", "changes the task kind 'bandit'"),
        ("TASKS['bandit'].more = 1", "changes the task kind 'bandit'"),
        ("TASKS['bandit'].interactions_per_step = 1", "changes the task kind 'bandit'"),
        ("TASKS['mine'] = TASKS['bandit']", "what it puts into TASKS as 'mine' is no TaskSettings of it"),
        ("TASKS['mine'] = 5", "what it puts into TASKS as 'mine' is no TaskSettings of it"),
        ("register_task(CoinSettings())", "give the class of the settings"),
        ("CoinSettings.kind = 'bandit'; register_task(CoinSettings)", "task kind 'bandit' exists already"),
        ("CoinSettings.kind = 'Coin'; TASKS.clear(); register_task(CoinSettings)", "changes the task kind 'bandit'"),
        ("TASKS.pop('coin'); CoinSettings.kind = '../coin'; register_task(CoinSettings)", "holds '../coin'; names are"),
    ],
)
def test_a_plugin_cannot_change_other_tasks(tmp_path: Path, meddling: str, words: str) -> None:
    """One line, and the registry is what it was."""
    before = {kind: (settings, dict(vars(settings))) for kind, settings in TASKS.items()}
    path = written(tmp_path, f"{COIN}\nfrom tpobench import TASKS\n{meddling}\n")
    with pytest.raises(UsageError) as refusal:
        load_plugin(read_plugin(path))
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert {kind: (settings, dict(vars(settings))) for kind, settings in TASKS.items()} == before


def test_a_kind_is_registered_once() -> None:
    """Again is nothing new."""
    assert register_task(BanditSettings) is BanditSettings


# ---- from the file to the report


@pytest.mark.slow
def test_a_broken_task_is_refused_before_it_is_trained_on(tmp_path: Path) -> None:
    """It is loaded and tried in a child process, and said what is wrong and how to write it right."""
    over_all = "reward.mean().expand(len(reward), 1, 1)"
    path = written(tmp_path, COIN.replace("reward.mean((1, 2), keepdim=True)", over_all))
    with pytest.raises(UsageError) as refusal:
        load_plugins([path])
    assert f"plugin {path} breaks the contract of a task" in str(refusal.value)
    assert "task 'coin': rollout: baseline of seed 0 changes by" in str(refusal.value)
    assert "never reduce over it" in str(refusal.value)
    assert "coin" not in TASKS


@pytest.mark.slow
def test_a_task_that_ends_the_process_costs_one_line(tmp_path: Path) -> None:
    """As a rule that does."""
    path = written(tmp_path, COIN.replace("        K = self.settings.candidates\n", "        import os; os._exit(3)\n"))
    with pytest.raises(UsageError, match="while task 'coin' is tried: it ends the process"):
        load_plugins([path])


@pytest.mark.slow
def test_validate_prints_the_contract_of_a_task(command_line, tmp_path: Path) -> None:
    """Every promise with its state, of a plugin's task and of ours; exit code 2 for a broken one."""
    path = written(tmp_path, COIN.replace("interactions=K", "interactions=1"))
    code, out, _ = command_line("validate", "--plugin", path, "--json")
    assert code == 2
    (task,) = json.loads(out)["tasks"]
    assert (task["task"], task["plugin"], task["kept"]) == ("coin", str(path), False)
    assert [p["state"] for p in task["promises"]][:4] == ["kept", "kept", "broken", "not reached"]
    code, out, _ = command_line("validate", "bandit", "tpo")
    assert code == 0
    assert "bandit keeps its contract\n  + its settings say what a plan, a record and a report ask of it" in out
    assert "tpo keeps its contract\n" in out


@pytest.mark.slow
def test_it_runs_resumes_verifies_and_reports(command_line, tmp_path: Path) -> None:
    """In worker processes; a second run has nothing to do; what only reads records needs no plugin."""
    path = written(tmp_path)
    run = ("run", "--suite", SUITE, "--smoke", "--algos", "tpo,reinforce", "--plugin", path)
    assert command_line("run", "--suite", SUITE)[0] == 2
    code, _, err = command_line(*run)
    assert code == 0, err
    assert "8/8 runs" in err
    assert "0 runs to do, 8 done before" in command_line(*run)[2]
    assert "identical: coin" in command_line("verify", "results/coin-smoke", "--runs", "1", "--plugin", path)[1]
    forget = (TASKS, plugins.TASK_VERSIONS, plugins._loaded)
    for registry, key in zip(forget, ("coin", "coin", str(path)), strict=True):
        registry.pop(key)
    code, out, _ = command_line("report", "results/coin-smoke", "--figures", "none")
    assert code == 0
    assert "Two arms that pay by chance" in out
    assert command_line("status", "results/coin-smoke")[0] == 0
    assert command_line("lint", "results/coin-smoke")[0] == 0
    assert "no task kind 'coin' here; name its file with --plugin" in command_line("verify", "results/coin-smoke")[1]
    records = load_results("results/coin-smoke").records
    assert len(records) == 8
    for record in records:
        assert record.spec["task_version"] == read_plugin(path).version
        assert {"error", "reward", "informative", "gradient_norm"} <= record.curve.keys()
        assert record.facts == {"initial_success": 0.4}
        assert record.counts["interactions"] == 5 * record.spec["task"]["candidates"]


def test_validate_takes_a_misspelt_task_for_one(command_line):
    """A name that is neither an algorithm nor a task: the nearest of both is named."""
    code, _, err = command_line("validate", "sequenec")
    assert (code, err.split("valid:")[0]) == (
        2, "tpobench: unknown algorithm, task or suite 'sequenec'; did you mean 'sequence'? "
    )  # fmt: skip
