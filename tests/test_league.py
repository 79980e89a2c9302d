"""The league: rates are chosen on some seeds and scored on others, and everybody is judged alike."""

import json
from pathlib import Path

import numpy as np
import pytest
from record_helpers import REPORTING, record

from tpobench.errors import UsageError
from tpobench.league.documents import league_document
from tpobench.league.model import PACKAGED, load_league
from tpobench.league.pictures import league_pictures
from tpobench.league.standings import searched_rates, standings
from tpobench.records.results import load_results
from tpobench.tables.writers import WRITERS

TOML = """
title = "Tiny"
metric = "final"
choosing = 2
scored = 3

[[event]]
suite = "bandit"
learning_rates = [0.05, 0.1, 0.2]
set = ["report.window=1"]
"""


@pytest.fixture
def league(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TOML, encoding="utf-8")
    return load_league(path)


def runs(algorithm, errors, suite="bandit"):
    """Records of `errors[rate]`, one for each seed from 0."""
    return [
        record(seed, error=error, changes={"suite": suite, "algorithm": algorithm, "cell": {"learning_rate": rate}})
        for rate, of_seeds in errors.items()
        for seed, error in enumerate(of_seeds)
    ]


CAREFUL = {0.05: [0.2, 0.2, 0.5, 0.5, 0.5], 0.1: [0.4, 0.4, 0.1, 0.1, 0.1], 0.2: [0.9] * 5}
STEADY = {0.05: [0.30, 0.30, 0.32, 0.31, 0.33], 0.1: [0.29, 0.29, 0.30, 0.31, 0.29], 0.2: [0.28, 0.28, 0.3, 0.29, 0.31]}


def test_the_rate_is_chosen_on_some_seeds_and_scored_on_others(league):
    """Seeds 0 and 1 like 0.05 best, so tuned scores are its seeds 2 to 4, however well 0.1 does there."""
    (published, tuned) = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)}).divisions[0].tracks
    assert (published.name, tuned.name) == ("published", "tuned")
    assert published.scores["tpo"].value == pytest.approx(1 - 0.1, abs=1e-12)  # at the suite's own 0.1
    assert tuned.scores["tpo"].value == pytest.approx(1 - 0.5, abs=1e-12)
    assert (published.leader, tuned.leader) == ("tpo", "grpo")
    assert published.ranked == ("tpo", "grpo")


def test_the_range_that_works_is_that_around_the_choice(league):
    """At least nine tenths of the best score over all seeds, without a gap; an end of the grid is marked."""
    table = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)})
    tpo, grpo = (table.entrants[name].choices["bandit"] for name in ("tpo", "grpo"))
    # means over seeds 0 to 4: tpo .38, .22, .9 -> scores .62, .78, .1: only .78 and nothing below .702 works
    assert (tpo.rate, tpo.low, tpo.high, tpo.at_end) == (0.05, 0.05, 0.1, True)
    assert (grpo.rate, grpo.low, grpo.high, grpo.at_end, grpo.width) == (0.2, 0.05, 0.2, True, 4.0)


def test_the_matrix_counts_pairs_of_different_seeds(league):
    """tpo beats grpo on all six pairs of different seeds as published, and on none tuned; the diagonal is empty."""
    (published, tuned) = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)}).divisions[0].tracks
    assert np.array_equal(published.wins, [[np.nan, 1], [0, np.nan]], equal_nan=True)
    assert list(tuned.scores) == ["grpo", "tpo"]
    assert np.array_equal(tuned.wins, [[np.nan, 1], [0, np.nan]], equal_nan=True)


def test_who_lacks_runs_or_cannot_play_is_not_ranked_and_says_why(league):
    """A missing seed, and a suite whose task cannot serve the algorithm."""
    skipped = record(0, "skipped", reason="needs label", changes={"suite": "bandit", "algorithm": "ce"})
    table = standings(league, {"bandit": [*runs("tpo", CAREFUL), *runs("grpo", STEADY)[:-1], skipped]})
    (division,) = table.divisions
    assert division.unranked == {"grpo": "bandit: 14 of 15 runs", "ce": "bandit: needs label"}
    assert division.tracks[0].ranked == ("tpo",)


def test_a_suite_that_nobody_has_played_is_left_out_and_named(tmp_path):
    """The ranking is that of the others, and says so."""
    path = tmp_path / "two.toml"
    path.write_text(TOML + '[[event]]\nsuite = "skewed"\nlearning_rates = [0.1]\n', encoding="utf-8")
    table = standings(load_league(path), {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)})
    assert (table.unplayed, [each.tasks for each in table.divisions]) == (("skewed",), [("bandit",)])
    assert "Not played yet, for want of runs: skewed." in WRITERS["md"](league_document(table))


DIVIDED = """
[[event]]
suite = "contexts"
learning_rates = [0.1]

[[division]]
name = "Exact ones"
suites = ["bandit"]

[[division]]
name = "both"
suites = ["contexts", "bandit"]
"""


@pytest.fixture
def divided(tmp_path):
    path = tmp_path / "divided.toml"
    path.write_text(TOML + DIVIDED, encoding="utf-8")
    return load_league(path)


def test_a_division_ranks_those_who_have_played_all_of_its_suites(divided):
    """Every ranking is over the same tasks for all in it; who lacks a suite stays in the others, and is said why."""
    bandit = [*runs("tpo", CAREFUL), *runs("grpo", STEADY), *runs("dg", STEADY)]
    skipped = record(0, "skipped", reason="compares draws", changes={"suite": "contexts", "algorithm": "grpo"})
    contexts = [*runs("tpo", {0.1: [0.6] * 5}, "contexts"), *runs("dg", {0.1: [0.2] * 5}, "contexts"), skipped]
    exact, both = standings(divided, {"bandit": bandit, "contexts": contexts}).divisions
    assert (exact.tasks, both.tasks) == (("bandit",), ("bandit", "contexts"))
    assert (set(exact.tracks[0].ranked), exact.unranked) == ({"tpo", "grpo", "dg"}, {})
    assert (both.tracks[0].ranked, both.unranked) == (("dg", "tpo"), {"grpo": "contexts: compares draws"})
    # as published, at 0.1 and on seeds 2 to 4: tpo (1 - .1 + 1 - .6) / 2, dg (1 - .3 + 1 - .2) / 2
    assert both.tracks[0].scores["tpo"].value == pytest.approx(0.65, abs=1e-12)
    assert both.tracks[0].scores["dg"].value == pytest.approx(0.75, abs=1e-12)


def test_every_division_has_its_verdicts_tables_and_figures(divided):
    """Named apart, in every format; the width is over the suites that all of the listed have played."""
    contexts = runs("dg", {0.1: [0.2] * 5}, "contexts")
    table = standings(divided, {"bandit": runs("tpo", CAREFUL) + runs("dg", STEADY), "contexts": contexts})
    document = league_document(table)
    text = WRITERS["md"](document)
    assert "As published, Exact ones: tpo leads 2 algorithms over 1 task" in text
    assert "As published, both: dg leads 1 algorithms over 2 tasks" in text
    assert "| both | tpo | contexts: 0 of 5 runs |" in text
    assert "geometric mean over what all played: bandit" in text
    assert "Exact ones (bandit); both (bandit, contexts).  Neither scores nor places" in text
    names = [t.name for t in document.tables]
    assert len(set(names)) == len(names)
    assert {"ranking-published-exact-ones", "ranking-tuned-both", "wins-tuned-exact-ones"} <= set(names)
    assert [p.name for p in league_pictures(table)][:2] == [
        "league-wins-published-exact-ones",
        "league-wins-tuned-exact-ones",
    ]


def test_a_division_without_the_suite_that_sets_it_apart_is_not_shown_twice(divided):
    """While nobody has played contexts, both are one."""
    (division,) = standings(divided, {"bandit": runs("tpo", CAREFUL)}).divisions
    assert (division.division.name, division.tasks) == ("Exact ones", ("bandit",))


BREAKING = """
[breaking_point]
suite = "breaking_point"
event = "bandit"
set = ["search.hardest=64"]
"""


def levels(algorithm, rate, learned):
    """Records of `learned[arms]` of 3 seeds, from 2 on, which end below 0.5; and one of seed 0, which chooses only."""
    return [
        record(
            seed,
            error=0.1 if i < k else 0.9,
            facts={"initial_success": 1 / arms},
            changes={
                "suite": "breaking_point", "algorithm": algorithm,
                "cell": {"arms": arms, "learning_rate": rate},
                "task": {"kind": "bandit", "arms": arms, "samples": 4, "baseline": 0.5},
            },
            reporting={**REPORTING, "search": {"axis": "arms", "easiest": 8, "hardest": 64, "learned": 0.5}},
        )
        for arms, k in learned.items()
        for i, seed in enumerate((2, 3, 4, 0))
    ]  # fmt: skip


def test_breaking_points_are_those_at_the_rates_of_the_event(tmp_path):
    """tpo's as published at 0.1 and tuned at the 0.05 it chose, on scored seeds; what always learns comes first."""
    path = tmp_path / "league.toml"
    path.write_text(TOML + BREAKING, encoding="utf-8")
    league = load_league(path)
    bandit = runs("tpo", CAREFUL) + runs("grpo", STEADY) + runs("kto_online", STEADY)
    assert searched_rates(league, {"bandit": bandit}) == {"tpo": {0.05, 0.1}, "grpo": {0.1, 0.2}}
    searches = levels("tpo", 0.1, {8: 3, 16: 3, 32: 0, 64: 0}) + levels("tpo", 0.05, {8: 3, 32: 0, 64: 0})
    searches += levels("grpo", 0.2, {8: 3, 64: 3})
    table = standings(league, {"bandit": bandit, "breaking_point": searches})
    published, tuned = (table.breaking.points[track] for track in ("published", "tuned"))
    counts = [(round(1 / x.p0), x.learned, x.runs) for x in published["tpo"].levels]
    assert counts == [(64, 0, 3), (32, 0, 3), (16, 3, 3), (8, 3, 3)]
    assert 1 / 32 < published["tpo"].value < 1 / 16
    assert 1 / 32 < tuned["tpo"].value < 1 / 8
    assert (list(tuned), tuned["grpo"].status, list(published)) == (["grpo", "tpo"], "everywhere", ["tpo"])
    document = league_document(table)
    rows = next(t for t in document.tables if t.name == "breaking").rows
    assert [c.text for c in rows[0][:2]] == ["grpo", ""]
    assert rows[0][2].text.startswith("learns down to 0.0156 (3/3)")
    assert json.loads(WRITERS["json"](document))["breaking_points"]["tuned"]["grpo"]["status"] == "everywhere"
    assert [p.name for p in league_pictures(table)][-1] == "league-breaking"


def test_what_plays_another_game_is_scored_outside_the_ranking(league):
    """Online adaptations of preference losses lead no ranking, however well they score."""
    best = {rate: [0.0] * 5 for rate in STEADY}
    (published, _) = standings(league, {"bandit": runs("dpo_online", best) + runs("grpo", STEADY)}).divisions[0].tracks
    assert (published.leader, published.ranked, published.outside) == ("grpo", ("grpo",), ("dpo_online",))


def test_every_format_says_the_same(league):
    """The verdict, both rankings, the budget, and the numbers in full for scripts."""
    table = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)})
    document = league_document(table)
    text = WRITERS["md"](document)
    assert "As published: tpo leads 2 algorithms over 1 task with a score of 0.900" in text
    assert "Tuning budget, the same for everybody: the learning rate, 6 runs per task" in text
    data = json.loads(WRITERS["json"](document))
    assert data["divisions"][0]["tracks"]["tuned"]["scores"]["grpo"]["value"] == pytest.approx(0.7)
    assert data["rates"]["tpo"]["bandit"]["rate"] == 0.05
    assert ",published,tpo,bandit,3,0.1" in WRITERS["csv"](document).replace("0.10000000000000002", "0.1")
    assert [p.name for p in league_pictures(table)] == ["league-wins-published", "league-wins-tuned", "league-rates"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("metric", '"finale"'), "unknown metric 'finale'"),
        (("choosing", "0"), "choosing must be at least 1"),
        (("title", "3"), "'title' must be a text"),
        (("learning_rates", "[0.2, 0.05]"), "learning_rates must hold 0.1, the suite's own"),
        (("learning_rates", "[0.1, -1]"), "positive numbers"),
        (("suite", '"breaking_point"'), "searches for its levels"),
        (("colour", "1"), "unknown key 'colour'"),
        (("division", '[{name = "a", suites = ["sparse"]}]'), "unknown suite 'sparse'"),
        (("division", '[{name = "-", suites = ["bandit"]}]'), "must have a name of its own"),
        (("division", '[{name = "a", suites = []}]'), "and suites"),
        (("division", '["a"]'), "write it as [[division]]"),
        (("breaking_point", '{suite = "sparse", event = "bandit"}'), "with a [search] and no [grid]"),
        (("breaking_point", '{suite = "breaking_point", event = "sparse"}'), "unknown event 'sparse'"),
        (("breaking_point", '"bandit"'), "'breaking_point' must be a table"),
    ],
)
def test_a_league_that_cannot_be_played_is_one_clear_line(tmp_path, change, words):
    """With the file, and what would be right."""
    key, value = change
    lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in TOML.splitlines()]
    path = tmp_path / "bad.toml"
    path.write_text("\n".join([f"{key} = {value}", *lines] if key not in TOML else lines), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_league(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_league_of_the_documents_can_be_played(tmp_path):
    """As written there."""
    text = (Path(__file__).parent.parent / "docs" / "league.md").read_text(encoding="utf-8")
    path = tmp_path / "my_league.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    league = load_league(path)
    assert league.suites == ("sparse", "breaking_point_sequence")
    assert [d.name for d in league.divisions] == ["sequences"]


def test_the_packaged_league_is_one_grid_for_everybody():
    """Rates on both sides of each suite's own, at least ten scored seeds, none of which chooses."""
    league = load_league(PACKAGED)
    assert len(league.scored) >= 10
    assert not set(league.scored) & set(league.choosing)
    assert [d.suites for d in league.divisions][-1] == tuple(event.suite.name for event in league.events)
    for event in league.events:
        assert event.learning_rates[0] < event.published < event.learning_rates[-1]
        assert event.suite.grid["learning_rate"] == event.learning_rates


def test_a_new_algorithm_is_added_by_its_own_runs(tmp_path, monkeypatch, capsys):
    """`--algos` trains only these, and searches where they break; `--no-run` builds the ranking of all again."""
    from record_helpers import command

    path = tmp_path / "tiny.toml"
    tiny = TOML.replace('["report.window=1"]', '["steps=3", "arms=4", "record_every=1"]')
    path.write_text(tiny + BREAKING.replace("hardest=64", "hardest=16"), encoding="utf-8")

    def searching():
        return {r.spec["algorithm"] for r in load_results(tmp_path / "league" / "breaking_point").records}

    words = ["league", "--file", path, "--out", tmp_path, "--figures", "none", "--executor", "inline"]
    code, _, _ = command(monkeypatch, capsys, *words, "--algos", "tpo,grpo")
    assert code == 0
    records = sorted((tmp_path / "league" / "bandit" / "runs").rglob("*.json"))
    searched = searching()
    code, _, err = command(monkeypatch, capsys, *words, "--algos", "dg")
    assert code == 0
    assert "15 runs to do" in err
    assert set(records) < set((tmp_path / "league" / "bandit" / "runs").rglob("*.json"))
    assert searched == {"tpo", "grpo"}
    assert searching() == {"tpo", "grpo", "dg"}
    code, out, _ = command(monkeypatch, capsys, *words, "--no-run", "--json")
    assert (code, set(json.loads(out)["rates"])) == (0, {"tpo", "grpo", "dg"})
    assert "tpo" in (tmp_path / "league" / "league.md").read_text(encoding="utf-8")
