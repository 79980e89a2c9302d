"""What is shown of a language model's run while it is in progress."""

import io
import re

from test_train import job

from tpobench.execution.job import RATE, REWARD, Message, told_of, train_job
from tpobench.execution.progress import Hearing, ProgressLines
from tpobench.execution.slots import SlotPool
from tpobench.training.loop import Measurement

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
    assert heard == [(5, []), (5, [REWARD]), (5, [REWARD, RATE]), (5, [REWARD, RATE])]


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
