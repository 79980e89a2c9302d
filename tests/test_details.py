"""`show algo` and `show run`."""

import json

import pytest
from record_helpers import record, write, write_jsonl


@pytest.fixture
def shown(command_line):
    """What a command answers, as an object."""

    def ask(*words):
        code, out, err = command_line("show", *words, "--json")
        assert code == 0, err
        return json.loads(out)

    return ask


def test_an_algorithm_is_shown_with_its_equations_ranges_source_and_suites(shown):
    """TPO, whose target is no advantage and which fits whatever offers candidates."""
    tpo = shown("algo", "tpo")
    assert (tpo["credit is"], tpo["source"]) == ("a target", "arXiv 2604.06159, section 2")
    assert "q_k ~ p_old(k) exp(u_k)" in tpo["credit"]
    assert tpo["fit"].startswith("L = -sum_k q_k log p_k")
    assert tpo["hyperparameters"] == [
        {"name": "eta", "default": 1.0, "allowed": "at least 0.001 and at most 1e+06"},
        {"name": "anchor", "default": True, "allowed": "true or false"},
    ]
    assert [row["by default"] for row in tpo["suites"]] == sorted(
        (r["by default"] for r in tpo["suites"]), reverse=True
    )
    suites = {row["suite"]: row for row in tpo["suites"]}
    assert (suites["sparse"]["cells"], suites["sparse"]["by default"]) == ("all", "yes")
    assert (suites["tasks"]["cells"], suites["tasks"]["what is in the way"]) == (
        "none", "has no task_step, which the grid sweeps"
    )  # fmt: skip


def test_the_suites_of_an_algorithm_are_those_that_plan_it(shown, command_line):
    """The oracle needs labels, which a bandit has and a sequence has not."""
    suites = {row["suite"]: row for row in shown("algo", "ce")["suites"]}
    for name, code in (("bandit", 0), ("sparse", 4)):
        assert (suites[name]["cells"] == "all") == (code == 0)
        assert command_line("plan", "--suite", name, "--algos", "ce")[0] == code


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("grpo+icepop", "modifier icepop", "k = "),
        ("loo-ce", "credit", "q_k ~ p_old(k) exp(A_k / eta)"),
        ("grpo_masked", "contexts that count", ""),
        ("reinforce", "uses a batch for", "1 epoch at most"),
    ],
)
def test_what_an_algorithm_is_put_together_from_is_shown(shown, name, row, words):
    """Modified, made of parts, or with a part that few have."""
    assert words in shown("algo", name)[row]


def test_an_algorithm_of_a_plugin_is_shown(shown, command_line):
    """Its range, and the family of what is a user's own."""
    assert command_line("new-algo", "mine")[0] == 0
    mine = shown("algo", "mine", "--plugin", "mine.py")
    assert (mine["family"], mine["hyperparameters"]) == ("own", [])


def test_a_run_is_shown_by_the_beginning_of_its_id(shown, command_line, tmp_path):
    """Packed or not; settings, the curve's ends, cost."""
    run = record(3, error=0.25, cost={"cpu_s": 90.0, "wall_s": 95.0, "peak_rss_mb": 40.0})
    write(tmp_path / "results" / "tiny", run)
    write_jsonl(tmp_path / "packed.jsonl", run, record(4))
    for words in ([], ["--in", "packed.jsonl"], ["--in", "results/tiny"]):
        found = shown("run", run.id[:6], *words)
        assert (found["id"], found["spec"]["seed"], found["curve"]["error"]) == (run.id, 3, [0.75, 0.25])
    assert found["where"] == f"results/tiny/runs/{run.id[:2]}/{run.id}.json"
    lines = {" ".join(line.split()) for line in command_line("show", "run", run.id)[1].splitlines()}
    assert {"status ok", "error 0.75 0.25", "CPU time 1 min 30 s", "learning_rate = 0.1", "seed 3"} <= lines


def test_a_run_that_failed_says_why(command_line, tmp_path):
    """Its status and reason, and no curve."""
    run = record(status="failed", reason="ValueError: no", attempts=3)
    write(tmp_path / "results" / "tiny", run)
    out = command_line("show", "run", run.id)[1]
    assert {"status failed", "reason ValueError: no", "attempts 3"} <= {" ".join(s.split()) for s in out.splitlines()}
    assert "Curve" not in out


def test_a_result_is_shown_rather_than_an_older_failure(shown, tmp_path):
    """Both copies are there, one of them packed."""
    write(tmp_path / "results" / "tiny", run := record())
    write_jsonl(tmp_path / "results" / "tiny.jsonl", record(status="failed"))
    assert shown("run", run.id)["status"] == "ok"
    write(tmp_path / "results" / "tiny", record(status="failed"))
    write_jsonl(tmp_path / "results" / "tiny.jsonl", run)
    assert shown("run", run.id)["status"] == "ok"


def test_a_run_that_cannot_be_shown_says_what_would_work(command_line, tmp_path):
    """No id, none such, several, and a damaged one."""
    runs = [record(seed) for seed in range(18)]  # two of the 17 that can be read must begin alike
    write(tmp_path / "results" / "tiny", *runs)
    first = [run.id[0] for run in runs[1:]]
    twice = next(letter for letter in first if first.count(letter) > 1)
    cases = [
        (["xyz"], 2, "'xyz' is no run's id"),
        ([twice], 2, f"{first.count(twice)} runs in results have an id that begins with {twice}; give more of it: "),
        (["0" * 16], 4, f"no run {'0' * 16} in results; --in FOLDER"),
        (["00", "--in", "none"], 4, "no run 00 in none, which holds no runs"),
    ]
    (tmp_path / "results/tiny/runs" / runs[0].id[:2] / f"{runs[0].id}.json").write_text("{", encoding="utf-8")
    for words, code, message in [*cases, ([runs[0].id], 6, f"{runs[0].id}.json: not JSON")]:
        status, out, err = command_line("show", "run", *words)
        assert (status, out, err.count("\n")) == (code, "", 1)
        assert message in err


def test_an_unknown_algorithm_is_named_with_its_likeness(command_line):
    """Without regard to case."""
    code, _, err = command_line("show", "algo", "TPO")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("tpobench: unknown algorithm 'TPO'; did you mean 'tpo'? valid: ")
