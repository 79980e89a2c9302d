"""Which jobs are due, in which order, whose they are, and when to start no more of them."""

import dataclasses
import itertools
from collections import Counter
from types import SimpleNamespace

import pytest
from harness_helpers import document, fake_train, suite

from tpobench.execution import Inline, Options, execute
from tpobench.execution.due import due
from tpobench.execution.stop import Stop
from tpobench.execution.work import Claim, ClaimedElsewhere, Work, shard_of
from tpobench.planning.plan import plan_runs
from tpobench.records.store import RunRecord, Store

COST = {"ms_per_step": {"default": 500.0, "reinforce": 250.0}}  # 2 s and 1 s per run of four steps


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still until it is set."""
    now = [100.0]
    still = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0], process_time=lambda: now[0])
    monkeypatch.setattr("tpobench.execution.work.time", still)
    monkeypatch.setattr("tpobench.execution.job.time", still)
    return now


def record(spec, status="ok", attempts=1, wall_s=1.0):
    curve = {"step": [0], "interactions": [0], "gradient_steps": [0], "error": [0.5]}
    cost = {"wall_s": wall_s, "cpu_s": wall_s}
    return RunRecord(
        spec.run_id, spec.as_dict(), status, curve=curve, reporting=suite().reporting, attempts=attempts, cost=cost
    )


def make(tmp_path, plan, known=None, **options):
    options = {"processes": 1, "stop": Stop(), **options}
    known = known or {}
    jobs, _ = due(plan, known, Options())
    return Work(plan, Store(tmp_path), known, jobs, **options)


def blocks(seed_batch):
    return {"training": {**document()["training"], "seed_batch": seed_batch}}


def names(jobs):
    return [(job.specs[0].algorithm, [spec.seed for spec in job.specs]) for job in jobs]


# ---- order


def test_rounds_of_seeds_go_before_long_jobs(tmp_path):
    """Seed 0 of every rule, then seed 1; within a round the longest first."""
    plan = plan_runs(suite(cost=COST, algorithms=["reinforce", "tpo"]), None, range(2))
    assert names(make(tmp_path, plan).jobs) == [("tpo", [0]), ("reinforce", [0]), ("tpo", [1]), ("reinforce", [1])]


def test_what_finished_runs_took_is_better_than_the_suites_hint(tmp_path):
    """`reinforce` turns out to be slow, so it goes first."""
    plan = plan_runs(suite(cost=COST), None, range(2))
    slow = next(s for s in plan.specs if s.algorithm == "reinforce")
    jobs = make(tmp_path, plan, {slow.run_id: record(slow, wall_s=60.0)}).jobs
    assert names(jobs) == [("tpo", [0]), ("reinforce", [1]), ("tpo", [1])]


def test_a_round_of_stacks_is_a_block_of_seeds(tmp_path):
    """Four seeds side by side are one job, and the block is trained whole even where two are done."""
    plan = plan_runs(suite(**blocks(4)), ["tpo"], range(6))
    known = {s.run_id: record(s) for s in plan.specs if s.seed in {0, 2}}
    jobs = make(tmp_path, plan, known).jobs
    assert names(jobs) == [("tpo", [1, 3]), ("tpo", [4, 5])]
    assert [job.seeds for job in jobs] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert [job.round for job in jobs] == [0, 1]


# ---- due


def test_results_are_not_due_and_trouble_is_up_to_a_limit():
    """ok and diverged stay, broken ones return until the attempts are used up, --retry-failed asks for more."""
    plan = plan_runs(suite(), ["tpo"], range(6))
    states = [("ok", 1), ("diverged", 1), ("crashed", 1), ("timeout", 2), ("oom", 3)]
    known = {s.run_id: record(s, *state) for s, state in zip(plan.specs, states, strict=False)}

    def seeds(**options):
        jobs, given_up = due(plan, known, Options(max_attempts=2, **options))
        return [spec.seed for job in jobs for spec in job.specs], given_up

    assert seeds() == ([2, 5], 2)
    assert seeds(retry_failed=True) == ([2, 3, 4, 5], 0)


# ---- claims


def test_a_job_belongs_to_one_command_at_a_time(tmp_path):
    """The other is told that it is held, and may have it when it is given back without a result."""
    plan = plan_runs(suite(), ["tpo"], [0])
    first, second = make(tmp_path, plan), make(tmp_path, plan)
    (job,) = first.jobs
    taken = first.take(job)
    assert isinstance(taken, Claim)
    assert second.take(job) == ClaimedElsewhere(job)
    first.done(taken, [])
    other = second.take(job)
    assert isinstance(other, Claim)
    second.done(other, [])


def test_commands_that_want_other_seeds_of_one_block_exclude_each_other(tmp_path):
    """They train the same stack, so they take turns."""
    wide, narrow = (plan_runs(suite(**blocks(4)), ["tpo"], seeds) for seeds in (range(4), [2]))
    first, second = make(tmp_path, wide), make(tmp_path, narrow)
    taken = first.take(first.jobs[0])
    assert isinstance(second.take(second.jobs[0]), ClaimedElsewhere)
    first.done(taken, [])


def test_what_another_command_did_meanwhile_is_not_done_again(tmp_path):
    """Results, and new attempts that broke; an old failure is tried."""
    plan = plan_runs(suite(**blocks(4)), ["tpo"], range(4))
    store = Store(tmp_path)
    known = {s.run_id: record(s, "crashed", 1) for s in plan.specs[2:]}
    mine = make(tmp_path, plan, known)
    for written in (record(plan.specs[0]), record(plan.specs[2], "crashed", 2), record(plan.specs[3], "crashed", 1)):
        store.write(written)
    taken = mine.take(mine.jobs[0])
    assert [spec.seed for spec in taken.job.specs] == [1, 3]
    assert taken.job.seeds == (0, 1, 2, 3)
    assert {r.spec["seed"]: r.status for r in mine.elsewhere.values()} == {0: "ok", 2: "crashed"}
    assert [mine.attempt(spec.run_id) for spec in plan.specs] == [1, 1, 2, 2]
    mine.done(taken, [])


def test_a_job_that_others_finished_frees_its_claim(tmp_path):
    """Nothing to do is no reason to keep others out."""
    plan = plan_runs(suite(), ["tpo"], [0])
    mine, other = make(tmp_path, plan), make(tmp_path, plan)
    Store(tmp_path).write(record(plan.specs[0]))
    assert mine.take(mine.jobs[0]) is None
    assert other.take(other.jobs[0]) is None


def test_after_a_stop_nothing_is_taken(tmp_path):
    """Not even what is free."""
    plan = plan_runs(suite(), ["tpo"], [0])
    stop = Stop()
    mine = make(tmp_path, plan, stop=stop)
    stop.asked.set()
    assert mine.take(mine.jobs[0]) is None
    assert not mine.timed_out


# ---- time


@pytest.mark.parametrize(("estimate", "limit"), [(None, 86400.0), (1.0, 600.0), (100.0, 1000.0)])
def test_a_job_may_take_ten_times_its_estimate(tmp_path, estimate, limit):
    """At least ten minutes, a day where nothing is known, and what the user says in any case."""
    cost = {} if estimate is None else {"cost": {"ms_per_step": {"default": 250 * estimate}}}
    plan = plan_runs(suite(**cost), ["tpo"], [0])
    for said, expected in ((None, limit), (7.0, 7.0)):
        mine = make(tmp_path, plan, timeout_s=said)
        taken = mine.take(mine.jobs[0])
        assert taken.timeout_s == pytest.approx(expected)
        mine.done(taken, [])


def test_a_time_budget_starts_whole_rounds_that_fit(tmp_path, clock):
    """A round costs 3 s: after 4 s of 8 one more fits, after 6 s none; what was started is finished."""
    plan = plan_runs(suite(cost=COST), None, range(4))
    mine = make(tmp_path, plan, time_budget_s=8.0)
    took = []
    for job in mine.jobs:
        taken = mine.take(job)
        if taken is not None:
            took.append(job)
            clock[0] += 2.0 if job.specs[0].algorithm == "tpo" else 1.0
            mine.done(taken, [])
    assert names(took) == [("tpo", [0]), ("reinforce", [0]), ("tpo", [1]), ("reinforce", [1])]
    assert mine.timed_out


def test_the_first_round_starts_however_short_the_time(tmp_path, clock):
    """Otherwise nothing would ever be known of its cost; but a budget that is spent starts nothing."""
    plan = plan_runs(suite(cost=COST), None, range(2))
    mine = make(tmp_path, plan, time_budget_s=1.0)
    taken = mine.take(mine.jobs[0])
    mine.done(taken, [])
    clock[0] += 1.0
    assert mine.take(mine.jobs[1]) is None
    assert mine.timed_out


def test_the_budget_learns_from_what_runs_take(tmp_path, clock):
    """The hint says 3 s a round; the first one took 30, so the second is not started."""
    plan = plan_runs(suite(cost=COST), None, range(2))
    mine = make(tmp_path, plan, time_budget_s=40.0)
    for job in mine.jobs[:2]:
        mine.done(mine.take(job), [record(job.specs[0], wall_s=15.0)])
        clock[0] += 15.0
    assert mine.take(mine.jobs[2]) is None
    assert mine.timed_out


def test_more_processes_fit_more_rounds(tmp_path, clock):
    """Side by side a round takes 2 s instead of 3."""
    plan = plan_runs(suite(cost=COST), None, range(2))
    for processes, fits in ((1, False), (2, True)):
        mine = make(tmp_path / str(processes), plan, processes=processes, time_budget_s=5.0)
        clock[0] = 100.0
        mine._start = 97.5
        mine._admitted = {0}
        taken = mine.take(mine.jobs[2])
        assert isinstance(taken, Claim) == fits
        if taken is not None:
            mine.done(taken, [])


def test_a_run_out_of_time_is_balanced_and_goes_on(tmp_path, monkeypatch, clock):
    """Every rule has the same seeds when the budget ends; the next command has the rest."""

    def timed(job, _begin):
        clock[0] += 1.0
        return fake_train(job)

    monkeypatch.setattr("tpobench.training.loop.train", timed)
    plan = plan_runs(suite(cost={"ms_per_step": {"default": 250.0}}), None, range(5))
    outcome = execute(plan, tmp_path, executor=Inline(), options=Options(time_budget_s=5.0))
    seeds = Counter((r.spec["algorithm"], r.spec["seed"]) for r in Store(tmp_path).load()[0])
    assert sorted(seeds) == [(rule, seed) for rule in ("reinforce", "tpo") for seed in (0, 1)]
    assert (outcome.timed_out, outcome.left, outcome.counts) == (True, 6, {"ok": 4})
    outcome = execute(plan, tmp_path, executor=Inline())
    assert (outcome.timed_out, outcome.left, outcome.already, outcome.counts) == (False, 0, 4, {"ok": 6})


# ---- shards


def test_shards_part_the_jobs_and_every_shard_has_a_part_of_every_cell():
    """Each job on exactly one machine, and no machine has one rule more than once more often than another."""
    plan = plan_runs(suite(grid={"arms": [3, 4, 5]}, **blocks(2)), None, range(12))
    for shards in (1, 2, 3, 5):
        parts = [due(plan, {}, Options(shard=(k, shards)))[0] for k in range(1, shards + 1)]
        found = Counter(spec.run_id for part in parts for job in part for spec in job.specs)
        assert found == Counter(spec.run_id for spec in plan.specs)
        for group in {job.specs[0].group for job in plan.jobs()}:
            sizes = [sum(job.specs[0].group == group for job in part) for part in parts]
            assert max(sizes) - min(sizes) <= 1


def test_a_shard_depends_on_the_job_alone():
    """Not on what is done, on what else is planned, or on the order."""
    wide = plan_runs(suite(grid={"arms": [3, 4]}, **blocks(2)), None, range(8))
    narrow = plan_runs(suite(grid={"arms": [4]}, **blocks(2)), ["tpo"], [5])
    everywhere = {spec.run_id: shard_of(job, 3) for job in wide.jobs() for spec in job.specs}
    (job,) = narrow.jobs()
    assert everywhere[job.specs[0].run_id] == shard_of(job, 3)
    left = wide.jobs([spec.run_id for spec in itertools.islice(wide.specs, 7)])
    assert all(everywhere[spec.run_id] == shard_of(job, 3) for job in left for spec in job.specs)


def test_shards_of_a_plan_unite_to_the_whole(tmp_path, monkeypatch):
    """Each part says what of it is left; the last one says that nothing is."""
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)
    plan = plan_runs(suite(), None, range(3))
    for k in (1, 2):
        outcome = execute(plan, tmp_path, executor=Inline(), options=Options(shard=(k, 2)))
        assert (outcome.left, outcome.counts["ok"]) == (0, len(outcome.ran))
    assert len(Store(tmp_path).load()[0]) == 6


# ---- attempts


def test_attempts_are_counted_over_all_commands(tmp_path, monkeypatch):
    """A run that breaks twice and then works has three; others have one."""
    monkeypatch.setattr("tpobench.training.loop.train", fake_train)
    plan = plan_runs(suite(), ["tpo"], [12, 13])
    for _ in range(2):
        execute(plan, tmp_path, executor=Inline())
    monkeypatch.setattr("tpobench.training.loop.train", lambda job, _: fake_train(dataclasses.replace(job, seeds=(1,))))
    execute(plan, tmp_path, executor=Inline())
    found = {r.spec["seed"]: (r.status, r.attempts) for r in Store(tmp_path).load()[0]}
    assert found == {12: ("ok", 1), 13: ("ok", 3)}
