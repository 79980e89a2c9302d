"""A run that is interrupted goes on from its last checkpoint, and ends with the numbers of one that is not."""

import dataclasses
import os
import signal
import threading
import time

import pytest
import torch
from harness_helpers import suite
from test_train import job

from tpobench.execution import Inline, execute
from tpobench.execution.checkpoints import Checkpoints
from tpobench.execution.job import Message, train_job
from tpobench.execution.slots import SlotPool
from tpobench.planning.plan import plan_runs
from tpobench.policies.optimizers import Adam
from tpobench.records.store import Store
from tpobench.training.state import restore, tensors_of

REPORTING = {"metric": "error", "window": 1, "thresholds": [0.1], "worst": 1.0}
STEPS = 6
JOBS = {
    "normalized steps of a table": ("bandit", "tpo", {}),
    "Muon, several epochs": ("sequence", "grpo", {"epochs": 2}),
    "a language model": (
        "tiny_math",
        "tpo",
        {"optimizer": "adam", "right": 0.5, "warm_steps": 100, "prompts": 4, "candidates": 4},
    ),
    "a sampler that lags": ("sequence", "grpo", {"more": {"lag": 2}}),
    "candidates drawn once": ("sequence", "grpo", {"more": {"offline": True}}),
    "a critic": ("sequence", "ppo_gae", {}),
    "the untrained policy": ("sequence", "grpo_deepseek", {}),
    "what a modifier remembers": ("sequence", "reinforce+running_baseline", {}),
    "a seed that diverges": ("bandit", "tpo", {"optimizer": "adam", "rate": 1e40}),
}


def message(path, a_job, every=0.0):
    """The job, with a checkpoint before every update."""
    return Message(a_job, REPORTING, checkpoint=str(path), checkpoint_s=every)


def interrupted(a_message, at):
    """The job ends as update `at` begins, before its checkpoint."""

    def tell(step):
        if step == at:
            raise SystemExit

    return train_job(a_message, tell)


def payloads(records):
    return [record.payload for record in records]


def a_job(case, seeds=(0, 1)):
    kind, algorithm, settings = JOBS[case]
    settings = dict(settings)
    rate = settings.pop("rate", None)
    made = job(kind, algorithm, seeds, steps=STEPS, dtype="float32", **settings)
    if rate is None:
        return made
    specs = tuple(dataclasses.replace(s, training={**s.training, "learning_rate": rate}) for s in made.specs)
    return dataclasses.replace(made, specs=specs)


@pytest.mark.parametrize("case", JOBS)
def test_a_run_that_goes_on_ends_with_the_same_bytes(tmp_path, case):
    """Seeds side by side, interrupted before update 4: an update depends on nothing but its checkpoint."""
    path, whole = tmp_path / "job.checkpoint", train_job(Message(a_job(case), REPORTING))
    broken = interrupted(message(path, a_job(case)), 4)
    assert {r.status for r in broken} == ({"diverged"} if whole[0].status == "diverged" else {"failed"})
    again = train_job(message(path, a_job(case)))
    assert payloads(again) == payloads(whole)
    if whole[0].status != "diverged":
        assert again[0].provenance["checkpoint"] == "went on from a checkpoint at update 3"


def test_seeds_that_left_a_stack_stay_away(tmp_path):
    """The others go on in the company that they had."""
    left = dataclasses.replace(a_job("Muon, several epochs", (0, 1, 2)), left=((1, 2),))
    left = dataclasses.replace(left, specs=(left.specs[0], left.specs[2]))
    path, whole = tmp_path / "job.checkpoint", train_job(Message(left, REPORTING))
    interrupted(message(path, left), 4)
    assert payloads(train_job(message(path, left))) == payloads(whole)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda content: content[:-1], "it is damaged (its bytes are not those that were written)"),
        (
            lambda content: content[:200] + b"?" + content[201:],
            "it is damaged (its bytes are not those that were written)",
        ),
        (lambda _: b"", "it is damaged"),
    ],
)
def test_a_damaged_checkpoint_is_not_used(tmp_path, harm, why):
    """Torn, altered or empty: the run begins anew, and its record says why."""
    path, the_job = tmp_path / "job.checkpoint", a_job("normalized steps of a table")
    interrupted(message(path, the_job), 4)
    path.write_bytes(harm(path.read_bytes()))
    again = train_job(message(path, the_job, every=1e9))
    assert again[0].provenance["checkpoint"].startswith(f"a checkpoint was not used: {why}")
    assert payloads(again) == payloads(train_job(Message(the_job, REPORTING)))


def test_a_checkpoint_of_something_else_is_not_used(tmp_path, monkeypatch):
    """Of other settings, or of a torch whose sums may differ."""
    path, the_job = tmp_path / "job.checkpoint", a_job("normalized steps of a table")
    interrupted(message(path, the_job), 4)
    other = Checkpoints(a_job("Muon, several epochs"), str(path), 0.0)
    assert other.read() is None
    assert other.note == "a checkpoint was not used: made with another group"
    elsewhere = {**Checkpoints(the_job, "", 0.0).maker, "torch": "1.0"}
    monkeypatch.setattr(Checkpoints, "maker", elsewhere)
    foreign = Checkpoints(the_job, str(path), 0.0)
    assert (foreign.read(), foreign.note) == (None, "a checkpoint was not used: made with another torch")


def test_a_process_that_is_killed_loses_what_came_after_its_checkpoint_only(tmp_path):
    """SIGKILL to the child; the next attempt goes on, and the numbers are those of a run in one piece."""
    path = tmp_path / "job.checkpoint"
    the_job = job("bandit", "tpo", (0, 1), steps=1000, dtype="float32", every=250)

    def kill():
        while not path.exists():
            time.sleep(0.01)
        os.kill(pool.processes[0], signal.SIGKILL)

    with SlotPool(1) as pool:
        threading.Thread(target=kill, daemon=True).start()
        (first, _) = pool.run(message(path, the_job, every=0.05))
        assert (first.status, "SIGKILL" in first.reason) == ("crashed", True)
        again = pool.run(message(path, the_job, every=1e9))
    assert again[0].provenance["checkpoint"].startswith("went on from a checkpoint at update ")
    assert payloads(again) == payloads(train_job(Message(the_job, REPORTING)))


def test_a_state_of_another_shape_is_refused():
    """Before anything of it is used."""
    adam, other = Adam(0.1), Adam(0.1)
    for optimizer, size in ((adam, 3), (other, 4)):
        optimizer.step(torch.zeros(2, size), torch.ones(2, size))
    with pytest.raises(ValueError, match=r"mean has shape \(2, 4\) in place of \(2, 3\)"):
        restore(adam, tensors_of(other))


def test_the_checkpoint_of_a_job_goes_when_its_results_are_written(tmp_path):
    """And not before: it lies beside the claim; one of something else is in nobody's way."""
    plan, store = plan_runs(suite(), ["tpo"], [0]), Store(tmp_path / "runs")
    path = store.checkpoint(plan.jobs()[0].key)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of an older version")
    execute(plan, store, executor=Inline())
    assert not path.exists()
    (run,) = store.load()[0]
    assert (run.status, run.provenance["checkpoint"][:30]) == ("ok", "a checkpoint was not used: it ")
