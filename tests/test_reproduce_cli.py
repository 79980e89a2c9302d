"""`tpobench reproduce`: from an item to its scorecard, again, from what is there, and around what is not."""

import csv
import json
import shutil
import signal

import pytest
from harness_helpers import Row, fake_train
from record_helpers import snapshot

QUICK = ("--scale", "quick", "--executor", "inline")
PLAIN = (*QUICK, "--figures", "none")


RULES = ("ce", "tpo", "dg", "grpo", "reinforce")


def trained(job, _begin=None):
    """error falls from 1 to k / 100 for the k-th rule, a little more for every seed; the misalignment does not move."""
    spec = job.specs[0]
    steps, every = spec.training["steps"], spec.training["record_every"]
    end = (1 + RULES.index(spec.algorithm)) / 100
    for step in range(0, steps + 1, every):
        left = 1 - step / steps
        yield Row(step, step, step, "error", tuple(left + (1 - left) * (end + seed / 10_000) for seed in job.seeds))
        yield Row(step, step, step, "misalignment", tuple(10 * end + seed / 1000 for seed in job.seeds))


@pytest.fixture
def tpobench(monkeypatch, command_line, tmp_path):
    """The command line with a trainer of a few lines, in a place without data."""
    monkeypatch.setattr("tpobench.training.loop.train", trained)
    monkeypatch.setenv("TPOBENCH_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "nowhere")
    return command_line


def pages(folder):
    return {p.name: p.read_bytes() for p in folder.glob("[!.]*") if p.is_file()}


@pytest.mark.slow
def test_an_item_is_run_and_scored_and_the_second_time_only_scored(command_line, tmp_path):
    """The real trainer: runs, tables on standard output, pages and a figure; then the same without a run."""
    code, out, err = command_line("reproduce", "fig2", *QUICK, "--format", "md,json,csv")
    assert code == 0, err
    assert out.startswith("fig2: One context, 100 arms (section 3.1), scale quick\nclaims: ")
    assert "tpo < grpo: final error" in out
    assert "|scale:quick|suites:bandit-quick v1|seeds:0-19|" in out.splitlines()[-1]
    assert "80 runs to do, 0 done before" in err
    folder = tmp_path / "results" / "reproduction"
    first, runs = pages(folder), snapshot(tmp_path / "results" / "bandit-quick")
    assert sorted(first) == ["fig2-quick.csv", "fig2-quick.json", "fig2-quick.md"]
    assert (folder / "figures" / "fig2-quick.png").is_file()
    assert b"](figures/fig2-quick.png)" in first["fig2-quick.md"]
    code, again, err = command_line("reproduce", "fig2", *QUICK, "--format", "md,json,csv")
    assert (code, again) == (0, out)
    assert "0 runs to do, 80 done before" in err
    code, again, err = command_line("reproduce", "fig2", *QUICK, "--format", "md,json,csv", "--no-run")
    assert (code, again) == (0, out)
    assert "runs to do" not in err
    assert pages(folder) == first
    assert snapshot(tmp_path / "results" / "bandit-quick").keys() >= runs.keys()


def test_the_scorecard_of_a_quick_run_says_that_values_are_not_compared(tpobench, tmp_path):
    """Orderings only, and every key that the quick scale changes."""
    code, out, _ = tpobench("reproduce", "fig2", "fig3", *PLAIN)
    assert code == 0
    assert "orderings are compared, values are not" in out
    page = (tmp_path / "results" / "reproduction" / "fig3-quick.md").read_text()
    assert "contexts-quick differs from the scale of the paper: " in page
    assert "contexts-quick deviates from the paper: " in page
    assert "**computed without runs: 12 agree, 1 differs**" in page  # from the rules, whatever the scale


def test_several_items_are_summed_up_on_one_page(tpobench, tmp_path):
    """A row per item, runs shared, and the totals."""
    code, out, _ = tpobench("reproduce", "fig2", "fig9", *PLAIN, "--format", "md,csv")
    assert code == 0
    rows = [line.split()[0] for line in out.splitlines() if line.startswith("fig")]
    assert rows == ["fig2", "fig9"]
    assert "language models" in out
    folder = tmp_path / "results" / "reproduction"
    assert "[fig9](fig9-quick.md)" in (folder / "scorecard-quick.md").read_text()
    table = list(csv.DictReader((folder / "scorecard-quick.csv").read_text().splitlines()))
    assert {row["item"] for row in table} == {"fig2", "fig9"}
    assert {row["kind"] for row in table} == {"number", "claim", "comparison"}
    claims = [row for row in table if row["kind"] == "claim"]
    assert [row["item"] for row in claims] == ["fig2"] * 7 + ["fig9"] * 4
    assert [row["verdict"] for row in claims[7:]] == ["other settings"] * 2 + ["not run"] * 2
    assert claims[0]["adjusted_p"] != ""


def test_json_is_one_object_with_everything(tpobench):
    """Numbers, claims, comparisons, the runs and the files."""
    code, out, _ = tpobench("reproduce", "fig3", *PLAIN, "--json")
    assert code == 0
    found = json.loads(out)
    (item,) = found["items"]
    assert (item["item"], item["scale"], len(item["numbers"]), len(item["claims"])) == ("fig3", "quick", 13, 5)
    assert found["suites"][0]["ran"] == {"ok": 100}
    assert item["claims"][0]["comparisons"][0]["found"]["runs"] == [20, 20]
    assert found["files"] == ["results/reproduction/fig3-quick.md", "results/reproduction/fig3-quick.json"]


def test_an_item_without_its_data_is_not_run_and_the_others_go_on(tpobench):
    """The reason stands in its row; alone it is an error of its own."""
    code, out, err = tpobench("reproduce", "fig4a", "fig2", *PLAIN)
    assert code == 5
    assert err.splitlines()[-1].startswith(
        "tpobench: runs of mnist are missing: mnist, which mnist-quick reads, is not"
    )
    (row,) = [line for line in out.splitlines() if line.startswith("fig4a")]
    assert "mnist-quick reads, is not here" in row
    (row,) = [line for line in out.splitlines() if line.startswith("fig2")]
    assert "not here" not in row
    assert "tpobench data fetch" in err
    assert tpobench("reproduce", "fig4a", *PLAIN)[0] == 5
    assert tpobench("reproduce", "fig4a", "fig2", *PLAIN, "--no-run")[0] == 0


def test_failed_runs_are_3_after_the_scorecard_is_made(tpobench, tmp_path, monkeypatch):
    """The reason stands in the scorecard of what needs them."""
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)
    code, _, err = tpobench("reproduce", "fig2", *PLAIN, "--seeds", "13-13")
    assert code == 3
    assert "4 runs failed" in err.splitlines()[-1]
    page = (tmp_path / "results" / "reproduction" / "fig2-quick.md").read_text()
    assert "1 of 1 runs failed: ValueError: seed 13 is unlucky" in page
    assert tpobench("reproduce", "fig2", *PLAIN, "--seeds", "0-12")[0] == 0


def test_a_file_in_place_of_the_folder_is_said_before_anything_runs(tpobench, tmp_path):
    """As `run` does."""
    (tmp_path / "taken").touch()
    said = "tpobench: --out taken: taken is a file; name a folder\n"
    assert tpobench("reproduce", "fig2", "--scale", "quick", "--out", "taken") == (2, "", said)


def test_results_of_other_settings_cost_their_item_only(tpobench):
    """The folder holds runs that would not be those of the item."""
    settings = ("--set", "steps=9", "--executor", "inline")
    assert tpobench("run", "--suite", "bandit", "--scale", "quick", *settings)[0] == 0
    code, out, err = tpobench("reproduce", "fig2", "fig3", *PLAIN)
    said = "training.steps = 9, these would have 150; keep them apart with another --out FOLDER"
    assert code == 3
    assert err.splitlines()[-1].startswith("tpobench: runs of bandit are missing: ")
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("fig")}
    assert said in rows["fig2"]
    assert "training.steps" not in rows["fig3"]


def test_a_time_budget_that_is_spent_scores_what_is_there(tpobench):
    """Nothing ran: none of the runs is done, which is no result at all."""
    code, _, err = tpobench("reproduce", "fig2", *PLAIN, "--time-budget", "0.000001s")
    assert code == 4
    assert "the time budget ended the run; 80 runs are left" in err
    code, out, _ = tpobench("reproduce", "fig2", "settings", *PLAIN, "--time-budget", "0.000001s")
    assert code == 0
    assert "none of 20 runs is done" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "name an item, such as fig2 or table3, or all"),
        (["figg2"], 2, "did you mean 'fig2'"),
        (["fig2", "--scale", "smoke"], 2, "valid: paper, quick"),
        (["fig2", "--seeds", "adaptive:5x4"], 2, "at fixed seeds"),
        (["fig2", "--seeds", "x"], 2, "a range such as 0-9"),
        (["fig2", "--format", "pdf"], 2, "valid: csv, html, json, latex, md"),
        (["fig2", "--figures", "gif"], 2, "valid: pdf, png, svg"),
        (["fig2", "--data", "digits"], 2, "none of fig2 reads data"),
        (["fig2", "--max-cost", "0.001s"], 2, "--max-cost"),
        (["fig2", "--no-run"], 4, "no results of fig2 in results; without --no-run they are made"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(tpobench, tmp_path, words, code, message):
    """Before anything is run or written."""
    found, _, err = tpobench("reproduce", *words)
    assert found == code
    assert message in err
    assert err.startswith("tpobench: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("results/*/runs"))


def test_the_list_shows_what_an_item_costs_at_both_scales(tpobench, tmp_path):
    """Every item, its suites, and more runs or updates at the scale of the paper."""
    code, out, _ = tpobench("reproduce", "--list", "--json")
    assert code == 0
    rows = {row["item"]: row for row in json.loads(out)["items"]}
    assert rows["table3"]["suites"] == "terminal_reward"
    assert rows["table3"]["paper_runs"] == 20 * 4 * (3 + 2 * 2)
    assert rows["settings"]["paper_runs"] == 0
    for row in rows.values():
        assert row["quick_cpu_s"] < row["paper_cpu_s"] or row["paper_runs"] == 0
    code, out, _ = tpobench("reproduce", "fig2", "--list")
    assert code == 0
    assert out.splitlines()[1].split()[0] == "fig2"
    assert list(tmp_path.iterdir()) == []


def test_committed_results_are_scored_without_running(tpobench, tmp_path):
    """Packed files stand for their folders."""
    assert tpobench("reproduce", "fig2", *PLAIN)[0] == 0
    before = (tmp_path / "results" / "reproduction" / "fig2-quick.json").read_bytes()
    assert tpobench("pack", "results/bandit-quick")[0] == 0
    shutil.rmtree(tmp_path / "results" / "bandit-quick")
    assert tpobench("reproduce", "fig2", *PLAIN, "--no-run")[0] == 0
    assert (tmp_path / "results" / "reproduction" / "fig2-quick.json").read_bytes() == before


def test_stopping_keeps_what_is_finished_and_the_same_command_goes_on(tpobench, monkeypatch, tmp_path):
    """Ctrl-C in the second of four jobs: it ends, no scorecard, one line and 130; then the rest, and the scorecard."""
    jobs = []

    def interrupted(job, _begin=None):
        jobs.append(job)
        if len(jobs) == 2:
            signal.raise_signal(signal.SIGINT)
        yield from trained(job)

    monkeypatch.setattr("tpobench.training.loop.train", interrupted)
    code, out, err = tpobench("reproduce", "fig2", *PLAIN)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1].startswith("tpobench: stopped; finished runs are kept in results/bandit-quick")
    assert not (tmp_path / "results" / "reproduction").exists()
    code, _, err = tpobench("reproduce", "fig2", *PLAIN)
    assert code == 0
    assert "40 runs to do, 40 done before" in err
    assert (tmp_path / "results" / "reproduction" / "fig2-quick.md").is_file()
