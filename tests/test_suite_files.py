"""Every suite that is shipped loads, plans, and has a small version."""

import pytest

from tpobench.plan import plan_runs
from tpobench.suite import load_suite, suite_names

SIZES = {"bandit": (1, 400), "contexts": (1, 500), "sparse": (9, 360), "terminal_reward": (8, 560)}


def test_the_expected_suites_are_shipped():
    """The folder of suites holds what this table describes, and nothing is left out."""
    assert set(SIZES) <= set(suite_names())


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_runs_all_its_rules(name):
    """No rule that a suite names is skipped in it, and the title says what it is."""
    suite = load_suite(name)
    plan = plan_runs(suite)
    assert suite.title
    assert plan.specs
    assert plan.skipped == ()
    assert suite.cost["ms_per_step"]["default"] > 0


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_has_a_small_version(name):
    """--smoke trains a small part of the updates."""
    whole, small = plan_runs(load_suite(name)), plan_runs(load_suite(name, smoke=True))
    trained = [sum(len(j.seeds) * j.specs[0].training["steps"] for j in p.jobs()) for p in (whole, small)]
    assert trained[1] * 100 < trained[0]


def test_table_3_is_the_paper_s_design():
    """Lengths 7 to 10 under both matchings: PPO and DG twice, the grouped rules once."""
    plan = plan_runs(load_suite("terminal_reward"))
    assert len(plan.specs) == 20 * 4 * (3 * 1 + 2 * 2)
    ppo = [s for s in plan.specs if s.algorithm == "ppo" and s.seed == 0 and s.cell["length"] == 7]
    assert [(s.matching, s.task["prompts"], s.task["candidates"]) for s in ppo] == [
        ("prompts", 100, 1),
        ("interactions", 800, 1),
    ]


def test_sizes_are_as_documented():
    """Cells and runs of each suite; `sparse` may be resized, its grid stays."""
    for name in ("bandit", "contexts", "terminal_reward"):
        suite = load_suite(name)
        assert (len(suite.cells), len(plan_runs(suite).specs)) == SIZES[name]
