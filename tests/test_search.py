"""Bisection over levels: the path depends on results alone, and a suite with [search] runs, resumes and reports."""

import itertools
import json
import math
import os
import shutil
import signal

import pytest
from harness_helpers import Row, document, noted_runs, suite, write_suite
from hypothesis import given
from hypothesis import strategies as st

from tpobench.errors import UsageError
from tpobench.planning.levels import Outcome, Track, TrackState, least_and_most, states, tracks_of
from tpobench.planning.plan import plan_runs, resolve
from tpobench.records.store import Store, load_packed
from tpobench.suites.load import build_suite
from tpobench.suites.search import Search, walk

LIMIT = {"tpo": 40, "dg": 9, "reinforce": 3, "grpo": 10**6}  # arms up to which a rule learns
SEARCH = {"axis": "arms", "easiest": 4, "hardest": 64, "learned": 0.5}


def searching(**changes):
    """A suite file that searches the number of arms."""
    report = {"window": 1, "thresholds": [0.5], "persist": 1}
    base = document(algorithms=["tpo", "dg", "reinforce"], seeds=4, search=SEARCH, task={"kind": "bandit"})
    return {**base, "report": report, **changes}


def rule_train(job, _begin=None):
    """Seed 0 learns up to a quarter less arms than the rule's limit, seed 3 up to a quarter more; p0 = 1 / arms."""
    spec = job.specs[0]
    arms = spec.task["arms"]
    yield Row(0, 0, 0, "initial_success", tuple(1 / arms for _ in job.seeds))
    for step in range(spec.training["steps"] + 1):
        reach = [LIMIT[spec.algorithm] * (0.75 + seed / 6) for seed in job.seeds]
        error = tuple(0.9 if arms > r else 0.9 - 0.8 * step / spec.training["steps"] for r in reach)
        yield Row(step, 4 * step, step, "error", error)


def unlucky_train(job, _begin=None):
    """As `rule_train`, but seed 3 of tpo raises at 34 arms."""
    if job.specs[0].algorithm == "tpo" and job.specs[0].task["arms"] == 34 and 3 in job.stack(0):
        msg = "seed 3 is unlucky"
        raise ValueError(msg)
    return rule_train(job)


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """The runs trained: rule, arms, seed."""
    return noted_runs(monkeypatch, rule_train)


@pytest.fixture
def tpobench(command_line, tmp_path):
    """The command line on a suite that searches, trained in this process."""
    write_suite(tmp_path / "tiny.toml", searching())

    def call(verb, *words, **changes):
        if changes:
            write_suite(tmp_path / "tiny.toml", searching(**changes))
        fixed = ["--suite", "tiny.toml"] + (["--executor", "inline"] if verb == "run" else [])
        return command_line(verb, *fixed, *words)

    return call


# ---- the path


def follow(ladder, holds, beside=1):
    """The whole walk under known outcomes, and the rounds it took."""
    known: dict[int, bool] = {}
    rounds = []
    while wanted := walk(ladder, beside, known.get).wanted:
        rounds.append(wanted)
        known |= {level: holds(level) for level in wanted}
    return walk(ladder, beside, known.get), rounds


def test_the_path_is_ends_then_middles_then_neighbours():
    """Sixteen levels, the last that holds is 7: 1 and 16, then 8, 4, 6, 7, and at the end 9 beside the bracket 7..8."""
    found, rounds = follow(tuple(range(1, 17)), lambda v: v <= 7)
    assert rounds == [(1, 16), (8,), (4,), (6,), (7,), (9,)]
    assert (found.holding, found.breaking, found.visited) == (7, 8, (1, 16, 8, 4, 6, 7, 9))


@pytest.mark.parametrize(("holds", "held", "broke"), [(True, 16, None), (False, None, None)])
def test_a_rule_beyond_an_end_needs_the_ends_only(holds, held, broke):
    """It learns everywhere, or nowhere: two levels say so."""
    found, rounds = follow(tuple(range(1, 17)), lambda _: holds)
    assert (rounds, found.holding, found.breaking) == ([(1, 16)], held, broke)


@given(st.integers(2, 60), st.integers(0, 59), st.integers(0, 3))
def test_any_threshold_is_found_in_logarithmically_many_levels(count, last, beside):
    """The bracket is the threshold's; levels visited: two ends, the binary logarithm, and the neighbours."""
    ladder = tuple(3 * i + 1 for i in range(count))
    found, _ = follow(ladder, lambda v: v <= 3 * last + 1, beside)
    if 0 <= last < count - 1:
        assert (found.holding, found.breaking) == (ladder[last], ladder[last + 1])
        near = set(ladder[max(0, last - beside) : last + 2 + beside])
        assert near <= set(found.visited)
    assert len(found.visited) == len(set(found.visited)) <= 2 + math.ceil(math.log2(count)) + 2 * beside
    assert found.done


def test_results_off_the_path_change_nothing():
    """A level that the search did not ask for is not visited, whatever became of it."""
    known = {1: True, 16: False, 5: False, 12: True}
    found = walk(tuple(range(1, 17)), 1, known.get)
    assert (found.visited, found.wanted) == ((1, 16), (8,))


def test_ladders():
    """Every whole number, or so many rungs from one value to its double; the ends always belong to it."""
    assert Search("length", 2, 6, 0.5).ladder == (2, 3, 4, 5, 6)
    assert Search("arms", 2, 20, 0.5, per_doubling=1).ladder == (2, 4, 8, 16, 20)
    assert Search("arms", 2, 16, 0.5, per_doubling=4).ladder == (2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16)


# ---- suites


def test_levels_are_the_cells_of_the_suite():
    """The ladder is an axis of the grid, the last one; its values reach the task."""
    found = build_suite("tiny", searching(grid={"samples": [4, 8]}, search={**SEARCH, "per_doubling": 2}), "x")
    assert list(found.grid) == ["samples", "arms"]
    assert found.grid["arms"] == (4, 6, 8, 11, 16, 23, 32, 45, 64)
    assert {c.task.arms for c in found.cells} == set(found.grid["arms"])
    assert found.reporting["search"]["learned"] == 0.5
    assert "search" not in suite().as_dict()
    assert "search" not in suite().reporting


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": {**SEARCH, "axis": "armz"}}, "search.axis must be one of arms, samples, not 'armz'"),
        ({"search": {**SEARCH, "axis": "baseline"}}, "search.axis must be one of arms, samples, not 'baseline'"),
        ({"task": {"kind": "bandit", "arms": 5}}, "search.axis is arms, which 'task.arms' sets; leave that out"),
        ({"grid": {"arms": [5, 6]}}, "search.axis is arms, which 'grid.arms' sets; leave that out"),
        ({"search": {**SEARCH, "hardest": 4}}, "search.easiest must be at least 1 and below hardest"),
        ({"search": {**SEARCH, "hardest": 10**6}}, "search.the range has more than 100,000 levels; set per_doubling"),
        ({"search": {**SEARCH, "hardest": 10**400}}, "search.hardest must be at least 1 and at most 1,000,000,000"),
        ({"search": {**SEARCH, "learned": 0}}, "search.learned must be positive"),
        ({"search": {**SEARCH, "learned": 1}}, "search.learned must be below report.worst, which is 1"),
        ({"search": {**SEARCH, "lerned": 1}}, "unknown key 'search.lerned'"),
        ({"search": {"axis": "arms"}}, "'search.easiest' is missing; give an integer"),
        ({"search": {**SEARCH, "easiest": 1}}, "[grid]: arms must be at least 2"),
    ],
)
def test_mistakes_in_the_table_are_one_line(changes, said):
    """Where, which key, and what would be valid."""
    with pytest.raises(UsageError) as caught:
        build_suite("tiny", searching(**changes), "tiny.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith(("tiny.toml: ", "unknown key"))


def test_the_cost_of_a_search_is_bounded_on_both_sides():
    """61 levels: at least the two ends; at most the ends, six middles, and the one neighbour that was not a middle."""
    plan = plan_runs(build_suite("tiny", searching(), "x"), ["tpo"])
    (state,) = states(tracks_of(plan), {})
    assert least_and_most(state, len) == (2 * 4, (2 + 6 + 1) * 4)
    assert least_and_most(state, lambda specs: float(specs[0].task["arms"]))[0] == 4 + 64


# ---- the command


def test_every_rule_is_followed_to_its_own_level(tpobench, trained):
    """tpo holds at 46 of [4, 64] (2 of 4 seeds), dg at 10, reinforce breaks at once; the levels are their own."""
    code, out, err = tpobench("run", "--json")
    (answer,) = json.loads(out)["suites"]
    tracks = {t["algorithm"]: t for t in answer["search"]["tracks"]}
    assert (code, answer["search"]["done"], answer["left"], answer["failed"]) == (0, True, 0, [])
    assert (tracks["tpo"]["held"], tracks["tpo"]["broke"]) == (43, 44)  # 40 (0.75 + 2 / 6): the third seed's reach
    assert (tracks["dg"]["held"], tracks["dg"]["broke"]) == (9, 10)
    assert (tracks["reinforce"]["held"], tracks["reinforce"]["visited"]) == (None, [4, 64])
    assert {arms for rule, arms, _ in trained if rule == "dg"} == set(tracks["dg"]["visited"])
    assert len(trained) == len(set(trained)) == 4 * sum(len(t["visited"]) for t in tracks.values())
    points = answer["search"]["points"][0]["points"]
    assert 1 / 44 < points["tpo"]["value"] < 1 / 40
    assert points["reinforce"]["status"] == "nowhere"
    assert points["tpo"]["low"] < points["tpo"]["value"] < points["tpo"]["high"]
    assert "learns nowhere: 0/4 at 0.25" in err
    assert "Seeds that learned at each level visited" in err


def test_the_next_call_runs_nothing_and_says_the_same(tpobench, trained):
    """Every level has its runs: same tracks, same points, nothing trained."""
    first = json.loads(tpobench("run", "--json")[1])["suites"][0]
    runs = len(trained)
    code, out, _ = tpobench("run", "--json")
    (again,) = json.loads(out)["suites"]
    assert (code, len(trained), again["ran"], again["already"]) == (0, runs, {}, runs)
    assert again["search"] == first["search"]


def test_an_interrupted_search_goes_on_along_the_same_path(tpobench, monkeypatch, tmp_path, trained):
    """A signal within the second round: exit 130; the same command ends with the same levels and the same bytes."""
    whole = json.loads(tpobench("run", "--json", "--name", "whole")[1])["suites"][0]["search"]
    trained.clear()

    def train(job, _begin=None):
        trained.extend((job.specs[0].algorithm, s.seed) for s in job.specs)
        if len(trained) == 27:  # 24 runs are the ends of three rules
            os.kill(os.getpid(), signal.SIGINT)
        return rule_train(job)

    monkeypatch.setattr("tpobench.training.loop.train", train)
    code, out, err = tpobench("run", "--json", "--name", "cut")
    stopped = json.loads(out)["suites"][0]
    assert (code, len(trained), stopped["search"]["done"], stopped["left"]) == (130, 27, False, 5)
    assert "2 of 3 searches are not done; the same command goes on from there" in err
    code, out, _ = tpobench("run", "--json", "--name", "cut")
    assert (code, json.loads(out)["suites"][0]["search"]) == (0, whole)
    payloads = [{i: r.payload for i, r in Store(tmp_path / "results" / n).known()[0].items()} for n in ("whole", "cut")]
    assert payloads[0] == payloads[1]


def test_a_failed_run_keeps_its_rule_waiting_and_the_others_go_on(tpobench, monkeypatch):
    """Exit 3; tpo is where its complete levels left it, dg is done, and the next call repairs it."""
    monkeypatch.setattr("tpobench.training.loop.train", unlucky_train)
    code, out, err = tpobench("run", "--json")
    (answer,) = json.loads(out)["suites"]
    tracks = {t["algorithm"]: t for t in answer["search"]["tracks"]}
    assert (code, tracks["tpo"]["wanted"], tracks["dg"]["done"], answer["left"]) == (3, [34], True, 1)
    assert err.splitlines()[-1].startswith("tpobench: 1 runs failed, the first: tpo seed 3 failed")
    monkeypatch.setattr("tpobench.training.loop.train", rule_train)
    code, out, _ = tpobench("run", "--json")
    assert (code, json.loads(out)["suites"][0]["search"]["done"]) == (0, True)


def test_a_diverged_seed_did_not_learn(tpobench, monkeypatch):
    """Two of four seeds of dg diverge at 4 arms and beyond: one more that does not learn, and it breaks there."""

    def train(job, _begin=None):
        for row in rule_train(job):
            lost = job.specs[0].algorithm == "dg" and row.metric == "error" and row.step > 1
            yield row._replace(
                value=tuple(math.nan if lost and s in {2, 3} else v for s, v in zip(job.seeds, row.value, strict=True))
            )

    monkeypatch.setattr("tpobench.training.loop.train", train)
    tracks = {t["algorithm"]: t for t in json.loads(tpobench("run", "--json")[1])["suites"][0]["search"]["tracks"]}
    assert tracks["dg"]["outcomes"][0] == {"level": 4, "learned": 2, "runs": 4}
    assert tracks["dg"]["held"] == 6  # seed 0 learns up to 6.75 arms, seed 1 up to 8.25


def test_other_axes_are_searched_each_by_itself(tpobench):
    """Two numbers of samples: two searches per rule, two groups of tables."""
    code, out, err = tpobench("run", "--json", grid={"samples": [4, 8]})
    search = json.loads(out)["suites"][0]["search"]
    assert code == 0
    assert [(t["cell"], t["held"]) for t in search["tracks"] if t["algorithm"] == "dg"] == [
        ({"samples": 4}, 9),
        ({"samples": 8}, 9),
    ]
    assert [p["where"] for p in search["points"]] == ["samples=4", "samples=8"]
    assert "where half of the seeds still learn: samples=8" in err


def test_plan_shows_what_comes_next_and_the_bounds(tpobench):
    """Before the first run: the ends, 24 runs at least and 108 at most; after the last one nothing is left."""
    code, out, _ = tpobench("plan")
    rows = [line.split()[:3] for line in out.splitlines() if line.startswith("arms=")]
    assert (code, len(rows), {r[0] for r in rows}) == (0, 6, {"arms=4", "arms=64"})
    assert out.splitlines()[-2:] == [
        "search: 0 of 3 done",
        "least: 24 runs, CPU time unknown; most: 108 runs, CPU time unknown",
    ]
    tpobench("run")
    _, out, _ = tpobench("plan", "--json")
    costs = json.loads(out)["suites"][0]["search"]
    assert (costs["done"], costs["least_runs"], costs["most_runs"]) == (3, 0, 0)


def test_a_limit_of_cost_holds_for_the_most_it_can_take(tpobench, tmp_path):
    """108 runs of 4 steps at a second each are 7.2 minutes: refused at 7, nothing written, and taken at 8."""
    cost = {"ms_per_step": {"default": 1000.0}}
    code, _, err = tpobench("run", "--max-cost", "7m", cost=cost)
    assert (code, err.count("\n")) == (2, 1)
    assert "--max-cost 7 min 00 s: the runs due may take 7 min 12 s of CPU time" in err
    assert not (tmp_path / "results").exists()
    assert tpobench("run", "--max-cost", "8m")[0] == 0


def test_a_time_budget_ends_the_search_between_rounds(tpobench, monkeypatch, trained):
    """A second a run and thirty seconds: the ends and the second round are run, the third is left for the next call."""
    monkeypatch.setattr("tpobench.execution.rounds.Clock.spent", lambda _: float(len(trained)))
    code, out, err = tpobench("run", "--json", "--time-budget", "30s")
    answer = json.loads(out)["suites"][0]
    assert (code, answer["search"]["done"], len(trained), answer["left"]) == (0, False, 24 + 8, 8)
    assert "the time budget ended the run; 8 runs are left, the same command goes on with them" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "1/2"], "--shard: the next level depends on all results of the last"),
        (["--seeds", "adaptive:4x3"], "--seeds adaptive:4x3: 'tiny' searches levels, which take all seeds"),
        (["--set", "task.arms=7"], "search.axis is arms, which 'task.arms' sets"),
        (["--set", "search.learnd=0.1"], "unknown key 'search.learnd' in --set search.learnd=0.1; did you mean"),
        (["--max-cost", "1h"], "--max-cost 1 h 00 min: the cost of"),
    ],
)
def test_what_cannot_be_is_one_line_and_runs_nothing(tpobench, trained, words, said):
    """What, where, what would work."""
    code, out, err = tpobench("run", *words)
    assert (code, out, trained) == (2, "", [])
    assert said in err


def test_what_counts_as_learning_is_settled_before_the_first_result(tpobench, trained):
    """Another level of `learned` for the same folder is refused; under another name it is another search."""
    tpobench("run")
    runs = len(trained)
    code, _, err = tpobench("run", "--set", "search.learned=0.2")
    assert (code, len(trained)) == (2, runs)
    assert "holds results of a search with learned = 0.5, this one has 0.2; keep them apart with --name" in err
    assert tpobench("run", "--set", "search.learned=0.2", "--name", "other")[0] == 0
    assert len(trained) > runs


@pytest.mark.parametrize(
    ("key", "old", "new"), [("metric", '"error"', '"misalignment"'), ("window", "1", "2"), ("worst", "1.0", "3.0")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_so_is_what_the_final_value_of_a_seed_means(tpobench, command_line, tmp_path, trained, key, old, new, packed):
    """Another metric, window or worst value is refused, by packed results too; the suite as it was goes on."""
    tpobench("run", "--algos", "dg")
    if packed:
        command_line("pack", "results/tiny")
        shutil.rmtree(tmp_path / "results" / "tiny")
    trained.clear()
    code, _, err = tpobench("run", "--algos", "dg", "--set", f"report.{key}={new}")
    assert (code, err.count("\n"), trained) == (2, 1, [])
    assert f"results of a search with report.{key} = {old}, this one has {new}; keep them apart with --name" in err
    assert (tpobench("run", "--algos", "dg")[0], trained) == (0, [])


@pytest.mark.parametrize("conflict", ["shard", "search"])
def test_a_search_that_cannot_be_costs_nothing_of_the_suites_before_it(
    tpobench, command_line, trained, conflict, tmp_path
):
    """What the second suite rules out is found before the first one trains."""
    words = ["run", "--suite", "bandit,tiny.toml", "--algos", "dg", "--seeds", "4", "--executor", "inline"]
    if conflict == "shard":
        words += ["--shard", "1/2"]
    else:
        tpobench("run", "--algos", "dg")
        tpobench("plan", search={**SEARCH, "learned": 0.2})  # writes the file
    trained.clear()
    code, _, err = command_line(*words)
    assert (code, err.count("\n"), trained) == (2, 1, [])
    assert ("cannot be sharded" if conflict == "shard" else "learned = 0.5, this one has 0.2") in err
    assert not (tmp_path / "results" / "bandit").exists()


def test_runs_that_are_given_up_are_said_and_nobody_is_sent_to_try_them_again(tpobench, monkeypatch):
    """In the command that breaks them last and in the next one, a line each; --retry-failed repairs them."""
    monkeypatch.setattr("tpobench.training.loop.train", unlucky_train)
    code, out, err = tpobench("run", "--json")  # the first of three attempts
    assert (code, json.loads(out)["suites"][0]["given_up"]) == (3, 0)
    assert "1 of 3 searches are not done; the same command goes on from there" in err
    assert err.splitlines()[-1].endswith("run the same command to retry them")
    for _ in range(2):
        code, out, err = tpobench("run", "--json", "--max-attempts", "2")
        assert (code, json.loads(out)["suites"][0]["given_up"]) == (3, 1)
        assert err.count("1 runs broke 2 times and are not tried again; --retry-failed does") == 1
        assert (
            "1 of 3 searches are not done, 1 of them because of runs that were given up; "
            "the same command with --retry-failed goes on from there"
        ) in err
        assert err.splitlines()[-1].endswith("run the same command with --retry-failed to retry them")
    monkeypatch.setattr("tpobench.training.loop.train", rule_train)
    code, out, err = tpobench("run", "--json", "--max-attempts", "2", "--retry-failed")
    assert (code, json.loads(out)["suites"][0]["search"]["done"]) == (0, True)
    assert "not tried again" not in err


def test_damaged_records_are_said_once_however_many_rounds_follow(tpobench, command_line, tmp_path, trained):
    """Two lines of a packed file, on levels of two rounds, are two."""
    tpobench("run", "--algos", "dg")
    command_line("pack", "results/tiny")
    shutil.rmtree(tmp_path / "results" / "tiny")
    path = tmp_path / "results" / "tiny.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    torn = [next(i for i, line in enumerate(lines) if f'"arms":{arms}' in line) for arms in (4, 34)]
    path.write_text("\n".join(line[: 40 if i in torn else None] for i, line in enumerate(lines)), encoding="utf-8")
    trained.clear()
    code, out, err = tpobench("run", "--json", "--algos", "dg")
    assert (code, trained, json.loads(out)["suites"][0]["quarantined"]) == (0, [("dg", 4, 0), ("dg", 34, 0)], 2)
    assert err.count("2 damaged records were moved to results/tiny/quarantine and run again") == 1
    assert err.count("damaged records") == 1


def test_more_rules_and_more_seeds_join_a_finished_search(tpobench, trained):
    """A rule beyond the range learns everywhere, at the cost of its ends; more seeds are more runs of the levels."""
    tpobench("run")
    trained.clear()
    code, out, _ = tpobench("run", "--json", "--algos", "tpo,dg,reinforce,grpo")
    points = json.loads(out)["suites"][0]["search"]["points"][0]["points"]
    assert (code, len(trained), points["grpo"]["status"]) == (0, 8, "everywhere")
    trained.clear()
    tpobench("run", "--seeds", "5")
    assert {seed for _, _, seed in trained} == {4}


# ---- the report


def test_the_report_is_made_of_breaking_points(tpobench, command_line, tmp_path):
    """Table of points, levels and pairs, two figures; the same from packed records, and the same bytes."""
    tpobench("run")
    for source, out in (("results/tiny", "one"), ("results/tiny.jsonl", "two")):
        if source.endswith("jsonl"):
            command_line("pack", "results/tiny")
            assert len(load_packed(tmp_path / source)[0]) > 50
        words = ("report", source, "--out", out, "--format", "md,json,latex,csv", "--figures", "png")
        assert command_line(*words)[0] == 0
    text = (tmp_path / "one" / "report.md").read_text(encoding="utf-8")
    assert "| Algorithm | p0\\* ↓ [95% CI] | Holds at | Breaks at | Levels | Seeds |" in text
    assert "| reinforce | learns nowhere: 0/4 at 0.25" in text
    assert "A seed learned if its final error" in text
    assert "| 4 | 0.25 | 4/4 | 4/4 | 0/4 |" in text
    assert "| 10 | 0.1 |  | 1/4 |  |" in text  # dg only was there: 9 (0.75 + 3 / 6) is the reach of one seed
    assert (
        "metric:breaking-point/arms|learned:final1<0.5|seeds:0-3|ci:profile95|test:likelihood-ratio|adj:holm/3" in text
    )
    assert "missing" not in text
    figures = sorted(p.name for p in (tmp_path / "one" / "figures").iterdir())
    assert figures == ["tiny-breaking.png", "tiny-learn.png"]
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_lint_does_not_miss_levels_that_a_search_did_not_visit(tpobench, command_line):
    """Rules have levels of their own: no L002."""
    tpobench("run")
    _, out, _ = command_line("lint", "results/tiny", "--json")
    assert "L002" not in out
    assert '"code"' in out  # it did look


# ---- long ladders


def every_ending(ladder, beside, visited, price):
    """Least and most, by trying every way in which every missing level may turn out."""
    now = walk(ladder, beside, visited.get)
    here = sum(price(v) for v in now.wanted)
    if now.done or (now.breaking is not None and ladder.index(now.breaking) - ladder.index(now.holding) == 1):
        return here, here
    guesses = itertools.product([False, True], repeat=len(now.wanted))
    ends = [every_ending(ladder, beside, visited | dict(zip(now.wanted, g, strict=True)), price) for g in guesses]
    return here + min(e[0] for e in ends), here + max(e[1] for e in ends)


@given(st.integers(2, 70), st.integers(0, 3), st.integers(0, 5), st.sets(st.integers(0, 69), max_size=4), st.data())
def test_the_bounds_are_those_of_every_ending(count, beside, rounds, cheaper, data):
    """However far the search has come, and whatever the levels that have records off its path still cost."""
    search = Search("arms", 1, count, 0.5, beside=beside)
    track = Track({}, "any", "tpo", search, search.ladder, lambda level: (level,))
    holds = data.draw(st.integers(0, count))
    outcomes = {}
    for _ in range(rounds):
        outcomes |= {v: Outcome(int(v <= holds), 1) for v in track.walked(outcomes).wanted}
    recorded = {v for v in cheaper if 1 <= v <= count} - outcomes.keys()
    price = {v: float(v % 3) for v in recorded}
    state = TrackState(track, tuple(sorted(recorded | outcomes.keys())), outcomes, track.walked(outcomes))
    visited = {v: o.holds for v, o in outcomes.items()}
    expected = every_ending(search.ladder, beside, visited, lambda v: price.get(v, 4.0))
    assert least_and_most(state, lambda runs: price.get(runs[0], 4.0)) == expected


@pytest.fixture
def planned(monkeypatch):
    """The arms of every run that was planned."""
    levels = []

    def noting(suite, cell, *rest):
        levels.append(cell.task.arms)
        return resolve(suite, cell, *rest)

    monkeypatch.setattr("tpobench.planning.plan.resolve", noting)
    return levels


def test_of_ten_thousand_levels_only_those_are_planned_that_are_wanted(tpobench, planned):
    """`plan` looks at the two ends, and one more for what a level costs; `run` at those that it visits beside."""
    long = {"search": {**SEARCH, "hardest": 10_003}}
    code, out, _ = tpobench("plan", "--json", **long)
    costs = json.loads(out)["suites"][0]["search"]
    assert (code, set(planned)) == (0, {4, 5, 10_003})
    assert (costs["least_runs"], costs["most_runs"]) == (3 * 2 * 4, 3 * (2 + 14 + 1) * 4)  # 2^13 < 10,000 < 2^14
    planned.clear()
    code, out, _ = tpobench("run", "--json", **long)
    tracks = {t["algorithm"]: t for t in json.loads(out)["suites"][0]["search"]["tracks"]}
    assert (code, tracks["tpo"]["held"], tracks["dg"]["held"]) == (0, 43, 9)
    assert set(planned) == {v for t in tracks.values() for v in t["visited"]}


def test_a_rule_that_the_first_levels_do_not_serve_begins_where_one_does():
    """One candidate is nothing to compare: TPO's ladder begins at two, that of REINFORCE at one."""
    task = {"kind": "sampled", "contexts": 2, "arms": 3}
    search = {"axis": "candidates", "easiest": 1, "hardest": 9, "learned": 0.5}
    plan = plan_runs(build_suite("tiny", searching(task=task, search=search), "x"), ["tpo", "reinforce"], levels=(1, 9))
    assert {t.algorithm: t.ladder for t in tracks_of(plan)} == {
        "tpo": tuple(range(2, 10)),
        "reinforce": tuple(range(1, 10)),
    }


def test_the_runs_of_a_level_are_those_of_the_whole_plan():
    """Same ids and same order, however few levels are planned at a time."""
    made = build_suite("tiny", searching(grid={"samples": [4, 8]}), "x")
    whole, ends = plan_runs(made), plan_runs(made, levels=(4, 64))
    wanted = [s.run_id for s in whole.specs if s.cell["arms"] in {4, 17, 64}]
    assert [s.run_id for s in ends.at({17, 64, 4}).specs] == wanted
    assert [s.run_id for s in ends.specs] == [s.run_id for s in whole.specs if s.cell["arms"] in {4, 64}]
