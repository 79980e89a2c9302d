"""However a command is stopped, it leaves no process behind, loses no finished run, and goes on where it was."""

import os
import signal
import sys

import pytest
from fault_helpers import RULES, Command, payloads, plan, records_of, suite_file, wait_for

from tpobench.execution import Inline, execute
from tpobench.records.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="process groups are POSIX, the death of a parent is Linux"),
]
SEEDS = 8


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The payloads of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    execute(plan(["clean"], range(SEEDS)), folder, executor=Inline(), plugins=[RULES])
    return payloads(folder)


@pytest.fixture
def start(tmp_path):
    """Starts the command line on eight runs and says which of them are begun and which are finished."""
    commands = []
    journal = tmp_path / "journal"
    journal.touch()

    def begin(*words, **environment):
        words = words or ("--jobs", 2)
        arguments = ["run", "--suite", suite_file(tmp_path), "--plugin", RULES, "--seeds", SEEDS, "--out", tmp_path]
        command = Command(*arguments, *words, FAULT_JOURNAL=str(journal), **environment)
        command.begun = lambda: sorted(map(int, journal.read_text(encoding="utf-8").split()))
        command.finished = lambda: sorted(seed for _, seed in records_of(tmp_path / "faults"))
        commands.append(command)
        return command

    yield begin
    for command in commands:
        command.__exit__()


def assert_goes_on(folder, undisturbed):
    """The next command keeps what is finished as it is, does the rest, and ends where an undisturbed one does."""
    before = {path: path.read_bytes() for path in folder.glob("runs/*/*.json")}
    assert not list(folder.rglob("*.tmp"))
    outcome = execute(plan(["clean"], range(SEEDS)), folder, executor=Inline(), plugins=[RULES])
    assert (outcome.already, len(outcome.ran), outcome.quarantined) == (len(before), SEEDS - len(before), 0)
    assert {path: path.read_bytes() for path in before} == before
    assert payloads(folder) == undisturbed


def test_ctrl_c_lets_running_jobs_finish(start, tmp_path, undisturbed):
    """Every run that was begun has a record, no other is started, and the exit code is 130."""
    command = start(FAULT_PAUSE="0.15")
    wait_for(lambda: len(command.finished()) >= 2)
    os.killpg(command.process.pid, signal.SIGINT)
    code, _, err = command.end()
    assert code == 130
    assert "stopping; running jobs finish first, Ctrl-C again ends them now" in err
    assert err.splitlines()[-1].startswith("tpobench: stopped; finished runs are kept in")
    assert "Traceback" not in err
    assert command.alive() == []
    assert command.begun() == command.finished()
    assert len(command.finished()) < SEEDS
    assert_goes_on(tmp_path / "faults", undisturbed)


@pytest.mark.parametrize(("executor", "begun"), [("local", [0, 1, 2, 3]), ("inline", [0, 1, 2])])
def test_a_second_ctrl_c_ends_running_jobs(start, tmp_path, undisturbed, executor, begun):
    """What would never finish is killed, what is finished stays."""
    command = start("--executor", executor, "--jobs", len(begun) - 2, FAULT_STUCK="python", FAULT_STUCK_FROM="2")
    wait_for(lambda: command.begun() == begun)
    wait_for(lambda: len(command.finished()) == 2)
    os.killpg(command.process.pid, signal.SIGINT)
    wait_for(lambda: "Ctrl-C again" in command.said())
    assert command.process.poll() is None
    os.killpg(command.process.pid, signal.SIGINT)
    code, _, err = command.end()
    assert (code, command.finished()) == (130, [0, 1])
    assert "Traceback" not in err
    assert command.alive() == []
    assert_goes_on(tmp_path / "faults", undisturbed)


def test_the_system_ends_running_jobs_at_once(start, tmp_path, undisturbed):
    """Even those inside a C call that never returns."""
    command = start("--jobs", 1, FAULT_STUCK="c", FAULT_STUCK_FROM="1")
    wait_for(lambda: command.begun() == [0, 1])
    wait_for(lambda: command.finished() == [0])
    os.kill(command.process.pid, signal.SIGTERM)
    code, _, err = command.end()
    assert (code, command.finished()) == (143, [0])
    assert err.splitlines()[-1].startswith("tpobench: stopped; ")
    assert "Traceback" not in err
    assert command.alive() == []
    assert_goes_on(tmp_path / "faults", undisturbed)


def test_a_lost_terminal_while_workers_start_is_a_stop(start):
    """A child that was killed before it was ready is no broken installation."""
    command = start(FAULT_PAUSE="60")
    wait_for(command.children)
    os.kill(command.process.pid, signal.SIGHUP)
    code, _, err = command.end()
    assert code == 129, err
    assert err.splitlines()[-1].startswith("tpobench: stopped; ")
    assert command.alive() == []


def test_a_signal_that_is_ignored_stays_ignored(start, tmp_path, undisturbed):
    """As under nohup, and as shells start what runs in the background of a script: neither it nor its workers end."""
    deaf = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    command = start("--jobs", 1, ignored=deaf, FAULT_PAUSE="0.1")
    wait_for(command.finished)
    for process in command.alive():
        for number in deaf:
            os.kill(process.pid, number)
    code, _, err = command.end()
    assert (code, command.finished()) == (0, list(range(SEEDS))), err
    assert payloads(tmp_path / "faults") == undisturbed


def test_no_child_outlives_a_killed_command(start, tmp_path, undisturbed):
    """Not even one that can notice nothing, because a C call holds its interpreter."""
    command = start(FAULT_STUCK="c", FAULT_STUCK_FROM="1")
    wait_for(lambda: command.begun() == [0, 1, 2])
    wait_for(lambda: command.finished() == [0])
    assert len(command.children()) == 2
    command.process.kill()
    wait_for(lambda: not command.alive())
    assert command.end()[0] == -signal.SIGKILL
    assert command.finished() == [0]
    assert Store(tmp_path / "faults").load()[1] == 0
    assert_goes_on(tmp_path / "faults", undisturbed)


def test_ctrl_c_while_planning_is_130(tmp_path):
    """Nothing runs yet, so there is nothing to say."""
    plugin = tmp_path / "impatient.py"
    # it is tried in a child of the command
    source = "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)\n"
    plugin.write_text(source, encoding="utf-8")
    with Command("run", "--suite", suite_file(tmp_path), "--plugin", plugin, "--out", tmp_path / "results") as command:
        code, _, err = command.end()
    assert code == 130
    assert "Traceback" not in err
    assert not (tmp_path / "results").exists()
