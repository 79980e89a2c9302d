"""Results are read from any mixture of run directories and packed files, and never written to."""

import json

import pytest
from harness_helpers import fake_train, sequence_document, suite

from tpobench import execute, load_results, plan_runs
from tpobench.errors import NothingToDo
from tpobench.execution import Inline
from tpobench.records.store import pack
from tpobench.scores.cells import final_values
from tpobench.suites.load import build_suite


@pytest.fixture(autouse=True)
def _two_line_trainer(monkeypatch):
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)


def run(folder, seeds=(0, 1), **changes):
    execute(plan_runs(suite(**changes), ["tpo"], seeds), folder, executor=Inline())
    return folder


def test_the_table_has_one_row_per_recorded_step(tmp_path):
    """Two runs of five recorded steps are ten rows with the fact of the run on each."""
    frame = load_results(run(tmp_path / "tiny", grid={"arms": [5]})).frame()
    assert frame.shape[0] == 10
    first = frame.iloc[0].to_dict()
    assert (first["suite"], first["arms"], first["matching"], first["algorithm"]) == ("tiny", 5, "any", "tpo")
    assert (first["seed"], first["status"], first["initial_success"], first["error"]) == (0, "ok", 0.25, 0.5)
    assert frame["step"].tolist() == [0, 1, 2, 3, 4] * 2
    assert frame["interactions"].tolist() == [0, 4, 8, 12, 16] * 2


def test_packed_and_unpacked_copies_count_once(tmp_path):
    """A root with a run directory, its packed copy and another suite's packed file is each run once."""
    run(tmp_path / "tiny")
    packed = pack(tmp_path / "tiny").path
    assert len(load_results(tmp_path / "tiny").records) == 2
    assert load_results(packed).records == load_results(tmp_path).records
    run(tmp_path / "tiny", seeds=(2,))
    assert len(load_results(tmp_path).records) == 3


def test_rules_that_are_the_same_under_every_matching_appear_under_each(tmp_path):
    """TPO is run once and shown beside PPO's two ways to spend its budget."""
    document = sequence_document(grid={"matching": ["prompts", "interactions"]})
    execute(plan_runs(build_suite("tiny", document, "f"), None, [0]), tmp_path, executor=Inline())
    results = load_results(tmp_path)
    assert len(results.records) == 3
    shown = results.frame()[["algorithm", "matching"]].drop_duplicates().to_numpy().tolist()
    assert sorted(shown) == [["ppo", "interactions"], ["ppo", "prompts"], ["tpo", "interactions"], ["tpo", "prompts"]]


def test_diverged_and_failed_runs_stay_in_the_table(tmp_path):
    """A diverged run keeps its curve up to the end, a failed one is one row without a step."""
    run(tmp_path, seeds=(0, 7, 13))
    frame = load_results(tmp_path).frame()
    assert frame.groupby("seed")["status"].first().to_dict() == {0: "ok", 7: "diverged", 13: "failed"}
    assert frame[frame.seed == 13]["step"].isna().tolist() == [True]
    assert frame[frame.seed == 7]["error"].isna().tolist() == [False, False, True, True, True]


def test_the_final_value_is_the_mean_over_the_window(tmp_path):
    """Window 2 of 1/2 .. 1/6 is the mean of 1/5 and 1/6; divergence scores the worst value, failure none."""
    run(tmp_path, seeds=(0, 7, 13), report={"window": 2, "worst": 3.0})
    finals = final_values(load_results(tmp_path).records)
    assert finals[0] == pytest.approx((1 / 5 + 1 / 6) / 2, rel=1e-6)
    assert finals[1:] == [3.0, None]


def test_damaged_records_are_counted_and_left_alone(tmp_path):
    """Reading writes nothing."""
    run(tmp_path)
    path = min(tmp_path.glob("runs/*/*.json"))
    path.write_text(path.read_text()[:-20])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    results = load_results(tmp_path)
    assert (len(results.records), results.quarantined) == (1, 1)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_place_without_results_is_one_clear_line(tmp_path):
    """A missing folder, an empty one and one with damaged records only."""
    with pytest.raises(NothingToDo, match=r"no results at .*tpobench run"):
        load_results(tmp_path / "none")
    with pytest.raises(NothingToDo, match=r"no finished runs in .*tpobench run"):
        load_results(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps({"schema": 1}) + "\n")
    with pytest.raises(NothingToDo, match="1 damaged"):
        load_results(tmp_path)
