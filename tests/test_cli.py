"""The command line: what goes where, which exit code, and that help is instant."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from harness_helpers import fake_train
from record_helpers import record, snapshot, write

from tpobench.stats.texts import rounded

HEAVY = ("torch", "pandas", "scipy", "matplotlib", "joblib", "rich.progress", "numpy", "sklearn")


@pytest.fixture
def tpobench(monkeypatch, command_line):
    """The command line with the two-line trainer."""
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)
    return command_line


RUN = ("run", "--suite", "bandit", "--smoke", "--executor", "inline")


def child(*words, **kwargs):
    """The real command line in a process of its own."""
    command = [sys.executable, "-m", "tpobench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **kwargs)


def loaded(commands):
    """After each command of one process, in turn: whether it went well, and the modules that are there."""
    code = (
        "import sys\nfrom tpobench.cli import main\n"
        f"for words in {commands!r}:\n"
        "    sys.argv, code = ['tpobench', *words], 0\n"
        "    try: main()\n    except SystemExit as end: code = end.code or 0\n"
        "    print('loaded:', code, *sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    for line in (line for line in answer.stdout.splitlines() if line.startswith("loaded: ")):
        _, status, *modules = line.split()
        yield status, {name.partition(".")[0] for name in modules} | set(modules)


def test_what_only_reads_imports_nothing_heavy():
    """Instant help, lists and plans: no torch, no pandas, no scipy before something is computed."""
    commands = [["--help"], ["run", "--help"], ["--version"], ["show", "suite", "bandit"], ["list"],
                ["show", "algo", "tpo+icepop"], ["plan", "--suite", "bandit,terminal_reward"]]  # fmt: skip
    for words, (status, modules) in zip(commands, loaded(commands), strict=True):
        assert status == "0", words
        assert modules.isdisjoint(HEAVY), words


def test_records_are_read_without_torch(tmp_path):
    """Status, comparisons and reports need statistics, but nothing that trains."""
    arms = {"tpo": 0.1, "grpo": 0.5}
    write(tmp_path / "runs", *(record(s, error=e, changes={"algorithm": a}) for a, e in arms.items() for s in range(5)))
    at = str(tmp_path / "runs")
    commands = [["status", at], ["lint", at], ["compare", "tpo", "grpo", "--in", at],
                ["report", at, "--figures", "none", "--out", str(tmp_path / "report")]]  # fmt: skip
    for words, (status, modules) in zip(commands, loaded(commands), strict=True):
        assert status == "0", words
        assert "torch" not in modules, words


def test_a_run_tells_the_result_and_the_next_command(tpobench):
    """Everything for people is on stderr, and stdout is empty."""
    code, out, err = tpobench(*RUN, "--algos", "tpo,dg", "-a", "grpo", "--seeds", "2")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "bandit-smoke: 6 runs to do, 0 done before"
    assert [line.split()[2] for line in lines if " any " in line] == ["tpo", "dg", "grpo"]
    assert lines[-1] == "next: tpobench report results/bandit-smoke"
    code, _, err = tpobench(*RUN, "--algos", "tpo")
    assert (code, err.splitlines()[0]) == (0, "bandit-smoke: 1 runs to do, 2 done before")


def test_json_is_one_object_on_stdout(tpobench):
    """Each verb that answers takes --json."""
    code, out, _ = tpobench(*RUN, "--json", "--algos", "tpo")
    assert code == 0
    (suite,) = json.loads(out)["suites"]
    assert (suite["ran"], suite["already"], suite["failed"]) == ({"ok": 3}, 0, [])
    assert suite["summary"][0]["algorithm"] == "tpo"
    code, out, _ = tpobench(*RUN, "--format", "csv", "--algos", "tpo")
    assert (code, out.splitlines()[0].split(",")[:4]) == (0, ["cell", "matching", "algorithm", "ok"])
    for words in (["plan", "--suite", "bandit,sparse"], ["run", "--suite", "bandit", "--dry-run"], ["list"], ["status"],
                  ["show", "suite", "sparse"], ["pack"]):  # fmt: skip
        code, out, err = tpobench(*words, "--json")
        assert code == 0, (words, err)
        assert isinstance(json.loads(out), dict)


def test_the_plan_shows_work_and_cost_and_runs_nothing(tpobench, tmp_path):
    """plan and run --dry-run are the same."""
    code, out, _ = tpobench("plan", "--suite", "terminal_reward", "--set", "length=7", "--jobs", "2")
    assert code == 0
    assert "length=7  interactions  ppo" in out
    assert "wall time" in out
    assert "length=8" not in out
    assert tpobench("run", "--dry-run", "--suite", "terminal_reward", "--set", "length=7", "--jobs", "2")[1] == out
    assert list(tmp_path.iterdir()) == []


def test_the_two_scales_never_share_a_folder(tpobench, tmp_path):
    """The quick scale has its own folder, its own suite name and its own run ids; smoke and --set go on top."""
    words = ("--algos", "tpo", "--seeds", "1", "--set", "steps=3", "--set", "seed_batch=1", "--executor", "inline")
    for scale in ("paper", "quick"):
        code, out, err = tpobench("run", "--suite", "bandit", "--scale", scale, *words, "--json")
        assert code == 0, err
        name = {"paper": "bandit", "quick": "bandit-quick"}[scale]
        assert (json.loads(out)["suites"][0]["suite"], json.loads(out)["suites"][0]["folder"]) == (
            name,
            f"results/{name}",
        )
    paper, quick = ({p.stem for p in (tmp_path / "results" / n / "runs").rglob("*.json")} for n in ("bandit", name))
    assert len(paper) == len(quick) == 1
    assert paper != quick
    code, out, _ = tpobench("plan", "--suite", "bandit", "--scale", "quick", "--smoke")
    assert (code, out.splitlines()[0].rpartition(" ")[2]) == (0, "results/bandit-quick-smoke")


def test_show_suite_tells_how_it_differs_from_what_was_published(tpobench):
    """Deviations a line each; at the quick scale every key that it changes, with both values."""
    _, out, _ = tpobench("show", "suite", "terminal_reward")
    assert "\n- 2 attention heads" in out
    assert "paper -> quick" not in out
    _, out, _ = tpobench("show", "suite", "terminal_reward", "--scale", "quick")
    assert 'name = "terminal_reward-quick"' in out
    assert "\nseeds: 20 -> 12\n" in out
    assert re.search(r"\ngrid\.length: \[7, 8, 9, 10\] -> \[[0-9, ]+\]\n", out)
    found = json.loads(tpobench("show", "suite", "bandit", "--scale", "quick", "--json")[1])
    assert (found["scale"], found["scale_changes"][-1]) == ("quick", {"key": "seeds", "paper": 100, "quick": 20})


def test_a_swept_hyperparameter_is_a_column_of_every_table(tpobench):
    """`--set hyper.eta=...` runs every rule at every value, and the report draws the sweep."""
    words = ("--algos", "tpo,dg", "--seeds", "2", "--set", "hyper.eta=0.5,1,2", "--set", "seed_batch=1")
    code, out, err = tpobench(*RUN, *words, "--json")
    assert code == 0, err
    rows = json.loads(out)["suites"][0]["summary"]
    assert [(r["cell"], r["algorithm"], r["ok"]) for r in rows] == [
        (f"eta={eta}", rule, 2) for eta in ("0.5", "1.0", "2.0") for rule in ("tpo", "dg")
    ]
    _, out, err = tpobench(*RUN, *words, "--format", "csv")  # scripts have shares from 0 to 1, people percent
    assert [float(line.rpartition(",")[2]) for line in out.splitlines()[1:]] == [r["final error"] for r in rows]
    shown = [rounded(100 * r["final error"], 4) for r in rows]
    assert [line.split()[-1] for line in err.splitlines() if line.startswith("eta=")] == shown
    _, out, _ = tpobench(*RUN, *words, "--format", "md")
    assert "final error (%)" in out
    assert [line.split(" | ")[-1].removesuffix(" |") for line in out.splitlines() if "eta=" in line] == shown
    code, out, err = tpobench("report", "results/bandit-smoke", "--out", "r", "--json")
    assert code == 0, err
    assert "r/figures/bandit-eta.png" in out
    code, out, err = tpobench("compare", "tpo", "dg", "--in", "results/bandit-smoke")
    assert code == 0, err
    assert "eta=0.5" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--suite", "sparse", "--scale", "quick"], 2, "has no quick scale"),
        (["plan", "--suite", "bandit", "--scale", "qick"], 2, "did you mean 'quick'"),
        ([*RUN, "--set", "hyper.eta=1,2"], 2, "'reinforce' does not have"),
        (["run", "--suite", "bandid"], 2, "did you mean 'bandit'"),
        (["run", "--suite", "none.toml"], 2, "no suite file"),
        ([*RUN, "--algos", "tpoo"], 2, "did you mean 'tpo'"),
        ([*RUN, "--set", "stepz=3"], 2, "did you mean 'steps'"),
        ([*RUN, "--set", "steps"], 2, "KEY=VALUE"),
        ([*RUN, "--set", "steps=0"], 2, "at least 1"),
        ([*RUN, "--set", "steps=true"], 2, "an integer"),
        ([*RUN, "--seeds", "x"], 2, "a range such as 0-9"),
        ([*RUN, "--device", "tpu"], 2, "valid: cpu, cuda"),
        ([*RUN, "--name", "../up"], 2, "--name ../up"),
        ([*RUN, "--plugin", "none.py"], 2, "no plugin at"),
        (["run", "--suite", "bandit,sparse", "--name", "both"], 2, "several suites"),
        (["run", "--suite", ","], 2, "--suite names no suite"),
        (["run", "--suite", "sparse", "--smoke", "--algos", "ce"], 4, "ce needs label"),
        (["plan", "--suite", "sparse", "--smoke", "--algos", "ce"], 4, "no algorithm of the plan fits"),
        (["report", "none"], 4, "no results at none"),
        (["report", "--format", "pdf"], 2, "valid: csv, html, json, latex, md"),
        (["report", "--figures", "gif"], 2, "unknown figure 'gif'"),
        (["report", "--ci", "bcaa"], 2, "did you mean 'bca'"),
        (["report", "--diverged", "ignore"], 2, "valid: drop, fail, worst"),
        (["status"], 4, "no runs in results"),
        (["pack"], 4, "no runs in results"),
        (["list", "suits"], 2, "did you mean 'suites'"),
        (["show", "suite", "bandid"], 2, "did you mean 'bandit'"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(tpobench, words, code, message):
    """No traceback, no partial work, the remedy in the line."""
    found, _, err = tpobench(*words)
    assert found == code
    assert message in err
    assert err.startswith("tpobench: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["run"], ["run", "--suite"], ["ruin"], ["run", "--suite", "bandit", "--jobs", "0"]])
def test_wrong_use_of_the_command_line_is_2(tpobench, words):
    """Options that are missing, incomplete, unknown or out of range."""
    assert tpobench(*words)[0] == 2


def test_failed_runs_are_3_and_diverged_runs_are_0(tpobench):
    """The records say why, and the same command tries again."""
    code, out, err = tpobench(*RUN, "--algos", "tpo", "--seeds", "6,7,13", "--set", "seed_batch=1", "--json")
    assert code == 3
    assert json.loads(out)["suites"][0]["ran"] == {"diverged": 1, "failed": 1, "ok": 1}
    assert err.splitlines()[-1].startswith(
        "tpobench: 1 runs failed, the first: tpo seed 13 failed: ValueError: seed 13 is unlucky"
    )
    assert "seed 13 is unlucky" in tpobench("status")[1]
    assert tpobench(*RUN, "--algos", "tpo", "--seeds", "7,7", "--set", "seed_batch=1")[0] == 0


def test_runs_that_are_given_up_are_not_said_to_be_tried_again_by_the_same_command(tpobench):
    """The last attempt is followed by what would work, and so is every command after it."""
    words = (*RUN, "--algos", "tpo", "--seeds", "6,13", "--set", "seed_batch=1", "--max-attempts", "2", "--json")
    for attempt in (1, 2, 2):
        code, out, err = tpobench(*words)
        (suite,) = json.loads(out)["suites"]
        assert (code, suite["failed"][0]["attempts"], suite["given_up"]) == (3, attempt, attempt // 2)
        assert ("1 runs broke 2 times and are not tried again; --retry-failed does" in err) == (attempt == 2)
        remedy = "run the same command" + " with --retry-failed" * (attempt == 2) + " to retry them"
        assert err.splitlines()[-1].endswith(remedy)


def test_other_settings_in_a_later_folder_cost_nothing_of_the_suites_before_it(tpobench, tmp_path):
    """One line before the first run, and no folder begun."""
    both = ("run", "--smoke", "--executor", "inline", "--seeds", "1", "--algos", "tpo")
    assert tpobench(*both, "--suite", "bandit", "--set", "steps=9")[0] == 0
    before = snapshot(tmp_path)
    code, _, err = tpobench(*both, "--suite", "contexts,bandit")
    assert (code, err.count("\n"), snapshot(tmp_path)) == (2, 1, before)
    assert "results/bandit-smoke holds runs with training.steps = 9, these would have 20" in err


def test_a_stop_before_the_first_run_is_130(tpobench, monkeypatch, tmp_path):
    """Nothing was run, which is what it says."""
    monkeypatch.setattr("tpobench.records.store.Store.meta", lambda _: signal.raise_signal(signal.SIGINT))
    code, _, err = tpobench(*RUN, "--algos", "tpo")
    assert (code, err.splitlines()[-1]) == (
        130,
        "tpobench: stopped; nothing was run, the same command goes on from there",
    )
    assert not (tmp_path / "results").exists()


def test_a_limit_of_cost_holds_for_all_suites_together(tpobench, tmp_path):
    """Nothing starts where the last of them is too much."""
    code, _, err = tpobench("run", "--suite", "bandit,terminal_reward", "--executor", "inline", "--max-cost", "1h")
    assert code == 2
    assert "--max-cost 1 h 00 min: the runs due take about" in err
    assert not list(tmp_path.glob("results/*/runs"))


def test_a_time_budget_that_is_spent_ends_the_command_well(tpobench):
    """No round of seeds starts, which is said; the same command goes on."""
    code, _, err = tpobench(*RUN, "--algos", "tpo,dg", "--time-budget", "0.000001s")
    assert code == 0
    assert "the time budget ended the run; 6 runs are left, the same command goes on with them" in err
    assert tpobench(*RUN, "--algos", "tpo,dg", "--time-budget", "1h")[0] == 0


def test_results_of_a_newer_version_are_6(tpobench, tmp_path):
    """They are never overwritten."""
    tpobench(*RUN, "--algos", "tpo")
    path = next(tmp_path.glob("results/*/runs/*/*.json"))
    path.write_text(path.read_text().replace('"schema":1', '"schema":9'))
    code, _, err = tpobench(*RUN, "--algos", "tpo")
    assert code == 6
    assert "upgrade tpobench" in err


def test_an_unexpected_error_is_one_line_and_70(tpobench, monkeypatch):
    """TPOBENCH_DEBUG=1 adds the traceback."""
    monkeypatch.setattr("tpobench.cli.browse.suite_names", lambda: 1 / 0)
    code, _, err = tpobench("list", "suites")
    assert (code, err.count("\n")) == (70, 1)
    assert "internal error: ZeroDivisionError" in err
    monkeypatch.setenv("TPOBENCH_DEBUG", "1")
    assert "Traceback" in tpobench("list", "suites")[2]


def test_other_settings_need_another_name(tpobench):
    """Runs of two step counts never meet in one table."""
    assert tpobench(*RUN, "--algos", "tpo")[0] == 0
    code, _, err = tpobench(*RUN, "--algos", "tpo", "--set", "steps=9")
    assert code == 2
    assert "training.steps = 20, these would have 9" in err
    assert tpobench(*RUN, "--algos", "tpo", "--set", "steps=9", "--name", "short")[0] == 0


def test_lists_name_every_suite_and_rule(tpobench):
    """What can be asked for is what is listed."""
    from tpobench import ALGORITHMS
    from tpobench.suites.load import suite_names

    _, out, _ = tpobench("list")
    for name in (*suite_names(), *ALGORITHMS):
        assert any(line.split()[:1] == [name] for line in out.splitlines())


@pytest.mark.slow
def test_the_whole_way_from_suite_to_report(tmp_path):
    """The real trainer in two processes: run, report, pack, and report from the packed file alone."""
    out = tmp_path / "results"
    done = child("run", "--suite", "bandit", "--smoke", "--jobs", "2", "--json", "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suites"][0]["ran"] == {"ok": 12}
    assert "\x1b" not in done.stderr
    first = child("report", out / "bandit-smoke", "--out", tmp_path / "a", "--format", "md,csv")
    assert first.returncode == 0, first.stderr
    assert "tpo" in first.stdout
    assert child("pack", out).returncode == 0
    second = child("report", out / "bandit-smoke.jsonl", "--out", tmp_path / "b", "--format", "md,csv")
    assert second.stdout == first.stdout


PLUGIN = """
import tpobench
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient

def centered(groups):
    return groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)

tpobench.register(Algorithm("centered", centered, policy_gradient, compares="candidates", paper="none"))
"""


@pytest.mark.slow
def test_a_plugin_runs_beside_the_catalogue_in_every_process(tmp_path):
    """The rule's version is the hash of its file: results of an edited rule do not mix with those before."""
    plugin = tmp_path / "centered.py"
    words = ["run", "--suite", "bandit", "--smoke", "-a", "tpo,centered", "--jobs", "2", "--plugin", plugin, "--json"]
    plugin.write_text(PLUGIN)
    done = child(*words, "--out", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suites"][0]["ran"] == {"ok": 6}
    plugin.write_text(PLUGIN + "\n# edited\n")
    done = child(*words, "--out", tmp_path / "results")
    assert done.returncode == 2
    assert "centered with algorithm_version" in done.stderr
    assert "--name NAME" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_keeps_what_is_finished(tmp_path, number, code):
    """Ctrl-C and SIGTERM: one line, the exit code of the signal, and the finished records."""
    words = ["run", "--suite", "contexts", "--set", "seed_batch=1", "--jobs", "2", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "tpobench", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        for _ in range(600):
            if any(tmp_path.glob("contexts/runs/*/*.json")):
                break
            time.sleep(0.1)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("tpobench: stopped; finished runs are kept in")
    status = json.loads(child("status", tmp_path, "--json").stdout)["folders"][0]
    assert status["ok"] > 0
    assert status["quarantined"] == 0
