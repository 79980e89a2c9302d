"""The pinned baseline: what it holds, how it is replaced, and what its log says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_values import replaced
from record_helpers import REPORTING, record, snapshot, write, write_jsonl
from typer.main import get_command

import tpobench.cli.check
from tpobench import cli
from tpobench.check.arms import arm_of, seeds_in
from tpobench.check.baseline import log_path, read_baseline, split_seeds
from tpobench.check.evidence import candidate_of, gate_cells
from tpobench.check.history import drift
from tpobench.errors import CorruptResults, NothingToDo
from tpobench.planning.plan import plan_runs
from tpobench.records.store import load_packed
from tpobench.scores.text import seed_ranges
from tpobench.stats.gate import GatePlan, refusal
from tpobench.suites.load import load_suite

DIRTY = {"git": "0123456789ab-dirty", "torch": "2.13.0", "tpobench": "0.1.0"}
CLEAN = {**DIRTY, "git": "0123456789ab"}


@pytest.fixture
def tpobench(command_line):
    """The command line in this process."""
    return command_line


def results(folder, errors, **fields):
    """Runs of one rule with these final errors, seeds 0, 1, ..."""
    records = [record(seed, error=e, provenance=CLEAN, **fields) for seed, e in enumerate(errors)]
    return write(folder, *records)


def update(tpobench, *words, reason="first"):
    return tpobench("baseline", "update", "base.jsonl", *words, "--reason", reason)


def test_an_update_writes_packed_records_and_a_log(tpobench, tmp_path):
    """Half of the seeds screen, the other half confirms; who, when, why and with what are in the log."""
    results(tmp_path / "new", [0.25, 0.5, 0.75, 0.5])
    code, out, err = update(tpobench, "new")
    assert code == 0
    assert "tiny tpo final1" in out
    assert "wrote base.jsonl (4 runs)" in err
    kept, damaged = load_packed(tmp_path / "base.jsonl")
    assert ([r.spec["seed"] for r in kept], damaged) == ([0, 1, 2, 3], 0)
    held = read_baseline(tmp_path / "base.jsonl")
    assert (held.screen, held.reserve) == ((0, 1), (2, 3))
    (entry,) = held.log
    assert entry["reason"] == "first"
    assert entry["who"]
    assert entry["date"].startswith("20")
    assert entry["versions"] == {"tpobench": "0.1.0", "git": "0123456789ab", "torch": "2.13.0"}
    assert entry["means"]["tiny tpo final1"] == 0.5


def test_the_log_keeps_every_update_and_the_drift_since_the_first(tpobench, tmp_path):
    """Ten small losses are visible as one large one."""
    for n, error in enumerate([0.2, 0.3, 0.4]):
        results(tmp_path / f"r{n}", [error] * 4)
        assert update(tpobench, f"r{n}", reason=f"step {n}")[0] == 0
    held = read_baseline(tmp_path / "base.jsonl")
    assert [e["reason"] for e in held.log] == ["step 0", "step 1", "step 2"]
    assert held.log[2]["changed"]["tiny tpo final1"] == [0.3, 0.4]
    results(tmp_path / "next", [0.5] * 4)
    _, out, _ = update(tpobench, "next", "--json", reason="step 3")
    (final,) = [d for d in json.loads(out)["drift"] if d["name"] == "tiny tpo final1"]
    assert (final["first"], final["old"], final["new"]) == (0.2, 0.4, 0.5)
    assert final["difference"] == pytest.approx(0.1)


def test_people_read_the_drift_of_shares_in_percent(tpobench, tmp_path):
    """As `check` and `report` print them; steps are steps."""
    for n, error in enumerate([0.2, 0.3]):
        results(tmp_path / f"r{n}", [error] * 4)
        _, out, _ = update(tpobench, f"r{n}")
    assert [line.split() for line in out.splitlines() if "final1" in line] == [
        ["tiny", "tpo", "final1", "(%)", "20", "20", "30", "+10"]
    ]


def test_cells_that_come_and_go_are_named(tpobench, tmp_path):
    """A rule that leaves the baseline is never judged again, so it must not leave in silence."""
    results(tmp_path / "a", [0.2, 0.2], changes={"algorithm": "dg"})
    results(tmp_path / "b", [0.2, 0.2])
    update(tpobench, "a")
    _, out, _ = update(tpobench, "b", reason="dg is gone")
    rows = {line.split()[1]: line.split()[-1] for line in out.splitlines() if line.startswith("tiny")}
    assert rows == {"dg": "removed", "tpo": "added"}
    entry = read_baseline(tmp_path / "base.jsonl").log[-1]
    assert entry["added"] == ["tiny tpo final1", "tiny tpo steps0.5m1"]
    assert entry["removed"] == ["tiny dg final1", "tiny dg steps0.5m1"]


def test_the_same_results_again_write_nothing(tpobench, tmp_path):
    """No entry without a change."""
    results(tmp_path / "a", [0.2, 0.2])
    update(tpobench, "a")
    before = (tmp_path / "base.jsonl").read_bytes(), log_path(tmp_path / "base.jsonl").read_bytes()
    code, _, err = update(tpobench, "a", reason="again")
    assert code == 0
    assert "already, nothing written" in err
    assert before == ((tmp_path / "base.jsonl").read_bytes(), log_path(tmp_path / "base.jsonl").read_bytes())


def test_several_suites_make_one_baseline(tpobench, tmp_path):
    """Results are named one by one, or by the folder of all with --suite."""
    for name in ("one", "two", "three"):
        results(tmp_path / "all" / name, [0.2, 0.2], changes={"suite": name})
    assert update(tpobench, "all/one", "all/two")[0] == 0
    assert {a.suite for a in read_baseline(tmp_path / "base.jsonl").arms} == {"one", "two"}
    assert update(tpobench, "all", "--suite", "two,three", reason="others")[0] == 0
    assert {a.suite for a in read_baseline(tmp_path / "base.jsonl").arms} == {"two", "three"}


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_empty_reason_is_refused(tpobench, tmp_path, reason):
    """And nothing is written."""
    results(tmp_path / "a", [0.2, 0.2])
    code, _, err = update(tpobench, "a", reason=reason)
    assert code == 2
    assert "say why the baseline changes" in err
    assert not (tmp_path / "base.jsonl").exists()


def test_runs_without_a_result_are_refused(tpobench, tmp_path):
    """A baseline with holes would excuse the same holes later."""
    write(tmp_path / "a", record(0), record(1, status="failed", reason="x"))
    code, _, err = update(tpobench, "a")
    assert code == 3
    assert "1 runs have no result, the first: tpo seed 1" in err


def test_unequal_seeds_are_refused(tpobench, tmp_path):
    """Every cell is judged on the same seeds."""
    write(tmp_path / "a", record(0), record(1), record(0, changes={"algorithm": "dg"}))
    code, _, err = update(tpobench, "a")
    assert code == 2
    assert "tiny dg has 1 seeds, tiny tpo has 2" in err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["none"], 4, "no results at none"),
        (["a", "--screen", "5"], 2, "the results hold 2 seeds"),
        (["a", "--suite", "other"], 4, "no finished runs"),
    ],
)
def test_updates_that_cannot_be(tpobench, tmp_path, words, code, text):
    """One line says why."""
    results(tmp_path / "a", [0.2, 0.2])
    found, _, err = update(tpobench, *words)
    assert found == code
    assert text in err


def test_a_baseline_is_a_packed_file(tpobench, tmp_path):
    """Other names are refused."""
    results(tmp_path / "a", [0.2, 0.2])
    code, _, err = tpobench("baseline", "update", "base.json", "a", "--reason", "x")
    assert code == 2
    assert "name it *.jsonl" in err


def test_uncommitted_code_is_said(tpobench, tmp_path):
    """Nobody can make such a baseline again."""
    write(tmp_path / "a", *(record(s, provenance=DIRTY) for s in range(2)))
    assert "uncommitted code" in update(tpobench, "a")[2]


def test_a_hand_edited_baseline_is_corrupt(tpobench, tmp_path):
    """The log holds the hash of the records: easier numbers do not slip in."""
    results(tmp_path / "a", [0.25, 0.25])
    update(tpobench, "a")
    path = tmp_path / "base.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("0.25", "0.35"), encoding="utf-8")
    with pytest.raises(CorruptResults, match="is not what"):
        read_baseline(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(NothingToDo, match="holds no results"):
        read_baseline(path)


ENTRY = ("log", 0)


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        ((*ENTRY, "means"), 5, "log is [{"),
        ((*ENTRY, "means", "tiny tpo final1"), "x", "log is [{"),
        ((*ENTRY, "date"), ["x"], "log is [{"),
        (("log",), {}, "log is {}"),
        (("log",), [5], "log is [5]"),
        (("schema",), "1", "schema is '1'"),
        (("sha256",), None, "sha256 is None"),
        (("screen",), "0-99999999999", "0-99999999999 names no seeds"),
        (("screen",), "0-9999999999", "names no seeds, or more than 1,000,000"),
        (("reserve",), "x", "x names no seeds"),
        (("reserve",), "9" * 5000, "names no seeds"),
        ((), [], "it is []"),
        ((), "[" * 900 + "]" * 900, "more than 16 tables and lists"),
        ((), "{", "Expecting property name"),
    ],
)
def test_a_damaged_log_is_refused_and_left_as_it_is(tpobench, tmp_path, place, value, fault):
    """By `check` and `baseline update`, in one line; a forced update starts over and keeps a copy of both."""
    results(tmp_path / "a", [0.25, 0.25])
    update(tpobench, "a")
    path = log_path(tmp_path / "base.jsonl")
    document = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(replaced(document, place, value)) if place else value if isinstance(value, str) else "[]"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorruptResults, match="not the log of a baseline") as refused:
        read_baseline(tmp_path / "base.jsonl")
    assert fault in str(refused.value)
    before = snapshot(tmp_path)
    code, out, err = update(tpobench, "a", reason="log lost")
    assert (code, out) == (6, "")
    assert "not the log of a baseline" in err
    assert err.count("\n") == 1
    assert snapshot(tmp_path) == before
    code, _, err = update(tpobench, "a", "--force", reason="log lost")
    assert code == 0
    assert "what was replaced is kept in base.jsonl.bak, base.log.json.bak" in err
    assert (tmp_path / "base.log.json.bak").read_text(encoding="utf-8") == text
    assert [e["reason"] for e in read_baseline(tmp_path / "base.jsonl").log] == ["log lost"]


@pytest.mark.parametrize("text", ['{"loss": 0.5}\n{"loss": 0.25}\n', "my notes\n", "\0" * 40])
def test_a_file_of_another_kind_is_no_baseline_to_replace(tpobench, tmp_path, text):
    """Not even by force."""
    results(tmp_path / "a", [0.25, 0.25])
    (tmp_path / "base.jsonl").write_text(text, encoding="utf-8")
    before = snapshot(tmp_path)
    for words in ((), ("--force",)):
        code, _, err = update(tpobench, "a", *words)
        assert (code, err.count("\n")) == (2, 1)
        assert "base.jsonl is no packed file of tpobench" in err
    assert snapshot(tmp_path) == before


def test_results_are_no_baseline_to_replace(tpobench, tmp_path):
    """A packed file without a log was never a baseline; --force keeps a copy of it."""
    results(tmp_path / "a", [0.25, 0.25])
    path = write_jsonl(tmp_path / "base.jsonl", *(record(s, changes={"algorithm": "dg"}) for s in range(3)))
    before = snapshot(tmp_path)
    content = path.read_bytes()
    code, _, err = update(tpobench, "a")
    assert (code, err.count("\n")) == (2, 1)
    assert "base.jsonl holds results and has no log, so it is no baseline" in err
    assert snapshot(tmp_path) == before
    assert update(tpobench, "a", "--force")[0] == 0
    assert (tmp_path / "base.jsonl.bak").read_bytes() == content


def damage(path, kind):
    """The baseline cut, edited, or of a newer version; its log of another project, or alone."""
    text = path.read_text(encoding="utf-8")
    if kind == "cut":
        path.write_text(text[:-40], encoding="utf-8")
    elif kind == "edited":
        path.write_text(text.replace("0.25", "0.35"), encoding="utf-8")
    elif kind == "newer":
        path.write_text(text.replace('"schema":1,"spec"', '"schema":9,"spec"'), encoding="utf-8")
    elif kind == "log":
        log_path(path).write_text('{"my": "log"}', encoding="utf-8")
    else:
        path.unlink()
        log_path(path).write_text("my log", encoding="utf-8")


@pytest.mark.parametrize("kind", ["cut", "edited", "newer", "log", "log alone"])
def test_an_update_that_would_lose_something_asks_for_force_and_keeps_copies(tpobench, tmp_path, kind):
    """Every file is there afterwards under another name, however often it is forced."""
    results(tmp_path / "a", [0.25, 0.25])
    results(tmp_path / "b", [0.5, 0.25])
    path = tmp_path / "base.jsonl"
    copies = []
    for n in ("", "2"):
        update(tpobench, "a")
        damage(path, kind)
        held = {p: p.read_bytes() for p in (path, log_path(path)) if p.is_file()}
        before = snapshot(tmp_path)
        code, _, err = update(tpobench, "b")
        assert (code, err.count("\n"), "--force" in err) == (6, 1, True)
        assert snapshot(tmp_path) == before
        assert update(tpobench, "b", "--force")[0] == 0
        copies += [(p.with_name(f"{p.name}.bak{n}"), content) for p, content in held.items()]
        assert len(read_baseline(path).records) == 2
    assert all(copy.read_bytes() == content for copy, content in copies)


def test_the_log_of_a_baseline_whose_file_is_gone_goes_on(tpobench, tmp_path):
    """What was once said is not forgotten with the records."""
    results(tmp_path / "a", [0.25, 0.25])
    update(tpobench, "a")
    (tmp_path / "base.jsonl").unlink()
    assert update(tpobench, "a", reason="again")[0] == 0
    assert [e["reason"] for e in read_baseline(tmp_path / "base.jsonl").log] == ["first", "again"]


def test_a_torn_line_is_corrupt(tmp_path):
    """A baseline that shrinks must not turn green."""
    path = write_jsonl(tmp_path / "b.jsonl", record(0), record(1))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptResults, match="1 damaged records"):
        read_baseline(path)


def test_plain_results_are_split_in_halves(tmp_path):
    """Any packed file or run directory can be a baseline; failed runs in it are none."""
    records = [record(s) for s in range(5)]
    held = read_baseline(write_jsonl(tmp_path / "b.jsonl", *records, record(9, status="failed", reason="x")))
    assert (held.screen, held.reserve, held.log) == ((0, 1, 2), (3, 4), ())
    assert read_baseline(write(tmp_path / "runs", *records)).screen == (0, 1, 2)


def test_two_definitions_of_one_arm_are_refused(tmp_path):
    """Seeds of a cell are repetitions of one experiment."""
    other = {"hyper": {"eta": 2.0}}
    path = write_jsonl(tmp_path / "b.jsonl", record(0), record(1, changes=other))
    with pytest.raises(CorruptResults, match=r"two definitions: hyper.eta is 1.0, 2.0 here"):
        read_baseline(path)
    path = write_jsonl(tmp_path / "c.jsonl", record(0), record(0, changes={"device": "cuda"}))
    with pytest.raises(CorruptResults, match="several results of one seed"):
        read_baseline(path)


def test_seeds_as_text():
    """Runs of seeds by their ends, and back."""
    assert seed_ranges([3, 0, 1, 2, 7]) == "0-3,7"
    assert seeds_in("0-3,7") == (0, 1, 2, 3, 7)
    assert seeds_in("5") == (5,)
    assert seeds_in(seed_ranges([])) == ()
    assert split_seeds(range(5), 2) == ((0, 1), (2, 3, 4))


def test_arms_are_named_as_people_say_it():
    """Suite, cell and rule; the matching where the rule depends on it."""
    assert arm_of(record().spec).text == "tiny tpo"
    cell = {"cell": {"reward": "terminal", "length": 4}, "matching": "prompts"}
    assert arm_of(record(changes=cell).spec).text == "tiny length=4 reward=terminal matching=prompts tpo"
    assert arm_of(record(changes={"matching": "prompts"}).spec).place == "matching=prompts"


def test_drift_of_steps_counts_the_budget_for_runs_that_never_arrive(tmp_path):
    """Mean of min(steps, T): T = 4, and one run of two is below 0.5 from step 2 on."""
    reporting = {**REPORTING, "persist": 1}
    fields = {"reporting": reporting, "changes": {"training": {**record().spec["training"], "steps": 4}}}
    curves = [[0.9, 0.4, 0.4], [0.9, 0.9, 0.9]]
    records = [
        record(
            s, **fields, curve={"step": [0, 2, 4], "interactions": [0, 8, 16], "gradient_steps": [0, 2, 4], "error": c}
        )
        for s, c in enumerate(curves)
    ]
    held = read_baseline(write_jsonl(tmp_path / "b.jsonl", *records))
    assert {d.name: d.new for d in drift(None, held)} == {"tiny tpo final1": 0.65, "tiny tpo steps0.5m1": 3.0}


# ---- what ships

ROOT = Path(__file__).parent.parent
GATE = ("ci", "ci_sampled", "ci_sequence", "ci_exact", "ci_exact_sequence")
CI = ROOT / "results" / "baselines" / "ci.jsonl"


def test_the_committed_baseline_is_that_of_the_ci_suites():
    """Every cell, rule and seed, under the settings that the suites have now; small enough for version control."""
    held = read_baseline(CI)
    specs = [s for name in GATE for s in plan_runs(load_suite(name)).specs]
    assert {r.id for r in held.records} == {s.run_id for s in specs}
    assert (held.screen, held.reserve) == (tuple(range(20)), tuple(range(20, 40)))
    assert held.log[0]["reason"]
    assert CI.stat().st_size < 2_000_000


def test_the_committed_baseline_can_reject_even_if_everything_is_flagged():
    """Holm multiplies the smallest p of twenty pairs by the number of cells that are tested."""
    held = read_baseline(CI)
    cells = [c.evidence for c in gate_cells(held, candidate_of(held, ()))]
    assert refusal(GatePlan(), cells) == ""


def test_no_rule_of_the_committed_baseline_is_at_its_floor_or_at_chance():
    """Where a rule has solved the task, or learned nothing, no bug can show."""
    for arm, records in read_baseline(CI).arms.items():
        if next(iter(records.values())).reporting.get("exact"):
            continue
        curves = [r.curve["error"] for r in records.values()]
        start = sum(c[0] for c in curves) / len(curves)
        end = sum(sum(c[-5:]) / 5 for c in curves) / len(curves)
        assert end < 0.98 * start, arm.text
        assert sum(map(sum, curves)) > 0.05 * sum(map(len, curves)), arm.text


@pytest.mark.slow
def test_this_code_passes_the_committed_baseline(tpobench):
    """The tabular suite, trained for real; on other machines last bits may differ, a regression they are not."""
    code, out, err = tpobench("check", "-b", CI, "--suite", "ci", "--executor", "inline", "--json")
    assert code == 0, out + err
    assert json.loads(out)["family"] == {"cells": 15, "final": 8, "steps": 7}


def test_digits_do_not_hinge_on_the_instruction_set(tmp_path):
    """torch's kernels without AVX sum in another order: what shows must be a mistake, so rounding may not grow."""
    words = ["check", "-b", CI, "--suite", "ci_exact", "--executor", "inline", "--json", tmp_path / "new"]
    env = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    command = [sys.executable, "-m", "tpobench", *map(str, words)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["headline"] == "UNCHANGED: 63 cells compared: 63 unchanged"


def test_the_example_workflow_calls_what_exists():
    """Its options are the command's, its files are the repository's."""
    text = (ROOT / "docs" / "examples" / "tpobench.yml").read_text(encoding="utf-8")
    command = re.search(r"tpobench check (.*)", text)[1].split()
    known = {word for p in get_command(cli.app).commands["check"].params for word in p.opts}
    assert {word for word in command if word.startswith("--")} <= known
    assert (ROOT / command[command.index("--baseline") + 1]).is_file()
    assert len(text.splitlines()) <= 25
