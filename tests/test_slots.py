"""A slot costs its start once, serves one job after another, and starts anew after a death."""

import os
import sys

import psutil
import pytest
from fault_helpers import RULES, plan, wait_for

from tpobench.errors import StorageFull, WorkersBroken
from tpobench.execution import slots
from tpobench.execution.job import Message, without_result
from tpobench.execution.slots import Slot, SlotPool
from tpobench.plugins.load import Plugin, read_plugin

ODD = "wörk\N{SNOWMAN}"
PLAN = plan(["clean"], [0])


@pytest.fixture
def message():
    """Makes the message of one run."""

    def make(rule="clean", seed=0, **training):
        (job,) = plan([rule], [seed], **training).jobs()
        return Message(job, PLAN.suite.reporting | {"title": ODD}, (read_plugin(RULES),))

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
    assert (record.status, record.reporting["title"], record.spec["seed"]) == ("ok", ODD, 0)
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
@pytest.mark.parametrize("moment", ["_popen", "_request"])
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


CHILD = """
import json, os, sys, time
def say(words):
    print(words, end='', flush=True)
say('good morning\\n' + sys.stdin.readline()[:32] + '{"ready":true}\\n')
token, line = sys.stdin.readline()[:32], RECORD
say(WORDS)
time.sleep(600)
"""
NONE = "the process wrote what is no answer: "


def answer_of(words, message, monkeypatch):
    """The record of a job whose child says `words`, a Python expression in which `line` is a record of that job."""
    (record,) = without_result(message.job, "failed", "forged", message.reporting)
    monkeypatch.setattr(slots, "BOOT", CHILD.replace("WORDS", words).replace("RECORD", repr(record.to_line())))
    with SlotPool(1) as pool:
        (record,) = pool.run(message)
    return record.status, record.reason


def test_an_answer_that_is_none_ends_the_job(message, monkeypatch):
    """What a child must not say costs it its job, with the words in the reason: here it has the token."""
    for words in ("garbage", "[1]", '{"else":1}', '{"step":null}', "[" * 5000, '{"done":[]}', '{"done":[5]}'):
        told = answer_of(f"token + {words!r} + chr(10)", message(), monkeypatch)
        assert told == ("crashed", f"{NONE}{(words + chr(10))[:80]!r}")
    for forged in (
        "[line, line]",
        "[json.loads(line)]",
        "[line.replace('failed', 'skipped')]",
        "[line.replace('failed', 'fine')]",
        '[line.replace(\'"attempts":1\', \'"attempts":"1"\')]',
        "[line.replace('\"seed\":0', '\"seed\":1')]",
        "[line[:-1]]",
    ):
        told = answer_of(f"token + json.dumps(dict(done={forged})) + chr(10)", message(), monkeypatch)
        assert told[0] == "crashed", forged
        assert told[1].startswith(NONE + '\'{"done": [')
    assert answer_of("token + json.dumps(dict(done=[line])) + chr(10)", message(), monkeypatch) == ("failed", "forged")


def test_who_does_not_know_the_token_gives_no_answer(message, monkeypatch):
    """Words of a rule in the pipe: a whole answer, half a line, one that never ends, what is no text, a beat."""
    for words, shown in (
        ("json.dumps(dict(done=[line])) + chr(10)", '{"done": ["{'),
        ("'{\"ready\":true}' + chr(10)", '{"ready":true}'),
        ("'{\"step\":3}' + chr(10)", '{"step":3}'),
        ("'half a line' + token + '{\"step\":3}' + chr(10)", "half a line"),
        ("'x' * 5_000_000", "x" * 80),
        ("os.write(1, bytes([255, 10])) and ''", "\N{REPLACEMENT CHARACTER}"),
        ("token[::-1] + '{\"step\":3}' + chr(10)", ""),
    ):
        status, reason = answer_of(words, message(), monkeypatch)
        assert (status, reason[: len(NONE) + 1 + len(shown)]) == ("crashed", f"{NONE}'{shown}"), words


@pytest.mark.slow
def test_a_slot_goes_from_the_catalogue_to_a_plugin_and_never_back(message):
    """What a plugin did to its process is no matter of other rules; of two idle slots the nearer one is taken."""
    (job,) = plan(["tpo"], [0]).jobs()
    own, other = message(), Message(job, message().reporting)
    with SlotPool(1) as pool:
        pids = []
        for sent in (other, own, own, other, other):
            assert statuses(pool.run(sent)) == ["ok"]
            pids += pool.processes
        assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4]
    with SlotPool(2) as pool:
        for sent in (own, other, own, other):
            assert statuses(pool.run(sent)) == ["ok"]
            pids.append(pool.processes)
        assert pids[-1] == pids[-2] == pids[-3]
        assert len(pids[-1]) == 2


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
