"""The league: rates are chosen on some seeds and scored on others, and everybody is judged alike."""

import json

import numpy as np
import pytest
from record_helpers import record

from tpobench.errors import UsageError
from tpobench.league.documents import league_document
from tpobench.league.model import PACKAGED, load_league
from tpobench.league.pictures import league_pictures
from tpobench.league.standings import standings
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


def runs(algorithm, errors):
    """Records of `errors[rate]`, one for each seed from 0."""
    return [
        record(seed, error=error, changes={"suite": "bandit", "algorithm": algorithm, "cell": {"learning_rate": rate}})
        for rate, of_seeds in errors.items()
        for seed, error in enumerate(of_seeds)
    ]


CAREFUL = {0.05: [0.2, 0.2, 0.5, 0.5, 0.5], 0.1: [0.4, 0.4, 0.1, 0.1, 0.1], 0.2: [0.9] * 5}
STEADY = {0.05: [0.30, 0.30, 0.32, 0.31, 0.33], 0.1: [0.29, 0.29, 0.30, 0.31, 0.29], 0.2: [0.28, 0.28, 0.3, 0.29, 0.31]}


def test_the_rate_is_chosen_on_some_seeds_and_scored_on_others(league):
    """Seeds 0 and 1 like 0.05 best, so tuned scores are its seeds 2 to 4, however well 0.1 does there."""
    (published, tuned) = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)}).tracks
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
    (published, tuned) = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)}).tracks
    assert np.array_equal(published.wins, [[np.nan, 1], [0, np.nan]], equal_nan=True)
    assert list(tuned.scores) == ["grpo", "tpo"]
    assert np.array_equal(tuned.wins, [[np.nan, 1], [0, np.nan]], equal_nan=True)


def test_who_lacks_runs_or_cannot_play_is_not_ranked_and_says_why(league):
    """A missing seed, and a suite whose task cannot serve the algorithm."""
    skipped = record(0, "skipped", reason="needs label", changes={"suite": "bandit", "algorithm": "ce"})
    table = standings(league, {"bandit": [*runs("tpo", CAREFUL), *runs("grpo", STEADY)[:-1], skipped]})
    assert table.unranked == {"grpo": "bandit: 14 of 15 runs", "ce": "bandit: needs label"}
    assert table.tracks[0].ranked == ("tpo",)


def test_a_suite_that_nobody_has_played_is_left_out_and_named(tmp_path):
    """The ranking is that of the others, and says so."""
    path = tmp_path / "two.toml"
    path.write_text(TOML + '[[event]]\nsuite = "skewed"\nlearning_rates = [0.1]\n', encoding="utf-8")
    table = standings(load_league(path), {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)})
    assert (table.unplayed, table.tasks) == (("skewed",), ("bandit",))
    assert "Not played yet, for want of runs: skewed." in WRITERS["md"](league_document(table))


def test_what_plays_another_game_is_scored_outside_the_ranking(league):
    """Online adaptations of preference losses lead no ranking, however well they score."""
    best = {rate: [0.0] * 5 for rate in STEADY}
    (published, _) = standings(league, {"bandit": runs("dpo_online", best) + runs("grpo", STEADY)}).tracks
    assert (published.leader, published.ranked, published.outside) == ("grpo", ("grpo",), ("dpo_online",))


def test_every_format_says_the_same(league):
    """The verdict, both rankings, the budget, and the numbers in full for scripts."""
    table = standings(league, {"bandit": runs("tpo", CAREFUL) + runs("grpo", STEADY)})
    document = league_document(table)
    text = WRITERS["md"](document)
    assert "As published: tpo leads 2 algorithms over 1 task with a score of 0.900" in text
    assert "Tuning budget, the same for everybody: the learning rate, 6 runs per task" in text
    data = json.loads(WRITERS["json"](document))
    assert data["tracks"]["tuned"]["scores"]["grpo"]["value"] == pytest.approx(0.7)
    assert data["rates"]["tpo"]["bandit"]["rate"] == 0.05
    assert "published,tpo,bandit,3,0.1" in WRITERS["csv"](document).replace("0.10000000000000002", "0.1")
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
    ],
)
def test_a_league_that_cannot_be_played_is_one_clear_line(tmp_path, change, words):
    """With the file, and what would be right."""
    key, value = change
    lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in TOML.splitlines()]
    path = tmp_path / "bad.toml"
    path.write_text("\n".join([*lines, f"{key} = {value}"] if key not in TOML else lines), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_league(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_packaged_league_is_one_grid_for_everybody():
    """Rates on both sides of each suite's own, at least ten scored seeds, none of which chooses."""
    league = load_league(PACKAGED)
    assert len(league.scored) >= 10
    assert not set(league.scored) & set(league.choosing)
    for event in league.events:
        assert event.learning_rates[0] < event.published < event.learning_rates[-1]
        assert event.suite.grid["learning_rate"] == event.learning_rates


def test_a_new_algorithm_is_added_by_its_own_runs(tmp_path, monkeypatch, capsys):
    """`--algos` trains only these; the ranking holds all that are there, and `--no-run` builds it again."""
    from record_helpers import command

    path = tmp_path / "tiny.toml"
    path.write_text(TOML.replace('["report.window=1"]', '["steps=3", "arms=4", "record_every=1"]'), encoding="utf-8")
    words = ["league", "--file", path, "--out", tmp_path, "--figures", "none", "--executor", "inline"]
    code, _, _ = command(monkeypatch, capsys, *words, "--algos", "tpo,grpo")
    assert code == 0
    records = sorted((tmp_path / "league" / "bandit" / "runs").rglob("*.json"))
    code, _, err = command(monkeypatch, capsys, *words, "--algos", "dg")
    assert code == 0
    assert "15 runs to do" in err
    assert set(records) < set((tmp_path / "league" / "bandit" / "runs").rglob("*.json"))
    code, out, _ = command(monkeypatch, capsys, *words, "--no-run", "--json")
    assert (code, set(json.loads(out)["rates"])) == (0, {"tpo", "grpo", "dg"})
    assert "tpo" in (tmp_path / "league" / "league.md").read_text(encoding="utf-8")
