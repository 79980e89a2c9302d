"""Runs do not depend on their company, failures cost one job, and nothing is done twice."""

import dataclasses
import io
import json
import math
import os
import platform
import time
from functools import partial

import pytest
import torch
from harness_helpers import Row, document, fake_train, suite

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.children import THREAD_VARIABLES, pin_threads
from tpobench.errors import NothingToDo, UsageError, WorkersBroken
from tpobench.execution import Inline, Options, execute, provenance
from tpobench.execution.assemble import assemble, significant
from tpobench.execution.estimate import plan_table, wall_seconds
from tpobench.execution.isolate import train_apart
from tpobench.execution.job import Message, train_job, without_result
from tpobench.execution.progress import ProgressLines
from tpobench.identity import canonical
from tpobench.planning.plan import plan_runs
from tpobench.plugins.load import load_plugins
from tpobench.records.store import Store

BLOCKS = {"training": {**document()["training"], "seed_batch": 4}}


@pytest.fixture
def _two_line_trainer(monkeypatch):
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)


def payloads(folder):
    return {r.id: canonical(r.payload) for r in Store(folder).load()[0]}


def test_a_run_has_the_same_bytes_alone_in_company_and_in_any_process(tmp_path):
    """The real trainer: one process or two, seed 1 alone or beside seeds 0 to 5."""
    plan = plan_runs(suite(**BLOCKS), None, range(6))
    for jobs in (1, 2):
        execute(plan, tmp_path / str(jobs), jobs=jobs)
    assert payloads(tmp_path / "1") == payloads(tmp_path / "2")
    assert len(payloads(tmp_path / "1")) == 12
    alone = plan_runs(suite(**BLOCKS), ["tpo"], [1])
    execute(alone, tmp_path / "alone")
    (run_id,) = payloads(tmp_path / "alone")
    assert payloads(tmp_path / "alone")[run_id] == payloads(tmp_path / "1")[run_id]


@pytest.mark.usefixtures("_two_line_trainer")
def test_only_what_is_missing_is_run(tmp_path, monkeypatch):
    """A second call does nothing, more seeds add theirs, a deleted record comes back as it was."""
    trained = []
    monkeypatch.setattr("tpobench.training.loop.train", lambda job, _: trained.append(job.seeds) or fake_train(job))
    execute(plan_runs(suite(), ["tpo"], [0, 1]), tmp_path, executor=Inline())
    before = payloads(tmp_path)
    outcome = execute(plan_runs(suite(), ["tpo"], [0, 1, 2]), tmp_path, executor=Inline())
    assert (outcome.already, outcome.counts) == (2, {"ok": 1})
    Store(tmp_path).path_of(next(iter(before))).unlink()
    execute(plan_runs(suite(), ["tpo"], [0, 1, 2]), tmp_path, executor=Inline())
    assert sorted(trained) == [(0,), (0,), (1,), (2,)] or sorted(trained) == [(0,), (1,), (1,), (2,)]
    assert before.items() <= payloads(tmp_path).items()


@pytest.mark.usefixtures("_two_line_trainer")
@pytest.mark.parametrize("kept", [0, 1, 40, 300, -2])
def test_a_torn_record_is_put_aside_and_run_again(tmp_path, kept):
    """After a cut at any point the next call restores the same bytes."""
    plan = plan_runs(suite(), ["tpo"], [0, 1])
    execute(plan, tmp_path, executor=Inline())
    before = payloads(tmp_path)
    path = Store(tmp_path).path_of(plan.specs[0].run_id)
    path.write_bytes(path.read_bytes()[:kept])
    outcome = execute(plan, tmp_path, executor=Inline())
    assert (outcome.quarantined, outcome.already, outcome.counts) == (1, 1, {"ok": 1})
    assert payloads(tmp_path) == before


@pytest.mark.usefixtures("_two_line_trainer")
def test_a_run_that_raises_is_a_failed_record_and_is_tried_again(tmp_path):
    """The reason is kept, the others go on, and the attempts are counted."""
    plan = plan_runs(suite(), ["tpo"], [12, 13, 14])
    outcome = execute(plan, tmp_path, executor=Inline())
    assert outcome.counts == {"ok": 2, "failed": 1}
    outcome = execute(plan, tmp_path, executor=Inline())
    assert (outcome.already, outcome.counts) == (2, {"failed": 1})
    failed = Store(tmp_path).known()[0][plan.specs[1].run_id]
    assert (failed.status, failed.reason, failed.attempts) == ("failed", "ValueError: seed 13 is unlucky", 2)
    assert any("fake_train" in line for line in failed.provenance["traceback"])


@pytest.mark.usefixtures("_two_line_trainer")
def test_a_stack_that_breaks_costs_the_guilty_seed_only(tmp_path):
    """Seed 13 of the block 12 to 15 raises; the others have their results, and one that nobody asked for costs none."""
    execute(plan_runs(suite(**BLOCKS), ["tpo"], range(12, 16)), tmp_path / "all", executor=Inline())
    status = {r.spec["seed"]: r.status for r in Store(tmp_path / "all").load()[0]}
    assert status == {12: "ok", 13: "failed", 14: "ok", 15: "ok"}
    execute(plan_runs(suite(**BLOCKS), ["tpo"], [15]), tmp_path / "one", executor=Inline())
    assert payloads(tmp_path / "one").items() < payloads(tmp_path / "all").items()


TASKS = {
    "bandit": {"kind": "bandit", "arms": 7, "samples": 9},
    "contexts": {"kind": "contexts", "contexts": 5},
    "sequence": {"kind": "sequence", "length": 2, "reward": "terminal", "prompts": 8, "candidates": 4},
}


def stack(kind, rule, **training):
    """One job of the seeds 4 to 7."""
    settings = {**BLOCKS["training"], "steps": 20, **training}
    (job,) = plan_runs(suite(task=TASKS[kind], training=settings), [rule], range(4, 8)).jobs()
    return job


def rows_of(job):
    """(step, metric) -> the values of the four seeds."""
    from tpobench.training.loop import train

    return {(row.step, row.metric): row.value for row in train(job)}


@pytest.mark.parametrize("rule", ["tpo", "grpo", "ppo"])
def test_a_part_of_a_stack_gives_every_curve_of_the_whole(rule):
    """Half of the seeds are wanted, all are trained: neither packing nor skipped contexts can change a bit."""
    whole = stack("sequence", rule, steps=4, record_every=1, optimizer="muon")
    expected = {r.id: canonical(r.payload) for r in train_job(Message(whole, {}))}
    halves = [r for half in whole.parts() for r in train_job(Message(half, {}))]
    assert {r.id: canonical(r.payload) for r in halves} == expected
    assert len(halves) == 4


@pytest.mark.parametrize("kind", ["bandit", "contexts"])
@pytest.mark.parametrize("rule", ["tpo", "grpo", "dg", "reinforce"])
def test_a_seed_beside_copies_has_the_bytes_of_the_whole_block(kind, rule):
    """Where seeds share nothing but a tensor, those that leave change no number: shapes and places stay."""
    whole = stack(kind, rule)
    expected = rows_of(whole)
    for part in (whole.parts()[1], whole.parts()[0].parts()[0]):
        kept = {spec.seed for spec in part.specs}
        for key, value in rows_of(dataclasses.replace(part.alone(0), until=None)).items():
            assert [value[s - 4] for s in kept] == [expected[key][s - 4] for s in kept]


@pytest.mark.parametrize(("kind", "optimizer"), [("contexts", "adam"), ("sequence", "muon"), ("bandit", "normalized")])
def test_a_seed_that_leaves_a_stack_becomes_the_first_sound_one(kind, optimizer):
    """Until then every seed is itself; then it is a copy in parameters, moments and noise, whoever is wanted."""
    whole = stack(kind, "tpo", steps=6, record_every=1, optimizer=optimizer)
    before, after = rows_of(whole), rows_of(whole.without([4], 2).without([6], 4))
    assert before.keys() == after.keys()
    assert [value[1] for value in after.values()] != [value[3] for value in after.values()]
    for (step, metric), (four, five, six, seven) in after.items():
        assert step >= 2 or (four, five, six, seven) == before[step, metric]
        assert step < 2 or four == five
        assert (step < 4) or six == five
    assert rows_of(whole.parts()[1].parts()[1].without([4], 2).without([6], 4)) == after
    assert [whole.without([4], 2).without([5, 6], 4).stack(u) for u in (1, 2, 4)] == [
        (4, 5, 6, 7), (5, 5, 6, 7), (7, 7, 7, 7),
    ]  # fmt: skip


def test_a_run_without_a_record_is_an_error(tmp_path):
    """However an executor loses it; nothing ends as finished with 1 of 2 runs."""

    class Forgetful(Inline):
        def run(self, jobs, work, message, stop):
            for taken, records in super().run(jobs, work, message, stop):
                yield taken, [r for r in records if r.spec["seed"] == 0]

    with pytest.raises(WorkersBroken, match="1 runs ended without a record; finished runs are kept, the same command"):
        execute(plan_runs(suite(), ["tpo"], [0, 1]), tmp_path, executor=Forgetful())
    assert execute(plan_runs(suite(), ["tpo"], [0, 1]), tmp_path, executor=Inline()).already == 1


def test_a_stack_that_breaks_from_outside_is_trained_again_as_a_whole():
    """A seed without a fault keeps the bytes of the whole; a seed that always breaks leaves, unwanted ones as well."""
    job = stack("contexts", "tpo", steps=6)
    trained = []

    def train(message, *, guilty=(), outside=0):
        trained.append(message)
        seeds = message.job.stack(3)
        if len(trained) <= outside or (set(guilty) & set(seeds) and (message.job.until or 6) >= 3):
            return without_result(message.job, "crashed", f"at {seeds}", {}, step=3)
        return without_result(message.job, "ok", "", {}, stack=seeds)

    def ends(job, **options):
        trained.clear()
        return {
            r.spec["seed"]: (r.status, r.provenance.get("stack", r.reason))
            for r in train_apart(partial(train, **options), Message(job, {}))
        }

    assert ends(job, outside=1) == dict.fromkeys(range(4, 8), ("ok", (4, 5, 6, 7)))
    assert [m.watched for m in trained] == [False, True]
    left = dict.fromkeys((4, 6, 7), ("ok", (4, 4, 6, 7)))
    assert ends(job, guilty=[5]) == {**left, 5: ("crashed", "at (5, 5, 5, 5)")}
    assert len(trained) == 2 + 4 + 1
    assert ends(job.parts()[1], guilty=[5]) == {seed: left[seed] for seed in (6, 7)}
    assert ends(job, guilty=[4, 5, 6, 7]).keys() == {4, 5, 6, 7}
    assert {seed: status for seed, (status, _) in ends(job, outside=2).items()} == dict.fromkeys(range(4, 8), "crashed")


@pytest.mark.usefixtures("_two_line_trainer")
def test_one_cell_and_rule_has_one_definition_in_a_folder(tmp_path, monkeypatch):
    """A changed rule is refused beside its old results; its old failures give way."""
    execute(plan_runs(suite(), ["tpo"], [0]), tmp_path, executor=Inline())
    execute(plan_runs(suite(), ["reinforce"], [13]), tmp_path, executor=Inline())
    monkeypatch.setattr("tpobench.plugins.load.VERSIONS", {"tpo": "abc", "reinforce": "abc"})
    with pytest.raises(UsageError, match=r'tpo with algorithm_version = "1", these would have "abc"; .*--name NAME'):
        execute(plan_runs(suite(), ["tpo"], [1]), tmp_path, executor=Inline())
    execute(plan_runs(suite(), ["reinforce"], [12]), tmp_path, executor=Inline())
    assert sorted(r.status for r in Store(tmp_path).load()[0]) == ["ok", "ok"]


@pytest.mark.usefixtures("_two_line_trainer")
def test_divergence_is_a_result(tmp_path):
    """nan from step 2 on: status, step and nulls; it is not run again."""
    plan = plan_runs(suite(), ["tpo"], [7])
    execute(plan, tmp_path, executor=Inline())
    record = Store(tmp_path).known()[0][plan.specs[0].run_id]
    assert (record.status, record.first_nonfinite_step) == ("diverged", 2)
    assert record.curve["error"] == [0.1111111, 0.1, None, None, None]
    assert execute(plan, tmp_path, executor=Inline()).ran == {}


def test_metrics_that_are_facts_are_no_curves_and_columns_stay_aligned():
    """A metric that misses a point has a null there; a declared fact is no curve."""
    (spec,) = plan_runs(suite(), ["tpo"], [0]).specs
    (job,) = plan_runs(suite(), ["tpo"], [0]).jobs()
    rows = [
        Row(0, 0, 0, "initial_success", (1 / 3,)),
        Row(0, 0, 0, "error", (0.5,)),
        Row(0, 0, 0, "angle", (0.0,)),
        Row(2, 8, 2, "error", (0.25,)),
        Row(2, 8, 2, "angle", (1e-9,)),
        Row(4, 16, 4, "error", (0.125,)),
    ]
    (record,) = assemble(job, rows, {})
    assert record.id == spec.run_id
    assert record.facts == {"initial_success": 0.3333333}
    assert record.curve == {
        "step": [0, 2, 4],
        "interactions": [0, 8, 16],
        "gradient_steps": [0, 2, 4],
        "error": [0.5, 0.25, 0.125],
        "angle": [0.0, 1e-9, None],
    }
    assert record.counts == {"interactions": 16, "gradient_steps": 4}
    assert (record.status, record.first_nonfinite_step) == ("ok", None)


def test_facts_are_facts_however_early_a_run_ends():
    """Diverged before the second point, p0 is still no curve; the error, seen once, still is one."""
    (job,) = plan_runs(suite(), ["tpo"], [0]).jobs()
    rows = [Row(0, 0, 0, "initial_success", (0.25,)), Row(0, 0, 0, "error", (0.5,))]
    (record,) = assemble(job, rows, {})
    assert record.facts == {"initial_success": 0.25}
    assert (record.curve["error"], "initial_success" in record.curve) == ([0.5], False)
    (record,) = assemble(job, [*rows, Row(2, 8, 2, "angle", (1.0,))], {})
    assert (record.facts, record.curve["error"]) == ({"initial_success": 0.25}, [0.5, None])


def test_what_is_measured_after_divergence_is_not_kept():
    """A metric that happens to be finite again after another was lost says nothing."""
    (job,) = plan_runs(suite(), ["tpo"], [0]).jobs()
    rows = [Row(i, i, i, "error", (e,)) for i, e in enumerate([0.5, math.nan, 0.25])]
    (record,) = assemble(job, rows, {})
    assert record.curve["error"] == [0.5, None, None]
    assert (record.status, record.first_nonfinite_step) == ("diverged", 1)


def test_numbers_keep_seven_significant_digits():
    """What is beyond them differs between machines."""
    assert [significant(x) for x in (math.pi, 1.23456789e-12, 0.0)] == [3.141593, 1.234568e-12, 0.0]
    assert [significant(x) for x in (math.nan, math.inf)] == [None, None]


@pytest.mark.usefixtures("_two_line_trainer")
def test_a_plan_above_its_cost_is_refused_before_it_starts(tmp_path):
    """By the hint of the suite, then by what finished runs took; and where nothing is known."""
    costed = suite(cost={"ms_per_step": {"default": 500.0}})
    plan = plan_runs(costed, ["tpo"], range(3))
    with pytest.raises(UsageError, match=r"--max-cost 5.0 s: the runs due take about 6.0 s of CPU time"):
        execute(plan, tmp_path, executor=Inline(), options=Options(max_cost_s=5))
    assert Store(tmp_path).load()[0] == []
    execute(plan, tmp_path, executor=Inline(), options=Options(max_cost_s=6))
    execute(plan_runs(costed, ["tpo"], range(9)), tmp_path, executor=Inline(), options=Options(max_cost_s=5))
    with pytest.raises(UsageError, match="the cost of 3 jobs is unknown; run one seed before"):
        execute(plan_runs(suite(), ["tpo"]), tmp_path / "other", executor=Inline(), options=Options(max_cost_s=5))


@pytest.mark.usefixtures("_two_line_trainer")
def test_a_rule_of_this_process_alone_needs_this_process(tmp_path, monkeypatch):
    """A child would not know it; in this process it runs."""
    monkeypatch.setitem(ALGORITHMS, "mine", dataclasses.replace(ALGORITHMS["tpo"], name="mine"))
    plan = plan_runs(suite(), ["mine"], [0])
    with pytest.raises(
        UsageError, match=r"algorithm 'mine' is registered in this process only; use executor=Inline\(\)"
    ):
        execute(plan, tmp_path)
    assert execute(plan, tmp_path, executor=Inline()).counts == {"ok": 1}


@pytest.mark.usefixtures("_two_line_trainer")
def test_skipped_rules_are_recorded_and_nothing_else_to_do_is_said(tmp_path):
    """All skipped is an error with the reasons; the records stay for the tables."""
    plan = plan_runs(suite(task={"kind": "sequence", "length": 3}, algorithms=["ce"]))
    with pytest.raises(NothingToDo, match="ce needs label, which task 'sequence' does not offer"):
        execute(plan, tmp_path, executor=Inline())
    (record,) = Store(tmp_path).load()[0]
    assert (record.status, record.reason) == ("skipped", "needs label, which task 'sequence' does not offer")


def test_threads_are_pinned(monkeypatch):
    """Every mode trains with the number of threads of the spec."""
    import torch

    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "7")
    before = torch.get_num_threads()
    try:
        pin_threads(2)
        assert torch.get_num_threads() == 2
        assert {os.environ[name] for name in THREAD_VARIABLES} == {"2"}
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_line_trainer")
def test_the_origin_of_a_run_is_recorded(tmp_path):
    """Versions, machine, threads and the seed scheme, and a cost per seed."""
    execute(plan_runs(suite(), ["tpo"], [0]), tmp_path, executor=Inline())
    (record,) = Store(tmp_path).load()[0]
    assert {"tpobench", "git", "python", "torch", "numpy", "platform", "cpu", "threads", "device", "started_utc",
            "seed_scheme"} == record.provenance.keys()  # fmt: skip
    assert record.cost.keys() == {"wall_s", "cpu_s", "peak_rss_mb"}
    assert record.reporting["title"] == "tiny"
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert (meta["schema"], meta["suite"]["task"]["arms"]) == (1, 5)


@pytest.mark.parametrize(
    ("says", "capability", "expected"),
    [
        ({"model name": "AMD EPYC", "cpu family": "25", "model": "1"}, "AVX2", "AMD EPYC (family 25, model 1, AVX2)"),
        (
            {"model name": "AMD EPYC", "cpu family": "26", "model": "2"},
            "AVX512",
            "AMD EPYC (family 26, model 2, AVX512)",
        ),
        ({"CPU implementer": "0x41", "CPU part": "0xd40"}, "NEON", "aarch64 (implementer 0x41, part 0xd40, NEON)"),
    ],
)
def test_processors_of_one_name_that_round_differently_are_two(monkeypatch, says, capability, expected):
    """A virtual machine says "AMD EPYC" of several generations: checkpoints, `check` and lint must tell them apart."""
    monkeypatch.setattr(provenance, "processor", lambda: says)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert provenance.cpu_name() == expected


@pytest.mark.usefixtures("_two_line_trainer")
def test_the_plan_counts_what_is_done_and_what_it_costs(tmp_path):
    """Cost comes from finished runs, and from the suite's [cost] before there are any."""
    costed = suite(cost={"ms_per_step": {"default": 500.0, "reinforce": 250.0}})
    plan = plan_runs(costed, None, range(3))
    tpo, reinforce = plan_table(plan, {}, plan.jobs())
    assert (tpo.total, tpo.done, tpo.todo, tpo.interactions, tpo.cpu_s) == (3, 0, 3, 3 * 4 * 4, 6.0)
    assert reinforce.cpu_s == 3.0
    execute(plan_runs(costed, ["tpo"], [0]), tmp_path, executor=Inline())
    known, _ = Store(tmp_path).known()
    tpo, _ = plan_table(plan, known, plan.jobs(known))
    assert (tpo.total, tpo.done, tpo.todo) == (3, 1, 2)
    (record,) = known.values()
    assert tpo.cpu_s == pytest.approx(2 * record.cost["cpu_s"])
    assert plan_table(plan_runs(suite()), {}, plan.jobs())[0].cpu_s is None


def test_wall_time_is_that_of_the_busiest_process():
    """3, 1, 1, 1 on two processes end after 3; on one after 6."""
    assert [wall_seconds([3, 1, 1, 1], n) for n in (1, 2, 9)] == [6, 3, 3]
    assert wall_seconds([], 2) == 0


def test_off_a_terminal_progress_is_plain_lines():
    """A start line, a line per interval, an end line; no control characters."""
    stream = io.StringIO()
    with ProgressLines("tiny", 4, 2, stream, interval=0.01) as progress:
        progress({"a": "ok", "b": "failed"})
        for _ in range(1000):
            if "2/4 runs after" in stream.getvalue():
                break
            time.sleep(0.01)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 2
    assert lines[0] == "tiny: 4 runs to do, 2 done before"
    assert lines[-1].startswith("tiny: finished 2/4 runs in")
    assert lines[-1].endswith("1 failed, 1 ok")
    assert "\x1b" not in stream.getvalue()


CLASH = """
from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
register(Algorithm("tpo", lambda groups: groups.reward, lambda logp, groups, credit: credit.sum(-1)))
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("x = 1", "registers neither an algorithm nor a task"),
        ("import nothing_of_that_name", "No module named"),
        (CLASH, "exists already"),
    ],
)
def test_a_broken_plugin_is_one_line(tmp_path, code, words):
    """The file and the mistake."""
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(UsageError, match=words) as caught:
        load_plugins([path])
    assert str(path) in str(caught.value)
    with pytest.raises(UsageError, match="no plugin at"):
        load_plugins([tmp_path / "none.py"])
