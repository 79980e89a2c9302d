"""Fixed seeds, looks and levels go through one loop, one forecast and one limit of cost, alone and together."""

import json
import signal

import pytest
from harness_helpers import Row, document, noted_runs, suite, write_suite

from tpobench.execution import Inline, Options, Stop
from tpobench.execution.due import Forecast, forecast
from tpobench.execution.rounds import Clock, Folder, Machinery, take_rounds
from tpobench.planning.choice import parse_choice
from tpobench.planning.design import Fixed
from tpobench.planning.levels import Levels
from tpobench.planning.looks import Looks
from tpobench.suites.load import build_suite

RULES = ["tpo", "dg", "reinforce"]
REPORT = {"window": 1, "thresholds": [0.5], "persist": 1}
COST = {"ms_per_step": {"default": 250.0}}  # a second for the four steps of a run
ARMS = {"axis": "arms", "easiest": 4, "hardest": 64, "learned": 0.5}
FIXED = document(algorithms=RULES, report=REPORT, cost=COST)
SEARCH = document(algorithms=RULES, seeds=4, search=ARMS, task={"kind": "bandit"}, report=REPORT, cost=COST)
WORDS = {"fixed": (FIXED, "3"), "looks": (FIXED, "adaptive:8x3"), "levels": (SEARCH, None)}
KINDS = {"fixed": Fixed, "looks": Looks, "levels": Levels}


def train(job, _begin=None):
    """Every rule learns up to 20 arms, reinforce less well than the others at any number."""
    spec = job.specs[0]
    worse = 0.3 * (spec.algorithm == "reinforce")
    yield Row(0, 0, 0, "initial_success", tuple(1 / spec.task["arms"] for _ in job.seeds))
    for step in range(spec.training["steps"] + 1):
        late = 0.1 + worse if spec.task["arms"] <= 20 else 0.8
        yield Row(step, 4 * step, step, "error", tuple(late + 0.01 * (seed % 5) for seed in job.seeds))


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """The runs trained: rule, arms, seed."""
    return noted_runs(monkeypatch, train)


def design_of(kind):
    """One of the three over the tiny suite."""
    text, seeds = WORDS[kind]
    choice = parse_choice(seeds)
    return choice.design(choice.plan(build_suite("tiny", text, "tiny.toml")))


def taken(design, folder, budget=None):
    """The state after all rounds in a folder, and what was done."""
    told = []
    by = Machinery(Inline(), Options(), (), Stop(), Clock(budget), told.append)
    return *take_rounds(design.replay, Folder(folder), by), told


@pytest.mark.parametrize("kind", WORDS)
def test_the_loop_ends_where_nothing_comes_next_and_goes_on_where_it_was(kind, tmp_path, trained):
    """Each run is made once; a second invocation finds the same state and makes none."""
    design = design_of(kind)
    assert isinstance(design, KINDS[kind])
    state, did, told = taken(design, tmp_path)
    assert (state.waiting, state.bounds(len), did.timed_out) == ((), (9, 9) if kind == "fixed" else (0, 0), False)
    assert len(trained) == len(set(trained)) == did.ran["ok"] == len(did.known)
    assert forecast(state, did.known, Options()) == Forecast(0, 0, 0.0, 0.0)
    assert [line.split(":")[0] for line in told] == {
        "fixed": [], "looks": ["look 1", "look 2", "look 3"], "levels": [f"round {i + 1}" for i in range(7)],
    }[kind]  # fmt: skip
    runs = len(trained)
    again, nothing, _ = taken(design, tmp_path)
    assert (again.rows(), nothing.ran.total(), len(trained)) == (state.rows(), 0, runs)


@pytest.mark.parametrize("kind", WORDS)
def test_a_part_whose_run_breaks_waits_for_the_next_invocation(kind, tmp_path, monkeypatch, trained):
    """Seed 1 of dg breaks: it is tried once, the other rules go on to their end, and the next call goes on with it."""
    whole, _, _ = taken(design_of(kind), tmp_path / "whole")
    trained.clear()

    def broken(job, begin):
        if job.specs[0].algorithm == "dg" and 1 in job.stack(0):
            msg = "seed 1 is unlucky"
            raise ValueError(msg)
        return train(job, begin)

    with monkeypatch.context() as patch:
        tries = noted_runs(patch, broken)
        state, did, _ = taken(design_of(kind), tmp_path / "cut")
    assert len(tries) == len(set(tries))
    waiting = {s.algorithm for part in state.waiting for s in part.specs if s.run_id not in did.known or
               did.known[s.run_id].status == "failed"}  # fmt: skip
    assert waiting == {"dg"}
    state, did, _ = taken(design_of(kind), tmp_path / "cut")
    assert (state.waiting, state.rows()) == ((), whole.rows())


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("fixed", 9, 9), ("looks", 3 * 8, 3 * 24), ("levels", 3 * 2 * 4, 3 * (2 + 6 + 1) * 4)],
)
def test_the_forecast_is_counted_by_hand(kind, least, most):
    """Rules times seeds; one look and three; the two ends, and six middles and a neighbour; a second a run."""
    state = design_of(kind).replay({})
    assert forecast(state, {}, Options()) == Forecast(least, most, float(least), float(most))


def test_jobs_of_unknown_cost_are_counted_and_leave_the_seconds_open():
    """Without a hint nothing is known of nine jobs."""
    state = Fixed(parse_choice("3").plan(suite(algorithms=RULES))).replay({})
    assert forecast(state, {}, Options()) == Forecast(9, 9, None, None, unpriced=9)


@pytest.fixture
def tpobench(command_line, tmp_path):
    """The command line beside the files fixed.toml, other.toml (fixed seeds both) and levels.toml (a search)."""
    for name, text in (("fixed", FIXED), ("other", FIXED), ("levels", SEARCH)):
        write_suite(tmp_path / f"{name}.toml", text)
    return command_line


RUN = ("run", "--executor", "inline", "--suite")


def test_a_search_and_fixed_seeds_run_in_one_command(tpobench):
    """Each answers with what it has to say, in the order in which they were named."""
    code, out, _ = tpobench(*RUN, "levels.toml,fixed.toml", "--json")
    levels, fixed = json.loads(out)["suites"]
    assert (code, levels["search"]["done"], fixed["ran"], fixed["left"]) == (0, True, {"ok": 9}, 0)
    assert not fixed.keys() & {"search", "adaptive"}


@pytest.mark.parametrize(
    ("words", "limit", "said"),
    [
        (("fixed.toml,other.toml",), "17s", "the runs due take about 18.0 s"),
        (("fixed.toml,levels.toml",), "110s", "the runs due may take 1 min 57 s"),
        (("fixed.toml,other.toml", "--seeds", "adaptive:8x3"), "100s", "the runs due may take 2 min 24 s"),
    ],
)
def test_a_limit_of_cost_holds_for_all_suites_together_however_their_runs_are_chosen(
    tpobench, tmp_path, trained, words, limit, said
):
    """Each of them alone would fit: nine runs, at most 108, at most 72."""
    code, _, err = tpobench(*RUN, *words, "--max-cost", limit)
    assert (code, err.count("\n"), trained) == (2, 1, [])
    assert f"{said} of CPU time" in err
    assert not (tmp_path / "results").exists()
    assert tpobench(*RUN, words[0].split(",")[1], *words[1:], "--max-cost", limit)[0] == 0


def test_a_time_budget_holds_for_all_suites_and_rounds_together(tpobench, monkeypatch, trained):
    """A second a run: the first look of the first suite takes 24 of 20 seconds, so nothing else begins."""
    monkeypatch.setattr("tpobench.execution.rounds.Clock.spent", lambda _: float(len(trained)))
    words = ("fixed.toml,other.toml", "--seeds", "adaptive:8x3", "--json", "--time-budget", "20s")
    code, out, err = tpobench(*RUN, *words)
    assert (code, len(trained)) == (0, 24)
    assert [a["left"] for a in json.loads(out)["suites"]] == [16, 24]
    assert "the time budget ended the run; 16 runs are left, the same command goes on with them" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("levels.toml", "--shard", "1/2"), "a search cannot be sharded"),
        (("fixed.toml", "--seeds", "adaptive:8x3", "--shard", "1/2"), "adaptive seeds cannot be sharded"),
        (("fixed.toml", "--set", "steps=9"), "holds runs with training.steps = 4, these would have 9"),
        (("fixed.toml", "--seeds", "adaptive:8x3"), "results from before any plan"),
        (("levels.toml", "--set", "search.learned=0.2"), "a search with learned = 0.5, this one has 0.2"),
    ],
)
def test_plan_refuses_what_run_would_refuse(tpobench, trained, words, said):
    """In the same line, instead of showing the cost of what cannot be run."""
    tpobench(*RUN, "fixed.toml,levels.toml")
    trained.clear()
    refusals = {tpobench(verb, "--suite", *words) for verb in ("plan", "run")}
    assert len(refusals) == 1
    code, out, err = refusals.pop()
    assert (code, out, err.count("\n"), trained) == (2, "", 1, [])
    assert said in err


def test_a_folder_of_looks_takes_no_search(tpobench):
    """Its seeds were chosen by a plan."""
    words = ("--seeds", "adaptive:8x3", "--name", "both")
    assert tpobench(*RUN, "fixed.toml", *words)[0] == 0
    code, _, err = tpobench(*RUN, "levels.toml", "--name", "both")
    assert code == 2
    assert "results/both follows the plan adaptive:8x3" in err


def test_a_signal_ends_the_loop_between_two_rounds(tmp_path, monkeypatch, capsys):
    """Asked to stop by the last run of the first look: it is counted, and the second look does not begin."""
    stop, jobs = Stop(), []

    def stopping(job, begin):
        jobs.append(job)
        if len(jobs) == 24:
            stop.ask(signal.SIGINT)
        return train(job, begin)

    monkeypatch.setattr("tpobench.training.loop.train", stopping)
    by = Machinery(Inline(), Options(), (), stop, Clock(None), print)
    state, did = take_rounds(design_of("looks").replay, Folder(tmp_path), by)
    out, err = capsys.readouterr()
    assert (did.ran, state.look, out.count("\n")) == ({"ok": 24}, 1, 1)
    assert "look 1: 24 runs to do" in err
    assert "look 2" not in err
