"""A Dask cluster of separate processes: same bytes as one process, and no fault costs more than its own run."""

import importlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import uuid
from contextlib import suppress

import psutil
import pytest
from fault_helpers import RULES, SUITE, Command, payloads, plan, records_of, suite_file, wait_for

from tpobench.errors import UsageError, WorkersBroken
from tpobench.execution import Inline, Options, Stop, execute
from tpobench.execution import cluster as module
from tpobench.execution.cluster import Dask
from tpobench.execution.remote import Setting, Slots
from tpobench.planning.plan import plan_runs
from tpobench.plugins.load import load_plugin, read_plugin
from tpobench.records.store import Store
from tpobench.suites.load import build_suite

pytestmark = pytest.mark.slow
MARK = uuid.uuid4().hex
FAILURES = 1  # of a task's worker that the scheduler forgives

PLUGIN = """
import os, signal, time
from pathlib import Path
from tpobench import register
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.fit import policy_gradient

HERE = Path({folder!r})

def centred(groups):
    return groups.reward - (groups.weight * groups.reward).sum(-1, keepdim=True)

def plain(groups):
    return centred(groups)

def kills_a_worker(groups):
    try:
        (HERE / "killed").touch(exist_ok=False)
    except FileExistsError:
        return centred(groups)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(3600)

def kills_every_worker(groups):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(3600)

def waits(groups):
    (HERE / f"started-{{os.getpid()}}").touch()
    while not (HERE / "go").exists():
        time.sleep(0.02)
    return centred(groups)

for credit in (plain, kills_a_worker, kills_every_worker, waits):
    register(Algorithm(credit.__name__, credit, policy_gradient, compares="candidates", paper="none"))
"""


@pytest.fixture(scope="module")
def scheduler():
    """The address of a cluster of two worker processes with one thread each."""
    import dask
    from distributed import LocalCluster

    os.environ["TPOBENCH_CLUSTER_MARK"] = MARK
    settings = {"distributed.scheduler.allowed-failures": FAILURES, "distributed.logging.distributed": "critical"}
    with (
        dask.config.set(settings),
        LocalCluster(
            processes=True, n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=60
        ) as cluster,
    ):
        yield cluster.scheduler_address
    del os.environ["TPOBENCH_CLUSTER_MARK"]
    wait_for(
        lambda: not processes("spawn_main") and not slots(), 10
    )  # neither workers nor their slots outlive the cluster


@pytest.fixture(scope="module")
def dask(scheduler):
    """One executor for all tests that do not end it, so that its slots are started once."""
    with Dask(scheduler) as executor:
        yield executor


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """The plugin file of the rules above."""
    from tpobench.algorithms.catalog import ALGORITHMS
    from tpobench.plugins import load as plugins

    folder = tmp_path_factory.mktemp("rules")
    path = folder / "own.py"
    path.write_text(PLUGIN.format(folder=str(folder)), encoding="utf-8")
    load_plugin(read_plugin(path))  # not tried on tiny groups: these rules kill whoever started their process
    yield path
    _, added = plugins._loaded.pop(str(path))
    for name in added.algorithms:
        ALGORITHMS.pop(name)
        plugins.VERSIONS.pop(name)


@pytest.fixture
def marks(rules):
    """The folder where the rules leave their marks, empty."""

    def sweep():
        for mark in rules.parent.glob("*"):
            if mark.suffix != ".py":
                mark.unlink()

    sweep()
    yield rules.parent
    (rules.parent / "go").touch()  # nothing waits on


def own(names, seeds):
    """Runs of the rules above."""
    return plan_runs(build_suite("faults", tomllib.loads(SUITE.format(seed_batch=1)), "faults.toml"), names, seeds)


def processes(what):
    """Living processes of the cluster on this machine whose command line contains `what`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            mine = process.environ().get("TPOBENCH_CLUSTER_MARK") == MARK and process.status() != "zombie"
            if mine and what in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def slots():
    """Processes that train for a Dask worker."""
    return processes("tpobench.execution.worker")


def test_a_cluster_gives_the_bytes_of_one_process(dask, tmp_path):
    """Stacks of two seeds, a rule from a plugin file, and a stack in which one seed diverges."""
    runs = plan(["tpo", "clean", "diverges"], range(4), seed_batch=2)
    execute(runs, tmp_path / "local", plugins=[RULES])
    assert dask.processes == 2
    outcome = execute(runs, tmp_path / "dask", plugins=[RULES], executor=dask)
    assert execute(runs, tmp_path / "dask", plugins=[RULES], executor=dask).ran == {}
    assert outcome.counts == {"ok": 11, "diverged": 1}
    assert payloads(tmp_path / "dask") == payloads(tmp_path / "local")


def test_a_run_that_breaks_costs_that_run(dask, tmp_path):
    """A SIGKILL and an endless loop inside a C call at seed 1: its stack is taken apart, its neighbours are kept."""
    runs = plan(["killed", "sticks", "clean"], range(4), seed_batch=2)
    outcome = execute(runs, tmp_path, plugins=[RULES], executor=dask, options=Options(timeout_s=2))
    more = plan(["clean"], [9], seed_batch=2)
    assert execute(more, tmp_path, plugins=[RULES], executor=dask).counts == {"ok": 1}
    assert outcome.counts == {"ok": 10, "crashed": 1, "timeout": 1}
    records = records_of(tmp_path)
    assert records["killed", 1].reason.startswith("the process was killed by SIGKILL")
    assert "famous last words" in records["killed", 1].provenance["log"]
    assert records["sticks", 1].reason.startswith("no result after 2.0 s")


@pytest.mark.usefixtures("marks")
def test_a_lost_worker_costs_nothing(dask, rules, tmp_path):
    """The scheduler runs its job again elsewhere; the bytes are the same as without the loss."""
    runs = own(["plain", "kills_a_worker"], range(4))
    before = set(processes("spawn_main"))
    assert execute(runs, tmp_path / "dask", plugins=[rules], executor=dask).counts == {"ok": 8}
    assert before - set(processes("spawn_main"))
    execute(runs, tmp_path / "inline", plugins=[rules], executor=Inline())
    assert payloads(tmp_path / "dask") == payloads(tmp_path / "inline")


@pytest.mark.usefixtures("marks")
def test_a_run_that_takes_every_worker_with_it_is_crashed(dask, rules, tmp_path):
    """After the losses that the scheduler forgives it gives up on that run, and the others finish."""
    runs = own(["plain", "kills_every_worker"], [0])
    outcome = execute(runs, tmp_path, plugins=[rules], executor=dask)
    assert outcome.counts == {"ok": 1, "crashed": 1}
    assert execute(own(["plain"], range(4)), tmp_path, plugins=[rules], executor=dask).counts == {"ok": 3}
    reason = records_of(tmp_path)["kills_every_worker", 0].reason
    assert re.match(r"2 Dask workers died while they ran it, the last one at tcp://127.0.0.1:\d+; their logs", reason)


def test_the_first_request_to_stop_lets_running_jobs_finish(dask, rules, marks, tmp_path, monkeypatch):
    """Two of six runs were started: they are recorded; what was queued on the workers is not run and is free again."""
    stop = Stop()

    def ask():
        wait_for(lambda: len(list(marks.glob("started-*"))) == 2)
        stop.ask(signal.SIGINT)
        time.sleep(0.5)  # the word has reached the workers
        (marks / "go").touch()

    asking = threading.Thread(target=ask)
    asking.start()
    runs = own(["waits"], range(6))
    monkeypatch.setattr(dask, "_threads", 0)  # as after a moment without workers: what runs now counts, not what was
    outcome = execute(runs, tmp_path / "r", plugins=[rules], executor=dask, stop=stop)
    asking.join()
    assert (outcome.counts, outcome.left) == ({"ok": 2}, 4)
    assert len(list(marks.glob("started-*"))) == 2
    rest = execute(runs, tmp_path / "r", plugins=[rules], executor=dask)
    assert (rest.already, rest.counts) == (2, {"ok": 4})


def test_the_second_request_to_stop_ends_running_jobs(dask, rules, marks, tmp_path):
    """At once, on the workers too; the cluster is free for others, and finished runs are kept."""
    stop = Stop()

    def kill():
        wait_for(lambda: len(list(marks.glob("started-*"))) == 2)
        stop.kill(signal.SIGTERM)

    runs = own(["waits"], range(3))
    execute(own(["plain"], range(2)), tmp_path / "r", plugins=[rules], executor=dask)
    killing = threading.Thread(target=kill)
    killing.start()
    outcome = execute(runs, tmp_path / "r", plugins=[rules], executor=dask, stop=stop)
    killing.join()
    assert (outcome.ran, outcome.left) == ({}, 3)
    started = {int(p.name.partition("-")[2]) for p in marks.glob("started-*")}
    wait_for(lambda: started.isdisjoint(slots()), 5)
    again = execute(own(["plain"], range(4)), tmp_path / "r", plugins=[rules], executor=dask)
    assert (again.already, again.counts) == (2, {"ok": 2})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_command_that_is_killed_leaves_nothing_on_the_cluster(scheduler, tmp_path, number, code):
    """Its running jobs end on the workers, whether it could say goodbye or not; another command can run them."""
    path, before = suite_file(tmp_path), set(slots())
    words = ("run", "--suite", path, "--plugin", RULES, "--out", tmp_path / "r", "--executor", "dask", "--scheduler",
             scheduler)  # fmt: skip
    with Command(*words, "--algos", "clean,loops", "--seeds", "2", "--json") as command:
        finished = {("clean", 0), ("clean", 1), ("loops", 0)}
        wait_for(lambda: finished <= records_of(tmp_path / "r" / "faults").keys() and set(slots()) - before)
        command.process.send_signal(number)
        ended, _, err = command.end()
        wait_for(lambda: before.issuperset(slots()), 10)
        assert not command.alive()
    assert (ended, "Traceback" in err) == (code, False)
    assert finished == records_of(tmp_path / "r" / "faults").keys()


def test_the_command_line_end_to_end(scheduler, tmp_path):
    """Runs, records, one object on standard output, and no word of Dask's own."""
    before = set(slots())
    words = ("run", "--suite", "bandit", "--smoke", "--algos", "tpo", "--out", tmp_path, "--executor", "dask",
             "--scheduler", scheduler)  # fmt: skip
    with Command(*words) as command:
        code, out, err = command.end()
    wait_for(lambda: before.issuperset(slots()), 1)  # a child that was told to end is gone
    assert (code, out) == (0, "")
    assert "bandit-smoke: 3 runs to do, 0 done before" in err
    assert "distributed" not in err
    assert len(Store(tmp_path / "bandit-smoke").load()[0]) == 3


SMALL_CLUSTER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(processes=True, n_workers=1, threads_per_worker=1, dashboard_address=":0")
    print(cluster.scheduler_address, flush=True)
    time.sleep(3600)
"""


def test_a_cluster_that_goes_away_is_one_line(tmp_path):
    """The scheduler dies in the middle: finished runs are kept, no slot stays on the workers, the same plan goes on."""
    path, before, runs = tmp_path / "cluster.py", set(slots()), plan(["clean", "loops"], [0, 1])
    path.write_text(SMALL_CLUSTER, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "TPOBENCH_CLUSTER_MARK": MARK}, start_new_session=True,
    ) as cluster:  # fmt: skip
        try:
            address = cluster.stdout.readline().strip()

            def lose():
                wait_for(lambda: len(records_of(tmp_path / "r")) == 3)
                os.kill(cluster.pid, signal.SIGKILL)

            losing = threading.Thread(target=lose)
            losing.start()
            with Dask(address) as dask, pytest.raises(WorkersBroken) as caught:
                execute(runs, tmp_path / "r", plugins=[RULES], executor=dask)
            losing.join()
            wait_for(lambda: before.issuperset(slots()), 10)
        finally:
            os.killpg(cluster.pid, signal.SIGKILL)
    assert str(caught.value).startswith(f"the connection to the Dask scheduler at {address} is lost; finished runs")
    assert records_of(tmp_path / "r").keys() == {("clean", 0), ("clean", 1), ("loops", 0)}
    outcome = execute(runs, tmp_path / "r", plugins=[RULES], options=Options(timeout_s=1))
    assert (outcome.already, outcome.counts) == (3, {"timeout": 1})


def test_commands_share_a_worker_and_no_slot():
    """Plugins of two commands may clash.  A slot is used again, and idle ones make room for those of others."""
    slots = Slots()
    mine, yours = Setting("mine", 1, "cpu", 2**30), Setting("yours", 1, "cpu", 2**30)
    with slots.lent(mine, lambda: True) as first:
        pass
    with slots.lent(mine, lambda: True) as second, slots.lent(mine, lambda: True) as third:
        assert second is first
        assert third is not first
    with slots.lent(yours, lambda: True) as fourth:
        assert fourth not in {first, third}
        assert first.killed.is_set() != third.killed.is_set()
    slots.retire("mine")
    assert first.killed.is_set()
    assert third.killed.is_set()
    assert not fourth.killed.is_set()
    with slots.lent(mine, lambda: True) as none:
        assert none is None
    slots.retire("yours")
    assert fourth.killed.is_set()


def test_a_worker_with_another_tpobench_is_refused(scheduler, monkeypatch, tmp_path):
    """At the start, naming the workers; one that comes later refuses its first job."""
    monkeypatch.setattr("tpobench.execution.remote.__version__", "9.9")
    with pytest.raises(
        UsageError,
        match=r"^Dask workers need tpobench 9\.9 \(.*\), as it is here, but tcp://\S+, tcp://\S+ has tpobench 0\.",
    ):
        Dask(scheduler)
    monkeypatch.setattr(Dask, "_require_same_version", lambda _: None)
    with Dask(scheduler) as dask, pytest.raises(WorkersBroken, match=r"^Dask worker tcp://\S+ has tpobench 0\."):
        execute(plan(["tpo"], [0]), tmp_path, executor=dask)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:{port}", "Timed out"),
        ("nonsense", "missing port number"),
        ("http://a:1", "unknown address scheme"),
        ("none.json", "no scheduler file at none.json"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_line(address, words, monkeypatch):
    """What, where, and what an address looks like."""
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = address.format(port=unused.getsockname()[1])
        with pytest.raises(UsageError, match=words) as caught:
            Dask(address)
    assert address in str(caught.value)


def test_a_missing_package_is_one_line(monkeypatch):
    """And the command that brings it."""
    real = importlib.import_module

    def missing(name):
        if name == "distributed":
            msg = "No module named 'distributed'"
            raise ImportError(msg)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"needs the package distributed .*pip install 'tpobench\[dask\]'"):
        Dask("tcp://127.0.0.1:1")


def test_a_cluster_without_workers_or_tpobench_is_one_line(monkeypatch, tmp_path):
    """Nothing would ever run there."""
    from distributed import LocalCluster

    (tmp_path / "tpobench").mkdir()
    (tmp_path / "tpobench" / "__init__.py").touch()  # something of that name that is not ours
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=60) as cluster:
        address = cluster.scheduler_address
        monkeypatch.setattr(module, "ANSWER_S", 0.3)
        with pytest.raises(UsageError, match=r"has no worker; start some: dask worker tcp"):
            Dask(address)
        monkeypatch.undo()
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
        with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as worker:
            try:
                with pytest.raises(UsageError, match=r"but tcp://\S+ has no tpobench \(.*No module named"):
                    Dask(address)
            finally:
                worker.kill()
