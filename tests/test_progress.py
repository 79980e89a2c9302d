"""What is shown of a language model's run while it is in progress."""

import io
import json
import re
from dataclasses import replace

from test_train import job

from tpobench.execution import execute
from tpobench.execution.heard import EVERY_S, LONG_S, Kept
from tpobench.execution.inline import Inline
from tpobench.execution.job import RATE, REWARD, UPDATE, Message, told_of, train_job
from tpobench.execution.progress import Hearing, ProgressLines
from tpobench.execution.slots import SlotPool
from tpobench.planning.plan import plan_runs
from tpobench.records.store import Store
from tpobench.suites.load import load_suite
from tpobench.training.loop import Measurement
from tpobench.watch.reader import Reader

REPORTING = {"metric": "error", "window": 1, "thresholds": [0.1], "worst": 1.0}


def a_job(seeds=(0,)):
    return job("tiny_math", "tpo", seeds, steps=3, optimizer="adam")


def test_reward_and_tokens_a_second_are_read_from_what_is_measured():
    """The mean over seeds that are not lost, and the tokens of all since the job began; nothing of other metrics."""
    assert told_of(Measurement(4, 0, 0, "reward", (0.25, 0.75, float("nan"))), 2.0) == {REWARD: 0.5}
    assert told_of(Measurement(4, 0, 0, "tokens", (100.0, 300.0)), 2.0) == {RATE: 200.0}
    assert told_of(Measurement(0, 0, 0, "tokens", (0.0,)), 2.0) == {}
    assert told_of(Measurement(4, 0, 0, "error", (0.5,)), 2.0) == {}
    assert told_of(Measurement(4, 0, 0, "completions", ([{"greedy": "7"}],)), 2.0) == {}


def test_what_is_known_grows_while_a_job_trains():
    """At the first step nothing, then the reward of the step before, and a rate once tokens were trained on."""
    news, seen = {}, []
    train_job(Message(a_job(), REPORTING), lambda _: seen.append(dict(news)), news)
    assert [sorted(n) for n in seen] == [[], [REWARD], [REWARD, RATE], [REWARD, RATE]]
    assert all(0 <= n[REWARD] <= 1 for n in seen[1:])


def test_a_child_process_tells_it():
    """Beside the step, at every beat."""
    heard = []
    with SlotPool(1) as pool:
        pool.tell(lambda trained, news: heard.append((trained.specs[0].seed, sorted(news))))
        (record,) = pool.run(Message(a_job((5,)), REPORTING, watched=True))
    assert record.status == "ok"
    both = [REWARD, RATE, UPDATE]
    assert heard == [(5, [UPDATE]), (5, [REWARD, UPDATE]), (5, both), (5, both)]


def test_a_long_job_leaves_what_it_said_last_beside_its_claim(tmp_path, monkeypatch):
    """Nothing in its first seconds, then now and then; all is passed on; where nothing can be written it goes on."""
    clock, passed = [0.0], []
    monkeypatch.setattr("tpobench.execution.heard.time.monotonic", lambda: clock[0])
    store, doing = Store(tmp_path / "runs"), a_job((5, 6))
    kept = Kept(store, lambda _, news: passed.append(news[UPDATE]))
    texts = []
    for clock[0], update in ((0.0, 0), (LONG_S - 1, 4), (LONG_S, 5), (LONG_S + 1, 6), (LONG_S + EVERY_S, 9)):
        kept(doing, {UPDATE: update, REWARD: 0.25})
        path = store.heard(doing.key)
        texts.append(json.loads(path.read_text())["update"] if path.exists() else None)
    assert texts == [None, None, 5, 5, 9]
    assert passed == [0, 4, 5, 6, 9]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "claims").touch()
    kept = Kept(Store(tmp_path / "full"), lambda *_: None)
    for clock[0] in (0.0, 100.0):
        kept(doing, {UPDATE: 1})


def test_watch_reads_what_a_job_said_that_was_stopped(tmp_path, monkeypatch):
    """Update, reward and tokens a second of a run without a result."""
    monkeypatch.setattr("tpobench.execution.heard.LONG_S", 0.0)
    monkeypatch.setattr("tpobench.execution.heard.EVERY_S", 0.0)
    store = Store(tmp_path / "runs")
    with SlotPool(1) as pool:
        pool.tell(Kept(store, lambda _, news: pool.kill() if RATE in news else None))
        doing = job("tiny_math", "tpo", (5,), steps=1000, optimizer="adam")
        assert pool.run(Message(doing, REPORTING, watched=True)) == []
    (said,) = Reader(store).in_progress
    assert (said.algorithm, said.seeds, said.updates) == ("tpo", (5,), 1000)
    assert 0 < said.update < 1000
    assert 0 <= said.reward <= 1
    assert said.tokens_per_s > 0


def test_what_a_job_said_goes_when_its_results_are_written(tmp_path):
    """Nothing of it is in progress any more."""
    suite = replace(load_suite("bandit", ["training.steps=2", "seeds=1"]), algorithms=("tpo",))
    plan, store = plan_runs(suite), Store(tmp_path / "runs")
    (doing,) = plan.jobs({})
    store.heard(doing.key).parent.mkdir(parents=True)
    store.heard(doing.key).write_text("{}", encoding="utf-8")
    assert set(execute(plan, store, executor=Inline()).ran.values()) == {"ok"}
    assert not store.heard(doing.key).exists()


def test_jobs_side_by_side_are_one_line_until_they_end():
    """The mean reward and all tokens; a job that ended is not in progress."""
    hearing, first, second = Hearing(), a_job(), a_job((1,))
    assert str(hearing) == ""
    hearing.hear(first, {REWARD: 0.25})
    assert str(hearing) == "reward 0.25"
    hearing.hear(first, {REWARD: 0.25, RATE: 100.4})
    hearing.hear(second, {REWARD: 0.75, RATE: 20.0})
    assert str(hearing) == "reward 0.50, 120 tokens a second"
    hearing.forget({first.specs[0].run_id: "ok"})
    assert str(hearing) == "reward 0.75, 20 tokens a second"


def test_a_plain_line_shows_it():
    """After the counts, in the lines between the first and the last."""
    stream = io.StringIO()
    with ProgressLines("smol_add", 2, 0, stream, interval=0.01) as progress:
        progress.hear(a_job(), {REWARD: 0.41, RATE: 240.0})
        while "now" not in stream.getvalue():
            pass
    assert re.search(r"smol_add: 0/2 runs after .*, now reward 0\.41, 240 tokens a second\n", stream.getvalue())
