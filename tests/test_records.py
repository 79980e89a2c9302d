"""A record is there as a whole or not at all, and damage costs one run, never a report."""

import dataclasses
import gc
import json

import pytest
from harness_helpers import document, suite

from tpobench.errors import CorruptResults, UsageError
from tpobench.identity import canonical
from tpobench.planning.plan import plan_runs
from tpobench.records.store import (
    DamagedRecord,
    RunRecord,
    Store,
    load_packed,
    pack,
    parse_record,
    write_atomically,
)


def record(seed=0, status="ok", error=0.5, **changes):
    spec = plan_runs(suite(), ["tpo"], [seed]).specs[0]
    curve = {"step": [0, 1], "interactions": [0, 4], "gradient_steps": [0, 1], "error": [0.75, error]}
    described = json.loads(canonical(spec.as_dict()))
    return RunRecord(spec.run_id, described, status, curve=curve, **{"reporting": suite().reporting, **changes})


def test_a_record_survives_the_round_trip(tmp_path):
    """What is read equals what was written."""
    store = Store(tmp_path / "tiny")
    store.write(record(reason="none — ünïcode"))
    (found,), damaged = store.load()
    assert found == record(reason="none — ünïcode")
    assert damaged == 0
    assert store.path_of(found.id) == tmp_path / "tiny" / "runs" / found.id[:2] / f"{found.id}.json"


def test_nan_is_never_written(tmp_path):
    """JSON has no nan; the record refuses it and leaves no file behind."""
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        store.write(record(error=float("nan")))
    assert list(tmp_path.rglob("*.*")) == []


def test_a_record_cut_anywhere_is_damaged():
    """No prefix of a record reads as a record."""
    line = record().to_line()
    for cut in range(len(line)):
        with pytest.raises(DamagedRecord):
            parse_record(line[:cut], "here")


@pytest.mark.parametrize(
    "change",
    [{"id": "0" * 16}, {"status": "fine"}, {"spec": {}}, {"schema": "1"}, {"spec": None}, {"status": None}],
)
def test_a_record_that_is_not_what_it_says_is_damaged(change):
    """The id is the hash of the spec, so a changed spec or name shows."""
    with pytest.raises(DamagedRecord):
        parse_record(json.dumps({**record().as_dict(), **change}), "here")


def test_a_record_of_a_newer_version_is_not_touched(tmp_path):
    """A newer schema asks for an upgrade and stays where it is."""
    store = Store(tmp_path)
    newer = dataclasses.replace(record(), schema=2)
    store.write(newer)
    with pytest.raises(CorruptResults, match="upgrade tpobench"):
        store.load(quarantine=True)
    assert store.path_of(newer.id).is_file()


def test_only_an_owner_moves_damaged_records(tmp_path):
    """Reading leaves the folder as it is; quarantine=True moves the file out of the way."""
    store = Store(tmp_path)
    store.write(record())
    path = store.path_of(record().id)
    path.write_bytes(b"\xff" + path.read_bytes())
    assert store.load() == ([], 1)
    assert path.is_file()
    assert store.load(quarantine=True) == ([], 1)
    assert not path.exists()
    assert (tmp_path / "quarantine" / path.name).is_file()
    assert store.load() == ([], 0)


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    """A full disk leaves the previous contents and no temporary file."""
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_packing_is_one_sorted_line_per_run(tmp_path):
    """Packing twice gives the same bytes, and runs that only the packed file holds stay in it."""
    store = Store(tmp_path / "tiny")
    for seed in (2, 0, 1):
        store.write(record(seed))
    packed = pack(store.folder).path
    first = packed.read_bytes()
    assert packed == tmp_path / "tiny.jsonl"
    assert [json.loads(line)["spec"]["seed"] for line in first.splitlines()] == [0, 1, 2]
    store.path_of(record(1).id).unlink()
    assert pack(store.folder).path.read_bytes() == first


def test_a_result_replaces_a_failure_and_two_results_must_agree(tmp_path):
    """Differing cost is one run seen twice; a differing curve is a run that does not reproduce."""
    store = Store(tmp_path / "tiny")
    store.write(record(status="failed"))
    pack(store.folder)
    store.write(record(cost={"wall_s": 1.0}))
    assert store.known()[0][record().id].status == "ok"
    pack(store.folder)
    store.write(record(cost={"wall_s": 2.0}))
    assert len(store.known()[0]) == 1
    store.write(record(error=0.25))
    with pytest.raises(CorruptResults, match="two different results"):
        store.known()


def test_a_damaged_line_costs_one_run(tmp_path):
    """The other lines of a packed file are read."""
    path = tmp_path / "tiny.jsonl"
    path.write_text(f"{record(0).to_line()}\n{record(1).to_line()[:50]}\n{record(2).to_line()}\n", encoding="utf-8")
    records, damaged = load_packed(path)
    assert ([r.spec["seed"] for r in records], damaged) == ([0, 2], 1)


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_rests_while_records_are_read(tmp_path, monkeypatch, before):
    """Records hold no cycles to look for; afterwards it is as it was, whether or not the reading failed."""
    store, seen = Store(tmp_path), []
    store.write(record())

    def parsed(*_):
        seen.append(gc.isenabled())
        raise CorruptResults

    monkeypatch.setattr("tpobench.records.store.parse_record", parsed)
    try:
        (gc.enable if before else gc.disable)()
        for read in (store.load, lambda: load_packed(store.path_of(record().id))):
            with pytest.raises(CorruptResults):
                read()
            assert gc.isenabled() is before
    finally:
        gc.enable()
    assert seen == [False, False]


def test_a_folder_from_before_a_key_was_known_goes_on(tmp_path):
    """meta.json without deviations is that of a suite without them; what is off may be written out, or not."""
    old = suite().as_dict()
    del old["deviations"]
    Store(tmp_path).open(old)
    Store(tmp_path).open({**old, "training": {**old["training"], "diagnostics": False}})
    Store(tmp_path).open(suite(deviations=["fewer seeds"], quick={"seeds": 2}).as_dict())
    training = {**document()["training"], "diagnostics": True}
    with pytest.raises(UsageError, match=r"training.diagnostics = its default, these would have true"):
        Store(tmp_path).open(suite(training=training).as_dict())


def test_runs_of_other_settings_are_kept_apart(tmp_path):
    """One folder is one table: other steps are refused, more seeds and other report settings are not."""
    store = Store(tmp_path)
    store.open(suite().as_dict())
    store.open(suite(seeds=9, title="new", report={"window": 3}).as_dict())
    with pytest.raises(UsageError, match=r"task.arms = 5, these would have 6.*--name NAME"):
        store.open(suite(task={"kind": "bandit", "arms": 6, "samples": 4}).as_dict())
    with pytest.raises(UsageError, match="--name NAME"):
        store.open(suite(hyper={"tpo": {"eta": 2.0}}).as_dict())
    with pytest.raises(UsageError, match="--name NAME"):
        store.open(suite(grid={"arms": [5]}).as_dict())
    assert store.meta()["suite"]["seeds"] == 9
