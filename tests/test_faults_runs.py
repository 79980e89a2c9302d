"""A run that breaks costs itself: its record says how, and every other run is what it is without it."""

import json
import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
from fault_helpers import RULES, Command, marked, measured, payloads, plan, records_of, suite_file, wait_for

from tpobench.children import THREAD_VARIABLES
from tpobench.errors import UsageError
from tpobench.execution import Inline, Options, execute
from tpobench.execution.local import Local
from tpobench.identity import canonical

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the faults are injected with signals and fork"),
]
AT = r" \(last heard of at step [012] of 4\)"
KILLED = "the process was killed by SIGKILL; if nobody did, the machine ran out of memory"
# rule: status and reason of its seed 1, and the last line of its log
ENDS = {
    "raises": ("failed", r"ValueError: poison", ""),
    "raises_strangely": ("failed", r"ValueError: poison \?x{480}\.\.\.", ""),
    "raises_mutely": ("failed", r"Mute", ""),
    "says_exit": ("failed", r"SystemExit: enough", ""),
    "tells_threads": ("failed", r"ValueError: \[1(, 1){8}\]", ""),
    "rants": ("failed", r"ValueError: poison", "the line that matters: ünïcode"),
    "killed_late": ("crashed", rf"{KILLED} \(last heard of at step 2 of 4\)", "famous last words"),
    "segfaults": ("crashed", rf"the process was killed by SIGSEGV{AT}", ""),
    "leaves": ("crashed", rf"the process exited with code 0 and no result{AT}", ""),
    "closes_all": ("crashed", rf"the process closed its output{AT}", ""),
    "forks": ("crashed", rf"{KILLED}{AT}", ""),
    "loops": ("timeout", rf"no result after 4\.0 s{AT}", ""),
    "sticks": ("timeout", rf"no result after 4\.0 s{AT}", ""),
    "swells": ("oom", rf"\d+ MiB of memory, the limit of a job here is 700 MiB{AT}", "growing"),
    "diverges": ("diverged", r"not finite at step 2: the rule's own credit is not finite in update 2", ""),
    "chatters": ("ok", "", ""),
    "leaves_a_child": ("ok", "", ""),
    "clean": ("ok", "", ""),
}
LIMITS = Options(timeout_s=4)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Every rule on two seeds in two processes: the outcome, the folder, and the processes that are left."""
    folder = tmp_path_factory.mktemp("broken")
    patch = pytest.MonkeyPatch()
    for name in THREAD_VARIABLES:
        patch.setenv(name, "7")
    patch.setenv("TPOBENCH_FAULT_MARK", str(folder))
    with Local(2, memory_limit=700 * 2**20) as local:
        outcome = execute(plan(ENDS, [0, 1]), folder, executor=local, plugins=[RULES], options=LIMITS)
    patch.undo()
    left = marked(str(folder))
    for process in left:
        process.kill()
    return outcome, folder, left


@pytest.mark.parametrize("rule", ENDS)
def test_a_fault_is_a_status_a_reason_and_the_end_of_the_log(broken, rule):
    """What kills, hangs, swells, leaves or shouts in a run is told in its record."""
    record = records_of(broken[1])[rule, 1]
    status, reason, log = ENDS[rule]
    assert (record.status, record.attempts) == (status, 1)
    assert re.fullmatch(reason, record.reason)
    assert record.provenance.get("log", [""])[-1] == log or not log


def test_every_other_run_is_what_it_is_without_the_fault(broken):
    """All seeds 0, and seed 1 of the rules that get through: what they measured is what `clean` measures."""
    outcome, folder, _ = broken
    records = records_of(folder)
    assert len(records) == len(outcome.ran) == 2 * len(ENDS)
    sound = {key: measured(r) for key, r in records.items() if key[1] == 0 or ENDS[key[0]][0] == "ok"}
    assert sound == {(rule, seed): measured(records["clean", seed]) for rule, seed in sound}


def test_nothing_that_a_run_started_is_left(broken):
    """Not its process, and not the children that it forked."""
    assert broken[2] == []


def test_a_traceback_is_kept_and_is_no_part_of_the_payload(broken):
    """It names files of this machine."""
    record = records_of(broken[1])["raises", 1]
    assert any("faulty_rules.py" in line for line in record.provenance["traceback"])
    assert "faulty_rules.py" not in str(record.payload)
    assert max(map(len, records_of(broken[1])["raises_strangely", 1].provenance["traceback"])) < 1000


def test_a_stack_that_dies_costs_the_guilty_seed_only(tmp_path):
    """Seeds side by side: the others keep the bytes they have in a stack without a fault."""
    with Local(1) as local:
        for rules, size in ((["clean", "raises", "diverges"], 8), (["clean", "killed"], 4)):
            folder = tmp_path / str(size)
            stacked = plan(rules, range(size), size)
            execute(stacked, folder, executor=local, plugins=[RULES])
            records = records_of(folder)
            guilty = {key: r.status for key, r in records.items() if r.status != "ok"}
            assert guilty == {(rule, 1): ENDS.get(rule, ["crashed"])[0] for rule in rules[1:]}
            for (rule, seed), record in records.items():
                assert (rule, seed) in guilty or measured(record) == measured(records["clean", seed]), (rule, seed)


def test_a_guilty_seed_that_nobody_wants_costs_nothing(tmp_path):
    """Seeds 0 and 5 of a block of eight: seed 1 trains beside them, breaks, and is left out."""
    for name, seeds in (("two", [0, 5]), ("all", range(8))):
        execute(plan(["raises"], seeds, 8), tmp_path / name, executor=Inline(), plugins=[RULES])
    assert {key: r.status for key, r in records_of(tmp_path / "two").items()} == {
        ("raises", 0): "ok",
        ("raises", 5): "ok",
    }
    assert payloads(tmp_path / "two").items() <= payloads(tmp_path / "all").items()


def test_a_refused_allocation_is_out_of_memory(tmp_path):
    """Not a mistake of the rule: more memory may cure it."""
    execute(plan(["asks_for_too_much"], [1]), tmp_path, executor=Inline(), plugins=[RULES])
    record = records_of(tmp_path)["asks_for_too_much", 1]
    assert record.status == "oom"
    assert "can't allocate memory" in record.reason


def test_what_broke_is_tried_again_up_to_a_limit(tmp_path):
    """Divergence is a result and is not; --retry-failed tries in any case."""
    both = plan(["raises", "diverges"], [0, 1])

    def again(**options):
        options = Options(max_attempts=2, **options)
        outcome = execute(both, tmp_path, executor=Inline(), plugins=[RULES], options=options)
        return dict(outcome.counts), outcome.given_up, records_of(tmp_path)["raises", 1].attempts

    assert again() == ({"ok": 2, "diverged": 1, "failed": 1}, 0, 1)
    assert again() == ({"failed": 1}, 0, 2)
    assert again() == ({}, 1, 2)
    assert again(retry_failed=True) == ({"failed": 1}, 0, 3)


def test_a_worker_killed_from_outside_costs_its_job_and_is_made_good(tmp_path, monkeypatch):
    """`crashed` now, `ok` with the same bytes at the next invocation."""
    runs = plan(["clean"], range(3))
    execute(runs, tmp_path / "undisturbed", executor=Inline(), plugins=[RULES])
    journal = tmp_path / "journal"
    monkeypatch.setenv("FAULT_JOURNAL", str(journal))
    monkeypatch.setenv("FAULT_STUCK", "c")
    monkeypatch.setenv("FAULT_STUCK_FROM", "2")
    with Local(1) as local:

        def kill():
            wait_for(lambda: journal.exists() and journal.read_text(encoding="utf-8").split() == ["0", "1", "2"])
            os.kill(local._pool.processes[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        outcome = execute(runs, tmp_path / "a", executor=local, plugins=[RULES])
        killer.join()
        assert outcome.counts == {"ok": 2, "crashed": 1}
        assert records_of(tmp_path / "a")["clean", 2].reason.startswith(KILLED)
        monkeypatch.delenv("FAULT_STUCK")
        outcome = execute(runs, tmp_path / "a", executor=local, plugins=[RULES])
    assert (outcome.already, outcome.counts) == (2, {"ok": 1})
    assert records_of(tmp_path / "a")["clean", 2].attempts == 2
    assert payloads(tmp_path / "a") == payloads(tmp_path / "undisturbed")


def test_threads_are_those_of_the_spec(tmp_path, monkeypatch):
    """Two threads per run, whatever the environment of the command says; one is in the table above."""
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "7")
    execute(plan(["tells_threads"], [1], threads=2), tmp_path, plugins=[RULES])
    assert records_of(tmp_path)["tells_threads", 1].reason == f"ValueError: {[2] * 9}"


def test_the_number_of_jobs_changes_no_byte(broken, tmp_path):
    """Two processes gave what this one gives, and what a single child gives."""
    execute(plan(["clean"], [0, 1]), tmp_path / "inline", executor=Inline(), plugins=[RULES])
    execute(plan(["clean"], [0, 1]), tmp_path / "one", executor=None, jobs=1, plugins=[RULES])
    assert payloads(tmp_path / "inline") == payloads(tmp_path / "one")
    assert payloads(tmp_path / "one").items() <= payloads(broken[1]).items()


MEDDLING = Path(__file__).parent / "meddling_rules.py"
SPOILT = {
    "writes_everywhere": ("crashed", "the process wrote what is no answer: '{\"done\":[]}\\n'"),
    "sets_an_alarm": ("crashed", "the process was killed by SIGALRM"),
}


@pytest.fixture(scope="module")
def meddled(tmp_path_factory):
    """Seed 1 of rules that change their process and, after them, of `tpo`; and of `tpo` without them."""
    from tpobench.plugins import load as plugins

    plugins.load_plugins([MEDDLING])
    names = sorted(plugins._loaded[str(MEDDLING)][1].algorithms)
    folder = tmp_path_factory.mktemp("meddled")
    execute(plan(["tpo"], [1]), folder / "alone", executor=Inline())
    with Local(1) as local:
        execute(plan(["tpo", *names], [1]), folder / "beside", executor=local, plugins=[MEDDLING])
    return records_of(folder / "beside"), records_of(folder / "alone")["tpo", 1]


def test_no_rule_of_a_plugin_changes_one_of_the_catalogue(meddled):
    """Types, threads, functions of torch, limits, folders: `tpo` has a process that never saw the plugin."""
    beside, alone = meddled
    assert canonical(beside["tpo", 1].payload) == canonical(alone.payload)
    assert beside["tpo", 1].provenance["started_utc"] >= max(
        r.provenance.get("started_utc", "") for r in beside.values()
    )


def test_a_rule_that_changes_its_process_has_a_result_or_a_reason(meddled):
    """What it changed is put back before the next job of its plugin: all its rules compute the same."""
    rules = {rule: record for (rule, _), record in meddled[0].items() if rule != "tpo"}
    assert len(rules) == 13
    for rule, record in rules.items():
        status, reason = SPOILT.get(rule, ("ok", ""))
        assert (record.status, record.reason[: len(reason)]) == (status, reason), rule
    assert len({measured(r) for rule, r in rules.items() if rule not in {*SPOILT, "flattens"}}) == 1


def test_a_plugin_that_changes_the_command_itself_does_not(tmp_path):
    """All of it when it is loaded: the folder is the one that was named, the answer is one object, `tpo` is itself."""
    words = ("run", "--suite", suite_file(tmp_path), "--algos", "tpo,doubles", "--seeds", "1", "--jobs", "1", "--json")
    command = Command(*words, "--plugin", MEDDLING, "--out", "results", MEDDLE="1", cwd=tmp_path)
    with command:
        code, out, err = command.end()
    assert code == 0, err
    assert json.loads(out)["suites"][0]["ran"] == {"ok": 2}
    assert err.count('{"done":[]}') == 2
    execute(plan(["tpo"], [0]), tmp_path / "alone", executor=Inline())
    assert payloads(tmp_path / "alone").items() <= payloads(tmp_path / "results" / "faults").items()


def test_inline_trains_the_rules_of_one_plugin_or_none(tmp_path):
    """What a plugin does to torch holds for whatever the same process trains."""
    for rules, plugins in ((["tpo", "clean"], [RULES]), (["tpo"], [RULES]), (["clean"], [RULES, MEDDLING])):
        with pytest.raises(
            UsageError, match=r"train algorithms of one plugin with no other plugin and no other algorithm \("
        ):
            execute(plan(rules, [0]), tmp_path, executor=Inline(), plugins=plugins)
    assert not list(tmp_path.iterdir())
