"""Every suite that is shipped loads, plans, has a small version, and asks the same question at every scale."""

import dataclasses
import re
from pathlib import Path

import pytest
from harness_helpers import recorded_and_planned

from tpobench.execution.estimate import expected_seconds
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import ReportSettings, Training, load_suite, suite_names
from tpobench.suites.model import Suite
from tpobench.tasks.catalog import TASKS

ROOT = Path(__file__).parent.parent
SIZES = {
    "bandit": (1, 400),
    "contexts": (1, 500),
    "sparse": (9, 450),
    "terminal_reward": (8, 720),
    "group_size": (5, 300),
    "epochs": (5, 300),
    "why": (1, 180),
    "mnist": (1, 120),
    "tokens": (4, 320),
    "variations": (16, 880),
    "temperature": (5, 100),
    "terminal_small": (1, 120),
    "reuse": (15, 3000),
    "stale": (12, 1800),
    "offline": (4, 1200),
    "two_rewards": (6, 300),
    "tasks": (8, 160),
    "dg_epochs": (1, 40),
}
OF_OUR_OWN = {
    "ci",
    "ci_sampled",
    "ci_sequence",
    "ci_exact",
    "ci_exact_sequence",
    "sparse",
}  # small as they are, and no experiments of the paper
# no scale makes a pretrained model small
PRETRAINED = [name for name in suite_names() if load_suite(name).task["kind"] == "language"]
QUICK = [name for name in suite_names() if name not in {*OF_OUR_OWN, *PRETRAINED}]
QUICK_CPU_HOURS = 2.3  # of all quick suites together: a little over an hour on two cores


def seconds(plan):
    """CPU time of all runs of a plan, by the suite's own hints."""
    return sum(expected_seconds(plan.suite, spec) for spec in plan.specs)


def test_the_expected_suites_are_shipped():
    """The folder of suites holds what this table describes, and nothing is left out."""
    assert set(SIZES) <= set(suite_names())


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_runs_all_its_rules(name):
    """No rule that a suite names is left out everywhere, and the title says what it is."""
    suite = load_suite(name)
    plan = plan_runs(suite)
    assert suite.title
    assert {s.algorithm for s in plan.specs} == set(suite.algorithms)
    assert suite.cost["ms_per_step"]["default"] > 0


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_has_a_small_version(name):
    """--smoke trains a small part of the updates, of a pretrained model's suite another model."""
    suite = load_suite(name)
    whole, small = plan_runs(suite), plan_runs(load_suite(name, smoke=True))
    trained = [sum(len(j.seeds) * j.specs[0].training["steps"] for j in p.jobs()) for p in (whole, small)]
    assert trained[1] * (10 if name in PRETRAINED else 3 if suite.report.exact else 100) < trained[0]
    assert small.suite.task.get("model", "random") == "random"


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_scale_asks_the_same_question(name):
    """Its rules on the same task over the same axes, with seeds enough for a test, and less to compute."""
    paper, quick = load_suite(name), load_suite(name, scale="quick")
    assert paper.deviations
    assert set(quick.algorithms) <= set(paper.algorithms)
    assert list(quick.grid) == list(paper.grid)
    assert quick.seeds >= 8
    assert (quick.task["kind"], quick.training.optimizer) == (paper.task["kind"], paper.training.optimizer)
    assert {s.algorithm for s in plan_runs(quick).specs} == set(quick.algorithms)
    assert seconds(plan_runs(quick)) * 3 <= seconds(plan_runs(paper))


def test_all_quick_suites_together_take_little_more_than_an_hour_on_two_cores():
    """By their own hints of cost."""
    hours = {name: seconds(plan_runs(load_suite(name, scale="quick"))) / 3600 for name in QUICK}
    assert sum(hours.values()) <= QUICK_CPU_HOURS, hours


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_what_is_compared_across_suites_is_one_setting(scale):
    """`why` is one cell of `epochs` and of `group_size`, whose rules it shows beside others."""
    why, epochs, sizes = (load_suite(name, scale=scale) for name in ("why", "epochs", "group_size"))
    assert why.training.epochs in epochs.grid["epochs"]
    assert why.task == epochs.task
    assert dataclasses.replace(why.training, epochs=epochs.training.epochs) == epochs.training
    assert sizes.training.epochs == why.training.epochs
    assert {k: v for k, v in sizes.task.items() if k != "candidates"} | {"candidates": 0} == {
        **why.task,
        "candidates": 0,
    }
    assert why.task["candidates"] in sizes.grid["candidates"]


def test_table_3_is_the_paper_s_design():
    """Lengths 7 to 10 under both matchings: PPO and DG twice, the grouped rules once."""
    plan = plan_runs(load_suite("terminal_reward"))
    assert len(plan.specs) == 20 * 4 * (5 * 1 + 2 * 2)
    ppo = [s for s in plan.specs if s.algorithm == "ppo" and s.seed == 0 and s.cell["length"] == 7]
    assert [(s.matching, s.task["prompts"], s.task["candidates"]) for s in ppo] == [
        ("prompts", 100, 1),
        ("interactions", 800, 1),
    ]


def test_dense_rewards_are_the_paper_s_settings():
    """Tables 1, 2 and 5: H = 10, K = 8, B = 100, 1,000 updates of 4 epochs at 1e-3; token rules on next tokens."""
    for name, seeds in (("tokens", 20), ("variations", 10), ("temperature", 10)):
        suite = load_suite(name)
        spec = plan_runs(suite, ["tpo_token"], [0]).specs[0]
        assert (spec.task["kind"], spec.task["length"], spec.task["candidates"]) == ("tokens", 10, 8)
        assert (spec.task["prompts"], suite.seeds, suite.report.thresholds) == (100, seeds, (0.05, 0.01))
        assert (spec.training["steps"], spec.training["epochs"], spec.training["learning_rate"]) == (1000, 4, 1e-3)
    assert load_suite("tokens").grid["vocabulary"] == (2, 4, 8, 16)
    etas = {(s.algorithm, s.hyper["eta"]) for s in plan_runs(load_suite("temperature"), seeds=[0]).specs}
    assert etas == {(rule, eta) for rule in ("tpo", "tpo_token") for eta in (0.25, 0.5, 1.0, 2.0, 4.0)}


def test_only_single_rollouts_are_matched_in_the_variations():
    """Two rewards of four targets: grouped rules once, PPO and both DG under equal prompts and interactions."""
    specs = plan_runs(load_suite("variations"), seeds=[0]).specs
    alike = {(rule, "any") for rule in ("tpo_token", "grpo_token", "tpo", "grpo", "grpo_no_kl")}
    matched = {(rule, how) for rule in ("ppo", "dg", "dg_multi_epoch") for how in ("prompts", "interactions")}
    assert {(s.algorithm, s.matching) for s in specs} == alike | matched
    assert {s.training["epochs"] for s in specs if s.algorithm == "dg_multi_epoch"} == {4}
    assert {s.training["epochs"] for s in specs if s.algorithm == "dg"} == {1}


def test_section_4_is_the_paper_s_setting():
    """H = 8, K = 32, B = 256, 2,000 updates of 4 epochs, 30 seeds, with diagnostics."""
    suite = load_suite("why")
    spec = plan_runs(suite, ["tpo"]).specs[0]
    assert (spec.task["length"], spec.task["candidates"], spec.task["prompts"]) == (8, 32, 256)
    assert (spec.training["steps"], spec.training["epochs"], suite.seeds) == (2000, 4, 30)
    assert spec.training["diagnostics"] is True
    assert load_suite("epochs").grid["epochs"] == (1, 2, 4, 8, 16)
    assert load_suite("group_size").grid["candidates"] == (4, 8, 16, 32, 64)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_sizes_are_as_documented(name):
    """Cells and runs of each suite."""
    suite = load_suite(name)
    assert (len(suite.cells), len(plan_runs(suite).specs)) == SIZES[name]


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("**/*.jsonl")), ids=lambda p: p.name)
def test_committed_records_keep_their_ids(path):
    """Every run that git holds is one that its suite plans today: nothing has to be run again."""
    recorded, planned = recorded_and_planned(path)
    assert recorded
    assert recorded <= planned


def test_every_key_of_a_suite_file_is_documented():
    """docs/suites.md has each table, each kind of task, and each key in code font."""
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    code = set(re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", text)))
    code |= set(re.findall(r"(?m)^(\w+) = ", text))
    keys = {f.name for cls in (Training, ReportSettings, *TASKS.values()) for f in dataclasses.fields(cls)}
    assert keys | set(TASKS) | {"title", "version", "notes", "deviations", "seeds", "algorithms"} <= code
    for table in Suite.TABLES:
        assert f"[{table}" in text
