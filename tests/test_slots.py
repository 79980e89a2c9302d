"""A slot costs its start once, serves one job after another, and starts anew after a death."""

import os
import sys

import psutil
import pytest
from fault_helpers import RULES, plan, wait_for

from tpobench.errors import StorageFull, WorkersBroken
from tpobench.execution import slots
from tpobench.execution.job import Message
from tpobench.execution.plugins import Plugin, read_plugin
from tpobench.execution.slots import Slot, SlotPool

ODD = "wörk\N{SNOWMAN}"


@pytest.fixture
def message():
    """Makes the message of one run."""

    def make(rule="clean", seed=0, **training):
        (job,) = plan([rule], [seed], **training).jobs()
        return Message(job, {"title": ODD}, (read_plugin(RULES),))

    return make


@pytest.fixture
def pool():
    """One slot."""
    with SlotPool(1) as pool:
        yield pool


def statuses(records):
    return [r.status for r in records]


@pytest.mark.slow
def test_a_slot_is_used_again_until_a_job_ends_it(pool, message):
    """One process for good runs and for those that raise; another after a death; the records are whole."""
    (record,) = pool.run(message())
    assert (record.status, record.reporting, record.spec["seed"]) == ("ok", {"title": ODD}, 0)
    (first,) = pool.processes
    assert statuses(pool.run(message("raises", 1))) == ["failed"]
    assert statuses(pool.run(message("clean", 2))) == ["ok"]
    assert pool.processes == [first]
    assert statuses(pool.run(message("leaves", 1))) == ["crashed"]
    assert statuses(pool.run(message())) == ["ok"]
    assert pool.processes != [first]
    assert not psutil.pid_exists(first)


@pytest.mark.slow
def test_the_log_of_a_job_is_its_own(pool, message):
    """The tail of one job says nothing of the one before it, even where that one filled the log."""
    (ranted,) = pool.run(message("rants", 1))
    assert ranted.provenance["log"][-1] == "the line that matters: ünïcode"
    assert not any("\0" in line for line in ranted.provenance["log"])
    assert len(ranted.provenance["log"]) <= slots.LOG_LINES
    assert os.fstat(pool._slots[0]._log.fileno()).st_size < slots.LOG_BYTES
    (raised,) = pool.run(message("raises", 1))
    assert "log" not in raised.provenance


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["_popen", "_send"])
def test_a_pool_that_is_killed_while_a_slot_starts_is_quiet(message, moment, monkeypatch):
    """Whenever the kill falls, no child survives it, the job is given up, and nothing is called broken."""
    pool = SlotPool(1)
    original, children = getattr(Slot, moment), []

    def kill_in_between(slot, *args):
        if moment == "_popen":  # the child lives, and nobody knows it yet
            children.append(original(slot, *args))
            pool.kill()
            return children[0]
        children.append(slot.process)
        pool.kill()
        return original(slot, *args)

    monkeypatch.setattr(Slot, moment, kill_in_between)
    assert pool.run(message()) == []
    assert children[0].poll() is not None
    assert pool.run(message()) == []
    assert len(children) == 1
    pool.close()


@pytest.mark.slow
def test_a_job_in_hand_ends_with_its_pool(pool, message, monkeypatch, tmp_path):
    """`kill` from another thread gives an empty answer, soon."""
    import threading

    monkeypatch.setenv("FAULT_STUCK", "c")
    monkeypatch.setenv("FAULT_STUCK_FROM", "0")
    monkeypatch.setenv("FAULT_JOURNAL", str(tmp_path / "journal"))
    killer = threading.Thread(target=lambda: (wait_for((tmp_path / "journal").exists), pool.kill()))
    killer.start()
    assert pool.run(message()) == []
    killer.join()
    assert pool._slots[0].process.poll() is not None


@pytest.mark.slow
def test_a_worker_that_cannot_start_says_why(message, monkeypatch):
    """Its last words are in the one line; so is what the system refuses."""
    monkeypatch.setattr(slots, "BOOT", "raise ImportError('no torch here')")
    with SlotPool(1) as pool, pytest.raises(WorkersBroken, match=r"cannot start: ImportError: no torch here; .*doctor"):
        pool.run(message())
    monkeypatch.setattr(slots, "BOOT", "import os; os._exit(0)")
    with SlotPool(1) as pool, pytest.raises(WorkersBroken, match="cannot start: it says nothing"):
        pool.run(message())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with SlotPool(1) as pool, pytest.raises(WorkersBroken, match="cannot start: No such file"):
        pool.run(message())


def test_a_worker_that_is_silent_is_not_waited_for(message, monkeypatch):
    """There is a limit to how long a start may take."""
    monkeypatch.setattr(slots, "BOOT", "import time; time.sleep(600)")
    monkeypatch.setattr(slots, "START_S", 0.3)
    with SlotPool(1) as pool:
        with pytest.raises(WorkersBroken, match="it says nothing"):
            pool.run(message())
        assert pool._slots[0].process.poll() is not None


def test_a_log_that_cannot_be_made_is_no_riddle(monkeypatch, tmp_path):
    """A full disk of temporary files is named."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(StorageFull, match="make room, or set TMPDIR"):
        SlotPool(1)


def test_an_answer_that_is_none_ends_the_job(message, monkeypatch):
    """What a child must not say costs it its job, with the words in the reason."""
    answers = """
import sys, time
sys.stdin.readline(); print('{"ready":true}', flush=True)
sys.stdin.readline(); print(WORDS, flush=True)
time.sleep(600)
"""
    for words in ("garbage", "[1]", '{"else":1}', '{"step":1}'):
        monkeypatch.setattr(slots, "BOOT", answers.replace("WORDS", repr(words)))
        with SlotPool(1) as pool:
            (record,) = pool.run(message())
        assert (record.status, record.reason) == (
            "crashed",
            f"the process wrote what is no answer: {words + chr(10)!r}",
        )


def test_the_limit_of_memory_is_a_share_of_the_machine():
    """90 % of it for all slots together, unless it is said."""
    from tpobench.execution.machine import memory_bytes

    with SlotPool(3) as pool:
        assert {slot.memory_limit for slot in pool._slots} == {int(0.9 * memory_bytes() / 3)}
    with SlotPool(3, 7) as pool:
        assert {slot.memory_limit for slot in pool._slots} == {7}
    with SlotPool(3, devices=[4, 6]) as pool:
        assert [slot.device for slot in pool._slots] == [4, 6, 4]


@pytest.mark.slow
def test_a_child_imports_what_its_parent_imports(pool, message, tmp_path, monkeypatch):
    """Not what lies in the working directory."""
    for name in ("torch.py", "json.py", "tpobench.py"):
        (tmp_path / name).write_text("raise ImportError('hijacked')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert statuses(pool.run(message())) == ["ok"]


@pytest.mark.slow
def test_a_plugin_whose_path_is_no_text_runs(pool, message):
    """File names are bytes, and need not be UTF-8."""
    sent = message()
    plugin = Plugin("/home/caf\udce9/rules.py", sent.plugins[0].source)
    assert statuses(pool.run(Message(sent.job, sent.reporting, (plugin,)))) == ["ok"]
