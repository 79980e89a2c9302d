"""Commands beside one another, and commands whose terminal, pipes and files are not what they expect."""

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_helpers import RULES, payloads, plan, suite_file

from tpobench.execution import Inline, execute
from tpobench.records.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the commands are put together by a POSIX shell"),
]
TPOBENCH = f"{shlex.quote(sys.executable)} -m tpobench"
SEEDS = 6


@pytest.fixture
def shell(tmp_path):
    """Runs a line in which `tpobench` stands for the command: (exit code, standard output, standard error)."""

    def run(line):
        script = f'tpobench() {{ {TPOBENCH} "$@"; }}\n{line}'
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    suite_file(tmp_path)
    return run


def train(executor="local", seeds=1):
    """A `run` of `clean` into r/faults."""
    rules = f"-a clean --plugin {shlex.quote(str(RULES))}"
    return f"tpobench run -s ./faults.toml {rules} --seeds {seeds} --out r --executor {executor}"


def test_five_commands_and_the_readers_share_a_folder(shell, tmp_path):
    """Five `run` train each run once; `status`, `report`, `pack` and `merge` beside them read what is finished."""
    execute(plan(["clean"], range(SEEDS)), tmp_path / "alone", executor=Inline(), plugins=[RULES])
    readers = (
        "tpobench status r", "tpobench report r/faults --figures none --out page", "tpobench pack r/faults",
        "tpobench merge r/faults --out m",
    )  # fmt: skip
    run = f"FAULT_PAUSE=0.1 {train('inline', SEEDS)}"
    with ThreadPoolExecutor(6) as threads:
        runs = [threads.submit(shell, run) for _ in range(5)]
        beside = [threads.submit(shell, f"while ! compgen -G 'r/faults/runs/*/*.json' > /dev/null; do sleep 0.1; done; "
                                        f"for i in 1; do {' && '.join(readers)}; done")]  # fmt: skip
    assert [job.result()[0] for job in (*runs, *beside)] == [0] * 6, [job.result()[2] for job in (*runs, *beside)]
    assert payloads(tmp_path / "r" / "faults") == payloads(tmp_path / "alone")
    assert {r.attempts for r in Store(tmp_path / "r" / "faults").load()[0]} == {1}


@pytest.mark.parametrize("verb", ["list", "show suite ci", "plan -s ci", "--help"])
def test_a_reader_that_leaves_ends_the_command_quietly(shell, verb):
    """`| head -1`: no word on standard error, and the exit code that SIGPIPE would give."""
    code, _, err = shell(f"tpobench {verb} | true; exit ${{PIPESTATUS[0]}}")
    assert (code, err) == (141, "")


def test_nobody_listening_costs_no_run(shell, tmp_path):
    """Standard error is a pipe that nobody reads, or every standard file is closed: runs go on, files are whole."""
    code, _, _ = shell(f"{train()} 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert code == 0
    code, _, _ = shell(f"{train(seeds=2)} <&- >&- 2>&-")
    assert code == 0
    execute(plan(["clean"], range(2)), tmp_path / "alone", executor=Inline(), plugins=[RULES])
    assert payloads(tmp_path / "r" / "faults") == payloads(tmp_path / "alone")
    assert shell("tpobench report r/faults --figures none --out page <&- 2>&-")[0] == 0


def test_an_answer_that_cannot_be_written_is_6(shell):
    """Standard output leads to a full disk."""
    code, _, err = shell("tpobench list > /dev/full")
    assert (code, err) == (6, "tpobench: standard output cannot be written: No space left on device\n")


def test_few_open_files_are_enough_or_one_line(shell):
    """32 files are enough for two processes; with too few the line says what to do, before anything runs."""
    assert shell(f"ulimit -n 32; {train()} --jobs 2")[0] == 0
    code, _, err = shell(f"ulimit -n 32; {train(seeds=2)} --jobs 60")
    words = "the log of a worker cannot be written: Too many open files; take fewer --jobs, or raise `ulimit -n`"
    assert (code, err) == (6, f"tpobench: {words}\n")


def test_figures_need_no_window(shell, tmp_path):
    """Whatever the shell says of the library that draws them."""
    execute(plan(["clean"], [0]), tmp_path / "r" / "faults", executor=Inline(), plugins=[RULES])
    code, _, err = shell("MPLBACKEND=nonsense tpobench report r/faults --figures png --out page")
    assert code == 0, err
    assert list((tmp_path / "page" / "figures").glob("*.png"))
