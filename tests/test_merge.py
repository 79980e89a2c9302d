"""Results of several machines become one table: every run once, nothing lost, and no contradiction passed over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_helpers import SUITE, altered, record, relabel, snapshot, spec, write, write_jsonl

from tpobench.errors import CorruptResults, NothingToDo, StorageFull, UsageError
from tpobench.records.difference import difference, other_origin
from tpobench.records.merge import Located, Source, merge, unite
from tpobench.records.store import Store, load_packed, pack, read_plan


def merged(tmp_path, *inputs, into="C"):
    """The records of the merged run directory, by seed."""
    (answer,) = merge(inputs, tmp_path / into)
    found, damaged = Store(tmp_path / into).load()
    assert damaged == 0
    assert list(answer.records) == found
    return {r.spec["seed"]: r for r in found}


def test_shards_unite_to_the_bytes_of_an_undivided_run(tmp_path):
    """A run directory and a packed file with one run in common give what one machine would have packed."""
    runs = [record(s, error=0.1 * s) for s in range(5)]
    write(tmp_path / "A", *runs[:3], suite=SUITE)
    write_jsonl(tmp_path / "B.jsonl", *runs[2:])
    (answer,) = merge([tmp_path / "A", tmp_path / "B.jsonl"], tmp_path / "C")
    assert (answer.counts, answer.copies) == ({"ok": 5}, 1)
    assert pack(tmp_path / "C").path.read_bytes() == write_jsonl(tmp_path / "whole.jsonl", *runs).read_bytes()
    assert Store(tmp_path / "C").meta()["suite"] == SUITE


def test_of_two_copies_the_first_keeps_its_cost_and_origin(tmp_path):
    """Cost and provenance differ between machines and are no contradiction."""
    first = record(cost={"wall_s": 1.0}, provenance={"torch": "2.4.0"})
    second = record(cost={"wall_s": 2.0}, provenance={"torch": "2.13.0"})
    write(tmp_path / "A", first)
    write(tmp_path / "B", second)
    assert merged(tmp_path, tmp_path / "A", tmp_path / "B")[0] == first
    assert merged(tmp_path, tmp_path / "B", tmp_path / "A", into="D")[0] == second


@pytest.mark.parametrize("status", ["failed", "timeout", "crashed", "oom"])
def test_a_result_beats_a_failure_whatever_the_order(tmp_path, status):
    """However many attempts the failure took."""
    good, bad = record(), record(status=status, reason="no luck", attempts=9)
    write(tmp_path / "A", good)
    write(tmp_path / "B", bad)
    assert merged(tmp_path, tmp_path / "A", tmp_path / "B")[0] == good
    assert merged(tmp_path, tmp_path / "B", tmp_path / "A", into="D")[0] == good


def test_of_two_failures_the_one_with_more_attempts_stays(tmp_path):
    """Equal attempts: the first, so that merging again changes nothing."""
    once, twice = record(status="failed", reason="a"), record(status="oom", reason="b", attempts=2)
    write(tmp_path / "A", once)
    write(tmp_path / "B", twice)
    write(tmp_path / "D", record(status="crashed", reason="c"))
    assert merged(tmp_path, tmp_path / "A", tmp_path / "B")[0] == twice
    assert merged(tmp_path, tmp_path / "A", tmp_path / "D", into="E")[0] == once


def test_two_results_of_one_run_are_refused_with_everything_needed_to_find_out(tmp_path):
    """Run, suite, rule, cell, seed, both files, the first difference, what differs between the machines."""
    cell = {"cell": {"arms": 5}}
    first = record(3, error=0.5, changes=cell, provenance={"torch": "2.4.0", "threads": 1})
    second = record(3, error=0.25, changes=cell, provenance={"torch": "2.13.0", "threads": 1})
    write(tmp_path / "A", record(1), first)
    write_jsonl(tmp_path / "B.jsonl", record(0), second)
    with pytest.raises(CorruptResults) as caught:
        merge([tmp_path / "A", tmp_path / "B.jsonl"], tmp_path / "C")
    for part in (
        f"two different results of run {first.id} (tiny, tpo, arms=5, seed 3)",
        str(Store(tmp_path / "A").path_of(first.id)),
        "B.jsonl line 2",
        "error at step 1: 0.5 against 0.25, largest difference 0.25",
        "torch 2.4.0 against 2.13.0",
        "nothing was written",
    ):
        assert part in str(caught.value)
    assert "threads" not in str(caught.value)
    assert not (tmp_path / "C").exists()


def test_a_conflict_leaves_an_existing_target_as_it_was(tmp_path):
    """Also where other runs of the same merge would have been fine, and in the other suites of the folder."""
    write(tmp_path / "in" / "a", record(0))
    write(tmp_path / "in" / "b", record(0, error=0.25))
    write(tmp_path / "all" / "b", record(0), suite=SUITE)
    before = snapshot(tmp_path / "all")
    with pytest.raises(CorruptResults, match="two different results"):
        merge([tmp_path / "in"], tmp_path / "all")
    assert snapshot(tmp_path / "all") == before


def test_several_conflicts_are_counted(tmp_path):
    """The first is named, the rest is a number."""
    write(tmp_path / "A", *(record(s) for s in range(3)))
    write(tmp_path / "B", *(record(s, error=0.25) for s in range(3)))
    with pytest.raises(CorruptResults, match="2 more runs differ"):
        merge([tmp_path / "A", tmp_path / "B"], tmp_path / "C")


def test_the_target_is_united_too_and_its_copy_comes_first(tmp_path):
    """Unpacked runs, runs that only its packed copy holds, and a damaged file that the merge repairs."""
    write(tmp_path / "C", record(0, cost={"wall_s": 1.0}), record(1, status="failed"), record(2))
    write_jsonl(tmp_path / "C.jsonl", record(3))
    Store(tmp_path / "C").path_of(record(2).id).write_text("{")
    write(tmp_path / "A", record(0, cost={"wall_s": 2.0}), record(1), record(2))
    (answer,) = merge([tmp_path / "A"], tmp_path / "C")
    found = {r.spec["seed"]: r for r in Store(tmp_path / "C").load()[0]}
    assert {s: r.status for s, r in found.items()} == {0: "ok", 1: "ok", 2: "ok", 3: "ok"}
    assert found[0].cost == {"wall_s": 1.0}
    assert [len(s.damaged) for s in answer.sources] == [1, 0, 0]


def test_merging_again_writes_nothing(tmp_path):
    """A merge that was cut short is finished by calling it again, and a finished one is left alone."""
    write(tmp_path / "A", record(0), record(1), suite=SUITE)
    merge([tmp_path / "A"], tmp_path / "C")
    before = snapshot(tmp_path / "C")
    merge([tmp_path / "A"], tmp_path / "C")
    assert snapshot(tmp_path / "C") == before
    merge([tmp_path / "A"], tmp_path / "A")
    assert len(Store(tmp_path / "A").load()[0]) == 2


def test_shards_of_several_suites_are_united_by_name(tmp_path):
    """Directories and packed files of one name meet, whichever machine packed."""
    other = {"suite": "other"}
    write(tmp_path / "s1" / "tiny", record(0), suite=SUITE)
    write(tmp_path / "s1" / "other", record(0, changes=other))
    write_jsonl(tmp_path / "s2" / "tiny.jsonl", record(1))
    write_jsonl(tmp_path / "s3" / "other.jsonl", record(1, changes=other))
    answers = merge([tmp_path / "s1", tmp_path / "s2", tmp_path / "s3" / "other.jsonl"], tmp_path / "all")
    assert [(m.target.name, len(m.records)) for m in answers] == [("other", 2), ("tiny", 2)]
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["other", "tiny"]
    assert [r.spec["seed"] for r in Store(tmp_path / "all" / "tiny").load()[0]] == [0, 1]


def test_a_packed_file_can_be_the_target(tmp_path):
    """For git: sorted lines, with what the file held before."""
    write_jsonl(tmp_path / "C.jsonl", record(2))
    write(tmp_path / "A", record(1), record(0))
    merge([tmp_path / "A"], tmp_path / "C.jsonl")
    records, damaged = load_packed(tmp_path / "C.jsonl")
    assert ([r.spec["seed"] for r in records], damaged) == ([0, 1, 2], 0)
    assert not (tmp_path / "C").exists()


def test_settings_of_one_suite_must_agree(tmp_path):
    """As `run` refuses them in one folder; more seeds and another title are no other settings."""
    write(tmp_path / "A", record(0), suite=SUITE)
    write(tmp_path / "B", record(1), suite={**SUITE, "training": {"steps": 2, "epochs": 1}})
    with pytest.raises(UsageError, match=r"A holds runs with training.steps = 1, .*B 2; .* different folders"):
        merge([tmp_path / "A", tmp_path / "B"], tmp_path / "C")
    write(tmp_path / "D", record(1), suite={**SUITE, "seeds": 9, "title": "new"})
    assert sorted(merged(tmp_path, tmp_path / "A", tmp_path / "D")) == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {**spec()["training"], "steps": 9}}, r"runs of tpo with training.steps = 1, .* 9;"),
        ({"algorithm_version": "2"}, 'runs of tpo with algorithm_version = "1", .* "2";'),
        ({"hyper": {}}, "runs of tpo with hyper.eta = 1.0, .* nothing;"),
        ({"device": "cuda"}, 'runs of tpo with device = "cpu", .* "cuda";'),
        ({"suite": "other"}, "runs of suite = tiny, .* other;"),
    ],
)
def test_packed_files_say_their_settings_in_every_run(tmp_path, changes, message):
    """Without a meta.json the specs tell; nothing is written."""
    write_jsonl(tmp_path / "A.jsonl", record(0))
    write_jsonl(tmp_path / "B.jsonl", record(1, changes=changes))
    with pytest.raises(UsageError, match=message):
        merge([tmp_path / "A.jsonl", tmp_path / "B.jsonl"], tmp_path / "C")
    assert not (tmp_path / "C").exists()


def test_a_failure_under_earlier_settings_is_no_reason_to_refuse(tmp_path):
    """It proves nothing about them; the next `run` drops it."""
    write_jsonl(tmp_path / "A.jsonl", record(0, "failed", changes={"algorithm_version": "0"}))
    write_jsonl(tmp_path / "B.jsonl", record(1))
    assert sorted(merged(tmp_path, tmp_path / "A.jsonl", tmp_path / "B.jsonl")) == [0, 1]


def test_results_of_a_newer_version_are_refused(tmp_path):
    """In a record as in a meta.json."""
    write_jsonl(tmp_path / "A.jsonl", relabel(record(), schema=2))
    with pytest.raises(CorruptResults, match=r"A.jsonl line 1 has record schema 2.*upgrade tpobench"):
        merge([tmp_path / "A.jsonl"], tmp_path / "C")
    write(tmp_path / "B", record(), suite=SUITE)
    meta = tmp_path / "B" / "meta.json"
    meta.write_text(meta.read_text().replace('"schema":1', '"schema":2'))
    with pytest.raises(CorruptResults, match=r"meta.json has schema 2.*upgrade tpobench"):
        merge([tmp_path / "B"], tmp_path / "C")
    assert not (tmp_path / "C").exists()


HOSTILE = {
    "a cut line": record(1).to_line()[:-9],
    "an id that is a path": altered(record(1), id="../../../evil"),
    "another run's id": altered(record(1), id=record(2).id),
    "a spec of another kind": altered(record(1), spec=["evil"]),
    "a spec without a seed": altered(record(1), spec={"suite": "../evil"}),
    "a curve with unequal columns": altered(record(1), curve={"step": [0], "error": [0.5, 0.25]}),
    "a cell that is text": altered(record(1), spec=spec(1, cell="x")),
    "NaN": record(1).to_line().replace("0.75", "NaN"),
    "an infinity": record(1).to_line().replace("0.75", "1e999"),
    "half of a surrogate pair": record(1).to_line().replace('"reason":""', '"reason":"\\ud800"'),
    "endless nesting": "[" * 100_000,
    "a merge marker": "<<<<<<< HEAD",
    "attempts that are no number": altered(record(1), attempts="many"),
    "attempts that are true": altered(record(1), attempts=True),
    "a number with too many digits": "9" * 10_000,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_damaged_or_hostile_record_is_counted_and_left_out(tmp_path, line):
    """The other runs are united, the place is told, and no name in a record becomes a path."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "A.jsonl"
    path.write_text(f"{record(0).to_line()}\n{line}\n", encoding="utf-8")
    write_jsonl(tmp_path / "in" / "B.jsonl", record(2))
    (answer,) = merge([path, tmp_path / "in" / "B.jsonl"], tmp_path / "out" / "C")
    assert [s.damaged for s in answer.sources] == [(f"{path} line 2",), ()]
    names = [record(s).id for s in (0, 2)]
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted(["A.jsonl", "B.jsonl", *(f"{n}.json" for n in names)])


def test_bytes_that_are_no_text_are_damage_and_not_another_text(tmp_path):
    """Decoding with replacement would make a different payload of the same run."""
    good = record(0, reason="né")
    path = tmp_path / "A.jsonl"
    path.write_bytes(good.to_line().encode("latin-1") + b"\n" + good.to_line().encode() + b"\n")
    (answer,) = merge([path], tmp_path / "C")
    assert answer.records == (good,)
    assert answer.sources[0].damaged == (f"{path} line 1",)


def test_a_record_under_another_name_is_damage(tmp_path):
    """A run directory's file is named by its run."""
    write(tmp_path / "A", record(0))
    path = Store(tmp_path / "A").path_of(record(0).id)
    path.rename(path.with_name("0123456789abcdef.json"))
    with pytest.raises(NothingToDo, match=r"1 damaged records"):
        merge([tmp_path / "A"], tmp_path / "C")


def test_inputs_and_target_must_fit_together(tmp_path):
    """Each refusal says what would work, and nothing is written."""
    write(tmp_path / "root" / "tiny", record(0))
    write(tmp_path / "A", record(0))
    write(tmp_path / "bad" / "Über uns", record(0))
    (tmp_path / "empty").mkdir()
    before = snapshot(tmp_path)
    for inputs, target, kind, message in (
        (["A"], "root", UsageError, "holds several run directories; name the one"),
        (["root"], "A", UsageError, "the directory of one suite"),
        (["root"], "C.jsonl", UsageError, "a packed file, and the inputs hold several"),
        (["bad"], "C", UsageError, "rename it"),
        (["A", "none"], "C", NothingToDo, "no results at .*none; nothing was merged"),
        (["empty"], "C", NothingToDo, "no runs in .*empty"),
        (["empty"], "C.jsonl", NothingToDo, "no runs in .*empty"),
    ):
        with pytest.raises(kind, match=message):
            merge([tmp_path / i for i in inputs], tmp_path / target)
    assert snapshot(tmp_path) == before


def test_a_shard_without_runs_is_no_mistake(tmp_path):
    """One of many machines may have had nothing to do."""
    write(tmp_path / "A", suite=SUITE)
    write(tmp_path / "B", record(0), suite=SUITE)
    assert list(merged(tmp_path, tmp_path / "A", tmp_path / "B")) == [0]


def test_a_target_that_cannot_be_written_is_one_clear_line(tmp_path):
    """Exit code 6; what is there is whole."""
    (tmp_path / "file").write_text("")
    write(tmp_path / "A", record(0))
    with pytest.raises(StorageFull, match=r"cannot write .*Not a directory.*merge again") as caught:
        merge([tmp_path / "A"], tmp_path / "file" / "C")
    assert caught.value.exit_code == 6


ATTEMPTS = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["ok", "failed", "oom"]), st.integers(1, 3), st.sampled_from(["A", "B", "C"])
    )
)


@given(ATTEMPTS)
def test_no_result_is_ever_lost(found):
    """Over all mixtures: a seed that has a result anywhere keeps it, and failures keep the most attempts."""
    runs = [(name, record(s, status, attempts=n)) for s, status, n, name in found]
    inputs = [Source(name, tuple(Located(r, name) for m, r in runs if m == name), (), None) for name in ("A", "B", "C")]
    chosen = {r.spec["seed"]: r for r in unite("target", inputs).records}
    assert chosen.keys() == {s for s, *_ in found}
    for seed, kept in chosen.items():
        statuses = {status for s, status, *_ in found if s == seed}
        assert (kept.status == "ok") == ("ok" in statuses)
        if "ok" not in statuses:
            assert kept.attempts == max(n for s, _, n, _ in found if s == seed)


def test_the_first_difference_is_the_earliest_over_all_metrics():
    """Regret parts at step 2, error at step 1 and most at step 2: |0.9 - 0.4| = 0.5."""
    axes = {"step": [0, 1, 2], "interactions": [0, 4, 8], "gradient_steps": [0, 1, 2]}
    a = record(curve={**axes, "error": [0.5, 0.25, 0.9], "regret": [0, 0, 1]})
    b = record(curve={**axes, "error": [0.5, 0.125, 0.4], "regret": [0, 0, 2]})
    found = difference(a, b)
    assert (found.what, found.step, found.first, found.second, found.largest) == ("error", 1, 0.25, 0.125, 0.5)
    assert difference(a, a) is None


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ({"error": 0.0}, {"error": -0.0}, "error at step 1: 0.0 against -0.0, largest difference 0"),
        ({"error": None}, {"error": 0.5}, "error at step 1: nothing against 0.5"),
        ({"facts": {"p0": 0.5}}, {"facts": {}}, "facts.p0: 0.5 against nothing"),
        ({"status": "diverged"}, {"status": "ok"}, "status: diverged against ok"),
        ({"reporting": {"window": 3}}, {"reporting": {"window": 5}}, "reporting.window: 3 against 5"),
        ({"curve": {"step": [0]}}, {"curve": {"step": [0, 1]}}, "recorded steps of step: 1 against 2"),
        ({"first_nonfinite_step": 3}, {}, "first_nonfinite_step: 3 against nothing"),
    ],
)
def test_every_kind_of_difference_has_words(first, second, text):
    """Down to the sign of zero, which is a different byte."""
    found = difference(record(**first), record(**second))
    assert str(found) == text


def test_origins_are_compared_where_both_are_known():
    """What one record does not say is no difference."""
    a = record(provenance={"torch": "2.4.0", "cpu": "x", "threads": 1, "git": "1"})
    b = record(provenance={"torch": "2.13.0", "cpu": "x", "numpy": "2.0"})
    assert other_origin(a, b) == {"torch": ("2.4.0", "2.13.0")}


def test_a_hostile_meta_file_is_no_meta_file(tmp_path):
    """A list, a text or nothing where the suite should be."""
    for text in ("[]", '"x"', "{", json.dumps({"schema": 1, "suite": []}), json.dumps({"suite": {"grid": 3}})):
        write(tmp_path / "A", record(0))
        (tmp_path / "A" / "meta.json").write_text(text)
        merge([tmp_path / "A"], tmp_path / "C")
    assert len(Store(tmp_path / "C").load()[0]) == 1


def test_a_plan_of_adaptive_seeds_goes_with_its_runs(tmp_path):
    """Through merge and pack, so that nobody takes planned looks for peeking; two plans are refused."""
    one, two = write(tmp_path / "a" / "s", record(0)), write(tmp_path / "b" / "s", record(1))
    plan = {"schema": 1, "text": "adaptive:5x4", "seeds": "adaptive:5x4"}
    (one / "plan.json").write_text(json.dumps(plan))
    merge([one, two], tmp_path / "c" / "s")
    assert read_plan(tmp_path / "c" / "s") == plan
    packed = pack(tmp_path / "c" / "s").path
    merge([packed], tmp_path / "d.jsonl")
    assert read_plan(tmp_path / "d.jsonl") == plan
    (two / "plan.json").write_text(json.dumps({**plan, "text": "adaptive:4x5"}))
    with pytest.raises(UsageError, match=r"runs under the seed plan = adaptive:5x4, .* adaptive:4x5"):
        merge([one, two], tmp_path / "e")
    assert not (tmp_path / "e").exists()
